//! Freeing: which packs nobody needs any more, and when they may be deleted (condemn, verdict, sweep).
//!
//! [`run`] is one prune: it sweeps what earlier runs condemned and every live session has acknowledged, condemns what no snapshot needs
//! any more, and, when nobody has to be waited for, sweeps that too. A [`Pruner`] takes the same steps one by one. The steps and their
//! order are those of `format-spec/protocol.md` (A1 to A7 and B1 to B7 are named where they happen). What is condemned may be chosen
//! freely. What is deleted is decided in `verdict` alone.
//! [`usage`] needs the same mark and changes nothing: it says how many stored bytes snapshots take up.
//!
//! Leans on `repository` and `format`. No clock decides what is deleted (I9): everything a delete rests on is listed and proved in the
//! order of the protocol. Never knows how a snapshot is made or restored.
//! Memory: three bits a chunk, about 200 bytes a pack, 32 bytes a pack ever deleted, and one frame a thread.

mod choose;
mod condemn;
mod error;
mod index_files;
mod live;
mod mark;
mod plan;
mod repack;
mod settled;
mod sweep;
mod tidy;
pub mod usage;
mod verdict;
mod watch;

pub use error::PruneError;
pub use plan::{MaxUnused, PackUse, Plan};
pub use sweep::Waiting;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::catalog::Condemned;
use crate::id::{PackId, SessionId};
use crate::monitor::{Monitor, Phase, Stop};
use crate::parallel;
use crate::prune::mark::{Ground, Mark};
use crate::records::gc::Book;
use crate::repository::{Reader, Repository, RepositoryError};

/// How often a step begins again because the cache was dropped or somebody took its number.
const ATTEMPTS_MAX: usize = 5;

/// How to prune.
#[derive(Clone, Debug, Default)]
pub struct PruneOptions {
    /// Say what would be condemned, change nothing.
    pub dry_run: bool,
    /// How much may stay unused in packs that are partly used.
    pub max_unused: MaxUnused,
    /// At most so many bytes of packs are read to store again what is used of them.
    pub max_repack: Option<u64>,
    /// How long to wait for live sessions to acknowledge, so that this run can sweep what it condemns.
    pub grace: Duration,
    /// Go on although more would go than what was forgotten explains.
    pub force: bool,
}

/// What a prune did.
#[derive(Clone, Debug, Default)]
pub struct PruneSummary {
    /// Packs deleted.
    pub packs_deleted: u64,
    /// Their bytes, with their parity.
    pub bytes_deleted: u64,
    /// Packs condemned by this run; for a dry run, that would be.
    pub packs_condemned: u64,
    /// Their bytes.
    pub bytes_condemned: u64,
    /// Packs condemned by any run that wait to be decided when this one ended.
    pub packs_waiting: u64,
    /// Their bytes.
    pub bytes_waiting: u64,
    /// Packs that nobody needs and nothing forgotten explains: left where they are, because a run under way may have just stored them.
    pub packs_unexplained: u64,
    /// Their bytes.
    pub bytes_unexplained: u64,
    /// Packs that were condemned and turned out to be needed.
    pub packs_pardoned: u64,
    /// Partly used packs whose used part was stored again; for a dry run, that would be.
    pub packs_repacked: u64,
    /// Bytes of new packs, with their parity; for a dry run, the bytes of the chunks that would be stored again.
    pub bytes_written: u64,
    /// Packs that were there to choose from.
    pub packs_seen: u64,
    /// Bytes of chunks that snapshots need.
    pub bytes_used: u64,
    /// Bytes that stay though nobody needs them.
    pub bytes_unused: u64,
    /// Live sessions that did not acknowledge yet what waits.
    pub waiting: Vec<Waiting>,
    /// Sessions of dead or silent runs that were revoked.
    pub sessions_revoked: u64,
    /// Objects of forgotten snapshots, and records of sessions, that were cleared away.
    pub objects_cleared: u64,
    /// Index files replaced by fewer.
    pub index_files_replaced: u64,
    /// Tree and list chunks read to mark.
    pub trees_read: u64,
    /// Nothing had changed since the last prune, so nothing was looked at.
    pub settled: bool,
    /// The store was too full to store again what is used of partly used packs.
    pub too_full_to_repack: bool,
}

/// One prune, from listing to the last delete. Needs the owner's key. Interrupted anywhere, the next one finishes what was decided.
pub fn run(
    repository: &Arc<Repository>,
    options: &PruneOptions,
    monitor: &Arc<dyn Monitor>,
    stop: &Stop,
) -> Result<PruneSummary, PruneError> {
    let mut pruner = Pruner::begin(repository, options.clone(), monitor, stop)?;
    if pruner.is_settled()? {
        return Ok(pruner.finish());
    }
    if options.dry_run {
        pruner.condemn()?;
        return Ok(pruner.finish());
    }
    pruner.watch()?;
    pruner.sweep()?;
    if pruner.condemn()? {
        pruner.sweep_waiting()?;
    }
    pruner.tidy()?;
    pruner.merge_index_files()?;
    pruner.settle()?;
    Ok(pruner.finish())
}

