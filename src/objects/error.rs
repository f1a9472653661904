//! What can go wrong with objects.

use crate::format::FormatError;
use crate::store::StoreError;

/// An object could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored object is not what it should be.
    #[error("{object}: {source}")]
    Object {
        /// Its name in the store.
        object: String,
        /// What is wrong with it.
        source: FormatError,
    },
    /// Sealing or encoding failed.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The store answered, but not in a way that allows a decision.
    #[error("{0}")]
    Inconclusive(String),
}

impl ObjectError {
    /// `FormatError` of a named object.
    pub fn object(object: impl ToString) -> impl FnOnce(FormatError) -> Self {
        let object = object.to_string();
        move |source| Self::Object { object, source }
    }

    /// Does it say that an object is damaged? On a local disk (`is_disk`) a failed read says so too.
    pub(crate) fn is_damage(&self, is_disk: bool) -> bool {
        match self {
            Self::Object { .. } | Self::Format(_) | Self::Store(StoreError::Size { .. }) => true,
            Self::Store(StoreError::Io(_) | StoreError::Denied(_)) => is_disk,
            Self::Store(_) | Self::Inconclusive(_) => false,
        }
    }
}
