//! Damage and what mends it, as somebody sees it who types the commands: exit codes 20 and 21, and the way back to 0.

use std::path::{Path, PathBuf};

use super::common::{House, exits, json, json_lines, stderr, stdout};
use crate::noise;

/// Files below a folder of the repository.
pub fn files(house: &House, folder: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, found) } else { found.push(path) }
        }
    }
    let mut found = Vec::new();
    walk(&house.path("repo").join(folder), &mut found);
    found.sort();
    found
}

pub fn largest_pack(house: &House) -> PathBuf {
    files(house, "packs").into_iter().max_by_key(|path| std::fs::metadata(path).unwrap().len()).unwrap()
}

/// Overwrites a stretch in the middle of a file.
pub fn damage(path: &Path, length: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + length].iter_mut().for_each(|byte| *byte ^= 0x33);
    std::fs::write(path, bytes).unwrap();
}

fn house(parity: &str) -> House {
    let house = House::new();
    house.esker().args(["init", "--kdf", "low"]).args(parity.split_whitespace()).assert().success();
    house.write("data/large.bin", &noise(1, 3_000_000));
    house.write("data/small.txt", b"small");
    house.snapshot();
    house
}

#[test]
fn a_bad_sector_is_20_reads_through_and_is_0_again_after_repair() {
    // A repository on a disk has parity unless told otherwise.
    let house = house("");
    assert!(!files(&house, "parity").is_empty());
    damage(&largest_pack(&house), 4096);
    let found = stdout(&exits(house.esker(), ["verify", "--read-data"], 20));
    assert!(found.contains("repairable") && found.contains("parity object can mend it"), "{found}");
    let dumped = exits(house.esker(), ["dump", "latest:data/large.bin"], 0);
    assert!(dumped.stdout == noise(1, 3_000_000), "reads go through parity");
    assert!(stdout(&exits(house.esker(), ["repair", "packs", "-n"], 20)).contains("can restore it"));
    let lines = json_lines(&exits(house.esker(), ["repair", "packs", "--json"], 0).stdout);
    assert_eq!(
        (&lines[0]["message_type"], &lines[0]["harm"], &lines[0]["mended_from"]),
        (&"pack".into(), &"damaged".into(), &"parity".into())
    );
    assert_eq!((&lines[1]["packs_damaged"], &lines[1]["packs_unmended"]), (&1.into(), &0.into()));
    exits(house.esker(), ["verify", "--read-data"], 0);
}

#[test]
fn damage_without_parity_is_21_until_a_snapshot_stores_the_data_again() {
    let house = house("--parity 0");
    assert!(files(&house, "parity").is_empty());
    let pack = largest_pack(&house);
    damage(&pack, 4096);
    let found = stdout(&exits(house.esker(), ["verify", "--read-data"], 21));
    assert!(found.contains("DATA LOST") && found.contains("large.bin"), "{found}");
    let message = stderr(&exits(house.esker(), ["dump", "latest:data/large.bin"], 21));
    assert!(message.contains("esker repair"), "{message}");
    // Nobody has looked yet, so a snapshot counts on what is listed.
    house.snapshot();
    exits(house.esker(), ["verify", "--read-data"], 21);
    let told = stdout(&exits(house.esker(), ["repair", "packs"], 21));
    assert!(told.contains(pack.file_name().unwrap().to_str().unwrap()) && told.contains("its bytes cannot be restored"), "{told}");
    house.snapshot();
    exits(house.esker(), ["verify", "--read-data"], 20);
    assert!(exits(house.esker(), ["dump", "latest~2:data/large.bin"], 0).stdout == noise(1, 3_000_000), "the oldest too");
    // Nobody needs the damaged pack any more: a prune takes it away, and then nothing is wrong.
    exits(house.esker(), ["prune", "--force"], 0);
    exits(house.esker(), ["prune", "--force"], 0);
    assert!(!pack.exists());
    exits(house.esker(), ["verify", "--read-data"], 0);
    exits(house.esker(), ["repair", "packs"], 0);
    assert!(exits(house.esker(), ["dump", "latest~2:data/large.bin"], 0).stdout == noise(1, 3_000_000));
}

#[test]
fn a_mirror_puts_back_what_is_missing() {
    let house = house("--parity 0");
    let status = std::process::Command::new("cp").arg("-r").arg(house.path("repo")).arg(house.path("mirror")).status();
    assert!(status.unwrap().success());
    std::fs::remove_file(largest_pack(&house)).unwrap();
    exits(house.esker(), ["verify"], 21);
    exits(house.esker(), ["repair", "packs"], 21);
    let told = stdout(&exits(house.esker(), ["repair", "packs", "--from", "mirror"], 0));
    assert!(told.contains("restored from") && told.contains("mirror"), "{told}");
    exits(house.esker(), ["verify", "--read-data"], 0);
    exits(house.esker(), ["repair", "packs", "--from", "backup:today"], 2);
    exits(house.esker(), ["repair", "packs", "no-pack"], 2);
    exits(house.esker(), ["repair", "packs", "00000000ff"], 1);
}

