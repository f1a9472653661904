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
    assert!(shown.ends_with("\nOK\n"), "{shown}");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    exits(writer(), ["status", "--max-age", "0h"], 3);
    // A run that failed committed nothing, and is not taken for one that did.
    exits(writer(), ["snapshot", "--command", "dump=false"], 4);
    let shown = stdout(&exits(writer(), ["status"], 3));
    assert!(shown.contains("NOT OK") && shown.contains("the last run on this machine") && shown.contains("dump"), "{shown}");
    let status = json(&exits(writer(), ["status", "--json"], 3).stdout);
    assert_eq!(status["last_run"]["exit_code"], 4, "{status}");
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

#[test]
fn an_incomplete_snapshot_is_shown_with_its_reasons_and_the_last_complete_one_and_a_good_day_ends_with_ok() {
    let house = House::with_snapshot();
    let shown = stdout(&exits(house.esker(), ["status"], 0));
    assert!(shown.ends_with("\nOK\n"), "{shown}");
    let complete = json(&exits(house.esker(), ["snapshots", "--json"], 0).stdout)[0]["short_id"].clone();
    exits(house.esker(), ["snapshot", "data", "--command", "dump=false", "--optional", "dump"], 3);
    let shown = stdout(&exits(house.esker(), ["status", "--group-by", "host"], 3));
    let last = shown.lines().last().unwrap();
    assert!(last.starts_with("NOT OK") && last.contains("dump") && last.contains(complete.as_str().unwrap()), "{shown}");
    let status = json(&exits(house.esker(), ["status", "--group-by", "host", "--json"], 3).stdout);
    assert!(status["newest"][0]["incomplete_reasons"][0].as_str().unwrap().contains("dump"));
    assert_eq!(status["problems"].as_array().unwrap().len(), 1);
}

#[test]
fn a_failed_run_is_recorded_with_its_reason_shown_until_the_next_good_one_and_is_no_snapshot() {
    let house = House::with_snapshot();
    exits(house.esker(), ["snapshot", "--host", "db1", "--command", "dump=false"], 4);
    let shown = stdout(&exits(house.esker(), ["status"], 3));
    assert!(shown.contains("last failed run of db1") && shown.contains("NOT OK") && shown.contains("dump"), "{shown}");
    exits(house.esker(), ["status", "--host", "elsewhere"], 3);
    let failed = json(&exits(house.esker(), ["snapshots", "--failed", "--json"], 0).stdout);
    assert_eq!((failed.as_array().unwrap().len(), &failed[0]["hostname"]), (1, &"db1".into()));
    assert!(stdout(&exits(house.esker(), ["snapshots", "--failed"], 0)).contains("dump"));
    let stats = json(&exits(house.esker(), ["stats", "--json"], 0).stdout);
    assert_eq!(stats["snapshots_count"], 1);
    assert_eq!((&stats["objects"]["snapshots"]["count"], &stats["objects"]["failed_runs"]["count"]), (&1.into(), &1.into()));
    exits(house.esker(), ["snapshot", "--host", "db1", "data"], 0);
    let status = json(&exits(house.esker(), ["status", "--json"], 0).stdout);
    assert_eq!(status["failed_runs"][0]["is_last_run"], false, "it is still shown");
    exits(house.esker(), ["prune"], 0);
    assert_eq!(stdout(&exits(house.esker(), ["snapshots", "--failed"], 0)).lines().count(), 2, "a fence stays");
}

#[test]
fn a_group_whose_sources_a_newer_snapshot_holds_raises_no_alarm_and_one_without_does() {
    let house = House::with_snapshot();
    house.write("other/b", b"b");
    std::thread::sleep(std::time::Duration::from_millis(2100));
    exits(house.esker(), ["snapshot", "data", "other"], 0);
    let newest = |code| {
        let status = json(&exits(house.esker(), ["status", "--max-age", "0h", "--json"], code).stdout);
        let silent = |group: &serde_json::Value| (group["sources"].as_array().unwrap().len(), group["silent"].clone());
        status["newest"].as_array().unwrap().iter().map(silent).collect::<Vec<_>>()
    };
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(newest(3), [(1, "superseded".into()), (2, serde_json::Value::Null)]);
    assert!(!stdout(&exits(house.esker(), ["status"], 0)).contains("TOO OLD"));
    // The other way round nothing is superseded: the newer snapshot lacks a source.
    exits(house.esker(), ["snapshot", "other"], 0);
    let status = json(&exits(house.esker(), ["status", "--json"], 0).stdout);
    assert!(
        status["newest"]
            .as_array()
            .unwrap()
            .iter()
            .any(|group| group["sources"] == serde_json::json!(["data", "other"]) && group["silent"].is_null())
    );
}

#[test]
fn a_list_says_what_each_run_stored_and_how_long_it_took() {
    let house = House::with_snapshot();
    house.snapshot();
    let listed = json(&exits(house.esker(), ["snapshots", "--json"], 0).stdout);
    let added = |place: usize| listed[place]["bytes_added"].as_u64().unwrap();
    assert!(added(0) > added(1), "the second run found its data stored: {listed}");
    assert!(listed[0]["duration"].as_f64().unwrap() > 0.0);
    let shown = stdout(&exits(house.esker(), ["snapshots"], 0));
    assert!(shown.contains("Added") && shown.contains("Took"), "{shown}");
}
