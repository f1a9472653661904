//! A walk of a folder tree: folders are listed by several threads ahead of one consumer, who gets them depth first, in the bytewise
//! order of names.
//!
//! What was listed and not yet consumed is bounded (entries for memory, folders for open descriptors). A thread that lists takes the
//! waiting folder the consumer will need first; the consumer lists a folder itself when no thread has begun it, so a full look-ahead
//! cannot stop the walk.

mod ahead;
mod list;
mod only;

use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, openat};

use self::ahead::{Ahead, Job, Listing};
use self::list::Lister;
pub use self::only::Only;
use super::error::{FilesystemError, shown};
use super::exclude::Excludes;
use super::folder::Folder;
use super::metadata::Found;
use super::owners::Owners;
use crate::format::tree::LeftOut;
use crate::monitor::{Problem, Stop, Stopped};

/// What a scan delivers and what it leaves out.
#[derive(Clone, Debug)]
pub struct ScanOptions {
    /// What of the root is looked at. What is named and not there is a trouble.
    pub only: Only,
    /// Patterns, matched on the path relative to the root.
    pub excludes: Excludes,
    /// Do not go into folders where another file system is mounted; they are delivered as empty.
    pub one_file_system: bool,
    /// Of a folder with a valid `CACHEDIR.TAG` deliver only that file.
    pub exclude_caches: bool,
    /// Of a folder that holds such a file deliver only that file.
    pub exclude_if_present: Vec<Mark>,
    /// Leave out files of more bytes.
    pub exclude_larger_than: Option<u64>,
    /// Entries (device, inode) that are left out wherever they are met, such as the repository itself.
    pub skip: Vec<(u64, u64)>,
    /// Threads that list ahead of the consumer.
    pub threads: usize,
    /// Folders below this many steps are reported and not gone into (the format's depth is 256, the root's own path included).
    pub depth_max: usize,
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self {
            only: Only::Everything,
            excludes: Excludes::none(),
            one_file_system: false,
            exclude_caches: false,
            exclude_if_present: Vec::new(),
            exclude_larger_than: None,
            skip: Vec::new(),
            threads: crate::parallel::cores(),
            depth_max: 250,
        }
    }
}

/// A file that marks its folder as not to be backed up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    /// What it is called.
    pub name: Vec<u8>,
    /// What it begins with; empty: whatever it holds, and of whatever kind it is.
    pub header: Vec<u8>,
}

/// How many entries were left out, by reason. A folder counts once, whatever it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LeftOutCounts {
    /// They match a pattern.
    pub by_pattern: u64,
    /// They are files larger than wanted.
    pub by_size: u64,
    /// They stand in a folder that is marked as a cache, or by a file.
    pub marked: u64,
    /// They are folders where another file system is mounted.
    pub other_file_systems: u64,
    /// They are the repository or esker's cache.
    pub own: u64,
}

impl LeftOutCounts {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.by_pattern + self.by_size + self.marked + self.other_file_systems + self.own
    }

    /// Adds those of another folder or source.
    pub fn add(&mut self, other: &Self) {
        self.by_pattern += other.by_pattern;
        self.by_size += other.by_size;
        self.marked += other.marked;
        self.other_file_systems += other.other_file_systems;
        self.own += other.own;
    }

    /// What the node of a folder says when these of its entries were left out.
    pub(super) fn bits(&self) -> LeftOut {
        LeftOut::BY_RULE
            .when(self.by_pattern + self.by_size > 0)
            .and(LeftOut::MARKED.when(self.marked > 0))
            .and(LeftOut::OWN.when(self.own > 0))
    }
}

impl std::fmt::Display for LeftOutCounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [
            (self.by_pattern, "by a pattern"),
            (self.by_size, "as too large"),
            (self.marked, "in a marked directory"),
            (self.other_file_systems, "on another file system"),
            (self.own, "as esker's own"),
        ];
        let parts = parts.iter().filter(|(count, _)| *count > 0).map(|(count, why)| format!("{count} {why}"));
        f.write_str(&parts.collect::<Vec<_>>().join(", "))
    }
}

/// What came of a folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FolderState {
    /// Its entries are all there, up to those named in `troubles` or excluded.
    Listed,
    /// It was removed after its parent was listed.
    Vanished,
    /// It may not be listed: `troubles` says why.
    Unreadable,
    /// Another file system is mounted here, and only one was asked for.
    OtherFileSystem,
    /// Marked as a cache or by a file that excludes it: only the mark is delivered.
    Marked,
    /// Deeper than [`ScanOptions::depth_max`].
    TooDeep,
}

/// Something that cannot be backed up, or is gone.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// Raw path: the root as it was given, and the way from there.
    pub path: Vec<u8>,
    /// It was there when its folder was listed and is gone now: no fault of the backup.
    pub vanished: bool,
    /// What happened.
    pub detail: String,
}

