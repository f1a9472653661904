//! Sessions of others: what their records say, and which of them are over.

use std::collections::{BTreeMap, HashSet};

use crate::format::names::{self, ObjectName};
use crate::format::session::{self, OpenedStart};
use crate::format::{FormatError, limits};
use crate::id::{ObjectHash, PackId, SessionId};
use crate::repository::session::{is_dead_here, revoke};
use crate::repository::{Repository, RepositoryError, listed};
use crate::store::Name;

/// The names of one session's records, as they were listed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SessionNames {
    /// Numbers of its records: 0 the start, then acknowledgements.
    pub records: Vec<u32>,
    /// Every name below `sessions/<sid>`, `closed` among them.
    pub names: Vec<Name>,
}

/// What the records of a session prove to an owner.
#[derive(Clone, Debug, Default)]
pub struct SessionState {
    /// How it began; `None` when that cannot be read.
    pub start: Option<OpenedStart>,
    /// The highest gc number it acknowledged with a good MAC; 0 none.
    pub acknowledged: u64,
    /// The condemn records it has seen among those that stand under their hash.
    pub seen: HashSet<ObjectHash>,
    /// All packs it ever pinned.
    pub pins: HashSet<PackId>,
}

impl Repository {
    /// Lists `sessions/`.
    pub fn session_names(&self) -> Result<BTreeMap<SessionId, SessionNames>, RepositoryError> {
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

    /// Sessions that something under `revoked/` ends, where create-if-absent cannot be trusted.
    pub fn revoked_beside(&self) -> Result<HashSet<SessionId>, RepositoryError> {
        let mut revoked = HashSet::new();
        self.objects.store.list(names::REVOKED, &mut |entry| {
            if let Some(ObjectName::Revoked(id)) = ObjectName::parse(&entry.name) {
                revoked.insert(id);
            }
        })?;
        Ok(revoked)
    }

    /// Reads the records of a session. An acknowledgement without a good MAC is somebody else's and counts for nothing; one that cannot be
    /// read may hold a pin, so then nothing is acknowledged.
    pub fn session_state(&self, id: SessionId, listed: &SessionNames) -> Result<SessionState, RepositoryError> {
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

    fn session_record(&self, id: SessionId, number: u32) -> Result<Option<Vec<u8>>, RepositoryError> {
        match self.get_listed(&ObjectName::SessionRecord(id, number).name(), limits::SESSION_SIZE_MAX) {
            // Larger than any record, or unreadable: it opens as little as an empty one.
            Err(error @ RepositoryError::Object { .. }) => listed::fault(error).map(|_| Some(Vec::new())),
            other => other,
        }
    }

    /// How a session began, if its first record can be read.
    pub fn session_start(&self, id: SessionId) -> Result<Option<OpenedStart>, RepositoryError> {
        let sealed = self.session_record(id, 0)?;
        Ok(sealed.and_then(|sealed| session::open_start(&self.objects.opener, id, &sealed).ok()))
    }

    /// Revokes sessions of this machine whose process is proved to be gone, so that nobody waits for them. Returns which.
    pub fn revoke_dead_here(&self, mine: Option<SessionId>) -> Result<Vec<SessionId>, RepositoryError> {
        let sessions = self.session_names()?;
        // A run that closed its session does not live; a backup need not ask what became of it, at the price of three listings. Nothing
        // is believed because of that: a session stays as alive as it was.
        let closed = |session: &SessionNames| mine.is_some() && session.names.iter().any(|name| name.last_part() == "closed");
        if sessions.iter().all(|(id, session)| Some(*id) == mine || closed(session)) {
            return Ok(Vec::new());
        }
        let over = self.ended_sessions()?;
        let mut revoked = Vec::new();
        for id in sessions.into_keys().filter(|id| Some(*id) != mine && !over.contains(id)) {
            let Some(opened) = self.session_start(id)? else { continue };
            if is_dead_here(&opened.start, &self.host) && revoke(self, id, "its process is gone", Some(&opened.start.host))? {
                revoked.push(id);
            }
        }
        Ok(revoked)
    }

    /// Sessions that are not over: under way, or dead. Also one that says it is closed, for a prune waits for that too: whoever may write
    /// can say so of any session.
    pub fn sessions_under_way(&self) -> Result<Vec<SessionId>, RepositoryError> {
        let sessions = self.session_names()?;
        let over = if sessions.is_empty() { HashSet::new() } else { self.ended_sessions()? };
        Ok(sessions.into_keys().filter(|id| !over.contains(id)).collect())
    }

    /// Sessions that are over by what is listed now: a snapshot or revocation, or a tombstone. Whether a tombstone is good is for an
    /// owner to check who deletes anything; here it only saves asking about a session.
    fn ended_sessions(&self) -> Result<HashSet<SessionId>, RepositoryError> {
        let mut over: HashSet<SessionId> = self.revoked_beside()?;
        self.objects.store.list(names::FORGOTTEN, &mut |entry| {
            if let Some(ObjectName::Forgotten(id, _)) = ObjectName::parse(&entry.name) {
                over.insert(SessionId(id.0));
            }
        })?;
        over.extend(self.snapshot_names()?.into_iter().map(|id| SessionId(id.0)));
        Ok(over)
    }
}
