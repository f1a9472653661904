//! Revocations: sessions that were ended before they committed.

use std::collections::HashSet;

use super::{RecordError, Records};
use crate::clock::Timestamp;
use crate::format::names::{self, ObjectName};
use crate::format::revocation::{self, Revocation};
use crate::format::{FormatError, limits};
use crate::id::SessionId;
use crate::objects::ObjectError;
use crate::planted;
use crate::store::{StoreError, StoreErrorKind};

/// A run that was to take a snapshot and committed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedRun {
    /// Its session.
    pub session: SessionId,
    /// When it ended, or when it was found dead.
    pub time: Timestamp,
    /// The host whose snapshot it was to take.
    pub host: String,
    /// Why, for a person.
    pub reason: String,
}

impl Records<'_> {
    /// Ends a session: either its writer wins or this does. True: the session is over and committed nothing; false: it
    /// committed.
    ///
    /// Where names can be overwritten, the revocation is put beside the snapshot, and the writer looks for it after its
    /// commit (M4). A snapshot that is listed here is left alone (M6): the run may be gone because it was done, and may
    /// have committed since the caller looked.
    ///
    /// `host`: the session was to take a snapshot of this host, so the revocation is the record of a run that failed.
    ///
    /// # Errors
    /// The store's; sealing failed; the store contradicts itself.
    pub fn revoke(&self, session: SessionId, reason: &str, host: Option<&str>) -> Result<bool, RecordError> {
        if self.has_no_fences()
            && self.snapshot_names()?.contains(&session.into())
            && !planted::is("commit-before-revocation-overlooked")
        {
            return Ok(false);
        }
        let extra = host.map(|host| (revocation::EXTRA_FAILED_HOST, false, host.as_bytes().to_vec())).into_iter().collect();
        let revocation = Revocation { session, time: self.objects.clock.now(), reason: reason.to_owned(), extra };
        let sealed = revocation::seal(&self.objects.sealer, &revocation)?;
        let name = self.revocation_name(session);
        match self.create_small(&name, &sealed) {
            Ok(()) => Ok(true),
            // The name holds a revocation (ours, if the reply was lost), or the snapshot.
            Err(StoreError { kind: StoreErrorKind::Exists, .. }) => match self.objects.get_listed(&name, limits::SNAPSHOT_SIZE_MAX)
            {
                Ok(Some(found)) => Ok(revocation::stands_here(&found)),
                Ok(None) => Err(RecordError::inconclusive(format!("{name} is said to exist, and then not to"))),
                // Larger than any snapshot: the name is taken, and nothing was committed under it.
                Err(ObjectError::Object { source: FormatError::TooLong { .. }, .. }) => Ok(true),
                Err(error) => Err(error.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// The failed run that a revocation records, if it is of one.
    pub(crate) fn failed_run(&self, session: SessionId, object: &[u8]) -> Option<FailedRun> {
        let opened = revocation::open(&self.objects.opener, session, object).ok()?;
        let host = opened.failed_host()?.to_owned();
        Some(FailedRun { session, time: opened.time, host, reason: opened.reason })
    }

    /// The failed runs whose revocations are beside their snapshots; oldest first.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn failed_beside(&self) -> Result<Vec<FailedRun>, RecordError> {
        let mut failed = Vec::new();
        for session in self.revoked_beside()? {
            let name = ObjectName::Revoked(session).name();
            let object = self.objects.get_listed(&name, limits::REVOCATION_SIZE_MAX);
            // A record that cannot be read tells of no run. The session is over all the same.
            failed.extend(object.ok().flatten().and_then(|object| self.failed_run(session, &object)));
        }
        failed.sort_by_key(|run: &FailedRun| (run.time, run.session));
        Ok(failed)
    }

    /// Sessions with a name below `revoked/`, whatever the class of the store.
    pub(super) fn list_revoked(&self) -> Result<HashSet<SessionId>, RecordError> {
        let mut revoked = HashSet::new();
        self.objects.store.list(names::REVOKED, &mut |entry| {
            if let Some(ObjectName::Revoked(id)) = ObjectName::parse(&entry.name) {
                revoked.insert(id);
            }
        })?;
        Ok(revoked)
    }
}
