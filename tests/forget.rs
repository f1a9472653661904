//! What forgetting promises: what is kept and why, whatever a clock or a thief says; and that it can be undone.

#![allow(clippy::unwrap_used, reason = "also what helps a test may unwrap")]

mod small;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use esker::clock::{ManualClock, SeededRng, Timestamp};
use esker::crypto::Passphrase;
use esker::format::ObjectType;
use esker::format::config::{self, Config, StoreClass};
use esker::format::forgotten::Forgotten;
use esker::format::names::{self, ObjectName};
use esker::format::note::{self, Entry, Keep, Note, Value};
use esker::format::tree::{Content, Item, NodeKind};
use esker::id::{ObjectHash, SnapshotId};
use esker::monitor::{Quiet, Stop};
use esker::repository::survey::{self, Survey};
use esker::repository::writer::Named;
use esker::repository::{Environment, InitOptions, Reader, Repository, RepositoryError, Secret};
use esker::retention::forget::{self, ForgetError, ForgetPlan};
use esker::retention::policy::{Count, GroupBy, Policy};
use esker::retention::rules::Rules;
use esker::retention::undelete::{self, UndeleteError};
use esker::store::faults::{FaultyStore, Verb};
use esker::store::{MemoryStore, Store};
use small::{Files, noise};
use zeroize::Zeroizing;

const DAY: i64 = 86_400;
/// Day 0 of these stories.
const EPOCH: i64 = 1_790_000_000;

/// A repository, and the day it is for each of its users.
struct Story {
    store: Arc<dyn Store>,
    owner: String,
    seed: AtomicU64,
}

fn at(day: i64) -> Timestamp {
    Timestamp { seconds: EPOCH + day * DAY, nanoseconds: 0 }
}

impl Story {
    fn new() -> Self {
        Self::with(Arc::new(MemoryStore::new()), 0)
    }

    fn with(store: Arc<dyn Store>, guard_days: u64) -> Self {
        let options = InitOptions { guard_seconds: guard_days * 86_400, ..small::cheapest() };
        let password = Passphrase::new(small::PASSWORD.to_owned());
        let made = Repository::init(small::environment(Arc::clone(&store), 1), &password, &options).unwrap().repository;
        let owner = made.objects().keys().root().unwrap().to_line(1).to_string();
        // Ids of two stories are never the same.
        static STORIES: AtomicU64 = AtomicU64::new(1);
        Self { store, owner, seed: AtomicU64::new(STORIES.fetch_add(1, Ordering::SeqCst) << 32) }
    }

    fn open(&self, line: &str, day: i64) -> Arc<Repository> {
        let seed = self.seed.fetch_add(1, Ordering::SeqCst);
        let environment = Environment {
            clock: Arc::new(ManualClock::at(EPOCH + day * DAY)),
            rng: Arc::new(SeededRng::new(seed)),
            ..small::environment(Arc::clone(&self.store), seed)
        };
        Arc::new(Repository::open(environment, &Secret::KeyLine(Zeroizing::new(line.to_owned())), None).unwrap())
    }

    fn owner(&self, day: i64) -> Arc<Repository> {
        self.open(&self.owner, day)
    }

    fn writer(&self, day: i64) -> Arc<Repository> {
        let line = self.owner(day).objects().keys().writer_key().to_line();
        self.open(&line, day)
    }

    /// A host with a writer key whose clock says this day.
    fn take(&self, day: i64, files: &Files) -> SnapshotId {
        take(&self.writer(day), "host", at(day), files)
    }

    fn survey(&self, day: i64) -> Survey {
        survey::survey(&self.owner(day)).unwrap()
    }

    /// An owner runs forget on this day.
    fn forget(&self, day: i64, policy: Policy) -> Result<ForgetPlan, ForgetError> {
        let repository = self.owner(day);
        let survey = survey::survey(&repository)?;
        let plan = forget::by_rules(&survey, &rules(policy), &|_| true, false)?;
        survey.record(&repository)?;
        forget::carry_out(&repository, &plan, &Stop::new())?;
        Ok(plan)
    }

