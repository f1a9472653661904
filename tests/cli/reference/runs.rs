//! Runs that show every field of every command: good days, damage, and other machines.

use std::path::PathBuf;

use assert_cmd::Command;

use super::super::common::{House, PASSWORD, exits};
use super::super::repair::{damage, files, largest_pack};
use super::Shown;
use crate::noise;

/// Every command, in the states that make it print each of its objects. The parts need nothing of each other.
pub fn all() -> Shown {
    let parts = [first_days, absent_files, forgetting, bad_sectors, lost_data, unreadable_objects, second_places, keys, settings];
    let mut shown = Shown::new();
    std::thread::scope(|scope| {
        let run = |part: fn(&mut Shown)| {
            scope.spawn(move || {
                let mut shown = Shown::new();
                part(&mut shown);
                shown
            })
        };
        let running: Vec<_> = parts.map(|part: fn(&mut Shown)| run(part)).into();
        running.into_iter().for_each(|part| shown.extend(part.join().unwrap()));
    });
    shown
}

/// A new repository with two snapshots, the second of which lacks a source.
fn first_days(shown: &mut Shown) {
    let house = House::new();
    shown.run("init", house.esker(), &["init", "--kdf", "low"], 0);
    house.write("data/changes", b"before");
    house.write("data/goes", b"goes");
    house.write("data/grows", b"x");
    house.write("data/turns", b"file");
    std::os::unix::fs::symlink("changes", house.path("data/link")).unwrap();
    shown.run("snapshot", house.esker(), &["snapshot", "data", "-v", "--comment", "first", "--exclude", "*"], 0);
    shown.run("status", house.esker(), &["status"], 0);
    shown.run("snapshot", house.esker(), &["snapshot", "data", "-v", "--command", "dump=echo dumped"], 0);
    house.write("data/changes", b"after it");
    house.write("data/new", b"new");
    std::fs::remove_file(house.path("data/goes")).unwrap();
    let lacking = ["snapshot", "data", "--command", "dump=sh -c 'sleep 1.5; false'", "--optional", "dump"];
    shown.run("snapshot", house.esker(), &lacking, 3);
    shown.run("diff", house.esker(), &["diff", "latest~1", "latest"], 0);
    shown.run("ls", house.esker(), &["ls", "-R", "latest"], 0);
    shown.run("find", house.esker(), &["find", "*"], 0);
    shown.run("restore", house.esker(), &["restore", "latest", "--target", "out"], 3);
    house.write("out/data/extra", b"extra");
    shown.run("restore", house.esker(), &["restore", "latest:data", "--target", "out/data", "--delete", "-n"], 0);
    shown.run("verify", house.esker(), &["verify", "--read-data"], 0);
    shown.run("snapshots", house.esker(), &["snapshots"], 0);
    shown.run("status", house.esker(), &["status"], 3);
    exits(house.esker(), ["snapshot", "--command", "dump=false"], 4);
    shown.run("snapshots --failed", house.esker(), &["snapshots", "--failed"], 0);
    shown.run("status", house.esker(), &["status", "--group-by", "host"], 3);
    shown.run("stats", house.esker(), &["stats"], 0);
    shown.run("stats", house.esker(), &["stats", "latest"], 0);
    shown.run("guard", house.esker(), &["guard"], 0);
    shown.run("guard", house.esker(), &["guard", "2h"], 0);
    shown.run("unlock", house.esker(), &["unlock"], 0);
    shown.run("recover", house.esker(), &["recover"], 0);
    shown.run("doctor", house.bare(), &["doctor"], 0);
    shown.run("doctor store", house.esker(), &["doctor", "store"], 0);
    shown.run("cache path", house.esker(), &["cache", "path"], 0);
    shown.run("cache clear", house.esker(), &["cache", "clear"], 0);
    // The same answer when there is nothing to clear.
    std::fs::remove_dir_all(house.path("cache")).unwrap();
    shown.run("cache clear", house.esker(), &["cache", "clear"], 0);
    let wrong = exits(house.esker(), ["--json", "ls", "no-such-snapshot"], 1);
    shown.messages(&wrong.stderr);
}

