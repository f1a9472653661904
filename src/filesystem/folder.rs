//! An open folder: everything in it is reached relative to its descriptor, by a single name, never through a symbolic link.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, Stat, fstat, openat, openat2, statat};
use rustix::io::Errno;

use super::error::FilesystemError;
use super::flags;
use super::metadata::{Found, found};
use super::owners::Owners;
use super::xattr;
use crate::format::tree::{FileFlags, NodeKind};
use crate::monitor::Stop;
use crate::path;

const LOOK_AT: &str = "look at";

/// An open folder.
#[derive(Debug)]
pub struct Folder {
    pub(super) fd: OwnedFd,
    /// For messages: where it is, relative to the root of the scan or the target.
    path: Vec<u8>,
    /// O_NOATIME was refused here once: not our files.
    pub(super) noatime_refused: AtomicBool,
    /// Does it hand a default ACL down to what is created in it?
    pub(super) hands_acl_down: OnceLock<bool>,
}

/// A name in a folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Named {
    /// Raw bytes.
    pub name: Vec<u8>,
    /// What stands there; none where the listing does not tell ([`Folder::look_up`] does) or the format does not know it.
    pub kind: Option<NodeKind>,
}

/// A row of a listing.
pub(super) struct Listed {
    pub name: Vec<u8>,
    pub ino: u64,
    pub kind: FileType,
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Folder {
    pub(super) fn new(fd: OwnedFd, path: Vec<u8>) -> Self {
        Self { fd, path, noatime_refused: AtomicBool::new(false), hands_acl_down: OnceLock::new() }
    }

    /// Where it is, relative to the root of the scan or of the target; empty for that root.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The path of an entry, for messages.
    pub(crate) fn path_of(&self, name: &[u8]) -> Vec<u8> {
        path::join(&self.path, name)
    }

    pub(super) fn error(&self, action: &'static str, name: &[u8], errno: Errno) -> FilesystemError {
        let path = self.path_of(name);
        // The same answer as to a user without the right; but here root gets it too, and needs to know why.
        if errno == Errno::PERM
            && action != LOOK_AT
            && (flags::is_fixed(flags::read(&self.fd)) || flags::is_fixed(self.flags_of(name)))
        {
            return FilesystemError::Fixed { action, path };
        }
        FilesystemError::Os { action, path, errno }
    }

    /// Its own state.
    pub(super) fn stat(&self) -> Result<Stat, FilesystemError> {
        fstat(&self.fd).map_err(|errno| FilesystemError::os("look at", &self.path, errno))
    }

    /// Its own node as [`Found`], under `name`.
    pub(crate) fn found_self(&self, name: Vec<u8>) -> Result<Found, FilesystemError> {
        found(name, &self.stat()?).ok_or_else(|| FilesystemError::KindChanged(self.path.clone()))
    }

    /// What stands under `name`; none when nothing does. Links are not followed.
    pub fn look_up(&self, name: &[u8]) -> Result<Option<Found>, FilesystemError> {
        check_name(name)?;
        match statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(found(name.to_vec(), &stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.error(LOOK_AT, name, errno)),
        }
    }

    /// Opens the folder `name` in it. A symbolic link there is an error ([`Errno::LOOP`] or [`Errno::NOTDIR`]).
    pub fn open_folder(&self, name: &[u8]) -> Result<Self, FilesystemError> {
        check_name(name)?;
        match open_beneath(&self.fd, name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()) {
            Ok(fd) => Ok(Self::new(fd, self.path_of(name))),
            Err(errno) => Err(self.error("open folder", name, errno)),
        }
    }

    /// Its names and their kinds, in rising order; `.` and `..` left out. Memory grows with the number of names.
    pub fn names(&self) -> Result<Vec<Named>, FilesystemError> {
        let mut rows = self.list(&Stop::new(), |_, _| true)?;
        rows.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(rows.into_iter().map(|row| Named { kind: kind_of(row.kind), name: row.name }).collect())
    }

    /// Reads the listing from its start, in the order the file system gives; keeps the names `keep` likes.
    pub(super) fn list(&self, stop: &Stop, mut keep: impl FnMut(&[u8], FileType) -> bool) -> Result<Vec<Listed>, FilesystemError> {
        let error = |errno| FilesystemError::os("list", &self.path, errno);
        // The descriptor may have been listed before; a listing goes on where the last one ended.
        if rustix::fs::tell(&self.fd).map_err(error)? != 0 {
            rustix::fs::seek(&self.fd, rustix::fs::SeekFrom::Start(0)).map_err(error)?;
        }
        let mut rows = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); 32 * 1024];
        let mut entries = RawDir::new(&self.fd, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(error)?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." || !keep(name, entry.file_type()) {
                continue;
            }
            rows.push(Listed { name: name.to_vec(), ino: entry.ino(), kind: entry.file_type() });
            if rows.len() % 4096 == 0 && stop.requested() {
                break;
            }
        }
        Ok(rows)
    }

    /// Reads what a scan left out of the entry's node: extended attributes, link target, names of its owners.
    pub fn complete(&self, found: &mut Found, owners: &Owners) -> Result<(), FilesystemError> {
        let name = &found.node.name;
        found.node.xattrs =
            xattr::read_at(&self.fd, name, found.node.kind).map_err(|errno| self.error("read the attributes of", name, errno))?;
        if found.node.kind == NodeKind::Symlink {
            let target = rustix::fs::readlinkat(&self.fd, name.as_slice(), Vec::new())
                .map_err(|errno| self.error("read the link", name, errno))?;
            found.node.link_target = target.into_bytes();
        }
        if found.node.kind == NodeKind::File {
            let flags = self.flags_of(&found.node.name);
            found.node.set_flags(flags);
        }
        name_owners(found, owners);
        Ok(())
    }

    /// The flags of the file or folder `name`, which is not open; none when it is something else or cannot be opened.
    pub(crate) fn flags_of(&self, name: &[u8]) -> FileFlags {
        // To open a device is to act on it.
        let opens = |found: &Found| matches!(found.node.kind, NodeKind::File | NodeKind::Folder);
        if !self.look_up(name).ok().flatten().is_some_and(|found| opens(&found)) {
            return FileFlags::NONE;
        }
        let opened = open_beneath(&self.fd, name, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty());
        opened.map_or(FileFlags::NONE, flags::read)
    }

    /// As [`Folder::complete`], for the folder's own node.
    pub(crate) fn complete_self(&self, found: &mut Found, owners: &Owners) -> Result<(), FilesystemError> {
        found.node.xattrs =
            xattr::read(&self.fd).map_err(|errno| FilesystemError::os("read the attributes of", &self.path, errno))?;
        found.node.set_flags(flags::read(&self.fd));
        name_owners(found, owners);
        Ok(())
    }
}

