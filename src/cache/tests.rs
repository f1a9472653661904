//! What the room promises, seen from its door: whatever happens to the file, no answer is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use proptest::prelude::*;
use rusqlite::Connection;

use super::*;
use crate::id::{IndexId, RepositoryId};

const REPOSITORY: RepositoryId = RepositoryId([1; 32]);
const KEY: [u8; 32] = [2; 32];

fn open(folder: &Path) -> Cache {
    Cache::open(folder, &REPOSITORY, &KEY).unwrap()
}

fn key(n: u64) -> ChunkKey {
    ChunkKey { kind: (n % 3 + 1) as u8, id: ChunkId(blake3::hash(&n.to_le_bytes()).into()) }
}

fn pack(n: u64, chunks: impl IntoIterator<Item = u64>) -> NewPack {
    let chunks = (0..).zip(chunks).map(|(row, n)| PackedChunk { key: key(n), row, composed: n % 5 == 0 }).collect();
    let row = PackRow {
        id: PackId(blake3::hash(&n.to_be_bytes()).into()),
        size: n + 1000,
        header: [n as u8; 128],
        directory_sealed_length: 77,
        class: 1,
        directory: vec![n as u8; 300],
    };
    NewPack { row, chunks }
}

fn find(cache: &Cache, wanted: &[ChunkKey]) -> Result<BTreeSet<(usize, Copy)>, CacheError> {
    let mut found = BTreeSet::new();
    cache.find(wanted, &mut |at, copy| assert!(found.insert((at, copy)), "told twice"))?;
    Ok(found)
}

/// The one cache file of a folder.
fn file(folder: &Path) -> PathBuf {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "sqlite"))
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.pop().unwrap()
}

/// Puts four packs, 400 chunks, and everything else a cache holds.
fn fill(cache: &mut Cache) -> Result<(), CacheError> {
    let packs: Vec<_> = (0..4).map(|n| pack(n, n * 100..n * 100 + 100)).collect();
    cache.add_packs(&packs, Some(&IndexId([9; 32])))?;
    cache.put_meta(b"gc", Some(b"12"))?;
    let states: Vec<_> = ["a", "b"].map(|path| FolderState { path: path.into(), pages: vec![path.into(), vec![3; 10_000]] }).into();
    cache.put_folder_states("host", "files", &states)?;
    cache.find(&[key(5)], &mut |_, _| {})
}

fn filled(folder: &Path) {
    fill(&mut open(folder)).unwrap();
}

/// Asks for everything [`fill`] put; `Ok(true)` when all of it is there. Panics on an answer that was never put.
fn ask_all(cache: &Cache) -> Result<bool, CacheError> {
    let mut whole = true;
    let wanted: Vec<_> = (0..400).map(key).collect();
    let mut packs = BTreeMap::new();
    cache.packs(&mut |number, id, size| assert!(packs.insert(number, (id, size)).is_none()))?;
    for (at, copy) in find(cache, &wanted)? {
        let n = at as u64;
        assert_eq!((u64::from(copy.row), copy.composed), (n % 100, n % 5 == 0));
        match cache.pack(copy.pack)? {
            Some(row) => {
                assert_eq!(row, pack(n / 100, []).row);
                assert_eq!(packs.get(&copy.pack).unwrap_or(&(row.id, row.size)), &(row.id, row.size));
            }
            None => whole = false,
        }
    }
    whole &= find(cache, &wanted)?.len() == 400 && packs.len() == 4;
    for n in 0..4 {
        whole &= cache.pack_number(&pack(n, []).row.id)?.is_some();
    }
    whole &= cache.has_index_file(&IndexId([9; 32]))?;
    assert!(!cache.has_index_file(&IndexId([8; 32]))?);
    match cache.meta(b"gc")? {
        Some(value) => assert_eq!(value, b"12"),
        None => whole = false,
    }
    for path in ["a", "b"] {
        match cache.folder_state("host", "files", path.as_bytes())? {
            Some(pages) => assert_eq!(pages, [path.as_bytes().to_vec(), vec![3; 10_000]]),
            None => whole = false,
        }
    }
    Ok(whole)
}

