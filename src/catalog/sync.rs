//! Keeps the cache in step with the repository: index files and directories of packs go in, a view comes out.
//!
//! What the cache says counts only for packs that are listed with the right size.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::directory::{own_facts, own_facts_mended};
use super::index_files::list_index_files;
use super::view::View;
use super::{BATCH_PACKS, Catalog, CatalogError, Condemned, FactsFrom};
use crate::cache::{Cache, CacheError, ChunkKey, Memo, NewPack, PackNumber, PackRow, PackedChunk, or_nothing};
use crate::format::index;
use crate::format::pack::{Directory, HEAD_SIZE, Head, PackFacts, RowEncoding};
use crate::format::{FormatError, limits, names};
use crate::id::{IndexId, PackId};
use crate::monitor::{Monitor, Problem};
use crate::objects::{ObjectError, Objects};
use crate::parallel::{self, Feed};
use crate::planted;
use crate::store::{StoreError, StoreErrorKind};

/// How often an index file that vanished between its listing and its reading makes sync begin again: a prune merges index files.
const PASSES_MAX: usize = 5;
/// Deleted packs are forgotten when they are one in so many.
const DELETED_ONE_IN: usize = 4;
/// Facts added to a cache of packs in one transaction: [`BATCH_PACKS`] packs, or this many rows.
const BATCH_ROWS: usize = 200_000;
/// Facts that come from the packs themselves: the cache wants to know an index file for them, and this is the name of none.
pub(super) const FROM_PACKS: IndexId = IndexId([0; 32]);
/// Cache note: ids, end to end, of packs that are durable but that no index file of ours names yet.
const UNINDEXED: &[u8] = b"unindexed";

/// Sizes in bytes of every listed pack.
///
/// # Errors
/// The store's.
pub fn list_packs(objects: &Objects) -> Result<HashMap<PackId, u64>, CatalogError> {
    let mut packs = HashMap::new();
    objects.store.list(names::PACKS, &mut |entry| {
        if let Some(id) = names::parse_pack(&entry.name) {
            packs.insert(id, entry.size);
        }
    })?;
    Ok(packs)
}

impl Catalog {
    /// S2: makes the view by the gc records that are known here and this listing of `packs/`.
    pub(super) fn fill(
        &mut self,
        objects: &Objects,
        listed: HashMap<PackId, u64>,
        monitor: &dyn Monitor,
    ) -> Result<(), CatalogError> {
        let (mut first, mut passes) = (Some(listed), 0);
        loop {
            passes += 1;
            let drops = self.cache.resets();
            let listed = first.take().map_or_else(|| list_packs(objects), Ok)?;
            let view = match self.facts_from {
                FactsFrom::IndexFiles => self.view_by_index_files(objects, listed, monitor),
                FactsFrom::Packs => self.view_by_packs(objects, listed, monitor),
            };
            match view {
                // A damaged cache was dropped on the way. It is empty now, and another pass fills it.
                Err(CatalogError::Cache(CacheError::Reset(_))) | Ok(_) if self.cache.resets() != drops && passes < PASSES_MAX => {}
                Err(CatalogError::Object(ObjectError::Store(StoreError {
                    kind: StoreErrorKind::Missing,
                    name: Some(name),
                    ..
                }))) if passes < PASSES_MAX && names::parse_index(&name).is_some() => {}
                view => {
                    self.view = view?;
                    self.filled_at = self.cache.resets();
                    return Ok(());
                }
            }
        }
    }

    fn view_by_index_files(
        &mut self,
        objects: &Objects,
        listed: HashMap<PackId, u64>,
        monitor: &dyn Monitor,
    ) -> Result<View, CatalogError> {
        let (cache, condemned) = (&mut self.cache, &self.condemned);
        let mut gone = read_index_files(objects, cache, monitor)?;
        // Merging moves what it finds from one to another: perhaps it was at it while the folder was listed.
        if !gone.is_empty() && !named_by_none(cache, &gone, &listed, condemned)?.is_empty() {
            let still = read_index_files(objects, cache, monitor)?;
            gone.retain(|id| still.contains(id));
        }
        forget_gone(cache, &gone, &listed, condemned)?;
        // Packs that a verdict deleted are never used again.
        forget(cache, DELETED_ONE_IN, |id| condemned.deleted.contains(id))?;
        let mut view = view_of(cache, condemned, listed)?;
        if objects.keys.is_owner() {
            read_directories(objects, cache, &mut view, monitor)?;
        }
        for id in &self.distrusted {
            view.remove(id);
        }
        add_own(cache, &mut view, &self.unindexed)?;
        Ok(view)
    }

