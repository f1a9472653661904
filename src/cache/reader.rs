//! [`CacheReader`]: looking up beside the writer, one for each thread that wants to.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::database::{Database, Fault};
use super::owner::Health;
use super::{CacheError, ChunkKey, Copy, PackNumber, PackRow};
use crate::id::PackId;

/// A connection of its own that only looks up. When the cache is dropped, by its owner or because of what a reader met, every call
/// returns [`CacheError::Reset`]: the owner's next call returns it too, and its [`super::Cache::reader`] gives a new one.
pub struct CacheReader {
    database: Database,
    health: Arc<Health>,
    resets: u64,
}

impl CacheReader {
    pub(super) fn new(database: Database, health: Arc<Health>) -> Self {
        let resets = health.resets.load(Ordering::SeqCst);
        Self { database, health, resets }
    }

    /// As [`super::Cache::find`], but without packs that are begun and not finished.
    pub fn find(&self, wanted: &[ChunkKey], each: &mut dyn FnMut(usize, Copy)) -> Result<(), CacheError> {
        self.run(|database| database.find(wanted, each))
    }

    /// As [`super::Cache::pack_number`].
    pub fn pack_number(&self, id: &PackId) -> Result<Option<PackNumber>, CacheError> {
        self.run(|database| database.pack_number(id))
    }

    /// As [`super::Cache::pack`].
    pub fn pack(&self, number: PackNumber) -> Result<Option<PackRow>, CacheError> {
        self.run(|database| database.pack(number))
    }

    fn run<T>(&self, work: impl FnOnce(&Database) -> Result<T, Fault>) -> Result<T, CacheError> {
        if self.health.resets.load(Ordering::SeqCst) != self.resets {
            return Err(CacheError::Reset("its owner dropped it".into()));
        }
        work(&self.database).map_err(|fault| {
            self.health.suspect.store(true, Ordering::SeqCst);
            CacheError::Reset(fault.text().to_owned())
        })
    }
}
