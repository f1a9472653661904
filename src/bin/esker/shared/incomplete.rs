//! What is missing in an incomplete snapshot, said by every command that reads from it.

use anyhow::Result;
use esker::clock::Timestamp;
use esker::format::snapshot::SourceStatus;
use esker::id::SnapshotId;
use esker::repository::{Repository, StoredSnapshot};
use serde_json::{Value, json};

use crate::context::Context;
use crate::terminal::words;

/// Reasons that are shown one by one; the rest is counted.
const SHOWN_MAX: usize = 10;

/// What an incomplete snapshot lacks.
pub struct Incomplete {
    id: SnapshotId,
    /// Sources that are missing, or not whole.
    sources: Vec<String>,
    reasons: Vec<String>,
    /// Something of what was asked for is missing.
    pub affected: bool,
    last_complete: Option<(SnapshotId, Timestamp)>,
}

impl Incomplete {
    /// None: the snapshot is complete. `affected`: something of what was asked for is missing.
    pub fn of(repository: &Repository, stored: &StoredSnapshot, affected: bool) -> Result<Option<Self>> {
        let snapshot = &stored.snapshot;
        if snapshot.is_complete() {
            return Ok(None);
        }
        let not_whole = |status| matches!(status, SourceStatus::Failed | SourceStatus::OptionalFailed);
        let sources = snapshot.sources.iter().filter(|source| not_whole(source.status)).map(|source| source.name.clone());
        Ok(Some(Self {
            id: stored.id,
            sources: sources.collect(),
            reasons: snapshot.incomplete.clone(),
            affected,
            last_complete: last_complete(repository, stored)?,
        }))
    }

    /// Says it on standard error.
    pub fn tell(&self, context: &Context) {
        let warn = |text: &str| context.progress.warn(text);
        let what = match self.sources.as_slice() {
            [] => String::new(),
            [one] => format!(": the source {one} is missing or not whole"),
            several => format!(": the sources {} are missing or not whole", several.join(", ")),
        };
        let asked = if self.affected { "" } else { "; this does not affect what you asked for" };
        warn(&format!("snapshot {} is incomplete{what}{asked}", self.id.short()));
        for reason in self.reasons.iter().take(SHOWN_MAX) {
            warn(&format!("  missing or incomplete: {reason}"));
        }
        if self.reasons.len() > SHOWN_MAX {
            warn(&format!("  and {} more", words::count((self.reasons.len() - SHOWN_MAX) as u64)));
        }
        match self.last_complete {
            Some((id, time)) => {
                warn(&format!("the last complete snapshot of these sources is {} of {}", id.short(), words::local_time(time)))
            }
            None => warn("the repository holds no complete snapshot of these sources"),
        }
    }

    /// The same for a script.
    pub fn json(&self) -> Value {
        json!({
            "message_type": "incomplete",
            "snapshot_id": self.id.to_hex(),
            "affected": self.affected,
            "sources": self.sources,
            "reasons": self.reasons.iter().take(SHOWN_MAX).collect::<Vec<_>>(),
            "reasons_count": self.reasons.len(),
            "last_complete": self.last_complete.map(|(id, time)| json!({ "id": id.to_hex(), "time": words::rfc3339(time) })),
        })
    }
}

/// The newest complete snapshot of the same host that holds the same sources.
fn last_complete(repository: &Repository, stored: &StoredSnapshot) -> Result<Option<(SnapshotId, Timestamp)>> {
    let wanted = &stored.snapshot;
    let list = repository.snapshots()?;
    let fits = list.snapshots.iter().filter(|other| {
        let has = |name: &str| other.snapshot.sources.iter().any(|source| source.name == name);
        other.snapshot.is_complete() && other.snapshot.host == wanted.host && wanted.sources.iter().all(|source| has(&source.name))
    });
    Ok(fits.map(|other| (other.id, other.snapshot.time)).max_by_key(|(id, time)| (*time, *id)))
}
