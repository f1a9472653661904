//! HEAD: the fixed-size box that says how large everything else in a pack is.

use super::{Class, Directory, PackFacts, WHAT};
use crate::crypto::BOX_OVERHEAD;
use crate::format::envelope::HEADER_SIZE;
use crate::format::error::{FormatError, at_most};
use crate::format::limits;
use crate::format::table::Fields;
use crate::id::PackId;

/// Plaintext of HEAD.
pub(crate) const HEAD_SIZE: usize = 64;
/// HEAD as it stands in the file.
pub(crate) const HEAD_SEALED_SIZE: usize = HEAD_SIZE + BOX_OVERHEAD;
/// Header and HEAD: what must be read to know the rest.
pub const PREFIX_SIZE: usize = HEADER_SIZE + HEAD_SEALED_SIZE;

/// Widths of the rows of a directory, in bytes.
pub(super) const BASE_ROW: u64 = 32;
pub(super) const FRAME_ROW: u64 = 16;
pub(super) const CHUNK_ROW: u64 = 52;
pub(super) const NUMBER_ROW: u64 = 2;

/// Counts and lengths of a pack, within the limits and consistent with each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// The pack's header.
    pub header: [u8; HEADER_SIZE],
    /// What it holds.
    pub class: Class,
    /// Frames.
    pub frames: u32,
    /// Chunks.
    pub chunks: u32,
    /// Rows of the base table.
    pub bases: u32,
    /// Entries of the table of base numbers.
    pub base_numbers: u32,
    /// Bytes of the sealed DIRECTORY.
    pub directory_sealed_length: u32,
    /// Bytes of the PAD box.
    pub pad_sealed_length: u32,
    /// Bytes of all FRAME boxes.
    pub frames_sealed_length: u64,
}

impl Head {
    /// The head of a directory and its padding.
    pub(super) fn of(
        header: [u8; HEADER_SIZE],
        class: Class,
        directory: &Directory,
        frames_sealed_length: u64,
        pad_sealed_length: u32,
    ) -> Self {
        // A directory beyond u32 counts is far beyond the limits; `check` refuses it as it would any other.
        let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let mut head = Self {
            header,
            class,
            frames: count(directory.frames.len()),
            chunks: count(directory.chunks.len()),
            bases: count(directory.bases.len()),
            base_numbers: count(directory.base_numbers.len()),
            directory_sealed_length: 0,
            pad_sealed_length,
            frames_sealed_length,
        };
        head.directory_sealed_length = u32::try_from(head.directory_length() + BOX_OVERHEAD as u64).unwrap_or(u32::MAX);
        head
    }

    /// The head of a pack that is known from facts.
    pub fn from_facts(facts: &PackFacts) -> Result<Self, FormatError> {
        let frames: u64 = facts.directory.frames.iter().map(|frame| u64::from(frame.sealed_length)).sum();
        let others = PREFIX_SIZE as u64 + u64::from(facts.directory_sealed_length) + frames;
        let pad = facts.size.checked_sub(others).and_then(|pad| u32::try_from(pad).ok());
        let pad = pad.ok_or(FormatError::field(WHAT, "size", "is not what its parts add up to"))?;
        let head = Self::of(facts.header, facts.class, &facts.directory, frames, pad);
        head.check()?;
        Ok(head)
    }

    /// The plaintext of HEAD.
    pub fn encode(&self) -> [u8; HEAD_SIZE] {
        let mut bytes = [0; HEAD_SIZE];
        bytes[0] = self.class as u8;
        let numbers =
            [self.frames, self.chunks, self.bases, self.base_numbers, self.directory_sealed_length, self.pad_sealed_length];
        for (place, number) in bytes[4..28].chunks_exact_mut(4).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes[28..36].copy_from_slice(&self.frames_sealed_length.to_le_bytes());
        bytes
    }

    /// Reads the plaintext of HEAD of the pack with this header.
    pub fn decode(header: [u8; HEADER_SIZE], bytes: &[u8]) -> Result<Self, FormatError> {
        let mut fields = Fields::new(WHAT, bytes);
        let class = Class::from_u8(fields.u8()?).ok_or(FormatError::field(WHAT, "class", "is neither 1 nor 2"))?;
        fields.zeros(3)?;
        let head = Self {
            header,
            class,
            frames: fields.u32()?,
            chunks: fields.u32()?,
            bases: fields.u32()?,
            base_numbers: fields.u32()?,
            directory_sealed_length: fields.u32()?,
            pad_sealed_length: fields.u32()?,
            frames_sealed_length: fields.u64()?,
        };
        fields.zeros(HEAD_SIZE - 36)?;
        fields.end()?;
        head.check()?;
        Ok(head)
    }

    fn check(&self) -> Result<(), FormatError> {
        at_most("frames of a pack", self.frames.into(), limits::PACK_FRAMES_MAX.into())?;
        at_most("chunks of a pack", self.chunks.into(), limits::PACK_CHUNKS_MAX.into())?;
        at_most("bases of a pack", self.bases.into(), limits::PACK_BASES_MAX.into())?;
        at_most("base numbers of a pack", self.base_numbers.into(), limits::PACK_BASE_NUMBERS_MAX.into())?;
        at_most("directory", self.directory_sealed_length.into(), limits::DIRECTORY_SIZE_MAX.into())?;
        at_most(WHAT, self.frames_sealed_length, limits::PACK_SIZE_MAX)?;
        at_most(WHAT, self.size(), limits::PACK_SIZE_MAX)?;
        if self.frames == 0 || self.chunks < self.frames {
            return Err(FormatError::field(WHAT, "counts", "allow a frame without chunks"));
        }
        if u64::from(self.directory_sealed_length) != self.directory_length() + BOX_OVERHEAD as u64 {
            return Err(FormatError::field(WHAT, "directory length", "is not what its counts add up to"));
        }
        if (self.pad_sealed_length as usize) < BOX_OVERHEAD {
            return Err(FormatError::field(WHAT, "pad length", "is less than an empty box"));
        }
        Ok(())
    }

    /// Bytes of the plaintext of DIRECTORY.
    pub(super) fn directory_length(&self) -> u64 {
        u64::from(self.bases) * BASE_ROW
            + u64::from(self.frames) * FRAME_ROW
            + u64::from(self.chunks) * CHUNK_ROW
            + u64::from(self.base_numbers) * NUMBER_ROW
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        (PREFIX_SIZE as u64)
            .saturating_add(self.directory_sealed_length.into())
            .saturating_add(self.frames_sealed_length)
            .saturating_add(self.pad_sealed_length.into())
    }
    /// Where the sealed DIRECTORY stands: offset and length in the file.
    pub(crate) fn directory_range(&self) -> (u64, u32) {
        (PREFIX_SIZE as u64, self.directory_sealed_length)
    }
    /// Where the first frame stands in the file.
    pub(crate) fn frames_offset(&self) -> u64 {
        PREFIX_SIZE as u64 + u64::from(self.directory_sealed_length)
    }
    /// Where the PAD box stands: offset and length in the file.
    pub(crate) fn pad_range(&self) -> (u64, u32) {
        (self.frames_offset() + self.frames_sealed_length, self.pad_sealed_length)
    }

    /// With its directory, what an index file says of the pack.
    pub fn facts(&self, id: PackId, directory: Directory) -> PackFacts {
        PackFacts {
            id,
            size: self.size(),
            header: self.header,
            directory_sealed_length: self.directory_sealed_length,
            class: self.class,
            directory,
        }
    }
}
