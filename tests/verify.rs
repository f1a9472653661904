//! What verification believes, what it is asked to look at, and what happens when the store fails under it.

#![allow(clippy::unwrap_used, reason = "also what helps a test may unwrap")]

mod small;

use std::collections::BTreeSet;
use std::sync::Arc;

use esker::crypto::ChunkType;
use esker::format::content::{Leaves, ListChunk};
use esker::format::index::{self, IndexFile};
use esker::format::names;
use esker::format::tree::{Content, Item, NodeKind, TreeChunk};
use esker::id::{ChunkId, PackId, SnapshotId};
use esker::monitor::Stop;
use esker::repository::{Repository, RepositoryError};
use esker::store::faults::{Fault, FaultyStore, Verb};
use esker::store::{MemoryStore, ReadUnit, Store};
use esker::verify::{self, FindingKind, ReadData, VerifyError, VerifyOptions};
use small::{Files, noise};

fn files(seed: u64) -> Files {
    Files::from([("a".to_owned(), noise(seed, 5_000)), ("folder/b".to_owned(), noise(seed + 1, 300))])
}

fn packs(repository: &Repository) -> Vec<(PackId, u64)> {
    let mut packs = Vec::new();
    repository
        .objects()
        .store()
        .list("packs", &mut |entry| packs.extend(names::parse_pack(&entry.name).map(|id| (id, entry.size))))
        .unwrap();
    packs
}

#[test]
fn a_false_index_file_hides_nothing_and_is_named() {
    let store = Arc::new(MemoryStore::new());
    let (repository, line) = small::init(store.clone());
    small::commit(&repository, &files(1), None);
    // A snapshot of a chunk that was never stored, and an index file that says it stands in a pack where another one does.
    let never = noise(9, 1_000);
    let id = small::chunk_id(&repository, &never);
    let mut facts = packs(&repository)
        .iter()
        .map(|(id, size)| repository.own_facts(id, *size).unwrap())
        .find(|facts| facts.directory.chunks.iter().any(|row| row.chunk_type == ChunkType::Data))
        .unwrap();
    let row = facts.directory.chunks.iter_mut().find(|row| row.encoding.chunk_length() >= 300).unwrap();
    let length = row.encoding.chunk_length();
    row.id = id;
    let (index_id, bytes) =
        index::seal(repository.objects().sealer(), &IndexFile { replaces: Vec::new(), packs: vec![facts.clone()] }).unwrap();
    let index_name = names::index_name(index_id);
    store.create(&index_name, &[&bytes]).unwrap();
    let mut writer = small::writer(&repository);
    let items = vec![Item::Chunk { id, length: length.into() }];
    let node = small::node("never", NodeKind::File, length.into(), Content { level: 0, items });
    let content = small::store_folder(&mut writer, vec![node]);
    let snapshot = small::commit_source(writer, content, None);

    let (findings, summary) = small::check(&small::open(store, &line).unwrap(), ReadData::Nothing);
    let found: Vec<_> = findings.iter().map(|f| (f.kind, f.object.clone(), f.data_affected)).collect();
    assert_eq!(
        found,
        [(FindingKind::IndexDisagrees, index_name.to_string(), false), (FindingKind::ChunkMissing, format!("chunk {id}"), true),]
    );
    assert_eq!((&findings[1].snapshots, &findings[1].paths), (&vec![snapshot], &vec![b"data/never".to_vec()]));
    assert_eq!((summary.repairable, summary.data_affected), (1, 1));
}

#[test]
fn only_the_snapshots_asked_for_are_walked() {
    let store = Arc::new(MemoryStore::new());
    let (repository, line) = small::init(store.clone());
    let first = small::commit(&repository, &files(1), None);
    let before: BTreeSet<PackId> = packs(&repository).into_iter().map(|(id, _)| id).collect();
    let second = small::commit(&repository, &files(10), None);
    for (id, _) in packs(&repository).iter().filter(|(id, _)| !before.contains(id)) {
        store.delete(&names::pack_name(*id)).unwrap();
    }
    let repository = small::open(store, &line).unwrap();
    let lost = |snapshots: Vec<SnapshotId>| {
        let options = VerifyOptions { snapshots, ..VerifyOptions::default() };
        verify::run(&repository, &options, &small::quiet(), &Stop::new(), &mut |_| {}).map(|summary| summary.data_affected)
    };
    assert_eq!(lost(vec![first]).unwrap(), 0);
    assert!(lost(vec![second]).unwrap() > 0);
    assert!(lost(Vec::new()).unwrap() > 0);
    let unknown = SnapshotId([9; 16]);
    assert!(matches!(lost(vec![unknown]), Err(VerifyError::NoSuchSnapshot(id)) if id == unknown));
}

