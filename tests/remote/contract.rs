//! The contract of a store, tried on real servers.

use std::process::Command;
use std::sync::Arc;

use esker::store::Store;
use esker::store::location;
use esker::store::options::Options;

use crate::contract::{PROMISES, Promise};
use crate::servers::faulty::FaultyServer;
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

/// Credentials of S3 come from the environment, which a test may not change for others: it is run by a process of its own.
#[test]
fn moto_keeps_the_contract() {
    let Some(moto) = S3Server::moto() else { return };
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", "remote::contract::the_server_named_in_the_environment_keeps_the_contract"])
        .env("AWS_ACCESS_KEY_ID", &moto.access_key)
        .env("AWS_SECRET_ACCESS_KEY", &moto.secret_key)
        .env("AWS_ENDPOINT_URL_S3", &moto.endpoint)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "a part of the test before it"]
fn the_server_named_in_the_environment_keeps_the_contract() {
    assert!(std::env::var_os("AWS_ENDPOINT_URL_S3").is_some());
    keeps_the_contract(&format!("s3://{BUCKET}"), &[]);
}

#[test]
fn the_faulty_server_without_faults_keeps_the_contract() {
    let server = FaultyServer::start();
    server.set_page(3);
    keeps_the_contract(&format!("s3://{BUCKET}"), &[&format!("endpoint={}", server.endpoint()), "anonymous=true"]);
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
