//! Snapshots of a stolen host that stand for more than any machine could walk through: every walk through them ends soon, whatever it is
//! for, and other snapshots are looked at as before.

use std::sync::Arc;
use std::time::Duration;

use esker::crypto::ChunkType;
use esker::format::content::{Leaves, ListChunk};
use esker::format::tree::{Content, Item, Node, NodeKind, TreeChunk, Xattr, XattrValue};
use esker::id::{ChunkId, SnapshotId};
use esker::monitor::{Quiet, Stop};
use esker::parallel;
use esker::prune::usage::Usage;
use esker::repository::survey;
use esker::repository::writer::{Named, Writer};
use esker::repository::{Forgone, Reader, Repository, RepositoryError};
use esker::restore::{self, Origin, RestoreOptions};
use esker::retention::undelete;
use esker::store::{MemoryStore, Store};
use esker::verify::{FindingKind, ReadData};

use crate::small;

/// Far more than any of these walks takes on a slow machine, and far less than what they stand for would take.
const SOON: Duration = Duration::from_secs(150);

/// What an attack is made with.
struct Thief {
    writer: Writer,
}

impl Thief {
    fn store(&mut self, kind: ChunkType, bytes: &[u8]) -> ChunkId {
        if kind != ChunkType::Data {
            return self.writer.place_metadata(kind, bytes).unwrap().0;
        }
        let id = self.writer.repository().objects().keys().chunk_id(kind, bytes);
        self.writer.place(&[Named { chunk_type: kind, id, bytes }]).unwrap();
        id
    }

    fn tree(&mut self, nodes: Vec<Node>) -> Item {
        let length = nodes.len() as u64;
        let id = self.store(ChunkType::Tree, &TreeChunk { nodes, extra: vec![] }.encode().unwrap());
        Item::Chunk { id, length }
    }

    /// Lists in lists, each the one below 1,024 times.
    fn lists(&mut self, levels: u8, leaves: Leaves, leaf: Item) -> Content {
        let mut below = leaf;
        for level in 0..levels {
            let items = vec![below; 1_024];
            let length = items.iter().map(Item::length).sum();
            let id = self.store(ChunkType::List, &ListChunk { level, leaves, items, extra: vec![] }.encode().unwrap());
            below = Item::Chunk { id, length };
        }
        Content { level: levels, items: vec![below] }
    }

    /// Folders in folders, each the one below so many times. Every other claims `wrong` more entries than there are.
    fn folders(&mut self, depth: usize, width: usize, wrong: u64, leaf: Item) -> Content {
        let mut below = leaf;
        for _ in 0..depth {
            let claimed = |n: usize| match below {
                Item::Chunk { id, length } => Item::Chunk { id, length: length + wrong * (n as u64 % 2) },
                hole @ Item::Hole { .. } => hole,
            };
            let nodes = (0..width).map(|n| folder(&format!("{n:06}"), Content { level: 0, items: vec![claimed(n)] })).collect();
            below = self.tree(nodes);
        }
        Content { level: 0, items: vec![below] }
    }

    fn pipe(&mut self) -> Item {
        self.tree(vec![small::node("end", NodeKind::Fifo, 0, Content::default())])
    }
}

fn folder(name: &str, content: Content) -> Node {
    small::node(name, NodeKind::Folder, 0, content)
}

/// A tree that no pack holds.
const NOWHERE: Item = Item::Chunk { id: ChunkId([0x13; 32]), length: 1 };

/// The attacks, by name.
fn attack(name: &str, thief: &mut Thief) -> Content {
    match name {
        "a folder of lists of one list" => {
            let leaf = thief.pipe();
            thief.lists(4, Leaves::Tree, leaf)
        }
        "a file of lists of one list" => {
            let id = thief.store(ChunkType::Data, b"x");
            let content = thief.lists(4, Leaves::Data, Item::Chunk { id, length: 1 });
            let file = small::node("file", NodeKind::File, 1 << 40, content);
            Content { level: 0, items: vec![thief.tree(vec![file])] }
        }
        "folders of one folder" => {
            let leaf = thief.pipe();
            thief.folders(14, 3, 0, leaf)
        }
        "folders that claim now right, now wrong" => {
            let leaf = thief.pipe();
            thief.folders(12, 6, 1, leaf)
        }
        "an attribute of more bytes than it claims" => {
            let id = thief.store(ChunkType::Data, &small::noise(9, 3 << 20));
            let value = XattrValue::Content(Content { level: 0, items: vec![Item::Chunk { id, length: 1 }; 64] });
            let attribute = Xattr { name: b"user.a".to_vec(), value };
            let file = Node { xattrs: vec![attribute], ..small::node("file", NodeKind::File, 0, Content::default()) };
            Content { level: 0, items: vec![thief.tree(vec![file])] }
        }
        "a lost folder under many" => thief.folders(14, 3, 0, NOWHERE),
        other => panic!("no attack {other}"),
    }
}

fn attacked(name: &str) -> Arc<Repository> {
    attacked_by(name).0
}

/// A repository with an honest snapshot and this one, and the id of this one.
fn attacked_by(name: &str) -> (Arc<Repository>, SnapshotId) {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let (repository, line) = small::init(Arc::clone(&store));
    let files = [("honest".to_owned(), small::noise(7, 5_000))].into();
    small::commit(&repository, &files, None);
    let mut thief = Thief { writer: small::writer(&repository) };
    let content = attack(name, &mut thief);
    let id = small::commit_source(thief.writer, content, None);
    (small::open(store, &line).unwrap(), id)
}

