//! `key rotate`: writer keys that were given out are void, nothing that was there is quarantined or lost, and it may be cut off anywhere.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod small;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use esker::crypto::{Argon2Cost, Passphrase};
use esker::format::config::StoreClass;
use esker::format::keyslot::Level;
use esker::format::names::{self, ObjectName};
use esker::id::SnapshotId;
use esker::monitor::{Monitor, Problem, Stop};
use esker::prune::{self, MaxUnused, PruneOptions, Pruner};
use esker::records::keyslots::NewSlot;
use esker::repository::survey::survey;
use esker::repository::writer::{Writer, WriterOptions};
use esker::repository::{Environment, InitOptions, Reader, Repository, RepositoryError};
use esker::rotate::{Rotation, rotate};
use esker::store::faults::FaultyStore;
use esker::store::{MemoryStore, Store};
use esker::verify::ReadData;
use small::{Files, noise};

/// A repository in memory, with an owner's host, and what its snapshots must restore to.
struct Place {
    store: Arc<FaultyStore<MemoryStore>>,
    seeds: AtomicU64,
    owner: String,
    folder: tempfile::TempDir,
    expected: BTreeMap<SnapshotId, Files>,
}

impl Place {
    fn new() -> Self {
        Self::of(StoreClass::Shared)
    }

    fn of(class: StoreClass) -> Self {
        let mut place = Self {
            store: Arc::new(FaultyStore::new(MemoryStore::new())),
            seeds: AtomicU64::new(1),
            owner: String::new(),
            folder: tempfile::tempdir().unwrap(),
            expected: BTreeMap::new(),
        };
        let password = Passphrase::new(small::PASSWORD.to_owned());
        let options = InitOptions { class: Some(class), ..small::cheapest() };
        let made = Repository::init(place.environment(), &password, &options).unwrap().repository;
        place.owner = made.export_key(Level::Owner).unwrap().to_string();
        place
    }

    fn environment(&self) -> Environment {
        Environment {
            caches: Some(self.folder.path().join("caches")),
            states: Some(self.folder.path().join("states")),
            ..small::environment(self.store.clone(), self.seeds.fetch_add(1, Ordering::SeqCst))
        }
    }

    fn try_with(&self, line: &str) -> Result<Arc<Repository>, RepositoryError> {
        small::open_in(self.environment(), line)
    }

    fn open(&self) -> Arc<Repository> {
        self.try_with(&self.owner).unwrap()
    }

    fn writer_line(&self) -> String {
        self.open().export_key(Level::Writer).unwrap().to_string()
    }

    fn rotate(&self) -> Rotation {
        rotate(&self.open(), false).unwrap()
    }

    fn commit_with(&mut self, repository: &Arc<Repository>, name: &str, bytes: &[u8]) -> SnapshotId {
        let files = Files::from([(name.to_owned(), bytes.to_vec())]);
        let id = small::commit(repository, &files, None);
        self.expected.insert(id, files);
        id
    }

    /// A run that is under way: it has stored a chunk.
    fn begin(&self, repository: &Arc<Repository>, bytes: &[u8]) -> Writer {
        let mut writer = Writer::begin(repository, WriterOptions::default(), &small::quiet(), &Stop::new()).unwrap();
        small::place_chunk(&mut writer, bytes);
        writer.flush().unwrap();
        writer
    }

    fn finish(&mut self, writer: Writer, bytes: &[u8]) -> SnapshotId {
        let id = small::commit_chunk(writer, bytes);
        self.expected.insert(id, Files::from([("file".to_owned(), bytes.to_vec())]));
        id
    }

    fn quarantined(&self) -> BTreeSet<SnapshotId> {
        let survey = survey(&self.open()).unwrap();
        survey.snapshots.iter().filter(|found| found.quarantined.is_some()).map(|found| found.stored.id).collect()
    }

    fn packs(&self) -> usize {
        let mut count = 0;
        self.store.inner().list(names::PACKS, &mut |_| count += 1).unwrap();
        count
    }

