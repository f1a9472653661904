//! Mending: index files, damaged packs, snapshots that lost files, root trees nobody reaches. Never deletes what it mends.
//!
//! * [`index`]: packs that no readable index file tells of are indexed again, from their own directories;
//! * [`packs`]: damaged and missing packs are put back byte by byte, from parity or from a mirror; those nothing gives back are written
//!   into the config, so that the next snapshot stores again what it still has of them;
//! * [`other`]: chunks of packs that nothing gives back are looked for in another repository, and stored again;
//! * [`snapshots`]: beside a snapshot that lost files for good, one without them;
//! * [`recover`]: a snapshot of the folders that no snapshot reaches any more;
//! * [`parity`]: recovery data is switched on and off, added to packs without, taken away.
//!
//! Leans on `repository` and `format`. Never knows how damage was found, or who asks. Whatever writes does it in a session of a writer;
//! only a pack that is put back needs none, because its bytes are those that stood there.

pub mod index;
mod marks;
pub mod other;
pub mod packs;
pub mod parity;
pub mod recover;
pub mod snapshots;
mod tree;

use crate::monitor::Stopped;
use crate::repository::RepositoryError;

/// Nothing was repaired, or not all of it; what was done until then stays done.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The store does not answer, the run was asked to stop, or the key is not an owner's.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// What was named is not there.
    #[error("{0}")]
    NotFound(String),
}

impl From<Stopped> for RepairError {
    fn from(stopped: Stopped) -> Self {
        Self::Repository(stopped.into())
    }
}
