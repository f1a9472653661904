//! DIRECTORY: fixed-width tables of bases, frames, chunks and base numbers, in that order.

use std::ops::Range;

use super::head::{BASE_ROW, CHUNK_ROW, FRAME_ROW, NUMBER_ROW};
use super::{Class, Codec, Head};
use crate::crypto::{BOX_OVERHEAD, ChunkType};
use crate::format::error::{FormatError, at_most};
use crate::format::limits;
use crate::format::table::Fields;
use crate::id::ChunkId;

const WHAT: &str = "directory";
const LITERAL: u8 = 1;
const COMPOSED: u8 = 2;

/// One frame of a pack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameRow {
    /// Where its box stands, from the start of the pack.
    pub offset: u64,
    /// Bytes of its box.
    pub sealed_length: u32,
    /// Bytes of its plaintext, decompressed.
    pub raw_length: u32,
    /// How the plaintext is written.
    pub codec: Codec,
}

impl FrameRow {
    /// Where its box stands in the file.
    pub fn range(&self) -> Range<u64> {
        self.offset..self.offset + u64::from(self.sealed_length)
    }
}

/// One copy of a chunk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChunkRow {
    /// Its id, in the generation of the pack's header.
    pub id: ChunkId,
    /// What it holds.
    pub chunk_type: ChunkType,
    /// Number of the frame that holds its bytes or its recipe.
    pub frame: u32,
    /// How.
    pub encoding: RowEncoding,
}

/// How a copy is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RowEncoding {
    /// Its own bytes stand in the frame.
    Literal {
        /// From the start of the frame's plaintext.
        offset: u32,
        /// Bytes.
        length: u32,
    },
    /// Its recipe stands in the frame.
    Composed {
        /// Of the recipe, from the start of the frame's plaintext.
        offset: u32,
        /// Bytes of the recipe.
        length: u32,
        /// Bytes of the chunk.
        raw_length: u32,
        /// Its bases: a range of [`Directory::base_numbers`].
        bases: Range<u32>,
    },
}

impl RowEncoding {
    /// Where its bytes or its recipe stand in the frame's plaintext.
    pub fn range(&self) -> Range<usize> {
        match *self {
            Self::Literal { offset, length } | Self::Composed { offset, length, .. } => {
                offset as usize..offset as usize + length as usize
            }
        }
    }
    /// Bytes of the chunk itself.
    pub fn chunk_length(&self) -> u32 {
        match *self {
            Self::Literal { length, .. } => length,
            Self::Composed { raw_length, .. } => raw_length,
        }
    }
}

/// Where everything in a pack stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Directory {
    /// Literal data chunks that composed chunks of this pack are made of, in rising order.
    pub bases: Vec<ChunkId>,
    /// Rows of the base table, by number: the lists of all composed chunks.
    pub base_numbers: Vec<u16>,
    /// In the order of the file.
    pub frames: Vec<FrameRow>,
    /// In the order of frames, and of offsets inside a frame.
    pub chunks: Vec<ChunkRow>,
}