    /// Every snapshot is there and gives back every byte; nothing is damaged.
    fn check(&self) {
        let repository = self.open();
        let list = repository.snapshots().unwrap();
        assert!(list.damaged.is_empty());
        let reader = Reader::new(&repository, &esker::monitor::Quiet).unwrap();
        let found: BTreeMap<SnapshotId, Files> =
            list.snapshots.iter().map(|stored| (stored.id, small::restore(&reader, &stored.snapshot.root).unwrap())).collect();
        assert!(found == self.expected);
        let (findings, _) = small::check(&repository, ReadData::All);
        assert!(findings.is_empty(), "{findings:?}");
    }
}

fn is_void(opened: Result<Arc<Repository>, RepositoryError>) -> bool {
    matches!(opened, Err(RepositoryError::Keyslot(why)) if why.contains("ask the owner for a new one"))
}

const KIB: usize = 1 << 10;

#[test]
fn after_a_rotation_old_writer_keys_are_void_and_new_ones_write() {
    for class in [StoreClass::Shared, StoreClass::SingleMaintainer] {
        let mut place = Place::of(class);
        let stolen = place.writer_line();
        let bytes = noise(1, 300 * KIB);
        let first = place.commit_with(&place.try_with(&stolen).unwrap(), "a", &bytes);
        let packs = place.packs();
        assert_eq!(
            rotate(&place.open(), true).unwrap(),
            Rotation { before: 1, generation: 2, listed: vec![first], ..Rotation::default() }
        );
        assert!(place.try_with(&stolen).is_ok(), "a dry run changes nothing");
        assert_eq!(place.rotate().generation, 2);
        assert!(is_void(place.try_with(&stolen)));
        assert!(!place.open().is_rotation_unfinished());
        let host = place.try_with(&place.writer_line()).unwrap();
        assert_eq!(host.objects().keys().generation(), 2);
        place.commit_with(&host, "a", &bytes);
        assert!(place.packs() > packs, "nothing is deduplicated against what the old key could have prepared");
        assert_eq!(place.quarantined(), BTreeSet::new());
        place.check();
        // And once more, over two generations.
        assert_eq!(place.rotate().listed.len(), 2);
        assert!(is_void(place.try_with(&stolen)));
        assert_eq!(place.quarantined(), BTreeSet::new());
        place.check();
    }
}

#[test]
fn a_rotation_cut_off_at_any_write_doubts_nothing_and_the_next_one_finishes_it() {
    let mut deaths = 0;
    for writes in 0.. {
        let mut place = Place::new();
        let stolen = place.writer_line();
        place.commit_with(&place.open(), "a", &noise(1, 50 * KIB));
        place.commit_with(&place.open(), "b", &noise(2, 50 * KIB));
        let password = Passphrase::new("of a host".to_owned());
        let owner = place.open();
        owner.add_keyslot(&NewSlot::writer_password("host", &password, Argon2Cost::LEAST)).unwrap();
        place.store.stop_after(Some(writes));
        let cut = rotate(&owner, false);
        place.store.stop_after(None);
        drop(owner);
        assert_eq!(place.quarantined(), BTreeSet::new(), "after {writes} writes");
        let unfinished = place.open().is_rotation_unfinished();
        if unfinished {
            assert!(is_void(place.try_with(&stolen)));
            let refused = place.open().export_key(Level::Writer).unwrap_err();
            assert!(refused.to_string().contains("run it again"), "{refused}");
        }
        place.commit_with(&place.open(), "c", &noise(3, 50 * KIB));
        let before = place.open().config().generation;
        if cut.is_err() {
            place.rotate();
            assert_eq!(place.open().config().generation, if unfinished { before } else { before + 1 }, "after {writes} writes");
            deaths += 1;
        }
        assert!(is_void(place.try_with(&stolen)));
        assert!(place.open().keyslots().unwrap().iter().all(|slot| slot.level == Level::Owner));
        let host = place.try_with(&place.writer_line()).unwrap();
        place.commit_with(&host, "d", &noise(4, 50 * KIB));
        assert_eq!(place.quarantined(), BTreeSet::new());
        place.check();
        if cut.is_ok() {
            break;
        }
    }
    assert!(deaths >= 3, "a note, two configs: {deaths}");
}