    /// From the packs alone, into a cache that holds nothing else: each pack's own directory is read once. Deleting rests on this, because
    /// an index file may be a thief's.
    fn view_by_packs(
        &mut self,
        objects: &Objects,
        listed: HashMap<PackId, u64>,
        monitor: &dyn Monitor,
    ) -> Result<View, CatalogError> {
        let mut view = view_of(&self.cache, &self.condemned, listed)?;
        learn_packs(objects, &mut self.cache, &mut view, monitor)?;
        Ok(view)
    }
}

/// Durable packs of this run, which count at once.
pub(super) fn add_own(cache: &mut Cache, view: &mut View, packs: &[PackFacts]) -> Result<(), CatalogError> {
    for facts in packs {
        if view.bad.contains(&facts.id) {
            continue;
        }
        for number in add_facts(cache, std::slice::from_ref(facts), None)? {
            view.insert(number, facts.id);
        }
    }
    Ok(())
}

/// Lists index files and reads those the cache does not know. Returns those it knows and that are there no longer.
fn read_index_files(objects: &Objects, cache: &mut Cache, monitor: &dyn Monitor) -> Result<HashSet<IndexId>, CatalogError> {
    // Before the listing: what another process puts meanwhile is not gone.
    let mut known = HashSet::new();
    cache.index_files(&mut |id, _| _ = known.insert(id))?;
    known.remove(&FROM_PACKS);
    let mut gone = known.clone();
    for (id, entry) in list_index_files(objects)? {
        gone.remove(&id);
        if known.contains(&id) {
            continue;
        }
        let ignored = |why: &str| {
            let subject = entry.name.as_str().as_bytes().to_vec();
            monitor.problem(Problem { subject, detail: format!("index file ignored: {why}") });
        };
        let sealed = match objects.get_listed(&entry.name, limits::INDEX_SIZE_MAX) {
            Ok(Some(sealed)) => sealed,
            Ok(None) => return Err(StoreError::missing(entry.name).into()),
            Err(error) => {
                ignored(&error.into_fault()?);
                continue;
            }
        };
        match index::open(&objects.opener, id, &sealed) {
            Ok(file) => {
                add_facts(cache, &file.packs, Some(id))?;
                mark_indexed(cache, &id, &file.packs)?;
            }
            // Of packs whose chunks a writer of this generation cannot name: there is nothing in it for it, now or later.
            Err(FormatError::OtherGeneration { generation, .. }) if generation < objects.keys.generation() => {
                mark_indexed(cache, &id, &[])?;
            }
            // Not fatal: an owner indexes its packs from their own directories, and a writer does not rely on them.
            Err(error) => {
                ignored(&error.to_string());
                if is_junk_for_ever(&error) && names::hash_of(&[&sealed]).0 == id.0 {
                    mark_indexed(cache, &id, &[])?;
                }
            }
        }
    }
    Ok(gone)
}

/// An object whose bytes hash to its name never changes. With such an error no program will ever read it, so it is not read again.
fn is_junk_for_ever(error: &FormatError) -> bool {
    matches!(
        error,
        FormatError::TooShort { .. }
            | FormatError::WrongMagic { .. }
            | FormatError::WrongType { .. }
            | FormatError::WrongCommitment { .. }
            | FormatError::Damaged { .. }
    )
}

/// Known packs that are listed and that none of the remaining index files names, without those that wait for an index file.
fn named_by_none(
    cache: &Cache,
    gone: &HashSet<IndexId>,
    listed: &HashMap<PackId, u64>,
    condemned: &Condemned,
) -> Result<Vec<PackNumber>, CatalogError> {
    let mut packs = HashMap::new();
    cache.packs(&mut |number, id, _| {
        if listed.contains_key(&id) && !condemned.bad.contains(&id) {
            packs.insert(id, number);
        }
    })?;
    // In this order: another process adds an index file before it strikes its packs off this list.
    for id in unindexed(cache)? {
        packs.remove(&id);
    }
    cache.index_files(&mut |id, named| {
        if !gone.contains(&id) {
            named.iter().for_each(|pack| _ = packs.remove(pack));
        }
    })?;
    Ok(packs.into_values().collect())
}

/// A store that was put back from a copy may lack index files that this cache has read, and hold packs again that went since. Other
/// hosts do not know a pack that no index file names, so it must not be known here either: an owner reads its directory and indexes it
/// again, a writer stores its chunks again.
fn forget_gone(
    cache: &mut Cache,
    gone: &HashSet<IndexId>,
    listed: &HashMap<PackId, u64>,
    condemned: &Condemned,
) -> Result<(), CatalogError> {
    if gone.is_empty() || planted::is("index-files-that-are-gone-believed") {
        return Ok(());
    }
    let unnamed = named_by_none(cache, gone, listed, condemned)?;
    cache.forget_packs(&unnamed)?;
    let gone: Vec<IndexId> = gone.iter().copied().collect();
    Ok(cache.forget_index_files(&gone)?)
}

