//! Index files and packs put right, and damage that only the next snapshot puts right.

use std::sync::Arc;

use esker::format::gc::{Condemn, Verdict};
use esker::format::names::{self, ObjectName};
use esker::id::{ObjectHash, PackId};
use esker::monitor::{Quiet, Stop};
use esker::repair::index::{self, IndexSummary};
use esker::repair::packs::{self, Harm, Outcome, PacksOptions, PacksSummary};
use esker::repair::{RepairError, parity};
use esker::repository::{Repository, RepositoryError};
use esker::store::faults::{Fault, FaultyStore, Verb};
use esker::store::{LocalStore, MemoryStore, Store};
use esker::verify::{FindingKind, ReadData};

use super::house::House;
use super::small::{self, Files, noise};

fn mend(repository: &Arc<Repository>, options: &PacksOptions) -> PacksSummary {
    packs::run(repository, options, &Quiet, &Stop::new()).unwrap()
}

fn reindex(repository: &Arc<Repository>, dry_run: bool) -> IndexSummary {
    index::run(repository, dry_run, &small::quiet(), &Stop::new()).unwrap()
}

fn all(house: &House, folder: &str) -> Vec<esker::store::Name> {
    let mut names = Vec::new();
    house.store.list(folder, &mut |entry| names.push(entry.name)).unwrap();
    names
}

fn outcomes(summary: &PacksSummary) -> Vec<(PackId, Harm, Outcome)> {
    summary.packs.iter().map(|pack| (pack.pack, pack.harm, pack.outcome.clone())).collect()
}

fn assert_whole(house: &House) {
    assert!(house.restore().unwrap() == house.files);
    let (findings, _) = small::check(&house.open(), ReadData::All);
    assert!(findings.is_empty(), "{findings:?}");
}

#[test]
fn a_damaged_pack_is_put_back_byte_by_byte_from_its_parity() {
    let house = House::small();
    let (pack, _) = house.packs()[0];
    let whole = house.store.get(&names::pack_name(pack), u64::MAX).unwrap();
    house.damage(pack, |bytes| bytes[5000..9000].fill(7));

    let dry = mend(&house.open(), &PacksOptions { dry_run: true, ..PacksOptions::default() });
    assert_eq!(outcomes(&dry), [(pack, Harm::Damaged, Outcome::FromParity)]);
    assert_ne!(house.store.get(&names::pack_name(pack), u64::MAX).unwrap(), whole, "a dry run changes nothing");

    let summary = mend(&house.open(), &PacksOptions::default());
    assert_eq!(outcomes(&summary), [(pack, Harm::Damaged, Outcome::FromParity)]);
    assert_eq!((summary.checked, summary.unmended(), summary.listed_damaged), (2, 0, 0));
    assert_eq!(house.store.get(&names::pack_name(pack), u64::MAX).unwrap(), whole);
    assert_eq!(all(&house, "config").len(), 1, "nothing had to be written down");
    assert_whole(&house);
    assert!(mend(&house.open(), &PacksOptions::default()).packs.is_empty(), "a second run finds nothing to do");
}

#[test]
fn a_pack_cut_off_is_put_back_and_so_is_a_damaged_parity_object() {
    let house = House::small();
    let packs = house.packs();
    let ((first, _), (second, _)) = (packs[0], packs[1]);
    house.damage(first, |bytes| bytes.truncate(bytes.len() - 9000));
    let object = house.parity_names(second).pop().unwrap();
    house.change(&object, |bytes| bytes[40..4000].fill(0));
    let summary = mend(&house.open(), &PacksOptions::default());
    assert_eq!(outcomes(&summary), [(first, Harm::Damaged, Outcome::FromParity)]);
    assert_eq!(summary.parity_mended, 1);
    assert_whole(&house);
}

