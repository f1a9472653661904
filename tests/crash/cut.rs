//! The power is cut after every step of a story; every disk that may be left is started again.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use esker::id::SnapshotId;
use esker::monitor::Quiet;
use esker::repository::{Reader, Repository};
use esker::store::MemoryStore;
use esker::verify::ReadData;

use crate::disk::{Choices, Disk, Rest};
use crate::small::{self, Files};
use crate::story::{Story, Wound, open, try_prune};

/// Torn and reordered disks a step, besides the one that lost everything unsynced and the one that kept it.
const ANY_PER_STEP: u64 = 20;
/// The same with `ESKER_SOAK`: more than 100,000 in all.
const ANY_PER_STEP_SOAK: u64 = 90;
/// Cuts whose disks were looked at so far, by all tests of this process.
static CUTS: AtomicU64 = AtomicU64::new(0);

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

/// One disk to start again with.
struct Job {
    at: usize,
    rest: Rest,
    disk: Arc<Disk>,
    seed: u64,
    /// Cuts that leave this disk.
    points: u64,
}

/// What is known when a machine starts again.
struct State<'a> {
    at: usize,
    more: BTreeMap<SnapshotId, Files>,
    wounds: Vec<&'a Wound>,
}

impl State<'_> {
    fn costs(&self) -> BTreeSet<SnapshotId> {
        self.wounds.iter().flat_map(|wound| &wound.costs).copied().collect()
    }
}

impl Story {
    /// Is everything there that must be, and right?
    fn check(&self, repository: &Arc<Repository>, state: &State<'_>, when: &str) {
        let costs = state.costs();
        let list = repository.snapshots().unwrap();
        assert!(list.damaged.is_empty(), "{when}: {:?}", list.damaged);
        let there: BTreeSet<SnapshotId> = list.snapshots.iter().map(|stored| stored.id).collect();
        for (id, (span, _)) in &self.commits {
            let acknowledged = span.ended <= state.at && !costs.contains(id);
            let maybe_forgotten = self.forgets.get(id).is_some_and(|forget| forget.begun < state.at);
            assert!(!acknowledged || maybe_forgotten || there.contains(id), "{when}: snapshot {id} was acknowledged and is gone");
            let forgotten = self.forgets.get(id).is_some_and(|forget| forget.ended <= state.at);
            assert!(!forgotten || !there.contains(id), "{when}: snapshot {id} was forgotten and is back");
        }
        let reader = Reader::new(repository, &Quiet).unwrap();
        let mut saved: HashSet<Vec<u8>> = HashSet::new();
        for stored in &list.snapshots {
            let found = match small::restore(&reader, &stored.snapshot.root) {
                Err(_) if costs.contains(&stored.id) => continue,
                found => found.unwrap_or_else(|error| panic!("{when}: snapshot {}: {error}", stored.id)),
            };
            match state.more.get(&stored.id).or_else(|| self.commits.get(&stored.id).map(|(_, files)| files)) {
                Some(expected) => assert!(&found == expected, "{when}: snapshot {} is another one", stored.id),
                // Made by a repair, under a name nobody could know: it holds what others held, and nothing else.
                None => saved.extend(found.into_values()),
            }
        }
        let known = |bytes: &Vec<u8>| self.commits.values().any(|(_, files)| files.values().any(|known| known == bytes));
        assert!(saved.iter().all(known), "{when}: something was made up");
        assert!(self.saved(state.at).all(|bytes| saved.contains(bytes)), "{when}: what was saved is gone");
        let (mut findings, _) = small::check(repository, ReadData::All);
        if !state.wounds.is_empty() {
            let is_explained = |snapshots: &[SnapshotId]| snapshots.iter().all(|id| costs.contains(id));
            findings.retain(|finding| finding.data_affected && !is_explained(&finding.snapshots));
        }
        assert!(findings.is_empty(), "{when}: {findings:?}");
    }

    /// A machine that starts again with this disk.
    fn start_again(&self, store: Arc<MemoryStore>, at: usize, seed: u64) {
        let repository = match open(store.clone(), &self.line, seed, None) {
            Ok(repository) => repository,
            // Nothing was promised yet; whoever called `init` saw it fail, and calls it again.
            Err(error) => {
                assert!(at < self.init.ended, "it does not open: {error}");
                let (repository, line) = small::init(store.clone());
                let files = Files::from([("a".to_owned(), small::noise(seed, 3_000))]);
                small::commit(&repository, &files, None);
                let repository = open(store, &line, seed, None).unwrap();
                assert!(small::check(&repository, ReadData::All).0.is_empty());
                return;
            }
        };
        let mut state = State { at, more: BTreeMap::new(), wounds: self.wounds(at) };
        self.check(&repository, &state, "at first");
        // The next command, without a cache, or with one that saw what never reached the disk.
        let caches = tempfile::tempdir().unwrap();
        let cache = if seed.is_multiple_of(2) { "with a cache from later" } else { "without a cache" };
        if seed.is_multiple_of(2) {
            copy(self.cache.path(), caches.path());
        }
        let open = |seed| open(store.clone(), &self.line, seed, Some(caches.path().to_owned())).unwrap();
        // What costs nothing may wait; what does is mended before anything else is done.
        let waits = seed & 4 == 0 && state.costs().is_empty();
        if !waits {
            self.mend(&open, seed, &mut state, &format!("mended {cache}"));
        }
        let prunes_first = seed & 2 == 0;
        if prunes_first {
            self.prune(&open(seed + 1), &state);
            self.check(&open(seed + 2), &state, &format!("after a prune {cache}"));
        }
        let repository = open(seed + 3);
        // Some of it is what a snapshot had that may be gone, so it may stand in packs that nobody needed.
        let had: Vec<&Files> = self.commits.values().map(|(_, files)| files).collect();
        let mut files = had.get(seed as usize / 8 % had.len()).copied().cloned().unwrap_or_default();
        files.insert("after".to_owned(), small::noise(seed, 3_000));
        let id = small::commit(&repository, &files, None);
        state.more.insert(id, files);
        if !prunes_first {
            self.check(&repository, &state, &format!("after a snapshot {cache}"));
            self.prune(&open(seed + 4), &state);
        }
        if waits {
            self.mend(&open, seed + 10, &mut state, &format!("mended late {cache}"));
        }
        self.check(&open(seed + 5), &state, &format!("after a snapshot and a prune {cache}, prune first: {prunes_first}"));
    }

