//! A store in a folder: one file per object, published whole or not at all, and on the disk before a call returns.
//!
//! An object is written to `tmp/<random>` in the same file system, synced, and moved to its name without replacing
//! anything. Then the folder is synced. Every path below the root is walked one step at a time without following symbolic
//! links, so a link that an attacker places in the store leads nowhere. Folders have mode 0700, files 0600 (less the umask).

use std::collections::HashSet;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, Once, OnceLock};

use rustix::fs::{self, AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::{Entry, Name, ReadUnit, Store, StoreError, StoreErrorKind, TOP_MAX, beyond, too_large};
use crate::locks::Unpoisoned;
use crate::planted;

/// Unfinished files live here; the name belongs to the store.
const TMP: &str = "tmp";
/// A leftover of a killed process is removed when it is this much older, in seconds, than a file made now (on the file system's clock).
const LEFTOVER_AGE_SECONDS: i64 = 24 * 3600;
const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Without `NONBLOCK`, opening a fifo in the store would wait for ever.
const READ: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

/// What the store asked of the file system, in order. Paths are below the store's folder, "" is the folder itself.
///
/// A power cut keeps what was synced and any part of the rest, so these steps tell what may be left (see `tests/crash.rs`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DiskStep {
    /// A folder was made.
    Folder(String),
    /// The entries of a folder are on the disk.
    FolderSynced(String),
    /// A file was written, whole.
    Written(String, Vec<u8>),
    /// The bytes of a file are on the disk.
    Synced(String),
    /// A file has another name now, which may have been taken.
    Moved(String, String),
    /// A name was removed.
    Removed(String),
}

/// Receives what a store did; see [`LocalStore::watched`].
pub(crate) type Watch = Box<dyn Fn(DiskStep) + Send + Sync>;

/// Objects as files below one folder.
pub struct LocalStore {
    path: PathBuf,
    /// Held open: a disk that is in use cannot be unmounted and leave an empty folder that looks like an empty store.
    root: OnceLock<OwnedFd>,
    /// Folders whose entry in their parent this store has synced. Another process may have made one and died before that.
    settled: Mutex<HashSet<String>>,
    temporary_prefix: u64,
    temporary_next: AtomicU64,
    swept: Once,
    /// Cleared when the file system does not know `RENAME_NOREPLACE` (NFS, some FUSE). Then hard links publish.
    renames: AtomicBool,
    watch: Option<Watch>,
}

impl LocalStore {
    /// The store in the folder `path`. It touches nothing. The first call shows whether the store is there.
    pub fn open(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self {
            // Later changes of the working directory must not move the store.
            path: std::path::absolute(&path).unwrap_or(path),
            root: OnceLock::new(),
            settled: Mutex::default(),
            // This is not for secrecy: two stores should rarely try the same name. O_EXCL decides.
            temporary_prefix: std::hash::RandomState::new().build_hasher().finish(),
            temporary_next: AtomicU64::new(0),
            swept: Once::new(),
            renames: AtomicBool::new(true),
            watch: None,
        }
    }

    /// The same, and `watch` receives every change: for tests that cut the power.
    pub fn watched(path: impl Into<PathBuf>, watch: Watch) -> Self {
        Self { watch: Some(watch), ..Self::open(path) }
    }

