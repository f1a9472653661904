//! Writers, pruners, a forgetter and a restorer over a store that goes wrong, in an order that a seed decides: nothing acknowledged is lost.
//!
//! Each actor runs on its own thread, and one at a time: at every store request it waits until the scheduler picks it. Requests fail, lose
//! their replies, are made twice, land after their sender died; listings show or hide what is created meanwhile; processes are killed, days
//! pass, clocks are wrong. `ESKER_SEED=N` repeats one run, `ESKER_SOAK=SECONDS` tries seeds for so long.
//!
//! The same over a store that overwrites (class single maintainer): there one actor forgets and prunes, and dies as often as the others.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may fail, and says what it counted")]

mod small;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use esker::clock::{Clock, ManualClock, SeededRng, Timestamp};
use esker::crypto::ChunkType;
use esker::format::folder;
use esker::format::keyslot::Level;
use esker::format::tree::{Content, Item, Node, NodeKind};
use esker::id::SnapshotId;
use esker::monitor::{Quiet, Stop};
use esker::prune::{self, MaxUnused, PruneOptions};
use esker::repository::writer::{Named, Writer, WriterOptions};
use esker::repository::{Environment, Reader, Repository, RepositoryError, Secret};
use esker::store::{Entry, MemoryStore, Name, ReadUnit, Store, StoreError};
use esker::verify::ReadData;
use small::Files;
use zeroize::Zeroizing;

const SEEDS: u64 = 200;
const SEEDS_OVERWRITING: u64 = 120;
const ACTORS: usize = 6;

/// What may happen to a request, or did.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Event {
    Failed,
    ReplyLost,
    Doubled,
    Late,
    LateLanded,
    Hidden,
    Killed,
    DaysPassed,
    Committed,
    Pruned,
    PackDeleted,
    Forgotten,
    Restored,
}

const EVENTS: [Event; 13] = [
    Event::Failed,
    Event::ReplyLost,
    Event::Doubled,
    Event::Late,
    Event::LateLanded,
    Event::Hidden,
    Event::Killed,
    Event::DaysPassed,
    Event::Committed,
    Event::Pruned,
    Event::PackDeleted,
    Event::Forgotten,
    Event::Restored,
];

/// What one seed decides, and what came of it. Only who has the turn touches it.
struct World {
    choices: u64,
    late: Vec<(Name, Vec<u8>)>,
    events: BTreeMap<Event, u64>,
    trace: blake3::Hasher,
    expected: BTreeMap<SnapshotId, Files>,
    acknowledged: BTreeSet<SnapshotId>,
    /// Somebody began to forget it.
    forgotten: BTreeSet<SnapshotId>,
}

impl World {
    /// SplitMix64.
    fn choose(&mut self, below: u64) -> u64 {
        self.choices = self.choices.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.choices;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below.max(1)
    }
    fn count(&mut self, event: Event) {
        *self.events.entry(event).or_default() += 1;
    }
}

#[derive(Default)]
struct Turns {
    waiting: [bool; ACTORS],
    done: [bool; ACTORS],
    turn: Option<usize>,
}

struct Simulation {
    turns: Mutex<Turns>,
    changed: Condvar,
    world: Mutex<World>,
    inner: MemoryStore,
    /// A PUT of a name that is taken overwrites it.
    overwrites: bool,
    clock: ManualClock,
    owner: String,
    writer: String,
    caches: tempfile::TempDir,
}

/// The store as one process of one actor sees it.
struct Seen {
    simulation: Arc<Simulation>,
    actor: usize,
    dead: AtomicBool,
}

/// What becomes of a request.
enum Fate {
    Done,
    Not,
    WithoutReply,
    Twice,
    Later,
}

fn broken() -> StoreError {
    StoreError::failed("simulated")
}

impl Seen {
    /// Waits for the turn, and decides.
    fn request(&self, what: &str) -> Result<Fate, StoreError> {
        if self.dead.load(Ordering::SeqCst) {
            return Err(broken());
        }
        self.simulation.wait(self.actor);
        let mut world = self.simulation.world.lock().unwrap();
        world.trace.update(&[self.actor as u8]).update(what.as_bytes());
        if !world.late.is_empty() && world.choose(12) == 0 {
            let waiting = world.late.len() as u64;
            let number = world.choose(waiting) as usize;
            let (name, bytes) = world.late.swap_remove(number);
            // Create-if-absent counts when it lands.
            if self.simulation.put(&name, &[&bytes]).is_ok() {
                world.count(Event::LateLanded);
            }
        }
        let seconds = if world.choose(120) == 0 {
            world.count(Event::DaysPassed);
            86_400 * (1 + world.choose(20))
        } else {
            world.choose(90)
        };
        self.simulation.clock.advance(Duration::from_secs(seconds));
        let (event, fate) = match world.choose(1_000) {
            0..6 => (Event::Killed, if world.choose(2) == 0 { Fate::Not } else { Fate::Later }),
            6..12 => (Event::Failed, Fate::Not),
            12..20 => (Event::ReplyLost, Fate::WithoutReply),
            20..28 => (Event::Doubled, Fate::Twice),
            28..34 => (Event::Late, Fate::Later),
            _ => return Ok(Fate::Done),
        };
        world.count(event);
        self.dead.fetch_or(event == Event::Killed, Ordering::SeqCst);
        Ok(fate)
    }