    fn prune(&self, repository: &Arc<Repository>, state: &State<'_>) {
        let outcome = try_prune(repository);
        // A prune may stop before what is damaged, and then it has deleted nothing that is needed.
        assert!(outcome.is_ok() || !state.wounds.is_empty(), "{outcome:?}");
    }

    fn mend(&self, open: &impl Fn(u64) -> Arc<Repository>, seed: u64, state: &mut State<'_>, when: &str) {
        if state.wounds.iter().all(|wound| wound.mend.is_none()) {
            return;
        }
        let mut saved: Vec<&Vec<u8>> = Vec::new();
        for wound in &state.wounds {
            if let Some(mend) = &wound.mend {
                mend(&open(seed + 6));
                saved.extend(&wound.saved);
            }
        }
        state.wounds.retain(|wound| wound.mend.is_none());
        let repository = open(seed + 7);
        self.check(&repository, state, when);
        let reader = Reader::new(&repository, &Quiet).unwrap();
        let list = repository.snapshots().unwrap();
        let restored = list.snapshots.iter().filter_map(|stored| small::restore(&reader, &stored.snapshot.root).ok());
        let there: HashSet<Vec<u8>> = restored.flat_map(BTreeMap::into_values).collect();
        assert!(saved.into_iter().all(|bytes| there.contains(bytes)), "{when}: something could have been saved");
    }

    /// Cuts the power after every step of the commands with these places among all. Without `ESKER_SOAK` at most `disks_max` different
    /// disks are looked at, spread over all.
    pub fn cut(&self, during: impl Fn(usize) -> bool, disks_max: usize, least_points: u64) {
        let soak = std::env::var_os("ESKER_SOAK").is_some();
        let seed = std::env::var("ESKER_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
        let any = if soak { ANY_PER_STEP_SOAK } else { ANY_PER_STEP };
        let mut choices = Choices(seed);
        let mut disk = Disk::default();
        let mut seen = std::collections::HashMap::new();
        let (mut points, mut jobs) = (0, Vec::<Job>::new());
        for at in 0..=self.steps.len() {
            if let Some(before) = at.checked_sub(1) {
                disk.step(&self.steps[before]);
            }
            let spans = || self.commands.iter().enumerate();
            if !spans().any(|(place, (_, span))| during(place) && (span.begun..=span.ended).contains(&at)) {
                continue;
            }
            // What was promised differs from step to step, so a disk is looked at again where a command ended.
            let promised = self.commands.iter().filter(|(_, span)| span.ended <= at).count();
            let here = Arc::new(disk.clone());
            let torn: Vec<Rest> = (0..any).map(|_| Rest::Any(choices.next(u64::MAX))).collect();
            for rest in [Rest::Dropped, Rest::Kept].into_iter().chain(torn) {
                points += 1;
                let place = *seen.entry((promised, disk.after_power_cut(rest).fingerprint())).or_insert_with(|| {
                    jobs.push(Job { at, rest, disk: Arc::clone(&here), seed: choices.next(1 << 40), points: 0 });
                    jobs.len() - 1
                });
                jobs[place].points += 1;
            }
        }
        let (disks, began) = (jobs.len(), std::time::Instant::now());
        let stride = if soak { 1 } else { disks.div_ceil(disks_max) };
        let jobs: Vec<Job> = jobs.into_iter().step_by(stride).collect();
        let looked_at = jobs.len();
        let covered: u64 = jobs.iter().map(|job| job.points).sum();
        let failed = Mutex::new(None);
        let outcome = esker::parallel::for_each(esker::parallel::cores(), jobs.into_iter(), |job| {
            let run = std::panic::AssertUnwindSafe(|| {
                self.start_again(job.disk.after_power_cut(job.rest).store(), job.at, job.seed);
            });
            std::panic::catch_unwind(run).map_err(|_| {
                failed.lock().unwrap().get_or_insert((job.at, job.rest, job.seed));
            })
        });
        if outcome.is_err() {
            let (at, rest, next) = failed.lock().unwrap().unwrap();
            panic!("ESKER_SEED={seed}: power cut after step {at} ({}), the rest {rest:?}, then {next}", self.doing(at));
        }
        let seconds = began.elapsed().as_secs();
        let all = CUTS.fetch_add(covered, Ordering::Relaxed) + covered;
        eprintln!(
            "{} steps, {points} cuts, {disks} different disks; {looked_at} looked at, which {covered} cuts leave, {seconds} s; \
             {all} cuts in this run so far",
            self.steps.len()
        );
        assert!(covered >= least_points, "only {covered} cuts");
    }
}