/// After this change of the only file, answers are right or missing, and a cache that is filled again is whole.
fn survives(change: impl FnOnce(&Path)) -> (bool, Vec<String>) {
    static FILLED: OnceLock<Vec<u8>> = OnceLock::new();
    let bytes = FILLED.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path());
        fs::read(file(folder.path())).unwrap()
    });
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("cache-0000000000000001-0000000000000000.sqlite"), bytes).unwrap();
    change(&file(folder.path()));
    let mut cache = open(folder.path());
    let whole = loop {
        match ask_all(&cache) {
            Ok(whole) => break whole,
            Err(CacheError::Reset(_)) => {}
            Err(error) => panic!("{error}"),
        }
    };
    // A sync that repeats what it did not get to do.
    while let Err(error) = fill(&mut cache) {
        assert!(matches!(error, CacheError::Reset(_)), "{error}");
    }
    let remarks = cache.take_remarks();
    assert!(!remarks.iter().any(|remark| remark.contains("temporary")), "{remarks:?}");
    if !remarks.is_empty() {
        drop(cache);
        assert!(ask_all(&open(folder.path())).unwrap(), "{remarks:?}");
    }
    (whole, remarks)
}

/// Changes rows through SQLite itself, as somebody without the key could.
fn sql(text: &str) -> impl FnOnce(&Path) {
    move |file| Connection::open(file).unwrap().execute_batch(text).unwrap()
}

#[test]
fn what_was_put_is_there_when_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    let cache = open(folder.path());
    assert!(ask_all(&cache).unwrap());
    assert_eq!((cache.resets(), cache.take_remarks().len()), (0, 0));
    assert_eq!(fs::metadata(file(folder.path())).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_deleted_cache_starts_empty() {
    assert!(!survives(|file| fs::remove_file(file).unwrap()).0);
}

#[test]
fn a_truncated_cache_starts_empty_and_says_so() {
    for keep in [0, 10, 100, 8192, 20_000] {
        let (whole, remarks) = survives(|file| fs::OpenOptions::new().write(true).open(file).unwrap().set_len(keep).unwrap());
        assert!(!whole && !remarks.is_empty(), "{keep}: {remarks:?}");
    }
}

#[test]
fn a_cache_of_another_repository_or_key_starts_empty() {
    let folder = tempfile::tempdir().unwrap();
    for (repository, key) in [(RepositoryId([5; 32]), KEY), (REPOSITORY, [5; 32])] {
        filled(folder.path());
        let cache = Cache::open(folder.path(), &repository, &key).unwrap();
        assert!(!cache.take_remarks().is_empty());
        assert!(!ask_all(&cache).unwrap());
        assert!(file(folder.path()).exists());
    }
}

#[test]
fn a_flipped_bit_never_makes_a_wrong_answer() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    let size = usize::try_from(fs::metadata(file(folder.path())).unwrap().len()).unwrap();
    let mut dropped = 0;
    for at in (0..size).step_by(499).chain(0..100) {
        let (whole, remarks) = survives(|file| {
            let mut bytes = [0];
            let file = fs::OpenOptions::new().read(true).write(true).open(file).unwrap();
            file.read_exact_at(&mut bytes, at as u64).unwrap();
            file.write_all_at(&[bytes[0] ^ 1 << (at % 8)], at as u64).unwrap();
        });
        dropped += usize::from(!whole || !remarks.is_empty());
    }
    assert!(dropped > 20, "only {dropped} flips were noticed");
}

#[test]
fn a_row_moved_or_changed_is_found() {
    for text in [
        "UPDATE chunks SET pack = (SELECT max(number) FROM packs) WHERE place < 4",
        "UPDATE chunks SET place = place + 2",
        "UPDATE chunks SET tag = (SELECT tag FROM chunks LIMIT 1)",
        "UPDATE packs SET size = size + 1",
        "UPDATE packs SET number = number + 1",
        "UPDATE directories SET directory = zeroblob(300)",
        "UPDATE directories SET directory = (SELECT directory FROM directories LIMIT 1), tag = (SELECT tag FROM directories LIMIT 1)",
        "UPDATE index_files SET tag = zeroblob(16)",
        "UPDATE meta SET value = x'3133'",
        "UPDATE folders SET value = zeroblob(10000) WHERE page = 1",
        "UPDATE head SET salt = zeroblob(32)",
    ] {
        let (whole, remarks) = survives(sql(text));
        assert!(!whole && !remarks.is_empty(), "{text}");
    }
}

#[test]
fn a_swapped_path_is_refused() {
    let swap = "UPDATE folders SET path = x'63' WHERE path = x'61'; UPDATE folders SET path = x'61' WHERE path = x'62'; \
                UPDATE folders SET path = x'62' WHERE path = x'63'";
    let (_, remarks) = survives(sql(swap));
    assert!(remarks[0].contains("Folder"), "{remarks:?}");
}

