//! The catalog: which packs hold a chunk, and in which of them a copy may be relied on.
//!
//! Facts about packs never change. They come from index files or from the packs' own directories, and the local cache keeps them for
//! the next run. Which packs count is decided by two listings: what gc records condemn, which the caller hands in, and then `packs/`.
//! So the cache may be old, foreign or lost and cost nothing but time.
//!
//! A cache that turns out damaged is dropped and starts empty. The catalog then fills it again from the same gc records and repeats the
//! look-up, so its callers never see that. Pack numbers do not outlive a drop: an old one is unknown, and [`Catalog::drops`] tells a
//! caller that kept some.

mod bits;
mod directory;
mod error;
mod index_files;
mod sync;
#[cfg(test)]
mod tests;
mod view;

pub use bits::Bits;
pub use directory::own_facts;
pub(crate) use directory::own_facts_mended;
pub use error::CatalogError;
pub(crate) use index_files::{list_index_files, put_index_files};
pub use sync::list_packs;
pub use view::{Trust, View};

pub(crate) use crate::cache::{FolderRecord, NoMemo, PieceTable};
pub use crate::cache::{Memo, PackNumber, StoredCopy};

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::cache::{Cache, CacheError, ChunkKey, or_nothing};
use crate::crypto::ChunkType;
use crate::format::pack::PackFacts;
use crate::id::{ChunkId, PackId};
use crate::monitor::{Monitor, Quiet};
use crate::objects::Objects;
use crate::planted;

/// Packs added to the cache in one transaction.
const BATCH_PACKS: usize = 64;
/// Records of folders that are gone are forgotten when they are one for so many folders.
const GONE_FOLDERS_ONE_IN: u64 = 4;

/// Where facts about packs come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FactsFrom {
    /// Index files, and for an owner the directories of packs that no index file names: for reading and writing.
    IndexFiles,
    /// The packs' own directories alone: for verifying and deleting. An index file may be a thief's.
    Packs,
}

/// What gc records say of packs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Condemned {
    /// Packs that may not be relied on.
    pub bad: Arc<HashSet<PackId>>,
    /// Those of them that a verdict deleted: they are bad for ever.
    pub deleted: HashSet<PackId>,
}

/// See the page of this room.
pub struct Catalog {
    cache: Cache,
    facts_from: FactsFrom,
    view: View,
    condemned: Condemned,
    /// Packs that the caller does not rely on, whatever gc records say.
    distrusted: HashSet<PackId>,
    /// Durable packs that no index file names yet.
    unindexed: Vec<PackFacts>,
    /// How often the cache had been dropped when the view was made.
    filled_at: u64,
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalog").field("facts_from", &self.facts_from).field("view", &self.view).finish_non_exhaustive()
    }
}

impl Catalog {
    /// A catalog over this cache. It knows no pack before [`Catalog::sync`].
    pub fn new(cache: Cache, facts_from: FactsFrom) -> Self {
        Self {
            filled_at: cache.resets(),
            cache,
            facts_from,
            view: View::default(),
            condemned: Condemned::default(),
            distrusted: HashSet::new(),
            unindexed: Vec::new(),
        }
    }

    /// Learns which packs exist and what is in them. `condemned` was read before `listed` was (R12).
    ///
    /// # Errors
    /// The store's. A damaged index file or pack is reported to `monitor` and passed over.
    pub fn sync(
        &mut self,
        objects: &Objects,
        condemned: Condemned,
        listed: HashMap<PackId, u64>,
        monitor: &dyn Monitor,
    ) -> Result<(), CatalogError> {
        self.condemned = condemned;
        self.fill(objects, listed, monitor)?;
        self.take_remarks().iter().for_each(|remark| monitor.note(remark));
        Ok(())
    }

    /// What a person should know about the cache since this was asked last.
    pub(crate) fn take_remarks(&mut self) -> Vec<String> {
        self.cache.take_remarks()
    }

    /// How often the cache was dropped. Pack numbers from before a drop are unknown after it.
    pub fn drops(&self) -> u64 {
        self.cache.resets()
    }

    /// Which packs count.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Puts another view in place of this one, until the next [`Catalog::sync`]; returns the one before.
    pub(crate) fn replace_view(&mut self, view: View) -> View {
        std::mem::replace(&mut self.view, view)
    }

    // -- look-ups ----------------------------------------------------------------------------------

