//! The SFTP store beside the suite of `tests/store.rs`: a real OpenSSH server whose sessions die, that stands still, is full, or refuses;
//! and OpenSSH's own `sftp-server` behind pipes that are cut at every byte of a call.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "also what helps a test may unwrap and print why it skips")]
#![cfg(feature = "sftp")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use esker::store::sftp::{SftpAddress, SftpOptions, SftpStore};
use esker::store::{Store, StoreError, StoreErrorKind};

#[path = "contract/mod.rs"]
mod contract;
#[path = "servers/mod.rs"]
#[allow(unused_imports, reason = "each test uses its part")]
mod servers;
use contract::{listed, name};
use servers::sshd::Sshd;

/// Fails soon, for tests of failing.
fn impatient() -> SftpOptions {
    SftpOptions { timeout: Duration::from_secs(2), retry: Duration::from_millis(1), ..SftpOptions::default() }
}

fn store_of(server: &Sshd, below: &str, client: &str, options: SftpOptions) -> SftpStore {
    let url = server.url(below);
    let address = SftpAddress::parse(url.strip_prefix("sftp:").unwrap()).unwrap();
    SftpStore::open(address, SftpOptions { args: server.ssh_arguments(client), ..options })
}

/// Where Debian and others keep the program that a session runs.
fn sftp_server() -> PathBuf {
    let places = ["/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server"];
    places.iter().map(PathBuf::from).find(|path| path.exists()).expect("sftp-server: apt-get install openssh-server")
}

/// A store in `folder` that is reached by a line of shell instead of ssh; `$SERVER` is the server program.
fn store_behind(folder: &Path, shell: &str, options: SftpOptions) -> SftpStore {
    let line = format!("SERVER={}; {shell}", sftp_server().display());
    let address = SftpAddress::parse(&format!("//host{}", folder.display())).unwrap();
    let command = ["/bin/sh", "-c", &line].map(str::to_owned).to_vec();
    SftpStore::open(address, SftpOptions { command, connections: 1, ..options })
}

fn files_below(path: &Path) -> usize {
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| if entry.file_type().unwrap().is_dir() { files_below(&entry.path()) } else { 1 }).sum()
}

// -- the contract ----------------------------------------------------------------------------------------

#[test]
fn every_promise_of_a_store_is_kept_by_a_real_server() {
    let Some(server) = Sshd::start() else { return };
    for (n, (promise, keep)) in contract::PROMISES.iter().enumerate() {
        println!("-- {promise}");
        let store = store_of(&server, &format!("new/{n}"), "ssh_config", SftpOptions::default());
        store.create_place().unwrap();
        keep(&store);
    }
}

#[test]
fn a_place_that_is_not_there_is_never_an_empty_store() {
    let Some(server) = Sshd::start() else { return };
    contract::a_place_that_is_not_there_is_never_an_empty_store(&store_of(&server, "a/b", "ssh_config", SftpOptions::default()));
}

#[test]
fn of_64_threads_on_four_stores_exactly_one_wins() {
    let Some(server) = Sshd::start() else { return };
    let stores: Vec<_> = (0..4).map(|_| store_of(&server, "store", "ssh_config", SftpOptions::default())).collect();
    stores[0].create_place().unwrap();
    let start = std::sync::Barrier::new(64);
    let won: Vec<u8> = std::thread::scope(|scope| {
        let race = |n: u8| {
            let (store, start) = (&stores[n as usize % 4], &start);
            scope.spawn(move || {
                start.wait();
                match store.create(&name("new/folder/object"), &[&[n; 5000]]) {
                    Ok(()) => Some(n),
                    Err(StoreError { kind: StoreErrorKind::Exists, .. }) => None,
                    Err(error) => panic!("{error}"),
                }
            })
        };
        let threads: Vec<_> = (0..64).map(race).collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(won.len(), 1);
    assert_eq!(stores[1].get(&name("new/folder/object"), 5000).unwrap(), [won[0]; 5000]);
}

#[test]
fn many_folders_and_large_ones_are_listed_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = store_behind(folder.path(), "exec $SERVER", impatient());
    let mut made = BTreeSet::new();
    for n in 0..1_500usize {
        // One folder of a thousand, and more folders than are listed at once.
        let object = if n < 1_000 { format!("index/{n}") } else { format!("packs/{:02x}/{n}", n % 150) };
        let path = folder.path().join(&object);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, vec![0; n % 7]).unwrap();
        made.insert((object, (n % 7) as u64));
    }
    std::fs::create_dir(folder.path().join("lost+found")).unwrap();
    std::fs::write(folder.path().join("lost+found/x"), "x").unwrap();
    std::os::unix::fs::symlink("index", folder.path().join("packs/link")).unwrap();
    assert_eq!(listed(&store, ""), made);
    assert_eq!(listed(&store, "index").len(), 1_000);
}

