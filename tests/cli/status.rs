//! `esker status`, as monitoring sees it.

use super::common::{House, exits, json, stderr, stdout};

#[test]
fn a_fresh_complete_snapshot_is_0_and_anything_less_is_3() {
    let house = House::with_repository();
    assert!(stdout(&exits(house.esker(), ["status"], 3)).contains("no snapshot"));
    house.write("data/a", b"a");
    house.snapshot();
    let status = json(&exits(house.esker(), ["status", "--max-age", "1h", "--json"], 0).stdout);
    assert_eq!((&status["newest"][0]["complete"], &status["exit_code"]), (&true.into(), &0.into()));
    assert!(status["packs"]["never_read"].as_u64().unwrap() > 0 && status["last_verify"].is_null());
    exits(house.esker(), ["status", "--host", "elsewhere"], 3);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert!(stdout(&exits(house.esker(), ["status", "--max-age", "0h"], 3)).contains("TOO OLD"));
    exits(house.esker(), ["snapshot", "data", "--command", "dump=false", "--optional", "dump"], 3);
    assert!(stdout(&exits(house.esker(), ["status"], 3)).contains("INCOMPLETE"));
}

#[test]
fn known_damage_is_21_until_it_is_gone() {
    let house = House::with_snapshot();
    exits(house.esker(), ["verify", "--max-age", "30d"], 0);
    let shown = stdout(&exits(house.esker(), ["status"], 0));
    assert!(shown.contains("all read back") && shown.contains("no damage") && shown.contains("verified"), "{shown}");
    assert!(stdout(&exits(house.esker(), ["snapshots"], 0)).contains("verified"));
    let mut packs = Vec::new();
    for folder in std::fs::read_dir(house.path("repo/packs")).unwrap() {
        packs.extend(std::fs::read_dir(folder.unwrap().path()).unwrap().map(|entry| entry.unwrap().path()));
    }
    for pack in &packs {
        std::fs::rename(pack, house.path(pack.file_name().unwrap())).unwrap();
    }
    exits(house.esker(), ["verify", "--no-record"], 21);
    exits(house.esker(), ["status"], 0);
    exits(house.esker(), ["verify"], 21);
    assert!(stdout(&exits(house.esker(), ["status"], 21)).contains("DAMAGED"));
    assert!(stdout(&exits(house.esker(), ["snapshots"], 0)).contains("DAMAGED"));
    for pack in &packs {
        std::fs::rename(house.path(pack.file_name().unwrap()), pack).unwrap();
    }
    exits(house.esker(), ["verify", "--read-data"], 0);
    exits(house.esker(), ["status"], 0);
}

#[test]
fn with_a_writer_key_it_says_what_it_can_and_what_not() {
    let house = House::with_repository();
    exits(house.esker(), ["key", "export", "--output", "writer.key"], 0);
    let writer = || {
        let mut command = house.esker();
        command.env_remove("ESKER_PASSWORD").env("ESKER_KEY_FILE", house.path("writer.key"));
        command
    };
    exits(writer(), ["status"], 3);
    house.write("data/a", b"a");
    exits(writer(), ["snapshot", "data"], 0);
    let shown = stdout(&exits(writer(), ["status", "--max-age", "1h"], 0));
    assert!(shown.contains("committed") && shown.contains("neither whether it is complete"), "{shown}");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    exits(writer(), ["status", "--max-age", "0h"], 3);
    // A run that failed committed nothing, and is not taken for one that did.
    exits(writer(), ["snapshot", "--command", "dump=false"], 4);
    let status = json(&exits(writer(), ["status", "--json"], 0).stdout);
    let known = json(&exits(house.esker(), ["snapshots", "--json"], 0).stdout);
    assert_eq!(status["newest"][0]["snapshot_id"], known[0]["id"]);
    assert!(status["newest"][0]["complete"].is_null());
    assert!(stderr(&exits(writer(), ["status", "--source", "data"], 2)).contains("writer key"));
}

#[test]
fn a_snapshot_may_be_pinned_as_it_is_taken_by_an_owner() {
    let house = House::with_snapshot();
    exits(house.esker(), ["snapshot", "data", "--keep"], 0);
    exits(house.esker(), ["snapshot", "data", "--keep-until", "30d"], 0);
    house.snapshot();
    exits(house.esker(), ["forget", "--keep-last", "1"], 0);
    let listed = json(&exits(house.esker(), ["snapshots", "--json"], 0).stdout);
    let kept: Vec<bool> = listed.as_array().unwrap().iter().map(|one| !one["kept"].is_null()).collect();
    assert_eq!(kept, [true, true, false]);
    exits(house.esker(), ["key", "export", "--output", "writer.key"], 0);
    let mut command = house.esker();
    command.env_remove("ESKER_PASSWORD").env("ESKER_KEY_FILE", house.path("writer.key"));
    exits(command, ["snapshot", "data", "--keep"], 12);
    assert_eq!(house.snapshot_count(), 3);
}