    fn read<T>(&self, what: &str, name: &Name, work: impl Fn() -> Result<T, StoreError>) -> Result<T, StoreError> {
        match self.request(&format!("{what} {name}"))? {
            Fate::Done | Fate::Twice => work(),
            Fate::Not | Fate::WithoutReply | Fate::Later => Err(broken()),
        }
    }
}

impl Store for Seen {
    fn location(&self) -> String {
        "simulation".to_owned()
    }
    fn create(&self, name: &Name, parts: &[&[u8]]) -> Result<(), StoreError> {
        let put = || self.simulation.put(name, parts);
        match self.request(&format!("create {name}"))? {
            Fate::Done => put(),
            Fate::Twice => put().and_then(|()| put()),
            Fate::Not => Err(broken()),
            Fate::WithoutReply => put().and_then(|()| Err(broken())),
            Fate::Later => {
                self.simulation.world.lock().unwrap().late.push((name.clone(), parts.concat()));
                Err(broken())
            }
        }
    }
    fn replace(&self, name: &Name, parts: &[&[u8]]) -> Result<(), StoreError> {
        self.read("replace", name, || self.simulation.inner.replace(name, parts))
    }
    fn get(&self, name: &Name, size_max: u64) -> Result<Vec<u8>, StoreError> {
        self.read("get", name, || self.simulation.inner.get(name, size_max))
    }
    fn get_range(&self, name: &Name, offset: u64, length: usize) -> Result<Vec<u8>, StoreError> {
        self.read("range", name, || self.simulation.inner.get_range(name, offset, length))
    }
    fn size(&self, name: &Name) -> Result<u64, StoreError> {
        self.read("size", name, || self.simulation.inner.size(name))
    }
    fn list(&self, folder: &str, each: &mut dyn FnMut(Entry)) -> Result<(), StoreError> {
        let now = || {
            let mut names = BTreeMap::new();
            self.simulation.inner.list(folder, &mut |entry| names.extend([(entry.name, entry.size)])).map(|()| names)
        };
        // It begins with one turn and ends with another.
        self.request(&format!("list {folder}"))?;
        let before = now()?;
        let Fate::Done = self.request("listed")? else { return Err(broken()) };
        for (name, size) in now()? {
            let mut world = self.simulation.world.lock().unwrap();
            if !before.contains_key(&name) && world.choose(2) == 0 {
                world.count(Event::Hidden);
                continue;
            }
            drop(world);
            each(Entry { name, size });
        }
        Ok(())
    }
    fn delete(&self, name: &Name) -> Result<(), StoreError> {
        let inner = &self.simulation.inner;
        match self.request(&format!("delete {name}"))? {
            Fate::Not | Fate::Later => Err(broken()),
            fate => {
                inner.delete(name)?;
                if name.as_str().starts_with("packs/") {
                    self.simulation.world.lock().unwrap().count(Event::PackDeleted);
                }
                if matches!(fate, Fate::WithoutReply) { Err(broken()) } else { Ok(()) }
            }
        }
    }
    fn create_place(&self) -> Result<(), StoreError> {
        Ok(())
    }
    fn read_unit(&self) -> ReadUnit {
        ReadUnit::Exact
    }
}

/// A clock that is wrong by a constant.
struct Wrong(Arc<Simulation>, i64);

impl Clock for Wrong {
    fn now(&self) -> Timestamp {
        let now = self.0.clock.now();
        Timestamp { seconds: now.seconds + self.1, ..now }
    }
    fn monotonic(&self) -> Duration {
        self.0.clock.monotonic()
    }
}

/// Who does what in its rounds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Writes,
    Prunes,
    Forgets,
    Restores,
    /// The only one who forgets and prunes.
    Maintains,
    Rests,
}

