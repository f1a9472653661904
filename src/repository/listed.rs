//! Reads objects that a listing named. One bad object never ends a run: its fault is reported, and the others go on.

pub(crate) use crate::objects::HASH_OF_TOO_LARGE;
pub use crate::objects::get;

use crate::repository::{Repository, RepositoryError};
use crate::store::Name;

/// The fault of one object, in words.
///
/// # Errors
/// Any other error.
pub fn fault(error: RepositoryError) -> Result<String, RepositoryError> {
    match error {
        RepositoryError::Object { source, .. } => Ok(source.to_string()),
        error => Err(error),
    }
}

impl Repository {
    /// As [`get`], from the store of this repository.
    ///
    /// # Errors
    /// Those of [`get`].
    pub(crate) fn get_listed(&self, name: &Name, size_max: u64) -> Result<Option<Vec<u8>>, RepositoryError> {
        Ok(self.objects.get_listed(name, size_max)?)
    }
}
