//! A power cut after every single step on the disk: what was acknowledged is there, and the next command just works.
//!
//! A workload runs once over a real [`LocalStore`] that tells what it asks of the file system. Then the power is cut after each of these
//! steps in turn, and the disk holds what was synced and none, all or any part of the rest: files torn, names in no order. Every such
//! disk is opened, verified, restored from, and used by the commands that come next, with no cache and with a cache that knows more than
//! the disk. `ESKER_SOAK` set tries many more disks a step; `ESKER_SEED=N` decides which.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may fail, and says what it counted")]

mod small;
mod crash {
    pub mod disk;
}

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crash::disk::{Choices, Disk, Rest};
use esker::clock::{ManualClock, SeededRng};
use esker::format::forgotten::{self, Forgotten};
use esker::format::names::ObjectName;
use esker::id::SnapshotId;
use esker::monitor::{Quiet, Stop};
use esker::prune::{self, MaxUnused, PruneOptions, PruneSummary};
use esker::repository::{Environment, Reader, Repository, RepositoryError, Secret};
use esker::store::{DiskStep, LocalStore, MemoryStore, Store};
use esker::verify::{FindingKind, ReadData};
use small::Files;
use zeroize::Zeroizing;

/// Torn and reordered disks a step, besides the one that lost everything unsynced and the one that kept it.
const ANY_PER_STEP: u64 = 20;
/// The same with `ESKER_SOAK`.
const ANY_PER_STEP_SOAK: u64 = 200;

/// Different disks that are looked at without `ESKER_SOAK`, spread over all.
const DISKS_MAX: usize = 5000;

/// From when a command began to when it returned, in steps on the disk.
#[derive(Clone, Copy, Debug)]
struct Span {
    begun: usize,
    ended: usize,
}

/// A workload that ran to its end.
struct Story {
    steps: Vec<DiskStep>,
    line: String,
    init: Span,
    commits: BTreeMap<SnapshotId, (Span, Files)>,
    forgets: BTreeMap<SnapshotId, Span>,
    /// The commands and where they ended, for messages.
    commands: Vec<(&'static str, Span)>,
    cache: tempfile::TempDir,
}

/// A workload while it runs.
struct Author {
    store: Arc<LocalStore>,
    log: Arc<Mutex<Vec<DiskStep>>>,
    folder: tempfile::TempDir,
    seed: u64,
    story: Story,
}

fn environment(store: Arc<dyn Store>, seed: u64, caches: Option<PathBuf>) -> Environment {
    let (clock, rng) = (Arc::new(ManualClock::at(1_790_000_000)), Arc::new(SeededRng::new(seed)));
    Environment { store, clock, rng, host: "host".to_owned(), caches, states: None }
}

fn open(store: Arc<dyn Store>, line: &str, seed: u64, caches: Option<PathBuf>) -> Result<Arc<Repository>, RepositoryError> {
    let secret = Secret::KeyLine(Zeroizing::new(line.to_owned()));
    Repository::open(environment(store, seed, caches), &secret, None).map(Arc::new)
}

impl Author {
    fn begin() -> Self {
        let folder = fast_folder();
        let log = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&log);
        let watch = Box::new(move |step: DiskStep| told.lock().unwrap().push(step));
        let store = Arc::new(LocalStore::watched(folder.path().join("repository"), watch));
        let (_, line) = small::init(store.clone());
        let init = Span { begun: 0, ended: log.lock().unwrap().len() };
        let story = Story {
            steps: Vec::new(),
            line,
            init,
            commits: BTreeMap::new(),
            forgets: BTreeMap::new(),
            commands: vec![("init", init)],
            cache: fast_folder(),
        };
        Self { store, log, folder, seed: 100, story }
    }

    fn open(&mut self) -> Arc<Repository> {
        self.seed += 1;
        open(self.store.clone(), &self.story.line, self.seed, Some(self.story.cache.path().to_owned())).unwrap()
    }

    fn command<T>(&mut self, name: &'static str, run: impl FnOnce(&Arc<Repository>) -> T) -> (Span, T) {
        let repository = self.open();
        let begun = self.log.lock().unwrap().len();
        let outcome = run(&repository);
        let span = Span { begun, ended: self.log.lock().unwrap().len() };
        self.story.commands.push((name, span));
        (span, outcome)
    }

    fn snapshot(&mut self, files: &Files) -> SnapshotId {
        let (span, id) = self.command("snapshot", |repository| small::commit(repository, files, None));
        self.story.commits.insert(id, (span, files.clone()));
        id
    }

    fn forget(&mut self, id: SnapshotId) {
        let (span, ()) = self.command("forget", |repository| forget(repository, id));
        self.story.forgets.insert(id, span);
    }

