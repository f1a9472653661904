//! Folders: where their entries are cut into tree chunks, and the walk over them. Page `format-spec/tree.md`.

use super::content::{Builder as ContentBuilder, Items, Leaves};
use super::error::FormatError;
use super::reference::{Opened, Reference};
use super::tree::{Content, Item, Node, encode_node};
use super::{cbor, limits};
use crate::crypto::{ChunkType, Secret, mac};
use crate::id::ChunkId;

const WHAT: &str = "folder";

/// Says where the entries of a folder are cut, from their names alone (and their size, when they are huge): two folders that differ in
/// one entry share all tree chunks but one.
pub(crate) struct Cutter {
    key: Secret,
    entries: usize,
    bytes: usize,
}

/// Where to cut around an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    /// The open chunk ends before it.
    pub before: bool,
    /// The chunk it is in ends with it.
    pub after: bool,
}

impl Cutter {
    /// Cuts under the key of cut points.
    pub(crate) fn new(cut_key: &[u8; 32]) -> Self {
        Self { key: Secret::new(*cut_key), entries: 0, bytes: 0 }
    }

    /// Takes the next entry: its name, and the bytes of its encoding.
    pub(crate) fn push(&mut self, name: &[u8], encoded: usize) -> Cut {
        let before = self.entries > 0 && self.bytes + encoded > limits::TREE_SIZE_MAX;
        if before {
            (self.entries, self.bytes) = (0, 0);
        }
        self.entries += 1;
        self.bytes += encoded;
        let after = self.entries == limits::TREE_ENTRIES_MAX || (self.entries >= limits::TREE_ENTRIES_MIN && self.is_marked(name));
        if after {
            (self.entries, self.bytes) = (0, 0);
        }
        Cut { before, after }
    }

    /// Do the nine lowest bits of MAC(k_cut, name), a little-endian number, stand at zero?
    fn is_marked(&self, name: &[u8]) -> bool {
        let mac = mac(&self.key, &[name]);
        mac[0] == 0 && mac[1] & 1 == 0
    }
}

/// Takes the entries of a folder in order and gives tree and list chunks to store, and at last the folder's content.
pub struct Builder {
    cutter: Cutter,
    content: ContentBuilder,
    /// Encoded entries of the open chunk, end to end.
    open: Vec<u8>,
    entries: usize,
    last_name: Vec<u8>,
}

impl Builder {
    /// An empty folder, cut under the key of cut points.
    pub fn new(cut_key: &[u8; 32]) -> Self {
        let content = ContentBuilder::new(Leaves::Tree);
        Self { cutter: Cutter::new(cut_key), content, open: Vec::new(), entries: 0, last_name: Vec::new() }
    }

    /// Adds an entry; names strictly rise. `store` stores a finished chunk and returns its id.
    pub fn push<E: From<FormatError>>(
        &mut self,
        node: &Node,
        store: &mut impl FnMut(ChunkType, Vec<u8>) -> Result<ChunkId, E>,
    ) -> Result<(), E> {
        self.push_encoded(&node.name, &encode_node(node)?, store)
    }

    /// As [`Builder::push`], for an entry that [`encode_node`] has encoded before; `name` is the name in it.
    pub(crate) fn push_encoded<E: From<FormatError>>(
        &mut self,
        name: &[u8],
        encoded: &[u8],
        store: &mut impl FnMut(ChunkType, Vec<u8>) -> Result<ChunkId, E>,
    ) -> Result<(), E> {
        // The empty name is below every other and is no name.
        if name <= self.last_name.as_slice() {
            return Err(FormatError::field(WHAT, "names", "are not strictly rising").into());
        }
        self.last_name.clear();
        self.last_name.extend_from_slice(name);
        let cut = self.cutter.push(name, encoded.len());
        if cut.before {
            self.close(store)?;
        }
        self.open.extend_from_slice(encoded);
        self.entries += 1;
        if cut.after {
            self.close(store)?;
        }
        Ok(())
    }

    fn close<E: From<FormatError>>(&mut self, store: &mut impl FnMut(ChunkType, Vec<u8>) -> Result<ChunkId, E>) -> Result<(), E> {
        let mut chunk = Vec::with_capacity(self.open.len() + 8);
        cbor::array_head(&mut chunk, 2);
        cbor::array_head(&mut chunk, self.entries);
        chunk.append(&mut self.open);
        cbor::array_head(&mut chunk, 0);
        let length = self.entries as u64;
        self.entries = 0;
        let id = store(ChunkType::Tree, chunk)?;
        self.content.push(Item::Chunk { id, length }, store)
    }