#[test]
fn rows_that_are_gone_are_only_missing() {
    for text in ["DELETE FROM chunks WHERE place > 100", "DELETE FROM directories", "DELETE FROM folders WHERE page = 0"] {
        let (whole, remarks) = survives(sql(text));
        assert!(!whole && remarks.is_empty(), "{text}: {remarks:?}");
    }
}

#[test]
fn a_schema_with_anything_more_is_not_ours() {
    for text in [
        "CREATE TRIGGER t AFTER INSERT ON packs BEGIN DELETE FROM chunks; END",
        "CREATE VIEW v AS SELECT 1",
        "DROP TABLE meta",
        "ALTER TABLE meta ADD COLUMN more INTEGER",
    ] {
        let (whole, remarks) = survives(sql(text));
        assert!(!whole && !remarks.is_empty(), "{text}");
    }
}

#[test]
fn a_row_of_an_older_history_never_speaks_of_a_newer_pack() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    let older = fs::read(file(folder.path())).unwrap();
    let newer_number = open(folder.path()).add_packs(&[pack(50, [500])], None).unwrap()[0];
    // Rolled back: the next pack would get the same number if numbers were counted.
    fs::write(file(folder.path()), &older).unwrap();
    let mut cache = open(folder.path());
    assert!(ask_all(&cache).unwrap());
    let other_number = cache.add_packs(&[pack(60, [600])], None).unwrap()[0];
    assert_ne!(newer_number, other_number);
    assert_eq!(newer_number.0 >> 32, other_number.0 >> 32);
    assert_eq!(cache.pack(newer_number).unwrap(), None);
    assert!(find(&cache, &[key(500)]).unwrap().is_empty());
}

#[test]
fn a_cache_that_breaks_while_open_is_dropped_and_usable_again() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    let mut cache = open(folder.path());
    let reader = cache.reader().unwrap();
    sql("UPDATE chunks SET tag = zeroblob(16)")(&file(folder.path()));
    assert!(matches!(reader.find(&[key(1)], &mut |_, _| {}), Err(CacheError::Reset(_))));
    assert!(matches!(cache.packs(&mut |_, _, _| {}), Err(CacheError::Reset(_))), "the reader's find reaches its owner");
    assert_eq!(cache.resets(), 1);
    assert!(matches!(reader.pack(PackNumber(1)), Err(CacheError::Reset(_))), "a reader of a dropped file is over");
    let number = cache.add_packs(&[pack(7, [70])], None).unwrap()[0];
    assert_eq!(find(&cache, &[key(70), key(1)]).unwrap(), BTreeSet::from([(0, Copy { pack: number, row: 0, composed: true })]));
    assert_eq!(cache.reader().unwrap().pack(number).unwrap(), Some(pack(7, []).row));
}

#[test]
fn a_cache_that_always_breaks_is_an_error_at_last() {
    let folder = tempfile::tempdir().unwrap();
    let mut cache = open(folder.path());
    let results: Vec<_> = (0..20).map(|_| cache.drop_all("test").is_ok()).collect();
    assert!(results[0] && !results[19]);
    assert!(matches!(cache.meta(b"a"), Err(CacheError::Unusable(_))));
}

#[test]
fn a_place_that_cannot_hold_a_cache_gives_a_temporary_one() {
    let folder = tempfile::tempdir().unwrap();
    let taken = folder.path().join("file");
    fs::write(&taken, "in the way").unwrap();
    let mut cache = open(&taken);
    assert!(cache.take_remarks()[0].contains("temporary"));
    cache.put_meta(b"a", Some(b"b")).unwrap();
    assert_eq!(cache.meta(b"a").unwrap().unwrap(), b"b");
    assert_eq!(fs::read(&taken).unwrap(), b"in the way");
}

#[test]
fn a_locked_cache_is_left_to_its_user_and_a_temporary_one_serves() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    let user = Connection::open(file(folder.path())).unwrap();
    user.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut cache = open(folder.path());
    assert!(ask_all(&cache).unwrap(), "reading does not wait");
    assert!(matches!(cache.put_meta(b"a", Some(b"1")), Err(CacheError::Reset(_))));
    cache.put_meta(b"a", Some(b"1")).unwrap();
    assert_eq!(cache.meta(b"a").unwrap().unwrap(), b"1");
    user.execute_batch("COMMIT").unwrap();
    assert!(ask_all(&open(folder.path())).unwrap());

    let lock = fs::File::open(folder.path().join("lock")).unwrap();
    lock.lock().unwrap();
    let cache = open(folder.path());
    assert!(cache.take_remarks()[0].contains("temporary"));
    assert!(!ask_all(&cache).unwrap());
    drop(lock);
    assert!(ask_all(&open(folder.path())).unwrap());
}

