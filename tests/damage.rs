//! A small repository, damaged in every way one object can be: never a wrong restore, always found, named right, no panic.
//!
//! `ESKER_SOAK=1` flips every byte; otherwise every byte where each means something of its own, and samples inside sealed boxes.

#![allow(clippy::unwrap_used, reason = "also what helps a test may unwrap")]

mod small;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use esker::format::names;
use esker::format::pack::PREFIX_SIZE;
use esker::id::SnapshotId;
use esker::repository::{Reader, Repository, RepositoryError, Secret};
use esker::store::{MemoryStore, Name, Store};
use esker::verify::{Finding, FindingKind, ReadData};
use small::{Files, noise};

struct Healthy {
    store: MemoryStore,
    line: String,
    expected: BTreeMap<SnapshotId, Files>,
}

fn healthy() -> Healthy {
    let store = Arc::new(MemoryStore::new());
    let (repository, line) = small::init(store.clone());
    let mut files = Files::new();
    files.insert("listed.bin".to_owned(), noise(1, 9_000));
    files.insert("text".to_owned(), b"to be, or not to be\n".repeat(200));
    files.insert("folder/deep".to_owned(), noise(2, 3_000));
    files.insert("folder/empty".to_owned(), Vec::new());
    let first = small::commit(&repository, &files, None);
    let mut expected = BTreeMap::from([(first, files.clone())]);
    files.insert("folder/deep".to_owned(), noise(3, 3_000));
    files.insert("new".to_owned(), noise(4, 2_000));
    let hash = repository.snapshot(&first).unwrap().unwrap().hash;
    let second = small::commit(&repository, &files, Some((first, hash)));
    expected.insert(second, files);
    // Room kept for a full disk: whatever becomes of it, nothing is lost and nothing is to be found.
    store.delete(&names::ballast()).unwrap();
    Healthy { store: store.fork(), line, expected }
}

fn soak() -> bool {
    std::env::var_os("ESKER_SOAK").is_some()
}

/// One way to damage the repository.
struct Case {
    what: String,
    /// Objects one of which has to be named by a finding; empty: nothing has to be found.
    names: Vec<String>,
    store: Box<dyn Fn() -> MemoryStore + Send + Sync>,
}

/// Runs cases on every core; collects what went wrong, so that one run tells everything.
fn run(healthy: &Healthy, cases: &[Case]) {
    let next = AtomicUsize::new(0);
    let failures = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, std::num::NonZero::get) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(why) = judge(healthy, case) {
                        failures.lock().unwrap().push(format!("{}: {why}", case.what));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    assert!(
        failures.is_empty(),
        "{} of {} cases failed:\n{}",
        failures.len(),
        cases.len(),
        failures[..failures.len().min(30)].join("\n")
    );
}

fn judge(healthy: &Healthy, case: &Case) -> Result<(), String> {
    let store = Arc::new((case.store)());
    let repository = match small::open(store, &healthy.line) {
        Ok(repository) => repository,
        // Without a config nothing can be opened; the error has to say so and name it.
        Err(error) if case.names.iter().any(|name| name.starts_with("config/")) => {
            let text = error.to_string();
            let is_named = case.names.iter().any(|name| text.contains(name));
            let is_gone = matches!(error, RepositoryError::NoRepository(_) | RepositoryError::ForeignKey { .. });
            return if is_named || is_gone { Ok(()) } else { Err(format!("opening fails without a name: {text}")) };
        }
        Err(error) => return Err(format!("it cannot be opened: {error}")),
    };
    let (findings, summary) = small::check(&repository, ReadData::All);
    let is_named = |finding: &Finding| case.names.contains(&finding.object);
    if !case.names.is_empty() && !findings.iter().any(is_named) {
        return Err(format!("verify does not name it; it found {findings:?}"));
    }
    let restored = restore_all(healthy, &repository)?;
    match (restored, summary.data_affected) {
        (None, 0) | (Some(_), 1..) => Ok(()),
        // A snapshot that is gone restores nothing, and everything that is left restores.
        (None, _) if findings.iter().filter(|f| f.data_affected).all(|f| f.object.starts_with("snapshots/")) => Ok(()),
        (None, _) => Err(format!("everything restores, and verify says data is lost: {findings:?}")),
        (Some(error), 0) => Err(format!("{error}, and verify says no data is lost: {findings:?}")),
    }
}