    fn there(&self) -> BTreeSet<SnapshotId> {
        self.owner(0).snapshots().unwrap().snapshots.iter().map(|stored| stored.id).collect()
    }

    fn say(&self, id: SnapshotId, value: Value) {
        let repository = self.owner(0);
        repository.say(&repository.notes().unwrap(), [(id, value)]).unwrap();
    }
}

fn take(repository: &Arc<Repository>, host: &str, time: Timestamp, files: &Files) -> SnapshotId {
    let mut writer = small::writer(repository);
    let mut nodes = Vec::new();
    for (name, bytes) in files {
        let id = repository.objects().keys().chunk_id(esker::crypto::ChunkType::Data, bytes);
        writer.place(&[Named { chunk_type: esker::crypto::ChunkType::Data, id, bytes }]).unwrap();
        let items = vec![Item::Chunk { id, length: bytes.len() as u64 }];
        nodes.push(small::node(name, NodeKind::File, bytes.len() as u64, Content { level: 0, items }));
    }
    let folder = small::store_folder(&mut writer, nodes);
    let root = small::store_folder(&mut writer, vec![small::node("data", NodeKind::Folder, 0, folder)]);
    let mut snapshot = small::snapshot(writer.snapshot_id().unwrap(), root, None);
    snapshot.host = host.to_owned();
    snapshot.time = time;
    snapshot.tags = vec!["taken".to_owned()];
    writer.commit(&snapshot).unwrap().id
}

fn files(seed: u64) -> Files {
    Files::from([("a".to_owned(), noise(seed, 5_000)), ("b".to_owned(), noise(seed + 1, 300))])
}

fn rules(policy: Policy) -> Rules {
    Rules { policy, of_sources: Vec::new(), group_by: GroupBy::default(), zone: jiff::tz::TimeZone::UTC, remove_all: false }
}

fn last(count: u32) -> Policy {
    Policy { last: Count::Up(count), ..Policy::default() }
}

fn daily(count: u32) -> Policy {
    Policy { daily: Count::Up(count), ..Policy::default() }
}

fn within(period: &str) -> Policy {
    Policy { within: period.parse().unwrap(), ..Policy::default() }
}

#[test]
fn what_is_forgotten_is_listed_no_more_and_comes_back_whole() {
    let story = Story::new();
    let old = story.take(1, &files(1));
    let new = story.take(2, &files(10));
    story.say(old, Value::Tag { tag: "gold".to_owned(), present: true });
    story.say(old, Value::Comment("before the upgrade".to_owned()));
    let plan = story.forget(3, last(1)).unwrap();
    assert_eq!(plan.remove.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [old]);
    assert_eq!(story.there(), BTreeSet::from([new]));

    let (repository, survey) = (story.owner(4), story.survey(4));
    assert_eq!(survey.forgotten.iter().map(|forgone| forgone.stored.id).collect::<Vec<_>>(), [old]);
    let monitor = small::quiet();
    let dry = undelete::run(&repository, &survey, &survey.forgotten[0], true, &monitor, &Stop::new()).unwrap();
    assert_eq!((dry, story.there()), (None, BTreeSet::from([new])));
    let back = undelete::run(&repository, &survey, &survey.forgotten[0], false, &monitor, &Stop::new()).unwrap().unwrap();
    assert_eq!(story.there(), BTreeSet::from([new, back]));

    let survey = story.survey(5);
    let surveyed = survey.get(&back).unwrap();
    assert_eq!((surveyed.time, &surveyed.quarantined), (at(1), &None), "it counts when the old one counted");
    assert_eq!(surveyed.tags, ["gold", "taken"]);
    assert_eq!(surveyed.notes.comment.as_deref(), Some("before the upgrade"));
    let reader = Reader::new(&repository, &Quiet).unwrap();
    assert_eq!(small::restore(&reader, &surveyed.stored.snapshot.root).unwrap(), files(1));
    let again = undelete::run(&repository, &survey, &survey.forgotten[0], false, &monitor, &Stop::new());
    assert!(matches!(again, Err(UndeleteError::AlreadyThere { other, .. }) if other == back));
    // What came back may be forgotten again, under its own id.
    story.forget(6, last(1)).unwrap();
    assert_eq!(story.there(), BTreeSet::from([new]));
}

