//! A workload over a real [`LocalStore`] that tells what it asks of the file system, with damage done to the disk on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use esker::clock::{ManualClock, SeededRng};
use esker::id::SnapshotId;
use esker::monitor::Stop;
use esker::prune::{self, MaxUnused, PruneError, PruneOptions, PruneSummary};
use esker::repository::{Environment, Repository, RepositoryError, Secret};
use esker::store::{DiskStep, LocalStore, MemoryStore, Name, Store};
use zeroize::Zeroizing;

use crate::small::{self, Files};

/// From when a command began to when it returned, in steps on the disk.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub begun: usize,
    pub ended: usize,
}

/// Mends what is damaged, as the next command of a user does.
pub type Mend = Arc<dyn Fn(&Arc<Repository>) + Send + Sync>;

/// Something of the disk that is not as it was written, for a while.
#[derive(Clone)]
pub struct Wound {
    /// Over these steps: from when it was made to when the command that ends it returned.
    pub span: Span,
    /// Snapshots that may be unreadable meanwhile, or gone; without any everything restores.
    pub costs: BTreeSet<SnapshotId>,
    /// What makes it good; none if only time does.
    pub mend: Option<Mend>,
    /// What some snapshot must hold once it is mended, whatever the snapshot is called.
    pub saved: Vec<Vec<u8>>,
}

/// A workload that ran to its end.
pub struct Story {
    pub steps: Vec<DiskStep>,
    pub line: String,
    pub init: Span,
    pub commits: BTreeMap<SnapshotId, (Span, Files)>,
    pub forgets: BTreeMap<SnapshotId, Span>,
    /// The commands and where they ended, for messages.
    pub commands: Vec<(&'static str, Span)>,
    pub cache: tempfile::TempDir,
    wounds: Vec<Wound>,
}

impl Story {
    /// What is damaged when the power goes after this many steps.
    pub fn wounds(&self, at: usize) -> Vec<&Wound> {
        self.wounds.iter().filter(|wound| wound.span.begun <= at && at < wound.span.ended).collect()
    }

    /// What mending has saved before this many steps: it is there for good.
    pub fn saved(&self, at: usize) -> impl Iterator<Item = &Vec<u8>> {
        self.wounds.iter().filter(move |wound| wound.span.ended <= at).flat_map(|wound| &wound.saved)
    }

    pub fn doing(&self, step: usize) -> String {
        let running = self.commands.iter().find(|(_, span)| span.begun <= step && step < span.ended);
        running.map_or_else(|| "between commands".to_owned(), |(name, span)| format!("{name}, its step {}", step - span.begun))
    }
}

/// A workload while it runs.
pub struct Author {
    pub store: Arc<LocalStore>,
    log: Arc<Mutex<Vec<DiskStep>>>,
    folder: tempfile::TempDir,
    seed: u64,
    story: Story,
}

fn environment(store: Arc<dyn Store>, seed: u64, caches: Option<PathBuf>) -> Environment {
    let (clock, rng) = (Arc::new(ManualClock::at(1_790_000_000)), Arc::new(SeededRng::new(seed)));
    Environment { store, clock, rng, host: "host".to_owned(), caches, states: None }
}

pub fn open(store: Arc<dyn Store>, line: &str, seed: u64, caches: Option<PathBuf>) -> Result<Arc<Repository>, RepositoryError> {
    let secret = Secret::KeyLine(Zeroizing::new(line.to_owned()));
    Repository::open(environment(store, seed, caches), &secret, None).map(Arc::new)
}

impl Author {
    pub fn begin(parity_percent: u8) -> Self {
        small::hurry();
        let folder = tempfile::tempdir().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&log);
        let watch = Box::new(move |step: DiskStep| told.lock().unwrap().push(step));
        let store = Arc::new(LocalStore::watched(folder.path().join("repository"), watch));
        let (_, line) = small::init_with_parity(store.clone(), parity_percent);
        let init = Span { begun: 0, ended: log.lock().unwrap().len() };
        let story = Story {
            steps: Vec::new(),
            line,
            init,
            commits: BTreeMap::new(),
            forgets: BTreeMap::new(),
            commands: vec![("init", init)],
            cache: tempfile::tempdir().unwrap(),
            wounds: Vec::new(),
        };
        Self { store, log, folder, seed: 100, story }
    }

    pub fn open(&mut self) -> Arc<Repository> {
        self.seed += 1;
        open(self.store.clone(), &self.story.line, self.seed, Some(self.story.cache.path().to_owned())).unwrap()
    }

