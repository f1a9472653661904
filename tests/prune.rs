//! Forgetting frees space, and nothing that is needed goes: step by step against a writer, killed anywhere, lied to, on a full disk.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may fail, and says what it measured")]

mod small;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use esker::clock::{Clock, ManualClock};
use esker::crypto::Passphrase;
use esker::format::config::{self, Config, StoreClass};
use esker::format::gc::{self, Condemn, Verdict};
use esker::format::index;
use esker::format::keyslot::Level;
use esker::format::names::{self, ObjectName};
use esker::format::tree::{Content, Item, NodeKind};
use esker::id::{ObjectHash, PackId, SnapshotId};
use esker::monitor::Stop;
use esker::prune::{self, MaxUnused, PruneError, PruneOptions, PruneSummary, Pruner};
use esker::repository::writer::{Writer, WriterOptions};
use esker::repository::{Environment, Reader, Repository, Secret};
use esker::store::faults::{FaultyStore, Verb};
use esker::store::{MemoryStore, Name, Store};
use esker::verify::ReadData;
use small::meanwhile::Meanwhile;
use small::{Files, chunk_id, noise};
use zeroize::Zeroizing;

/// Everything around one repository in memory.
struct Place {
    store: Arc<FaultyStore<MemoryStore>>,
    clock: Arc<ManualClock>,
    seeds: AtomicU64,
    owner: String,
    writer: String,
    caches: tempfile::TempDir,
    /// What each snapshot must restore to.
    expected: BTreeMap<SnapshotId, Files>,
}

impl Place {
    fn new() -> Self {
        let store = Arc::new(FaultyStore::new(MemoryStore::new()));
        let clock = Arc::new(ManualClock::at(1_790_000_000));
        let mut place = Self {
            store,
            clock,
            seeds: AtomicU64::new(1),
            owner: String::new(),
            writer: String::new(),
            caches: tempfile::tempdir().unwrap(),
            expected: BTreeMap::new(),
        };
        let password = Passphrase::new(small::PASSWORD.to_owned());
        let made = Repository::init(place.environment(), &password, &small::cheapest()).unwrap().repository;
        place.owner = made.export_key(Level::Owner).unwrap().to_string();
        place.writer = made.export_key(Level::Writer).unwrap().to_string();
        place
    }

    fn environment(&self) -> Environment {
        Environment {
            clock: self.clock.clone(),
            caches: Some(self.caches.path().to_owned()),
            ..small::environment(self.store.clone(), self.seeds.fetch_add(1, Ordering::SeqCst))
        }
    }

    fn with(&self, line: &str) -> Arc<Repository> {
        small::open_in(self.environment(), line).unwrap()
    }

    fn open(&self) -> Arc<Repository> {
        self.with(&self.owner)
    }

    fn commit(&mut self, files: &[(&str, Vec<u8>)]) -> SnapshotId {
        let files: Files = files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.clone())).collect();
        let id = small::commit(&self.open(), &files, None);
        self.expected.insert(id, files);
        id
    }

    fn forget(&mut self, id: SnapshotId) {
        let repository = self.open();
        repository.forget(id, repository.snapshot_hash(&id).unwrap(), "test").unwrap();
        self.expected.remove(&id);
    }

    fn pruner(&self, options: PruneOptions) -> Pruner {
        Pruner::begin(&self.open(), options, &small::quiet(), &Stop::new()).unwrap()
    }

    fn try_prune(&self, options: PruneOptions) -> Result<PruneSummary, PruneError> {
        prune::run(&self.open(), &options, &small::quiet(), &Stop::new())
    }

    fn prune(&self) -> PruneSummary {
        self.try_prune(PruneOptions::default()).unwrap()
    }

    fn prune_everything(&self) -> PruneSummary {
        self.try_prune(PruneOptions { max_unused: MaxUnused::Bytes(0), ..PruneOptions::default() }).unwrap()
    }

    fn packs(&self) -> BTreeMap<PackId, u64> {
        let mut packs = BTreeMap::new();
        self.store
            .inner()
            .list(names::PACKS, &mut |entry| _ = packs.insert(names::parse_pack(&entry.name).unwrap(), entry.size))
            .unwrap();
        packs
    }

    /// Packs that index files tell of.
    fn named(&self) -> BTreeSet<PackId> {
        let repository = self.open();
        let mut named = BTreeSet::new();
        for name in self.names(names::INDEX) {
            let name = Name::new(name.as_str()).unwrap();
            let sealed = self.store.get(&name, u64::MAX).unwrap();
            let file = index::open(repository.objects().opener(), names::parse_index(&name).unwrap(), &sealed).unwrap();
            named.extend(file.packs.iter().map(|facts| facts.id));
        }
        named
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let mut found = Vec::new();
        self.store.inner().list(folder, &mut |entry| found.push(entry.name.to_string())).unwrap();
        found.sort();
        found
    }

    /// Every snapshot that should be there is, and gives back every byte; nothing is damaged.
    fn check(&self) {
        let repository = self.open();
        let list = repository.snapshots().unwrap();
        let ids: Vec<SnapshotId> = list.snapshots.iter().map(|stored| stored.id).collect();
        assert!(list.damaged.is_empty());
        assert_eq!(ids.len(), self.expected.len());
        let reader = Reader::new(&repository, &esker::monitor::Quiet).unwrap();
        for stored in &list.snapshots {
            let files = small::restore(&reader, &stored.snapshot.root).unwrap();
            assert!(self.expected.get(&stored.id) == Some(&files), "snapshot {} restores to something else", stored.id);
        }
        let (findings, _) = small::check(&repository, ReadData::All);
        assert!(findings.iter().all(|finding| !finding.data_affected), "{findings:?}");
    }

    fn begin(&self) -> Writer {
        Writer::begin(&self.open(), WriterOptions::default(), &small::quiet(), &Stop::new()).unwrap()
    }

    /// Commits one file made of one chunk through a writer that is already running.
    fn finish(&mut self, mut writer: Writer, bytes: &[u8]) -> SnapshotId {
        small::place_chunk(&mut writer, bytes);
        let id = small::commit_chunk(writer, bytes);
        self.expected.insert(id, Files::from([("file".to_owned(), bytes.to_vec())]));
        id
    }

    /// As if the store had no create-if-absent.
    fn single_maintainer(&mut self) {
        self.second_config(|config| Config { class: StoreClass::SingleMaintainer, ..config });
    }

    /// Writes config 2: the first one, changed.
    fn second_config(&mut self, change: impl FnOnce(Config) -> Config) {
        let repository = self.open();
        let first = self.store.get(&ObjectName::Config(1).name(), 1 << 20).unwrap();
        let config = change(Config { number: 2, previous: names::hash_of(&[&first]), ..repository.config().clone() });
        let sealed = config::seal(repository.objects().sealer(), &config).unwrap();
        self.store.create(&ObjectName::Config(2).name(), &[&sealed]).unwrap();
    }

    /// A snapshot of one file made of one chunk.
    fn commit_one(&mut self, bytes: &[u8]) -> SnapshotId {
        let writer = self.begin();
        self.finish(writer, bytes)
    }

    /// Stores a chunk or uses the one that is there; was it new?
    fn place(&self, writer: &mut Writer, bytes: &[u8]) -> bool {
        small::place_chunk(writer, bytes)
    }

    /// Lets a writer acknowledge.
    fn acknowledge(&self, writer: &mut Writer) {
        self.clock.advance(Duration::from_secs(601));
        writer.place(&[]).unwrap();
    }
}

