//! Class single maintainer on a server that is really in use and really overwrites: Garage. Where it is installed (tests/README.md).

use std::process::Stdio;
use std::time::Duration;

use super::hosts::live_together;
use super::house::{House, noise};
use crate::servers::s3::S3Server;

const CLASS: &str = "single maintainer";
const MEANING: &str = "only one at a time may run forget, prune";

#[test]
fn a_repository_lives_on_garage_which_overwrites() {
    let Some(garage) = S3Server::garage() else { return };
    let house = House::on_s3(&garage);
    let said = house.init();
    for words in [CLASS, MEANING, "a create overwrites a name that is taken"] {
        assert!(said.out.contains(words), "{words:?} is not in:\n{}", said.out);
    }
    // Two hosts, two days; much is the same on both.
    let other = house.beside();
    let mut old = Vec::new();
    for day in 1..=2 {
        for (host, name) in [(&house, "one"), (&other, "two")] {
            host.fill(day);
            host.write("data/own", name.as_bytes());
            let said = host.run(&["snapshot", "data", "--host", name, "--json"]);
            old.push(said.json_line("snapshot_id")["snapshot_id"].as_str().unwrap().to_owned());
        }
    }
    house.run(&["forget", "--keep-last", "1"]);
    assert_eq!(house.snapshot_ids(), old[2..]);
    let said = house.run(&["prune", "--max-unused", "0"]);
    let words = format!("{}\n{}", said.out, said.err);
    assert!(words.contains(MEANING) && words.contains("freed"), "{words}");
    let again = house.run(&["prune", "--max-unused", "0", "--json"]).json_line("packs_deleted");
    assert_eq!((&again["packs_deleted"], &again["packs_condemned"]), (&0.into(), &0.into()), "{again}");
    house.run(&["verify", "--read-data"]);
    // Each restores what the other one backed up.
    assert!(house.restored(&old[3]) == other.data() && other.restored(&old[2]) == house.data());

    let found = house.run(&["doctor", "store", "--json"]).json_line("class");
    assert_eq!((&found["class"], &found["fit"], &found["deletes"]), (&"single_maintainer".into(), &true.into(), &"work".into()));
    assert_eq!((&found["winners"], &found["clock_ahead_seconds"]), (&found["racers"], &0.into()), "{found}");
    house.exits(&["init", "--kdf", "low"], 1).says(&["already"]);
}

#[test]
fn a_snapshot_on_garage_keeps_what_a_prune_beside_it_condemns() {
    let Some(garage) = S3Server::garage() else { return };
    let house = House::on_s3(&garage);
    house.init();
    let common = noise(1, 800_000);
    house.write("data/common", &common);
    let first = house.snapshot();
    let slow = house.beside();
    slow.write("data/small", b"so that this host has tried the store");
    slow.snapshot();
    house.run(&["forget", &first]);

    // It uses what nobody else does any more, and takes its time over the rest.
    slow.write("data/common", &common);
    slow.write("data/new", &noise(2, 2_000_000));
    let mut command = slow.command(&["snapshot", "data", "--json", "--limit-upload", "500K"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1_200));
    // It stands still meanwhile, so that it is under way however long the prunes take.
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let mut deleted = 0;
    for _ in 0..2 {
        let pruned = house.run(&["prune", "--max-unused", "0", "--json"]).json_line("packs_deleted");
        deleted += pruned["packs_deleted"].as_u64().unwrap();
    }
    assert!(child.try_wait().unwrap().is_none(), "it ended before the prunes began");
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    let said = slow.said(child.wait_with_output().unwrap());
    assert_eq!(said.code, 0, "{}\n{}", said.out, said.err);
    println!("{deleted} packs deleted beside it");
    house.run(&["verify", "--read-data"]);
    assert!(slow.restored("latest") == slow.data(), "it restores to something else");
    // And when nobody is at work any more.
    house.run(&["prune", "--max-unused", "0"]);
    house.run(&["verify", "--read-data"]);
    assert!(house.restored("latest") == slow.data(), "it restores to something else");
}

#[test]
fn hosts_and_a_prune_live_together_on_garage() {
    let Some(garage) = S3Server::garage() else { return };
    live_together(&House::on_s3(&garage));
}
