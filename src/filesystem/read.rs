//! Reading what a scan found: only if it is still a regular file, without touching its access time, with its holes.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;

use rustix::fs::{Advice, Mode, OFlags, SeekFrom, fadvise, fstat, openat, seek};
use rustix::io::Errno;

use super::error::FilesystemError;
use super::flags;
use super::folder::{Folder, check_name, name_owners};
use super::metadata::{FileStat, Found, file_stat, found};
use super::owners::Owners;
use super::xattr;
use crate::format::tree::NodeKind;
use crate::planted;

/// A regular file that is being read.
#[derive(Debug)]
pub struct OpenFile {
    file: File,
    at_open: FileStat,
    path: Vec<u8>,
}

/// A run of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Segment {
    /// Bytes to read (they may be zeros).
    Data {
        /// From the start of the file.
        offset: u64,
        /// Bytes.
        length: u64,
    },
    /// Zeros that take no space.
    Hole {
        /// From the start of the file.
        offset: u64,
        /// Bytes.
        length: u64,
    },
}

impl Folder {
    /// Opens the file `found`, and brings its node and stat up to what was opened: the file may have changed, or be another one
    /// under the same name, since it was listed. Never follows a link, never waits for a pipe that took its place.
    pub fn open_file(&self, entry: &mut Found) -> Result<OpenFile, FilesystemError> {
        check_name(&entry.node.name)?;
        let name = entry.node.name.as_slice();
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let quiet = !self.noatime_refused.load(Ordering::Relaxed);
        let opened = match openat(&self.fd, name, if quiet { flags | OFlags::NOATIME } else { flags }, Mode::empty()) {
            // Only the owner of a file may read it without being noticed.
            Err(Errno::PERM) if quiet => {
                self.noatime_refused.store(true, Ordering::Relaxed);
                openat(&self.fd, name, flags, Mode::empty())
            }
            result => result,
        };
        let fd = match opened {
            Ok(fd) => fd,
            Err(Errno::LOOP) => return Err(FilesystemError::KindChanged(self.path_of(name))),
            Err(errno) => return Err(self.error("open", name, errno)),
        };
        let stat = fstat(&fd).map_err(|errno| self.error("look at", name, errno))?;
        let path = self.path_of(name);
        match found(entry.node.name.clone(), &stat) {
            Some(now) if now.node.kind == NodeKind::File => *entry = now,
            _ => return Err(FilesystemError::KindChanged(path)),
        }
        Ok(OpenFile { file: File::from(fd), at_open: entry.stat, path })
    }
}

impl OpenFile {
    /// The file itself; it is at its start until somebody reads or seeks.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Its state when it was opened.
    pub fn stat(&self) -> &FileStat {
        &self.at_open
    }

    /// Did it change since it was opened? Ask after reading; a yes means that what was read may be half old and half new.
    pub fn changed(&self) -> Result<bool, FilesystemError> {
        let now = fstat(&self.file).map_err(|errno| FilesystemError::os("look at", &self.path, errno))?;
        Ok(!self.at_open.same(&file_stat(&now)))
    }

    /// Fills `buffer` from `offset` on; returns less than its length only at the end of the file.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, FilesystemError> {
        read_full(&self.file, buffer, offset).map_err(|errno| FilesystemError::os("read", &self.path, errno))
    }

    /// As [`Folder::complete`], asking the open file, which is cheaper.
    pub fn complete(&self, found: &mut Found, owners: &Owners) -> Result<(), FilesystemError> {
        found.node.xattrs =
            xattr::read(&self.file).map_err(|errno| FilesystemError::os("read the attributes of", &self.path, errno))?;
        found.node.set_flags(flags::read(&self.file));
        name_owners(found, owners);
        Ok(())
    }

    /// Are so many bytes at `offset` zeros, as the file system said when it called them a hole?
    pub(crate) fn is_hole(&self, offset: u64, length: u64) -> Result<bool, FilesystemError> {
        const STEP: u64 = 1 << 17;
        static ZEROS: [u8; STEP as usize] = [0; STEP as usize];
        let mut buffer = vec![0; STEP.min(length) as usize];
        let mut at = 0;
        while at < length {
            let part = &mut buffer[..STEP.min(length - at) as usize];
            let read = self.read_at(part, offset + at)?;
            // Cut off meanwhile: what is read in its place tells.
            if read < part.len() || *part != ZEROS[..read] {
                return Ok(false);
            }
            at += part.len() as u64;
        }
        Ok(true)
    }

    /// Its size says more than a read of it gave, and the file did not change: does that mean that something is missing? Files of
    /// /proc and /sys have a size that means nothing, and take no space. One that takes space must give what it says.
    pub(crate) fn size_is_a_promise(&self) -> bool {
        self.at_open.blocks > 0
    }

    /// Tells the system that it is read from start to end. Pays above a few hundred KiB; a file that one read takes needs it not.
    pub(crate) fn will_be_read_through(&self) {
        // Only advice: nothing is lost when it is not taken.
        let _ = fadvise(&self.file, 0, None, Advice::Sequential);
    }

    /// Its runs of data and holes, from 0 to the size it had when it was opened, without a gap. One run of data unless fewer bytes
    /// are allocated than it is long. Moves the position of [`OpenFile::file`].
    pub(crate) fn segments(&self) -> Segments<'_> {
        segments(self.file.as_fd(), self.at_open.size, self.at_open.may_have_holes())
    }
}

pub(super) fn read_full(file: &File, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(cause) if cause.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) if planted::is("eio-on-read-swallowed") => break,
            Err(cause) => return Err(Errno::from_io_error(&cause).unwrap_or(Errno::IO)),
        }
    }
    Ok(filled)
}

/// The runs of data and holes of an open file of `size` bytes.
pub(super) fn segments(fd: BorrowedFd<'_>, size: u64, may_have_holes: bool) -> Segments<'_> {
    Segments { fd, size, offset: 0, ask: may_have_holes }
}

/// See [`OpenFile::segments`].
#[derive(Debug)]
pub(crate) struct Segments<'a> {
    fd: BorrowedFd<'a>,
    size: u64,
    offset: u64,
    /// Is it worth asking, and does the file system answer?
    ask: bool,
}

impl Iterator for Segments<'_> {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        let offset = self.offset;
        if offset >= self.size {
            return None;
        }
        let rest = Segment::Data { offset, length: self.size - offset };
        if !self.ask {
            self.offset = self.size;
            return Some(rest);
        }
        let data = match seek(self.fd, SeekFrom::Data(offset)) {
            Ok(data) => data.clamp(offset, self.size),
            // No data from here to the end.
            Err(Errno::NXIO) => self.size,
            Err(_) => {
                self.ask = false;
                self.offset = self.size;
                return Some(rest);
            }
        };
        if data > offset {
            self.offset = data;
            return Some(Segment::Hole { offset, length: data - offset });
        }
        let hole = match seek(self.fd, SeekFrom::Hole(offset)) {
            Ok(hole) if hole > offset => hole.min(self.size),
            // A hole where data was a moment ago: somebody is at work. Reading is right in any case.
            _ => self.size,
        };
        self.offset = hole;
        Some(Segment::Data { offset, length: hole - offset })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_error_is_not_the_end_of_the_file() {
        // Nothing is mapped at address 0, so Linux answers EIO.
        let memory = File::open("/proc/self/mem").unwrap();
        assert_eq!(read_full(&memory, &mut [0; 16], 0), Err(Errno::IO));
    }
}
