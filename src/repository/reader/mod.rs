//! The reader: ids in, plaintext out. Every id is recomputed, so the reader gives the exact bytes or an error (I11).
//!
//! Chunks are found through the catalog. A frame is opened once for all chunks wanted from it. When a copy turns out bad, every other
//! copy is tried, and then the parity objects of their packs. Bases of composed chunks are resolved through literal copies only.

mod many;
mod mending;
mod windows;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};

use quick_cache::Weighter;
use quick_cache::sync::Cache as Bounded;

use crate::catalog::{Catalog, PackNumber, StoredCopy, Trust, View};
use crate::crypto::ChunkType;
use crate::format::pack::{self, Class, PackFacts, RowEncoding, recipe};
use crate::format::{FormatError, limits, names};
use crate::id::{ChunkId, PackId};
use crate::locks::Unpoisoned;
use crate::monitor::{Monitor, Quiet};
use crate::planted;
use crate::repository::{Repository, RepositoryError};
use crate::store::{ReadUnit, StoreError, StoreErrorKind, get_widened};

use windows::{Fetched, Windows};

/// Opened frames that are kept for the next chunk.
const FRAMES_KEPT_BYTES: u64 = 24 << 20;
/// The same, of frames that only parity gave.
const FRAMES_MENDED_KEPT_BYTES: u64 = 8 << 20;
/// Directory rows that are kept decoded.
const DIRECTORY_ROWS_KEPT: u64 = 200_000;
/// How often a pack that is not found is looked for again before it counts as missing.
const LISTINGS_MAX: usize = 5;

/// Where one copy of a chunk stands. Sorts in the order packs are best read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Location {
    /// The pack.
    pub pack: PackNumber,
    /// Frame within the pack.
    pub frame: u32,
    /// Row in the pack's directory.
    pub row: u32,
    /// A recipe, whose bases are read too.
    pub composed: bool,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<(PackNumber, u32), Arc<Vec<u8>>> for ByBytes {
    fn weight(&self, _: &(PackNumber, u32), frame: &Arc<Vec<u8>>) -> u64 {
        frame.len() as u64 + 64
    }
}

#[derive(Clone)]
struct ByRows;

impl Weighter<PackNumber, Arc<PackFacts>> for ByRows {
    fn weight(&self, _: &PackNumber, facts: &Arc<PackFacts>) -> u64 {
        facts.directory.chunks.len() as u64 + 16
    }
}

/// May a damaged pack be mended in memory to read a copy?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mend {
    No,
    IfNeeded,
}

/// What parity made of damaged packs.
#[derive(Default)]
struct Mended {
    /// The last one: a reader of one frame of it soon reads the next.
    last: Option<(PackId, Arc<Vec<u8>>)>,
    /// Packs that cannot be mended, so that it is not tried again for each of their chunks.
    hopeless: HashSet<PackId>,
}

/// Reads chunks; may be used from many threads.
pub struct Reader {
    repository: Arc<Repository>,
    catalog: Mutex<Catalog>,
    facts: Bounded<PackNumber, Arc<PackFacts>, ByRows>,
    frames: Bounded<(PackNumber, u32), Arc<Vec<u8>>, ByBytes>,
    /// What is kept of metadata packs of a remote store. On disk only when the question is not what the store holds now.
    windows: Option<Windows>,
    mended: Mutex<Mended>,
    /// Kept apart: a check of what the store holds must not be given what parity made of it.
    frames_mended: Bounded<(PackNumber, u32), Arc<Vec<u8>>, ByBytes>,
}

/// Why one copy of a chunk did not give its bytes.
#[derive(Debug)]
pub(crate) struct BadCopy {
    /// Object name of the pack.
    pub pack: String,
    /// What was wrong.
    pub error: RepositoryError,
}

