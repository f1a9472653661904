//! One folder: opened, listed, each entry looked at.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, statat};
use rustix::io::Errno;

use super::ahead::{Job, Listing};
use super::{Entered, FolderState, LeftOutCounts, Mark, Only, ScanOptions, Trouble};
use crate::filesystem::error::FilesystemError;
use crate::filesystem::folder::{Folder, Listed, open_beneath};
use crate::filesystem::leftover;
use crate::filesystem::metadata::{Found, found, kind};
use crate::format::tree::{LeftOut, NodeKind};
use crate::monitor::Stop;
use crate::path;

/// How a valid cache tag begins (<https://bford.info/cachedir/>).
const CACHE_TAG: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";
const CACHE_TAG_NAME: &[u8] = b"CACHEDIR.TAG";

/// Lists folders by the options of one scan.
pub(super) struct Lister<'a> {
    /// As it was given, for the paths of troubles.
    root: &'a [u8],
    options: &'a ScanOptions,
    stop: &'a Stop,
    /// The file system of the root.
    dev: u64,
}

impl<'a> Lister<'a> {
    pub(super) fn new(root: &'a Path, dev: u64, options: &'a ScanOptions, stop: &'a Stop) -> Self {
        Self { root: root.as_os_str().as_bytes(), options, stop, dev }
    }

    /// The root, which is open already.
    pub(super) fn root(&self, folder: Folder, row: Found) -> Listing {
        self.list_open(Arc::new(folder), Vec::new(), row, 0)
    }

    /// A folder of an open parent.
    pub(super) fn list(&self, job: &Job, parent: Arc<Folder>) -> Listing {
        if job.depth > self.options.depth_max {
            let detail = format!("deeper than {} folders: what it holds is not in the backup", self.options.depth_max);
            return self.unlisted(&job.path, job.row.clone(), FolderState::TooDeep, Some(detail));
        }
        let folder = match parent.open_folder(&job.row.node.name) {
            Ok(folder) => folder,
            Err(error) => return self.unopened(job, &error),
        };
        drop(parent);
        match folder.found_self(job.row.node.name.clone()) {
            Ok(row) if self.options.one_file_system && row.stat.dev != self.dev => {
                self.unlisted(&job.path, row, FolderState::OtherFileSystem, None)
            }
            Ok(row) => self.list_open(Arc::new(folder), job.path.clone(), row, job.depth),
            Err(error) => self.unopened(job, &error),
        }
    }

    fn unopened(&self, job: &Job, error: &FilesystemError) -> Listing {
        let state = if error.is_vanished() { FolderState::Vanished } else { FolderState::Unreadable };
        self.unlisted(&job.path, job.row.clone(), state, Some(detail(error)))
    }

    fn unlisted(&self, path: &[u8], mut folder: Found, state: FolderState, detail: Option<String>) -> Listing {
        let vanished = state == FolderState::Vanished;
        folder.node.leave_out(match state {
            FolderState::Listed | FolderState::Vanished => LeftOut::NOTHING,
            FolderState::Unreadable => LeftOut::UNREAD,
            FolderState::OtherFileSystem => LeftOut::OTHER_FILE_SYSTEM,
            FolderState::Marked => LeftOut::MARKED,
            FolderState::TooDeep => LeftOut::TOO_DEEP,
        });
        let other_file_systems = u64::from(state == FolderState::OtherFileSystem);
        let left_out = LeftOutCounts { other_file_systems, ..LeftOutCounts::default() };
        let troubles = detail.map(|detail| Trouble { path: path::join(self.root, path), vanished, detail }).into_iter().collect();
        let entered = Entered { path: path.to_vec(), folder, entries: Vec::new(), dir: None, state, troubles };
        Listing { entered: Box::new(entered), jobs: Vec::new(), left_out, was_empty: false }
    }

    fn list_open(&self, dir: Arc<Folder>, path: Vec<u8>, mut folder: Found, depth: usize) -> Listing {
        let mut left_out = LeftOutCounts::default();
        let mut seen = false;
        let mut full = path.clone();
        if !full.is_empty() {
            full.push(b'/');
        }
        let prefix = full.len();
        let excludes = &self.options.excludes;
        let named = self.options.only.at(&path).names();
        let list = |name: &[u8], kind: FileType| {
            seen = true;
            if excludes.is_empty() || kind == FileType::Unknown {
                return true;
            }
            full.truncate(prefix);
            full.extend_from_slice(name);
            let out = excludes.excluded(&full, kind == FileType::Directory);
            left_out.by_pattern += u64::from(out);
            !out
        };
        let rows = match named {
            // Nothing else in it is asked for, so nothing else is looked at.
            Some(names) => Ok(names.keys().map(|name| Listed { name: name.clone(), ino: 0, kind: FileType::Unknown }).collect()),
            None => dir.list(self.stop, list),
        };
        let mut rows = match rows {
            Ok(rows) => rows,
            Err(error) => {
                let state = if error.is_vanished() { FolderState::Vanished } else { FolderState::Unreadable };
                return self.unlisted(&path, folder, state, Some(detail(&error)));
            }
        };
        let mut state = FolderState::Listed;
        if let Some(mark) = self.mark(&dir, &rows) {
            state = FolderState::Marked;
            left_out.marked += rows.len() as u64 - 1;
            rows.retain(|row| row.name == mark);
        }
        let mut troubles = Vec::new();
        let entries = self.look_at(&dir, rows, &mut full, prefix, &mut left_out, &mut troubles);
        if let Some(names) = named {
            folder.node.leave_out(LeftOut::NOT_NAMED);
            self.check_named(names, &dir, &entries, &mut troubles);
        }
        let jobs = entries
            .iter()
            .filter(|entry| entry.node.kind == NodeKind::Folder)
            .map(|entry| Arc::new(Job::new(path::join(&path, &entry.node.name), entry.clone(), depth + 1, Arc::clone(&dir))))
            .collect();
        folder.node.leave_out(left_out.bits());
        folder.node.leave_out(LeftOut::UNREAD.when(troubles.iter().any(|trouble| !trouble.vanished)));
        let entered = Entered { path, folder, entries, dir: Some(dir), state, troubles };
        Listing { entered: Box::new(entered), jobs, left_out, was_empty: !seen && named.is_none() }
    }

