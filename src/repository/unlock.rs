//! Sessions that an owner ends by hand: those of runs that died where no other host can prove it, in a container or on
//! a machine that is gone.
//!
//! Nothing is locked, but a prune waits for every session. Ending the session of a live run costs that run its commit
//! and nothing else: a revocation and a commit exclude each other.

use crate::format::session::Start;
use crate::id::SessionId;
use crate::records::is_dead_here;
use crate::repository::{Repository, RepositoryError};

/// A session that is not over.
#[derive(Clone, Debug)]
pub struct UnderWay {
    /// Its id.
    pub id: SessionId,
    /// How it began; `None` when that cannot be read.
    pub start: Option<Start>,
    /// Is it proved that its process is gone?
    pub is_dead: bool,
}

/// What a writer key cannot do.
const WHAT: &str = "ending another run's session";

/// Every session that is not over, in the order in which they began. Owners only: they may end them.
pub fn under_way(repository: &Repository) -> Result<Vec<UnderWay>, RepositoryError> {
    repository.need_owner(WHAT)?;
    let mut found = Vec::new();
    for id in repository.sessions_under_way()? {
        let start = repository.session_start(id)?.map(|opened| opened.start);
        let is_dead = start.as_ref().is_some_and(|start| is_dead_here(start, repository.host()));
        found.push(UnderWay { id, start, is_dead });
    }
    found.sort_by_key(|session| (session.start.as_ref().map(|start| start.time), session.id));
    Ok(found)
}

/// V4: ends a session. False: it has committed, and there is nothing to end. Owners only.
pub fn end(repository: &Repository, id: SessionId) -> Result<bool, RepositoryError> {
    repository.need_owner(WHAT)?;
    repository.need_write_features()?;
    let start = repository.session_start(id)?;
    repository.revoke(id, "an owner ended it", start.as_ref().map(|opened| opened.start.host.as_str()))
}