const KIB: usize = 1 << 10;

/// What was forgotten and stored anew, and what stays: sized so that packs are few.
struct Scene {
    place: Place,
    old: Vec<u8>,
}

impl Scene {
    /// One snapshot is forgotten; its chunk is wanted again. Another shares a pack with something that stays.
    fn new() -> Self {
        let mut place = Place::new();
        let old = noise(1, 200 * KIB);
        let forgotten = place.commit_one(&old);
        let partly = place.commit(&[("a", noise(5, 40 * KIB)), ("b", noise(6, 150 * KIB))]);
        place.commit(&[("a", noise(5, 40 * KIB)), ("c", noise(2, 900 * KIB))]);
        place.forget(forgotten);
        place.forget(partly);
        Self { place, old }
    }

    /// The same repository through another store, in another process: a cache of its own.
    fn opened(&self, store: Arc<dyn Store>, caches: &tempfile::TempDir) -> Arc<Repository> {
        let environment = Environment { store, caches: Some(caches.path().to_owned()), ..self.place.environment() };
        small::open_in(environment, &self.place.owner).unwrap()
    }
}

fn everything() -> PruneOptions {
    PruneOptions { max_unused: MaxUnused::Bytes(0), ..PruneOptions::default() }
}

/// Commits one file of one chunk; its id.
fn snapshot_of(repository: &Arc<Repository>, bytes: &[u8]) -> SnapshotId {
    let mut writer = small::writer(repository);
    small::place_chunk(&mut writer, bytes);
    small::commit_chunk(writer, bytes)
}

#[test]
fn a_whole_snapshot_before_any_call_of_a_prune_loses_nothing() {
    for nth in 0.. {
        let mut scene = Scene::new();
        let (other_cache, committed) = (tempfile::tempdir().unwrap(), Arc::new(Mutex::new(None)));
        let writer = scene.opened(scene.place.store.clone(), &other_cache);
        let (old, id) = (scene.old.clone(), Arc::clone(&committed));
        let store = Meanwhile::new(scene.place.store.clone(), nth, move || *id.lock().unwrap() = Some(snapshot_of(&writer, &old)));
        let cache = tempfile::tempdir().unwrap();
        // Opening is not what is looked at.
        let repository = scene.opened(store.clone(), &cache);
        let _ = prune::run(&repository, &everything(), &small::quiet(), &Stop::new()).unwrap();
        let made = *committed.lock().unwrap();
        if let Some(made) = made {
            scene.place.expected.insert(made, Files::from([("file".to_owned(), scene.old.clone())]));
        }
        scene.place.check();
        scene.place.prune_everything();
        scene.place.check();
        if store.is_left() {
            eprintln!("a snapshot before each of {nth} calls of a prune");
            assert!(nth > 40);
            break;
        }
    }
}

#[test]
fn a_whole_prune_before_any_call_of_a_snapshot_loses_nothing() {
    for nth in 0.. {
        let mut scene = Scene::new();
        let other_cache = tempfile::tempdir().unwrap();
        let pruner = scene.opened(scene.place.store.clone(), &other_cache);
        let store = Meanwhile::new(scene.place.store.clone(), nth, move || {
            prune::run(&pruner, &everything(), &small::quiet(), &Stop::new()).unwrap();
        });
        let cache = tempfile::tempdir().unwrap();
        let repository = scene.opened(store.clone(), &cache);
        let made = snapshot_of(&repository, &scene.old);
        scene.place.expected.insert(made, Files::from([("file".to_owned(), scene.old.clone())]));
        scene.place.check();
        let summary = scene.place.prune_everything();
        assert_eq!(summary.packs_waiting, 0, "{summary:?}");
        scene.place.check();
        if store.is_left() {
            eprintln!("a prune before each of {nth} calls of a snapshot");
            assert!(nth > 10);
            break;
        }
    }
}

