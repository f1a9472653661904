//! New entries in an open folder. Names are single steps, nothing that exists is written through, and until an entry is finished
//! nobody but its creator may open it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{
    AtFlags, FallocateFlags, FileType, FlockOperation, Mode, OFlags, fallocate, fchmod, flock, fstat, ftruncate, linkat, mkdirat,
    mknodat, openat, renameat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::apply::{Reach, Rules, Shortfall, State, apply, apply_flags, chmod_special};
use super::error::FilesystemError;
use super::flags::{is_fixed, while_free};
use super::folder::{Folder, check_name, open_beneath};
use super::leftover;
use super::metadata::{FileStat, file_stat, kind};
use super::read::read_full;
use super::xattr::{ByFd, DEFAULT_ACL};
use crate::format::tree::{Node, NodeKind};

const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const FOLDER_MODE: Mode = Mode::RWXU;

/// A folder that is there now.
#[derive(Debug)]
pub struct Created {
    /// Open.
    pub folder: Arc<Folder>,
    /// It was there before.
    pub existed: bool,
}

/// A file that is being written. What was written stays when it is dropped unfinished (mode 0600), except a replacement's: that one
/// vanishes.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    folder: Arc<Folder>,
    name: Vec<u8>,
    /// The name it has until it is finished and takes the place of another.
    temporary: Option<Vec<u8>>,
    existed: bool,
    /// Mode 0600 now, or not written yet. What is new in an existing file may be more secret than what was in it.
    narrowed: AtomicBool,
}

impl Folder {
    /// Makes the folder `name`, mode 0700, or opens the one that is there. Anything else there (a link too) is
    /// [`FilesystemError::InTheWay`].
    pub fn create_folder(&self, name: &[u8]) -> Result<Created, FilesystemError> {
        check_name(name)?;
        let existed = match mkdirat(&self.fd, name, FOLDER_MODE) {
            Ok(()) => false,
            Err(Errno::EXIST) => true,
            Err(errno) => return Err(self.error("create folder", name, errno)),
        };
        match self.open_folder(name) {
            Ok(folder) => Ok(Created { folder: Arc::new(folder), existed }),
            Err(FilesystemError::Os { errno: Errno::LOOP | Errno::NOTDIR, .. }) => Err(self.in_the_way(name)),
            Err(error) => Err(error),
        }
    }

    /// Lets the user write to the user's own folder `name` and list it. Returns the mode it had; none: nothing was in the way, or it
    /// is not the user's.
    pub(crate) fn widen(&self, name: &[u8]) -> Result<Option<u32>, FilesystemError> {
        use rustix::process::geteuid;
        let error = |errno| self.error("open for writing", name, errno);
        let Some(found) = self.look_up(name)? else { return Ok(None) };
        let (mode, own) = (found.node.mode, found.node.uid == geteuid().as_raw());
        let needs = Mode::RWXU.as_raw_mode();
        // Nothing is in the way of root.
        if geteuid().is_root() || !own || found.node.kind != NodeKind::Folder || mode & needs == needs {
            return Ok(None);
        }
        chmod_special(self, name, Mode::from_raw_mode(mode | needs)).map_err(error)?;
        Ok(Some(mode))
    }

    /// Gives this folder a mode.
    pub(crate) fn set_mode(&self, mode: u32) -> Result<(), FilesystemError> {
        fchmod(&self.fd, Mode::from_raw_mode(mode)).map_err(|errno| FilesystemError::os("set the mode of", self.path(), errno))
    }

    /// Creates the file `name`, which must not exist, mode 0600.
    pub fn create_file(self: &Arc<Self>, name: &[u8]) -> Result<NewFile, FilesystemError> {
        let file = self.create_exclusively(name)?;
        Ok(NewFile {
            file,
            folder: Arc::clone(self),
            name: name.to_vec(),
            temporary: None,
            existed: false,
            narrowed: AtomicBool::new(true),
        })
    }

