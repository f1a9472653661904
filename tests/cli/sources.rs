//! What goes into a snapshot.

use super::common::{House, exits, json, json_lines, stderr, stdout};

#[test]
fn one_snapshot_holds_directories_commands_and_standard_input() {
    let house = House::with_repository();
    house.write("data/a", b"a");
    let mut command = house.esker();
    command.write_stdin("from outside\n");
    let arguments = ["snapshot", "--dir", "files=data", "--command", "words=printf 'one two'", "--stdin", "pipe"];
    exits(command, arguments, 0);
    assert_eq!(stdout(&exits(house.esker(), ["dump", "latest:words"], 0)), "one two");
    assert_eq!(stdout(&exits(house.esker(), ["dump", "latest:pipe"], 0)), "from outside\n");
    assert_eq!(stdout(&exits(house.esker(), ["dump", "latest:files/a"], 0)), "a");
    let lines = json_lines(&exits(house.esker(), ["restore", "latest", "--target", "out", "--verify", "--json"], 0).stdout);
    let summary = lines.last().unwrap();
    assert_eq!((&summary["files_verified"], &summary["streams_verified"]), (&3.into(), &2.into()), "{summary}");
    assert!(stdout(&exits(house.esker(), ["snapshots"], 0)).contains("pipe (ended without status)"));
}

#[test]
fn a_command_sees_the_environment_but_no_secret() {
    let house = House::with_repository();
    let run = |more: &[&str], code: i32| {
        let mut command = house.esker();
        command.env("MYSQL_PWD", "x").env("DOCKER_HOST", "tcp://d").env("AWS_SECRET_ACCESS_KEY", "s3cret");
        exits(command, ["snapshot", "--command", "seen=env"].iter().chain(more), code)
    };
    let seen = || stdout(&exits(house.esker(), ["dump", "latest:seen"], 0));
    run(&[], 0);
    assert!(seen().contains("MYSQL_PWD=x\n") && seen().contains("DOCKER_HOST=tcp://d\n"), "{}", seen());
    assert!(!seen().contains("ESKER_") && !seen().contains("AWS_"), "{}", seen());
    // What is named is passed, unless it opens the repository; what is not there is said.
    run(&["--pass-env", "AWS_SECRET_ACCESS_KEY"], 0);
    assert!(seen().contains("AWS_SECRET_ACCESS_KEY=s3cret\n"), "{}", seen());
    assert!(stderr(&run(&["--pass-env", "ESKER_PASSWORD"], 2)).contains("passes it to no program"));
    assert!(stderr(&run(&["--pass-env", "NOT_SET"], 0)).contains("NOT_SET is not set"));
}

#[test]
fn a_failed_database_is_not_answered_with_the_advice_to_do_without_it() {
    let house = House::with_repository();
    house.write("data/a", b"a");
    let postgres = format!("database=host={} port=1", house.path("no-socket").display());
    let redis = format!("cache=unix:{}", house.path("no-socket").display());
    for source in [["--postgres", &postgres], ["--redis", &redis], ["--command", "words=false"]] {
        let said = stderr(&exits(house.esker(), ["snapshot", "data"].iter().chain(&source), 4));
        assert!(said.contains("hint: ") && !said.contains("--optional"), "{said}");
    }
    let missing = stderr(&exits(house.esker(), ["snapshot", "--command", "words=slapcat-not-there -n 1"], 4));
    assert!(missing.contains("not installed, or PATH does not lead to it"), "{missing}");
}

#[test]
fn a_stream_of_nothing_is_4() {
    let house = House::with_repository();
    let mut command = house.esker();
    command.write_stdin("");
    exits(command, ["snapshot", "--stdin", "pipe"], 4);
    exits(house.esker(), ["snapshot", "--command", "nothing=true"], 4);
    assert_eq!(house.snapshot_count(), 0);
}

#[test]
fn a_trailer_that_does_not_come_is_4() {
    let house = House::with_repository();
    for (input, code) in [("dump\n-- done\n", 0), ("dump\n-- do", 4)] {
        let mut command = house.esker();
        command.write_stdin(input);
        exits(command, ["snapshot", "--stdin", "pipe", "--stdin-trailer", "-- done\\n"], code);
    }
}

#[test]
fn a_repository_inside_a_source_is_left_out() {
    let house = House::with_repository();
    house.write("a.txt", b"a");
    let everything = house.path("");
    exits(
        house.esker(),
        [
            std::ffi::OsStr::new("snapshot"),
            "--dir".as_ref(),
            {
                let mut named = std::ffi::OsString::from("all=");
                named.push(&everything);
                named
            }
            .as_ref(),
        ],
        0,
    );
    let listed = stdout(&exits(house.esker(), ["ls", "-R", "latest"], 0));
    assert!(listed.contains("all/a.txt"), "{listed}");
    assert!(!listed.contains("repo/packs") && !listed.contains("repo/config"), "{listed}");
}

