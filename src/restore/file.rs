//! One file on its way to the disk: what is still missing of it, what went wrong with it, and its open handle.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use quick_cache::sync::Cache;

use crate::filesystem::{FilesystemError, NewFile, Target};
use crate::format::tree::Node;
use crate::locks::Unpoisoned;
use crate::path;
use crate::restore::plan::Action;

/// Files open at once. Together with the target's folders well below the usual limit of 1,024 descriptors.
const HANDLES_MAX: usize = 128;

/// Why a file cannot be restored.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    /// What happened.
    pub detail: String,
    /// The repository is damaged, not the target.
    pub damage: bool,
}

/// How a file is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Way {
    /// A new file under its own name, after what stands there was removed if need be.
    Fresh = 0,
    /// A new file that takes the place of the old one.
    Replace = 1,
    /// The existing file, piece by piece.
    InPlace = 2,
    /// Only its metadata.
    Keep = 3,
}

/// One file of a restore; shared by the threads that write it.
#[derive(Debug)]
pub(crate) struct FileJob {
    /// Its folder, relative to the target.
    pub folder: Arc<[u8]>,
    /// What it shall be.
    pub node: Node,
    /// What was decided about it.
    pub action: Action,
    number: u64,
    way: AtomicU8,
    /// Pieces not written yet, and one for as long as more may come.
    left: AtomicU64,
    trouble: OnceLock<Trouble>,
    /// It exists, made or changed by this restore. Held while it is being opened for the first time.
    opened: Mutex<bool>,
    /// Something was written into it.
    written: AtomicBool,
    /// Bytes of it that progress showed already.
    shown: AtomicU64,
    /// Nothing more will happen to it.
    settled: AtomicBool,
}

impl FileJob {
    /// A file of which nothing is there yet. `number`: its own in this restore.
    pub(super) fn new(number: u64, folder: Arc<[u8]>, node: Node, action: Action) -> Self {
        let way = match action {
            Action::Keep | Action::Leave | Action::Refuse => Way::Keep,
            Action::Create | Action::Clear => Way::Fresh,
            Action::CompareThenReplace | Action::Replace => Way::Replace,
            Action::InPlace => Way::InPlace,
        };
        Self {
            folder,
            node,
            action,
            number,
            way: AtomicU8::new(way as u8),
            left: AtomicU64::new(1),
            trouble: OnceLock::new(),
            opened: Mutex::new(false),
            written: AtomicBool::new(false),
            shown: AtomicU64::new(0),
            settled: AtomicBool::new(false),
        }
    }

    /// Where it is, relative to the target.
    pub(super) fn path(&self) -> Vec<u8> {
        path::join(&self.folder, &self.node.name)
    }

    /// How it is written.
    pub(super) fn way(&self) -> Way {
        match self.way.load(Ordering::Acquire) {
            0 => Way::Fresh,
            1 => Way::Replace,
            2 => Way::InPlace,
            _ => Way::Keep,
        }
    }

    /// Another way was found to be right; only before anything is written.
    pub(super) fn turn(&self, way: Way) {
        self.way.store(way as u8, Ordering::Release);
    }

    /// So many more pieces are to be written.
    pub(super) fn expect(&self, pieces: u64) {
        self.left.fetch_add(pieces, Ordering::AcqRel);
    }

    /// So many are done; true for the one call after which none is left.
    #[must_use]
    pub(super) fn done(&self, pieces: u64) -> bool {
        self.left.fetch_sub(pieces, Ordering::AcqRel) == pieces
    }

    /// Something went wrong; the first reason stays.
    pub(super) fn fail(&self, detail: String, damage: bool) {
        let _ = self.trouble.set(Trouble { detail, damage });
    }

    /// What went wrong.
    pub(crate) fn trouble(&self) -> Option<&Trouble> {
        self.trouble.get()
    }

    /// Progress shows so many more of its bytes: a file of a hundred gigabytes is not still until it is finished.
    pub(crate) fn note_shown(&self, bytes: u64) {
        self.shown.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Bytes that progress has not shown yet: holes, and what was right already.
    pub(crate) fn not_shown(&self) -> u64 {
        self.node.size.saturating_sub(self.shown.load(Ordering::Acquire))
    }

    /// Something was written.
    pub(crate) fn note_written(&self) {
        self.written.store(true, Ordering::Relaxed);
    }

    /// Was anything written?
    pub(crate) fn was_written(&self) -> bool {
        self.written.load(Ordering::Relaxed)
    }

    /// Nothing more will happen to it.
    pub(super) fn settle(&self) {
        self.settled.store(true, Ordering::Release);
    }

    /// Is it done, one way or the other?
    pub(crate) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Acquire)
    }

    /// Did this restore make or change what stands under its name?
    pub(crate) fn is_opened(&self) -> bool {
        *self.opened.lock().unpoisoned()
    }
}

