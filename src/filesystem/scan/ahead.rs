//! Folders that wait to be listed, and the listings that wait to be consumed.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::{Entered, FolderState, LeftOutCounts, ScanError};
use crate::filesystem::folder::Folder;
use crate::filesystem::metadata::Found;
use crate::locks::Unpoisoned;

/// Entries listed and not consumed, beyond which no further folder is begun: about 12 MiB.
const ENTRIES_MAX: usize = 32_768;
/// Folders listed and not consumed: each holds a descriptor, of which a process commonly has 1,024.
const FOLDERS_MAX: usize = 128;

/// A folder to be listed.
#[derive(Debug)]
pub(super) struct Job {
    pub path: Vec<u8>,
    /// Its row in its parent's listing.
    pub row: Found,
    /// Steps below the root.
    pub depth: usize,
    state: Mutex<State>,
    done: Condvar,
}

#[derive(Debug)]
enum State {
    /// Nobody has begun. The parent stays open until then, to open the folder relative to it.
    Waiting(Arc<Folder>),
    /// A thread is at it.
    Begun,
    /// There it is.
    Done(Listing),
    /// The consumer has it.
    Taken,
}

/// A listed folder.
#[derive(Debug)]
pub(super) struct Listing {
    pub entered: Box<Entered>,
    /// Its folders, in order.
    pub jobs: Vec<Arc<Job>>,
    pub left_out: LeftOutCounts,
    /// The file system gave no entry at all.
    pub was_empty: bool,
}

impl Listing {
    /// For the root: why it cannot be walked.
    pub(crate) fn cannot_begin(&self, root: &Path) -> Option<ScanError> {
        use std::os::unix::ffi::OsStrExt;
        if !matches!(self.entered.state, FolderState::Unreadable | FolderState::Vanished) {
            return None;
        }
        let detail = self.entered.troubles.first().map_or_else(|| "it is gone".to_owned(), |trouble| trouble.detail.clone());
        Some(ScanError::Root { path: root.as_os_str().as_bytes().to_vec(), detail })
    }
}

impl Job {
    pub(super) fn new(path: Vec<u8>, row: Found, depth: usize, parent: Arc<Folder>) -> Self {
        Self { path, row, depth, state: Mutex::new(State::Waiting(parent)), done: Condvar::new() }
    }

    fn begin(&self) -> Option<Arc<Folder>> {
        let mut state = lock(&self.state);
        match std::mem::replace(&mut *state, State::Begun) {
            State::Waiting(parent) => Some(parent),
            other => {
                *state = other;
                None
            }
        }
    }
}

/// Ordered by when the consumer will come to it: depth first, names bytewise. That is the order of the paths with `/` below every
/// other byte.
struct Waiting(Arc<Job>);

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |path: &u8| if *path == b'/' { 0 } else { *path };
        self.0.path.iter().map(key).cmp(other.0.path.iter().map(key))
    }
}
impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Waiting {}

#[derive(Default)]
struct Shared {
    waiting: BinaryHeap<Reverse<Waiting>>,
    /// Listed and not consumed; a folder counts from the moment it is begun.
    folders: usize,
    entries: usize,
    ended: bool,
}

/// The look-ahead of one scan.
#[derive(Default)]
pub(super) struct Ahead {
    shared: Mutex<Shared>,
    /// There is something to list, room for it, or the end.
    changed: Condvar,
}

/// Ends the look-ahead when dropped.
pub(super) struct End<'a>(&'a Ahead);

impl Drop for End<'_> {
    fn drop(&mut self) {
        lock(&self.0.shared).ended = true;
        self.0.changed.notify_all();
    }
}

