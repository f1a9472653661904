//! A mirror is a repository at every moment, whatever happens to the source meanwhile, and never takes another past for an earlier one.

#![allow(clippy::unwrap_used, reason = "also what helps a test may unwrap")]

mod small;

use std::collections::BTreeMap;
use std::sync::Arc;

use esker::format::names;
use esker::id::{ObjectHash, SnapshotId};
use esker::mirror::{self, Deleted, MirrorError, MirrorOptions, MirrorSummary};
use esker::monitor::{Quiet, Stop};
use esker::parallel;
use esker::prune::{self, MaxUnused, PruneOptions};
use esker::repository::survey;
use esker::repository::{Reader, Repository, Secret};
use esker::store::faults::FaultyStore;
use esker::store::{MemoryStore, Name, Store};
use esker::verify::ReadData;
use small::meanwhile::Meanwhile;
use small::{Files, noise};
use zeroize::Zeroizing;

type Memory = Arc<MemoryStore>;

fn try_mirror(from: &dyn Store, to: &dyn Store) -> Result<MirrorSummary, MirrorError> {
    mirror::run(from, to, &MirrorOptions::default(), &Quiet, &Stop::new())
}

fn snapshots(store: &Memory, line: &str) -> BTreeMap<SnapshotId, Files> {
    let repository = small::open(store.clone(), line).unwrap();
    let reader = Reader::new(&repository, &Quiet).unwrap();
    let list = repository.snapshots().unwrap();
    assert!(list.damaged.is_empty());
    list.snapshots.iter().map(|stored| (stored.id, small::restore(&reader, &stored.snapshot.root).unwrap())).collect()
}

/// All its snapshots restore, and nothing is lost.
fn assert_repository(store: &Memory, line: &str, what: &str) {
    snapshots(store, line);
    let (findings, _) = small::check(&small::open(store.clone(), line).unwrap(), ReadData::All);
    assert!(findings.iter().all(|finding| !finding.data_affected), "{what}: {findings:?}");
}

fn files(seed: u64) -> Files {
    Files::from([
        ("large".to_owned(), noise(seed, 300_000)),
        ("folder/inner".to_owned(), noise(seed + 1, 3_000)),
        ("same".to_owned(), b"in every snapshot".to_vec()),
    ])
}

fn source() -> (Memory, String, Arc<Repository>) {
    let store: Memory = Arc::new(MemoryStore::new());
    let (repository, line) = small::init_with_parity(store.clone(), 5);
    (store, line, repository)
}

fn forget(repository: &Repository, id: SnapshotId) {
    repository.forget(id, repository.snapshot_hash(&id).unwrap(), "test").unwrap();
}

fn prune(store: &Memory, line: &str) {
    prune_as(store, line, 2);
}

/// As another run would: with randomness of its own.
fn prune_as(store: &Memory, line: &str, seed: u64) {
    let secret = Secret::KeyLine(Zeroizing::new(line.to_owned()));
    let repository = Arc::new(Repository::open(small::environment(store.clone(), seed), &secret, None).unwrap());
    let options = PruneOptions { max_unused: MaxUnused::Bytes(0), force: true, ..PruneOptions::default() };
    prune::run(&repository, &options, &small::quiet(), &Stop::new()).unwrap();
}

fn of(store: &MemoryStore, folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    store.list(folder, &mut |entry| found.push(entry.name.to_string())).unwrap();
    found.sort();
    found
}

#[test]
fn a_mirror_opens_with_the_same_key_and_holds_the_same_snapshots() {
    let (store, line, repository) = source();
    small::commit(&repository, &files(1), None);
    small::commit(&repository, &files(2), None);
    let to: Memory = Arc::new(MemoryStore::new());
    let first = try_mirror(&*store, &*to).unwrap();
    assert_eq!(snapshots(&to, &line), snapshots(&store, &line));
    let mut wanted = small::names(&store);
    wanted.retain(|name| !name.as_str().starts_with("sessions/") && name.as_str() != "ballast");
    assert_eq!(small::names(&to), wanted, "everything but sessions and ballast");
    assert_eq!(first.objects, wanted.len() as u64);
    assert_repository(&to, &line, "whole");
    let second = try_mirror(&*store, &*to).unwrap();
    assert_eq!((second.objects, second.bytes, second.there), (0, 0, first.objects));
    // What comes later is all that is copied later.
    small::commit(&repository, &files(3), None);
    let third = try_mirror(&*store, &*to).unwrap();
    assert!(third.objects > 0 && third.there == first.objects);
    assert_eq!(snapshots(&to, &line).len(), 3);
}

