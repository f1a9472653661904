//! What is remembered of one chunk: where each of its pieces is.

use super::cut::{CutPiece, PieceHash};
use crate::id::ChunkId;
use crate::planted;

/// Bases that one chunk may name.
const BASES_MAX: usize = 1024;
/// Bytes from which a literal chunk may not be used any more, so that offsets stay below.
const OFFSET_MAX: u64 = 1 << 20;

/// A piece, and where its bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Its name.
    pub hash: PieceHash,
    /// Bytes.
    pub length: u32,
    /// Which literal chunk: an index in [`ChunkPieces::bases`].
    pub base: u16,
    /// Where in that chunk.
    pub offset: u32,
}

/// The pieces of one chunk, in order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ChunkPieces {
    /// Literal chunks that hold them.
    pub bases: Vec<ChunkId>,
    /// The pieces.
    pub pieces: Vec<Piece>,
}

/// Bytes that are no [`ChunkPieces`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the pieces of a chunk do not decode")]
pub struct TableError;

impl ChunkPieces {
    /// Of a chunk that is stored with all its bytes.
    pub fn literal(id: ChunkId, pieces: &[CutPiece]) -> Self {
        let mut offset = u32::from(planted::is("piece-one-byte-late"));
        let pieces = pieces.iter().map(|piece| {
            let at = offset;
            offset += piece.length;
            Piece { hash: piece.hash, length: piece.length, base: 0, offset: at }
        });
        Self { pieces: pieces.collect(), bases: vec![id] }
    }

    /// Of a chunk that is put together of these ranges (base, offset, length), each of which holds whole pieces.
    pub fn composed(bases: Vec<ChunkId>, ranges: Vec<(u8, u32, u32)>, pieces: &[CutPiece]) -> Self {
        let mut ranges = ranges.into_iter();
        let (mut base, mut offset, mut left) = (0, 0, 0);
        let mut placed = Vec::with_capacity(pieces.len());
        for piece in pieces {
            if left == 0 {
                match ranges.next() {
                    Some(next) => (base, offset, left) = next,
                    None => break,
                }
            }
            placed.push(Piece { hash: piece.hash, length: piece.length, base: base.into(), offset });
            offset += piece.length;
            left = left.saturating_sub(piece.length);
        }
        Self { bases, pieces: placed }
    }

    /// `bases u16 | bases 32 each | for each piece: hash 12, length and moved varint [, base varint, step varint]`. The lowest bit of the
    /// first number says that the piece does not follow the one before it in the same base. Then its base is given, and where it starts,
    /// as a zigzag difference from where the last piece of that base ended.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(2 + self.bases.len() * 32 + self.pieces.len() * 20);
        // No more bases than pieces, and a chunk of 1 MiB has at most 16,384 pieces.
        bytes.extend_from_slice(&(self.bases.len() as u16).to_le_bytes());
        for base in &self.bases {
            bytes.extend_from_slice(&base.0);
        }
        let mut ends = vec![0i64; self.bases.len()];
        let mut last = 0;
        for piece in &self.pieces {
            bytes.extend_from_slice(&piece.hash.0);
            let end = &mut ends[usize::from(piece.base)];
            let step = i64::from(piece.offset) - *end;
            let moved = step != 0 || piece.base != last;
            put_varint(&mut bytes, u64::from(piece.length) << 1 | u64::from(moved));
            if moved {
                put_varint(&mut bytes, piece.base.into());
                put_varint(&mut bytes, ((step << 1) ^ (step >> 63)) as u64);
            }
            last = piece.base;
            *end = i64::from(piece.offset) + i64::from(piece.length);
        }
        bytes
    }

    /// Reads what [`ChunkPieces::encode`] wrote. Every number is checked: no piece reaches beyond 1 MiB of a base.
    ///
    /// # Errors
    /// [`TableError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, TableError> {
        let (count, mut rest) = bytes.split_first_chunk::<2>().ok_or(TableError)?;
        let count = usize::from(u16::from_le_bytes(*count));
        if count > BASES_MAX {
            return Err(TableError);
        }
        let mut bases = Vec::with_capacity(count);
        for _ in 0..count {
            let (id, after) = rest.split_first_chunk::<32>().ok_or(TableError)?;
            bases.push(ChunkId(*id));
            rest = after;
        }
        let mut ends = vec![0i64; count];
        let mut pieces = Vec::with_capacity(rest.len() / 14);
        let mut base = 0;
        while !rest.is_empty() {
            let (hash, after) = rest.split_first_chunk::<12>().ok_or(TableError)?;
            rest = after;
            let length = take_varint(&mut rest)?;
            let moved = length & 1 == 1;
            let length = length >> 1;
            if moved {
                base = usize::try_from(take_varint(&mut rest)?).map_err(|_| TableError)?;
            }
            let step = if moved { take_varint(&mut rest)? } else { 0 };
            let step = (step >> 1) as i64 ^ -((step & 1) as i64);
            let end = ends.get_mut(base).ok_or(TableError)?;
            let offset = end.checked_add(step).and_then(|offset| u64::try_from(offset).ok()).ok_or(TableError)?;
            if length == 0 || length > OFFSET_MAX || offset > OFFSET_MAX - length {
                return Err(TableError);
            }
            *end = (offset + length) as i64;
            pieces.push(Piece { hash: PieceHash(*hash), length: length as u32, base: base as u16, offset: offset as u32 });
        }
        Ok(Self { bases, pieces })
    }
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64, TableError> {
    let mut value = 0u64;
    for place in 0..5 {
        let (&byte, rest) = bytes.split_first().ok_or(TableError)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(TableError)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn piece() -> impl Strategy<Value = Piece> {
        (any::<[u8; 12]>(), 1u32..4096, 0u16..3, 0u32..1_000_000).prop_map(|(hash, length, base, offset)| Piece {
            hash: PieceHash(hash),
            length,
            base,
            offset,
        })
    }

    proptest! {
        #[test]
        fn what_was_remembered_reads_back(pieces in proptest::collection::vec(piece(), 0..60)) {
            let table = ChunkPieces { bases: vec![ChunkId([1; 32]), ChunkId([2; 32]), ChunkId([3; 32])], pieces };
            prop_assert_eq!(ChunkPieces::decode(&table.encode()).unwrap(), table);
        }

        #[test]
        fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(table) = ChunkPieces::decode(&bytes) {
                for piece in table.pieces {
                    prop_assert!(usize::from(piece.base) < table.bases.len());
                    prop_assert!(u64::from(piece.offset) + u64::from(piece.length) <= OFFSET_MAX);
                }
            }
        }
    }
}
