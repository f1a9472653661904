//! Several hosts into one repository at once while somebody forgets and prunes all the time: real processes, a real server. Nothing
//! that was acknowledged and not forgotten is lost, and nobody is kept from anything.
//!
//! A few rounds in a test run; with `ESKER_SOAK=SECONDS` for so long, on every server.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::house::{House, noise};
use crate::servers::s3::S3Server;
use crate::servers::sshd::Sshd;
use crate::servers::webdav;

const HOSTS: usize = 3;
/// Each host and the pruner do at least so much, however slow the machine.
const ROUNDS: usize = 3;

type Tree = BTreeMap<PathBuf, Vec<u8>>;

fn time() -> Duration {
    let soak = std::env::var("ESKER_SOAK").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(soak.unwrap_or(6))
}

/// What the hosts and the pruner tell each other.
#[derive(Default)]
struct Ledger {
    /// What each acknowledged snapshot must restore to.
    acknowledged: BTreeMap<String, Tree>,
    forgotten: BTreeSet<String>,
    packs_deleted: u64,
    /// The longest that a snapshot took.
    longest: Duration,
}

/// A day of a host: some of it is the same on all hosts at the same time, some has been there before, so that hosts come to use again
/// what a prune is about to take.
fn fill(house: &House, host: usize, round: usize) {
    let shared = round as u64 / 2;
    house.write("data/shared", &noise(7_000 + shared, 150_000));
    house.write("data/again", &noise(8_000 + (round % 3) as u64, 120_000));
    house.write("data/own", &noise((9_000 + host * 1_000 + round) as u64, 60_000));
}

fn snapshots(house: &House, host: usize, ends: Instant, ledger: &Mutex<Ledger>) {
    let name = format!("host{host}");
    let mut round = 0;
    while round < ROUNDS || Instant::now() < ends {
        fill(house, host, round);
        let began = Instant::now();
        let said = house.run(&["snapshot", "data", "--host", &name, "--json"]);
        let id = said.json_line("snapshot_id")["snapshot_id"].as_str().unwrap().to_owned();
        let mut ledger = ledger.lock().unwrap();
        ledger.longest = ledger.longest.max(began.elapsed());
        ledger.acknowledged.insert(id, house.data());
        round += 1;
    }
}

fn forget_and_prune(house: &House, ledger: &Mutex<Ledger>) {
    let said = house.run(&["forget", "--keep-last", "1", "--json"]);
    let groups: serde_json::Value = serde_json::from_str(said.out.trim()).unwrap();
    let removed = groups.as_array().unwrap().iter().flat_map(|group| group["remove"].as_array().unwrap());
    let removed: Vec<String> = removed.map(|snapshot| snapshot["id"].as_str().unwrap().to_owned()).collect();
    ledger.lock().unwrap().forgotten.extend(removed);
    let summary = house.run(&["prune", "--max-unused", "0", "--json"]).json_line("packs_deleted");
    ledger.lock().unwrap().packs_deleted += summary["packs_deleted"].as_u64().unwrap();
}

pub fn live_together(house: &House) {
    house.init();
    let hosts: Vec<House> = (0..HOSTS).map(|_| house.beside()).collect();
    let ledger = Mutex::new(Ledger::default());
    let ends = Instant::now() + time();
    std::thread::scope(|scope| {
        let writing: Vec<_> = hosts
            .iter()
            .enumerate()
            .map(|(host, its)| {
                let ledger = &ledger;
                scope.spawn(move || snapshots(its, host, ends, ledger))
            })
            .collect();
        let mut rounds = 0;
        while rounds < ROUNDS || !writing.iter().all(|thread| thread.is_finished()) {
            forget_and_prune(house, &ledger);
            rounds += 1;
        }
    });
    // With nobody at work: what is condemned goes.
    forget_and_prune(house, &ledger);
    forget_and_prune(house, &ledger);

    let ledger = ledger.into_inner().unwrap();
    let listed: BTreeSet<String> = house.snapshot_ids().into_iter().collect();
    let expected: BTreeSet<String> = ledger.acknowledged.keys().filter(|id| !ledger.forgotten.contains(*id)).cloned().collect();
    assert_eq!(listed, expected);
    assert_eq!(listed.len(), HOSTS, "{}", house.run(&["forget", "--keep-last", "1", "--dry-run"]).out);
    for id in &listed {
        assert!(house.restored(id) == ledger.acknowledged[id], "snapshot {id} restores to something else");
    }
    house.run(&["verify", "--read-data"]);
    println!(
        "{} snapshots, {} forgotten, {} packs deleted, the longest snapshot took {:?}",
        ledger.acknowledged.len(),
        ledger.forgotten.len(),
        ledger.packs_deleted,
        ledger.longest
    );
    assert!(ledger.packs_deleted > 0, "the prune never had anything to do");
}

#[test]
fn hosts_and_a_prune_live_together_on_s3() {
    let Some(moto) = S3Server::moto() else { return };
    live_together(&House::on_s3(&moto));
}

#[test]
fn hosts_and_a_prune_live_together_on_sftp() {
    let Some(sshd) = Sshd::start() else { return };
    live_together(&House::on_sftp(&sshd));
}

#[test]
fn hosts_and_a_prune_live_together_on_webdav() {
    if std::env::var_os("ESKER_SOAK").is_none() {
        return println!("SKIPPED: only with ESKER_SOAK");
    }
    let Some(apache) = webdav::apache() else { return };
    live_together(&House::on_webdav(&apache));
}
