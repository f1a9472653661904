//! Recovery data beside packs: how much of it new packs get, adding it to packs without, taking it away.

use std::sync::Arc;

use crate::catalog::NoMemo;
use crate::format::names::{self};
use crate::id::PackId;
use crate::monitor::{Monitor, Phase, Problem, Stop};
use crate::repair::RepairError;
use crate::repository::{Repository, RepositoryError};
use crate::store::{StoreError, StoreErrorKind};

/// What `add` did.
#[derive(Clone, Debug, Default)]
pub struct AddSummary {
    /// Packs listed and not deleted.
    pub packs: u64,
    /// Packs that got a parity object.
    pub added: u64,
    /// Bytes of these parity objects.
    pub bytes: u64,
    /// Packs that are damaged already: nothing is made of wrong bytes.
    pub damaged: Vec<PackId>,
}

/// Sets the share that new packs get, in percent; 0: none. Returns the number of the new config.
pub fn set(repository: &Repository, percent: u8) -> Result<u32, RepairError> {
    Ok(repository.change_config(|config| config.set_parity_percent(percent))?)
}

/// Makes parity objects for packs that have none, `percent` % each. A writer key may: all it takes are the packs' bytes.
pub fn add(
    repository: &Arc<Repository>,
    percent: u8,
    dry_run: bool,
    monitor: &dyn Monitor,
    stop: &Stop,
) -> Result<AddSummary, RepairError> {
    repository.need_write_features()?;
    let mut summary = AddSummary::default();
    // What is condemned may be gone in a minute; nothing is lost by leaving it out.
    let bad = repository.gc_state(&mut NoMemo)?.bad;
    let (protected, _) = repository.packs_with_parity()?;
    let mut packs: Vec<(PackId, u64)> = repository.list_packs()?.into_iter().collect();
    packs.retain(|(id, _)| !bad.contains(id));
    summary.packs = packs.len() as u64;
    packs.retain(|(id, _)| !protected.contains(id));
    packs.sort_unstable();
    monitor.begin(Phase::VerifyData, packs.len() as u64, packs.iter().map(|(_, size)| size).sum());
    for (id, size) in packs {
        stop.check()?;
        let bytes = match repository.objects().pack_bytes(&id) {
            Ok(bytes) => bytes,
            Err(StoreError { kind: StoreErrorKind::Missing, .. }) => continue,
            Err(error) => match error.into() {
                error if repository.is_damage(&error) => Vec::new(),
                error => return Err(error.into()),
            },
        };
        if *blake3::hash(&bytes).as_bytes() != id.0 {
            let detail = "it is damaged: no parity is made of it; `esker repair packs` may mend it".to_owned();
            monitor.problem(Problem { subject: names::pack_name(id).as_str().as_bytes().to_vec(), detail });
            summary.damaged.push(id);
        } else {
            summary.added += 1;
            if !dry_run {
                summary.bytes += repository.put_parity(id, &bytes, percent)?;
            }
        }
        monitor.advance(1, size);
    }
    Ok(summary)
}

/// Deletes every parity object; how many, and their bytes. New packs still get them while the config says so.
pub fn remove(repository: &Repository, dry_run: bool, stop: &Stop) -> Result<(u64, u64), RepairError> {
    repository.need_owner("deleting parity")?;
    repository.need_write_features()?;
    let mut found = Vec::new();
    let listed = repository.objects().list_parity(&mut |pack, hash, size| found.push((pack, hash, size)));
    listed.map_err(RepositoryError::from)?;
    let bytes = found.iter().map(|(_, _, size)| size).sum();
    for (pack, hash, _) in found.iter().filter(|_| !dry_run) {
        stop.check()?;
        repository.objects().delete_parity(pack, hash).map_err(RepositoryError::from)?;
    }
    Ok((found.len() as u64, bytes))
}
