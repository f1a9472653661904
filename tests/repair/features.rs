//! A repository that a newer esker has put under rules this one does not know.

use esker::format::config;
use esker::format::names::{self, ObjectName};
use esker::monitor::{Quiet, Stop};
use esker::repair::packs::{self, PacksOptions};
use esker::repair::recover::{self, RecoverOptions};
use esker::repair::snapshots::{self, SnapshotsOptions};
use esker::repair::{RepairError, index, parity};
use esker::repository::RepositoryError;
use esker::store::Store;
use esker::verify::ReadData;

use super::house::House;
use super::small;

#[test]
fn what_only_a_newer_esker_may_write_this_one_reads_and_leaves_alone() {
    let house = House::small();
    let repository = house.open();
    let first = house.store.get(&ObjectName::Config(1).name(), u64::MAX).unwrap();
    let mut config = repository.config().clone();
    (config.number, config.previous, config.write_features) = (2, names::hash_of(&[&first]), 1 << 62);
    let sealed = config::seal(repository.objects().sealer(), &config).unwrap();
    house.store.create(&ObjectName::Config(2).name(), &[&sealed]).unwrap();
    let repository = house.open();
    let before = small::names(&house.store);
    let (monitor, stop) = (small::quiet(), Stop::new());
    let refused = |what: &str, error: Option<RepairError>| {
        assert!(
            matches!(error, Some(RepairError::Repository(RepositoryError::NewerFeatures(features))) if features == 1 << 62),
            "{what}: {error:?}"
        );
        assert_eq!(small::names(&house.store), before, "{what}");
    };
    refused("parity set", parity::set(&repository, 7).err());
    refused("parity add", parity::add(&repository, 7, false, &Quiet, &stop).err());
    refused("parity drop", parity::remove(&repository, false, &stop).err());
    refused("a new config", repository.change_config(|_| ()).err().map(RepairError::from));
    refused("repair packs", packs::run(&repository, &PacksOptions::default(), &Quiet, &stop).err());
    refused("repair index", index::run(&repository, false, &monitor, &stop).err());
    refused("repair snapshots", snapshots::run(&repository, &SnapshotsOptions::default(), &monitor, &stop, &mut |_, _| {}).err());
    refused("recover", recover::run(&repository, &RecoverOptions::default(), &monitor, &stop).err());
    assert!(house.restore().unwrap() == house.files, "reading is fine");
    assert!(small::check(&repository, ReadData::All).0.is_empty());
}
