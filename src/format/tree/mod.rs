//! Tree nodes and the lists that hold content: page `format-spec/tree.md`.

mod extra;

pub use extra::{FileFlags, LeftOut};

use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, Bytes};

use super::cbor::{self, WireExtra, WireTime};
use super::error::{FormatError, at_most};
use super::{Extra, limits};
use crate::clock::Timestamp;
use crate::id::ChunkId;
use crate::path;

/// What stands under a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum NodeKind {
    /// A regular file, or a stream.
    File = 1,
    /// A folder.
    Folder = 2,
    /// A symbolic link.
    Symlink = 3,
    /// A named pipe.
    Fifo = 4,
    /// A Unix socket.
    Socket = 5,
    /// A character device.
    Char = 6,
    /// A block device.
    Block = 7,
}

impl NodeKind {
    /// From its stored number.
    pub(crate) fn from_u8(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::File,
            2 => Self::Folder,
            3 => Self::Symlink,
            4 => Self::Fifo,
            5 => Self::Socket,
            6 => Self::Char,
            7 => Self::Block,
            _ => return None,
        })
    }
}

/// One item of a content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Item {
    /// A chunk and the bytes it stands for: at level 0 its own length, above the sum of what its list holds.
    /// In a folder's content the length is the number of entries.
    Chunk {
        /// Data at level 0 of a file, tree at level 0 of a folder, list above.
        id: ChunkId,
        /// Bytes of a file, entries of a folder.
        length: u64,
    },
    /// Zeros that are stored nowhere (files, level 0).
    Hole {
        /// Bytes.
        length: u64,
    },
}

impl Item {
    /// Bytes (or entries) it stands for.
    pub fn length(&self) -> u64 {
        match *self {
            Self::Chunk { length, .. } | Self::Hole { length } => length,
        }
    }
}

/// Where the bytes of a file, or the entries of a folder, stand.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Content {
    /// 0: items are data (or tree) chunks; n: items are list chunks of level n-1.
    pub level: u8,
    /// At most 64.
    pub items: Vec<Item>,
}

/// The value of an extended attribute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum XattrValue {
    /// In the node itself.
    Inline(Vec<u8>),
    /// In data chunks, as a file's bytes: values that would take the node's attributes above 64 KiB.
    Content(Content),
}

/// One extended attribute; ACLs and capabilities are these, raw.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Xattr {
    /// Full name with its namespace, such as `user.comment`.
    pub name: Vec<u8>,
    /// Its value.
    pub value: XattrValue,
}

/// Names of one file: nodes of a snapshot with equal groups are hard links of each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct HardLink {
    /// Which file system of this snapshot, counted as they were met.
    pub file_system: u16,
    /// Its inode number there.
    pub inode: u64,
}

/// One row of a folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// 1..=1024 bytes; no `/`, no NUL, not `.` or `..`.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: NodeKind,
    /// Permission bits with set-uid, set-gid, sticky: the low 12 bits of `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Owner's name, when it has one.
    pub user: Option<String>,
    /// Group's name, when it has one.
    pub group: Option<String>,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// Last change of the inode.
    pub ctime: Timestamp,
    /// Bytes of a file (holes included); for a folder 0.
    pub size: u64,
    /// Bytes of a file, entries of a folder; empty for the rest.
    pub content: Content,
    /// Target of a symbolic link, at most 4,096 bytes; else empty.
    pub link_target: Vec<u8>,
    /// Device number (`st_rdev`) of char and block nodes; else 0.
    pub device: u64,
    /// In rising order of names.
    pub xattrs: Vec<Xattr>,
    /// Only for non-folders whose link count is above 1.
    pub hard_link: Option<HardLink>,
    /// Fields of later versions.
    pub extra: Extra,
}

/// Rows of a folder, as they stand in one tree chunk.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TreeChunk {
    /// 1..=4,096, strictly rising by name.
    pub nodes: Vec<Node>,
    /// Fields of later versions.
    pub extra: Extra,
}

const WHAT: &str = "tree";