#[test]
fn a_snapshot_of_which_a_part_is_gone_does_not_come_back() {
    let story = Story::new();
    story.take(1, &files(1));
    let packs = |story: &Story| {
        let mut names = BTreeSet::new();
        story.store.list("packs", &mut |entry| names.extend([entry.name])).unwrap();
        names
    };
    let before = packs(&story);
    let lost = story.take(2, &files(10));
    let new: Vec<_> = packs(&story).difference(&before).cloned().collect();
    story.take(3, &files(1));
    story.forget(4, last(1)).unwrap();
    for name in new {
        story.store.delete(&name).unwrap();
    }
    let there = story.there();
    let (repository, survey) = (story.owner(5), story.survey(5));
    let forgone = survey.forgotten.iter().find(|forgone| forgone.stored.id == lost).unwrap();
    let refused = undelete::run(&repository, &survey, forgone, false, &small::quiet(), &Stop::new());
    assert!(matches!(refused, Err(UndeleteError::Freed { id, .. }) if id == lost), "{refused:?}");
    assert_eq!(story.there(), there);
}

#[test]
fn a_tombstone_made_with_a_writer_key_forgets_nothing_and_is_told_of() {
    let story = Story::new();
    let id = story.take(1, &files(1));
    let hash = story.owner(1).snapshot(&id).unwrap().unwrap().hash;
    let record = Forgotten { snapshot: id, hash, time: at(1), reason: "because".to_owned(), extra: Vec::new() };
    let writer = story.writer(1);
    assert!(writer.forget(id, hash, "because").is_err());
    let mut forged = Vec::new();
    for mark in [[0; 32], [7; 32]] {
        let body = [record.encode().unwrap(), mark.to_vec()].concat();
        let sealed = writer.objects().sealer().seal_as_anybody(ObjectType::Forgotten, &body).unwrap();
        let name = ObjectName::Forgotten(id, names::hash_of(&[&sealed])).name();
        story.store.create(&name, &[&sealed]).unwrap();
        forged.push(name.to_string());
    }
    forged.sort();
    let survey = story.survey(2);
    assert_eq!(survey.snapshots.len(), 1);
    let mut told: Vec<String> = survey.ignored.iter().map(|(name, _)| name.clone()).collect();
    told.sort();
    assert_eq!(told, forged);
    // A good one of an owner still works beside them.
    story.owner(3).forget(id, hash, "because").unwrap();
    assert!(story.there().is_empty());
}

#[test]
fn a_tombstone_means_the_object_it_names_and_no_other() {
    let story = Story::new();
    let id = story.take(1, &files(1));
    story.owner(2).forget(id, ObjectHash([9; 32]), "another object").unwrap();
    assert_eq!(story.there(), BTreeSet::from([id]));
}

#[test]
fn only_an_owners_note_keeps_or_releases() {
    let story = Story::new();
    let first = story.take(1, &files(1));
    let second = story.take(2, &files(1));
    story.take(3, &files(1));
    story.say(first, Value::Keep(Keep::ForEver));
    let writer = story.writer(4);
    let forged = |snapshot, keep| Entry { snapshot, number: 1 << 40, time: at(4), value: Value::Keep(keep) };
    let entries = vec![forged(first, Keep::Release), forged(second, Keep::ForEver)];
    let (hash, sealed) = note::seal(writer.objects().sealer(), &Note { entries, extra: Vec::new() }).unwrap();
    story.store.create(&ObjectName::Note(hash).name(), &[&sealed]).unwrap();
    let plan = story.forget(4, last(1)).unwrap();
    assert_eq!(plan.remove.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [second]);
    assert_eq!(story.survey(4).ignored.len(), 1);
    assert!(matches!(writer.notes(), Err(RepositoryError::NeedsOwner(_))));
    assert!(matches!(writer.put_notes(Vec::new(), Vec::new()), Err(RepositoryError::NeedsOwner(_))));
}

