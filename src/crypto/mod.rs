//! Keys: which exist, how each is derived, and the few things done with them (page `format-spec/keys.md`).
//!
//! Secrets come in (a root, a writer secret, a passphrase, a recovery key, a key line) and only purpose-made operations go out: an id,
//! a MAC, a sealed box. Secret types print as `..`, are not `Clone`, and are wiped when dropped. This room leans on `clock::Rng` and
//! `id`; it never knows what the bytes it seals mean, what they are called, or where they are stored.

mod base32;
mod boxes;
mod derive;
mod exchange;
mod keys;
mod line;
mod passphrase;
mod recovery;

pub(crate) use boxes::{BOX_OVERHEAD, Boxes, NONCE_SIZE, TAG_SIZE};
pub(crate) use derive::mac_of_place;
pub use derive::{Secret, context, equal, kdf, mac};
pub use exchange::{Agreed, Received};
pub use keys::{ChunkType, GenerationKeys, Keys, RootKey, WriterKey};
pub(crate) use line::{OWNER_TAG, WRITER_TAG};
pub use passphrase::{Argon2Cost, Passphrase};
pub use recovery::RecoveryKey;

/// Why a key could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum CryptoError {
    /// No randomness: nothing was sealed.
    #[error(transparent)]
    Rng(#[from] crate::clock::RngError),
    /// argon2id parameters outside what version 1 accepts; checked before anything runs.
    #[error("passphrase stretching with {memory_kib} KiB, {passes} passes, {lanes} lanes is outside the accepted range")]
    Cost {
        /// Memory in KiB.
        memory_kib: u32,
        /// Passes.
        passes: u32,
        /// Lanes.
        lanes: u32,
    },
    /// argon2id failed: not enough memory.
    #[error("the passphrase could not be stretched: {0}")]
    Stretch(String),
    /// The key agreement failed: a public key of small order, or bytes that are none.
    #[error("the key agreement failed")]
    Agreement,
    /// A typed key is not one: wrong length, a character that does not occur, a wrong checksum.
    #[error("{what}: {why}")]
    Typed {
        /// What was expected.
        what: &'static str,
        /// What is wrong.
        why: &'static str,
    },
    /// The bytes did not authenticate.
    #[error("the bytes do not authenticate")]
    Forged,
    /// More bytes than one box can hold.
    #[error("{0} bytes are too many for one box")]
    TooLong(usize),
}
