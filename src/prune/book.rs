//! What all gc records say together, for whoever decides: the book.

use std::collections::HashSet;
use std::sync::Arc;

use crate::catalog::{Condemned, Memo};
use crate::format::names::ObjectName;
use crate::id::{ObjectHash, PackId};
use crate::records::gc::{self, Numbered, Slot, SnapshotsSeen};
use crate::repository::{Repository, RepositoryError};
use crate::store::Name;

/// A good condemn record without a verdict.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    /// Its number.
    pub number: u64,
    /// BLAKE3 of its object.
    pub hash: ObjectHash,
    /// It stands under its hash: a session has acknowledged it when it names it, whatever number it acknowledges.
    pub by_hash: bool,
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
    /// Condemn records that are unreadable or forged, and have no verdict: number, and the hash if it stands under that.
    pub unanswered: Vec<(u64, Option<ObjectHash>)>,
    /// Records under their hash that no owner made. Nobody obeys them but writers, and their names can hold nothing else.
    pub forged: Vec<(u64, ObjectHash, Name)>,
    /// Packs nobody may rely on.
    pub bad: HashSet<PackId>,
    /// Those that verdicts list.
    pub deleted: HashSet<PackId>,
    /// Those that are bad for ever although no verdict deletes them: the verdict cannot be read, or the record stands under its hash and
    /// spared them. They can only go, or be saved, under another record.
    pub stuck: HashSet<PackId>,
    /// Every snapshot that a run before saw: id, and the hashes of its object.
    pub seen: SnapshotsSeen,
}

impl Book {
    /// Reads it: lists `gc/`, gets what the cache does not hold.
    pub fn read(repository: &Repository, memo: &mut dyn Memo) -> Result<Self, RepositoryError> {
        let mut book = Self::default();
        book.named = gc::for_each(repository.objects(), memo, &mut |numbered| {
            if numbered.number == book.understood + 1 && numbered.is_understood() {
                book.understood = numbered.number;
            }
            book.bad.extend(numbered.bad());
            book.deleted.extend(numbered.deleted());
            for (id, hash) in numbered.snapshots() {
                book.seen.entry(*id).or_default().insert(*hash);
            }
            book.take_by_hash(&numbered);
            match (numbered.condemn, numbered.verdict) {
                (Slot::Read(condemn, hash), Slot::Free) => {
                    let (number, packs, written) = (numbered.number, condemn.packs, condemn.written);
                    book.pending.push(Pending { number, hash, by_hash: false, packs, written });
                }
                (Slot::Read(condemn, _), Slot::Unreadable(_)) => book.stuck.extend(condemn.packs),
                (Slot::Unreadable(_) | Slot::Forged, Slot::Free) => book.unanswered.push((numbered.number, None)),
                _ => {}
            }
            Ok(())
        })?;
        book.stuck.retain(|pack| !book.deleted.contains(pack));
        Ok(book)
    }

    fn take_by_hash(&mut self, numbered: &Numbered) {
        let number = numbered.number;
        for (hash, slot) in &numbered.condemns_by_hash {
            match slot {
                Slot::Read(condemn, _) => {
                    if numbered.is_decided(hash) {
                        self.stuck.extend(&condemn.packs);
                    } else {
                        let (packs, written) = (condemn.packs.clone(), condemn.written.clone());
                        self.pending.push(Pending { number, hash: *hash, by_hash: true, packs, written });
                    }
                }
                Slot::Unreadable(_) if !numbered.is_decided(hash) => self.unanswered.push((number, Some(*hash))),
                Slot::Forged => self.forged.push((number, *hash, ObjectName::GcCondemnByHash(number, *hash).name())),
                Slot::Unreadable(_) | Slot::Free => {}
            }
        }
        for (hash, slot) in &numbered.verdicts_by_hash {
            if matches!(slot, Slot::Forged) {
                self.forged.push((number, *hash, ObjectName::GcVerdictByHash(number, *hash).name()));
            }
        }
    }

    /// What it says of packs.
    pub fn condemned(&self) -> Condemned {
        Condemned { bad: Arc::new(self.bad.clone()), deleted: self.deleted.clone() }
    }
}