#[test]
fn a_prune_beside_a_prune_before_any_call_loses_nothing() {
    for nth in 0.. {
        let scene = Scene::new();
        let other_cache = tempfile::tempdir().unwrap();
        let other = scene.opened(scene.place.store.clone(), &other_cache);
        let store = Meanwhile::new(scene.place.store.clone(), nth, move || {
            prune::run(&other, &everything(), &small::quiet(), &Stop::new()).unwrap();
        });
        let cache = tempfile::tempdir().unwrap();
        let repository = scene.opened(store.clone(), &cache);
        let _ = prune::run(&repository, &everything(), &small::quiet(), &Stop::new()).unwrap();
        scene.place.check();
        scene.place.prune_everything();
        scene.place.check();
        assert!(scene.place.packs().values().sum::<u64>() < 1300 * KIB as u64);
        if store.is_left() {
            eprintln!("a prune before each of {nth} calls of a prune");
            break;
        }
    }
}

#[test]
fn a_prune_before_any_call_of_a_restore_takes_nothing_from_it() {
    for nth in 0.. {
        let scene = Scene::new();
        let other_cache = tempfile::tempdir().unwrap();
        let pruner = scene.opened(scene.place.store.clone(), &other_cache);
        let store = Meanwhile::new(scene.place.store.clone(), nth, move || {
            prune::run(&pruner, &everything(), &small::quiet(), &Stop::new()).unwrap();
        });
        let cache = tempfile::tempdir().unwrap();
        let repository = scene.opened(store.clone(), &cache);
        let list = repository.snapshots().unwrap();
        let reader = Reader::new(&repository, &esker::monitor::Quiet).unwrap();
        for stored in list.snapshots.iter().filter(|stored| scene.place.expected.contains_key(&stored.id)) {
            assert_eq!(Some(&small::restore(&reader, &stored.snapshot.root).unwrap()), scene.place.expected.get(&stored.id));
        }
        if store.is_left() {
            break;
        }
    }
}

#[test]
fn whatever_is_condemned_only_what_nobody_needs_is_deleted() {
    let build = || {
        let mut place = Place::new();
        let old = place.commit_one(&noise(1, 100 * KIB));
        place.commit(&[("a", noise(2, 300 * KIB)), ("b", noise(3, 20 * KIB))]);
        // The same chunks once more, from a host that did not know them.
        place.caches = tempfile::tempdir().unwrap();
        let hidden: Vec<Name> = place.names("index").iter().map(|name| Name::new(name.clone()).unwrap()).collect();
        for name in &hidden {
            place.store.delete(name).unwrap();
        }
        let repository = place.with(&place.writer);
        let again = Files::from([("a".to_owned(), noise(2, 300 * KIB)), ("b".to_owned(), noise(3, 20 * KIB))]);
        let id = small::commit(&repository, &again, None);
        place.expected.insert(id, again);
        place.forget(old);
        place
    };
    let packs: Vec<PackId> = build().packs().into_keys().collect();
    assert_eq!(packs.len(), 6);
    for chosen in 1..1u32 << packs.len() {
        let place = build();
        let packs: Vec<PackId> =
            place.packs().into_keys().enumerate().filter(|(n, _)| chosen >> n & 1 == 1).map(|(_, id)| id).collect();
        let sealed = gc::seal_condemn(place.open().objects().sealer(), &condemn(1, &packs)).unwrap();
        place.store.create(&ObjectName::GcCondemn(1).name(), &[&sealed]).unwrap();
        assert!(!place.pruner(PruneOptions::default()).sweep().unwrap());
        place.check();
    }
}

#[test]
fn a_copy_that_does_not_give_its_chunk_saves_no_other_copy_from_being_needed() {
    let mut place = Place::new();
    let bytes = noise(1, 100 * KIB);
    place.commit_one(&bytes);
    let first: Vec<PackId> = place.packs().into_keys().collect();
    place.caches = tempfile::tempdir().unwrap();
    for name in place.names("index") {
        place.store.delete(&Name::new(name).unwrap()).unwrap();
    }
    let repository = place.with(&place.writer);
    let id = snapshot_of(&repository, &bytes);
    place.expected.insert(id, Files::from([("file".to_owned(), bytes)]));
    // The frames of the second copies are damaged; their directories open, and say that everything is there.
    for (id, size) in place.packs().into_iter().filter(|(id, _)| !first.contains(id)) {
        let name = names::pack_name(id);
        let mut pack = place.store.get(&name, 80 << 20).unwrap();
        for byte in &mut pack[400..size as usize] {
            *byte ^= 1;
        }
        place.store.replace(&name, &[&pack]).unwrap();
    }
    let mut packs = first.clone();
    packs.sort_unstable();
    let sealed = gc::seal_condemn(place.open().objects().sealer(), &condemn(1, &packs)).unwrap();
    place.store.create(&ObjectName::GcCondemn(1).name(), &[&sealed]).unwrap();
    let mut pruner = place.pruner(PruneOptions::default());
    assert!(!pruner.sweep().unwrap());
    assert_eq!((pruner.summary().packs_pardoned, pruner.summary().packs_deleted), (first.len() as u64, 0));
}

