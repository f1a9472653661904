//! Freeing space, by the real program.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::common::{House, exits, json, json_lines, stderr, stdout, text};

impl House {
    /// Two snapshots of two folders; the first is forgotten.
    fn with_something_to_free() -> Self {
        let house = Self::with_repository();
        house.write("data/old", &super::super::noise(1, 900 << 10));
        house.snapshot();
        std::fs::remove_file(house.path("data/old")).unwrap();
        house.write("data/new", &super::super::noise(2, 2 << 20));
        house.snapshot();
        exits(house.esker(), ["forget", "--keep-last", "1"], 0);
        house
    }

    fn repository_bytes(&self) -> u64 {
        let mut stack = vec![self.path("repo/packs")];
        let mut bytes = 0;
        while let Some(folder) = stack.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                match entry.metadata().unwrap() {
                    data if data.is_dir() => stack.push(entry.path()),
                    data => bytes += data.len(),
                }
            }
        }
        bytes
    }

    /// A snapshot that has listed and acknowledged, and reads a source that ends when `enough` succeeds in a shell, or after
    /// a minute whatever happens here.
    pub fn slow_snapshot(&self, enough: &str) -> Child {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_esker"));
        command.env_clear().env("HOME", self.path("")).env("ESKER_CACHE_DIR", self.path("cache")).env("PATH", "/usr/bin:/bin");
        command.env("ESKER_REPOSITORY", self.path("repo")).env("ESKER_PASSWORD", super::common::PASSWORD);
        let source = format!("slow=sh -c 'touch begun; for i in $(seq 600); do {enough} && break; sleep 0.1; done; echo done'");
        command.args(["snapshot", "--command", &source]).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.current_dir(self.path("")).spawn().unwrap();
        let started = Instant::now();
        while !self.path("begun").exists() {
            assert!(started.elapsed() < Duration::from_secs(30), "it never began");
            std::thread::sleep(Duration::from_millis(20));
        }
        child
    }
}

#[test]
fn prune_frees_what_was_forgotten_and_says_so() {
    let house = House::with_something_to_free();
    let before = house.repository_bytes();
    let dry = stdout(&exits(house.esker(), ["prune", "-n"], 0));
    assert!(dry.contains("would free") && dry.contains("nothing was changed"), "{dry}");
    assert_eq!(house.repository_bytes(), before);
    let said = stdout(&exits(house.esker(), ["prune"], 0));
    assert!(said.contains("freed") && said.contains("packs"), "{said}");
    assert!(before - house.repository_bytes() > 900 << 10);
    let said = stdout(&exits(house.esker(), ["prune"], 0));
    assert!(said.contains("nothing has changed"), "{said}");
    exits(house.esker(), ["verify", "--read-data"], 0);
    exits(house.esker(), ["restore", "latest", "--target", "back"], 0);
    let summary = json(&exits(house.esker(), ["prune", "--force", "--json"], 0).stdout);
    assert_eq!(summary["message_type"], "summary");
    assert_eq!((summary["packs_deleted"].as_u64(), summary["packs_waiting"].as_u64()), (Some(0), Some(0)));
}

#[test]
fn a_running_backup_is_waited_for_by_name_and_never_waits_itself() {
    let house = House::with_something_to_free();
    let mut running = house.slow_snapshot("[ -e go ]");
    let before = house.repository_bytes();
    let said = stdout(&exits(house.esker(), ["prune"], 0));
    assert!(said.contains("nothing freed yet") && said.contains("the next prune frees"), "{said}");
    assert!(said.contains(&format!("process {}", running.id())), "{said}");
    assert_eq!(house.repository_bytes(), before);
    house.write("go", b"");
    assert!(running.wait().unwrap().success());
    let said = stdout(&exits(house.esker(), ["prune"], 0));
    assert!(said.contains("freed"), "{said}");
    exits(house.esker(), ["verify", "--read-data"], 0);
}

