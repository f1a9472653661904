//! What `doctor` tells of a store.

use super::common::{House, exits, json, stdout};

#[test]
fn doctor_store_needs_no_password_and_no_repository_and_leaves_nothing() {
    let house = House::new();
    std::fs::create_dir(house.path("empty")).unwrap();
    let said = stdout(&exits(house.bare(), ["-r", "empty", "doctor", "store"], 0));
    assert!(said.contains("class shared") && said.contains("exactly one won") && said.contains("no repository is there"), "{said}");
    let line = json(&exits(house.bare(), ["-r", "empty", "--json", "doctor", "store"], 0).stdout);
    assert_eq!((&line["class"], &line["fit"], &line["deletes"]), (&"shared".into(), &true.into(), &"work".into()));
    let left = std::fs::read_dir(house.path("empty/probe")).map_or(0, |entries| entries.count());
    assert_eq!(left, 0);
}

#[test]
fn doctor_alone_says_what_it_can_check() {
    let said = stdout(&exits(House::new().bare(), ["doctor"], 0));
    assert!(said.contains("esker doctor store"), "{said}");
}