impl Reader {
    /// A reader over what the repository holds now.
    pub fn new(repository: &Arc<Repository>, monitor: &dyn Monitor) -> Result<Self, RepositoryError> {
        repository.need_owner("reading")?;
        let mut catalog = repository.open_catalog()?;
        repository.sync(&mut catalog, monitor)?;
        let mut reader = Self::over(repository, catalog)?;
        if repository.objects.store.read_unit() == ReadUnit::Window
            && let Some(folder) = &repository.cache
        {
            reader.windows = Some(Windows::on_disk(folder.join("metadata")));
        }
        Ok(reader)
    }

    /// A reader over another catalog: verification believes neither index files nor the local cache.
    pub fn over(repository: &Arc<Repository>, catalog: Catalog) -> Result<Self, RepositoryError> {
        repository.need_owner("reading")?;
        Ok(Self {
            repository: Arc::clone(repository),
            catalog: Mutex::new(catalog),
            facts: Bounded::with_weighter(64, DIRECTORY_ROWS_KEPT, ByRows),
            frames: Bounded::with_weighter(64, FRAMES_KEPT_BYTES, ByBytes),
            windows: (repository.objects.store.read_unit() == ReadUnit::Window).then(Windows::in_memory),
            mended: Mutex::default(),
            frames_mended: Bounded::with_weighter(16, FRAMES_MENDED_KEPT_BYTES, ByBytes),
        })
    }

    /// The repository this reads.
    pub fn repository(&self) -> &Arc<Repository> {
        &self.repository
    }

    /// What is listed and usable; a copy of the view as of the last listing.
    pub fn view(&self) -> View {
        self.lock().view().clone()
    }

    /// The catalog behind this reader. Look-ups on other threads wait meanwhile.
    pub(crate) fn with_catalog<T>(&self, work: impl FnOnce(&mut Catalog) -> T) -> T {
        work(&mut self.lock())
    }

    /// Lists again what there is.
    pub(crate) fn sync_again(&self, monitor: &dyn Monitor) -> Result<(), RepositoryError> {
        self.repository.sync(&mut self.lock(), monitor).map(drop)
    }

    /// One chunk, its id recomputed; every copy is tried before it counts as damaged.
    pub fn read_chunk(&self, chunk_type: ChunkType, id: &ChunkId) -> Result<Vec<u8>, RepositoryError> {
        let mut listings = 0;
        loop {
            let (bytes, bad) = self.read_copies(chunk_type, id)?;
            if let Some(bytes) = bytes {
                return Ok(bytes);
            }
            if let Some(bytes) = self.read_mended(chunk_type, id, &bad)? {
                return Ok(bytes);
            }
            let gone = bad
                .iter()
                .any(|copy| matches!(copy.error, RepositoryError::Store(StoreError { kind: StoreErrorKind::Missing, .. })));
            listings += 1;
            // A prune may have moved it: list again before it counts as damage.
            if (gone || bad.is_empty()) && listings < if gone { LISTINGS_MAX } else { 2 } {
                self.sync_again(&Quiet)?;
                continue;
            }
            return match bad.into_iter().next_back() {
                None => Err(RepositoryError::ChunkMissing(*id)),
                Some(BadCopy { error: RepositoryError::Store(error), .. })
                    if !matches!(error, StoreError { kind: StoreErrorKind::Missing | StoreErrorKind::Size { .. }, .. }) =>
                {
                    Err(error.into())
                }
                Some(copy) => Err(RepositoryError::ChunkDamaged { id: *id, detail: format!("{}: {}", copy.pack, copy.error) }),
            };
        }
    }

    /// Tries each copy until one is good. Says what was wrong with the others.
    pub(crate) fn read_copies(
        &self,
        chunk_type: ChunkType,
        id: &ChunkId,
    ) -> Result<(Option<Vec<u8>>, Vec<BadCopy>), RepositoryError> {
        let mut bad = Vec::new();
        for copy in self.copies(chunk_type, id)? {
            match self.read_copy(chunk_type, id, copy.pack, copy.row) {
                Ok(bytes) => return Ok((Some(bytes), bad)),
                Err(error) => bad.push(BadCopy { pack: self.pack_name(copy.pack), error }),
            }
        }
        Ok((None, bad))
    }

