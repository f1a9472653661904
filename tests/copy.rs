//! Copying between repositories: everything restores from the copy, nothing is stored twice, and a copy that was cut off goes on.

#![allow(clippy::unwrap_used, reason = "also what helps a test may unwrap")]

mod small;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use esker::clock::{ManualClock, SeededRng};
use esker::copy::{self, Copied, CopyError, CopyOptions, CopySummary, Original, Outcome};
use esker::crypto::{ChunkType, Passphrase};
use esker::format::keyslot::Level;
use esker::format::names;
use esker::format::note::Keep;
use esker::id::{ChunkId, SnapshotId};
use esker::monitor::{Quiet, Stop};
use esker::repository::survey;
use esker::repository::writer::Named;
use esker::repository::{Environment, Reader, Repository, RepositoryError, Secret};
use esker::store::faults::FaultyStore;
use esker::store::{MemoryStore, Store};
use esker::verify::ReadData;
use small::{Files, noise};
use zeroize::Zeroizing;

const START: i64 = 1_790_000_000;
const DAY: i64 = 86_400;

/// One repository in memory, and what opens it.
struct Place {
    store: Arc<FaultyStore<MemoryStore>>,
    line: String,
    caches: tempfile::TempDir,
    now: i64,
    seeds: AtomicU64,
}

impl Place {
    fn new(seed: u64) -> Self {
        let mut place = Self {
            store: Arc::new(FaultyStore::new(MemoryStore::new())),
            line: String::new(),
            caches: tempfile::tempdir().unwrap(),
            now: START,
            seeds: AtomicU64::new(seed),
        };
        let password = Passphrase::new(small::PASSWORD.to_owned());
        let made = Repository::init(place.environment(), &password, &small::cheapest()).unwrap().repository;
        place.line = made.export_key(Level::Owner).unwrap().to_string();
        place
    }

    fn environment(&self) -> Environment {
        Environment {
            store: self.store.clone(),
            clock: Arc::new(ManualClock::at(self.now)),
            rng: Arc::new(SeededRng::new(self.seeds.fetch_add(1, Ordering::Relaxed))),
            host: "host".to_owned(),
            caches: Some(self.cache()),
            states: None,
        }
    }

    fn cache(&self) -> PathBuf {
        self.caches.path().join("cache")
    }

    fn drop_cache(&self) {
        std::fs::remove_dir_all(self.cache()).unwrap();
    }

    fn with(&self, line: &str) -> Arc<Repository> {
        Arc::new(Repository::open(self.environment(), &Secret::KeyLine(Zeroizing::new(line.to_owned())), None).unwrap())
    }

    fn open(&self) -> Arc<Repository> {
        self.with(&self.line)
    }

    fn pack_bytes(&self) -> u64 {
        let mut bytes = 0;
        self.store.inner().list(names::PACKS, &mut |entry| bytes += entry.size).unwrap();
        bytes
    }

    fn snapshots(&self) -> BTreeMap<SnapshotId, Files> {
        let repository = self.open();
        let reader = Reader::new(&repository, &Quiet).unwrap();
        let list = repository.snapshots().unwrap();
        assert!(list.damaged.is_empty());
        list.snapshots.iter().map(|stored| (stored.id, small::restore(&reader, &stored.snapshot.root).unwrap())).collect()
    }

    fn assert_whole(&self) {
        let (findings, _) = small::check(&self.open(), ReadData::All);
        assert!(findings.is_empty(), "{findings:?}");
    }

    /// Every chunk id that its packs name.
    fn ids(&self) -> BTreeSet<ChunkId> {
        let repository = self.open();
        let reader = Reader::new(&repository, &Quiet).unwrap();
        let packs: Vec<_> = reader.view().iter().map(|(number, _)| number).collect();
        packs.iter().flat_map(|&number| reader.facts(number).unwrap().directory.chunks.clone()).map(|chunk| chunk.id).collect()
    }
}

fn originals(from: &Arc<Repository>) -> Vec<Original> {
    let survey = survey::survey(from).unwrap();
    let original = |surveyed: survey::Surveyed| Original {
        stored: surveyed.stored,
        notes: surveyed.notes,
        is_believed: surveyed.quarantined.is_none(),
    };
    survey.snapshots.into_iter().map(original).collect()
}

fn try_copy(from: &Arc<Repository>, to: &Arc<Repository>, options: CopyOptions) -> Result<CopySummary, CopyError> {
    let mut heard: Vec<Copied> = Vec::new();
    let summary = copy::run(from, to, &originals(from), options, &small::quiet(), &Stop::new(), &mut |copied| {
        heard.push(copied.clone());
    })?;
    assert_eq!(heard, summary.snapshots);
    Ok(summary)
}

