//! R14: what may be cleared away after a verdict: records of sessions that are over, then objects of forgotten snapshots. Tombstones,
//! revocations and everything under `gc/` (B7) stay for ever.

use std::collections::{BTreeMap, HashSet};

use super::live::Live;
use super::{PruneError, Pruner};
use crate::catalog::Memo;
use crate::format::names;
use crate::id::SessionId;
use crate::records::sessions::SessionNames;
use crate::repository::RepositoryError;

/// Packs that are gone are forgotten by the cache, in one pass over it, when they are one in so many.
const GONE_ONE_IN: usize = 8;

impl Pruner {
    /// Notes what was over, or forgotten, in listings made before a verdict of this run: after it, in this order.
    pub(super) fn clear_after_verdict(
        &mut self,
        sessions: &BTreeMap<SessionId, SessionNames>,
        live: &Live,
        revoked_beside: &HashSet<SessionId>,
    ) {
        let is_over = |id: &SessionId| live.over.contains(id) || revoked_beside.contains(id);
        let over = sessions.iter().filter(|(id, _)| is_over(id)).flat_map(|(_, names)| names.names.iter().cloned());
        let remains = live.remains.iter().map(|root| names::snapshot_name(root.id));
        self.cleared_next.extend(over.chain(remains));
    }

    /// Clears it away.
    pub(crate) fn tidy(&mut self) -> Result<(), PruneError> {
        for name in std::mem::take(&mut self.cleared_next) {
            self.stop.check()?;
            self.repository.clear_away(&name)?;
            self.changed = true;
            self.summary.objects_cleared += 1;
        }
        self.clear_probes()?;
        self.forget_gone_packs()
    }

    /// What hosts tried the store with and could not delete. Only what an earlier prune saw too: a trial may be under way.
    fn clear_probes(&mut self) -> Result<(), PruneError> {
        for name in self.repository.list_probes()? {
            let note = format!("probe {name}").into_bytes();
            let seen = self.reader.with_catalog(|catalog| catalog.recall(&note)).map_err(RepositoryError::from)?.is_some();
            if seen {
                self.repository.delete_probe(&name)?;
            }
            let note_now = if seen { None } else { Some(&b"seen"[..]) };
            self.reader.with_catalog(|catalog| catalog.remember(&note, note_now)).map_err(RepositoryError::from)?;
        }
        Ok(())
    }

    fn forget_gone_packs(&mut self) -> Result<(), PruneError> {
        if self.summary.packs_deleted == 0 {
            return Ok(());
        }
        let Self { reader, listed, .. } = self;
        Ok(reader.with_catalog(|catalog| catalog.forget(GONE_ONE_IN, |id| !listed.contains_key(id)))?)
    }
}