    /// Where a usable copy of each chunk stands; literal copies are preferred.
    pub fn locate(&self, wanted: &[(ChunkType, ChunkId)]) -> Result<Vec<Option<Location>>, RepositoryError> {
        let mut copies: Vec<Option<StoredCopy>> = vec![None; wanted.len()];
        {
            let catalog = &mut *self.lock();
            let found = catalog.find(self.repository.objects(), wanted, Trust::Readable)?;
            let view = catalog.view();
            let key = |copy: &StoredCopy| (!view.contains(copy.pack), copy.composed, copy.pack);
            for (nth, copy) in found {
                let best = &mut copies[nth];
                if best.as_ref().is_none_or(|best| key(&copy) < key(best)) {
                    *best = Some(copy);
                }
            }
        }
        let mut order: Vec<usize> = (0..wanted.len()).collect();
        order.sort_unstable_by_key(|&nth| copies[nth].map(|copy| copy.pack));
        let mut found = vec![None; wanted.len()];
        let mut open: Option<(PackNumber, Arc<PackFacts>)> = None;
        for nth in order {
            let Some(copy) = copies[nth] else { continue };
            let facts = match &open {
                Some((number, facts)) if *number == copy.pack => Arc::clone(facts),
                _ => self.facts(copy.pack)?,
            };
            let row = facts.directory.chunks.get(copy.row as usize);
            found[nth] = row.map(|row| Location { pack: copy.pack, frame: row.frame, row: copy.row, composed: copy.composed });
            open = Some((copy.pack, facts));
        }
        Ok(found)
    }

    /// Every usable copy, literal ones first.
    pub fn copies(&self, chunk_type: ChunkType, id: &ChunkId) -> Result<Vec<StoredCopy>, RepositoryError> {
        let catalog = &mut *self.lock();
        let found = catalog.find(self.repository.objects(), &[(chunk_type, *id)], Trust::Readable)?;
        let mut copies: Vec<StoredCopy> = found.into_iter().map(|(_, copy)| copy).collect();
        let view = catalog.view();
        // A bad pack may be deleted at any moment.
        copies.sort_unstable_by_key(|copy| (!view.contains(copy.pack), copy.composed, copy.pack, copy.row));
        Ok(copies)
    }

    /// Every copy of each of these chunks that is trusted so far, in no order; asked in one batch.
    pub(crate) fn copies_of(&self, wanted: &[(ChunkType, ChunkId)], trust: Trust) -> Result<Vec<Vec<StoredCopy>>, RepositoryError> {
        Ok(self.lock().copies(self.repository.objects(), wanted, trust)?)
    }

    /// The number of a pack that can be read.
    pub fn number(&self, id: &PackId) -> Option<PackNumber> {
        self.lock().view().readable_number(id)
    }

    /// Facts of a pack in the view.
    pub fn facts(&self, number: PackNumber) -> Result<Arc<PackFacts>, RepositoryError> {
        self.facts.get_or_insert_with(&number, || match self.lock().facts(number)? {
            Some(facts) => Ok(Arc::new(facts)),
            None => Err(RepositoryError::Inconclusive(format!("the local cache forgot pack number {number:?}; run again"))),
        })
    }

    /// One opened frame; a read of a remote store is widened to whole windows.
    pub fn open_frame(&self, number: PackNumber, facts: &PackFacts, frame: u32) -> Result<Arc<Vec<u8>>, RepositoryError> {
        self.open_frame_from(number, facts, frame, None)
    }

