//! The real program, killed at random moments: every snapshot it acknowledged restores, the next run just works, and what a killed
//! run had uploaded is used. `ESKER_SOAK=SECONDS` goes on for so long, `ESKER_SEED=N` repeats a run's choices.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may fail, and tells its seed")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Bounded for CI.
const SECONDS: u64 = 40;
/// A pack is never smaller; each run may leave one of each class.
const RUN_OVERHEAD_BYTES: u64 = 256 << 10;

/// Choices that can be repeated.
struct Choices(u64);

impl Choices {
    fn next(&mut self, below: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below.max(1)
    }
}

type Tree = BTreeMap<PathBuf, (u64, blake3::Hash)>;

struct World {
    dir: tempfile::TempDir,
    choices: Choices,
    /// Plaintext ever written, all of it random: nothing of it deduplicates or compresses.
    unique_bytes: u64,
    runs: u64,
}

impl World {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.command_of("cache", arguments)
    }

    /// Of a host with this cache.
    fn command_of(&self, cache: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_esker"));
        command.env_clear().env("HOME", self.dir.path()).env("ESKER_PASSWORD", "correct horse");
        command.args(["--repo"]).arg(self.path("repository")).arg("--cache-dir").arg(self.path(cache));
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "esker {arguments:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
        output
    }

    /// Some files new, some changed, some gone.
    fn change(&mut self) {
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
    fn run_and_kill(&mut self, arguments: &[&str], usual: Duration) -> (bool, Output) {
        let mut child = self.command(arguments).spawn().unwrap();
        let usual = u64::try_from(usual.as_micros()).unwrap();
        wait(&mut child, Duration::from_micros(self.choices.next(usual + usual / 5)));
        let _ = child.kill();
        let output = child.wait_with_output().unwrap();
        (output.status.success(), output)
    }

    fn snapshot(&mut self) -> String {
        self.runs += 1;
        let source = format!("data={}", self.path("source").display());
        let output = self.run(&["snapshot", "--dir", &source, "--json"]);
        snapshot_id(&output).unwrap()
    }

    fn pack_bytes(&self) -> u64 {
        tree(&self.path("repository/packs")).values().map(|(size, _)| size).sum()
    }
}

/// Until it ends by itself or the time is over.
fn wait(child: &mut Child, time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_micros(500).min(time));
    }
}

fn snapshot_id(output: &Output) -> Option<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.contains("\"snapshot_id\""))?;
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    Some(value["snapshot_id"].as_str()?.to_owned())
}