/// Files that were named and are not there.
fn absent_files(shown: &mut Shown) {
    let house = House::with_snapshot();
    house.write("list", b"data/hello.txt\ngone\n");
    let odd = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"data/\xff");
    house.write("data/sub/inner.txt", b"other");
    std::fs::write(house.path(odd), b"no text").unwrap();
    shown.run("snapshot", house.esker(), &["snapshot", "--files-from-verbatim", "list"], 3);
    shown.run("snapshot", house.esker(), &["snapshot", "data"], 0);
    shown.run("ls", house.esker(), &["ls", "-R", "latest"], 0);
    // What the newer one left out is not known to be removed.
    shown.run("snapshot", house.esker(), &["snapshot", "data", "--exclude", "hello.txt"], 0);
    shown.run("diff", house.esker(), &["diff", "latest~1", "latest"], 0);
    house.write("data/later", b"later");
    shown.run("restore", house.esker(), &["restore", "latest:data", "--target", "data", "--delete", "--yes"], 0);
    shown.run("tag", house.esker(), &["tag", "--add", "x", "latest"], 0);
    shown.run("tag", house.esker(), &["tag", "--add", "y", "latest", "-n"], 0);
}

/// What goes, and what a running backup still needs.
fn forgetting(shown: &mut Shown) {
    let house = House::with_snapshot();
    house.write("data/large.bin", &noise(7, 900 << 10));
    house.snapshot();
    // Each that leaves out everything has a warning.
    exits(house.esker(), ["snapshot", "data", "--exclude", "*"], 0);
    exits(house.esker(), ["snapshot", "data", "--exclude", "*"], 0);
    shown.run("forget", house.esker(), &["forget", "--keep-last", "1"], 0);
    shown.run("snapshots --forgotten", house.esker(), &["snapshots", "--forgotten"], 0);
    let id = shown.run("undelete", house.esker(), &["undelete"], 0)[0][0]["id"].as_str().unwrap().to_owned();
    shown.run("undelete", house.esker(), &["undelete", &id, "-n"], 0);
    shown.run("undelete", house.esker(), &["undelete", &id], 0);
    shown.run("forget", house.esker(), &["forget", "latest~1"], 0);
    let mut running = house.slow_snapshot("[ -e go ]");
    shown.run("unlock", house.esker(), &["unlock", "-n"], 0);
    shown.run("prune", house.esker(), &["prune"], 0);
    house.write("go", b"");
    running.wait().unwrap();
    shown.run("prune", house.esker(), &["prune", "--force"], 0);
}

/// Damage that parity can mend, and index files that are made again.
fn bad_sectors(shown: &mut Shown) {
    let house = with_large_file("5%");
    damage(&largest_pack(&house), 4096);
    shown.run("verify", house.esker(), &["verify", "--read-data"], 20);
    shown.run("status", house.esker(), &["status"], 20);
    shown.run("repair packs", house.esker(), &["repair", "packs"], 0);
    for index in files(&house, "index") {
        damage(&index, 8);
    }
    shown.run("repair index", house.esker(), &["repair", "index"], 0);
    shown.run("parity set", house.esker(), &["parity", "set", "10%"], 0);
    shown.run("parity drop", house.esker(), &["parity", "drop"], 0);
    shown.run("parity add", house.esker(), &["parity", "add"], 0);
}

/// Damage that nothing can mend.
fn lost_data(shown: &mut Shown) {
    let house = with_large_file("0");
    damage(&largest_pack(&house), 4096);
    std::fs::remove_file(house.path("data/large.bin")).unwrap();
    shown.run("restore", house.esker(), &["restore", "latest", "--target", "out"], 21);
    shown.run("repair packs", house.esker(), &["repair", "packs"], 21);
    shown.run("repair snapshots", house.esker(), &["repair", "snapshots"], 0);
}

