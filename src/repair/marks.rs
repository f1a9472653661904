//! Chunks that were met, one byte by pack and row: in place of a set of ids, which would grow with the repository.

use std::collections::HashMap;

use crate::catalog::PackNumber;
use crate::repository::Location;

/// Places of chunks, marked or not.
#[derive(Default)]
pub(super) struct Marks(HashMap<PackNumber, Vec<u8>>);

impl Marks {
    pub(super) fn set(&mut self, at: &Location) {
        let rows = self.0.entry(at.pack).or_default();
        let row = at.row as usize;
        if rows.len() <= row {
            rows.resize(row + 1, 0);
        }
        rows[row] = 1;
    }

    pub(crate) fn is_set(&self, at: &Location) -> bool {
        self.0.get(&at.pack).and_then(|rows| rows.get(at.row as usize)) == Some(&1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_marked_and_its_neighbours_are_not() {
        let at = |pack, row| Location { pack: PackNumber(pack), frame: 0, row, composed: false };
        let mut marks = Marks::default();
        marks.set(&at(1, 5));
        assert!(marks.is_set(&at(1, 5)));
        assert!(![at(1, 4), at(1, 6), at(2, 5)].iter().any(|at| marks.is_set(at)));
    }
}