#[test]
fn a_keep_note_holds_until_its_time_or_its_release_even_against_a_name() {
    let story = Story::new();
    let [for_ever, until] = [1, 2].map(|day| story.take(day, &files(1)));
    story.take(3, &files(1));
    story.say(for_ever, Value::Keep(Keep::ForEver));
    story.say(until, Value::Keep(Keep::Until(at(10))));
    assert_eq!(story.forget(4, last(1)).unwrap().remove, []);
    let survey = story.survey(5);
    let object = |id: SnapshotId| (id, survey.get(&id).unwrap().stored.hash);
    for id in [for_ever, until] {
        assert!(matches!(forget::by_name(&survey, &[object(id)]), Err(ForgetError::KeptByNote { id: kept, .. }) if kept == id));
    }
    // Time goes on with snapshots.
    story.take(12, &files(1));
    let removed = story.forget(12, last(1)).unwrap().remove;
    assert!(removed.iter().any(|(id, _)| *id == until) && removed.iter().all(|(id, _)| *id != for_ever));
    story.say(for_ever, Value::Keep(Keep::Release));
    assert_eq!(story.forget(13, last(1)).unwrap().remove.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [for_ever]);
}

#[test]
fn a_host_whose_clock_is_ten_years_off_changes_nothing_about_what_is_kept() {
    for wrong in [3_650, -3_650] {
        let (right, disturbed) = (Story::new(), Story::new());
        let mut forged = BTreeSet::new();
        for day in 1..=12 {
            right.take(day, &files(1));
            disturbed.take(day, &files(1));
            if day % 4 == 0 {
                forged.insert(disturbed.take(day + wrong, &files(1)));
            }
            for story in [&right, &disturbed] {
                story.forget(day, daily(5)).unwrap();
                story.forget(day, within("4d")).unwrap();
            }
        }
        let times = |story: &Story| {
            let survey = story.survey(12);
            let believed = survey.snapshots.into_iter().filter(|surveyed| !forged.contains(&surveyed.stored.id));
            believed.map(|surveyed| surveyed.time).collect::<Vec<_>>()
        };
        assert_eq!(times(&disturbed), times(&right));
        assert!(forged.is_subset(&disturbed.there()), "quarantined snapshots are kept");
        let survey = disturbed.survey(12);
        assert!(forged.iter().all(|id| survey.get(id).unwrap().quarantined.is_some()));
    }
}

#[test]
fn a_run_of_an_owner_whose_clock_is_ten_years_off_changes_nothing_about_what_is_kept() {
    for wrong in [3_650, -3_650] {
        let (right, disturbed) = (Story::with(Arc::new(MemoryStore::new()), 4), Story::with(Arc::new(MemoryStore::new()), 4));
        let mut pinned = Vec::new();
        for day in 1..=14 {
            for story in [&right, &disturbed] {
                let id = story.take(day, &files(1));
                if day == 3 {
                    story.say(id, Value::Keep(Keep::Until(at(100))));
                    pinned.push(id);
                }
                let owner = if day == 8 && std::ptr::eq(story, &disturbed) { day + wrong } else { day };
                story.forget(owner, last(2)).unwrap();
                story.forget(owner, within("3d")).unwrap();
            }
        }
        let times = |story: &Story| story.survey(14).snapshots.iter().map(|surveyed| surveyed.time).collect::<Vec<_>>();
        assert_eq!(times(&disturbed), times(&right));
        assert!(disturbed.there().contains(&pinned[1]));
        assert!(disturbed.survey(14).snapshots.iter().all(|surveyed| surveyed.quarantined.is_none()));
    }
}

#[test]
fn a_machine_that_wakes_up_ten_years_ahead_stops_before_its_rules_drop_everything() {
    let story = Story::new();
    for day in 1..=20 {
        story.take(day, &files(1));
        story.forget(day, within("30d")).unwrap();
    }
    let there = story.there();
    story.take(3_650, &files(1));
    let stopped = story.forget(3_650, within("30d"));
    assert!(matches!(stopped, Err(ForgetError::Jump { remove: 20, days: 3_630, .. })), "{stopped:?}");
    assert!(there.is_subset(&story.there()));
    // Again and again, also after commands that write down what they saw.
    assert_eq!(story.survey(3_651).record(&story.owner(3_651)).unwrap(), 0);
    assert!(matches!(story.forget(3_652, within("30d")), Err(ForgetError::Jump { .. })));
    // The clock is put right: the snapshot of the future takes no slot.
    story.take(21, &files(1));
    assert_eq!(story.forget(21, within("30d")).unwrap().remove, []);
    assert_eq!(story.forget(21, last(21)).unwrap().remove, []);
}

