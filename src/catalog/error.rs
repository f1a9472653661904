//! What can go wrong with a catalog.

use crate::cache::CacheError;
use crate::format::FormatError;
use crate::objects::{ObjectError, Objects};
use crate::store::StoreError;

/// The catalog could not answer.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// An object, or the store.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// No cache can be kept, or it was damaged again and again.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl From<StoreError> for CatalogError {
    fn from(error: StoreError) -> Self {
        Self::Object(error.into())
    }
}

impl From<FormatError> for CatalogError {
    fn from(error: FormatError) -> Self {
        Self::Object(error.into())
    }
}

impl CatalogError {
    /// `FormatError` of a named object.
    pub(super) fn object(object: impl ToString) -> impl FnOnce(FormatError) -> Self {
        let object = ObjectError::object(object);
        move |source| Self::Object(object(source))
    }

    /// Does it say that an object is damaged, rather than that the store does not answer?
    pub(crate) fn is_damage(&self, objects: &Objects) -> bool {
        matches!(self, Self::Object(error) if objects.is_damage(error))
    }
}
