//! How fast the cache is: `cargo test --release cache::timing -- --ignored --nocapture`. Measures, asserts nothing about time.
#![expect(clippy::print_stderr, reason = "a measurement is for reading")]

use rustix::time::{ClockId, clock_gettime};

use super::*;
use crate::id::RepositoryId;

fn key(n: u64) -> ChunkKey {
    ChunkKey { kind: 1, id: ChunkId(blake3::hash(&n.to_le_bytes()).into()) }
}

fn pack(n: u64, chunks: std::ops::Range<u64>) -> NewPack {
    let chunks = (0..).zip(chunks).map(|(row, n)| PackedChunk { key: key(n), row, composed: false }).collect();
    let id = PackId(blake3::hash(&(n, "pack").0.to_be_bytes()).into());
    NewPack {
        row: PackRow { id, size: 1, header: [1; 128], directory_sealed_length: 1, class: 1, directory: vec![0; 50 * 1024] },
        chunks,
    }
}

/// Processor time of this thread in seconds: other work on the machine does not count.
struct Begin(f64);

impl Begin {
    fn now() -> Self {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Self(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
    }
}

fn say(what: &str, rows: u64, begin: Begin) {
    let seconds = Begin::now().0 - begin.0;
    eprintln!("{what:55} {:8.0} k/s  {:7.3} s", rows as f64 / seconds / 1000.0, seconds);
}

#[test]
#[ignore = "a measurement"]
fn a_million_chunks() {
    const ROWS: u64 = 1_000_000;
    const BATCH: u64 = 65_536;
    let mut cache = Cache::temporary(&RepositoryId([1; 32]), &[2; 32]).unwrap();
    let packs: Vec<NewPack> = (0..ROWS.div_ceil(1024)).map(|n| pack(n, n * 1024..((n + 1) * 1024).min(ROWS))).collect();
    let begin = Begin::now();
    for packs in packs.chunks(64) {
        cache.add_packs(packs, None).unwrap();
    }
    say("sync: arrivals", ROWS, Begin(begin.0));
    let settling = Begin::now();
    cache.find(&[key(0)], &mut |_, _| {}).unwrap();
    say("sync: sorted in", ROWS, settling);
    say("sync: together", ROWS, begin);

    for batch in [BATCH, 4096, 256, 16, 1] {
        let rounds = (400_000 / batch).clamp(1, 20_000);
        let wanted: Vec<ChunkKey> = (0..rounds * batch).map(|n| key(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % ROWS)).collect();
        let begin = Begin::now();
        let mut found = 0;
        for wanted in wanted.chunks(batch as usize) {
            cache.find(wanted, &mut |_, _| found += 1).unwrap();
        }
        assert_eq!(found, rounds * batch);
        say(&format!("find, all known, batches of {batch}"), rounds * batch, begin);
    }
    let wanted: Vec<ChunkKey> = (ROWS..ROWS + 8 * BATCH).map(key).collect();
    let begin = Begin::now();
    for wanted in wanted.chunks(BATCH as usize) {
        cache.find(wanted, &mut |_, _| unreachable!()).unwrap();
    }
    say("find, none known, batches of 65536", 8 * BATCH, begin);

    let begin = Begin::now();
    cache.add_packs(&[pack(1 << 32, ROWS..ROWS + BATCH)], None).unwrap();
    say("add_packs of one with 65536 beside a million", BATCH, begin);
    let packs: Vec<NewPack> = (0..100).map(|n| pack(1 << 33 | n, ROWS * 2 + n * 128..ROWS * 2 + (n + 1) * 128)).collect();
    let begin = Begin::now();
    for pack in &packs {
        cache.add_packs(std::slice::from_ref(pack), None).unwrap();
    }
    say("add_packs of one with 128, 100 times", 12_800, begin);
    let packs: Vec<NewPack> = (0..64).map(|n| pack(1 << 34 | n, ROWS * 3 + n * 1024..ROWS * 3 + (n + 1) * 1024)).collect();
    let begin = Begin::now();
    cache.add_packs(&packs, None).unwrap();
    cache.find(&[key(0)], &mut |_, _| {}).unwrap();
    say("add_packs of 65536 into a million, settled", BATCH, begin);

    let mut numbers = Vec::new();
    cache.packs(&mut |number, _, _| numbers.push(number)).unwrap();
    let begin = Begin::now();
    cache.forget_packs(&numbers[..100]).unwrap();
    say("forget 100 packs (rows of the table)", ROWS, begin);
    let begin = Begin::now();
    for &number in &numbers[100..600] {
        assert!(cache.pack(number).unwrap().is_some());
    }
    say("pack with 50 KiB directory", 500, begin);
    let begin = Begin::now();
    let states: Vec<FolderRecord> = (0..20_000u32)
        .map(|n| FolderRecord { path: format!("some/path/of/folder/{n:08}").into_bytes(), pages: vec![vec![7; 3000]] })
        .collect();
    for states in states.chunks(500) {
        cache.put_folder_states("host", "files", states).unwrap();
    }
    say("put folder states of 3 kB", 20_000, begin);
    let begin = Begin::now();
    for state in &states {
        assert!(cache.folder_state("host", "files", &state.path).unwrap().is_some());
    }
    say("folder states", 20_000, begin);
}
