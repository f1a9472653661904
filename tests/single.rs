//! Stores that overwrite a name that is taken: what the class single maintainer promises, and that a store is found out in time.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod small;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use esker::clock::{ManualClock, SeededRng};
use esker::crypto::{ChunkType, Passphrase};
use esker::format::config::{self, Config, StoreClass};
use esker::format::gc::{self, Condemn, Verdict};
use esker::format::keyslot::Level;
use esker::format::names::{self, ObjectName};
use esker::format::revocation::{self, Revocation};
use esker::format::tree::{Content, Item, NodeKind};
use esker::id::{ObjectHash, PackId, SnapshotId};
use esker::monitor::{Quiet, Stop};
use esker::prune::{self, MaxUnused, PruneOptions, PruneSummary};
use esker::repository::writer::{Named, Writer, WriterOptions};
use esker::repository::{Environment, InitOptions, Reader, Repository, RepositoryError, Secret};
use esker::store::faults::{Condition, FaultyStore, Verb};
use esker::store::{MemoryStore, Name, ReadUnit, Store, StoreError, StoreErrorKind};
use esker::verify::ReadData;
use small::{Files, chunk_id, noise};
use zeroize::Zeroizing;

const KIB: usize = 1024;

/// A remote place, as remote as a test needs it, and one machine.
struct Place {
    store: Arc<FaultyStore<MemoryStore>>,
    clock: Arc<ManualClock>,
    seeds: AtomicU64,
    owner: String,
    writer: String,
    home: tempfile::TempDir,
}

impl Place {
    fn empty(condition: Condition) -> Self {
        let store = Arc::new(FaultyStore::new(MemoryStore::new()));
        store.pretend_read_unit(ReadUnit::Window).condition(condition);
        let (owner, writer) = (String::new(), String::new());
        let clock = Arc::new(ManualClock::at(1_790_000_000));
        Self { store, clock, seeds: AtomicU64::new(1), owner, writer, home: tempfile::tempdir().unwrap() }
    }

    fn new(condition: Condition) -> Self {
        let mut place = Self::empty(condition);
        let made = place.init().unwrap();
        place.owner = made.export_key(Level::Owner).unwrap().to_string();
        place.writer = made.export_key(Level::Writer).unwrap().to_string();
        place
    }

    fn init(&self) -> Result<Repository, RepositoryError> {
        let password = Passphrase::new(small::PASSWORD.to_owned());
        Repository::init(self.environment("a"), &password, &InitOptions { ..small::cheapest() }).map(|made| made.repository)
    }

    fn environment(&self, host: &str) -> Environment {
        let folder = |what: &str| -> PathBuf { self.home.path().join(host).join(what) };
        Environment {
            store: self.store.clone(),
            clock: self.clock.clone(),
            rng: Arc::new(SeededRng::new(self.seeds.fetch_add(1, Ordering::SeqCst))),
            host: host.to_owned(),
            caches: Some(folder("caches")),
            states: Some(folder("states")),
        }
    }

    fn open_on(&self, host: &str, line: &str) -> Arc<Repository> {
        let secret = Secret::KeyLine(Zeroizing::new(line.to_owned()));
        Arc::new(Repository::open(self.environment(host), &secret, None).unwrap())
    }

    fn open(&self) -> Arc<Repository> {
        self.open_on("a", &self.owner)
    }

    fn try_begin(&self, host: &str, line: &str) -> Result<Writer, RepositoryError> {
        Writer::begin(&self.open_on(host, line), WriterOptions::default(), &small::quiet(), &Stop::new())
    }

    fn commit(&self, bytes: &[u8]) -> SnapshotId {
        finish(self.try_begin("a", &self.owner).unwrap(), bytes)
    }

    fn forget(&self, id: SnapshotId) {
        let repository = self.open();
        let hash = repository.snapshot_hash(&id).unwrap();
        repository.forget(id, hash, "test").unwrap();
    }

    fn prune(&self) -> PruneSummary {
        let options = PruneOptions { max_unused: MaxUnused::Bytes(0), ..PruneOptions::default() };
        prune::run(&self.open(), &options, &small::quiet(), &Stop::new()).unwrap()
    }