#[test]
fn what_a_run_of_the_old_generation_commits_afterwards_is_kept_and_doubted() {
    let mut place = Place::new();
    let before = place.commit_with(&place.open(), "a", &noise(1, 300 * KIB));
    let old = place.try_with(&place.writer_line()).unwrap();
    let bytes = noise(2, 300 * KIB);
    let writer = place.begin(&old, &bytes);
    let rotation = place.rotate();
    assert_eq!((rotation.listed, rotation.under_way.len()), (vec![before], 1));
    let late = place.finish(writer, &bytes);
    assert_eq!(place.quarantined(), BTreeSet::from([late]));
    // A prune takes nothing from it.
    prune::run(&place.open(), &PruneOptions::default(), &small::quiet(), &Stop::new()).unwrap();
    place.check();
    // Rotating again makes it no better.
    let again = place.rotate();
    assert_eq!((again.listed, again.quarantined), (vec![before], vec![late]));
    assert_eq!(place.quarantined(), BTreeSet::from([late]));
    place.check();
}

#[test]
fn a_prune_after_a_rotation_takes_nothing_from_a_run_that_began_before_it() {
    let mut place = Place::new();
    let bytes = noise(1, 300 * KIB);
    let owner = place.open();
    let gone = small::commit(&owner, &Files::from([("a".to_owned(), bytes.clone())]), None);
    place.commit_with(&owner, "b", &noise(2, 300 * KIB));
    owner.forget(gone, owner.snapshot_hash(&gone).unwrap(), "test").unwrap();
    // It counts on a chunk that only the forgotten snapshot needs.
    let old = place.try_with(&place.writer_line()).unwrap();
    let writer = place.begin(&old, &bytes);
    place.rotate();
    let options = PruneOptions { force: true, max_unused: MaxUnused::Bytes(0), ..PruneOptions::default() };
    let summary = prune::run(&place.open(), &options, &small::quiet(), &Stop::new()).unwrap();
    assert_eq!((summary.packs_deleted, summary.waiting.len()), (0, 1), "{summary:?}");
    assert!(summary.packs_condemned > 0);
    let late = place.finish(writer, &bytes);
    prune::run(&place.open(), &options, &small::quiet(), &Stop::new()).unwrap();
    assert_eq!(place.quarantined(), BTreeSet::from([late]));
    place.check();
}

#[test]
fn a_prune_that_began_before_a_rotation_takes_nothing_from_a_run_of_the_new_generation() {
    let mut place = Place::new();
    let bytes = noise(1, 300 * KIB);
    place.commit_with(&place.open(), "a", &noise(2, 300 * KIB));
    let options = PruneOptions { force: true, max_unused: MaxUnused::Bytes(0), ..PruneOptions::default() };
    let begin = |place: &Place| Pruner::begin(&place.open(), options.clone(), &small::quiet(), &Stop::new()).unwrap();
    let mut before = begin(&place);
    place.rotate();
    // A pack of the new generation that no snapshot needs, and a run that counts on it.
    let host = place.try_with(&place.writer_line()).unwrap();
    place.begin(&host, &bytes).abandon();
    let writer = place.begin(&host, &bytes);
    let refused = before.condemn().map_err(|error| error.to_string());
    assert!(refused.as_ref().is_err_and(|why| why.contains("rotated while this ran")), "{refused:?}");
    // Nor does it decide what one of the new generation condemned.
    let mut decides = begin(&place);
    assert!(decides.condemn().unwrap());
    let refused = before.sweep().map_err(|error| error.to_string());
    assert!(refused.as_ref().is_err_and(|why| why.contains("rotated while this ran")), "{refused:?}");
    place.finish(writer, &bytes);
    place.check();
}