/// Forgets facts about packs for which `gone` says so, in one pass over the cache, once they are a good part of it.
pub(super) fn forget(cache: &mut Cache, one_in: usize, gone: impl Fn(&PackId) -> bool) -> Result<(), CatalogError> {
    let (mut doomed, mut all) = (Vec::new(), 0);
    cache.packs(&mut |number, id, _| {
        all += 1;
        if gone(&id) {
            doomed.push(number);
        }
    })?;
    if doomed.len() * one_in >= all {
        cache.forget_packs(&doomed)?;
    }
    Ok(())
}

/// What these listings make of what the cache knows.
fn view_of(cache: &Cache, condemned: &Condemned, mut listed: HashMap<PackId, u64>) -> Result<View, CatalogError> {
    let mut view = View::default();
    cache.packs(&mut |number, id, size| {
        match listed.remove(&id) {
            Some(found) if found == size && condemned.bad.contains(&id) => view.insert_condemned(number, id),
            Some(found) if found == size => view.insert(number, id),
            Some(_) if !condemned.bad.contains(&id) => _ = view.wrong_size.insert(number, id),
            None if planted::is("cache-not-relisted") => view.insert(number, id),
            _ => {}
        };
    })?;
    view.without_facts = listed.into_iter().filter(|(id, _)| !condemned.deleted.contains(id)).collect();
    view.without_facts.sort_unstable();
    view.bad = Arc::clone(&condemned.bad);
    Ok(view)
}

/// Reads the directories of packs without facts, side by side.
fn learn_packs(objects: &Objects, cache: &mut Cache, view: &mut View, monitor: &dyn Monitor) -> Result<(), CatalogError> {
    let unknown = std::mem::take(&mut view.without_facts);
    if unknown.is_empty() {
        return Ok(());
    }
    let (mut batch, mut rows) = (Vec::new(), 0);
    let mut flush = |batch: &mut Vec<PackFacts>, view: &mut View| -> Result<(), CatalogError> {
        let numbers = add_facts(cache, batch, Some(FROM_PACKS))?;
        for (number, facts) in numbers.into_iter().zip(batch.drain(..)) {
            if view.bad.contains(&facts.id) {
                view.insert_condemned(number, facts.id);
            } else {
                view.insert(number, facts.id);
            }
        }
        Ok(())
    };
    let threads = parallel::cores();
    parallel::pipeline(
        threads,
        threads * 2 + 2,
        |feed: &Feed<_, _>| -> Result<(), CatalogError> {
            for pack in unknown {
                // The taker went away with an error, which is what is returned then.
                if feed.push(pack).is_err() {
                    break;
                }
            }
            Ok(())
        },
        |(id, size)| (id, size, own_facts(objects, &id, size)),
        |(id, size, facts)| -> Result<(), CatalogError> {
            match facts {
                Ok(facts) => {
                    rows += facts.directory.chunks.len();
                    batch.push(facts);
                }
                // Deleted since it was listed.
                Err(CatalogError::Object(ObjectError::Store(StoreError { kind: StoreErrorKind::Missing, .. }))) => {}
                Err(CatalogError::Object(ObjectError::Store(error))) if error.is_about_the_store() => return Err(error.into()),
                Err(error) => {
                    ignore_pack(monitor, &id, &error);
                    view.without_facts.push((id, size));
                }
            }
            if batch.len() >= BATCH_PACKS || rows >= BATCH_ROWS {
                flush(&mut batch, view)?;
                rows = 0;
            }
            Ok(())
        },
    )?;
    flush(&mut batch, view)
}

fn ignore_pack(monitor: &dyn Monitor, id: &PackId, error: &CatalogError) {
    monitor
        .problem(Problem { subject: names::pack_name(*id).as_str().as_bytes().to_vec(), detail: format!("pack ignored: {error}") });
}