    fn names(&self, folder: &str) -> Vec<Name> {
        let mut found = Vec::new();
        self.store.inner().list(folder, &mut |entry| found.push(entry.name)).unwrap();
        found.sort();
        found
    }

    fn packs(&self) -> Vec<PackId> {
        self.names(names::PACKS).iter().filter_map(names::parse_pack).collect()
    }

    fn put(&self, name: &Name, sealed: &[u8]) {
        self.store.inner().replace(name, &[sealed]).unwrap();
    }

    fn restores(&self, id: SnapshotId, bytes: &[u8]) -> bool {
        let repository = self.open();
        let reader = Reader::new(&repository, &Quiet).unwrap();
        let root = repository.snapshot(&id).unwrap().unwrap().snapshot.root;
        small::restore(&reader, &root).is_ok_and(|files| files == Files::from([("file".to_owned(), bytes.to_vec())]))
    }
}

fn place(writer: &mut Writer, bytes: &[u8]) -> bool {
    let named = Named { chunk_type: ChunkType::Data, id: chunk_id(writer.repository(), bytes), bytes };
    writer.place(&[named]).unwrap()[0].new
}

/// Commits one file made of one chunk.
fn finish(mut writer: Writer, bytes: &[u8]) -> SnapshotId {
    place(&mut writer, bytes);
    let id = chunk_id(writer.repository(), bytes);
    let items = vec![Item::Chunk { id, length: bytes.len() as u64 }];
    let node = small::node("file", NodeKind::File, bytes.len() as u64, Content { level: 0, items });
    let content = small::store_folder(&mut writer, vec![node]);
    small::commit_source(writer, content, None)
}

fn seal(repository: &Repository, number: u64, packs: &[PackId]) -> (Name, Vec<u8>) {
    let mut packs = packs.to_vec();
    packs.sort_unstable();
    let time = repository.clock().now();
    let record = Condemn { number, time, packs, written: Vec::new(), snapshots: Vec::new(), extra: Vec::new() };
    let sealed = gc::seal_condemn(repository.objects().sealer(), &record).unwrap();
    (ObjectName::GcCondemnByHash(number, names::hash_of(&[&sealed])).name(), sealed)
}

fn judge(repository: &Repository, number: u64, condemn: &[u8], delete: &[PackId], pardon: &[PackId]) -> (Name, Vec<u8>) {
    let sorted = |packs: &[PackId]| {
        let mut packs = packs.to_vec();
        packs.sort_unstable();
        packs
    };
    let verdict = Verdict {
        number,
        time: repository.clock().now(),
        condemn: names::hash_of(&[condemn]),
        delete: sorted(delete),
        pardon: sorted(pardon).into_iter().map(|pack| (pack, 2)).collect(),
        extra: Vec::new(),
    };
    let sealed = gc::seal_verdict(repository.objects().sealer(), &verdict).unwrap();
    (ObjectName::GcVerdictByHash(number, names::hash_of(&[&sealed])).name(), sealed)
}

// -- found out in time --------------------------------------------------------------------------------

#[test]
fn a_store_that_overwrites_gets_the_class_for_it_and_its_names_hold_their_hash() {
    let place = Place::new(Condition::Ignored);
    assert_eq!(place.open().config().class, StoreClass::SingleMaintainer);
    let configs = place.names("config");
    let sealed = place.store.inner().get(&configs[0], u64::MAX).unwrap();
    assert_eq!(configs, [ObjectName::ConfigByHash(1, names::hash_of(&[&sealed])).name()]);
    assert!(place.names("probe").is_empty(), "what it was tried with was cleared away");
    let shared = Place::new(Condition::Kept);
    assert_eq!(shared.open().config().class, StoreClass::Shared);
    assert_eq!(shared.names("config"), [ObjectName::Config(1).name()]);
}

#[test]
fn a_store_that_is_no_good_is_refused_and_nothing_is_made() {
    let place = Place::empty(Condition::Inverted);
    let error = place.init().unwrap_err();
    assert!(error.to_string().contains("cannot hold a repository: a create of a name that is free is refused"), "{error}");
    assert!(place.names("").is_empty());
}