#[test]
fn two_users_share_a_file_and_one_may_drop_it() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for user in 0..2u64 {
            let folder = folder.path();
            scope.spawn(move || {
                let mut cache = open(folder);
                for n in 0..30 {
                    // Every other pack is put by both.
                    let n = if n % 2 == 0 { n } else { n + 1000 * (user + 1) };
                    let number = cache.begin_pack().unwrap();
                    cache.finish_pack(number, &pack(n, n * 10..n * 10 + 10)).unwrap();
                    cache.add_packs(&[pack(n + 500, [n * 10])], None).unwrap();
                    assert!(find(&cache, &[key(n * 10)]).unwrap().len() >= 2);
                }
            });
        }
    });
    let (mut one, mut other) = (open(folder.path()), open(folder.path()));
    let mut ids = BTreeSet::new();
    one.packs(&mut |_, id, _| assert!(ids.insert(id), "a pack has two numbers")).unwrap();
    assert_eq!(ids.len(), 2 * (15 + 15 + 15));
    one.put_meta(b"a", Some(b"1")).unwrap();
    assert_eq!(other.meta(b"a").unwrap().unwrap(), b"1");

    one.drop_all("test").unwrap();
    one.put_meta(b"a", Some(b"2")).unwrap();
    other.put_meta(b"b", Some(b"kept by the old file")).unwrap();
    assert_eq!(other.meta(b"a").unwrap().unwrap(), b"1");
    drop(other);
    drop(one);
    assert_eq!(open(folder.path()).meta(b"a").unwrap().unwrap(), b"2");
    assert_eq!(open(folder.path()).meta(b"b").unwrap(), None);
}

#[test]
fn two_who_drop_one_file_end_in_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let (mut one, mut other) = (open(folder.path()), open(folder.path()));
    one.drop_all("test").unwrap();
    other.drop_all("test").unwrap();
    one.put_meta(b"a", Some(b"1")).unwrap();
    assert_eq!(other.meta(b"a").unwrap().unwrap(), b"1");
    file(folder.path());
}

#[test]
fn chunks_of_a_begun_pack_are_found_by_its_session_alone_and_vanish_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mut cache, other) = (open(folder.path()), open(folder.path()));
    let (first, second) = (cache.begin_pack().unwrap(), cache.begin_pack().unwrap());
    assert!(first < second);
    for number in [first, second] {
        cache.add_chunks(number, &[PackedChunk { key: key(1), row: 3, composed: false }]);
    }
    let copies = |numbers: &[PackNumber]| -> BTreeSet<_> {
        numbers.iter().map(|&pack| (0, Copy { pack, row: 3, composed: false })).collect()
    };
    cache.drop_all("begun packs survive").unwrap();
    assert_eq!(find(&cache, &[key(1)]).unwrap(), copies(&[first, second]));
    assert!(find(&other, &[key(1)]).unwrap().is_empty());
    cache.abandon_pack(first);
    assert_eq!(find(&cache, &[key(1)]).unwrap(), copies(&[second]));
    assert_eq!(cache.finish_pack(second, &pack(1, [8, 8, 8, 1])).unwrap(), second);
    assert_eq!(find(&cache, &[key(1)]).unwrap(), copies(&[second]), "found once, in the table now");
    let third = cache.begin_pack().unwrap();
    cache.add_chunks(third, &[PackedChunk { key: key(2), row: 0, composed: false }]);
    drop(cache);
    let cache = open(folder.path());
    assert_eq!(find(&cache, &[key(1)]).unwrap(), copies(&[second]));
    assert!(find(&cache, &[key(2)]).unwrap().is_empty());
}