impl Simulation {
    fn role(&self, actor: usize) -> Role {
        use Role::*;
        let roles = match self.overwrites {
            false => [Writes, Writes, Prunes, Prunes, Forgets, Restores],
            true => [Writes, Writes, Maintains, Writes, Rests, Restores],
        };
        roles[actor]
    }

    /// Create-if-absent, or what a store makes of it that ignores the condition.
    fn put(&self, name: &Name, parts: &[&[u8]]) -> Result<(), StoreError> {
        if !self.overwrites {
            return self.inner.create(name, parts);
        }
        // I3, but for revocations, of which any is as good as another, and the ballast, which says nothing.
        if let Ok(there) = self.inner.get(name, u64::MAX) {
            let same = there == parts.concat() || name.as_str().starts_with("revoked/") || name.as_str() == "ballast";
            assert!(same, "{name} was written with two contents");
        }
        self.inner.replace(name, parts)
    }

    fn new(seed: u64, overwrites: bool) -> Arc<Self> {
        let inner = MemoryStore::new();
        let world = World {
            choices: seed,
            late: Vec::new(),
            events: BTreeMap::new(),
            trace: blake3::Hasher::new(),
            expected: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            forgotten: BTreeSet::new(),
        };
        let made = Arc::new(MemoryStore::new());
        let (repository, line) =
            if overwrites { small::init_for_a_single_maintainer(made.clone()) } else { small::init(made.clone()) };
        for name in small::names(&made) {
            inner.create(&name, &[&made.get(&name, u64::MAX).unwrap()]).unwrap();
        }
        let writer = repository.export_key(Level::Writer).unwrap().to_string();
        Arc::new(Self {
            turns: Mutex::default(),
            changed: Condvar::new(),
            world: Mutex::new(world),
            inner,
            overwrites,
            clock: ManualClock::at(1_790_000_000),
            owner: line,
            writer,
            caches: tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap(),
        })
    }

    fn wait(&self, actor: usize) {
        let mut turns = self.turns.lock().unwrap();
        turns.waiting[actor] = true;
        if turns.turn == Some(actor) {
            turns.turn = None;
        }
        self.changed.notify_all();
        let mut turns = self.changed.wait_while(turns, |turns| turns.turn != Some(actor)).unwrap();
        turns.waiting[actor] = false;
    }

    fn leave(&self, actor: usize) {
        let mut turns = self.turns.lock().unwrap();
        turns.done[actor] = true;
        turns.turn = None;
        self.changed.notify_all();
    }

    /// Gives turns until everybody is done.
    fn schedule(&self) {
        loop {
            let turns = self.turns.lock().unwrap();
            let is_busy = |turns: &mut Turns| turns.turn.is_some() || (0..ACTORS).any(|a| !turns.done[a] && !turns.waiting[a]);
            let mut turns = self.changed.wait_while(turns, is_busy).unwrap();
            let ready: Vec<usize> = (0..ACTORS).filter(|&actor| !turns.done[actor]).collect();
            if ready.is_empty() {
                return;
            }
            let chosen = self.world.lock().unwrap().choose(ready.len() as u64) as usize;
            turns.turn = Some(ready[chosen]);
            self.changed.notify_all();
        }
    }

    fn process(self: &Arc<Self>, actor: usize, round: u64) -> Result<Arc<Repository>, RepositoryError> {
        // Actor 0 holds the writer key; one clock is ten years off, one a month behind.
        let line = if actor == 0 { &self.writer } else { &self.owner };
        let wrong = [0, 0, 0, 315_000_000, -2_600_000, 0][actor];
        let store = Seen { simulation: Arc::clone(self), actor, dead: AtomicBool::new(false) };
        let environment = Environment {
            store: Arc::new(store),
            clock: Arc::new(Wrong(Arc::clone(self), wrong)),
            rng: Arc::new(SeededRng::new(1_000 * round + actor as u64 + 17)),
            host: format!("host{actor}"),
            caches: Some(self.cache(actor)),
            states: None,
        };
        Repository::open(environment, &Secret::KeyLine(Zeroizing::new(line.clone())), None).map(Arc::new)
    }

    fn cache(&self, actor: usize) -> PathBuf {
        self.caches.path().join(actor.to_string())
    }

    fn choose(&self, below: u64) -> u64 {
        self.world.lock().unwrap().choose(below)
    }

