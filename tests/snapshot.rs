//! One directory into a repository and back: the thin slice, and what every later run relies on.

#![allow(clippy::unwrap_used)]

mod common;

use common::repository::{Place, directory};
use esker::format::tree::NodeKind;
use esker::repository::Reader;

#[test]
fn a_directory_comes_back_byte_for_byte() {
    let place = Place::new();
    place.write("a/one", b"the first file");
    place.write("a/empty", b"");
    place.write("b/large", &common::repository::noise(7, 5 << 20));
    let summary = place.snapshot(vec![directory("files", place.source())]);
    assert!(summary.reasons.is_empty());
    assert_eq!(summary.counts.files_new, 3);
    let repository = place.open();
    let reader = Reader::new(&repository, &esker::monitor::Quiet).unwrap();
    let stored = repository.find_snapshot("latest", &|_| true).unwrap();
    let node = reader.resolve(&stored.snapshot.root, b"files/b/large", "latest").unwrap().unwrap();
    assert_eq!(node.kind, NodeKind::File);
    assert_eq!(place.bytes(&reader, &node), common::repository::noise(7, 5 << 20));
    let node = reader.resolve(&stored.snapshot.root, b"files/a/one", "latest").unwrap().unwrap();
    assert_eq!(place.bytes(&reader, &node), b"the first file");
}

#[test]
fn an_unchanged_directory_is_not_read_again_and_stores_nothing_but_the_snapshot() {
    let place = Place::new();
    for n in 0..200u32 {
        place.write(&format!("d{}/f{n}", n % 7), format!("file {n}").as_bytes());
    }
    place.settle();
    place.snapshot(vec![directory("files", place.source())]);
    let packs = place.names("packs").len();
    let second = place.snapshot(vec![directory("files", place.source())]);
    assert_eq!(second.counts.files_unmodified, 200);
    assert_eq!(second.totals.data_chunks_new + second.totals.tree_chunks_new, 0);
    assert_eq!(place.names("packs").len(), packs);
    assert_eq!(place.names("index").len(), 1);
}

#[test]
fn the_cache_forgets_folders_that_are_gone() {
    let place = Place::new();
    for n in 0..8 {
        place.write(&format!("d{n}/file"), b"a file");
    }
    place.snapshot(vec![directory("files", place.source())]);
    let is_recorded = |path: &str| {
        let catalog = place.open().open_catalog().unwrap();
        catalog.folder_record("host", "files", path.as_bytes()).unwrap().is_some()
    };
    assert!(is_recorded("d0") && is_recorded("d7"));
    for n in 1..8 {
        std::fs::remove_dir_all(place.source().join(format!("d{n}"))).unwrap();
    }
    place.snapshot(vec![directory("files", place.source())]);
    assert!(is_recorded("d0"));
    assert!((1..8).all(|n| !is_recorded(&format!("d{n}"))));
}

#[test]
fn without_its_cache_a_host_reads_again_and_stores_nothing_twice() {
    let mut place = Place::new();
    place.write("a", &common::repository::noise(1, 300_000));
    place.settle();
    place.snapshot(vec![directory("files", place.source())]);
    place.drop_cache();
    let second = place.snapshot(vec![directory("files", place.source())]);
    assert_eq!(second.counts.files_new, 1);
    assert_eq!(second.totals.data_chunks_new, 0);
}

#[test]
fn a_pack_that_went_missing_is_stored_again_by_the_next_snapshot() {
    let place = Place::new();
    place.write("a", &common::repository::noise(1, 300_000));
    place.settle();
    place.snapshot(vec![directory("files", place.source())]);
    for name in place.names("packs") {
        place.store().delete(&name).unwrap();
    }
    let second = place.snapshot(vec![directory("files", place.source())]);
    assert!(second.totals.data_chunks_new > 0);
    let repository = place.open();
    let reader = Reader::new(&repository, &esker::monitor::Quiet).unwrap();
    let stored = repository.find_snapshot("latest", &|_| true).unwrap();
    let node = reader.resolve(&stored.snapshot.root, b"files/a", "latest").unwrap().unwrap();
    assert_eq!(place.bytes(&reader, &node), common::repository::noise(1, 300_000));
}

