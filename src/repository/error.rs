//! What can go wrong at the waist. The binary turns these into message, hint and exit code.

use crate::cache::CacheError;
use crate::catalog::CatalogError;
use crate::clock::RngError;
use crate::compress::CompressError;
use crate::crypto::CryptoError;
use crate::format::FormatError;
use crate::id::ChunkId;
use crate::monitor::Stopped;
use crate::objects::ObjectError;
use crate::records::RecordError;
use crate::repository::Repository;
use crate::store::StoreError;

/// An operation on a repository failed.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// No config at this place.
    #[error("there is no esker repository at {0}")]
    NoRepository(String),
    /// The place holds the repository of another program.
    #[error("{place} is a {program} repository, and esker cannot read it")]
    OtherProgram {
        /// The place.
        place: String,
        /// Whose it is.
        program: &'static str,
    },
    /// The place for a new repository holds other things.
    #[error("{place} is not empty: it holds {holds}")]
    PlaceTaken {
        /// The place.
        place: String,
        /// Some of the names there.
        holds: String,
    },
    /// `init` found something of ours already.
    #[error("{0} already holds a repository, or the remains of one")]
    AlreadyExists(String),
    /// `init` found keyslots that do not open with the password it was given, and nothing else.
    #[error("{0} holds keyslots of an init that was cut off, or is still running, and none opens with this password")]
    UnfinishedInit(String),
    /// `init` found keyslots of more than one root, on a store where no config decides between them.
    #[error("{0} holds keyslots of several inits: another one is running, or some were cut off; this one took its own away")]
    InitsAtOnce(String),
    /// Another `init` with the same root made the repository while this one did.
    #[error("another init made the repository at {0} at the same time; it opens with the same password")]
    MadeMeanwhile(String),
    /// No keyslot opened with this password or key.
    #[error("wrong password or key: none of {slots} keyslots opened")]
    WrongSecret {
        /// How many were tried.
        slots: usize,
    },
    /// The key belongs to another repository.
    #[error("this key belongs to repository {key}, and {location} is another one (or its {object} is damaged)")]
    ForeignKey {
        /// The repository of the key.
        key: String,
        /// The place.
        location: String,
        /// The config that did not open.
        object: String,
    },
    /// A writer key cannot do this.
    #[error("{0} needs an owner key; this is a writer key, which can only take snapshots")]
    NeedsOwner(&'static str),
    /// The config names write features that only a newer esker knows: reading is fine, writing, pruning and repairing are not.
    #[error("this repository is written by rules that only a newer esker knows (features {0:#x}); this one may only read it")]
    NewerFeatures(u64),
    /// A keyslot could not be found, or may not be removed.
    #[error("{0}")]
    Keyslot(String),
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
    /// Keys could not be made or read.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// The local cache failed in a way that starting afresh did not cure.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// zstd failed.
    #[error(transparent)]
    Compress(#[from] CompressError),
    /// No randomness.
    #[error(transparent)]
    Rng(#[from] RngError),
    /// No listed pack holds this chunk.
    #[error("chunk {0} is in no pack of this repository")]
    ChunkMissing(ChunkId),
    /// Every copy of this chunk is damaged.
    #[error("chunk {id} cannot be read: {detail}")]
    ChunkDamaged {
        /// The chunk.
        id: ChunkId,
        /// What was wrong with the last copy tried.
        detail: String,
    },
    /// A tree or list says something that cannot be.
    #[error("tree {id}: {detail}")]
    TreeDamaged {
        /// The chunk it stands in.
        id: ChunkId,
        /// What is wrong.
        detail: String,
    },
    /// No snapshot answers to what was typed.
    #[error("no snapshot matches {0:?}")]
    SnapshotNotFound(String),
    /// A prefix fits several.
    #[error("{prefix:?} fits {count} snapshots; type more of it")]
    SnapshotAmbiguous {
        /// What was typed.
        prefix: String,
        /// How many it fits.
        count: usize,
    },
    /// A path is not in the snapshot.
    #[error("{path:?} is not in snapshot {snapshot}")]
    PathNotFound {
        /// The path, escaped.
        path: String,
        /// The snapshot.
        snapshot: String,
    },
    /// A safety brake: continuing could lose something.
    #[error("stopped by a safety brake: {0}")]
    Brake(String),
    /// A store that was tried cannot hold a repository.
    #[error("{place} cannot hold a repository: {why}")]
    StoreUnfit {
        /// The store.
        place: String,
        /// What was found.
        why: String,
    },
    /// The repository counts on more than this host finds.
    #[error(
        "this repository counts on create-if-absent, and as this host finds {place} cannot be trusted with it: {why}; going on could lose \
         snapshots"
    )]
    StoreLess {
        /// The store.
        place: String,
        /// What was found.
        why: String,
    },
    /// The store answered, but not in a way that allows a decision.
    #[error("{0}")]
    Inconclusive(String),
    /// Another run revoked this session: nothing was committed.
    #[error("this run was revoked by another one before it could commit; nothing was committed")]
    Revoked,
    /// The user asked to stop.
    #[error("interrupted")]
    Stopped,
}

impl From<Stopped> for RepositoryError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<ObjectError> for RepositoryError {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Store(error) => Self::Store(error),
            ObjectError::Object { object, source } => Self::Object { object, source },
            ObjectError::Format(error) => Self::Format(error),
            ObjectError::Inconclusive(why) => Self::Inconclusive(why),
        }
    }
}

impl From<RecordError> for RepositoryError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Object(error) => error.into(),
            RecordError::Cache(error) => Self::Cache(error),
            RecordError::Rng(error) => Self::Rng(error),
            RecordError::NeedsOwner(what) => Self::NeedsOwner(what),
            RecordError::Revoked => Self::Revoked,
            RecordError::Brake(why) => Self::Brake(why),
            RecordError::NoRepository(place) => Self::NoRepository(place),
            RecordError::WrongSecret { slots } => Self::WrongSecret { slots },
            RecordError::ForeignKey { key, location, object } => Self::ForeignKey { key, location, object },
            RecordError::Keyslot(why) => Self::Keyslot(why),
            RecordError::Crypto(error) => Self::Crypto(error),
        }
    }
}

impl From<CatalogError> for RepositoryError {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::Object(error) => error.into(),
            CatalogError::Cache(error) => Self::Cache(error),
        }
    }
}

impl RepositoryError {
    /// Something is of a later generation than the one this run writes in.
    pub(crate) fn rotated_meanwhile() -> Self {
        Self::Inconclusive("the key was rotated while this ran; run it again".to_owned())
    }

    /// `FormatError` of a named object.
    pub fn object(object: impl ToString) -> impl FnOnce(FormatError) -> Self {
        let object = object.to_string();
        move |source| Self::Object { object, source }
    }
}

impl Repository {
    /// Does this error say that something stored is damaged, rather than that the store does not answer? See [`StoreError::is_damage`].
    pub(crate) fn is_damage(&self, error: &RepositoryError) -> bool {
        match error {
            RepositoryError::Object { .. } | RepositoryError::Format(_) | RepositoryError::ChunkDamaged { .. } => true,
            RepositoryError::Store(error) => error.is_damage(self.objects().store.read_unit()),
            _ => false,
        }
    }

    /// Does this error leave open what the store holds? See [`StoreError::is_inconclusive`].
    pub(crate) fn is_inconclusive(&self, error: &RepositoryError) -> bool {
        match error {
            RepositoryError::Store(error) => error.is_inconclusive(self.objects().store.read_unit()),
            _ => false,
        }
    }
}
