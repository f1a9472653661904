//! Hundreds of kills: of snapshots, of prunes, of prunes while another host's snapshot runs, at moments spread evenly over their time.
//!
//! The repository is small, opened with a key file, and in memory, so that a run takes a tenth of a second and a kill costs two. After
//! each kill it is asked what is there; every 25th time all of it is restored and verified.

use std::fs;
use std::process::Child;
use std::time::{Duration, Instant};

use crate::world::{Tree, World, number, snapshot_id, tree, wait};

/// Kills of each kind that a CI run makes, at least.
const SNAPSHOTS: u64 = 80;
const PRUNES: u64 = 60;
const PRUNES_BESIDE: u64 = 60;
/// How often everything is looked at.
const LOOK_EVERY: u64 = 25;
/// Snapshots kept.
const KEPT: usize = 5;
/// Kills that come too late, at most, for each that does not.
const MISSES_MAX: u64 = 4;

const PRUNE: [&str; 5] = ["prune", "--max-unused", "0", "--force", "-q"];

/// What a command that is killed usually takes, and where in it the next kill falls.
struct Pace {
    usual: Duration,
    turn: u64,
}

impl Pace {
    /// Of runs that nobody killed; the longest tells, so that the end of a run is met too.
    fn of(runs: impl Iterator<Item = Duration>) -> Self {
        Self { usual: runs.max().unwrap(), turn: 0 }
    }

    /// The golden ratio's multiples lie evenly, however many there are.
    fn next(&mut self) -> Duration {
        self.turn += 1;
        self.usual.mul_f64((self.turn as f64 * 0.618_033_988_75).fract())
    }
}

struct Killer {
    world: World,
    /// Id, source, what it restores to.
    kept: Vec<(String, &'static str, Tree)>,
    killed: [u64; 3],
    missed: u64,
    committed_beside: u64,
    others: u64,
}

impl Killer {
    fn begin() -> Self {
        let seed = number("ESKER_SEED").unwrap_or_else(|| u64::from(std::process::id()));
        eprintln!("ESKER_SEED={seed}");
        let world = World::in_memory(seed);
        fs::create_dir_all(world.path("other")).unwrap();
        world.run(&["init", "--kdf", "low"]);
        world.run(&["key", "export", "--owner", "--output", &world.path("owner.key").display().to_string()]);
        Self { world, kept: Vec::new(), killed: [0; 3], missed: 0, committed_beside: 0, others: 0 }
    }

    /// A few files, one of them new; all but that one small.
    fn change(&mut self) {
        for (name, size) in [("a", 90_000), ("b", 4_000)] {
            let which = self.world.choices.next(6);
            let mut bytes = vec![0; size];
            blake3::Hasher::new().update(&self.world.choices.next(u64::MAX).to_le_bytes()).finalize_xof().fill(&mut bytes);
            fs::write(self.world.path(&format!("source/stays/{name}{which}")), bytes).unwrap();
        }
    }

    /// Half of what another host stores may just have been forgotten.
    fn change_other(&mut self) {
        let mut bytes = vec![0; 70_000];
        blake3::Hasher::new().update(&self.world.choices.next(4).to_le_bytes()).finalize_xof().fill(&mut bytes);
        let name = format!("other/{}", self.world.choices.next(2));
        fs::write(self.world.path(&name), bytes).unwrap();
    }

    fn source(&self) -> String {
        format!("data={}", self.world.path("source").display())
    }

    fn snapshot(&mut self) -> Duration {
        self.change();
        let begun = Instant::now();
        let id = self.world.snapshot();
        self.kept.push((id, "data", tree(&self.world.path("source"))));
        begun.elapsed()
    }

    /// Something is forgotten, so that a prune has work to do.
    fn forget(&mut self) {
        while self.kept.len() >= KEPT {
            let which = usize::try_from(self.world.choices.next(self.kept.len() as u64 - 1)).unwrap();
            let (id, ..) = self.kept.remove(which);
            self.world.run(&["forget", &id]);
        }
    }

    fn prune(&mut self) -> Duration {
        while self.kept.len() < KEPT {
            self.snapshot();
        }
        self.forget();
        let begun = Instant::now();
        self.world.run(&PRUNE);
        begun.elapsed()
    }

    /// Counts it if it was killed in time.
    fn count(&mut self, kind: usize, succeeded: bool) {
        if succeeded {
            self.missed += 1;
        } else {
            self.killed[kind] += 1;
        }
        let all = self.killed.iter().sum::<u64>();
        if !succeeded && all.is_multiple_of(LOOK_EVERY) {
            self.look_closely();
        } else {
            self.look();
        }
    }