    /// Every copy of these chunks in packs that are trusted so far: the position of its chunk in `wanted`, and the copy, in no order.
    /// Batches of thousands cost least for each chunk.
    ///
    /// # Errors
    /// The store's, when the cache has to be filled again; [`CacheError::Unusable`].
    pub fn find(
        &mut self,
        objects: &Objects,
        wanted: &[(ChunkType, ChunkId)],
        trust: Trust,
    ) -> Result<Vec<(usize, StoredCopy)>, CatalogError> {
        let keys: Vec<ChunkKey> = wanted.iter().map(|&(kind, id)| ChunkKey { kind: kind as u8, id }).collect();
        self.look_up(objects, |cache, view| {
            let mut found = Vec::new();
            cache.find(&keys, &mut |nth, copy| {
                if view.trusts(copy.pack, trust) {
                    found.push((nth, copy));
                }
            })?;
            Ok(found)
        })
    }

    /// As [`Catalog::find`], grouped by chunk.
    ///
    /// # Errors
    /// Those of [`Catalog::find`].
    pub fn copies(
        &mut self,
        objects: &Objects,
        wanted: &[(ChunkType, ChunkId)],
        trust: Trust,
    ) -> Result<Vec<Vec<StoredCopy>>, CatalogError> {
        let mut copies = vec![Vec::new(); wanted.len()];
        for (nth, copy) in self.find(objects, wanted, trust)? {
            copies[nth].push(copy);
        }
        Ok(copies)
    }

    /// Facts of a pack; `None` when the number is unknown.
    ///
    /// # Errors
    /// [`CacheError::Unusable`]; an object error when the facts do not decode.
    pub fn facts(&self, number: PackNumber) -> Result<Option<PackFacts>, CatalogError> {
        or_nothing(self.cache.pack(number))?.as_ref().map(sync::facts_of).transpose()
    }

    /// Facts of a pack, whether or not it counts.
    ///
    /// # Errors
    /// Those of [`Catalog::facts`].
    pub fn facts_of(&self, id: &PackId) -> Result<Option<PackFacts>, CatalogError> {
        match or_nothing(self.cache.pack_number(id))? {
            Some(number) => self.facts(number),
            None => Ok(None),
        }
    }

    /// Every pack that facts exist about, whether or not it counts, in the order in which they became known.
    ///
    /// # Errors
    /// [`CacheError`].
    pub fn known(&self) -> Result<Vec<(PackNumber, PackId)>, CatalogError> {
        let mut known = Vec::new();
        self.cache.packs(&mut |number, id, _| known.push((number, id)))?;
        Ok(known)
    }

    /// Packs that index files name, as far as these were there at the last [`Catalog::sync`].
    ///
    /// # Errors
    /// [`CacheError`].
    pub(crate) fn named_by_index_files(&self) -> Result<HashSet<PackId>, CatalogError> {
        let mut named = HashSet::new();
        self.cache.index_files(&mut |_, packs| named.extend(packs))?;
        Ok(named)
    }

    /// The packs that a composed copy needs, when each of its bases has a literal copy that may be relied on (I12). `None`: the copy
    /// cannot be relied on.
    ///
    /// # Errors
    /// Those of [`Catalog::facts`].
    pub(crate) fn packs_of_composed(&self, copy: &StoredCopy) -> Result<Option<Vec<PackNumber>>, CatalogError> {
        let Some(facts) = self.facts(copy.pack)? else { return Ok(None) };
        let Some(chunk) = facts.directory.chunks.get(copy.row as usize) else { return Ok(None) };
        let bases = facts.directory.bases_of(&chunk.encoding);
        let keys: Vec<ChunkKey> = bases.map(|id| ChunkKey { kind: ChunkType::Data as u8, id }).collect();
        let mut homes = vec![None; keys.len()];
        let found = self.cache.find(&keys, &mut |nth, base| {
            // Literal copies only, so that no chain is longer than one step.
            if !base.composed && self.view.contains(base.pack) {
                homes[nth].get_or_insert(base.pack);
            }
        });
        // What a cache said before it was dropped is still true: a base that was not found only costs storing the chunk again.
        or_nothing(found)?;
        if planted::is("base-test-left-out") {
            homes.retain(Option::is_some);
        }
        let Some(mut packs) = homes.into_iter().collect::<Option<Vec<_>>>() else { return Ok(None) };
        packs.push(copy.pack);
        packs.sort_unstable();
        packs.dedup();
        Ok(Some(packs))
    }