#[test]
fn index_files_are_made_again() {
    let house = house("");
    std::fs::remove_dir_all(house.path("repo/index")).unwrap();
    exits(house.esker(), ["verify"], 20);
    exits(house.esker(), ["repair", "index", "-n"], 20);
    let line = json(&exits(house.esker(), ["repair", "index", "--json"], 0).stdout);
    assert_eq!(line["packs_indexed"].as_array().unwrap().len() as u64, line["packs"].as_u64().unwrap());
    exits(house.esker(), ["verify"], 0);
    assert!(stdout(&exits(house.esker(), ["repair", "index"], 0)).contains("0 packs indexed"));
}

#[test]
fn a_snapshot_without_what_is_lost_stands_beside_the_original() {
    let house = house("--parity 0");
    std::fs::remove_file(house.path("data/large.bin")).unwrap();
    damage(&largest_pack(&house), 4096);
    exits(house.esker(), ["repair", "packs"], 21);
    let lines = json_lines(&exits(house.esker(), ["repair", "snapshots", "-n", "--json"], 21).stdout);
    assert_eq!(
        (&lines[0]["message_type"], &lines[0]["path"], &lines[0]["what"]),
        (&"lost".into(), &"data/large.bin".into(), &"entry".into())
    );
    assert_eq!(house.snapshot_count(), 1);
    let told = stdout(&exits(house.esker(), ["repair", "snapshots"], 0));
    assert!(told.contains("data/large.bin") && told.contains("the original stays"), "{told}");
    assert_eq!(house.snapshot_count(), 2);
    assert!(stdout(&exits(house.esker(), ["snapshots"], 0)).contains("incomplete"));
    exits(house.esker(), ["repair", "snapshots"], 0);
    assert_eq!(house.snapshot_count(), 2, "not twice");
}

#[test]
fn folders_of_lost_snapshots_are_recovered() {
    let house = house("");
    for snapshot in files(&house, "snapshots") {
        std::fs::remove_file(snapshot).unwrap();
    }
    let told = stdout(&exits(house.esker(), ["recover", "-n"], 0));
    assert!(told.contains("data"), "{told}");
    assert_eq!(house.snapshot_count(), 0);
    let line = json(&exits(house.esker(), ["recover", "--json"], 0).stdout);
    let name = line["roots"][0]["name"].as_str().unwrap().to_owned();
    // What is recovered counts as incomplete, and every read of it says so. This file is all there.
    let dumped = exits(house.esker(), ["dump", &format!("latest:recovered/{name}/data/large.bin")], 0);
    assert!(stderr(&dumped).contains("is incomplete"));
    assert!(dumped.stdout == noise(1, 3_000_000));
    assert!(stdout(&exits(house.esker(), ["recover"], 0)).contains("nothing to recover"));
    house.snapshot();
}

#[test]
fn parity_is_set_added_and_dropped() {
    let house = house("--parity 0");
    for wrong in ["51", "-1", "x", "5.5%"] {
        exits(house.esker(), ["init", "--parity", wrong], 2);
    }
    let hint = stderr(&exits(house.esker(), ["parity", "add"], 2));
    assert!(hint.contains("parity set"), "{hint}");
    exits(house.esker(), ["parity", "set", "10%"], 0);
    exits(house.esker(), ["parity", "add", "-n"], 0);
    assert!(files(&house, "parity").is_empty());
    let line = json(&exits(house.esker(), ["parity", "add", "--json"], 0).stdout);
    assert_eq!((line["added"].as_u64().unwrap(), line["percent"].as_u64().unwrap()), (files(&house, "packs").len() as u64, 10));
    damage(&largest_pack(&house), 100_000);
    exits(house.esker(), ["verify", "--read-data"], 20);
    exits(house.esker(), ["parity", "drop"], 0);
    assert!(files(&house, "parity").is_empty());
    exits(house.esker(), ["verify", "--read-data"], 21);
    exits(house.esker(), ["parity", "add"], 21);
}

#[test]
fn a_writer_key_cannot_repair() {
    let house = house("");
    exits(house.esker(), ["key", "export", "--output", "writer.key"], 0);
    for command in [
        &["repair", "packs"][..],
        &["repair", "index"],
        &["repair", "snapshots"],
        &["recover"],
        &["parity", "set", "5"],
        &["parity", "drop"],
    ] {
        let mut esker = house.esker();
        esker.env_remove("ESKER_PASSWORD").args(["--key-file", "writer.key"]);
        exits(esker, command, 12);
    }
}