// -- who is let in -------------------------------------------------------------------------------------

#[test]
fn what_keeps_us_out_is_said_at_once_and_in_words() {
    let Some(server) = Sshd::start() else { return };
    let said = |client: &str| {
        let store = store_of(&server, "store", client, SftpOptions::default());
        let began = Instant::now();
        let error = store.create_place().unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(20), "{client} was tried again and again");
        error
    };
    for (client, part) in [
        ("wrong_key", "refused the login: none of the keys offered is welcome"),
        ("unknown_host", "is not known here, so it may be any machine"),
        ("changed_host", "is not the one it had: another machine may be posing as it"),
    ] {
        let error = said(client);
        assert!(error.kind == StoreErrorKind::Denied && error.detail().contains(part), "{client}: {error}");
    }
    let port = servers::free_port();
    let address = SftpAddress::parse(&format!("//127.0.0.1:{port}/x")).unwrap();
    let nobody = SftpStore::open(address, SftpOptions { args: server.ssh_arguments("ssh_config"), ..SftpOptions::default() });
    let error = nobody.list("", &mut |_| ()).unwrap_err();
    assert!(error.kind == StoreErrorKind::Failed && error.detail().contains("Connection refused"), "{error}");
    let missing = SftpOptions { command: vec!["/no/such/program".to_owned()], ..SftpOptions::default() };
    let error = store_of(&server, "store", "ssh_config", missing).size(&name("x")).unwrap_err();
    assert!(
        error.kind == StoreErrorKind::Failed && error.detail().contains("cannot start /no/such/program: No such file"),
        "{error}"
    );
}

#[test]
fn a_login_that_prints_something_is_told_from_the_protocol() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["echo welcome; exec $SERVER", "head -c 4000 /dev/zero; exec $SERVER"] {
        let error = store_behind(folder.path(), shell, impatient()).size(&name("x")).unwrap_err();
        assert!(error.to_string().contains("is not the SFTP protocol"), "{error}");
    }
}

#[test]
fn the_child_knows_no_secret_of_ours() {
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("environment");
    // The variable is set for a process of its own: this test program, which runs only the other test.
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "shows_the_environment_of_its_child", "--ignored"])
        .env("ESKER_PASSWORD", "hunter2")
        .env("ESKER_TEST_SEEN", &seen)
        .env("SEEN", &seen)
        .output()
        .unwrap();
    assert!(status.status.success(), "{status:?}");
    let seen = std::fs::read_to_string(seen).unwrap();
    assert!(seen.contains("PATH=") && !seen.contains("hunter2") && !seen.contains("ESKER_"), "{seen}");
}

/// Not a test: a part of the one above.
#[test]
#[ignore = "started by another test"]
fn shows_the_environment_of_its_child() {
    let Ok(seen) = std::env::var("ESKER_TEST_SEEN") else { return };
    let folder = Path::new(&seen).parent().unwrap();
    store_behind(folder, "env >$SEEN; exec $SERVER", impatient()).list("", &mut |_| ()).unwrap();
}

// -- what the server cannot ------------------------------------------------------------------------------

#[test]
fn a_server_that_cannot_sync_is_refused_unless_that_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let shell = "exec $SERVER -P fsync";
    let strict = store_behind(folder.path(), shell, impatient());
    let error = strict.create(&name("a"), &[b"x"]).unwrap_err();
    assert!(error.to_string().contains("--option without-fsync=yes"), "{error}");
    let lax = store_behind(folder.path(), shell, SftpOptions { without_fsync: true, ..impatient() });
    lax.create(&name("a/b"), &[b"x"]).unwrap();
    assert_eq!(strict.get(&name("a/b"), 1).unwrap(), b"x");
}

