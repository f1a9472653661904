//! Which chunks a walk has met, and what they are in truth: 4 bytes by pack and row, in place of a set of ids.

use std::collections::HashMap;

use crate::catalog::PackNumber;
use crate::format::reference::Reference;

/// Nothing is known of this row.
const UNSEEN: u32 = 0;
/// It was read, and is neither a tree nor a list.
const BROKEN: u32 = 1;
/// Beside the hash of the truth: its references were followed. The hash itself leaves this bit free.
const FOLLOWED: u32 = 1;

/// What a walk does with a reference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Met {
    /// The chunk is to be read.
    Look,
    /// All is known already.
    Known,
    /// The chunk was read, and is not what this reference claims.
    Wrong,
}

/// See the top of this file.
#[derive(Debug, Default)]
pub(crate) struct Visited(HashMap<PackNumber, Vec<u32>>);

impl Visited {
    /// What is to be done with a reference to the chunk in this row.
    pub(crate) fn meet(&self, pack: PackNumber, row: u32, reference: &Reference) -> Met {
        match self.0.get(&pack).and_then(|rows| rows.get(row as usize)).copied().unwrap_or(UNSEEN) {
            UNSEEN => Met::Look,
            BROKEN => Met::Known,
            truth if truth & !FOLLOWED != hash(reference) => Met::Wrong,
            truth if truth & FOLLOWED != 0 => Met::Known,
            // Whoever led here first claimed something else.
            _ => Met::Look,
        }
    }

    /// The chunk in this row was read.
    pub(crate) fn opened(&mut self, pack: PackNumber, row: u32, truth: &Reference, is_followed: bool) {
        self.set(pack, row, hash(truth) | if is_followed { FOLLOWED } else { 0 });
    }

    /// The chunk in this row was read, and breaks a rule of the format.
    pub(crate) fn broken(&mut self, pack: PackNumber, row: u32) {
        self.set(pack, row, BROKEN);
    }

    fn set(&mut self, pack: PackNumber, row: u32, value: u32) {
        let rows = self.0.entry(pack).or_default();
        let row = row as usize;
        if rows.len() <= row {
            rows.resize(row + 1, UNSEEN);
        }
        rows[row] = value;
    }
}

/// Above [`BROKEN`], and with the lowest bit free.
fn hash(reference: &Reference) -> u32 {
    reference.claim() & !FOLLOWED
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::reference::Role;
    use crate::id::ChunkId;

    #[test]
    fn a_chunk_is_read_once_for_a_right_claim_and_once_for_all_wrong_ones() {
        let (pack, tree) = (PackNumber(1), |length| Reference { id: ChunkId([1; 32]), role: Role::Tree, length });
        let mut visited = Visited::default();
        assert_eq!(visited.meet(pack, 5, &tree(3)), Met::Look);
        // The first to lead here claimed 4.
        visited.opened(pack, 5, &tree(3), false);
        assert_eq!([3, 4, 5].map(|length| visited.meet(pack, 5, &tree(length))), [Met::Look, Met::Wrong, Met::Wrong]);
        visited.opened(pack, 5, &tree(3), true);
        assert_eq!([3, 4, 5].map(|length| visited.meet(pack, 5, &tree(length))), [Met::Known, Met::Wrong, Met::Wrong]);
        assert_eq!(visited.meet(pack, 4, &tree(3)), Met::Look);
        visited.broken(pack, 4);
        assert_eq!(visited.meet(pack, 4, &tree(3)), Met::Known);
    }
}
