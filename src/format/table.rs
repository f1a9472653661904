//! Fixed-width tables: little-endian integers and ids, read from the front of a slice.

use super::error::FormatError;

/// Reads fields off the front of bytes; says how many are missing instead of reading past the end.
pub(super) struct Fields<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, rest: bytes }
    }
    pub(super) fn slice(&mut self, length: usize) -> Result<&'a [u8], FormatError> {
        let (field, rest) = self.rest.split_at_checked(length).ok_or(FormatError::TooShort {
            what: self.what,
            length: self.rest.len() as u64,
            least: length as u64,
        })?;
        self.rest = rest;
        Ok(field)
    }
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let length = self.rest.len() as u64;
        let (field, rest) =
            self.rest.split_first_chunk::<N>().ok_or(FormatError::TooShort { what: self.what, length, least: N as u64 })?;
        self.rest = rest;
        Ok(*field)
    }
    pub(super) fn u8(&mut self) -> Result<u8, FormatError> {
        Ok(self.array::<1>()?[0])
    }
    pub(super) fn u16(&mut self) -> Result<u16, FormatError> {
        self.array().map(u16::from_le_bytes)
    }
    pub(super) fn u32(&mut self) -> Result<u32, FormatError> {
        self.array().map(u32::from_le_bytes)
    }
    pub(super) fn u64(&mut self) -> Result<u64, FormatError> {
        self.array().map(u64::from_le_bytes)
    }
    /// `length` bytes that must be zero.
    pub(super) fn zeros(&mut self, length: usize) -> Result<(), FormatError> {
        if self.slice(length)?.iter().any(|&byte| byte != 0) {
            return Err(FormatError::field(self.what, "a reserved byte", "is not zero"));
        }
        Ok(())
    }
    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), FormatError> {
        if self.rest.is_empty() { Ok(()) } else { Err(FormatError::field(self.what, "its end", "has bytes behind it")) }
    }
}
