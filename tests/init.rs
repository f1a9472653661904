//! A repository comes to be whole or not at all: cut off anywhere, beside another `init` that runs, with replies that are lost.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail, and says what it saw")]

mod small;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use esker::crypto::Passphrase;
use esker::format::config::StoreClass;
use esker::format::keyslot::Level;
use esker::monitor::Quiet;
use esker::repository::{InitOptions, Initialised, Reader, Repository, RepositoryError, Secret};
use esker::store::faults::{Condition, Fault, FaultyStore, Verb};
use esker::store::{MemoryStore, Store};
use small::meanwhile::Meanwhile;
use small::turns::Turns;
use small::{Files, PASSWORD, noise};

/// Writes no `init` needs.
const WRITES_MAX: u64 = 20;

fn init(store: Arc<dyn Store>, password: &str) -> Result<Initialised, RepositoryError> {
    init_of(StoreClass::Shared, store, password)
}

fn init_of(class: StoreClass, store: Arc<dyn Store>, password: &str) -> Result<Initialised, RepositoryError> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let environment = small::environment(store, NEXT.fetch_add(1, Ordering::Relaxed));
    let options = InitOptions { class: Some(class), ..small::cheapest() };
    Repository::init(environment, &Passphrase::new(password.to_owned()), &options)
}

fn open(store: &Arc<MemoryStore>, password: &str) -> Result<Arc<Repository>, RepositoryError> {
    let secret = Secret::Passphrase(Passphrase::new(password.to_owned()));
    Repository::open(small::environment(store.clone(), 1000), &secret, None).map(Arc::new)
}

/// It opens with its password and with the recovery key that was shown, takes a snapshot and gives it back.
fn assert_works(store: &Arc<MemoryStore>, password: &str, recovery_key: &str, when: &str) {
    open(store, recovery_key).unwrap_or_else(|error| panic!("{when}: the recovery key: {error}"));
    let repository = open(store, password).unwrap_or_else(|error| panic!("{when}: {error}"));
    let files = Files::from([("a".to_owned(), noise(1, 3000))]);
    let id = small::commit(&repository, &files, None);
    let repository = open(store, password).unwrap();
    let root = repository.snapshot(&id).unwrap().unwrap().snapshot.root;
    assert_eq!(small::restore(&Reader::new(&repository, &Quiet).unwrap(), &root).unwrap(), files, "{when}");
}

fn keyslots(store: &MemoryStore) -> usize {
    small::names(store).iter().filter(|name| name.as_str().starts_with("keys/")).count()
}

#[test]
fn an_init_cut_off_at_any_write_is_finished_by_the_next() {
    for writes in 0..WRITES_MAX {
        let place = Arc::new(MemoryStore::new());
        let faulty = Arc::new(FaultyStore::new(Arc::clone(&place)));
        faulty.stop_after(Some(writes));
        if let Ok(made) = init(faulty, PASSWORD) {
            assert_works(&place, PASSWORD, &made.recovery_key, "not cut off");
            assert!(writes >= 4, "two keyslots, a config, the ballast");
            return;
        }
        let left = small::names(&place);
        let when = format!("after {writes} writes: {left:?}");
        if left.iter().any(|name| name.as_str().starts_with("config/")) {
            // It is one, and its recovery key was not shown: that is said, and another one can be made.
            assert!(matches!(init(place.clone(), PASSWORD), Err(RepositoryError::AlreadyExists(_))), "{when}");
            assert!(open(&place, PASSWORD).is_ok(), "{when}");
            continue;
        }
        if !left.is_empty() {
            assert!(matches!(init(place.clone(), "another one"), Err(RepositoryError::UnfinishedInit(_))), "{when}");
            assert_eq!(small::names(&place), left, "{when}: another password changes nothing");
        }
        let made = init(place.clone(), PASSWORD).unwrap_or_else(|error| panic!("{when}: {error}"));
        assert_works(&place, PASSWORD, &made.recovery_key, &when);
        assert_eq!(keyslots(&place), 2, "{when}: what was left is gone");
    }
    panic!("more than {WRITES_MAX} writes");
}