    fn kill_snapshot(&mut self, pace: &mut Pace) {
        self.change();
        let source = self.source();
        let (succeeded, output) = self.world.kill_after(&["snapshot", "--dir", &source, "--json"], pace.next());
        // The line may have come before the kill: then it was promised.
        match snapshot_id(&output) {
            Some(id) => self.kept.push((id, "data", tree(&self.world.path("source")))),
            None => assert!(!succeeded, "it succeeded and did not say what it made"),
        }
        self.count(0, succeeded);
    }

    fn kill_prune(&mut self, pace: &mut Pace, kind: usize) {
        let (succeeded, output) = self.world.kill_after(&PRUNE, pace.next());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(succeeded || output.status.code().is_none(), "prune ended by itself: {}\n{said}", output.status);
        self.count(kind, succeeded);
    }

    fn begin_other(&mut self) -> Child {
        self.change_other();
        self.others += 1;
        let other = format!("other={}", self.world.path("other").display());
        self.world.command_of("second-cache", &["snapshot", "--host", "second", "--dir", &other, "--json"]).spawn().unwrap()
    }

    fn end_other(&mut self, mut running: Child, kill: bool) {
        if kill {
            wait(&mut running, Duration::from_millis(self.world.choices.next(60)));
            let _ = running.kill();
        }
        let output = running.wait_with_output().unwrap();
        assert!(output.status.success() || kill, "{}", String::from_utf8_lossy(&output.stderr));
        if let Some(id) = snapshot_id(&output) {
            self.kept.push((id, "other", tree(&self.world.path("other"))));
            self.committed_beside += 1;
        }
    }

    /// Everything that was acknowledged is listed.
    fn look(&self) {
        let listed = String::from_utf8(self.world.run(&["snapshots", "--json"]).stdout).unwrap();
        for (id, ..) in &self.kept {
            assert!(listed.contains(id), "snapshot {id} was acknowledged and is gone");
        }
    }

    /// And restores, and nothing is damaged.
    fn look_closely(&self) {
        self.look();
        for (id, source, expected) in &self.kept {
            let target = self.world.path("target");
            let _ = fs::remove_dir_all(&target);
            self.world.run(&["restore", &format!("{id}:{source}"), "--target", &target.display().to_string()]);
            assert!(tree(&target) == *expected, "snapshot {id} is not what it was");
        }
        self.world.run(&["verify", "--read-data", "-q"]);
    }
}

#[test]
fn hundreds_of_kills_of_snapshots_and_prunes_lose_nothing_and_the_next_run_goes_on() {
    let begun = Instant::now();
    let soak = Duration::from_secs(number("ESKER_SOAK").unwrap_or(0));
    let mut killer = Killer::begin();
    let mut snapshots = Pace::of((0..4).map(|_| killer.snapshot()).collect::<Vec<_>>().into_iter());
    let mut prunes = Pace::of((0..3).map(|_| killer.prune()).collect::<Vec<_>>().into_iter());
    let mut beside = Pace { usual: prunes.usual, turn: 0 };
    for round in 0.. {
        let enough = killer.killed[0] >= SNAPSHOTS && killer.killed[1] >= PRUNES && killer.killed[2] >= PRUNES_BESIDE;
        if enough && begun.elapsed() >= soak {
            break;
        }
        assert!(killer.missed < MISSES_MAX * (50 + killer.killed.iter().sum::<u64>()), "kills come too late: {:?}", killer.killed);
        killer.kill_snapshot(&mut snapshots);
        if round % 4 == 0 {
            killer.snapshot();
        }
        killer.forget();
        killer.kill_prune(&mut prunes, 1);
        let running = killer.begin_other();
        killer.kill_prune(&mut beside, 2);
        killer.end_other(running, round % 3 == 0);
        if round % 16 == 7 {
            let _ = fs::remove_dir_all(killer.world.path("cache"));
        }
    }
    let [of_snapshots, of_prunes, of_prunes_beside] = killer.killed;
    eprintln!(
        "killed {of_snapshots} snapshots, {of_prunes} prunes, {of_prunes_beside} prunes while one of {} other snapshots ran, \
         {} of which committed; {} ended before their kill; {} s",
        killer.others,
        killer.committed_beside,
        killer.missed,
        begun.elapsed().as_secs()
    );
    assert!(of_snapshots + of_prunes + of_prunes_beside >= 200 && killer.committed_beside > 20);
    killer.look_closely();
    // Everything that was killed is finished: what is left is what is needed, and the little that padding and small packs cost.
    killer.world.run(&PRUNE);
    let output = killer.world.run(&["prune", "--max-unused", "0", "--force", "--json"]);
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((summary["packs_waiting"].as_u64(), summary["packs_deleted"].as_u64()), (Some(0), Some(0)), "{summary}");
    killer.look_closely();
}