    fn tell(&self, step: impl FnOnce() -> DiskStep) {
        if let Some(watch) = &self.watch {
            watch(step());
        }
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn root(&self) -> Result<&OwnedFd, StoreError> {
        if let Some(root) = self.root.get() {
            return Ok(root);
        }
        match fs::open(&self.path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(root) => Ok(self.root.get_or_init(|| root)),
            Err(Errno::NOENT | Errno::NOTDIR) => Err(self.no_store()),
            Err(error) => Err(self.failed("open", "", error)),
        }
    }

    fn no_store(&self) -> StoreError {
        StoreError::no_store(self.path.display().to_string())
    }

    fn failed(&self, verb: &str, name: &str, error: impl Into<io::Error>) -> StoreError {
        let error = error.into();
        let text = format!("cannot {verb} {}: {error}", self.path.join(name).display());
        let failure = match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOSPC | Errno::DQUOT) => StoreError::full(text),
            Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => StoreError::denied(text),
            _ => StoreError::failed(text),
        };
        failure.caused_by(error)
    }

    /// "Not there" may also mean that the whole store was deleted under us, which must never look like an empty one.
    fn absent<T>(&self, absent: T) -> Result<T, StoreError> {
        match fs::fstat(self.root()?) {
            Ok(stat) if stat.st_nlink == 0 => Err(self.no_store()),
            Ok(_) => Ok(absent),
            Err(error) => Err(self.failed("examine", "", error)),
        }
    }

    /// A folder, if it is there.
    fn folder(&self, folder: &str) -> Result<Option<OwnedFd>, StoreError> {
        let mut at = fs::openat(self.root()?, ".", FOLDER, Mode::empty()).map_err(|error| self.failed("open", "", error))?;
        for part in parts(folder) {
            at = match fs::openat(&at, part, FOLDER, Mode::empty()) {
                Ok(below) => below,
                Err(Errno::NOENT) => return self.absent(None),
                Err(error) => return Err(self.failed("open", folder, error)),
            };
        }
        Ok(Some(at))
    }

    /// A folder, made when it is not there; its entry in its parent is durable when this returns.
    fn make_folder(&self, folder: &str) -> Result<OwnedFd, StoreError> {
        let failed = |verb, error| self.failed(verb, folder, error);
        let mut at = fs::openat(self.root()?, ".", FOLDER, Mode::empty()).map_err(|error| self.failed("open", "", error))?;
        let mut end = 0;
        for part in parts(folder) {
            end += part.len() + usize::from(end > 0);
            let (below, made) = match fs::openat(&at, part, FOLDER, Mode::empty()) {
                Ok(below) => (below, false),
                Err(Errno::NOENT) => {
                    self.absent(())?;
                    match fs::mkdirat(&at, part, Mode::RWXU) {
                        Ok(()) | Err(Errno::EXIST) => self.tell(|| DiskStep::Folder(folder[..end].to_owned())),
                        Err(error) => return Err(failed("make the folder", error)),
                    }
                    (fs::openat(&at, part, FOLDER, Mode::empty()).map_err(|error| failed("open", error))?, true)
                }
                Err(error) => return Err(failed("open", error)),
            };
            let so_far = &folder[..end];
            let is_settled = || self.settled.lock().unpoisoned().contains(so_far);
            if made || !is_settled() {
                self.sync_folder(&at, folder[..end].rsplit_once('/').map_or("", |(above, _)| above))
                    .map_err(|error| failed("sync the folder above", error))?;
                self.settled.lock().unpoisoned().insert(so_far.to_owned());
            }
            at = below;
        }
        Ok(at)
    }

    /// A temporary file with all of `contents`, synced.
    fn write_temporary(&self, contents: &[&[u8]]) -> Result<Temporary, StoreError> {
        let folder = self.make_folder(TMP)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (name, file) = loop {
            let name = format!("{:016x}-{}", self.temporary_prefix, self.temporary_next.fetch_add(1, Ordering::Relaxed));
            match fs::openat(&folder, &name, flags, Mode::RUSR | Mode::WUSR) {
                Ok(file) => break (name, File::from(file)),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(self.failed("create a temporary file in", TMP, error)),
            }
        };
        let mut temporary = Temporary { folder, name, file, moved: false };
        // The lock tells a sweep that the writer lives. A file system without locks is never swept.
        let _ = fs::flock(&temporary.file, FlockOperation::NonBlockingLockExclusive);
        self.swept.call_once(|| sweep(&temporary));
        write_all(&mut temporary.file, contents).map_err(|error| self.failed("write to", TMP, error))?;
        self.tell(|| DiskStep::Written(temporary.path(), contents.concat()));
        if !planted::is("rename-before-fsync") {
            self.sync(&temporary)?;
        }
        Ok(temporary)
    }

    fn sync(&self, temporary: &Temporary) -> Result<(), StoreError> {
        if planted::is("skipped-fsync") {
            return Ok(());
        }
        // A failed sync may have dropped the pages, so it is never repeated on this file, which goes away with `temporary`.
        temporary.file.sync_all().map_err(|error| self.failed("sync a file in", TMP, error))?;
        self.tell(|| DiskStep::Synced(temporary.path()));
        Ok(())
    }

    fn sync_folder(&self, folder: impl AsFd, path: &str) -> rustix::io::Result<()> {
        if planted::is("skipped-folder-fsync") {
            return Ok(());
        }
        sync_folder(folder)?;
        self.tell(|| DiskStep::FolderSynced(path.to_owned()));
        Ok(())
    }

    /// The last step of a publication.
    fn settle(&self, temporary: &Temporary, folder: &OwnedFd, name: &Name) -> Result<(), StoreError> {
        self.tell(|| DiskStep::Moved(temporary.path(), name.to_string()));
        if planted::is("rename-before-fsync") {
            self.sync(temporary)?;
        }
        self.sync_folder(folder, name.folder()).map_err(|error| self.failed("sync the folder of", name.as_str(), error))
    }

    /// Moves a temporary file to a name that must be free.
    fn publish(&self, temporary: &mut Temporary, folder: &OwnedFd, name: &Name) -> Result<(), StoreError> {
        let (from, to) = ((&temporary.folder, temporary.name.as_str()), name.last_part());
        if self.renames.load(Ordering::Relaxed) {
            match fs::renameat_with(from.0, from.1, folder, to, RenameFlags::NOREPLACE) {
                Ok(()) => {
                    temporary.moved = true;
                    return Ok(());
                }
                Err(Errno::EXIST) if planted::is("412-taken-for-success") => return Ok(()),
                Err(Errno::EXIST) => return Err(StoreError::exists(name.clone())),
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => self.renames.store(false, Ordering::Relaxed),
                Err(error) => return Err(self.failed("publish", name.as_str(), error)),
            }
        }
        // The temporary name is removed when `temporary` goes away.
        match fs::linkat(from.0, from.1, folder, to, AtFlags::empty()) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Err(StoreError::exists(name.clone())),
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => Err(StoreError::failed(format!(
                "the file system of {} can neither rename without replacing nor make hard links, so two writers could overwrite each other",
                self.path.display()
            ))),
            Err(error) => Err(self.failed("publish", name.as_str(), error)),
        }
    }

    /// Opens an object for reading; with its size.
    fn open_object(&self, name: &Name) -> Result<(File, u64), StoreError> {
        let not_found = || StoreError::missing(name.clone());
        let folder = self.folder(name.folder())?.ok_or_else(not_found)?;
        let file = match fs::openat(&folder, name.last_part(), READ, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return self.absent(()).and(Err(not_found())),
            Err(error) => return Err(self.failed("open", name.as_str(), error)),
        };
        let stat = fs::fstat(&file).map_err(|error| self.failed("examine", name.as_str(), error))?;
        Ok((File::from(file), self.size_of(name, &stat)?))
    }

    fn size_of(&self, name: &Name, stat: &fs::Stat) -> Result<u64, StoreError> {
        match u64::try_from(stat.st_size) {
            Ok(size) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => Ok(size),
            _ => Err(StoreError::failed(format!("{} is not a regular file", self.path.join(name.as_str()).display()))),
        }
    }

    fn walk(&self, folder: &OwnedFd, path: &str, each: &mut dyn FnMut(Entry)) -> Result<(), StoreError> {
        let failed = |error| self.failed("list", path, error);
        for entry in Dir::read_from(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(last) = entry.file_name().to_str() else { continue };
            let Some(name) = Name::new(if path.is_empty() { last.to_owned() } else { format!("{path}/{last}") }) else { continue };
            if name.as_str() == TMP {
                continue;
            }
            // An object that vanishes during a listing was deleted. A listing may show it or not.
            if !matches!(entry.file_type(), FileType::Directory | FileType::RegularFile | FileType::Unknown) {
                continue;
            }
            let stat = match fs::statat(folder, last, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(failed(error)),
            };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => each(Entry { size: self.size_of(&name, &stat)?, name }),
                FileType::Directory => match fs::openat(folder, last, FOLDER, Mode::empty()) {
                    Ok(below) => self.walk(&below, name.as_str(), each)?,
                    Err(Errno::NOENT) => {}
                    Err(error) => return Err(failed(error)),
                },
                _ => {}
            }
        }
        Ok(())
    }
}

