//! One number, one meaning.

use std::os::unix::fs::PermissionsExt;

use super::common::{House, exits, json_lines, stderr, stdout, text};

#[test]
fn no_repository_is_10() {
    let house = House::new();
    for place in ["repo", "empty", "other"] {
        if place != "repo" {
            std::fs::create_dir(house.path(place)).unwrap();
        }
        if place == "other" {
            house.write("other/photo.jpg", b"not a repository");
        }
        let mut command = house.esker();
        command.env("ESKER_REPOSITORY", house.path(place));
        let output = exits(command, ["snapshots"], 10);
        assert!(stderr(&output).contains(place), "{place}: {}", stderr(&output));
    }
}

#[test]
fn init_does_not_touch_a_place_that_holds_a_repository() {
    let house = House::with_snapshot();
    let output = exits(house.esker(), ["init", "--kdf", "low"], 1);
    assert!(stderr(&output).contains("already"), "{}", stderr(&output));
    assert_eq!(house.snapshot_count(), 1);
}

#[test]
fn an_init_that_was_cut_off_is_finished_by_the_same_password() {
    let house = House::with_repository();
    // As if it had been killed before its config.
    std::fs::remove_dir_all(house.path("repo/config")).unwrap();
    std::fs::remove_file(house.path("repo/ballast")).unwrap();
    exits(house.esker(), ["snapshots"], 10);
    let mut other = house.esker();
    other.env("ESKER_PASSWORD", "another one");
    let output = exits(other, ["init", "--kdf", "low"], 1);
    assert!(stderr(&output).contains("with the same password to finish it"), "{}", stderr(&output));
    exits(house.esker(), ["init", "--kdf", "low"], 0);
    house.write("data/hello.txt", b"hello\n");
    house.snapshot();
    assert_eq!(house.snapshot_count(), 1);
    assert_eq!(std::fs::read_dir(house.path("repo/keys")).unwrap().count(), 2);
}

#[test]
fn a_failing_command_is_4_and_commits_nothing() {
    let house = House::with_repository();
    let output = exits(house.esker(), ["snapshot", "--command", "dump=sh -c 'echo half a dump; echo it broke >&2; exit 3'"], 4);
    let message = stderr(&output);
    assert!(message.contains("dump") && message.contains("it broke") && message.contains('3'), "{message}");
    assert!(output.stdout.is_empty());
    assert_eq!(house.snapshot_count(), 0);
}

#[test]
fn a_command_that_is_not_there_is_4() {
    let house = House::with_repository();
    let output = exits(house.esker(), ["snapshot", "--command", "dump=no-such-program-anywhere"], 4);
    assert!(stderr(&output).contains("no-such-program-anywhere"), "{}", stderr(&output));
}

#[test]
fn an_optional_source_that_fails_is_3_and_the_snapshot_says_so() {
    let house = House::with_repository();
    house.write("data/a", b"a");
    let arguments = ["snapshot", "data", "--command", "dump=false", "--optional", "dump"];
    exits(house.esker(), arguments, 3);
    let listed = stdout(&exits(house.esker(), ["snapshots"], 0));
    assert!(listed.contains("incomplete") && listed.contains("dump (failed)"), "{listed}");
}

