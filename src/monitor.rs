//! What a long operation reports while it runs. The library calls; the binary draws.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A stretch of an operation with its own progress.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Phase {
    /// Learning what the repository holds: listings, index files, cache.
    Sync,
    /// Reading sources and storing what is new.
    Backup,
    /// Storing what another repository holds.
    Copy,
    /// Last packs, index file, commit.
    Commit,
    /// Walking trees to see what is to be done.
    Plan,
    /// Writing files back.
    Restore,
    /// Writing one file or stream to an output.
    Dump,
    /// Checking structure: names, directories, trees.
    VerifyStructure,
    /// Reading packs back and recomputing ids.
    VerifyData,
    /// Storing again what is still used of packs that are to go.
    Repack,
    /// Deleting what was decided.
    Delete,
}

/// Something that went wrong but did not stop the operation.
#[derive(Clone, Debug)]
pub struct Problem {
    /// What it is about: a path or an object's name, raw bytes (the binary escapes them).
    pub subject: Vec<u8>,
    /// What happened and what follows from it.
    pub detail: String,
}

/// Receives the reports of an operation. Called from many threads, often: implementations must be cheap.
pub trait Monitor: Send + Sync {
    /// A phase begins; totals are what is known now (0: unknown) and may be raised later by [`Monitor::total`].
    fn begin(&self, _phase: Phase, _items_total: u64, _bytes_total: u64) {}
    /// More is known about the totals of the running phase.
    fn total(&self, _items_total: u64, _bytes_total: u64) {}
    /// Work done since the last call in the running phase.
    fn advance(&self, _items: u64, _bytes: u64) {}
    /// What is being worked on right now: raw bytes of a path, or a source's or object's name.
    fn current(&self, _subject: &[u8]) {}
    /// Bytes handed to the store since the last call.
    fn uploaded(&self, _bytes: u64) {}
    /// One entry was finished (`-v` shows them): what happened ("new", "changed", "unmodified", "restored" ...) and its path.
    fn entry(&self, _action: &'static str, _path: &[u8], _bytes: u64) {}
    /// Does this monitor use [`Monitor::entry`]? Making its path costs something for every file.
    fn wants_entries(&self) -> bool {
        false
    }
    /// A problem that did not stop the operation.
    fn problem(&self, _problem: Problem) {}
    /// A remark for a person (`-v`).
    fn note(&self, _text: &str) {}
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Monitor for Quiet {}

/// An operation ended because it was asked to: see [`Stop`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Stopped;

/// Asks an operation to stop soon: set by Ctrl-C, looked at between pieces of work.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// A request not made yet.
    pub fn new() -> Self {
        Self::default()
    }
    /// The flag itself, for a signal handler to set.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
    /// Makes the request.
    pub fn request(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
    /// Was it made?
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
    /// For `?` between two pieces of work.
    ///
    /// # Errors
    /// [`Stopped`] once the request was made.
    pub fn check(&self) -> Result<(), Stopped> {
        if self.requested() { Err(Stopped) } else { Ok(()) }
    }
}