#[test]
fn without_hard_links_a_rename_that_replaces_nothing_publishes() {
    let folder = tempfile::tempdir().unwrap();
    let store = store_behind(folder.path(), "exec $SERVER -P hardlink", impatient());
    store.create(&name("gc/1"), &[b"one"]).unwrap();
    assert!(matches!(store.create(&name("gc/1"), &[b"two"]), Err(StoreError { kind: StoreErrorKind::Exists, .. })));
    assert_eq!(store.get(&name("gc/1"), 3).unwrap(), b"one");
    assert_eq!(files_below(folder.path()), 1);
}

#[test]
fn a_server_that_cannot_replace_at_one_moment_is_not_made_to() {
    let folder = tempfile::tempdir().unwrap();
    let store = store_behind(folder.path(), "exec $SERVER -P posix-rename", impatient());
    store.create(&name("a"), &[b"one"]).unwrap();
    assert!(store.replace(&name("a"), &[b"two"]).unwrap_err().to_string().contains("cannot replace"));
    assert_eq!(store.get(&name("a"), 3).unwrap(), b"one");
}

#[test]
fn a_place_that_may_not_be_written_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let writer = store_behind(folder.path(), "exec $SERVER", impatient());
    writer.create(&name("gc/1"), &[b"x"]).unwrap();
    // Read-only, it does not even offer to sync.
    let options = SftpOptions { without_fsync: true, ..impatient() };
    let reader = store_behind(folder.path(), "exec $SERVER -R", options);
    for outcome in [reader.create(&name("gc/2"), &[b"x"]), reader.delete(&name("gc/1"))] {
        assert!(matches!(outcome, Err(StoreError { kind: StoreErrorKind::Denied, .. })), "{outcome:?}");
    }
    assert_eq!(reader.get(&name("gc/1"), 9).unwrap(), b"x");
}

// -- what is on the disk when a call returns ---------------------------------------------------------------

/// What the server did, from its own log: a sync left out or too late is a loss that no test without pulling the plug could see.
#[test]
fn nothing_is_published_before_it_is_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let log = tempfile::NamedTempFile::new().unwrap();
    let shell = format!("exec $SERVER -e -l DEBUG3 2>>{}", log.path().display());
    let place = folder.path().join("store");
    let store = store_behind(&place, &shell, SftpOptions::default());
    store.create_place().unwrap();
    std::fs::write(log.path(), "").unwrap();
    store.create(&name("new/folder/object"), &[b"one", b"two"]).unwrap();
    store.replace(&name("new/folder/object"), &[b"three"]).unwrap();
    drop(store);
    let said = std::fs::read_to_string(log.path()).unwrap();
    let did = done(&said, &place);
    let positions = |what: &str| did.iter().enumerate().filter(|(_, step)| *step == what).map(|(n, _)| n).collect::<Vec<_>>();
    let only = |what: &str| match positions(what)[..] {
        [position] => position,
        _ => panic!("{what} is not once in {did:#?}"),
    };
    let (link, rename) = (only("link tmp/* new/folder/object"), only("rename tmp/* new/folder/object"));
    let synced = positions("sync tmp/*");
    assert!(synced.len() == 2 && synced[0] < link && link < synced[1] && synced[1] < rename, "{did:#?}");
    // Each new folder is on the disk before anything stands below it under its name; the names themselves after they were made.
    assert!(positions("sync .")[0] > only("mkdir new") && positions("sync .")[0] < link, "{did:#?}");
    assert!(positions("sync new")[0] > only("mkdir new/folder") && positions("sync new")[0] < link, "{did:#?}");
    let folder_synced = positions("sync new/folder");
    assert!(folder_synced.len() == 2 && link < folder_synced[0] && rename < folder_synced[1], "{did:#?}");
    assert!(folder_synced[0] < synced[1], "the first call returned before its folder was synced: {did:#?}");
}

