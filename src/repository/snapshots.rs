//! Snapshots: listed, opened, found by what a person types.

use crate::clock::Timestamp;
use crate::format::snapshot::Snapshot;
use crate::format::{names, snapshot};
use crate::id::{ObjectHash, SessionId, SnapshotId};
use crate::records::revocations::FailedRun;
use crate::records::snapshots::SnapshotObject;
use crate::repository::listed;
use crate::repository::{Repository, RepositoryError};
use crate::store::{StoreError, StoreErrorKind};

/// One snapshot as it stands in the repository.
#[derive(Clone, Debug)]
pub struct StoredSnapshot {
    /// Its id.
    pub id: SnapshotId,
    /// What it says.
    pub snapshot: Snapshot,
    /// Generation of its chunk ids.
    pub generation: u32,
    /// BLAKE3 of its object.
    pub hash: ObjectHash,
}

/// A listing of `snapshots/`.
#[derive(Debug, Default)]
pub struct SnapshotList {
    /// Committed and not forgotten, oldest first.
    pub snapshots: Vec<StoredSnapshot>,
    /// Objects that could not be opened, and why.
    pub damaged: Vec<(SnapshotId, RepositoryError)>,
    /// Forgotten, but their objects are still there; oldest first.
    pub forgotten: Vec<Forgone>,
    /// Names of tombstones that are ignored, and why.
    pub ignored: Vec<(String, String)>,
    /// Sessions whose name holds a revocation instead of a snapshot. It is a fence and stays for ever.
    pub revoked: Vec<SessionId>,
    /// Runs whose snapshot failed, from the revocations below `snapshots/`; oldest first.
    pub failed: Vec<FailedRun>,
}

/// What the name of a snapshot holds.
enum Stand {
    Snapshot(Box<StoredSnapshot>),
    Revocation(Vec<u8>),
}

/// A forgotten snapshot.
#[derive(Clone, Debug)]
pub struct Forgone {
    /// As it stands.
    pub stored: StoredSnapshot,
    /// When it was forgotten.
    pub time: Timestamp,
    /// Why, as it was said then.
    pub reason: String,
}

impl Repository {
    /// Opens every snapshot that was not forgotten.
    pub fn snapshots(&self) -> Result<SnapshotList, RepositoryError> {
        self.need_owner("listing snapshots")?;
        let mut list = SnapshotList::default();
        let mut gone = Vec::new();
        for id in self.snapshot_names()? {
            match self.stand(&id) {
                Ok(Stand::Snapshot(stored)) => list.snapshots.push(*stored),
                Ok(Stand::Revocation(object)) => {
                    list.revoked.push(id.into());
                    list.failed.extend(self.records().failed_run(id.into(), &object));
                }
                Err(RepositoryError::Store(error @ StoreError { kind: StoreErrorKind::Missing, .. })) => gone.push((id, error)),
                Err(error @ RepositoryError::Object { .. }) => list.damaged.push((id, error)),
                Err(error) => return Err(error),
            }
        }
        let tombstones = self.tombstones()?;
        // Freed since it was listed; without a tombstone that is no reason.
        if let Some((_, error)) = gone.into_iter().find(|(id, _)| !tombstones.mentions(*id)) {
            return Err(error.into());
        }
        for (id, error) in std::mem::take(&mut list.damaged) {
            // A forgotten one need not open.
            let buried = tombstones.mentions(id)
                && match self.snapshot_hash(&id) {
                    Ok(hash) => tombstones.of(id, hash).is_some(),
                    // Freed since it was opened.
                    Err(RepositoryError::Store(StoreError { kind: StoreErrorKind::Missing, .. })) => true,
                    Err(error) => listed::fault(error).map(|_| false)?,
                };
            list.damaged.extend((!buried).then_some((id, error)));
        }
        for stored in std::mem::take(&mut list.snapshots) {
            match tombstones.of(stored.id, stored.hash) {
                Some(record) => list.forgotten.push(Forgone { stored, time: record.time, reason: record.reason.clone() }),
                None => list.snapshots.push(stored),
            }
        }
        list.ignored = tombstones.ignored;
        list.snapshots.sort_by_key(|stored| (stored.snapshot.time, stored.id));
        list.failed.sort_by_key(|run| (run.time, run.session));
        list.forgotten.sort_by_key(|forgone| (forgone.stored.snapshot.time, forgone.stored.id));
        Ok(list)
    }

