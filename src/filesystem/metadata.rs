//! What the operating system says about an entry -> its node.

use rustix::fs::{FileType, Stat};

use crate::clock::Timestamp;
use crate::format::tree::{Content, HardLink, Node, NodeKind};

/// What tells whether a file is still the one that was seen, and which files are one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileStat {
    /// Its file system.
    pub dev: u64,
    /// Its number there.
    pub ino: u64,
    /// How many names it has.
    pub nlink: u64,
    /// Bytes.
    pub size: u64,
    /// Last change of its content.
    pub mtime: Timestamp,
    /// Last change of its inode: moves with the content, the mode, the owner, the names and the extended attributes.
    pub ctime: Timestamp,
    /// Allocated 512-byte units.
    pub blocks: u64,
}

impl FileStat {
    /// The same file in the same state, as far as can be told without reading it.
    pub fn same(&self, other: &Self) -> bool {
        (self.dev, self.ino, self.size, self.mtime, self.ctime) == (other.dev, other.ino, other.size, other.mtime, other.ctime)
    }

    /// Fewer bytes are allocated than it is long: worth asking for its holes.
    pub(crate) fn may_have_holes(&self) -> bool {
        self.blocks.saturating_mul(512) < self.size
    }
}

/// An entry a scan found. Of its node `content` is empty, and `xattrs`, `link_target`, `user`, `group` are read only by
/// [`Folder::complete`](super::Folder::complete): whoever finds an old node with the same size, mtime, ctime and inode need not ask,
/// because each of them but the names of owners moves ctime.
#[derive(Clone, PartialEq, Debug)]
pub struct Found {
    /// The row it will be.
    pub node: Node,
    /// What else is known.
    pub stat: FileStat,
}

#[allow(clippy::unnecessary_cast, reason = "the fields differ in width and sign between architectures")]
pub(super) fn file_stat(stat: &Stat) -> FileStat {
    let time = |seconds: i64, nanoseconds: u64| Timestamp {
        seconds,
        // Some file systems have returned rubbish here; a node must hold a valid time.
        nanoseconds: u32::try_from(nanoseconds).map_or(0, |n| n.min(999_999_999)),
    };
    FileStat {
        dev: stat.st_dev as u64,
        ino: stat.st_ino as u64,
        nlink: stat.st_nlink as u64,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime: time(stat.st_mtime as i64, stat.st_mtime_nsec as u64),
        ctime: time(stat.st_ctime as i64, stat.st_ctime_nsec as u64),
        blocks: u64::try_from(stat.st_blocks).unwrap_or(0),
    }
}

pub(super) fn kind(stat: &Stat) -> Option<NodeKind> {
    Some(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => NodeKind::File,
        FileType::Directory => NodeKind::Folder,
        FileType::Symlink => NodeKind::Symlink,
        FileType::Fifo => NodeKind::Fifo,
        FileType::Socket => NodeKind::Socket,
        FileType::CharacterDevice => NodeKind::Char,
        FileType::BlockDevice => NodeKind::Block,
        _ => return None,
    })
}

/// The entry `name`; none for a kind no format knows.
#[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "the fields differ between architectures")]
pub(super) fn found(name: Vec<u8>, status: &Stat) -> Option<Found> {
    let kind = kind(status)?;
    let stat = file_stat(status);
    let node = Node {
        name,
        kind,
        mode: status.st_mode & 0o7777,
        uid: status.st_uid,
        gid: status.st_gid,
        user: None,
        group: None,
        mtime: stat.mtime,
        ctime: stat.ctime,
        size: if kind == NodeKind::File { stat.size } else { 0 },
        content: Content::default(),
        link_target: Vec::new(),
        device: if matches!(kind, NodeKind::Char | NodeKind::Block) { status.st_rdev as u64 } else { 0 },
        xattrs: Vec::new(),
        hard_link: None,
        extra: Vec::new(),
    };
    Some(Found { node, stat })
}

/// Counts the file systems of one snapshot as they are met, for the groups of hard links: a device number itself means nothing
/// after a reboot, and would make unchanged folders look changed.
#[derive(Debug, Default)]
pub(crate) struct FileSystems(Vec<u64>);

impl FileSystems {
    /// None met yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The group of an entry with several names; none for folders, for entries with one name, and when 65,536 file systems were met.
    pub(crate) fn hard_link(&mut self, found: &Found) -> Option<HardLink> {
        if found.node.kind == NodeKind::Folder || found.stat.nlink < 2 {
            return None;
        }
        let number = self.0.iter().position(|dev| *dev == found.stat.dev).unwrap_or_else(|| {
            self.0.push(found.stat.dev);
            self.0.len() - 1
        });
        Some(HardLink { file_system: u16::try_from(number).ok()?, inode: found.stat.ino })
    }
}