    fn prune(&mut self) -> PruneSummary {
        self.command("prune", prune).1
    }

    fn end(mut self) -> Story {
        self.story.steps = std::mem::take(&mut *self.log.lock().unwrap());
        drop(self.folder);
        self.story
    }
}

fn forget(repository: &Repository, id: SnapshotId) {
    let stored = repository.snapshot(&id).unwrap().unwrap();
    let time = repository.clock().now();
    let record = Forgotten { snapshot: id, hash: stored.hash, time, reason: "test".to_owned(), extra: Vec::new() };
    let (hash, sealed) = forgotten::seal(repository.sealer(), &record).unwrap();
    repository.store().create(&ObjectName::Forgotten(id, hash).name(), &[&sealed]).unwrap();
}

/// Frees all it can, also what no forget explains: a power cut leaves packs that nobody came to need.
fn prune(repository: &Arc<Repository>) -> PruneSummary {
    let options = PruneOptions { max_unused: MaxUnused::Bytes(0), force: true, ..PruneOptions::default() };
    prune::run(repository, &options, &small::quiet(), &Stop::new()).unwrap()
}

/// In memory where that can be had: what is on it is not what is tested.
fn fast_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

impl Story {
    fn doing(&self, step: usize) -> String {
        let running = self.commands.iter().find(|(_, span)| span.begun <= step && step < span.ended);
        running.map_or_else(|| "between commands".to_owned(), |(name, span)| format!("{name}, its step {}", step - span.begun))
    }

    /// Is everything there that must be, and right?
    fn check(&self, repository: &Arc<Repository>, at: usize, more: &BTreeMap<SnapshotId, Files>, when: &str) {
        let list = repository.snapshots().unwrap();
        assert!(list.damaged.is_empty(), "{:?}", list.damaged);
        let there: BTreeSet<SnapshotId> = list.snapshots.iter().map(|stored| stored.id).collect();
        for (id, (span, _)) in &self.commits {
            let acknowledged = span.ended <= at;
            let maybe_forgotten = self.forgets.get(id).is_some_and(|forget| forget.begun < at);
            assert!(!acknowledged || maybe_forgotten || there.contains(id), "snapshot {id} was acknowledged and is gone");
            let forgotten = self.forgets.get(id).is_some_and(|forget| forget.ended <= at);
            assert!(!forgotten || !there.contains(id), "snapshot {id} was forgotten and is back");
        }
        let reader = Reader::new(repository, &Quiet).unwrap();
        for stored in &list.snapshots {
            let expected = more.get(&stored.id).or_else(|| self.commits.get(&stored.id).map(|(_, files)| files)).unwrap();
            assert_eq!(&small::restore(&reader, &stored.snapshot.root).unwrap(), expected, "snapshot {}", stored.id);
        }
        let (mut findings, _) = small::check(repository, ReadData::All);
        // A cache may say that an index file names a pack when the disk has lost that file: the next `repair index` writes another.
        findings.retain(|finding| !(finding.kind == FindingKind::IndexMissing && when.contains("later")));
        assert!(findings.is_empty(), "{when}: {findings:?}");
    }

    /// A machine that starts again with this disk.
    fn start_again(&self, store: Arc<MemoryStore>, at: usize, seed: u64) {
        let repository = match open(store.clone(), &self.line, seed, None) {
            Ok(repository) => repository,
            // Nothing was promised yet; whoever called `init` saw it fail.
            Err(error) => {
                assert!(at < self.init.ended, "it does not open: {error}");
                return;
            }
        };
        self.check(&repository, at, &BTreeMap::new(), "at first");
        // The next command, without a cache, or with one that saw what never reached the disk.
        let caches = fast_folder();
        let cache = if seed.is_multiple_of(2) { "with a cache from later" } else { "without a cache" };
        if seed.is_multiple_of(2) {
            copy(self.cache.path(), caches.path());
        }
        let open = |seed| open(store.clone(), &self.line, seed, Some(caches.path().to_owned())).unwrap();
        let mut more = BTreeMap::new();
        let prunes_first = seed & 2 == 0;
        if prunes_first {
            prune(&open(seed + 1));
            self.check(&open(seed + 2), at, &more, &format!("after a prune {cache}"));
        }
        let repository = open(seed + 3);
        // Some of it is what a snapshot had that may be gone, so it may stand in packs that nobody needed.
        let had: Vec<&Files> = self.commits.values().map(|(_, files)| files).collect();
        let mut files = had.get(seed as usize / 4 % had.len()).copied().cloned().unwrap_or_default();
        files.insert("after".to_owned(), small::noise(seed, 3_000));
        let id = small::commit(&repository, &files, None);
        more.insert(id, files);
        if !prunes_first {
            self.check(&repository, at, &more, &format!("after a snapshot {cache}"));
            prune(&open(seed + 4));
        }
        self.check(&open(seed + 5), at, &more, &format!("after a snapshot and a prune {cache}, prune first: {prunes_first}"));
    }