#[test]
fn a_dry_run_makes_nothing() {
    let (store, _, repository) = source();
    small::commit(&repository, &files(1), None);
    let to: Memory = Arc::new(MemoryStore::new());
    let options = MirrorOptions { dry_run: true, ..MirrorOptions::default() };
    let dry = mirror::run(&*store, &*to, &options, &Quiet, &Stop::new()).unwrap();
    assert_eq!(small::names(&to), []);
    let real = try_mirror(&*store, &*to).unwrap();
    assert_eq!((dry.objects, dry.bytes), (real.objects, real.bytes));
}

#[test]
fn cut_off_before_any_write_the_mirror_is_a_repository_and_the_next_run_finishes_it() {
    let (store, line, repository) = source();
    let first = small::commit(&repository, &files(1), None);
    small::commit(&repository, &files(2), None);
    let before: Memory = Arc::new(MemoryStore::new());
    try_mirror(&*store, &*before).unwrap();
    // Then something is forgotten, freed and moved, and something is new.
    forget(&repository, first);
    prune(&store, &line);
    small::commit(&small::open(store.clone(), &line).unwrap(), &files(3), None);
    for starts_empty in [true, false] {
        for writes in 0.. {
            let to: Memory = Arc::new(MemoryStore::new());
            if !starts_empty {
                try_mirror(&*before, &*to).unwrap();
            }
            let faulty = FaultyStore::new(to.clone());
            faulty.stop_after(Some(writes));
            let cut = parallel::one_by_one(|| try_mirror(&*store, &faulty));
            let what = format!("after {writes} writes, from empty: {starts_empty}");
            if !of(&to, "config").is_empty() {
                assert_repository(&to, &line, &what);
            }
            try_mirror(&*store, &*to).unwrap();
            assert_repository(&to, &line, &what);
            assert_eq!(snapshots(&to, &line), snapshots(&store, &line), "{what}");
            if cut.is_ok() {
                assert!(writes > 5, "{what}");
                break;
            }
        }
    }
}

#[test]
fn a_prune_of_the_source_in_the_middle_takes_nothing_from_the_mirror() {
    let mut retried = 0;
    for nth in 0.. {
        let (store, line, repository) = source();
        let first = small::commit(&repository, &files(1), None);
        // It needs a chunk of the first, so a prune moves that one into another pack.
        small::commit(&repository, &files(2), None);
        forget(&repository, first);
        let (inner, key) = (store.clone(), line.clone());
        let from = Meanwhile::new(store.clone(), nth, move || prune(&inner, &key));
        let to: Memory = Arc::new(MemoryStore::new());
        let summary = parallel::one_by_one(|| try_mirror(&*from, &*to)).unwrap();
        retried += u64::from(summary.vanished > 0);
        let what = format!("a prune before call {nth}");
        assert_repository(&to, &line, &what);
        assert_eq!(snapshots(&to, &line), snapshots(&store, &line), "{what}");
        // A prune of the mirror carries out what was decided, and needs nothing that is not there.
        prune(&to, &line);
        assert_eq!(snapshots(&to, &line), snapshots(&store, &line), "{what}, pruned there");
        if from.is_left() {
            assert!(nth > 20 && retried > 0);
            break;
        }
    }
}

