//! Removing what stands in the way, or is not in the snapshot: by descriptors, never through a link, never into another file system.

use rustix::fs::{AtFlags, unlinkat};
use rustix::io::Errno;

use super::error::FilesystemError;
use super::flags::{is_fixed, read};
use super::folder::{Folder, Named, check_name};
use crate::format::tree::NodeKind;

impl Folder {
    /// Removes the entry `name`, a folder with all it holds. A link is removed, not what it leads to. Nothing there: nothing done.
    pub fn remove(&self, name: &[u8]) -> Result<(), FilesystemError> {
        check_name(name)?;
        match unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::PERM) if is_fixed(self.flags_of(name)) || is_fixed(read(&self.fd)) => {
                return Err(self.error("remove", name, Errno::PERM));
            }
            // What POSIX says, and what Linux says, of a folder.
            Err(Errno::PERM | Errno::ISDIR) => {}
            Err(errno) => return Err(self.error("remove", name, errno)),
        }
        let dev = super::metadata::file_stat(&self.stat()?).dev;
        // Depth first with a stack of its own: a deep tree must not end the program.
        let mut open = vec![(self.open_within(name, dev)?, name.to_vec())];
        while let Some((folder, _)) = open.last() {
            let mut below = None;
            for Named { name, kind } in folder.names()? {
                let is_folder = kind == Some(NodeKind::Folder);
                match if is_folder { Err(Errno::ISDIR) } else { unlinkat(&folder.fd, name.as_slice(), AtFlags::empty()) } {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(Errno::PERM | Errno::ISDIR) => match unlinkat(&folder.fd, name.as_slice(), AtFlags::REMOVEDIR) {
                        Ok(()) | Err(Errno::NOENT) => {}
                        Err(Errno::NOTEMPTY | Errno::EXIST) => {
                            below = Some((folder.open_within(&name, dev)?, name));
                            break;
                        }
                        // No folder after all: the first answer was meant.
                        Err(Errno::NOTDIR) => return Err(folder.error("remove", &name, Errno::PERM)),
                        Err(errno) => return Err(folder.error("remove", &name, errno)),
                    },
                    Err(errno) => return Err(folder.error("remove", &name, errno)),
                }
            }
            if let Some(below) = below {
                open.push(below);
                continue;
            }
            let Some((_, name)) = open.pop() else { break };
            let parent = open.last().map_or(self, |(folder, _)| folder);
            match unlinkat(&parent.fd, name.as_slice(), AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(parent.error("remove", &name, errno)),
            }
        }
        Ok(())
    }

    /// Removes the entry `name` alone: a folder only when it is empty. Nothing there: nothing done.
    pub(crate) fn remove_one(&self, name: &[u8], is_folder: bool) -> Result<(), FilesystemError> {
        check_name(name)?;
        match unlinkat(&self.fd, name, if is_folder { AtFlags::REMOVEDIR } else { AtFlags::empty() }) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.error("remove", name, errno)),
        }
    }

    fn open_within(&self, name: &[u8], dev: u64) -> Result<Self, FilesystemError> {
        let folder = self.open_folder(name)?;
        if super::metadata::file_stat(&folder.stat()?).dev != dev {
            return Err(FilesystemError::MountPoint(folder.path().to_vec()));
        }
        Ok(folder)
    }
}