#[test]
fn a_long_silence_is_told_to_be_one_by_a_flag_once() {
    let story = Story::new();
    for day in 1..=3 {
        story.take(day, &files(1));
        story.forget(day, within("30d")).unwrap();
    }
    story.take(400, &files(1));
    assert!(matches!(story.forget(400, within("30d")), Err(ForgetError::Jump { .. })));
    // Rules that count need no clock.
    assert_eq!(forget::by_rules(&story.survey(400), &rules(last(3)), &|_| true, false).unwrap().remove.len(), 1);
    let (repository, survey) = (story.owner(400), story.survey(400));
    let plan = forget::by_rules(&survey, &rules(within("30d")), &|_| true, true).unwrap();
    assert_eq!(plan.remove.len(), 3);
    survey.record_over_a_jump(&repository).unwrap();
    assert_eq!(story.survey(401).jump, None);
    assert_eq!(story.forget(401, within("30d")).unwrap().remove.len(), 3);
}

#[test]
fn what_was_first_seen_a_short_time_ago_is_dropped_by_no_rule() {
    let story = Story::with(Arc::new(MemoryStore::new()), 14);
    let first = story.take(1, &files(1));
    story.forget(1, last(5)).unwrap();
    for day in [5, 13, 14, 16] {
        story.take(day, &files(1));
        let removed = story.forget(day, last(1)).unwrap().remove;
        assert_eq!(removed.iter().map(|(id, _)| *id).collect::<Vec<_>>(), if day < 16 { vec![] } else { vec![first] }, "{day}");
    }
}

#[test]
fn the_newest_complete_snapshot_of_a_host_is_dropped_by_no_rule() {
    let story = Story::new();
    let complete = take(&story.writer(1), "host", at(1), &files(1));
    let mut last_id = complete;
    for day in 2..=4 {
        let repository = story.writer(day);
        let mut writer = small::writer(&repository);
        let root = small::store_folder(&mut writer, Vec::new());
        let mut snapshot = small::snapshot(writer.snapshot_id().unwrap(), root, None);
        (snapshot.time, snapshot.incomplete) = (at(day), vec!["a source failed".to_owned()]);
        last_id = writer.commit(&snapshot).unwrap().id;
    }
    story.forget(5, last(1)).unwrap();
    assert_eq!(story.there(), BTreeSet::from([complete, last_id]));
}

#[test]
fn a_policy_that_keeps_nothing_forgets_nothing() {
    let story = Story::new();
    story.take(1, &files(1));
    assert!(matches!(story.forget(2, Policy::default()), Err(ForgetError::Retention(_))));
    let unknown = Policy { tags: vec![vec!["unknown".to_owned()]], ..Policy::default() };
    assert!(matches!(story.forget(2, unknown), Err(ForgetError::Retention(_))));
    assert_eq!(story.there().len(), 1);
}

#[test]
fn a_first_sighting_is_written_once_and_a_note_is_read_from_the_store_once() {
    let store = Arc::new(FaultyStore::new(MemoryStore::new()));
    let story = Story::with(store.clone(), 0);
    story.take(1, &files(1));
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let environment = Environment { caches: Some(folder.path().to_owned()), ..small::environment(store.clone(), 7_000) };
        Repository::open(environment, &Secret::KeyLine(Zeroizing::new(story.owner.clone())), None).unwrap()
    };
    let notes = || {
        let mut count = 0;
        story.store.list("notes", &mut |_| count += 1).unwrap();
        count
    };
    for expected in [1, 0, 0] {
        assert_eq!(survey::survey(&open()).unwrap().record(&open()).unwrap(), expected);
    }
    assert_eq!(notes(), 1);
    survey::survey(&open()).unwrap();
    store.take_calls();
    assert_eq!(open().notes().unwrap().runs().len(), 1);
    let reads = store.take_calls().into_iter().filter(|call| call.verb == Verb::Get && call.name.starts_with("notes/")).count();
    assert_eq!(reads, 0);
}

