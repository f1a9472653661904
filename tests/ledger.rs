//! The ledger of proof: what a verification writes down, what the next one reads first, and what is known to be damaged.

#![allow(clippy::unwrap_used, reason = "also what helps a test may unwrap")]

mod small;

use std::collections::BTreeSet;
use std::sync::Arc;

use esker::clock::ManualClock;
use esker::format::names;
use esker::format::note::VerifiedHow;
use esker::id::{PackId, SnapshotId};
use esker::monitor::Stop;
use esker::records::ledger::{Ledger, Wrong};
use esker::repository::{Environment, Repository, Secret};
use esker::store::faults::{FaultyStore, Verb};
use esker::store::{MemoryStore, Name, Store};
use esker::verify::{self, ReadData, VerifyOptions, VerifySummary};
use small::{Files, noise};
use zeroize::Zeroizing;

const DAY: i64 = 86_400;
const EPOCH: i64 = 1_790_000_000;

struct Place {
    store: Arc<FaultyStore<MemoryStore>>,
    line: String,
}

impl Place {
    fn new() -> Self {
        let store = Arc::new(FaultyStore::new(MemoryStore::new()));
        let (_, line) = small::init(store.clone());
        Self { store, line }
    }

    fn open(&self, day: i64) -> Arc<Repository> {
        static SEED: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1_000);
        let seed = SEED.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let clock = Arc::new(ManualClock::at(EPOCH + day * DAY));
        let environment = Environment { clock, ..small::environment(self.store.clone(), seed) };
        Arc::new(Repository::open(environment, &Secret::KeyLine(Zeroizing::new(self.line.clone())), None).unwrap())
    }

    fn take(&self, seed: u64) -> SnapshotId {
        small::commit(&self.open(0), &Files::from([("a".to_owned(), noise(seed, 3_000))]), None)
    }

    fn verify(&self, day: i64, read_data: ReadData) -> VerifySummary {
        let options = VerifyOptions { read_data, record: true, ..VerifyOptions::default() };
        verify::run(&self.open(day), &options, &small::quiet(), &Stop::new(), &mut |_| {}).unwrap()
    }

    fn ledger(&self, day: i64) -> Ledger {
        let repository = self.open(day);
        Ledger::new(repository.notes().unwrap().proofs(), repository.clock().now())
    }

    fn packs(&self) -> BTreeSet<PackId> {
        let mut packs = BTreeSet::new();
        self.store.list("packs", &mut |entry| packs.extend(names::parse_pack(&entry.name))).unwrap();
        packs
    }

    fn notes(&self) -> usize {
        let mut count = 0;
        self.store.list("notes", &mut |_| count += 1).unwrap();
        count
    }

    /// Packs read whole since the last time this was asked, in order.
    fn read(&self) -> Vec<PackId> {
        let calls = self.store.take_calls();
        let whole = calls.into_iter().filter(|call| call.verb == Verb::Get && call.name.starts_with("packs/"));
        whole.filter_map(|call| names::parse_pack(&Name::new(call.name)?)).collect()
    }

    fn days(&self, day: i64, pack: &PackId) -> Option<i64> {
        self.ledger(day).read_at(pack).map(|time| (time.seconds - EPOCH) / DAY)
    }
}

const fn unread(days: u64) -> ReadData {
    ReadData::Unread(days * 86_400)
}

#[test]
fn what_is_old_is_read_and_what_is_not_is_left_alone() {
    let place = Place::new();
    place.take(1);
    let first = place.packs();
    // Without a note everything is old.
    assert_eq!(place.verify(1, unread(30)).packs_read as usize, first.len());
    assert!(first.iter().all(|pack| place.days(1, pack) == Some(1)));
    assert_eq!(place.verify(20, unread(30)).packs_read, 0);
    place.take(2);
    let new: BTreeSet<_> = place.packs().difference(&first).copied().collect();
    place.read();
    place.verify(21, unread(30));
    assert_eq!(place.read().into_iter().collect::<BTreeSet<_>>(), new);
    // Now the first ones are old, and are read; the new ones are not.
    place.verify(40, unread(30));
    assert_eq!(place.read().into_iter().collect::<BTreeSet<_>>(), first);
    assert!(first.iter().all(|pack| place.days(41, pack) == Some(40)) && new.iter().all(|pack| place.days(41, pack) == Some(21)));
}

