//! Getting back what snapshots hold: folders into a target, single files and streams to a writer.
//!
//! A restore is two threads of thought. [`walk`] goes through the trees, makes folders and decides by [`plan`] what is to be done with
//! each file; it hands on *windows* of bounded size. [`execute`] brings a window to the disk: what is there already is compared, the
//! rest is read frame by frame, each frame once, whatever the order of the files; a file is finished (owner, attributes, mode, times)
//! when its last piece is written, a folder after all that is in it. [`stream`] gives the bytes of one file in order.
//!
//! Damage does not stop a restore: it is reported, counted in the summary, and no file with wrong content stays under its name.
//!
//! Leans on `repository` for trees and chunks and on `filesystem` for everything that touches the target, which holds what no tree
//! may get around: nothing outside the target is ever written. Never knows packs, keys' secrets or stores, and never prints.

mod check;
mod compare;
pub mod coverage;
pub mod deletions;
mod execute;
mod file;
mod finish;
mod guard;
mod plan;
mod pretend;
pub mod proof;
mod select;
pub mod stream;
mod tally;
mod walk;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::filesystem::{ExcludeError, FilesystemError, Folder, Owners, Rules, Target, free_bytes};
use crate::format::snapshot::Snapshot;
use crate::format::tree::{Content, LeftOut, NodeKind};
use crate::monitor::{Monitor, Phase, Quiet, Stop, Stopped};
use crate::parallel::{self, Feed, cores};
use crate::path;
use crate::repository::{Reader, Repository, RepositoryError};

use self::coverage::{Coverage, Covered, Why};
use self::deletions::{Deletions, Doom, Kept, Protected};
use self::execute::Executor;
use self::plan::Window;
use self::pretend::Pretended;
use self::proof::StreamProof;
use self::select::Selection;
use self::tally::{Tally, count};
use self::walk::{Forecast, Walker};

/// Failures the summary names; all of them are counted and told to the monitor.
pub(crate) const FAILURES_NAMED_MAX: usize = 1_000;
/// Windows between the walk and the disk. One waits while one is written and one is filled.
const WINDOWS_IN_FLIGHT: usize = 1;
/// Reads of a remote store under way at once: there latency counts and not cores.
const REMOTE_READS: usize = 16;

const IN_THE_WAY: &str = "a folder is in the way; it is removed only by --delete, and only when all that it holds may go";

/// What to do with a file that is there already.
///
/// A file up to [`plan::REPLACED_SIZE_MAX`] that differs is replaced by a new one when that is complete; a larger one is written in
/// place, only where it differs, if it has no other names. A file whose content and metadata are right is not touched at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Overwrite {
    /// Bring it to the state of the snapshot: its content is compared and only what differs is written.
    #[default]
    Always,
    /// The same, but a file of the same size and modification time counts as unchanged without being read.
    IfChanged,
    /// Leave it as it is, its metadata too.
    Never,
}

/// What is restored: a folder's content, or one entry.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Root of the snapshot.
    pub root: &'a Content,
    /// The snapshot's name, for messages.
    pub snapshot: &'a str,
    /// What below the root: of a folder its content goes into the target, anything else goes there under its own name. Empty: all.
    pub path: &'a [u8],
    /// What its streams must be, for [`RestoreOptions::verify`].
    pub streams: &'a [StreamProof],
    /// The snapshot that `root` is the root of. Without it nothing is known of what it left out, and nothing is deleted.
    pub record: Option<&'a Snapshot>,
}

impl Origin<'_> {
    /// Files and bytes that a restore goes through: those of the snapshot if all of it is asked for; else unknown (0) until it was walked.
    fn totals(&self, options: &RestoreOptions) -> (u64, u64) {
        let is_whole = self.path.is_empty() && options.include.is_empty() && options.exclude.is_empty();
        self.record.filter(|_| is_whole).map_or((0, 0), |snapshot| (snapshot.totals.files, snapshot.totals.bytes))
    }
}

/// How to restore.
#[derive(Clone, Debug, Default)]
pub struct RestoreOptions {
    /// Where to: made when it is missing. Its own metadata is not touched.
    pub target: PathBuf,
    /// The name in the target of an entry that is not a folder. None: the name that it has in the snapshot.
    pub name: Option<Vec<u8>>,
    /// Patterns with gitignore's meaning, relative to what is restored; when there are any, only what matches (a folder: with all it
    /// holds) is restored.
    pub include: Vec<String>,
    /// Patterns of what is left out. They win over `include`.
    pub exclude: Vec<String>,
    /// What happens to existing files.
    pub overwrite: Overwrite,
    /// Remove what stands in a restored folder and is not in the snapshot, where the snapshot is known to hold all that was there
    /// ([`deletions`]).
    pub delete: bool,
    /// What is never deleted nor emptied: the repository, the cache, the home folder.
    pub protected: Vec<PathBuf>,
    /// Begin even where the file system says that there is too little space.
    pub no_space_check: bool,
    /// Write runs of zeros as holes; holes of the original are holes in any case.
    pub sparse: bool,
    /// Read back each file that was written or taken for unchanged, and compare it with the snapshot; a stream also as a whole with what
    /// was taken.
    pub verify: bool,
    /// Leave owners as they come.
    pub no_ownership: bool,
    /// Restore owners by their numbers and ignore their names.
    pub numeric_ids: bool,
    /// Only find out what would be done.
    pub dry_run: bool,
    /// Threads that read and write; none: what suits this machine and store.
    pub threads: Option<usize>,
}

