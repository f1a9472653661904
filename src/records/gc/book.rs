//! The book: what all gc records say together, for the prune that decides.

use std::collections::HashSet;

use super::{Numbered, Slot, SnapshotsSeen};
use crate::cache::Memo;
use crate::format::names::ObjectName;
use crate::id::{ObjectHash, PackId};
use crate::planted;
use crate::records::sessions::SessionState;
use crate::records::{RecordError, Records};
use crate::store::Name;

/// A good condemn record without a verdict.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    /// Its number.
    pub number: u64,
    /// BLAKE3 of its object.
    pub hash: ObjectHash,
    /// Its name holds its hash: a session has acknowledged it when it names it, whatever number it acknowledges.
    pub by_hash: bool,
    /// What it condemns.
    pub packs: Vec<PackId>,
    /// The packs that its run wrote to save the chunks that are still used. Each chunk was rebuilt and its id
    /// recomputed before.
    pub written: Vec<PackId>,
}

/// See the top of this file. Memory: 32 bytes for each pack ever deleted.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// The highest n for which each of 1..=n has a name. The next condemn record takes n + 1.
    pub named: u64,
    /// The highest number up to which everything was understood.
    pub understood: u64,
    /// Condemn records without a verdict, in rising order of numbers.
    pub pending: Vec<Pending>,
    /// Condemn records that are unreadable or forged and have no verdict: the number, and the hash if it is in the
    /// name.
    pub unanswered: Vec<(u64, Option<ObjectHash>)>,
    /// Records with a hash in their names that no owner wrote. Only writers obey them, and their names can hold nothing
    /// else.
    pub forged: Vec<(u64, ObjectHash, Name)>,
    /// Packs that no run may rely on.
    pub bad: HashSet<PackId>,
    /// Packs that verdicts delete.
    pub deleted: HashSet<PackId>,
    /// Packs that are bad for ever although no verdict deletes them: the verdict cannot be read, or the record has its
    /// hash in its name and its verdict pardons them. Only another record can save or delete them.
    pub stuck: HashSet<PackId>,
    /// Every snapshot that an earlier prune saw: its id, and the hashes of its object.
    pub seen: SnapshotsSeen,
}

impl Pending {
    /// Has a session with these records acknowledged it? M2: having seen a number proves nothing about a record that
    /// may have got this number later. A record with a hash in its name is acknowledged by its hash.
    pub(crate) fn is_acknowledged_by(&self, state: &SessionState) -> bool {
        match self.by_hash && !planted::is("records-acknowledged-by-number") {
            true => state.seen.contains(&self.hash),
            false => state.acknowledged >= self.number,
        }
    }
}

impl Records<'_> {
    /// Reads the book: lists `gc/`, and gets the records that `memo` does not hold.
    ///
    /// # Errors
    /// Those of [`Records::gc_state`].
    pub(crate) fn gc_book(&self, memo: &mut dyn Memo) -> Result<Book, RecordError> {
        let mut book = Book::default();
        book.named = super::for_each(self.objects, memo, &mut |numbered| {
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
}

impl Book {
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
}