#[derive(Serialize, Deserialize)]
struct WireItem(Option<ByteArray<32>>, u64);

#[derive(Serialize, Deserialize)]
pub(super) struct WireContent(u8, Vec<WireItem>);

#[derive(Serialize, Deserialize)]
struct WireXattr<'a>(#[serde(borrow)] &'a Bytes, #[serde(borrow)] Option<&'a Bytes>, Option<WireContent>);

#[derive(Serialize, Deserialize)]
struct WireNode<'a>(
    #[serde(borrow)] &'a Bytes,
    u8,
    u32,
    u32,
    u32,
    Option<&'a str>,
    Option<&'a str>,
    WireTime,
    WireTime,
    u64,
    WireContent,
    #[serde(borrow)] &'a Bytes,
    u64,
    #[serde(borrow)] Vec<WireXattr<'a>>,
    Option<(u16, u64)>,
    #[serde(borrow)] Vec<WireExtra<'a>>,
);

#[derive(Serialize, Deserialize)]
struct WireTree<'a>(#[serde(borrow)] Vec<WireNode<'a>>, #[serde(borrow)] Vec<WireExtra<'a>>);

impl TreeChunk {
    /// The bytes of the chunk.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        check_order(&self.nodes)?;
        let mut bytes = Vec::new();
        cbor::array_head(&mut bytes, 2);
        cbor::array_head(&mut bytes, self.nodes.len());
        let start = bytes.len();
        for node in &self.nodes {
            bytes.extend_from_slice(&encode_node(node)?);
        }
        at_most(WHAT, (bytes.len() - start) as u64, limits::TREE_SIZE_MAX as u64)?;
        bytes.extend_from_slice(&cbor::encode(WHAT, &cbor::extra_out(&self.extra))?);
        Ok(bytes)
    }

    /// Reads a tree chunk: names in order, every field within its limits.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        at_most(WHAT, bytes.len() as u64, limits::CHUNK_SIZE_MAX.into())?;
        let WireTree(nodes, extra) = cbor::decode(WHAT, bytes)?;
        let extra = cbor::extra_in(WHAT, &extra)?;
        // What is not extra and not the heads of the two arrays is nodes.
        let mut around = cbor::encode(WHAT, &cbor::extra_out(&extra))?;
        cbor::array_head(&mut around, 2);
        cbor::array_head(&mut around, nodes.len());
        at_most(WHAT, (bytes.len() - around.len()) as u64, limits::TREE_SIZE_MAX as u64)?;
        let nodes = nodes.into_iter().map(node_in).collect::<Result<Vec<_>, _>>()?;
        check_order(&nodes)?;
        Ok(Self { nodes, extra })
    }
}

fn check_order(nodes: &[Node]) -> Result<(), FormatError> {
    at_most("entries of a tree", nodes.len() as u64, limits::TREE_ENTRIES_MAX as u64)?;
    if nodes.is_empty() {
        return Err(FormatError::field(WHAT, "entries", "are none"));
    }
    if !nodes.is_sorted_by(|a, b| a.name < b.name) {
        return Err(FormatError::field(WHAT, "names", "are not strictly rising"));
    }
    Ok(())
}

/// One row of a folder as it stands in a tree chunk.
pub(crate) fn encode_node(node: &Node) -> Result<Vec<u8>, FormatError> {
    check_node(node)?;
    let xattrs = node.xattrs.iter().map(|xattr| {
        let (inline, content) = match &xattr.value {
            XattrValue::Inline(value) => (Some(Bytes::new(value)), None),
            XattrValue::Content(content) => (None, Some(content_out(content))),
        };
        WireXattr(Bytes::new(&xattr.name), inline, content)
    });
    let wire = WireNode(
        Bytes::new(&node.name),
        node.kind as u8,
        node.mode,
        node.uid,
        node.gid,
        node.user.as_deref(),
        node.group.as_deref(),
        cbor::time_out(node.mtime),
        cbor::time_out(node.ctime),
        node.size,
        content_out(&node.content),
        Bytes::new(&node.link_target),
        node.device,
        xattrs.collect(),
        node.hard_link.map(|link| (link.file_system, link.inode)),
        cbor::extra_out(&node.extra),
    );
    cbor::encode(WHAT, &wire)
}

