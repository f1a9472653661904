//! An immediate second prune has nothing to do: what a finished one saw is remembered, and as long as the listings say the same, nothing
//! is looked at. Only a comfort: not pruning is always right.

use super::{MaxUnused, PruneError, Pruner};
use crate::catalog::Memo;
use crate::format::names;
use crate::repository::RepositoryError;

/// Cache note: a hash of everything that was listed when a prune had nothing left to do.
const NOTE: &[u8] = b"settled";
/// Folders whose content a prune depends on.
const FOLDERS: [&str; 7] =
    [names::GC, names::PACKS, names::SESSIONS, names::SNAPSHOTS, names::FORGOTTEN, names::INDEX, names::REVOKED];

impl Pruner {
    /// Is all as the last prune left it? Told from names and sizes; whoever forces a prune wants everything looked at.
    pub(crate) fn is_settled(&mut self) -> Result<bool, PruneError> {
        if self.options.force {
            return Ok(false);
        }
        let kept = self.reader.with_catalog(|catalog| catalog.recall(NOTE));
        let Ok(Some(kept)) = kept else { return Ok(false) };
        self.summary.settled = kept == self.listings()?;
        Ok(self.summary.settled)
    }

    /// Remembers that nothing is left to do, when that is so.
    pub fn settle(&mut self) -> Result<(), PruneError> {
        self.repository.keep_ballast()?;
        // What was spared there stays bad, and has to be stored again or condemned again by the next one.
        let spared = self.repository.records().pardoned_packs_stay_bad() && self.summary.packs_pardoned > 0;
        let open = spared || self.summary.packs_waiting > 0 || self.summary.too_full_to_repack || self.has_live_sessions()?;
        let value = if open { None } else { Some(self.listings()?) };
        self.reader.with_catalog(|catalog| catalog.remember(NOTE, value.as_deref())).map_err(RepositoryError::from)?;
        Ok(())
    }

    /// Names and sizes of everything that matters, in no order, and how it is to be pruned.
    fn listings(&self) -> Result<Vec<u8>, PruneError> {
        let mut sums = [0u128; FOLDERS.len()];
        for (sum, folder) in sums.iter_mut().zip(FOLDERS) {
            self.repository.objects().list(folder, &mut |entry| {
                let hash = blake3::hash(format!("{} {}", entry.name, entry.size).as_bytes());
                let mut part = [0; 16];
                part.copy_from_slice(&hash.as_bytes()[..16]);
                *sum = sum.wrapping_add(u128::from_le_bytes(part));
            })?;
        }
        let unused = match self.options.max_unused {
            MaxUnused::Bytes(bytes) => format!("{bytes} bytes"),
            MaxUnused::Percent(percent) => format!("{percent} percent"),
            MaxUnused::Unlimited => "unlimited".to_owned(),
        };
        let mut hash = blake3::Hasher::new();
        hash.update(format!("{unused}, {:?}", self.options.max_repack).as_bytes());
        sums.iter().for_each(|sum| {
            hash.update(&sum.to_le_bytes());
        });
        Ok(hash.finalize().as_bytes().to_vec())
    }
}
