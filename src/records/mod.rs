//! Records: the small objects with which runs tell each other what they do and what was decided.
//!
//! [`Records`] reads and writes them. A record never changes, and most names hold the hash of their record, so one that
//! a [`Memo`](crate::cache::Memo) holds is not read from the store again.
//!
//! Leans on `objects`, `format` and `crypto`. It knows nothing of packs and chunks (`catalog` does), and `catalog`
//! knows nothing of records: the waist passes on what the records say about packs.

pub mod class;
pub mod configs;
mod error;
pub mod gc;
pub(crate) mod host_state;
pub mod keyslots;
pub mod ledger;
mod liveness;
pub mod notes;
mod opening;
mod probes;
pub mod revocations;
pub mod session;
pub mod sessions;
mod small;
pub mod snapshots;
pub mod tombstones;

pub use error::RecordError;
pub(crate) use liveness::is_dead_here;

use crate::format::config::StoreClass;
use crate::objects::Objects;

/// The records of one repository, for one run.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a> {
    objects: &'a Objects,
    class: StoreClass,
}

impl<'a> Records<'a> {
    /// The records among these objects, on a store of this class.
    pub fn new(objects: &'a Objects, class: StoreClass) -> Self {
        Self { objects, class }
    }

    /// A clear refusal for what a writer key cannot do.
    ///
    /// # Errors
    /// [`RecordError::NeedsOwner`] without the owner's key.
    pub fn need_owner(&self, what: &'static str) -> Result<(), RecordError> {
        if self.objects.keys.is_owner() { Ok(()) } else { Err(RecordError::NeedsOwner(what)) }
    }
}
