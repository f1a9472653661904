//! Stopped at any of its writes, a repair has made nothing worse, and the next one does the rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use esker::format::names;
use esker::monitor::{Quiet, Stop};
use esker::repair::packs::{self, PacksOptions};
use esker::repair::recover::{self, RecoverOptions};
use esker::repair::snapshots::{self, SnapshotsOptions};
use esker::repair::{RepairError, index, parity};
use esker::repository::{Reader, Repository, RepositoryError, Secret};
use esker::store::faults::FaultyStore;
use esker::store::{MemoryStore, Store};
use esker::verify::ReadData;

use super::house::House;
use super::small::{self, Files, noise};

/// Writes no workload here needs.
const WRITES_MAX: u64 = 60;

fn open(store: Arc<dyn Store>, line: &str) -> Arc<Repository> {
    static NEXT: AtomicU64 = AtomicU64::new(100_000);
    let environment = small::environment(store, NEXT.fetch_add(1, Ordering::Relaxed));
    let secret = Secret::KeyLine(zeroize::Zeroizing::new(line.to_owned()));
    Arc::new(Repository::open(environment, &secret, None).unwrap())
}

/// Files of every snapshot that restores, in the order of ids; `None` for one that does not.
fn restore_all(repository: &Arc<Repository>) -> Vec<Option<Files>> {
    let reader = Reader::new(repository, &Quiet).unwrap();
    let list = repository.snapshots().unwrap();
    let mut snapshots: Vec<_> = list.snapshots.iter().collect();
    snapshots.sort_by_key(|stored| stored.id);
    snapshots.iter().map(|stored| small::restore(&reader, &stored.snapshot.root).ok()).collect()
}

/// Runs `work` stopped after each number of writes until it ends by itself; `check` judges the store after each stop and after a
/// second run that nobody stops.
fn at_every_write(
    house: &House,
    work: &dyn Fn(&Arc<Repository>) -> Result<(), RepairError>,
    check: &dyn Fn(&Arc<Repository>, bool),
) {
    for writes in 0..WRITES_MAX {
        let place: Arc<MemoryStore> = Arc::new(house.store.fork());
        let faulty = Arc::new(FaultyStore::new(Arc::clone(&place)));
        let repository = open(faulty.clone(), &house.line);
        faulty.stop_after(Some(writes));
        let ended = work(&repository).is_ok();
        drop(repository);
        check(&open(place.clone(), &house.line), false);
        work(&open(place.clone(), &house.line)).unwrap();
        check(&open(place, &house.line), true);
        if ended {
            assert!(writes > 0, "the work writes nothing");
            return;
        }
    }
    panic!("more than {WRITES_MAX} writes");
}

fn assert_no_damage(repository: &Arc<Repository>) {
    let (findings, _) = small::check(repository, ReadData::All);
    assert!(findings.is_empty(), "{findings:?}");
}

#[test]
fn putting_packs_back() {
    let house = House::small();
    for (pack, _) in house.packs() {
        house.damage(pack, |bytes| bytes[5000] ^= 1);
    }
    let object = house.parity_names(house.largest()).pop().unwrap();
    house.change(&object, |bytes| bytes[100] ^= 1);
    let work = |repository: &Arc<Repository>| packs::run(repository, &PacksOptions::default(), &Quiet, &Stop::new()).map(|_| ());
    at_every_write(&house, &work, &|repository, done| {
        assert_eq!(restore_all(repository), [Some(house.files.clone())]);
        let (_, summary) = small::check(repository, ReadData::All);
        assert_eq!(summary.data_affected, 0);
        // A parity object is made again once its pack is whole: by the run after.
        assert!(!done || summary.findings <= 1);
    });
}

#[test]
fn writing_down_what_nothing_gives_back() {
    let house = House::with_parity(Files::from([("a".to_owned(), noise(1, 9000))]), 0);
    house.damage(house.largest(), |bytes| bytes[40_000..].fill(0));
    let work = |repository: &Arc<Repository>| packs::run(repository, &PacksOptions::default(), &Quiet, &Stop::new()).map(|_| ());
    at_every_write(&house, &work, &|repository, done| {
        let listed = repository.config().damaged_packs();
        assert!(listed == [house.largest()] || (!done && listed.is_empty()));
    });
}

