//! What can go wrong with a store. Callers decide by the kind of an error, never by its words.

use std::error::Error;
use std::fmt;

use super::{Name, ReadUnit};

/// A call to a store failed: a kind to decide by, and words for a person.
#[derive(Debug)]
pub struct StoreError {
    /// What callers decide by.
    pub kind: StoreErrorKind,
    /// The object, where the failure is about one.
    pub name: Option<Name>,
    /// The words after those of the kind.
    detail: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What kind of failure it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreErrorKind {
    /// No object has this name.
    Missing,
    /// A create-if-absent found the name taken. Nothing was changed.
    Exists,
    /// The store is full. Nothing was published.
    Full,
    /// The place itself is absent: no folder, no bucket.
    NoStore {
        /// Does the message say what to do about it?
        says_what_to_do: bool,
    },
    /// A range ends beyond the object, or the object is larger than the caller allowed.
    Size {
        /// Size of the object in bytes.
        size: u64,
    },
    /// The operating system or the server refused: rights, credentials.
    Denied,
    /// A request cannot succeed before a clock or a certificate is corrected. The message says which, and what to do.
    Untrusted,
    /// Anything else: an I/O error, a connection that broke. Whether the call was carried out is not known.
    Failed,
}

impl StoreError {
    // Every constructor is public, whichever stores this build has: a store may be implemented elsewhere.

    fn new(kind: StoreErrorKind, name: Option<Name>, detail: impl Into<String>) -> Self {
        Self { kind, name, detail: detail.into(), source: None }
    }

    /// No object has this name.
    pub fn missing(name: Name) -> Self {
        Self::new(StoreErrorKind::Missing, Some(name), "")
    }

    /// The name is taken.
    pub fn exists(name: Name) -> Self {
        Self::new(StoreErrorKind::Exists, Some(name), "")
    }

    /// The store is full; `detail` says what needed space.
    pub fn full(detail: impl Into<String>) -> Self {
        Self::new(StoreErrorKind::Full, None, detail)
    }

    /// Nothing is at `place`.
    pub fn no_store(place: impl Into<String>) -> Self {
        Self::new(StoreErrorKind::NoStore { says_what_to_do: false }, None, place)
    }

    /// Nothing is at `place`, and `advice` says what to do about it.
    pub fn no_store_but(place: &str, advice: &str) -> Self {
        Self::new(StoreErrorKind::NoStore { says_what_to_do: true }, None, format!("{place} ({advice})"))
    }

    /// An object of `size` bytes does not fit what was asked.
    pub fn size(name: Name, size: u64, asked: impl Into<String>) -> Self {
        Self::new(StoreErrorKind::Size { size }, Some(name), asked)
    }

    /// The call was refused.
    pub fn denied(detail: impl Into<String>) -> Self {
        Self::new(StoreErrorKind::Denied, None, detail)
    }

    /// A clock or a certificate prevents every request; `detail` says what to do.
    pub fn untrusted(detail: impl Into<String>) -> Self {
        Self::new(StoreErrorKind::Untrusted, None, detail)
    }

    /// The call failed, and `detail` says how.
    pub fn failed(detail: impl Into<String>) -> Self {
        Self::new(StoreErrorKind::Failed, None, detail)
    }

    /// Adds the error below this one, whose words the detail already holds.
    #[must_use]
    pub fn caused_by(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// Rewrites the detail; the kind, the name and the cause stay.
    #[must_use]
    pub fn with_detail(self, rewrite: impl FnOnce(String) -> String) -> Self {
        Self { detail: rewrite(self.detail), ..self }
    }

    /// The message without the words of its kind: a place, a reason, a range that was asked for.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Does this error say that one object is damaged, rather than that the store does not answer? A failed read on a
    /// local disk is a bad sector or a wrong mode of this one file. A remote store that fails says nothing about the
    /// object.
    pub(crate) fn is_damage(&self, unit: ReadUnit) -> bool {
        match self.kind {
            StoreErrorKind::Size { .. } => true,
            StoreErrorKind::Failed | StoreErrorKind::Denied => unit == ReadUnit::Exact,
            _ => false,
        }
    }

    /// Does this error leave open what the store holds? Then it says nothing about any object.
    pub(crate) fn is_inconclusive(&self, unit: ReadUnit) -> bool {
        self.is_about_the_store() && !self.is_damage(unit)
    }

    /// Could this error come with any object? The caller does not know whether the store is a local disk.
    pub(crate) fn is_about_the_store(&self) -> bool {
        use StoreErrorKind as Kind;
        matches!(self.kind, Kind::Failed | Kind::Denied | Kind::Untrusted | Kind::NoStore { .. })
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_ref().map_or("", Name::as_str);
        let detail = &self.detail;
        match self.kind {
            StoreErrorKind::Missing => write!(f, "{name} does not exist"),
            StoreErrorKind::Exists => write!(f, "{name} exists already"),
            StoreErrorKind::Full => write!(f, "the store is full: {detail}"),
            StoreErrorKind::NoStore { .. } => write!(f, "there is no store at {detail}"),
            StoreErrorKind::Size { size } => write!(f, "{name} has {size} bytes, which does not fit what was asked ({detail})"),
            StoreErrorKind::Denied | StoreErrorKind::Untrusted => write!(f, "not permitted: {detail}"),
            StoreErrorKind::Failed => f.write_str(detail),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_read_is_damage_on_a_disk_and_says_nothing_about_a_server() {
        let size = StoreError::size(Name::new("packs/a").unwrap(), 9, "at most 5 bytes");
        assert!(size.is_damage(ReadUnit::Window) && !size.is_inconclusive(ReadUnit::Window));
        for error in [StoreError::failed("bad sector"), StoreError::denied("mode 000")] {
            assert!(error.is_damage(ReadUnit::Exact) && !error.is_inconclusive(ReadUnit::Exact), "{error}");
            assert!(!error.is_damage(ReadUnit::Window) && error.is_inconclusive(ReadUnit::Window), "{error}");
        }
        for error in [StoreError::no_store("/x"), StoreError::untrusted("the clock is wrong")] {
            assert!(!error.is_damage(ReadUnit::Exact) && error.is_inconclusive(ReadUnit::Exact), "{error}");
        }
    }

    #[test]
    fn an_error_keeps_its_cause() {
        let error = StoreError::failed("cannot open x: gone").caused_by(std::io::Error::other("gone"));
        assert_eq!(error.with_detail(|detail| format!("a: {detail}")).source().unwrap().to_string(), "gone");
    }
}
