//! A repository far away: few requests, many at once, limits that hold. The server counts; no clock decides.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail, and prints why it skips")]

#[path = "servers/mod.rs"]
mod servers;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use servers::faulty::{FaultyServer, Link, Verb};
use servers::s3::BUCKET;

/// A host with a cache of its own and a repository behind a network.
struct Host {
    server: FaultyServer,
    folder: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let host = Self { server: FaultyServer::start(), folder: tempfile::tempdir().unwrap() };
        host.run(&["init", "--kdf", "low"]);
        host
    }

    fn at(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn try_run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_esker"))
            .args(["-r", &format!("s3://{BUCKET}/far"), "-o", &format!("endpoint={}", self.server.endpoint())])
            .args(arguments)
            .env("AWS_ACCESS_KEY_ID", "key")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("ESKER_PASSWORD", "correct horse")
            .env("ESKER_CACHE_DIR", self.at("cache"))
            .env("XDG_STATE_HOME", self.at("state"))
            .output()
            .unwrap()
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = self.try_run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn files(&self, name: &str, count: u32, size: usize) -> PathBuf {
        let folder = self.at(name);
        for number in 0..count {
            let below = folder.join(format!("{:02}", number % 100));
            std::fs::create_dir_all(&below).unwrap();
            std::fs::write(below.join(number.to_string()), noise(number, size)).unwrap();
        }
        folder
    }

    /// What a command asked for, by the lines of the server's log.
    fn asked(&self, arguments: &[&str]) -> Vec<String> {
        self.server.restart_counts();
        self.run(arguments);
        self.server.counts().log
    }
}

fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn an_unchanged_snapshot_of_ten_thousand_files_makes_fewer_than_twenty_requests() {
    let host = Host::new();
    let files = host.files("files", 10_000, 120);
    host.run(&["snapshot", text(&files)]);
    let asked = host.asked(&["snapshot", text(&files)]);
    assert!(asked.len() < 20, "{} requests:\n{}", asked.len(), asked.join("\n"));
}

#[test]
fn looking_a_second_time_reads_no_pack_and_a_damaged_window_is_not_believed() {
    let host = Host::new();
    let files = host.files("files", 1_000, 50);
    host.run(&["snapshot", text(&files)]);
    let packs = |asked: &[String]| asked.iter().filter(|line| line.contains("packs/") && line.contains("Get")).count();
    let look = ["find", "*"];
    let first = host.asked(&look);
    assert!(packs(&first) > 0, "{first:?}");
    assert_eq!(packs(&host.asked(&look)), 0, "everything was kept");

    let listed = host.run(&look);
    let mut damaged = 0;
    for entry in walk(&host.at("cache")).into_iter().filter(|path| path.parent().unwrap().ends_with("metadata")) {
        let mut bytes = std::fs::read(&entry).unwrap();
        bytes.iter_mut().for_each(|byte| *byte ^= 0x55);
        std::fs::write(&entry, bytes).unwrap();
        damaged += 1;
    }
    assert!(damaged > 0);
    assert_eq!(host.run(&look), listed, "read again from the store");
    // What verify says is about the store, whatever this machine kept.
    host.run(&["verify", "--read-data"]);
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(walk(&path)),
            path => found.push(path),
        }
    }
    found
}

#[test]
fn a_restore_over_a_long_way_asks_for_much_at_a_time_and_for_several_at_once() {
    let host = Host::new();
    // Files large and small, so that frames are too.
    let files = host.files("files", 300, 20_000);
    std::fs::write(files.join("large"), noise(7, 40 << 20)).unwrap();
    host.run(&["snapshot", text(&files)]);
    host.server.set_link(Link::new(Duration::from_millis(50), None));
    host.server.restart_counts();
    let out = host.at("out");
    host.run(&["restore", "latest", "--target", text(&out)]);
    assert_eq!(std::fs::read(out.join("files/large")).unwrap(), noise(7, 40 << 20));
    let counts = host.server.counts();
    let (gets, bytes) = (counts.of(Verb::Get).requests, counts.of(Verb::Get).sent);
    assert!(bytes < 55 << 20, "{bytes} bytes came for 46 MB of files");
    // In 50 ms a line of 400 Mbit/s carries 2.5 MB: requests of that size, some at once, keep it busy.
    assert!(gets < bytes / (2 << 20) + 15, "{gets} GETs for {bytes} bytes:\n{}", counts.log.join("\n"));
    assert!(counts.most_under_way >= 4, "only {} at once", counts.most_under_way);
}

#[test]
fn a_stream_is_read_ahead_over_a_long_way() {
    let host = Host::new();
    let file = host.at("stream");
    std::fs::write(&file, noise(9, 30 << 20)).unwrap();
    host.run(&["snapshot", "--command", &format!("dump=cat {}", text(&file))]);
    host.server.set_link(Link::new(Duration::from_millis(50), None));
    host.server.restart_counts();
    let output = host.try_run(&["dump", "latest:dump"]);
    assert!(output.stdout == noise(9, 30 << 20), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(host.server.counts().most_under_way >= 4, "only {} at once", host.server.counts().most_under_way);
}

#[test]
fn limits_of_the_line_hold_in_both_directions() {
    let host = Host::new();
    let files = host.files("files", 1, 1 << 20);
    let began = Instant::now();
    host.run(&["snapshot", text(&files), "--limit-upload", "400"]);
    assert!(began.elapsed() > Duration::from_secs(2), "1 MiB at 400 KiB/s took {:?}", began.elapsed());
    let began = Instant::now();
    host.run(&["restore", "latest", "--target", text(&host.at("out")), "--limit-download", "400KiB"]);
    assert!(began.elapsed() > Duration::from_secs(2), "1 MiB at 400 KiB/s took {:?}", began.elapsed());
    assert_eq!(std::fs::read(host.at("out/files/00/0")).unwrap(), noise(0, 1 << 20));
}