    /// The folder's content.
    pub fn finish<E: From<FormatError>>(
        mut self,
        store: &mut impl FnMut(ChunkType, Vec<u8>) -> Result<ChunkId, E>,
    ) -> Result<Content, E> {
        if self.entries > 0 {
            self.close(store)?;
        }
        self.content.finish(store)
    }
}

/// The entries of a folder, one at a time and in order. Names must rise over chunk boundaries too. Only the entries of one tree chunk are
/// held, and those may be dropped: see [`Entries::release`].
///
/// A chunk that cannot be had, or is not what leads to it, is an error in its place. The next call goes on behind it.
#[derive(Debug)]
pub struct Entries {
    items: Items,
    /// The chunk that `nodes` come from.
    chunk: Option<Reference>,
    nodes: std::vec::IntoIter<Node>,
    is_released: bool,
    last_name: Vec<u8>,
}

impl Entries {
    /// Stands before the first entry.
    pub fn new(folder: &Content) -> Result<Self, FormatError> {
        let items = Items::new(folder, Leaves::Tree)?;
        Ok(Self { items, chunk: None, nodes: Vec::new().into_iter(), is_released: false, last_name: Vec::new() })
    }

    /// The next entry, or why it cannot be told. `fetch` returns the plaintext of a tree or list chunk, its id verified.
    pub fn next<E: From<FormatError>>(
        &mut self,
        fetch: &mut impl FnMut(&Reference) -> Result<Vec<u8>, E>,
    ) -> Option<Result<Node, E>> {
        loop {
            if let Some(node) = self.nodes.next() {
                self.last_name.clone_from(&node.name);
                return Some(Ok(node));
            }
            let opened = match self.chunk.filter(|_| self.is_released) {
                Some(chunk) => self.open_again(&chunk, fetch),
                None => match self.items.next(fetch)? {
                    Ok(item) => self.open(&item, fetch),
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = opened {
                return Some(Err(error));
            }
        }
    }

    fn open<E: From<FormatError>>(
        &mut self,
        item: &Item,
        fetch: &mut impl FnMut(&Reference) -> Result<Vec<u8>, E>,
    ) -> Result<(), E> {
        let Some(chunk) = Reference::of_item(item, 0, Leaves::Tree) else {
            return Err(FormatError::field(WHAT, "hole", "stands where only chunks may").into());
        };
        let Opened::Tree(tree) = chunk.open(&fetch(&chunk)?)? else { return Ok(()) };
        if tree.nodes.first().is_some_and(|first| first.name <= self.last_name) {
            return Err(FormatError::field(WHAT, "names", "are not strictly rising").into());
        }
        self.chunk = Some(chunk);
        self.nodes = tree.nodes.into_iter();
        Ok(())
    }

    fn open_again<E: From<FormatError>>(
        &mut self,
        chunk: &Reference,
        fetch: &mut impl FnMut(&Reference) -> Result<Vec<u8>, E>,
    ) -> Result<(), E> {
        self.is_released = false;
        let Opened::Tree(mut tree) = chunk.open(&fetch(chunk)?)? else { return Ok(()) };
        tree.nodes.retain(|node| node.name > self.last_name);
        self.nodes = tree.nodes.into_iter();
        Ok(())
    }

    /// The chunk whose entries come now.
    pub fn chunk(&self) -> Option<&Reference> {
        self.chunk.as_ref()
    }

    /// Entries of that chunk that are still to come.
    pub fn held(&self) -> &[Node] {
        self.nodes.as_slice()
    }

    /// Drops the entries that are held. They are fetched again when they are asked for.
    pub fn release(&mut self) {
        self.is_released = self.is_released || !self.nodes.as_slice().is_empty();
        self.nodes = Vec::new().into_iter();
    }
}

/// Gives every entry of a folder in order, up to the first error. `fetch` returns the plaintext of a tree or list chunk, its id verified.
pub fn walk<E: From<FormatError>>(
    content: &Content,
    fetch: &mut impl FnMut(ChunkType, &ChunkId) -> Result<Vec<u8>, E>,
    each: &mut impl FnMut(Node) -> Result<(), E>,
) -> Result<(), E> {
    let mut entries = Entries::new(content)?;
    while let Some(node) = entries.next(&mut |chunk| fetch(chunk.chunk_type(), &chunk.id)) {
        each(node?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::tree::TreeChunk;
    use super::super::tree::XattrValue;
    use super::super::tree::{Xattr, tests::file};
    use super::*;

    type Store = HashMap<ChunkId, (ChunkType, Vec<u8>)>;

    fn build(nodes: &[Node]) -> Result<(Content, Store), FormatError> {
        let mut chunks = Store::new();
        let mut store = |chunk_type: ChunkType, bytes: Vec<u8>| {
            let id = ChunkId(*blake3::keyed_hash(&[chunk_type as u8; 32], &bytes).as_bytes());
            chunks.insert(id, (chunk_type, bytes));
            Ok::<_, FormatError>(id)
        };
        let mut builder = Builder::new(&[3; 32]);
        for node in nodes {
            builder.push(node, &mut store)?;
        }
        let content = builder.finish(&mut store)?;
        Ok((content, chunks))
    }

    fn all(content: &Content, chunks: &Store) -> Result<Vec<Node>, FormatError> {
        let mut nodes = Vec::new();
        let mut fetch = |chunk_type, id: &ChunkId| {
            let (stored, bytes) = &chunks[id];
            assert_eq!(*stored, chunk_type);
            Ok::<_, FormatError>(bytes.clone())
        };
        walk(content, &mut fetch, &mut |node| {
            nodes.push(node);
            Ok(())
        })?;
        Ok(nodes)
    }

    fn entries(count: usize) -> Vec<Node> {
        (0..count).map(|n| file(format!("{n:06}").as_bytes(), vec![])).collect()
    }

    #[test]
    fn every_entry_comes_back_in_order() {
        for count in [0, 1, 31, 32, 33, 5_000, 40_000] {
            let nodes = entries(count);
            let (content, chunks) = build(&nodes).unwrap();
            assert_eq!(all(&content, &chunks).unwrap(), nodes);
            let sizes =
                chunks.values().filter(|chunk| chunk.0 == ChunkType::Tree).map(|chunk| TreeChunk::decode(&chunk.1).unwrap());
            let short = sizes.filter(|tree| !(32..=4096).contains(&tree.nodes.len())).count();
            assert!(short <= 1, "only the last may be short");
            assert!(content.items.is_empty() == (count == 0));
        }
    }

    #[test]
    fn one_new_entry_makes_one_new_tree_chunk() {
        let mut nodes = entries(5_000);
        let (_, before) = build(&nodes).unwrap();
        nodes.insert(2_501, file(b"002500x", vec![]));
        let (_, after) = build(&nodes).unwrap();
        let new = after.iter().filter(|(id, chunk)| chunk.0 == ChunkType::Tree && !before.contains_key(id)).count();
        assert!((1..=2).contains(&new), "{new} of {}", after.len());
    }

    #[test]
    fn huge_entries_are_cut_before_4_mib() {
        let big = |n: usize| Node {
            xattrs: vec![Xattr { name: b"u".to_vec(), value: XattrValue::Inline(vec![0; 60_000]) }],
            ..file(format!("{n:04}").as_bytes(), vec![])
        };
        let nodes: Vec<Node> = (0..150).map(big).collect();
        let (content, chunks) = build(&nodes).unwrap();
        assert!(content.items.len() >= 3);
        assert!(chunks.values().all(|chunk| chunk.1.len() <= limits::TREE_SIZE_MAX + 8));
        assert_eq!(all(&content, &chunks).unwrap(), nodes);
    }

    #[test]
    fn names_out_of_order_are_refused_at_both_ends() {
        let nodes = [file(b"b", vec![]), file(b"a", vec![])];
        assert!(build(&nodes).is_err());
        // Two chunks, each in order, that overlap.
        let (first, mut chunks) = build(&nodes[..1]).unwrap();
        let (second, more) = build(&nodes[1..]).unwrap();
        chunks.extend(more);
        let content = Content { level: 0, items: [first.items, second.items].concat() };
        assert!(matches!(all(&content, &chunks), Err(FormatError::Field { field: "names", .. })));
    }

    #[test]
    fn a_wrong_count_of_entries_is_refused() {
        let (mut content, chunks) = build(&entries(3)).unwrap();
        let Item::Chunk { length, .. } = &mut content.items[0] else { panic!("a hole") };
        *length = 4;
        assert!(matches!(all(&content, &chunks), Err(FormatError::Field { field: "length", .. })));
    }

    #[test]
    fn entries_that_were_released_come_again_and_none_comes_twice() {
        let nodes = entries(5_000);
        let (content, chunks) = build(&nodes).unwrap();
        let mut entries = Entries::new(&content).unwrap();
        let mut fetch = |chunk: &Reference| Ok::<_, FormatError>(chunks[&chunk.id].1.clone());
        let mut found = Vec::new();
        while let Some(node) = entries.next(&mut fetch) {
            found.push(node.unwrap());
            if found.len() % 100 == 0 {
                entries.release();
                assert!(entries.held().is_empty());
            }
        }
        assert_eq!(found, nodes);
    }
}
