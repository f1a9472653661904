//! The keys of the config file are those of `docs/config.md`, and all of them stand in the example.

use std::collections::{BTreeMap, BTreeSet};

use super::file::parsed;

const PAGE: &str = include_str!("../../../../docs/config.md");
const EXAMPLE: &str = include_str!("../../../../examples/esker.toml");

/// The keys in the table of each heading.
fn documented() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let mut tables: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    let mut heading = "";
    for line in PAGE.lines() {
        if let Some(text) = line.strip_prefix("## ") {
            heading = text.trim_matches('`');
        } else if let Some(key) = line.strip_prefix("| `").and_then(|rest| rest.split_once('`')) {
            tables.entry(heading).or_default().insert(key.0);
        }
    }
    tables
}

/// The keys that the parser takes in a table, out of its own complaint about one that it does not.
fn taken(heading: &str) -> BTreeSet<String> {
    let text = match heading {
        "Top of the file" => "no-such-key = 1".to_owned(),
        "[[source]]" => "[[source]]\nno-such-key = 1".to_owned(),
        "[[monitor.message]]" => "[[monitor.message]]\nwhen = []\nno-such-key = 1".to_owned(),
        "[source.redis]" => "[[source]]\n[source.redis]\nurl = 'redis://x'\nno-such-key = 1".to_owned(),
        source if source.starts_with("[source.") => format!("[[source]]\n{source}\nno-such-key = 1"),
        table => format!("{table}\nno-such-key = 1"),
    };
    let complaint = parsed(&text).unwrap_err();
    let list = complaint.split_once("expected").unwrap_or_else(|| panic!("{heading}: {complaint}")).1;
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_key_that_the_parser_takes_is_documented_and_no_other() {
    let documented = documented();
    assert!(documented.len() >= 9, "{documented:?}");
    for (heading, keys) in &documented {
        let mut taken = taken(heading);
        if *heading == "Top of the file" {
            // Taken out before the rest is looked at.
            taken.insert("profile".to_owned());
        }
        let keys: BTreeSet<String> = keys.iter().map(|&key| key.to_owned()).collect();
        assert_eq!(keys, taken, "{heading}");
    }
}

#[test]
fn every_table_has_a_heading_of_its_own() {
    let documented = documented();
    for (table, keys) in [("source", &documented["[[source]]"]), ("", &documented["Top of the file"])] {
        for key in keys {
            let path = if table.is_empty() { (*key).to_owned() } else { format!("{table}.{key}") };
            let is_table = !matches!(*key, "option" | "profile" | "source") && parsed(&format!("[{path}]")).is_ok();
            let in_list = table == "source" && parsed(&format!("[[source]]\nname = 'x'\n[{path}]")).is_ok();
            if is_table || in_list {
                assert!(documented.contains_key(format!("[{path}]").as_str()) || path == "source.hooks", "[{path}]");
            }
        }
    }
}

#[test]
fn every_key_stands_in_the_example() {
    for (heading, keys) in documented() {
        for key in keys {
            let stands = EXAMPLE.lines().map(|line| line.trim_start_matches(['#', ' '])).any(|line| {
                let name = line.trim_start_matches('[').trim_end_matches(']');
                line.starts_with(&format!("{key} ="))
                    || (line.starts_with('[') && (name == key || name.split('.').any(|part| part.trim_end_matches(']') == key)))
            });
            assert!(stands, "{key} of {heading}");
        }
    }
}
