//! Looking inside: names as they are, and never as a terminal would obey them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::common::{House, exits, json_lines, stderr, stdout};

#[test]
fn names_with_escapes_and_names_that_are_not_utf_8_are_shown_escaped() {
    let house = House::with_repository();
    house.write(OsStr::from_bytes(b"data/\x1b[2Jclear"), b"1");
    house.write(OsStr::from_bytes(b"data/latin1-\xe9"), b"2");
    house.write("data/exe\u{202e}gpj.scr", b"3");
    let verbose = exits(house.esker(), ["snapshot", "-v", "data"], 0);
    let listed = exits(house.esker(), ["ls", "-R", "latest"], 0);
    let found = exits(house.esker(), ["find", "*"], 0);
    for shown in [stderr(&verbose), stdout(&listed), stdout(&found)] {
        assert!(shown.contains("\\x1b[2Jclear"), "{shown}");
        assert!(shown.contains("latin1-\\xe9"), "{shown}");
        assert!(shown.contains("\\u{202e}"), "{shown}");
        assert!(!shown.contains('\x1b') && !shown.contains('\u{202e}'));
    }
    let nodes = json_lines(&exits(house.esker(), ["ls", "latest:data", "--json"], 0).stdout);
    assert!(nodes.iter().any(|node| node["name_hex"] == "6c6174696e312de9"), "{nodes:?}");
    let dumped = exits(house.esker(), [OsStr::new("dump"), OsStr::from_bytes(b"latest:data/latin1-\xe9")], 0);
    assert_eq!(dumped.stdout, b"2");
}

#[test]
fn what_was_stored_comes_back() {
    let house = House::with_snapshot();
    exits(house.esker(), ["restore", "latest", "--target", "out"], 0);
    assert_eq!(std::fs::read(house.path("out/data/sub/inner.txt")).unwrap(), b"inner\n");
    exits(house.esker(), ["restore", "latest:data/sub", "--target", "part", "--verify"], 0);
    assert_eq!(std::fs::read(house.path("part/inner.txt")).unwrap(), b"inner\n");
    assert_eq!(stdout(&exits(house.esker(), ["dump", "latest:data/hello.txt"], 0)), "hello\n");
    exits(house.esker(), ["restore", "latest", "--target", "none", "--dry-run"], 0);
    assert!(!house.path("none").exists());
}

#[test]
fn diff_shows_what_was_added_removed_and_changed() {
    let house = House::with_snapshot();
    house.write("data/new/file", b"new");
    house.write("data/hello.txt", b"changed\n");
    std::fs::remove_dir_all(house.path("data/sub")).unwrap();
    house.snapshot();
    let shown = stdout(&exits(house.esker(), ["diff", "latest~1", "latest"], 0));
    for line in ["M  data/hello.txt  (6 B -> 8 B)", "+  data/new/", "+  data/new/file", "-  data/sub/", "-  data/sub/inner.txt"] {
        assert!(shown.lines().any(|shown| shown == line), "{line:?} is not in:\n{shown}");
    }
    let same = stdout(&exits(house.esker(), ["-q", "diff", "latest", "latest"], 0));
    assert_eq!(same, "");
    let inside = stdout(&exits(house.esker(), ["diff", "latest~1:data/sub", "latest:data/new"], 0));
    assert!(inside.contains("-  inner.txt") && inside.contains("+  file"), "{inside}");
}

#[test]
fn ls_shows_one_level_unless_asked_for_all() {
    let house = House::with_snapshot();
    assert_eq!(stdout(&exits(house.esker(), ["ls", "latest"], 0)), "data/\n");
    assert_eq!(stdout(&exits(house.esker(), ["ls", "latest:data"], 0)), "data/hello.txt\ndata/sub/\n");
    assert_eq!(stdout(&exits(house.esker(), ["ls", "latest:data/hello.txt"], 0)), "data/hello.txt\n");
    let long = stdout(&exits(house.esker(), ["ls", "-l", "latest:data"], 0));
    assert!(long.starts_with("-rw"), "{long}");
}

#[test]
fn quiet_says_nothing_and_verbose_names_every_file() {
    let house = House::with_repository();
    house.write("data/one", b"1");
    let quiet = exits(house.esker(), ["-q", "snapshot", "data"], 0);
    assert_eq!((stdout(&quiet), stderr(&quiet)), (String::new(), String::new()));
    house.write("data/two", b"2");
    let verbose = stderr(&exits(house.esker(), ["-v", "snapshot", "data"], 0));
    assert!(verbose.contains("data/two"), "{verbose}");
}

#[test]
fn the_cache_may_be_cleared_at_any_time() {
    let house = House::with_snapshot();
    let place = stdout(&exits(house.esker(), ["cache", "path"], 0));
    assert!(place.trim_end().starts_with(house.path("cache").to_str().unwrap()), "{place}");
    exits(house.esker(), ["cache", "clear"], 0);
    assert_eq!(stdout(&exits(house.esker(), ["dump", "latest:data/hello.txt"], 0)), "hello\n");
    exits(house.esker(), ["verify", "--read-data"], 0);
}
