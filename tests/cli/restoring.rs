//! `restore`, `ls`, `dump`, `diff`: what was asked for, what is missing, what would happen.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use super::common::*;

/// One complete snapshot, and an incomplete one after it that lacks the database.
fn with_incomplete() -> House {
    let house = House::with_repository();
    house.write("data/hello.txt", b"hello\n");
    let with = |command: &str| ["snapshot", "data", "--command", command, "--optional", "database"].map(str::to_owned);
    exits(house.esker(), with("database=echo rows"), 0);
    exits(house.esker(), with("database=false"), 3);
    house
}

#[test]
fn what_an_incomplete_snapshot_lacks_is_said_by_all_that_read_it() {
    let house = with_incomplete();
    let ids = json(&exits(house.esker(), ["snapshots", "--json"], 0).stdout);
    let complete = ids[0]["short_id"].as_str().unwrap().to_owned();
    let told = |arguments: &[&str], code| stderr(&exits(house.esker(), arguments, code));
    for (arguments, code) in [
        (&["restore", "latest", "--target", "out"][..], 3),
        (&["restore", "latest", "--target", "out", "-q"], 3),
        (&["ls", "latest"], 0),
        (&["dump", "latest:data/hello.txt"], 0),
        (&["restore", "latest:data", "--target", "part"], 0),
        // The reason is said before the error.
        (&["dump", "latest:database"], 1),
    ] {
        let told = told(arguments, code);
        assert!(told.contains("is incomplete: the source database is missing"), "{arguments:?}: {told}");
        assert!(told.contains(&format!("the last complete snapshot of these sources is {complete}")), "{arguments:?}: {told}");
    }
    let lines = json_lines(&exits(house.esker(), ["restore", "latest", "--target", "out", "--json"], 3).stdout);
    assert_eq!(lines[0]["message_type"], "incomplete");
    assert_eq!((&lines[0]["sources"][0], &lines[0]["affected"]), (&"database".into(), &true.into()));
    assert_eq!(told(&["restore", "latest~1", "--target", "whole", "-q"], 0), "");
}

#[test]
fn an_include_without_a_match_restores_nothing() {
    let house = House::with_snapshot();
    for patterns in [&["data/typo"][..], &["hello.txt", "nothing*"], &["data/hello[.]txt.bak"]] {
        let includes = patterns.iter().flat_map(|pattern| ["--include", pattern]);
        let arguments = ["restore", "latest", "--target", "out"].into_iter().chain(includes);
        let told = stderr(&exits(house.esker(), arguments, 1));
        assert!(told.contains("nothing was restored") && told.contains(patterns.last().unwrap()), "{told}");
        assert!(!house.path("out").exists());
    }
    // Two that match the same file have both matched.
    exits(house.esker(), ["restore", "latest", "--target", "out", "--include", "hello.txt", "--include", "/data/*.txt"], 0);
    assert!(house.path("out/data/hello.txt").exists() && !house.path("out/data/sub").exists());
    let told = stderr(&exits(house.esker(), ["restore", "latest", "--target", "out", "--exclude", "typo"], 0));
    assert!(told.contains("--exclude typo matched nothing"), "{told}");
}

#[test]
fn a_dry_run_says_what_would_be_done() {
    let house = House::with_repository();
    house.write("data/hello.txt", &[7; 5000]);
    let told = stdout(&exits(house.esker(), ["snapshot", "data", "-n"], 0));
    assert!(told.contains("KiB of new data (before compression)") && !told.contains("stored 0 B"), "{told}");
    house.snapshot();
    let told = stdout(&exits(house.esker(), ["restore", "latest", "--target", "out", "-n"], 0));
    assert!(told.contains("would restore snapshot") && told.contains("1 file would be written"), "{told}");
    assert!(!house.path("out").exists());
}

#[test]
fn an_unchanged_stream_is_not_new() {
    let house = House::with_repository();
    let counts = |content: &str| {
        let command = format!("stream=echo {content}");
        let out = exits(house.esker(), ["snapshot", "--command", &command, "--json"], 0);
        let summary = json_lines(&out.stdout).pop().unwrap();
        ["files_new", "files_changed", "files_unmodified"].map(|key| summary[key].as_u64().unwrap())
    };
    assert_eq!(counts("one"), [1, 0, 0]);
    assert_eq!(counts("one"), [0, 0, 1]);
    assert_eq!(counts("two"), [0, 1, 0]);
}

#[test]
fn a_file_as_young_as_the_snapshot_is_read_again_and_is_not_changed() {
    let house = House::with_repository();
    house.write("data/young.txt", b"young");
    let counts = || {
        let out = exits(house.esker(), ["snapshot", "data", "--json"], 0);
        let summary = json_lines(&out.stdout).pop().unwrap();
        ["files_new", "files_changed", "files_unmodified"].map(|key| summary[key].as_u64().unwrap())
    };
    assert_eq!(counts(), [1, 0, 0]);
    assert_eq!(counts(), [0, 0, 1]);
    house.write("data/young.txt", b"older");
    assert_eq!(counts(), [0, 1, 0]);
}

