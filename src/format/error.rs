//! What can be wrong with stored bytes, by name.

use crate::crypto::CryptoError;

/// Why an object could not be sealed, opened or understood.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// Fewer bytes than its fixed parts or its counts need.
    #[error("{what}: {length} bytes are too few, at least {least} belong there")]
    TooShort {
        /// Which thing.
        what: &'static str,
        /// Bytes there.
        length: u64,
        /// Bytes needed.
        least: u64,
    },
    /// Above a limit of `limits`; nothing of that size was allocated.
    #[error("{what}: {length} is above the limit of {most}")]
    TooLong {
        /// Which thing.
        what: &'static str,
        /// Bytes, or how many, there are or are claimed.
        length: u64,
        /// The limit.
        most: u64,
    },
    /// The first bytes are not those of this kind of file.
    #[error("{what}: this is not an esker file, or its first bytes are damaged")]
    WrongMagic {
        /// Which thing.
        what: &'static str,
    },
    /// Written by a later version of the format.
    #[error("{what}: format version {version}, this program knows version 1")]
    NewerVersion {
        /// Which thing.
        what: &'static str,
        /// Its version.
        version: u8,
    },
    /// An object of another type stands where this one belongs.
    #[error("a {wanted} belongs here, but this is an object of type {found}")]
    WrongType {
        /// The type that belongs there.
        wanted: &'static str,
        /// The number found.
        found: u8,
    },
    /// Sealed under another key, or its header is damaged. Of a keyslot: not the passphrase it was made with.
    #[error("{what}: it was sealed under another key, or its header is damaged")]
    WrongCommitment {
        /// Which thing.
        what: &'static str,
    },
    /// The bytes do not authenticate: they were changed.
    #[error("{what}: damaged, the bytes do not authenticate")]
    Damaged {
        /// Which thing.
        what: &'static str,
    },
    /// The disk does not give its bytes: a bad sector, or the wrong mode of a file.
    #[error("{what}: cannot be read: {why}")]
    Unreadable {
        /// Which thing.
        what: &'static str,
        /// What the disk answered.
        why: String,
    },
    /// Authentic, but not in the one form the format allows.
    #[error("{what}: not written in the one canonical form")]
    NotCanonical {
        /// Which thing.
        what: &'static str,
    },
    /// A field breaks a rule of the format.
    #[error("{what}: {field} {why}")]
    Field {
        /// Which thing.
        what: &'static str,
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Only an owner can open it.
    #[error("{what}: sealed to the owner; a writer key cannot open it")]
    NeedsOwner {
        /// Which thing.
        what: &'static str,
    },
    /// Sealed in a generation (or by a writer) whose keys this run does not hold.
    #[error("{what}: sealed in generation {generation}, whose keys are not at hand")]
    OtherGeneration {
        /// Which thing.
        what: &'static str,
        /// Its generation.
        generation: u32,
    },
    /// A later version says: do not go on without understanding this field.
    #[error("{what}: field {number} of a later version must be understood, and is not")]
    RequiredExtra {
        /// Which thing.
        what: &'static str,
        /// The field's number.
        number: u16,
    },
    /// The owner's mark is missing or wrong: whoever wrote it, an owner does not obey it.
    #[error("{what}: it does not carry the owner's mark")]
    WrongOwnerMac {
        /// Which thing.
        what: &'static str,
    },
    /// Not written by the session it names.
    #[error("{what}: it was not written by its session")]
    WrongSessionMac {
        /// Which thing.
        what: &'static str,
    },
    /// It says it belongs under another name.
    #[error("{what}: it belongs under another name")]
    WrongPlace {
        /// Which thing.
        what: &'static str,
    },
    /// A frame does not decompress to exactly its authenticated length.
    #[error("frame {frame}: {source}")]
    Compress {
        /// Number of the frame in its pack.
        frame: u32,
        /// What zstd says.
        source: crate::compress::CompressError,
    },
    /// Recovery shards could not be made or used.
    #[error(transparent)]
    Parity(#[from] crate::parity::ParityError),
    /// A key could not be made or used.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

impl FormatError {
    /// A field that breaks a rule.
    pub(crate) fn field(what: &'static str, field: &'static str, why: &'static str) -> Self {
        Self::Field { what, field, why }
    }
}

/// `Ok` when `length` is at most `most`.
pub(crate) fn at_most(what: &'static str, length: u64, most: u64) -> Result<(), FormatError> {
    if length > most { Err(FormatError::TooLong { what, length, most }) } else { Ok(()) }
}
