//! What is left of snapshots that lost something, and of snapshots that are gone.

use std::sync::Arc;

use esker::format::names;
use esker::format::snapshot::SourceStatus;
use esker::id::SnapshotId;
use esker::monitor::{Quiet, Stop};
use esker::repair::packs::{self, PacksOptions};
use esker::repair::recover::{self, RecoverOptions, RecoverSummary};
use esker::repair::snapshots::{self, Lost, SnapshotsOptions, SnapshotsSummary};
use esker::repository::{Reader, Repository, RepositoryError};
use esker::store::Store;
use esker::verify::ReadData;

use super::house::House;
use super::small::{self, Files, noise};

/// Files that fill frames of their own, so that damage hits some and not others.
fn files() -> Files {
    Files::from([
        ("first.bin".to_owned(), noise(1, 5 << 20)),
        ("folder/second.bin".to_owned(), noise(2, 5 << 20)),
        ("small".to_owned(), noise(3, 900)),
    ])
}

fn repair(repository: &Arc<Repository>, options: &SnapshotsOptions) -> (SnapshotsSummary, Vec<(SnapshotId, Lost)>) {
    let mut lost = Vec::new();
    let summary =
        snapshots::run(repository, options, &small::quiet(), &Stop::new(), &mut |id, entry| lost.push((id, entry.clone())))
            .unwrap();
    (summary, lost)
}

fn restore(repository: &Arc<Repository>, id: &SnapshotId) -> Result<Files, RepositoryError> {
    let reader = Reader::new(repository, &Quiet)?;
    small::restore(&reader, &repository.snapshot(id)?.unwrap().snapshot.root)
}

fn recover(house: &House, dry_run: bool) -> RecoverSummary {
    let options = RecoverOptions { host: "host".into(), user: "user".into(), program: "test".into(), dry_run };
    recover::run(&house.open(), &options, &small::quiet(), &Stop::new()).unwrap()
}

#[test]
fn beside_a_snapshot_that_lost_a_file_stands_one_without_it_and_the_original_stays() {
    let house = House::with_parity(files(), 0);
    // Frames of 4 MiB: zeros near the beginning of the data pack hit the first file only.
    house.damage(house.largest(), |bytes| bytes[1 << 20..2 << 20].fill(0));
    packs::run(&house.open(), &PacksOptions::default(), &Quiet, &Stop::new()).unwrap();

    let dry = SnapshotsOptions { dry_run: true, ..SnapshotsOptions::default() };
    let (summary, lost) = repair(&house.open(), &dry);
    assert_eq!((summary.checked, summary.damaged.len(), summary.damaged[0].new), (1, 1, None));
    assert_eq!(lost, [(house.snapshot, Lost::Entry(b"data/first.bin".to_vec()))]);
    assert_eq!(house.open().snapshots().unwrap().snapshots.len(), 1);

    let (summary, lost) = repair(&house.open(), &SnapshotsOptions::default());
    assert_eq!(lost.len(), 1);
    let new = summary.damaged[0].new.unwrap();
    let repository = house.open();
    let mut expected = house.files.clone();
    expected.remove("first.bin");
    assert!(restore(&repository, &new).unwrap() == expected);
    let stored = repository.snapshot(&new).unwrap().unwrap().snapshot;
    let original = repository.snapshot(&house.snapshot).unwrap().unwrap();
    assert_eq!((stored.time, &stored.host), (original.snapshot.time, &original.snapshot.host));
    assert_eq!(stored.previous, Some((original.id, original.hash)));
    assert!(stored.incomplete[0].contains(&house.snapshot.to_hex()), "{:?}", stored.incomplete);
    assert_eq!(stored.incomplete[1], "lost: data/first.bin");
    assert_eq!((stored.totals.entries, stored.totals.files, stored.totals.bytes), (4, 2, (5 << 20) + 900));
    // The new one keeps everything by itself: verify finds only the old one's loss.
    let options = esker::verify::VerifyOptions { snapshots: vec![new], read_data: ReadData::Nothing, ..Default::default() };
    let summary = esker::verify::run(&repository, &options, &small::quiet(), &Stop::new(), &mut |_| {}).unwrap();
    assert_eq!(summary.data_affected, 0);

    let (summary, _) = repair(&house.open(), &SnapshotsOptions::default());
    assert_eq!((summary.damaged.len(), summary.damaged[0].new, summary.damaged[0].before), (1, None, Some(new)), "not twice");
}