impl Directory {
    /// The bases of a composed chunk, in the order of its list; nothing for a literal one.
    pub fn bases_of<'a>(&'a self, encoding: &RowEncoding) -> impl ExactSizeIterator<Item = ChunkId> + 'a {
        let range = match encoding {
            RowEncoding::Literal { .. } => 0..0,
            RowEncoding::Composed { bases, .. } => bases.start as usize..bases.end as usize,
        };
        // A decoded directory has only numbers and ranges that are inside its tables; of any other nothing is listed.
        let numbers = self.base_numbers.get(range).unwrap_or(&[]);
        numbers.iter().map(|&number| self.bases.get(usize::from(number)).copied().unwrap_or(ChunkId([0; 32])))
    }

    /// The plaintext of DIRECTORY. Whoever writes it decodes it once, so that nothing is written that cannot be read.
    pub fn encode(&self) -> Vec<u8> {
        let length = self.bases.len() * BASE_ROW as usize
            + self.frames.len() * FRAME_ROW as usize
            + self.chunks.len() * CHUNK_ROW as usize
            + self.base_numbers.len() * NUMBER_ROW as usize;
        let mut bytes = Vec::with_capacity(length);
        for base in &self.bases {
            bytes.extend_from_slice(&base.0);
        }
        let mut chunks = self.chunks.iter().map(|chunk| chunk.frame).peekable();
        for (number, frame) in self.frames.iter().enumerate() {
            let mut count = 0u32;
            while chunks.next_if(|&of| of as usize == number).is_some() {
                count += 1;
            }
            for field in [frame.sealed_length, frame.raw_length, count, u32::from(frame.codec as u8)] {
                bytes.extend_from_slice(&field.to_le_bytes());
            }
        }
        for chunk in &self.chunks {
            let (encoding, offset, length, raw_length, bases) = match &chunk.encoding {
                RowEncoding::Literal { offset, length } => (LITERAL, *offset, *length, *length, 0..0),
                RowEncoding::Composed { offset, length, raw_length, bases } => {
                    (COMPOSED, *offset, *length, *raw_length, bases.clone())
                }
            };
            bytes.extend_from_slice(&chunk.id.0);
            bytes.extend_from_slice(&[chunk.chunk_type as u8, encoding]);
            bytes.extend_from_slice(&(bases.len().min(usize::from(u16::MAX)) as u16).to_le_bytes());
            for field in [offset, length, raw_length, bases.start] {
                bytes.extend_from_slice(&field.to_le_bytes());
            }
        }
        for number in &self.base_numbers {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// Reads the plaintext of DIRECTORY of a pack with this head. The counts of a [`Head`] are within the limits, and `bytes` must be
    /// exactly as long as they say, so nothing is allocated beyond a small multiple of `bytes`.
    pub fn decode(head: &Head, bytes: &[u8]) -> Result<Self, FormatError> {
        let (length, expected) = (bytes.len() as u64, head.directory_length());
        at_most(WHAT, length, expected)?;
        if length < expected {
            return Err(FormatError::TooShort { what: WHAT, length, least: expected });
        }
        let mut fields = Fields::new(WHAT, bytes);
        let bases = read_bases(&mut fields, head)?;
        let (frames, counts) = read_frames(&mut fields, head)?;
        let chunks = read_chunks(&mut fields, head, &frames, &counts)?;
        let mut base_numbers = Vec::with_capacity(head.base_numbers as usize);
        for _ in 0..head.base_numbers {
            let number = fields.u16()?;
            if u32::from(number) >= head.bases {
                return Err(FormatError::field(WHAT, "base number", "is beyond the base table"));
            }
            base_numbers.push(number);
        }
        fields.end()?;
        Ok(Self { bases, base_numbers, frames, chunks })
    }
}

fn read_bases(fields: &mut Fields<'_>, head: &Head) -> Result<Vec<ChunkId>, FormatError> {
    let mut bases: Vec<ChunkId> = Vec::with_capacity(head.bases as usize);
    for _ in 0..head.bases {
        let base = ChunkId(fields.array()?);
        if bases.last().is_some_and(|last| *last >= base) {
            return Err(FormatError::field(WHAT, "base table", "is not in rising order"));
        }
        bases.push(base);
    }
    Ok(bases)
}

/// The frames, and how many chunks each holds.
fn read_frames(fields: &mut Fields<'_>, head: &Head) -> Result<(Vec<FrameRow>, Vec<u32>), FormatError> {
    let mut frames = Vec::with_capacity(head.frames as usize);
    let mut counts = Vec::with_capacity(head.frames as usize);
    let mut offset = head.frames_offset();
    let mut chunks = 0u64;
    for _ in 0..head.frames {
        let (sealed_length, raw_length, count) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let codec = match fields.u8()? {
            0 => Codec::Raw,
            1 => Codec::Zstd,
            _ => return Err(FormatError::field(WHAT, "codec", "is neither 0 nor 1")),
        };
        fields.zeros(3)?;
        let most = if count == 1 { limits::CHUNK_SIZE_MAX } else { limits::FRAME_RAW_SIZE_MAX };
        at_most("frame", raw_length.into(), most.into())?;
        at_most("sealed frame", sealed_length.into(), (raw_length + limits::FRAME_EXCESS_MAX).into())?;
        if count == 0 {
            return Err(FormatError::field(WHAT, "frame", "holds no chunk"));
        }
        let least = if codec == Codec::Raw { raw_length as usize + BOX_OVERHEAD } else { BOX_OVERHEAD + 1 };
        if (sealed_length as usize) < least || (codec == Codec::Raw && sealed_length as usize != least) {
            return Err(FormatError::field(WHAT, "sealed length", "does not fit the raw length"));
        }
        frames.push(FrameRow { offset, sealed_length, raw_length, codec });
        counts.push(count);
        offset += u64::from(sealed_length);
        chunks += u64::from(count);
    }
    if offset != head.frames_offset() + head.frames_sealed_length {
        return Err(FormatError::field(WHAT, "frames", "do not add up to the length in HEAD"));
    }
    if chunks != u64::from(head.chunks) {
        return Err(FormatError::field(WHAT, "chunks", "do not add up to the count in HEAD"));
    }
    Ok((frames, counts))
}

fn read_chunks(fields: &mut Fields<'_>, head: &Head, frames: &[FrameRow], counts: &[u32]) -> Result<Vec<ChunkRow>, FormatError> {
    let mut chunks = Vec::with_capacity(head.chunks as usize);
    for (number, (frame, &count)) in frames.iter().zip(counts).enumerate() {
        let mut end = 0u32;
        for _ in 0..count {
            let chunk = read_chunk(fields, head, number as u32)?;
            let range = chunk.encoding.range();
            // End to end from the start: so a frame has one reading, and no byte of it belongs to nobody.
            if range.start != end as usize || range.end > frame.raw_length as usize {
                return Err(FormatError::field(WHAT, "offset", "is not where the chunk before it ends"));
            }
            end = range.end as u32;
            chunks.push(chunk);
        }
        if end != frame.raw_length {
            return Err(FormatError::field(WHAT, "raw length", "is not what the chunks of the frame add up to"));
        }
    }
    Ok(chunks)
}

fn read_chunk(fields: &mut Fields<'_>, head: &Head, frame: u32) -> Result<ChunkRow, FormatError> {
    let refuse = |field, why| Err(FormatError::field(WHAT, field, why));
    let id = ChunkId(fields.array()?);
    let Some(chunk_type) = ChunkType::from_u8(fields.u8()?) else { return refuse("chunk type", "is not 1, 2 or 3") };
    let (encoding, base_count) = (fields.u8()?, fields.u16()?);
    let (offset, length, raw_length, first) = (fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?);
    at_most("chunk", raw_length.into(), limits::CHUNK_SIZE_MAX.into())?;
    at_most("chunk in its frame", length.into(), limits::CHUNK_SIZE_MAX.into())?;
    if length == 0 || raw_length == 0 {
        return refuse("length", "is 0");
    }
    let data = chunk_type == ChunkType::Data;
    let encoding = match encoding {
        LITERAL => {
            if raw_length != length || base_count != 0 || first != 0 {
                return refuse("literal chunk", "has fields of a composed one");
            }
            if data != (head.class == Class::Data) {
                return refuse("chunk type", "does not belong into a pack of this class");
            }
            RowEncoding::Literal { offset, length }
        }
        COMPOSED => {
            if !data || head.class != Class::Metadata {
                return refuse("composed chunk", "is not data, or not in a metadata pack");
            }
            at_most("bases of a chunk", base_count.into(), limits::CHUNK_BASES_MAX.into())?;
            let end = first.checked_add(base_count.into()).filter(|&end| base_count > 0 && end <= head.base_numbers);
            let Some(end) = end else { return refuse("bases", "are none, or beyond the table of base numbers") };
            RowEncoding::Composed { offset, length, raw_length, bases: first..end }
        }
        _ => return refuse("encoding", "is neither 1 nor 2"),
    };
    Ok(ChunkRow { id, chunk_type, frame, encoding })
}
