//! The order in which a writer does things: the commit protocol as a store sees it.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod small;

use std::collections::BTreeSet;
use std::sync::Arc;

use esker::clock::{ManualClock, Timestamp};
use esker::format::names;
use esker::format::revocation::{self, Revocation};
use esker::id::{PackId, SessionId};
use esker::monitor::Stop;
use esker::prune::{self, PruneOptions};
use esker::repository::writer::{Named, Writer, WriterOptions};
use esker::repository::{Environment, Repository, RepositoryError, Secret};
use esker::store::faults::{Call, Fault, FaultyStore, Verb};
use esker::store::{MemoryStore, Store, StoreError, StoreErrorKind};
use small::{Files, acknowledged, condemn, noise};

type Place = Arc<FaultyStore<MemoryStore>>;

fn place() -> (Place, Arc<Repository>, String) {
    let store = Arc::new(FaultyStore::new(MemoryStore::new()));
    let (repository, line) = small::init(store.clone());
    (store, repository, line)
}

fn files(seed: u64) -> Files {
    Files::from([("a".to_owned(), noise(seed, 5_000)), ("b/c".to_owned(), noise(seed + 1, 700))])
}

/// Where the first (or last) call of this kind stands.
fn first(calls: &[Call], verb: Verb, begins: &str, ends: &str) -> usize {
    let is = |call: &Call| call.verb == verb && call.name.starts_with(begins) && call.name.ends_with(ends);
    calls.iter().position(is).unwrap_or_else(|| panic!("no {verb:?} {begins}..{ends} in {calls:#?}"))
}

fn last(calls: &[Call], verb: Verb, begins: &str) -> usize {
    let is = |call: &Call| call.verb == verb && call.name.starts_with(begins);
    calls.iter().rposition(is).unwrap_or_else(|| panic!("no {verb:?} {begins} in {calls:#?}"))
}

fn packs(repository: &Repository) -> BTreeSet<PackId> {
    let mut packs = BTreeSet::new();
    repository.objects().store().list(names::PACKS, &mut |entry| packs.extend(names::parse_pack(&entry.name))).unwrap();
    packs
}

fn store_chunk(writer: &mut Writer, repository: &Repository, bytes: &[u8]) {
    let named = Named { chunk_type: esker::crypto::ChunkType::Data, id: small::chunk_id(repository, bytes), bytes };
    writer.place(&[named]).unwrap();
}

#[test]
fn a_snapshot_does_what_the_protocol_says_in_its_order() {
    let (store, repository, _) = place();
    small::commit(&repository, &files(1), None);
    store.take_calls();
    small::commit(&repository, &files(2), None);
    let calls = store.take_calls();
    let order = [
        first(&calls, Verb::Create, "sessions/", "/0"),
        first(&calls, Verb::List, "gc", ""),
        first(&calls, Verb::List, "packs", ""),
        first(&calls, Verb::Create, "sessions/", "/1"),
        first(&calls, Verb::Create, "packs/", ""),
        last(&calls, Verb::Create, "packs/"),
        last(&calls, Verb::Create, "index/"),
        last(&calls, Verb::List, "gc"),
        first(&calls, Verb::Create, "sessions/", "/2"),
        first(&calls, Verb::Create, "snapshots/", ""),
        first(&calls, Verb::Create, "sessions/", "/closed"),
    ];
    assert!(order.is_sorted() && order[0] == 0, "{order:?} in {calls:#?}");
    assert!(!calls.iter().any(|call| matches!(call.verb, Verb::Delete | Verb::Replace)), "a writer deletes nothing, ever");
}

#[test]
fn a_session_pins_what_it_used_before_it_was_condemned_and_what_it_uploads() {
    let (_, repository, line) = place();
    let known = noise(1, 700);
    small::commit(&repository, &Files::from([("a".to_owned(), known.clone())]), None);
    let before = packs(&repository);
    let mut writer = small::writer(&repository);
    let id = SessionId(writer.snapshot_id().unwrap().0);
    store_chunk(&mut writer, &repository, &known);
    store_chunk(&mut writer, &repository, &noise(9, 5_000));
    writer.flush().unwrap();
    let all = packs(&repository);
    condemn(&repository, 1, all.iter().copied().collect());
    let node = small::node("a", esker::format::tree::NodeKind::File, 0, Default::default());
    let content = small::store_folder(&mut writer, vec![node]);
    small::commit_source(writer, content, None);
    let owner = small::open(repository.objects().store().clone(), &line).unwrap();
    let (number, pins) = acknowledged(&owner, id);
    let data: BTreeSet<PackId> = before.iter().filter(|pack| pins.contains(pack)).copied().collect();
    assert_eq!(number, 1);
    assert!(!data.is_empty(), "the pack that was used is not pinned");
    assert!(all.difference(&before).all(|own| pins.contains(own)), "what the session uploaded is not pinned");
}

#[test]
fn what_a_gc_record_condemns_is_not_used_afterwards() {
    let (_, repository, _) = place();
    let known = noise(1, 700);
    small::commit(&repository, &Files::from([("a".to_owned(), known.clone())]), None);
    condemn(&repository, 1, packs(&repository).into_iter().collect());
    let mut writer = small::writer(&repository);
    let named = Named { chunk_type: esker::crypto::ChunkType::Data, id: small::chunk_id(&repository, &known), bytes: &known };
    assert!(writer.place(&[named]).unwrap()[0].new);
    writer.abandon();
}

