//! From the text a person gives for a repository to the store it means.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::{LocalStore, MemoryStore, Store};

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A folder on this machine (or mounted on it).
    Path(PathBuf),
    /// In memory, new and empty each time it is opened.
    Memory,
}

/// A text that names no store this build can reach. Shows at most the scheme: what follows it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// Nothing at all.
    #[error("the repository location is empty")]
    Empty,
    /// A kind of store that esker knows and this build leaves out.
    #[error("{0}: stores are not in this build; it knows paths, file:PATH and memory:")]
    NotInThisBuild(String),
    /// A scheme nobody knows, or a path that looks like one.
    #[error("unknown kind of store {0}: (if it is a path, begin it with ./ or /)")]
    Unknown(String),
}

/// Kinds of store that have a name, in this build or not.
const REMOTE: [&str; 9] = ["s3", "sftp", "webdav", "webdavs", "azblob", "gcs", "b2", "http", "https"];

/// Reads a path, `file:PATH`, `file:///PATH` or `memory:`. Whatever has a `:` before its first `/` is a scheme, so that a mistyped
/// address never becomes a folder of that name. Nothing is percent-decoded.
pub fn parse(text: &str) -> Result<Location, LocationError> {
    if text.is_empty() {
        return Err(LocationError::Empty);
    }
    let Some((scheme, rest)) = text.split_once(':').filter(|(scheme, _)| !scheme.contains('/')) else {
        return Ok(Location::Path(text.into()));
    };
    match scheme {
        "file" => match rest.strip_prefix("//").unwrap_or(rest) {
            "" => Err(LocationError::Empty),
            path => Ok(Location::Path(path.into())),
        },
        "memory" if rest.is_empty() => Ok(Location::Memory),
        _ if REMOTE.contains(&scheme) => Err(LocationError::NotInThisBuild(scheme.to_owned())),
        _ => Err(LocationError::Unknown(scheme.rsplit('@').next().unwrap_or_default().to_owned())),
    }
}

impl Location {
    /// The store itself. Touches nothing yet: whether anything is there shows with the first call.
    pub fn open(&self) -> Arc<dyn Store> {
        match self {
            Self::Path(path) => Arc::new(LocalStore::open(path)),
            Self::Memory => Arc::new(MemoryStore::new()),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Memory => f.write_str("memory:"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_schemes_are_told_apart() {
        let path = |text: &str| Ok(Location::Path(text.into()));
        for (text, meant) in [
            ("/srv/backup", path("/srv/backup")),
            ("backup", path("backup")),
            ("./a:b", path("./a:b")),
            ("/mnt/a:b", path("/mnt/a:b")),
            ("file:/srv/x", path("/srv/x")),
            ("file:///srv/x", path("/srv/x")),
            ("file:x", path("x")),
            ("memory:", Ok(Location::Memory)),
            ("", Err(LocationError::Empty)),
            ("file:", Err(LocationError::Empty)),
            ("s3://bucket/prefix", Err(LocationError::NotInThisBuild("s3".into()))),
            ("sftp://user@host/path", Err(LocationError::NotInThisBuild("sftp".into()))),
            ("backup:today", Err(LocationError::Unknown("backup".into()))),
            ("memory:x", Err(LocationError::Unknown("memory".into()))),
        ] {
            assert_eq!(parse(text), meant, "{text}");
        }
    }

    #[test]
    fn an_error_shows_no_password() {
        for text in ["webdav://me:secret@host/", "me-secret@host:path", "secret://x"] {
            let error = parse(text).unwrap_err().to_string();
            assert!(text == "secret://x" || !error.contains("secret"), "{error}");
        }
    }
}