#[test]
fn of_a_snapshot_from_before_a_key_rotation_no_new_one_is_made_and_the_rest_is_still_there() {
    let house = House::with_parity(files(), 0);
    house.damage(house.largest(), |bytes| bytes[1 << 20..2 << 20].fill(0));
    packs::run(&house.open(), &PacksOptions::default(), &Quiet, &Stop::new()).unwrap();
    esker::rotate::rotate(&house.open(), false).unwrap();
    let (summary, lost) = repair(&house.open(), &SnapshotsOptions::default());
    assert_eq!(lost, [(house.snapshot, Lost::Entry(b"data/first.bin".to_vec()))]);
    assert_eq!((summary.damaged[0].new, summary.damaged[0].other_generation), (None, Some(1)));
    assert_eq!(house.open().snapshots().unwrap().snapshots.len(), 1);
    // The next one heals what is still at its source.
    small::commit(&house.open(), &files(), None);
    let newest = house.open().snapshots().unwrap().snapshots.into_iter().find(|stored| stored.id != house.snapshot).unwrap();
    assert_eq!(restore(&house.open(), &newest.id).unwrap(), files());
}

#[test]
fn what_can_still_be_read_in_a_damaged_pack_is_stored_again_for_the_new_snapshot() {
    let house = House::with_parity(files(), 0);
    let pack = house.largest();
    house.damage(pack, |bytes| bytes[1 << 20..2 << 20].fill(0));
    packs::run(&house.open(), &PacksOptions::default(), &Quiet, &Stop::new()).unwrap();
    let (summary, _) = repair(&house.open(), &SnapshotsOptions::default());
    let new = summary.damaged[0].new.unwrap();
    // The damaged pack is lost altogether: the new snapshot does not need it.
    house.store.delete(&names::pack_name(pack)).unwrap();
    let mut expected = house.files.clone();
    expected.remove("first.bin");
    assert!(restore(&house.open(), &new).unwrap() == expected);
}

#[test]
fn damage_nobody_looked_for_is_found_when_everything_is_read() {
    let house = House::with_parity(files(), 0);
    house.damage(house.largest(), |bytes| bytes[1 << 20..2 << 20].fill(0));
    let (summary, _) = repair(&house.open(), &SnapshotsOptions::default());
    assert!(summary.damaged.is_empty(), "nothing is known against the pack");
    let (summary, lost) = repair(&house.open(), &SnapshotsOptions { read_data: true, ..SnapshotsOptions::default() });
    assert_eq!((summary.damaged.len(), lost.len()), (1, 1));
}

#[test]
fn of_a_snapshot_whose_root_is_lost_nothing_is_kept_and_others_stay_whole() {
    let house = House::with_parity(Files::from([("a".to_owned(), noise(1, 700))]), 0);
    let before: Vec<_> = house.packs();
    let mut more = house.files.clone();
    more.insert("folder/b".to_owned(), noise(2, 800));
    let second = small::commit(&house.open(), &more, None);
    let repository = house.open();
    let reader = Reader::new(&repository, &Quiet).unwrap();
    let stored = repository.snapshot(&second).unwrap().unwrap();
    let node = reader.resolve(&stored.snapshot.root, b"data/folder", "test").unwrap().unwrap();
    let esker::format::tree::Item::Chunk { id, .. } = node.content.items[0] else { panic!("a hole") };
    // Root, `data` and `folder` of the second snapshot stand in a pack of their own; `a` in one of the first.
    let home = reader.locate(&[(esker::crypto::ChunkType::Tree, id)]).unwrap()[0].unwrap();
    let name = reader.pack_name(home.pack);
    assert!(before.iter().all(|(pack, _)| names::pack_name(*pack).as_str() != name));
    house.change(&esker::store::Name::new(name).unwrap(), |bytes| bytes.fill(0));
    packs::run(&house.open(), &PacksOptions::default(), &Quiet, &Stop::new()).unwrap();
    let (summary, lost) = repair(&house.open(), &SnapshotsOptions::default());
    // All of its trees stood in that pack: nothing of it is left, and the first snapshot is whole.
    assert_eq!(summary.checked, 2);
    assert_eq!(summary.damaged.len(), 1);
    assert_eq!((summary.damaged[0].original, summary.damaged[0].new), (second, None));
    assert_eq!(lost, [(second, Lost::Folder(Vec::new()))]);
    assert!(house.restore().unwrap() == house.files);
}