#[test]
fn parts_together_read_every_pack_once_and_a_part_that_cannot_be_is_refused() {
    let (repository, _) = small::init(Arc::new(MemoryStore::new()));
    for seed in [1, 10, 20] {
        small::commit(&repository, &files(seed), None);
    }
    let read = |n, m| small::check(&repository, ReadData::Part { n, m }).1.packs_read;
    assert_eq!((1..=3).map(|n| read(n, 3)).sum::<u64>(), packs(&repository).len() as u64);
    for (n, m) in [(0, 3), (4, 3), (0, 0), (1, 0)] {
        let options = VerifyOptions { read_data: ReadData::Part { n, m }, ..VerifyOptions::default() };
        let result = verify::run(&repository, &options, &small::quiet(), &Stop::new(), &mut |_| {});
        assert!(matches!(result, Err(VerifyError::NoSuchPart { .. })), "{n}/{m}");
    }
}

#[test]
fn what_cannot_be_read_is_a_finding_on_a_disk_and_ends_the_run_on_a_server() {
    let healthy = Arc::new(MemoryStore::new());
    let (repository, line) = small::init(healthy.clone());
    for seed in [1, 10, 20] {
        small::commit(&repository, &files(seed), None);
    }
    for (unit, verb) in [(ReadUnit::Exact, Verb::Get), (ReadUnit::Exact, Verb::GetRange), (ReadUnit::Window, Verb::Get)] {
        for nth in 1..100 {
            let store = Arc::new(FaultyStore::new(healthy.fork()));
            store.pretend_read_unit(unit);
            let repository = small::open(store.clone(), &line).unwrap();
            store.take_calls();
            store.fault(verb, nth, Fault::Fail);
            let options = VerifyOptions { read_data: ReadData::All, ..VerifyOptions::default() };
            let mut found = Vec::new();
            let result = verify::run(&repository, &options, &small::quiet(), &Stop::new(), &mut |finding| {
                found.push(finding.object.clone())
            });
            let failed = store.take_calls().into_iter().find(|call| !call.ok);
            match (failed, result) {
                // More calls than are made: this verb is through.
                (None, result) => {
                    assert_eq!((result.unwrap().findings, nth > 4), (0, true));
                    break;
                }
                (Some(call), Ok(_)) => {
                    assert!(unit == ReadUnit::Exact && found.contains(&call.name), "{call:?}: {found:?}");
                }
                (Some(_), Err(error)) => {
                    assert_eq!(unit, ReadUnit::Window, "{error}");
                    assert!(matches!(error, VerifyError::Repository(RepositoryError::Store(_))), "{error}");
                }
            }
        }
    }
}

#[test]
fn a_request_to_stop_ends_the_run() {
    let (repository, _) = small::init(Arc::new(MemoryStore::new()));
    small::commit(&repository, &files(1), None);
    let stop = Stop::new();
    stop.request();
    let result = verify::run(&repository, &VerifyOptions::default(), &small::quiet(), &stop, &mut |_| {});
    assert!(matches!(result, Err(VerifyError::Repository(RepositoryError::Stopped))));
}

#[test]
fn packs_of_a_run_that_goes_on_are_no_finding() {
    let (repository, _) = small::init(Arc::new(MemoryStore::new()));
    small::commit(&repository, &files(1), None);
    let writer = small::writer(&repository);
    // A pack that is durable and that no index file tells of yet.
    let (sealed, name) = {
        let frame = esker::format::pack::PreparedFrame {
            codec: esker::format::pack::Codec::Raw,
            raw_length: 3,
            bytes: b"new".to_vec(),
            chunks: vec![esker::format::pack::PreparedChunk {
                id: small::chunk_id(&repository, b"new"),
                chunk_type: ChunkType::Data,
                encoding: esker::format::pack::Encoding::Literal { offset: 0, length: 3 },
            }],
        };
        let sealed =
            esker::format::pack::seal_pack(repository.objects().sealer(), esker::format::pack::Class::Data, vec![frame]).unwrap();
        let name = names::pack_name(sealed.facts.id);
        (sealed, name)
    };
    let parts: Vec<&[u8]> = sealed.parts.iter().map(Vec::as_slice).collect();
    repository.objects().store().create(&name, &parts).unwrap();
    assert_eq!(small::check(&repository, ReadData::All).0, []);
    writer.abandon();
    assert_eq!(small::check(&repository, ReadData::All).0, []);
}

