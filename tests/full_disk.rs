//! A hundred sizes of a small disk, so that it is full at every point of a snapshot: what was committed before restores, and forget
//! and prune make room again. Needs root, for the mounts.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail, and prints why it skips")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Sizes of the disk, from just above an empty repository on.
const SIZES: u32 = 100;
const SMALLEST_KIB: u32 = 1_600;
const STEP_KIB: u32 = 28;

struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn of(kib: u32) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("disk")).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "none"]).arg(folder.path().join("disk"));
        mount.stderr(std::process::Stdio::null()).status().is_ok_and(|status| status.success()).then_some(Self { folder })
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn esker(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_esker"));
        command.env_clear().env("ESKER_REPOSITORY", self.path("disk/repo")).env("ESKER_CACHE_DIR", self.path("cache"));
        match self.path("key").exists() {
            true => command.env("ESKER_KEY_FILE", self.path("key")),
            false => command.env("ESKER_PASSWORD", "correct horse"),
        };
        command.env("HOME", self.folder.path()).current_dir(self.folder.path()).args(words).output().unwrap()
    }

    fn code(&self, words: &[&str]) -> i32 {
        let output = self.esker(words);
        let code = output.status.code().unwrap();
        assert!([0, 11].contains(&code), "{words:?}: {code}: {}", String::from_utf8_lossy(&output.stderr));
        code
    }

    /// Every snapshot that is listed has one of these contents, whole.
    fn restores(&self, contents: &[Vec<u8>]) -> usize {
        let listed = self.esker(&["snapshots", "--json"]);
        assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
        let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
        for snapshot in listed.as_array().unwrap() {
            let dumped = self.esker(&["dump", &format!("{}:data/file", snapshot["id"].as_str().unwrap())]);
            assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
            assert!(contents.contains(&dumped.stdout), "a snapshot gave something else than what was there");
        }
        listed.as_array().unwrap().len()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path("disk")).status();
    }
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn whatever_the_size_of_the_disk_what_was_committed_restores_and_room_can_be_made() {
    let contents: Vec<Vec<u8>> = (0..4).map(|n| noise(n, 700_000)).collect();
    let mut full = 0;
    for nth in 0..SIZES {
        let kib = SMALLEST_KIB + nth * STEP_KIB;
        let Some(disk) = Disk::of(kib) else { return println!("SKIPPED: cannot mount a small tmpfs (needs root)") };
        assert_eq!(disk.code(&["init", "--kdf", "low"]), 0, "{kib} KiB");
        assert_eq!(disk.code(&["key", "export", "--owner", "--output", disk.path("key").to_str().unwrap()]), 0);
        // Each snapshot has another file of the same name; sooner or later one does not fit.
        let mut committed = 0;
        let mut stopped = false;
        for content in &contents {
            write(&disk.path("data/file"), content);
            match disk.code(&["snapshot", "data"]) {
                0 => committed += 1,
                _ => stopped = true,
            }
            assert_eq!(disk.restores(&contents), committed, "{kib} KiB: a snapshot that was committed is there, no other is");
        }
        full += u32::from(stopped);
        if committed < 2 {
            continue;
        }
        assert_eq!(disk.code(&["forget", "--keep-last", "1"]), 0, "{kib} KiB");
        let before = used(&disk.path("disk"));
        assert_eq!(disk.code(&["prune", "--max-unused", "0", "--force"]), 0, "{kib} KiB");
        let after = used(&disk.path("disk"));
        assert!(before > after + 600_000, "{kib} KiB: {before} bytes before prune, {after} after");
        assert_eq!(disk.restores(&contents), 1);
        assert_eq!(disk.code(&["verify", "--read-data"]), 0, "{kib} KiB");
    }
    assert!(full > SIZES / 2, "the disk was full {full} times only: sizes and contents do not fit each other");
}

fn used(disk: &Path) -> u64 {
    let state = rustix::fs::statvfs(disk).unwrap();
    (state.f_blocks - state.f_bfree) * state.f_frsize
}
