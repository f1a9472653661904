//! What can go wrong with records.

use crate::cache::CacheError;
use crate::clock::RngError;
use crate::crypto::CryptoError;
use crate::format::FormatError;
use crate::objects::ObjectError;
use crate::store::{StoreError, StoreErrorKind};

/// A record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// An object, or the store.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// No cache can be kept.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// No randomness.
    #[error(transparent)]
    Rng(#[from] RngError),
    /// A writer key cannot do this.
    #[error("{0} needs an owner key; this is a writer key, which can only take snapshots")]
    NeedsOwner(&'static str),
    /// There is no config at this place.
    #[error("there is no esker repository at {0}")]
    NoRepository(String),
    /// No keyslot opened with this password or key.
    #[error("wrong password or key: none of {slots} keyslots opened")]
    WrongSecret {
        /// How many were tried.
        slots: usize,
    },
    /// The key belongs to another repository.
    #[error("this key belongs to repository {key}, and {location} is another one (or its {object} is damaged)")]
    ForeignKey {
        /// The repository of the key.
        key: String,
        /// The place.
        location: String,
        /// The config that did not open.
        object: String,
    },
    /// A keyslot could not be found, or may not be removed.
    #[error("{0}")]
    Keyslot(String),
    /// Keys could not be made or read.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// A safety brake: continuing could lose something.
    #[error("stopped by a safety brake: {0}")]
    Brake(String),
    /// Another run revoked this session: nothing was committed.
    #[error("this run was revoked by another one before it could commit; nothing was committed")]
    Revoked,
}

impl From<StoreError> for RecordError {
    fn from(error: StoreError) -> Self {
        Self::Object(error.into())
    }
}

impl From<FormatError> for RecordError {
    fn from(error: FormatError) -> Self {
        Self::Object(error.into())
    }
}

impl RecordError {
    /// A listing of configs or keyslots failed. Where there is no store there is no repository, unless the store has
    /// more to say.
    pub(super) fn of_listing(error: StoreError) -> Self {
        match error.kind {
            StoreErrorKind::NoStore { says_what_to_do: false } => Self::NoRepository(error.detail().to_owned()),
            _ => error.into(),
        }
    }

    /// A record is of a later generation than the one in which this run writes.
    pub(crate) fn rotated_meanwhile() -> Self {
        Self::inconclusive("the key was rotated while this ran; run it again")
    }

    /// The store answered, but not in a way that allows a decision.
    pub(crate) fn inconclusive(why: impl Into<String>) -> Self {
        Self::Object(ObjectError::Inconclusive(why.into()))
    }
}