#[test]
fn a_host_tries_the_store_once_and_stops_where_it_finds_less_than_the_repository_counts_on() {
    let place = Place::new(Condition::Kept);
    let kept = place.commit(&noise(1, 50 * KIB));
    let probes = |place: &Place| {
        place.store.take_calls().iter().filter(|call| call.verb == Verb::Create && call.name.starts_with("probe/")).count()
    };
    assert!(probes(&place) > 32, "at init");
    place.commit(&noise(2, 50 * KIB));
    assert_eq!(probes(&place), 0, "this host knows it");
    // Another host, with a writer key: it deletes nothing, also not what it tried the store with.
    finish(place.try_begin("b", &place.writer).unwrap(), &noise(3, 50 * KIB));
    assert!(probes(&place) > 32 && !place.names("probe").is_empty());
    finish(place.try_begin("b", &place.writer).unwrap(), &noise(4, 50 * KIB));
    assert_eq!(probes(&place), 0);
    // Two prunes clear away what it left: the first one cannot know whether it is still being used.
    place.prune();
    assert!(!place.names("probe").is_empty());
    place.forget(kept);
    place.prune();
    assert!(place.names("probe").is_empty());
    // The repository was moved to a store that overwrites.
    place.store.condition(Condition::Ignored);
    let sessions = place.names("sessions");
    let error = place.try_begin("c", &place.writer).err().unwrap();
    assert!(matches!(&error, RepositoryError::StoreLess { why, .. } if why.contains("overwrites")), "{error}");
    assert_eq!(place.names("sessions"), sessions, "nothing was begun");
    assert!(place.open_on("c", &place.owner).snapshots().is_ok(), "reading works");
    // And back: it asks again, because what it found did not do.
    place.store.condition(Condition::Kept);
    place.try_begin("c", &place.writer).unwrap().abandon();
}

#[test]
fn a_store_that_does_not_answer_the_trial_stops_the_run_without_a_verdict() {
    let place = Place::new(Condition::Kept);
    place.store.stop_after(Some(3));
    assert!(matches!(
        place.try_begin("b", &place.owner),
        Err(RepositoryError::Store(StoreError { kind: StoreErrorKind::Failed, .. }))
    ));
}

// -- what dead runs sent ------------------------------------------------------------------------------

#[test]
fn forgetting_frees_space_on_a_store_that_overwrites() {
    let place = Place::new(Condition::Ignored);
    let old = place.commit(&noise(1, 3000 * KIB));
    let kept = place.commit(&noise(2, 300 * KIB));
    place.forget(old);
    let summary = place.prune();
    assert!(summary.packs_deleted > 0 && summary.packs_waiting == 0, "{summary:?}");
    assert!(place.names("gc").iter().all(|name| name.as_str().len() > 80), "{:?}", place.names("gc"));
    assert!(place.restores(kept, &noise(2, 300 * KIB)));
    assert!(place.prune().settled);
    let (findings, _) = small::check(&place.open(), ReadData::All);
    assert!(findings.is_empty(), "{findings:?}");
}

#[test]
fn a_condemn_record_that_lands_late_waits_until_every_session_has_named_it() {
    let place = Place::new(Condition::Ignored);
    let bytes = noise(1, 300 * KIB);
    let old = place.commit(&bytes);
    place.forget(old);
    let packs = place.packs();
    // A run that died sent this as number 1; it is still on its way.
    let (late, sealed) = seal(&place.open(), 1, &packs);
    // Another one's number 1 is acknowledged by a session that uses what the late one condemns.
    let (first, other) = seal(&place.open(), 1, &[]);
    place.put(&first, &other);
    let mut writer = place.try_begin("a", &place.owner).unwrap();
    assert!(!self::place(&mut writer, &bytes), "it is there");
    place.put(&late, &sealed);
    let summary = place.prune();
    assert_eq!((summary.packs_deleted, summary.packs_waiting), (0, packs.len() as u64), "{summary:?}");
    assert_eq!(summary.waiting.len(), 1);
    let id = finish(writer, &bytes);
    place.prune();
    place.prune();
    assert!(place.restores(id, &bytes));
}