#[test]
fn a_snapshot_is_verified_once_everything_was_read_and_a_look_takes_nothing_back() {
    let place = Place::new();
    let id = place.take(1);
    let verified =
        |place: &Place| place.open(9).notes().unwrap().of(&id).verified.map(|verified| (verified.how, verified.findings));
    place.verify(1, ReadData::Nothing);
    assert_eq!(verified(&place), Some((VerifiedHow::Structure, 0)));
    place.verify(2, ReadData::All);
    assert_eq!(verified(&place), Some((VerifiedHow::Content, 0)));
    place.verify(3, ReadData::Nothing);
    assert_eq!(verified(&place), Some((VerifiedHow::Content, 0)));
}

#[test]
fn damage_stays_known_until_it_was_read_and_found_whole() {
    let place = Place::new();
    let (first, before) = (place.take(1), place.packs());
    let second = place.take(2);
    let pack = *place.packs().difference(&before).next().unwrap();
    let name = names::pack_name(pack);
    let whole = place.store.get(&name, 1 << 30).unwrap();
    let mut bytes = whole.clone();
    // Somewhere in its frames: only reading shows it.
    let at = place.open(0).own_facts(&pack, whole.len() as u64).unwrap().directory.frames[0].offset;
    bytes[at as usize + 60] ^= 1;
    place.store.replace(&name, &[&bytes]).unwrap();

    assert!(place.verify(1, ReadData::All).data_affected > 0);
    let state = |place: &Place| {
        let notes = place.open(9).notes().unwrap();
        let findings = |id| notes.of(id).verified.map(|verified| verified.findings > 0);
        (place.ledger(9).wrong(&pack), findings(&first), findings(&second))
    };
    let damaged = (Some(Wrong::Lost), Some(false), Some(true));
    assert_eq!(state(&place), damaged);
    assert_eq!(place.days(9, &pack), None);
    // A look at the structure does not see it, and does not hide it.
    place.verify(2, ReadData::Nothing);
    let (wrong, _, hit) = state(&place);
    assert_eq!((wrong, hit), (Some(Wrong::Lost), Some(true)));
    place.store.replace(&name, &[&whole]).unwrap();
    // What is damaged is old, whatever its age.
    place.read();
    place.verify(3, unread(300));
    assert_eq!(place.read(), [pack]);
    assert_eq!(state(&place), (None, Some(false), Some(false)));
}

#[test]
fn a_verification_that_is_to_leave_no_note_leaves_none() {
    let place = Place::new();
    place.take(1);
    let options = VerifyOptions { read_data: ReadData::All, ..VerifyOptions::default() };
    verify::run(&place.open(1), &options, &small::quiet(), &Stop::new(), &mut |_| {}).unwrap();
    assert_eq!(place.notes(), 0);
}

#[test]
fn a_verification_of_one_snapshot_says_nothing_about_the_others() {
    let place = Place::new();
    let (first, second) = (place.take(1), place.take(2));
    let options = VerifyOptions { read_data: ReadData::All, record: true, snapshots: vec![first] };
    verify::run(&place.open(1), &options, &small::quiet(), &Stop::new(), &mut |_| {}).unwrap();
    let notes = place.open(2).notes().unwrap();
    assert!(notes.of(&first).verified.is_some() && notes.of(&second).verified.is_none());
    assert_eq!(place.ledger(2).last(), None);
    assert!(place.packs().iter().all(|pack| place.days(2, pack) == Some(1)));
}

#[test]
fn what_was_read_before_an_interruption_is_not_read_again() {
    let place = Place::new();
    for seed in 1..=6 {
        place.take(seed);
    }
    struct StopAfter(Stop, std::sync::atomic::AtomicU64);
    impl esker::monitor::Monitor for StopAfter {
        fn advance(&self, _: u64, bytes: u64) {
            if bytes > 0 && self.1.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 2 {
                self.0.request();
            }
        }
    }
    let stop = Stop::new();
    let monitor: Arc<dyn esker::monitor::Monitor> = Arc::new(StopAfter(stop.clone(), Default::default()));
    let options = VerifyOptions { read_data: unread(30), record: true, ..VerifyOptions::default() };
    assert!(verify::run(&place.open(1), &options, &monitor, &stop, &mut |_| {}).is_err());
    let read: BTreeSet<_> = place.packs().into_iter().filter(|pack| place.days(1, pack).is_some()).collect();
    assert!(read.len() >= 3 && read.len() < place.packs().len(), "{}", read.len());
    place.read();
    let summary = place.verify(2, unread(30));
    assert!(place.read().iter().all(|pack| !read.contains(pack)));
    assert_eq!(summary.findings, 0);
    assert!(place.packs().iter().all(|pack| place.days(3, pack).is_some()));
}
