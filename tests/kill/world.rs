//! A folder with a repository, what is backed up, and the program that is killed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Choices that can be repeated.
pub struct Choices(pub u64);

impl Choices {
    pub fn next(&mut self, below: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below.max(1)
    }
}

pub type Tree = BTreeMap<PathBuf, (u64, blake3::Hash)>;

pub struct World {
    pub dir: tempfile::TempDir,
    pub choices: Choices,
    /// Plaintext ever written, all of it random: nothing of it deduplicates or compresses.
    pub unique_bytes: u64,
    pub runs: u64,
}

impl World {
    /// Without a repository.
    pub fn new(seed: u64) -> Self {
        Self::at(tempfile::tempdir().unwrap(), seed)
    }

    /// In memory, so that no other test's disk decides how long a run takes: for a few MiB.
    pub fn in_memory(seed: u64) -> Self {
        Self::at(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap(), seed)
    }

    fn at(dir: tempfile::TempDir, seed: u64) -> Self {
        fs::create_dir_all(dir.path().join("source/stays")).unwrap();
        Self { dir, choices: Choices(seed), unique_bytes: 0, runs: 0 }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of("cache", arguments)
    }

    /// Of a host with this cache.
    pub fn command_of(&self, cache: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_esker"));
        command.env_clear().env("HOME", self.dir.path());
        // Stretching a password takes longer than all the rest of a small run.
        match self.path("owner.key") {
            key if key.exists() => command.arg("--key-file").arg(key),
            _ => command.env("ESKER_PASSWORD", "correct horse"),
        };
        command.args(["--repo"]).arg(self.path("repository")).arg("--cache-dir").arg(self.path(cache));
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "esker {arguments:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
        output
    }

    /// Some files new, some changed, some gone.
    pub fn change(&mut self) {
        let source = self.path("source");
        for _ in 0..1 + self.choices.next(12) {
            let folder = source.join(format!("folder{}", self.choices.next(5)));
            fs::create_dir_all(&folder).unwrap();
            let size = match self.choices.next(4) {
                0 => self.choices.next(8 << 20),
                1 => self.choices.next(600_000),
                _ => self.choices.next(6_000),
            };
            let mut bytes = vec![0; usize::try_from(size).unwrap()];
            blake3::Hasher::new().update(&self.choices.next(u64::MAX).to_le_bytes()).finalize_xof().fill(&mut bytes);
            fs::write(folder.join(format!("file{}", self.choices.next(30))), &bytes).unwrap();
            self.unique_bytes += size;
        }
        if self.choices.next(3) == 0 {
            let gone = source.join(format!("folder{}", self.choices.next(5)));
            let _ = fs::remove_dir_all(gone);
            fs::create_dir_all(source.join("stays")).unwrap();
        }
    }

    /// Kills it after a while, or finds that it was faster; then true if it said that it succeeded.
    pub fn run_and_kill(&mut self, arguments: &[&str], usual: Duration) -> (bool, Output) {
        let usual = u64::try_from(usual.as_micros()).unwrap();
        let after = Duration::from_micros(self.choices.next(usual + usual / 5));
        self.kill_after(arguments, after)
    }

    /// The same, after just so long.
    pub fn kill_after(&self, arguments: &[&str], after: Duration) -> (bool, Output) {
        let mut child = self.command(arguments).spawn().unwrap();
        wait(&mut child, after);
        let _ = child.kill();
        let output = child.wait_with_output().unwrap();
        (output.status.success(), output)
    }

    pub fn snapshot(&mut self) -> String {
        self.runs += 1;
        let source = format!("data={}", self.path("source").display());
        let output = self.run(&["snapshot", "--dir", &source, "--json"]);
        snapshot_id(&output).unwrap()
    }

    /// Without reading them, so that a run does not end meanwhile.
    pub fn pack_bytes(&self) -> u64 {
        let Ok(folders) = fs::read_dir(self.path("repository/packs")) else { return 0 };
        let packs = folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
        packs.map(|pack| pack.unwrap().metadata().unwrap().len()).sum()
    }
}

/// Until it ends by itself or the time is over.
pub fn wait(child: &mut Child, time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_micros(500).min(time));
    }
}

pub fn snapshot_id(output: &Output) -> Option<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.contains("\"snapshot_id\""))?;
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    Some(value["snapshot_id"].as_str()?.to_owned())
}

pub fn tree(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut stack = vec![root.to_owned()];
    while let Some(folder) = stack.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                stack.push(path);
            } else {
                let bytes = fs::read(&path).unwrap();
                tree.insert(path.strip_prefix(root).unwrap().to_owned(), (bytes.len() as u64, blake3::hash(&bytes)));
            }
        }
    }
    tree
}

pub fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
