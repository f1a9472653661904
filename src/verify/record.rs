//! What a verification leaves behind: proofs of the packs it read, and a word about each snapshot it looked at.

use std::collections::{HashMap, HashSet};

use crate::format::names;
use crate::format::note::{Entry, Value, VerifiedHow};
use crate::format::proof::Proof;
use crate::id::{PackId, SnapshotId};
use crate::records::ledger::{self, Wrong};
use crate::repository::{Repository, RepositoryError};
use crate::store::Name;
use crate::verify::findings::Finding;

/// Gathered while it runs.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// Packs read whole, good or not.
    pub read: Vec<PackId>,
    /// Bytes of them.
    pub bytes: u64,
    /// Every snapshot and every object was looked at.
    pub complete: bool,
    /// Every pack was read: by this run, or, when it was to read what was long unread, within that time.
    pub everything_read: bool,
    /// Snapshots whose trees were walked.
    pub walked: Vec<SnapshotId>,
    wrong: HashMap<PackId, Wrong>,
    hit: HashMap<SnapshotId, u64>,
    repairable: u64,
    data_affected: u64,
    /// Data is lost, and nobody knows whose.
    unattributed: bool,
}

impl Record {
    /// Takes down a finding.
    pub(super) fn found(&mut self, finding: &Finding) {
        let wrong = if finding.data_affected { Wrong::Lost } else { Wrong::Mendable };
        match wrong {
            Wrong::Lost => self.data_affected += 1,
            Wrong::Mendable => self.repairable += 1,
        }
        if let Some(pack) = pack_of(&finding.object) {
            let known = self.wrong.entry(pack).or_insert(wrong);
            *known = (*known).max(wrong);
        }
        self.unattributed |= finding.data_affected && finding.snapshots.is_empty();
        finding.snapshots.iter().for_each(|id| *self.hit.entry(*id).or_default() += 1);
    }

    /// These objects are damaged, though how badly nobody has seen yet: the run ends early.
    pub(super) fn doubtful(&mut self, objects: impl IntoIterator<Item = String>) {
        let packs: HashSet<PackId> = objects.into_iter().filter_map(|object| pack_of(&object)).collect();
        self.read.retain(|pack| !packs.contains(pack));
        self.complete = false;
        self.walked.clear();
    }

    /// Writes it into the repository.
    pub(super) fn put(self, repository: &Repository) -> Result<(), RepositoryError> {
        let notes = repository.notes()?;
        let (number, time) = (notes.next_number(), repository.clock().now());
        let good: Vec<PackId> = self.read.iter().filter(|pack| !self.wrong.contains_key(pack)).copied().collect();
        if good.is_empty() && self.wrong.is_empty() && !self.complete && self.walked.is_empty() {
            return Ok(());
        }
        let wrong: Vec<(PackId, Wrong)> = self.wrong.iter().map(|(pack, wrong)| (*pack, *wrong)).collect();
        let summary = Proof {
            number,
            time,
            complete: self.complete,
            repairable: self.repairable,
            data_affected: self.data_affected,
            ..Proof::default()
        };
        let how = if self.everything_read { VerifiedHow::Content } else { VerifiedHow::Structure };
        let mut entries = Vec::new();
        for id in &self.walked {
            let findings = self.hit.get(id).copied().unwrap_or(0);
            let before = notes.of(id).verified;
            // Nobody knows whether it is whole; and a look at the structure takes nothing back of what reading showed.
            let says_nothing = self.unattributed
                || how == VerifiedHow::Structure
                    && before.is_some_and(|before| before.how == VerifiedHow::Content && before.findings == 0);
            // What reading found is not undone by not reading.
            let hides = how == VerifiedHow::Structure
                && before.is_some_and(|before| before.how == VerifiedHow::Content && before.findings > 0);
            if findings > 0 || !(says_nothing || hides) {
                let value = Value::Verified { how, bytes: self.bytes, findings };
                entries.push(Entry { snapshot: *id, number, time, value });
            }
        }
        repository.put_notes(entries, ledger::proofs(&summary, &good, &wrong))
    }
}

fn pack_of(object: &str) -> Option<PackId> {
    names::parse_pack(&Name::new(object)?)
}