#[test]
fn indexing_again() {
    let house = House::small();
    small::commit(&house.open(), &Files::from([("c".to_owned(), noise(5, 800))]), None);
    let mut names = Vec::new();
    house.store.list("index", &mut |entry| names.push(entry.name)).unwrap();
    names.iter().for_each(|name| house.store.delete(name).unwrap());
    let work = |repository: &Arc<Repository>| index::run(repository, false, &small::quiet(), &Stop::new()).map(|_| ());
    at_every_write(&house, &work, &|repository, done| {
        assert!(restore_all(repository).iter().all(Option::is_some));
        if done {
            assert_no_damage(repository);
        }
    });
}

#[test]
fn a_snapshot_beside() {
    let house = House::with_parity(Files::from([("a".to_owned(), noise(1, 5 << 20)), ("b".to_owned(), noise(2, 300))]), 5);
    house.damage(house.largest(), |bytes| bytes[1 << 20..2 << 20].fill(0));
    packs::run(&house.open(), &PacksOptions::default(), &Quiet, &Stop::new()).unwrap();
    let work = |repository: &Arc<Repository>| {
        snapshots::run(repository, &SnapshotsOptions::default(), &small::quiet(), &Stop::new(), &mut |_, _| {}).map(|_| ())
    };
    let rest = Files::from([("b".to_owned(), house.files["b"].clone())]);
    at_every_write(&house, &work, &|repository, done| {
        let restored = restore_all(repository);
        assert_eq!(restored.iter().filter(|files| files.is_none()).count(), 1, "the original stays what it was");
        assert!(restored.iter().flatten().all(|files| *files == rest));
        assert!(restored.len() == 2 || (!done && restored.len() == 1), "one beside it, and never two");
    });
}

#[test]
fn recovering() {
    let house = House::small();
    house.store.delete(&names::snapshot_name(house.snapshot)).unwrap();
    let options = RecoverOptions { host: "host".into(), user: "user".into(), program: "test".into(), dry_run: false };
    let work = |repository: &Arc<Repository>| recover::run(repository, &options, &small::quiet(), &Stop::new()).map(|_| ());
    at_every_write(&house, &work, &|repository, done| {
        let list = repository.snapshots().unwrap().snapshots;
        assert!(list.len() == 1 || (!done && list.is_empty()), "one, and never two");
        let reader = Reader::new(repository, &Quiet).unwrap();
        for stored in &list {
            let mut found = 0;
            reader
                .walk::<RepositoryError>(&stored.snapshot.root, &mut |_, node| {
                    found += u64::from(node.kind == esker::format::tree::NodeKind::File);
                    Ok(true)
                })
                .unwrap();
            // What a run that was stopped had begun may be recovered too, and refers to the same files.
            assert!(found >= house.files.len() as u64);
        }
    });
}

#[test]
fn adding_parity_and_snapshots_with_parity() {
    let house = House::with_parity(Files::from([("a".to_owned(), noise(1, 9000))]), 0);
    parity::set(&house.open(), 5).unwrap();
    let add = |repository: &Arc<Repository>| parity::add(repository, 5, false, &Quiet, &Stop::new()).map(|_| ());
    at_every_write(&house, &add, &|repository, done| {
        assert_no_damage(repository);
        let (protected, _) = repository.packs_with_parity().unwrap();
        assert!(!done || protected.len() == 2);
    });
    let more = Files::from([("b".to_owned(), noise(2, 9000))]);
    let take = |repository: &Arc<Repository>| {
        // `commit` of the helper unwraps: what stops it is a panic here and nothing else.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| small::commit(repository, &more, None)));
        outcome.map(|_| ()).map_err(|_| RepairError::NotFound("stopped".to_owned()))
    };
    at_every_write(&house, &take, &|repository, done| {
        let (findings, summary) = small::check(repository, ReadData::All);
        assert_eq!(summary.data_affected, 0, "{findings:?}");
        assert!(restore_all(repository).iter().all(Option::is_some));
        assert!(!done || repository.snapshots().unwrap().snapshots.len() >= 2);
    });
}