/// Objects that are not what they should be.
fn unreadable_objects(shown: &mut Shown) {
    let house = with_large_file("0");
    let snapshot = files(&house, "snapshots").remove(0);
    damage(&snapshot, 16);
    shown.run("repair snapshots", house.esker(), &["repair", "snapshots", "-n"], 21);
    shown.run("recover", house.esker(), &["recover", "-n"], 0);
    for folder in ["index", "packs"] {
        let all: Vec<PathBuf> = files(&house, folder);
        all.iter().for_each(|path| std::fs::write(path, b"ESKER no such object").unwrap());
    }
    shown.run("repair index", house.esker(), &["repair", "index"], 21);
}

/// Copies and mirrors.
fn second_places(shown: &mut Shown) {
    let house = House::with_snapshot();
    let copier = || {
        let mut esker = house.esker();
        esker.env("ESKER_REPOSITORY", house.path("copy")).env("ESKER_FROM_REPOSITORY", house.path("repo"));
        esker.env("ESKER_FROM_PASSWORD", PASSWORD);
        esker
    };
    shown.run("init", copier(), &["init", "--kdf", "low", "--copy-chunker-params"], 0);
    shown.run("copy", copier(), &["copy", "-n"], 0);
    shown.run("copy", copier(), &["copy"], 0);
    shown.run("copy", copier(), &["copy"], 0);
    shown.run("mirror", house.esker(), &["mirror", "second"], 0);
}

/// Passwords, and a machine that may only write.
fn keys(shown: &mut Shown) {
    let house = House::with_snapshot();
    house.write("second", b"second password\n");
    shown.run("key list", house.esker(), &["key", "list"], 0);
    let add = ["key", "add", "--kdf", "low", "--new-password-file", "second"];
    let id = shown.run("key add", house.esker(), &add, 0)[0]["id"].as_str().unwrap().to_owned();
    shown.run("key remove", house.esker(), &["key", "remove", &id], 0);
    shown.run("key export", house.esker(), &["key", "export", "--writer"], 0);
    shown.run("key export", house.esker(), &["key", "export", "--output", "writer.key"], 0);
    let writer = || {
        let mut esker = house.esker();
        esker.env_remove("ESKER_PASSWORD").env("ESKER_KEY_FILE", house.path("writer.key"));
        esker
    };
    shown.run("status with a writer key", writer(), &["status"], 0);
    exits(writer(), ["snapshot", "--command", "dump=false"], 4);
    shown.run("status with a writer key", writer(), &["status"], 3);
    shown.run("key rotate", house.esker(), &["key", "rotate", "-n"], 0);
    shown.run("key rotate", house.esker(), &["key", "rotate"], 0);
    shown.run("key passwd", house.esker(), &["key", "passwd", "--kdf", "low", "--new-password-file", "second"], 0);
}

/// The config file.
fn settings(shown: &mut Shown) {
    let house = House::new();
    house.write("esker.toml", b"repository = 'repo'\n[[source]]\ndirectory = 'data'\n[profile.certs]\ntags = ['weekly']\n");
    let with = |arguments: &[&str]| -> Command {
        let mut esker = house.bare();
        esker.args(["-c", "esker.toml"]).args(arguments);
        esker
    };
    shown.run("config show", with(&["config", "show"]), &[], 0);
    shown.run("config show", with(&["-P", "certs", "config", "show"]), &[], 0);
    house.write("data/a", b"a");
    shown.run("config check", with(&["config", "check"]), &[], 0);
}

/// A repository with this much parity, and a file that has a pack of its own.
fn with_large_file(parity: &str) -> House {
    let house = House::new();
    exits(house.esker(), ["init", "--kdf", "low", "--parity", parity], 0);
    house.write("data/large.bin", &noise(1, 3_000_000));
    house.write("data/small.txt", b"small");
    house.snapshot();
    house
}
