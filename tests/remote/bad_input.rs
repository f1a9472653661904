//! What people and servers get wrong, by the real program: the exit code, the sentence, and that nothing is lost by it.

use std::time::Duration;

use super::house::House;
use crate::servers::faulty::{Fault, FaultyServer, Verb};
use crate::servers::http::request;
use crate::servers::s3::{BUCKET, MOTO_LETS_IN, S3Server};
use crate::servers::webdav;

/// A house with a snapshot in the server that goes wrong.
fn with_snapshot() -> (FaultyServer, House) {
    let server = FaultyServer::start();
    let house = House::on_faulty(&server);
    house.init();
    house.fill(1);
    house.snapshot();
    (server, house)
}

#[test]
fn wrong_credentials_are_13_and_named() {
    let (server, house) = with_snapshot();
    for code in ["InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied"] {
        server.plan(move |_| Some(Fault::Status(403, code)));
        for command in [&["snapshots"][..], &["snapshot", "data"], &["prune"], &["init", "--kdf", "low"]] {
            house.exits(command, 13).says(&["s3://esker/hosts", code, "credentials"]);
        }
        let asked = server.counts().requests();
        assert!(asked <= 8, "what will not change is asked {asked} times");
    }
}

#[test]
fn no_credentials_at_all_are_told_of_before_anything_is_asked() {
    let (server, mut house) = with_snapshot();
    house.unset("AWS_ACCESS_KEY_ID");
    house.unset("AWS_SECRET_ACCESS_KEY");
    server.restart_counts();
    let said = house.exits(&["snapshots"], 13);
    said.says(&["s3://esker/hosts", "AWS_ACCESS_KEY_ID"]);
    assert_eq!(server.counts().requests(), 0);
}

#[test]
fn a_missing_bucket_is_10_and_named() {
    let Some(moto) = S3Server::moto() else { return };
    let mut house = House::on_s3(&moto);
    house.repository("s3://not-there/hosts");
    house.write("data/file", b"x");
    for command in [&["snapshots"][..], &["snapshot", "data"], &["init", "--kdf", "low"]] {
        house.exits(command, 10).says(&["not-there", "bucket"]);
    }
}

#[test]
fn a_bucket_without_a_repository_is_10() {
    let Some(moto) = S3Server::moto() else { return };
    House::on_s3(&moto).exits(&["snapshots"], 10).says(&["s3://esker/hosts", "init"]);
}

#[test]
fn a_bucket_with_other_things_takes_a_repository_and_the_things_stay() {
    let Some(moto) = S3Server::moto() else { return };
    let address = moto.server.address();
    let binary = ("Content-Type", "application/octet-stream");
    for path in ["photo.jpg", "hosts-of-old/config", "packs/mine"] {
        let put = request(&address, "PUT", &format!("/{BUCKET}/{path}"), &[MOTO_LETS_IN, binary], b"mine").unwrap();
        assert_eq!(put.status, 200);
    }
    let house = House::on_s3(&moto);
    house.init();
    house.fill(1);
    let id = house.snapshot();
    house.run(&["forget", &id, "--dry-run"]);
    house.run(&["prune"]);
    assert_eq!(house.restored("latest"), house.data());
    house.exits(&["init", "--kdf", "low"], 1).says(&["already"]);
    for path in ["photo.jpg", "hosts-of-old/config", "packs/mine"] {
        let got = request(&address, "GET", &format!("/{BUCKET}/{path}"), &[MOTO_LETS_IN], b"").unwrap();
        assert_eq!(got.body, b"mine", "{path}");
    }
}

#[test]
fn a_clock_that_the_server_refuses_is_13_and_said_to_be_one() {
    let (server, house) = with_snapshot();
    server.plan(|_| Some(Fault::Status(403, "RequestTimeTooSkewed")));
    let said = house.exits(&["snapshot", "data"], 13);
    said.says(&["clock", "timedatectl"]);
    assert!(!said.err.contains("credentials"), "{}", said.err);
}