/// An entry that could not be restored.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Where, relative to the target.
    pub path: Vec<u8>,
    /// What happened.
    pub detail: String,
    /// The repository is damaged there, not the target.
    pub damage: bool,
}

/// What a restore did.
#[derive(Clone, Debug, Default)]
pub struct RestoreSummary {
    /// Files written, new or changed.
    pub files_restored: u64,
    /// Files that were there with the right content.
    pub files_unchanged: u64,
    /// Entries left alone because they were there ([`Overwrite::Never`]).
    pub entries_skipped: u64,
    /// Folders made or brought up to date.
    pub folders: u64,
    /// Symbolic links, pipes, sockets, devices.
    pub others: u64,
    /// Further names of files.
    pub hard_links: u64,
    /// Entries removed because the snapshot does not hold them; each entry of a folder counts.
    pub deleted: u64,
    /// Entries that the snapshot does not hold and that stay nevertheless: the first, with the reason.
    pub kept: Vec<Kept>,
    /// How many such entries there are.
    pub kept_count: u64,
    /// Patterns of [`RestoreOptions::exclude`] that matched nothing.
    pub unused_excludes: Vec<String>,
    /// Bytes of all files restored or found unchanged, holes included.
    pub bytes_total: u64,
    /// Bytes written into files.
    pub bytes_written: u64,
    /// Files read back and found right.
    pub files_verified: u64,
    /// Of them streams that are what was taken, from the first byte to the last.
    pub streams_verified: u64,
    /// Bits of metadata that could not be put back (owners, attributes), the first told to the monitor.
    pub shortfalls: u64,
    /// Entries that could not be restored because the repository is damaged.
    pub damaged: u64,
    /// Entries that could not be restored because of the target: permissions, something in the way.
    pub failed: u64,
    /// The first of both, at most [`FAILURES_NAMED_MAX`].
    pub failures: Vec<Failure>,
}

impl RestoreSummary {
    /// Everything that was asked for is there.
    pub fn is_whole(&self) -> bool {
        self.damaged == 0 && self.failed == 0
    }
}

