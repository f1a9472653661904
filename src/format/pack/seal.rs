//! Sealing a pack: frames are encrypted inside the buffers they came in; only nonces, tags and the front are new.

use std::collections::BTreeSet;

use super::{ChunkRow, Class, Codec, Directory, FrameRow, Head, PREFIX_SIZE, PackFacts, RowEncoding, WHAT};
use crate::crypto::{BOX_OVERHEAD, ChunkType, NONCE_SIZE, TAG_SIZE};
use crate::format::envelope::{BoxKind, HEADER_SIZE, ObjectType, Sealer, Sealing};
use crate::format::error::{FormatError, at_most};
use crate::format::limits::{self, padme};
use crate::id::{ChunkId, PackId};

/// A frame ready to be sealed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PreparedFrame {
    /// How `bytes` are written.
    pub codec: Codec,
    /// Bytes of the plaintext before compression.
    pub raw_length: u32,
    /// The plaintext, compressed when `codec` says so.
    pub bytes: Vec<u8>,
    /// What stands in it, end to end.
    pub chunks: Vec<PreparedChunk>,
}

/// A chunk of a prepared frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PreparedChunk {
    /// Its id.
    pub id: ChunkId,
    /// What it holds.
    pub chunk_type: ChunkType,
    /// How it stands in the frame.
    pub encoding: Encoding,
}

/// How a prepared chunk stands in its frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Encoding {
    /// Its own bytes.
    Literal {
        /// From the start of the frame's plaintext.
        offset: u32,
        /// Bytes.
        length: u32,
    },
    /// Its recipe.
    Composed {
        /// Of the recipe, from the start of the frame's plaintext.
        offset: u32,
        /// Bytes of the recipe.
        length: u32,
        /// Bytes of the chunk.
        raw_length: u32,
        /// In the order the recipe numbers them.
        bases: Vec<ChunkId>,
    },
}

/// A pack, ready to be put.
#[derive(Debug)]
pub struct SealedPack {
    /// What an index file will say of it.
    pub facts: PackFacts,
    /// Laid end to end they are the file.
    pub parts: Vec<Vec<u8>>,
}

/// Seals a pack of one class. The frames' buffers become parts of the file: nothing of their size is copied or allocated.
pub fn seal_pack(sealer: &Sealer, class: Class, frames: Vec<PreparedFrame>) -> Result<SealedPack, FormatError> {
    let mut directory = lay_out(&frames)?;
    let frames_length: u64 = directory.frames.iter().map(|frame| u64::from(frame.sealed_length)).sum();
    // The PAD box is as long as it takes to reach the padded size; it is there even when it holds nothing.
    let empty_pad = BOX_OVERHEAD as u32;
    let unpadded = Head::of([0; HEADER_SIZE], class, &directory, frames_length, empty_pad).size();
    let size = padme(unpadded).max(limits::PACK_SIZE_MIN);
    at_most(WHAT, size, limits::PACK_SIZE_MAX)?;
    let pad = (size - unpadded) as u32;
    let mut head = Head::of([0; HEADER_SIZE], class, &directory, frames_length, empty_pad + pad);
    let mut offset = head.frames_offset();
    for frame in &mut directory.frames {
        frame.offset = offset;
        offset += u64::from(frame.sealed_length);
    }
    let encoded = directory.encode();
    let plain = head.encode();
    let sealing = sealer.begin(ObjectType::Pack, &[&plain[..], &encoded].concat())?;
    head.header = sealing.header;
    // What cannot be read is not written: every rule of the reader is checked here, by the reader.
    if Directory::decode(&Head::decode(head.header, &plain)?, &encoded)? != directory {
        return Err(FormatError::NotCanonical { what: WHAT });
    }
    let parts = seal_parts(&sealing, &plain, &encoded, frames, pad as usize)?;
    let mut hasher = blake3::Hasher::new();
    for part in &parts {
        hasher.update(part);
    }
    Ok(SealedPack { facts: head.facts(PackId(*hasher.finalize().as_bytes()), directory), parts })
}

