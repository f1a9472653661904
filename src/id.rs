//! Identities: newtypes over raw bytes, their hex form, and prefixes a person types.

use std::fmt;

/// Writes bytes as lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for &byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Reads lower-case hex of exactly `N` bytes; anything else (upper case too) is `None`, so that a name has one spelling.
pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    fn digit(byte: u8) -> Option<u8> {
        match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        }
    }
    let text = text.as_bytes();
    if text.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    for (out, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *out = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

macro_rules! identity {
    ($(#[$doc:meta])* $name:ident, $size:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $size]);

        impl $name {
            /// Size in bytes.
            pub const SIZE: usize = $size;
            /// The raw bytes.
            pub fn as_bytes(&self) -> &[u8; $size] {
                &self.0
            }
            /// From raw bytes of exactly this size.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }
            /// Lower-case hex.
            pub fn to_hex(self) -> String {
                hex(&self.0)
            }
            /// From lower-case hex of exactly this size.
            pub fn from_hex(text: &str) -> Option<Self> {
                unhex(text).map(Self)
            }
            /// The first eight hex digits, as shown to a person.
            pub fn short(self) -> String {
                hex(&self.0[..4])
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_hex())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.short())
            }
        }
    };
}

identity!(
    /// Keyed BLAKE3 of a chunk's plaintext, under the key of its type.
    ChunkId,
    32
);
identity!(
    /// BLAKE3 of a pack file; its name.
    PackId,
    32
);
identity!(
    /// BLAKE3 of an index file; its name.
    IndexId,
    32
);
identity!(
    /// BLAKE3 of any other stored object.
    ObjectHash,
    32
);
identity!(
    /// Public identity of a repository; commits to its root key.
    RepositoryId,
    32
);
identity!(
    /// One run of a writer: 128 random bits chosen before any work, never reused.
    SessionId,
    16
);
identity!(
    /// A snapshot; it carries the id of the session that committed it.
    SnapshotId,
    16
);

impl From<SessionId> for SnapshotId {
    fn from(session: SessionId) -> Self {
        Self(session.0)
    }
}

impl From<SnapshotId> for SessionId {
    fn from(snapshot: SnapshotId) -> Self {
        Self(snapshot.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_from_its_hex() {
        let id = SessionId([0xa5; 16]);
        assert_eq!(SessionId::from_hex(&id.to_hex()), Some(id));
        assert_eq!(id.short(), "a5a5a5a5");
    }

    #[test]
    fn an_id_has_one_spelling() {
        assert_eq!(SessionId::from_hex(&"A5".repeat(16)), None);
        assert_eq!(SessionId::from_hex(&"a5".repeat(15)), None);
        assert_eq!(SessionId::from_hex(&"g5".repeat(16)), None);
    }
}
