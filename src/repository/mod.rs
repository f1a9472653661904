//! The narrow waist: above it plaintext and ids, below it sealed bytes.
//!
//! A [`Repository`] is an opened place: store, keys, config. A [`writer::Writer`] runs one session through the commit
//! protocol. A [`Reader`] gives chunks, trees and paths. Both look chunks up in a [`Catalog`](crate::catalog::Catalog).
//! What runs tell each other goes through [`Records`](crate::records::Records).
//!
//! Leans on `catalog`, `records`, `objects`, `format`, `crypto`. Never knows what a source is, how files are restored,
//! or who asks.

mod catalogs;
mod error;
pub mod freshness;
mod init;
mod keys;
pub mod latest;
pub mod listed;
mod naming;
mod open;
pub(crate) mod packing;
mod parity;
pub mod probe;
mod reader;
mod records;
mod snapshots;
mod strangers;
pub mod survey;
pub mod unlock;
pub mod walk;
pub mod writer;

pub use catalogs::GcSeen;
pub use error::RepositoryError;
pub use init::{ChunkerParams, InitOptions, Initialised};
pub use keys::repository_at;
pub(crate) use naming::Namer;
pub use open::{Environment, Secret};
pub use reader::{Location, Reader};
pub use snapshots::{Forgone, StoredSnapshot};
pub use strangers::{check_is_free, program_at};

use std::path::PathBuf;
use std::sync::Arc;

use crate::cache::Cache;
use crate::chunker::Sizes;
use crate::clock::{Clock, Rng};
use crate::crypto::Secret as Secret32;
use crate::format::config::Config;
use crate::id::{ObjectHash, RepositoryId, SnapshotId};
use crate::objects::Objects;
use crate::records::host_state::HostMemory;
use crate::store::{Entry, Store, StoreError};

/// An opened repository.
pub struct Repository {
    objects: Objects,
    config: Config,
    config_number: u32,
    is_rotation_unfinished: bool,
    host: String,
    opened_with: Option<ObjectHash>,
    cache: Option<PathBuf>,
    host_memory: HostMemory,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repository")
            .field("id", &self.id())
            .field("location", &self.objects.store.location())
            .finish_non_exhaustive()
    }
}

impl Repository {
    /// Its public identity.
    pub fn id(&self) -> RepositoryId {
        self.objects.keys.repository_id()
    }
    /// The door to its objects: for operations that are about objects as such (verify, repair and prune handle whole
    /// packs, parity objects and index files), and for tests that forge or damage objects.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }
    /// The door for `mirror`, which copies every object as it is and opens none.
    pub fn all_objects(&self) -> &dyn Store {
        &*self.objects.store
    }
    /// Lists every object below a folder, to count them.
    ///
    /// # Errors
    /// The store's.
    pub fn list_objects(&self, folder: &str, each: &mut dyn FnMut(Entry)) -> Result<(), StoreError> {
        self.objects.list(folder, each)
    }
    /// Time.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.objects.clock
    }
    /// Randomness.
    pub fn rng(&self) -> &Arc<dyn Rng> {
        &self.objects.rng
    }
    /// The config in force.
    pub fn config(&self) -> &Config {
        &self.config
    }
    /// How this machine calls itself.
    pub fn host(&self) -> &str {
        &self.host
    }
    /// Its number in the chain.
    pub fn config_number(&self) -> u32 {
        self.config_number
    }
    /// Does its config name a generation that no config is sealed in yet? Then a rotation was cut off, and writers of
    /// neither begin.
    pub fn is_rotation_unfinished(&self) -> bool {
        self.is_rotation_unfinished
    }
    /// Key of cut points: that of the writer secret, unless this repository was made to cut as another one does.
    pub fn cut_key(&self) -> [u8; 32] {
        self.config.shared_cut_key().unwrap_or_else(|| self.objects.keys.cut_key())
    }
    /// How this repository cuts, for one that is to cut alike.
    pub fn chunker_params(&self) -> ChunkerParams {
        ChunkerParams { cut_key: Secret32::new(self.cut_key()), streams: self.config.streams, files: self.config.files }
    }
    /// Do both cut alike, so that what is backed up into one shares chunks with what is copied from the other?
    pub fn cuts_as(&self, other: &Repository) -> bool {
        let sizes = |repository: &Repository| (repository.config.streams, repository.config.files);
        sizes(self) == sizes(other) && self.cut_key() == other.cut_key()
    }
    /// How streams are cut.
    pub(crate) fn sizes_of_streams(&self) -> Sizes {
        self.config.streams
    }
    /// How files are cut.
    pub(crate) fn sizes_of_files(&self) -> Sizes {
        self.config.files
    }

    /// A clear refusal for what a writer key cannot do.
    pub fn need_owner(&self, what: &'static str) -> Result<(), RepositoryError> {
        Ok(self.records().need_owner(what)?)
    }

    /// A clear refusal for what would change a repository whose rules only a newer esker knows.
    pub(crate) fn need_write_features(&self) -> Result<(), RepositoryError> {
        match self.config.unknown_write_features() {
            0 => Ok(()),
            unknown => Err(RepositoryError::NewerFeatures(unknown)),
        }
    }

    /// The local cache; without a folder for it, one that lives as long as this process.
    fn open_cache(&self) -> Result<Cache, RepositoryError> {
        let (id, key) = (self.id(), self.objects.keys.cache_key());
        Ok(match &self.cache {
            Some(folder) => Cache::open(folder, &id, &key)?,
            None => Cache::temporary(&id, &key)?,
        })
    }

    /// The last snapshot committed from this host.
    pub fn last_commit(&self) -> Option<(SnapshotId, ObjectHash)> {
        self.host_memory.state().last
    }

    /// Does the store still show what this host saw of it last? `gc_number` is the highest gc number without a gap that
    /// was understood.
    ///
    /// # Errors
    /// [`RepositoryError::Brake`] when the store was rolled back; the store's.
    pub(crate) fn check_not_rolled_back(&self, gc_number: u64) -> Result<(), RepositoryError> {
        Ok(self.records().check_not_rolled_back(&self.host_memory, gc_number)?)
    }

    fn remember_commit(&self, id: SnapshotId, hash: ObjectHash) {
        self.host_memory.remember(|seen| seen.last = Some((id, hash)));
    }
}
