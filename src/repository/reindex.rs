//! Keeps the cache in step with the repository: index files in, a view out.
//!
//! Index files are facts about packs, and facts never change; LIST of `packs/` decides which packs exist. So the cache may be lost or
//! wrong: what it says counts only for packs that are listed with the right size.

use std::collections::HashSet;

use crate::cache::{Cache, CacheError, ChunkKey, Copy, NewPack, PackNumber, PackRow, PackedChunk};
use crate::crypto::ChunkType;
use crate::format::index;
use crate::format::pack::{self, Directory, HEAD_SIZE, Head, PackFacts, RowEncoding};
use crate::format::{FormatError, limits, names};
use crate::id::{IndexId, PackId};
use crate::monitor::{Monitor, Problem};
use crate::repository::view::View;
use crate::repository::{Repository, RepositoryError, gc};

/// Cache note: ids, end to end, of packs that are durable but that no index file of ours names yet.
const UNINDEXED: &[u8] = b"unindexed";

/// S1 and S2: lists gc, packs and index files, reads what the cache lacks, and says which packs may be relied on.
pub fn sync(repository: &Repository, cache: &mut Cache, monitor: &dyn Monitor) -> Result<View, RepositoryError> {
    match sync_once(repository, cache, monitor) {
        // A damaged cache was dropped on the way: it is empty now, and a second pass fills it.
        Err(RepositoryError::Cache(CacheError::Reset(_))) => sync_once(repository, cache, monitor),
        other => other,
    }
}

fn sync_once(repository: &Repository, cache: &mut Cache, monitor: &dyn Monitor) -> Result<View, RepositoryError> {
    let gc = gc::read(repository)?;
    let mut listed = gc::list_packs(repository)?;
    let mut index_files = Vec::new();
    repository.store.list(names::INDEX, &mut |entry| {
        if let Some(id) = names::parse_index(&entry.name) {
            index_files.push((id, entry));
        }
    })?;
    index_files.sort_unstable_by_key(|(id, _)| *id);
    for (id, entry) in index_files {
        if cache.has_index_file(&id)? {
            continue;
        }
        let sealed = repository.store.get(&entry.name, limits::INDEX_SIZE_MAX)?;
        match index::open(&repository.opener, id, &sealed) {
            Ok(file) => {
                add_facts(cache, &file.packs, Some(id))?;
                mark_indexed(cache, &id, &file.packs)?;
            }
            // Not fatal: its packs are indexed from their own directories by whoever can open them, and used by nobody else.
            Err(error) => monitor.problem(Problem {
                subject: entry.name.as_str().as_bytes().to_vec(),
                detail: format!("index file ignored: {error}"),
            }),
        }
    }
    let mut view = View::default();
    view.gc_number = gc.number;
    cache.packs(&mut |number, id, size| {
        match listed.remove(&id) {
            _ if gc.bad.contains(&id) => {}
            Some(found) if found == size => view.insert(number, id),
            Some(_) => view.wrong_size.push(id),
            None => {}
        };
    })?;
    view.without_facts = listed.into_iter().filter(|(id, _)| !gc.bad.contains(id)).collect();
    view.without_facts.sort_unstable();
    view.bad = gc.bad;
    if repository.keys.is_owner() {
        read_directories(repository, cache, &mut view, monitor)?;
    }
    Ok(view)
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
        match facts_from_pack(repository, &id, size) {
            Ok(facts) => {
                let number = add_facts(cache, std::slice::from_ref(&facts), None)?;
                view.insert(number[0], id);
            }
            Err(error @ RepositoryError::Store(_)) => return Err(error),
            Err(error) => {
                monitor.problem(Problem {
                    subject: names::pack_name(id).as_str().as_bytes().to_vec(),
                    detail: format!("pack ignored: {error}"),
                });
                unknown.push((id, size));
            }
        }
    }
    view.without_facts = unknown;
    Ok(())
}

/// Opens a pack's own directory.
pub fn facts_from_pack(repository: &Repository, id: &PackId, size: u64) -> Result<PackFacts, RepositoryError> {
    let name = names::pack_name(*id);
    let prefix_length = (pack::PREFIX_SIZE as u64).min(size) as usize;
    let prefix = repository.store.get_range(&name, 0, prefix_length)?;
    let head = pack::read_head(&repository.opener, &prefix).map_err(RepositoryError::object(&name))?;
    if head.size() != size {
        return Err(RepositoryError::Object {
            object: name.to_string(),
            source: FormatError::TooShort { what: "pack", length: size, least: head.size() },
        });
    }
    let (start, length) = head.directory_range();
    let mut sealed = repository.store.get_range(&name, start, length as usize)?;
    let directory = pack::read_directory(&repository.opener, &head, &mut sealed).map_err(RepositoryError::object(&name))?;
    Ok(head.facts(*id, directory))
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
    cache.add_packs(&[], Some(index_file))?;
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

/// The packs a composed copy needs, when each of its bases has a literal copy in the view; else `None`: the copy is not usable.
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
    let Some(mut packs) = homes.into_iter().collect::<Option<Vec<_>>>() else { return Ok(None) };
    packs.push(copy.pack);
    packs.sort_unstable();
    packs.dedup();
    Ok(Some(packs))
}
