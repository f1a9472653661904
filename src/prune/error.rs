//! Why a prune stopped. The binary turns these into message, hint and exit code.

use crate::catalog::CatalogError;
use crate::id::{ChunkId, SnapshotId};
use crate::monitor::Stopped;
use crate::repository::RepositoryError;
use crate::store::StoreError;

/// A prune did not go on. Whatever it had decided durably is carried out by the next one; nothing that is needed was deleted.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// The store, the cache, or what stands in the repository.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// A snapshot that an earlier prune saw is not there any more, and nobody forgot it.
    #[error("snapshot {} that an earlier prune saw {what}, and it was not forgotten", id.short())]
    SnapshotGone {
        /// Which.
        id: SnapshotId,
        /// What is there instead.
        what: &'static str,
    },
    /// Without it nobody can say what is still needed.
    #[error("{what} cannot be read, so it is not known what is still needed: {detail}")]
    Unreadable {
        /// Object or chunk.
        what: String,
        /// Why.
        detail: String,
    },
    /// Snapshots refer to chunks that no listed pack holds.
    #[error("{count} chunks that snapshots need are in no pack (the first is {first})")]
    NoPack {
        /// At least so many.
        count: usize,
        /// One of them.
        first: ChunkId,
    },
    /// The local cache turned out damaged, so what was marked by its pack numbers means nothing any more.
    #[error("the local cache was damaged again and again while this ran")]
    Renumbered,
    /// More would go than what was forgotten explains.
    #[error("{going} of {total} bytes would go, and what was forgotten explains only {explained} of them")]
    TooMuch {
        /// Bytes that would go.
        going: u64,
        /// Bytes of all packs.
        total: u64,
        /// Bytes that snapshots forgotten since the last prune needed.
        explained: u64,
    },
}

impl From<Stopped> for PruneError {
    fn from(stopped: Stopped) -> Self {
        Self::Repository(stopped.into())
    }
}

impl From<CatalogError> for PruneError {
    fn from(error: CatalogError) -> Self {
        Self::Repository(error.into())
    }
}

impl From<StoreError> for PruneError {
    fn from(error: StoreError) -> Self {
        Self::Repository(error.into())
    }
}

impl PruneError {
    /// Did a safety brake stop it?
    pub fn is_brake(&self) -> bool {
        !matches!(self, Self::Repository(_) | Self::Renumbered) || matches!(self, Self::Repository(RepositoryError::Brake(_)))
    }
}