/// Why a restore stopped.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The repository could not be read: unreachable, wrong key, interrupted. Damage is no reason to stop.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The target cannot be used, or is full.
    #[error(transparent)]
    Filesystem(#[from] FilesystemError),
    /// A pattern is none.
    #[error(transparent)]
    Pattern(#[from] ExcludeError),
    /// Patterns of [`RestoreOptions::include`] that match nothing in the snapshot.
    #[error("nothing in the snapshot matches --include {}", .0.join(", "))]
    NoMatch(Vec<String>),
    /// The target is no place to delete from.
    #[error("nothing is deleted from {}: {why}", target.display())]
    NoPlaceToDelete {
        /// As it was given.
        target: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The caller did not agree to what would be deleted.
    #[error("the deletions were not confirmed")]
    NotAgreed,
    /// It would not fit.
    #[error("{} has {free} bytes free, and {needed} are needed", target.display())]
    NoSpace {
        /// As it was given.
        target: PathBuf,
        /// Bytes that would be written beyond what stands there.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// Only files and streams have bytes to give out.
    #[error("{} is a {what}, not a file: restore it instead", crate::filesystem::shown(path))]
    NotAFile {
        /// Its path in the snapshot.
        path: Vec<u8>,
        /// What it is.
        what: &'static str,
    },
    /// Every chunk is what it should be, and yet not the whole: something went wrong when it was taken.
    #[error("{} is not the stream that was taken: its length or MAC differs", crate::filesystem::shown(path))]
    NotTheStream {
        /// Its path in the snapshot.
        path: Vec<u8>,
    },
    /// Whoever takes the bytes does not.
    #[error("cannot write the output: {0}")]
    Output(std::io::Error),
}

impl From<Stopped> for RestoreError {
    fn from(stopped: Stopped) -> Self {
        Self::Repository(stopped.into())
    }
}

impl RestoreError {
    fn stopped() -> Self {
        Stopped.into()
    }
}

/// Is this the loss of some stored thing, rather than of the way to all of them?
fn is_loss(error: &RepositoryError) -> bool {
    use RepositoryError as E;
    matches!(
        error,
        E::ChunkMissing(_) | E::ChunkDamaged { .. } | E::TreeDamaged { .. } | E::Object { .. } | E::Format(_) | E::Compress(_)
    )
}

/// As [`run_if`], for a caller that agrees to every deletion.
pub fn run(
    repository: &Arc<Repository>,
    origin: Origin<'_>,
    options: &RestoreOptions,
    monitor: &Arc<dyn Monitor>,
    stop: &Stop,
) -> Result<RestoreSummary, RestoreError> {
    run_if(repository, origin, options, monitor, stop, &mut |_| true)
}

/// Restores what `origin` names into the target. Before anything is changed `agrees` is asked about what would be deleted, if
/// deleting was asked for.
///
/// Comes back with a summary even when entries could not be restored ([`RestoreSummary::is_whole`]); an error means that it stopped
/// before its end. A file that was being written then is removed, unless it was there before.
pub fn run_if(
    repository: &Arc<Repository>,
    origin: Origin<'_>,
    options: &RestoreOptions,
    monitor: &Arc<dyn Monitor>,
    stop: &Stop,
    agrees: &mut dyn FnMut(&Deletions) -> bool,
) -> Result<RestoreSummary, RestoreError> {
    let selection = Selection::new(&options.include, &options.exclude)?;
    let protected = Protected::new(&options.protected);
    if options.delete {
        guard::check_target(&options.target, &protected)?;
    }
    monitor.begin(Phase::Plan, 0, 0);
    let reader = Reader::new(repository, &**monitor)?;
    let start = Start::find(&reader, origin, options.name.as_deref())?;
    let coverage = Coverage::new(origin.record, &start.base(origin.path))?;
    select::check_includes(&reader, &start, &options.include, stop)?;
    let tally = Tally::new(&**monitor);
    let mut run = Run {
        reader: &reader,
        target: None,
        options,
        selection: &selection,
        coverage: &coverage,
        protected: &protected,
        deletions: &Deletions::default(),
        planning: false,
        rules: &Rules::new(!options.no_ownership, !options.numeric_ids, true),
        owners: &Owners::new(),
        tally: &tally,
        monitor: &**monitor,
        stop,
        threads: options.threads.unwrap_or_else(|| threads(&reader)),
    };
    let forecast = run.forecast(&start, origin, agrees)?;
    run.deletions = &forecast.deletions;
    let target = open_target(&options.target, !options.dry_run)?;
    run.target = target.as_ref();
    let (files, bytes) = origin.totals(options);
    monitor.begin(Phase::Restore, files, bytes);
    run.restore(&start)?;
    if let Some(target) = run.target.filter(|_| options.verify && !options.dry_run) {
        monitor.begin(Phase::VerifyData, 0, 0);
        run.check_streams(target, origin.path, origin.streams)?;
    }
    let mut summary = tally.summary();
    summary.kept = forecast.deletions.kept().to_vec();
    summary.kept_count = forecast.deletions.kept_count();
    summary.unused_excludes = selection.unused(&options.exclude).cloned().collect();
    Ok(summary)
}

/// None: it is not there, and is not to be made.
fn open_target(path: &Path, create: bool) -> Result<Option<Target>, RestoreError> {
    match Target::open(path, create) {
        Err(error) if !create && error.is_vanished() => Ok(None),
        other => Ok(Some(other?)),
    }
}

fn threads(reader: &Reader) -> usize {
    if reader.repository().is_remote() { REMOTE_READS } else { cores() }
}

/// Where the walk begins.
enum Start {
    /// The content of a folder goes into the target; with what its record lacks.
    Folder(Content, LeftOut),
    /// One entry goes there, under its own name or the one that was asked for.
    Entry(Box<crate::format::tree::Node>),
}

impl Start {
    fn find(reader: &Reader, origin: Origin<'_>, name: Option<&[u8]>) -> Result<Self, RestoreError> {
        Ok(match reader.resolve(origin.root, origin.path, origin.snapshot)? {
            None => Self::Folder(origin.root.clone(), LeftOut::NOTHING),
            Some(node) if node.kind == NodeKind::Folder => {
                let left_out = node.left_out();
                Self::Folder(node.content, left_out)
            }
            Some(mut node) => {
                if let Some(name) = name {
                    node.name = name.to_vec();
                }
                Self::Entry(Box::new(node))
            }
        })
    }

    /// The folder of the snapshot whose entries go into the target; `path` is what was asked for.
    fn base(&self, path: &[u8]) -> Vec<u8> {
        let mut parts: Vec<&[u8]> = path::parts(path).collect();
        if let Self::Entry(_) = self {
            parts.pop();
        }
        parts.join(&b'/')
    }
}

/// What every part of one restore shares.
#[derive(Clone, Copy)]
struct Run<'a> {
    reader: &'a Reader,
    /// None in a dry run whose target does not exist.
    target: Option<&'a Target>,
    options: &'a RestoreOptions,
    selection: &'a Selection,
    coverage: &'a Coverage,
    protected: &'a Protected,
    /// What goes; nothing while it is planned.
    deletions: &'a Deletions,
    /// Only what would be deleted, and how much would be written, is to be found out.
    planning: bool,
    rules: &'a Rules,
    owners: &'a Owners,
    tally: &'a Tally<'a>,
    monitor: &'a dyn Monitor,
    stop: &'a Stop,
    threads: usize,
}

impl<'a> Run<'a> {
    /// Nothing is changed.
    fn pretends(&self) -> bool {
        self.planning || self.options.dry_run
    }

    /// What happens to an entry, or what would happen.
    fn action(&self, happens: &'static str, would: &'static str) -> &'static str {
        if self.pretends() { would } else { happens }
    }

    /// Walks once without writing, where something must be known before anything is written.
    fn forecast(
        self,
        start: &Start,
        origin: Origin<'_>,
        agrees: &mut dyn FnMut(&Deletions) -> bool,
    ) -> Result<Forecast, RestoreError> {
        let Run { options, coverage, .. } = self;
        let free = free_bytes(&options.target).filter(|_| !options.no_space_check);
        // No restore writes more than the whole snapshot.
        let may_not_fit = origin.record.zip(free).is_some_and(|(snapshot, free)| snapshot.totals.bytes > free);
        if !options.delete && !may_not_fit {
            return Ok(Forecast::default());
        }
        let target = open_target(&options.target, false)?;
        let (quiet, planned) = (Quiet, Tally::new(&Quiet));
        let planning = Run { target: target.as_ref(), planning: true, tally: &planned, monitor: &quiet, ..self };
        let forecast = Walker::new(planning, &mut |_| Ok(())).walk(start)?;
        if options.delete {
            guard::check_place(&options.target, coverage, &forecast.deletions)?;
        }
        let freed = forecast.deletions.iter().fold(0u64, |sum, deletion| sum.saturating_add(deletion.bytes));
        if let Some(free) = free
            && may_not_fit
            && forecast.bytes_needed > free.saturating_add(freed)
        {
            return Err(RestoreError::NoSpace { target: options.target.clone(), needed: forecast.bytes_needed, free });
        }
        if options.delete && !agrees(&forecast.deletions) {
            return Err(RestoreError::NotAgreed);
        }
        Ok(forecast)
    }

    /// What decides about entries of `source` that the snapshot does not hold.
    fn doom(&self, source: &'a Covered) -> Doom<'a> {
        Doom { selection: self.selection, protected: self.protected, source, stop: self.stop }
    }

    /// Why nothing that stands in this folder of the snapshot may be deleted.
    fn reason_to_keep_all(&self, folder: &Folder, path: &[u8], left_out: LeftOut) -> Option<Why> {
        if !self.coverage.is_complete(path, left_out) {
            return Some("the snapshot is not known to hold all that was in its folder");
        }
        if folder.found_self(Vec::new()).is_ok_and(|found| self.protected.has(&found)) {
            return Some("esker uses its folder");
        }
        None
    }

    /// Removes what was listed of the folder at `path`, or to make place there.
    fn delete(&self, path: &[u8]) -> Result<(), RestoreError> {
        let (Some(target), Some(list)) = (self.target, self.deletions.of(path)) else { return Ok(()) };
        let action = self.action("deleted", "would delete");
        for deletion in list {
            let removed = if self.pretends() { Ok(()) } else { target.remove_one(&deletion.path, deletion.is_folder) };
            match removed {
                Ok(()) => {
                    count(&self.tally.deleted);
                    self.monitor.entry(action, &deletion.path, 0);
                }
                Err(error) => self.tally.refused(deletion.path.clone(), error)?,
            }
        }
        Ok(())
    }

    fn restore(self, start: &Start) -> Result<(), RestoreError> {
        let Some(target) = self.target.filter(|_| !self.options.dry_run) else {
            let pretended = Pretended(self);
            return Walker::new(self, &mut |window| pretended.execute(&window)).walk(start).map(drop);
        };
        let executor = Executor::new(self, target);
        let outcome = parallel::pipeline(
            1,
            WINDOWS_IN_FLIGHT,
            |feed: &Feed<Window, Window>| {
                // A closed feed: the executor has stopped, and has the reason.
                Walker::new(self, &mut |window| feed.push(window).map_err(|_| RestoreError::stopped())).walk(start).map(drop)
            },
            |window| window,
            |window| executor.execute(&window),
        );
        if outcome.is_err() {
            executor.give_up();
        }
        outcome
    }
}