/// An owner indexes packs nobody has facts about from their own directories; I8: losing `index/` loses nothing.
fn read_directories(objects: &Objects, cache: &mut Cache, view: &mut View, monitor: &dyn Monitor) -> Result<(), CatalogError> {
    let mut unknown = Vec::new();
    for (id, size) in std::mem::take(&mut view.without_facts) {
        let facts = match own_facts_mended(objects, &id, size, true) {
            Ok((facts, _)) => Ok(facts),
            Err(error) if error.is_damage(objects) => Err(error),
            // Deleted since it was listed.
            Err(CatalogError::Object(ObjectError::Store(StoreError { kind: StoreErrorKind::Missing, .. }))) => continue,
            Err(error) => return Err(error),
        };
        match facts {
            Ok(facts) => {
                let number = add_facts(cache, std::slice::from_ref(&facts), None)?;
                let Some(&number) = number.first() else { continue };
                if view.bad.contains(&id) {
                    view.insert_condemned(number, id);
                } else if facts.size != size {
                    view.wrong_size.insert(number, id);
                } else {
                    view.insert(number, id);
                }
            }
            Err(error) => {
                ignore_pack(monitor, &id, &error);
                unknown.push((id, size));
            }
        }
    }
    view.without_facts = unknown;
    Ok(())
}

/// Adds facts in one transaction; packs already there keep their number. `index_file` is where they were read, if in one.
pub(super) fn add_facts(
    cache: &mut Cache,
    facts: &[PackFacts],
    index_file: Option<IndexId>,
) -> Result<Vec<PackNumber>, CatalogError> {
    let packs: Vec<NewPack> = facts.iter().map(new_pack).collect::<Result<_, FormatError>>()?;
    let numbers = cache.add_packs(&packs, index_file.as_ref())?;
    if index_file.is_none() {
        let mut ids = unindexed(cache)?;
        ids.extend(facts.iter().map(|facts| facts.id));
        put_unindexed(cache, &ids)?;
    }
    Ok(numbers)
}

/// An index file names these packs now.
pub(super) fn mark_indexed(cache: &mut Cache, index_file: &IndexId, facts: &[PackFacts]) -> Result<(), CatalogError> {
    let named: Vec<PackId> = facts.iter().map(|facts| facts.id).collect();
    // When the cache is dropped meanwhile, the next sync reads the index file.
    or_nothing(cache.add_index_file(index_file, &named))?;
    let mut ids = unindexed(cache)?;
    if !ids.is_empty() {
        let named: HashSet<PackId> = named.into_iter().collect();
        ids.retain(|id| !named.contains(id));
        put_unindexed(cache, &ids)?;
    }
    Ok(())
}

fn unindexed(cache: &Cache) -> Result<Vec<PackId>, CacheError> {
    let value = cache.recall(UNINDEXED)?.unwrap_or_default();
    Ok(value.chunks_exact(PackId::SIZE).filter_map(PackId::from_slice).collect())
}

fn put_unindexed(cache: &mut Cache, ids: &[PackId]) -> Result<(), CacheError> {
    let value: Vec<u8> = ids.iter().flat_map(|id| *id.as_bytes()).collect();
    cache.remember(UNINDEXED, (!ids.is_empty()).then_some(&value))
}

/// Facts of packs in the view that no index file known here names.
pub(super) fn unindexed_facts(cache: &Cache, view: &View) -> Result<Vec<PackFacts>, CatalogError> {
    let mut facts = Vec::new();
    for id in unindexed(cache)? {
        if let Some(number) = view.number(&id)
            && let Some(row) = or_nothing(cache.pack(number))?
        {
            facts.push(facts_of(&row)?);
        }
    }
    Ok(facts)
}

fn new_pack(facts: &PackFacts) -> Result<NewPack, FormatError> {
    let row = PackRow {
        id: facts.id,
        size: facts.size,
        header: facts.header,
        directory_sealed_length: facts.directory_sealed_length,
        class: facts.class as u8,
        // HEAD's counts say how the tables behind it are cut.
        directory: [Head::from_facts(facts)?.encode().as_slice(), &facts.directory.encode()].concat(),
    };
    let chunks = facts.directory.chunks.iter().zip(0u32..).map(|(chunk, row)| PackedChunk {
        key: ChunkKey { kind: chunk.chunk_type as u8, id: chunk.id },
        row,
        composed: matches!(chunk.encoding, RowEncoding::Composed { .. }),
    });
    Ok(NewPack { row, chunks: chunks.collect() })
}

/// The facts behind a cache row.
pub(super) fn facts_of(row: &PackRow) -> Result<PackFacts, CatalogError> {
    let object = || format!("cached facts of pack {}", row.id.short());
    let (head, directory) = row.directory.split_at_checked(HEAD_SIZE).unwrap_or_default();
    let head = Head::decode(row.header, head).map_err(CatalogError::object(object()))?;
    let directory = Directory::decode(&head, directory).map_err(CatalogError::object(object()))?;
    Ok(head.facts(row.id, directory))
}
