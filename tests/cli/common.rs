//! A house for each test: a folder with a repository, a cache and something to back up, and a clean environment.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use serde_json::Value;

pub const PASSWORD: &str = "correct horse";

pub struct House {
    folder: tempfile::TempDir,
}

impl House {
    /// Without a repository.
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// With a repository.
    pub fn with_repository() -> Self {
        let house = Self::new();
        house.esker().args(["init", "--kdf", "low"]).assert().success();
        house
    }

    /// With a repository and one snapshot of `data`, which holds `hello.txt` and `sub/inner.txt`.
    pub fn with_snapshot() -> Self {
        let house = Self::with_repository();
        house.write("data/hello.txt", b"hello\n");
        house.write("data/sub/inner.txt", b"inner\n");
        house.snapshot();
        house
    }

    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(below)
    }

    pub fn write(&self, below: impl AsRef<Path>, content: &[u8]) -> PathBuf {
        let path = self.path(below);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// The program with this house's repository, cache and password, and nothing else from outside.
    pub fn esker(&self) -> Command {
        let mut command = self.bare();
        command.env("ESKER_REPOSITORY", self.path("repo")).env("ESKER_PASSWORD", PASSWORD);
        command
    }

    /// Without repository and secret.
    pub fn bare(&self) -> Command {
        let mut command = assert_cmd::cargo::cargo_bin_cmd!("esker");
        command.env_clear();
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command.env("HOME", self.folder.path()).env("ESKER_CACHE_DIR", self.path("cache"));
        command.current_dir(self.folder.path());
        command
    }

    /// Puts a disk of this size (as `mount -o size=` takes it) under the repository, until the answer is dropped. Only root may mount,
    /// and not everywhere: then it says so, and none.
    pub fn small_disk(&self, size: &str) -> Option<SmallDisk> {
        let place = self.path("repo");
        std::fs::create_dir(&place).unwrap();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"]).arg(&place).stderr(std::process::Stdio::null());
        if mount.status().is_ok_and(|status| status.success()) {
            return Some(SmallDisk(place));
        }
        println!("SKIPPED: cannot mount a small tmpfs (needs root)");
        None
    }

    /// One snapshot of `data`.
    pub fn snapshot(&self) {
        self.esker().args(["snapshot", "data"]).assert().success();
    }

    /// How many snapshots there are.
    pub fn snapshot_count(&self) -> usize {
        let listed = self.esker().args(["snapshots", "--json"]).assert().success();
        json(&listed.get_output().stdout).as_array().unwrap().len()
    }
}

/// See [`House::small_disk`].
pub struct SmallDisk(PathBuf);

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let status = std::process::Command::new("umount").arg("-l").arg(&self.0).stderr(std::process::Stdio::null()).status();
        assert!(status.is_ok_and(|status| status.success()));
    }
}

/// The only JSON value of an output.
pub fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)))
}

/// One JSON value a line.
pub fn json_lines(bytes: &[u8]) -> Vec<Value> {
    bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(json).collect()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs and expects this exit code; the output for more.
pub fn exits<A: AsRef<OsStr>>(mut command: Command, arguments: impl IntoIterator<Item = A>, code: i32) -> Output {
    command.args(arguments).assert().code(code).get_output().clone()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The words of every command and of every group of commands: each has a page of the manual.
pub fn commands(house: &House) -> Vec<Vec<String>> {
    exits(house.bare(), ["man", "--output", "pages"], 0);
    let pages = std::fs::read_dir(house.path("pages")).unwrap();
    let names = pages.map(|page| page.unwrap().file_name().into_string().unwrap());
    let words = names.filter_map(|name| Some(name.strip_suffix(".1")?.split('-').skip(1).map(str::to_owned).collect()));
    words.filter(|words: &Vec<String>| !words.iter().any(|word| word == "help")).collect()
}
