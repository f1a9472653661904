//! Raises the generation of the writer secret, after a host was in the hands of an attacker. Page
//! `format-spec/keys.md`, "Rotation".
//!
//! The order makes it safe to stop anywhere:
//! 1. Notes list the snapshots that are trusted, so that none of them is quarantined at any moment.
//! 2. A config names the next generation. From now on no writer of the old one begins.
//! 3. The keyslots of writers are deleted.
//! 4. A config is sealed in the new generation. From now on its writers begin.
//!
//! A rotation that was cut off before step 2 changed nothing that counts. One that was cut off later is finished by the
//! next rotation.

use crate::format::keyslot::Level;
use crate::format::note::Value;
use crate::id::{ObjectHash, SessionId, SnapshotId};
use crate::planted;
use crate::repository::survey::{Survey, survey};
use crate::repository::{Repository, RepositoryError};

/// What a rotation did; of a dry run, what it would do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rotation {
    /// The generation before; the same as `generation` when this run finished an earlier rotation.
    pub before: u32,
    /// The generation of writers from now on.
    pub generation: u32,
    /// Snapshots that still count.
    pub listed: Vec<SnapshotId>,
    /// Snapshots that were quarantined before, and are now for good.
    pub quarantined: Vec<SnapshotId>,
    /// Keyslots with a writer key, removed.
    pub keyslots: Vec<ObjectHash>,
    /// Sessions that may be under way in the old generation: what they commit will be quarantined.
    pub under_way: Vec<SessionId>,
}

/// Raises the generation by one, or finishes raising it. Owners only; a dry run only looks.
pub fn rotate(repository: &Repository, dry_run: bool) -> Result<Rotation, RepositoryError> {
    repository.need_owner("rotating the key")?;
    let before = repository.config().generation;
    let mut rotation = Rotation { before, generation: before, ..Rotation::default() };
    rotation.under_way = repository.sessions_under_way()?;
    for slot in repository.keyslots()? {
        if slot.level == Level::Writer && slot.damaged.is_none() {
            rotation.keyslots.push(slot.id);
        }
    }
    let looked_at = match repository.is_rotation_unfinished() {
        true => None,
        false => Some(survey(repository)?),
    };
    if let Some(survey) = &looked_at {
        rotation.generation = before.saturating_add(1);
        let (quarantined, believed): (Vec<_>, Vec<_>) =
            survey.snapshots.iter().partition(|surveyed| surveyed.quarantined.is_some());
        rotation.quarantined = quarantined.iter().map(|surveyed| surveyed.stored.id).collect();
        rotation.listed = believed.iter().map(|surveyed| surveyed.stored.id).collect();
        // A damaged object may be repaired one day, and then it is a trusted snapshot.
        rotation.listed.extend(survey.damaged.iter().map(|(id, _)| *id));
    }
    if dry_run {
        return Ok(rotation);
    }
    if let Some(survey) = &looked_at {
        if planted::is("generation-named-before-snapshots-are-listed") {
            repository.name_next_generation()?;
            list(repository, survey, &rotation)?;
        } else {
            list(repository, survey, &rotation)?;
            repository.name_next_generation()?;
        }
    }
    repository.delete_keyslots(&rotation.keyslots)?;
    repository.change_config(|_| {})?;
    Ok(rotation)
}

fn list(repository: &Repository, survey: &Survey, rotation: &Rotation) -> Result<(), RepositoryError> {
    let says = |id: &SnapshotId| (*id, Value::Listed { generation: rotation.generation });
    match rotation.listed.is_empty() {
        true => Ok(()),
        false => survey.say(repository, rotation.listed.iter().map(says).collect()),
    }
}