#[test]
fn what_is_condemned_while_a_session_runs_is_not_used_after_its_next_acknowledgement() {
    let store = Arc::new(MemoryStore::new());
    let (repository, line) = small::init(store.clone());
    let known = noise(1, 700);
    small::commit(&repository, &Files::from([("a".to_owned(), known.clone())]), None);
    let clock = Arc::new(ManualClock::at(1_790_000_000));
    let secret = Secret::KeyLine(zeroize::Zeroizing::new(line));
    let repository =
        Arc::new(Repository::open(Environment { clock: clock.clone(), ..small::environment(store, 3) }, &secret, None).unwrap());
    let mut writer = small::writer(&repository);
    condemn(&repository, 1, packs(&repository).into_iter().collect());
    let named = Named { chunk_type: esker::crypto::ChunkType::Data, id: small::chunk_id(&repository, &known), bytes: &known };
    assert!(!writer.place(&[named]).unwrap()[0].new, "nobody told it yet");
    clock.advance(std::time::Duration::from_secs(700));
    assert!(writer.place(&[named]).unwrap()[0].new, "it acknowledged, and used a condemned pack");
    writer.abandon();
}

#[test]
fn a_listing_with_a_gap_acknowledges_only_what_is_below_it() {
    let (_, repository, line) = place();
    for number in [1, 3] {
        condemn(&repository, number, Vec::new());
    }
    let writer = small::writer(&repository);
    let owner = small::open(repository.objects().store().clone(), &line).unwrap();
    assert_eq!(acknowledged(&owner, SessionId(writer.snapshot_id().unwrap().0)).0, 1);
    writer.abandon();
}

#[test]
fn a_session_that_was_revoked_meanwhile_commits_nothing() {
    let (_, repository, _) = place();
    let mut writer = small::writer(&repository);
    let id = writer.snapshot_id().unwrap();
    let revocation = Revocation {
        session: SessionId(id.0),
        time: Timestamp { seconds: 1_790_000_000, nanoseconds: 0 },
        reason: "test".to_owned(),
        extra: Vec::new(),
    };
    let sealed = revocation::seal(repository.objects().sealer(), &revocation).unwrap();
    repository.objects().store().create(&names::snapshot_name(id), &[&sealed]).unwrap();
    let root = small::store_folder(&mut writer, Vec::new());
    let outcome = writer.commit(&small::snapshot(id, root, None));
    assert!(matches!(outcome, Err(RepositoryError::Revoked)), "{outcome:?}");
    assert!(repository.snapshots().unwrap().snapshots.is_empty());
}

#[test]
fn a_pack_is_deleted_only_after_its_verdict_stands() {
    let (store, repository, _) = place();
    // What a writer leaves that gives up is needed by nobody.
    let mut writer = small::writer(&repository);
    store_chunk(&mut writer, &repository, &noise(1, 5_000));
    writer.abandon();
    store.take_calls();
    let options = PruneOptions { force: true, ..PruneOptions::default() };
    let summary = prune::run(&repository, &options, &small::quiet(), &Stop::new()).unwrap();
    assert!(summary.packs_deleted > 0, "{summary:?}");
    let calls = store.take_calls();
    let order = [
        first(&calls, Verb::Create, "gc/", "-condemn"),
        first(&calls, Verb::Create, "gc/", "-verdict"),
        first(&calls, Verb::Delete, "packs/", ""),
    ];
    assert!(order.is_sorted(), "{order:?} in {calls:#?}");
}

#[test]
fn a_store_that_is_full_commits_nothing() {
    let (store, repository, _) = place();
    let mut writer = Writer::begin(&repository, WriterOptions::default(), &small::quiet(), &Stop::new()).unwrap();
    let id = writer.snapshot_id().unwrap();
    store_chunk(&mut writer, &repository, &noise(1, 5_000));
    let root = small::store_folder(&mut writer, Vec::new());
    store.fault(Verb::Create, 1, Fault::Full);
    assert!(writer.commit(&small::snapshot(id, root, None)).is_err());
    assert!(repository.snapshots().unwrap().snapshots.is_empty());
}

#[test]
fn a_pack_name_that_holds_other_bytes_than_ours_commits_nothing() {
    let (store, repository, _) = place();
    let name = esker::store::Name::new("packs/00/00").unwrap();
    store.create(&name, &[b"theirs"]).unwrap();
    let outcome = esker::objects::create_same(&*store, &name, &[b"ours, !"]);
    assert!(outcome.is_err());
    assert!(esker::objects::create_same(&*store, &name, &[b"their", b"s"]).is_ok());
    drop(repository);
}

#[test]
fn whoever_may_not_read_packs_back_knows_its_own_by_the_size_that_is_listed() {
    let store = FaultyStore::new(MemoryStore::new());
    let create = |name: &esker::store::Name, bytes: &[u8]| {
        store.fault(Verb::Get, 1, Fault::Denied);
        esker::objects::create_same(&store, name, &[bytes]).map_err(RepositoryError::from)
    };
    let pack = names::pack_name(PackId([7; 32]));
    store.create(&pack, &[b"ours"]).unwrap();
    assert!(create(&pack, b"ours").is_ok());
    // Cut off by a server, or planted by somebody: not what the hash stands for.
    assert!(matches!(create(&pack, b"ours, and more"), Err(RepositoryError::Inconclusive(_))));
    // The name of a session's record says nothing of its bytes.
    let record = names::ObjectName::SessionRecord(SessionId([7; 16]), 1).name();
    store.create(&record, &[b"ours"]).unwrap();
    assert!(matches!(create(&record, b"ours"), Err(RepositoryError::Store(StoreError { kind: StoreErrorKind::Denied, .. }))));
}
