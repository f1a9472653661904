//! Long contents: list chunks, where they are cut, and the walk over what they hold. Page `format-spec/tree.md`.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::cbor::{self, WireExtra};
use super::error::{FormatError, at_most};
use super::proportion::Budget;
use super::reference::{Opened, Reference};
use super::tree::{Content, Item, WireContent, check_content, check_items, content_in, content_out};
use super::{Extra, limits};
use crate::crypto::ChunkType;
use crate::id::ChunkId;

const WHAT: &str = "list";

/// What stands below the lists of a content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[repr(u8)]
pub enum Leaves {
    /// Bytes of a file.
    Data = 1,
    /// Entries of a folder.
    Tree = 2,
}

impl Leaves {
    /// The type of the chunks at level 0.
    pub fn chunk_type(self) -> ChunkType {
        match self {
            Self::Data => ChunkType::Data,
            Self::Tree => ChunkType::Tree,
        }
    }
}

/// A run of the items of a long content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListChunk {
    /// Level of its items: 0 are leaves, n are lists of level n-1.
    pub level: u8,
    /// What stands at level 0.
    pub leaves: Leaves,
    /// 1..=1,024.
    pub items: Vec<Item>,
    /// Fields of later versions.
    pub extra: Extra,
}

#[derive(Serialize, Deserialize)]
struct Wire<'a>(WireContent, u8, #[serde(borrow)] Vec<WireExtra<'a>>);

impl ListChunk {
    /// The bytes of the chunk.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        self.check()?;
        let content = Content { level: self.level, items: self.items.clone() };
        cbor::encode(WHAT, &Wire(content_out(&content), self.leaves as u8, cbor::extra_out(&self.extra)))
    }

    /// Reads a list chunk.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        at_most(WHAT, bytes.len() as u64, limits::CHUNK_SIZE_MAX.into())?;
        let Wire(content, leaves, extra) = cbor::decode(WHAT, bytes)?;
        let Content { level, items } = content_in(content);
        let leaves = match leaves {
            1 => Leaves::Data,
            2 => Leaves::Tree,
            _ => return Err(FormatError::field(WHAT, "leaves", "are neither 1 nor 2")),
        };
        let list = Self { level, leaves, items, extra: cbor::extra_in(WHAT, &extra)? };
        list.check()?;
        Ok(list)
    }

    fn check(&self) -> Result<u64, FormatError> {
        at_most("items of a list", self.items.len() as u64, limits::LIST_ITEMS_MAX as u64)?;
        at_most("level of a list", self.level.into(), u64::from(limits::CONTENT_LEVEL_MAX) - 1)?;
        if self.items.is_empty() {
            return Err(FormatError::field(WHAT, "items", "are none"));
        }
        check_items(WHAT, &self.items, self.level == 0 && self.leaves == Leaves::Data)
    }
}

/// Takes items in order and gives list chunks to store, and at last a content of at most 64 items.
///
/// Where lists are cut depends on ids only, so that two long contents that differ in one place share all lists but a few.
pub struct Builder {
    leaves: Leaves,
    levels: Vec<Level>,
}

#[derive(Default)]
struct Level {
    /// Items not yet in a list.
    open: Vec<Item>,
    /// Did this level pass 64 items? Only then is it cut into lists.
    split: bool,
}

impl Builder {
    /// An empty content.
    pub fn new(leaves: Leaves) -> Self {
        Self { leaves, levels: vec![Level::default()] }
    }

    /// Adds one item of level 0. `store` stores a finished chunk and returns its id.
    pub fn push<E: From<FormatError>>(
        &mut self,
        item: Item,
        store: &mut impl FnMut(ChunkType, Vec<u8>) -> Result<ChunkId, E>,
    ) -> Result<(), E> {
        self.push_at(0, item, store)
    }

    fn push_at<E: From<FormatError>>(
        &mut self,
        level: usize,
        item: Item,
        store: &mut impl FnMut(ChunkType, Vec<u8>) -> Result<ChunkId, E>,
    ) -> Result<(), E> {
        if level == self.levels.len() {
            self.levels.push(Level::default());
        }
        let Level { open, split } = &mut self.levels[level];
        if *split {
            return self.push_split(level, item, store);
        }
        open.push(item);
        if open.len() > limits::CONTENT_ITEMS_MAX {
            *split = true;
            for item in std::mem::take(open) {
                self.push_split(level, item, store)?;
            }
        }
        Ok(())
    }