#[test]
fn a_writer_key_takes_snapshots_that_deduplicate_and_opens_nothing() {
    let place = Place::new();
    place.write("a", &common::repository::noise(1, 300_000));
    place.snapshot(vec![directory("files", place.source())]);
    let writer = place.open_with_writer_key();
    let summary = place.snapshot_with(&writer, vec![directory("files", place.source())]);
    assert_eq!(summary.totals.data_chunks_new, 0);
    assert!(matches!(writer.snapshots(), Err(esker::repository::RepositoryError::NeedsOwner(_))));
    assert!(matches!(Reader::new(&writer, &esker::monitor::Quiet), Err(esker::repository::RepositoryError::NeedsOwner(_))));
    assert_eq!(place.open().snapshots().unwrap().snapshots.len(), 2);
}

#[test]
fn losing_every_index_file_loses_nothing() {
    let mut place = Place::new();
    place.write("a", &common::repository::noise(1, 300_000));
    place.snapshot(vec![directory("files", place.source())]);
    for name in place.names("index") {
        place.store().delete(&name).unwrap();
    }
    place.drop_cache();
    let repository = place.open();
    let reader = Reader::new(&repository, &esker::monitor::Quiet).unwrap();
    let stored = repository.find_snapshot("latest", &|_| true).unwrap();
    let node = reader.resolve(&stored.snapshot.root, b"files/a", "latest").unwrap().unwrap();
    assert_eq!(place.bytes(&reader, &node), common::repository::noise(1, 300_000));
    // And the next snapshot names the packs in an index file again.
    drop(reader);
    let summary = place.snapshot(vec![directory("files", place.source())]);
    assert_eq!(summary.totals.data_chunks_new, 0);
    assert_eq!(place.names("index").len(), 1);
}

#[test]
fn a_store_that_lost_the_last_snapshot_of_this_host_stops_the_next_one() {
    let place = Place::new();
    place.write("a", b"something");
    place.snapshot(vec![directory("files", place.source())]);
    for name in place.names("snapshots") {
        place.store().delete(&name).unwrap();
    }
    let error = place.try_snapshot(vec![directory("files", place.source())]).unwrap_err();
    assert!(error.to_string().contains("safety brake"), "{error}");
    assert!(place.open().snapshots().unwrap().snapshots.is_empty());
    assert_eq!(place.names("snapshots").len(), 1, "the run that stopped revoked itself: no prune waits for it");
}

#[test]
fn a_failed_source_commits_nothing_and_leaves_what_it_stored_for_the_next_run() {
    let place = Place::new();
    place.write("a", &common::repository::noise(3, 400_000));
    let missing = place.source().join("nowhere");
    let error = place.try_snapshot(vec![directory("files", place.source()), directory("gone", &missing)]).unwrap_err();
    assert!(matches!(error, esker::snapshot::SnapshotError::SourceFailed { .. }), "{error}");
    assert!(place.open().snapshots().unwrap().snapshots.is_empty());
    let next = place.snapshot(vec![directory("files", place.source())]);
    assert_eq!(next.totals.data_chunks_new, 0);
}

#[test]
fn a_record_larger_than_any_record_stops_nobody() {
    let place = Place::new();
    place.write("a", b"something");
    let huge = vec![0; (16 << 20) + 1];
    let name = |text: &str| esker::store::Name::new(text).unwrap();
    place.store().create(&name("gc/0000000000000001-condemn"), &[&huge]).unwrap();
    place.store().create(&name(&format!("forgotten/{}/{}", "0".repeat(32), "0".repeat(64))), &[&huge]).unwrap();
    place.snapshot(vec![directory("files", place.source())]);
    assert_eq!(place.open().snapshots().unwrap().snapshots.len(), 1);
}
