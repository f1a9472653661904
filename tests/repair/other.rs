//! What was lost here and stands in another repository under other names.

use std::sync::Arc;

use esker::crypto::Passphrase;
use esker::monitor::Stop;
use esker::repair::other::{self, OtherSummary};
use esker::repair::packs::{self, PacksOptions};
use esker::repository::Repository;
use esker::store::{MemoryStore, Store};
use esker::verify::ReadData;

use super::house::House;
use super::small::{self, Files, noise};

fn files() -> Files {
    Files::from([("a".to_owned(), noise(2, 300_000)), ("folder/b".to_owned(), noise(3, 700))])
}

/// Another repository that was never in touch with the first.
fn another(files: &Files) -> Arc<Repository> {
    let store = Arc::new(MemoryStore::new());
    let password = Passphrase::new("another".to_owned());
    let made = Repository::init(small::environment(store, 555), &password, &small::cheapest()).unwrap();
    let repository = Arc::new(made.repository);
    small::commit(&repository, files, None);
    repository
}

fn look(house: &House, others: &[Arc<Repository>], dry_run: bool) -> OtherSummary {
    let repository = house.open();
    let summary =
        packs::run(&repository, &PacksOptions { dry_run, ..PacksOptions::default() }, &*small::quiet(), &Stop::new()).unwrap();
    let lost: Vec<_> = summary.packs.iter().map(|pack| pack.pack).collect();
    other::run(&repository, others, &lost, dry_run, &small::quiet(), &Stop::new()).unwrap()
}

#[test]
fn a_lost_data_pack_comes_back_from_another_repository_with_the_same_data() {
    for missing in [true, false] {
        let house = House::with_parity(files(), 0);
        let pack = house.largest();
        assert!(house.holds_data(pack));
        match missing {
            true => house.store.delete(&esker::format::names::pack_name(pack)).unwrap(),
            // Beyond the header and the directory, so that it is still known what stood there.
            false => house.damage(pack, |bytes| bytes[100_000..200_000].fill(7)),
        }
        house.assert_lost("before");
        let before = house.packs().len();
        let dry = look(&house, &[another(&files())], true);
        assert_eq!((dry.lost, dry.found, dry.bytes, dry.trees_lost), (71, 71, 300_700, 0));
        assert_eq!(house.packs().len(), before, "a dry run changes nothing");
        let found = look(&house, &[another(&files())], false);
        assert_eq!(found, dry);
        assert!(found.is_whole());
        assert!(house.restore().unwrap() == house.files);
        let (_, summary) = small::check(&house.open(), ReadData::All);
        assert_eq!(summary.data_affected, 0);
        // There is nothing left to look for.
        let again = look(&house, &[another(&files())], false);
        assert_eq!((again.lost, again.found), (0, 0));
    }
}

#[test]
fn only_what_is_lost_is_taken_from_several_repositories() {
    let house = House::with_parity(files(), 0);
    let packs = house.packs().len();
    house.store.delete(&esker::format::names::pack_name(house.largest())).unwrap();
    let others = [
        another(&Files::from([("b".to_owned(), noise(3, 700)), ("more".to_owned(), noise(8, 500_000))])),
        another(&Files::from([("a".to_owned(), noise(2, 300_000))])),
    ];
    let some = look(&house, &others[..1], false);
    assert_eq!((some.lost, some.found, some.bytes), (71, 1, 700));
    assert!(!some.is_whole());
    house.assert_lost("after the first");
    let rest = look(&house, &others, false);
    assert_eq!((rest.lost, rest.found, rest.bytes), (70, 70, 300_000));
    assert!(house.restore().unwrap() == house.files);
    assert_eq!(house.packs().len(), packs + 1, "one lost, two new ones");
}

#[test]
fn lost_folders_are_counted_and_not_looked_for() {
    let house = House::with_parity(files(), 0);
    let smallest = house.packs()[0].0;
    assert!(!house.holds_data(smallest));
    house.store.delete(&esker::format::names::pack_name(smallest)).unwrap();
    let found = look(&house, &[another(&files())], false);
    assert_eq!((found.lost, found.found), (0, 0));
    assert!(found.trees_lost > 0 && !found.is_whole());
}
