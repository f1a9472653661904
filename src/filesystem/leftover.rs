//! Names of replacements that are being written, and what becomes of those that a killed restore left.

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, flock, fstat, unlinkat};
use rustix::io::Errno;

use super::error::FilesystemError;
use super::folder::{Folder, open_beneath};
use super::metadata::file_stat;
use crate::clock::{Clock, SystemClock};
use crate::monitor::Stop;
use crate::process;

const PREFIX: &str = ".esker-";
/// The number of a dead process may be in use again. A replacement is written within minutes, so an older one is left over.
const OLD_SECONDS: i64 = 3_600;

/// The name of the replacement number `number` of this process.
pub(super) fn name_of(number: u64) -> String {
    format!("{PREFIX}{}-{number}", std::process::id())
}

/// The process that wrote the replacement of this name; none: another kind of name.
pub(super) fn writer_of(name: &[u8]) -> Option<u32> {
    let (process, number) = std::str::from_utf8(name).ok()?.strip_prefix(PREFIX)?.split_once('-')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(process) && is_number(number)).then(|| process.parse().ok())?
}

impl Folder {
    /// Removes the replacements in this folder that no running restore writes. Returns how many.
    ///
    /// A writer holds a lock on its file, which holds across containers too. The process number covers the moment between making
    /// the file and locking it.
    pub(crate) fn remove_leftovers(&self) -> Result<u64, FilesystemError> {
        let files = self.list(&Stop::new(), |name, kind| {
            matches!(kind, FileType::RegularFile | FileType::Unknown) && writer_of(name).is_some()
        })?;
        let mut removed = 0;
        for file in files {
            if self.is_left_over(&file.name) {
                match unlinkat(&self.fd, file.name.as_slice(), AtFlags::empty()) {
                    Ok(()) => removed += 1,
                    Err(Errno::NOENT) => {}
                    Err(errno) => return Err(self.error("remove", &file.name, errno)),
                }
            }
        }
        Ok(removed)
    }

    fn is_left_over(&self, name: &[u8]) -> bool {
        // One that cannot be opened is another user's.
        let Ok(fd) = open_beneath(&self.fd, name, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()) else { return false };
        if flock(&fd, FlockOperation::NonBlockingLockExclusive).is_err() {
            return false;
        }
        let Ok(stat) = fstat(&fd) else { return false };
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return false;
        }
        let writer = writer_of(name);
        writer.is_none_or(|writer| process::is_gone(writer) || writer == std::process::id())
            || is_old(file_stat(&stat).mtime.seconds)
    }
}

fn is_old(mtime_seconds: i64) -> bool {
    SystemClock::new().now().seconds.saturating_sub(mtime_seconds) > OLD_SECONDS
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use super::super::Target;
    use super::*;

    #[test]
    fn only_the_names_of_replacements_are_taken_for_them() {
        assert_eq!(writer_of(b".esker-12-0"), Some(12));
        for name in [".esker-12", ".esker-a-1", ".esker-1-", ".esker-1-2x", "esker-1-2", ".esker-99999999999-1"] {
            assert_eq!(writer_of(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn what_a_dead_process_left_is_removed_and_what_is_being_written_stays() {
        let dir = tempfile::tempdir().unwrap();
        let target = Target::open(dir.path(), false).unwrap();
        let written = Arc::clone(target.root()).replace_file(b"file").unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let dead = format!(".esker-{}-3", child.id());
        for name in [dead.as_str(), ".esker-notes", ".esker-1-7"] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        assert_eq!(target.root().remove_leftovers().unwrap(), 1);
        assert!(!dir.path().join(dead).exists());
        // One of a process that runs (init's number), one that is no replacement, one that is being written.
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
        drop(written);
    }
}