/// Reads one row that [`encode_node`] made.
pub(crate) fn decode_node(bytes: &[u8]) -> Result<Node, FormatError> {
    at_most(WHAT, bytes.len() as u64, limits::CHUNK_SIZE_MAX.into())?;
    node_in(cbor::decode(WHAT, bytes)?)
}

fn node_in(wire: WireNode<'_>) -> Result<Node, FormatError> {
    let xattrs = wire.13.into_iter().map(|WireXattr(name, inline, content)| {
        let value = match (inline, content) {
            (Some(value), None) => XattrValue::Inline(value.to_vec()),
            (None, Some(content)) => XattrValue::Content(content_in(content)),
            _ => return Err(FormatError::field(WHAT, "xattr", "has not exactly one value")),
        };
        Ok(Xattr { name: name.to_vec(), value })
    });
    let node = Node {
        name: wire.0.to_vec(),
        kind: NodeKind::from_u8(wire.1).ok_or(FormatError::field(WHAT, "kind", "is not 1 to 7"))?,
        mode: wire.2,
        uid: wire.3,
        gid: wire.4,
        user: wire.5.map(str::to_owned),
        group: wire.6.map(str::to_owned),
        mtime: cbor::time_in(WHAT, wire.7)?,
        ctime: cbor::time_in(WHAT, wire.8)?,
        size: wire.9,
        content: content_in(wire.10),
        link_target: wire.11.to_vec(),
        device: wire.12,
        xattrs: xattrs.collect::<Result<_, _>>()?,
        hard_link: wire.14.map(|(file_system, inode)| HardLink { file_system, inode }),
        extra: cbor::extra_in(WHAT, &wire.15)?,
    };
    check_node(&node)?;
    Ok(node)
}

pub(super) fn content_out(content: &Content) -> WireContent {
    let items = content.items.iter().map(|item| match item {
        Item::Chunk { id, length } => WireItem(Some(cbor::array(&id.0)), *length),
        Item::Hole { length } => WireItem(None, *length),
    });
    WireContent(content.level, items.collect())
}

pub(super) fn content_in(WireContent(level, items): WireContent) -> Content {
    let items = items.into_iter().map(|WireItem(id, length)| match id {
        Some(id) => Item::Chunk { id: ChunkId(id.into_array()), length },
        None => Item::Hole { length },
    });
    Content { level, items: items.collect() }
}

/// May a folder have an entry of this name?
pub fn is_name(name: &[u8]) -> bool {
    name.len() <= limits::NAME_SIZE_MAX && path::is_name(name)
}

/// What holds for items wherever they stand; returns what they add up to. `holes`: bytes of a file at level 0.
pub(super) fn check_items(what: &'static str, items: &[Item], holes: bool) -> Result<u64, FormatError> {
    let mut sum = 0u64;
    for item in items {
        if item.length() == 0 {
            return Err(FormatError::field(what, "item", "stands for nothing"));
        }
        if matches!(item, Item::Hole { .. }) && !holes {
            return Err(FormatError::field(what, "hole", "stands where only chunks may"));
        }
        sum = sum.checked_add(item.length()).ok_or(FormatError::field(what, "items", "add up to more than 2^64"))?;
    }
    Ok(sum)
}

/// What holds for every content; returns what it adds up to.
pub(super) fn check_content(what: &'static str, content: &Content, file: bool) -> Result<u64, FormatError> {
    at_most("items of a content", content.items.len() as u64, limits::CONTENT_ITEMS_MAX as u64)?;
    at_most("level of a content", content.level.into(), limits::CONTENT_LEVEL_MAX.into())?;
    if content.items.is_empty() && content.level > 0 {
        return Err(FormatError::field(what, "content", "is empty and not of level 0"));
    }
    check_items(what, &content.items, file && content.level == 0)
}

