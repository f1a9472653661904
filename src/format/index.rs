//! Index files: what is in packs, so that a client need not read every one. Page `format-spec/index.md`.

use super::envelope::{HEADER_SIZE, ObjectType, Opener, Sealer};
use super::error::{FormatError, at_most};
use super::limits::{self, padme};
use super::pack::{Directory, HEAD_SIZE, Head, PackFacts};
use super::table::Fields;
use crate::id::{IndexId, PackId};

const WHAT: &str = "index file";
/// Bytes of a pack's row before its directory: id, size, header, HEAD.
const ROW_SIZE: usize = 32 + 8 + HEADER_SIZE + HEAD_SIZE;
/// Bytes before the rows.
const COUNTS_SIZE: usize = 8;

/// Facts about durable packs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IndexFile {
    /// Index files whose every fact is in this one: advice to an owner, who may delete them after checking.
    pub replaces: Vec<IndexId>,
    /// One row a pack.
    pub packs: Vec<PackFacts>,
}

/// Bytes a pack's row takes in the body of an index file: for whoever fills one up to its limit.
pub(crate) fn row_length(facts: &PackFacts) -> u64 {
    ROW_SIZE as u64 + u64::from(facts.directory_sealed_length) - crate::crypto::BOX_OVERHEAD as u64
}

/// Would a body of this many bytes of rows fit into one index file?
pub fn fits(rows: u64, replaces: usize) -> bool {
    let body = COUNTS_SIZE as u64 + rows + replaces as u64 * 32 + 4;
    padme(body) + 168 <= limits::INDEX_SIZE_MAX
}

impl IndexFile {
    /// Its body.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let rows: u64 = self.packs.iter().map(row_length).sum();
        at_most(WHAT, rows + self.replaces.len() as u64 * 32, limits::INDEX_SIZE_MAX)?;
        let mut body = Vec::with_capacity(COUNTS_SIZE + self.replaces.len() * 32 + rows as usize);
        // Both counts are far below 2^32: their rows fit into 32 MiB.
        body.extend_from_slice(&(self.replaces.len() as u32).to_le_bytes());
        body.extend_from_slice(&(self.packs.len() as u32).to_le_bytes());
        for id in &self.replaces {
            body.extend_from_slice(&id.0);
        }
        for facts in &self.packs {
            let head = Head::from_facts(facts)?;
            let directory = facts.directory.encode();
            if Directory::decode(&head, &directory)? != facts.directory {
                return Err(FormatError::NotCanonical { what: WHAT });
            }
            body.extend_from_slice(&facts.id.0);
            body.extend_from_slice(&facts.size.to_le_bytes());
            body.extend_from_slice(&facts.header);
            body.extend_from_slice(&head.encode());
            body.extend_from_slice(&directory);
        }
        Ok(body)
    }

    /// From a body. Every row is as a pack's own HEAD and DIRECTORY must be.
    pub fn decode(body: &[u8]) -> Result<Self, FormatError> {
        at_most(WHAT, body.len() as u64, limits::INDEX_SIZE_MAX)?;
        let mut fields = Fields::new(WHAT, body);
        let (replaces_count, pack_count) = (fields.u32()?, fields.u32()?);
        let least = u64::from(replaces_count) * 32 + u64::from(pack_count) * ROW_SIZE as u64 + COUNTS_SIZE as u64;
        if (body.len() as u64) < least {
            return Err(FormatError::TooShort { what: WHAT, length: body.len() as u64, least });
        }
        let replaces = (0..replaces_count).map(|_| fields.array().map(IndexId)).collect::<Result<_, _>>()?;
        let packs = (0..pack_count).map(|_| read_row(&mut fields)).collect::<Result<_, _>>()?;
        fields.end()?;
        Ok(Self { replaces, packs })
    }
}