#[test]
fn a_snapshot_goes_back_to_where_it_was_taken_and_streams_are_named() {
    let house = House::with_repository();
    let odd = OsStr::from_bytes(b"odd \xff");
    let folder = house.path(odd);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a"), "odd").unwrap();
    house.write("data/sub/b", b"plain");
    let mut esker = house.esker();
    let mut named = std::ffi::OsString::from("odd=");
    named.push(odd);
    esker.arg("snapshot").arg("data").arg("--dir").arg(named).args(["--command", "stream=echo x"]).assert().code(0);
    fs::remove_dir_all(&folder).unwrap();
    house.write("data/sub/b", b"changed");
    // A question that nobody can answer.
    exits(house.esker(), ["restore", "latest", "--to-original"], 14);
    assert!(!folder.exists());
    let told = stderr(&exits(house.esker(), ["restore", "latest", "--to-original", "--yes"], 0));
    assert!(told.contains("stream is not restored") && told.contains("esker dump"), "{told}");
    assert_eq!(fs::read(folder.join("a")).unwrap(), b"odd");
    assert_eq!(fs::read(house.path("data/sub/b")).unwrap(), b"plain");
    house.write("data/sub/b", b"again");
    exits(house.esker(), ["restore", "latest:data/sub/b", "--to-original", "--yes"], 0);
    assert_eq!(fs::read(house.path("data/sub/b")).unwrap(), b"plain");
    exits(house.esker(), ["restore", "latest:stream", "--to-original", "--yes"], 2);
    exits(house.esker(), ["restore", "latest"], 2);
}

#[test]
fn a_single_file_goes_back_under_the_name_it_had_on_the_disk() {
    let house = House::with_repository();
    house.write("etc/app.conf", b"port = 1");
    house.write("etc/conf", b"another file");
    exits(house.esker(), ["snapshot", "--dir", "conf=etc/app.conf"], 0);
    house.write("etc/app.conf", b"port = 2");
    let told = stdout(&exits(house.esker(), ["restore", "latest", "--to-original", "-n"], 0));
    assert!(told.contains("etc/app.conf: 1 file would be written"), "{told}");
    for place in ["latest", "latest:conf"] {
        fs::remove_file(house.path("etc/app.conf")).unwrap();
        exits(house.esker(), ["restore", place, "--to-original", "--yes", "--verify"], 0);
        assert_eq!(fs::read(house.path("etc/app.conf")).unwrap(), b"port = 1");
        assert_eq!(fs::read(house.path("etc/conf")).unwrap(), b"another file");
    }
    let told = stdout(&exits(house.esker(), ["restore", "latest:conf", "--to-original", "--yes"], 0));
    assert!(told.contains("1 unchanged"), "{told}");
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_written() {
    let house = House::with_repository();
    let content: Vec<u8> = (0..3_000_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).take(3 << 20).collect();
    house.write("data/large", &content);
    house.snapshot();
    fs::rename(house.path("repo"), house.path("moved")).unwrap();
    // The small disk that there is a fixture for stands where the repository would.
    let Some(_disk) = house.small_disk("1m") else { return };
    let esker = || {
        let mut esker = house.esker();
        esker.env("ESKER_REPOSITORY", house.path("moved"));
        esker
    };
    let told = stderr(&exits(esker(), ["restore", "latest", "--target", "repo/out"], 1));
    assert!(told.contains("are needed") && told.contains("--no-space-check"), "{told}");
    assert!(!house.path("repo/out").exists());
    exits(esker(), ["restore", "latest", "--target", "repo/out", "--no-space-check"], 1);
    assert!(house.path("repo/out").exists());
}

#[test]
fn a_diff_shows_sizes_and_leaves_unchanged_streams_out() {
    let house = House::with_repository();
    house.write("data/hello.txt", b"hello\n");
    let take = || drop(exits(house.esker(), ["snapshot", "data", "--command", "stream=echo same"], 0));
    take();
    house.write("data/hello.txt", b"hello, longer\n");
    take();
    let told = stdout(&exits(house.esker(), ["diff", "latest~1", "latest"], 0));
    assert!(told.contains("M  data/hello.txt  (6 B -> 14 B)"), "{told}");
    assert!(!told.contains("stream"), "{told}");
    let lines = json_lines(&exits(house.esker(), ["diff", "latest~1", "latest", "--json"], 0).stdout);
    assert_eq!((&lines[0]["size_before"], &lines[0]["size_after"]), (&6.into(), &14.into()));
}

#[test]
fn in_a_diff_what_could_not_be_taken_is_not_removed() {
    let house = with_incomplete();
    let told = stdout(&exits(house.esker(), ["diff", "latest~1", "latest"], 0));
    assert!(told.contains("?  database  (not removed: its source failed)"), "{told}");
    assert!(!told.contains("-  database") && told.contains("0 removed") && told.contains("1 not taken the second time"), "{told}");
}

#[test]
fn in_a_diff_what_was_left_out_is_not_removed() {
    let house = House::with_snapshot();
    house.write("data/hello.tmp", b"x");
    house.snapshot();
    exits(house.esker(), ["snapshot", "data", "--exclude", "*.tmp"], 0);
    let told = stdout(&exits(house.esker(), ["diff", "latest~1", "latest"], 0));
    assert!(told.contains("?  data/hello.tmp  (not removed: the snapshot leaves it out by a pattern)"), "{told}");
    assert!(told.contains("0 removed"), "{told}");
}
