//! B5: which condemned packs go. The one place where that is decided; everything before it may be wrong and costs only time.

use std::collections::{HashMap, HashSet};

use super::PruneError;
use super::choose::facts;
use super::mark::Mark;
use crate::catalog::{PackNumber, StoredCopy, Trust};
use crate::crypto::ChunkType;
use crate::format::gc::reason;
use crate::format::pack::{Class, RowEncoding};
use crate::id::{ChunkId, PackId};
use crate::monitor::Stop;
use crate::records::gc::{Book, Pending};
use crate::repository::{Reader, RepositoryError};

/// Chunks proved at a time.
const BATCH: usize = 8_192;

/// What the decision rests on: listings made in the order of B1 to B4.
pub(super) struct Deciding<'a> {
    /// Over packs' own directories; its view is that of B4.
    pub reader: &'a Reader,
    /// Everything that snapshots of B2 refer to.
    pub mark: &'a Mark,
    /// gc as of B3.
    pub book: &'a Book,
    /// What live sessions pinned, as of B1.
    pub pins: &'a HashSet<PackId>,
    pub stop: &'a Stop,
}

/// The packs of one condemn record, each in one list, both rising.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Decided {
    pub delete: Vec<PackId>,
    pub pardon: Vec<(PackId, u8)>,
}

type Wanted = (ChunkType, ChunkId);