impl From<Trouble> for Problem {
    fn from(trouble: Trouble) -> Self {
        Self { subject: trouble.path, detail: trouble.detail }
    }
}

/// A folder begins.
#[derive(Debug)]
pub struct Entered {
    /// Relative to the root; empty for the root itself.
    pub path: Vec<u8>,
    /// Its own row.
    pub folder: Found,
    /// All that is in it, in rising bytewise order of names. Its folders follow in the same order as steps of their own.
    pub entries: Vec<Found>,
    /// The open folder, for [`Folder::complete`] and [`Folder::open_file`]; none when it could not be opened.
    pub dir: Option<Arc<Folder>>,
    /// What came of it.
    pub state: FolderState,
    /// Entries that are not among `entries` though they should, and the folder itself when its state says so.
    pub troubles: Vec<Trouble>,
}

impl Entered {
    /// Reads what the scan left out of the folder's own node, as far as the folder could be opened.
    pub(crate) fn complete_folder(&mut self, owners: &Owners) -> Result<(), FilesystemError> {
        match &self.dir {
            Some(dir) => dir.complete_self(&mut self.folder, owners),
            None => {
                super::folder::name_owners(&mut self.folder, owners);
                Ok(())
            }
        }
    }
}

/// One step of a walk.
#[derive(Debug)]
pub enum Step {
    /// A folder begins.
    Enter(Box<Entered>),
    /// It and all below it have been delivered.
    Leave {
        /// As in its [`Entered`].
        path: Vec<u8>,
    },
}

/// What was delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ScanSummary {
    /// Folders, the root included.
    pub folders: u64,
    /// Entries of all folders, folders among them.
    pub entries: u64,
    /// Entries left out on request.
    pub left_out: LeftOutCounts,
    /// Troubles other than vanished entries.
    pub troubles: u64,
    /// The root held nothing at all, not even something excluded: perhaps what should be mounted there is not.
    pub root_is_empty: bool,
}

/// The walk could not begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The root is missing, is not a folder, or cannot be read.
    #[error("cannot read folder {}: {detail}", shown(path))]
    Root {
        /// As it was given.
        path: Vec<u8>,
        /// Why.
        detail: String,
    },
    /// It was asked to stop.
    #[error("stopped")]
    Stopped,
}

impl From<Stopped> for ScanError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// Walks `root` (followed if it is a symbolic link; nothing below is) and hands each step to `each`, on this thread. Ends early
/// with the first error of `each`.
pub fn scan<E: From<ScanError>>(
    root: &Path,
    options: &ScanOptions,
    stop: &Stop,
    mut each: impl FnMut(Step) -> Result<(), E>,
) -> Result<ScanSummary, E> {
    let (folder, row) = open_root(root)?;
    let lister = Lister::new(root, row.stat.dev, options, stop);
    let top = lister.root(folder, row);
    if let Some(error) = top.cannot_begin(root) {
        return Err(error.into());
    }
    let mut summary = ScanSummary { root_is_empty: top.was_empty, ..ScanSummary::default() };
    let ahead = Ahead::new();
    std::thread::scope(|scope| {
        // However this ends, also by a panic of `each`: the threads must not wait for ever.
        let _end = ahead.end_on_drop();
        for _ in 0..options.threads {
            scope.spawn(|| ahead.work(|job, parent| lister.list(job, parent)));
        }
        let mut open: Vec<(Vec<u8>, std::vec::IntoIter<Arc<Job>>)> = Vec::new();
        let mut next = Some(top);
        loop {
            stop.check().map_err(ScanError::from)?;
            if let Some(listing) = next.take() {
                let Listing { entered, jobs, left_out, .. } = listing;
                summary.folders += 1;
                summary.entries += entered.entries.len() as u64;
                summary.left_out.add(&left_out);
                summary.troubles += entered.troubles.iter().filter(|trouble| !trouble.vanished).count() as u64;
                ahead.offer(&jobs);
                open.push((entered.path.clone(), jobs.into_iter()));
                each(Step::Enter(entered))?;
            }
            let Some((_, folders)) = open.last_mut() else { return Ok(summary) };
            match folders.next() {
                Some(job) => next = Some(ahead.obtain(&job, |job, parent| lister.list(job, parent))),
                None => {
                    if let Some((path, _)) = open.pop() {
                        each(Step::Leave { path })?;
                    }
                }
            }
        }
    })
}

fn open_root(root: &Path) -> Result<(Folder, Found), ScanError> {
    use std::os::unix::ffi::OsStrExt;
    let error = |detail: String| ScanError::Root { path: root.as_os_str().as_bytes().to_vec(), detail };
    let fd = openat(CWD, root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| error(errno.to_string()))?;
    let folder = Folder::new(fd, Vec::new());
    let row = folder.found_self(Vec::new()).map_err(|cause| error(cause.to_string()))?;
    Ok((folder, row))
}
