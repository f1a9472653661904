//! `KDF` and `MAC` of the specification, and bytes that must not be shown.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The contexts of every derivation, complete as they are given to `blake3::derive_key`. One string per purpose, never reused.
pub mod context {
    /// Public identity of the repository.
    pub const REPOSITORY_ID: &str = "esker 2026-11 v1 repository id";
    /// X25519 secret that opens packs and snapshots.
    pub const SEALING_SECRET: &str = "esker 2026-11 v1 sealing secret";
    /// Key of `owner_mac`.
    pub const OWNER_MAC: &str = "esker 2026-11 v1 owner mac";
    /// Writer secret of a generation.
    pub const WRITER: &str = "esker 2026-11 v1 writer";
    /// Pre-shared key of the sealing.
    pub const SEAL_PSK: &str = "esker 2026-11 v1 seal psk";
    /// Objects among writers.
    pub const RECORDS: &str = "esker 2026-11 v1 records";
    /// Tags of cache rows.
    pub const CACHE_ROWS: &str = "esker 2026-11 v1 cache rows";
    /// Second source beside the randomness of the operating system.
    pub const HEDGE: &str = "esker 2026-11 v1 hedge";
    /// Ids of chunks, per type.
    pub const CHUNK_ID: &str = "esker 2026-11 v1 chunk id";
    /// Cut points of data and of folders.
    pub const CHUNKER: &str = "esker 2026-11 v1 chunker";
    /// MACs of whole streams.
    pub const STREAM: &str = "esker 2026-11 v1 stream";
    /// Secret from the bytes of a recovery key.
    pub const RECOVERY: &str = "esker 2026-11 v1 recovery";
    /// Commitment of a keyslot.
    pub(crate) const SLOT_COMMIT: &str = "esker 2026-11 v1 slot commit";
    /// Key of a keyslot's payload.
    pub(crate) const SLOT_BOX: &str = "esker 2026-11 v1 slot box";
    /// Key of a keyslot's nonce.
    pub(crate) const SLOT_NONCE: &str = "esker 2026-11 v1 slot nonce";
    /// Pseudorandom key of one sealed object.
    pub(crate) const OBJECT_PRK: &str = "esker 2026-11 v1 object prk";
    /// Commitment of one sealed object.
    pub(crate) const OBJECT_COMMIT: &str = "esker 2026-11 v1 object commit";
    /// Key of its boxes.
    pub(crate) const OBJECT_BOX: &str = "esker 2026-11 v1 object box";
    /// Key of its nonces.
    pub(crate) const OBJECT_NONCE: &str = "esker 2026-11 v1 object nonce";
    /// Hash of its header for the associated data.
    pub(crate) const OBJECT_HEADER: &str = "esker 2026-11 v1 object header";
    /// Checksum of a typed key: a derivation, so that it is no prefix of anything else.
    pub(crate) const CHECKSUM: &str = "esker 2026-11 v1 checksum";
    /// `info` of the HPKE setup, before the repository id.
    pub(crate) const SEAL_INFO: &str = "esker 2026-11 v1 seal";

    /// All of them, for the test that holds them against the specification.
    pub const ALL: [&str; 22] = [
        REPOSITORY_ID,
        SEALING_SECRET,
        OWNER_MAC,
        WRITER,
        SEAL_PSK,
        RECORDS,
        CACHE_ROWS,
        HEDGE,
        CHUNK_ID,
        CHUNKER,
        STREAM,
        RECOVERY,
        SLOT_COMMIT,
        SLOT_BOX,
        SLOT_NONCE,
        OBJECT_PRK,
        OBJECT_COMMIT,
        OBJECT_BOX,
        OBJECT_NONCE,
        OBJECT_HEADER,
        CHECKSUM,
        SEAL_INFO,
    ];
}

/// 32 secret bytes: not `Clone`, printed as `..`, wiped when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Takes bytes over as a secret.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
    /// The bytes; the caller sees to it that they go nowhere.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
    /// The same secret once more. A word, not `Clone`, so that every place that does it can be found.
    pub(crate) fn duplicate(&self) -> Self {
        Self(self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

/// `KDF(context, parts laid end to end)`. Parts are of fixed length or carry their length: that is the caller's part of the contract.
pub fn kdf(context: &'static str, parts: &[&[u8]]) -> Secret {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(part);
    }
    let secret = Secret(*hasher.finalize().as_bytes());
    hasher.zeroize();
    secret
}

/// `MAC(key, parts laid end to end)`: keyed BLAKE3.
pub fn mac(key: &Secret, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_keyed(key.expose());
    for part in parts {
        hasher.update(part);
    }
    let mac = *hasher.finalize().as_bytes();
    hasher.zeroize();
    mac
}

/// `MAC(key, length of place u16 | place | body)`: the form of `owner_mac` and of session records.
pub(crate) fn mac_of_place(key: &Secret, place: &str, body: &[u8]) -> [u8; 32] {
    // A name has at most 255 bytes (`store::Name`); a longer place would only make a MAC that nothing else computes.
    let length = u16::try_from(place.len()).unwrap_or(u16::MAX);
    mac(key, &[&length.to_le_bytes(), place.as_bytes(), body])
}

/// Equality that takes as long whatever differs.
pub fn equal(a: &[u8; 32], b: &[u8; 32]) -> bool {
    bool::from(a.ct_eq(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_context_is_distinct_and_begins_as_the_specification_says() {
        let mut seen = std::collections::BTreeSet::new();
        for context in context::ALL {
            assert!(context.starts_with("esker 2026-11 v1 "));
            assert!(seen.insert(context), "{context} is used twice");
        }
    }

    #[test]
    fn a_secret_does_not_print() {
        assert_eq!(format!("{:?}", Secret::new([7; 32])), "..");
    }

    #[test]
    fn parts_are_laid_end_to_end() {
        assert_eq!(kdf(context::WRITER, &[b"ab", b"c"]).expose(), &blake3::derive_key(context::WRITER, b"abc"));
        let key = Secret::new([1; 32]);
        assert_eq!(mac(&key, &[b"ab", b"c"]), *blake3::keyed_hash(&[1; 32], b"abc").as_bytes());
        assert_eq!(mac_of_place(&key, "ab", b"c"), mac(&key, &[&[2, 0], b"ab", b"c"]));
    }
}