#[test]
fn without_create_if_absent_a_revocation_stands_beside_and_the_snapshot_it_missed_stays() {
    let mut place = Place::new();
    place.single_maintainer();
    let old = place.commit_one(&noise(1, 300 * KIB));
    place.commit(&[("kept", noise(2, 3000 * KIB))]);
    place.forget(old);
    let mut writer = place.begin();
    place.place(&mut writer, &noise(9, 100 * KIB));
    assert_eq!(place.prune().packs_deleted, 0);
    place.clock.advance(Duration::from_secs(15 * 24 * 3600));
    let summary = place.prune();
    assert_eq!((summary.sessions_revoked, summary.packs_waiting), (1, 0), "{summary:?}");
    assert_eq!(place.names("revoked").len(), 1);
    // The writer was only asleep: its commit is written, and it learns that it does not count.
    let bytes = noise(9, 100 * KIB);
    let id = chunk_id(writer.repository(), &bytes);
    let node = small::node(
        "file",
        NodeKind::File,
        bytes.len() as u64,
        Content { level: 0, items: vec![Item::Chunk { id, length: bytes.len() as u64 }] },
    );
    let content = small::store_folder(&mut writer, vec![node]);
    let root = small::store_folder(&mut writer, vec![small::node("data", NodeKind::Folder, 0, content)]);
    let sid = writer.snapshot_id().unwrap();
    assert!(matches!(writer.commit(&small::snapshot(sid, root, None)), Err(esker::repository::RepositoryError::Revoked)));
    // Doubtful as it is, prune keeps what is there of it, and what is gone stops nothing.
    place.prune();
    let repository = place.open();
    let reader = Reader::new(&repository, &esker::monitor::Quiet).unwrap();
    let stored = repository.snapshot(&sid).unwrap().unwrap();
    assert!(small::restore(&reader, &stored.snapshot.root).is_ok());
}

#[test]
fn a_prune_beside_verify_is_no_damage() {
    for nth in (0..).step_by(3) {
        let scene = Scene::new();
        let other_cache = tempfile::tempdir().unwrap();
        let pruner = scene.opened(scene.place.store.clone(), &other_cache);
        let store = Meanwhile::new(scene.place.store.clone(), nth, move || {
            prune::run(&pruner, &everything(), &small::quiet(), &Stop::new()).unwrap();
        });
        let cache = tempfile::tempdir().unwrap();
        let repository = scene.opened(store.clone(), &cache);
        let (findings, _) = small::check(&repository, ReadData::All);
        assert!(findings.is_empty(), "before call {nth}: {findings:?}");
        if store.is_left() {
            break;
        }
    }
}

#[test]
fn what_was_forgotten_is_freed_and_the_rest_restores_to_the_byte() {
    let mut place = Place::new();
    let shared = noise(1, 200 * KIB);
    let old = place.commit(&[("shared", shared.clone()), ("old", noise(2, 3000 * KIB))]);
    place.commit(&[("shared", shared), ("new/a", noise(3, 2000 * KIB)), ("new/b", noise(4, 3000 * KIB))]);
    let before: u64 = place.packs().values().sum();
    assert_eq!(place.prune().packs_deleted, 0, "nothing was forgotten yet");
    place.forget(old);
    let summary = place.prune_everything();
    let after: u64 = place.packs().values().sum();
    assert!(summary.bytes_deleted > 3000 * KIB as u64 && summary.packs_waiting == 0, "{summary:?}");
    assert!(before - after > 2900 * KIB as u64, "{before} to {after}");
    place.check();
    assert!(!place.names("snapshots").iter().any(|name| name.ends_with(&old.to_hex())), "the forgotten object was cleared away");
    assert!(place.names("sessions").is_empty(), "{:?}", place.names("sessions"));
    assert_eq!(place.names("forgotten").len(), 1, "tombstones stay");
    assert_eq!(place.names("gc").len(), 2, "gc records stay");
}

#[test]
fn a_second_prune_right_after_it_only_lists() {
    let mut place = Place::new();
    let old = place.commit(&[("old", noise(1, 500 * KIB))]);
    place.commit(&[("new", noise(2, 2500 * KIB))]);
    place.forget(old);
    place.store.take_calls();
    place.prune();
    let first = place.store.take_calls();
    let summary = place.prune();
    let second: Vec<_> = place.store.take_calls().into_iter().filter(|call| !call.name.starts_with("config")).collect();
    eprintln!("requests: first prune {}, second prune {}", first.len(), second.len());
    assert!(summary.settled);
    assert!(second.iter().all(|call| call.verb == Verb::List), "{second:?}");
    assert!(second.len() <= 7, "{second:?}");
    place.check();
}

#[test]
fn marking_reads_no_data_pack() {
    let mut place = Place::new();
    for n in 0..4 {
        place.commit(&[("file", noise(n, 1000 * KIB)), ("other", noise(50 + n, 300 * KIB))]);
    }
    place.prune();
    place.commit(&[("file", noise(9, 1000 * KIB))]);
    place.store.take_calls();
    place.prune();
    let read: u64 = place.store.take_calls().iter().filter(|call| call.name.starts_with("packs/")).map(|call| call.bytes).sum();
    let metadata = 5 * 64 * KIB as u64;
    eprintln!("bytes of packs read to mark: {read}");
    assert!(read <= metadata + 2 * 64 * KIB as u64, "{read} bytes: the new packs' fronts and every metadata pack are less");
}

#[test]
fn a_running_snapshot_keeps_what_it_used_before_it_was_condemned() {
    let mut place = Place::new();
    let used = noise(1, 300 * KIB);
    let old = place.commit_one(&used);
    place.commit(&[("kept", noise(2, 3000 * KIB))]);
    let mut writer = place.begin();
    assert!(!place.place(&mut writer, &used), "known");
    place.forget(old);
    let mut pruner = place.pruner(PruneOptions::default());
    assert!(pruner.condemn().unwrap());
    let packs = place.packs();
    assert!(pruner.sweep().unwrap(), "the writer has not acknowledged");
    assert_eq!(pruner.summary().waiting.len(), 1);
    assert_eq!(place.packs(), packs);
    place.acknowledge(&mut writer);
    assert!(!pruner.sweep().unwrap());
    assert_eq!(pruner.summary().packs_pardoned, 1, "the data pack is pinned; {:?}", pruner.summary());
    assert!(pruner.summary().packs_deleted >= 1, "its tree is not");
    place.finish(writer, &used);
    place.check();
    // What it pinned is pardoned; what it stored again after it had to let go of the pack is there twice, and one of both goes.
    assert_eq!(place.prune().packs_deleted, 1);
    place.check();
}

