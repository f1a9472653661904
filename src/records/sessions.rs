//! Sessions of other runs: what their records say, and which of them are over.

use std::collections::{BTreeMap, HashSet};

use crate::format::names::{self, ObjectName};
use crate::format::session::{self, OpenedStart};
use crate::format::{FormatError, limits};
use crate::id::{ObjectHash, PackId, SessionId, SnapshotId};
use crate::objects::ObjectError;
use crate::records::liveness::is_dead_here;
use crate::records::{RecordError, Records};
use crate::store::Name;

/// The names of one session's records in a listing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SessionNames {
    /// Numbers of its records: 0 the start, then acknowledgements.
    pub records: Vec<u32>,
    /// Every name below `sessions/<sid>`, `closed` among them.
    pub names: Vec<Name>,
}

/// What the records of a session prove to an owner.
#[derive(Clone, Debug, Default)]
pub(crate) struct SessionState {
    /// How it began; `None` when that cannot be read.
    pub start: Option<OpenedStart>,
    /// The highest gc number it acknowledged with a good MAC; 0: none.
    pub acknowledged: u64,
    /// The condemn records it has seen, of those whose names hold their hash.
    pub seen: HashSet<ObjectHash>,
    /// All packs it ever pinned.
    pub pins: HashSet<PackId>,
}

impl Records<'_> {
    /// Lists `sessions/`.
    ///
    /// # Errors
    /// The store's.
    pub fn session_names(&self) -> Result<BTreeMap<SessionId, SessionNames>, RecordError> {
        let mut sessions: BTreeMap<SessionId, SessionNames> = BTreeMap::new();
        self.objects.store.list(names::SESSIONS, &mut |entry| match ObjectName::parse(&entry.name) {
            Some(ObjectName::SessionRecord(id, number)) => {
                let session = sessions.entry(id).or_default();
                session.records.push(number);
                session.names.push(entry.name);
            }
            Some(ObjectName::SessionClosed(id)) => sessions.entry(id).or_default().names.push(entry.name),
            _ => {}
        })?;
        for session in sessions.values_mut() {
            session.records.sort_unstable();
            session.names.sort_unstable();
        }
        Ok(sessions)
    }

    /// The ids of every name below `snapshots/`, in rising order. A name may hold a revocation.
    ///
    /// # Errors
    /// The store's.
    pub fn snapshot_names(&self) -> Result<Vec<SnapshotId>, RecordError> {
        let mut ids = Vec::new();
        self.objects.store.list(names::SNAPSHOTS, &mut |entry| ids.extend(names::parse_snapshot(&entry.name)))?;
        ids.sort_unstable();
        Ok(ids)
    }

    /// Reads the records of a session. An acknowledgement without a good MAC is not the session's and counts for
    /// nothing. One that cannot be read may hold a pin, so then nothing is acknowledged.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn session_state(&self, id: SessionId, listed: &SessionNames) -> Result<SessionState, RecordError> {
        let mut state = SessionState::default();
        if let Some(sealed) = self.session_record(id, 0)? {
            state.start = session::open_start(&self.objects.opener, id, &sealed).ok();
        }
        let Some(start) = &state.start else { return Ok(state) };
        for &number in listed.records.iter().filter(|&&number| number > 0) {
            let opened = match self.session_record(id, number)? {
                Some(sealed) => session::open_acknowledgement(&self.objects.opener, start, number, &sealed),
                None => continue,
            };
            match opened {
                Ok(acknowledgement) => {
                    state.acknowledged = state.acknowledged.max(acknowledgement.observed);
                    state.seen.extend(acknowledgement.seen());
                    state.pins.extend(acknowledgement.pins);
                }
                Err(FormatError::WrongSessionMac { .. }) => {}
                Err(_) => {
                    state.acknowledged = 0;
                    state.seen.clear();
                    return Ok(state);
                }
            }
        }
        Ok(state)
    }

    fn session_record(&self, id: SessionId, number: u32) -> Result<Option<Vec<u8>>, RecordError> {
        match self.objects.get_listed(&ObjectName::SessionRecord(id, number).name(), limits::SESSION_SIZE_MAX) {
            // Larger than any record, or unreadable: it does not open, as an empty one does not.
            Err(error @ ObjectError::Object { .. }) => Ok(error.into_fault().map(|_| Some(Vec::new()))?),
            other => Ok(other?),
        }
    }

    /// How a session began, if its first record can be read.
    ///
    /// # Errors
    /// The store's.
    pub fn session_start(&self, id: SessionId) -> Result<Option<OpenedStart>, RecordError> {
        let sealed = self.session_record(id, 0)?;
        Ok(sealed.and_then(|sealed| session::open_start(&self.objects.opener, id, &sealed).ok()))
    }

    /// Revokes sessions of this machine, with the name `host`, whose process is proved to be gone. No prune has to wait
    /// for them then. Returns which.
    ///
    /// # Errors
    /// The store's; sealing failed.
    pub(crate) fn revoke_dead_here(&self, mine: Option<SessionId>, host: &str) -> Result<Vec<SessionId>, RecordError> {
        let sessions = self.session_names()?;
        // A run that closed its session is not alive. A backup need not find out what became of it, which would cost
        // three listings. Nothing relies on that: the session is as alive as before.
        let closed = |session: &SessionNames| mine.is_some() && session.names.iter().any(|name| name.last_part() == "closed");
        if sessions.iter().all(|(id, session)| Some(*id) == mine || closed(session)) {
            return Ok(Vec::new());
        }
        let over = self.ended_sessions()?;
        let mut revoked = Vec::new();
        for id in sessions.into_keys().filter(|id| Some(*id) != mine && !over.contains(id)) {
            let Some(opened) = self.session_start(id)? else { continue };
            if is_dead_here(&opened.start, host) && self.revoke(id, "its process is gone", Some(&opened.start.host))? {
                revoked.push(id);
            }
        }
        Ok(revoked)
    }

    /// Sessions that are not over: they are under way, or dead. A session that is marked as closed is among them,
    /// because a prune waits for it too: the holder of any writer key can mark any session as closed.
    ///
    /// # Errors
    /// The store's.
    pub fn sessions_under_way(&self) -> Result<Vec<SessionId>, RecordError> {
        let sessions = self.session_names()?;
        let over = if sessions.is_empty() { HashSet::new() } else { self.ended_sessions()? };
        Ok(sessions.into_keys().filter(|id| !over.contains(id)).collect())
    }

    /// Sessions that are over, as far as names tell: they have a snapshot, a revocation or a tombstone. Whether a
    /// tombstone is good is checked by the owner who deletes something because of it. Here a tombstone only saves a
    /// question about a session.
    fn ended_sessions(&self) -> Result<HashSet<SessionId>, RecordError> {
        let mut over: HashSet<SessionId> = self.list_revoked()?;
        over.extend(self.list_tombstones()?.into_iter().map(|listed| SessionId(listed.id.0)));
        over.extend(self.snapshot_names()?.into_iter().map(|id| SessionId(id.0)));
        Ok(over)
    }
}
