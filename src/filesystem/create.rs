//! The target of a restore: opened once, and never left, whatever stands in the tree that is restored or happens in the target
//! meanwhile.

use crate::path;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use quick_cache::sync::Cache;
use rustix::fs::{CWD, Mode, OFlags, openat, syncfs};

use super::error::FilesystemError;
use super::folder::Folder;
use super::place::Created;

/// Open folders kept at hand; a process commonly has 1,024 descriptors.
const FOLDERS_MAX: usize = 256;

/// A folder to restore into. Used by many threads at once.
#[derive(Debug)]
pub struct Target {
    root: Arc<Folder>,
    folders: Cache<Vec<u8>, Arc<Folder>>,
}

impl Target {
    /// Opens the folder at `path`, made with its parents when it is missing and `create`. Links in `path` are followed: the user
    /// gave it. Nothing after is.
    pub fn open(path: &Path, create: bool) -> Result<Self, FilesystemError> {
        let error = |action, cause: &std::io::Error| {
            let errno = rustix::io::Errno::from_io_error(cause).unwrap_or(rustix::io::Errno::IO);
            FilesystemError::os(action, path.as_os_str().as_bytes(), errno)
        };
        if create {
            std::fs::create_dir_all(path).map_err(|cause| error("create folder", &cause))?;
        }
        let fd = openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| error("open folder", &errno.into()))?;
        Ok(Self { root: Arc::new(Folder::new(fd, Vec::new())), folders: Cache::new(FOLDERS_MAX) })
    }

    /// The target itself.
    pub fn root(&self) -> &Arc<Folder> {
        &self.root
    }

    /// The existing folder at `path` (relative, `/` between names; empty: the target itself). Links are not followed.
    pub fn folder(&self, path: &[u8]) -> Result<Arc<Folder>, FilesystemError> {
        if path.is_empty() {
            return Ok(Arc::clone(&self.root));
        }
        if let Some(folder) = self.folders.get(path) {
            return Ok(folder);
        }
        // From the nearest one at hand downwards.
        let mut start = path.len();
        let mut folder = loop {
            match path[..start].iter().rposition(|byte| *byte == b'/') {
                None => {
                    start = 0;
                    break Arc::clone(&self.root);
                }
                Some(slash) => {
                    start = slash;
                    if let Some(folder) = self.folders.get(&path[..slash]) {
                        break folder;
                    }
                }
            }
        };
        while start < path.len() {
            let from = if start == 0 { 0 } else { start + 1 };
            let end = path[from..].iter().position(|byte| *byte == b'/').map_or(path.len(), |length| from + length);
            folder = Arc::new(folder.open_folder(&path[from..end])?);
            self.folders.insert(path[..end].to_vec(), Arc::clone(&folder));
            start = end;
        }
        Ok(folder)
    }

    /// Makes the folder at `path`, or opens the one that is there. Its parent must exist.
    pub fn create_folder(&self, path: &[u8]) -> Result<Created, FilesystemError> {
        let (parent, name) = split(path)?;
        let created = self.folder(parent)?.create_folder(name)?;
        self.folders.insert(path.to_vec(), Arc::clone(&created.folder));
        Ok(created)
    }

    /// Removes the entry at `path`, a folder with all it holds.
    pub fn remove(&self, path: &[u8]) -> Result<(), FilesystemError> {
        let (parent, name) = split(path)?;
        let result = self.folder(parent)?.remove(name);
        // Open folders below it must not be taken for what will be made there.
        self.folders.clear();
        result
    }

    /// Removes the entry at `path` alone: a folder only when it is empty.
    pub(crate) fn remove_one(&self, path: &[u8], is_folder: bool) -> Result<(), FilesystemError> {
        let (parent, name) = split(path)?;
        self.folder(parent)?.remove_one(name, is_folder)?;
        if is_folder {
            self.folders.remove(path);
        }
        Ok(())
    }

    /// Waits until all that was restored is on the disk.
    pub fn sync(&self) -> Result<(), FilesystemError> {
        syncfs(&self.root.fd).map_err(|errno| FilesystemError::os("sync", b"the target", errno))
    }
}

/// Bytes that the user can still write where `path` is or will be made, as far as the file system tells.
pub(crate) fn free_bytes(path: &Path) -> Option<u64> {
    let path = std::path::absolute(path).ok()?;
    let there = path.ancestors().find(|place| place.exists())?;
    let stat = rustix::fs::statvfs(there).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// The path of the parent and the last name. A path from `/` has no place here.
fn split(path: &[u8]) -> Result<(&[u8], &[u8]), FilesystemError> {
    match path::split_last(path) {
        (b"", name) if name.len() < path.len() => Err(FilesystemError::BadName(path.to_vec())),
        both => Ok(both),
    }
}