#[test]
fn what_a_verdict_spares_is_not_used_again_so_that_a_late_one_may_delete_it() {
    let place = Place::new(Condition::Ignored);
    let bytes = noise(1, 300 * KIB);
    let kept = place.commit(&bytes);
    let packs = place.packs();
    let repository = place.open();
    let (name, condemn) = seal(&repository, 1, &packs);
    place.put(&name, &condemn);
    let (name, verdict) = judge(&repository, 1, &condemn, &[], &packs);
    place.put(&name, &verdict);
    // Spared: everything reads, and the next snapshot stores it once more.
    assert!(place.restores(kept, &bytes));
    let mut writer = place.try_begin("a", &place.owner).unwrap();
    assert!(self::place(&mut writer, &bytes), "what is spared is not relied on");
    let again = finish(writer, &bytes);
    // The other verdict lands: it deletes what nobody relied on.
    let (name, verdict) = judge(&repository, 1, &condemn, &packs, &[]);
    place.put(&name, &verdict);
    place.prune();
    assert!(place.packs().iter().all(|pack| !packs.contains(pack)));
    assert!(place.restores(again, &bytes) && place.restores(kept, &bytes));
}

#[test]
fn what_was_spared_is_stored_again_by_the_next_prune_and_then_goes() {
    let place = Place::new(Condition::Ignored);
    let bytes = noise(1, 300 * KIB);
    let kept = place.commit(&bytes);
    let packs = place.packs();
    let repository = place.open();
    let (name, condemn) = seal(&repository, 1, &packs);
    place.put(&name, &condemn);
    let summary = place.prune();
    assert_eq!(summary.packs_pardoned, packs.len() as u64, "{summary:?}");
    // In the same run they were stored again, or the next one does it.
    place.prune();
    let after = place.packs();
    assert!(after.iter().all(|pack| !packs.contains(pack)), "{after:?}");
    assert!(place.restores(kept, &bytes));
    assert!(place.prune().settled);
    assert_eq!(place.packs(), after, "once");
}

#[test]
fn records_under_a_hash_that_no_owner_made_bind_no_owner_and_are_cleared_away() {
    let place = Place::new(Condition::Ignored);
    let bytes = noise(1, 300 * KIB);
    let kept = place.commit(&bytes);
    let packs = place.packs();
    let thief = place.open_on("thief", &place.writer);
    let time = thief.clock().now();
    let record = Condemn { number: 1, time, packs: packs.clone(), written: vec![], snapshots: vec![], extra: vec![] };
    let condemn = gc::thief::seal_condemn(thief.objects().sealer(), &record).unwrap();
    place.put(&ObjectName::GcCondemnByHash(1, names::hash_of(&[&condemn])).name(), &condemn);
    let hash = names::hash_of(&[&condemn]);
    let verdict = Verdict { number: 1, time, condemn: hash, delete: packs.clone(), pardon: vec![], extra: vec![] };
    let verdict = gc::thief::seal_verdict(thief.objects().sealer(), &verdict).unwrap();
    place.put(&ObjectName::GcVerdictByHash(1, names::hash_of(&[&verdict])).name(), &verdict);
    place.prune();
    let forged = [ObjectName::GcCondemnByHash(1, hash).name(), ObjectName::GcVerdictByHash(1, names::hash_of(&[&verdict])).name()];
    assert!(place.names("gc").iter().all(|name| !forged.contains(name)), "{:?}", place.names("gc"));
    assert_eq!(place.names("gc").len(), 2, "answers keep the number, so that nobody takes it for a store that was rolled back");
    assert_eq!(place.packs(), packs);
    assert!(place.restores(kept, &bytes));
    // One whose bytes do not hash to its name is damaged, and damaged records stay.
    place.put(&ObjectName::GcCondemnByHash(2, ObjectHash([7; 32])).name(), &condemn);
    place.forget(kept);
    place.prune();
    assert!(place.names("gc").contains(&ObjectName::GcCondemnByHash(2, ObjectHash([7; 32])).name()));
}

