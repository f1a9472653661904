//! How much a walk may meet, in proportion to what is stored.
//!
//! Chunks may refer to one chunk many times: that is what deduplication is. Nested some levels deep, a few KiB then stand for more entries,
//! or more pieces of a file, than any machine could walk through. Nothing that anybody backs up looks like that.

use std::collections::HashSet;

use super::error::FormatError;
use crate::id::ChunkId;

/// Entries that may be met whatever is stored.
const ENTRIES_FREE: u64 = 200_000;
/// Paths that may lead to one row of a folder: a tree that was copied whole so many times is honest.
const PATHS_MAX: u64 = 10_000;
/// To open a chunk of a folder takes as long as to look at so many of its rows.
const OPENING_ROWS: u64 = 16;
/// Pieces that may be met whatever is stored.
const PIECES_FREE: u64 = 1_000_000;
/// Pieces of one file that may stand in one row of a list.
const PIECES_MAX: u64 = 2_000;
/// Bytes of a file for which a piece costs next to nothing.
const PIECE_SIZE: u64 = 16 << 10;
/// Pieces of that size that cost as much as one of another.
const LARGE_PIECES: u64 = 64;

/// Counts rows as they are met, and those of them that were not met before.
#[derive(Debug)]
pub(crate) struct Budget {
    what: &'static str,
    /// What is left while no new row is met.
    left: u64,
    /// What a new row adds.
    each: u64,
    /// What a chunk costs and adds beside its rows, in rows.
    opening: u64,
    /// The first 8 bytes of the ids of chunks that were met. Two chunks that share them make the budget smaller, not larger.
    met: HashSet<u64>,
}

impl Budget {
    /// For the entries below a folder.
    pub(crate) fn of_entries() -> Self {
        Self {
            what: "entries in proportion to the folders that hold them",
            left: ENTRIES_FREE,
            each: PATHS_MAX,
            opening: OPENING_ROWS,
            met: HashSet::new(),
        }
    }

    /// For the pieces of a content.
    pub(crate) fn of_pieces() -> Self {
        Self {
            what: "pieces in proportion to the lists that hold them",
            left: PIECES_FREE,
            each: PIECES_MAX,
            opening: 0,
            met: HashSet::new(),
        }
    }

    /// A chunk of so many rows, which stand for so many bytes, is gone through.
    pub(crate) fn meet(&mut self, id: &ChunkId, rows: usize, length: u64) -> Result<(), FormatError> {
        let rows = rows as u64;
        let mut short = [0; 8];
        short.copy_from_slice(&id.as_bytes()[..8]);
        if self.met.insert(u64::from_le_bytes(short)) {
            self.add(rows);
        }
        self.spend(rows.saturating_sub(length / PIECE_SIZE).max(rows.div_ceil(LARGE_PIECES)))
    }

    /// A chunk of so many rows is met for the first time. For a walk that knows this by itself.
    pub(crate) fn add(&mut self, rows: u64) {
        self.left = self.left.saturating_add(rows.saturating_add(self.opening).saturating_mul(self.each));
    }

    /// So many rows of a chunk are gone through.
    pub(crate) fn spend(&mut self, rows: u64) -> Result<(), FormatError> {
        let cost = rows.saturating_add(self.opening);
        match self.left.checked_sub(cost) {
            Some(left) => self.left = left,
            None => return Err(FormatError::TooLong { what: self.what, length: cost, most: self.left }),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_met_once_never_runs_out_and_what_is_met_again_and_again_does() {
        let id = |n: u64| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&n.to_le_bytes());
            ChunkId(id)
        };
        let mut budget = Budget::of_entries();
        for n in 0..100_000 {
            budget.meet(&id(n), 1_000, 0).unwrap();
        }
        // A tree of 200 folders with 5 entries each, copied whole 10,000 times.
        let mut budget = Budget::of_entries();
        budget.meet(&id(1 << 40), 10_000, 0).unwrap();
        for _ in 0..10_000 {
            assert!((0..200).all(|n| budget.meet(&id(n), 5, 0).is_ok()));
        }
        let mut budget = Budget::of_pieces();
        let times = (0..).take_while(|_| budget.meet(&id(1), 1_000, 1_000).is_ok()).count() as u64;
        assert_eq!(times, (PIECES_FREE + 1_000 * PIECES_MAX) / 1_000);
        // A disk of 64 TiB that holds one MiB again and again.
        let mut budget = Budget::of_pieces();
        assert!((0..64 << 10).all(|_| budget.meet(&id(1), 1_024, 1 << 30).is_ok()));
    }
}