#[test]
fn a_pack_known_already_keeps_its_number_and_facts() {
    let mut cache = Cache::temporary(&REPOSITORY, &KEY).unwrap();
    let number = cache.add_packs(&[pack(1, [1])], None).unwrap();
    let mut other = pack(1, [2]);
    other.row.size = 5;
    assert_eq!(cache.add_packs(&[other.clone(), other.clone()], Some(&IndexId([3; 32]))).unwrap(), [number[0], number[0]]);
    let begun = cache.begin_pack().unwrap();
    assert_eq!(cache.finish_pack(begun, &other).unwrap(), number[0]);
    assert_eq!(cache.pack(number[0]).unwrap(), Some(pack(1, []).row));
    assert!(find(&cache, &[key(2)]).unwrap().is_empty());
    assert!(cache.has_index_file(&IndexId([3; 32])).unwrap());
}

#[test]
fn a_forgotten_pack_takes_its_chunks_along_and_comes_back_under_a_new_number() {
    let mut cache = Cache::temporary(&REPOSITORY, &KEY).unwrap();
    let numbers = cache.add_packs(&[pack(1, [1, 2]), pack(2, [2])], Some(&IndexId([3; 32]))).unwrap();
    cache.forget_packs(&numbers[..1]).unwrap();
    cache.forget_index_files(&[IndexId([3; 32])]).unwrap();
    assert_eq!(cache.pack_number(&pack(1, []).row.id).unwrap(), None);
    assert_eq!(cache.pack(numbers[0]).unwrap(), None);
    assert!(!cache.has_index_file(&IndexId([3; 32])).unwrap());
    let found = find(&cache, &[key(1), key(2)]).unwrap();
    assert_eq!(found, BTreeSet::from([(1, Copy { pack: numbers[1], row: 0, composed: false })]));
    let again = cache.add_packs(&[pack(1, [1, 2])], None).unwrap()[0];
    assert!(again > numbers[1]);
    assert_eq!(find(&cache, &[key(2)]).unwrap().len(), 2);
}