pub(super) fn name_owners(found: &mut Found, owners: &Owners) {
    found.node.user = owners.user_name(found.node.uid);
    found.node.group = owners.group_name(found.node.gid);
}

/// One step down and nothing else.
pub(super) fn check_name(name: &[u8]) -> Result<(), FilesystemError> {
    if path::is_name(name) { Ok(()) } else { Err(FilesystemError::BadName(name.to_vec())) }
}

fn kind_of(kind: FileType) -> Option<NodeKind> {
    Some(match kind {
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

/// Opens the single `name` in a folder, never through a link and never out of the folder.
///
/// The kernel is asked to hold that itself (openat2). Where it cannot (before 5.6, or a sandbox that does not know the call) the
/// name was checked to be one component and O_NOFOLLOW guards that: which is as tight, without the second lock.
pub(super) fn open_beneath(folder: impl AsFd, name: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    static WITHOUT_OPENAT2: AtomicBool = AtomicBool::new(false);
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if !WITHOUT_OPENAT2.load(Ordering::Relaxed) {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        // EAGAIN: something was renamed meanwhile and the kernel could not be sure.
        for _ in 0..16 {
            match openat2(folder.as_fd(), name, flags, mode, resolve) {
                Err(Errno::AGAIN) => {}
                Err(Errno::NOSYS) => {
                    WITHOUT_OPENAT2.store(true, Ordering::Relaxed);
                    break;
                }
                // Older sandboxes answer EPERM to a call they do not know. If it was meant, the plain call says so again.
                Err(Errno::PERM) => break,
                result => return result,
            }
        }
    }
    openat(folder, name, flags, mode)
}