#[test]
fn an_unreadable_file_is_3_and_is_named() {
    // Root reads everything, so the program runs as somebody else.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let house = House::new();
    house.write("data/open.txt", b"for everybody");
    let secret = house.write("data/secret.txt", b"for nobody else");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    for folder in ["", "data"] {
        std::fs::set_permissions(house.path(folder), std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    // The binary may stand in a folder that only root may enter.
    let program = house.path("esker");
    std::fs::copy(house.esker().get_program(), &program).unwrap();
    let as_nobody = |arguments: &[&str]| {
        let mut command = assert_cmd::Command::new("setpriv");
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).current_dir(house.path(""));
        command.envs([("ESKER_REPOSITORY", house.path("repo")), ("ESKER_CACHE_DIR", house.path("cache"))]);
        command.env("ESKER_PASSWORD", super::common::PASSWORD);
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program).args(arguments);
        command
    };
    as_nobody(&["init", "--kdf", "low"]).assert().success();
    let output = as_nobody(&["snapshot", "data", "--json"]).assert().code(3).get_output().clone();
    assert!(stderr(&output).contains("secret.txt"), "{}", stderr(&output));
    assert_eq!(json_lines(&output.stdout).last().unwrap()["incomplete"], true);
    let dumped = as_nobody(&["dump", "latest:data/open.txt"]).assert().success().get_output().clone();
    assert_eq!(dumped.stdout, b"for everybody");
    // Somebody who is not root, in a process that dumps no core, can restore too.
    // Restored, and the snapshot lacks a file of it.
    as_nobody(&["restore", "latest", "--target", "out", "--verify"]).assert().code(3);
    assert_eq!(std::fs::read(house.path("out/data/open.txt")).unwrap(), b"for everybody");
}

#[test]
fn a_path_or_a_name_given_twice_is_2() {
    let house = House::with_repository();
    house.write("data/a", b"a");
    house.write("other/data/b", b"b");
    for (arguments, word) in [
        (&["snapshot", "data", "./data"][..], "twice"),
        (&["snapshot", "--dir", "a=data", "--dir", "b=data"], "twice"),
        (&["snapshot", "data", "other/data"], "data"),
        (&["snapshot", "--dir", "a=data", "--command", "a=true"], "a"),
        (&["snapshot", "--dir", "Not A Name=data"], "Not A Name"),
        (&["snapshot"], "source"),
        (&["snapshot", "data", "--optional", "date"], "date"),
        (&["snapshot", "--command", "a=x | y"], "shell"),
    ] {
        let output = exits(house.esker(), arguments, 2);
        assert!(stderr(&output).contains(word), "{arguments:?}: {}", stderr(&output));
    }
    assert_eq!(house.snapshot_count(), 0);
}

#[test]
fn a_directory_that_is_missing_or_empty_is_4() {
    let house = House::with_repository();
    std::fs::create_dir(house.path("empty")).unwrap();
    let output = exits(house.esker(), ["snapshot", "empty"], 4);
    assert!(stderr(&output).contains("mounted"), "{}", stderr(&output));
    exits(house.esker(), ["snapshot", "missing"], 4);
    assert_eq!(house.snapshot_count(), 0);
}

#[test]
fn a_snapshot_or_path_that_is_not_there_is_1_and_named() {
    let house = House::with_snapshot();
    assert!(stderr(&exits(house.esker(), ["ls", "ffffffff"], 1)).contains("ffffffff"));
    assert!(stderr(&exits(house.esker(), ["ls", "latest~7"], 1)).contains("latest~7"));
    assert!(stderr(&exits(house.esker(), ["ls", "latest:no/such"], 1)).contains("no/such"));
    assert!(stderr(&exits(house.esker(), ["dump", "latest:data"], 1)).contains("folder"));
}

#[test]
fn damage_is_20_or_21_and_the_finding_names_what_it_hits() {
    let house = House::with_snapshot();
    exits(house.esker(), ["verify", "--read-data"], 0);
    // The largest pack holds the data.
    let mut packs = Vec::new();
    for folder in std::fs::read_dir(house.path("repo/packs")).unwrap() {
        packs.extend(std::fs::read_dir(folder.unwrap().path()).unwrap().map(|entry| entry.unwrap().path()));
    }
    for pack in packs {
        std::fs::remove_file(pack).unwrap();
    }
    let output = exits(house.esker(), ["verify", "--json"], 21);
    let lines = json_lines(&output.stdout);
    assert!(lines.iter().any(|line| line["message_type"] == "finding" && !line["snapshots"].as_array().unwrap().is_empty()));
    assert_eq!(lines.last().unwrap()["message_type"], "summary");
}

