//! Owner and writer keys: what each may do, and how they are managed.

use std::os::unix::fs::PermissionsExt;

use super::common::{House, PASSWORD, exits, json, stderr, stdout};

fn exported(house: &House, owner: bool) -> std::path::PathBuf {
    let name = if owner { "owner.key" } else { "writer.key" };
    let mut arguments = vec!["key", "export", "--output", name];
    if owner {
        arguments.push("--owner");
    }
    exits(house.esker(), arguments, 0);
    house.path(name)
}

fn with_key(house: &House, key: &std::path::Path) -> assert_cmd::Command {
    let mut command = house.esker();
    command.env_remove("ESKER_PASSWORD").env("ESKER_KEY_FILE", key);
    command
}

#[test]
fn a_writer_key_takes_snapshots_that_deduplicate_and_reads_nothing() {
    let house = House::with_snapshot();
    let key = exported(&house, false);
    let summary = json(&exits(with_key(&house, &key), ["snapshot", "data", "--json"], 0).stdout);
    assert_eq!(summary["data_blobs"], 0, "{summary}");
    assert_eq!(house.snapshot_count(), 2);
    for arguments in [
        &["restore", "latest", "--target", "out"][..],
        &["dump", "latest:data/hello.txt"],
        &["snapshots"],
        &["ls", "latest"],
        &["find", "*"],
        &["diff", "latest", "latest"],
        &["verify"],
        &["stats"],
        &["key", "export", "--owner"],
    ] {
        let output = exits(with_key(&house, &key), arguments, 12);
        assert!(stderr(&output).contains("writer key"), "{arguments:?}: {}", stderr(&output));
    }
    assert!(!house.path("out").exists());
}

#[test]
fn an_owner_key_needs_no_password_and_may_do_everything() {
    let house = House::with_snapshot();
    let key = exported(&house, true);
    assert_eq!(stdout(&exits(with_key(&house, &key), ["dump", "latest:data/hello.txt"], 0)), "hello\n");
    exits(with_key(&house, &key), ["snapshot", "data"], 0);
}

#[test]
fn a_key_file_that_others_can_read_is_refused() {
    let house = House::with_snapshot();
    let key = exported(&house, true);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let output = exits(with_key(&house, &key), ["snapshots"], 12);
    assert!(stderr(&output).contains("chmod 600"), "{}", stderr(&output));
}

#[test]
fn a_key_of_another_repository_is_12_and_says_so() {
    let (one, other) = (House::with_repository(), House::with_repository());
    let key = exported(&other, false);
    one.write("data/a", b"a");
    exits(with_key(&one, &key), ["snapshot", "data"], 12);
    std::fs::write(&key, "ESKER-WRITER-1 nonsense\n").unwrap();
    exits(with_key(&one, &key), ["snapshot", "data"], 12);
}

#[test]
fn passwords_are_added_changed_and_removed() {
    let house = House::with_repository();
    house.write("second", b"second password\n");
    house.write("third", b"third password\n");
    let add = ["key", "add", "--kdf", "low", "--label", "Ada", "--new-password-file", "second", "--json"];
    let ada = json(&exits(house.esker(), add, 0).stdout)["id"].as_str().unwrap().to_owned();
    let by = |password: &str| {
        let mut command = house.esker();
        command.env("ESKER_PASSWORD", password);
        command
    };
    let listed = json(&exits(by("second password"), ["key", "list", "--json"], 0).stdout);
    let slots = listed.as_array().unwrap();
    assert_eq!(slots.len(), 3, "a password, the recovery key, and Ada's: {listed}");
    assert!(slots.iter().any(|slot| slot["id"] == ada.as_str() && slot["current"] == true), "{listed}");

    let passwd = ["key", "passwd", "--kdf", "low", "--new-password-file", "third", "--json"];
    let now = json(&exits(by("second password"), passwd, 0).stdout)["id"].as_str().unwrap().to_owned();
    exits(by("second password"), ["snapshots"], 12);
    exits(by("third password"), ["snapshots"], 0);
    exits(by(PASSWORD), ["key", "remove", &ada[..12]], 1);
    exits(by(PASSWORD), ["key", "remove", &now[..12]], 0);
    exits(by("third password"), ["snapshots"], 12);
    exits(by(PASSWORD), ["snapshots"], 0);
}

#[test]
fn after_key_rotate_old_writer_keys_are_12_and_new_ones_back_up() {
    let house = House::with_snapshot();
    house.write("host password", b"host password\n");
    exits(house.esker(), ["key", "add", "--writer", "--kdf", "low", "--new-password-file", "host password"], 0);
    let stolen = exported(&house, false);
    let dry = json(&exits(house.esker(), ["key", "rotate", "-n", "--json"], 0).stdout);
    assert_eq!((&dry["generation_before"], &dry["generation"], &dry["dry_run"]), (&1.into(), &2.into(), &true.into()), "{dry}");
    exits(with_key(&house, &stolen), ["snapshot", "data"], 0);
    let output = exits(house.esker(), ["key", "rotate"], 0);
    let said = stdout(&output);
    assert!(said.contains("from 1 to 2: 2 snapshots go on to count") && said.contains("removed 1 keyslot"), "{said}");
    assert!(said.contains("esker key export --writer"), "{said}");
    let refused = stderr(&exits(with_key(&house, &stolen), ["snapshot", "data"], 12));
    assert!(refused.contains("ask the owner for a new one"), "{refused}");
    assert_eq!(house.snapshot_count(), 2);
    std::fs::remove_file(&stolen).unwrap();
    let key = exported(&house, false);
    let output = exits(with_key(&house, &key), ["snapshot", "data", "--json"], 0);
    assert!(!stderr(&output).contains("index"), "{}", stderr(&output));
    assert_ne!(json(&output.stdout)["data_blobs"], 0);
    assert_eq!(json(&exits(with_key(&house, &key), ["snapshot", "data", "--json"], 0).stdout)["data_blobs"], 0);
    assert_eq!(stdout(&exits(house.esker(), ["dump", "latest:data/hello.txt"], 0)), "hello\n");
    let oldest = stdout(&exits(house.esker(), ["dump", "latest~3:data/hello.txt"], 0));
    assert_eq!(oldest, "hello\n");
    exits(house.esker(), ["verify", "--read-data"], 0);
}

#[test]
fn a_writer_password_takes_snapshots_and_reads_nothing() {
    let house = House::with_snapshot();
    house.write("host", b"host password\n");
    exits(house.esker(), ["key", "add", "--writer", "--kdf", "low", "--new-password-file", "host"], 0);
    let host = || {
        let mut command = house.esker();
        command.env("ESKER_PASSWORD", "host password");
        command
    };
    exits(host(), ["snapshot", "data"], 0);
    exits(host(), ["ls", "latest"], 12);
}
