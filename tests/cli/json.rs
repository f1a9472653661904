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

/// The reference of fields, as it is published.
const REFERENCE: &str = include_str!("../../docs/json.md");

/// Every name of a field in `value`; what is keyed by a store's folder or by the config file is data, not a field.
fn fields<'a>(value: &'a Value, into: &mut std::collections::BTreeSet<&'a str>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| fields(value, into)),
        Value::Object(object) => {
            for (name, value) in object {
                into.insert(name);
                if !["objects", "settings"].contains(&name.as_str()) {
                    fields(value, into);
                }
            }
        }
        _ => {}
    }
}

/// The part of the page below a heading.
fn section(heading: &str) -> &'static str {
    let (_, rest) = REFERENCE.split_once(&format!("\n## {heading}\n")).unwrap();
    rest.split_once("\n## ").map_or(rest, |(section, _)| section)
}

/// The rows of the table of commands: the names in the first cell, and the whole row.
fn rows() -> Vec<(Vec<String>, &'static str)> {
    let mut rows = Vec::new();
    for row in section("Commands").lines().filter(|line| line.starts_with("| `")) {
        let cell = row.trim_start_matches("| ").split(" | ").next().unwrap();
        let mut names: Vec<String> = Vec::new();
        for name in cell.split('`').skip(1).step_by(2) {
            // `key add`, `remove`: the second stands for `key remove`.
            let group = names.first().and_then(|first| first.split_once(' ')).map(|(group, _)| group.to_owned());
            names.push(match group {
                Some(group) if !name.contains(' ') => format!("{group} {name}"),
                _ => name.to_owned(),
            });
        }
        rows.push((names, row));
    }
    rows
}

/// What the page says of a command: its own row, the rows that this one refers to, and what holds for every command.
fn reference_of(words: &[&str]) -> String {
    let rows = rows();
    let row_of = |name: &str| rows.iter().find(|(names, _)| names.iter().any(|other| other == name)).map(|(_, row)| *row);
    let row = (1..=words.len()).rev().find_map(|count| row_of(&words[..count].join(" ")));
    let row = row.unwrap_or_else(|| panic!("docs/json.md has no row of {words:?}"));
    let mut text = format!("`message_type` {} {row}", section("Rules for every command"));
    for name in row.split('`').skip(1).step_by(2) {
        let name = if name == "node" { "ls" } else { name.split(" --").next().unwrap() };
        text += row_of(name).unwrap_or_default();
    }
    if row.contains("snapshots") {
        text += section("A snapshot");
    }
    text
}

#[test]
fn the_reference_has_every_command() {
    let help = text(&exits(House::new().bare(), ["help"], 0).stdout);
    let list = help.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let commands = list
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .map(|line| line.split_whitespace().next().unwrap());
    let rows = rows();
    for command in commands.filter(|command| !["dump", "completions", "man", "help"].contains(command)) {
        let stands = |name: &String| name == command || name.starts_with(&format!("{command} "));
        assert!(rows.iter().any(|(names, _)| names.iter().any(stands)), "docs/json.md has no row of {command}");
    }
}

#[test]
fn every_field_that_a_command_prints_is_in_its_row_of_the_reference() {
    let house = House::with_snapshot();
    for arguments in [
        &["snapshot", "data"][..],
        &["snapshots"],
        &["ls", "-R", "latest"],
        &["find", "*.txt"],
        &["diff", "latest~1", "latest"],
        &["restore", "latest", "--target", "out"],
        &["verify", "--read-data"],
        &["status"],
        &["stats"],
        &["key", "list"],
        &["key", "export", "--writer"],
        &["cache", "path"],
        &["guard"],
        &["doctor"],
        &["mirror", "second"],
        &["repair", "index"],
        &["repair", "packs"],
        &["repair", "snapshots"],
        &["parity", "add"],
        &["recover"],
        &["unlock"],
        &["tag", "--add", "x", "latest"],
        &["forget", "--keep-last", "1"],
        &["undelete"],
        &["prune"],
    ] {
        let mut esker = house.esker();
        esker.arg("--json");
        let lines = json_lines(&exits(esker, arguments, 0).stdout);
        assert!(!lines.is_empty(), "esker {arguments:?} --json prints nothing");
        let words: Vec<&str> = arguments.iter().copied().take_while(|word| word.chars().all(|c| c.is_ascii_lowercase())).collect();
        let reference = reference_of(&words);
        let mut found = std::collections::BTreeSet::new();
        for line in &lines {
            fields(line, &mut found);
            found.extend(line["message_type"].as_str());
        }
        for name in found {
            assert!(
                ["", "[]"].iter().any(|list| reference.contains(&format!("`{name}{list}`"))),
                "docs/json.md does not say what {name} of esker {arguments:?} means"
            );
        }
    }
}