#[test]
fn inits_cut_off_one_after_another_are_finished_too() {
    let place = Arc::new(MemoryStore::new());
    for _ in 0..4 {
        let faulty = Arc::new(FaultyStore::new(Arc::clone(&place)));
        faulty.stop_after(Some(2));
        assert!(init(faulty, PASSWORD).is_err());
    }
    assert_eq!(keyslots(&place), 8);
    let made = init(place.clone(), PASSWORD).unwrap();
    assert_works(&place, PASSWORD, &made.recovery_key, "after four");
    assert_eq!(keyslots(&place), 2);
}

#[test]
fn a_place_with_anything_else_in_it_is_refused_and_nothing_is_changed() {
    let whole = Arc::new(MemoryStore::new());
    let made = init(whole.clone(), PASSWORD).unwrap();
    small::commit(&Arc::new(made.repository), &Files::from([("a".to_owned(), noise(1, 3000))]), None);
    for folder in ["config", "packs", "index", "sessions", "snapshots"] {
        let place = Arc::new(MemoryStore::new());
        for name in small::names(&whole).iter().filter(|name| ["keys", folder].contains(&name.as_str().split('/').next().unwrap()))
        {
            place.create(name, &[&whole.get(name, u64::MAX).unwrap()]).unwrap();
        }
        let before = small::names(&place);
        assert!(matches!(init(place.clone(), PASSWORD), Err(RepositoryError::AlreadyExists(_))), "{folder}");
        assert_eq!(small::names(&place), before, "{folder}");
    }
}

#[test]
fn a_reply_that_was_lost_is_no_other_init() {
    for nth in 1..=3 {
        let place = Arc::new(MemoryStore::new());
        let faulty = Arc::new(FaultyStore::new(Arc::clone(&place)));
        faulty.fault(Verb::Create, nth, Fault::LoseReply);
        assert!(init(faulty, PASSWORD).is_err(), "create {nth}");
        match init(place.clone(), PASSWORD) {
            Ok(made) => assert_works(&place, PASSWORD, &made.recovery_key, &format!("create {nth}")),
            Err(error) => {
                assert!(nth == 3 && matches!(error, RepositoryError::AlreadyExists(_)), "create {nth}: {error}");
                assert!(open(&place, PASSWORD).is_ok());
            }
        }
    }
}

/// A whole `init` before every call of another: exactly one says that it made the repository, and it did.
fn of_two_at_once(second_password: &'static str) {
    for nth in 0.. {
        let place = Arc::new(MemoryStore::new());
        let second = Arc::new(Mutex::new(None));
        let (other, made) = (place.clone(), Arc::clone(&second));
        let between = Meanwhile::new(place.clone(), nth, move || *made.lock().unwrap() = Some(init(other, second_password)));
        let first = init(between.clone(), PASSWORD);
        let Some(second) = second.lock().unwrap().take() else {
            assert!(nth > 15, "{nth} calls are too few");
            return;
        };
        let when = format!("before call {nth}");
        let (password, key) = match (&first, &second) {
            (Ok(made), Err(RepositoryError::AlreadyExists(_) | RepositoryError::UnfinishedInit(_))) => {
                (PASSWORD, &made.recovery_key)
            }
            (Err(RepositoryError::AlreadyExists(_) | RepositoryError::UnfinishedInit(_)), Ok(made)) => {
                (second_password, &made.recovery_key)
            }
            (first, second) => {
                let said =
                    |outcome: &Result<Initialised, RepositoryError>| outcome.as_ref().map(|_| ()).map_err(ToString::to_string);
                panic!("{when}: {:?} and {:?}", said(first), said(second))
            }
        };
        assert_works(&place, password, key, &when);
        assert_eq!(keyslots(&place), 2, "{when}: the other took its keyslots away");
    }
}

#[test]
fn of_two_inits_with_one_password_exactly_one_makes_the_repository() {
    of_two_at_once(PASSWORD);
}

