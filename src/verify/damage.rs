//! The book in which damage is gathered until it is known whom it hits.
//!
//! A *cause* is one bad object or part of one; what it takes away are chunks. Several copies of a chunk may exist, so a cause is only
//! harmful when a snapshot refers to a chunk that has no good copy left. That is known after every tree was walked: then causes become
//! findings.

use std::collections::{HashMap, HashSet};

use crate::catalog::PackNumber;
use crate::crypto::ChunkType;
use crate::id::{ChunkId, PackId, SnapshotId};
use crate::verify::findings::{Finding, FindingKind, PATHS_MAX};

/// Lost chunks remembered for the search of paths: 64 MiB of memory at most. Beyond, damage is counted as hitting data and has no paths.
const LOST_CHUNKS_MAX: usize = 1 << 19;

/// A cause, by its place in the book.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct CauseNumber(usize);

/// Everything bad that was met.
#[derive(Debug, Default)]
pub(super) struct Damage {
    causes: Vec<Finding>,
    known: HashMap<(FindingKind, String, u32), CauseNumber>,
    /// Copies that do not give their chunk.
    bad_rows: HashMap<(PackNumber, u32), CauseNumber>,
    /// Packs of which no copy may be used.
    bad_packs: HashMap<PackId, CauseNumber>,
    /// Chunks a snapshot refers to that have no good copy.
    lost: HashMap<(ChunkType, ChunkId), CauseNumber>,
    /// Objects that parity can mend.
    mendable: HashSet<String>,
    /// What is met now is met for doubtful snapshots only.
    in_doubt: bool,
    /// Causes that took a chunk away while that was so.
    doubted: HashSet<CauseNumber>,
}

impl Damage {
    /// Writes a cause down; the same kind of damage of the same object twice is one, with the detail of the first.
    pub(super) fn cause(&mut self, kind: FindingKind, object: impl Into<String>, detail: impl Into<String>) -> CauseNumber {
        self.part(kind, object, u32::MAX, detail)
    }

    /// The same for one frame or row of an object: each is a cause of its own.
    pub(super) fn part(
        &mut self,
        kind: FindingKind,
        object: impl Into<String>,
        part: u32,
        detail: impl Into<String>,
    ) -> CauseNumber {
        let (object, detail) = (object.into(), detail.into());
        let key = (kind, object.clone(), part);
        if let Some(&number) = self.known.get(&key) {
            return number;
        }
        let number = CauseNumber(self.causes.len());
        self.causes.push(Finding::new(kind, object, detail));
        self.known.insert(key, number);
        number
    }

    /// This copy is bad.
    pub(crate) fn bad_row(&mut self, pack: PackNumber, row: u32, cause: CauseNumber) {
        self.bad_rows.entry((pack, row)).or_insert(cause);
    }

    /// Why this copy is bad, if it is.
    pub(super) fn row(&self, pack: PackNumber, row: u32) -> Option<CauseNumber> {
        self.bad_rows.get(&(pack, row)).copied()
    }

    /// No copy in this pack may be used.
    pub(crate) fn bad_pack(&mut self, pack: PackId, cause: CauseNumber) {
        self.bad_packs.entry(pack).or_insert(cause);
    }

    /// Why a pack may not be used.
    pub(super) fn pack(&self, pack: &PackId) -> Option<CauseNumber> {
        self.bad_packs.get(pack).copied()
    }

    /// What is wrong with this object, parity can mend.
    pub(super) fn mendable(&mut self, object: impl Into<String>) {
        self.mendable.insert(object.into());
    }

    /// A snapshot refers to this chunk, and it cannot be had.
    pub(super) fn lost(&mut self, chunk_type: ChunkType, id: ChunkId, cause: CauseNumber) {
        if self.in_doubt {
            self.doubted.insert(cause);
        } else {
            self.causes[cause.0].data_affected = true;
        }
        if self.lost.len() < LOST_CHUNKS_MAX {
            self.lost.entry((chunk_type, id)).or_insert(cause);
        }
    }

    /// From here on only snapshots are looked at that were revoked: what they miss is no loss.
    pub(crate) fn doubt(&mut self) {
        self.in_doubt = true;
    }