#[test]
fn a_reader_that_goes_away_is_no_error_to_speak_of() {
    let house = House::with_repository();
    for number in 0..3000 {
        house.write(format!("data/a-rather-long-name-for-a-file-to-fill-the-pipe-with-{number}"), b"x");
    }
    house.snapshot();
    let mut child = std::process::Command::new(house.esker().get_program())
        .args(["ls", "-q", "-R", "latest"])
        .env("ESKER_REPOSITORY", house.path("repo"))
        .env("ESKER_PASSWORD", super::common::PASSWORD)
        .env("ESKER_CACHE_DIR", house.path("cache"))
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(141));
}

#[test]
fn ctrl_c_is_130_and_leaves_a_repository_that_works() {
    let house = House::with_repository();
    house.write("data/a", b"a");
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let mut child = std::process::Command::new(house.esker().get_program())
            .args(["snapshot", "data", "--command", "slow=sh -c 'echo begun; touch begun; sleep 60'"])
            .env_clear()
            .envs([("ESKER_REPOSITORY", house.path("repo")), ("ESKER_CACHE_DIR", house.path("cache"))])
            .env("ESKER_PASSWORD", super::common::PASSWORD)
            .env("PATH", std::env::var_os("PATH").unwrap())
            .current_dir(house.path(""))
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        for _ in 0..600 {
            if house.path("begun").exists() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        std::fs::remove_file(house.path("begun")).expect("the command ran");
        let begun = std::time::Instant::now();
        let killed = std::process::Command::new("kill").arg(signal).arg(child.id().to_string()).status().unwrap();
        assert!(killed.success());
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(code));
        assert!(begun.elapsed().as_secs() < 30, "it stopped within seconds");
    }
    assert_eq!(house.snapshot_count(), 0);
    house.snapshot();
    exits(house.esker(), ["verify", "--read-data"], 0);
}

#[test]
fn a_repository_of_a_newer_format_says_so() {
    let house = House::with_snapshot();
    let config = house.path("repo/config/00000001");
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut bytes = std::fs::read(&config).unwrap();
    bytes[8] = 2;
    std::fs::write(&config, bytes).unwrap();
    let output = exits(house.esker(), ["snapshots"], 1);
    assert!(stderr(&output).contains("version 2") && stderr(&output).contains("newer"), "{}", stderr(&output));
}

#[test]
fn a_full_disk_is_11_and_loses_nothing() {
    let house = House::new();
    let Some(disk) = house.small_disk("4m") else { return };
    house.esker().args(["init", "--kdf", "low"]).assert().success();
    house.write("data/small", b"small");
    house.snapshot();
    let mut noise = vec![0; 20_000_000];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    house.write("data/large", &noise);
    let output = exits(house.esker(), ["snapshot", "data"], 11);
    assert!(stderr(&output).contains("full"), "{}", stderr(&output));
    std::fs::remove_file(house.path("data/large")).unwrap();
    assert_eq!(house.snapshot_count(), 1);
    assert_eq!(stdout(&exits(house.esker(), ["dump", "latest:data/small"], 0)), "small");
    drop(disk);
}

#[test]
fn a_store_that_cannot_be_listed_is_13_and_never_taken_for_an_empty_one() {
    let house = House::with_snapshot();
    let (packs, aside) = (house.path("repo/packs"), house.path("aside"));
    std::fs::rename(&packs, &aside).unwrap();
    std::fs::write(&packs, b"what a broken mount may show").unwrap();
    for words in [&["snapshot", "data"][..], &["verify"], &["prune"], &["restore", "latest", "--target", "out"]] {
        let said = stderr(&exits(house.esker(), words, 13));
        assert!(said.contains("packs"), "{words:?}: {said}");
    }
    std::fs::remove_file(&packs).unwrap();
    std::fs::rename(&aside, &packs).unwrap();
    exits(house.esker(), ["verify", "--read-data"], 0);
    assert_eq!(house.snapshot_count(), 1);
}