#[test]
fn a_snapshot_beside_whose_commit_a_revocation_stands_was_not_committed() {
    let place = Place::new(Condition::Ignored);
    let mut writer = place.try_begin("a", &place.owner).unwrap();
    self::place(&mut writer, &noise(1, 50 * KIB));
    let id = writer.snapshot_id().unwrap();
    place.open().revoke(id.into(), "test", None).unwrap();
    let root = small::store_folder(&mut writer, Vec::new());
    assert!(matches!(writer.commit(&small::snapshot(id, root, None)), Err(RepositoryError::Revoked)));
    assert_eq!(place.names("revoked").len(), 1);
}

#[test]
fn a_run_that_is_gone_because_it_was_done_is_not_revoked() {
    let place = Place::new(Condition::Ignored);
    let bytes = noise(1, 50 * KIB);
    let id = place.commit(&bytes);
    // Whoever listed the snapshots before it committed, and found its process gone after, comes to this.
    assert!(!place.open().revoke(id.into(), "its process is gone", None).unwrap());
    assert!(place.names("revoked").is_empty() && place.restores(id, &bytes));
}

/// A run slept, was taken for dead, and committed after what it counted on was deleted: its snapshot, and what it cannot have.
fn commit_too_late(place: &Place, bytes: &[u8]) -> SnapshotId {
    let old = place.commit(bytes);
    let mut writer = place.try_begin("b", &place.writer).unwrap();
    assert!(!self::place(&mut writer, bytes));
    let id = writer.snapshot_id().unwrap();
    place.forget(old);
    place.open().revoke(id.into(), "test", None).unwrap();
    place.prune();
    assert!(place.prune().packs_waiting == 0);
    let named = chunk_id(writer.repository(), bytes);
    let items = vec![Item::Chunk { id: named, length: bytes.len() as u64 }];
    let node = small::node("file", NodeKind::File, bytes.len() as u64, Content { level: 0, items });
    let content = small::store_folder(&mut writer, vec![node]);
    let root = small::store_folder(&mut writer, vec![small::node("data", NodeKind::Folder, 0, content)]);
    assert!(matches!(writer.commit(&small::snapshot(id, root, None)), Err(RepositoryError::Revoked)));
    assert!(!place.restores(id, bytes));
    id
}

#[test]
fn what_a_revoked_snapshot_misses_is_no_loss_until_somebody_counts_on_it() {
    let place = Place::new(Condition::Ignored);
    let kept = place.commit(&noise(2, 50 * KIB));
    let late = commit_too_late(&place, &noise(1, 50 * KIB));
    for _ in 0..2 {
        let (findings, summary) = small::check(&place.open(), ReadData::All);
        assert!(summary.data_affected == 0 && summary.findings > 0, "{findings:?}");
        assert!(findings.iter().all(|found| found.snapshots == [late] && found.detail.contains("revoked")), "{findings:?}");
    }
    // What another one needs too is lost.
    let kept_back: Vec<(Name, Vec<u8>)> = place
        .packs()
        .into_iter()
        .map(|id| (names::pack_name(id), place.store.inner().get(&names::pack_name(id), u64::MAX).unwrap()))
        .collect();
    kept_back.iter().for_each(|(name, _)| place.store.inner().delete(name).unwrap());
    let (findings, _) = small::check(&place.open(), ReadData::Nothing);
    assert!(findings.iter().any(|found| found.data_affected && found.snapshots.contains(&kept)), "{findings:?}");
    kept_back.iter().for_each(|(name, bytes)| place.put(name, bytes));
    // It goes like any other.
    place.forget(late);
    let (findings, _) = small::check(&place.open(), ReadData::All);
    assert!(findings.is_empty(), "{findings:?}");
    assert!(place.restores(kept, &noise(2, 50 * KIB)));
}

#[test]
fn a_revocation_that_came_after_the_commit_excuses_no_loss() {
    let place = Place::new(Condition::Ignored);
    let id = place.commit(&noise(1, 50 * KIB));
    let repository = place.open();
    let revocation =
        Revocation { session: id.into(), time: repository.clock().now(), reason: "test".to_owned(), extra: Vec::new() };
    place.put(&ObjectName::Revoked(id.into()).name(), &revocation::seal(repository.objects().sealer(), &revocation).unwrap());
    let (findings, _) = small::check(&place.open(), ReadData::All);
    assert!(findings.is_empty(), "{findings:?}");
    for pack in place.packs() {
        place.store.inner().delete(&names::pack_name(pack)).unwrap();
    }
    let (findings, _) = small::check(&place.open(), ReadData::Nothing);
    assert!(findings.iter().any(|found| found.data_affected && found.snapshots == [id]), "{findings:?}");
}

