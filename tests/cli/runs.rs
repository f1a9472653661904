//! Around a run: one at a time, hooks, the log file, output only on failure.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};

use super::common::{House, PASSWORD, exits, json, stderr, stdout};

/// A run that stays in a source until `go` is there, begun.
fn slow_run(house: &House, arguments: &[&str]) -> Child {
    let child = std::process::Command::new(house.esker().get_program())
        .args(arguments)
        .arg("snapshot")
        .args(["--command", "slow=sh -c 'echo begun; touch begun; while [ ! -e go ]; do sleep 0.05; done'"])
        .env_clear()
        .envs([("ESKER_REPOSITORY", house.path("repo")), ("ESKER_CACHE_DIR", house.path("cache")), ("HOME", house.path(""))])
        .env("ESKER_PASSWORD", PASSWORD)
        .env("PATH", std::env::var_os("PATH").unwrap())
        .current_dir(house.path(""))
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(&house.path("begun"));
    child
}

fn wait_for(path: &Path) {
    for _ in 0..1200 {
        if path.exists() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(25));
    }
    panic!("{} did not come", path.display());
}

fn read(house: &House, name: &str) -> String {
    std::fs::read_to_string(house.path(name)).unwrap_or_default()
}

#[test]
fn a_second_snapshot_of_a_host_ends_at_once_and_says_which_process_runs() {
    let house = House::with_repository();
    house.write("data/a", b"a");
    let mut first = slow_run(&house, &[]);
    let message = stderr(&exits(house.esker(), ["snapshot", "data"], 1));
    for word in ["another snapshot", &format!("process {}", first.id()), "since 20", "--allow-overlap"] {
        assert!(message.contains(word), "{word}: {message}");
    }
    // Another host, a dry run, and who says so.
    exits(house.esker(), ["snapshot", "data", "--host", "other"], 0);
    exits(house.esker(), ["snapshot", "data", "--dry-run"], 0);
    exits(house.esker(), ["snapshot", "data", "--allow-overlap"], 0);
    // By another name of the repository too.
    std::os::unix::fs::symlink(house.path("repo"), house.path("link")).unwrap();
    exits(house.esker(), ["-r", "link", "snapshot", "data"], 1);
    exits(house.esker(), ["snapshot", "data", "--wait-lock", "300ms"], 1);
    house.write("go", b"");
    exits(house.esker(), ["snapshot", "data", "--wait-lock", "1m"], 0);
    assert!(first.wait().unwrap().success());
}

#[test]
fn a_killed_run_leaves_no_lock() {
    let house = House::with_repository();
    house.write("data/a", b"a");
    let mut first = slow_run(&house, &[]);
    first.kill().unwrap();
    first.wait().unwrap();
    house.write("go", b"");
    exits(house.esker(), ["snapshot", "data"], 0);
}

const HOOKS: &str = r#"
[hooks]
before = ["sh", "-c", "echo before $ESKER_COMMAND >> ran; echo from-the-hook"]
on-error = "sh -c 'echo error $ESKER_EXIT_CODE >> ran'"
after = [["sh", "-c", "echo after $ESKER_EXIT_CODE $ESKER_SNAPSHOT_ID >> ran"], ["sh", "-c", "env >> environment"]]
[[source]]
directory = "data"
[source.hooks]
before = "sh -c 'echo source before $ESKER_SOURCE >> ran'"
after = "sh -c 'echo source after $ESKER_SOURCE $ESKER_SOURCE_STATUS >> ran'"
on-error = "sh -c 'echo source error $ESKER_SOURCE >> ran'"
"#;

#[test]
fn hooks_run_around_the_run_and_around_a_source() {
    let house = House::with_repository();
    house.write("data/a", b"a");
    house.write("esker.toml", HOOKS.as_bytes());
    let mut command = house.esker();
    command.env("PGPASSWORD", "s3cret").env("AWS_SECRET_ACCESS_KEY", "s3cret").env("UNRELATED", "s3cret");
    let output = exits(command, ["-c", "esker.toml", "--log-file", "log", "snapshot", "--json"], 0);
    let id = json(&output.stdout)["snapshot_id"].as_str().unwrap().to_owned();
    assert_eq!(read(&house, "ran"), format!("before snapshot\nsource before data\nsource after data ok\nafter 0 {id}\n"));
    assert!(read(&house, "log").contains("hook before: from-the-hook"), "{}", read(&house, "log"));
    let environment = read(&house, "environment");
    assert!(environment.contains("ESKER_HOST=") && environment.contains("PATH="), "{environment}");
    for secret in [PASSWORD, "s3cret", "ESKER_PASSWORD"] {
        assert!(!environment.contains(secret), "{environment}");
    }
    // Nothing is done, so there is nothing to prepare.
    std::fs::remove_file(house.path("ran")).unwrap();
    exits(house.esker(), ["-c", "esker.toml", "snapshot", "--dry-run"], 0);
    assert_eq!(read(&house, "ran"), "");
    exits(house.esker(), ["-c", "esker.toml", "verify"], 0);
    assert_eq!(read(&house, "ran"), "");
}

#[test]
fn a_failed_run_runs_on_error_and_after() {
    let house = House::with_repository();
    house.write("esker.toml", HOOKS.as_bytes());
    exits(house.esker(), ["-c", "esker.toml", "snapshot"], 4);
    let expected = "before snapshot\nsource before data\nsource error data\nsource after data failed\nerror 4\nafter 4\n";
    assert_eq!(read(&house, "ran").replace("after 4 \n", "after 4\n"), expected);
}

