//! Which pieces of a new chunk are known, and where.

use std::collections::HashMap;
use std::sync::Arc;

use super::cut::{CutPiece, PieceHash};
use super::table::{ChunkPieces, Piece};
use crate::id::ChunkId;

/// Entries of the index. When there are more pieces only those are kept whose hash ends in enough zero bits; what stands beside one that is
/// found is found in the order of its chunk. An entry takes about 20 bytes.
const ENTRIES_MAX: usize = 1 << 20;
/// How far ahead the next piece is looked for in the order of the chunk before it is looked up by hash.
const AHEAD_MAX: u32 = 8;

/// Where the chunks of a table come from.
pub trait Blocks {
    /// The pieces of a chunk by its number in the table; none when they cannot be read.
    fn block(&mut self, number: u32) -> Option<Arc<ChunkPieces>>;
}

/// Where the bytes of a piece are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The literal chunk that holds them.
    pub base: ChunkId,
    /// Where in it.
    pub offset: u32,
}

/// A piece of the table: the number of its chunk, and its own within it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct At {
    block: u32,
    piece: u32,
}

/// Finds pieces of new chunks among those of a table.
pub struct Matcher {
    index: HashMap<u64, At>,
    entries_max: usize,
    /// Only hashes without these bits are in the index.
    skipped: u64,
    /// Where the next piece is expected.
    next: Option<At>,
}

impl Default for Matcher {
    fn default() -> Self {
        Self::with_entries_max(ENTRIES_MAX)
    }
}

impl Matcher {
    pub(super) fn with_entries_max(entries_max: usize) -> Self {
        Self { index: HashMap::new(), entries_max, skipped: 0, next: None }
    }

    /// Takes the pieces of one chunk of the table into the index.
    pub fn add(&mut self, block: u32, pieces: &ChunkPieces) {
        for (piece, of) in (0..).zip(&pieces.pieces) {
            let prefix = of.hash.prefix();
            if prefix & self.skipped == 0 {
                self.index.entry(prefix).or_insert(At { block, piece });
            }
        }
        while self.index.len() > self.entries_max {
            self.skipped = self.skipped << 1 | 1;
            let skipped = self.skipped;
            self.index.retain(|prefix, _| prefix & skipped == 0);
            self.index.shrink_to_fit();
        }
    }

    /// Where the bytes of each piece are, as far as they are known.
    pub fn find(&mut self, pieces: &[CutPiece], blocks: &mut dyn Blocks) -> Vec<Option<Place>> {
        let mut places: Vec<Option<Place>> = vec![None; pieces.len()];
        for (nth, piece) in pieces.iter().enumerate() {
            let Some(at) = self.find_one(piece, blocks) else {
                // Replaced or inserted: the next one is near.
                continue;
            };
            places[nth] = place(at, &piece.hash, blocks);
            self.next = Some(At { block: at.block, piece: at.piece + 1 });
            self.extend_back(at, nth, pieces, &mut places, blocks);
        }
        places
    }

    fn find_one(&self, piece: &CutPiece, blocks: &mut dyn Blocks) -> Option<At> {
        if let Some(next) = self.next
            && let Some(block) = blocks.block(next.block)
        {
            let ahead = block.pieces.iter().enumerate().skip(next.piece as usize).take(AHEAD_MAX as usize);
            for (number, candidate) in ahead {
                if candidate.hash == piece.hash {
                    return Some(At { block: next.block, piece: number as u32 });
                }
            }
            if next.piece as usize >= block.pieces.len()
                && let Some(number) = next.block.checked_add(1)
                && blocks.block(number).is_some_and(|block| block.pieces.first().is_some_and(|first| first.hash == piece.hash))
            {
                return Some(At { block: number, piece: 0 });
            }
        }
        let at = *self.index.get(&piece.hash.prefix())?;
        find_piece(at, blocks).filter(|found| found.hash == piece.hash).map(|_| at)
    }

    /// Where only some pieces are in the index, those before one that was found are found in the order of its chunk.
    fn extend_back(&self, mut at: At, mut nth: usize, pieces: &[CutPiece], places: &mut [Option<Place>], blocks: &mut dyn Blocks) {
        if self.skipped == 0 {
            return;
        }
        while let (Some(before), Some(earlier)) = (nth.checked_sub(1), at.piece.checked_sub(1)) {
            (nth, at.piece) = (before, earlier);
            if places[nth].is_some() {
                return;
            }
            match place(at, &pieces[nth].hash, blocks) {
                Some(found) => places[nth] = Some(found),
                None => return,
            }
        }
    }
}

fn find_piece(at: At, blocks: &mut dyn Blocks) -> Option<Piece> {
    blocks.block(at.block)?.pieces.get(at.piece as usize).copied()
}

/// Where the bytes of a piece of the table are, if it has this name.
fn place(at: At, hash: &PieceHash, blocks: &mut dyn Blocks) -> Option<Place> {
    let block = blocks.block(at.block)?;
    let piece = block.pieces.get(at.piece as usize).filter(|piece| piece.hash == *hash)?;
    Some(Place { base: *block.bases.get(usize::from(piece.base))?, offset: piece.offset })
}
