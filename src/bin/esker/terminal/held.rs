//! Output that is held back until it is known whether the command failed: `--quiet-unless-failed`.

use esker::locks::Unpoisoned;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::{Mutex, MutexGuard};

use tempfile::SpooledTempFile;

/// So much stays in memory; more goes to a temporary file.
const MEMORY_MAX: usize = 1 << 20;

static HELD: Mutex<Option<SpooledTempFile>> = Mutex::new(None);

/// Where a piece would have gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Error,
}

/// From now on output is held back.
pub fn begin() {
    *held() = Some(SpooledTempFile::new(MEMORY_MAX));
}

/// Takes a piece, if output is held back. Where it cannot be kept it is not held back either.
pub fn keep(stream: Stream, bytes: &[u8]) -> bool {
    let mut held = held();
    let Some(spool) = held.as_mut() else { return false };
    put(spool, stream, bytes).is_ok()
}

/// The command ended: prints all of it in its order when it failed, else drops it.
pub fn end(failed: bool) {
    let taken = held().take();
    if let (Some(mut spool), true) = (taken, failed) {
        // A reader that went away misses the rest; the exit code tells the same.
        let _ = print(&mut spool);
    }
}

fn put(spool: &mut SpooledTempFile, stream: Stream, bytes: &[u8]) -> io::Result<()> {
    let length = u64::try_from(bytes.len()).map_err(io::Error::other)?;
    spool.write_all(&[u8::from(stream == Stream::Error)])?;
    spool.write_all(&length.to_le_bytes())?;
    spool.write_all(bytes)
}

fn print(spool: &mut SpooledTempFile) -> io::Result<()> {
    spool.seek(SeekFrom::Start(0))?;
    let mut spool = io::BufReader::new(spool);
    let mut head = [0; 9];
    while spool.read_exact(&mut head).is_ok() {
        let [stream, length @ ..] = head;
        let mut piece = (&mut spool).take(u64::from_le_bytes(length));
        match stream {
            0 => io::copy(&mut piece, &mut io::stdout().lock())?,
            _ => {
                io::stdout().lock().flush()?;
                io::copy(&mut piece, &mut io::stderr().lock())?
            }
        };
    }
    io::stdout().lock().flush()
}

fn held() -> MutexGuard<'static, Option<SpooledTempFile>> {
    HELD.lock().unpoisoned()
}