/// The directory of prepared frames; offsets of frames follow once its own length is known.
fn lay_out(frames: &[PreparedFrame]) -> Result<Directory, FormatError> {
    let mut distinct = BTreeSet::new();
    for chunk in frames.iter().flat_map(|frame| &frame.chunks) {
        if let Encoding::Composed { bases, .. } = &chunk.encoding {
            distinct.extend(bases.iter().copied());
        }
    }
    let bases: Vec<ChunkId> = distinct.into_iter().collect();
    at_most("bases of a pack", bases.len() as u64, limits::PACK_BASES_MAX.into())?;
    let mut directory = Directory { bases, ..Directory::default() };
    for (number, frame) in frames.iter().enumerate() {
        at_most("sealed frame", frame.bytes.len() as u64, (limits::CHUNK_SIZE_MAX + limits::FRAME_EXCESS_MAX).into())?;
        directory.frames.push(FrameRow {
            offset: 0,
            sealed_length: (frame.bytes.len() + BOX_OVERHEAD) as u32,
            raw_length: frame.raw_length,
            codec: frame.codec,
        });
        for chunk in &frame.chunks {
            let encoding = match &chunk.encoding {
                Encoding::Literal { offset, length } => RowEncoding::Literal { offset: *offset, length: *length },
                Encoding::Composed { offset, length, raw_length, bases } => {
                    at_most("bases of a chunk", bases.len() as u64, limits::CHUNK_BASES_MAX.into())?;
                    let start = directory.base_numbers.len() as u32;
                    for base in bases {
                        let number = directory.bases.binary_search(base).expect("every base was collected into this table above");
                        // The table has at most 65,536 rows.
                        directory.base_numbers.push(number as u16);
                    }
                    let end = directory.base_numbers.len() as u32;
                    RowEncoding::Composed { offset: *offset, length: *length, raw_length: *raw_length, bases: start..end }
                }
            };
            directory.chunks.push(ChunkRow { id: chunk.id, chunk_type: chunk.chunk_type, frame: number as u32, encoding });
        }
    }
    Ok(directory)
}

/// `[header, HEAD, DIRECTORY, nonce] [frame] [tag, nonce] [frame] ... [tag, PAD]`
fn seal_parts(
    sealing: &Sealing<'_>,
    head: &[u8],
    directory: &[u8],
    frames: Vec<PreparedFrame>,
    pad: usize,
) -> Result<Vec<Vec<u8>>, FormatError> {
    let mut parts = Vec::with_capacity(frames.len() * 2 + 1);
    let mut between = Vec::with_capacity(PREFIX_SIZE + directory.len() + BOX_OVERHEAD + NONCE_SIZE);
    between.extend_from_slice(&sealing.header);
    push_box(sealing, BoxKind::Head, 0, head, &mut between)?;
    push_box(sealing, BoxKind::Directory, 0, directory, &mut between)?;
    for (number, frame) in frames.into_iter().enumerate() {
        let mut bytes = frame.bytes;
        let (nonce, tag) = sealing.seal(BoxKind::Frame, number as u32, &mut bytes)?;
        between.extend_from_slice(&nonce);
        parts.push(between);
        parts.push(bytes);
        between = Vec::with_capacity(TAG_SIZE + NONCE_SIZE);
        between.extend_from_slice(&tag);
    }
    between.reserve_exact(pad + BOX_OVERHEAD);
    push_box(sealing, BoxKind::Pad, 0, &vec![0; pad], &mut between)?;
    parts.push(between);
    Ok(parts)
}