#[test]
fn a_mirror_gives_back_what_is_missing_and_what_is_damaged_beyond_parity() {
    let house = House::small();
    let mirror = Arc::new(house.store.fork());
    let packs = house.packs();
    let ((first, _), (second, _)) = (packs[0], packs[1]);
    house.damage(first, |bytes| bytes.fill(0));
    house.store.delete(&names::pack_name(second)).unwrap();
    let nothing = mend(&house.open(), &PacksOptions { dry_run: true, ..PacksOptions::default() });
    assert_eq!(nothing.unmended(), 2);

    // One mirror is damaged in the same place, and another is not ours: the third helps.
    let damaged = Arc::new(mirror.fork());
    damaged.replace(&names::pack_name(first), &[b"something else"]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let local = Arc::new(LocalStore::open(folder.path()));
    for (pack, _) in &packs {
        local.create(&names::pack_name(*pack), &[&mirror.get(&names::pack_name(*pack), u64::MAX).unwrap()]).unwrap();
    }
    damaged.delete(&names::pack_name(second)).unwrap();
    let from: Vec<Arc<dyn Store>> = vec![Arc::new(MemoryStore::new()), damaged, local.clone()];
    let summary = mend(&house.open(), &PacksOptions { from, ..PacksOptions::default() });
    let place = Outcome::FromMirror(local.location());
    let mut expected = [(first, Harm::Damaged, place.clone()), (second, Harm::Missing, place)];
    expected.sort_unstable_by_key(|(pack, ..)| *pack);
    assert_eq!(outcomes(&summary), expected);
    assert_whole(&house);
}

#[test]
fn a_pack_that_a_verdict_lists_never_comes_back() {
    let house = House::small();
    let mirror: Arc<dyn Store> = Arc::new(house.store.fork());
    let (pack, _) = house.packs()[0];
    let whole = mirror.get(&names::pack_name(pack), u64::MAX).unwrap();
    let repository = house.open();
    let condemn = Condemn {
        number: 1,
        packs: vec![pack],
        written: Vec::new(),
        snapshots: Vec::new(),
        time: repository.clock().now(),
        extra: Vec::new(),
    };
    let sealed = esker::format::gc::seal_condemn(repository.objects().sealer(), &condemn).unwrap();
    house.store.create(&ObjectName::GcCondemn(1).name(), &[&sealed]).unwrap();
    let verdict = Verdict {
        number: 1,
        time: repository.clock().now(),
        condemn: ObjectHash(*blake3::hash(&sealed).as_bytes()),
        delete: vec![pack],
        pardon: Vec::new(),
        extra: Vec::new(),
    };
    let sealed = esker::format::gc::seal_verdict(repository.objects().sealer(), &verdict).unwrap();
    house.store.create(&ObjectName::GcVerdict(1).name(), &[&sealed]).unwrap();
    house.store.delete(&names::pack_name(pack)).unwrap();

    let summary = mend(&house.open(), &PacksOptions { from: vec![mirror], ..PacksOptions::default() });
    assert!(summary.packs.is_empty(), "{:?}", summary.packs);
    assert!(house.store.size(&names::pack_name(pack)).is_err());
    assert!(matches!(packs::put_back(&house.open(), pack, &whole), Err(RepositoryError::Inconclusive(_))));
    assert!(house.store.size(&names::pack_name(pack)).is_err());
}

#[test]
fn only_the_bytes_of_its_name_are_put_over_a_pack_and_only_by_an_owner() {
    let house = House::small();
    let (pack, _) = house.packs()[0];
    let whole = house.store.get(&names::pack_name(pack), u64::MAX).unwrap();
    assert!(packs::put_back(&house.open(), pack, &whole[1..]).is_err());
    let line = house.open().export_key(esker::format::keyslot::Level::Writer).unwrap();
    let writer = small::open(house.store.clone(), &line).unwrap();
    assert!(matches!(packs::put_back(&writer, pack, &whole), Err(RepositoryError::NeedsOwner(_))));
    let refused = packs::run(&writer, &PacksOptions::default(), &Quiet, &Stop::new());
    assert!(matches!(refused, Err(RepairError::Repository(RepositoryError::NeedsOwner(_)))));
    assert_eq!(house.store.get(&names::pack_name(pack), u64::MAX).unwrap(), whole);
}

#[test]
fn only_the_packs_named_are_looked_at() {
    let house = House::small();
    let packs = house.packs();
    for (pack, _) in &packs {
        house.damage(*pack, |bytes| bytes[5000] ^= 1);
    }
    let one = PacksOptions { packs: vec![packs[1].0.to_hex()[..10].to_owned()], ..PacksOptions::default() };
    assert_eq!(outcomes(&mend(&house.open(), &one)), [(packs[1].0, Harm::Damaged, Outcome::FromParity)]);
    let none = PacksOptions { packs: vec!["0000000000".to_owned()], ..PacksOptions::default() };
    let refused = packs::run(&house.open(), &none, &Quiet, &Stop::new());
    assert!(matches!(refused, Err(RepairError::NotFound(_))));
}

#[test]
fn a_missing_pack_heals_by_the_next_snapshot_that_still_has_the_data() {
    let house = House::with_parity(files(1), 0);
    for (pack, _) in house.packs() {
        house.store.delete(&names::pack_name(pack)).unwrap();
    }
    assert!(house.restore().is_err());
    small::commit(&house.open(), &house.files, None);
    assert!(house.restore().unwrap() == house.files, "the old snapshot is whole again too");
    let (_, summary) = small::check(&house.open(), ReadData::All);
    assert_eq!(summary.data_affected, 0);
}

#[test]
fn a_damaged_pack_of_the_right_size_heals_by_the_next_snapshot_once_repair_has_found_it() {
    let house = House::with_parity(files(2), 0);
    for (pack, _) in house.packs() {
        house.damage(pack, |bytes| bytes[4000..].fill(0));
    }
    // Nobody can see the damage without reading everything: a snapshot counts on what is listed.
    small::commit(&house.open(), &house.files, None);
    assert!(house.restore().is_err());

    let damaged = house.packs().len() as u64;
    let summary = mend(&house.open(), &PacksOptions::default());
    assert!(summary.unmended() >= 2 && summary.listed_damaged == summary.unmended() && summary.unmended() <= damaged);
    let repository = house.open();
    assert_eq!(repository.config().damaged_packs().len() as u64, summary.listed_damaged);
    assert_eq!(all(&house, "config").len(), 2);
    // A host with a writer key only obeys it as well.
    let line = repository.export_key(esker::format::keyslot::Level::Writer).unwrap();
    small::commit(&small::open(house.store.clone(), &line).unwrap(), &house.files, None);
    assert!(house.restore().unwrap() == house.files);
    let (findings, summary) = small::check(&house.open(), ReadData::All);
    assert_eq!(summary.data_affected, 0, "{findings:?}");

    // A second run changes nothing; once the packs are gone the list is empty again.
    mend(&house.open(), &PacksOptions::default());
    assert_eq!(all(&house, "config").len(), 2);
    for pack in repository.config().damaged_packs() {
        house.store.delete(&names::pack_name(pack)).unwrap();
    }
    let summary = mend(&house.open(), &PacksOptions::default());
    assert_eq!(summary.listed_damaged, 0);
    assert!(house.open().config().damaged_packs().is_empty());
    assert!(house.restore().unwrap() == house.files);
}

#[test]
fn a_lost_or_damaged_index_is_made_again_from_the_packs() {
    let house = House::small();
    small::commit(&house.open(), &files(5), None);
    let index = all(&house, "index");
    assert!(index.len() >= 2);
    house.store.delete(&index[0]).unwrap();
    house.change(&index[1], |bytes| bytes[300] ^= 1);
    let (findings, _) = small::check(&house.open(), ReadData::Nothing);
    let kinds: Vec<FindingKind> = findings.iter().map(|finding| finding.kind).collect();
    assert!(kinds.contains(&FindingKind::IndexDamaged) && kinds.contains(&FindingKind::IndexMissing), "{findings:?}");

    let dry = reindex(&house.open(), true);
    assert_eq!((dry.damaged.len(), dry.indexed.len(), dry.unreadable.len()), (1, house.packs().len(), 0));
    assert_eq!(all(&house, "index").len(), index.len() - 1);
    let summary = reindex(&house.open(), false);
    assert_eq!((summary.indexed.len(), summary.unreadable.len()), (house.packs().len(), 0));
    assert!(house.store.size(&index[1]).is_ok(), "what is damaged is not deleted");
    let (findings, _) = small::check(&house.open(), ReadData::All);
    assert_eq!(findings.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [FindingKind::IndexDamaged]);
    assert!(reindex(&house.open(), false).indexed.is_empty(), "a second run finds nothing to do");
    assert!(house.restore().unwrap() == house.files);
    // A prune takes away what is certainly rotten, when all that is needed of it is named elsewhere.
    let options = esker::prune::PruneOptions::default();
    esker::prune::run(&house.open(), &options, &small::quiet(), &Stop::new()).unwrap();
    assert!(house.store.size(&index[1]).is_err());
    assert!(small::check(&house.open(), ReadData::All).0.is_empty());
    assert!(house.restore().unwrap() == house.files);
}

#[test]
fn a_pack_whose_directory_does_not_open_is_indexed_through_parity_or_named() {
    let house = House::small();
    all(&house, "index").iter().for_each(|name| house.store.delete(name).unwrap());
    let packs = house.packs();
    let ((first, _), (second, _)) = (packs[0], packs[1]);
    house.damage(first, |bytes| bytes[..4096].fill(0));
    house.damage(second, |bytes| bytes.fill(0));
    let summary = reindex(&house.open(), false);
    assert_eq!(summary.indexed, [first]);
    assert_eq!(summary.unreadable.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [second]);
}

#[test]
fn parity_is_switched_added_and_taken_away() {
    let house = House::with_parity(files(7), 0);
    let damaged = house.largest();
    house.damage(damaged, |bytes| bytes[10_000] ^= 1);
    assert_eq!(parity::set(&house.open(), 10).unwrap(), 2);
    assert_eq!(house.open().config().parity_percent(), 10);
    let add = |dry_run| parity::add(&house.open(), 10, dry_run, &Quiet, &Stop::new()).unwrap();
    let count = house.packs().len() as u64;
    assert_eq!((add(true).added, all(&house, "parity").len()), (count - 1, 0));
    let summary = add(false);
    assert_eq!((summary.added, summary.damaged), (count - 1, vec![damaged]));
    assert_eq!(all(&house, "parity").len() as u64, count - 1);
    assert_eq!(add(false).added, 0);
    // New packs get it at once.
    small::commit(&house.open(), &files(8), None);
    let (protected, _) = house.open().packs_with_parity().unwrap();
    assert_eq!(protected.len(), house.packs().len() - 1);
    assert_eq!(parity::remove(&house.open(), true, &Stop::new()).unwrap().0, protected.len() as u64);
    assert_eq!(parity::remove(&house.open(), false, &Stop::new()).unwrap().0, protected.len() as u64);
    assert!(all(&house, "parity").is_empty());
}

#[test]
fn a_config_somebody_squatted_stops_nobody() {
    let house = House::with_parity(files(9), 0);
    house.store.create(&ObjectName::Config(2).name(), &[b"no config at all"]).unwrap();
    assert_eq!(parity::set(&house.open(), 5).unwrap(), 3);
    assert_eq!(house.open().config().parity_percent(), 5);
    // Two at once: one of them is told.
    let repository = house.open();
    let thief = house.store.clone();
    let outcome = repository.change_config(|_| {
        thief.create(&ObjectName::Config(4).name(), &[b"first"]).unwrap();
    });
    assert!(matches!(outcome, Err(RepositoryError::Inconclusive(_))));
}

#[test]
fn a_store_that_fails_while_a_pack_is_put_back_leaves_it_as_it_was() {
    let house = House::small();
    let (pack, _) = house.packs()[0];
    house.damage(pack, |bytes| bytes[5000] ^= 1);
    let before = house.store.get(&names::pack_name(pack), u64::MAX).unwrap();
    let faulty = Arc::new(FaultyStore::new(house.store.clone()));
    faulty.fault(Verb::Replace, 1, Fault::Fail);
    let repository = small::open(faulty, &house.line).unwrap();
    assert!(packs::run(&repository, &PacksOptions::default(), &Quiet, &Stop::new()).is_err());
    assert_eq!(house.store.get(&names::pack_name(pack), u64::MAX).unwrap(), before);
    assert_eq!(mend(&house.open(), &PacksOptions::default()).packs.len(), 1);
    assert_whole(&house);
}

fn files(seed: u64) -> Files {
    Files::from([("a".to_owned(), noise(seed, 20_000)), ("folder/b".to_owned(), noise(seed + 100, 500))])
}
