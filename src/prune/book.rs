//! What all gc records say together, for whoever decides: the book.

use std::collections::{HashMap, HashSet};

use crate::cache::Cache;
use crate::id::{ObjectHash, PackId, SnapshotId};
use crate::repository::gc::{self, GcState, Slot};
use crate::repository::{Repository, RepositoryError};

/// A good condemn record without a verdict.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    /// Its number.
    pub number: u64,
    /// BLAKE3 of its object.
    pub hash: ObjectHash,
    /// What it condemns.
    pub packs: Vec<PackId>,
    /// What its run wrote to save the rest of them; every chunk in these was rebuilt and its id recomputed before.
    pub written: Vec<PackId>,
}

/// See the top of this file. 32 bytes for each pack ever deleted.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// The highest n for which every one of 1..=n has a name: the next condemn record takes n + 1.
    pub named: u64,
    /// The highest of them up to which everything was understood.
    pub understood: u64,
    /// In rising order.
    pub pending: Vec<Pending>,
    /// Numbers whose condemn record is unreadable or forged, and has no verdict.
    pub unanswered: Vec<u64>,
    /// Packs nobody may rely on.
    pub bad: HashSet<PackId>,
    /// Those that verdicts list.
    pub deleted: HashSet<PackId>,
    /// Those that are bad because of a verdict nobody can read: they can only go, or be saved, under another number.
    pub stuck: HashSet<PackId>,
    /// Every snapshot that a run before saw: id, and the hashes of its object.
    pub seen: HashMap<SnapshotId, HashSet<ObjectHash>>,
}

impl Book {
    /// Reads it: lists `gc/`, gets what the cache does not hold.
    pub fn read(repository: &Repository, cache: &mut Cache) -> Result<Self, RepositoryError> {
        let mut book = Self::default();
        book.named = gc::for_each(repository, cache, &mut |numbered| {
            if numbered.number == book.understood + 1 && numbered.is_understood() {
                book.understood = numbered.number;
            }
            book.bad.extend(numbered.bad());
            if let Some(verdict) = numbered.verdict.read() {
                book.deleted.extend(&verdict.delete);
            }
            match (numbered.condemn, numbered.verdict) {
                (Slot::Read(condemn, hash), verdict) => {
                    for (id, hash) in condemn.snapshots {
                        book.seen.entry(id).or_default().insert(hash);
                    }
                    match verdict {
                        Slot::Free => {
                            let (number, packs, written) = (numbered.number, condemn.packs, condemn.written);
                            book.pending.push(Pending { number, hash, packs, written });
                        }
                        Slot::Unreadable(_) => book.stuck.extend(condemn.packs),
                        Slot::Forged | Slot::Read(..) => {}
                    }
                }
                (Slot::Unreadable(_) | Slot::Forged, Slot::Free) => book.unanswered.push(numbered.number),
                _ => {}
            }
            Ok(())
        })?;
        book.stuck.retain(|pack| !book.deleted.contains(pack));
        Ok(book)
    }

    /// The same, as everybody reads it.
    pub fn state(&self) -> GcState {
        GcState { number: self.understood, blocked_at: None, bad: self.bad.clone(), deleted: self.deleted.clone() }
    }
}