#[test]
fn init_refuses_a_place_that_holds_other_things_and_changes_nothing_there() {
    let house = House::new();
    house.write("repo/compose.yml", b"services:\n");
    house.write("repo/.env", b"X=1\n");
    let output = exits(house.esker(), ["init", "--kdf", "low"], 1);
    let said = text(&output.stderr);
    assert!(said.contains("is not empty") && said.contains("compose.yml") && said.contains("choose"), "{said}");
    assert_eq!(names_in(&house.path("repo")), [".env", "compose.yml"]);
}

#[test]
fn init_takes_an_empty_folder_the_root_of_a_disk_and_what_a_cut_off_init_left() {
    let house = House::new();
    for folder in ["repo/lost+found", "repo/tmp", "repo/.Trash-1000"] {
        std::fs::create_dir_all(house.path(folder)).unwrap();
    }
    house.esker().args(["init", "--kdf", "low"]).assert().success();
    // The keyslots of an init that never came to its config.
    std::fs::remove_dir_all(house.path("repo/config")).unwrap();
    house.esker().args(["init", "--kdf", "low"]).assert().success();
}

#[test]
fn the_repository_of_another_program_is_named_by_every_command() {
    for (program, files) in [
        ("restic repository", &["config", "keys/ab", "data/00/ab", "locks/x", "index/x", "snapshots/x"][..]),
        ("rustic", &["config", "keys/ab", "data/00/ab", "index/x", "snapshots/x"]),
        ("borg repository", &["README", "config", "data/0/1", "index.1", "hints.1", "nonce"]),
        ("borg 2", &["config/manifest", "archives/x", "data/x", "keys/x"]),
        ("kopia", &["kopia.repository.f", "kopia.blobcfg.f", "p/a"]),
        ("bupstash", &["repo.lock", "tx.lock", "data/x", "items/x"]),
        ("duplicity", &["duplicity-full.20260101T000000Z.vol1.difftar.gpg"]),
        ("Duplicacy", &["config", "chunks/00/ab", "snapshots/x/1"]),
        // https://www.duplicati.com/articles/Backup-Process/: names begin with the prefix of the backup, which is `duplicati` by default.
        (
            "Duplicati",
            &["duplicati-20161014090000.dlist.zip.aes", "duplicati-b7fb.dblock.zip.aes", "duplicati-i0b0.dindex.zip.aes"],
        ),
        ("Duplicati", &["nightly-20161014090000.dlist.zip", "nightly-b7fb.dblock.zip"]),
        // https://pbs.proxmox.com/docs/technical-overview.html, sections Datastores and Chunks.
        ("Proxmox Backup Server", &[".chunks/a342/a342e8151cbf", "vm/100/2026-01-01T00:00:00Z/index.json.blob", ".lock"]),
        // rdiff-backup(1): a mirror of the source, with its own subdirectory beside the files.
        ("rdiff-backup", &["etc/passwd", "rdiff-backup-data/current_mirror.2026-01-01T00:00:00Z.data"]),
        // doc/format.md of conserve: a header file, bands, and the folder of blocks.
        ("conserve", &["CONSERVE", "b0000/BANDHEAD", "d/0d3/0d3c"]),
    ] {
        let house = House::new();
        for file in files {
            house.write(format!("repo/{file}"), b"not ours");
        }
        house.write("data/file", b"x");
        for (arguments, code) in [
            (&["init"][..], 1),
            (&["snapshot", "data"], 10),
            (&["snapshot", "--init", "data"], 10),
            (&["snapshots"], 10),
            (&["verify"], 10),
            (&["key", "list"], 10),
            (&["status"], 10),
            (&["mirror", "elsewhere"], 10),
        ] {
            let output = exits(house.esker(), arguments, code);
            let said = text(&output.stderr);
            assert!(said.contains(program), "{program}: esker {arguments:?}: {said}");
        }
        assert!(!house.path("repo/packs").exists(), "{program}");
    }
}

fn names_in(folder: &std::path::Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names.into_iter().map(|name| name.into_string().unwrap()).collect()
}