    /// Runs a look-up. When the cache is dropped under it, fills the cache again and runs it once more.
    fn look_up<T>(&mut self, objects: &Objects, work: impl Fn(&Cache, &View) -> Result<T, CacheError>) -> Result<T, CatalogError> {
        self.fill_again_if_dropped(objects)?;
        match work(&self.cache, &self.view) {
            Err(CacheError::Reset(_)) => {
                self.fill_again_if_dropped(objects)?;
                Ok(work(&self.cache, &self.view)?)
            }
            done => Ok(done?),
        }
    }

    /// The cache was dropped since the view was made: by a note or a folder record that was damaged, or by another thread.
    fn fill_again_if_dropped(&mut self, objects: &Objects) -> Result<(), CatalogError> {
        if self.cache.resets() == self.filled_at {
            return Ok(());
        }
        let listed = list_packs(objects)?;
        self.fill(objects, listed, &Quiet)
    }

    // -- what is learnt ----------------------------------------------------------------------------

    /// Later gc records: what they condemn counts no more.
    pub fn condemn(&mut self, condemned: Condemned) {
        for id in condemned.bad.iter().filter(|_| !planted::is("bad-packs-stay-in-view")) {
            self.view.remove(id);
        }
        self.view.bad = Arc::clone(&condemned.bad);
        self.condemned = condemned;
    }

    /// Relies on no copy in these packs from now on.
    pub(crate) fn distrust(&mut self, packs: impl IntoIterator<Item = PackId>) {
        for id in packs {
            self.view.remove(&id);
            self.distrusted.insert(id);
        }
    }

    /// A pack that this run made durable. It counts at once, and goes into the next index file.
    ///
    /// # Errors
    /// The store's, when the cache has to be filled again; [`CacheError::Unusable`].
    pub(crate) fn add_own(&mut self, objects: &Objects, facts: PackFacts) -> Result<Option<PackNumber>, CatalogError> {
        let id = facts.id;
        self.unindexed.push(facts);
        // Filling again adds it with the others.
        self.fill_again_if_dropped(objects)?;
        match sync::add_own(&mut self.cache, &mut self.view, &self.unindexed[self.unindexed.len() - 1..]) {
            Err(CatalogError::Cache(CacheError::Reset(_))) => self.fill_again_if_dropped(objects)?,
            added => added?,
        }
        Ok(self.view.number(&id))
    }

    /// Remembers what packs say of themselves. They count when `count` says so.
    ///
    /// # Errors
    /// [`CacheError`].
    pub(crate) fn learn(&mut self, packs: &[PackFacts], count: bool) -> Result<(), CatalogError> {
        for batch in packs.chunks(BATCH_PACKS) {
            let numbers = sync::add_facts(&mut self.cache, batch, Some(sync::FROM_PACKS))?;
            for (number, facts) in numbers.into_iter().zip(batch).filter(|_| count) {
                self.view.insert(number, facts.id);
            }
        }
        Ok(())
    }

    /// Forgets the facts about one pack. Reads the whole cache once.
    ///
    /// # Errors
    /// [`CacheError`].
    pub(crate) fn forget_pack(&mut self, id: &PackId) -> Result<(), CatalogError> {
        match self.cache.pack_number(id)? {
            Some(number) => Ok(self.cache.forget_packs(&[number])?),
            None => Ok(()),
        }
    }

    /// Forgets facts about packs that do not count and for which `gone` says so, if they are at least one in `one_in` of all. Reads the
    /// whole cache once.
    ///
    /// # Errors
    /// [`CacheError`].
    pub fn forget(&mut self, one_in: usize, gone: impl Fn(&PackId) -> bool) -> Result<(), CatalogError> {
        let view = &self.view;
        sync::forget(&mut self.cache, one_in, |id| view.number(id).is_none() && gone(id))
    }

    // -- index files -------------------------------------------------------------------------------

    /// Packs whose facts this host knows from a run that died before its index file: they go into the next one.
    ///
    /// # Errors
    /// [`CacheError::Unusable`].
    pub(crate) fn adopt_orphans(&mut self) -> Result<(), CatalogError> {
        for facts in sync::unindexed_facts(&self.cache, &self.view)? {
            self.index_again(facts);
        }
        Ok(())
    }

    /// A listed pack that no readable index file names: it goes into the next one.
    pub(crate) fn index_again(&mut self, facts: PackFacts) {
        if !self.unindexed.iter().any(|known| known.id == facts.id) {
            self.unindexed.push(facts);
        }
    }

