//! Where the file lies: which one of a folder is used, how a bad one is replaced, where to go when the folder cannot be used.
//!
//! A file that is dropped may still be open in another process, and SQLite deletes the log of a closed file *by name*. So a name is
//! never used twice: `cache-<16 hex number>-<16 hex random>.sqlite`, the highest name is the one in use, and a new file takes a
//! higher number. Whoever still has an older one open keeps working on it, unlinked, and hurts nobody.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::database::{Database, Fault};
use super::tag::Tagger;
use crate::clock::{SystemRng, random};
use crate::private;

/// How long opening waits for another process that opens or replaces; both take milliseconds.
const OPENING: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 10 });

/// An open cache file and the folder it lies in.
pub(super) struct Place {
    pub(super) database: Database,
    pub(super) file: PathBuf,
    folder: PathBuf,
    /// Set: the folder is ours alone and vanishes with us. Dropped last.
    private: Option<tempfile::TempDir>,
}

/// Where temporary folders may be made when `TMPDIR` names no such place: on a rescue system few of them can be written to.
const TEMPORARY: [&str; 4] = ["/tmp", "/var/tmp", "/dev/shm", "/run"];

/// A folder of this process alone, in the first place that has room for one.
fn temporary_folder() -> Result<tempfile::TempDir, Fault> {
    let named = std::env::temp_dir();
    let places = std::iter::once(named.as_path()).chain(TEMPORARY.iter().map(Path::new));
    let mut first = None;
    for place in places {
        match tempfile::Builder::new().prefix("esker-cache-").tempdir_in(place) {
            Ok(folder) => return Ok(folder),
            Err(error) => drop(first.get_or_insert(error)),
        }
    }
    let error = first.unwrap_or_else(|| std::io::ErrorKind::NotFound.into());
    Err(refused(&format!("a temporary folder, which TMPDIR or the cache folder can name, in {}", named.display()), &error))
}

impl Place {
    /// The cache in `folder`; if that cannot be, one in a private folder that vanishes at the end. Adds to `remarks` what a person
    /// should know.
    pub(super) fn open(folder: &Path, repository: &Tagger, remarks: &mut Vec<String>) -> Result<Self, Fault> {
        match Self::open_in(folder, repository, None, remarks) {
            Ok((database, file)) => Ok(Self { database, file, folder: folder.to_owned(), private: None }),
            Err(fault) => {
                remarks.push(format!("the cache in {} cannot be used, a temporary one is: {}", folder.display(), fault.text()));
                Self::private(repository)
            }
        }
    }

    /// A cache that vanishes at the end.
    pub(super) fn private(repository: &Tagger) -> Result<Self, Fault> {
        let private = temporary_folder()?;
        let folder = private.path().to_owned();
        let (database, file) = Self::open_in(&folder, repository, None, &mut Vec::new())?;
        // It does not outlive this process, so it need not outlive a power cut.
        database.never_wait()?;
        Ok(Self { database, file, folder, private: Some(private) })
    }

    /// What replaces this place after `fault`. A damaged file is deleted; one that only cannot be used now is left to others.
    pub(super) fn successor(&self, fault: &Fault, repository: &Tagger, remarks: &mut Vec<String>) -> Result<Self, Fault> {
        remarks.push(format!("the cache was dropped and starts empty: {}", fault.text()));
        match (fault, &self.private) {
            (Fault::Damaged(_), None) => match Self::open_in(&self.folder, repository, Some(&self.file), remarks) {
                Ok((database, file)) => Ok(Self { database, file, folder: self.folder.clone(), private: None }),
                Err(_) => Self::private(repository),
            },
            _ => Self::private(repository),
        }
    }

