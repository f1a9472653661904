//! The log file: all that is said, and remarks that are not shown, each with its time.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use esker::clock::{Clock, SystemClock, Timestamp};
use esker::locks::Unpoisoned;

use super::words;

static LOG: Mutex<Option<File>> = Mutex::new(None);

/// From now on everything is written to this file too, at its end. A new file is its owner's alone: names of files are in it.
pub fn open(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    *log() = Some(file);
    Ok(())
}

/// Each line with the time before it. A log that cannot be written any more is given up: no backup fails for it.
pub fn write(text: &str) {
    let mut log = log();
    let Some(file) = log.as_mut() else { return };
    let now = SystemClock::new().now();
    // Milliseconds are as fine as anybody reads.
    let time = words::rfc3339(Timestamp { nanoseconds: now.nanoseconds / 1_000_000 * 1_000_000, ..now });
    let lines: String = text.lines().filter(|line| !line.trim().is_empty()).map(|line| format!("{time} {line}\n")).collect();
    // One call for each text, so that the lines of two runs do not mix.
    if let Err(error) = file.write_all(lines.as_bytes()) {
        *log = None;
        drop(log);
        super::stderr_line(&format!("esker: warning: the log file cannot be written any more: {error}"));
    }
}

fn log() -> MutexGuard<'static, Option<File>> {
    LOG.lock().unpoisoned()
}