/// The steps of a log in words, paths relative to the store.
fn done(log: &str, place: &Path) -> Vec<String> {
    let place = place.display().to_string();
    let short = |path: &str| match path.strip_prefix(&place).unwrap_or(path).trim_start_matches('/') {
        "" => ".".to_owned(),
        below if below.starts_with("tmp/") => "tmp/*".to_owned(),
        below => below.to_owned(),
    };
    let mut done = Vec::new();
    for line in log.lines() {
        let paths: Vec<_> = line.split('"').skip(1).step_by(2).map(short).collect();
        let step = match (&paths[..], line) {
            ([path, ..], line) if line.starts_with("fsync") => format!("sync {path}"),
            ([from, to, ..], line) if line.starts_with("hardlink") => format!("link {from} {to}"),
            ([from, to, ..], line) if line.starts_with("posix-rename") => format!("rename {from} {to}"),
            ([path, ..], line) if line.starts_with("mkdir") => format!("mkdir {path}"),
            _ => continue,
        };
        done.push(step);
    }
    done
}

#[test]
fn only_the_login_may_look_inside() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let store = store_behind(&folder.path().join("a/b"), "exec $SERVER", impatient());
    store.create_place().unwrap();
    store.create(&name("packs/00/x"), &[b"x"]).unwrap();
    let mode = |path: &str| std::fs::metadata(folder.path().join(path)).unwrap().permissions().mode() & 0o7777;
    for path in ["a", "a/b", "a/b/packs", "a/b/packs/00", "a/b/tmp"] {
        assert_eq!(mode(path), 0o700, "{path}");
    }
    assert_eq!(mode("a/b/packs/00/x"), 0o600);
}

#[test]
fn what_a_killed_process_left_is_swept_and_what_is_young_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let store = |()| store_behind(folder.path(), "exec $SERVER", impatient());
    store(()).create(&name("a"), &[b"x"]).unwrap();
    let leave = |name: &str, hours: u64| {
        let path = folder.path().join("tmp").join(name);
        let file = std::fs::File::create(&path).unwrap();
        let then = file.metadata().unwrap().modified().unwrap() - Duration::from_secs(hours * 3600);
        file.set_modified(then).unwrap();
        path
    };
    let (old, young) = (leave("00-1", 48), leave("00-2", 2));
    store(()).create(&name("b"), &[b"x"]).unwrap();
    assert!(!old.exists() && young.exists());
}

// -- connections that break ---------------------------------------------------------------------------------

/// The first connection is cut after `bytes` of what the server answers (`answers`) or of what it is asked; all later ones are whole.
fn cut_once(folder: &Path, bytes: usize, answers: bool) -> SftpStore {
    let marker = folder.join("cut");
    let cut = match answers {
        // The shell, which holds the other end too, must go with it.
        true => format!("$SERVER | {{ dd bs=1 count={bytes} status=none; kill -KILL 0; }}"),
        // What was asked before is done and answered.
        false => format!("dd bs=1 count={bytes} status=none | $SERVER"),
    };
    let shell = format!("if mkdir {} 2>/dev/null; then {cut}; else exec $SERVER; fi", marker.display());
    let options = SftpOptions { retry: Duration::from_millis(50), timeout: Duration::from_secs(10), ..SftpOptions::default() };
    store_behind(&folder.join("store"), &shell, options)
}

/// Every verb, with the connection cut at each step of it: done exactly once, as if nothing had been.
#[test]
fn a_connection_cut_anywhere_changes_no_outcome() {
    let big: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    for answers in [true, false] {
        let step = if answers { 37 } else { 149 };
        for n in 0.. {
            let folder = tempfile::tempdir().unwrap();
            let store = cut_once(folder.path(), n * step, answers);
            store.create_place().unwrap();
            store.create(&name("gc/1"), &[b"one"]).unwrap();
            assert!(
                matches!(store.create(&name("gc/1"), &[b"other"]), Err(StoreError { kind: StoreErrorKind::Exists, .. })),
                "{n}"
            );
            if answers {
                store.replace(&name("gc/1"), &[b"two"]).unwrap();
                assert_eq!(store.get(&name("gc/1"), 3).unwrap(), b"two");
                store.create(&name("packs/00/big"), &[&big[..100], &big[100..]]).unwrap();
                assert_eq!(listed(&store, ""), BTreeSet::from([("gc/1".into(), 3), ("packs/00/big".into(), 300_000)]));
                store.delete(&name("gc/1")).unwrap();
                assert!(matches!(store.size(&name("gc/1")), Err(StoreError { kind: StoreErrorKind::Missing, .. })));
            }
            drop(store);
            let left = files_below(&folder.path().join("store/tmp"));
            assert!(left <= 1, "{left} temporary files after one cut");
            // Beyond what all these calls take nothing is cut any more.
            if n * step > if answers { 2_600 } else { 1_800 } {
                break;
            }
        }
    }
}