#[test]
fn the_kind_is_part_of_the_key() {
    let mut cache = Cache::temporary(&REPOSITORY, &KEY).unwrap();
    cache.add_packs(&[pack(1, [1])], None).unwrap();
    let other = ChunkKey { kind: key(1).kind % 3 + 1, id: key(1).id };
    // The same id twice in one batch is answered twice.
    let found = find(&cache, &[other, key(1), key(1)]).unwrap();
    assert_eq!(found.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn folder_states_come_back_page_by_page() {
    let mut cache = Cache::temporary(&REPOSITORY, &KEY).unwrap();
    let state =
        |path: &str, pages: &[&[u8]]| FolderState { path: path.into(), pages: pages.iter().map(|page| page.to_vec()).collect() };
    cache.put_folder_states("h", "s", &[state("a", &[b"1", b"", b"3"]), state("b", &[b"4"])]).unwrap();
    cache.put_folder_states("h", "other", &[state("a", &[b"5"])]).unwrap();
    assert_eq!(cache.folder_state("h", "s", b"a").unwrap().unwrap(), [b"1".to_vec(), b"".to_vec(), b"3".to_vec()]);
    cache.put_folder_states("h", "s", &[state("a", &[b"6"])]).unwrap();
    assert_eq!(cache.folder_state("h", "s", b"a").unwrap().unwrap(), [b"6".to_vec()]);
    assert_eq!(cache.folder_state("h2", "s", b"a").unwrap(), None);
    cache.retain_folder_states("h", "s", &mut |path| path == b"b").unwrap();
    assert_eq!(cache.folder_state("h", "s", b"a").unwrap(), None);
    assert_eq!(cache.folder_state("h", "s", b"b").unwrap().unwrap(), [b"4".to_vec()]);
    cache.drop_folder_states("h", "s").unwrap();
    assert_eq!(cache.folder_state("h", "s", b"b").unwrap(), None);
    assert_eq!(cache.folder_state("h", "other", b"a").unwrap().unwrap(), [b"5".to_vec()]);
}

#[test]
fn pages_of_two_puts_are_not_one_state() {
    let folder = tempfile::tempdir().unwrap();
    let mut cache = open(folder.path());
    let mut put = |byte| {
        let state = FolderState { path: b"a".to_vec(), pages: vec![vec![byte]; 2] };
        cache.put_folder_states("h", "s", &[state]).unwrap();
        cache.folder_state("h", "s", b"a")
    };
    put(1).unwrap().unwrap();
    let beside = Connection::open(file(folder.path())).unwrap();
    let old: (i64, Vec<u8>, Vec<u8>) = beside
        .query_row("SELECT stamp, value, tag FROM folders WHERE page = 1", (), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap();
    put(2).unwrap().unwrap();
    beside.execute("UPDATE folders SET stamp = ?1, value = ?2, tag = ?3 WHERE page = 1", old).unwrap();
    assert_eq!(cache.folder_state("h", "s", b"a").unwrap(), None);
    assert_eq!(cache.resets(), 0);
}

#[test]
fn a_note_is_put_replaced_and_removed() {
    let mut cache = Cache::temporary(&REPOSITORY, &KEY).unwrap();
    cache.put_meta(b"a", Some(b"1")).unwrap();
    cache.put_meta(b"a", Some(b"2")).unwrap();
    assert_eq!(cache.meta(b"a").unwrap().unwrap(), b"2");
    cache.put_meta(b"a", None).unwrap();
    assert_eq!(cache.meta(b"a").unwrap(), None);
}

#[test]
fn a_look_up_inside_a_look_up_works() {
    let mut cache = Cache::temporary(&REPOSITORY, &KEY).unwrap();
    cache.add_packs(&[pack(1, [1, 2])], None).unwrap();
    let mut inner = 0;
    cache
        .find(&[key(1)], &mut |_, copy| {
            assert!(cache.pack(copy.pack).unwrap().is_some());
            cache.find(&[key(2)], &mut |_, _| inner += 1).unwrap();
        })
        .unwrap();
    assert_eq!(inner, 1);
}

#[derive(Clone, Debug)]
enum Step {
    Sync(Vec<(u64, Vec<u64>)>),
    Write(u64, Vec<u64>),
    Forget(u64),
    Reopen,
    Find(Vec<u64>),
}

fn step() -> impl Strategy<Value = Step> {
    let chunks = || prop::collection::vec(0..40u64, 0..12);
    prop_oneof![
        prop::collection::vec((0..12u64, chunks()), 0..4).prop_map(Step::Sync),
        (0..12u64, chunks()).prop_map(|(pack, chunks)| Step::Write(pack, chunks)),
        (0..12u64).prop_map(Step::Forget),
        Just(Step::Reopen),
        prop::collection::vec(0..40u64, 0..60).prop_map(Step::Find),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_batch_finds_what_a_plain_map_finds(steps in prop::collection::vec(step(), 1..20)) {
        let folder = tempfile::tempdir().unwrap();
        let mut cache = open(folder.path());
        // pack -> (number, chunks in rows)
        let mut model: BTreeMap<u64, (PackNumber, Vec<u64>)> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Sync(packs) => {
                    let new: Vec<_> = packs.iter().map(|(n, chunks)| pack(*n, chunks.iter().copied())).collect();
                    let numbers = cache.add_packs(&new, None).unwrap();
                    for ((n, chunks), number) in packs.into_iter().zip(numbers) {
                        prop_assert_eq!(model.entry(n).or_insert((number, chunks)).0, number);
                    }
                }
                Step::Write(n, chunks) => {
                    let begun = cache.begin_pack().unwrap();
                    let number = cache.finish_pack(begun, &pack(n, chunks.iter().copied())).unwrap();
                    prop_assert_eq!(model.entry(n).or_insert((number, chunks)).0, number);
                }
                Step::Forget(n) => {
                    let number = cache.pack_number(&pack(n, []).row.id).unwrap();
                    prop_assert_eq!(model.remove(&n).map(|(number, _)| number), number);
                    cache.forget_packs(number.as_slice()).unwrap();
                }
                Step::Reopen => {
                    drop(cache);
                    cache = open(folder.path());
                }
                Step::Find(wanted) => {
                    let expected: BTreeSet<_> = wanted.iter().enumerate().flat_map(|(at, &n)| {
                        model.values().flat_map(move |(pack, chunks)| {
                            let rows = (0u32..).zip(chunks).filter(move |(_, chunk)| **chunk == n);
                            rows.map(move |(row, _)| (at, Copy { pack: *pack, row, composed: n % 5 == 0 }))
                        })
                    }).collect();
                    let keys: Vec<_> = wanted.iter().map(|&n| key(n)).collect();
                    prop_assert_eq!(&find(&cache, &keys).unwrap(), &expected);
                    let mut beside = BTreeSet::new();
                    cache.reader().unwrap().find(&keys, &mut |at, copy| { beside.insert((at, copy)); }).unwrap();
                    prop_assert_eq!(&beside, &expected);
                }
            }
        }
        prop_assert_eq!(cache.resets(), 0);
    }
}
