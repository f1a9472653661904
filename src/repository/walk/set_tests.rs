//! The set walk over chunks in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::catalog::PackNumber;
use crate::format::content::ListChunk;
use crate::format::tree::{Item, TreeChunk};
use crate::id::ChunkId;
use crate::monitor::Quiet;
use crate::repository::walk::{Met, Visited};

/// Chunks by id; each stands in a row of its own.
#[derive(Default)]
struct Chunks {
    stored: BTreeMap<ChunkId, (u32, Vec<u8>)>,
    visited: Mutex<Visited>,
    reads: AtomicU64,
    wrong: AtomicU64,
    lost: Mutex<Vec<ChunkId>>,
    data: Mutex<HashMap<ChunkId, u32>>,
}

impl Chunks {
    fn store(&mut self, bytes: Vec<u8>) -> ChunkId {
        let id = ChunkId(*blake3::hash(&bytes).as_bytes());
        let row = self.stored.len() as u32;
        self.stored.entry(id).or_insert((row, bytes));
        id
    }

    fn list(&mut self, level: u8, items: Vec<Item>) -> Item {
        let length = items.iter().map(Item::length).sum();
        let id = self.store(ListChunk { level, leaves: Leaves::Data, items, extra: vec![] }.encode().unwrap());
        Item::Chunk { id, length }
    }

    /// A root of one file of this content.
    fn root(&mut self, level: u8, items: Vec<Item>) -> Content {
        let size = items.iter().map(Item::length).sum();
        let file = crate::format::tree::Node { size, content: Content { level, items }, ..empty_file() };
        let id = self.store(TreeChunk { nodes: vec![file], extra: vec![] }.encode().unwrap());
        Content { level: 0, items: vec![Item::Chunk { id, length: 1 }] }
    }

    fn walk(&self, roots: &[Content], stop: &Stop) -> Result<u64, RepositoryError> {
        walk(self, roots, &Options { threads: 2, batch: 64, monitor: &Quiet, stop })
    }
}

fn empty_file() -> crate::format::tree::Node {
    let bytes = crate::format::tree::encode_node(&crate::format::tree::Node {
        name: b"file".to_vec(),
        kind: crate::format::tree::NodeKind::File,
        mode: 0,
        uid: 0,
        gid: 0,
        user: None,
        group: None,
        mtime: crate::clock::Timestamp::default(),
        ctime: crate::clock::Timestamp::default(),
        size: 0,
        content: Content::default(),
        link_target: vec![],
        device: 0,
        xattrs: vec![],
        hard_link: None,
        extra: vec![],
    });
    crate::format::tree::decode_node(&bytes.unwrap()).unwrap()
}

const PACK: PackNumber = PackNumber(1);

impl Visitor for Chunks {
    type Error = RepositoryError;
    type Place = u32;

    fn meet(&self, batch: &[Reference]) -> Result<Vec<Option<u32>>, RepositoryError> {
        let visited = self.visited.lock().unwrap();
        let place = |wanted: &Reference| {
            let Some((row, _)) = self.stored.get(&wanted.id) else {
                self.lost.lock().unwrap().push(wanted.id);
                return None;
            };
            match visited.meet(PACK, *row, wanted) {
                Met::Look => Some(*row),
                Met::Known => None,
                Met::Wrong => {
                    self.wrong.fetch_add(1, Ordering::Relaxed);
                    None
                }
            }
        };
        Ok(batch.iter().map(place).collect())
    }

    fn are_together(_: &u32, _: &u32) -> bool {
        false
    }

    fn read(&self, wanted: &Reference, _: &u32) -> Result<Read, RepositoryError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        Ok(Read::Bytes(self.stored[&wanted.id].1.clone()))
    }

    fn opened(&self, place: &u32, truth: &Reference, is_followed: bool) {
        self.visited.lock().unwrap().opened(PACK, *place, truth, is_followed);
    }

    fn broken(&self, wanted: &Reference, place: &u32, _: FormatError) -> Result<(), RepositoryError> {
        self.visited.lock().unwrap().broken(PACK, *place);
        self.lost.lock().unwrap().push(wanted.id);
        Ok(())
    }

    fn claimed_wrongly(&self, _: &Reference, _: FormatError) -> Result<bool, RepositoryError> {
        self.wrong.fetch_add(1, Ordering::Relaxed);
        Ok(false)
    }

    fn data(&self, _: &Reference, data: Vec<Reference>) -> Result<(), RepositoryError> {
        let mut all = self.data.lock().unwrap();
        data.iter().for_each(|data| *all.entry(data.id).or_default() += 1);
        Ok(())
    }
}

fn piece(n: u8) -> Item {
    Item::Chunk { id: ChunkId([n; 32]), length: 10 }
}

#[test]
fn a_list_under_a_million_parents_is_read_once() {
    let mut chunks = Chunks::default();
    let mut item = chunks.list(0, vec![piece(1), piece(2)]);
    for level in 1..5 {
        item = chunks.list(level, vec![item; 1_000]);
    }
    let root = chunks.root(5, vec![item]);
    assert_eq!(chunks.walk(&[root.clone(), root], &Stop::new()).unwrap(), 6);
    assert_eq!(chunks.reads.into_inner(), 6);
    let data = chunks.data.into_inner().unwrap();
    assert_eq!((data.len(), data[&ChunkId([1; 32])]), (2, 1));
}

#[test]
fn a_wrong_claim_is_told_and_a_right_one_that_comes_later_is_followed() {
    let mut chunks = Chunks::default();
    let Item::Chunk { id, length } = chunks.list(0, vec![piece(1)]) else { panic!("a hole") };
    let claims = |length| vec![Item::Chunk { id, length }];
    let roots = [chunks.root(1, claims(length + 1)), chunks.root(1, claims(length + 2)), chunks.root(1, claims(length))];
    let stop = Stop::new();
    // One after the other, so that the right claim comes last.
    for root in &roots {
        chunks.walk(std::slice::from_ref(root), &stop).unwrap();
    }
    assert_eq!(chunks.wrong.into_inner(), 2);
    // Three trees; the list once for the wrong claims, once for the right one.
    assert_eq!(chunks.reads.into_inner(), 5);
    assert_eq!(chunks.data.into_inner().unwrap().len(), 1);
}

#[test]
fn a_lost_list_does_not_keep_the_walk_from_the_rest() {
    let mut chunks = Chunks::default();
    let good = chunks.list(0, vec![piece(1)]);
    let root = chunks.root(1, vec![piece(99), good]);
    chunks.walk(&[root], &Stop::new()).unwrap();
    assert_eq!(chunks.lost.into_inner().unwrap(), [ChunkId([99; 32])]);
    assert_eq!(chunks.data.into_inner().unwrap().len(), 1);
}

#[test]
fn a_request_to_stop_ends_the_walk() {
    let mut chunks = Chunks::default();
    let root = chunks.root(0, vec![piece(1)]);
    let stop = Stop::new();
    stop.request();
    assert!(matches!(chunks.walk(&[root], &stop), Err(RepositoryError::Stopped)));
    assert_eq!(chunks.reads.into_inner(), 0);
}