#[test]
fn a_source_that_lost_its_stream_says_so() {
    let house = House::with_parity(files(), 0);
    let repository = house.open();
    let original = repository.snapshot(&house.snapshot).unwrap().unwrap().snapshot;
    // The same tree as a source with a stream.
    let mut writer = small::writer(&repository);
    let id = writer.snapshot_id().unwrap();
    assert!(writer.use_if_known(&[]).unwrap());
    let mut snapshot = small::snapshot(id, original.root, None);
    let time = snapshot.time;
    snapshot.sources.push(esker::format::snapshot::SourceEntry {
        name: "data".into(),
        kind: "command".into(),
        path: b"data".to_vec(),
        start: time,
        end: time,
        status: SourceStatus::Ok,
        streams: vec![
            esker::format::snapshot::Stream { path: b"data/first.bin".to_vec(), bytes: 5 << 20, mac: [1; 32] },
            esker::format::snapshot::Stream { path: b"data/small".to_vec(), bytes: 900, mac: [2; 32] },
        ],
        facts: Vec::new(),
        extra: Vec::new(),
    });
    writer.commit(&snapshot).unwrap();
    house.damage(house.largest(), |bytes| bytes[1 << 20..2 << 20].fill(0));
    packs::run(&house.open(), &PacksOptions::default(), &Quiet, &Stop::new()).unwrap();
    let (summary, _) = repair(&house.open(), &SnapshotsOptions { snapshots: vec![id], ..SnapshotsOptions::default() });
    let new = house.open().snapshot(&summary.damaged[0].new.unwrap()).unwrap().unwrap().snapshot;
    let source = &new.sources[0];
    assert_eq!((source.status, source.streams.len(), source.path.as_slice()), (SourceStatus::Failed, 1, &b"data"[..]));
    assert_eq!(source.streams[0].path, b"data/small");
}

#[test]
fn folders_of_snapshots_that_are_gone_are_recovered() {
    let house = House::small();
    let second = Files::from([("c".to_owned(), noise(8, 4000)), ("other/d".to_owned(), noise(9, 50))]);
    small::commit(&house.open(), &second, None);
    assert!(recover(&house, true).roots.is_empty(), "every folder is reached");
    let mut snapshots = Vec::new();
    house.store.list("snapshots", &mut |entry| snapshots.push(entry.name)).unwrap();
    snapshots.iter().for_each(|name| house.store.delete(name).unwrap());

    let dry = recover(&house, true);
    assert_eq!((dry.roots.len(), dry.snapshot), (2, None));
    assert!(dry.roots.iter().all(|root| root.entries == [b"data".to_vec()]), "{:?}", dry.roots);
    let summary = recover(&house, false);
    assert_eq!((summary.roots.len(), summary.lost, summary.unreadable), (2, 0, 0));
    let repository = house.open();
    let reader = Reader::new(&repository, &Quiet).unwrap();
    let root = repository.snapshot(&summary.snapshot.unwrap()).unwrap().unwrap().snapshot.root;
    let mut found = Vec::new();
    for place in &summary.roots {
        let path = format!("recovered/{}", place.name);
        let node = reader.resolve(&root, path.as_bytes(), "test").unwrap().unwrap();
        found.push(small::restore(&reader, &node.content).unwrap());
    }
    assert!(found.contains(&house.files) && found.contains(&second));
    let (findings, _) = small::check(&repository, ReadData::All);
    assert!(findings.iter().all(|finding| finding.kind == esker::verify::FindingKind::SnapshotMissing), "{findings:?}");
    assert!(recover(&house, false).snapshot.is_none(), "a second run finds nothing to do");
}

#[test]
fn only_what_no_snapshot_reaches_is_recovered() {
    let house = House::small();
    let mut more = house.files.clone();
    more.insert("z".to_owned(), noise(5, 600));
    let second = small::commit(&house.open(), &more, None);
    house.store.delete(&names::snapshot_name(second)).unwrap();
    let summary = recover(&house, false);
    assert_eq!(summary.roots.len(), 1);
    let repository = house.open();
    let reader = Reader::new(&repository, &Quiet).unwrap();
    let root = repository.snapshot(&summary.snapshot.unwrap()).unwrap().unwrap().snapshot.root;
    let node = reader.resolve(&root, format!("recovered/{}", summary.roots[0].name).as_bytes(), "test").unwrap().unwrap();
    assert!(small::restore(&reader, &node.content).unwrap() == more);
}
