//! [`Memo`]: small notes that save work and decide nothing.

use super::{Cache, CacheError};

/// Where a room keeps small notes for the next run. Any note may be missing at any time, so whoever reads one can do without it.
/// A cache that had to be dropped is therefore no error here: its notes are missing, and that is all.
pub trait Memo {
    /// The note under this key.
    ///
    /// # Errors
    /// [`CacheError::Unusable`] when no cache can be kept.
    fn recall(&self, key: &[u8]) -> Result<Option<Vec<u8>>, CacheError>;

    /// Keeps a note of at most 16 MiB; `None` removes it.
    ///
    /// # Errors
    /// [`CacheError::Unusable`] when no cache can be kept.
    fn remember(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), CacheError>;

    /// Keeps many notes in one transaction.
    ///
    /// # Errors
    /// [`CacheError::Unusable`] when no cache can be kept.
    fn remember_all(&mut self, notes: &[(Vec<u8>, Vec<u8>)]) -> Result<(), CacheError> {
        notes.iter().try_for_each(|(key, value)| self.remember(key, Some(value)))
    }
}

impl Memo for Cache {
    fn recall(&self, key: &[u8]) -> Result<Option<Vec<u8>>, CacheError> {
        or_nothing(self.meta(key))
    }

    fn remember(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), CacheError> {
        or_nothing(self.put_meta(key, value))
    }

    fn remember_all(&mut self, notes: &[(Vec<u8>, Vec<u8>)]) -> Result<(), CacheError> {
        or_nothing(self.put_metas(notes))
    }
}

/// A memo that keeps nothing: for a run that reads each record once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NoMemo;

impl Memo for NoMemo {
    fn recall(&self, _: &[u8]) -> Result<Option<Vec<u8>>, CacheError> {
        Ok(None)
    }

    fn remember(&mut self, _: &[u8], _: Option<&[u8]>) -> Result<(), CacheError> {
        Ok(())
    }
}

/// The answer to a question that may as well be answered with nothing, as a cache that has just been dropped would.
///
/// # Errors
/// [`CacheError::Unusable`] when no cache can be kept.
pub(crate) fn or_nothing<T: Default>(answer: Result<T, CacheError>) -> Result<T, CacheError> {
    match answer {
        Err(CacheError::Reset(_)) => Ok(T::default()),
        answer => answer,
    }
}
