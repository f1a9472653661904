//! Two repositories and what goes between them, as somebody sees it who types the commands.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use assert_cmd::Command;

use super::common::{House, exits, json, json_lines, stderr, stdout};
use crate::noise;

const OTHER: &str = "other horse";

/// The program on the repository `copy`, with the first one as the other.
fn copier(house: &House) -> Command {
    let mut esker = house.esker();
    esker.env("ESKER_REPOSITORY", house.path("copy")).env("ESKER_PASSWORD", OTHER);
    esker.env("ESKER_FROM_REPOSITORY", house.path("repo")).env("ESKER_FROM_PASSWORD", super::common::PASSWORD);
    esker
}

/// A repository with a snapshot of a directory and of a command's output.
fn house() -> House {
    let house = House::with_repository();
    house.write("data/large.bin", &noise(1, 2_000_000));
    house.write("data/sub/inner.txt", b"inner\n");
    take(&house);
    house
}

fn take(house: &House) {
    let words = ["snapshot", "data", "--command", "list=seq 1 60000", "--tag", "nightly", "--host", "db1"];
    house.esker().args(words).assert().success();
}

fn restored(mut esker: Command, house: &House, target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    exits(
        {
            esker.args(["restore", "latest", "--verify"]);
            esker
        },
        ["--target", target],
        0,
    );
    let mut found = Vec::new();
    let mut open = vec![house.path(target)];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => open.push(path),
                false => {
                    let bytes = std::fs::read(&path).unwrap();
                    found.push((path.strip_prefix(house.path(target)).unwrap().to_owned(), bytes));
                }
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_copy_restores_as_its_original_and_a_second_one_has_nothing_to_do() {
    let house = house();
    exits(copier(&house), ["init", "--kdf", "low", "--copy-chunker-params"], 0);
    let dry = json_lines(&exits(copier(&house), ["copy", "-n", "--json"], 0).stdout);
    assert_eq!((&dry[0]["status"], &dry[1]["snapshots_wanted"]), (&"wanted".into(), &1.into()));
    assert_eq!(stdout(&exits(copier(&house), ["snapshots", "--json"], 0)).trim(), "[]");

    let lines = json_lines(&exits(copier(&house), ["copy", "--json"], 0).stdout);
    assert_eq!((&lines[0]["message_type"], &lines[0]["status"]), (&"snapshot".into(), &"copied".into()));
    let summary = &lines[1];
    assert_eq!((&summary["snapshots_copied"], &summary["cuts_alike"]), (&1.into(), &true.into()));
    assert!(summary["bytes_read"].as_u64().unwrap() > 2_300_000, "{summary}");
    assert_eq!(restored(house.esker(), &house, "out1"), restored(copier(&house), &house, "out2"));
    exits(copier(&house), ["verify", "--read-data"], 0);
    let (old, new) = (exits(house.esker(), ["snapshots", "--json"], 0), exits(copier(&house), ["snapshots", "--json"], 0));
    let (old, new) = (json(&old.stdout), json(&new.stdout));
    for field in ["time", "hostname", "tags", "sources", "complete", "total_bytes"] {
        assert_eq!(old[0][field], new[0][field], "{field}");
    }
    assert_eq!(new[0]["id"], lines[0]["snapshot_id"]);

    let again = json_lines(&exits(copier(&house), ["copy", "--json"], 0).stdout);
    assert_eq!((&again[0]["status"], &again[1]["data_added_packed"]), (&"there".into(), &0.into()));
    // What is backed up here by itself is cut at the same places, so it is all there.
    let words = ["snapshot", "data", "--command", "list=seq 1 60000", "--json"];
    let own = json_lines(&exits(copier(&house), words, 0).stdout);
    assert_eq!(own.last().unwrap()["data_blobs"], 0);
    assert_eq!(new[0]["id"].as_str().unwrap().len(), 32);
}

#[test]
fn repositories_that_cut_differently_are_told_of() {
    let house = house();
    exits(copier(&house), ["init", "--kdf", "low", "--parity", "0"], 2);
    exits(
        {
            let mut init = copier(&house);
            init.env_remove("ESKER_FROM_REPOSITORY");
            init
        },
        ["init", "--kdf", "low"],
        0,
    );
    let told = exits(copier(&house), ["copy", "latest", "--host", "db1"], 0);
    assert!(stderr(&told).contains("cut data differently"), "{}", stderr(&told));
    assert!(stdout(&told).contains("copied as"), "{}", stdout(&told));
    let own = json_lines(&exits(copier(&house), ["snapshot", "data", "--json"], 0).stdout);
    assert!(own.last().unwrap()["data_blobs"].as_u64().unwrap() > 0);
    assert!(stdout(&exits(copier(&house), ["copy", "--host", "nobody"], 0)).contains("copied 0 snapshots"));
}

#[test]
fn the_other_repository_and_its_secret_are_named_once() {
    let house = house();
    let mut bare = house.esker();
    let hint = stderr(&exits(
        {
            bare.arg("copy");
            bare
        },
        [""; 0],
        2,
    ));
    assert!(hint.contains("--from-repo"), "{hint}");
    // The same one twice.
    let mut same = copier(&house);
    same.env("ESKER_REPOSITORY", house.path("repo")).env("ESKER_PASSWORD", super::common::PASSWORD);
    let hint = stderr(&exits(same, ["copy"], 2));
    assert!(hint.contains("esker mirror"), "{hint}");
    let wrong = |variable: &str, value: &str, code| {
        let mut esker = copier(&house);
        esker.env(variable, value);
        exits(esker, ["init", "--kdf", "low", "--copy-chunker-params"], code);
        assert!(!house.path("copy").exists(), "nothing was left behind");
    };
    wrong("ESKER_FROM_PASSWORD", "wrong", 12);
    wrong("ESKER_FROM_REPOSITORY", "/nowhere/at/all", 10);
    wrong("ESKER_FROM_PASSWORD_FILE", "also", 2);
    let mut none = copier(&house);
    none.env_remove("ESKER_FROM_REPOSITORY");
    exits(none, ["init", "--copy-chunker-params"], 2);
    exits(house.esker(), ["key", "export", "--output", "writer.key"], 0);
    exits(copier(&house), ["init", "--kdf", "low"], 2);
    let mut with_writer_key = copier(&house);
    with_writer_key.env_remove("ESKER_FROM_PASSWORD");
    exits(with_writer_key, ["init", "--kdf", "low", "--copy-chunker-params", "--from-key-file", "writer.key"], 0);
    let mut with_writer_key = copier(&house);
    with_writer_key.env_remove("ESKER_FROM_PASSWORD");
    let refused = stderr(&exits(with_writer_key, ["copy", "--from-key-file", "writer.key"], 12));
    assert!(refused.contains("owner"), "{refused}");
    house.write("pw", super::common::PASSWORD.as_bytes());
    std::fs::set_permissions(house.path("pw"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut with_file = copier(&house);
    with_file.env_remove("ESKER_FROM_PASSWORD");
    exits(with_file, ["copy", "--from-password-file", "pw", "--from-repo", "repo"], 0);
}

#[test]
fn a_snapshot_that_is_damaged_there_is_21_and_says_so() {
    let house = House::new();
    house.esker().args(["init", "--kdf", "low", "--parity", "0"]).assert().success();
    house.write("data/large.bin", &noise(1, 2_000_000));
    house.snapshot();
    let mut packs: Vec<PathBuf> = Vec::new();
    for folder in std::fs::read_dir(house.path("repo/packs")).unwrap() {
        packs.extend(std::fs::read_dir(folder.unwrap().path()).unwrap().map(|entry| entry.unwrap().path()));
    }
    let pack = packs.into_iter().max_by_key(|path| std::fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = std::fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&pack, bytes).unwrap();
    exits(copier(&house), ["init", "--kdf", "low", "--copy-chunker-params"], 0);
    let told = stdout(&exits(copier(&house), ["copy"], 21));
    assert!(told.contains("NOT COPIED"), "{told}");
    assert_eq!(stdout(&exits(copier(&house), ["snapshots", "--json"], 0)).trim(), "[]");
}

#[test]
fn another_repository_gives_back_what_no_mirror_has() {
    let house = House::new();
    house.esker().args(["init", "--kdf", "low", "--parity", "0"]).assert().success();
    house.write("data/large.bin", &noise(1, 2_000_000));
    house.snapshot();
    exits(copier(&house), ["init", "--kdf", "low", "--copy-chunker-params"], 0);
    exits(copier(&house), ["copy"], 0);
    let mut packs: Vec<PathBuf> = Vec::new();
    for folder in std::fs::read_dir(house.path("repo/packs")).unwrap() {
        packs.extend(std::fs::read_dir(folder.unwrap().path()).unwrap().map(|entry| entry.unwrap().path()));
    }
    packs.sort_by_key(|path| std::fs::metadata(path).unwrap().len());
    std::fs::remove_file(packs.last().unwrap()).unwrap();
    let from = |words: &[&str], code| {
        let mut esker = house.esker();
        esker.env("ESKER_FROM_PASSWORD", OTHER).args(["repair", "packs", "--from", "copy"]);
        stdout(&exits(esker, words, code))
    };
    let told = from(&["-n"], 20);
    assert!(told.contains("could be stored again"), "{told}");
    exits(house.esker(), ["dump", "latest:data/large.bin"], 21);
    let told = from(&["--json"], 0);
    let summary = json_lines(told.as_bytes()).pop().unwrap();
    assert_eq!(summary["chunks_lost"], summary["chunks_found"]);
    assert_eq!(summary["bytes_found"], 2_000_000);
    assert!(exits(house.esker(), ["dump", "latest:data/large.bin"], 0).stdout == noise(1, 2_000_000));
    // Folders name chunks: they come back with a snapshot that is copied.
    std::fs::remove_file(&packs[0]).unwrap();
    let told = from(&[], 21);
    assert!(told.contains("esker copy --again"), "{told}");
    let mut back = house.esker();
    back.env("ESKER_FROM_PASSWORD", OTHER).env("ESKER_FROM_REPOSITORY", house.path("copy"));
    exits(back, ["copy", "--again"], 0);
    let list = json(&exits(house.esker(), ["snapshots", "--json"], 0).stdout);
    assert_eq!(list.as_array().unwrap().len(), 2);
    for snapshot in list.as_array().unwrap() {
        let place = format!("{}:data/large.bin", snapshot["id"].as_str().unwrap());
        assert!(exits(house.esker(), ["dump", &place], 0).stdout == noise(1, 2_000_000));
    }
}

#[test]
fn a_mirror_is_made_without_a_key_and_opens_with_the_same_password() {
    let house = house();
    let mut keyless = house.esker();
    keyless.env_remove("ESKER_PASSWORD");
    exits(
        {
            keyless.args(["mirror", "-n"]);
            keyless
        },
        ["mirrored"],
        0,
    );
    assert!(!house.path("mirrored").exists());
    let mirror = || {
        let mut keyless = house.esker();
        keyless.env_remove("ESKER_PASSWORD").args(["mirror", "mirrored", "--json"]);
        json(&exits(keyless, [""; 0], 0).stdout)
    };
    let first = mirror();
    assert!(first["objects_copied"].as_u64().unwrap() > 5, "{first}");
    assert_eq!(mirror()["objects_copied"], 0);
    let at = |place: &str| {
        let mut esker = house.esker();
        esker.env("ESKER_REPOSITORY", house.path(place));
        esker
    };
    assert_eq!(restored(house.esker(), &house, "out1"), restored(at("mirrored"), &house, "out2"));
    exits(at("mirrored"), ["verify", "--read-data"], 0);

    // What is freed here is freed there when an owner says so.
    std::fs::remove_file(house.path("data/large.bin")).unwrap();
    take(&house);
    exits(house.esker(), ["forget", "--keep-last", "1"], 0);
    exits(house.esker(), ["prune", "--force"], 0);
    assert!(mirror()["objects_only_there"].as_u64().unwrap() > 0);
    let told = stdout(&exits(house.esker(), ["mirror", "mirrored", "--delete"], 0));
    assert!(told.contains("deleted there"), "{told}");
    assert_eq!(mirror()["objects_only_there"], 0);
    exits(at("mirrored"), ["verify", "--read-data"], 0);

    // An old password is told of, and goes with --delete.
    house.write("new", b"another horse\n");
    exits(house.esker(), ["key", "passwd", "--kdf", "low", "--new-password-file", "new"], 0);
    assert_eq!(mirror()["keys_only_there"], 1);
    let mut renewed = house.esker();
    renewed.env("ESKER_PASSWORD", "another horse");
    exits(renewed, ["mirror", "mirrored", "--delete"], 0);
    exits(at("mirrored"), ["snapshots"], 12);

    // Written to by itself it is no mirror any more.
    let mut own = at("mirrored");
    own.env("ESKER_PASSWORD", "another horse");
    exits(own, ["snapshot", "data"], 0);
    let refused = stderr(&exits(house.esker(), ["mirror", "mirrored"], 14));
    assert!(refused.contains("no mirror of"), "{refused}");
    exits(house.esker(), ["mirror"], 2);
    exits(at("nowhere"), ["mirror", "there"], 10);
}

#[test]
fn the_guard_period_is_changed_by_an_owner() {
    let house = house();
    assert_eq!(stdout(&exits(house.esker(), ["guard"], 0)).trim(), "none");
    exits(house.esker(), ["guard", "14d"], 0);
    assert_eq!(stdout(&exits(house.esker(), ["guard"], 0)).trim(), "14 days");
    let configs = || std::fs::read_dir(house.path("repo/config")).unwrap().count();
    assert_eq!(configs(), 2);
    exits(house.esker(), ["guard", "14d"], 0);
    assert_eq!(configs(), 2, "the same once more changes nothing");
    // Rules drop nothing now; without the guard they do.
    take(&house);
    exits(house.esker(), ["forget", "--keep-last", "1"], 0);
    assert_eq!(house.snapshot_count(), 2);
    let line = json(&exits(house.esker(), ["guard", "0", "--json"], 0).stdout);
    assert_eq!((&line["guard_seconds"], &line["guard_seconds_before"]), (&0.into(), &(14 * 86_400).into()));
    exits(house.esker(), ["forget", "--keep-last", "1"], 0);
    assert_eq!(house.snapshot_count(), 1);
    for wrong in ["x", "-1d", "1m", "2y"] {
        exits(house.esker(), ["guard", wrong], 2);
    }
    exits(house.esker(), ["key", "export", "--output", "writer.key"], 0);
    let mut writer = house.esker();
    writer.env_remove("ESKER_PASSWORD").args(["--key-file", "writer.key"]);
    exits(writer, ["guard", "1d"], 12);
}

#[test]
fn killed_copies_and_mirrors_are_finished_by_the_next_run() {
    let house = House::with_repository();
    house.write("data/large.bin", &noise(1, 24_000_000));
    house.write("data/sub/inner.txt", b"inner\n");
    take(&house);
    let original = restored(house.esker(), &house, "out");
    exits(copier(&house), ["init", "--kdf", "low", "--copy-chunker-params"], 0);
    for words in [&["copy", "-q"][..], &["mirror", "mirrored", "-q"]] {
        let mut killed = 0;
        // From before its first write to after its last, on a fast machine and on a slow one.
        for after_ms in [8, 20, 40, 80, 150, 300, 600] {
            let mut command = match words[0] {
                "copy" => copier(&house),
                _ => house.esker(),
            };
            command.args(words).timeout(std::time::Duration::from_millis(after_ms));
            // Its time is up: assert_cmd kills it with SIGKILL.
            killed += u32::from(command.output().unwrap().status.code().is_none());
        }
        assert!(killed > 0, "{words:?}");
    }
    exits(copier(&house), ["copy", "-q"], 0);
    exits(copier(&house), ["verify", "--read-data"], 0);
    assert!(restored(copier(&house), &house, "out1") == original);
    exits(house.esker(), ["mirror", "mirrored", "-q"], 0);
    let mut mirror = house.esker();
    mirror.env("ESKER_REPOSITORY", house.path("mirrored"));
    assert!(restored(mirror, &house, "out2") == original);
}