fn read_row(fields: &mut Fields<'_>) -> Result<PackFacts, FormatError> {
    let (id, size) = (PackId(fields.array()?), fields.u64()?);
    let header: [u8; HEADER_SIZE] = fields.array()?;
    super::Header::parse(&header, ObjectType::Pack)?;
    let head = Head::decode(header, fields.slice(HEAD_SIZE)?)?;
    if head.size() != size {
        return Err(FormatError::field(WHAT, "size", "is not what its HEAD adds up to"));
    }
    // `directory_sealed_length` was checked against the counts; its plaintext is one box's overhead shorter.
    let directory = fields.slice(head.directory_sealed_length as usize - crate::crypto::BOX_OVERHEAD)?;
    let directory = Directory::decode(&head, directory)?;
    Ok(head.facts(id, directory))
}

/// Seals an index file and says what it is called.
pub fn seal(sealer: &Sealer, index: &IndexFile) -> Result<(IndexId, Vec<u8>), FormatError> {
    let object = sealer.seal_body(ObjectType::Index, &index.encode()?)?;
    Ok((IndexId(*blake3::hash(&object).as_bytes()), object))
}

/// Opens the index file called `id`.
pub fn open(opener: &Opener, id: IndexId, object: &[u8]) -> Result<IndexFile, FormatError> {
    at_most(WHAT, object.len() as u64, limits::INDEX_SIZE_MAX)?;
    let (_, body) = opener.open_body(ObjectType::Index, object)?;
    if *blake3::hash(object).as_bytes() != id.0 {
        return Err(FormatError::WrongPlace { what: WHAT });
    }
    IndexFile::decode(&body)
}

#[cfg(test)]
mod tests {
    use super::super::envelope::tests::{owner, writer};
    use super::super::pack::{Class, Codec, Encoding, PreparedChunk, PreparedFrame, seal_pack};
    use super::*;
    use crate::crypto::ChunkType;

    fn index(sealer: &Sealer) -> IndexFile {
        let pack = |text: &[u8]| {
            let id = sealer.keys().chunk_id(ChunkType::Data, text);
            let encoding = Encoding::Literal { offset: 0, length: text.len() as u32 };
            let chunks = vec![PreparedChunk { id, chunk_type: ChunkType::Data, encoding }];
            let frame = PreparedFrame { codec: Codec::Raw, raw_length: text.len() as u32, bytes: text.to_vec(), chunks };
            seal_pack(sealer, Class::Data, vec![frame]).unwrap().facts
        };
        IndexFile { replaces: vec![IndexId([1; 32])], packs: vec![pack(b"one"), pack(b"two, longer")] }
    }

    #[test]
    fn an_index_file_opens_to_what_was_sealed() {
        let ((sealer, opener), (_, owner)) = (writer(), owner());
        let index = index(&sealer);
        let (id, object) = seal(&sealer, &index).unwrap();
        assert_eq!(open(&opener, id, &object).unwrap(), index);
        assert_eq!(open(&owner, id, &object).unwrap(), index);
        assert!(matches!(open(&opener, IndexId([0; 32]), &object), Err(FormatError::WrongPlace { .. })));
        let rows: u64 = index.packs.iter().map(row_length).sum();
        assert_eq!(index.encode().unwrap().len() as u64, 8 + 32 + rows);
    }

    #[test]
    fn a_changed_byte_is_refused_or_means_something_else() {
        let (sealer, _) = writer();
        let index = index(&sealer);
        let body = index.encode().unwrap();
        for place in 0..body.len() {
            let mut bad = body.clone();
            bad[place] ^= 0x11;
            if let Ok(other) = IndexFile::decode(&bad) {
                assert_ne!(other, index);
                assert_eq!(other.encode().unwrap(), bad);
            }
        }
        for length in 0..body.len() {
            assert!(IndexFile::decode(&body[..length]).is_err());
        }
        assert!(IndexFile::decode(&[&body[..], &[0]].concat()).is_err());
    }

    #[test]
    fn huge_claimed_counts_are_refused_before_anything_is_allocated() {
        assert!(matches!(IndexFile::decode(&[0xff; 8]), Err(FormatError::TooShort { .. })));
        assert!(matches!(IndexFile::decode(&[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]), Err(FormatError::TooShort { .. })));
    }
}