#[test]
fn another_past_is_refused() {
    let refused = |from: &Memory, to: &Memory, word: &str| {
        let before = small::names(to);
        match try_mirror(&**from, &**to) {
            Err(MirrorError::OtherHistory { why, .. }) => assert!(why.contains(word), "{why}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(small::names(to), before, "nothing was changed");
    };
    let (store, line, repository) = source();
    small::commit(&repository, &files(1), None);
    let to: Memory = Arc::new(MemoryStore::new());
    try_mirror(&*store, &*to).unwrap();
    // Another repository.
    let other = Arc::new(MemoryStore::new());
    let password = esker::crypto::Passphrase::new(small::PASSWORD.to_owned());
    Repository::init(small::environment(other.clone(), 77), &password, &small::cheapest()).unwrap();
    refused(&other, &to, "config/00000001");
    // The target was written to by itself.
    small::commit(&small::open(to.clone(), &line).unwrap(), &files(2), None);
    refused(&store, &to, "snapshots/");
    // The other way round it is fine: the one is an earlier state of the other.
    try_mirror(&*to, &*store).unwrap();
    // Both were pruned by themselves.
    let id = *snapshots(&store, &line).keys().next().unwrap();
    forget(&small::open(store.clone(), &line).unwrap(), id);
    try_mirror(&*store, &*to).unwrap();
    prune(&store, &line);
    prune_as(&to, &line, 3);
    refused(&store, &to, "gc/");
    // Who looks at a mirror may leave a note there: that is no other past.
    let (store, line, repository) = source();
    small::commit(&repository, &files(1), None);
    let verified: Memory = Arc::new(MemoryStore::new());
    try_mirror(&*store, &*verified).unwrap();
    let owner = small::open(verified.clone(), &line).unwrap();
    assert_eq!(survey::survey(&owner).unwrap().record(&owner).unwrap(), 1);
    assert!(!of(&verified, names::NOTES).is_empty());
    try_mirror(&*store, &*verified).unwrap();
    // The source is no repository.
    let empty = MemoryStore::new();
    assert!(matches!(try_mirror(&empty, &*to), Err(MirrorError::Repository(_))));
}

#[test]
fn an_object_of_a_wrong_size_is_replaced_and_a_damaged_one_is_not_spread() {
    let (store, line, repository) = source();
    small::commit(&repository, &files(1), None);
    let to: Memory = Arc::new(MemoryStore::new());
    let packs = of(&store, "packs");
    let [good, bad] = [&packs[0], &packs[1]].map(|name| Name::new(name.clone()).unwrap());
    let whole = store.get(&bad, u64::MAX).unwrap();
    let mut bytes = whole.clone();
    bytes[1000] ^= 1;
    store.replace(&bad, &[&bytes]).unwrap();
    let summary = try_mirror(&*store, &*to).unwrap();
    assert_eq!(summary.damaged, [bad.to_string()]);
    assert!(!of(&to, "packs").contains(&bad.to_string()));
    store.replace(&bad, &[&whole]).unwrap();
    let cut = to.get(&good, u64::MAX).unwrap();
    to.replace(&good, &[&cut[..cut.len() - 1]]).unwrap();
    let summary = try_mirror(&*store, &*to).unwrap();
    assert_eq!((summary.mended, summary.objects, summary.damaged.len()), (1, 1, 0));
    assert_eq!(snapshots(&to, &line), snapshots(&store, &line));
    let (findings, _) = small::check(&small::open(to, &line).unwrap(), ReadData::All);
    assert!(findings.is_empty(), "{findings:?}");
}

#[test]
fn only_what_records_say_is_deleted_from_a_mirror() {
    let (store, line, repository) = source();
    let first = small::commit(&repository, &files(1), None);
    small::commit(&repository, &files(2), None);
    let to: Memory = Arc::new(MemoryStore::new());
    try_mirror(&*store, &*to).unwrap();
    forget(&repository, first);
    prune(&store, &line);
    prune(&store, &line);
    let summary = try_mirror(&*store, &*to).unwrap();
    assert!(summary.only_there > 0 && summary.deleted == 0);
    assert_eq!(snapshots(&to, &line), snapshots(&store, &line));
    // A pack that the source merely lost stays there, and its index file that tells of it too.
    let lost = of(&store, "packs").into_iter().next().unwrap();
    store.delete(&Name::new(lost.clone()).unwrap()).unwrap();
    let owner = small::open(store.clone(), &line).unwrap();
    let deleted = owner.condemned().unwrap().deleted;
    let tombstones = owner.tombstones().unwrap();
    let is_forgotten = |id: SnapshotId, hash: ObjectHash| tombstones.of(id, hash).is_some();
    let options = MirrorOptions { dry_run: false, delete: Some(Deleted { packs: deleted, is_forgotten: &is_forgotten }) };
    let summary = mirror::run(&*store, &*to, &options, &Quiet, &Stop::new()).unwrap();
    assert!(summary.deleted > 0 && summary.only_there > 0, "{summary:?}");
    let mut kept = of(&store, "packs");
    kept.push(lost);
    kept.sort();
    assert_eq!(of(&to, names::PACKS), kept);
    assert_eq!(of(&to, names::SNAPSHOTS), of(&store, names::SNAPSHOTS));
    assert_repository(&to, &line, "after deleting");
    // And the mirror brings back what the source lost.
    try_mirror(&*to, &*store).unwrap();
    assert_repository(&store, &line, "mended");
}
