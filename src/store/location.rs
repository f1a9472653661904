//! From the text a person gives for a repository to the store it means.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::options::{Options, OptionsError};
#[cfg(feature = "sftp")]
use super::sftp::{AddressError, SftpAddress, SftpOptions, SftpStore};
use super::{LocalStore, MemoryStore, Store};

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A folder on this machine (or mounted on it).
    Path(PathBuf),
    /// In memory, new and empty each time it is opened.
    Memory,
    /// On the far side of a network.
    Remote(Address),
    /// A folder on a server that one reaches by ssh.
    #[cfg(feature = "sftp")]
    Sftp(SftpAddress),
}

/// `SCHEME://[USER@]AUTHORITY[/PATH]`, without a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    scheme: &'static str,
    user: Option<String>,
    /// A host with its port, a bucket, a container.
    authority: String,
    /// Without `/` at either end; may be empty.
    path: String,
}

/// A text that names no store this build can reach. Shows at most the scheme: what follows it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// Nothing at all.
    #[error("the repository location is empty")]
    Empty,
    /// A kind of store that esker knows and this build leaves out.
    #[error("{0}: stores are not in this build (cargo feature {0}); it knows {known}", known = known())]
    NotInThisBuild(String),
    /// An unknown scheme, or a path that looks like one.
    #[error("unknown kind of store {0}: (if it is a path, begin it with ./ or /)")]
    Unknown(String),
    /// A remote store whose address has not the right shape.
    #[error("the address of a store of the kind {0} is written {1}")]
    Shape(String, &'static str),
    /// A password in an address: it would stand in process lists, shell histories and messages.
    #[error("the address of a {0} store holds no password: {1}")]
    Password(String, &'static str),
    /// An SFTP address that is none.
    #[cfg(feature = "sftp")]
    #[error(transparent)]
    Sftp(#[from] AddressError),
}

/// Kinds of store that have a name, in this build or not.
const REMOTE: [&str; 7] = ["s3", "sftp", "webdav", "webdavs", "azblob", "gcs", "b2"];

/// Those that this build reaches.
fn is_in_this_build(scheme: &str) -> bool {
    match scheme {
        "s3" => cfg!(feature = "s3"),
        "sftp" => cfg!(feature = "sftp"),
        "webdav" | "webdavs" => cfg!(feature = "webdav"),
        "azblob" => cfg!(feature = "azblob"),
        "gcs" => cfg!(feature = "gcs"),
        "b2" => cfg!(feature = "b2"),
        _ => false,
    }
}

fn known() -> String {
    let mut known: Vec<String> =
        REMOTE.iter().filter(|scheme| is_in_this_build(scheme)).map(|scheme| format!("{scheme}://")).collect();
    known.extend(["paths".to_owned(), "file:PATH".to_owned()]);
    known.join(", ")
}

/// Reads a path, `file:PATH`, `file:///PATH`, `memory:` or the address of a remote store. Whatever has a `:` before its first `/` is a
/// scheme, so that a mistyped address never becomes a folder of that name. Nothing is percent-decoded.
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
        #[cfg(feature = "sftp")]
        "sftp" => Ok(Location::Sftp(SftpAddress::parse(rest)?)),
        _ => match REMOTE.iter().find(|known| **known == scheme) {
            Some(known) if is_in_this_build(known) => address(known, rest).map(Location::Remote),
            Some(known) => Err(LocationError::NotInThisBuild((*known).to_owned())),
            None => Err(LocationError::Unknown(scheme.rsplit('@').next().unwrap_or_default().to_owned())),
        },
    }
}

fn address(scheme: &'static str, rest: &str) -> Result<Address, LocationError> {
    let (form, instead) = match scheme {
        "s3" => (
            "s3://BUCKET/PREFIX (`-o endpoint=URL` names a server other than that of AWS)",
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws/credentials, hold it",
        ),
        "azblob" => ("azblob://CONTAINER/PREFIX", "AZURE_STORAGE_ACCOUNT_KEY holds it"),
        "gcs" => ("gcs://BUCKET/PREFIX", "GOOGLE_APPLICATION_CREDENTIALS names its file"),
        "b2" => ("b2://BUCKET/PREFIX", "B2_APPLICATION_KEY holds it"),
        "webdav" => ("webdav://[USER@]HOST[:PORT]/PATH", "WEBDAV_PASSWORD or --option password-file=FILE holds it"),
        _ => ("webdavs://[USER@]HOST[:PORT]/PATH", "WEBDAV_PASSWORD or --option password-file=FILE holds it"),
    };
    let shape = || LocationError::Shape(scheme.to_owned(), form);
    let rest = rest.strip_prefix("//").ok_or_else(shape)?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, authority) = match authority.rsplit_once('@') {
        None => (None, authority),
        Some((user, _)) if user.contains(':') || !scheme.starts_with("webdav") => {
            return Err(LocationError::Password(scheme.to_owned(), instead));
        }
        Some((user, authority)) => (Some(user.to_owned()), authority),
    };
    let path = path.trim_matches('/');
    let is_plain = |text: &str| !text.chars().any(|c| c.is_control() || matches!(c, '?' | '#' | '\\' | ' '));
    if authority.is_empty() || !is_plain(authority) || !is_plain(path) || path.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(shape());
    }
    Ok(Address { scheme, user, authority: authority.to_owned(), path: path.to_owned() })
}