    /// Creates a file that takes the place of whatever file or link stands under `name` when it is finished, and not before.
    pub fn replace_file(self: &Arc<Self>, name: &[u8]) -> Result<NewFile, FilesystemError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        check_name(name)?;
        loop {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let temporary = leftover::name_of(number).into_bytes();
            match self.create_exclusively(&temporary) {
                Ok(file) => {
                    // Says to other restores that it is being written. Where locks do not work, the process number says it.
                    let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
                    let (folder, name, temporary) = (Arc::clone(self), name.to_vec(), Some(temporary));
                    return Ok(NewFile { file, folder, name, temporary, existed: false, narrowed: AtomicBool::new(true) });
                }
                // Left by a killed run with the same process number.
                Err(error) if error.already_exists() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Opens the existing file `name` to read and write it in place: one that this restore created earlier, or one to be brought up
    /// to date. A file with other names is refused, as writing would change those too. Before the first write its mode becomes 0600.
    /// Whoever has it open already, or owns it, sees what is written: [`Folder::replace_file`] shows nobody anything.
    pub fn update_file(self: &Arc<Self>, name: &[u8]) -> Result<NewFile, FilesystemError> {
        check_name(name)?;
        let opened = open_beneath(&self.fd, name, OFlags::RDWR | OFlags::NONBLOCK, Mode::empty());
        let fd = match opened {
            Ok(fd) => fd,
            Err(Errno::LOOP | Errno::ISDIR | Errno::NXIO) => return Err(self.in_the_way(name)),
            Err(errno) => return Err(self.error("open", name, errno)),
        };
        let stat = fstat(&fd).map_err(|errno| self.error("look at", name, errno))?;
        match kind(&stat) {
            Some(NodeKind::File) if stat.st_nlink == 1 => Ok(NewFile {
                file: File::from(fd),
                folder: Arc::clone(self),
                name: name.to_vec(),
                temporary: None,
                existed: true,
                narrowed: AtomicBool::new(stat.st_mode & 0o7777 == FILE_MODE.as_raw_mode()),
            }),
            Some(NodeKind::File) => Err(FilesystemError::HasOtherNames(self.path_of(name))),
            _ => Err(self.in_the_way(name)),
        }
    }

    fn create_exclusively(&self, name: &[u8]) -> Result<File, FilesystemError> {
        check_name(name)?;
        // O_EXCL never follows a link in the last step, and there is no other step: the plain call is enough, and cheaper.
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&self.fd, name, flags, FILE_MODE) {
            Ok(fd) => Ok(File::from(fd)),
            Err(errno) => Err(self.error("create", name, errno)),
        }
    }

    /// Creates the link, pipe, socket or device `node` and finishes it. The name must be free. A device that may not be created is
    /// a [`Shortfall::Device`] and nothing else.
    pub fn create_special(&self, node: &Node, rules: &Rules) -> Result<Vec<Shortfall>, FilesystemError> {
        let name = node.name.as_slice();
        check_name(name)?;
        let make = |kind| mknodat(&self.fd, name, kind, FILE_MODE, node.device);
        let made = match node.kind {
            NodeKind::Symlink => symlinkat(node.link_target.as_slice(), &self.fd, name),
            NodeKind::Fifo => make(FileType::Fifo),
            NodeKind::Socket => make(FileType::Socket),
            NodeKind::Char => make(FileType::CharacterDevice),
            NodeKind::Block => make(FileType::BlockDevice),
            NodeKind::File | NodeKind::Folder => Err(Errno::INVAL),
        };
        match made {
            Ok(()) => self.finish_special(node, rules, State::Fresh { inherited_acl: self.hands_acl_down() }),
            Err(Errno::PERM) if matches!(node.kind, NodeKind::Char | NodeKind::Block) => Ok(vec![Shortfall::Device]),
            Err(errno) => Err(self.error("create", name, errno)),
        }
    }

    /// Puts a node's metadata on the existing link, pipe, socket or device of the same kind.
    pub fn update_special(&self, node: &Node, rules: &Rules) -> Result<Vec<Shortfall>, FilesystemError> {
        check_name(&node.name)?;
        match self.look_up(&node.name)? {
            Some(found) if found.node.kind == node.kind => self.finish_special(node, rules, State::Old),
            _ => Err(FilesystemError::KindChanged(self.path_of(&node.name))),
        }
    }

    fn finish_special(&self, node: &Node, rules: &Rules, state: State) -> Result<Vec<Shortfall>, FilesystemError> {
        let reach = Reach::<&Self>::Named(self, &node.name);
        apply(&reach, node, rules, state).map_err(|errno| self.error("set the metadata of", &node.name, errno))
    }

    /// Makes `name` another name of the file `from_name` in `from`. No link is followed.
    pub fn hard_link(&self, name: &[u8], from: &Self, from_name: &[u8]) -> Result<(), FilesystemError> {
        check_name(name)?;
        check_name(from_name)?;
        let link = || linkat(&from.fd, from_name, &self.fd, name, AtFlags::empty());
        match link() {
            // What is immutable or may only grow gets no further name: it was restored with its flags a moment ago.
            Err(Errno::PERM) if is_fixed(from.flags_of(from_name)) => {
                let fd = open_beneath(&from.fd, from_name, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())
                    .map_err(|errno| from.error("open", from_name, errno))?;
                while_free(fd, link)
            }
            result => result,
        }
        .map_err(|errno| self.error("link", name, errno))
    }

    /// Puts a node's metadata on this folder, after everything in it is done: whatever is created in it moves its times, and a mode
    /// without write permission would keep its own creator out. `existed`: it was there before the restore.
    pub fn finish(&self, node: &Node, rules: &Rules, existed: bool) -> Result<Vec<Shortfall>, FilesystemError> {
        // Whether its parent handed an ACL down is not known here: looked for in any case, which one call a folder pays.
        let state = if existed { State::Old } else { State::Fresh { inherited_acl: true } };
        let mut shortfalls = apply(&Reach::Open(&self.fd), node, rules, state)
            .map_err(|errno| FilesystemError::os("set the metadata of", self.path(), errno))?;
        apply_flags(&self.fd, node, &mut shortfalls);
        Ok(shortfalls)
    }

    /// Do new entries get an ACL from this folder?
    pub(super) fn hands_acl_down(&self) -> bool {
        use super::xattr::Attributes;
        *self.hands_acl_down.get_or_init(|| match ByFd(&self.fd).get(DEFAULT_ACL, &mut [0; 4]) {
            Ok(_) | Err(Errno::RANGE) => true,
            Err(_) => false,
        })
    }

    fn in_the_way(&self, name: &[u8]) -> FilesystemError {
        match self.look_up(name) {
            Ok(Some(found)) => FilesystemError::InTheWay { path: self.path_of(name), found: found.node.kind },
            Ok(None) => self.error("open", name, Errno::NOENT),
            Err(error) => error,
        }
    }
}

impl NewFile {
    /// Where it is or will be, relative to the target.
    pub fn path(&self) -> Vec<u8> {
        self.folder.path_of(&self.name)
    }

