//! Keeps the cache in step with the repository: index files in, a view out.
//!
//! Index files are facts about packs, and facts never change; LIST of `packs/` decides which packs exist. So the cache may be lost or
//! wrong: what it says counts only for packs that are listed with the right size.

use std::collections::{HashMap, HashSet};

use crate::cache::{Cache, CacheError, ChunkKey, Copy, NewPack, PackNumber, PackRow, PackedChunk};
use crate::crypto::ChunkType;
use crate::format::index;
use crate::format::pack::{self, Directory, HEAD_SIZE, Head, PackFacts, RowEncoding};
use crate::format::{FormatError, limits, names};
use crate::id::{IndexId, PackId};
use crate::monitor::{Monitor, Problem};
use crate::parallel::{self, Feed};
use crate::planted;
use crate::repository::gc::GcState;
use crate::repository::view::View;
use crate::repository::{Repository, RepositoryError, gc, listed};
use crate::store::{ReadUnit, StoreError, get_widened};

/// How often an index file that vanished between its listing and its reading makes sync begin again: a prune merges index files.
const LISTINGS_MAX: usize = 5;
/// Deleted packs are forgotten when they are one in so many.
const DELETED_ONE_IN: usize = 4;
/// Facts added to a cache of packs in one transaction: this many packs, or this many rows.
const BATCH_PACKS: usize = 64;
const BATCH_ROWS: usize = 200_000;
/// Facts that come from the packs themselves: the cache wants to know an index file for them, and this is the name of none.
pub const FROM_PACKS: IndexId = IndexId([0; 32]);
/// Read of a pack before it is known how long its directory is: no pack is smaller.
const FRONT_SIZE_BYTES: u64 = limits::PACK_SIZE_MIN;

/// Cache note: ids, end to end, of packs that are durable but that no index file of ours names yet.
const UNINDEXED: &[u8] = b"unindexed";

/// S1 and S2: lists gc, packs and index files, reads what the cache lacks, and says which packs may be relied on.
pub fn sync(repository: &Repository, cache: &mut Cache, monitor: &dyn Monitor) -> Result<View, RepositoryError> {
    let mut listings = 0;
    loop {
        listings += 1;
        match sync_once(repository, cache, monitor) {
            // A damaged cache was dropped on the way: it is empty now, and a second pass fills it.
            Err(RepositoryError::Cache(CacheError::Reset(_))) if listings < 2 => {}
            Err(RepositoryError::Store(StoreError::NotFound(name)))
                if listings < LISTINGS_MAX && names::parse_index(&name).is_some() => {}
            other => return other,
        }
    }
}

fn sync_once(repository: &Repository, cache: &mut Cache, monitor: &dyn Monitor) -> Result<View, RepositoryError> {
    let early = if planted::is("packs-listed-before-gc") { Some(gc::list_packs(repository)?) } else { None };
    // R12: gc/ is listed before packs/.
    let gc = gc::read(repository, cache)?;
    let listed = early.map_or_else(|| gc::list_packs(repository), Ok)?;
    let mut gone = read_index_files(repository, cache, monitor)?;
    // Merging moves what it finds from one to another: perhaps it was at it while the folder was listed.
    if !gone.is_empty() && !named_by_none(cache, &gone, &listed, &gc)?.is_empty() {
        let still = read_index_files(repository, cache, monitor)?;
        gone.retain(|id| still.contains(id));
    }
    forget_gone(cache, &gone, &listed, &gc)?;
    forget_deleted(cache, &gc)?;
    let mut view = view_of(cache, gc, listed)?;
    if repository.keys.is_owner() {
        read_directories(repository, cache, &mut view, monitor)?;
    }
    Ok(view)
}

