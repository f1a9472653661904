//! A folder as a source, and the checks before it is walked.

use crate::path;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{SourceError, SourceKind};

/// A folder and what is below it; or one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectorySource {
    /// Its name in the snapshot.
    pub name: String,
    /// The folder, or the file. A symbolic link here (and only here) is followed.
    pub path: PathBuf,
    /// Of the folder only these paths, relative to it, and what is below them; none: all of it.
    pub named: Option<Vec<PathBuf>>,
    /// May the snapshot be committed (as incomplete) when this source fails?
    pub optional: bool,
    /// Patterns of what is left out, in gitignore's language, relative to the folder.
    pub excludes: Vec<String>,
    /// Such patterns that do not tell upper from lower case.
    pub excludes_any_case: Vec<String>,
    /// Do not go into folders where another file system is mounted.
    pub one_file_system: bool,
    /// Of a folder with a valid `CACHEDIR.TAG` take only that file.
    pub exclude_caches: bool,
    /// Of a folder that holds such a file take only that file.
    pub exclude_if_present: Vec<IfPresent>,
    /// Leave out files of more bytes.
    pub exclude_larger_than: Option<u64>,
    /// An empty folder is in order. Otherwise it counts as failed: most often a mount that is not there.
    pub allow_empty: bool,
    /// What was known before the walk that a restore will lack: one plain sentence each, without a full stop.
    pub warnings: Vec<String>,
}

/// A file that keeps its folder out of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IfPresent {
    /// What it is called.
    pub name: String,
    /// What it begins with; empty: whatever it holds.
    pub header: String,
}

impl FromStr for IfPresent {
    type Err = String;

    /// From `NAME` or `NAME:HEADER`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, header) = text.split_once(':').unwrap_or((text, ""));
        if !path::is_name(name.as_bytes()) {
            return Err(format!("{text:?} is not NAME or NAME:HEADER, with the name of a file in the folder"));
        }
        Ok(Self { name: name.to_owned(), header: header.to_owned() })
    }
}

impl std::fmt::Display for IfPresent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        if self.header.is_empty() { Ok(()) } else { write!(f, ":{}", self.header) }
    }
}

impl DirectorySource {
    /// A required folder that must not be empty.
    pub fn new(name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self { name: name.into(), path: path.into(), ..Self::default() }
    }

    /// Is the path a file's?
    pub fn kind(&self) -> SourceKind {
        if self.path.is_file() { SourceKind::File } else { SourceKind::Directory }
    }

    /// Is the folder there, a folder, readable, and (unless [`DirectorySource::allow_empty`]) not empty? Run it right before the
    /// walk: an unmounted volume shows an empty folder, and a snapshot of nothing would look like a success.
    pub fn check(&self) -> Result<(), SourceError> {
        let path = self.path.display();
        let metadata = std::fs::metadata(&self.path).map_err(|error| self.cannot(error))?;
        if metadata.is_file() {
            return std::fs::File::open(&self.path).map(drop).map_err(|error| self.cannot(error));
        }
        if !metadata.is_dir() {
            return Err(SourceError::Unfit(format!("{path} is neither a folder nor a file")));
        }
        let mut entries = std::fs::read_dir(&self.path).map_err(|error| self.cannot(error))?;
        match entries.next() {
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(self.cannot(error)),
            None if self.allow_empty => Ok(()),
            None => Err(SourceError::Unfit(match mounted(&self.path) {
                true => format!("{path} is mounted but empty: a mount of nothing? (`allow-empty = true` of the source accepts it)"),
                false => {
                    format!("{path} is empty: is something not mounted there? (`allow-empty = true` of the source accepts it)")
                }
            })),
        }
    }

    fn cannot(&self, error: std::io::Error) -> SourceError {
        SourceError::Io { what: format!("cannot read {}", self.path.display()), error }
    }
}

/// Does a mount begin at this folder? Only colours a message: what cannot be told is taken for no.
fn mounted(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.dev()).ok();
    device(path).is_some_and(|here| device(&path.join("..")).is_some_and(|above| here != above))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_a_wrong_and_an_empty_folder_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let text = |path: &Path| DirectorySource::new("x", path).check().unwrap_err().to_string();
        assert!(text(&folder.path().join("missing")).contains("No such file"));
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let file = DirectorySource::new("x", file);
        assert!(file.check().is_ok() && file.kind() == SourceKind::File);
        assert!(text(Path::new("/dev/null")).contains("is neither a folder nor a file"));
        assert!(DirectorySource::new("x", folder.path()).check().is_ok());
        let empty = folder.path().join("empty");
        std::fs::create_dir(&empty).unwrap();
        assert!(text(&empty).contains("is empty: is something not mounted there?"));
        assert!(DirectorySource { allow_empty: true, ..DirectorySource::new("x", &empty) }.check().is_ok());
    }

    #[test]
    fn the_mark_of_a_folder_reads_back_as_it_was_written() {
        for text in [".nobackup", "TAG:Signature: 8a47", "x:"] {
            assert_eq!(text.parse::<IfPresent>().unwrap().to_string(), text.trim_end_matches(':'));
        }
        for text in ["", ":header", "a/b", "..", "."] {
            assert!(text.parse::<IfPresent>().is_err(), "{text}");
        }
    }

    /// A folder where an empty file system is mounted; none where the test may not mount.
    struct Mounted(tempfile::TempDir);

    impl Mounted {
        fn new() -> Option<Self> {
            let folder = tempfile::tempdir().unwrap();
            let done = std::process::Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(folder.path()).output();
            done.is_ok_and(|output| output.status.success()).then(|| Self(folder))
        }
    }

    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = std::process::Command::new("umount").arg(self.0.path()).status();
        }
    }

    #[test]
    fn a_mount_of_nothing_is_called_that() {
        // Only root may mount: elsewhere the words for an empty folder are all there is to see.
        let Some(mount) = Mounted::new() else { return };
        let error = DirectorySource::new("x", mount.0.path()).check().unwrap_err();
        assert!(error.to_string().contains("is mounted but empty"), "{error}");
        std::fs::write(mount.0.path().join("file"), "x").unwrap();
        assert!(DirectorySource::new("x", mount.0.path()).check().is_ok());
    }
}
