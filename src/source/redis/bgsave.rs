//! BGSAVE and the file it writes.
//!
//! The answer "started" means little: the save counts when none is in progress, the last one's status is ok and LASTSAVE has moved
//! since. A failed one, on a server with save points, makes it refuse every write (MISCONF): that must be said loudly.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::super::SourceError;
use super::connection::{Connection, Reply};
use crate::monitor::Stop;

/// Between two looks at a save under way.
const LOOK: Duration = Duration::from_millis(100);
/// LASTSAVE counts whole seconds: after so long it must be able to move.
const A_SECOND: Duration = Duration::from_millis(1100);
/// How many saves are started before it is given up.
const ATTEMPTS: usize = 3;

/// What INFO says about saving.
struct Persistence {
    in_progress: bool,
    last_ok: bool,
    last_save: i64,
}

/// Makes the server save, and opens the new file.
pub(super) fn save(connection: &mut Connection, file: &Path, stop: &Stop) -> Result<File, SourceError> {
    let before = std::fs::metadata(file).ok();
    // One under way began before now: its data is older than this snapshot may claim.
    let mut start = settle(connection, stop)?;
    for _ in 0..ATTEMPTS {
        if let Reply::Error(error) = connection.command(&["BGSAVE", "SCHEDULE"])? {
            // Someone else was faster; a save under way that began after ours was asked for would do, but this is simpler.
            if !error.contains("in progress") {
                return Err(connection.refused("BGSAVE", &error));
            }
            start = settle(connection, stop)?;
            continue;
        }
        let end = settle(connection, stop)?;
        if !end.last_ok {
            return Err(SourceError::Unfit(
                "BGSAVE failed (see the server's log: disk full, no memory to fork, folder not writable?). WARNING: a Redis with save \
                 points now REFUSES ALL WRITES (MISCONF) until a save succeeds"
                    .into(),
            ));
        }
        if end.last_save > start.last_save {
            return open(file, before.as_ref());
        }
        // It was over within the second of the one before (or has only been scheduled): LASTSAVE cannot tell. Again, a second later.
        pause(A_SECOND, stop)?;
    }
    Err(SourceError::Unfit(format!("BGSAVE was asked for {ATTEMPTS} times and LASTSAVE did not move")))
}

/// Waits until no save is under way.
fn settle(connection: &mut Connection, stop: &Stop) -> Result<Persistence, SourceError> {
    loop {
        let state = persistence(connection)?;
        if !state.in_progress {
            return Ok(state);
        }
        pause(LOOK, stop)?;
    }
}

fn persistence(connection: &mut Connection) -> Result<Persistence, SourceError> {
    let Reply::Text(info) = connection.ask(&["INFO", "persistence"])? else {
        return Err(connection.odd("something else than INFO persistence"));
    };
    let field = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim));
        line.ok_or_else(|| connection.odd(&format!("INFO persistence without {name}")))
    };
    // While the append-only file is rewritten, a save is only scheduled.
    let in_progress = field("rdb_bgsave_in_progress")? != "0" || field("aof_rewrite_in_progress")? != "0";
    let last_ok = field("rdb_last_bgsave_status")? == "ok";
    let Reply::Integer(last_save) = connection.ask(&["LASTSAVE"])? else {
        return Err(connection.odd("something else than LASTSAVE"));
    };
    Ok(Persistence { in_progress, last_ok, last_save })
}

fn pause(time: Duration, stop: &Stop) -> Result<(), SourceError> {
    stop.check()?;
    std::thread::sleep(time);
    Ok(())
}

/// The file, if it is one that was replaced since `before`: else the path leads elsewhere.
fn open(path: &Path, before: Option<&Metadata>) -> Result<File, SourceError> {
    let cannot = |error| SourceError::Io { what: format!("cannot read the RDB file {}", path.display()), error };
    let file = File::open(path).map_err(cannot)?;
    let now = file.metadata().map_err(cannot)?;
    let same = |before: &Metadata| {
        before.dev() == now.dev()
            && before.ino() == now.ino()
            && (before.mtime(), before.mtime_nsec()) == (now.mtime(), now.mtime_nsec())
    };
    if before.is_some_and(same) {
        let path = path.display();
        return Err(SourceError::Unfit(format!("Redis saved its data, but {path} did not change: is that the server's dump.rdb?")));
    }
    Ok(file)
}