/// Restores every snapshot that is listed: exact bytes, or the first error.
fn restore_all(healthy: &Healthy, repository: &Arc<Repository>) -> Result<Option<RepositoryError>, String> {
    let list = match repository.snapshots() {
        Ok(list) => list,
        Err(error) => return Ok(Some(error)),
    };
    let mut failed = list.damaged.into_iter().next().map(|(_, error)| error);
    let reader = match Reader::new(repository, &esker::monitor::Quiet) {
        Ok(reader) => reader,
        Err(error) => return Ok(Some(error)),
    };
    for stored in list.snapshots {
        match small::restore(&reader, &stored.snapshot.root) {
            Ok(files) if healthy.expected.get(&stored.id) == Some(&files) => {}
            Ok(_) => return Err(format!("snapshot {} restores to other bytes", stored.id)),
            Err(error) => failed = Some(error),
        }
    }
    Ok(failed)
}

fn replaced(healthy: &Healthy, name: &Name, bytes: Vec<u8>) -> Box<dyn Fn() -> MemoryStore + Send + Sync> {
    let (store, name) = (healthy.store.fork(), name.clone());
    Box::new(move || {
        let store = store.fork();
        store.replace(&name, &[&bytes]).unwrap();
        store
    })
}

fn flips(healthy: &Healthy, names: &[Name], places: impl Fn(&[u8]) -> Vec<usize>) -> Vec<Case> {
    let mut cases = Vec::new();
    for name in names {
        let bytes = healthy.store.get(name, u64::MAX).unwrap();
        for place in places(&bytes) {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << (place % 8);
            cases.push(Case {
                what: format!("{name}, byte {place} flipped"),
                names: vec![name.to_string()],
                store: replaced(healthy, name, flipped),
            });
        }
    }
    cases
}

fn below(healthy: &Healthy, folder: &str) -> Vec<Name> {
    let mut names = small::names(&healthy.store);
    names.retain(|name| name.as_str().starts_with(&format!("{folder}/")));
    names
}

/// Every byte of the first `every`, then each `step`th.
fn places(length: usize, every: usize, step: usize) -> Vec<usize> {
    let (every, step) = if soak() { (length, 1) } else { (every.min(length), step) };
    (0..every).chain((every..length).step_by(step)).collect()
}

#[test]
fn the_healthy_repository_has_no_findings_and_restores() {
    let healthy = healthy();
    let repository = small::open(Arc::new(healthy.store.fork()), &healthy.line).unwrap();
    let (findings, summary) = small::check(&repository, ReadData::All);
    assert_eq!(findings, []);
    assert_eq!((summary.snapshots_checked, summary.packs_read, summary.packs_listed), (2, 4, 4));
    assert!(restore_all(&healthy, &repository).unwrap().is_none());
}

#[test]
fn a_flipped_byte_of_a_pack_is_found_and_never_restored() {
    let healthy = healthy();
    let repository = small::open(Arc::new(healthy.store.fork()), &healthy.line).unwrap();
    let mut cases = Vec::new();
    for name in below(&healthy, "packs") {
        let id = names::parse_pack(&name).unwrap();
        let facts = repository.own_facts(&id, healthy.store.size(&name).unwrap()).unwrap();
        let directory_end = PREFIX_SIZE + facts.directory_sealed_length as usize;
        // Every byte of header, HEAD and DIRECTORY, samples of frames and of padding.
        cases.extend(flips(&healthy, &[name], |bytes| places(bytes.len(), directory_end, 127)));
    }
    run(&healthy, &cases);
}

