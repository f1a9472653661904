//! The contract of a store, tried on real servers.

use std::process::Command;
use std::sync::Arc;

use esker::store::Store;
use esker::store::location;
use esker::store::options::Options;

use crate::contract::{PROMISES, Promise};
use crate::servers::faulty::{Dialect, FaultyServer};
use crate::servers::s3::{BUCKET, S3Server};
use crate::servers::webdav;

/// Tries every promise, each in a place of its own.
fn keeps_the_contract(address: &str, options: &[&str]) {
    keeps(address, options, &PROMISES);
}

fn keeps(address: &str, options: &[&str], promises: &[(&str, Promise)]) {
    let mut given = Options::default();
    for option in options {
        given.add(option).unwrap();
    }
    for (promise, try_it) in promises {
        println!("-- {promise}");
        let place = format!("{address}/{}", promise.replace('_', "-"));
        let store: Arc<dyn Store> = location::parse(&place).unwrap().open(&given).unwrap();
        store.create_place().unwrap();
        try_it(&*store);
    }
}

/// What a store that overwrites cannot promise.
pub const CONDITIONS: [&str; 2] = ["a_taken_name_is_refused_and_stays_what_it_was", "of_64_creates_at_once_exactly_one_wins"];

/// Credentials come from the environment, which a test may not change for others: it is run by a process of its own. Every promise but
/// those `left_out`; an option on each line.
pub fn keeps_by_environment(address: &str, options: &str, environment: &[(&str, &str)], left_out: &[&str]) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", "remote::contract::the_server_named_in_the_environment_keeps_the_contract"])
        .env("ESKER_TEST_STORE", address)
        .env("ESKER_TEST_OPTIONS", options)
        .env("ESKER_TEST_LEFT_OUT", left_out.join(","))
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    assert_eq!(said.matches("-- ").count(), PROMISES.len() - left_out.len(), "{said}");
}

#[test]
#[ignore = "a part of other tests"]
fn the_server_named_in_the_environment_keeps_the_contract() {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let address = variable("ESKER_TEST_STORE");
    if address.is_empty() {
        return println!("SKIPPED: no server is named");
    }
    let left_out = variable("ESKER_TEST_LEFT_OUT");
    let promises: Vec<_> = PROMISES.into_iter().filter(|(name, _)| !left_out.split(',').any(|out| out == *name)).collect();
    let options = variable("ESKER_TEST_OPTIONS");
    keeps(&address, &options.lines().collect::<Vec<_>>(), &promises);
}

fn keeps_on_s3(server: &S3Server, left_out: &[&str]) {
    let environment =
        [("AWS_ACCESS_KEY_ID", &*server.access_key), ("AWS_SECRET_ACCESS_KEY", &*server.secret_key), ("AWS_REGION", server.region)];
    keeps_by_environment(&format!("s3://{BUCKET}"), &format!("endpoint={}", server.endpoint), &environment, left_out);
}

#[test]
fn moto_keeps_the_contract() {
    let Some(moto) = S3Server::moto() else { return };
    keeps_on_s3(&moto, &[]);
}

#[test]
fn garage_keeps_the_contract_but_for_the_condition() {
    let Some(garage) = S3Server::garage() else { return };
    keeps_on_s3(&garage, &CONDITIONS);
}

#[test]
fn the_faulty_server_without_faults_keeps_the_contract() {
    let server = FaultyServer::start();
    server.set_page(3);
    keeps_the_contract(&format!("s3://{BUCKET}"), &[&format!("endpoint={}", server.endpoint()), "anonymous=true"]);
}

#[test]
fn the_faulty_server_without_faults_keeps_the_contract_over_webdav() {
    let server = FaultyServer::start_speaking(Dialect::WebDav);
    keeps_the_contract(&format!("webdav://{}/deep/below", server.address()), &[]);
}

/// With the password in a file.
fn on_webdav(address: &str, promises: &[(&str, Promise)]) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, webdav::PASSWORD).unwrap();
    let user = webdav::USER;
    keeps(&format!("webdav://{user}@{address}/deep/below"), &[&format!("password-file={}", file.display())], promises);
}

/// All but the race: mod_dav looks whether a name is free and then moves, so that now and then two of 64 win (seen on 2026-11-25).
#[test]
fn apache_keeps_the_contract_but_for_the_race() {
    let Some(apache) = webdav::apache() else { return };
    let promises: Vec<_> = PROMISES.into_iter().filter(|(name, _)| *name != "of_64_creates_at_once_exactly_one_wins").collect();
    on_webdav(&apache.address(), &promises);
}

#[test]
fn wsgidav_keeps_the_contract() {
    let Some(wsgidav) = webdav::wsgidav() else { return };
    on_webdav(&wsgidav.address(), &PROMISES);
}