    /// Opens the newest file of `folder` that is newer than `condemned`, or makes one; removes all others.
    fn open_in(
        folder: &Path,
        repository: &Tagger,
        condemned: Option<&Path>,
        remarks: &mut Vec<String>,
    ) -> Result<(Database, PathBuf), Fault> {
        private::create_folder(folder).map_err(|error| refused("the folder", &error))?;
        let _lock = lock(folder)?;
        let files = files(folder)?;
        let newest = files.last();
        let mut used = None;
        if let Some((_, file)) = newest.filter(|(_, file)| condemned.is_none_or(|condemned| file.as_path() > condemned)) {
            match Database::open(file, repository) {
                Ok(database) => used = Some((database, file.clone())),
                Err(Fault::Damaged(why)) => {
                    remarks.push(format!("the cache {} was dropped and starts empty: {why}", file.display()));
                }
                Err(refused) => return Err(refused),
            }
        }
        let (database, file) = match used {
            Some(used) => used,
            None => create(folder, newest.map_or(0, |(number, _)| *number), repository)?,
        };
        for (_, other) in files.iter().filter(|(_, other)| *other != file) {
            // One that cannot be removed now is removed at the next opening.
            for ending in ["", "-wal", "-shm", "-journal"] {
                let mut name = other.as_os_str().to_owned();
                name.push(ending);
                let _ = fs::remove_file(name);
            }
        }
        Ok((database, file))
    }
}

impl Fault {
    /// What it says, for a person.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Damaged(text) | Self::Refused(text) => text,
        }
    }
}

fn refused(what: &str, error: &dyn std::fmt::Display) -> Fault {
    Fault::Refused(format!("{what}: {error}"))
}

/// A new empty file with a name that was never used.
fn create(folder: &Path, number_before: u64, repository: &Tagger) -> Result<(Database, PathBuf), Fault> {
    let number = number_before.checked_add(1).ok_or_else(|| Fault::Refused("its files have no number left".into()))?;
    let bytes = random::<40>(&SystemRng).map_err(|error| refused("its name", &error))?;
    let (mut name, mut salt) = ([0; 8], [0; 32]);
    name.copy_from_slice(&bytes[..8]);
    salt.copy_from_slice(&bytes[8..]);
    let file = folder.join(format!("cache-{number:016x}-{:016x}.sqlite", u64::from_be_bytes(name)));
    // Made here rather than by SQLite, for its mode; the log takes the mode of the file.
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file).map_err(|error| refused("a new file", &error))?;
    Ok((Database::create(&file, repository, &salt)?, file))
}

/// The cache files of a folder with their numbers, in order.
fn files(folder: &Path) -> Result<Vec<(u64, PathBuf)>, Fault> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| refused("the folder", &error))? {
        let path = entry.map_err(|error| refused("the folder", &error))?.path();
        let Some(number) = path.file_name().and_then(|name| name.to_str()).and_then(number) else { continue };
        found.push((number, path));
    }
    found.sort();
    Ok(found)
}

/// The number in a cache file's name.
fn number(name: &str) -> Option<u64> {
    let (number, random) = name.strip_prefix("cache-")?.strip_suffix(".sqlite")?.split_once('-')?;
    let is_hex = |text: &str| text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if is_hex(number) && is_hex(random) { u64::from_str_radix(number, 16).ok() } else { None }
}

/// One process at a time chooses and replaces files. Held until dropped.
fn lock(folder: &Path) -> Result<File, Fault> {
    let file = private::open_or_create(&folder.join("lock")).map_err(|error| refused("its lock", &error))?;
    let begin = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if begin.elapsed() < OPENING => std::thread::sleep(Duration::from_millis(10)),
            Err(TryLockError::WouldBlock) => return Err(Fault::Refused("another process holds its lock".into())),
            // A file system without locks: two files may come to be, the higher one wins at the next opening.
            Err(TryLockError::Error(_)) => return Ok(file),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_spelling() {
        assert_eq!(number("cache-00000000000000ff-0123456789abcdef.sqlite"), Some(255));
        for name in ["cache-ff-0123456789abcdef.sqlite", "cache-00000000000000FF-0123456789abcdef.sqlite", "lock", "cache-.sqlite"]
        {
            assert_eq!(number(name), None, "{name}");
        }
    }
}