#[test]
fn a_create_whose_answer_is_lost_is_not_taken_for_somebody_elses() {
    for bytes in (0..1_200).step_by(9) {
        let folder = tempfile::tempdir().unwrap();
        let store = cut_once(folder.path(), bytes, true);
        std::fs::create_dir(folder.path().join("store")).unwrap();
        store.create(&name("snapshots/s"), &[b"mine"]).unwrap_or_else(|error| panic!("cut after {bytes}: {error}"));
        assert_eq!(store.get(&name("snapshots/s"), 4).unwrap(), b"mine");
    }
}

#[test]
fn another_writers_object_is_not_ours_even_after_a_lost_answer() {
    for bytes in (0..1_200).step_by(45) {
        let folder = tempfile::tempdir().unwrap();
        let other = store_behind(&folder.path().join("store"), "exec $SERVER", impatient());
        other.create_place().unwrap();
        other.create(&name("snapshots/s"), &[b"theirs"]).unwrap();
        let store = cut_once(folder.path(), bytes, true);
        assert!(
            matches!(store.create(&name("snapshots/s"), &[b"mine!!"]), Err(StoreError { kind: StoreErrorKind::Exists, .. })),
            "{bytes}"
        );
        assert_eq!(store.get(&name("snapshots/s"), 6).unwrap(), b"theirs");
    }
}

#[test]
fn a_server_that_stands_still_is_an_error_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let options = || SftpOptions { timeout: Duration::from_millis(300), retry: Duration::from_millis(1), ..SftpOptions::default() };
    let began = Instant::now();
    // A number of our own, to know it again.
    let sleep = format!("sleep 1000.{}", std::process::id());
    for shell in [sleep.clone(), format!("$SERVER | (dd bs=1 count=300 status=none; {sleep})")] {
        let store = store_behind(folder.path(), &shell, options());
        let error = store.create(&name("a"), &[&[7; 3_000_000]]).unwrap_err();
        assert!(error.kind == StoreErrorKind::Failed && error.detail().contains("has not answered for 0.3 s"), "{error}");
        drop(store);
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(!is_running(&sleep), "a child was left behind");
}

fn is_running(line: &str) -> bool {
    let command_line = |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| command_line(entry).replace('\0', " ").trim() == line)
}

#[test]
fn sessions_that_die_under_many_threads_lose_nothing() {
    let Some(server) = Sshd::start() else { return };
    let store = store_of(&server, "store", "ssh_config", SftpOptions { connections: 2, ..SftpOptions::default() });
    store.create_place().unwrap();
    let bytes = |n: u64| vec![n as u8; 200_000 + n as usize];
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let store = &store;
            scope.spawn(move || {
                for n in (thread * 6)..(thread * 6 + 6) {
                    store.create(&name(&format!("packs/{:02x}/{n}", n % 5)), &[&bytes(n)]).unwrap();
                    assert_eq!(store.get(&name(&format!("packs/{:02x}/{n}", n % 5)), 1 << 20).unwrap(), bytes(n));
                }
            });
        }
        let mut killed = 0;
        let began = Instant::now();
        while killed < 6 && began.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(120));
            killed += server.kill_sessions();
        }
        assert!(killed > 0);
    });
    assert_eq!(listed(&store, "packs").len(), 48);
}

#[test]
fn a_server_that_is_gone_for_good_is_an_error() {
    let Some(server) = Sshd::start() else { return };
    let options = SftpOptions { retry: Duration::from_millis(600), ..SftpOptions::default() };
    let store = store_of(&server, "store", "ssh_config", options);
    store.create_place().unwrap();
    store.create(&name("a"), &[b"x"]).unwrap();
    drop(server);
    let error = store.create(&name("b"), &[b"x"]).unwrap_err();
    assert!(
        error.kind == StoreErrorKind::Failed
            && (error.detail().contains("Connection refused") || error.detail().contains("cannot reach")),
        "{error}"
    );
}