    fn act(self: &Arc<Self>, actor: usize) {
        // From here on everything happens in turns.
        self.wait(actor);
        let role = self.role(actor);
        let rounds = match role {
            Role::Rests => 0,
            Role::Maintains => 9,
            _ => 3,
        };
        for round in 0..rounds {
            let outcome = self.process(actor, round).map_err(|error| error.to_string()).and_then(|repository| match role {
                Role::Writes => self.write(&repository).map_err(|error| error.to_string()),
                Role::Maintains if round % 3 == 0 => self.forget(&repository).map_err(|error| error.to_string()),
                Role::Prunes | Role::Maintains => self.prune(&repository).map_err(|error| error.to_string()),
                Role::Forgets => self.forget(&repository).map_err(|error| error.to_string()),
                Role::Restores | Role::Rests => self.restore(&repository).map_err(|error| error.to_string()),
            });
            // It failed, and said so: that is what it is for. What it said is part of what must repeat.
            self.world.lock().unwrap().trace.update(outcome.err().unwrap_or_default().as_bytes());
        }
        self.leave(actor);
    }

    fn write(&self, repository: &Arc<Repository>) -> Result<(), RepositoryError> {
        let files: Files = (0..3).map(|n| (format!("file{n}"), small::noise(self.choose(8), 2_000))).collect();
        let mut writer = Writer::begin(repository, WriterOptions::default(), &small::quiet(), &Stop::new())?;
        let id = writer.snapshot_id().unwrap();
        let root = match store_files(&mut writer, &files) {
            Ok(root) => root,
            Err(error) => {
                writer.abandon();
                return Err(error);
            }
        };
        self.world.lock().unwrap().expected.insert(id, files);
        writer.commit(&small::snapshot(id, root, None))?;
        let mut world = self.world.lock().unwrap();
        world.acknowledged.insert(id);
        world.count(Event::Committed);
        Ok(())
    }

    fn prune(&self, repository: &Arc<Repository>) -> Result<(), prune::PruneError> {
        let options = PruneOptions { max_unused: MaxUnused::Bytes(0), force: true, ..PruneOptions::default() };
        prune::run(repository, &options, &small::quiet(), &Stop::new())?;
        self.world.lock().unwrap().count(Event::Pruned);
        Ok(())
    }

    fn forget(&self, repository: &Repository) -> Result<(), RepositoryError> {
        let list = repository.snapshots()?.snapshots;
        let Some(chosen) = list.get(self.choose(list.len() as u64) as usize) else { return Ok(()) };
        self.world.lock().unwrap().forgotten.insert(chosen.id);
        repository.forget(chosen.id, chosen.hash, "test")?;
        self.world.lock().unwrap().count(Event::Forgotten);
        Ok(())
    }

    fn restore(&self, repository: &Arc<Repository>) -> Result<(), RepositoryError> {
        let list = repository.snapshots()?.snapshots;
        let reader = Reader::new(repository, &Quiet)?;
        for stored in list {
            let files = small::restore(&reader, &stored.snapshot.root)?;
            let mut world = self.world.lock().unwrap();
            assert_eq!(world.expected.get(&stored.id), Some(&files), "a restore gave other bytes");
            world.count(Event::Restored);
        }
        Ok(())
    }

    /// Nothing goes wrong any more: is everything there?
    fn check(self: &Arc<Self>) {
        for (name, bytes) in std::mem::take(&mut self.world.lock().unwrap().late) {
            let _ = self.put(&name, &[&bytes]);
        }
        let store = Arc::new(MemoryStore::new());
        for name in small::names(&self.inner) {
            store.create(&name, &[&self.inner.get(&name, u64::MAX).unwrap()]).unwrap();
        }
        for pruned in [false, true] {
            let repository = small::open(store.clone(), &self.owner).unwrap();
            if pruned {
                let options = PruneOptions { max_unused: MaxUnused::Bytes(0), force: true, ..PruneOptions::default() };
                prune::run(&repository, &options, &small::quiet(), &Stop::new()).unwrap();
            }
            let list = repository.snapshots().unwrap();
            assert!(list.damaged.is_empty());
            let world = self.world.lock().unwrap();
            for id in world.acknowledged.difference(&world.forgotten) {
                assert!(list.snapshots.iter().any(|stored| stored.id == *id), "snapshot {id} was acknowledged and is gone");
            }
            let reader = Reader::new(&repository, &Quiet).unwrap();
            // A run that was revoked and told so may leave a snapshot that is not whole.
            let revoked = repository.revoked_beside().unwrap();
            let doubtful = |id: &SnapshotId| revoked.contains(&(*id).into()) && !world.acknowledged.contains(id);
            for stored in &list.snapshots {
                match small::restore(&reader, &stored.snapshot.root) {
                    Ok(files) => assert_eq!(world.expected.get(&stored.id), Some(&files), "snapshot {}", stored.id),
                    Err(error) => assert!(doubtful(&stored.id), "snapshot {}: {error:?}", stored.id),
                }
            }
            let (findings, _) = small::check(&repository, ReadData::All);
            assert!(findings.iter().all(|finding| !finding.data_affected), "{findings:?}");
        }
    }
}

