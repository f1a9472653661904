//! The contract of a store as promises that can be tried on any: over memory, disks and wrappers in `store.rs`, over real servers
//! in `remote.rs` and `sftp.rs`.

#![allow(dead_code, clippy::unwrap_used, reason = "each test uses its part, and may fail")]

use std::collections::BTreeSet;
use std::sync::Barrier;

use esker::store::{Entry, Name, Store, StoreError, StoreErrorKind};

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub fn listed(store: &dyn Store, folder: &str) -> BTreeSet<(String, u64)> {
    let mut entries = Vec::new();
    store.list(folder, &mut |entry: Entry| entries.push((entry.name.to_string(), entry.size))).unwrap();
    let set: BTreeSet<_> = entries.iter().cloned().collect();
    assert_eq!(set.len(), entries.len(), "something is listed twice");
    set
}

/// A promise, tried on an empty store whose place is made.
pub type Promise = fn(&dyn Store);

/// All of them, by name.
pub const PROMISES: [(&str, Promise); 9] = [
    ("what_was_created_reads_back_and_is_listed", what_was_created_reads_back_and_is_listed),
    ("a_folder_is_not_taken_for_one_that_begins_alike", a_folder_is_not_taken_for_one_that_begins_alike),
    ("a_taken_name_is_refused_and_stays_what_it_was", a_taken_name_is_refused_and_stays_what_it_was),
    ("a_replaced_object_is_the_new_one_whole", a_replaced_object_is_the_new_one_whole),
    ("ranges_are_exact_or_refused", ranges_are_exact_or_refused),
    ("an_object_larger_than_allowed_is_not_read", an_object_larger_than_allowed_is_not_read),
    ("what_was_deleted_is_gone_and_its_name_free", what_was_deleted_is_gone_and_its_name_free),
    ("an_absent_name_is_named_and_an_absent_folder_is_empty", an_absent_name_is_named_and_an_absent_folder_is_empty),
    ("of_64_creates_at_once_exactly_one_wins", of_64_creates_at_once_exactly_one_wins),
];

pub fn what_was_created_reads_back_and_is_listed(store: &dyn Store) {
    store.create(&name("packs/0f/0fab"), &[b"one ", b"", b"two"]).unwrap();
    store.create(&name("config"), &[]).unwrap();
    assert_eq!(store.get(&name("packs/0f/0fab"), 7).unwrap(), b"one two");
    assert_eq!(store.size(&name("packs/0f/0fab")).unwrap(), 7);
    assert_eq!(store.get(&name("config"), 0).unwrap(), b"");
    assert_eq!(listed(store, "packs"), BTreeSet::from([("packs/0f/0fab".into(), 7)]));
    assert_eq!(listed(store, "packs/0f"), listed(store, "packs"));
    assert_eq!(listed(store, ""), BTreeSet::from([("config".into(), 0), ("packs/0f/0fab".into(), 7)]));
}

pub fn a_folder_is_not_taken_for_one_that_begins_alike(store: &dyn Store) {
    store.create(&name("gc2/x"), &[b"x"]).unwrap();
    assert_eq!(listed(store, "gc"), BTreeSet::new());
    store.create(&name("gc/y"), &[b"y"]).unwrap();
    assert_eq!(listed(store, "gc"), BTreeSet::from([("gc/y".into(), 1)]));
}

pub fn a_taken_name_is_refused_and_stays_what_it_was(store: &dyn Store) {
    store.create(&name("gc/1"), &[b"first"]).unwrap();
    for second in [&b"second"[..], b"first", b""] {
        assert!(
            matches!(store.create(&name("gc/1"), &[second]), Err(StoreError { kind: StoreErrorKind::Exists, name: Some(n), .. }) if n == name("gc/1"))
        );
    }
    assert_eq!(store.get(&name("gc/1"), 99).unwrap(), b"first");
}

pub fn a_replaced_object_is_the_new_one_whole(store: &dyn Store) {
    store.replace(&name("packs/00/x"), &[b"a longer first"]).unwrap();
    store.replace(&name("packs/00/x"), &[b"second"]).unwrap();
    assert_eq!(store.get(&name("packs/00/x"), 99).unwrap(), b"second");
    assert_eq!(listed(store, ""), BTreeSet::from([("packs/00/x".into(), 6)]));
}

pub fn ranges_are_exact_or_refused(store: &dyn Store) {
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    store.create(&name("p"), &[&bytes]).unwrap();
    for (offset, length) in [(0, 1), (0, 100_000), (99_999, 1), (100_000, 0), (4_000, 70_000), (7, 0)] {
        assert_eq!(store.get_range(&name("p"), offset, length).unwrap(), bytes[offset as usize..][..length]);
    }
    for (offset, length) in [(0, 100_001), (100_000, 1), (100_001, 0), (u64::MAX, 1), (u64::MAX, 0), (1, usize::MAX)] {
        let refused = store.get_range(&name("p"), offset, length);
        assert!(
            matches!(refused, Err(StoreError { kind: StoreErrorKind::Size { size: 100_000 }, .. })),
            "{offset}+{length}: {refused:?}"
        );
    }
}