/// Lists index files and reads those the cache does not know. Returns those it knows and that are there no longer.
fn read_index_files(
    repository: &Repository,
    cache: &mut Cache,
    monitor: &dyn Monitor,
) -> Result<HashSet<IndexId>, RepositoryError> {
    // Before the listing: what another process puts meanwhile is not gone.
    let mut known = HashSet::new();
    cache.index_files(&mut |id, _| _ = known.insert(id))?;
    known.remove(&FROM_PACKS);
    let mut gone = known.clone();
    let mut index_files = Vec::new();
    repository.store.list(names::INDEX, &mut |entry| {
        if let Some(id) = names::parse_index(&entry.name) {
            index_files.push((id, entry));
        }
    })?;
    index_files.sort_unstable_by_key(|(id, _)| *id);
    for (id, entry) in index_files {
        gone.remove(&id);
        if known.contains(&id) {
            continue;
        }
        let ignored = |why: &str| {
            let subject = entry.name.as_str().as_bytes().to_vec();
            monitor.problem(Problem { subject, detail: format!("index file ignored: {why}") });
        };
        let sealed = match repository.get_listed(&entry.name, limits::INDEX_SIZE_MAX) {
            Ok(Some(sealed)) => sealed,
            Ok(None) => return Err(StoreError::NotFound(entry.name).into()),
            Err(error) => {
                ignored(&listed::fault(error)?);
                continue;
            }
        };
        match index::open(&repository.opener, id, &sealed) {
            Ok(file) => {
                add_facts(cache, &file.packs, Some(id))?;
                mark_indexed(cache, &id, &file.packs)?;
            }
            // Of packs whose chunks a writer of this generation cannot name: there is nothing in it for it, now or later.
            Err(FormatError::OtherGeneration { generation, .. }) if generation < repository.keys.generation() => {
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

/// Can no program and no repair ever make something of an object whose bytes are those of its name? Then it is not read again.
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

/// Packs that are there and known, and that no index file names which is left; but for those that are known to need one.
fn named_by_none(
    cache: &Cache,
    gone: &HashSet<IndexId>,
    listed: &HashMap<PackId, u64>,
    gc: &GcState,
) -> Result<Vec<PackNumber>, RepositoryError> {
    let mut packs = HashMap::new();
    cache.packs(&mut |number, id, _| {
        if listed.contains_key(&id) && !gc.bad.contains(&id) {
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

/// A store that was put back from a copy may lack index files that this cache has read, and hold packs again that went since. What no
/// index file names any more is known to nobody else
/// any more, so it must not be known here: an owner reads it from the packs and indexes it again, a writer stores it again.
fn forget_gone(
    cache: &mut Cache,
    gone: &HashSet<IndexId>,
    listed: &HashMap<PackId, u64>,
    gc: &GcState,
) -> Result<(), RepositoryError> {
    if gone.is_empty() || planted::is("index-files-that-are-gone-believed") {
        return Ok(());
    }
    let unnamed = named_by_none(cache, gone, listed, gc)?;
    cache.forget_packs(&unnamed)?;
    let gone: Vec<IndexId> = gone.iter().copied().collect();
    Ok(cache.forget_index_files(&gone)?)
}

/// Packs that a verdict deleted are never used again: their rows go, in one pass over the cache, once they are a good part of it.
fn forget_deleted(cache: &mut Cache, gc: &GcState) -> Result<(), RepositoryError> {
    let (mut deleted, mut all) = (Vec::new(), 0);
    cache.packs(&mut |number, id, _| {
        all += 1;
        if gc.deleted.contains(&id) {
            deleted.push(number);
        }
    })?;
    if deleted.len() * DELETED_ONE_IN >= all {
        cache.forget_packs(&deleted)?;
    }
    Ok(())
}

/// What these listings make of what the cache knows.
fn view_of(cache: &Cache, gc: GcState, mut listed: HashMap<PackId, u64>) -> Result<View, RepositoryError> {
    let mut view = View::default();
    (view.gc_number, view.gc_blocked_at) = (gc.number, gc.blocked_at);
    cache.packs(&mut |number, id, size| {
        match listed.remove(&id) {
            Some(found) if found == size && gc.bad.contains(&id) => view.insert_condemned(number, id),
            Some(found) if found == size => view.insert(number, id),
            Some(_) if !gc.bad.contains(&id) => _ = view.wrong_size.insert(number, id),
            None if planted::is("cache-not-relisted") => view.insert(number, id),
            _ => {}
        };
    })?;
    view.without_facts = listed.into_iter().filter(|(id, _)| !gc.deleted.contains(id)).collect();
    view.without_facts.sort_unstable();
    view.bad = gc.bad;
    view.gc_seen = gc.seen;
    Ok(view)
}

/// The same from the packs alone, into a cache that holds nothing else: each pack's own directory is read once. This is what deleting
/// rests on; an index file may be a thief's.
pub fn sync_from_packs(repository: &Repository, cache: &mut Cache, monitor: &dyn Monitor) -> Result<View, RepositoryError> {
    let once = |cache: &mut Cache| {
        let gc = gc::read(repository, cache)?;
        view_of_packs(repository, cache, gc, gc::list_packs(repository)?, monitor)
    };
    match once(cache) {
        Err(RepositoryError::Cache(CacheError::Reset(_))) => once(cache),
        other => other,
    }
}

/// As [`sync_from_packs`], by listings that were made already: `gc/` first, then `packs/`.
pub fn view_of_packs(
    repository: &Repository,
    cache: &mut Cache,
    gc: GcState,
    listed: HashMap<PackId, u64>,
    monitor: &dyn Monitor,
) -> Result<View, RepositoryError> {
    let mut view = view_of(cache, gc, listed)?;
    learn_packs(repository, cache, &mut view, monitor)?;
    Ok(view)
}

/// Reads the directories of packs without facts, side by side.
fn learn_packs(repository: &Repository, cache: &mut Cache, view: &mut View, monitor: &dyn Monitor) -> Result<(), RepositoryError> {
    let unknown = std::mem::take(&mut view.without_facts);
    if unknown.is_empty() {
        return Ok(());
    }
    let (mut batch, mut rows) = (Vec::new(), 0);
    let mut flush = |batch: &mut Vec<PackFacts>, view: &mut View| -> Result<(), RepositoryError> {
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
        |feed: &Feed<_, _>| -> Result<(), RepositoryError> {
            for pack in unknown {
                // The taker went away with an error, which is what is returned then.
                if feed.push(pack).is_err() {
                    break;
                }
            }
            Ok(())
        },
        |(id, size)| (id, size, facts_from_pack(repository, &id, size)),
        |(id, size, facts)| -> Result<(), RepositoryError> {
            match facts {
                Ok(facts) => {
                    rows += facts.directory.chunks.len();
                    batch.push(facts);
                }
                // Deleted since it was listed.
                Err(RepositoryError::Store(StoreError::NotFound(_))) => {}
                Err(error @ RepositoryError::Store(StoreError::Io(_) | StoreError::Denied(_) | StoreError::NoStore(_))) => {
                    return Err(error);
                }
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

fn ignore_pack(monitor: &dyn Monitor, id: &PackId, error: &RepositoryError) {
    monitor
        .problem(Problem { subject: names::pack_name(*id).as_str().as_bytes().to_vec(), detail: format!("pack ignored: {error}") });
}

/// An owner indexes packs nobody has facts about from their own directories; I8: losing `index/` loses nothing.
fn read_directories(
    repository: &Repository,
    cache: &mut Cache,
    view: &mut View,
    monitor: &dyn Monitor,
) -> Result<(), RepositoryError> {
    let mut unknown = Vec::new();
    for (id, size) in std::mem::take(&mut view.without_facts) {
        let facts = match facts_from_pack(repository, &id, size) {
            Ok(facts) => Ok(facts),
            Err(error) if is_damage(repository, &error) => {
                let mended = repository.mend_pack(&id)?;
                mended.and_then(|bytes| pack::read_facts(&repository.opener, id, &bytes).ok()).ok_or(error)
            }
            // Deleted since it was listed.
            Err(RepositoryError::Store(StoreError::NotFound(_))) => continue,
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

/// Does this error say that an object is damaged, rather than that a store far away does not answer?
pub fn is_damage(repository: &Repository, error: &RepositoryError) -> bool {
    match error {
        RepositoryError::Object { .. } | RepositoryError::Format(_) | RepositoryError::ChunkDamaged { .. } => true,
        RepositoryError::Store(StoreError::Size { .. }) => true,
        // On a local disk a failed read is a bad sector, or the wrong mode of this one file.
        RepositoryError::Store(StoreError::Io(_) | StoreError::Denied(_)) => repository.store.read_unit() == ReadUnit::Exact,
        _ => false,
    }
}

/// Opens a pack's own directory: one read when it is short, else two.
pub fn facts_from_pack(repository: &Repository, id: &PackId, size: u64) -> Result<PackFacts, RepositoryError> {
    let name = names::pack_name(*id);
    let mut front = get_widened(&*repository.store, &name, size, 0, FRONT_SIZE_BYTES.min(size) as usize)?;
    let head = pack::read_head(&repository.opener, &front).map_err(RepositoryError::object(&name))?;
    if head.size() != size {
        return Err(RepositoryError::Object {
            object: name.to_string(),
            source: FormatError::TooShort { what: "pack", length: size, least: head.size() },
        });
    }
    let (start, length) = head.directory_range();
    let directory = match front.get_mut(start as usize..start as usize + length as usize) {
        Some(sealed) => pack::read_directory(&repository.opener, &head, sealed),
        None => pack::read_directory(
            &repository.opener,
            &head,
            &mut get_widened(&*repository.store, &name, size, start, length as usize)?,
        ),
    };
    Ok(head.facts(*id, directory.map_err(RepositoryError::object(&name))?))
}

/// Adds facts in one transaction; packs already there keep their number. `index_file` is where they were read, if in one.
pub fn add_facts(cache: &mut Cache, facts: &[PackFacts], index_file: Option<IndexId>) -> Result<Vec<PackNumber>, RepositoryError> {
    let packs: Vec<NewPack> = facts.iter().map(new_pack).collect::<Result<_, FormatError>>()?;
    let numbers = cache.add_packs(&packs, index_file.as_ref())?;
    if index_file.is_none() {
        let mut ids = unindexed(cache)?;
        ids.extend(facts.iter().map(|facts| facts.id));
        put_unindexed(cache, &ids)?;
    }
    Ok(numbers)
}

/// These packs stand in an index file now.
pub fn mark_indexed(cache: &mut Cache, index_file: &IndexId, facts: &[PackFacts]) -> Result<(), RepositoryError> {
    match mark(cache, index_file, facts) {
        // Nothing is lost: the next sync reads the index file.
        Err(CacheError::Reset(_)) => Ok(()),
        other => Ok(other?),
    }
}

fn mark(cache: &mut Cache, index_file: &IndexId, facts: &[PackFacts]) -> Result<(), CacheError> {
    let named: Vec<PackId> = facts.iter().map(|facts| facts.id).collect();
    cache.add_index_file(index_file, &named)?;
    let mut ids = unindexed(cache)?;
    if !ids.is_empty() {
        let named: HashSet<PackId> = facts.iter().map(|facts| facts.id).collect();
        ids.retain(|id| !named.contains(id));
        put_unindexed(cache, &ids)?;
    }
    Ok(())
}

fn unindexed(cache: &Cache) -> Result<Vec<PackId>, CacheError> {
    let value = cache.meta(UNINDEXED)?.unwrap_or_default();
    Ok(value.chunks_exact(PackId::SIZE).filter_map(PackId::from_slice).collect())
}

fn put_unindexed(cache: &mut Cache, ids: &[PackId]) -> Result<(), CacheError> {
    let value: Vec<u8> = ids.iter().flat_map(|id| *id.as_bytes()).collect();
    cache.put_meta(UNINDEXED, (!ids.is_empty()).then_some(&value))
}

/// Facts of packs in the view that no index file known here names.
pub fn unindexed_facts(cache: &Cache, view: &View) -> Result<Vec<PackFacts>, RepositoryError> {
    let mut facts = Vec::new();
    for id in unindexed(cache)? {
        if let Some(number) = view.number(&id)
            && let Some(row) = cache.pack(number)?
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
pub fn facts_of(row: &PackRow) -> Result<PackFacts, RepositoryError> {
    let object = || format!("cached facts of pack {}", row.id.short());
    let (head, directory) = row.directory.split_at_checked(HEAD_SIZE).unwrap_or_default();
    let head = Head::decode(row.header, head).map_err(RepositoryError::object(object()))?;
    let directory = Directory::decode(&head, directory).map_err(RepositoryError::object(object()))?;
    Ok(head.facts(row.id, directory))
}

/// The packs that a composed copy needs, if each of its bases has a literal copy in the view (I12). `None`: the copy is not usable.
pub fn packs_of_composed(cache: &Cache, view: &View, copy: &Copy) -> Result<Option<Vec<PackNumber>>, RepositoryError> {
    let Some(row) = cache.pack(copy.pack)? else { return Ok(None) };
    let facts = facts_of(&row)?;
    let Some(chunk) = facts.directory.chunks.get(copy.row as usize) else { return Ok(None) };
    let bases = facts.directory.bases_of(&chunk.encoding);
    let keys: Vec<ChunkKey> = bases.map(|id| ChunkKey { kind: ChunkType::Data as u8, id }).collect();
    let mut homes = vec![None; keys.len()];
    cache.find(&keys, &mut |nth, base| {
        // Literal copies only: so no chain is longer than one step.
        if !base.composed && view.contains(base.pack) {
            homes[nth].get_or_insert(base.pack);
        }
    })?;
    if planted::is("base-test-left-out") {
        homes.retain(Option::is_some);
    }
    let Some(mut packs) = homes.into_iter().collect::<Option<Vec<_>>>() else { return Ok(None) };
    packs.push(copy.pack);
    packs.sort_unstable();
    packs.dedup();
    Ok(Some(packs))
}