/// What `work` gives; it must give it soon.
fn soon<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    parallel::within(SOON, work).unwrap_or_else(|| panic!("{what}: no end after {SOON:?}"))
}

fn verified(name: &'static str) -> Vec<(FindingKind, bool)> {
    let repository = attacked(name);
    let (findings, _) = soon(name, move || small::check(&repository, ReadData::Nothing));
    findings.into_iter().map(|finding| (finding.kind, finding.data_affected)).collect()
}

#[test]
fn verify_of_a_folder_of_lists_of_one_list_ends_with_a_finding() {
    let findings = verified("a folder of lists of one list");
    assert!(!findings.is_empty() && findings.iter().all(|finding| *finding == (FindingKind::TreeDamaged, true)), "{findings:?}");
}

#[test]
fn verify_of_a_file_of_lists_of_one_list_ends() {
    assert_eq!(verified("a file of lists of one list"), []);
}

#[test]
fn verify_of_folders_of_one_folder_ends() {
    assert_eq!(verified("folders of one folder"), []);
}

#[test]
fn verify_of_folders_that_claim_now_right_now_wrong_ends_with_findings() {
    let findings = verified("folders that claim now right, now wrong");
    assert_eq!(findings, [(FindingKind::TreeDamaged, true); 12]);
}

#[test]
fn verify_of_a_lost_folder_under_many_ends_with_its_finding() {
    assert_eq!(verified("a lost folder under many"), [(FindingKind::ChunkMissing, true)]);
}

#[test]
fn what_a_prune_counts_as_used_is_counted_soon() {
    for name in ["a folder of lists of one list", "a file of lists of one list", "folders that claim now right, now wrong"] {
        let repository = attacked(name);
        let used = soon(name, move || {
            let snapshots = repository.snapshots().unwrap().snapshots;
            let all: Vec<_> = snapshots.iter().collect();
            Usage::new(&repository, &Quiet, &Stop::new()).unwrap().stored(&all).unwrap()
        });
        assert!(used > 5_000, "{name}: {used}");
    }
}

#[test]
fn a_search_through_paths_without_end_ends_with_an_error() {
    for name in ["a folder of lists of one list", "folders of one folder", "a lost folder under many"] {
        let repository = attacked(name);
        let (count, errors) = soon(name, move || {
            let reader = Reader::new(&repository, &Quiet).unwrap();
            let (mut count, mut errors) = (0u64, 0);
            for stored in &repository.snapshots().unwrap().snapshots {
                let walked = reader.walk::<RepositoryError>(&stored.snapshot.root, &mut |_, _| {
                    count += 1;
                    Ok(true)
                });
                errors += u32::from(walked.is_err());
            }
            (count, errors)
        });
        assert_eq!(errors, 1, "{name}");
        assert!(count < 10_000_000, "{name}: {count}");
    }
}

#[test]
fn a_restore_of_paths_without_end_ends_and_says_that_it_is_not_whole() {
    for name in ["a folder of lists of one list", "folders of one folder", "folders that claim now right, now wrong"] {
        let repository = attacked(name);
        let summaries = soon(name, move || {
            let target = tempfile::tempdir().unwrap();
            let options = RestoreOptions { target: target.path().join("new"), dry_run: true, ..RestoreOptions::default() };
            let restore = |root: &Content| {
                let origin = Origin { root, snapshot: "hostile", path: b"", streams: &[], record: None };
                restore::run(&repository, origin, &options, &small::quiet(), &Stop::new()).unwrap().is_whole()
            };
            repository.snapshots().unwrap().snapshots.iter().map(|stored| restore(&stored.snapshot.root)).collect::<Vec<_>>()
        });
        assert_eq!(summaries.iter().filter(|is_whole| **is_whole).count(), 1, "{name}");
        assert_eq!(summaries.len(), 2);
    }
}

#[test]
fn undelete_of_folders_without_end_ends() {
    for (name, is_honest) in [("folders of one folder", true), ("folders that claim now right, now wrong", false)] {
        let (repository, id) = attacked_by(name);
        let back = soon(name, move || {
            let mut survey = survey::survey(&repository).unwrap();
            let stored = repository.snapshot(&id).unwrap().unwrap();
            survey.snapshots.retain(|surveyed| surveyed.stored.id != id);
            let forgone = Forgone { time: stored.snapshot.time, stored, reason: String::new() };
            undelete::run(&repository, &survey, &forgone, false, &small::quiet(), &Stop::new()).is_ok()
        });
        assert_eq!(back, is_honest, "{name}");
    }
}

#[test]
fn an_attribute_that_claims_less_than_it_holds_is_told_as_damage() {
    let (repository, id) = attacked_by("an attribute of more bytes than it claims");
    let target = tempfile::tempdir().unwrap();
    let options = RestoreOptions { target: target.path().join("new"), ..RestoreOptions::default() };
    let stored = repository.snapshot(&id).unwrap().unwrap();
    let origin = Origin { root: &stored.snapshot.root, snapshot: "hostile", path: b"", streams: &[], record: None };
    let summary = restore::run(&repository, origin, &options, &small::quiet(), &Stop::new()).unwrap();
    assert_eq!((summary.damaged, summary.failed), (1, 0), "{:?}", summary.failures);
    assert!(summary.failures[0].detail.contains("bytes"), "{:?}", summary.failures);
}