/// A snapshot of the one file or folder `wrong`, which stands for `length` and has this content.
fn commit_wrong(
    kind: NodeKind,
    make: impl FnOnce(&mut dyn FnMut(ChunkType, Vec<u8>) -> ChunkId) -> (Content, u64),
) -> Vec<(FindingKind, Vec<Vec<u8>>)> {
    let store = Arc::new(MemoryStore::new());
    let (repository, line) = small::init(store.clone());
    let mut writer = small::writer(&repository);
    let (content, size) = make(&mut |kind, bytes| match kind {
        ChunkType::Data => {
            let id = repository.objects().keys().chunk_id(kind, &bytes);
            writer.place(&[esker::repository::writer::Named { chunk_type: kind, id, bytes: &bytes }]).unwrap();
            id
        }
        _ => writer.place_metadata(kind, &bytes).unwrap().0,
    });
    let content = small::store_folder(&mut writer, vec![small::node("wrong", kind, size, content)]);
    small::commit_source(writer, content, None);
    let repository = small::open(store, &line).unwrap();
    let (findings, _) = small::check(&repository, ReadData::All);
    assert!(findings.iter().all(|finding| finding.data_affected));
    let reader = esker::repository::Reader::new(&repository, &esker::monitor::Quiet).unwrap();
    assert!(small::restore(&reader, &repository.snapshots().unwrap().snapshots[0].snapshot.root).is_err() || findings.is_empty());
    findings.into_iter().map(|finding| (finding.kind, finding.paths)).collect()
}

fn chunk(id: ChunkId, length: u64) -> Item {
    Item::Chunk { id, length }
}

#[test]
fn a_list_that_is_not_what_its_parent_says_is_found() {
    let wrong = vec![(FindingKind::TreeDamaged, vec![b"data/wrong".to_vec()])];
    for (level, leaves, length) in [(0, Leaves::Data, 4), (0, Leaves::Tree, 3), (1, Leaves::Data, 3)] {
        let found = commit_wrong(NodeKind::File, |store| {
            let data = store(ChunkType::Data, b"abc".to_vec());
            let list = ListChunk { level, leaves, items: vec![chunk(data, 3)], extra: Vec::new() };
            let list = store(ChunkType::List, list.encode().unwrap());
            (Content { level: 1, items: vec![chunk(list, length)] }, length)
        });
        assert_eq!(found, wrong, "{level} {leaves:?} {length}");
    }
}

#[test]
fn a_second_parent_that_says_something_else_of_a_list_is_found() {
    let found = commit_wrong(NodeKind::File, |store| {
        let data = store(ChunkType::Data, b"abc".to_vec());
        let list = ListChunk { level: 0, leaves: Leaves::Data, items: vec![chunk(data, 3)], extra: Vec::new() };
        let list = store(ChunkType::List, list.encode().unwrap());
        (Content { level: 1, items: vec![chunk(list, 3), chunk(list, 5)] }, 8)
    });
    assert_eq!(found, [(FindingKind::TreeDamaged, vec![b"data/wrong".to_vec()])]);
}

#[test]
fn names_that_do_not_rise_from_chunk_to_chunk_are_found() {
    let tree = |names: &[&str]| {
        let nodes = names.iter().map(|name| small::node(name, NodeKind::File, 0, Content::default())).collect();
        TreeChunk { nodes, extra: Vec::new() }.encode().unwrap()
    };
    let found = |first: &[&str], second: &[&str]| {
        commit_wrong(NodeKind::Folder, |store| {
            let items = vec![
                chunk(store(ChunkType::Tree, tree(first)), first.len() as u64),
                chunk(store(ChunkType::Tree, tree(second)), second.len() as u64),
            ];
            (Content { level: 0, items }, 0)
        })
    };
    assert_eq!(found(&["a", "b"], &["c"]), []);
    let wrong = [(FindingKind::TreeDamaged, vec![b"data/wrong".to_vec()])];
    assert_eq!(found(&["a", "c"], &["b"]), wrong);
    assert_eq!(found(&["a", "c"], &["c"]), wrong);
}