/// Open files, the last used ones; others are opened again when their next piece comes.
pub(crate) struct Handles<'a> {
    target: &'a Target,
    open: Cache<u64, Arc<NewFile>>,
}

impl<'a> Handles<'a> {
    /// None open.
    pub(super) fn new(target: &'a Target) -> Self {
        Self { target, open: Cache::new(HANDLES_MAX) }
    }

    /// A new file for a job, under its name; what is in the way goes if that was decided.
    pub(super) fn create(&self, job: &FileJob) -> Result<NewFile, FilesystemError> {
        let folder = self.target.folder(&job.folder)?;
        if job.action != Action::Create {
            self.target.remove(&job.path())?;
        }
        folder.create_file(&job.node.name)
    }

    /// The file of a job that is written piece by piece: made at the first call, with its full size.
    pub(super) fn get(&self, job: &FileJob) -> Result<Arc<NewFile>, FilesystemError> {
        if let Some(file) = self.open.get(&job.number) {
            return Ok(file);
        }
        let mut opened = job.opened.lock().unpoisoned();
        // Another thread may have been faster.
        if let Some(file) = self.open.get(&job.number) {
            return Ok(file);
        }
        let file = match (job.way(), *opened) {
            (Way::Fresh, false) => {
                let file = self.create(job)?;
                *opened = true;
                file.set_size(job.node.size)?;
                file
            }
            _ => self.target.folder(&job.folder)?.update_file(&job.node.name)?,
        };
        *opened = true;
        let file = Arc::new(file);
        self.open.insert(job.number, Arc::clone(&file));
        Ok(file)
    }

    /// The handle of a file whose last piece is written, to finish it with.
    pub(super) fn take(&self, job: &FileJob) -> Result<NewFile, FilesystemError> {
        let file = match self.open.remove(&job.number) {
            Some((_, file)) => file,
            None => {
                // Evicted, or never written to: an empty file.
                let file = self.get(job)?;
                self.open.remove(&job.number);
                file
            }
        };
        match Arc::try_unwrap(file) {
            Ok(file) => Ok(file),
            // Every writer lets go before it counts its piece as done; should one not, a second handle does as well.
            Err(_) => self.target.folder(&job.folder)?.update_file(&job.node.name),
        }
    }

    /// Nothing more is written to a file.
    pub(super) fn close(&self, job: &FileJob) {
        self.open.remove(&job.number);
    }

    /// Removes what was written of a file.
    pub(crate) fn discard(&self, job: &FileJob) -> Result<(), FilesystemError> {
        self.open.remove(&job.number);
        if job.is_opened() {
            self.target.folder(&job.folder)?.remove(&job.node.name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::format::tree::{Content, NodeKind};

    fn job(number: u64, name: &str, action: Action) -> FileJob {
        let node = Node {
            name: name.as_bytes().to_vec(),
            kind: NodeKind::File,
            mode: 0o640,
            uid: 0,
            gid: 0,
            user: None,
            group: None,
            mtime: Timestamp { seconds: 5, nanoseconds: 0 },
            ctime: Timestamp::default(),
            size: 6,
            content: Content::default(),
            link_target: Vec::new(),
            device: 0,
            xattrs: Vec::new(),
            hard_link: None,
            extra: Vec::new(),
        };
        FileJob::new(number, Arc::from(&b""[..]), node, action)
    }

    #[test]
    fn a_job_is_done_once() {
        let job = job(1, "x", Action::Create);
        job.expect(3);
        assert!(!job.done(1) && !job.done(2));
        assert!(job.done(1));
    }

    #[test]
    fn a_file_is_written_through_handles_that_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let target = Target::open(dir.path(), false).unwrap();
        let handles = Handles::new(&target);
        let jobs: Vec<FileJob> = (0..HANDLES_MAX as u64 * 2).map(|n| job(n, &format!("f{n}"), Action::Create)).collect();
        for half in [0, 3] {
            for job in &jobs {
                handles.get(job).unwrap().write_at(b"abc", half).unwrap();
            }
        }
        for job in &jobs {
            handles.take(job).unwrap();
        }
        assert!(jobs.iter().all(|job| std::fs::read(dir.path().join(format!("f{}", job.number))).unwrap() == b"abcabc"));
    }

    #[test]
    fn a_discarded_file_is_gone_and_one_never_opened_is_left() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("old"), b"old").unwrap();
        let target = Target::open(dir.path(), false).unwrap();
        let handles = Handles::new(&target);
        let (new, old) = (job(1, "new", Action::Create), job(2, "old", Action::InPlace));
        handles.get(&new).unwrap().write_at(b"abc", 0).unwrap();
        handles.discard(&new).unwrap();
        handles.discard(&old).unwrap();
        assert!(!dir.path().join("new").exists());
        assert!(dir.path().join("old").exists());
    }
}
