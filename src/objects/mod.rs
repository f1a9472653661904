//! Sealed objects by name: list them, get them, put them. A bad object is told from a bad store.
//!
//! [`Objects`] is what the rooms above need to read and write any object: the store, the keys of this run, time and
//! randomness. What an object means is known above (`catalog`, `records`) and in `format`.

mod create_same;
mod error;
mod listed;
mod packs;
mod parity;

pub use create_same::create_same;
pub(crate) use create_same::unless_same;
pub use error::ObjectError;
pub(crate) use listed::HASH_OF_TOO_LARGE;
pub use listed::get;
pub(crate) use parity::put_parity;

use std::sync::Arc;

use crate::clock::{Clock, Rng};
use crate::crypto::Keys;
use crate::format::{FormatError, Opener, Sealer};
use crate::store::Store;

/// A store, and the keys that open and seal what is in it.
pub struct Objects {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) opener: Opener,
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Objects").field("location", &self.store.location()).finish_non_exhaustive()
    }
}

impl Objects {
    /// The objects of this store, under these keys.
    ///
    /// # Errors
    /// There is no randomness for a sealer.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, rng: Arc<dyn Rng>, keys: Arc<Keys>) -> Result<Self, FormatError> {
        let sealer = Arc::new(Sealer::new(Arc::clone(&keys), Arc::clone(&rng))?);
        let opener = Opener::new(Arc::clone(&keys));
        Ok(Self { store, clock, rng, keys, sealer, opener })
    }

    /// Names to bytes.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The keys of this run.
    pub fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    /// Opens sealed objects.
    pub fn opener(&self) -> &Opener {
        &self.opener
    }

    /// Seals new objects.
    pub fn sealer(&self) -> &Arc<Sealer> {
        &self.sealer
    }

    /// Does this error say that an object is damaged, rather than that this store does not answer? See
    /// [`StoreError::is_damage`](crate::store::StoreError::is_damage).
    pub(crate) fn is_damage(&self, error: &ObjectError) -> bool {
        error.is_damage(self.store.read_unit())
    }
}
