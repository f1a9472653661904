//! Files and folders of this user alone: the cache, the state, locks.
//!
//! Their modes do not depend on the umask. A link in the last place of a path is not followed, because in a folder that others can
//! write to it may lead to a file of another kind.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// Makes a folder of mode 0700 with those above it, where they are missing. One that exists stays as it is.
pub fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Opens a file to lock it or to write a line into it; makes it, of mode 0600, with its folder, where it is missing.
///
/// # Errors
/// `FilesystemLoop` when the path leads to a link; `InvalidInput` when it leads to something that is not a file.
pub fn open_or_create(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        create_folder(folder)?;
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    only_a_file(options.custom_flags(FLAGS).open(path)?)
}

/// The content of a small file.
///
/// # Errors
/// As [`open_or_create`]; `FileTooLarge` when it holds more than `size_bytes_max`.
pub fn read(path: &Path, size_bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = only_a_file(OpenOptions::new().read(true).custom_flags(FLAGS).open(path)?)?;
    let mut bytes = Vec::new();
    file.take(size_bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > size_bytes_max { Err(ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

/// Replaces the content of a small file of mode 0600; makes it, with its folder, where it is missing. A reader sees the old content
/// or the new one.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_folder(folder)?;
    let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(0o600)).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

/// A link is an error, and a pipe holds nothing up.
const FLAGS: i32 = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits().cast_signed();

fn only_a_file(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::new(ErrorKind::InvalidInput, "it is not a file")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_made_is_this_users_alone_whatever_the_umask() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("a/b/state");
        let before = rustix::process::umask(rustix::fs::Mode::empty());
        let made = replace(&file, b"1").and_then(|()| open_or_create(&root.path().join("c/lock")));
        rustix::process::umask(before);
        made.unwrap();
        assert_eq!(["a", "a/b", "c"].map(|folder| mode(&root.path().join(folder))), [0o700; 3]);
        assert_eq!(["a/b/state", "c/lock"].map(|file| mode(&root.path().join(file))), [0o600; 2]);
    }

    #[test]
    fn a_link_is_not_followed_and_a_pipe_holds_nothing_up() {
        let root = tempfile::tempdir().unwrap();
        let (target, link, pipe) = (root.path().join("target"), root.path().join("link"), root.path().join("pipe"));
        std::fs::write(&target, "kept").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
        for path in [&link, &pipe] {
            assert!(open_or_create(path).is_err() && read(path, 9).is_err(), "{path:?}");
        }
        replace(&link, b"new").unwrap();
        assert_eq!((std::fs::read(&target).unwrap(), read(&link, 9).unwrap()), (b"kept".to_vec(), b"new".to_vec()));
    }

    #[test]
    fn a_file_larger_than_it_may_be_is_not_read() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        replace(&file, b"123").unwrap();
        assert!(read(&file, 3).is_ok());
        assert_eq!(read(&file, 2).unwrap_err().kind(), ErrorKind::FileTooLarge);
    }
}
