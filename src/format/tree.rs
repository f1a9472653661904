//! Tree nodes and the lists that hold content: page `format-spec/tree.md`.

use crate::clock::Timestamp;
use crate::format::Extra;
use crate::id::ChunkId;

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
