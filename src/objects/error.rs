//! What can go wrong with objects.

use crate::format::FormatError;
use crate::store::{ReadUnit, StoreError};

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

    /// Does it say that an object is damaged? See [`StoreError::is_damage`].
    pub(crate) fn is_damage(&self, unit: ReadUnit) -> bool {
        match self {
            Self::Object { .. } | Self::Format(_) => true,
            Self::Store(error) => error.is_damage(unit),
            Self::Inconclusive(_) => false,
        }
    }
}
