//! Which copy of a chunk is good, and whom to blame when none is.
//!
//! As the reader chooses: packs that are listed with the right size and not condemned, literal copies first, a composed copy only when
//! each of its bases has a literal one. On top of that, copies already found bad do not count; when none is left, those that parity
//! mends do.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};

use crate::catalog::{PackNumber, StoredCopy, Trust, View};
use crate::crypto::ChunkType;
use crate::format::names;
use crate::format::pack::PackFacts;
use crate::id::{ChunkId, ObjectHash, PackId};
use crate::locks::Unpoisoned;
use crate::repository::{Location, Reader, Repository, RepositoryError};
use crate::store::{StoreError, StoreErrorKind};
use crate::verify::damage::{CauseNumber, Damage};
use crate::verify::findings::FindingKind;

/// What the packs' own directories say, and what is known to be bad.
pub(super) struct Lookup {
    /// Reads over the fresh cache.
    pub reader: Reader,
    /// Packs that may be used.
    pub view: View,
    /// The book.
    pub damage: Mutex<Damage>,
    /// Packs in the view that no index file tells of.
    pub unindexed: HashSet<PackNumber>,
    /// Packs that facts exist about, but that may not be used.
    pub absent: HashMap<PackNumber, PackId>,
    /// Listed packs whose content nobody knows, because their own directory does not open and no index file tells of them.
    pub opaque: Vec<CauseNumber>,
    /// Parity objects, by the pack they are called after.
    pub parity: HashMap<PackId, Vec<ObjectHash>>,
    /// Copies that could not be read through parity either.
    pub beyond_mending: Mutex<HashSet<(PackNumber, u32)>>,
}

/// Where a chunk may be read, or why nowhere.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found {
    At(Location),
    /// Its pack is damaged, and parity mends it.
    Mended(Location),
    Lost(CauseNumber),
}