fn copy_all(from: &Place, to: &Place) -> CopySummary {
    try_copy(&from.open(), &to.open(), CopyOptions::default()).unwrap()
}

fn new_ids(summary: &CopySummary) -> Vec<SnapshotId> {
    let id = |copied: &Copied| match copied.outcome {
        Outcome::Copied(id) => Some(id),
        _ => None,
    };
    summary.snapshots.iter().filter_map(id).collect()
}

/// A file with a list, a small one, one in a folder.
fn some_files(seed: u64) -> Files {
    Files::from([
        ("large".to_owned(), noise(seed, 400_000)),
        ("folder/inner".to_owned(), noise(seed + 1, 3_000)),
        ("small".to_owned(), b"small".to_vec()),
        ("empty".to_owned(), Vec::new()),
    ])
}

#[test]
fn a_copy_restores_to_the_same_bytes_and_shares_no_id_with_its_original() {
    let (from, to) = (Place::new(1), Place::new(100));
    let files = some_files(1);
    let id = small::commit(&from.open(), &files, None);
    let summary = copy_all(&from, &to);
    let copies = to.snapshots();
    assert_eq!(copies.values().collect::<Vec<_>>(), [&files]);
    assert_eq!(new_ids(&summary), copies.keys().copied().collect::<Vec<_>>());
    to.assert_whole();
    let (theirs, ours) = (from.ids(), to.ids());
    assert_eq!(theirs.len(), ours.len());
    assert!(theirs.is_disjoint(&ours), "the two name nothing alike");
    let old = from.open().snapshot(&id).unwrap().unwrap();
    let new = to.open().snapshot(&new_ids(&summary)[0]).unwrap().unwrap();
    assert_eq!(new.snapshot.original(), Some((from.open().id(), id)));
    assert_eq!(
        (new.snapshot.time, &new.snapshot.host, &new.snapshot.user),
        (old.snapshot.time, &old.snapshot.host, &old.snapshot.user)
    );
    assert!(!summary.cuts_alike);
}

#[test]
fn what_was_copied_is_recognised_whatever_became_of_the_cache() {
    let (from, to) = (Place::new(1), Place::new(100));
    small::commit(&from.open(), &some_files(1), None);
    let first = copy_all(&from, &to);
    let stored = to.pack_bytes();
    for drop_cache in [false, true] {
        if drop_cache {
            to.drop_cache();
        }
        let again = copy_all(&from, &to);
        assert_eq!(again.snapshots[0].outcome, Outcome::There(new_ids(&first)[0]));
        assert_eq!((again.chunks_read, to.pack_bytes()), (0, stored));
    }
    // A copy of the copy is one of the first.
    let third = Place::new(200);
    copy_all(&to, &third);
    assert!(matches!(copy_all(&from, &third).snapshots[0].outcome, Outcome::There(_)));
    // And back where it came from there is nothing to do.
    assert!(matches!(copy_all(&to, &from).snapshots[0].outcome, Outcome::There(_)));
    // Copied once more all the same, it stores nothing but its own object.
    let again = try_copy(&from.open(), &to.open(), CopyOptions { again: true, ..CopyOptions::default() }).unwrap();
    assert_eq!((again.totals.data_chunks_new, again.totals.tree_chunks_new, to.pack_bytes()), (0, 0, stored));
    assert_eq!(to.snapshots().len(), 2);
}

#[test]
fn the_next_snapshot_reads_only_what_is_new_in_it() {
    let (from, to) = (Place::new(1), Place::new(100));
    let mut files = some_files(1);
    small::commit(&from.open(), &files, None);
    let first = copy_all(&from, &to);
    assert_eq!(first.bytes_read, 403_005);
    files.insert("folder/new".to_owned(), noise(9, 4_000));
    for round in 0..2 {
        files.insert("small".to_owned(), format!("changed {round}").into_bytes());
        small::commit(&from.open(), &files, None);
        let next = copy_all(&from, &to);
        assert_eq!(new_ids(&next).len(), 1);
        let new = 9 + if round == 0 { 4_000 } else { 0 };
        assert_eq!(next.bytes_read, new, "round {round}");
        assert_eq!(next.totals.data_chunks_new, if round == 0 { 2 } else { 1 });
    }
    // Without the memory of names everything is read, and nothing is stored twice.
    to.drop_cache();
    files.insert("small".to_owned(), b"once more".to_vec());
    small::commit(&from.open(), &files, None);
    let last = copy_all(&from, &to);
    assert_eq!((last.bytes_read, last.totals.data_chunks_new), (407_009, 1));
    to.assert_whole();
    assert_eq!(to.snapshots().values().filter(|copy| **copy == files).count(), 1);
}

