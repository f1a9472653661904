//! The ledger of proof: when each pack was last read back and found good, and what is known to be damaged. Pure: made
//! from the proofs in notes, kept nowhere else. Memory: about 32 bytes a pack.

use std::collections::{HashMap, HashSet};

use crate::clock::Timestamp;
use crate::format::proof::{self, Prefix, Proof};
use crate::id::PackId;

/// Clocks of those who verify and those who look may differ by this much, in seconds: an hour.
const SKEW_MAX: i64 = 3600;

/// How bad a pack was found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Wrong {
    /// No data is lost by it.
    Mendable,
    /// Data is.
    Lost,
}

/// What the last complete verification found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LastVerify {
    /// When it ended.
    pub time: Timestamp,
    /// Findings that cost no data.
    pub repairable: u64,
    /// Findings that make data unreadable.
    pub data_affected: u64,
}

/// See the top of this file.
#[derive(Debug, Default)]
pub struct Ledger {
    read: HashMap<Prefix, Timestamp>,
    wrong: HashMap<Prefix, Wrong>,
    last: Option<LastVerify>,
}

impl Ledger {
    /// From proofs in rising order of numbers. What was read at a time that is yet to come was read by a clock that is
    /// not to be believed: it counts as unread.
    pub fn new(proofs: &[Proof], now: Timestamp) -> Self {
        let mut ledger = Self::default();
        for proof in proofs {
            let believed = proof.time.seconds.saturating_sub(now.seconds) <= SKEW_MAX;
            for prefix in &proof.good {
                ledger.wrong.remove(prefix);
                if believed {
                    let read = ledger.read.entry(*prefix).or_insert(proof.time);
                    *read = (*read).max(proof.time);
                }
            }
            for (list, wrong) in [(&proof.mendable, Wrong::Mendable), (&proof.lost, Wrong::Lost)] {
                ledger.wrong.extend(list.iter().map(|prefix| (*prefix, wrong)));
                for prefix in list {
                    ledger.read.remove(prefix);
                }
            }
            if proof.complete {
                ledger.last =
                    Some(LastVerify { time: proof.time, repairable: proof.repairable, data_affected: proof.data_affected });
            }
        }
        ledger
    }

    /// When this pack was last read whole and found good.
    pub fn read_at(&self, pack: &PackId) -> Option<Timestamp> {
        self.read.get(&proof::prefix(pack)).copied()
    }

    /// Is it known to be damaged? It is until it was read again and found good.
    pub fn wrong(&self, pack: &PackId) -> Option<Wrong> {
        self.wrong.get(&proof::prefix(pack)).copied()
    }

    /// The last verification that looked at everything's structure.
    pub fn last(&self) -> Option<LastVerify> {
        self.last
    }
}

/// Proofs of one verification: as many as its packs need.
pub fn proofs(summary: &Proof, good: &[PackId], wrong: &[(PackId, Wrong)]) -> Vec<Proof> {
    let prefixes = |packs: &mut dyn Iterator<Item = &PackId>| {
        let mut prefixes: Vec<Prefix> = packs.map(proof::prefix).collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        prefixes
    };
    let of = |which: Wrong| prefixes(&mut wrong.iter().filter(|(_, wrong)| *wrong == which).map(|(pack, _)| pack));
    let lost = of(Wrong::Lost);
    let is_lost: HashSet<&Prefix> = lost.iter().collect();
    let mut mendable = of(Wrong::Mendable);
    mendable.retain(|prefix| !is_lost.contains(prefix));
    let good = prefixes(&mut good.iter());
    // What is wrong comes first: a proof that is never written must not be the one that says so.
    let mut parts = Vec::new();
    for (which, list) in [(0, &lost), (1, &mendable), (2, &good)] {
        for part in list.chunks(proof::PACKS_MAX) {
            let mut proof = Proof { complete: false, ..summary.clone() };
            *[&mut proof.lost, &mut proof.mendable, &mut proof.good][which] = part.to_vec();
            parts.push(proof);
        }
    }
    match parts.len() {
        // Small ones are one note.
        2.. if lost.len() + mendable.len() + good.len() <= proof::PACKS_MAX => {
            parts = vec![Proof { lost, mendable, good, ..summary.clone() }];
        }
        0 => parts.push(summary.clone()),
        _ => {}
    }
    if let Some(last) = parts.last_mut() {
        last.complete = summary.complete;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(number: u8) -> PackId {
        PackId([number; 32])
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp { seconds, nanoseconds: 0 }
    }

    fn summary(number: u64, seconds: i64, complete: bool) -> Proof {
        Proof { number, time: at(seconds), complete, ..Proof::default() }
    }

    #[test]
    fn damage_is_known_until_the_pack_was_read_and_found_good() {
        let mut all = proofs(&summary(1, 10, true), &[pack(1), pack(2)], &[]);
        all.extend(proofs(&summary(2, 20, false), &[pack(1)], &[(pack(2), Wrong::Lost), (pack(3), Wrong::Mendable)]));
        // A look at the structure alone says nothing about what was found in frames.
        all.extend(proofs(&summary(3, 30, true), &[], &[]));
        let ledger = Ledger::new(&all, at(40));
        assert_eq!((ledger.read_at(&pack(1)), ledger.read_at(&pack(2))), (Some(at(20)), None));
        assert_eq!(
            (ledger.wrong(&pack(2)), ledger.wrong(&pack(3)), ledger.wrong(&pack(1))),
            (Some(Wrong::Lost), Some(Wrong::Mendable), None)
        );
        assert_eq!(ledger.last().map(|last| last.time), Some(at(30)));
        all.extend(proofs(&summary(4, 35, false), &[pack(2)], &[]));
        let ledger = Ledger::new(&all, at(40));
        assert_eq!((ledger.wrong(&pack(2)), ledger.read_at(&pack(2))), (None, Some(at(35))));
    }

    #[test]
    fn what_was_read_in_the_future_counts_as_unread() {
        let all = proofs(&summary(1, 1_000_000, true), &[pack(1)], &[]);
        assert_eq!(Ledger::new(&all, at(10)).read_at(&pack(1)), None);
        assert_eq!(Ledger::new(&all, at(2_000_000)).read_at(&pack(1)), Some(at(1_000_000)));
    }

    #[test]
    fn many_packs_make_several_proofs_of_which_the_last_is_complete() {
        let many: Vec<PackId> =
            (0..proof::PACKS_MAX as u32 + 5).map(|n| PackId(*blake3::hash(&n.to_le_bytes()).as_bytes())).collect();
        let made = proofs(&summary(1, 5, true), &many, &[(pack(1), Wrong::Lost), (pack(1), Wrong::Mendable)]);
        assert_eq!(made.iter().map(|proof| proof.complete).collect::<Vec<_>>(), [false, false, true]);
        assert!(made.iter().all(|proof| Proof::decode(&proof.encode()).is_ok_and(|read| read == *proof)));
        assert!(made.iter().all(|proof| proof.encode().len() < 900_000));
        let ledger = Ledger::new(&made, at(6));
        assert!(many.iter().all(|pack| ledger.read_at(pack) == Some(at(5))));
        assert_eq!(ledger.wrong(&pack(1)), Some(Wrong::Lost));
        assert_eq!(proofs(&summary(1, 5, true), &[], &[]), [summary(1, 5, true)]);
    }
}
