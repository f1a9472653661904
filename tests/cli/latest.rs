//! Which snapshot `latest` means, and that the one that was chosen is named.

use super::common::{House, exits, json, stderr, stdout};

/// Snapshots of two hosts; the one of `web1` is newer.
fn two_hosts() -> House {
    let house = House::with_repository();
    house.write("data/a", b"a");
    house.write("other/b", b"b");
    exits(house.esker(), ["snapshot", "--host", "db1", "--tag", "nightly", "data"], 0);
    exits(house.esker(), ["snapshot", "--host", "web1", "other"], 0);
    house
}

#[test]
fn a_host_a_tag_and_a_source_narrow_latest_and_what_was_chosen_is_said() {
    let house = two_hosts();
    for (flag, value) in [("--host", "db1"), ("--tag", "nightly"), ("--source", "data")] {
        let listed = exits(house.esker(), ["ls", "latest", flag, value], 0);
        assert_eq!(stdout(&listed), "data/\n", "{flag}");
        assert!(stderr(&listed).contains("of host db1") && stderr(&listed).contains("sources data"), "{}", stderr(&listed));
        assert_eq!(stdout(&exits(house.esker(), ["dump", "latest:data/a", flag, value], 0)), "a");
        exits(house.esker(), ["restore", "latest", "--target", "back", flag, value], 0);
        exits(house.esker(), ["diff", "latest", "latest", flag, value], 0);
        exits(house.esker(), ["verify", "-s", "latest", flag, value], 0);
        exits(house.esker(), ["repair", "snapshots", "-n", "latest", flag, value], 0);
        let stats = json(&exits(house.esker(), ["stats", "--json", "latest", flag, value], 0).stdout);
        assert_eq!(stats["snapshots_count"], 1);
        exits(house.esker(), ["tag", &format!("--comment={flag}"), "latest", flag, value], 0);
        let known = json(&exits(house.esker(), ["snapshots", "--json", "latest", flag, value], 0).stdout);
        assert_eq!((&known[0]["hostname"], &known[0]["comment"]), (&"db1".into(), &flag.into()));
    }
    assert!(stderr(&exits(house.esker(), ["ls", "latest"], 0)).contains("of host web1"));
    assert_eq!(stderr(&exits(house.esker(), ["ls", "-q", "latest"], 0)), "");
    exits(house.esker(), ["ls", "latest~1", "--host", "db1"], 1);
    let none = stderr(&exits(house.esker(), ["ls", "latest", "--host", "db2"], 1));
    assert!(none.contains("--host db2") && none.contains("esker snapshots"), "{none}");
    exits(house.esker(), ["forget", "latest", "--host", "db1"], 0);
    assert!(stdout(&exits(house.esker(), ["snapshots"], 0)).contains("web1"));
}

#[test]
fn an_id_that_is_not_of_the_host_that_was_asked_for_is_refused() {
    let house = two_hosts();
    let known = json(&exits(house.esker(), ["snapshots", "--json", "--host", "web1"], 0).stdout);
    let id = known[0]["short_id"].as_str().unwrap();
    exits(house.esker(), ["ls", id, "--host", "web1"], 0);
    assert!(stderr(&exits(house.esker(), ["restore", id, "--host", "db1", "--target", "back"], 1)).contains("--host db1"));
    assert!(!house.path("back").exists());
}

#[test]
fn with_a_config_latest_is_the_newest_of_its_host_that_holds_its_sources() {
    let house = two_hosts();
    let config = |host: &str, source: &str| {
        let text = format!("host = {host:?}\n[[source]]\ndirectory = \"{source}\"\n");
        house.write("esker.toml", text.as_bytes());
    };
    let ls = |code| exits(house.esker(), ["--config", "esker.toml", "ls", "latest"], code);
    config("db1", "data");
    assert_eq!(stdout(&ls(0)), "data/\n");
    // The same host has another configuration; its snapshots are newer and not what this one is about.
    exits(house.esker(), ["snapshot", "--host", "db1", "other"], 0);
    assert_eq!(stdout(&ls(0)), "data/\n");
    assert_eq!(stdout(&exits(house.esker(), ["--config", "esker.toml", "ls", "latest", "--source", "other"], 0)), "other/\n");
    config("db1", "elsewhere");
    assert!(stderr(&ls(1)).contains("data, other"), "what there is instead is named");
}

#[test]
fn on_a_new_machine_the_only_host_is_taken_and_said_and_several_have_to_be_chosen_from() {
    let house = House::with_repository();
    house.write("data/a", b"a");
    exits(house.esker(), ["snapshot", "--host", "auth01", "data"], 0);
    house.write("esker.toml", b"host = \"auth02\"\n[[source]]\ndirectory = \"data\"\n");
    let restore = |code, more: &[&str]| {
        let arguments = ["--config", "esker.toml", "restore", "latest", "--target", "back"];
        exits(house.esker(), arguments.iter().chain(more).copied(), code)
    };
    let said = stderr(&restore(0, &[]));
    assert!(said.contains("there is no snapshot of host auth02") && said.contains("auth01"), "{said}");
    exits(house.esker(), ["snapshot", "--host", "auth03", "data"], 0);
    let refused = stderr(&restore(1, &[]));
    assert!(refused.contains("auth01, auth03") && refused.contains("--host"), "{refused}");
    restore(0, &["--host", "auth01"]);
}