impl Deciding<'_> {
    /// R6: a pack goes only if it is not pinned, and each reachable chunk with a copy in it, or with a composed copy that has a base in it,
    /// still has a usable and verified copy with every bad or condemned pack out of the view.
    pub(super) fn decide(&self, pending: &Pending) -> Result<Decided, PruneError> {
        let mut decided = Decided::default();
        // Packs that may go, by what they hold that is needed.
        let mut open: HashMap<PackNumber, PackId> = HashMap::new();
        for &id in &pending.packs {
            if self.pins.contains(&id) {
                decided.pardon.push((id, reason::PINNED));
                continue;
            }
            match self.reader.number(&id) {
                Some(number) if self.mark.covers(number) => {
                    open.insert(number, id);
                }
                // Deleted for good by another number already.
                _ if self.book.deleted.contains(&id) => decided.delete.push(id),
                // Nobody can say what is in it.
                _ => decided.pardon.push((id, reason::NEEDED)),
            }
        }
        let needed = self.with_reliable_view(|| self.needed(&open, pending))?;
        // A cache that was dropped meanwhile was listed into again, condemned packs and all: nothing that was proved holds.
        if self.reader.with_catalog(|catalog| catalog.drops()) != self.mark.drops() {
            return Err(PruneError::Renumbered);
        }
        for (number, id) in open {
            if needed.contains(&number) {
                decided.pardon.push((id, reason::NEEDED));
            } else {
                decided.delete.push(id);
            }
        }
        decided.delete.sort_unstable();
        decided.pardon.sort_unstable();
        Ok(decided)
    }

    /// Bad and condemned packs out of the view, for looking up and for reading bases.
    fn with_reliable_view<T>(&self, work: impl FnOnce() -> T) -> T {
        let full = self.reader.with_catalog(|catalog| catalog.replace_view(catalog.view().reliable()));
        let done = work();
        self.reader.with_catalog(|catalog| catalog.replace_view(full));
        done
    }

    /// Which of these packs hold something that nothing else gives.
    fn needed(&self, open: &HashMap<PackNumber, PackId>, pending: &Pending) -> Result<HashSet<PackNumber>, PruneError> {
        let mut needed = HashSet::new();
        let mut bases: HashMap<ChunkId, Vec<PackNumber>> = HashMap::new();
        let mut order: Vec<PackNumber> = open.keys().copied().collect();
        order.sort_unstable();
        for number in order {
            let Some(marks) = self.mark.of(number) else { continue };
            if marks.reachable.is_empty() && marks.bases.is_empty() {
                continue;
            }
            let Some(facts) = facts(self.reader, number)? else {
                needed.insert(number);
                continue;
            };
            let chunk = |row: u32| facts.directory.chunks.get(row as usize);
            let wanted: Vec<Wanted> = marks.reachable.iter().filter_map(chunk).map(|chunk| (chunk.chunk_type, chunk.id)).collect();
            // Bits beyond the directory would mean that it is not the one that was marked.
            if wanted.len() as u32 != marks.reachable.count() || !self.all_survive(&wanted, pending)? {
                needed.insert(number);
                continue;
            }
            for base in marks.bases.iter().filter_map(chunk) {
                bases.entry(base.id).or_default().push(number);
            }
        }
        if !bases.is_empty() {
            self.needed_as_base(&bases, pending, &mut needed)?;
        }
        Ok(needed)
    }

    /// Every reachable chunk with a composed copy that has a base in one of these packs must survive too.
    fn needed_as_base(
        &self,
        bases: &HashMap<ChunkId, Vec<PackNumber>>,
        pending: &Pending,
        needed: &mut HashSet<PackNumber>,
    ) -> Result<(), PruneError> {
        for (number, _) in self.reader.with_catalog(|catalog| catalog.known())? {
            let Some(marks) = self.mark.of(number) else { continue };
            let Some(facts) = facts(self.reader, number)?.filter(|facts| facts.class == Class::Metadata) else { continue };
            for row in marks.reachable.iter() {
                let Some(chunk) = facts.directory.chunks.get(row as usize) else { continue };
                if !matches!(chunk.encoding, RowEncoding::Composed { .. }) {
                    continue;
                }
                let homes: HashSet<PackNumber> =
                    facts.directory.bases_of(&chunk.encoding).filter_map(|base| bases.get(&base)).flatten().copied().collect();
                if !homes.is_subset(needed) && !self.all_survive(&[(chunk.chunk_type, chunk.id)], pending)? {
                    needed.extend(homes);
                }
            }
        }
        Ok(())
    }

    /// Has each of these chunks a usable copy in the view that gives it back? Packs that the condemning run wrote count when listed with
    /// the right size: their copies were proved before they were written.
    fn all_survive(&self, wanted: &[Wanted], pending: &Pending) -> Result<bool, PruneError> {
        let written: HashSet<PackId> = pending.written.iter().copied().collect();
        for part in wanted.chunks(BATCH) {
            self.stop.check()?;
            let mut proofs: Vec<(StoredCopy, Wanted)> = Vec::new();
            for (wanted, copies) in part.iter().zip(self.copies(part)?) {
                let is_written = |copy: &StoredCopy| {
                    self.reader.with_catalog(|catalog| catalog.view().id(copy.pack)).is_some_and(|id| written.contains(&id))
                };
                if copies.iter().any(|copy| !copy.composed && is_written(copy)) {
                    continue;
                }
                match copies.first() {
                    Some(&copy) => proofs.push((copy, *wanted)),
                    None => return Ok(false),
                }
            }
            // In the order of packs: a frame is opened once for all its chunks.
            proofs.sort_unstable_by_key(|(copy, _)| (copy.pack, copy.row));
            for (copy, (kind, id)) in proofs {
                if !self.gives_back(kind, &id, &copy)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Copies in the view, literal ones first.
    fn copies(&self, wanted: &[Wanted]) -> Result<Vec<Vec<StoredCopy>>, PruneError> {
        let mut copies = self.reader.copies_of(wanted, Trust::Reliable)?;
        for copies in &mut copies {
            copies.sort_unstable_by_key(|copy| (copy.composed, copy.pack, copy.row));
        }
        Ok(copies)
    }

    /// Rebuilds a chunk from this copy and recomputes its id; when that fails, from every other one.
    fn gives_back(&self, kind: ChunkType, id: &ChunkId, first: &StoredCopy) -> Result<bool, PruneError> {
        let proved = |copy: &StoredCopy| match self.reader.read_copy(kind, id, copy.pack, copy.row) {
            Ok(_) => Ok(true),
            Err(error) if self.says_nothing_about_the_copy(&error) => Err(PruneError::from(error)),
            Err(_) => Ok(false),
        };
        if proved(first)? {
            return Ok(true);
        }
        for copies in self.copies(&[(kind, *id)])? {
            for copy in copies.iter().filter(|copy| *copy != first) {
                if proved(copy)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// A cache that was dropped, a remote store that does not answer: not a reason to pardon, the step begins again or ends.
    fn says_nothing_about_the_copy(&self, error: &RepositoryError) -> bool {
        match error {
            RepositoryError::Cache(_) | RepositoryError::Stopped => true,
            error => self.reader.repository().is_inconclusive(error),
        }
    }
}