    fn push_split<E: From<FormatError>>(
        &mut self,
        level: usize,
        item: Item,
        store: &mut impl FnMut(ChunkType, Vec<u8>) -> Result<ChunkId, E>,
    ) -> Result<(), E> {
        let open = &mut self.levels[level].open;
        let marked = matches!(&item, Item::Chunk { id, .. } if id.0[0] == 0);
        open.push(item);
        if open.len() == limits::LIST_ITEMS_MAX || (marked && open.len() >= limits::LIST_ITEMS_MIN) {
            self.close(level, store)?;
        }
        Ok(())
    }

    /// Stores the open items of a level as a list, an item of the level above.
    fn close<E: From<FormatError>>(
        &mut self,
        level: usize,
        store: &mut impl FnMut(ChunkType, Vec<u8>) -> Result<ChunkId, E>,
    ) -> Result<(), E> {
        let items = std::mem::take(&mut self.levels[level].open);
        // Levels rise by a factor of at least 32: 2^64 items end far below 255; `check` refuses what is above 15.
        let list = ListChunk { level: u8::try_from(level).unwrap_or(u8::MAX), leaves: self.leaves, items, extra: vec![] };
        let length = list.check()?;
        let id = store(ChunkType::List, list.encode()?)?;
        self.push_at(level + 1, Item::Chunk { id, length }, store)
    }

    /// The content.
    pub fn finish<E: From<FormatError>>(
        mut self,
        store: &mut impl FnMut(ChunkType, Vec<u8>) -> Result<ChunkId, E>,
    ) -> Result<Content, E> {
        let mut level = 0;
        // A level that was never split has given nothing to the one above: it is the last.
        while self.levels[level].split {
            if !self.levels[level].open.is_empty() {
                self.close(level, store)?;
            }
            level += 1;
        }
        let content = Content { level: level as u8, items: std::mem::take(&mut self.levels[level].open) };
        check_content(WHAT, &content, self.leaves == Leaves::Data)?;
        Ok(content)
    }
}

/// The items of level 0 of a content, one at a time and in order. Lists are fetched when they are come to; at most one of each level is held.
///
/// A chunk that cannot be had, or is not what leads to it, is an error in its place. The next call goes on behind it.
#[derive(Debug)]
pub(crate) struct Items {
    leaves: Leaves,
    /// The content, and the lists that are being gone through.
    open: Vec<Open>,
    /// Of a folder: what it referred to. Its names rise, so it refers to no chunk twice.
    met: HashSet<ChunkId>,
    budget: Budget,
}

#[derive(Debug)]
struct Open {
    level: u8,
    items: std::vec::IntoIter<Item>,
}

impl Items {
    /// Stands before the first item.
    pub(crate) fn new(content: &Content, leaves: Leaves) -> Result<Self, FormatError> {
        check_content(WHAT, content, leaves == Leaves::Data)?;
        let open = vec![Open { level: content.level, items: content.items.clone().into_iter() }];
        Ok(Self { leaves, open, met: HashSet::new(), budget: Budget::of_pieces() })
    }