/// A prune, step by step. See [`run`] for their order; each step may be left out or repeated.
pub struct Pruner {
    repository: Arc<Repository>,
    options: PruneOptions,
    monitor: Arc<dyn Monitor>,
    stop: Stop,
    /// Over packs' own directories.
    reader: Reader,
    /// The last listing of `packs/`, less what was deleted since.
    listed: HashMap<PackId, u64>,
    mark: Mark,
    known: live::Known,
    /// Sessions with a name below `snapshots/` in a listing of this run: over for good.
    over: HashSet<SessionId>,
    /// Packs this run wrote.
    written: BTreeSet<PackId>,
    /// What may be cleared away after the verdict of this run.
    cleared_next: Vec<crate::store::Name>,
    /// Numbers, undecided ones and deleted packs of the last listing of `gc/`: enough to see that another prune did something.
    gc_seen: (u64, usize, usize),
    /// Does anything here differ from when this run began?
    changed: bool,
    summary: PruneSummary,
}

impl Pruner {
    /// Opens what a prune needs; lists nothing yet.
    pub fn begin(
        repository: &Arc<Repository>,
        options: PruneOptions,
        monitor: &Arc<dyn Monitor>,
        stop: &Stop,
    ) -> Result<Self, PruneError> {
        repository.need_owner("pruning")?;
        repository.need_write_features()?;
        if !options.dry_run {
            repository.try_store_once()?;
        }
        let reader = Reader::over(repository, repository.open_pack_catalog()?)?;
        Ok(Self {
            repository: Arc::clone(repository),
            options,
            monitor: Arc::clone(monitor),
            stop: stop.clone(),
            reader,
            listed: HashMap::new(),
            mark: Mark::default(),
            known: live::Known::default(),
            over: HashSet::new(),
            written: BTreeSet::new(),
            cleared_next: Vec::new(),
            gc_seen: (0, 0, 0),
            changed: false,
            summary: PruneSummary::default(),
        })
    }

    /// What was done so far.
    pub fn finish(mut self) -> PruneSummary {
        self.summary.trees_read = self.mark.trees_read;
        self.summary
    }

    /// As [`Pruner::finish`], without ending.
    pub fn summary(&self) -> &PruneSummary {
        &self.summary
    }

    /// Runs a step again from its start when the cache was dropped under it: pack numbers and marks do not outlive that, and whatever
    /// it stumbled over may come of them.
    fn again_when_renumbered<T>(&mut self, step: impl Fn(&mut Self) -> Result<T, PruneError>) -> Result<T, PruneError> {
        let mut attempts = 1;
        loop {
            let before = self.drops();
            match step(self) {
                Err(_) if attempts < ATTEMPTS_MAX && self.drops() != before => attempts += 1,
                other => return other,
            }
        }
    }

    fn drops(&self) -> u64 {
        self.reader.with_catalog(|catalog| catalog.drops())
    }

    /// Lists `gc/`, then `packs/`, and learns what is in packs not seen before from their own directories.
    fn refresh(&mut self) -> Result<Book, PruneError> {
        self.monitor.begin(Phase::Sync, 0, 0);
        let repository = &self.repository;
        let (book, listed) = self.reader.with_catalog(|catalog| -> Result<_, RepositoryError> {
            let book = repository.gc_book(catalog)?;
            let condemned = Condemned { bad: Arc::new(book.bad.clone()), deleted: book.deleted.clone() };
            let listed = repository.list_packs()?;
            catalog.sync(repository.objects(), condemned, listed.clone(), &*self.monitor)?;
            Ok((book, listed))
        })?;
        repository.check_not_rolled_back(book.understood)?;
        self.listed = listed;
        self.gc_seen = (book.named, book.pending.len(), book.deleted.len());
        Ok(book)
    }

    fn ground(&self) -> Ground<'_> {
        Ground { reader: &self.reader, monitor: &*self.monitor, stop: &self.stop, threads: parallel::cores() }
    }

    /// Snapshots minus forgotten, after sessions were listed.
    fn list_live(&mut self, book: &Book, revoked_beside: &HashSet<SessionId>) -> Result<live::Live, PruneError> {
        let Self { repository, reader, known, .. } = self;
        let live = reader.with_catalog(|catalog| live::list(repository, catalog, known, revoked_beside, book))?;
        self.over.extend(live.roots.iter().chain(&live.remains).map(|root| SessionId(root.id.0)));
        Ok(live)
    }

    /// Marks what these snapshots refer to. Those marked before are not walked again: what they refer to never changes.
    fn mark(&mut self, live: &live::Live) -> Result<(), PruneError> {
        self.monitor.begin(Phase::Plan, 0, 0);
        let mut mark = std::mem::take(&mut self.mark);
        let walked = mark.walk(&self.ground(), &live.roots);
        self.mark = mark;
        walked
    }
}