pub fn an_object_larger_than_allowed_is_not_read(store: &dyn Store) {
    store.create(&name("p"), &[b"12345"]).unwrap();
    assert_eq!(store.get(&name("p"), 5).unwrap(), b"12345");
    assert!(matches!(store.get(&name("p"), 4), Err(StoreError { kind: StoreErrorKind::Size { size: 5 }, .. })));
    assert!(matches!(store.get(&name("p"), 0), Err(StoreError { kind: StoreErrorKind::Size { .. }, .. })));
}

pub fn what_was_deleted_is_gone_and_its_name_free(store: &dyn Store) {
    store.create(&name("a/b"), &[b"1"]).unwrap();
    store.delete(&name("a/b")).unwrap();
    store.delete(&name("a/b")).unwrap();
    store.delete(&name("never/there")).unwrap();
    assert!(matches!(store.get(&name("a/b"), 9), Err(StoreError { kind: StoreErrorKind::Missing, .. })));
    assert_eq!(listed(store, ""), BTreeSet::new());
    store.create(&name("a/b"), &[b"2"]).unwrap();
    assert_eq!(store.get(&name("a/b"), 9).unwrap(), b"2");
}

pub fn an_absent_name_is_named_and_an_absent_folder_is_empty(store: &dyn Store) {
    let absent = name("packs/00/absent");
    assert!(matches!(store.get(&absent, 9), Err(StoreError { kind: StoreErrorKind::Missing, name: Some(n), .. }) if n == absent));
    assert!(
        matches!(store.get_range(&absent, 0, 0), Err(StoreError { kind: StoreErrorKind::Missing, name: Some(n), .. }) if n == absent)
    );
    assert!(matches!(store.size(&absent), Err(StoreError { kind: StoreErrorKind::Missing, name: Some(n), .. }) if n == absent));
    assert_eq!(listed(store, "packs"), BTreeSet::new());
}

/// On a store whose place is not made; not every kind can make one.
pub fn a_place_that_is_not_there_is_never_an_empty_store(store: &dyn Store) {
    let object = name("gc/1");
    let no_store = |outcome: Result<(), StoreError>| {
        assert!(matches!(outcome, Err(StoreError { kind: StoreErrorKind::NoStore { .. }, .. })), "{outcome:?}")
    };
    no_store(store.list("gc", &mut |_| ()));
    no_store(store.list("", &mut |_| ()));
    no_store(store.create(&object, &[b"x"]));
    no_store(store.replace(&object, &[b"x"]));
    no_store(store.get(&object, 9).map(|_| ()));
    no_store(store.get_range(&object, 0, 0).map(|_| ()));
    no_store(store.size(&object).map(|_| ()));
    no_store(store.delete(&object));
    store.create_place().unwrap();
    store.create(&object, &[b"x"]).unwrap();
    store.create_place().unwrap();
    assert_eq!(listed(store, "gc"), BTreeSet::from([("gc/1".into(), 1)]));
}

// -- the race ----------------------------------------------------------------------------------------

/// What a race of many creates for one name shows.
#[derive(Debug, PartialEq, Eq)]
pub enum Race {
    /// Exactly one won; its bytes are stored, and it is listed.
    Fair,
    /// So many were told that they won.
    Winners(usize),
    /// The stored bytes are not the winner's.
    NotTheWinners,
    /// The winner's object is not in a listing made afterwards.
    NotListed,
}

pub fn race(store: &dyn Store, round: usize) -> Race {
    const THREADS: usize = 64;
    let object = name(&format!("probe/{round}"));
    let start = Barrier::new(THREADS);
    // Long enough that a create which is not atomic shows halves.
    let bytes = |n: usize| vec![n as u8; 20_000];
    let won: Vec<usize> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|n| {
                let (object, start, bytes) = (&object, &start, bytes(n));
                scope.spawn(move || {
                    start.wait();
                    match store.create(object, &[&bytes[..9_000], &bytes[9_000..]]) {
                        Ok(()) => Some(n),
                        Err(StoreError { kind: StoreErrorKind::Exists, .. }) => None,
                        Err(error) => panic!("{error}"),
                    }
                })
            })
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
    });
    let [winner] = won[..] else { return Race::Winners(won.len()) };
    if store.get(&object, 1 << 20).unwrap() != bytes(winner) {
        return Race::NotTheWinners;
    }
    if !listed(store, "probe").contains(&(object.to_string(), 20_000)) {
        return Race::NotListed;
    }
    Race::Fair
}

pub fn of_64_creates_at_once_exactly_one_wins(store: &dyn Store) {
    for round in 0..5 {
        assert_eq!(race(store, round), Race::Fair);
    }
}