impl Ahead {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn end_on_drop(&self) -> End<'_> {
        End(self)
    }

    /// Lets the threads list these.
    pub(super) fn offer(&self, jobs: &[Arc<Job>]) {
        if jobs.is_empty() {
            return;
        }
        lock(&self.shared).waiting.extend(jobs.iter().map(|job| Reverse(Waiting(Arc::clone(job)))));
        self.changed.notify_all();
    }

    /// The life of a listing thread.
    pub(super) fn work(&self, list: impl Fn(&Job, Arc<Folder>) -> Listing) {
        while let Some((job, parent)) = self.next() {
            let listing = list(&job, parent);
            let entries = listing.entered.entries.len();
            let below: Vec<_> = listing.jobs.iter().map(|job| Reverse(Waiting(Arc::clone(job)))).collect();
            let wake = !below.is_empty();
            {
                let mut shared = lock(&self.shared);
                shared.entries += entries;
                shared.waiting.extend(below);
            }
            *lock(&job.state) = State::Done(listing);
            job.done.notify_all();
            if wake {
                self.changed.notify_all();
            }
        }
    }

    fn next(&self) -> Option<(Arc<Job>, Arc<Folder>)> {
        let mut shared = lock(&self.shared);
        loop {
            if shared.ended {
                return None;
            }
            if shared.folders < FOLDERS_MAX && shared.entries < ENTRIES_MAX {
                while let Some(Reverse(Waiting(job))) = shared.waiting.pop() {
                    // The consumer may have begun it itself.
                    if let Some(parent) = job.begin() {
                        shared.folders += 1;
                        return Some((job, parent));
                    }
                }
            }
            shared = self.changed.wait(shared).unpoisoned();
        }
    }

    /// The listing of a folder, for the consumer: lists it here if no thread has begun it.
    pub(crate) fn obtain(&self, job: &Job, list: impl Fn(&Job, Arc<Folder>) -> Listing) -> Listing {
        if let Some(parent) = job.begin() {
            *lock(&job.state) = State::Taken;
            return list(job, parent);
        }
        let mut state = lock(&job.state);
        loop {
            match std::mem::replace(&mut *state, State::Taken) {
                State::Done(listing) => {
                    drop(state);
                    let mut shared = lock(&self.shared);
                    let was_full = shared.folders >= FOLDERS_MAX || shared.entries >= ENTRIES_MAX;
                    shared.folders = shared.folders.saturating_sub(1);
                    shared.entries = shared.entries.saturating_sub(listing.entered.entries.len());
                    drop(shared);
                    if was_full {
                        self.changed.notify_all();
                    }
                    return listing;
                }
                other => {
                    *state = other;
                    state = job.done.wait(state).unpoisoned();
                }
            }
        }
    }
}

/// A poisoned lock means a thread panicked; the scope passes its panic on, so what the lock guards is only needed to end.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unpoisoned()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    fn listing_of(job: &Job, entries: usize) -> Listing {
        let entered = Entered {
            path: job.path.clone(),
            folder: job.row.clone(),
            entries: vec![job.row.clone(); entries],
            dir: None,
            state: FolderState::Listed,
            troubles: Vec::new(),
        };
        Listing { entered: Box::new(entered), jobs: Vec::new(), left_out: LeftOutCounts::default(), was_empty: false }
    }

    fn jobs(paths: impl IntoIterator<Item = impl Into<String>>) -> Vec<Arc<Job>> {
        let root = rustix::fs::openat(rustix::fs::CWD, "/", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
        let parent = Arc::new(Folder::new(root, Vec::new()));
        let row = parent.found_self(Vec::new()).unwrap();
        let job = |path: String| Arc::new(Job::new(path.into_bytes(), row.clone(), 1, Arc::clone(&parent)));
        paths.into_iter().map(|path| job(path.into())).collect()
    }

    /// Offers 1,000 folders of `entries` entries; returns how many were listed before the first was consumed, and after.
    fn look_ahead(entries: usize) -> (usize, usize) {
        let (ahead, listed, jobs) = (Ahead::new(), AtomicUsize::new(0), jobs((0..1000).map(|n| format!("{n:06}"))));
        let list = |job: &Job, _: Arc<Folder>| {
            listed.fetch_add(1, Ordering::SeqCst);
            listing_of(job, entries)
        };
        std::thread::scope(|scope| {
            let _end = ahead.end_on_drop();
            for _ in 0..3 {
                scope.spawn(|| ahead.work(list));
            }
            ahead.offer(&jobs);
            let mut before = 0;
            loop {
                std::thread::sleep(Duration::from_millis(50));
                let now = listed.load(Ordering::SeqCst);
                if now > 0 && now == before {
                    break;
                }
                before = now;
            }
            for job in &jobs {
                assert_eq!(ahead.obtain(job, list).entered.path, job.path);
            }
            (before, listed.load(Ordering::SeqCst))
        })
    }

    #[test]
    fn what_is_listed_and_not_consumed_is_bounded_in_folders_and_in_entries() {
        assert_eq!(look_ahead(1), (FOLDERS_MAX, 1000));
        let (before, after) = look_ahead(1000);
        // A thread learns how many entries a folder has when it has listed it.
        assert!((33..=33 + 2).contains(&before), "{before}");
        assert_eq!(after, 1000);
    }

    #[test]
    fn the_consumer_lists_itself_what_nobody_began() {
        let (ahead, jobs) = (Ahead::new(), jobs(["a", "b", "c"]));
        ahead.offer(&jobs);
        assert_eq!(ahead.obtain(&jobs[1], |job, _| listing_of(job, 0)).entered.path, jobs[1].path);
    }

    #[test]
    fn what_the_consumer_needs_first_is_listed_first() {
        let ahead = Ahead::new();
        ahead.offer(&jobs(["b", "a-b", "a/z", "a", "a.b", "a/b/c"]));
        let order: Vec<_> = (0..6).map(|_| String::from_utf8(ahead.next().unwrap().0.path.clone()).unwrap()).collect();
        assert_eq!(order, ["a", "a/b/c", "a/z", "a-b", "a.b", "b"]);
    }
}