#[test]
fn a_flipped_byte_of_an_index_file_is_found_and_never_obeyed() {
    let healthy = healthy();
    run(&healthy, &flips(&healthy, &below(&healthy, "index"), |bytes| places(bytes.len(), 160, 31)));
}

#[test]
fn a_flipped_byte_of_a_snapshot_is_found_and_never_restored() {
    let healthy = healthy();
    run(&healthy, &flips(&healthy, &below(&healthy, "snapshots"), |bytes| places(bytes.len(), 160, 31)));
}

#[test]
fn a_flipped_byte_of_a_config_is_found_or_opens_nothing() {
    let healthy = healthy();
    run(&healthy, &flips(&healthy, &below(&healthy, "config"), |bytes| places(bytes.len(), 160, 31)));
}

#[test]
fn a_flipped_byte_of_a_session_record_is_found_and_costs_no_data() {
    let healthy = healthy();
    run(&healthy, &flips(&healthy, &below(&healthy, "sessions"), |bytes| places(bytes.len(), 40, 251)));
}

#[test]
fn a_flipped_byte_of_a_keyslot_is_found_and_the_slot_opens_nothing() {
    let healthy = healthy();
    let cases = flips(&healthy, &below(&healthy, "keys"), |bytes| places(bytes.len(), usize::MAX, 1));
    run(&healthy, &cases);
    // With the password: the other slot is the recovery key's, so a flipped password slot must not open.
    let password = || Secret::Passphrase(esker::crypto::Passphrase::new(small::PASSWORD.to_owned()));
    for case in cases.iter().step_by(if soak() { 1 } else { 61 }) {
        let others: Vec<Name> = below(&healthy, "keys").into_iter().filter(|name| *name.as_str() != case.names[0]).collect();
        let store = (case.store)();
        others.iter().for_each(|name| store.delete(name).unwrap());
        let opened = Repository::open(small::environment(Arc::new(store), 3), &password(), None);
        assert!(opened.is_err(), "{}: it opens", case.what);
    }
}

/// Names whose loss alone nobody can notice or needs to: records of sessions that are over, a keyslot that may have been removed.
fn may_vanish(name: &Name) -> bool {
    name.as_str().starts_with("sessions/") || name.as_str().starts_with("keys/")
}

#[test]
fn a_deleted_object_is_found_and_what_is_left_restores_right() {
    let healthy = healthy();
    let mut cases = Vec::new();
    for name in small::names(&healthy.store) {
        let (store, gone) = (healthy.store.fork(), name.clone());
        let names = match name.as_str().split('/').next() {
            _ if may_vanish(&name) => Vec::new(),
            // The packs that no index file tells of any more are named.
            Some("index") => below(&healthy, "packs").iter().map(Name::to_string).collect(),
            _ => vec![name.to_string()],
        };
        cases.push(Case {
            what: format!("{name} deleted"),
            names,
            store: Box::new(move || {
                let store = store.fork();
                store.delete(&gone).unwrap();
                store
            }),
        });
    }
    run(&healthy, &cases);
}

#[test]
fn a_truncated_or_extended_object_is_found_and_never_restored_wrong() {
    let healthy = healthy();
    let mut cases = Vec::new();
    for name in small::names(&healthy.store) {
        let bytes = healthy.store.get(&name, u64::MAX).unwrap();
        let mut case = |what: &str, changed: Vec<u8>| {
            cases.push(Case {
                what: format!("{name} {what}"),
                names: vec![name.to_string()],
                store: replaced(&healthy, &name, changed),
            });
        };
        for keep in [0, 1, 64, 127, 128, 200, bytes.len() / 2, bytes.len() - 4096.min(bytes.len()), bytes.len() - 1] {
            case(&format!("cut to {keep} bytes"), bytes[..keep.min(bytes.len() - 1)].to_vec());
        }
        case("with a byte more", [&bytes[..], &[0]].concat());
        case("twice", [&bytes[..], &bytes[..]].concat());
        case("with 100 MB more", [&bytes[..], &vec![0; if soak() { 100_000_000 } else { 5_000_000 }]].concat());
        case("all zeros", vec![0; bytes.len()]);
    }
    run(&healthy, &cases);
}

