//! Junk that a stranger without a key put into the store: it is reported, and nothing else stops because of it.

use std::path::Path;

use super::common::{House, exits, json, text};

/// A sparse file of this many bytes, all zero.
fn zeros(path: &Path, size: u64) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::File::create(path).unwrap().set_len(size).unwrap();
}

/// Forged keyslots of the kind of `slot`: they have its parameters and no secret opens them.
fn forge_keyslots(house: &House, kind: u8, count: u32) {
    let slot = std::fs::read_dir(house.path("repo/keys")).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    let mut slot = slot.into_iter().find(|slot| slot[9] == kind).unwrap();
    if kind == 1 {
        // The cheapest that is allowed comes first.
        slot[12..24].copy_from_slice(&[0, 76, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]);
    }
    for number in 0..count {
        slot[24..28].copy_from_slice(&number.to_le_bytes());
        let name = blake3::hash(&slot).to_hex();
        std::fs::write(house.path(format!("repo/keys/{name}")), &slot).unwrap();
    }
}

const SID: &str = "00112233445566778899aabbccddeeff";

#[test]
fn a_file_of_zeros_under_any_name_ends_no_command() {
    let house = House::with_snapshot();
    let good = json(&house.esker().args(["snapshots", "--json"]).output().unwrap().stdout)[0]["id"].as_str().unwrap().to_owned();
    let hash = "ab".repeat(32);
    let repo = |name: String| house.path(format!("repo/{name}"));
    for size in [10, (32 << 20) + 1] {
        zeros(&repo(format!("snapshots/{SID}")), size);
        zeros(&repo(format!("index/{hash}")), size);
        zeros(&repo(format!("keys/{hash}")), size);
        zeros(&repo(format!("notes/{hash}")), size);
        zeros(&repo(format!("sessions/{SID}/00000000")), size);
        zeros(&repo(format!("forgotten/{SID}/{hash}")), size);
        for command in [
            &["snapshots"][..],
            &["ls", "latest"],
            &["ls", &good],
            &["dump", &format!("{good}:data/hello.txt")],
            &["restore", "latest", "--target", "out"],
            &["snapshot", "data"],
            &["forget", "-n", "--keep-last", "5"],
            &["stats"],
            &["find", "hello*"],
            &["key", "list"],
        ] {
            exits(house.esker(), command, 0);
        }
        let told = exits(house.esker(), ["snapshots"], 0);
        assert!(text(&told.stderr).contains(&format!("snapshot {}", &SID[..8])), "{}", text(&told.stderr));
        // Damage is known: monitoring hears of it, and a prune does not guess what the object held.
        exits(house.esker(), ["status"], 21);
        exits(house.esker(), ["verify"], 21);
        exits(house.esker(), ["prune"], 14);
        // An owner gives it up by name, and then it stands in nobody's way.
        exits(house.esker(), ["forget", SID], 0);
        exits(house.esker(), ["prune"], 0);
        let told = exits(house.esker(), ["snapshots"], 0);
        assert!(!text(&told.stderr).contains(&format!("snapshot {}", &SID[..8])), "{}", text(&told.stderr));
        std::fs::remove_dir_all(house.path(format!("repo/forgotten/{SID}"))).unwrap();
    }
}

#[test]
fn a_config_that_is_too_large_is_none() {
    let house = House::with_snapshot();
    zeros(&house.path("repo/config/00000009"), (1 << 20) + 1);
    exits(house.esker(), ["snapshot", "data"], 0);
    exits(house.esker(), ["parity", "set", "10"], 0);
    exits(house.esker(), ["snapshots"], 0);
}

#[test]
fn forged_keyslots_shut_nobody_out() {
    let house = House::with_repository();
    house.write("data/hello.txt", b"hello");
    let said = House::new();
    let init = exits(said.esker(), ["init", "--kdf", "low", "--json"], 0);
    let recovery = json(&init.stdout)["recovery_key"].as_str().unwrap().to_owned();
    forge_keyslots(&house, 1, 40);
    exits(house.esker(), ["snapshot", "data"], 0);
    forge_keyslots(&said, 2, 400);
    forge_keyslots(&said, 1, 40);
    let mut command = said.esker();
    command.env("ESKER_PASSWORD", &recovery);
    exits(command, ["snapshots"], 0);
    // A wrong password is still one.
    let mut command = house.esker();
    command.env("ESKER_PASSWORD", "wrong");
    exits(command, ["snapshots"], 12);
}
