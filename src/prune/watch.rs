//! Sessions nobody ends: a run whose process is proved to be gone is revoked at once, one that has not moved for long after a while.

use std::collections::HashSet;

use super::{PruneError, Pruner};
use crate::catalog::Memo;
use crate::id::SessionId;
use crate::records::is_dead_here;
use crate::records::sessions::SessionNames;
use crate::repository::RepositoryError;
use crate::store::{StoreError, StoreErrorKind};

/// A session without a new record for so long, in seconds by this host's clock, is revoked.
const SILENT_SECONDS: i64 = 14 * 24 * 3600;
/// And only when so many prunes have seen it so.
const SILENT_RUNS: u32 = 2;

/// When a session was first seen with the records it has, and how often since: kept in the cache, so losing it only delays.
struct Seen {
    records: u32,
    first_seconds: i64,
    runs: u32,
}

impl Seen {
    fn encode(&self) -> Vec<u8> {
        [&self.records.to_le_bytes()[..], &self.first_seconds.to_le_bytes(), &self.runs.to_le_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (records, rest) = bytes.split_first_chunk::<4>()?;
        let (first, runs) = rest.split_first_chunk::<8>()?;
        Some(Self {
            records: u32::from_le_bytes(*records),
            first_seconds: i64::from_le_bytes(*first),
            runs: u32::from_le_bytes(runs.try_into().ok()?),
        })
    }
}

impl Pruner {
    /// Looks at every session that is not over, and revokes those that are dead (V1) or silent (V2). A wrong clock, or a proof that was
    /// none, costs a run its commit; it never costs data, because a revocation and a commit want the same name.
    pub fn watch(&mut self) -> Result<(), PruneError> {
        let sessions = self.repository.session_names()?;
        if sessions.is_empty() {
            return Ok(());
        }
        let over = self.ended()?;
        for (id, names) in sessions.iter().filter(|(id, _)| !over.contains(id)) {
            self.stop.check()?;
            let start = self.repository.session_start(*id)?;
            let reason = if start.as_ref().is_some_and(|opened| is_dead_here(&opened.start, self.repository.host())) {
                "its process is gone"
            } else if self.is_silent(*id, names)? {
                "it has not moved for two weeks"
            } else {
                continue;
            };
            let host = start.as_ref().map(|opened| opened.start.host.as_str());
            let revoked = match self.repository.revoke(*id, reason, host) {
                // There will be room once something else was freed.
                Err(RepositoryError::Store(StoreError { kind: StoreErrorKind::Full, .. })) => false,
                other => other?,
            };
            if revoked {
                self.changed = true;
                self.summary.sessions_revoked += 1;
                self.monitor.note(&format!("session {id} was revoked: {reason}"));
            }
        }
        Ok(())
    }

    /// Sessions with a name below `snapshots/`, or revoked beside: whoever is there needs no watching.
    fn ended(&mut self) -> Result<HashSet<SessionId>, PruneError> {
        let named: HashSet<SessionId> = self.repository.snapshot_names()?.into_iter().map(|id| SessionId(id.0)).collect();
        self.over.extend(&named);
        Ok(named.into_iter().chain(self.repository.revoked_beside()?).collect())
    }

    pub(super) fn has_live_sessions(&mut self) -> Result<bool, PruneError> {
        let sessions = self.repository.session_names()?;
        if sessions.keys().all(|id| self.over.contains(id)) {
            return Ok(false);
        }
        let over = self.ended()?;
        Ok(sessions.keys().any(|id| !over.contains(id)))
    }

    fn is_silent(&self, id: SessionId, names: &SessionNames) -> Result<bool, PruneError> {
        let note = format!("session {id}").into_bytes();
        let now = self.repository.clock().now().seconds;
        let records = u32::try_from(names.names.len()).unwrap_or(u32::MAX);
        self.reader
            .with_catalog(|catalog| -> Result<bool, RepositoryError> {
                let before = catalog.recall(&note)?.and_then(|kept| Seen::decode(&kept)).filter(|seen| seen.records == records);
                let seen = match before {
                    Some(seen) => Seen { runs: seen.runs.saturating_add(1), ..seen },
                    None => Seen { records, first_seconds: now, runs: 1 },
                };
                catalog.remember(&note, Some(&seen.encode()))?;
                Ok(seen.runs >= SILENT_RUNS && now.saturating_sub(seen.first_seconds) >= SILENT_SECONDS)
            })
            .map_err(PruneError::from)
    }
}