#[test]
fn objects_in_each_others_place_are_found_and_never_restored_wrong() {
    let healthy = healthy();
    let mut cases = Vec::new();
    let names = small::names(&healthy.store);
    let folder = |name: &Name| name.as_str().split('/').next().unwrap_or_default().to_owned();
    for a in &names {
        for b in names.iter().filter(|b| *b != a) {
            let bytes = |name: &Name| healthy.store.get(name, u64::MAX).unwrap();
            let is_same_kind = folder(a) == folder(b);
            if is_same_kind && a < b {
                let (store, a, b) = (healthy.store.fork(), a.clone(), b.clone());
                let (of_a, of_b) = (bytes(&a), bytes(&b));
                cases.push(Case {
                    what: format!("{a} and {b} swapped"),
                    names: vec![a.to_string(), b.to_string()],
                    store: Box::new(move || {
                        let store = store.fork();
                        store.replace(&a, &[&of_b]).unwrap();
                        store.replace(&b, &[&of_a]).unwrap();
                        store
                    }),
                });
            }
            // An older one of its kind, a newer one, or something else altogether.
            if is_same_kind || soak() || a.as_str().len() % 4 == b.as_str().len() % 4 {
                cases.push(Case {
                    what: format!("{a} replaced by {b}"),
                    names: vec![a.to_string()],
                    store: replaced(&healthy, a, bytes(b)),
                });
            }
        }
    }
    run(&healthy, &cases);
}

#[test]
fn names_that_are_not_ours_are_found() {
    let healthy = healthy();
    let repository_with = |name: &str| {
        let store = healthy.store.fork();
        store.create(&Name::new(name).unwrap(), &[b"x"]).unwrap();
        small::open(Arc::new(store), &healthy.line).unwrap()
    };
    for name in ["readme", "packs/aa/short", "packs/zz", "index/x", "snapshots/00", "config/1", "other/thing", "gc/1"] {
        let (findings, summary) = small::check(&repository_with(name), ReadData::Nothing);
        assert_eq!(findings.iter().map(|f| (f.kind, f.object.as_str())).collect::<Vec<_>>(), [(FindingKind::NameUnknown, name)]);
        assert_eq!(summary.data_affected, 0);
    }
}

#[test]
fn a_lost_pack_names_the_snapshots_and_paths_it_hits() {
    let healthy = healthy();
    let ids: Vec<SnapshotId> = healthy.expected.keys().copied().collect();
    let mut seen = Vec::new();
    for name in below(&healthy, "packs") {
        let store = healthy.store.fork();
        store.delete(&name).unwrap();
        let repository = small::open(Arc::new(store), &healthy.line).unwrap();
        let (findings, _) = small::check(&repository, ReadData::Nothing);
        let [finding] = &findings[..] else { panic!("{name}: {findings:?}") };
        assert_eq!((finding.kind, finding.object.as_str(), finding.data_affected), (FindingKind::PackMissing, name.as_str(), true));
        assert!(finding.snapshots.iter().all(|id| ids.contains(id)));
        let paths: Vec<String> = finding.paths.iter().map(|path| String::from_utf8(path.clone()).unwrap()).collect();
        seen.push((finding.snapshots.len(), paths));
    }
    seen.sort();
    // First snapshot's data (both snapshots need it, but "folder/deep" and "new" are the second's own), and so on.
    let second_data = (1, vec!["data/folder/deep".to_owned(), "data/new".to_owned()]);
    let first_data = (2, vec!["data/folder/deep".to_owned(), "data/listed.bin".to_owned(), "data/text".to_owned()]);
    assert!(seen.contains(&second_data) && seen.contains(&first_data), "{seen:?}");
    assert!(seen.iter().any(|(snapshots, paths)| *snapshots == 1 && paths == &["/".to_owned()]), "{seen:?}");
}