#[test]
fn old_generations_are_pruned_like_new_ones() {
    let mut place = Place::new();
    let keep = noise(1, 150 * KIB);
    let owner = place.open();
    let gone =
        small::commit(&owner, &Files::from([("keep".to_owned(), keep.clone()), ("gone".to_owned(), noise(2, 900 * KIB))]), None);
    place.commit_with(&owner, "keep", &keep);
    place.rotate();
    let host = place.try_with(&place.writer_line()).unwrap();
    place.commit_with(&host, "keep", &keep);
    let owner = place.open();
    owner.forget(gone, owner.snapshot_hash(&gone).unwrap(), "test").unwrap();
    let options = PruneOptions { max_unused: MaxUnused::Bytes(0), ..PruneOptions::default() };
    let summary = prune::run(&owner, &options, &small::quiet(), &Stop::new()).unwrap();
    assert!(summary.packs_deleted > 0 && summary.bytes_unused == 0, "{summary:?}");
    place.check();
    // The host goes on beside it: what the prune wrote of the old generation is nothing to it.
    place.commit_with(&host, "more", &noise(3, 50 * KIB));
    place.check();
}

/// Remembers what a run complained about.
#[derive(Default)]
struct Complaints(std::sync::Mutex<Vec<String>>);

impl Monitor for Complaints {
    fn problem(&self, problem: Problem) {
        self.0.lock().unwrap().push(problem.detail);
    }
}

#[test]
fn a_host_with_a_new_key_does_not_complain_of_what_is_older() {
    let mut place = Place::new();
    for seed in 1..4 {
        place.commit_with(&place.open(), "a", &noise(seed, 50 * KIB));
    }
    place.rotate();
    let host = place.try_with(&place.writer_line()).unwrap();
    let complaints = Arc::new(Complaints::default());
    let monitor: Arc<dyn Monitor> = complaints.clone();
    drop(Writer::begin(&host, WriterOptions::default(), &monitor, &Stop::new()).unwrap());
    assert_eq!(*complaints.0.lock().unwrap(), Vec::<String>::new());
}

#[test]
fn a_store_put_back_to_before_a_rotation_is_noticed() {
    let mut place = Place::new();
    place.commit_with(&place.open(), "a", &noise(1, 50 * KIB));
    place.rotate();
    let newest = place.open();
    let exported = newest.export_key(Level::Owner).unwrap().to_string();
    let last = newest.config_number();
    for number in [last, last - 1] {
        place.store.delete(&ObjectName::Config(number).name()).unwrap();
    }
    // By the host that saw it,
    let noticed = place.try_with(&place.owner).unwrap_err();
    assert!(matches!(&noticed, RepositoryError::Brake(why) if why.contains("has seen config 3")), "{noticed}");
    // and by who has nothing but a key that was exported since.
    place.folder = tempfile::tempdir().unwrap();
    let noticed = place.try_with(&exported).unwrap_err();
    assert!(matches!(&noticed, RepositoryError::Brake(why) if why.contains("exported in generation 2")), "{noticed}");
}

#[test]
fn a_config_changed_by_a_run_that_began_before_a_rotation_belongs_to_the_new_generation() {
    let place = Place::new();
    let before = place.open();
    place.rotate();
    place.rotate();
    before.change_config(|config| config.guard_seconds = 86_400).unwrap();
    let host = place.try_with(&place.writer_line()).unwrap();
    assert_eq!((host.config().generation, host.config().guard_seconds), (3, 86_400));
}

#[test]
fn only_owners_rotate() {
    let place = Place::new();
    let host = place.try_with(&place.writer_line()).unwrap();
    assert!(matches!(rotate(&host, false), Err(RepositoryError::NeedsOwner(_))));
    assert!(matches!(host.name_next_generation(), Err(RepositoryError::NeedsOwner(_))));
}
