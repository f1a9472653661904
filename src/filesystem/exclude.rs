//! Which entries are left out: patterns with gitignore's meaning, matched on the path relative to the root of a source.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// A pattern could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ExcludeError {
    /// Not a pattern.
    #[error("exclude pattern {pattern:?}: {detail}")]
    Pattern {
        /// As it was given.
        pattern: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A file of patterns could not be read.
    #[error("exclude file {}: {detail}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        detail: String,
    },
}

/// Patterns with gitignore's meaning: `*.tmp` at any depth, `/cache` at the root only, `logs/` folders only, `**`, `!` takes back;
/// the last one that matches decides. What an excluded folder holds cannot be taken back.
#[derive(Clone, Debug, Default)]
pub struct Excludes(Option<Gitignore>);

impl Excludes {
    /// Leaves nothing out.
    pub fn none() -> Self {
        Self(None)
    }

    /// The patterns of `--exclude`, then those of each `--exclude-file` (one a line; empty lines and lines that start with `#` are
    /// no patterns there).
    pub fn new(patterns: &[String], files: &[PathBuf]) -> Result<Self, ExcludeError> {
        let mut builder = GitignoreBuilder::new("");
        for pattern in patterns {
            // On a command line nothing is a comment: a pattern that would be skipped silently is an error or meant literally.
            if pattern.trim().is_empty() {
                return Err(ExcludeError::Pattern { pattern: pattern.clone(), detail: "is empty".to_owned() });
            }
            let literal = if pattern.starts_with('#') { format!("\\{pattern}") } else { pattern.clone() };
            add(&mut builder, None, &literal)?;
        }
        for path in files {
            let error = |detail: String| ExcludeError::File { path: path.clone(), detail };
            let text = std::fs::read(path).map_err(|cause| error(cause.to_string()))?;
            let text = String::from_utf8(text).map_err(|_| error("is not UTF-8".to_owned()))?;
            for line in text.lines() {
                add(&mut builder, Some(path), line)?;
            }
        }
        let built =
            builder.build().map_err(|cause| ExcludeError::Pattern { pattern: patterns.join(", "), detail: cause.to_string() })?;
        Ok(Self((!built.is_empty()).then_some(built)))
    }

    /// There is no pattern.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Is the entry at `path` (relative to the root, raw bytes) left out? Only its own path is matched: whoever walks from the top
    /// does not get below an excluded folder.
    pub fn excluded(&self, path: &[u8], is_folder: bool) -> bool {
        self.0.as_ref().is_some_and(|patterns| patterns.matched(Path::new(OsStr::from_bytes(path)), is_folder).is_ignore())
    }
}

fn add(builder: &mut GitignoreBuilder, from: Option<&PathBuf>, line: &str) -> Result<(), ExcludeError> {
    match builder.add_line(from.cloned(), line) {
        Ok(_) => Ok(()),
        Err(cause) => Err(ExcludeError::Pattern { pattern: line.to_owned(), detail: cause.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(patterns: &[&str]) -> Excludes {
        Excludes::new(&patterns.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>(), &[]).unwrap()
    }

    #[test]
    fn patterns_mean_what_they_mean_in_gitignore() {
        let excludes = of(&["*.tmp", "/cache", "logs/", "a/**/z", "!keep.tmp", "#odd"]);
        for (path, folder, out) in [
            ("x.tmp", false, true),
            ("deep/er/x.tmp", false, true),
            ("deep/keep.tmp", false, false),
            ("cache", true, true),
            ("sub/cache", true, false),
            ("logs", true, true),
            ("logs", false, false),
            ("sub/logs", true, true),
            ("a/b/c/z", false, true),
            ("#odd", false, true),
            ("plain", false, false),
        ] {
            assert_eq!(excludes.excluded(path.as_bytes(), folder), out, "{path}");
        }
        assert!(of(&["*.tmp"]).excluded(b"\xff\xfe.tmp", false));
        assert!(!Excludes::none().excluded(b"x", false));
    }

    #[test]
    fn a_pattern_that_cannot_work_is_an_error_and_not_skipped() {
        assert!(Excludes::new(&["[z-a]".to_owned()], &[]).is_err());
        assert!(Excludes::new(&[" ".to_owned()], &[]).is_err());
        assert!(Excludes::new(&[], &[PathBuf::from("/no/such/file")]).is_err());
    }

    #[test]
    fn a_file_of_patterns_may_have_comments() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "# media of users\n\n*.mp4\n").unwrap();
        let excludes = Excludes::new(&[], &[file.path().to_owned()]).unwrap();
        assert!(excludes.excluded(b"a/b.mp4", false));
        assert!(!excludes.excluded(b"# media of users", false));
    }
}