    fn open_frame_from(
        &self,
        number: PackNumber,
        facts: &PackFacts,
        frame: u32,
        fetched: Option<&Fetched>,
    ) -> Result<Arc<Vec<u8>>, RepositoryError> {
        if let Some(opened) = self.frames.get(&(number, frame)) {
            return Ok(opened);
        }
        let name = names::pack_name(facts.id);
        let Some(row) = facts.directory.frames.get(frame as usize) else {
            return Err(RepositoryError::Inconclusive(format!("{name} has no frame {frame}")));
        };
        let (store, length) = (&*self.repository.objects.store, row.sealed_length as usize);
        let open = |sealed: &mut Vec<u8>| pack::open_frame(&self.repository.objects.opener, &facts.header, frame, row, sealed);
        let windows = self.windows.as_ref().filter(|_| facts.class == Class::Metadata);
        let (mut sealed, kept) = match (fetched.and_then(|fetched| fetched.part(row.offset, length)), windows) {
            (Some(part), _) => (part, false),
            (None, Some(windows)) => windows.read(store, facts, row.offset, length)?,
            (None, None) => (get_widened(store, &name, facts.size, row.offset, length)?, false),
        };
        let raw = match (open(&mut sealed), windows) {
            // What this machine kept says nothing about the store.
            (Err(_), Some(windows)) if kept => {
                windows.forget(facts);
                open(&mut windows.read(store, facts, row.offset, length)?.0)
            }
            (opened, _) => opened,
        }
        .map_err(RepositoryError::object(format!("{name}, frame {frame}")))?;
        let raw = Arc::new(raw);
        self.frames.insert((number, frame), Arc::clone(&raw));
        Ok(raw)
    }

    /// One copy, its id recomputed.
    pub fn read_copy(&self, chunk_type: ChunkType, id: &ChunkId, number: PackNumber, row: u32) -> Result<Vec<u8>, RepositoryError> {
        self.read_copy_by(chunk_type, id, number, row, Mend::No)
    }

    /// As [`Reader::read_copy`], through a parity object where the pack, or the pack of a base, is damaged.
    pub fn read_copy_mended(
        &self,
        chunk_type: ChunkType,
        id: &ChunkId,
        number: PackNumber,
        row: u32,
    ) -> Result<Vec<u8>, RepositoryError> {
        self.read_copy_by(chunk_type, id, number, row, Mend::IfNeeded)
    }

    fn read_copy_by(
        &self,
        chunk_type: ChunkType,
        id: &ChunkId,
        number: PackNumber,
        row: u32,
        mend: Mend,
    ) -> Result<Vec<u8>, RepositoryError> {
        let facts = self.facts(number)?;
        let damaged = |detail: &str| RepositoryError::ChunkDamaged { id: *id, detail: detail.to_owned() };
        let Some(chunk) = facts.directory.chunks.get(row as usize) else {
            return Err(damaged("its row is beyond the pack's directory"));
        };
        let frame = match mend {
            Mend::No => self.open_frame(number, &facts, chunk.frame)?,
            Mend::IfNeeded => self.open_frame_mended(number, &facts, chunk.frame)?,
        };
        let bytes = match &chunk.encoding {
            RowEncoding::Literal { .. } => literal_slice(&facts, row, &frame, chunk_type, id)
                .ok_or_else(|| damaged("its row points beyond its frame, or names another chunk"))?
                .to_vec(),
            RowEncoding::Composed { offset, length, raw_length, .. } => {
                if chunk.id != *id || chunk.chunk_type != chunk_type {
                    return Err(damaged("its row names another chunk"));
                }
                let bases: Vec<ChunkId> = facts.directory.bases_of(&chunk.encoding).collect();
                let encoded = slice(&frame, *offset, *length).ok_or_else(|| damaged("its recipe lies beyond its frame"))?;
                // The id of the chunk proves its bases too. They are proved one by one only when it does not come out.
                if let Some(bytes) = self.compose_at_once(encoded, &bases, *raw_length)
                    && self.repository.chunk_id_in(&facts, chunk_type, &bytes) == Some(*id)
                {
                    return Ok(bytes);
                }
                self.compose(encoded, &bases, *raw_length, mend).map_err(|error| match error {
                    RepositoryError::Format(error) => damaged(&error.to_string()),
                    other => other,
                })?
            }
        };
        if self.repository.chunk_id_in(&facts, chunk_type, &bytes) != Some(*id) && !planted::is("id-not-recomputed") {
            return Err(damaged("its bytes do not give its id"));
        }
        Ok(bytes)
    }

