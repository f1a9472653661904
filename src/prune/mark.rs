//! The mark: every chunk that snapshots refer to, as bits on the rows of the packs that hold a copy.
//!
//! Only packs' own directories say where copies are, and only metadata packs are read. A chunk's bit stands on *every* copy, so that
//! asking any of them tells whether it was met before: trees are walked once, without a set of ids. Three bits a chunk of the repository.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};

use super::PruneError;
use super::live::Root;
use crate::catalog::{Bits, PackNumber, StoredCopy, Trust};
use crate::crypto::ChunkType;
use crate::format::FormatError;
use crate::format::reference::Reference;
use crate::format::tree::Content;
use crate::id::{ChunkId, ObjectHash, SnapshotId};
use crate::locks::Unpoisoned;
use crate::monitor::{Monitor, Quiet, Stop};
use crate::repository::walk::set::{self, Options, Read, Visitor};
use crate::repository::{Reader, RepositoryError};

/// Tree and list chunks read at a time.
const BATCH_CHUNKS: usize = 128;
/// Data chunks looked up at a time.
const BATCH_DATA: usize = 16_384;
/// Chunks that are counted before a brake says so.
const MISSING_MAX: usize = 1_000;

/// What is known of the rows of one pack.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    /// Copies of chunks that are referred to.
    pub reachable: Bits,
    /// Those of them that have another copy, or are composed: choosing one needs a look.
    pub shared: Bits,
    /// Literal copies of bases of composed copies of chunks that are referred to.
    pub bases: Bits,
}

/// See the top of this file.
#[derive(Debug, Default)]
pub(super) struct Mark {
    packs: HashMap<PackNumber, Marks>,
    walked: HashSet<(SnapshotId, ObjectHash)>,
    /// Packs that were readable before each walk began: about no other does a missing bit say anything.
    covered: Option<HashSet<PackNumber>>,
    /// How often the cache had been dropped when this was begun: pack numbers do not outlive that.
    drops: u64,
    /// Tree and list chunks read.
    pub trees_read: u64,
}

/// What a walk needs.
pub(super) struct Ground<'a> {
    pub reader: &'a Reader,
    pub monitor: &'a dyn Monitor,
    pub stop: &'a Stop,
    pub threads: usize,
}

type Wanted = (ChunkType, ChunkId);

struct Walk<'a, 'b> {
    ground: &'a Ground<'b>,
    mark: Mutex<&'a mut Mark>,
    /// Data chunks that were met and not looked up yet.
    data: Mutex<Vec<ChunkId>>,
    missing: Mutex<Vec<ChunkId>>,
    /// What cannot be found or read ends the walk; else it is passed over.
    strict: bool,
}

impl Mark {
    /// The marks of a pack.
    pub(super) fn of(&self, pack: PackNumber) -> Option<&Marks> {
        self.packs.get(&pack)
    }

    /// Does an unset bit of this pack mean that its chunk is not referred to?
    pub(crate) fn covers(&self, pack: PackNumber) -> bool {
        self.covered.as_ref().is_some_and(|covered| covered.contains(&pack))
    }

    /// How often the cache had been dropped when this was begun.
    pub(super) fn drops(&self) -> u64 {
        self.drops
    }

    /// Walks what it has not walked before. Doubtful snapshots are marked as far as that goes.
    pub(super) fn walk(&mut self, ground: &Ground<'_>, roots: &[Root]) -> Result<(), PruneError> {
        let walked = self.walk_new(ground, roots);
        if walked.is_err() {
            // A tree that has its bit and was not looked into would hide all below it from the next walk.
            *self = Self::default();
        }
        walked
    }

    fn walk_new(&mut self, ground: &Ground<'_>, roots: &[Root]) -> Result<(), PruneError> {
        self.begin(ground)?;
        let new: Vec<&Root> = roots.iter().filter(|root| !self.walked.contains(&(root.id, root.hash))).collect();
        for strict in [true, false] {
            let roots: Vec<&Root> = new.iter().filter(|root| root.doubtful != strict).copied().collect();
            self.walk_below(ground, &roots, strict)?;
        }
        self.walked.extend(new.iter().map(|root| (root.id, root.hash)));
        Ok(())
    }