#[test]
fn of_two_configs_with_one_number_none_brings_back_a_key_that_was_given_up() {
    let place = Place::new(Condition::Ignored);
    let repository = place.open();
    let first = place.store.inner().get(&place.names("config")[0], u64::MAX).unwrap();
    let base = Config { number: 2, previous: names::hash_of(&[&first]), ..repository.config().clone() };
    let put = |config: &Config| {
        let sealed = config::seal(repository.objects().sealer(), config).unwrap();
        place.put(&ObjectName::ConfigByHash(2, names::hash_of(&[&sealed])).name(), &sealed);
    };
    let later = |seconds| esker::clock::Timestamp { seconds: base.time.seconds + seconds, ..base.time };
    put(&Config { level: 5, time: later(10), ..base.clone() });
    assert_eq!(place.open().config().level, 5);
    // One that a dead run sent earlier lands.
    put(&Config { level: 7, time: later(5), ..base.clone() });
    assert_eq!(place.open().config().level, 5, "the later one counts");
    put(&Config { level: 9, generation: 2, ..base.clone() });
    assert_eq!((place.open().config().level, place.open().config().generation), (9, 2));
    // The next one follows the one in force, and all of it is as it should be.
    place.open().change_config(|config| config.level = 11).unwrap();
    assert_eq!((place.open().config().level, place.open().config().number), (11, 3));
    let (findings, _) = small::check(&place.open(), ReadData::Nothing);
    assert!(findings.is_empty(), "{findings:?}");
}

#[test]
fn a_session_never_writes_the_same_record_twice() {
    let place = Place::new(Condition::Ignored);
    let mut writer = place.try_begin("a", &place.owner).unwrap();
    let id = writer.snapshot_id().unwrap();
    self::place(&mut writer, &noise(1, 50 * KIB));
    // An acknowledgement that fails may still land.
    place.clock.advance(Duration::from_secs(1200));
    place.store.take_calls();
    place.store.fault(Verb::Create, 1, esker::store::faults::Fault::Fail);
    let bytes = noise(2, KIB);
    let named = Named { chunk_type: ChunkType::Data, id: chunk_id(writer.repository(), &bytes), bytes: &bytes };
    assert!(writer.place(&[named]).is_err());
    writer.abandon();
    let calls = place.store.take_calls();
    let prefix = format!("sessions/{id}/");
    let mut records: Vec<&str> =
        calls.iter().filter(|call| call.verb == Verb::Create).filter_map(|call| call.name.strip_prefix(&prefix)).collect();
    let all = records.len();
    records.sort_unstable();
    records.dedup();
    assert!(all > 1 && records.len() == all, "{records:?}");
}

#[test]
fn a_run_that_gave_up_is_no_snapshot_that_went_missing() {
    let place = Place::new(Condition::Ignored);
    let kept = place.commit(b"kept");
    let mut writer = place.try_begin("a", &place.owner).unwrap();
    self::place(&mut writer, b"given up");
    writer.abandon();
    let repository = place.open();
    assert_eq!(repository.revoked_beside().unwrap().len(), 1);
    assert!(place.names("sessions").iter().any(|name| name.last_part() == "closed"));
    let findings = small::check(&repository, ReadData::All).0;
    assert!(findings.is_empty(), "{findings:?}");
    // But a session that ended well and has neither is one.
    let snapshot = names::snapshot_name(kept);
    place.store.inner().delete(&snapshot).unwrap();
    let findings = small::check(&place.open(), ReadData::All).0;
    assert!(findings.iter().any(|finding| finding.object == snapshot.as_str() && finding.data_affected), "{findings:?}");
    // What nobody sealed revokes nothing that anybody is told to believe.
    place.put(&ObjectName::Revoked(kept.into()).name(), b"not sealed");
    let findings = small::check(&place.open(), ReadData::All).0;
    assert!(findings.iter().any(|finding| finding.object == snapshot.as_str() && finding.data_affected), "{findings:?}");
}
