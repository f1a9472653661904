//! What the rules need to know of a snapshot.

use crate::clock::Timestamp;
use crate::format::note::Keep;
use crate::id::SnapshotId;
use crate::repository::survey::{Survey, Surveyed, date};

/// What retention knows of one snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Its id.
    pub id: SnapshotId,
    /// Its host.
    pub host: String,
    /// Names of its sources.
    pub sources: Vec<String>,
    /// Its tags, those of notes included.
    pub tags: Vec<String>,
    /// The time it counts at.
    pub time: Timestamp,
    /// Every source that had to be whole is.
    pub complete: bool,
    /// The last verification of it found nothing wrong.
    pub verified: bool,
    /// Why it takes no slot, if so.
    pub quarantined: Option<String>,
    /// What a keep note says, if one keeps it now.
    pub noted: Option<String>,
    /// First seen within the repository's guard period.
    pub guarded: bool,
    /// Do the rules look at it? Others are as if they were not there, except that they may be the newest of their group.
    pub selected: bool,
}

/// What the rules need to know of every snapshot. `selected`: those that the rules look at.
pub(crate) fn candidates(survey: &Survey, selected: &dyn Fn(&Surveyed) -> bool) -> Vec<Candidate> {
    let candidate = |surveyed: &Surveyed| {
        let snapshot = &surveyed.stored.snapshot;
        Candidate {
            id: surveyed.stored.id,
            host: snapshot.host.clone(),
            sources: snapshot.sources.iter().map(|source| source.name.clone()).collect(),
            tags: surveyed.tags.clone(),
            time: surveyed.time,
            complete: snapshot.is_complete(),
            verified: surveyed.notes.verified.is_some_and(|verified| verified.findings == 0),
            quarantined: surveyed.quarantined.clone(),
            noted: survey.noted(surveyed).map(|keep| match keep {
                Keep::Until(time) => format!("kept by a note until {}", date(time)),
                _ => "kept by a note for ever".to_owned(),
            }),
            guarded: survey.guarded(surveyed),
            selected: selected(surveyed),
        }
    };
    survey.snapshots.iter().map(candidate).collect()
}