fn tree(root: &Path) -> Tree {
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

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn whatever_moment_it_is_killed_at_nothing_acknowledged_is_lost() {
    let seed = number("ESKER_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("ESKER_SEED={seed}");
    let mut world = World { dir: tempfile::tempdir().unwrap(), choices: Choices(seed), unique_bytes: 0, runs: 0 };
    fs::create_dir_all(world.path("source/stays")).unwrap();
    fs::write(world.path("source/stays/file"), b"always here").unwrap();
    world.run(&["init", "--kdf", "low"]);
    let deadline = Instant::now() + Duration::from_secs(number("ESKER_SOAK").unwrap_or(SECONDS));
    let mut acknowledged: Vec<(String, Tree)> = Vec::new();
    let (mut usual, mut killed) = (Duration::from_millis(800), 0);
    while Instant::now() < deadline {
        world.change();
        let source = format!("data={}", world.path("source").display());
        for _ in 0..world.choices.next(4) {
            world.runs += 1;
            let (succeeded, output) = world.run_and_kill(&["snapshot", "--dir", &source, "--json"], usual);
            // The line may have come before the kill: then it was promised.
            match snapshot_id(&output) {
                Some(id) => acknowledged.push((id, tree(&world.path("source")))),
                None => assert!(!succeeded, "it succeeded and did not say what it made"),
            }
            killed += u32::from(!succeeded);
        }
        if world.choices.next(4) == 0 {
            fs::remove_dir_all(world.path("cache")).unwrap();
        }
        let begun = Instant::now();
        let id = world.snapshot();
        usual = (usual * 3 + begun.elapsed()) / 4;
        acknowledged.push((id, tree(&world.path("source"))));
        let allowed = world.unique_bytes + world.unique_bytes / 20 + world.runs * RUN_OVERHEAD_BYTES;
        let packs = world.pack_bytes();
        assert!(
            packs <= allowed,
            "{packs} bytes of packs for {} of data: what killed runs uploaded is not used",
            world.unique_bytes
        );
        restore_killed(&mut world, &acknowledged);
    }
    eprintln!("{} runs, {killed} killed, {} snapshots acknowledged", world.runs, acknowledged.len());
    assert!(killed > 0, "nothing was killed; the runs are too short");
    for (id, expected) in &acknowledged {
        let _ = fs::remove_dir_all(world.path("last"));
        world.run(&["restore", &format!("{id}:data"), "--target", &world.path("last").display().to_string()]);
        assert!(tree(&world.path("last")) == *expected, "snapshot {id} is not what it was");
    }
    world.run(&["verify", "--read-data"]);
}

#[test]
fn the_next_run_uses_what_a_killed_one_uploaded() {
    const BYTES: usize = 96 << 20;
    let mut world = World { dir: tempfile::tempdir().unwrap(), choices: Choices(1), unique_bytes: 0, runs: 0 };
    fs::create_dir(world.path("source")).unwrap();
    for number in 0..4u64 {
        let mut bytes = vec![0; BYTES / 4];
        blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
        fs::write(world.path(&format!("source/{number}")), &bytes).unwrap();
    }
    // Bytes are counted here, so without parity.
    world.run(&["init", "--kdf", "low", "--parity", "0"]);
    let source = format!("data={}", world.path("source").display());
    let mut child = world.command(&["snapshot", "--dir", &source]).spawn().unwrap();
    let packs = world.path("repository/packs");
    let begun = Instant::now();
    while (!packs.exists() || tree(&packs).len() < 3) && begun.elapsed() < Duration::from_secs(60) {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be killed");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let uploaded = world.pack_bytes();
    let output = world.run(&["snapshot", "--dir", &source, "--json"]);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let summary: serde_json::Value = serde_json::from_str(text.lines().next_back().unwrap()).unwrap();
    let stored = summary["data_added_packed"].as_u64().unwrap();
    assert!(
        uploaded > 32 << 20 && stored < BYTES as u64 + (2 << 20) - uploaded,
        "{uploaded} bytes were there, {stored} stored again"
    );
    let id = snapshot_id(&output).unwrap();
    world.run(&["restore", &format!("{id}:data"), "--target", &world.path("target").display().to_string()]);
    assert!(tree(&world.path("target")) == tree(&world.path("source")));
    // Only three packs were waited for, and the rest is not there twice.
    assert!(world.pack_bytes() < BYTES as u64 + (3 << 20));
    world.snapshot();
}

#[test]
fn a_prune_killed_at_any_moment_beside_a_running_snapshot_loses_nothing() {
    let seed = number("ESKER_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("ESKER_SEED={seed}");
    let mut world = World { dir: tempfile::tempdir().unwrap(), choices: Choices(seed), unique_bytes: 0, runs: 0 };
    fs::create_dir_all(world.path("source/stays")).unwrap();
    fs::create_dir_all(world.path("other")).unwrap();
    world.run(&["init", "--kdf", "low"]);
    let deadline = Instant::now() + Duration::from_secs(number("ESKER_SOAK").unwrap_or(SECONDS));
    // Id, source, what it must restore to.
    let mut kept: Vec<(String, &str, Tree)> = Vec::new();
    let (mut usual, mut killed, mut committed, mut pruned) = (Duration::from_millis(700), 0, 0, 0);
    while Instant::now() < deadline {
        world.change();
        kept.push((world.snapshot(), "data", tree(&world.path("source"))));
        while kept.len() > 4 {
            let which = usize::try_from(world.choices.next(kept.len() as u64 - 1)).unwrap();
            let (id, ..) = kept.remove(which);
            world.run(&["forget", &id]);
        }
        // Another host begins: half of what it stores was there before, and may just have been forgotten.
        let mut bytes = vec![0; 700_000];
        blake3::Hasher::new().update(&world.choices.next(6).to_le_bytes()).finalize_xof().fill(&mut bytes);
        let name = format!("other/{}", world.choices.next(2));
        fs::write(world.path(&name), &bytes).unwrap();
        let other = format!("other={}", world.path("other").display());
        let arguments = ["snapshot", "--host", "second", "--dir", &other, "--json"];
        let mut running = world.command_of("second-cache", &arguments).spawn().unwrap();
        for _ in 0..1 + world.choices.next(3) {
            let (succeeded, output) = world.run_and_kill(&["prune", "--max-unused", "0", "--force"], usual);
            killed += u32::from(!succeeded);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(succeeded || output.status.code().is_none(), "prune ended by itself: {}\n{said}", output.status);
        }
        if world.choices.next(3) == 0 {
            let _ = running.kill();
        }
        if let Some(id) = snapshot_id(&running.wait_with_output().unwrap()) {
            kept.push((id, "other", tree(&world.path("other"))));
            committed += 1;
        }
        if world.choices.next(4) == 0 {
            fs::remove_dir_all(world.path("cache")).unwrap();
        }
        let begun = Instant::now();
        world.run(&["prune", "--max-unused", "0", "--force"]);
        usual = (usual * 3 + begun.elapsed()) / 4;
        pruned += 1;
        let which = usize::try_from(world.choices.next(kept.len() as u64)).unwrap();
        restores(&world, &kept[which]);
    }
    eprintln!("{pruned} prunes ended, {killed} were killed, {committed} snapshots committed beside them");
    assert!(killed > 0 && committed > 0);
    for snapshot in &kept {
        restores(&world, snapshot);
    }
    world.run(&["verify", "--read-data"]);
    // Everything that was killed is finished: what is left is what is needed, and the little that padding and small packs cost.
    world.run(&["prune", "--max-unused", "0", "--force"]);
    let output = world.run(&["prune", "--max-unused", "0", "--force", "--json"]);
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((summary["packs_waiting"].as_u64(), summary["packs_deleted"].as_u64()), (Some(0), Some(0)), "{summary}");
}

fn restores(world: &World, (id, source, expected): &(String, &str, Tree)) {
    let _ = fs::remove_dir_all(world.path("target"));
    world.run(&["restore", &format!("{id}:{source}"), "--target", &world.path("target").display().to_string()]);
    assert!(tree(&world.path("target")) == *expected, "snapshot {id} is not what it was");
}

/// A restore is killed, and the same restore again makes it whole.
fn restore_killed(world: &mut World, acknowledged: &[(String, Tree)]) {
    let which = usize::try_from(world.choices.next(acknowledged.len() as u64)).unwrap();
    let (id, expected) = &acknowledged[which];
    let target = world.path("target").display().to_string();
    let arguments = ["restore", &format!("{id}:data"), "--target", &target, "--delete"];
    world.run_and_kill(&arguments, Duration::from_millis(400));
    world.run(&arguments);
    assert!(tree(Path::new(&target)) == *expected, "snapshot {id} was not restored after a killed restore");
}