#[test]
fn a_note_of_a_later_version_that_must_not_be_overlooked_stops_an_owner() {
    let story = Story::new();
    story.take(1, &files(1));
    let later = Note { entries: Vec::new(), extra: vec![(900, true, vec![1])] };
    let put = |repository: &Repository| {
        let (hash, sealed) = note::seal(repository.objects().sealer(), &later).unwrap();
        repository.objects().store().create(&ObjectName::Note(hash).name(), &[&sealed]).unwrap();
    };
    // Of somebody with a writer key it stops nobody.
    put(&story.writer(1));
    assert_eq!(story.survey(2).ignored.len(), 1);
    put(&story.owner(1));
    assert!(matches!(survey::survey(&story.owner(2)), Err(RepositoryError::Object { .. })));
}

#[test]
fn many_and_long_statements_fit_into_notes() {
    let story = Story::new();
    let id = story.take(1, &files(1));
    let repository = story.owner(1);
    let tag = |number: u32| Value::Tag { tag: format!("{number:0>400}"), present: true };
    let notes = repository.notes().unwrap();
    repository.say(&notes, (0..4_500).map(|number| (id, tag(number)))).unwrap();
    assert_eq!(note_names(&story).len(), 3);
    assert_eq!(story.survey(2).snapshots[0].tags.len(), 4_501);
}

#[test]
fn a_damaged_note_is_told_of_and_the_others_hold() {
    let story = Story::new();
    let id = story.take(1, &files(1));
    story.say(id, Value::Comment("first".to_owned()));
    let before: BTreeSet<_> = note_names(&story);
    story.say(id, Value::Comment("second".to_owned()));
    assert_eq!(story.survey(2).get(&id).unwrap().notes.comment.as_deref(), Some("second"));
    let second = note_names(&story).difference(&before).next().unwrap().clone();
    let mut bytes = story.store.get(&second, 1 << 20).unwrap();
    bytes[300] ^= 1;
    story.store.replace(&second, &[&bytes]).unwrap();
    let survey = story.survey(2);
    assert_eq!(survey.get(&id).unwrap().notes.comment.as_deref(), Some("first"));
    assert_eq!(survey.ignored.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), [second.as_str()]);
}

fn note_names(story: &Story) -> BTreeSet<esker::store::Name> {
    let mut names = BTreeSet::new();
    story.store.list("notes", &mut |entry| names.extend([entry.name])).unwrap();
    names
}

#[test]
fn a_snapshot_with_a_revocation_beside_it_is_doubtful_where_the_store_has_no_create_if_absent() {
    let story = Story::new();
    let doubtful = story.take(2, &files(1));
    story.store.create(&ObjectName::Revoked(doubtful.into()).name(), &[b"whatever stands there"]).unwrap();
    // Elsewhere it is a thing anybody with a writer key could put there, and says nothing.
    assert_eq!(story.survey(3).snapshots[0].quarantined, None);
    let repository = story.owner(3);
    let first = story.store.get(&ObjectName::Config(1).name(), 1 << 20).unwrap();
    let config = Config {
        number: 2,
        previous: names::hash_of(&[&first]),
        class: StoreClass::SingleMaintainer,
        ..repository.config().clone()
    };
    story.store.create(&ObjectName::Config(2).name(), &[&config::seal(repository.objects().sealer(), &config).unwrap()]).unwrap();
    assert!(story.survey(3).snapshots[0].quarantined.as_ref().unwrap().contains("revocation"));
    let [second, third] = [3, 4].map(|day| story.take(day, &files(1)));
    story.forget(5, last(1)).unwrap();
    assert_eq!(story.there(), BTreeSet::from([doubtful, third]), "{second}");
}

fn prune(repository: &Arc<Repository>) -> esker::prune::PruneSummary {
    let options = esker::prune::PruneOptions { max_unused: esker::prune::MaxUnused::Bytes(0), ..Default::default() };
    esker::prune::run(repository, &options, &small::quiet(), &Stop::new()).unwrap()
}