fn check_node(node: &Node) -> Result<(), FormatError> {
    let refuse = |field, why| Err(FormatError::field(WHAT, field, why));
    if !is_name(&node.name) {
        return refuse("name", "is not 1 to 1,024 bytes without `/` and NUL, or is `.` or `..`");
    }
    if node.mode > 0o7777 {
        return refuse("mode", "has bits above 07777");
    }
    let (file, folder) = (node.kind == NodeKind::File, node.kind == NodeKind::Folder);
    let sum = check_content(WHAT, &node.content, file)?;
    if !file && !folder && !node.content.items.is_empty() {
        return refuse("content", "belongs to files and folders only");
    }
    if node.size != if file { sum } else { 0 } {
        return refuse("size", "is not what the content adds up to");
    }
    at_most("link target", node.link_target.len() as u64, limits::LINK_TARGET_SIZE_MAX as u64)?;
    if (node.kind == NodeKind::Symlink) == node.link_target.is_empty() || node.link_target.contains(&0) {
        return refuse("link target", "belongs to symbolic links, without NUL");
    }
    if node.device != 0 && !matches!(node.kind, NodeKind::Char | NodeKind::Block) {
        return refuse("device", "belongs to devices only");
    }
    if node.hard_link.is_some() && folder {
        return refuse("hard link", "does not belong to a folder");
    }
    if !node.xattrs.is_sorted_by(|a, b| a.name < b.name) {
        return refuse("xattrs", "are not strictly rising by name");
    }
    let mut inline = 0;
    for xattr in &node.xattrs {
        if xattr.name.is_empty() || xattr.name.contains(&0) {
            return refuse("xattr", "has an empty name, or one with NUL");
        }
        inline += xattr.name.len();
        match &xattr.value {
            XattrValue::Inline(value) => inline += value.len(),
            // No file system has an attribute with a hole, so no writer makes one.
            XattrValue::Content(content) => {
                check_content(WHAT, content, false)?;
            }
        }
    }
    at_most("xattrs", inline as u64, limits::XATTRS_SIZE_MAX as u64)?;
    if !node.extra.is_sorted_by(|a, b| a.0 < b.0) {
        return refuse("extra", "is not in rising order of numbers");
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn file(name: &[u8], items: Vec<Item>) -> Node {
        let size = items.iter().map(Item::length).sum();
        Node {
            name: name.to_vec(),
            kind: NodeKind::File,
            mode: 0o644,
            uid: 1000,
            gid: 100,
            user: Some("ann".into()),
            group: None,
            mtime: Timestamp { seconds: -1, nanoseconds: 999_999_999 },
            ctime: Timestamp { seconds: 1_700_000_000, nanoseconds: 0 },
            size,
            content: Content { level: 0, items },
            link_target: vec![],
            device: 0,
            xattrs: vec![],
            hard_link: None,
            extra: vec![],
        }
    }

    fn chunk(length: u64) -> Item {
        Item::Chunk { id: ChunkId([7; 32]), length }
    }

    fn of_kind(name: &[u8], kind: NodeKind) -> Node {
        Node { kind, ..file(name, vec![]) }
    }

    #[test]
    fn a_tree_reads_back() {
        let rich = Node {
            xattrs: vec![
                Xattr { name: b"security.capability".to_vec(), value: XattrValue::Inline(vec![0, 1]) },
                Xattr { name: b"user.big".to_vec(), value: XattrValue::Content(Content { level: 0, items: vec![chunk(70_000)] }) },
            ],
            hard_link: Some(HardLink { file_system: 1, inode: u64::MAX }),
            extra: vec![(3, false, b"later".to_vec())],
            ..file(b"a\xff", vec![chunk(5), Item::Hole { length: 1 << 40 }, chunk(1)])
        };
        let tree = TreeChunk {
            nodes: vec![
                rich,
                Node { device: 0x0801, ..of_kind(b"b", NodeKind::Block) },
                Node { content: Content { level: 1, items: vec![chunk(900)] }, ..of_kind(b"c", NodeKind::Folder) },
                Node { link_target: b"../x".to_vec(), ..of_kind(b"d", NodeKind::Symlink) },
                of_kind(b"e", NodeKind::Fifo),
            ],
            extra: vec![],
        };
        let bytes = tree.encode().unwrap();
        assert_eq!(TreeChunk::decode(&bytes).unwrap(), tree);
        for length in 0..bytes.len() {
            assert!(TreeChunk::decode(&bytes[..length]).is_err());
        }
    }

    #[test]
    fn nodes_above_4_mib_are_refused() {
        let value = || XattrValue::Inline(vec![0; 65_000]);
        let big = |n: u8| Node { xattrs: vec![Xattr { name: b"u".to_vec(), value: value() }], ..file(&[n], vec![]) };
        let chunk = |count: u8| {
            let mut bytes = vec![0x82, 0x98, count];
            (100..100 + count).for_each(|n| bytes.extend(encode_node(&big(n)).unwrap()));
            bytes.push(0x80);
            bytes
        };
        assert_eq!(TreeChunk::decode(&chunk(64)).unwrap().nodes.len(), 64);
        assert!(matches!(TreeChunk::decode(&chunk(65)), Err(FormatError::TooLong { .. })));
    }

    #[test]
    fn a_changed_byte_is_refused_or_means_something_else() {
        let bytes = TreeChunk { nodes: vec![file(b"a", vec![chunk(5)])], extra: vec![] }.encode().unwrap();
        for place in 0..bytes.len() {
            for change in 1..=255u8 {
                let mut bad = bytes.clone();
                bad[place] ^= change;
                if let Ok(tree) = TreeChunk::decode(&bad) {
                    assert_eq!(tree.encode().unwrap(), bad, "one form only");
                }
            }
        }
    }

    #[test]
    fn broken_rules_are_neither_written_nor_read() {
        let good = file(b"a", vec![chunk(5)]);
        let hole = Content { level: 1, items: vec![Item::Hole { length: 5 }] };
        let bad = [
            Node { name: b"".to_vec(), ..good.clone() },
            Node { name: b"..".to_vec(), ..good.clone() },
            Node { name: b"a/b".to_vec(), ..good.clone() },
            Node { name: b"a\0".to_vec(), ..good.clone() },
            Node { name: vec![b'a'; 1025], ..good.clone() },
            Node { mode: 0o100644, ..good.clone() },
            Node { size: 6, ..good.clone() },
            Node { content: hole, ..good.clone() },
            Node { content: Content { level: 0, items: vec![chunk(0)] }, size: 0, ..good.clone() },
            Node { content: Content { level: 17, items: vec![chunk(5)] }, ..good.clone() },
            Node { content: Content { level: 0, items: vec![chunk(u64::MAX), chunk(6)] }, ..good.clone() },
            Node { content: Content { level: 0, items: vec![chunk(1); 65] }, size: 65, ..good.clone() },
            Node { link_target: b"x".to_vec(), ..good.clone() },
            of_kind(b"a", NodeKind::Symlink),
            Node { link_target: vec![b'x'; 4097], ..of_kind(b"a", NodeKind::Symlink) },
            Node { device: 1, ..good.clone() },
            Node { hard_link: Some(HardLink { file_system: 0, inode: 1 }), ..of_kind(b"a", NodeKind::Folder) },
            Node { content: Content { level: 0, items: vec![chunk(5)] }, ..of_kind(b"a", NodeKind::Socket) },
            Node { xattrs: vec![Xattr { name: b"u".to_vec(), value: XattrValue::Inline(vec![0; 65_536]) }], ..good.clone() },
        ];
        for node in bad {
            assert!(encode_node(&node).is_err(), "{node:?}");
        }
        let unordered = TreeChunk { nodes: vec![file(b"b", vec![]), file(b"a", vec![])], extra: vec![] };
        assert!(unordered.encode().is_err());
        assert!(TreeChunk { nodes: vec![file(b"a", vec![]); 2], extra: vec![] }.encode().is_err());
        assert!(TreeChunk::default().encode().is_err());
    }
}