#[test]
fn with_a_grace_one_prune_waits_for_the_end_of_a_backup_and_frees_at_once() {
    let house = House::with_something_to_free();
    let mut running = house.slow_snapshot("sleep 3");
    let said = stdout(&exits(house.esker(), ["prune", "--grace", "60s"], 0));
    assert!(said.contains("freed"), "{said}");
    assert!(running.wait().unwrap().success());
    exits(house.esker(), ["verify", "--read-data"], 0);
}

#[test]
fn nobody_waits_for_a_backup_that_was_killed_on_this_machine() {
    let house = House::with_something_to_free();
    let mut running = house.slow_snapshot("[ -e go ]");
    running.kill().unwrap();
    running.wait().unwrap();
    house.write("go", b"");
    let said = stdout(&exits(house.esker(), ["prune"], 0));
    assert!(said.contains("freed") && said.contains("1 abandoned session"), "{said}");
}

#[test]
fn a_snapshot_that_vanished_stops_a_prune_with_14_and_a_hint() {
    let house = House::with_something_to_free();
    exits(house.esker(), ["prune"], 0);
    for entry in std::fs::read_dir(house.path("repo/snapshots")).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let before = house.repository_bytes();
    let said = stderr(&exits(house.esker(), ["prune", "--force"], 14));
    assert!(said.contains("brake"), "{said}");
    assert_eq!(house.repository_bytes(), before);
}

#[test]
fn a_disk_with_no_byte_left_is_emptied_by_forget_and_prune() {
    let house = House::new();
    let Some(disk) = house.small_disk("6m") else { return };
    exits(house.esker(), ["init", "--kdf", "low"], 0);
    house.write("data/old", &super::super::noise(1, 1_500_000));
    house.snapshot();
    std::fs::remove_file(house.path("data/old")).unwrap();
    house.write("data/new", &super::super::noise(2, 1_500_000));
    house.snapshot();
    let mut filler = std::fs::File::create(house.path("repo/filler")).unwrap();
    while std::io::Write::write(&mut filler, &[0; 4096]).is_ok() {}
    assert!(std::fs::write(house.path("repo/more"), b"x").is_err(), "not a byte is left");
    let _ = std::fs::remove_file(house.path("repo/more"));
    house.write("data/one more", &super::super::noise(3, 100_000));
    exits(house.esker(), ["snapshot", "data"], 11);
    std::fs::remove_file(house.path("data/one more")).unwrap();
    exits(house.esker(), ["forget", "--keep-last", "1"], 0);
    let said = stdout(&exits(house.esker(), ["prune", "--max-unused", "0"], 0));
    assert!(said.contains("freed 1."), "{said}");
    drop(filler);
    std::fs::remove_file(house.path("repo/filler")).unwrap();
    exits(house.esker(), ["verify", "--read-data"], 0);
    exits(house.esker(), ["restore", "latest", "--target", "back"], 0);
    drop(disk);
}

#[test]
fn what_is_stored_again_does_not_count_as_freed() {
    let house = House::with_repository();
    house.write("data/old", &super::super::noise(1, 600 << 10));
    house.write("data/stays", &super::super::noise(2, 1200 << 10));
    house.snapshot();
    std::fs::remove_file(house.path("data/old")).unwrap();
    house.snapshot();
    exits(house.esker(), ["forget", "--keep-last", "1"], 0);
    let kib = |said: &str, verb: &str| {
        let size = said.split_once(verb).and_then(|(_, rest)| rest.split_once(" KiB:")).expect(said).0;
        size.parse::<f64>().expect(said)
    };
    let dry = stdout(&exits(house.esker(), ["prune", "--max-unused", "0", "-n"], 0));
    assert!((600.0..700.0).contains(&kib(&dry, "would free ")), "{dry}");
    let said = stdout(&exits(house.esker(), ["prune", "--max-unused", "0"], 0));
    assert!((600.0..760.0).contains(&kib(&said, "freed ")), "{said}");
    exits(house.esker(), ["verify", "--read-data"], 0);
}