fn push_box(sealing: &Sealing<'_>, kind: BoxKind, number: u32, plain: &[u8], out: &mut Vec<u8>) -> Result<(), FormatError> {
    let start = out.len();
    out.resize(start + NONCE_SIZE, 0);
    out.extend_from_slice(plain);
    let (nonce, tag) = sealing.seal(kind, number, &mut out[start + NONCE_SIZE..])?;
    out[start..start + NONCE_SIZE].copy_from_slice(&nonce);
    out.extend_from_slice(&tag);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{check_pad, open_frame, read_directory, read_facts, read_head, recipe};
    use super::*;
    use crate::compress::Compressor;
    use crate::format::envelope::tests::{owner, writer};

    fn literal(sealer: &Sealer, chunk_type: ChunkType, chunks: &[&[u8]]) -> PreparedFrame {
        let raw = chunks.concat();
        let mut offset = 0;
        let rows = chunks.iter().map(|bytes| {
            let length = bytes.len() as u32;
            let encoding = Encoding::Literal { offset, length };
            offset += length;
            PreparedChunk { id: sealer.keys().chunk_id(chunk_type, bytes), chunk_type, encoding }
        });
        let chunks = rows.collect();
        let (codec, bytes) = match Compressor::new(3).unwrap().compress(&raw).unwrap() {
            Some(bytes) => (Codec::Zstd, bytes),
            None => (Codec::Raw, raw.clone()),
        };
        PreparedFrame { codec, raw_length: raw.len() as u32, bytes, chunks }
    }

    fn composed(sealer: &Sealer) -> PreparedFrame {
        let ranges =
            vec![recipe::RecipeRange { base: 1, offset: 0, length: 3 }, recipe::RecipeRange { base: 0, offset: 1, length: 2 }];
        let recipe = recipe::encode(&recipe::Recipe { ranges });
        let bases = vec![sealer.keys().chunk_id(ChunkType::Data, b"first"), sealer.keys().chunk_id(ChunkType::Data, b"second")];
        let length = recipe.len() as u32;
        let encoding = Encoding::Composed { offset: 0, length, raw_length: 5, bases };
        let chunks =
            vec![PreparedChunk { id: sealer.keys().chunk_id(ChunkType::Data, b"secir"), chunk_type: ChunkType::Data, encoding }];
        PreparedFrame { codec: Codec::Raw, raw_length: length, bytes: recipe, chunks }
    }

    #[test]
    fn a_pack_opens_to_its_chunks() {
        let ((sealer, _), (_, opener)) = (writer(), owner());
        let text = vec![b'x'; 5000];
        let frames = vec![
            literal(&sealer, ChunkType::Tree, &[b"one", &text]),
            composed(&sealer),
            literal(&sealer, ChunkType::List, &[b"noise"]),
        ];
        let pack = seal_pack(&sealer, Class::Metadata, frames).unwrap();
        let file = pack.parts.concat();
        assert_eq!(file.len() as u64, pack.facts.size);
        assert_eq!(file.len() as u64, limits::PACK_SIZE_MIN);
        let facts = read_facts(&opener, pack.facts.id, &file).unwrap();
        assert_eq!(facts, pack.facts);
        for chunk in &facts.directory.chunks {
            let row = facts.directory.frames[chunk.frame as usize];
            let mut sealed = file[row.range().start as usize..row.range().end as usize].to_vec();
            let raw = open_frame(&opener, &facts.header, chunk.frame, &row, &mut sealed).unwrap();
            let stored = &raw[chunk.encoding.range()];
            let bytes = match &chunk.encoding {
                RowEncoding::Literal { .. } => stored.to_vec(),
                RowEncoding::Composed { raw_length, .. } => {
                    let bases: Vec<_> = facts.directory.bases_of(&chunk.encoding).collect();
                    assert_eq!(bases[0], opener.keys().chunk_id(ChunkType::Data, b"first"));
                    recipe::apply(&recipe::decode(stored, bases.len(), *raw_length).unwrap(), &[b"first", b"second"]).unwrap()
                }
            };
            assert_eq!(opener.keys().chunk_id(chunk.chunk_type, &bytes), chunk.id);
        }
    }

    #[test]
    fn a_writer_cannot_open_the_pack_it_sealed() {
        let (sealer, opener) = writer();
        let pack = seal_pack(&sealer, Class::Data, vec![literal(&sealer, ChunkType::Data, &[b"one"])]).unwrap();
        assert!(matches!(read_head(&opener, &pack.parts.concat()), Err(FormatError::NeedsOwner { .. })));
    }

    #[test]
    fn every_flipped_byte_of_a_pack_is_refused_by_the_box_it_is_in() {
        let (sealer, opener) = owner();
        let pack = seal_pack(&sealer, Class::Data, vec![literal(&sealer, ChunkType::Data, &[b"one", b"two"])]).unwrap();
        let good = pack.parts.concat();
        let head = read_head(&opener, &good).unwrap();
        let frame = pack.facts.directory.frames[0];
        let (pad, _) = head.pad_range();
        for place in (0..good.len()).filter(|place| *place < pad as usize + 100 || place % 997 == 0) {
            let mut bad = good.clone();
            bad[place] ^= 0x40;
            let opened = read_head(&opener, &bad).and_then(|head| {
                let (start, length) = head.directory_range();
                let directory = read_directory(&opener, &head, &mut bad[start as usize..][..length as usize])?;
                let range = frame.range();
                open_frame(&opener, &head.header, 0, &directory.frames[0], &mut bad[range.start as usize..range.end as usize])?;
                let (start, length) = head.pad_range();
                check_pad(&opener, &head, &mut bad[start as usize..][..length as usize])
            });
            let error = opened.unwrap_err();
            match place as u64 {
                0..128 => assert!(!matches!(error, FormatError::Damaged { .. }), "{place}: {error:?}"),
                place if frame.range().contains(&place) => {
                    assert!(matches!(error, FormatError::Damaged { what: "frame" }), "{place}: {error:?}")
                }
                _ => assert!(matches!(error, FormatError::Damaged { what: "pack" }), "{place}: {error:?}"),
            }
        }
    }

    #[test]
    fn a_frame_does_not_open_under_another_number() {
        let (sealer, opener) = owner();
        let frames = vec![literal(&sealer, ChunkType::Data, &[b"one"]), literal(&sealer, ChunkType::Data, &[b"two"])];
        let pack = seal_pack(&sealer, Class::Data, frames).unwrap();
        let (file, row) = (pack.parts.concat(), pack.facts.directory.frames[0]);
        let mut sealed = file[row.range().start as usize..row.range().end as usize].to_vec();
        assert!(open_frame(&opener, &pack.facts.header, 1, &row, &mut sealed.clone()).is_err());
        assert_eq!(open_frame(&opener, &pack.facts.header, 0, &row, &mut sealed).unwrap(), b"one");
    }

    #[test]
    fn what_could_not_be_read_is_not_written() {
        let (sealer, _) = owner();
        let good = literal(&sealer, ChunkType::Data, &[b"one", b"two"]);
        let refused = |class, frame: PreparedFrame| assert!(seal_pack(&sealer, class, vec![frame]).is_err());
        assert!(seal_pack(&sealer, Class::Data, vec![]).is_err());
        refused(Class::Metadata, good.clone());
        refused(Class::Data, PreparedFrame { raw_length: 7, ..good.clone() });
        refused(Class::Data, PreparedFrame { chunks: vec![], ..good.clone() });
        refused(Class::Data, PreparedFrame { chunks: good.chunks[1..].to_vec(), ..good.clone() });
        refused(Class::Data, PreparedFrame { bytes: vec![0; 1100], ..good.clone() });
        refused(Class::Data, composed(&sealer));
        let wide = vec![0; limits::FRAME_RAW_SIZE_MAX as usize + 1];
        refused(Class::Data, literal(&sealer, ChunkType::Data, &[&wide, b"x"]));
        assert!(
            seal_pack(&sealer, Class::Data, vec![literal(&sealer, ChunkType::Data, &[&wide])]).is_ok(),
            "a large chunk stands alone"
        );
    }

    #[test]
    fn a_changed_byte_of_a_plain_head_or_directory_is_refused_or_means_something_else() {
        // As if the box were forged by whoever holds the keys: nothing panics, nothing is read twice as the same.
        let (sealer, _) = owner();
        let pack =
            seal_pack(&sealer, Class::Metadata, vec![literal(&sealer, ChunkType::Tree, &[b"one", b"two"]), composed(&sealer)])
                .unwrap();
        let head = Head::from_facts(&pack.facts).unwrap();
        let plain = head.encode();
        assert_eq!(Head::decode(head.header, &plain).unwrap(), head);
        for place in 0..plain.len() {
            for change in [1, 0x80, 0xff] {
                let mut bad = plain;
                bad[place] ^= change;
                if let Ok(other) = Head::decode(head.header, &bad) {
                    assert_ne!(other, head);
                    assert!(
                        Directory::decode(&other, &pack.facts.directory.encode()).is_err()
                            || other.pad_sealed_length != head.pad_sealed_length,
                        "byte {place}"
                    );
                }
            }
        }
        let plain = pack.facts.directory.encode();
        for place in 0..plain.len() {
            let mut bad = plain.clone();
            bad[place] ^= 0x81;
            if let Ok(other) = Directory::decode(&head, &bad) {
                assert_ne!(other, pack.facts.directory, "byte {place}");
                assert_eq!(other.encode(), bad, "byte {place}");
            }
        }
        for length in 0..plain.len() {
            assert!(matches!(Directory::decode(&head, &plain[..length]), Err(FormatError::TooShort { .. })));
        }
    }

    #[test]
    fn huge_claimed_counts_are_refused_before_anything_is_allocated() {
        for place in [4usize, 8, 12, 16, 20, 24, 28] {
            let mut head = [0u8; 64];
            head[0] = 1;
            head[place..place + 4].copy_from_slice(&u32::MAX.to_le_bytes());
            assert!(Head::decode([0; 128], &head).is_err());
        }
    }
}