    /// What was named must be there, and be a folder when something in it was named.
    fn check_named(&self, names: &BTreeMap<Vec<u8>, Only>, dir: &Folder, entries: &[Found], troubles: &mut Vec<Trouble>) {
        for trouble in troubles.iter_mut().filter(|trouble| trouble.vanished) {
            trouble.vanished = false;
            trouble.detail = "was named and does not exist".to_owned();
        }
        for entry in entries.iter().filter(|entry| entry.node.kind != NodeKind::Folder) {
            if names.get(&entry.node.name).is_some_and(|below| below.names().is_some()) {
                let path = self.whole(dir, &entry.node.name);
                let detail = "something in it was named, and it is no folder".to_owned();
                troubles.push(Trouble { path, vanished: false, detail });
            }
        }
    }

    fn look_at(
        &self,
        dir: &Folder,
        mut rows: Vec<Listed>,
        full: &mut Vec<u8>,
        prefix: usize,
        left_out: &mut LeftOutCounts,
        troubles: &mut Vec<Trouble>,
    ) -> Vec<Found> {
        // In the order of inodes, which is that of their place on many disks: the order of a listing is that of a hash.
        rows.sort_unstable_by_key(|row| row.ino);
        let mut entries = Vec::with_capacity(rows.len());
        for (number, row) in rows.into_iter().enumerate() {
            if number % 1024 == 1023 && self.stop.requested() {
                break;
            }
            let stat = match statat(dir, row.name.as_slice(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(errno) => {
                    let vanished = errno == Errno::NOENT;
                    let detail = format!("cannot look at it: {errno}");
                    troubles.push(Trouble { path: self.whole(dir, &row.name), vanished, detail });
                    continue;
                }
            };
            if row.kind == FileType::Unknown && !self.options.excludes.is_empty() {
                full.truncate(prefix);
                full.extend_from_slice(&row.name);
                let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
                if self.options.excludes.excluded(full, is_folder) {
                    left_out.by_pattern += 1;
                    continue;
                }
            }
            if kind(&stat).is_none() {
                let detail = "an entry of a kind this program does not know".to_owned();
                troubles.push(Trouble { path: self.whole(dir, &row.name), vanished: false, detail });
            }
            let Some(entry) = found(row.name, &stat) else { continue };
            // Half of what a restore writes is no data of the user.
            let is_own = entry.node.kind == NodeKind::File && leftover::writer_of(&entry.node.name).is_some();
            if is_own || self.options.skip.contains(&(entry.stat.dev, entry.stat.ino)) {
                left_out.own += 1;
            } else if self.options.exclude_larger_than.is_some_and(|limit| entry.node.size > limit) {
                left_out.by_size += 1;
            } else {
                entries.push(entry);
            }
        }
        entries.sort_unstable_by(|a, b| a.node.name.cmp(&b.node.name));
        entries
    }

    fn whole(&self, dir: &Folder, name: &[u8]) -> Vec<u8> {
        path::join(self.root, &dir.path_of(name))
    }

    /// The name of the entry that marks the folder as not to be backed up.
    fn mark(&self, dir: &Folder, rows: &[Listed]) -> Option<Vec<u8>> {
        let options = self.options;
        if !options.exclude_caches && options.exclude_if_present.is_empty() {
            return None;
        }
        let mark = rows.iter().find(|row| {
            let is_mark = |mark: &Mark| mark.name == row.name && begins_with(dir, &mark.name, &mark.header);
            options.exclude_if_present.iter().any(is_mark)
                || (options.exclude_caches && row.name == CACHE_TAG_NAME && begins_with(dir, CACHE_TAG_NAME, CACHE_TAG))
        })?;
        Some(mark.name.clone())
    }
}

/// The error without its path, which the trouble has.
fn detail(error: &FilesystemError) -> String {
    match error {
        FilesystemError::Os { action, errno, .. } => format!("cannot {action}: {errno}"),
        other => other.to_string(),
    }
}

/// Does the file begin with these bytes? Nothing at all is asked of a file when they are none.
fn begins_with(dir: &Folder, name: &[u8], header: &[u8]) -> bool {
    if header.is_empty() {
        return true;
    }
    let Ok(fd) = open_beneath(dir, name, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()) else { return false };
    let mut start = vec![0; header.len()];
    rustix::io::pread(&fd, &mut start, 0).is_ok_and(|length| length == start.len()) && start == header
}