#[test]
fn a_snapshot_that_commits_while_a_prune_waits_keeps_what_it_needs() {
    let mut place = Place::new();
    let used = noise(1, 300 * KIB);
    let old = place.commit_one(&used);
    place.commit(&[("kept", noise(2, 3000 * KIB))]);
    let mut writer = place.begin();
    place.place(&mut writer, &used);
    place.forget(old);
    let mut pruner = place.pruner(PruneOptions::default());
    assert!(pruner.condemn().unwrap());
    // Its last acknowledgement comes before the commit, and pins.
    place.finish(writer, &used);
    // Condemned, and not decided: it can still be read.
    place.check();
    assert!(!pruner.sweep().unwrap());
    assert_eq!((pruner.summary().packs_pardoned, pruner.summary().packs_deleted), (2, 0), "{:?}", pruner.summary());
    place.check();
}

#[test]
fn a_snapshot_that_begins_after_the_condemning_stores_again_what_it_needs() {
    let mut place = Place::new();
    let wanted = noise(1, 300 * KIB);
    let old = place.commit_one(&wanted);
    place.commit(&[("kept", noise(2, 3000 * KIB))]);
    place.forget(old);
    let mut pruner = place.pruner(PruneOptions::default());
    pruner.condemn().unwrap();
    let mut writer = place.begin();
    assert!(place.place(&mut writer, &wanted), "a condemned pack is not relied on");
    assert!(!pruner.sweep().unwrap(), "it began after the condemning, so it has seen it");
    assert!(pruner.summary().packs_deleted >= 2, "{:?}", pruner.summary());
    place.finish(writer, &wanted);
    place.check();
}

#[test]
fn packs_of_a_run_that_is_under_way_are_pinned_and_stay() {
    let mut place = Place::new();
    place.commit(&[("kept", noise(2, 3000 * KIB))]);
    let mut writer = place.begin();
    let bytes = noise(3, 300 * KIB);
    place.place(&mut writer, &bytes);
    writer.flush().unwrap();
    let mut pruner = place.pruner(PruneOptions::default());
    assert!(pruner.condemn().unwrap(), "no snapshot refers to it yet");
    assert!(pruner.sweep().unwrap());
    place.acknowledge(&mut writer);
    assert!(!pruner.sweep().unwrap());
    assert_eq!((pruner.summary().packs_pardoned, pruner.summary().packs_deleted), (1, 0));
    place.finish(writer, &bytes);
    place.check();
}

#[test]
fn killed_at_any_write_the_next_prune_finishes_and_nothing_is_lost() {
    let mut deaths = 0;
    for writes in 0.. {
        let mut place = Place::new();
        let shared = noise(1, 100 * KIB);
        let old = place.commit(&[("shared", shared.clone()), ("old", noise(2, 2000 * KIB))]);
        place.commit(&[("shared", shared), ("new", noise(3, 1500 * KIB))]);
        place.forget(old);
        let options = PruneOptions { max_unused: MaxUnused::Bytes(0), ..PruneOptions::default() };
        let repository = place.open();
        place.store.stop_after(Some(writes));
        let killed = prune::run(&repository, &options, &small::quiet(), &Stop::new());
        place.store.stop_after(None);
        place.check();
        // Another owner, who knows nothing of it.
        place.caches = tempfile::tempdir().unwrap();
        place.try_prune(options).unwrap();
        place.check();
        let left: u64 = place.packs().values().sum();
        assert!(left < 2000 * KIB as u64, "{left} bytes are left after a death at write {writes}");
        match killed {
            Ok(_) => break,
            Err(error) => assert!(matches!(error, PruneError::Repository(_)), "{error}"),
        }
        deaths += 1;
    }
    eprintln!("killed at {deaths} writes");
    assert!(deaths >= 10);
}

#[test]
fn two_prunes_at_once_take_two_numbers_and_either_finishes_both() {
    let mut place = Place::new();
    let old = place.commit(&[("old", noise(1, 400 * KIB))]);
    place.commit(&[("new", noise(2, 3000 * KIB))]);
    place.forget(old);
    let (mut one, mut other) = (place.pruner(PruneOptions::default()), place.pruner(PruneOptions::default()));
    assert!(one.condemn().unwrap());
    assert!(!other.condemn().unwrap(), "all of it is condemned already");
    let older = place.commit(&[("older", noise(3, 400 * KIB))]);
    place.forget(older);
    assert!(other.condemn().unwrap());
    assert_eq!(place.names("gc").len(), 2);
    assert!(!one.sweep().unwrap());
    assert_eq!(place.names("gc").len(), 4, "both numbers were decided by one");
    assert!(!other.sweep().unwrap());
    place.check();
    assert_eq!(place.packs().len(), 2, "data and metadata of the one snapshot that is left");
}