    /// Walks snapshots of which much may be gone already.
    pub(crate) fn walk_remains(&mut self, ground: &Ground<'_>, roots: &[Root]) -> Result<(), PruneError> {
        self.begin(ground)?;
        self.walk_below(ground, &roots.iter().collect::<Vec<_>>(), false)
    }

    fn begin(&mut self, ground: &Ground<'_>) -> Result<(), PruneError> {
        let (drops, readable) = ground.reader.with_catalog(|catalog| {
            let view = catalog.view();
            let readable: HashSet<PackNumber> = view.iter().chain(view.condemned()).map(|(number, _)| number).collect();
            (catalog.drops(), readable)
        });
        if self.covered.is_some() && self.drops != drops {
            *self = Self::default();
        }
        self.drops = drops;
        match &mut self.covered {
            Some(covered) => covered.retain(|number| readable.contains(number)),
            None => self.covered = Some(readable),
        }
        Ok(())
    }

    fn walk_below(&mut self, ground: &Ground<'_>, roots: &[&Root], strict: bool) -> Result<(), PruneError> {
        let drops = self.drops;
        let walk = Walk { ground, mark: Mutex::new(self), data: Mutex::default(), missing: Mutex::default(), strict };
        let roots: Vec<Content> = roots.iter().map(|root| root.root.clone()).collect();
        let Ground { monitor, stop, threads, .. } = *ground;
        set::walk(&walk, &roots, &Options { threads, batch: BATCH_CHUNKS, monitor, stop })?;
        let rest = std::mem::take(&mut *walk.data.lock().unpoisoned());
        walk.mark_data(rest)?;
        if ground.reader.with_catalog(|catalog| catalog.drops()) != drops {
            return Err(PruneError::Renumbered);
        }
        let missing = walk.missing.into_inner().unpoisoned();
        match missing.first() {
            Some(&first) if strict => Err(PruneError::NoPack { count: missing.len(), first }),
            _ => Ok(()),
        }
    }

    /// Sets the bits of all copies of one chunk; was it met for the first time?
    fn set(&mut self, copies: &[StoredCopy]) -> bool {
        let mut new = false;
        let shared = copies.len() > 1 || copies.iter().any(|copy| copy.composed);
        for copy in copies {
            let marks = self.packs.entry(copy.pack).or_default();
            new |= marks.reachable.set(copy.row);
            if shared {
                marks.shared.set(copy.row);
            }
        }
        new
    }
}

/// Where a chunk is read. Chunks of one pack together: a frame is opened once.
type Place = (PackNumber, u32);

/// What is marked is kept, so claims do not matter: whatever a chunk refers to stays, however it was come to.
impl Visitor for Walk<'_, '_> {
    type Error = PruneError;
    type Place = Place;

    /// Marks them; those not met before are read.
    fn meet(&self, batch: &[Reference]) -> Result<Vec<Option<Place>>, PruneError> {
        let wanted: Vec<Wanted> = batch.iter().map(|wanted| (wanted.chunk_type(), wanted.id)).collect();
        let copies = self.copies(&wanted)?;
        let mut mark = self.mark();
        let places = copies.iter().map(|copies| {
            let is_new = mark.set(copies);
            copies.first().filter(|_| is_new).map(|copy| (copy.pack, copy.row))
        });
        let places: Vec<Option<Place>> = places.collect();
        mark.trees_read += places.iter().flatten().count() as u64;
        Ok(places)
    }

    fn are_together(a: &Place, b: &Place) -> bool {
        a.0 == b.0
    }