#[test]
fn a_dry_run_says_what_would_be_read_and_stores_nothing() {
    let (from, to) = (Place::new(1), Place::new(100));
    small::commit(&from.open(), &some_files(1), None);
    small::commit(&from.open(), &some_files(1), None);
    let before = small::names(to.store.inner());
    let summary = try_copy(&from.open(), &to.open(), CopyOptions { dry_run: true, ..CopyOptions::default() }).unwrap();
    assert_eq!(summary.count(|outcome| *outcome == Outcome::Wanted), 2);
    assert_eq!(summary.bytes_read, 403_005, "what both share is counted once");
    assert_eq!(small::names(to.store.inner()), before);
}

#[test]
fn cut_off_before_any_write_the_next_run_finishes_and_stores_nothing_twice() {
    let from = Place::new(1);
    small::commit(&from.open(), &some_files(1), None);
    small::commit(&from.open(), &Files::from([("other".to_owned(), noise(5, 90_000))]), None);
    let whole = Place::new(100);
    copy_all(&from, &whole);
    for writes in 0.. {
        let to = Place::new(100);
        to.store.stop_after(Some(writes));
        let cut = Repository::open(to.environment(), &Secret::KeyLine(Zeroizing::new(to.line.clone())), None)
            .map_err(CopyError::from)
            .and_then(|opened| try_copy(&from.open(), &Arc::new(opened), CopyOptions::default()));
        to.store.stop_after(None);
        let finished = copy_all(&from, &to);
        let files: BTreeSet<Files> = to.snapshots().into_values().collect();
        assert_eq!(files, from.snapshots().into_values().collect(), "after {writes} writes");
        // A pack whose put came back with an error, or that nobody indexed, may be there beside its successor.
        let most = whole.pack_bytes() + 5 * (64 << 10);
        assert!(to.pack_bytes() <= most, "after {writes} writes: {} bytes, {most} at most", to.pack_bytes());
        to.assert_whole();
        if cut.is_ok() {
            assert!(writes > 8, "only {writes} writes were cut off");
            assert_eq!(new_ids(&finished), []);
            break;
        }
    }
}

#[test]
fn a_snapshot_that_cannot_be_read_whole_is_not_copied_and_the_others_are() {
    let (from, to) = (Place::new(1), Place::new(100));
    let lost = Files::from([("lost".to_owned(), noise(3, 200_000))]);
    let damaged = small::commit(&from.open(), &lost, None);
    let pack = {
        let mut packs = Vec::new();
        from.store.list(names::PACKS, &mut |entry| packs.push((entry.size, entry.name))).unwrap();
        packs.into_iter().max().unwrap().1
    };
    small::commit(&from.open(), &some_files(1), None);
    let mut bytes = from.store.get(&pack, u64::MAX).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    from.store.replace(&pack, &[&bytes]).unwrap();
    let summary = copy_all(&from, &to);
    let failed = |copied: &&Copied| matches!(copied.outcome, Outcome::Failed(_));
    assert_eq!(summary.snapshots.iter().filter(failed).map(|copied| copied.original).collect::<Vec<_>>(), [damaged]);
    assert_eq!(to.snapshots().into_values().collect::<Vec<_>>(), [some_files(1)]);
    to.assert_whole();
}

#[test]
fn a_chunk_that_is_known_here_is_not_stored_again() {
    let (from, to) = (Place::new(1), Place::new(100));
    let files = Files::from([("a".to_owned(), noise(1, 50_000))]);
    small::commit(&from.open(), &files, None);
    // The same bytes in the same pieces were backed up here.
    small::commit(&to.open(), &files, None);
    let summary = copy_all(&from, &to);
    assert_eq!(summary.totals.data_chunks_new, 0);
    assert_eq!(to.snapshots().len(), 2);
}

#[test]
fn a_pack_that_is_condemned_here_is_not_relied_on() {
    let (from, to) = (Place::new(1), Place::new(100));
    let files = Files::from([("a".to_owned(), noise(1, 50_000))]);
    small::commit(&from.open(), &files, None);
    let repository = to.open();
    let mut writer = small::writer(&repository);
    let bytes = noise(1, 50_000);
    for piece in bytes.chunks(bytes.len().div_ceil(70)) {
        let id = small::chunk_id(&repository, piece);
        writer.place(&[Named { chunk_type: ChunkType::Data, id, bytes: piece }]).unwrap();
    }
    writer.flush().unwrap();
    writer.abandon();
    let mut packs = Vec::new();
    to.store.list(names::PACKS, &mut |entry| packs.extend(names::parse_pack(&entry.name))).unwrap();
    small::condemn(&repository, 1, packs);
    let summary = copy_all(&from, &to);
    assert_eq!(summary.totals.data_chunks_new, 70);
}

