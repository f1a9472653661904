//! Packs: frames of chunks and the directory that finds them. Page `format-spec/pack.md`.
//!
//! `header 128 | HEAD box | DIRECTORY box | FRAME boxes | PAD box`: given root, a pack opens without anything else.

mod directory;
mod head;
pub mod recipe;
mod seal;

pub use directory::{ChunkRow, Directory, FrameRow, RowEncoding};
pub(crate) use head::HEAD_SIZE;
pub use head::{Head, PREFIX_SIZE};
pub use seal::{Encoding, PreparedChunk, PreparedFrame, SealedPack, seal_pack};

use super::envelope::{BoxKind, HEADER_SIZE, Header, ObjectType, Opener, open_box};
use super::error::FormatError;
use crate::compress;
use crate::id::PackId;

const WHAT: &str = "pack";

/// What kind of frames a pack holds: one class per pack, so that metadata can be read without data in between.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum Class {
    /// Literal data chunks.
    Data = 1,
    /// Trees, lists and recipes.
    Metadata = 2,
}

impl Class {
    /// From its stored number.
    pub(crate) fn from_u8(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Data),
            2 => Some(Self::Metadata),
            _ => None,
        }
    }
}

/// How a frame's plaintext is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum Codec {
    /// As it is.
    Raw = 0,
    /// One zstd frame.
    Zstd = 1,
}

/// What is known of a durable pack: its row in an index file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PackFacts {
    /// BLAKE3 of the file; its name.
    pub id: PackId,
    /// Bytes of the file.
    pub size: u64,
    /// Its first bytes: with them a frame opens after one ranged read.
    pub header: [u8; HEADER_SIZE],
    /// Bytes of the sealed DIRECTORY.
    pub directory_sealed_length: u32,
    /// What it holds.
    pub class: Class,
    /// Where everything stands.
    pub directory: Directory,
}

impl PackFacts {
    /// The generation of its ids and bases.
    pub fn generation(&self) -> u32 {
        Header::parse(&self.header, ObjectType::Pack).map_or(0, |header| header.generation)
    }
}

/// Opens the HEAD of a pack from the first [`PREFIX_SIZE`] bytes of its file (more may follow).
pub fn read_head(opener: &Opener, prefix: &[u8]) -> Result<Head, FormatError> {
    let header = Header::parse(prefix, ObjectType::Pack)?;
    let boxes = opener.begin(&header)?;
    let Some(sealed) = prefix.get(HEADER_SIZE..PREFIX_SIZE) else {
        return Err(FormatError::TooShort { what: WHAT, length: prefix.len() as u64, least: PREFIX_SIZE as u64 });
    };
    let mut sealed = sealed.to_vec();
    Head::decode(header.bytes, open_box(&boxes, WHAT, BoxKind::Head, 0, &mut sealed)?)
}

/// Opens the DIRECTORY: `sealed` is what stands at [`Head::directory_range`].
pub(crate) fn read_directory(opener: &Opener, head: &Head, sealed: &mut [u8]) -> Result<Directory, FormatError> {
    let header = Header::parse(&head.header, ObjectType::Pack)?;
    let boxes = opener.begin(&header)?;
    expect_length(sealed.len(), head.directory_sealed_length)?;
    Directory::decode(head, open_box(&boxes, WHAT, BoxKind::Directory, 0, sealed)?)
}

/// Opens frame `number` of the pack with this header: its plaintext, decompressed to exactly the length of its row. `sealed` is what
/// stands at [`FrameRow::range`]; it is decrypted where it lies.
pub fn open_frame(
    opener: &Opener,
    header: &[u8; HEADER_SIZE],
    number: u32,
    row: &FrameRow,
    sealed: &mut [u8],
) -> Result<Vec<u8>, FormatError> {
    let header = Header::parse(header, ObjectType::Pack)?;
    let boxes = opener.begin(&header)?;
    expect_length(sealed.len(), row.sealed_length)?;
    let bytes = open_box(&boxes, "frame", BoxKind::Frame, number, sealed)?;
    match row.codec {
        Codec::Raw if bytes.len() == row.raw_length as usize => Ok(bytes.to_vec()),
        Codec::Raw => Err(FormatError::field("frame", "raw length", "is not that of its row")),
        Codec::Zstd => compress::with_decompressor(|zstd| zstd.decompress(bytes, row.raw_length as usize))
            .map_err(|source| FormatError::Compress { frame: number, source }),
    }
}

/// Checks the PAD box: `sealed` is what stands at [`Head::pad_range`].
pub(crate) fn check_pad(opener: &Opener, head: &Head, sealed: &mut [u8]) -> Result<(), FormatError> {
    let header = Header::parse(&head.header, ObjectType::Pack)?;
    let boxes = opener.begin(&header)?;
    expect_length(sealed.len(), head.pad_sealed_length)?;
    if open_box(&boxes, WHAT, BoxKind::Pad, 0, sealed)?.iter().any(|&byte| byte != 0) {
        return Err(FormatError::field(WHAT, "padding", "is not zero"));
    }
    Ok(())
}

/// A whole pack file: what an index file says of it. Its bytes must hash to `id`.
pub fn read_facts(opener: &Opener, id: PackId, file: &[u8]) -> Result<PackFacts, FormatError> {
    let head = read_head(opener, file)?;
    if *blake3::hash(file).as_bytes() != id.0 {
        return Err(FormatError::WrongPlace { what: WHAT });
    }
    if head.size() != file.len() as u64 {
        return Err(FormatError::field(WHAT, "size", "is not what its HEAD adds up to"));
    }
    let (start, length) = head.directory_range();
    // Inside the file: the sizes add up to it.
    let mut sealed = file[start as usize..start as usize + length as usize].to_vec();
    let directory = read_directory(opener, &head, &mut sealed)?;
    Ok(head.facts(id, directory))
}

fn expect_length(length: usize, expected: u32) -> Result<(), FormatError> {
    let (length, expected) = (length as u64, u64::from(expected));
    match length.cmp(&expected) {
        std::cmp::Ordering::Less => Err(FormatError::TooShort { what: WHAT, length, least: expected }),
        std::cmp::Ordering::Greater => Err(FormatError::TooLong { what: WHAT, length, most: expected }),
        std::cmp::Ordering::Equal => Ok(()),
    }
}
