//! Clocks that do not agree are told of before a server refuses everything.

use std::time::Duration;

use super::house::House;
use crate::servers::faulty::{Fault, FaultyServer};
use crate::servers::s3::S3Server;
use crate::servers::sshd::Sshd;
use esker::clock::{Clock, ManualClock, SystemClock, SystemRng};
use esker::repository::probe::{self, ProbeOptions};
use esker::store::options::Options;

fn told(house: &House) -> (serde_json::Value, String) {
    let json = house.run(&["doctor", "store", "--json"]).json_line("class");
    (json, house.run(&["doctor", "store"]).out)
}

#[test]
fn doctor_shows_how_far_the_clocks_of_server_and_machine_are_apart_and_warns_above_five_minutes() {
    let server = FaultyServer::start();
    let house = House::on_faulty(&server);
    let (json, text) = told(&house);
    assert!(json["clock_ahead_seconds"].is_null() && !text.contains("clock"), "a server that tells no time: {json}\n{text}");
    for (server_ahead, words, is_warned) in [
        (0, "clock is the same as the server's", false),
        (200, "clock is 3 minutes behind the server's", false),
        (-3_000, "clock is 50 minutes ahead of the server's", true),
        (1_203, "clock is 20 minutes behind the server's", true),
    ] {
        server.set_clock(server_ahead);
        let (json, text) = told(&house);
        let ahead = json["clock_ahead_seconds"].as_i64().unwrap();
        assert!((ahead + server_ahead).abs() <= 10, "{server_ahead}: {json}");
        assert!(text.contains(words), "{text}");
        let is_told = json["remarks"].as_array().unwrap().iter().any(|remark| remark.as_str().unwrap().contains("15 minutes"));
        assert_eq!((is_told, text.contains("timedatectl")), (is_warned, is_warned), "{json}\n{text}");
    }
}

#[test]
fn a_refusal_because_of_the_clock_says_how_wrong_it_is() {
    let server = FaultyServer::start();
    let house = House::on_faulty(&server);
    server.set_clock(1_500);
    server.plan(|_| Some(Fault::Status(403, "RequestTimeTooSkewed")));
    let said = house.exits(&["doctor", "store"], 13);
    said.says(&["clock is wrong (25 minutes behind the server's)", "timedatectl"]);
    server.set_clock(0);
    let said = house.exits(&["snapshots"], 13);
    assert!(!said.err.contains("behind") && !said.err.contains("ahead"), "{}", said.err);
}

#[test]
fn a_real_s3_server_tells_its_time() {
    let Some(moto) = S3Server::moto() else { return };
    let (json, text) = told(&House::on_s3(&moto));
    assert!(json["clock_ahead_seconds"] == 0 && text.contains("clock is the same"), "{json}\n{text}");
}

/// The server's clock is this machine's: the one that is wrong is the one that esker is given.
#[test]
fn a_server_behind_ssh_tells_its_time_by_what_is_written_there() {
    let Some(sshd) = Sshd::start() else { return };
    let mut options = Options::default();
    options.add(&format!("args={}", sshd.ssh_arguments("ssh_config").join(" "))).unwrap();
    let store = esker::store::location::parse(&sshd.url("repo")).unwrap().open(&options).unwrap();
    store.create_place().unwrap();
    let how = ProbeOptions { racers: 2, rounds: 1, patience: Duration::from_secs(1), may_delete: true };
    for wrong in [0, 4_000, -4_000] {
        let clock = ManualClock::at(SystemClock::new().now().seconds + wrong);
        let found = probe::run(&*store, &clock, &SystemRng, &how).unwrap();
        let ahead = found.clock_ahead_seconds.unwrap();
        assert!((ahead - wrong).abs() <= 10, "{wrong}: {ahead}");
        assert_eq!(found.remarks().iter().any(|remark| remark.contains("clock")), wrong != 0, "{:?}", found.remarks());
    }
}