#[test]
fn a_folder_that_is_remembered_is_stored_again_when_its_packs_may_not_be_relied_on() {
    let (from, to) = (Place::new(1), Place::new(100));
    let mut files = some_files(1);
    for round in 0..4 {
        files.insert("small".to_owned(), format!("changed {round}").into_bytes());
        small::commit(&from.open(), &files, None);
        if round == 3 {
            let mut packs = Vec::new();
            to.store.list(names::PACKS, &mut |entry| packs.extend(names::parse_pack(&entry.name))).unwrap();
            small::condemn(&to.open(), 1, packs);
        }
        let new = copy_all(&from, &to).totals.data_chunks_new;
        assert_eq!(new, if matches!(round, 0 | 3) { 72 } else { 1 }, "round {round}");
    }
}

#[test]
fn a_copy_counts_at_the_time_of_its_original_if_that_is_believed() {
    let (from, mut to) = (Place::new(1), Place::new(100));
    small::commit(&from.open(), &some_files(1), None);
    // Ten days later an owner looks at the other repository: whatever comes after claims a time before that.
    to.now += 10 * DAY;
    small::commit(&to.open(), &some_files(5), None);
    survey::survey(&to.open()).unwrap().record(&to.open()).unwrap();
    to.now += DAY;
    let mut believed = originals(&from.open());
    believed[0].notes.comment = Some("before the upgrade".to_owned());
    believed[0].notes.keep = Some(Keep::ForEver);
    believed[0].notes.tags.insert("later".to_owned(), true);
    let mut doubtful = believed.clone();
    doubtful[0].is_believed = false;
    for (list, is_quarantined) in [(believed, false), (doubtful, true)] {
        let options = CopyOptions { again: true, ..CopyOptions::default() };
        let summary = copy::run(&from.open(), &to.open(), &list, options, &small::quiet(), &Stop::new(), &mut |_| {}).unwrap();
        let survey = survey::survey(&to.open()).unwrap();
        let copied = survey.get(&new_ids(&summary)[0]).unwrap();
        assert_eq!(copied.quarantined.is_some(), is_quarantined, "{:?}", copied.quarantined);
        assert_eq!(copied.tags, ["later"]);
        assert_eq!(copied.notes.comment.as_deref(), Some("before the upgrade"));
        assert_eq!(copied.notes.keep, Some(Keep::ForEver));
    }
}

#[test]
fn a_writer_key_is_enough_where_copies_go_and_not_where_they_come_from() {
    let (from, to) = (Place::new(1), Place::new(100));
    small::commit(&from.open(), &some_files(1), None);
    let writer = to.open().export_key(Level::Writer).unwrap();
    let copied = try_copy(&from.open(), &to.with(&writer), CopyOptions::default()).unwrap();
    assert_eq!(to.snapshots().keys().copied().collect::<Vec<_>>(), new_ids(&copied));
    to.assert_whole();
    let again = try_copy(&from.open(), &to.with(&writer), CopyOptions::default()).unwrap();
    assert_eq!(again.snapshots[0].outcome, Outcome::There(new_ids(&copied)[0]));
    let list = originals(&from.open());
    let writer = from.open().export_key(Level::Writer).unwrap();
    let refused =
        copy::run(&from.with(&writer), &to.open(), &list, CopyOptions::default(), &small::quiet(), &Stop::new(), &mut |_| {});
    assert!(matches!(refused, Err(CopyError::Repository(RepositoryError::NeedsOwner(_)))));
}

#[test]
fn a_repository_is_not_copied_into_itself() {
    let place = Place::new(1);
    small::commit(&place.open(), &some_files(1), None);
    let refused = try_copy(&place.open(), &place.open(), CopyOptions::default());
    assert!(matches!(refused, Err(CopyError::SameRepository(_))));
}

#[test]
fn a_chain_of_snapshots_stays_one() {
    let (from, to) = (Place::new(1), Place::new(100));
    let first = small::commit(&from.open(), &some_files(1), None);
    let hash = from.open().snapshot(&first).unwrap().unwrap().hash;
    let second = small::commit(&from.open(), &some_files(2), Some((first, hash)));
    // One after the other: both claim the same second.
    let mut list = originals(&from.open());
    list.sort_by_key(|original| original.stored.id != first);
    for one in list.chunks(1) {
        copy::run(&from.open(), &to.open(), one, CopyOptions::default(), &small::quiet(), &Stop::new(), &mut |_| {}).unwrap();
    }
    let list = to.open().snapshots().unwrap().snapshots;
    let copy_of = |id| list.iter().find(|stored| stored.snapshot.original().is_some_and(|(_, original)| original == id)).unwrap();
    let one = copy_of(first);
    assert_eq!(copy_of(second).snapshot.previous, Some((one.id, one.hash)));
}