    fn read(&self, wanted: &Reference, _: &Place) -> Result<Read, PruneError> {
        match self.ground.reader.read_chunk(wanted.chunk_type(), &wanted.id) {
            Ok(bytes) => Ok(Read::Bytes(bytes)),
            Err(error @ (RepositoryError::ChunkDamaged { .. } | RepositoryError::ChunkMissing(_))) => {
                self.unreadable(wanted, &error.to_string()).map(|()| Read::Lost)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn opened(&self, _: &Place, _: &Reference, _: bool) {}

    fn broken(&self, wanted: &Reference, _: &Place, error: FormatError) -> Result<(), PruneError> {
        self.unreadable(wanted, &error.to_string())
    }

    fn claimed_wrongly(&self, _: &Reference, _: FormatError) -> Result<bool, PruneError> {
        Ok(true)
    }

    fn data(&self, _: &Reference, data: Vec<Reference>) -> Result<(), PruneError> {
        let full = {
            let mut all = self.data.lock().unpoisoned();
            all.extend(data.iter().map(|data| data.id));
            if all.len() >= BATCH_DATA { std::mem::take(&mut *all) } else { Vec::new() }
        };
        self.mark_data(full)
    }
}

impl<'a> Walk<'a, '_> {
    fn mark(&self) -> MutexGuard<'_, &'a mut Mark> {
        self.mark.lock().unpoisoned()
    }

    /// A chunk that says nothing of what is below it.
    fn unreadable(&self, wanted: &Reference, detail: &str) -> Result<(), PruneError> {
        match self.strict {
            true => Err(PruneError::Unreadable { what: format!("chunk {}", wanted.id), detail: detail.to_owned() }),
            false => Ok(()),
        }
    }

    fn mark_data(&self, mut ids: Vec<ChunkId>) -> Result<(), PruneError> {
        ids.sort_unstable();
        ids.dedup();
        for part in ids.chunks(BATCH_DATA) {
            let wanted: Vec<Wanted> = part.iter().map(|&id| (ChunkType::Data, id)).collect();
            let copies = self.copies(&wanted)?;
            let mut composed = Vec::new();
            {
                let mut mark = self.mark();
                for ((_, id), copies) in wanted.iter().zip(copies) {
                    if mark.set(&copies) && copies.iter().any(|copy| copy.composed) {
                        composed.push((*id, copies));
                    }
                }
            }
            for (id, copies) in composed {
                self.bases(id, &copies)?;
            }
        }
        Ok(())
    }

    /// Marks the bases of every composed copy of a chunk. A chunk that has neither a literal copy nor all bases of a composed one cannot
    /// be had.
    fn bases(&self, id: ChunkId, copies: &[StoredCopy]) -> Result<(), PruneError> {
        let mut can_be_had = copies.iter().any(|copy| !copy.composed);
        for copy in copies.iter().filter(|copy| copy.composed) {
            let facts = self.ground.reader.facts(copy.pack)?;
            let Some(row) = facts.directory.chunks.get(copy.row as usize) else { continue };
            let bases: Vec<Wanted> = facts.directory.bases_of(&row.encoding).map(|base| (ChunkType::Data, base)).collect();
            let homes = self.copies_now(&bases)?;
            let mut mark = self.mark();
            let mut whole = true;
            for home in homes {
                let literal = home.iter().filter(|copy| !copy.composed);
                whole &= literal.clone().next().is_some();
                for copy in literal {
                    mark.packs.entry(copy.pack).or_default().bases.set(copy.row);
                }
            }
            can_be_had |= whole;
        }
        if !can_be_had {
            self.miss(id);
        }
        Ok(())
    }

    fn miss(&self, id: ChunkId) {
        let mut missing = self.missing.lock().unpoisoned();
        if missing.len() < MISSING_MAX {
            missing.push(id);
        }
    }

    /// Every listed copy of each chunk. For what is in no listed pack, everything is listed once more: it may have come since. What is
    /// still missing stops the prune (K3), and so does what cannot be read (K2).
    fn copies(&self, wanted: &[Wanted]) -> Result<Vec<Vec<StoredCopy>>, PruneError> {
        let mut copies = self.copies_now(wanted)?;
        if copies.iter().any(Vec::is_empty) {
            if self.strict {
                self.ground.reader.sync_again(&Quiet)?;
                copies = self.copies_now(wanted)?;
            }
            for ((_, id), _) in wanted.iter().zip(&copies).filter(|(_, copies)| copies.is_empty()) {
                self.miss(*id);
            }
        }
        Ok(copies)
    }

    fn copies_now(&self, wanted: &[Wanted]) -> Result<Vec<Vec<StoredCopy>>, PruneError> {
        Ok(self.ground.reader.copies_of(wanted, Trust::Readable)?)
    }
}
