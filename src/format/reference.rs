//! What a tree chunk or a list chunk refers to, and what it claims of each of those chunks. Page `format-spec/tree.md`.
//!
//! These are pure functions: bytes in, references out. Every walk through a repository stands on them.

use super::content::{Leaves, ListChunk};
use super::error::FormatError;
use super::tree::{Content, Item, Node, NodeKind, TreeChunk, XattrValue, check_items};
use crate::crypto::ChunkType;
use crate::id::ChunkId;

/// What a chunk is to the one that refers to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Role {
    /// Bytes of a file or of an attribute.
    Data,
    /// Entries of a folder.
    Tree,
    /// Items of a content.
    List {
        /// Level of its items.
        level: u8,
        /// What stands at level 0.
        leaves: Leaves,
    },
}

/// A chunk that another one refers to, with all that this other one claims of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Reference {
    /// Which chunk.
    pub id: ChunkId,
    /// What it is.
    pub role: Role,
    /// Bytes of data, entries of a tree, the sum of the items of a list.
    pub length: u64,
}

impl Reference {
    /// The type of the chunk.
    pub fn chunk_type(&self) -> ChunkType {
        match self.role {
            Role::Data => ChunkType::Data,
            Role::Tree => ChunkType::Tree,
            Role::List { .. } => ChunkType::List,
        }
    }

    /// What an item of a content refers to; `None` for a hole.
    pub(crate) fn of_item(item: &Item, level: u8, leaves: Leaves) -> Option<Self> {
        let Item::Chunk { id, length } = *item else { return None };
        let role = match (level.checked_sub(1), leaves) {
            (Some(level), leaves) => Role::List { level, leaves },
            (None, Leaves::Data) => Role::Data,
            (None, Leaves::Tree) => Role::Tree,
        };
        Some(Self { id, role, length })
    }

    /// A short hash of what is claimed, never 0 or 1. The ids of two chunks differ; two claims about one chunk have hashes that differ.
    pub fn claim(&self) -> u32 {
        let (role, level) = match self.role {
            Role::Data => (0, 0),
            Role::Tree => (1, 0),
            Role::List { level, leaves } => (1 + leaves as u8, level),
        };
        let mut hash = blake3::Hasher::new();
        hash.update(&self.length.to_le_bytes()).update(&[role, level]);
        let mut bytes = [0; 4];
        hash.finalize_xof().fill(&mut bytes);
        u32::from_le_bytes(bytes) | 2
    }

    /// The tree or list in these bytes, which must be what this reference claims. A data chunk is neither.
    pub fn open(&self, bytes: &[u8]) -> Result<Opened, FormatError> {
        let opened = Opened::decode(self.chunk_type(), bytes)?;
        opened.check(self)?;
        Ok(opened)
    }
}

/// A tree chunk or a list chunk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Opened {
    /// Entries of a folder.
    Tree(TreeChunk),
    /// Items of a content.
    List(ListChunk),
}

impl Opened {
    /// Reads a chunk of this type.
    pub fn decode(chunk_type: ChunkType, bytes: &[u8]) -> Result<Self, FormatError> {
        match chunk_type {
            ChunkType::Tree => TreeChunk::decode(bytes).map(Self::Tree),
            ChunkType::List => ListChunk::decode(bytes).map(Self::List),
            ChunkType::Data => Err(FormatError::field("chunk", "type", "is data, which refers to nothing")),
        }
    }

    /// What a parent must claim of it.
    pub fn truth(&self, id: ChunkId) -> Result<Reference, FormatError> {
        Ok(match self {
            Self::Tree(tree) => Reference { id, role: Role::Tree, length: tree.nodes.len() as u64 },
            Self::List(ListChunk { level, leaves, items, .. }) => {
                let length = check_items("list", items, *level == 0 && *leaves == Leaves::Data)?;
                Reference { id, role: Role::List { level: *level, leaves: *leaves }, length }
            }
        })
    }

    /// Is it what a parent claims?
    pub fn check(&self, claimed: &Reference) -> Result<(), FormatError> {
        let truth = self.truth(claimed.id)?;
        let what = if matches!(self, Self::Tree(_)) { "tree" } else { "list" };
        if truth.role != claimed.role {
            return Err(FormatError::field(what, "level or leaves", "are not what leads to it"));
        }
        if truth.length != claimed.length {
            return Err(FormatError::field(what, "length", "is not that of the item that leads to it"));
        }
        Ok(())
    }