    /// The chunk that a recipe makes of the best copy of each base, none of which is proved. None: something is wrong with one of them.
    fn compose_at_once(&self, encoded: &[u8], bases: &[ChunkId], raw_length: u32) -> Option<Vec<u8>> {
        let recipe = recipe::decode(encoded, bases.len(), raw_length).ok()?;
        let wanted: Vec<(ChunkType, ChunkId)> = bases.iter().map(|&base| (ChunkType::Data, base)).collect();
        let places: Vec<Location> = self.locate(&wanted).ok()?.into_iter().collect::<Option<_>>()?;
        let base = |number: usize| {
            let refused = FormatError::field("recipe", "base", "cannot be had");
            self.unproved(&bases[number], places[number]).ok_or(refused)
        };
        recipe::compose(&recipe, bases.len(), base).ok()
    }

    /// A literal copy of a base, of which only its row vouches.
    fn unproved(&self, id: &ChunkId, place: Location) -> Option<Vec<u8>> {
        let facts = self.facts(place.pack).ok()?;
        let row = facts.directory.chunks.get(place.row as usize)?;
        let RowEncoding::Literal { length, .. } = row.encoding else { return None };
        // Before anything is read for it: a frame may hold 16 MiB.
        if length > limits::BASE_SIZE_MAX {
            return None;
        }
        let frame = self.open_frame(place.pack, &facts, place.frame).ok()?;
        literal_slice(&facts, place.row, &frame, ChunkType::Data, id).map(<[u8]>::to_vec)
    }

    fn compose(&self, encoded: &[u8], bases: &[ChunkId], raw_length: u32, mend: Mend) -> Result<Vec<u8>, RepositoryError> {
        let recipe = recipe::decode(encoded, bases.len(), raw_length)?;
        recipe::compose(&recipe, bases.len(), |number| self.read_literal(&bases[number], mend))
    }

    /// A base: literal copies only, so that no chain is longer than one step.
    fn read_literal(&self, id: &ChunkId, mend: Mend) -> Result<Vec<u8>, RepositoryError> {
        let mut last = None;
        let mut copies = self.copies(ChunkType::Data, id)?;
        if mend == Mend::IfNeeded {
            copies.extend(self.copies_cut_off(ChunkType::Data, id)?);
        }
        copies.retain(|copy| !copy.composed);
        for how in [Mend::No, mend] {
            for copy in &copies {
                match self.read_copy_by(ChunkType::Data, id, copy.pack, copy.row, how) {
                    Ok(bytes) => return Ok(bytes),
                    Err(error) => last = Some(error),
                }
            }
            if mend == Mend::No {
                break;
            }
        }
        Err(last.unwrap_or(RepositoryError::ChunkMissing(*id)))
    }

    /// Object name of a pack, for messages.
    pub fn pack_name(&self, number: PackNumber) -> String {
        match self.lock().view().id(number) {
            Some(id) => names::pack_name(id).to_string(),
            None => "a pack that is no longer listed".to_owned(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Catalog> {
        // A panic while holding it leaves plain data behind, which the id check guards anyhow.
        self.catalog.lock().unpoisoned()
    }
}

fn slice(frame: &[u8], offset: u32, length: u32) -> Option<&[u8]> {
    let offset = offset + u32::from(planted::is("offset-off-by-one") && offset > 0);
    frame.get(offset as usize..(offset as usize).checked_add(length as usize)?)
}

fn literal_slice<'a>(facts: &PackFacts, row: u32, frame: &'a [u8], kind: ChunkType, id: &ChunkId) -> Option<&'a [u8]> {
    let chunk = facts.directory.chunks.get(row as usize)?;
    match chunk.encoding {
        RowEncoding::Literal { offset, length } if chunk.id == *id && chunk.chunk_type == kind => slice(frame, offset, length),
        _ => None,
    }
}
