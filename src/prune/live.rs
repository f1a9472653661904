//! Which snapshots count: all that are listed, minus those with a good tombstone; and what is wrong when one is missing.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use super::PruneError;
use crate::catalog::Memo;
use crate::format::names;
use crate::format::tree::Content;
use crate::id::{ObjectHash, SessionId, SnapshotId};
use crate::locks::Unpoisoned;
use crate::parallel;
use crate::records::gc::Book;
use crate::records::snapshots::SnapshotObject;
use crate::repository::listed::{self, HASH_OF_TOO_LARGE};
use crate::repository::{Repository, RepositoryError};

/// Objects read side by side.
const READERS: usize = 8;

/// A snapshot to be walked.
#[derive(Clone, Debug)]
pub(super) struct Root {
    pub id: SnapshotId,
    pub hash: ObjectHash,
    pub root: Content,
    /// M7: a revocation is beside it (stores without create-if-absent), so its writer may have been told that it failed.
    pub doubtful: bool,
}

/// What stands under a name in `snapshots/`.
#[derive(Clone, Debug)]
enum Stand {
    Snapshot(ObjectHash, Result<Content, String>),
    Revocation,
}

/// Objects this run has read: none of them ever changes.
#[derive(Debug, Default)]
pub(super) struct Known(HashMap<SnapshotId, Stand>);

/// What two listings said.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// In the order of ids.
    pub roots: Vec<Root>,
    /// Sessions that are over: by a snapshot or a revocation, or a good tombstone, and by nothing else (R11).
    pub over: HashSet<SessionId>,
    /// Good tombstones.
    pub forgotten: HashSet<(SnapshotId, ObjectHash)>,
    /// Forgotten snapshots whose object is still there.
    pub remains: Vec<Root>,
}

/// Lists `snapshots/`, then `forgotten/`, and reads what this run has not read before. Whatever an earlier condemn record saw must still be
/// there, the same, or be forgotten (K1), so that no committed snapshot is lost (I1).
pub(super) fn list(
    repository: &Repository,
    memo: &mut dyn Memo,
    known: &mut Known,
    revoked_beside: &HashSet<SessionId>,
    book: &Book,
) -> Result<Live, PruneError> {
    let ids = repository.snapshot_names()?;
    let forgotten = repository.good_tombstones(memo)?;
    read(repository, known, ids.iter().filter(|id| !known.0.contains_key(id)).copied().collect())?;
    let mut live = Live { forgotten, ..Live::default() };
    let buried: HashSet<SnapshotId> = live.forgotten.iter().map(|(id, _)| *id).collect();
    live.over.extend(buried.iter().map(|id| SessionId(id.0)));
    for id in &ids {
        live.over.insert(SessionId(id.0));
        let (hash, content) = match known.0.get(id) {
            Some(Stand::Snapshot(hash, content)) => (*hash, content),
            Some(Stand::Revocation) => continue,
            // It was listed and is gone: another prune deleted the object of a forgotten one. Anything else is for the check below.
            None if buried.contains(id) => continue,
            None => return Err(PruneError::SnapshotGone { id: *id, what: "was listed and is gone" }),
        };
        let is_forgotten = live.forgotten.contains(&(*id, hash));
        match content {
            Ok(root) => {
                let doubtful = revoked_beside.contains(&SessionId(id.0));
                let root = Root { id: *id, hash, root: root.clone(), doubtful };
                if is_forgotten { live.remains.push(root) } else { live.roots.push(root) }
            }
            Err(_) if is_forgotten => {}
            Err(detail) => {
                return Err(PruneError::Unreadable { what: names::snapshot_name(*id).to_string(), detail: detail.clone() });
            }
        }
    }
    let here: HashSet<SnapshotId> = ids.into_iter().collect();
    for (id, hashes) in &book.seen {
        let lost: Vec<_> = hashes.iter().filter(|hash| !live.forgotten.contains(&(*id, **hash))).collect();
        for hash in lost {
            let what = match known.0.get(id).filter(|_| here.contains(id)) {
                Some(Stand::Snapshot(found, _)) if found == hash => continue,
                Some(Stand::Snapshot(..)) => "is another object now",
                Some(Stand::Revocation) => "is a revocation now",
                None => "is gone",
            };
            return Err(PruneError::SnapshotGone { id: *id, what });
        }
    }
    Ok(live)
}

fn read(repository: &Repository, known: &mut Known, ids: Vec<SnapshotId>) -> Result<(), RepositoryError> {
    let found = Mutex::new(Vec::new());
    parallel::for_each(READERS.min(ids.len()), ids.into_iter(), |id| -> Result<(), RepositoryError> {
        let stand = match repository.snapshot_object(&id) {
            Ok(Some(SnapshotObject::Revocation(_))) => Stand::Revocation,
            Ok(Some(SnapshotObject::Snapshot(hash, opened))) => {
                Stand::Snapshot(hash, opened.map(|opened| opened.snapshot.root).map_err(|error| error.to_string()))
            }
            Ok(None) => return Ok(()),
            // An owner forgets what is too large under this hash. What the disk cannot read has no hash, and no tombstone fits it.
            Err(error) => Stand::Snapshot(HASH_OF_TOO_LARGE, Err(listed::fault(error)?)),
        };
        found.lock().unpoisoned().push((id, stand));
        Ok(())
    })?;
    known.0.extend(found.into_inner().unpoisoned());
    Ok(())
}
