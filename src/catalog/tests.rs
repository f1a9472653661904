//! What the catalog promises when its cache breaks under it.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::clock::{SystemClock, SystemRng};
use crate::crypto::{Keys, RootKey};
use crate::format::names;
use crate::format::pack::{self, Class, Codec, Encoding, PreparedChunk, PreparedFrame};
use crate::store::{MemoryStore, Store};

fn objects() -> Objects {
    let keys = Arc::new(Keys::owner(RootKey::generate(&SystemRng).unwrap(), 1));
    Objects::new(Arc::new(MemoryStore::new()), Arc::new(SystemClock::new()), Arc::new(SystemRng), keys).unwrap()
}

fn chunk(n: u8) -> (ChunkType, ChunkId) {
    (ChunkType::Data, ChunkId([n; 32]))
}

/// A durable pack of one chunk.
fn put_pack(objects: &Objects, n: u8) -> PackFacts {
    let encoding = Encoding::Literal { offset: 0, length: 3 };
    let chunks = vec![PreparedChunk { id: chunk(n).1, chunk_type: ChunkType::Data, encoding }];
    let frame = PreparedFrame { codec: Codec::Raw, raw_length: 3, bytes: vec![n; 3], chunks };
    let sealed = pack::seal_pack(&objects.sealer, Class::Data, vec![frame]).unwrap();
    let parts: Vec<&[u8]> = sealed.parts.iter().map(Vec::as_slice).collect();
    objects.store.create(&names::pack_name(sealed.facts.id), &parts).unwrap();
    sealed.facts
}

fn open(objects: &Objects, folder: &Path) -> Catalog {
    let cache = Cache::open(folder, &objects.keys.repository_id(), &objects.keys.cache_key()).unwrap();
    let mut catalog = Catalog::new(cache, FactsFrom::IndexFiles);
    catalog.sync(objects, Condemned::default(), list_packs(objects).unwrap(), &Quiet).unwrap();
    catalog
}

/// Spoils the table of chunks of the cache in this folder.
fn spoil(folder: &Path, table: &str) {
    let file = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let file = file.filter(|path| path.extension().is_some_and(|ending| ending == "sqlite")).max().unwrap();
    crate::cache::spoil(&file, table);
}

fn is_there(catalog: &mut Catalog, objects: &Objects, n: u8) -> bool {
    let found = catalog.find(objects, &[chunk(n)], Trust::Reliable).unwrap();
    found.iter().all(|(_, copy)| catalog.view().contains(copy.pack)) && found.len() == 1
}

#[test]
fn a_cache_that_breaks_in_a_run_is_filled_again_and_every_chunk_is_found() {
    let (objects, folder) = (objects(), tempfile::tempdir().unwrap());
    let indexed = put_pack(&objects, 1);
    put_index_files(&objects, vec![indexed], &[], &mut |_, _, _| Ok(())).unwrap();
    put_pack(&objects, 2);
    let mut catalog = open(&objects, folder.path());
    let own = put_pack(&objects, 3);
    catalog.add_own(&objects, own).unwrap().unwrap();
    for drops in 0..3 {
        assert!((1..=3).all(|n| is_there(&mut catalog, &objects, n)), "from an index file, from a pack, and of this run");
        assert_eq!(catalog.drops(), drops);
        spoil(folder.path(), "chunks");
    }
}

#[test]
fn a_note_that_is_lost_with_the_cache_costs_no_chunk() {
    let (objects, folder) = (objects(), tempfile::tempdir().unwrap());
    put_pack(&objects, 1);
    let mut catalog = open(&objects, folder.path());
    catalog.remember(b"note", Some(b"value")).unwrap();
    assert_eq!(catalog.recall(b"note").unwrap().unwrap(), b"value");
    spoil(folder.path(), "meta");
    assert_eq!(catalog.recall(b"note").unwrap(), None);
    assert_eq!(catalog.drops(), 1);
    assert!(is_there(&mut catalog, &objects, 1));
}

#[test]
fn what_is_condemned_or_distrusted_is_not_relied_on_even_after_the_cache_was_filled_again() {
    let (objects, folder) = (objects(), tempfile::tempdir().unwrap());
    let packs = [1, 2, 3].map(|n| put_pack(&objects, n).id);
    let mut catalog = open(&objects, folder.path());
    catalog.condemn(Condemned { bad: Arc::new(HashSet::from([packs[0]])), deleted: HashSet::new() });
    catalog.distrust([packs[1]]);
    for _ in 0..2 {
        assert_eq!([1, 2, 3].map(|n| is_there(&mut catalog, &objects, n)), [false, false, true]);
        spoil(folder.path(), "chunks");
    }
    assert_eq!(catalog.find(&objects, &[chunk(1)], Trust::Readable).unwrap().len(), 1, "what is condemned can still be read");
}