    /// Cuts the power after every step of the commands with these places among all.
    fn cut(&self, during: impl Fn(usize) -> bool, least_points: usize) {
        let soak = std::env::var_os("ESKER_SOAK").is_some();
        let seed = std::env::var("ESKER_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
        let any = if soak { ANY_PER_STEP_SOAK } else { ANY_PER_STEP };
        let mut choices = Choices(seed);
        let mut disk = Disk::default();
        let mut seen = HashSet::new();
        let (mut points, mut jobs) = (0, Vec::new());
        for at in 0..=self.steps.len() {
            if let Some(before) = at.checked_sub(1) {
                disk.step(&self.steps[before]);
            }
            let spans = || self.commands.iter().enumerate();
            if !spans().any(|(place, (_, span))| during(place) && (span.begun..=span.ended).contains(&at)) {
                continue;
            }
            let torn: Vec<Rest> = (0..any).map(|_| Rest::Any(choices.next(u64::MAX))).collect();
            for rest in [Rest::Dropped, Rest::Kept].into_iter().chain(torn) {
                points += 1;
                let left = disk.after_power_cut(rest);
                // What was promised differs from step to step, so a disk is looked at again where a command ended.
                let promised = self.commands.iter().filter(|(_, span)| span.ended <= at).count();
                if seen.insert((promised, left.fingerprint())) {
                    jobs.push((at, rest, left, choices.next(1 << 40)));
                }
            }
        }
        let (disks, began) = (jobs.len(), std::time::Instant::now());
        let stride = if soak { 1 } else { disks.div_ceil(DISKS_MAX) };
        let jobs: Vec<_> = jobs.into_iter().step_by(stride).collect();
        let looked_at = jobs.len();
        let failed = Mutex::new(None);
        let outcome = esker::parallel::for_each(esker::parallel::cores(), jobs.into_iter(), |(at, rest, left, seed)| {
            let run = std::panic::AssertUnwindSafe(|| self.start_again(left.store(), at, seed));
            std::panic::catch_unwind(run).map_err(|_| {
                failed.lock().unwrap().get_or_insert((at, rest));
            })
        });
        if outcome.is_err() {
            let (at, rest) = failed.lock().unwrap().unwrap();
            panic!("ESKER_SEED={seed}: power cut after step {at} ({}), the rest {rest:?}", self.doing(at));
        }
        let seconds = began.elapsed().as_secs();
        eprintln!("{} steps, {points} cuts, {disks} different disks, {looked_at} of them looked at, {seconds} s", self.steps.len());
        assert!(points >= least_points, "only {points} cuts");
    }
}

fn files(version: u64) -> Files {
    let mut files = Files::from([
        ("same".to_owned(), small::noise(1, 9_000)),
        ("long".to_owned(), small::noise(2, 64 * 70)),
        ("folder/changes".to_owned(), small::noise(100 + version, 5_000)),
    ]);
    files.insert(format!("new/{version}"), small::noise(200 + version, 700));
    files
}

#[test]
fn a_power_cut_during_snapshots_loses_nothing_that_was_acknowledged() {
    let mut author = Author::begin();
    let first = author.snapshot(&files(1));
    author.snapshot(&files(2));
    author.forget(first);
    author.snapshot(&files(3));
    author.end().cut(|_| true, 3_000);
}

#[test]
fn a_power_cut_during_forget_and_prune_loses_nothing_and_the_next_prune_finishes() {
    const KIB: usize = 1 << 10;
    let keep = small::noise(1, 150 * KIB);
    let mut author = Author::begin();
    let first = author.snapshot(&Files::from([("keep".to_owned(), keep.clone()), ("old".to_owned(), small::noise(2, 500 * KIB))]));
    let second = author.snapshot(&Files::from([("keep".to_owned(), keep), ("new".to_owned(), small::noise(3, 100 * KIB))]));
    author.forget(first);
    let repacked = author.prune();
    assert!(repacked.packs_repacked > 0 && repacked.packs_deleted > 0, "{repacked:?}");
    let small_ones: Vec<SnapshotId> = (0..10).map(|n| author.snapshot(&files(n))).collect();
    for id in small_ones.into_iter().skip(1).step_by(2).chain([second]) {
        author.forget(id);
    }
    let merged = author.prune();
    assert!(merged.index_files_replaced > 0 && merged.packs_deleted > 4 && merged.objects_cleared > 0, "{merged:?}");
    author.snapshot(&files(20));
    // The small snapshots in between are like those of the test above.
    author.end().cut(|place| !(5..15).contains(&place), 5_000);
}
