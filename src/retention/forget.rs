//! Forgetting: decides by rules, or by what was named, and puts a tombstone for each snapshot that goes. Frees nothing itself.

use std::collections::HashMap;

use crate::clock::Timestamp;
use crate::format::note::Keep;
use crate::id::{ObjectHash, SnapshotId};
use crate::monitor::{Stop, Stopped};
use crate::repository::survey::{Survey, Surveyed, date};
use crate::repository::{Repository, RepositoryError};
use crate::retention::candidate::candidates;
use crate::retention::rules::{self, Group, RetentionError, Rules};

/// Nothing was forgotten, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    /// The store, the keys, or a request to stop.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The rules cannot be applied.
    #[error(transparent)]
    Retention(#[from] RetentionError),
    /// A snapshot was named that a note keeps.
    #[error("snapshot {} is kept by a note{until}", id.short())]
    KeptByNote {
        /// Which.
        id: SnapshotId,
        /// Until when, for a person.
        until: String,
    },
    /// Rules that measure ages would drop snapshots because of a time that nobody has confirmed.
    #[error(
        "after {} nothing came until {}: either nothing was backed up for {days} days, or a clock is wrong; rules that measure ages \
         would drop {remove} snapshots", date(*from), date(*to)
    )]
    Jump {
        /// Before it.
        from: Timestamp,
        /// After it.
        to: Timestamp,
        /// In between.
        days: i64,
        /// How many would go.
        remove: usize,
    },
}

impl From<Stopped> for ForgetError {
    fn from(stopped: Stopped) -> Self {
        Self::Repository(stopped.into())
    }
}

/// What is to be forgotten, and why the rest is not.
#[derive(Clone, Debug, Default)]
pub struct ForgetPlan {
    /// By group, with the reasons; empty when snapshots were named.
    pub groups: Vec<Group>,
    /// What goes, and the hash of the object that is meant.
    pub remove: Vec<(SnapshotId, ObjectHash)>,
    /// What the tombstones will say.
    pub reason: String,
}

/// Applies rules to the snapshots that are selected. `clock_is_right`: somebody has confirmed that a jump is none.
pub fn by_rules(
    survey: &Survey,
    rules: &Rules,
    selected: &dyn Fn(&Surveyed) -> bool,
    clock_is_right: bool,
) -> Result<ForgetPlan, ForgetError> {
    let groups = rules::plan(&candidates(survey, selected), rules)?;
    let hashes: HashMap<SnapshotId, ObjectHash> =
        survey.snapshots.iter().map(|surveyed| (surveyed.stored.id, surveyed.stored.hash)).collect();
    let remove: Vec<(SnapshotId, ObjectHash)> =
        groups.iter().flat_map(|group| &group.remove).filter_map(|id| Some((*id, *hashes.get(id)?))).collect();
    if let Some(jump) = survey.jump
        && rules.goes_by_age()
        && !clock_is_right
        && !remove.is_empty()
    {
        let days = jump.to.seconds.saturating_sub(jump.from.seconds) / 86_400;
        return Err(ForgetError::Jump { from: jump.from, to: jump.to, days, remove: remove.len() });
    }
    Ok(ForgetPlan { groups, remove, reason: "forget by rules".to_owned() })
}

/// What has to be named to forget a snapshot whose object is damaged: what stands there now, and whatever a prune saw there before it
/// was damaged; else a prune would look for that for ever.
pub fn objects_of_damaged(repository: &Repository, id: SnapshotId) -> Result<Vec<(SnapshotId, ObjectHash)>, ForgetError> {
    let mut objects = vec![(id, repository.snapshot_hash(&id)?)];
    let seen = repository.snapshots_seen_by_prunes(&mut repository.open_pack_catalog()?)?;
    objects.extend(seen.get(&id).into_iter().flatten().map(|hash| (id, *hash)));
    Ok(objects)
}

/// Takes those that were named. No rule and no guard is asked, but a note is.
pub fn by_name(survey: &Survey, named: &[(SnapshotId, ObjectHash)]) -> Result<ForgetPlan, ForgetError> {
    for (id, _) in named {
        let Some(surveyed) = survey.get(id) else { continue };
        if let Some(keep) = survey.noted(surveyed) {
            let until = if let Keep::Until(time) = keep { format!(" until {}", date(time)) } else { " for ever".to_owned() };
            return Err(ForgetError::KeptByNote { id: *id, until });
        }
    }
    let mut remove = named.to_vec();
    remove.sort_unstable();
    remove.dedup();
    Ok(ForgetPlan { groups: Vec::new(), remove, reason: "forget by name".to_owned() })
}

/// Puts the tombstones; returns how many. Each is complete in itself: stopped half-way, the next run does the rest.
pub fn carry_out(repository: &Repository, plan: &ForgetPlan, stop: &Stop) -> Result<usize, ForgetError> {
    for (id, hash) in &plan.remove {
        stop.check()?;
        repository.forget(*id, *hash, &plan.reason)?;
    }
    Ok(plan.remove.len())
}
