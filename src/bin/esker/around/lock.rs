//! One snapshot of a host into a repository at a time: two runs of one timer read everything twice and wait for one disk.
//!
//! Nothing in the repository is locked. The lock is the kernel's, on a file of this machine, and goes with the process.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use esker::clock::{Clock, SystemClock, Timestamp};
use esker::private;
use esker::store::location::Location;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::args::Snapshot;
use crate::context::{Context, states};
use crate::error::Failure;
use crate::terminal::escape::escape;
use crate::terminal::words;

/// How often a waiting run looks again.
const INTERVAL: Duration = Duration::from_millis(200);
/// What a lock file says is short; more is not its own.
const TEXT_BYTES_MAX: u64 = 256;

/// Held until the process ends.
pub struct Lock {
    _file: File,
}

/// Takes the lock, or says who has it. `None`: there is no place for one on this machine.
pub fn take(options: &Snapshot, context: &Context) -> Result<Option<Lock>> {
    let host = options.host.clone().unwrap_or_else(|| context.host());
    let Some(path) = path(&host, context)? else {
        context.progress.remark("this host has no state folder, so esker cannot detect runs at the same time");
        return Ok(None);
    };
    let shown = escape(path.as_os_str().as_encoded_bytes());
    let mut file = match private::open_or_create(&path) {
        Ok(file) => file,
        Err(error) => {
            context.progress.warn(&format!("{shown}: {error}; esker cannot tell whether another run is active"));
            return Ok(None);
        }
    };
    let until = options.wait_lock.and_then(|span| Instant::now().checked_add(span.0));
    let mut told = false;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            Err(Errno::WOULDBLOCK) => {}
            Err(error) => {
                context.progress.warn(&format!("{shown}: {error}; esker cannot tell whether another run is active"));
                return Ok(None);
            }
        }
        let holder = holder(&mut file);
        if until.is_none_or(|until| Instant::now() >= until) {
            return Err(Failure::new(format!("another snapshot of host {host:?} into this repository is under way: {holder}"))
                .hint("nothing was done; --wait-lock 30m waits for it, --allow-overlap runs both (no data is at risk)")
                .into());
        }
        if !std::mem::replace(&mut told, true) {
            context.progress.remark(&format!("waiting for another snapshot of host {host:?}: {holder}"));
            context.signals.install(&context.stop)?;
        }
        context.check_stop()?;
        std::thread::sleep(INTERVAL);
    }
    // For a message only; the lock itself is the kernel's.
    let since = words::rfc3339(Timestamp { nanoseconds: 0, ..SystemClock::new().now() });
    let text = format!("process {}, since {}\n", std::process::id(), since);
    let _ = file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0))).and_then(|_| file.write_all(text.as_bytes()));
    Ok(Some(Lock { _file: file }))
}

fn path(host: &str, context: &Context) -> Result<Option<PathBuf>> {
    let (place, host) = (id_of_place(context)?, blake3::hash(host.as_bytes()).to_hex());
    Ok(states().map(|folder| folder.join(format!("snapshot-{}-{}.lock", &place[..16], &host[..16]))))
}

/// The repository's place in the names of files of this machine.
pub fn id_of_place(context: &Context) -> Result<String> {
    let place = match context.location()? {
        // By whatever way it is named, it is one folder.
        Location::Path(path) => {
            let whole = path.canonicalize().unwrap_or_else(|_| std::path::absolute(&path).unwrap_or(path));
            whole.as_os_str().as_encoded_bytes().to_vec()
        }
        _ => context.settings.repository.clone().unwrap_or_default().into_encoded_bytes(),
    };
    Ok(blake3::hash(&place).to_hex().to_string())
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.take(TEXT_BYTES_MAX).read_to_string(&mut text));
    match read.is_ok() && !text.trim().is_empty() {
        true => escape(text.trim().as_bytes()),
        false => "a process that has just begun".to_owned(),
    }
}