impl Lookup {
    /// The book, for writing down.
    pub(super) fn damage(&self) -> MutexGuard<'_, Damage> {
        // A panic while holding it leaves plain data behind.
        self.damage.lock().unpoisoned()
    }

    /// A good copy of each chunk, or the cause of its loss; asked in one batch.
    pub(super) fn resolve(&self, wanted: &[(ChunkType, ChunkId)]) -> Result<Vec<Found>, RepositoryError> {
        let located = self.reader.locate(wanted)?;
        let mut found = Vec::with_capacity(wanted.len());
        for (&(kind, id), location) in wanted.iter().zip(located) {
            found.push(match location {
                Some(at) if self.is_good(at.pack, at.row, at.composed)? => Found::At(at),
                _ => self.other_copy(kind, &id)?,
            });
        }
        if !self.unindexed.is_empty() {
            self.note_unindexed(wanted, &found)?;
        }
        Ok(found)
    }

    /// The facts and the row behind a location.
    pub(super) fn facts(&self, at: &Location) -> Result<std::sync::Arc<PackFacts>, RepositoryError> {
        self.reader.facts(at.pack)
    }

    /// Plaintext length of the chunk at a location, as its pack's directory has it.
    pub(super) fn raw_length(&self, at: &Location) -> Result<Option<u64>, RepositoryError> {
        let facts = self.facts(at)?;
        Ok(facts.directory.chunks.get(at.row as usize).map(|row| u64::from(row.encoding.chunk_length())))
    }

    /// The chunk that was found.
    pub(super) fn read(
        &self,
        kind: ChunkType,
        id: &ChunkId,
        at: &Location,
        through_parity: bool,
    ) -> Result<Vec<u8>, RepositoryError> {
        match through_parity {
            false => self.reader.read_copy(kind, id, at.pack, at.row),
            true => self.reader.read_copy_mended(kind, id, at.pack, at.row).inspect_err(|_| {
                self.beyond_mending.lock().unpoisoned().insert((at.pack, at.row));
            }),
        }
    }

    /// Does parity mend this pack? Whatever is found wrong with it is then said to be mendable.
    pub(super) fn mends(&self, id: &PackId) -> Result<bool, RepositoryError> {
        // A condemned pack comes back for nobody.
        if self.view.is_bad(id) || !self.parity.contains_key(id) || self.reader.mended_pack(id)?.is_none() {
            return Ok(false);
        }
        self.damage().mendable(names::pack_name(*id).to_string());
        Ok(true)
    }

    /// Writes down that a copy did not give its chunk; errors that are no damage are handed back.
    pub(crate) fn copy_failed(&self, at: &Location, error: RepositoryError) -> Result<(), RepositoryError> {
        let error = self.damage_or_error(error)?;
        let name = self.reader.pack_name(at.pack);
        let mut damage = self.damage();
        let cause = match error {
            Harm::Missing | Harm::Unreadable(_) => {
                let (kind, detail) = error.of_pack();
                damage.cause(kind, name, detail)
            }
            Harm::Frame(detail) => damage.part(FindingKind::FrameDamaged, name, at.frame, format!("frame {}: {detail}", at.frame)),
            Harm::Chunk(detail) => damage.part(FindingKind::ChunkDamaged, name, at.row, detail),
        };
        damage.bad_row(at.pack, at.row, cause);
        Ok(())
    }

    /// Is this error something to write down, or does it end the run?
    pub(crate) fn damage_or_error(&self, error: RepositoryError) -> Result<Harm, RepositoryError> {
        match error {
            RepositoryError::Store(error) => Ok(self.store_harm(error)?),
            RepositoryError::Object { source, .. } => Ok(Harm::Frame(source.to_string())),
            RepositoryError::Format(source) => Ok(Harm::Frame(source.to_string())),
            RepositoryError::ChunkDamaged { id, detail } => Ok(Harm::Chunk(format!("chunk {id}: {detail}"))),
            error @ RepositoryError::ChunkMissing(_) => Ok(Harm::Chunk(error.to_string())),
            other => Err(other),
        }
    }

    fn store_harm(&self, error: StoreError) -> Result<Harm, StoreError> {
        store_harm(self.reader.repository(), error)
    }

    fn is_good(&self, pack: PackNumber, row: u32, composed: bool) -> Result<bool, RepositoryError> {
        if self.damage().row(pack, row).is_some() {
            return Ok(false);
        }
        Ok(!composed || self.bad_base(pack, row)?.is_none())
    }

    /// The first base of a composed copy that has no good literal copy.
    fn bad_base(&self, pack: PackNumber, row: u32) -> Result<Option<ChunkId>, RepositoryError> {
        let facts = self.reader.facts(pack)?;
        let Some(row) = facts.directory.chunks.get(row as usize) else { return Ok(None) };
        for base in facts.directory.bases_of(&row.encoding) {
            let copies = self.reader.copies(ChunkType::Data, &base)?;
            let damage = self.damage();
            if !copies.iter().any(|copy| !copy.composed && damage.row(copy.pack, copy.row).is_none()) {
                return Ok(Some(base));
            }
        }
        Ok(None)
    }

    fn other_copy(&self, kind: ChunkType, id: &ChunkId) -> Result<Found, RepositoryError> {
        for copy in self.reader.copies(kind, id)? {
            let facts = self.reader.facts(copy.pack)?;
            if let Some(row) = facts.directory.chunks.get(copy.row as usize)
                && self.is_good(copy.pack, copy.row, copy.composed)?
            {
                return Ok(Found::At(Location { pack: copy.pack, frame: row.frame, row: copy.row, composed: copy.composed }));
            }
        }
        match self.mended_copy(kind, id)? {
            Some(at) => Ok(Found::Mended(at)),
            None => Ok(Found::Lost(self.blame(kind, id)?)),
        }
    }

    /// A copy that can be read once its pack (and those of its bases) are mended. Copies in packs outside the view count too: one that
    /// was cut off is whole again then.
    fn mended_copy(&self, kind: ChunkType, id: &ChunkId) -> Result<Option<Location>, RepositoryError> {
        if self.parity.is_empty() {
            return Ok(None);
        }
        for copy in self.copies_everywhere(kind, id)? {
            if self.beyond_mending.lock().unpoisoned().contains(&(copy.pack, copy.row)) || !self.is_good_or_mended(&copy)? {
                continue;
            }
            let facts = self.reader.facts(copy.pack)?;
            let Some(row) = facts.directory.chunks.get(copy.row as usize) else { continue };
            let mut bases_are_good = true;
            for base in facts.directory.bases_of(&row.encoding) {
                let mut literals = self.copies_everywhere(ChunkType::Data, &base)?;
                literals.retain(|copy| !copy.composed);
                let mut is_good = false;
                for literal in &literals {
                    is_good = is_good || self.is_good_or_mended(literal)?;
                }
                bases_are_good &= is_good;
            }
            if bases_are_good {
                return Ok(Some(Location { pack: copy.pack, frame: row.frame, row: copy.row, composed: copy.composed }));
            }
        }
        Ok(None)
    }

    /// Leaves aside what a composed copy is made of.
    fn is_good_or_mended(&self, copy: &StoredCopy) -> Result<bool, RepositoryError> {
        let id = match self.absent.get(&copy.pack) {
            Some(id) => *id,
            None if self.damage().row(copy.pack, copy.row).is_none() => return Ok(true),
            None => self.reader.facts(copy.pack)?.id,
        };
        self.mends(&id)
    }

    /// Every copy anybody ever told of, in packs that may be used or not.
    fn copies_everywhere(&self, kind: ChunkType, id: &ChunkId) -> Result<Vec<StoredCopy>, RepositoryError> {
        let mut copies = self.reader.copies_of(&[(kind, *id)], Trust::Any)?.pop().unwrap_or_default();
        copies.sort_unstable_by_key(|copy| (copy.composed, copy.pack, copy.row));
        Ok(copies)
    }

    /// Why no copy of this chunk can be used.
    fn blame(&self, kind: ChunkType, id: &ChunkId) -> Result<CauseNumber, RepositoryError> {
        let copies = self.copies_everywhere(kind, id)?;
        if let Some(cause) = copies.iter().find_map(|copy| self.blame_copy(copy)) {
            return Ok(cause);
        }
        for copy in &copies {
            if copy.composed
                && let Some(base) = self.bad_base(copy.pack, copy.row)?
            {
                return self.blame_base(copy, id, &base);
            }
        }
        // Nobody knows what is in a pack that does not open; when there is one, that is where the chunk was.
        if let [cause] = self.opaque[..] {
            return Ok(cause);
        }
        Ok(self.damage().cause(FindingKind::ChunkMissing, format!("chunk {id}"), "a snapshot needs it, and no pack holds it"))
    }

    fn blame_copy(&self, copy: &StoredCopy) -> Option<CauseNumber> {
        let mut damage = self.damage();
        if let Some(pack) = self.absent.get(&copy.pack) {
            let known = damage.pack(pack);
            return Some(known.unwrap_or_else(|| {
                let detail = if self.view.is_bad(pack) {
                    "a snapshot needs it, and a gc record deleted it"
                } else {
                    "a snapshot needs it and an index file tells of it, but it is not in the repository"
                };
                damage.cause(FindingKind::PackMissing, names::pack_name(*pack).to_string(), detail)
            }));
        }
        damage.row(copy.pack, copy.row)
    }

    fn blame_base(&self, copy: &StoredCopy, id: &ChunkId, base: &ChunkId) -> Result<CauseNumber, RepositoryError> {
        let literals = self.copies_everywhere(ChunkType::Data, base)?;
        if let Some(cause) = literals.iter().filter(|base| !base.composed).find_map(|base| self.blame_copy(base)) {
            return Ok(cause);
        }
        let detail = format!("chunk {id} is composed from chunk {base}, which has no literal copy");
        Ok(self.damage().part(FindingKind::BaseMissing, self.reader.pack_name(copy.pack), copy.row, detail))
    }

    fn note_unindexed(&self, wanted: &[(ChunkType, ChunkId)], found: &[Found]) -> Result<(), RepositoryError> {
        for (&(kind, id), found) in wanted.iter().zip(found) {
            if let Found::At(at) | Found::Mended(at) = found
                && self.unindexed.contains(&at.pack)
                && !self.is_indexed_elsewhere(kind, &id)?
            {
                let name = self.reader.pack_name(at.pack);
                self.damage().cause(FindingKind::IndexMissing, name, "a snapshot needs it, and no index file tells of it");
            }
        }
        Ok(())
    }

    /// A prune that repacks puts the second copy of a chunk before the index file that tells of it: nobody needs that copy yet.
    fn is_indexed_elsewhere(&self, kind: ChunkType, id: &ChunkId) -> Result<bool, RepositoryError> {
        let copies = self.copies_everywhere(kind, id)?;
        Ok(copies.iter().any(|copy| self.view.contains(copy.pack) && !self.unindexed.contains(&copy.pack)))
    }
}

