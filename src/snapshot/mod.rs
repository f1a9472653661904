//! The whole story of one backup: several sources, one snapshot, all or nothing.
//!
//! [`run`] opens a session, takes every source in order (streams before directories, so that files a database refers to can only be a
//! superset), and commits. A required source that fails means no snapshot at all; an optional one makes it incomplete.
//!
//! Leans on `source`, `filesystem` and `repository`. Never knows packs, frames or sealed bytes.

mod attributes;
mod counts;
mod directory;
mod files;
mod folder;
mod pending;
mod state;
mod stream;
mod take;
mod warnings;

pub use counts::{Counts, Reasons};

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::filesystem::{FilesystemError, LeftOutCounts, ScanError};
use crate::format::FormatError;
use crate::id::SnapshotId;
use crate::monitor::{Monitor, Stop, Stopped};
use crate::repository::writer::{Writer, WriterOptions, WriterTotals};
use crate::repository::{Repository, RepositoryError};
use crate::source::{Source, SourceError, SourceKind};

/// How a snapshot is taken.
#[derive(Clone, Debug, Default)]
pub struct SnapshotOptions {
    /// The host it is recorded under, and looked for unchanged files under.
    pub host: String,
    /// Who takes it.
    pub user: String,
    /// Tags.
    pub tags: Vec<String>,
    /// Program and version, for the record.
    pub program: String,
    /// Read unchanged files again.
    pub force: bool,
    /// Decide everything, store nothing.
    pub dry_run: bool,
    /// Store every new chunk with all its bytes. Else a chunk that changed is stored as ranges of chunks that are there already, where
    /// that costs less.
    pub no_compose: bool,
    /// Files and folders that are never taken: the repository itself, the cache.
    pub never: Vec<PathBuf>,
    /// Hears of each source before and after it is read.
    pub around: Option<Arc<dyn Around>>,
}

/// Does something around each source: a user's hooks.
pub trait Around: Send + Sync + std::fmt::Debug {
    /// The source is about to be read. An error is the reason why it must not be: it counts as failed.
    fn before(&self, source: &str, stop: &Stop) -> Result<(), String>;
    /// The source was read, or failed for this reason. Called whenever `before` was.
    fn after(&self, source: &str, failed: Option<&str>);
}

/// How a source ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SourceStatus {
    /// All of it is there.
    Ok,
    /// Optional, and failed: what stands in the snapshot is nothing of it.
    OptionalFailed,
    /// Ended without a status that could be checked.
    WithoutStatus,
}

/// One source of a finished snapshot.
#[derive(Clone, Debug)]
pub struct SourceSummary {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: SourceKind,
    /// How it ended.
    pub status: SourceStatus,
    /// Plaintext bytes.
    pub bytes: u64,
    /// How long it took.
    pub duration: Duration,
    /// What a restore of it will lack, one plain sentence each; recorded in the snapshot.
    pub warnings: Vec<String>,
    /// How many entries of it were left out on request.
    pub left_out: LeftOutCounts,
    /// Exclude patterns that decided about an entry of it, as they were given.
    pub used_patterns: Vec<String>,
}

/// What a run did.
#[derive(Clone, Debug)]
pub struct SnapshotSummary {
    /// The snapshot; none after a dry run.
    pub id: Option<SnapshotId>,
    /// Files and folders.
    pub counts: Counts,
    /// What was stored.
    pub totals: WriterTotals,
    /// Each source.
    pub sources: Vec<SourceSummary>,
    /// Why it is incomplete; empty: it is complete.
    pub reasons: Reasons,
    /// From beginning to commit.
    pub duration: Duration,
}

/// No snapshot was committed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The repository, the store, or the request to stop.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// A required source failed.
    #[error("source {name:?} failed, so nothing was committed: {reason}")]
    SourceFailed {
        /// Its name.
        name: String,
        /// What it is, once that is known.
        kind: Option<SourceKind>,
        /// What it said.
        reason: String,
    },
    /// The `before` hook of a source that has to be in the snapshot failed.
    #[error("source {name}: {reason}")]
    HookFailed {
        /// The name of the source.
        name: String,
        /// What the hook said.
        reason: String,
    },
    /// Names or paths of sources clash, or there are none.
    #[error("{0}")]
    Sources(String),
    /// Reading a stream failed.
    #[error("reading failed: {0}")]
    Read(std::io::Error),
    /// A file or folder.
    #[error(transparent)]
    Filesystem(#[from] FilesystemError),
    /// A folder that cannot be walked.
    #[error("{0}")]
    Scan(ScanError),
    /// An entry the format cannot hold.
    #[error("{} cannot be recorded: {source}", String::from_utf8_lossy(path))]
    Node {
        /// Its path.
        path: Vec<u8>,
        /// What does not fit.
        source: FormatError,
    },
    /// A list or snapshot could not be made.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A bug.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

impl From<Stopped> for SnapshotError {
    fn from(stopped: Stopped) -> Self {
        Self::Repository(stopped.into())
    }
}

impl SnapshotError {
    /// Was it the user who stopped it?
    pub(crate) fn is_stop(&self) -> bool {
        matches!(self, Self::Repository(RepositoryError::Stopped) | Self::Scan(ScanError::Stopped))
    }
}

impl From<ScanError> for SnapshotError {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::Stopped => Self::Repository(RepositoryError::Stopped),
            other => Self::Scan(other),
        }
    }
}

impl From<SourceError> for SnapshotError {
    fn from(error: SourceError) -> Self {
        Self::SourceFailed { name: String::new(), kind: None, reason: error.to_string() }
    }
}

/// Takes one snapshot of `sources`.
pub fn run(
    repository: &Arc<Repository>,
    sources: Vec<Source>,
    options: &SnapshotOptions,
    monitor: &Arc<dyn Monitor>,
    stop: &Stop,
) -> Result<SnapshotSummary, SnapshotError> {
    take::check(&sources)?;
    let begun = repository.clock().monotonic();
    let mut writer = Writer::begin(repository, WriterOptions { dry_run: options.dry_run }, monitor, stop)?;
    let taken = match take::all(&mut writer, sources, options, monitor, stop) {
        Ok(taken) => taken,
        Err(error) => {
            writer.fail(&options.host, &error.to_string());
            return Err(error);
        }
    };
    let dry_run = writer.is_dry_run();
    let duration = || repository.clock().monotonic().saturating_sub(begun);
    let committed = writer.commit_run(taken.snapshot, &duration)?;
    Ok(SnapshotSummary {
        id: (!dry_run).then_some(committed.id),
        counts: taken.counts,
        totals: committed.totals,
        sources: taken.sources,
        reasons: taken.reasons,
        duration: repository.clock().monotonic().saturating_sub(begun),
    })
}