    fn now(&self) -> usize {
        self.log.lock().unwrap().len()
    }

    pub fn command<T>(&mut self, name: &'static str, run: impl FnOnce(&Arc<Repository>) -> T) -> (Span, T) {
        let repository = self.open();
        let begun = self.now();
        let outcome = run(&repository);
        let span = Span { begun, ended: self.now() };
        self.story.commands.push((name, span));
        (span, outcome)
    }

    pub fn snapshot(&mut self, files: &Files) -> SnapshotId {
        let (span, id) = self.command("snapshot", |repository| small::commit(repository, files, None));
        self.story.commits.insert(id, (span, files.clone()));
        id
    }

    pub fn forget(&mut self, id: SnapshotId) {
        let (span, ()) = self.command("forget", |repository| forget(repository, id));
        self.story.forgets.insert(id, span);
    }

    pub fn prune(&mut self) -> PruneSummary {
        self.command("prune", try_prune).1.unwrap()
    }

    /// Wounds the disk, and runs the command that makes it good.
    pub fn wound_and_mend(
        &mut self,
        name: &'static str,
        wound: impl FnOnce(&mut Self) -> (BTreeSet<SnapshotId>, Vec<Vec<u8>>),
        mend: impl Fn(&Arc<Repository>) + Send + Sync + 'static,
    ) {
        let (costs, saved) = wound(self);
        let begun = self.now();
        let mend: Mend = Arc::new(mend);
        let (span, ()) = self.command(name, |repository| mend(repository));
        self.story.wounds.push(Wound { span: Span { begun, ..span }, costs, mend: Some(mend), saved });
    }

    /// From `begun` until now (or for ever) these snapshots could not be read whole.
    pub fn cost(&mut self, begun: usize, ended: Option<usize>, costs: BTreeSet<SnapshotId>) {
        let span = Span { begun, ended: ended.unwrap_or(usize::MAX) };
        self.story.wounds.push(Wound { span, costs, mend: None, saved: Vec::new() });
    }

    /// The number of steps so far.
    pub fn steps(&self) -> usize {
        self.now()
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.folder.path().join("repository").join(name.as_str())
    }

    fn tell(&self, steps: impl IntoIterator<Item = DiskStep>) {
        self.log.lock().unwrap().extend(steps);
    }

    /// Bytes rot on the disk: what stands there now was there after any power cut.
    pub fn rot(&mut self, name: &Name, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = std::fs::read(self.path(name)).unwrap();
        change(&mut bytes);
        std::fs::write(self.path(name), &bytes).unwrap();
        let (from, to) = (format!("tmp/rot-{}", self.now()), name.to_string());
        let folder = to.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        self.tell([
            DiskStep::Written(from.clone(), bytes),
            DiskStep::Synced(from.clone()),
            DiskStep::Moved(from, to),
            DiskStep::FolderSynced(folder),
        ]);
    }

    /// A file is gone from the disk.
    pub fn lose(&mut self, name: &Name) {
        std::fs::remove_file(self.path(name)).unwrap();
        let folder = name.as_str().rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        self.tell([DiskStep::Removed(name.to_string()), DiskStep::FolderSynced(folder)]);
    }

    pub fn names(&self, folder: &str) -> Vec<Name> {
        let mut names = Vec::new();
        self.store.list(folder, &mut |entry| names.push(entry.name)).unwrap();
        names.sort();
        names
    }

    /// A copy of all that is there.
    pub fn mirror(&self) -> Arc<MemoryStore> {
        let mirror = MemoryStore::new();
        mirror.create_place().unwrap();
        for name in self.names("") {
            mirror.create(&name, &[&self.store.get(&name, u64::MAX).unwrap()]).unwrap();
        }
        Arc::new(mirror)
    }

    pub fn end(mut self) -> Story {
        self.story.steps = std::mem::take(&mut *self.log.lock().unwrap());
        drop(self.folder);
        self.story
    }
}

pub fn forget(repository: &Repository, id: SnapshotId) {
    repository.forget(id, repository.snapshot_hash(&id).unwrap(), "test").unwrap();
}

/// Frees all it can, also what no forget explains: a power cut leaves packs that nobody came to need.
pub fn try_prune(repository: &Arc<Repository>) -> Result<PruneSummary, PruneError> {
    let options = PruneOptions { max_unused: MaxUnused::Bytes(0), force: true, ..PruneOptions::default() };
    prune::run(repository, &options, &small::quiet(), &Stop::new())
}
