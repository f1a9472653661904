//! A power cut after every single step on the disk: what was acknowledged is there, and the next command just works.
//!
//! A workload runs once over a real [`esker::store::LocalStore`] that tells what it asks of the file system. Then the power is cut after
//! each of these steps in turn, and the disk holds what was synced and none, all or any part of the rest: files torn, names in no order.
//! Every such disk is opened, verified, restored from, mended where it was damaged, and used by the commands that come next, with no
//! cache and with a cache that knows more than the disk. `ESKER_SOAK` set tries many more disks a step and looks at all; `ESKER_SEED=N`
//! decides which. Each test says how many cuts it stood, and how many all tests of its process did:
//! `ESKER_SOAK=1 cargo test --test crash -- --nocapture --test-threads=1` ends with more than 100,000.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may fail, and says what it counted")]

#[path = "crash/cut.rs"]
mod cut;
#[path = "crash/disk.rs"]
mod disk;
#[path = "crash/repairs.rs"]
mod repairs;
mod small;
#[path = "crash/story.rs"]
mod story;

use esker::id::SnapshotId;
use small::Files;
use story::Author;

fn files(version: u64) -> Files {
    let mut files = Files::from([
        ("same".to_owned(), small::noise(1, 9_000)),
        ("long".to_owned(), small::noise(2, 64 * 70)),
        ("folder/changes".to_owned(), small::noise(100 + version, 5_000)),
    ]);
    files.insert(format!("new/{version}"), small::noise(200 + version, 700));
    files
}

#[test]
fn a_power_cut_during_snapshots_loses_nothing_that_was_acknowledged() {
    let mut author = Author::begin(0);
    let first = author.snapshot(&files(1));
    author.snapshot(&files(2));
    author.forget(first);
    author.snapshot(&files(3));
    author.end().cut(|_| true, 600, 1_000);
}

#[test]
fn a_power_cut_during_forget_and_prune_loses_nothing_and_the_next_prune_finishes() {
    const KIB: usize = 1 << 10;
    let keep = small::noise(1, 150 * KIB);
    let mut author = Author::begin(0);
    let first = author.snapshot(&Files::from([("keep".to_owned(), keep.clone()), ("old".to_owned(), small::noise(2, 500 * KIB))]));
    let second = author.snapshot(&Files::from([("keep".to_owned(), keep), ("new".to_owned(), small::noise(3, 100 * KIB))]));
    author.forget(first);
    let repacked = author.prune();
    assert!(repacked.packs_repacked > 0 && repacked.packs_deleted > 0, "{repacked:?}");
    let small_ones: Vec<SnapshotId> = (0..10).map(|n| author.snapshot(&files(n))).collect();
    for id in small_ones.into_iter().skip(1).step_by(2).chain([second]) {
        author.forget(id);
    }
    let merged = author.prune();
    assert!(merged.index_files_replaced > 0 && merged.packs_deleted > 4 && merged.objects_cleared > 0, "{merged:?}");
    author.snapshot(&files(20));
    // The small snapshots in between are like those of the test above.
    author.end().cut(|place| !(5..15).contains(&place), 1_700, 2_000);
}
