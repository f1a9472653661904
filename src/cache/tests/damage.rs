//! Whatever happens to the file, no answer is wrong, and the cache is usable.

use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use rusqlite::Connection;

use super::*;

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
    for at in (0..size).step_by(1499).chain(0..100) {
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
    sql("UPDATE chunks SET tag = zeroblob(16)")(&file(folder.path()));
    assert!(matches!(cache.find(&[key(1)], &mut |_, _| {}), Err(CacheError::Reset(_))));
    assert_eq!(cache.resets(), 1);
    let number = cache.add_packs(&[pack(7, [70])], None).unwrap()[0];
    assert_eq!(
        find(&cache, &[key(70), key(1)]).unwrap(),
        BTreeSet::from([(0, StoredCopy { pack: number, row: 0, composed: true })])
    );
    assert_eq!(cache.pack(number).unwrap(), Some(pack(7, []).row));
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
fn pages_of_two_puts_are_not_one_state() {
    let folder = tempfile::tempdir().unwrap();
    let mut cache = open(folder.path());
    let mut put = |byte| {
        let state = FolderRecord { path: b"a".to_vec(), pages: vec![vec![byte]; 2] };
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
