//! How much a walk may meet, in proportion to what is stored.
//!
//! Chunks may refer to one chunk many times: that is what deduplication is. Nested some levels deep, a few KiB then stand for more entries,
//! or more pieces of a file, than any machine could walk through. Nothing that anybody backs up looks like that.

use std::collections::HashSet;

use super::error::FormatError;
use crate::id::ChunkId;

/// What may be met whatever is stored.
const FREE: u64 = 1_000_000;
/// Paths that may lead to one row of a folder.
const PATHS_MAX: u64 = 10_000;
/// Pieces of one file that may stand in one row of a list.
const PIECES_MAX: u64 = 2_000;
/// A file may have a piece for each so many bytes.
const PIECE_SIZE: u64 = 16 << 10;

/// Counts rows as they are met, and those of them that were not met before.
#[derive(Debug)]
pub struct Budget {
    what: &'static str,
    /// What is left while no new row is met.
    left: u64,
    /// What a new row adds.
    each: u64,
    /// The first 8 bytes of the ids of chunks that were met. Two chunks that share them make the budget smaller, not larger.
    met: HashSet<u64>,
}

impl Budget {
    /// For the entries below a folder.
    pub fn of_entries() -> Self {
        Self { what: "entries in proportion to the folders that hold them", left: FREE, each: PATHS_MAX, met: HashSet::new() }
    }

    /// For the pieces of a content that stands for so many bytes.
    pub fn of_pieces(length: u64) -> Self {
        let left = FREE.saturating_add(length / PIECE_SIZE);
        Self { what: "pieces in proportion to the lists that hold them", left, each: PIECES_MAX, met: HashSet::new() }
    }

    /// A chunk of so many rows is gone through.
    pub fn meet(&mut self, id: &ChunkId, rows: usize) -> Result<(), FormatError> {
        let rows = rows as u64;
        let mut short = [0; 8];
        short.copy_from_slice(&id.as_bytes()[..8]);
        if self.met.insert(u64::from_le_bytes(short)) {
            self.left = self.left.saturating_add(rows.saturating_mul(self.each));
        }
        match self.left.checked_sub(rows) {
            Some(left) => self.left = left,
            None => return Err(FormatError::TooLong { what: self.what, length: rows, most: self.left }),
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
            budget.meet(&id(n), 1_000).unwrap();
        }
        let mut budget = Budget::of_pieces(0);
        let times = (0..).take_while(|_| budget.meet(&id(1), 1_000).is_ok()).count() as u64;
        assert_eq!(times, (FREE + 1_000 * PIECES_MAX) / 1_000);
    }
}