// -- a full disk ---------------------------------------------------------------------------------------------

#[test]
fn a_full_disk_is_named_so_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(folder.path()).output();
    if !mounted.as_ref().is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: cannot mount a small tmpfs (needs root): {mounted:?}");
        return;
    }
    let store = store_behind(folder.path(), "exec $SERVER", impatient());
    let check = || -> Result<(), String> {
        store.create(&name("packs/00/small"), &[&[1; 300_000]]).map_err(|error| error.to_string())?;
        for _ in 0..3 {
            for outcome in [
                store.create(&name("packs/00/large"), &[&[2; 500_000], &[3; 500_000]]),
                store.replace(&name("packs/00/small"), &[&[2; 1_000_000]]),
            ] {
                if !matches!(outcome, Err(StoreError { kind: StoreErrorKind::Full, .. })) {
                    return Err(format!("{outcome:?}"));
                }
            }
        }
        if files_below(folder.path()) != 1 {
            return Err("temporary files were left on the full disk".to_owned());
        }
        if store.get(&name("packs/00/small"), 300_000).ok() != Some(vec![1; 300_000]) {
            return Err("what was there is not what it was".to_owned());
        }
        store.create(&name("packs/00/next"), &[&[4; 300_000]]).map_err(|error| error.to_string())
    };
    let outcome = check();
    drop(store);
    let _ = Command::new("umount").arg("--lazy").arg(folder.path()).status();
    outcome.unwrap();
}

// -- the whole program ----------------------------------------------------------------------------------------

struct Program {
    folder: tempfile::TempDir,
    url: String,
    args: String,
}

impl Program {
    fn new(server: &Sshd, client: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let args = format!("args={}", server.ssh_arguments(client).join(" "));
        Self { folder, url: server.url("repo"), args }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_esker"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.folder.path());
        command
            .env("ESKER_REPOSITORY", &self.url)
            .env("ESKER_PASSWORD", "correct horse")
            .env("ESKER_CACHE_DIR", self.path("cache"));
        command.args(words).args(["--option", &self.args]);
        command
    }

    /// Runs it; its exit code and all it said.
    fn run(&self, words: &[&str]) -> (i32, String) {
        let output = self.command(words).output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code().unwrap_or(-1), said)
    }

    fn succeeds(&self, words: &[&str]) -> String {
        let (code, said) = self.run(words);
        assert_eq!(code, 0, "{words:?}: {said}");
        said
    }
}

/// Bytes that nothing compresses, the same for each seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn a_repository_over_ssh_is_made_filled_thinned_checked_and_restored() {
    let Some(server) = Sshd::start() else { return };
    let program = Program::new(&server, "ssh_config");
    std::fs::create_dir(program.path("data")).unwrap();
    let data = program.path("data").display().to_string();
    assert_eq!(program.run(&["snapshots"]).0, 10);
    program.succeeds(&["init", "--kdf", "low"]);
    for day in 0..3u64 {
        std::fs::write(program.path(&format!("data/day{day}")), noise(day, 3_000_000)).unwrap();
        std::fs::write(program.path("data/changing"), noise(100 + day, 2_000_000)).unwrap();
        program.succeeds(&["snapshot", &data]);
    }
    program.succeeds(&["forget", "--keep-last", "1"]);
    program.succeeds(&["prune", "--grace", "0"]);
    program.succeeds(&["prune", "--grace", "0"]);
    program.succeeds(&["verify", "--read-data"]);
    let target = program.path("restored");
    program.succeeds(&["restore", "latest", "--target", &target.display().to_string()]);
    for (file, seed, length) in [("day0", 0, 3_000_000), ("day2", 2, 3_000_000), ("changing", 102, 2_000_000)] {
        assert!(std::fs::read(target.join("data").join(file)).unwrap() == noise(seed, length), "{file}");
    }
    // Nothing half done is left, and no child.
    assert_eq!(std::fs::read_dir(server.files().join("repo/tmp")).unwrap().count(), 0);
}