    fn error(&self, action: &'static str, errno: Errno) -> FilesystemError {
        self.folder.error(action, &self.name, errno)
    }

    /// Its state now.
    pub fn stat(&self) -> Result<FileStat, FilesystemError> {
        fstat(&self.file).map(|stat| file_stat(&stat)).map_err(|errno| self.error("look at", errno))
    }

    /// Before anything new stands in an existing file.
    fn narrow(&self) -> Result<(), FilesystemError> {
        if !self.narrowed.load(Ordering::Acquire) {
            fchmod(&self.file, FILE_MODE).map_err(|errno| self.error("keep others from", errno))?;
            self.narrowed.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Writes all of `bytes` at `offset`. Many threads may write one file at different places.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), FilesystemError> {
        self.narrow()?;
        self.file
            .write_all_at(bytes, offset)
            .map_err(|cause| self.error("write", Errno::from_io_error(&cause).unwrap_or(Errno::IO)))
    }

    /// Fills `buffer` from `offset` on; returns less than its length only at the end of the file.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, FilesystemError> {
        read_full(&self.file, buffer, offset).map_err(|errno| self.error("read", errno))
    }

    /// Cuts or extends it to `size` bytes; what is never written reads as zeros and takes no space.
    pub fn set_size(&self, size: u64) -> Result<(), FilesystemError> {
        ftruncate(&self.file, size).map_err(|errno| self.error("set the size of", errno))
    }

    /// Extends it to `size` bytes that have their space: no surprise later, and fewer pieces on the disk. Where the file system
    /// cannot, only the size is set. Not for files with holes.
    pub fn reserve(&self, size: u64) -> Result<(), FilesystemError> {
        match fallocate(&self.file, FallocateFlags::empty(), 0, size) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => self.set_size(size),
            Err(errno) => Err(self.error("reserve the space of", errno)),
        }
    }

    /// Makes a run of an existing file a hole, or zeros where holes cannot be made.
    pub fn punch(&self, offset: u64, length: u64) -> Result<(), FilesystemError> {
        static ZEROS: [u8; 65_536] = [0; 65_536];
        match fallocate(&self.file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, length) {
            Ok(()) => return Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
            Err(errno) => return Err(self.error("make a hole in", errno)),
        }
        let mut done = 0;
        while done < length {
            let part = (length - done).min(ZEROS.len() as u64);
            self.write_at(&ZEROS[..usize::try_from(part).unwrap_or(ZEROS.len())], offset + done)?;
            done += part;
        }
        Ok(())
    }

    /// Its runs of data and holes as it is now.
    #[cfg(test)]
    pub(crate) fn segments(&self) -> Result<super::read::Segments<'_>, FilesystemError> {
        let stat = self.stat()?;
        Ok(super::read::segments(std::os::fd::AsFd::as_fd(&self.file), stat.size, stat.may_have_holes()))
    }

    /// Puts the node's owner, attributes, mode and times on it, and a replacement in its place.
    pub fn finish(mut self, node: &Node, rules: &Rules) -> Result<Vec<Shortfall>, FilesystemError> {
        let state = if self.existed { State::Old } else { State::Fresh { inherited_acl: self.folder.hands_acl_down() } };
        let mut shortfalls =
            apply(&Reach::Open(&self.file), node, rules, state).map_err(|errno| self.error("set the metadata of", errno))?;
        if let Some(temporary) = self.temporary.take() {
            let folder = &self.folder.fd;
            if let Err(errno) = renameat(folder, temporary.as_slice(), folder, self.name.as_slice()) {
                self.temporary = Some(temporary);
                return Err(self.error("put in place", errno));
            }
        }
        apply_flags(&self.file, node, &mut shortfalls);
        Ok(shortfalls)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // Half a replacement is of no use to anybody; if it cannot be removed its name tells what it is.
            let _ = unlinkat(&self.folder.fd, temporary.as_slice(), AtFlags::empty());
        }
    }
}