#[test]
fn what_a_thief_with_a_writer_key_condemns_or_decides_deletes_nothing() {
    let mut place = Place::new();
    place.commit(&[("kept", noise(1, 300 * KIB))]);
    let packs: Vec<PackId> = place.packs().into_keys().collect();
    let thief = place.with(&place.writer);
    let forged = gc::thief::seal_condemn(thief.objects().sealer(), &condemn(1, &packs)).unwrap();
    place.store.create(&ObjectName::GcCondemn(1).name(), &[&forged]).unwrap();
    let summary = place.prune();
    assert_eq!((summary.packs_deleted, place.packs().len()), (0, packs.len()));
    let verdict = place.store.get(&ObjectName::GcVerdict(1).name(), 1 << 20).unwrap();
    let verdict = gc::open_verdict(place.open().objects().opener(), 1, &verdict).unwrap().record;
    assert!(verdict.delete.is_empty(), "it was answered");
    // A verdict on the next number, before the number is condemned at all.
    let verdict = Verdict {
        number: 2,
        time: place.clock.now(),
        condemn: ObjectHash([0; 32]),
        delete: packs.clone(),
        pardon: vec![],
        extra: vec![],
    };
    let forged = gc::thief::seal_verdict(thief.objects().sealer(), &verdict).unwrap();
    place.store.create(&ObjectName::GcVerdict(2).name(), &[&forged]).unwrap();
    let old = place.commit(&[("old", noise(2, 80 * KIB))]);
    place.forget(old);
    place.prune();
    place.check();
    assert!(
        place.names("gc").contains(&ObjectName::GcCondemn(3).name().to_string()),
        "a taken name is not worked around: {:?}",
        place.names("gc")
    );
}

fn condemn(number: u64, packs: &[PackId]) -> Condemn {
    let clock = ManualClock::at(1);
    Condemn { number, time: clock.now(), packs: packs.to_vec(), written: vec![], snapshots: vec![], extra: vec![] }
}

#[test]
fn a_pack_that_comes_back_is_deleted_again_and_never_relied_on() {
    let mut place = Place::new();
    let bytes = noise(1, 300 * KIB);
    let old = place.commit_one(&bytes);
    place.commit(&[("new", noise(2, 3000 * KIB))]);
    let before = place.store.inner().fork();
    let packs = place.packs();
    place.forget(old);
    place.prune();
    let gone: Vec<PackId> = packs.keys().filter(|id| !place.packs().contains_key(id)).copied().collect();
    assert!(gone.len() >= 2);
    for id in &gone {
        let name = names::pack_name(*id);
        place.store.inner().create(&name, &[&before.get(&name, 80 << 20).unwrap()]).unwrap();
    }
    let mut writer = place.begin();
    assert!(place.place(&mut writer, &bytes), "bad for ever");
    place.finish(writer, &bytes);
    assert_eq!(place.prune().packs_deleted, gone.len() as u64);
    place.check();
}

#[test]
fn partly_used_packs_are_repacked_within_the_limits() {
    let mut place = Place::new();
    let keep = noise(1, 150 * KIB);
    let old = place.commit(&[("keep", keep.clone()), ("old", noise(2, 1200 * KIB))]);
    place.commit(&[("keep", keep), ("new", noise(3, 2000 * KIB))]);
    place.forget(old);
    let options = |max_unused, max_repack| PruneOptions { max_unused, max_repack, ..PruneOptions::default() };
    let summary = place.try_prune(options(MaxUnused::Unlimited, None)).unwrap();
    assert_eq!(summary.packs_repacked, 0);
    assert!(summary.bytes_unused > 1000 * KIB as u64);
    let summary = place.try_prune(options(MaxUnused::Bytes(0), Some(10))).unwrap();
    assert_eq!(summary.packs_repacked, 0, "nothing so small");
    let before: u64 = place.packs().values().sum();
    let dry = place.try_prune(PruneOptions { dry_run: true, ..options(MaxUnused::Bytes(0), None) }).unwrap();
    assert_eq!(place.packs().values().sum::<u64>(), before, "a dry run changes nothing");
    let summary = place.try_prune(options(MaxUnused::Bytes(0), None)).unwrap();
    assert!(summary.packs_repacked >= 1 && summary.packs_repacked == dry.packs_repacked, "{summary:?}");
    assert!(before - place.packs().values().sum::<u64>() > 1000 * KIB as u64);
    place.check();
    let again = place.prune_everything();
    assert_eq!((again.packs_repacked, again.packs_deleted), (0, 0), "{again:?}");
}

#[test]
fn what_is_repacked_after_a_rotation_keeps_the_generation_of_its_ids() {
    let mut place = Place::new();
    let keep = noise(1, 150 * KIB);
    let old = place.commit(&[("keep", keep.clone()), ("old", noise(2, 1200 * KIB))]);
    place.commit(&[("keep", keep), ("new", noise(3, 2000 * KIB))]);
    place.second_config(|config| Config { generation: 2, ..config });
    assert_eq!(place.open().objects().keys().generation(), 2);
    // The new generation knows none of the old ids, and stores its own.
    place.commit(&[("new", noise(3, 2000 * KIB))]);
    place.forget(old);
    let summary = place.prune_everything();
    assert!(summary.packs_repacked >= 1 && summary.packs_deleted >= 1, "{summary:?}");
    place.check();
    let repository = place.open();
    let mut generations: Vec<u32> =
        place.packs().into_iter().map(|(id, size)| repository.own_facts(&id, size).unwrap().generation()).collect();
    generations.sort_unstable();
    generations.dedup();
    assert_eq!(generations, [1, 2]);
    place.caches = tempfile::tempdir().unwrap();
    assert_eq!(place.prune_everything().packs_deleted, 0);
    place.check();
}