    /// Why a chunk is lost, if it is.
    pub(crate) fn lost_by(&self, chunk_type: ChunkType, id: &ChunkId) -> Option<CauseNumber> {
        self.lost.get(&(chunk_type, *id)).copied()
    }

    /// Is anything lost?
    pub(crate) fn loses_something(&self) -> bool {
        !self.lost.is_empty()
    }

    /// A path of a snapshot that lost something.
    pub(super) fn hit(&mut self, cause: CauseNumber, snapshot: SnapshotId, path: &[u8]) {
        let finding = &mut self.causes[cause.0];
        finding.places += 1;
        if finding.snapshots.last() != Some(&snapshot) {
            finding.snapshots.push(snapshot);
        }
        if finding.paths.len() < PATHS_MAX && !finding.paths.iter().any(|known| known == path) {
            finding.paths.push(path.to_vec());
        }
    }

    /// Names of the objects of which something bad is known.
    pub(super) fn objects(&self) -> impl Iterator<Item = String> + '_ {
        self.causes.iter().map(|cause| cause.object.clone())
    }

    /// What was found, in the order of objects.
    pub(crate) fn into_findings(self) -> Vec<Finding> {
        let mut findings = self.causes;
        for (number, finding) in findings.iter_mut().enumerate() {
            if !finding.data_affected && self.doubted.contains(&CauseNumber(number)) {
                finding.detail.push_str(
                    "; no snapshot needs it but one that was revoked, whose run was told that it failed: nothing is lost, forget that one",
                );
            }
            finding.paths.sort_unstable();
            if self.mendable.contains(&finding.object) {
                finding.detail.push_str("; its parity object can mend it");
            }
        }
        findings.sort_by(|a, b| (&a.object, a.kind, &a.detail).cmp(&(&b.object, b.kind, &b.detail)));
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_affects_data_only_once_a_snapshot_misses_a_chunk() {
        let mut damage = Damage::default();
        let harmless = damage.part(FindingKind::FrameDamaged, "packs/aa", 1, "frame 1");
        let harmful = damage.part(FindingKind::FrameDamaged, "packs/aa", 2, "frame 2");
        damage.bad_row(PackNumber(1), 0, harmless);
        damage.lost(ChunkType::Data, ChunkId([1; 32]), harmful);
        let affected: Vec<bool> = damage.into_findings().iter().map(|finding| finding.data_affected).collect();
        assert_eq!(affected, [false, true]);
    }

    #[test]
    fn what_only_a_revoked_snapshot_misses_is_no_loss_and_the_finding_says_so() {
        let mut damage = Damage::default();
        let harmful = damage.cause(FindingKind::PackMissing, "packs/aa", "not listed");
        let harmless = damage.cause(FindingKind::PackMissing, "packs/bb", "not listed");
        damage.lost(ChunkType::Data, ChunkId([1; 32]), harmful);
        damage.doubt();
        damage.lost(ChunkType::Data, ChunkId([1; 32]), harmful);
        damage.lost(ChunkType::Data, ChunkId([2; 32]), harmless);
        assert!(damage.loses_something());
        let said: Vec<(bool, bool)> =
            damage.into_findings().iter().map(|finding| (finding.data_affected, finding.detail.contains("revoked"))).collect();
        assert_eq!(said, [(true, false), (false, true)]);
    }

    #[test]
    fn paths_are_bounded_and_places_are_counted() {
        let mut damage = Damage::default();
        let cause = damage.cause(FindingKind::PackMissing, "packs/aa", "not listed");
        for snapshot in [SnapshotId([1; 16]), SnapshotId([2; 16])] {
            for path in 0..30u8 {
                damage.hit(cause, snapshot, &[path]);
            }
        }
        let finding = &damage.into_findings()[0];
        assert_eq!((finding.paths.len(), finding.places, finding.snapshots.len()), (PATHS_MAX, 60, 2));
    }

    #[test]
    fn the_same_damage_of_an_object_is_said_once() {
        let mut damage = Damage::default();
        let first = damage.cause(FindingKind::PackDamaged, "packs/aa", "head");
        assert_eq!(damage.cause(FindingKind::PackDamaged, "packs/aa", "does not hash to its name"), first);
        assert_eq!(damage.into_findings().len(), 1);
    }
}