    /// BLAKE3 of the object with the name of this snapshot, see [`Records::snapshot_hash`](crate::records::Records::snapshot_hash).
    ///
    /// # Errors
    /// [`RepositoryError::Object`] when it cannot be read; the store's, also when there is none.
    pub fn snapshot_hash(&self, id: &SnapshotId) -> Result<ObjectHash, RepositoryError> {
        Ok(self.records().snapshot_hash(id)?)
    }

    /// Opens one; `None` when its name holds a revocation.
    pub fn snapshot(&self, id: &SnapshotId) -> Result<Option<StoredSnapshot>, RepositoryError> {
        Ok(match self.stand(id)? {
            Stand::Snapshot(stored) => Some(*stored),
            Stand::Revocation(_) => None,
        })
    }

    fn stand(&self, id: &SnapshotId) -> Result<Stand, RepositoryError> {
        let name = names::snapshot_name(*id);
        match self.records().snapshot_object(id)? {
            None => Err(StoreError::missing(name).into()),
            Some(SnapshotObject::Revocation(object)) => Ok(Stand::Revocation(object)),
            Some(SnapshotObject::Snapshot(hash, opened)) => {
                let snapshot::Opened { snapshot, generation } = *opened.map_err(RepositoryError::object(&name))?;
                Ok(Stand::Snapshot(Box::new(StoredSnapshot { id: *id, snapshot, generation, hash })))
            }
        }
    }

    /// The snapshot of this id, unless it was forgotten. Opens no other one.
    fn snapshot_by_id(&self, id: &SnapshotId) -> Result<Option<StoredSnapshot>, RepositoryError> {
        self.need_owner("reading snapshots")?;
        let stored = match self.snapshot(id) {
            Err(RepositoryError::Store(StoreError { kind: StoreErrorKind::Missing, .. })) => None,
            other => other?,
        };
        let Some(stored) = stored else { return Ok(None) };
        let is_forgotten = self.tombstones()?.of(stored.id, stored.hash).is_some();
        Ok((!is_forgotten).then_some(stored))
    }

    /// Finds by `latest`, `latest~N`, or a prefix of the id; `filter` narrows what `latest` counts.
    pub fn find_snapshot(&self, wanted: &str, filter: &dyn Fn(&Snapshot) -> bool) -> Result<StoredSnapshot, RepositoryError> {
        let missing = || RepositoryError::SnapshotNotFound(wanted.to_owned());
        if let Some(id) = SnapshotId::from_hex(wanted) {
            return self.snapshot_by_id(&id)?.ok_or_else(missing);
        }
        let mut list = self.snapshots()?;
        if let Some(rest) = wanted.strip_prefix("latest") {
            let back: usize = match rest {
                "" => 0,
                _ => rest.strip_prefix('~').and_then(|n| n.parse().ok()).ok_or_else(missing)?,
            };
            list.snapshots.retain(|stored| filter(&stored.snapshot));
            let place = list.snapshots.len().checked_sub(back + 1).ok_or_else(missing)?;
            return Ok(list.snapshots.swap_remove(place));
        }
        let mut found: Vec<StoredSnapshot> =
            list.snapshots.into_iter().filter(|stored| stored.id.to_hex().starts_with(wanted)).collect();
        match found.len() {
            1 if !wanted.is_empty() => Ok(found.swap_remove(0)),
            0 => {
                // A damaged one that was asked for by name says so, instead of "not found".
                match list.damaged.into_iter().find(|(id, _)| !wanted.is_empty() && id.to_hex().starts_with(wanted)) {
                    Some((_, error)) => Err(error),
                    None => Err(missing()),
                }
            }
            count => Err(RepositoryError::SnapshotAmbiguous { prefix: wanted.to_owned(), count }),
        }
    }
}
