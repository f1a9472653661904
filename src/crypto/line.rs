//! Keys as one line of text, for files that only their owner may read: `ESKER-WRITER-1 ...` and `ESKER-OWNER-1 ...`.

use zeroize::Zeroizing;

use super::derive::{Secret, context, kdf};
use super::{CryptoError, RootKey, WriterKey, base32};
use crate::id::RepositoryId;

/// First word of a writer key line.
pub(crate) const WRITER_TAG: &str = "ESKER-WRITER-1";
/// First word of an owner key line.
pub(crate) const OWNER_TAG: &str = "ESKER-OWNER-1";

const CHECKSUM_SIZE: usize = 4;
/// Repository id 32, public key 32, generation 4, writer 16, secret 32, checksum: 192 characters.
const WRITER_SIZE: usize = 116 + CHECKSUM_SIZE;
/// Root 32, generation 4, checksum: 64 characters.
const OWNER_SIZE: usize = 36 + CHECKSUM_SIZE;

fn checksum(tag: &str, fields: &[u8]) -> [u8; CHECKSUM_SIZE] {
    let sum = kdf(context::CHECKSUM, &[tag.as_bytes(), fields]);
    let [a, b, c, d, ..] = *sum.expose();
    [a, b, c, d]
}

fn write<const N: usize>(tag: &str, fields: &[&[u8]]) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(N));
    for field in fields {
        bytes.extend_from_slice(field);
    }
    let sum = checksum(tag, &bytes);
    bytes.extend_from_slice(&sum);
    debug_assert_eq!(bytes.len(), N);
    let digits = Zeroizing::new(base32::encode(&bytes));
    let mut line = Zeroizing::new(String::with_capacity(tag.len() + 1 + digits.len()));
    line.push_str(tag);
    line.push(' ');
    line.push_str(&digits);
    line
}

fn read<const N: usize>(tag: &str, what: &'static str, line: &str) -> Result<Zeroizing<[u8; N]>, CryptoError> {
    let typed = |why| CryptoError::Typed { what, why };
    let line = line.trim();
    let digits = line.strip_prefix(tag).ok_or(typed("it does not begin as one"))?;
    if !digits.starts_with(' ') || line.contains(['\n', '\r']) {
        return Err(typed("it is not one line of two words"));
    }
    let bytes = base32::decode::<N>(digits).map_err(typed)?;
    let (fields, sum) = bytes.split_at(N - CHECKSUM_SIZE);
    if sum != checksum(tag, fields) {
        return Err(typed("its checksum is wrong: the line was damaged"));
    }
    Ok(bytes)
}

/// Takes `N` bytes off the front. Only for buffers whose fixed size holds them.
fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    let (field, rest) = bytes.split_first_chunk::<N>().expect("the fields of a line add up to its fixed size");
    *bytes = rest;
    *field
}

impl WriterKey {
    /// The line to put into a file on the host that writes.
    pub fn to_line(&self) -> Zeroizing<String> {
        let fields: [&[u8]; 5] = [
            self.repository_id.as_bytes(),
            &self.sealing_public,
            &self.generation.to_le_bytes(),
            &self.writer,
            self.secret.expose(),
        ];
        write::<WRITER_SIZE>(WRITER_TAG, &fields)
    }

    /// From such a line.
    pub fn from_line(line: &str) -> Result<Self, CryptoError> {
        let bytes = read::<WRITER_SIZE>(WRITER_TAG, "this is not a writer key", line)?;
        let mut bytes = &bytes[..];
        let key = Self {
            repository_id: RepositoryId(take(&mut bytes)),
            sealing_public: take(&mut bytes),
            generation: u32::from_le_bytes(take(&mut bytes)),
            writer: take(&mut bytes),
            secret: Secret::new(take(&mut bytes)),
        };
        if key.generation == 0 {
            return Err(CryptoError::Typed { what: "this is not a writer key", why: "generations start at 1" });
        }
        Ok(key)
    }
}

impl RootKey {
    /// The line to put into an owner's key file; `generation` is the one of the moment, config has the last word.
    pub fn to_line(&self, generation: u32) -> Zeroizing<String> {
        write::<OWNER_SIZE>(OWNER_TAG, &[self.expose(), &generation.to_le_bytes()])
    }

    /// From such a line: the root and the generation at the time of export.
    pub fn from_line(line: &str) -> Result<(Self, u32), CryptoError> {
        let bytes = read::<OWNER_SIZE>(OWNER_TAG, "this is not an owner key", line)?;
        let mut bytes = &bytes[..];
        let (root, generation) = (Self::from_bytes(take(&mut bytes)), u32::from_le_bytes(take(&mut bytes)));
        if generation == 0 {
            return Err(CryptoError::Typed { what: "this is not an owner key", why: "generations start at 1" });
        }
        Ok((root, generation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Keys;

    #[test]
    fn a_writer_key_reads_back_from_its_line() {
        let key = Keys::owner(RootKey::from_bytes([9; 32]), 7).writer_key();
        let line = key.to_line();
        assert_eq!(line.len(), WRITER_TAG.len() + 1 + 192);
        let read = WriterKey::from_line(&format!("{}\n", *line)).unwrap();
        assert_eq!(*read.to_line(), *line);
        assert_eq!(read.generation, 7);
    }

    #[test]
    fn an_owner_key_reads_back_from_its_line() {
        let root = RootKey::from_bytes([9; 32]);
        let line = root.to_line(3);
        assert_eq!(line.len(), OWNER_TAG.len() + 1 + 64);
        let (read, generation) = RootKey::from_line(&line.to_lowercase().replacen("esker-owner-1", OWNER_TAG, 1)).unwrap();
        assert_eq!((read.expose(), generation), (root.expose(), 3));
    }

    #[test]
    fn a_damaged_or_swapped_line_is_refused() {
        let root = RootKey::from_bytes([9; 32]);
        let owner = root.to_line(3);
        let writer = Keys::owner(root, 3).writer_key().to_line();
        assert!(WriterKey::from_line(&owner).is_err());
        assert!(RootKey::from_line(&writer).is_err());
        for line in ["", "ESKER-OWNER-1", "ESKER-OWNER-1 ", "ESKER-OWNER-2 00", "ESKER-OWNER-1\n00"] {
            assert!(RootKey::from_line(line).is_err(), "{line:?}");
        }
        for place in OWNER_TAG.len() + 1..owner.len() {
            let mut bad = owner.as_bytes().to_vec();
            bad[place] = if bad[place] == b'0' { b'Z' } else { b'0' };
            assert!(RootKey::from_line(std::str::from_utf8(&bad).unwrap()).is_err(), "character {place}");
        }
        assert!(RootKey::from_line(&RootKey::from_bytes([9; 32]).to_line(0)).is_err(), "generation 0");
    }
}