#[test]
fn a_server_that_vanishes_in_the_middle_is_13_and_the_next_run_goes_on() {
    let (server, mut house) = with_snapshot();
    house.options.retain(|option| !option.contains("retry="));
    house.options.push("--option=retry=0.3".to_owned());
    for verb in [Verb::Put, Verb::Get, Verb::List] {
        house.fill(3);
        server.plan(move |seen| (seen.number > 12 && seen.verb == verb).then_some(Fault::Gone(Duration::from_secs(3_600))));
        let said = house.said(house.command(&["snapshot", "data", "--json"]).output().unwrap());
        let is_met = server.counts().log.iter().any(|line| line.contains("Gone"));
        assert_eq!(said.code, if is_met { 13 } else { 0 }, "{verb:?}:\n{}\n{}", said.out, said.err);
        if is_met {
            said.says(&["s3://esker/hosts", "run the same command again"]);
        }
        server.heal();
        house.snapshot();
        assert_eq!(house.restored("latest"), house.data());
        house.run(&["verify", "--read-data"]);
    }
}

#[test]
fn a_config_that_is_sent_twice_on_its_way_is_the_one_that_was_meant() {
    let (server, house) = with_snapshot();
    server.plan(|seen| (seen.verb == Verb::Put && seen.key.contains("/config/")).then_some(Fault::Twice));
    house.run(&["guard", "14d"]);
    assert!(server.counts().log.iter().any(|line| line.contains("Twice")), "{:?}", server.counts().log);
    server.heal();
    assert!(house.run(&["guard"]).out.contains("14"));
    // And one that somebody else wrote is somebody else's.
    server
        .plan(|seen| (seen.verb == Verb::Put && seen.key.contains("/config/")).then_some(Fault::Status(412, "PreconditionFailed")));
    house.exits(&["guard", "15d"], 13).says(&["somebody else changed the config", "run again"]);
}

#[test]
fn a_server_that_nobody_finds_is_13_soon() {
    let mut house = House::on_faulty(&FaultyServer::start());
    let began = std::time::Instant::now();
    house.exits(&["snapshots"], 13).says(&["s3://esker/hosts"]);
    house.options[0] = "--option=endpoint=http://no-such-host.invalid".to_owned();
    house.exits(&["snapshots"], 13).says(&["s3://esker/hosts"]);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn a_certificate_that_does_not_verify_is_13_and_one_that_is_named_does() {
    let folder = tempfile::tempdir().unwrap();
    let Some((moto, certificate)) = S3Server::moto_with_unknown_certificate(folder.path()) else { return };
    let mut house = House::on_s3(&moto);
    let said = house.exits(&["snapshots"], 13);
    said.says(&["certificate", "ca-file"]);
    assert!(!said.err.contains("credentials"), "{}", said.err);
    house.options.push(format!("--option=ca-file={}", certificate.display()));
    // Now the server is heard: it has no bucket.
    house.exits(&["snapshots"], 10).says(&["bucket"]);
    house.options.pop();
    house.options.push("--option=ca-file=/nowhere.pem".to_owned());
    house.exits(&["snapshots"], 2).says(&["/nowhere.pem"]);
}

#[test]
fn an_address_or_an_option_that_cannot_be_is_2() {
    let server = FaultyServer::start();
    let mut house = House::on_faulty(&server);
    for (repository, words) in [
        ("s3:esker", "s3://BUCKET/PREFIX"),
        ("s3://AKIA:hidden-secret@esker/hosts", "no password"),
        ("webdav://me:hidden-secret@127.0.0.1/dav", "no password"),
        ("s4://esker/hosts", "s4"),
    ] {
        house.repository(repository);
        let said = house.exits(&["snapshots"], 2);
        said.says(&[words]);
        assert!(!said.err.contains("hidden-secret"), "{}", said.err);
    }
    house.repository("s3://esker/hosts");
    for (option, words) in
        [("regoin=x", "regoin"), ("timeout=soon", "timeout"), ("endpoint", "NAME=VALUE"), ("connections=0", "connections")]
    {
        house.options = vec![format!("--option={option}")];
        house.exits(&["snapshots"], 2).says(&[words]);
    }
    assert_eq!(server.counts().requests(), 0);
}

#[test]
fn a_wrong_password_of_a_webdav_server_is_13_and_not_shown() {
    let Some(apache) = webdav::apache() else { return };
    let mut house = House::on_webdav(&apache);
    house.init();
    house.set("WEBDAV_PASSWORD", "another password");
    house.exits(&["snapshots"], 13).says(&["webdav://", "401"]);
    // It is no word of an argument: a file may hold it.
    house.write("password", format!("{}\n", webdav::PASSWORD).as_bytes());
    house.unset("WEBDAV_PASSWORD");
    let file = house.path("password");
    house.options.push(format!("--option=password-file={}", file.display()));
    house.run(&["snapshots"]);
}