#[test]
fn what_is_excluded_is_not_there() {
    let house = House::with_repository();
    for name in ["data/keep.txt", "data/junk.tmp", "data/cache/deep/file", "data/list/x"] {
        house.write(name, b"x");
    }
    house.write("excludes", b"# a comment\n\nlist/\n");
    let arguments = ["snapshot", "data", "--exclude", "*.tmp", "--exclude", "/cache", "--exclude-file", "excludes"];
    exits(house.esker(), arguments, 0);
    assert_eq!(stdout(&exits(house.esker(), ["ls", "-R", "latest"], 0)), "data/\ndata/keep.txt\n");
    exits(house.esker(), ["snapshot", "data", "--exclude-file", "missing"], 2);
}

#[test]
fn a_dry_run_stores_nothing() {
    let house = House::with_repository();
    house.write("data/a", b"a");
    let output = exits(house.esker(), ["snapshot", "data", "--dry-run", "--json"], 0);
    assert!(json(&output.stdout)["snapshot_id"].is_null());
    assert_eq!(house.snapshot_count(), 0);
}

#[test]
fn snapshot_can_create_the_repository_first() {
    let house = House::new();
    house.write("data/a", b"a");
    exits(house.esker(), ["snapshot", "data"], 10);
    let output = exits(house.esker(), ["snapshot", "data", "--init", "--json"], 0);
    let lines = json_lines(&output.stdout);
    assert!(lines.iter().any(|line| line["recovery_key"].is_string()), "{lines:?}");
    exits(house.esker(), ["snapshot", "data", "--init"], 0);
    assert_eq!(house.snapshot_count(), 2);
}

#[test]
fn a_postgres_that_is_not_there_is_4_and_commits_nothing() {
    let house = House::with_repository();
    house.write("data/a", b"a");
    let postgres = format!("database=host={} port=1", house.path("no-socket").display());
    let output = exits(house.esker(), ["snapshot", "data", "--postgres", &postgres], 4);
    assert!(stderr(&output).contains("database"), "{}", stderr(&output));
    exits(house.esker(), ["snapshot", "data", "--redis", "cache=redis://127.0.0.1:1"], 4);
    assert_eq!(house.snapshot_count(), 0);
}

#[test]
fn a_sparse_file_of_100_gb_costs_neither_time_nor_room() {
    let house = House::with_repository();
    let path = house.write("data/disk.img", b"begins");
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    if file.set_len(100_000_000_000).is_err() {
        return;
    }
    let begun = std::time::Instant::now();
    let summary = json(&exits(house.esker(), ["snapshot", "data", "--json"], 0).stdout);
    assert_eq!(summary["total_bytes_processed"], 100_000_000_000_u64);
    assert!(summary["data_added_packed"].as_u64().unwrap() < 2_000_000, "{summary}");
    exits(house.esker(), ["restore", "latest", "--target", "out"], 0);
    assert_eq!(std::fs::metadata(house.path("out/data/disk.img")).unwrap().len(), 100_000_000_000);
    assert!(begun.elapsed().as_secs() < 60, "holes are not read");
}

/// Thirty thousand of them in an ordinary run; `ESKER_SOAK` makes it a whole million.
#[test]
fn a_million_tiny_files_need_little_memory_and_the_next_run_reads_none() {
    use std::os::unix::process::CommandExt;
    let (folders, files) = (100, if std::env::var_os("ESKER_SOAK").is_some() { 10_000 } else { 300 });
    let house = House::with_repository();
    for folder in 0..folders {
        let folder = house.path(format!("data/{folder:03}"));
        std::fs::create_dir_all(&folder).unwrap();
        for file in 0..files {
            std::fs::write(folder.join(file.to_string()), format!("{} {file}", folder.display())).unwrap();
        }
    }
    let all = folders * files;
    // Files as young as the snapshot are read again by the next one: their times may not tell a change.
    std::thread::sleep(std::time::Duration::from_secs(2));
    for (new, unmodified) in [(all, 0), (0, all)] {
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("esker"));
        command.env_clear().env("ESKER_REPOSITORY", house.path("repo")).env("ESKER_PASSWORD", super::common::PASSWORD);
        command.env("ESKER_CACHE_DIR", house.path("cache")).current_dir(house.path(".")).process_group(0);
        let mut child = command.args(["snapshot", "data", "--json"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
        // The kernel's own high-water mark, as long as the process stands.
        let status = format!("/proc/{}/status", child.id());
        let mut peak_kib = 0;
        while child.try_wait().unwrap().is_none() {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let mark = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
            peak_kib = peak_kib.max(mark.unwrap_or(0));
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let output = child.wait_with_output().unwrap();
        let summary = json(&output.stdout);
        assert_eq!((&summary["files_new"], &summary["files_unmodified"]), (&new.into(), &unmodified.into()), "{summary}");
        // The key of `init --kdf low` alone takes 64 MiB.
        assert!(peak_kib > 0 && peak_kib < 200 << 10, "{peak_kib} KiB");
    }
}