#[test]
fn index_files_are_merged_and_lose_no_fact() {
    let mut place = Place::new();
    let mut old = Vec::new();
    for n in 0..12 {
        let id = place.commit(&[("file", noise(n, 70 * KIB)), ("big", noise(99, 2000 * KIB))]);
        if n < 6 {
            old.push(id);
        }
    }
    assert_eq!(place.names("index").len(), 12);
    for id in old {
        place.forget(id);
    }
    let summary = place.prune();
    assert!(summary.index_files_replaced >= 6, "{summary:?}");
    assert!(place.names("index").len() <= 2, "{:?}", place.names("index"));
    // Before anything else runs: the next snapshot would name again what it finds without a name.
    assert_eq!(place.named(), place.packs().into_keys().collect());
    let (findings, _) = small::check(&place.open(), ReadData::Nothing);
    assert!(findings.is_empty(), "{findings:?}");
    place.check();
    place.commit_one(&noise(11, 70 * KIB));
    // A host that knows nothing reads them: every live chunk is known, as before.
    place.caches = tempfile::tempdir().unwrap();
    let repository = place.with(&place.writer);
    let mut writer = Writer::begin(&repository, WriterOptions { dry_run: true }, &small::quiet(), &Stop::new()).unwrap();
    assert!(!place.place(&mut writer, &noise(11, 70 * KIB)));
    let (findings, _) = small::check(&place.open(), ReadData::Nothing);
    assert!(findings.is_empty(), "{findings:?}");
}

#[test]
fn a_full_store_can_be_emptied() {
    let mut place = Place::new();
    let shared = noise(1, 100 * KIB);
    let old = place.commit(&[("shared", shared.clone()), ("old", noise(2, 1500 * KIB)), ("old2", noise(5, 400 * KIB))]);
    let gone = place.commit(&[("gone", noise(4, 900 * KIB))]);
    place.commit(&[("shared", shared), ("new", noise(3, 1500 * KIB))]);
    place.forget(old);
    place.forget(gone);
    // Room for a condemn record and a verdict, and nothing like a pack.
    place.store.full_after(Some(16 * KIB as u64));
    let summary = place.prune_everything();
    assert!(summary.too_full_to_repack && summary.packs_deleted >= 2, "{summary:?}");
    place.store.full_after(None);
    place.check();
    let summary = place.prune_everything();
    assert!(summary.packs_repacked >= 1, "{summary:?}");
    place.check();
}

#[test]
fn a_brake_stops_a_prune_that_could_lose_something() {
    let mut place = Place::new();
    let old = place.commit(&[("old", noise(1, 300 * KIB))]);
    let kept = place.commit(&[("kept", noise(2, 3000 * KIB))]);
    place.forget(old);
    place.prune();
    // A snapshot that an earlier prune saw is gone, is another object, is a revocation.
    let name = names::snapshot_name(kept);
    let object = place.store.get(&name, 4 << 20).unwrap();
    let brake = |place: &Place| {
        let error = place.try_prune(PruneOptions { force: true, ..PruneOptions::default() }).unwrap_err();
        assert!(error.is_brake(), "{error}");
        error
    };
    place.store.delete(&name).unwrap();
    assert!(matches!(brake(&place), PruneError::SnapshotGone { .. }));
    let mut other = object.clone();
    *other.last_mut().unwrap() ^= 1;
    place.store.create(&name, &[&other]).unwrap();
    assert!(matches!(brake(&place), PruneError::Unreadable { .. } | PruneError::SnapshotGone { .. }));
    place.store.replace(&name, &[&object]).unwrap();
    place.check();
    // A pack that live chunks need is gone; a tree cannot be read.
    for (id, size) in place.packs() {
        let name = names::pack_name(id);
        let pack = place.store.get(&name, 80 << 20).unwrap();
        place.store.delete(&name).unwrap();
        assert!(matches!(brake(&place), PruneError::NoPack { .. } | PruneError::Unreadable { .. }));
        let mut damaged = pack.clone();
        for byte in &mut damaged[400..size as usize] {
            *byte ^= 1;
        }
        place.store.create(&name, &[&damaged]).unwrap();
        let before = place.packs().len();
        let _ = place.try_prune(PruneOptions { force: true, ..PruneOptions::default() });
        assert_eq!(place.packs().len(), before, "a damaged pack is never deleted");
        place.store.replace(&name, &[&pack]).unwrap();
    }
    place.check();
}

#[test]
fn much_goes_only_when_what_was_forgotten_explains_it() {
    let mut place = Place::new();
    place.commit(&[("kept", noise(1, 300 * KIB))]);
    // A run that failed: nothing refers to what it stored.
    let mut writer = place.begin();
    place.place(&mut writer, &noise(2, 3000 * KIB));
    writer.abandon();
    assert!(matches!(place.try_prune(PruneOptions::default()), Err(PruneError::TooMuch { .. })));
    let summary = place.try_prune(PruneOptions { force: true, ..PruneOptions::default() }).unwrap();
    assert_eq!(summary.packs_deleted, 1);
    let old = place.commit(&[("old", noise(3, 9000 * KIB))]);
    place.forget(old);
    assert!(place.prune().bytes_deleted > 8000 * KIB as u64, "explained");
    place.check();
}

#[test]
fn what_a_first_snapshot_has_stored_so_far_is_no_reason_for_a_brake() {
    let mut place = Place::new();
    let bytes = noise(1, 3000 * KIB);
    let mut writer = place.begin();
    place.place(&mut writer, &bytes);
    writer.flush().unwrap();
    assert!(!place.packs().is_empty());
    let summary = place.prune();
    assert_eq!((summary.packs_condemned, summary.packs_deleted), (0, 0), "{summary:?}");
    let stored = place.packs();
    assert_eq!((summary.packs_unexplained, summary.bytes_unexplained), (stored.len() as u64, stored.values().sum()), "it says so");
    // What a forgotten snapshot explains goes all the same.
    let old = place.commit(&[("old", noise(2, 9000 * KIB))]);
    place.forget(old);
    let summary = place.try_prune(PruneOptions::default()).unwrap();
    assert!(summary.packs_condemned > 0 && summary.waiting.len() == 1, "{summary:?}");
    place.finish(writer, &bytes);
    place.check();
    assert!(place.prune().bytes_deleted > 8000 * KIB as u64);
    place.check();
}