    /// Packs that wait for an index file.
    pub(crate) fn has_unindexed(&self) -> bool {
        !self.unindexed.is_empty()
    }

    /// Directory rows that wait for an index file.
    pub(crate) fn unindexed_rows(&self) -> usize {
        self.unindexed.iter().map(|facts| facts.directory.chunks.len()).sum()
    }

    /// D2: puts index files that name every pack which waits for one. `put` is told the bytes of each.
    ///
    /// # Errors
    /// The store's, and [`CacheError::Unusable`].
    pub(crate) fn put_index_files(&mut self, objects: &Objects, put: &mut dyn FnMut(u64)) -> Result<(), CatalogError> {
        let packs = std::mem::take(&mut self.unindexed);
        put_index_files(objects, packs, &[], &mut |id, size, named| {
            put(size);
            sync::mark_indexed(&mut self.cache, &id, named)
        })
    }

    // -- records of folders ------------------------------------------------------------------------

    /// What a folder looked like last time: the pages as they were put.
    ///
    /// # Errors
    /// [`CacheError::Unusable`].
    pub fn folder_record(&self, host: &str, source: &str, path: &[u8]) -> Result<Option<Vec<Vec<u8>>>, CatalogError> {
        Ok(or_nothing(self.cache.folder_state(host, source, path))?)
    }

    /// Remembers what folders look like, in one transaction: hand over hundreds at once.
    ///
    /// # Errors
    /// [`CacheError::Unusable`].
    pub(crate) fn put_folder_records(&mut self, host: &str, source: &str, records: &[FolderRecord]) -> Result<(), CatalogError> {
        Ok(or_nothing(self.cache.put_folder_states(host, source, records))?)
    }

    /// Forgets records of a source's folders that do not exist any more, once there are a good many of them: a quarter more records than
    /// `visited` folders. Then `exists` is asked about each.
    ///
    /// # Errors
    /// [`CacheError::Unusable`].
    pub(crate) fn forget_gone_folders(
        &mut self,
        host: &str,
        source: &str,
        visited: u64,
        exists: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<(), CatalogError> {
        let recorded = or_nothing(self.cache.count_folder_states(host, source))?;
        if recorded > visited.saturating_add(visited / GONE_FOLDERS_ONE_IN) {
            or_nothing(self.cache.retain_folder_states(host, source, exists))?;
        }
        Ok(())
    }
}

/// Tables of pieces. All of them may be lost at any time.
impl Catalog {
    /// The chunks of a table with the numbers of their rows, in the order in which they came.
    ///
    /// # Errors
    /// [`CacheError::Unusable`].
    pub fn piece_chunks(&self, table: PieceTable) -> Result<Vec<(i64, ChunkId)>, CatalogError> {
        Ok(or_nothing(self.cache.piece_chunks(table))?)
    }

    /// Bytes of all rows of a table.
    ///
    /// # Errors
    /// [`CacheError::Unusable`].
    pub fn pieces_bytes(&self, table: PieceTable) -> Result<u64, CatalogError> {
        Ok(or_nothing(self.cache.pieces_bytes(table))?)
    }

    /// What was put for a chunk.
    ///
    /// # Errors
    /// [`CacheError::Unusable`].
    pub fn pieces(&self, table: PieceTable, chunk: &ChunkId) -> Result<Option<Vec<u8>>, CatalogError> {
        Ok(or_nothing(self.cache.pieces(table, chunk))?)
    }

    /// Puts rows, in one transaction.
    ///
    /// # Errors
    /// [`CacheError::Unusable`].
    pub fn put_pieces(&mut self, table: PieceTable, rows: &[(ChunkId, Vec<u8>)]) -> Result<(), CatalogError> {
        Ok(or_nothing(self.cache.put_pieces(table, rows))?)
    }

    /// Forgets rows.
    ///
    /// # Errors
    /// [`CacheError::Unusable`].
    pub fn forget_pieces(&mut self, numbers: &[i64]) -> Result<(), CatalogError> {
        Ok(or_nothing(self.cache.forget_pieces(numbers))?)
    }
}

impl Memo for Catalog {
    fn recall(&self, key: &[u8]) -> Result<Option<Vec<u8>>, CacheError> {
        self.cache.recall(key)
    }

    fn remember(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), CacheError> {
        self.cache.remember(key, value)
    }

    fn remember_all(&mut self, notes: &[(Vec<u8>, Vec<u8>)]) -> Result<(), CacheError> {
        self.cache.remember_all(notes)
    }
}