#[test]
fn of_two_inits_with_different_passwords_exactly_one_makes_the_repository() {
    of_two_at_once("another one");
}

#[test]
fn of_many_inits_side_by_side_exactly_one_makes_the_repository() {
    for _ in 0..10 {
        let place = Arc::new(MemoryStore::new());
        let made: Vec<_> = std::thread::scope(|scope| {
            let running: Vec<_> = (0..4).map(|_| scope.spawn(|| init(place.clone(), PASSWORD).ok())).collect();
            running.into_iter().filter_map(|run| run.join().unwrap()).collect()
        });
        assert_eq!(made.len(), 1);
        assert_works(&place, PASSWORD, &made[0].recovery_key, "of four");
    }
}

#[test]
fn keyslots_of_an_init_that_lost_and_died_keep_nobody_out() {
    let (place, lost) = (Arc::new(MemoryStore::new()), Arc::new(MemoryStore::new()));
    let made = init(place.clone(), PASSWORD).unwrap();
    // Eight of them, so that some come before and some after the good one in any order.
    for _ in 0..4 {
        let other = Arc::new(MemoryStore::new());
        init(other.clone(), PASSWORD).unwrap();
        for name in small::names(&other).iter().filter(|name| name.as_str().starts_with("keys/")) {
            let slot = other.get(name, u64::MAX).unwrap();
            place.create(name, &[&slot]).unwrap();
            lost.create(name, &[&slot]).unwrap();
        }
    }
    assert_works(&place, PASSWORD, &made.recovery_key, "with the keyslots of others");
    assert!(matches!(open(&place, "another one"), Err(RepositoryError::WrongSecret { .. })));
    assert!(matches!(open(&lost, PASSWORD), Err(RepositoryError::NoRepository(_))));
}

#[test]
fn a_store_that_overwrites_shows_the_loser_that_it_lost() {
    let place = Arc::new(FaultyStore::new(MemoryStore::new()));
    place.condition(Condition::Ignored);
    let (other, second) = (place.clone(), Arc::new(Mutex::new(None)));
    let made = Arc::clone(&second);
    // The calls of an `init`: the place, the folders, two keyslots, the config. Then it looks at what stands there.
    let calls = 1 + esker::format::names::FOLDERS.len() as u64 - 2 + 2 + 1;
    let between = Meanwhile::new(place.clone(), calls, move || {
        let config = esker::format::names::ObjectName::Config(1).name();
        *made.lock().unwrap() = Some(other.replace(&config, &[b"what another init wrote"]));
    });
    assert!(matches!(init(between, PASSWORD), Err(RepositoryError::AlreadyExists(_))));
    assert!(second.lock().unwrap().is_some());
}

// -- where a name that is taken may be overwritten ------------------------------------------------------

/// What must be true when every `init` has ended: at most one says that it made the repository, and it did; whatever stands there is of
/// one root; and a place that nobody made one of is as good as empty.
fn assert_single(place: &Arc<MemoryStore>, ended: &[(&str, Ended)], when: &str) {
    let said: Vec<_> = ended.iter().map(|(_, end)| end.as_ref().map(drop).map_err(ToString::to_string)).collect();
    let when = format!("{when}: {said:?}, {:?}", small::names(place));
    let made: Vec<_> = ended.iter().filter_map(|(password, end)| Some((*password, end.as_ref().ok()?))).collect();
    assert!(made.len() <= 1, "{when}");
    let configs: Vec<_> = small::names(place).into_iter().filter(|name| name.as_str().starts_with("config/")).collect();
    let mut opened = None;
    if configs.is_empty() {
        assert!(made.is_empty(), "{when}");
        // Whoever comes next and knows a password that somebody left keyslots of, if anybody did.
        let next = ended.iter().find_map(|(password, _)| Some((*password, init_of(SINGLE, place.clone(), password).ok()?)));
        let (password, next) = next.unwrap_or_else(|| panic!("{when}: nobody can finish it"));
        assert_works(place, password, &next.recovery_key, &when);
        return;
    }
    if let Some((password, made)) = made.first() {
        assert_works(place, password, made, &when);
        opened = Some(open(place, password).unwrap());
    }
    let opened = opened.or_else(|| ended.iter().find_map(|(password, _)| open(place, password).ok()));
    let opened = opened.unwrap_or_else(|| panic!("{when}: what was made cannot be opened"));
    for config in &configs {
        let alone = Arc::new(MemoryStore::new());
        alone.create(config, &[&place.get(config, u64::MAX).unwrap()]).unwrap();
        small::open(alone, &opened.export_key(Level::Owner).unwrap()).unwrap_or_else(|error| panic!("{when}: {config}: {error}"));
    }
    for (_, end) in ended {
        use RepositoryError as E;
        let refused = [
            matches!(end, Err(E::AlreadyExists(_) | E::UnfinishedInit(_))),
            matches!(end, Err(E::InitsAtOnce(_) | E::MadeMeanwhile(_))),
        ];
        assert!(end.is_ok() || refused.contains(&true), "{when}");
    }
}