impl Store for LocalStore {
    fn location(&self) -> String {
        self.path.display().to_string()
    }

    fn create(&self, name: &Name, parts: &[&[u8]]) -> Result<(), StoreError> {
        let folder = self.make_folder(name.folder())?;
        let mut temporary = self.write_temporary(parts)?;
        self.publish(&mut temporary, &folder, name)?;
        self.settle(&temporary, &folder, name)
    }

    fn replace(&self, name: &Name, parts: &[&[u8]]) -> Result<(), StoreError> {
        let folder = self.make_folder(name.folder())?;
        let mut temporary = self.write_temporary(parts)?;
        fs::renameat(&temporary.folder, &temporary.name, &folder, name.last_part())
            .map_err(|error| self.failed("replace", name.as_str(), error))?;
        temporary.moved = true;
        self.settle(&temporary, &folder, name)
    }

    fn get(&self, name: &Name, size_max: u64) -> Result<Vec<u8>, StoreError> {
        let (file, size) = self.open_object(name)?;
        if size > size_max {
            return Err(too_large(name, size, size_max));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).map_err(|_| too_large(name, size, size_max))?);
        file.take(size).read_to_end(&mut bytes).map_err(|error| self.failed("read", name.as_str(), error))?;
        if bytes.len() as u64 != size {
            return Err(StoreError::failed(format!("{} shrank while it was read", self.path.join(name.as_str()).display())));
        }
        Ok(bytes)
    }

    fn get_range(&self, name: &Name, offset: u64, length: usize) -> Result<Vec<u8>, StoreError> {
        let (file, size) = self.open_object(name)?;
        if offset.checked_add(length as u64).is_none_or(|end| end > size) {
            return Err(beyond(name, size, offset, length));
        }
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, offset).map_err(|error| self.failed("read", name.as_str(), error))?;
        Ok(bytes)
    }

    fn size(&self, name: &Name) -> Result<u64, StoreError> {
        let not_found = || StoreError::missing(name.clone());
        let folder = self.folder(name.folder())?.ok_or_else(not_found)?;
        match fs::statat(&folder, name.last_part(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => self.size_of(name, &stat),
            Err(Errno::NOENT) => self.absent(()).and(Err(not_found())),
            Err(error) => Err(self.failed("examine", name.as_str(), error)),
        }
    }

    fn list(&self, folder: &str, each: &mut dyn FnMut(Entry)) -> Result<(), StoreError> {
        if parts(folder).next() == Some(TMP) {
            return self.root().map(|_| ());
        }
        match self.folder(folder)? {
            Some(opened) => self.walk(&opened, folder, each),
            None => Ok(()),
        }
    }

    fn delete(&self, name: &Name) -> Result<(), StoreError> {
        let Some(folder) = self.folder(name.folder())? else { return Ok(()) };
        match fs::unlinkat(&folder, name.last_part(), AtFlags::empty()) {
            Ok(()) => {
                self.tell(|| DiskStep::Removed(name.to_string()));
                Ok(())
            }
            Err(Errno::NOENT) => self.absent(()),
            Err(error) => Err(self.failed("delete", name.as_str(), error)),
        }
    }

    fn top(&self) -> Result<Vec<String>, StoreError> {
        let root = match self.root() {
            Ok(root) => root,
            Err(StoreError { kind: StoreErrorKind::NoStore { .. }, .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let failed = |error| self.failed("list", "", error);
        let entries = Dir::read_from(root).map_err(failed)?.filter(|entry| {
            let is_dot = |name: &std::ffi::CStr| [c".", c".."].contains(&name);
            entry.as_ref().map_or(true, |entry| !is_dot(entry.file_name()))
        });
        let name = |entry: rustix::io::Result<fs::DirEntry>| {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy();
            let is_folder = match entry.file_type() {
                // Some file systems do not say it in a listing.
                FileType::Unknown => fs::statat(root, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
                    .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
                kind => kind == FileType::Directory,
            };
            Ok(if is_folder { format!("{name}/") } else { name.into_owned() })
        };
        entries.take(TOP_MAX).map(name).collect()
    }

    fn create_place(&self) -> Result<(), StoreError> {
        let made: Vec<_> = self.path.ancestors().take_while(|path| !path.exists()).collect();
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
            .map_err(|error| self.failed("make", "", error))?;
        for parent in made.iter().filter_map(|path| path.parent()) {
            let synced = fs::open(parent, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).and_then(sync_folder);
            synced.map_err(|error| self.failed("sync the folder above", "", error))?;
        }
        self.root().map(|_| ())
    }

    fn read_unit(&self) -> ReadUnit {
        ReadUnit::Exact
    }
}

/// A file that goes away unless it was moved to its name.
struct Temporary {
    folder: OwnedFd,
    name: String,
    file: File,
    moved: bool,
}

impl Temporary {
    fn path(&self) -> String {
        format!("{TMP}/{}", self.name)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.moved {
            // What cannot be removed now is swept later.
            let _ = fs::unlinkat(&self.folder, &self.name, AtFlags::empty());
        }
    }
}

/// Removes what killed processes left in the folder of `mine`: files that are old and not locked. After an error they stay.
fn sweep(mine: &Temporary) {
    let (Ok(dir), Ok(now)) = (Dir::read_from(&mine.folder), fs::fstat(&mine.file)) else { return };
    for entry in dir.flatten().filter(|entry| matches!(entry.file_type(), FileType::RegularFile | FileType::Unknown)) {
        let name = entry.file_name();
        let Ok(file) = fs::openat(&mine.folder, name, READ, Mode::empty()) else { continue };
        let is_old = fs::fstat(&file).is_ok_and(|stat| now.st_mtime - stat.st_mtime > LEFTOVER_AGE_SECONDS);
        if is_old && fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = fs::unlinkat(&mine.folder, name, AtFlags::empty());
        }
    }
}

fn parts(folder: &str) -> impl Iterator<Item = &str> {
    folder.split('/').filter(|part| !part.is_empty())
}

fn sync_folder(folder: impl AsFd) -> rustix::io::Result<()> {
    match fs::fsync(folder) {
        // The file system has no such thing as syncing a folder.
        Err(Errno::INVAL) => Ok(()),
        outcome => outcome,
    }
}

/// Every byte of every part, however little the system takes at a time.
fn write_all(to: &mut impl Write, parts: &[&[u8]]) -> io::Result<()> {
    let mut slices: Vec<_> = parts.iter().filter(|part| !part.is_empty()).map(|part| IoSlice::new(part)).collect();
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        match to.write_vectored(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(_) if planted::is("short-write-ignored") => return Ok(()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::{Duration, SystemTime};

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn names(store: &LocalStore, folder: &str) -> Vec<String> {
        let mut names = Vec::new();
        store.list(folder, &mut |entry| names.push(entry.name.to_string())).unwrap();
        names.sort();
        names
    }

    #[test]
    fn a_file_system_without_noreplace_publishes_by_hard_link() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::open(folder.path());
        store.renames.store(false, Ordering::Relaxed);
        store.create(&name("gc/1"), &[b"one"]).unwrap();
        assert!(matches!(store.create(&name("gc/1"), &[b"two"]), Err(StoreError { kind: StoreErrorKind::Exists, .. })));
        assert_eq!(store.get(&name("gc/1"), 3).unwrap(), b"one");
        assert_eq!(std::fs::read_dir(folder.path().join(TMP)).unwrap().count(), 0);
    }

    #[test]
    fn short_writes_lose_nothing() {
        struct Slow(Vec<u8>);
        impl Write for Slow {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                if self.0.len() % 3 == 2 {
                    self.0.push(bytes[0]);
                    return Ok(1);
                }
                let some = bytes.len().min(2);
                self.0.extend(&bytes[..some]);
                Ok(some)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut slow = Slow(Vec::new());
        write_all(&mut slow, &[b"", b"one ", b"and two", b"", b" and three"]).unwrap();
        assert_eq!(slow.0, b"one and two and three");
    }

    #[test]
    fn links_inside_the_store_lead_nowhere() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "secret").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::open(folder.path());
        symlink(outside.path(), folder.path().join("packs")).unwrap();
        symlink(outside.path().join("secret"), folder.path().join("link")).unwrap();
        assert!(store.create(&name("packs/x"), &[b"x"]).is_err());
        assert!(store.get(&name("packs/secret"), 99).is_err());
        assert!(store.get(&name("link"), 99).is_err());
        assert!(store.size(&name("link")).is_err());
        assert!(store.list("packs", &mut |_| ()).is_err());
        assert_eq!(names(&store, ""), Vec::<String>::new());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    }

    #[test]
    fn only_the_owner_may_look_inside() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::open(folder.path().join("a/b"));
        store.create_place().unwrap();
        store.create(&name("packs/00/x"), &[b"x"]).unwrap();
        let mode = |path: &str| std::fs::metadata(folder.path().join(path)).unwrap().permissions().mode() & 0o7777;
        for path in ["a/b", "a/b/packs", "a/b/packs/00", "a/b/tmp"] {
            assert_eq!(mode(path), 0o700, "{path}");
        }
        assert_eq!(mode("a/b/packs/00/x"), 0o600);
    }

    #[test]
    fn what_a_killed_process_left_is_swept_and_what_lives_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let dead = LocalStore::open(folder.path());
        let leave = |age_hours: u64| {
            let mut temporary = dead.write_temporary(&[b"half"]).unwrap();
            temporary.moved = true;
            let then = temporary.file.metadata().unwrap().modified().unwrap() - Duration::from_secs(age_hours * 3600);
            temporary.file.set_modified(then).unwrap();
            assert!(then > SystemTime::UNIX_EPOCH);
            (folder.path().join(TMP).join(&temporary.name), temporary)
        };
        let (old, writer) = leave(48);
        drop(writer);
        let (young, writer) = leave(2);
        drop(writer);
        let (living, _writer) = leave(48);
        LocalStore::open(folder.path()).create(&name("a"), &[b"x"]).unwrap();
        assert!(!old.exists());
        assert!(young.exists());
        assert!(living.exists());
    }

    #[test]
    fn a_store_deleted_under_us_is_not_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::open(folder.path().join("store"));
        store.create_place().unwrap();
        store.list("gc", &mut |_| ()).unwrap();
        std::fs::remove_dir(store.path()).unwrap();
        assert!(matches!(store.list("gc", &mut |_| ()), Err(StoreError { kind: StoreErrorKind::NoStore { .. }, .. })));
        assert!(matches!(store.get(&name("gc/1"), 9), Err(StoreError { kind: StoreErrorKind::NoStore { .. }, .. })));
        assert!(matches!(store.create(&name("gc/1"), &[b"x"]), Err(StoreError { kind: StoreErrorKind::NoStore { .. }, .. })));
    }

    #[test]
    fn strange_things_in_the_folder_are_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::open(folder.path());
        store.create(&name("gc/1"), &[b"x"]).unwrap();
        std::fs::create_dir(folder.path().join("lost+found")).unwrap();
        std::fs::write(folder.path().join("lost+found/x"), "x").unwrap();
        std::fs::write(folder.path().join("gc/README"), "x").unwrap();
        std::fs::write(folder.path().join("tmp/unfinished"), "x").unwrap();
        fs::mknodat(fs::CWD, folder.path().join("gc/fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(names(&store, ""), ["gc/1"]);
        assert_eq!(names(&store, "tmp"), Vec::<String>::new());
        assert!(matches!(store.get(&name("gc/fifo"), 9), Err(StoreError { kind: StoreErrorKind::Failed, .. })));
    }
}
