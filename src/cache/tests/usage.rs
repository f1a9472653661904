//! What the cache is for: putting, finding, sharing, forgetting.

use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;

use super::*;

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
                    cache.add_packs(&[pack(n, n * 10..n * 10 + 10)], None).unwrap();
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
fn a_pack_known_already_keeps_its_number_and_facts() {
    let mut cache = Cache::temporary(&REPOSITORY, &KEY).unwrap();
    let number = cache.add_packs(&[pack(1, [1])], None).unwrap();
    let mut other = pack(1, [2]);
    other.row.size = 5;
    assert_eq!(cache.add_packs(&[other.clone(), other.clone()], Some(&IndexId([3; 32]))).unwrap(), [number[0], number[0]]);
    assert_eq!(cache.pack(number[0]).unwrap(), Some(pack(1, []).row));
    assert!(find(&cache, &[key(2)]).unwrap().is_empty());
    assert!(has_index_file(&cache, [3; 32]).unwrap());
}

#[test]
fn a_forgotten_pack_takes_its_chunks_along_and_comes_back_under_a_new_number() {
    let mut cache = Cache::temporary(&REPOSITORY, &KEY).unwrap();
    let numbers = cache.add_packs(&[pack(1, [1, 2]), pack(2, [2])], Some(&IndexId([3; 32]))).unwrap();
    cache.forget_packs(&numbers[..1]).unwrap();
    cache.forget_index_files(&[IndexId([3; 32])]).unwrap();
    assert_eq!(cache.pack_number(&pack(1, []).row.id).unwrap(), None);
    assert_eq!(cache.pack(numbers[0]).unwrap(), None);
    assert!(!has_index_file(&cache, [3; 32]).unwrap());
    let found = find(&cache, &[key(1), key(2)]).unwrap();
    assert_eq!(found, BTreeSet::from([(1, StoredCopy { pack: numbers[1], row: 0, composed: false })]));
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
        |path: &str, pages: &[&[u8]]| FolderRecord { path: path.into(), pages: pages.iter().map(|page| page.to_vec()).collect() };
    cache.put_folder_states("h", "s", &[state("a", &[b"1", b"", b"3"]), state("b", &[b"4"])]).unwrap();
    cache.put_folder_states("h", "other", &[state("a", &[b"5"])]).unwrap();
    assert_eq!(cache.folder_state("h", "s", b"a").unwrap().unwrap(), [b"1".to_vec(), b"".to_vec(), b"3".to_vec()]);
    cache.put_folder_states("h", "s", &[state("a", &[b"6"])]).unwrap();
    assert_eq!(cache.folder_state("h", "s", b"a").unwrap().unwrap(), [b"6".to_vec()]);
    assert_eq!(cache.folder_state("h2", "s", b"a").unwrap(), None);
    cache.retain_folder_states("h", "s", &mut |path| path == b"b").unwrap();
    assert_eq!(cache.folder_state("h", "s", b"a").unwrap(), None);
    assert_eq!(cache.folder_state("h", "s", b"b").unwrap().unwrap(), [b"4".to_vec()]);
    assert_eq!(cache.folder_state("h", "other", b"a").unwrap().unwrap(), [b"5".to_vec()]);
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
                    let number = cache.add_packs(&[pack(n, chunks.iter().copied())], None).unwrap()[0];
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
                            rows.map(move |(row, _)| (at, StoredCopy { pack: *pack, row, composed: n.is_multiple_of(5) }))
                        })
                    }).collect();
                    let keys: Vec<_> = wanted.iter().map(|&n| key(n)).collect();
                    prop_assert_eq!(&find(&cache, &keys).unwrap(), &expected);
                    prop_assert_eq!(&find(&open(folder.path()), &keys).unwrap(), &expected, "another process finds the same");
                }
            }
        }
        prop_assert_eq!(cache.resets(), 0);
    }
}