const SINGLE: StoreClass = StoreClass::SingleMaintainer;

/// How an `init` ended: the recovery key it showed. Its store is given up.
type Ended = Result<zeroize::Zeroizing<String>, RepositoryError>;

fn init_single(store: Arc<dyn Store>, password: &str) -> Ended {
    init_of(SINGLE, store, password).map(|made| made.recovery_key)
}

fn whole_init_in_between(second_password: &'static str) {
    for nth in 0.. {
        let place = Arc::new(MemoryStore::new());
        let second = Arc::new(Mutex::new(None));
        let (other, made) = (place.clone(), Arc::clone(&second));
        let between = Meanwhile::new(place.clone(), nth, move || {
            *made.lock().unwrap() = Some(init_single(other, second_password));
        });
        let first = init_single(between.clone(), PASSWORD);
        let Some(second) = second.lock().unwrap().take() else {
            assert!(nth > 15, "{nth} calls are too few");
            return;
        };
        // Nothing was done at the same time but by one of them: it does not fail because of the other. Unless the first left keyslots
        // that it does not open.
        let one_made_it = first.is_ok() || second.is_ok();
        assert!(one_made_it, "before call {nth}");
        assert_single(&place, &[(PASSWORD, first), (second_password, second)], &format!("before call {nth}"));
    }
}

#[test]
fn of_two_inits_one_inside_the_other_one_makes_the_repository_of_a_single_maintainer() {
    whole_init_in_between(PASSWORD);
    whole_init_in_between("another one");
}

#[test]
fn inits_in_any_order_of_their_steps_never_make_a_repository_of_two_roots() {
    let soak: u64 = std::env::var("ESKER_SOAK").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(0);
    let began = std::time::Instant::now();
    let (mut made, mut none) = (0, 0);
    for seed in 0.. {
        if seed >= 40 && began.elapsed().as_secs() >= soak {
            break;
        }
        let place = Arc::new(MemoryStore::new());
        let passwords: &[&str] = match seed % 3 {
            0 => &[PASSWORD, PASSWORD],
            1 => &[PASSWORD, PASSWORD, PASSWORD],
            _ => &[PASSWORD, "another one", PASSWORD],
        };
        let shared: Arc<dyn Store> = place.clone();
        let users = Turns::of(&shared, passwords.len(), seed);
        let ended: Vec<_> = std::thread::scope(|scope| {
            let run = |(store, password): (Arc<dyn Store>, &'static str)| scope.spawn(move || init_single(store, password));
            let running: Vec<_> = users.into_iter().zip(passwords.iter().copied()).map(run).collect();
            running.into_iter().map(|run| run.join().unwrap()).collect()
        });
        match ended.iter().any(Result::is_ok) {
            true => made += 1,
            false => none += 1,
        }
        let ended: Vec<_> = passwords.iter().copied().zip(ended).collect();
        assert_single(&place, &ended, &format!("seed {seed}"));
    }
    println!("in {made} orders one made it, in {none} all refused");
    assert!(made > 0 && none > 0, "{made}, {none}: one of the two was never tried");
}