    /// The next item, or why it cannot be told. `fetch` returns the plaintext of a list chunk, its id verified.
    pub(crate) fn next<E: From<FormatError>>(
        &mut self,
        fetch: &mut impl FnMut(&Reference) -> Result<Vec<u8>, E>,
    ) -> Option<Result<Item, E>> {
        loop {
            let Open { level, items } = self.open.last_mut()?;
            let level = *level;
            let Some(item) = items.next() else {
                self.open.pop();
                continue;
            };
            let reference = Reference::of_item(&item, level, self.leaves);
            if self.leaves == Leaves::Tree
                && let Some(reference) = &reference
                && !self.met.insert(reference.id)
            {
                return Some(Err(
                    FormatError::field("folder", "names", "are not strictly rising: a chunk stands in it twice").into()
                ));
            }
            let list = match reference {
                _ if level == 0 => return Some(Ok(item)),
                Some(list) => list,
                None => return Some(Err(FormatError::field(WHAT, "hole", "stands where only chunks may").into())),
            };
            match fetch(&list).and_then(|bytes| self.enter(&list, &bytes).map_err(E::from)) {
                Ok(()) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn enter(&mut self, list: &Reference, bytes: &[u8]) -> Result<(), FormatError> {
        let Opened::List(ListChunk { level, items, .. }) = list.open(bytes)? else { return Ok(()) };
        if let Err(error) = self.budget.meet(&list.id, items.len(), list.length) {
            // Nothing that comes later is better.
            self.open.clear();
            return Err(error);
        }
        self.open.push(Open { level, items: items.into_iter() });
        Ok(())
    }
}

/// Gives every item of level 0 in order, up to the first error. `fetch` returns the plaintext of a list chunk, its id verified.
pub fn walk<E: From<FormatError>>(
    content: &Content,
    leaves: Leaves,
    fetch: &mut impl FnMut(&ChunkId) -> Result<Vec<u8>, E>,
    each: &mut impl FnMut(&Item) -> Result<(), E>,
) -> Result<(), E> {
    let mut items = Items::new(content, leaves)?;
    while let Some(item) = items.next(&mut |list| fetch(&list.id)) {
        each(&item?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    type Store = HashMap<ChunkId, Vec<u8>>;

    fn item(n: u64) -> Item {
        Item::Chunk { id: ChunkId(*blake3::hash(&n.to_le_bytes()).as_bytes()), length: n + 1 }
    }

    fn build(items: impl Iterator<Item = Item>) -> (Content, Store) {
        let mut chunks = Store::new();
        let mut store = |chunk_type: ChunkType, bytes: Vec<u8>| {
            assert_eq!(chunk_type, ChunkType::List);
            let id = ChunkId(*blake3::hash(&bytes).as_bytes());
            chunks.insert(id, bytes);
            Ok::<_, FormatError>(id)
        };
        let mut builder = Builder::new(Leaves::Data);
        for item in items {
            builder.push(item, &mut store).unwrap();
        }
        let content = builder.finish(&mut store).unwrap();
        (content, chunks)
    }

    fn all(content: &Content, chunks: &Store) -> Result<Vec<Item>, FormatError> {
        let mut items = Vec::new();
        let mut fetch = |id: &ChunkId| Ok::<_, FormatError>(chunks[id].clone());
        walk(content, Leaves::Data, &mut fetch, &mut |item| {
            items.push(*item);
            Ok(())
        })?;
        Ok(items)
    }

    #[test]
    fn every_item_comes_back_in_order() {
        for count in [0, 1, 63, 64, 65, 66, 1_000, 1_089, 70_000] {
            let items: Vec<Item> = (0..count).map(|n| if n % 100 == 99 { Item::Hole { length: 3 } } else { item(n) }).collect();
            let (content, chunks) = build(items.iter().copied());
            assert_eq!(content.level > 0, count > 64);
            assert!(content.items.len() <= 64);
            assert_eq!(all(&content, &chunks).unwrap(), items, "{count}");
            assert_eq!(content.items.iter().map(Item::length).sum::<u64>(), items.iter().map(Item::length).sum::<u64>());
        }
    }

    #[test]
    fn lists_keep_to_their_bounds() {
        let (content, chunks) = build((0..70_000).map(item));
        assert_eq!(content.level, 2);
        let mut lengths: Vec<usize> = chunks.values().map(|bytes| ListChunk::decode(bytes).unwrap().items.len()).collect();
        lengths.sort_unstable();
        // The last list of each level may be short.
        assert!(lengths[2..].iter().all(|length| (32..=1024).contains(length)));
    }

    #[test]
    fn a_change_in_one_place_makes_few_new_lists() {
        let (_, before) = build((0..20_000).map(item));
        let (_, after) = build((0..20_000).map(|n| item(if n == 10_000 { 1 << 40 } else { n })));
        let new = after.keys().filter(|id| !before.contains_key(id)).count();
        assert!(new <= 4, "{new} new lists of {}", after.len());
    }

    #[test]
    fn a_run_of_holes_is_cut_at_1024() {
        let (content, chunks) = build((0..1_100).map(|_| Item::Hole { length: 1 }));
        assert_eq!((content.level, content.items.len()), (1, 2));
        assert_eq!(all(&content, &chunks).unwrap().len(), 1_100);
    }

    #[test]
    fn a_list_that_is_not_what_leads_to_it_is_refused() {
        let (content, chunks) = build((0..100).map(item));
        assert!(all(&content, &chunks).is_ok());
        let change = |change: &dyn Fn(&mut Content)| {
            let mut content = content.clone();
            change(&mut content);
            all(&content, &chunks).unwrap_err()
        };
        let longer = |content: &mut Content| {
            let Item::Chunk { length, .. } = &mut content.items[0] else { panic!("a hole") };
            *length += 1;
        };
        assert!(matches!(change(&longer), FormatError::Field { field: "length", .. }));
        assert!(matches!(change(&|content| content.level = 2), FormatError::Field { field: "level or leaves", .. }));
        let mut fetch = |id: &ChunkId| Ok::<_, FormatError>(chunks[id].clone());
        assert!(walk(&content, Leaves::Tree, &mut fetch, &mut |_| Ok(())).is_err());
    }

    #[test]
    fn a_list_reads_back_and_bad_ones_are_refused() {
        let list = ListChunk { level: 0, leaves: Leaves::Tree, items: vec![item(1), item(2)], extra: vec![] };
        assert_eq!(ListChunk::decode(&list.encode().unwrap()).unwrap(), list);
        for bad in [
            ListChunk { items: vec![], ..list.clone() },
            ListChunk { items: vec![item(1); 1025], ..list.clone() },
            ListChunk { items: vec![Item::Hole { length: 1 }], ..list.clone() },
            ListChunk { level: 16, ..list.clone() },
            ListChunk { items: vec![Item::Chunk { id: ChunkId([0; 32]), length: 0 }], ..list.clone() },
        ] {
            assert!(bad.encode().is_err());
        }
    }

    /// `levels` lists, each `width` times the one below.
    fn bomb(levels: u8, width: usize, leaves: Leaves) -> (Content, Store) {
        let (mut chunks, mut below) = (Store::new(), item(0));
        for level in 0..levels {
            let list = ListChunk { level, leaves, items: vec![below; width], extra: vec![] };
            let length = list.check().unwrap();
            let bytes = list.encode().unwrap();
            let id = ChunkId(*blake3::hash(&bytes).as_bytes());
            chunks.insert(id, bytes);
            below = Item::Chunk { id, length };
        }
        (Content { level: levels, items: vec![below] }, chunks)
    }

    #[test]
    fn a_file_of_lists_of_one_list_ends_with_an_error() {
        let (content, chunks) = bomb(8, 32, Leaves::Data);
        let mut count = 0u64;
        let mut fetch = |id: &ChunkId| Ok::<_, FormatError>(chunks[id].clone());
        let ended = walk(&content, Leaves::Data, &mut fetch, &mut |_| {
            count += 1;
            Ok(())
        });
        assert!(matches!(ended, Err(FormatError::TooLong { .. })));
        assert!(count < 2_000_000, "{count}");
    }

    #[test]
    fn a_folder_of_lists_of_one_list_has_one_chunk_and_each_list_is_read_once() {
        let (content, chunks) = bomb(4, 1_024, Leaves::Tree);
        let mut items = Items::new(&content, Leaves::Tree).unwrap();
        let (mut good, mut bad, mut read) = (0, 0, 0);
        let mut fetch = |list: &Reference| {
            read += 1;
            Ok::<_, FormatError>(chunks[&list.id].clone())
        };
        while let Some(item) = items.next(&mut fetch) {
            *if item.is_ok() { &mut good } else { &mut bad } += 1;
        }
        assert_eq!((good, bad, read), (1, 4 * 1_023, 4));
    }

    #[test]
    fn a_list_that_cannot_be_had_is_an_error_in_its_place_and_the_rest_comes() {
        let (content, mut chunks) = build((0..10_000).map(item));
        let Item::Chunk { id, length } = content.items[1] else { panic!("a hole") };
        let list = ListChunk::decode(&chunks.remove(&id).unwrap()).unwrap();
        assert_eq!((content.level, list.items.iter().map(Item::length).sum::<u64>()), (1, length));
        let mut items = Items::new(&content, Leaves::Data).unwrap();
        let lost = || FormatError::field("list", "chunk", "is lost");
        let mut fetch = |list: &Reference| chunks.get(&list.id).cloned().ok_or_else(lost);
        let found: Vec<_> = std::iter::from_fn(|| items.next(&mut fetch)).collect();
        assert_eq!(found.iter().filter(|item| item.is_err()).count(), 1);
        assert_eq!(found.iter().filter(|item| item.is_ok()).count(), 10_000 - list.items.len());
    }
}