    /// The contents in it: of entries and their attributes, or the one that a list is a run of.
    pub(crate) fn for_each_content(&self, each: &mut dyn FnMut(&[Item], u8, Leaves)) {
        match self {
            Self::List(list) => each(&list.items, list.level, list.leaves),
            Self::Tree(tree) => {
                for (content, leaves) in tree.nodes.iter().flat_map(contents) {
                    each(&content.items, content.level, leaves);
                }
            }
        }
    }

    /// Everything it refers to, in order.
    pub(crate) fn references(&self) -> Vec<Reference> {
        let mut found = Vec::new();
        self.for_each_content(&mut |items, level, leaves| {
            found.extend(items.iter().filter_map(|item| Reference::of_item(item, level, leaves)));
        });
        found
    }
}

/// The contents of an entry: its own, and those of its attributes.
pub fn contents(node: &Node) -> impl Iterator<Item = (&Content, Leaves)> {
    let own = match node.kind {
        NodeKind::File => Some((&node.content, Leaves::Data)),
        NodeKind::Folder => Some((&node.content, Leaves::Tree)),
        _ => None,
    };
    let of_attributes = node.xattrs.iter().filter_map(|xattr| match &xattr.value {
        XattrValue::Content(content) => Some((content, Leaves::Data)),
        XattrValue::Inline(_) => None,
    });
    own.into_iter().chain(of_attributes)
}

/// What the items of a content refer to, in order. Holes refer to nothing.
pub(crate) fn of_content(content: &Content, leaves: Leaves) -> impl Iterator<Item = Reference> + '_ {
    content.items.iter().filter_map(move |item| Reference::of_item(item, content.level, leaves))
}

#[cfg(test)]
mod tests {
    use super::super::tree::tests::file;
    use super::super::tree::{Xattr, XattrValue};
    use super::*;

    fn chunk(n: u8, length: u64) -> Item {
        Item::Chunk { id: ChunkId([n; 32]), length }
    }

    fn found(opened: &Opened) -> Vec<(u8, Role, u64)> {
        opened.references().iter().map(|reference| (reference.id.0[0], reference.role, reference.length)).collect()
    }

    #[test]
    fn a_tree_refers_to_the_content_of_its_files_folders_and_attributes() {
        let attribute =
            Xattr { name: b"user.a".to_vec(), value: XattrValue::Content(Content { level: 0, items: vec![chunk(3, 9)] }) };
        let folder = Content { level: 1, items: vec![chunk(4, 70)] };
        let tree = Opened::Tree(TreeChunk {
            nodes: vec![
                Node { xattrs: vec![attribute], ..file(b"a", vec![chunk(1, 5), Item::Hole { length: 7 }, chunk(2, 6)]) },
                Node { kind: NodeKind::Folder, content: folder, ..file(b"b", vec![]) },
            ],
            extra: vec![],
        });
        let list = Role::List { level: 0, leaves: Leaves::Tree };
        assert_eq!(found(&tree), [(1, Role::Data, 5), (2, Role::Data, 6), (3, Role::Data, 9), (4, list, 70)]);
    }

    #[test]
    fn a_list_refers_to_what_its_level_and_leaves_say() {
        let list = |level, leaves| Opened::List(ListChunk { level, leaves, items: vec![chunk(1, 5)], extra: vec![] });
        assert_eq!(found(&list(0, Leaves::Data)), [(1, Role::Data, 5)]);
        assert_eq!(found(&list(0, Leaves::Tree)), [(1, Role::Tree, 5)]);
        assert_eq!(found(&list(3, Leaves::Tree)), [(1, Role::List { level: 2, leaves: Leaves::Tree }, 5)]);
    }

    #[test]
    fn a_chunk_opens_only_as_what_is_claimed_of_it() {
        let list = ListChunk { level: 1, leaves: Leaves::Data, items: vec![chunk(1, 5), chunk(2, 6)], extra: vec![] };
        let bytes = list.encode().unwrap();
        let truth = Opened::List(list.clone()).truth(ChunkId([9; 32])).unwrap();
        assert_eq!((truth.role, truth.length), (Role::List { level: 1, leaves: Leaves::Data }, 11));
        assert_eq!(truth.open(&bytes).unwrap(), Opened::List(list));
        let others = [
            Reference { length: 12, ..truth },
            Reference { role: Role::List { level: 0, leaves: Leaves::Data }, ..truth },
            Reference { role: Role::List { level: 1, leaves: Leaves::Tree }, ..truth },
            Reference { role: Role::Tree, ..truth },
            Reference { role: Role::Data, ..truth },
        ];
        for other in others {
            assert!(other.open(&bytes).is_err(), "{other:?}");
            assert_ne!(other.claim(), truth.claim(), "{other:?}");
        }
    }
}