fn store_files(writer: &mut Writer, files: &Files) -> Result<Content, RepositoryError> {
    let mut nodes = Vec::new();
    for (name, bytes) in files {
        let id = writer.repository().objects().keys().chunk_id(ChunkType::Data, bytes);
        writer.place(&[Named { chunk_type: ChunkType::Data, id, bytes }])?;
        let length = bytes.len() as u64;
        nodes.push(small::node(name, NodeKind::File, length, Content { level: 0, items: vec![Item::Chunk { id, length }] }));
    }
    let content = store_folder(writer, nodes)?;
    store_folder(writer, vec![small::node("data", NodeKind::Folder, 0, content)])
}

fn store_folder(writer: &mut Writer, nodes: Vec<Node>) -> Result<Content, RepositoryError> {
    let mut builder = folder::Builder::new(&writer.repository().objects().keys().cut_key());
    let mut store = |kind, bytes: Vec<u8>| writer.place_metadata(kind, &bytes).map(|(id, _)| id);
    for node in nodes {
        builder.push(&node, &mut store)?;
    }
    builder.finish(&mut store)
}

/// Runs one seed; what happened, and a hash of every request in its order.
fn run(seed: u64, overwrites: bool) -> (BTreeMap<Event, u64>, blake3::Hash) {
    let simulation = Simulation::new(seed, overwrites);
    std::thread::scope(|scope| {
        for actor in 0..ACTORS {
            let simulation = &simulation;
            scope.spawn(move || {
                let act = std::panic::AssertUnwindSafe(|| esker::parallel::one_by_one(|| simulation.act(actor)));
                if let Err(panic) = std::panic::catch_unwind(act) {
                    // The others must not wait for it.
                    simulation.leave(actor);
                    std::panic::resume_unwind(panic);
                }
            });
        }
        simulation.schedule();
    });
    simulation.check();
    let world = simulation.world.lock().unwrap();
    (world.events.clone(), world.trace.finalize())
}

#[test]
fn nothing_acknowledged_is_lost_whatever_goes_wrong() {
    try_seeds(false, SEEDS);
}

#[test]
fn nothing_acknowledged_is_lost_where_names_are_overwritten_and_one_maintains() {
    try_seeds(true, SEEDS_OVERWRITING);
}

fn try_seeds(overwrites: bool, seeds: u64) {
    let chosen = std::env::var("ESKER_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let soak = std::env::var("ESKER_SOAK").ok().and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
    let begun = std::time::Instant::now();
    let seeds_tried = AtomicU64::new(0);
    let goes_on = |seed: &u64| match chosen {
        Some(chosen) => *seed == chosen,
        None => *seed < seeds || soak.is_some_and(|soak| begun.elapsed() < soak),
    };
    let seeds = (chosen.unwrap_or(0)..).take_while(goes_on);
    let (all, failed) = (Mutex::new(BTreeMap::<Event, u64>::new()), Mutex::new(Vec::new()));
    let _ = esker::parallel::for_each(esker::parallel::cores(), seeds, |seed| {
        match std::panic::catch_unwind(|| run(seed, overwrites)) {
            Ok((events, _)) => {
                seeds_tried.fetch_add(1, Ordering::Relaxed);
                let mut all = all.lock().unwrap();
                events.into_iter().for_each(|(event, count)| *all.entry(event).or_default() += count);
                Ok(())
            }
            Err(_) => {
                failed.lock().unwrap().push(seed);
                Err(())
            }
        }
    });
    let (all, failed) = (all.into_inner().unwrap(), failed.into_inner().unwrap());
    eprintln!("{} seeds, {:.0} s: {all:?}", seeds_tried.into_inner(), begun.elapsed().as_secs_f64());
    assert!(failed.is_empty(), "ESKER_SEED={} repeats it", failed[0]);
    if chosen.is_none() {
        let never: Vec<Event> = EVENTS.into_iter().filter(|event| !all.contains_key(event)).collect();
        assert!(never.is_empty(), "never happened: {never:?}");
    }
}

#[test]
fn a_seed_repeats_every_request() {
    for seed in 0..3 {
        for overwrites in [false, true] {
            assert_eq!(run(seed, overwrites).1, run(seed, overwrites).1, "seed {seed}");
        }
    }
}