impl Location {
    /// The store itself. Touches nothing yet: whether anything is there shows with the first call.
    pub fn open(&self, options: &Options) -> Result<Arc<dyn Store>, OpenError> {
        match self {
            Self::Path(path) => {
                options.for_kind("local", &[])?;
                Ok(Arc::new(LocalStore::open(path)))
            }
            Self::Memory => Ok(Arc::new(MemoryStore::new())),
            Self::Remote(address) => address.open(options),
            #[cfg(feature = "sftp")]
            Self::Sftp(address) => Ok(Arc::new(SftpStore::open(address.clone(), SftpOptions::from_options(options)?))),
        }
    }
}

/// A store that could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// What was said about it is wrong.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// Its kind does not take what was said.
    #[cfg(feature = "remote")]
    #[error(transparent)]
    Remote(#[from] super::remote::SetUpError),
}

impl Address {
    /// The kind of store.
    pub fn scheme(&self) -> &'static str {
        self.scheme
    }

    fn open(&self, options: &Options) -> Result<Arc<dyn Store>, OpenError> {
        // Where no kind of store is built in, nothing asks for these.
        let (Self { scheme, user: _user, authority: _authority, path: _path }, _options) = (self, options);
        match *scheme {
            #[cfg(feature = "s3")]
            "s3" => Ok(Arc::new(super::remote::s3::open(_authority, _path, _options)?)),
            #[cfg(feature = "webdav")]
            "webdav" | "webdavs" => {
                Ok(Arc::new(super::remote::webdav::open(*scheme == "webdavs", _user.as_deref(), _authority, _path, _options)?))
            }
            #[cfg(feature = "azblob")]
            "azblob" => Ok(Arc::new(super::remote::azblob::open(_authority, _path, _options)?)),
            #[cfg(feature = "gcs")]
            "gcs" => Ok(Arc::new(super::remote::gcs::open(_authority, _path, _options)?)),
            #[cfg(feature = "b2")]
            "b2" => Ok(Arc::new(super::remote::b2::open(_authority, _path, _options)?)),
            // `parse` makes no address of any other kind.
            scheme => Err(OptionsError::Unknown { kind: scheme.to_owned(), name: String::new(), known: known() }.into()),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Memory => f.write_str("memory:"),
            #[cfg(feature = "sftp")]
            Self::Sftp(address) => address.fmt(f),
            Self::Remote(Address { scheme, user, authority, path }) => {
                write!(f, "{scheme}://")?;
                if let Some(user) = user {
                    write!(f, "{user}@")?;
                }
                write!(f, "{authority}{}{path}", if path.is_empty() { "" } else { "/" })
            }
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
            ("backup:today", Err(LocationError::Unknown("backup".into()))),
            ("memory:x", Err(LocationError::Unknown("memory".into()))),
            #[cfg(not(feature = "sftp"))]
            ("sftp://user@host/path", Err(LocationError::NotInThisBuild("sftp".into()))),
            #[cfg(feature = "sftp")]
            ("sftp://me@host/a", Ok(Location::Sftp(SftpAddress::parse("//me@host/a").unwrap()))),
            #[cfg(feature = "sftp")]
            ("sftp://me:secret@host/a", Err(LocationError::Sftp(AddressError::Password))),
        ] {
            assert_eq!(parse(text), meant, "{text}");
        }
    }

    #[test]
    #[cfg(all(feature = "s3", feature = "webdav"))]
    fn addresses_are_taken_apart_and_shown_as_they_were() {
        for (text, shown) in [
            ("s3://bucket", "s3://bucket"),
            ("s3://bucket/", "s3://bucket"),
            ("s3://bucket/a/b/", "s3://bucket/a/b"),
            ("webdav://host:8080/dav", "webdav://host:8080/dav"),
            ("webdavs://me@host/dav/x", "webdavs://me@host/dav/x"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), shown);
        }
        for text in ["s3:bucket", "s3://", "s3:///x", "s3://b/../c", "s3://b/a?x", "webdav://"] {
            assert!(matches!(parse(text), Err(LocationError::Shape(..))), "{text}");
        }
    }

    #[test]
    fn an_error_shows_no_password() {
        for text in [
            "webdav://me:secret@host/",
            "sftp://me:secret@host/x",
            "s3://AKIA:secret@bucket/x",
            "me-secret@host:path",
            "secret://x",
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(text == "secret://x" || !error.contains("secret"), "{error}");
        }
    }
}