/// What is wrong with a copy.
#[derive(Debug)]
pub(super) enum Harm {
    /// Its pack is gone.
    Missing,
    /// The store cannot read its pack.
    Unreadable(String),
    /// Its frame does not open.
    Frame(String),
    /// Its row, its recipe, or its bytes.
    Chunk(String),
}

impl Harm {
    /// As a finding about a whole pack.
    pub(crate) fn of_pack(self) -> (FindingKind, String) {
        match self {
            Self::Missing => (FindingKind::PackMissing, "it was listed, but is not there when it is read".to_owned()),
            Self::Unreadable(detail) => (FindingKind::ObjectUnreadable, detail),
            Self::Frame(detail) | Self::Chunk(detail) => (FindingKind::PackDamaged, detail),
        }
    }
}

/// On a local disk a failed read is a bad sector or a wrong mode of this one object; a remote store that fails says nothing about any.
pub(super) fn store_harm(repository: &Repository, error: StoreError) -> Result<Harm, StoreError> {
    match error {
        StoreError { kind: StoreErrorKind::Missing, .. } => Ok(Harm::Missing),
        StoreError { kind: StoreErrorKind::Size { .. }, .. } => Ok(Harm::Frame(error.to_string())),
        StoreError { kind: StoreErrorKind::Failed | StoreErrorKind::Denied, .. } if !repository.is_remote() => {
            Ok(Harm::Unreadable(error.to_string()))
        }
        other => Err(other),
    }
}
