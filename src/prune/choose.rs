//! Per chunk the copy that stays; so per pack what of it is used.

use std::collections::{HashMap, HashSet};

use super::PruneError;
use super::mark::Mark;
use super::plan::PackUse;
use crate::catalog::{Bits, PackNumber, StoredCopy, Trust};
use crate::crypto::ChunkType;
use crate::format::pack::{Directory, PackFacts, RowEncoding};
use crate::id::{ChunkId, PackId};
use crate::planted;
use crate::repository::{Reader, RepositoryError};

/// Rows looked up at a time.
const BATCH: usize = 8_192;

/// Which rows of a pack stay.
pub(super) struct Choice {
    pub uses: Vec<PackUse>,
    chosen: HashMap<PackNumber, Bits>,
}

impl Choice {
    /// Rows of this pack that were chosen.
    pub(super) fn rows(&self, pack: PackNumber) -> Bits {
        self.chosen.get(&pack).cloned().unwrap_or_default()
    }
}

/// Of the sealed bytes of its frame, what falls to a row by its length.
pub(super) fn share(directory: &Directory, row: u32) -> u64 {
    let Some(chunk) = directory.chunks.get(row as usize) else { return 0 };
    let Some(frame) = directory.frames.get(chunk.frame as usize) else { return 0 };
    let length = chunk.encoding.range().len() as u64;
    u64::from(frame.sealed_length) * length / u64::from(frame.raw_length.max(1))
}

/// Facts of a pack from the cache. R17: a pack of a later generation than this run's is an error, because writers of that generation take
/// this run's records for empty, so none of these records may name a pack that they use.
pub(super) fn facts(reader: &Reader, pack: PackNumber) -> Result<Option<PackFacts>, PruneError> {
    let facts = reader.with_catalog(|catalog| catalog.facts(pack))?;
    let is_later = |facts: &PackFacts| facts.generation() > reader.repository().generation();
    match facts.as_ref().is_some_and(is_later) && !planted::is("later-generation-condemned") {
        true => Err(RepositoryError::rotated_meanwhile().into()),
        false => Ok(facts),
    }
}

/// Chooses among the packs `from`. Where a chunk has several copies, the one in the pack that is used most anyhow, and one in a pack that
/// is known to be damaged, or that has to go, last; a composed copy only when there is no literal one, and then its bases too.
pub(super) fn choose(
    reader: &Reader,
    mark: &Mark,
    from: &[(PackNumber, PackId)],
    stuck: &HashSet<PackId>,
) -> Result<Choice, PruneError> {
    let mut choice = Choice {
        uses: Vec::with_capacity(from.len()),
        chosen: from.iter().map(|&(number, _)| (number, Bits::default())).collect(),
    };
    let damaged = reader.repository().config().damaged_packs();
    let mut undecided: Vec<(bool, u64, PackNumber)> = Vec::new();
    for &(number, id) in from {
        let Some(facts) = facts(reader, number)? else { continue };
        let mut of = PackUse {
            number,
            id,
            size: facts.size,
            class: facts.class,
            generation: facts.generation(),
            rows: facts.directory.chunks.len() as u32,
            chosen: 0,
            used: 0,
            stored: facts.directory.frames.iter().map(|frame| u64::from(frame.sealed_length)).sum(),
            must_go: false,
        };
        if let Some(marks) = mark.of(number) {
            let mut met = 0;
            for row in marks.reachable.iter() {
                met += share(&facts.directory, row);
                if !marks.shared.get(row) && choice.take(number, row) {
                    of.used += share(&facts.directory, row);
                }
            }
            if !marks.shared.is_empty() {
                undecided.push((damaged.binary_search(&id).is_err() && !stuck.contains(&id), met, number));
            }
        }
        choice.uses.push(of);
    }
    undecided.sort_unstable_by_key(|&place| std::cmp::Reverse(place));
    for (.., number) in undecided {
        choice.decide(reader, mark, number)?;
    }
    choice.add_up(reader)?;
    Ok(choice)
}

impl Choice {
    fn take(&mut self, pack: PackNumber, row: u32) -> bool {
        self.chosen.get_mut(&pack).is_some_and(|bits| bits.set(row))
    }

    fn is_taken(&self, copy: &StoredCopy) -> bool {
        self.chosen.get(&copy.pack).is_some_and(|bits| bits.get(copy.row))
    }

    /// Rows of a pack whose chunk has other copies.
    fn decide(&mut self, reader: &Reader, mark: &Mark, number: PackNumber) -> Result<(), PruneError> {
        let (Some(marks), Some(facts)) = (mark.of(number), facts(reader, number)?) else { return Ok(()) };
        let rows: Vec<u32> = marks.shared.iter().collect();
        for rows in rows.chunks(BATCH) {
            let keys: Vec<(ChunkType, ChunkId)> = rows
                .iter()
                .filter_map(|&row| facts.directory.chunks.get(row as usize))
                .map(|chunk| (chunk.chunk_type, chunk.id))
                .collect();
            let copies = self.copies(reader, &keys)?;
            for (&row, copies) in rows.iter().zip(copies) {
                let Some(chunk) = facts.directory.chunks.get(row as usize) else { continue };
                if copies.iter().any(|copy| self.is_taken(copy)) {
                    continue;
                }
                match &chunk.encoding {
                    RowEncoding::Literal { .. } => {
                        self.take(number, row);
                    }
                    RowEncoding::Composed { .. } if copies.iter().all(|copy| copy.composed) => {
                        let bases: Vec<ChunkId> = facts.directory.bases_of(&chunk.encoding).collect();
                        self.take_composed(reader, number, row, &bases)?;
                    }
                    // A literal copy elsewhere is taken when its pack's turn comes.
                    RowEncoding::Composed { .. } => {}
                }
            }
        }
        Ok(())
    }

    /// A composed copy, if it is usable: then a literal copy of each of its bases stays too.
    fn take_composed(&mut self, reader: &Reader, pack: PackNumber, row: u32, bases: &[ChunkId]) -> Result<(), PruneError> {
        let keys: Vec<(ChunkType, ChunkId)> = bases.iter().map(|&base| (ChunkType::Data, base)).collect();
        let mut homes = Vec::with_capacity(bases.len());
        for copies in self.copies(reader, &keys)? {
            let literal = copies.iter().filter(|copy| !copy.composed);
            match literal.clone().find(|copy| self.is_taken(copy)).or_else(|| literal.clone().max()) {
                Some(copy) => homes.push(*copy),
                None => return Ok(()),
            }
        }
        for home in homes {
            self.take(home.pack, home.row);
        }
        self.take(pack, row);
        Ok(())
    }

    /// Copies in the packs that are chosen from.
    fn copies(&self, reader: &Reader, wanted: &[(ChunkType, ChunkId)]) -> Result<Vec<Vec<StoredCopy>>, PruneError> {
        let mut copies = reader.copies_of(wanted, Trust::Any)?;
        copies.iter_mut().for_each(|copies| copies.retain(|copy| self.chosen.contains_key(&copy.pack)));
        Ok(copies)
    }

    fn add_up(&mut self, reader: &Reader) -> Result<(), PruneError> {
        for of in &mut self.uses {
            let Some(bits) = self.chosen.get(&of.number) else { continue };
            of.chosen = bits.count();
            if of.chosen == of.rows {
                of.used = of.stored;
                continue;
            }
            if let Some(facts) = facts(reader, of.number)? {
                of.used = bits.iter().map(|row| share(&facts.directory, row)).sum();
            }
        }
        Ok(())
    }
}