#[test]
fn a_session_that_does_not_move_is_revoked_after_two_weeks_and_two_prunes() {
    let mut place = Place::new();
    let old = place.commit(&[("old", noise(1, 300 * KIB))]);
    place.commit(&[("kept", noise(2, 3000 * KIB))]);
    let mut writer = place.begin();
    place.place(&mut writer, &noise(9, 100 * KIB));
    place.forget(old);
    let summary = place.prune();
    assert_eq!((summary.packs_deleted, summary.waiting.len()), (0, 1));
    assert_eq!(summary.waiting[0].host.as_deref(), Some("host"));
    place.clock.advance(Duration::from_secs(15 * 24 * 3600));
    let summary = place.prune();
    assert_eq!(summary.sessions_revoked, 1, "{summary:?}");
    assert!(summary.packs_deleted >= 2, "{summary:?}");
    // The writer finds out at its commit, which is fenced.
    let content = small::store_folder(&mut writer, vec![]);
    let id = writer.snapshot_id().unwrap();
    let error = writer.commit(&small::snapshot(id, content, None)).unwrap_err();
    assert!(matches!(error, esker::repository::RepositoryError::Revoked), "{error}");
    place.check();
}

#[test]
fn a_cache_newer_than_the_store_finds_out_which_index_files_are_gone() {
    for owner in [true, false] {
        let mut place = Place::new();
        place.commit(&[("a", noise(1, 300 * KIB))]);
        let but_packs = |place: &Place| place.names("").into_iter().filter(|name| !name.starts_with("packs/")).collect::<Vec<_>>();
        let before = but_packs(&place);
        let second = place.commit(&[("b", noise(2, 300 * KIB))]);
        // The store is put back from a copy: packs came first into it, and the rest of the second run was never copied.
        for name in but_packs(&place).iter().filter(|name| !before.contains(name)) {
            place.store.delete(&Name::new(name.as_str()).unwrap()).unwrap();
        }
        place.expected.remove(&second);
        let stored: u64 = place.packs().values().sum();
        let repository = if owner { place.open() } else { place.with(&place.writer) };
        let files = Files::from([("b".to_owned(), noise(2, 300 * KIB)), ("c".to_owned(), noise(3, 900))]);
        let third = small::commit(&repository, &files, None);
        place.expected.insert(third, files);
        place.check();
        let environment = Environment { caches: None, ..place.environment() };
        let secret = Secret::KeyLine(Zeroizing::new(place.owner.clone()));
        let elsewhere = Arc::new(Repository::open(environment, &secret, None).unwrap());
        let (findings, _) = small::check(&elsewhere, ReadData::All);
        assert!(findings.is_empty(), "what the third needs is in index files: {findings:?}");
        // An owner reads the packs and indexes them again; a writer, who cannot, stores again what stood in them.
        let again = place.packs().values().sum::<u64>() - stored > 300 * KIB as u64;
        assert_eq!(again, !owner);
    }
}

#[test]
fn index_files_that_others_merged_cost_a_cache_only_the_new_file() {
    let mut place = Place::new();
    for n in 0..12 {
        place.commit(&[("a", noise(1, 50 * KIB)), ("b", noise(100 + n, 9 * KIB))]);
    }
    let other = tempfile::tempdir().unwrap();
    let environment = Environment { caches: Some(other.path().to_owned()), ..place.environment() };
    let secret = Secret::KeyLine(Zeroizing::new(place.owner.clone()));
    let pruner = Arc::new(Repository::open(environment, &secret, None).unwrap());
    let forgotten = *place.expected.keys().next().unwrap();
    place.forget(forgotten);
    let summary = prune::run(&pruner, &everything(), &small::quiet(), &Stop::new()).unwrap();
    assert!(summary.index_files_replaced > 6, "{summary:?}");
    let repository = place.open();
    let mut catalog = repository.open_catalog().unwrap();
    place.store.take_calls();
    repository.sync(&mut catalog, &esker::monitor::Quiet).unwrap();
    let calls = place.store.take_calls();
    let read = |folder: &str| calls.iter().filter(|call| call.verb != Verb::List && call.name.starts_with(folder)).count();
    assert_eq!(read(names::PACKS), 0, "{calls:?}");
    assert!((1..=2).contains(&read(names::INDEX)), "{calls:?}");
    assert_eq!(calls.iter().filter(|call| call.verb == Verb::List && call.name == names::INDEX).count(), 1);
}

#[test]
fn small_packs_of_many_short_runs_are_put_together_and_a_second_prune_leaves_them_alone() {
    let mut place = Place::new();
    for run in 0..6 {
        place.commit(&[("file", noise(run, 3 << 20))]);
    }
    let before = place.packs();
    let unlimited = PruneOptions { max_unused: MaxUnused::Unlimited, ..PruneOptions::default() };
    assert_eq!(place.try_prune(unlimited).unwrap().packs_repacked, 0, "who wants nothing repacked is obeyed");
    let too_little = PruneOptions { max_repack: Some(10 << 20), ..PruneOptions::default() };
    assert_eq!(place.try_prune(too_little).unwrap().packs_repacked, 0);
    let summary = place.prune();
    assert_eq!((summary.packs_repacked, summary.packs_deleted), (6, 6));
    let after = place.packs();
    assert_eq!(after.len(), before.len() - 6 + 2, "18 MiB are one full pack and a rest");
    place.check();
    let again = place.prune();
    assert_eq!((again.packs_repacked, again.bytes_written), (0, 0));
    assert_eq!(place.packs(), after);
    // The rest waits until it fills a pack with what comes.
    place.commit(&[("file", noise(9, 3 << 20))]);
    assert_eq!(place.prune().packs_repacked, 0);
    place.check();
}