#[test]
fn what_came_back_before_a_prune_survives_it_and_what_did_not_is_gone() {
    let story = Story::new();
    let [first, second] = [1, 2].map(|day| story.take(day, &files(day as u64 * 10)));
    story.take(3, &files(1));
    story.forget(4, last(1)).unwrap();
    let (repository, survey) = (story.owner(5), story.survey(5));
    let forgone = |id| survey.forgotten.iter().find(|forgone| forgone.stored.id == id).unwrap();
    let back = undelete::run(&repository, &survey, forgone(first), false, &small::quiet(), &Stop::new()).unwrap().unwrap();
    let summary = prune(&story.owner(6));
    assert!(summary.packs_deleted > 0, "{summary:?}");
    let reader = Reader::new(&story.owner(7), &Quiet).unwrap();
    let stored = story.owner(7).snapshot(&back).unwrap().unwrap();
    assert_eq!(small::restore(&reader, &stored.snapshot.root).unwrap(), files(10));
    // The listing from before the prune still names the other one.
    let gone = undelete::run(&story.owner(8), &survey, forgone(second), false, &small::quiet(), &Stop::new());
    assert!(matches!(gone, Err(UndeleteError::Freed { .. })), "{gone:?}");
    let there = story.there();
    assert_eq!(there.len(), 2);
    prune(&story.owner(9));
    assert_eq!(story.there(), there);
    assert_eq!(small::check(&story.owner(9), esker::verify::ReadData::All).1.findings, 0);
}

#[test]
fn what_is_condemned_does_not_come_back_while_a_prune_waits() {
    let story = Story::new();
    let lost = story.take(1, &files(10));
    story.take(2, &files(1));
    story.forget(3, last(1)).unwrap();
    let survey = story.survey(4);
    // A backup that was begun before and has not acknowledged: the prune condemns, and deletes nothing.
    let waiting = small::writer(&story.writer(4));
    let summary = prune(&story.owner(5));
    assert!(summary.packs_waiting > 0 && summary.packs_deleted == 0, "{summary:?}");
    let forgone = survey.forgotten.iter().find(|forgone| forgone.stored.id == lost).unwrap();
    let refused = undelete::run(&story.owner(6), &survey, forgone, false, &small::quiet(), &Stop::new());
    assert!(matches!(refused, Err(UndeleteError::Freed { .. })), "{refused:?}");
    waiting.abandon();
    prune(&story.owner(7));
    assert_eq!(small::check(&story.owner(8), esker::verify::ReadData::All).1.findings, 0);
}

#[test]
fn a_damaged_snapshot_can_be_forgotten_so_that_a_prune_goes_on() {
    let story = Story::new();
    let damaged = story.take(1, &files(10));
    let good = story.take(2, &files(1));
    // A prune has seen it whole.
    story.forget(3, last(5)).unwrap();
    let third = story.take(3, &files(50));
    story.owner(3).forget(third, story.owner(3).snapshot_hash(&third).unwrap(), "test").unwrap();
    prune(&story.owner(3));
    let name = names::snapshot_name(damaged);
    let mut bytes = story.store.get(&name, 1 << 20).unwrap();
    bytes[200] ^= 1;
    story.store.replace(&name, &[&bytes]).unwrap();
    let monitor = small::quiet();
    assert!(esker::prune::run(&story.owner(4), &Default::default(), &monitor, &Stop::new()).is_err());
    let (repository, survey) = (story.owner(5), story.survey(5));
    assert_eq!(survey.damaged.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [damaged]);
    let plan = forget::by_name(&survey, &forget::objects_of_damaged(&repository, damaged).unwrap()).unwrap();
    forget::carry_out(&repository, &plan, &Stop::new()).unwrap();
    let survey = story.survey(6);
    assert!(survey.damaged.is_empty());
    assert_eq!(story.there(), BTreeSet::from([good]));
    // How much of it goes with a snapshot that cannot be read nobody can tell: that has to be confirmed.
    let options = esker::prune::PruneOptions { force: true, ..Default::default() };
    assert!(esker::prune::run(&story.owner(7), &options, &monitor, &Stop::new()).unwrap().packs_deleted > 0);
}
