//! The real program, killed at random moments: every snapshot it acknowledged restores, the next run just works, and what a killed
//! run had uploaded is used. `ESKER_SOAK=SECONDS` goes on for so long, `ESKER_SEED=N` repeats a run's choices.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test may fail, tells its seed, and feeds what it kills"
)]

#[path = "kill/hundreds.rs"]
mod hundreds;
#[path = "kill/world.rs"]
mod world;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use world::{Tree, World, number, snapshot_id, tree};

/// Bounded for CI.
const SECONDS: u64 = 20;
/// A pack is never smaller; each run may leave one of each class.
const RUN_OVERHEAD_BYTES: u64 = 256 << 10;

#[test]
fn whatever_moment_it_is_killed_at_nothing_acknowledged_is_lost() {
    let seed = number("ESKER_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("ESKER_SEED={seed}");
    let mut world = World::new(seed);
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
            // Of runs that were killed at once none may have made it.
            match fs::remove_dir_all(world.path("cache")) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
                _ => {}
            }
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
    const ENOUGH: u64 = 32 << 20;
    let world = World::new(1);
    let mut dump = vec![0; BYTES];
    blake3::Hasher::new().finalize_xof().fill(&mut dump);
    // Bytes are counted here, so without parity.
    world.run(&["init", "--kdf", "low", "--parity", "0"]);
    let snapshot = |whole: bool| {
        let mut child = world.command(&["snapshot", "--stdin", "dump", "--json"]).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let dump = dump.clone();
        // It is given back open: a stream without an end, however fast the machine is, and the run is still there when it is killed.
        let feeds = std::thread::spawn(move || {
            let _ = stdin.write_all(&dump);
            (!whole).then_some(stdin)
        });
        (child, feeds)
    };

    let (mut child, feeds) = snapshot(false);
    let begun = Instant::now();
    // How many packs that are depends on the machine: what waits too long is packed before a pack is full.
    while world.pack_bytes() <= ENOUGH {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be killed");
        assert!(begun.elapsed() < Duration::from_secs(60), "{} bytes after a minute", world.pack_bytes());
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(feeds.join().unwrap().is_some());
    let uploaded = world.pack_bytes();

    let (child, feeds) = snapshot(true);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(feeds.join().unwrap().is_none());
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let summary: serde_json::Value = serde_json::from_str(text.lines().next_back().unwrap()).unwrap();
    let stored = summary["data_added_packed"].as_u64().unwrap();
    assert!(stored < BYTES as u64 + (2 << 20) - uploaded, "{uploaded} bytes were there, {stored} stored again");
    let id = snapshot_id(&output).unwrap();
    assert!(world.run(&["dump", &format!("{id}:dump")]).stdout == dump);
    // Nothing is there twice.
    assert!(world.pack_bytes() < BYTES as u64 + (3 << 20));
}

/// A restore is killed, and the same restore again makes it whole.
fn restore_killed(world: &mut World, acknowledged: &[(String, Tree)]) {
    let which = usize::try_from(world.choices.next(acknowledged.len() as u64)).unwrap();
    let (id, expected) = &acknowledged[which];
    let target = world.path("target").display().to_string();
    let arguments = ["restore", &format!("{id}:data"), "--target", &target, "--delete", "--yes"];
    world.run_and_kill(&arguments, Duration::from_millis(400));
    world.run(&arguments);
    assert!(tree(Path::new(&target)) == *expected, "snapshot {id} was not restored after a killed restore");
}