#[test]
fn a_before_that_fails_stops_the_run_unless_it_may_only_warn() {
    let house = House::with_repository();
    house.write("data/a", b"a");
    let config = |hooks: &str| {
        let text = format!("{hooks}\n[[source]]\ndirectory = 'data'\n");
        house.write("esker.toml", text.as_bytes());
        let _ = std::fs::remove_file(house.path("ran"));
    };
    config("[hooks]\nbefore = 'sh -c \"echo no disk; exit 3\"'\nafter = 'touch ran'");
    let message = stderr(&exits(house.esker(), ["-c", "esker.toml", "snapshot"], 1));
    for word in ["hook before", "exit code 3", "no disk", "nothing was done"] {
        assert!(message.contains(word), "{word}: {message}");
    }
    assert!(house.path("ran").exists());
    assert_eq!(house.snapshot_count(), 0);
    config("[hooks]\nbefore = 'false'\non-failure = 'warn'\nafter = 'false'");
    let message = stderr(&exits(house.esker(), ["-c", "esker.toml", "snapshot"], 0));
    assert!(message.contains("warning: hook before") && message.contains("warning: hook after"), "{message}");
    config("[hooks]\nbefore = 'sleep 60'\ntimeout = '200ms'");
    assert!(stderr(&exits(house.esker(), ["-c", "esker.toml", "snapshot"], 1)).contains("ran longer"));
    // Of a source: it has failed.
    let of_source = |optional: &str| {
        let text = format!(
            "[[source]]\ndirectory = 'data'\n{optional}\n[source.hooks]\nbefore = 'false'\n[[source]]\nname = 'w'\ncommand = 'echo w'\n"
        );
        house.write("esker.toml", text.as_bytes());
    };
    of_source("");
    assert!(stderr(&exits(house.esker(), ["-c", "esker.toml", "snapshot"], 4)).contains("hook before of data"));
    of_source("optional = true");
    exits(house.esker(), ["-c", "esker.toml", "snapshot"], 3);
}

#[test]
fn hooks_may_belong_to_other_commands() {
    let house = House::with_snapshot();
    house.write("esker.toml", b"[hooks]\nbefore = \"sh -c 'echo $ESKER_COMMAND >> ran'\"\ncommands = ['prune', 'verify']\n");
    for command in ["verify", "prune", "snapshots"] {
        exits(house.esker(), ["-c", "esker.toml", command], 0);
    }
    exits(house.esker(), ["-c", "esker.toml", "snapshot", "data"], 0);
    assert_eq!(read(&house, "ran"), "verify\nprune\n");
}

#[test]
fn after_runs_when_the_run_is_interrupted_too() {
    let house = House::with_repository();
    house.write("esker.toml", b"[hooks]\nafter = \"sh -c 'echo $ESKER_EXIT_CODE > ran'\"\n");
    let mut child = slow_run(&house, &["-c", "esker.toml"]);
    assert!(std::process::Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert_eq!(read(&house, "ran"), "143\n");
}

#[test]
fn the_log_file_has_what_was_said_and_what_was_not_with_the_time_for_its_owner_alone() {
    let house = House::with_repository();
    house.write("data/a", b"a");
    for _ in 0..2 {
        exits(house.esker(), ["--log-file", "log", "-q", "snapshot", "data"], 0);
    }
    exits(house.esker(), ["--log-file", "log", "ls", "ffffffff"], 1);
    let log = read(&house, "log");
    assert_eq!(log.matches("saved").count(), 2, "{log}");
    assert!(log.contains("esker: no snapshot") || log.contains("ffffffff"), "{log}");
    assert!(log.contains("ended with exit code 1"), "{log}");
    assert!(log.lines().all(|line| line.starts_with("20") && line.contains('T')), "{log}");
    let mode = std::fs::metadata(house.path("log")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // The config file names it as well; one that cannot be written is no reason to fail.
    house.write("esker.toml", b"log-file = 'from-config'\n");
    exits(house.esker(), ["-c", "esker.toml", "snapshot", "data"], 0);
    assert!(read(&house, "from-config").contains("saved"));
    let message = stderr(&exits(house.esker(), ["--log-file", "no/such/folder/log", "snapshot", "data"], 0));
    assert!(message.contains("warning") && message.contains("no/such/folder/log"), "{message}");
}

#[test]
fn quiet_unless_failed_prints_nothing_or_everything() {
    let house = House::with_repository();
    house.write("data/a", b"a");
    let output = exits(house.esker(), ["--quiet-unless-failed", "snapshot", "data"], 0);
    assert_eq!((stdout(&output), stderr(&output)), (String::new(), String::new()));
    let output = exits(house.esker(), ["--quiet-unless-failed", "snapshot", "data", "--command", "x=false", "--optional", "x"], 3);
    assert!(stdout(&output).contains("saved"), "{}", stdout(&output));
    assert!(stderr(&output).contains("incomplete"), "{}", stderr(&output));
    house.write("esker.toml", b"quiet = 'unless-failed'\n");
    let output = exits(house.esker(), ["-c", "esker.toml", "snapshots"], 0);
    assert_eq!(stdout(&output), "");
    let output = exits(house.esker(), ["-c", "esker.toml", "snapshot", "data", "--command", "x=false"], 4);
    assert!(stderr(&output).contains("\"x\" failed"), "{}", stderr(&output));
    // Who asks for more gets it.
    assert!(stdout(&exits(house.esker(), ["-c", "esker.toml", "-v", "snapshots"], 0)).contains("data"));
    house.write("quiet.toml", b"quiet = true\n");
    assert_eq!(stdout(&exits(house.esker(), ["-c", "quiet.toml", "snapshot", "data"], 0)), "");
    house.write("wrong.toml", b"quiet = 'sometimes'\n");
    exits(house.esker(), ["-c", "wrong.toml", "snapshots"], 2);
}