#[test]
fn a_snapshot_whose_sessions_are_killed_is_committed_all_the_same_or_taken_up_again() {
    let Some(server) = Sshd::start() else { return };
    let program = Program::new(&server, "ssh_config");
    std::fs::create_dir(program.path("data")).unwrap();
    program.succeeds(&["init", "--kdf", "low"]);
    for file in 0..6 {
        std::fs::write(program.path(&format!("data/{file}")), noise(file, 8_000_000)).unwrap();
    }
    let data = program.path("data").display().to_string();
    let mut child = program.command(&["snapshot", &data]);
    let mut child = child.stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    // A server that was never reached is given up soon, so the first login is let be.
    let packs = server.files().join("repo/packs");
    while !packs.exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut killed = 0;
    while child.try_wait().unwrap().is_none() && killed < 5 {
        killed += server.kill_sessions();
        std::thread::sleep(Duration::from_millis(250));
    }
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(killed > 0, "it was done before anything was killed: {said}");
    assert!(output.status.success(), "{said}");
    program.succeeds(&["verify", "--read-data"]);
    let listed: serde_json::Value = serde_json::from_str(&program.succeeds(&["snapshots", "--json"])).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 1);
}

#[test]
fn a_server_that_vanishes_ends_the_snapshot_with_13_and_the_next_one_goes_on() {
    let Some(server) = Sshd::start() else { return };
    let program = Program::new(&server, "ssh_config");
    std::fs::create_dir(program.path("data")).unwrap();
    program.succeeds(&["init", "--kdf", "low"]);
    for file in 0..4 {
        std::fs::write(program.path(&format!("data/{file}")), noise(file, 8_000_000)).unwrap();
    }
    let data = program.path("data").display().to_string();
    // The key is taken away, as if the host were shut out, and the sessions with it.
    let mut child = program.command(&["snapshot", &data, "--option", "retry=1"]);
    let child = child.stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().unwrap();
    let packs = server.files().join("repo/packs");
    let began = Instant::now();
    while !packs.exists() && began.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let key = std::fs::read(server.own("authorized")).unwrap();
    std::fs::write(server.own("authorized"), "").unwrap();
    server.kill_sessions();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(13), "{said}");
    std::fs::write(server.own("authorized"), key).unwrap();
    assert_eq!(program.succeeds(&["snapshots", "--json"]).trim(), "[]");
    program.succeeds(&["snapshot", &data]);
    program.succeeds(&["verify", "--read-data"]);
}

#[test]
fn what_keeps_the_program_out_is_13_with_words_and_an_address_with_a_password_is_2() {
    let Some(server) = Sshd::start() else { return };
    for (client, part) in [("wrong_key", "refused the login"), ("unknown_host", "is not known here")] {
        let (code, said) = Program::new(&server, client).run(&["snapshots"]);
        assert!(code == 13 && said.contains(part), "{code}: {said}");
    }
    let mut program = Program::new(&server, "ssh_config");
    program.url = "sftp://me:hunter2@host/x".to_owned();
    let (code, said) = program.run(&["snapshots"]);
    assert!(code == 2 && said.contains("no place for a password") && !said.contains("hunter2"), "{code}: {said}");
    program.url = server.url("repo");
    program.args = "colour=blue".to_owned();
    let (code, said) = program.run(&["snapshots"]);
    assert!(code == 2 && said.contains("sftp stores have no option colour"), "{code}: {said}");
}

#[test]
fn no_child_outlives_a_program_that_was_killed() {
    let Some(server) = Sshd::start() else { return };
    let program = Program::new(&server, "ssh_config");
    program.succeeds(&["init", "--kdf", "low"]);
    std::fs::create_dir(program.path("data")).unwrap();
    // A source that never ends holds the connection open. It says when it runs: connections before it may come and go.
    let running = program.path("running");
    let source = format!("forever=sh -c 'touch {}; exec sleep 1000'", running.display());
    let mut child = program.command(&["snapshot", "--command", &source]).spawn().unwrap();
    let began = Instant::now();
    while !running.exists() && began.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(running.exists() && !server.sessions().is_empty(), "no session while the source runs");
    child.kill().unwrap();
    child.wait().unwrap();
    let began = Instant::now();
    while !server.sessions().is_empty() {
        assert!(began.elapsed() < Duration::from_secs(30), "its ssh still runs");
        std::thread::sleep(Duration::from_millis(20));
    }
}
