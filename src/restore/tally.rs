//! Counts what a restore does, and tells the monitor what goes wrong.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use crate::filesystem::{FilesystemError, Shortfall};
use crate::locks::Unpoisoned;
use crate::monitor::{Monitor, Problem};
use crate::restore::{FAILURES_NAMED_MAX, Failure, RestoreError, RestoreSummary};

/// Without the right to give files away every single one falls short: so many are told one by one.
const SHORTFALLS_TOLD_MAX: u64 = 20;

/// Shared by all threads of a restore.
pub(super) struct Tally<'a> {
    monitor: &'a dyn Monitor,
    pub files_restored: AtomicU64,
    pub files_unchanged: AtomicU64,
    pub entries_skipped: AtomicU64,
    pub folders: AtomicU64,
    pub others: AtomicU64,
    pub hard_links: AtomicU64,
    pub deleted: AtomicU64,
    pub bytes_total: AtomicU64,
    pub bytes_written: AtomicU64,
    pub files_verified: AtomicU64,
    pub streams_verified: AtomicU64,
    shortfalls: AtomicU64,
    damaged: AtomicU64,
    failed: AtomicU64,
    failures: Mutex<Vec<Failure>>,
}

/// One more.
pub(super) fn count(counter: &AtomicU64) {
    add(counter, 1);
}

/// `by` more.
pub(super) fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

impl<'a> Tally<'a> {
    pub(super) fn new(monitor: &'a dyn Monitor) -> Self {
        Self {
            monitor,
            files_restored: 0.into(),
            files_unchanged: 0.into(),
            entries_skipped: 0.into(),
            folders: 0.into(),
            others: 0.into(),
            hard_links: 0.into(),
            deleted: 0.into(),
            bytes_total: 0.into(),
            bytes_written: 0.into(),
            files_verified: 0.into(),
            streams_verified: 0.into(),
            shortfalls: 0.into(),
            damaged: 0.into(),
            failed: 0.into(),
            failures: Mutex::default(),
        }
    }

    /// An entry could not be restored.
    pub(super) fn failure(&self, failure: Failure) {
        count(if failure.damage { &self.damaged } else { &self.failed });
        self.monitor.problem(Problem { subject: failure.path.clone(), detail: failure.detail.clone() });
        let mut failures = self.failures();
        if failures.len() < FAILURES_NAMED_MAX {
            failures.push(failure);
        }
    }

    /// Is this path among the failures that were named?
    pub(crate) fn has_failed(&self, path: &[u8]) -> bool {
        self.failures().iter().any(|failure| failure.path == path)
    }

    /// The target refused an entry: reported; a full disk ends the restore, as nothing after it would fit either.
    pub(super) fn refused(&self, path: Vec<u8>, error: FilesystemError) -> Result<(), RestoreError> {
        if error.is_full() {
            return Err(error.into());
        }
        self.failure(Failure { path, detail: error.to_string(), damage: false });
        Ok(())
    }

    /// Metadata that could not be put back.
    pub(super) fn shortfalls(&self, path: &[u8], shortfalls: &[Shortfall]) {
        for shortfall in shortfalls {
            match self.shortfalls.fetch_add(1, Ordering::Relaxed) {
                0..SHORTFALLS_TOLD_MAX => self.monitor.problem(Problem { subject: path.to_vec(), detail: shortfall.to_string() }),
                SHORTFALLS_TOLD_MAX => self.monitor.note("more metadata could not be restored; the summary counts it"),
                _ => {}
            }
        }
    }

    fn failures(&self) -> MutexGuard<'_, Vec<Failure>> {
        // Whole entries are pushed: a panic elsewhere leaves nothing half done.
        self.failures.lock().unpoisoned()
    }

    pub(super) fn summary(&self) -> RestoreSummary {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RestoreSummary {
            files_restored: of(&self.files_restored),
            files_unchanged: of(&self.files_unchanged),
            entries_skipped: of(&self.entries_skipped),
            folders: of(&self.folders),
            others: of(&self.others),
            hard_links: of(&self.hard_links),
            deleted: of(&self.deleted),
            bytes_total: of(&self.bytes_total),
            bytes_written: of(&self.bytes_written),
            files_verified: of(&self.files_verified),
            streams_verified: of(&self.streams_verified),
            shortfalls: of(&self.shortfalls),
            damaged: of(&self.damaged),
            failed: of(&self.failed),
            failures: self.failures().clone(),
            ..RestoreSummary::default()
        }
    }
}
