//! What the room promises, seen from its door.

mod damage;
mod usage;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::id::{IndexId, RepositoryId};

const REPOSITORY: RepositoryId = RepositoryId([1; 32]);
const KEY: [u8; 32] = [2; 32];

fn open(folder: &Path) -> Cache {
    Cache::open(folder, &REPOSITORY, &KEY).unwrap()
}

fn key(n: u64) -> ChunkKey {
    ChunkKey { kind: (n % 3 + 1) as u8, id: ChunkId(blake3::hash(&n.to_le_bytes()).into()) }
}

fn pack(n: u64, chunks: impl IntoIterator<Item = u64>) -> NewPack {
    let chunks = (0..).zip(chunks).map(|(row, n)| PackedChunk { key: key(n), row, composed: n.is_multiple_of(5) }).collect();
    let row = PackRow {
        id: PackId(blake3::hash(&n.to_be_bytes()).into()),
        size: n + 1000,
        header: [n as u8; 128],
        directory_sealed_length: 77,
        class: 1,
        directory: vec![n as u8; 300],
    };
    NewPack { row, chunks }
}

fn find(cache: &Cache, wanted: &[ChunkKey]) -> Result<BTreeSet<(usize, StoredCopy)>, CacheError> {
    let mut found = BTreeSet::new();
    cache.find(wanted, &mut |at, copy| assert!(found.insert((at, copy)), "told twice"))?;
    Ok(found)
}

fn has_index_file(cache: &Cache, wanted: [u8; 32]) -> Result<bool, CacheError> {
    let mut found = false;
    cache.index_files(&mut |id, _| found |= id == IndexId(wanted))?;
    Ok(found)
}

/// The one cache file of a folder.
fn file(folder: &Path) -> PathBuf {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "sqlite"))
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.pop().unwrap()
}

/// Puts four packs, 400 chunks, and everything else a cache holds.
fn fill(cache: &mut Cache) -> Result<(), CacheError> {
    let packs: Vec<_> = (0..4).map(|n| pack(n, n * 100..n * 100 + 100)).collect();
    cache.add_packs(&packs, Some(&IndexId([9; 32])))?;
    cache.put_meta(b"gc", Some(b"12"))?;
    let states: Vec<_> =
        ["a", "b"].map(|path| FolderRecord { path: path.into(), pages: vec![path.into(), vec![3; 10_000]] }).into();
    cache.put_folder_states("host", "files", &states)?;
    cache.find(&[key(5)], &mut |_, _| {})
}

fn filled(folder: &Path) {
    fill(&mut open(folder)).unwrap();
}

/// Asks for everything [`fill`] put; `Ok(true)` when all of it is there. Panics on an answer that was never put.
fn ask_all(cache: &Cache) -> Result<bool, CacheError> {
    let mut whole = true;
    let wanted: Vec<_> = (0..400).map(key).collect();
    let mut packs = BTreeMap::new();
    cache.packs(&mut |number, id, size| assert!(packs.insert(number, (id, size)).is_none()))?;
    for (at, copy) in find(cache, &wanted)? {
        let n = at as u64;
        assert_eq!((u64::from(copy.row), copy.composed), (n % 100, n.is_multiple_of(5)));
        match cache.pack(copy.pack)? {
            Some(row) => {
                assert_eq!(row, pack(n / 100, []).row);
                assert_eq!(packs.get(&copy.pack).unwrap_or(&(row.id, row.size)), &(row.id, row.size));
            }
            None => whole = false,
        }
    }
    whole &= find(cache, &wanted)?.len() == 400 && packs.len() == 4;
    for n in 0..4 {
        whole &= cache.pack_number(&pack(n, []).row.id)?.is_some();
    }
    whole &= has_index_file(cache, [9; 32])?;
    assert!(!has_index_file(cache, [8; 32])?);
    match cache.meta(b"gc")? {
        Some(value) => assert_eq!(value, b"12"),
        None => whole = false,
    }
    for path in ["a", "b"] {
        match cache.folder_state("host", "files", path.as_bytes())? {
            Some(pages) => assert_eq!(pages, [path.as_bytes().to_vec(), vec![3; 10_000]]),
            None => whole = false,
        }
    }
    Ok(whole)
}
