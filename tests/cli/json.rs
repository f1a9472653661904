//! What scripts read: fields that are there, and a standard output that carries nothing but the result.

use serde_json::Value;

use super::common::{House, exits, json, json_lines, text};

fn has(value: &Value, fields: &[&str]) {
    for field in fields {
        assert!(!value[field].is_null(), "{field} is not in {value}");
    }
}

#[test]
fn snapshot_ends_with_a_summary() {
    let house = House::with_repository();
    house.write("data/a.txt", &[b'a'; 10_000]);
    let output = exits(house.esker(), ["snapshot", "data", "--command", "words=echo hello", "--json"], 0);
    let lines = json_lines(&output.stdout);
    assert_eq!(lines.len(), 1, "nothing but the result");
    let summary = &lines[0];
    assert_eq!(summary["message_type"], "summary");
    has(
        summary,
        &[
            "snapshot_id",
            "files_new",
            "files_changed",
            "files_unmodified",
            "dirs_new",
            "data_blobs",
            "data_added",
            "data_added_packed",
            "total_files_processed",
            "total_bytes_processed",
            "total_duration",
            "sources",
            "incomplete",
        ],
    );
    assert_eq!(summary["files_new"], 2);
    assert_eq!(summary["total_bytes_processed"], 10_006);
    assert_eq!(summary["incomplete"], false);
    let sources = summary["sources"].as_array().unwrap();
    assert_eq!(sources.len(), 2);
    for source in sources {
        has(source, &["name", "kind", "status", "bytes", "duration"]);
        assert_eq!(source["status"], "ok");
    }
    // Everything on standard error is JSON too.
    json_lines(&output.stderr);
}

#[test]
fn a_second_snapshot_of_the_same_adds_no_data() {
    let house = House::with_snapshot();
    let output = exits(house.esker(), ["snapshot", "data", "--json"], 0);
    let summary = json(&output.stdout);
    assert_eq!((&summary["data_blobs"], &summary["data_added"]), (&0.into(), &0.into()), "{summary}");
    assert_eq!(summary["files_new"], 0);
}

#[test]
fn snapshots_is_one_array() {
    let house = House::with_repository();
    assert_eq!(json(&exits(house.esker(), ["snapshots", "--json"], 0).stdout), Value::Array(Vec::new()));
    house.write("data/a", b"abc");
    exits(house.esker(), ["snapshot", "data", "--tag", "nightly", "--tag", "a", "--tag", "nightly", "--host", "auth01"], 0);
    let listed = json(&exits(house.esker(), ["snapshots", "--json"], 0).stdout);
    let one = &listed[0];
    has(one, &["id", "short_id", "time", "hostname", "tags", "sources", "complete", "total_bytes"]);
    assert_eq!(one["hostname"], "auth01");
    assert_eq!(one["tags"], serde_json::json!(["a", "nightly"]));
    assert_eq!(one["sources"][0], "data");
    assert_eq!(one["complete"], true);
    assert_eq!(one["total_bytes"], 3);
    assert!(one["id"].as_str().unwrap().starts_with(one["short_id"].as_str().unwrap()));
    for (filter, count) in [("nightly", 1), ("weekly", 0)] {
        let listed = json(&exits(house.esker(), ["snapshots", "--json", "--tag", filter], 0).stdout);
        assert_eq!(listed.as_array().unwrap().len(), count, "{filter}");
    }
}

#[test]
fn verify_ends_with_a_summary() {
    let house = House::with_snapshot();
    let lines = json_lines(&exits(house.esker(), ["verify", "--read-data", "--json"], 0).stdout);
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["message_type"], "summary");
    has(&lines[0], &["findings", "packs_read", "bytes_read", "snapshots_checked"]);
    assert_eq!(lines[0]["findings"], 0);
    assert_eq!(lines[0]["snapshots_checked"], 1);
    assert!(lines[0]["packs_read"].as_u64().unwrap() > 0);
}

#[test]
fn an_error_is_an_object_on_standard_error() {
    let house = House::new();
    let output = exits(house.esker(), ["snapshots", "--json"], 10);
    assert_eq!(text(&output.stdout), "");
    let lines = json_lines(&output.stderr);
    let error = lines.last().unwrap();
    assert_eq!((&error["message_type"], &error["code"]), (&"exit_error".into(), &10.into()));
    has(error, &["message", "hint"]);
}

#[test]
fn restore_ls_find_diff_and_stats_speak_json() {
    let house = House::with_snapshot();
    let restored = json(&exits(house.esker(), ["restore", "latest", "--target", "out", "--json"], 0).stdout);
    assert_eq!((&restored["message_type"], &restored["files_restored"]), (&"summary".into(), &2.into()));
    let listed = json_lines(&exits(house.esker(), ["ls", "-R", "latest", "--json"], 0).stdout);
    let paths: Vec<_> = listed.iter().map(|node| node["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["data", "data/hello.txt", "data/sub", "data/sub/inner.txt"]);
    has(&listed[1], &["name", "type", "mode", "uid", "gid", "size", "mtime"]);
    let found = json_lines(&exits(house.esker(), ["find", "inner*", "--json"], 0).stdout);
    assert_eq!((found.len(), &found[0]["path"]), (1, &"data/sub/inner.txt".into()));
    house.write("data/more", b"more");
    house.snapshot();
    let changes = json_lines(&exits(house.esker(), ["diff", "latest~1", "latest", "--json"], 0).stdout);
    assert_eq!((&changes[0]["modifier"], &changes[0]["path"]), (&"+".into(), &"data/more".into()));
    assert_eq!((changes.len(), &changes[1]["added"]), (2, &1.into()), "{changes:?}");
    let stats = json(&exits(house.esker(), ["stats", "--json"], 0).stdout);
    assert_eq!(stats["snapshots_count"], 2);
    assert!(stats["stored_size"].as_u64().unwrap() > 0);
}