#[test]
fn a_writer_key_prunes_nothing() {
    let house = House::with_something_to_free();
    let line = text(&exits(house.esker(), ["key", "export"], 0).stdout);
    let file = house.write("writer.key", line.as_bytes());
    let mut command = house.bare();
    command.env("ESKER_REPOSITORY", house.path("repo")).env("ESKER_KEY_FILE", file);
    exits(command, ["prune"], 12);
}

#[test]
fn limits_that_cannot_be_are_usage_errors() {
    let house = House::with_repository();
    for wrong in [["prune", "--max-unused", "200%"], ["prune", "--max-repack-size", "lots"], ["prune", "--grace", "soon"]] {
        exits(house.esker(), wrong, 2);
    }
}

#[test]
fn unlock_shows_who_is_at_work_and_ends_whom_it_is_told_to() {
    let house = House::with_something_to_free();
    assert!(stdout(&exits(house.esker(), ["unlock"], 0)).contains("no run is active"));
    let mut running = house.slow_snapshot("[ -e go ]");
    let lines = json_lines(&exits(house.esker(), ["unlock", "--json"], 0).stdout);
    assert_eq!((&lines[0]["dead"], &lines[0]["ended"], &lines[1]["sessions_ended"]), (&false.into(), &false.into(), &0.into()));
    assert_eq!(lines[0]["pid"], running.id());
    let session = lines[0]["session"].as_str().unwrap().to_owned();
    // That somebody says it is closed hides no session that a prune waits for.
    house.write(format!("repo/sessions/{session}/closed"), b"whatever");
    assert_eq!(json_lines(&exits(house.esker(), ["unlock", "-n", "--json"], 0).stdout).len(), 2);
    exits(house.esker(), ["unlock", "ffff"], 2);
    exits(house.esker(), ["unlock", &session[..8], "--dry-run"], 0);

    let said = stdout(&exits(house.esker(), ["prune"], 0));
    assert!(said.contains("esker unlock") && said.contains(&session[..8]), "{said}");
    let said = stdout(&exits(house.esker(), ["unlock", &session[..8]], 0));
    assert!(said.contains("ended 1 session"), "{said}");
    assert!(stdout(&exits(house.esker(), ["prune"], 0)).contains("freed"));
    // The run that was alive all the same commits nothing, and says why.
    house.write("go", b"");
    assert_eq!(running.wait().unwrap().code(), Some(1));
    assert!(stdout(&exits(house.esker(), ["unlock", "-n"], 0)).contains("no run is active"));
    exits(house.esker(), ["snapshot", "data"], 0);
    exits(house.esker(), ["verify", "--read-data"], 0);
}

#[test]
fn unlock_ends_what_was_killed_here_without_being_told_whom() {
    let house = House::with_something_to_free();
    let mut running = house.slow_snapshot("[ -e go ]");
    running.kill().unwrap();
    running.wait().unwrap();
    house.write("go", b"");
    let dry = json_lines(&exits(house.esker(), ["unlock", "-n", "--json"], 0).stdout);
    assert_eq!((&dry[0]["dead"], &dry[1]["sessions_ended"]), (&true.into(), &0.into()));
    assert!(stdout(&exits(house.esker(), ["unlock"], 0)).contains("ended 1 session"));
    let said = stdout(&exits(house.esker(), ["prune"], 0));
    assert!(said.contains("freed") && !said.contains("abandoned"), "{said}");
}

#[test]
fn a_writer_key_unlocks_nobody() {
    let house = House::with_something_to_free();
    exits(house.esker(), ["key", "export", "--output", "writer.key"], 0);
    let mut command = house.esker();
    command.env_remove("ESKER_PASSWORD").env("ESKER_KEY_FILE", house.path("writer.key"));
    exits(command, ["unlock"], 12);
}
