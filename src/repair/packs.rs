//! Packs: each is read whole and held against its name; what is wrong is put back byte by byte, from parity or from a mirror.
//!
//! This is the only place where anything is written over, and what is written hashes to the name it stands under. What nothing gives
//! back is written into the config as damaged: it stays where it is and readers go on trying it, but no writer counts on it any more,
//! so the next snapshot that still has the data stores it again.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use crate::catalog::NoMemo;
use crate::format::config::DAMAGED_PACKS_MAX;
use crate::format::names::{self};
use crate::format::{limits, parity};
use crate::id::PackId;
use crate::locks::Unpoisoned;
use crate::monitor::{Monitor, Phase, Stop};
use crate::parallel;
use crate::planted;
use crate::repair::RepairError;
use crate::repository::{Repository, RepositoryError};
use crate::store::{Store, StoreError, StoreErrorKind};

/// Packs in memory at once, each with its parity object and what is made of both.
const PACKS_AT_ONCE_MAX: usize = 4;

/// Which packs, and from where.
#[derive(Clone, Default)]
pub struct PacksOptions {
    /// First digits of the ids of packs to look at; empty: all of them.
    pub packs: Vec<String>,
    /// Stores that may hold the same packs: mirrors of this repository.
    pub from: Vec<Arc<dyn Store>>,
    /// Look at everything, change nothing.
    pub dry_run: bool,
}

/// What is wrong with a pack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Harm {
    /// An index file tells of it, and it is not there.
    Missing,
    /// Its bytes are not those of its name, or cannot all be read.
    Damaged,
}

/// What became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Put back (or would be) from its parity object.
    FromParity,
    /// Put back (or would be) from this mirror.
    FromMirror(String),
    /// Nothing gives its bytes back.
    Unmended,
}

/// One pack that was not as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Repaired {
    /// The pack.
    pub pack: PackId,
    /// What was wrong.
    pub harm: Harm,
    /// What was done.
    pub outcome: Outcome,
}

/// What was looked at and done.
#[derive(Clone, Debug, Default)]
pub struct PacksSummary {
    /// Packs looked at.
    pub checked: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Every pack that was wrong, in the order of ids.
    pub packs: Vec<Repaired>,
    /// Damaged parity objects of good packs that were (or would be) made again.
    pub parity_mended: u64,
    /// Packs the config now lists as damaged.
    pub listed_damaged: u64,
}

impl PacksSummary {
    /// Packs that stay damaged or missing.
    pub fn unmended(&self) -> u64 {
        self.packs.iter().filter(|pack| pack.outcome == Outcome::Unmended).count() as u64
    }
}

/// Looks at packs and mends them.
pub fn run(
    repository: &Arc<Repository>,
    options: &PacksOptions,
    monitor: &dyn Monitor,
    stop: &Stop,
) -> Result<PacksSummary, RepairError> {
    repository.need_owner("repairing")?;
    repository.need_write_features()?;
    let mut catalog = repository.open_catalog()?;
    // Index files say which packs there should be.
    repository.sync(&mut catalog, monitor)?;
    let deleted = repository.gc_state(&mut catalog)?.deleted;
    let listed = repository.list_packs()?;
    let mut work: Vec<(PackId, Option<u64>)> = listed.iter().map(|(&id, &size)| (id, Some(size))).collect();
    // Not all packs that the cache knows: some may be of a time that this store has not seen.
    let named = catalog.named_by_index_files().map_err(RepositoryError::from)?;
    work.extend(named.into_iter().filter(|id| !listed.contains_key(id)).map(|id| (id, None)));
    work.retain(|(id, _)| !deleted.contains(id) && is_wanted(&options.packs, id));
    work.sort_unstable();
    if let Some(unknown) = options.packs.iter().find(|prefix| !work.iter().any(|(id, _)| id.to_hex().starts_with(*prefix))) {
        return Err(RepairError::NotFound(format!("no pack of this repository begins with {unknown}")));
    }
    monitor.begin(Phase::VerifyData, work.len() as u64, work.iter().filter_map(|(_, size)| *size).sum());
    let run = Run { repository, options, summary: Mutex::default() };
    parallel::for_each(parallel::cores().min(PACKS_AT_ONCE_MAX), work.iter(), |&(id, size)| {
        stop.check()?;
        run.pack(id, size)?;
        monitor.advance(1, size.unwrap_or(0));
        Ok::<(), RepositoryError>(())
    })?;
    let mut summary = run.summary.into_inner().unpoisoned();
    summary.packs.sort_unstable_by_key(|pack| pack.pack);
    let looked_at: BTreeSet<PackId> = work.iter().map(|(id, _)| *id).collect();
    summary.listed_damaged = list_damaged(repository, &summary, &looked_at, |id| listed.contains_key(id), options.dry_run)?;
    Ok(summary)
}

fn is_wanted(prefixes: &[String], id: &PackId) -> bool {
    prefixes.is_empty() || prefixes.iter().any(|prefix| id.to_hex().starts_with(prefix))
}

struct Run<'a> {
    repository: &'a Repository,
    options: &'a PacksOptions,
    summary: Mutex<PacksSummary>,
}

impl Run<'_> {
    fn pack(&self, id: PackId, size: Option<u64>) -> Result<(), RepositoryError> {
        let mut harm = Harm::Missing;
        if let Some(size) = size {
            let bytes = self.read(&id)?;
            self.note(|summary| {
                summary.checked += 1;
                summary.bytes += size;
            });
            match bytes {
                Some(bytes) if *blake3::hash(&bytes).as_bytes() == id.0 => return self.mend_parity(&id, &bytes),
                _ => harm = Harm::Damaged,
            }
        }
        let (outcome, bytes) = self.find(&id, harm)?;
        if let Some(bytes) = bytes
            && !self.options.dry_run
        {
            put_back(self.repository, id, &bytes)?;
            self.protect(id, &bytes)?;
        }
        self.note(|summary| summary.packs.push(Repaired { pack: id, harm, outcome }));
        Ok(())
    }

    /// The whole pack, if all of it can be read.
    fn read(&self, id: &PackId) -> Result<Option<Vec<u8>>, RepositoryError> {
        match self.repository.objects().pack_bytes(id) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) => match error.into() {
                error if self.repository.is_damage(&error) => Ok(None),
                RepositoryError::Store(StoreError { kind: StoreErrorKind::Missing, .. }) => Ok(None),
                error => Err(error),
            },
        }
    }

    /// The bytes of a pack that is wrong, from wherever they can be had.
    fn find(&self, id: &PackId, harm: Harm) -> Result<(Outcome, Option<Vec<u8>>), RepositoryError> {
        if harm == Harm::Damaged
            && let Some(bytes) = self.repository.mend_pack(id)?
        {
            return Ok((Outcome::FromParity, Some(bytes)));
        }
        for mirror in &self.options.from {
            match mirror.get(&names::pack_name(*id), limits::PACK_SIZE_MAX) {
                Ok(bytes) if *blake3::hash(&bytes).as_bytes() == id.0 => {
                    return Ok((Outcome::FromMirror(mirror.location()), Some(bytes)));
                }
                // It has another one, or none, or cannot read its own: the next mirror may do better.
                Ok(_)
                | Err(StoreError {
                    kind: StoreErrorKind::Missing | StoreErrorKind::Size { .. } | StoreErrorKind::Failed, ..
                }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok((Outcome::Unmended, None))
    }

    /// Makes damaged parity objects of a good pack again: the same bytes under the same name.
    fn mend_parity(&self, id: &PackId, bytes: &[u8]) -> Result<(), RepositoryError> {
        let objects = self.repository.objects();
        for (hash, size) in self.repository.parity_of(id)? {
            let is_good = match objects.parity_bytes(id, &hash) {
                Ok(object) => names::hash_of(&[&object]) == hash,
                Err(error) => match error.into() {
                    error if self.repository.is_damage(&error) => false,
                    RepositoryError::Store(StoreError { kind: StoreErrorKind::Missing, .. }) => true,
                    error => return Err(error),
                },
            };
            if is_good {
                continue;
            }
            // Which share it was made with it may no longer say itself; there are few.
            let made = (1..=parity::PERCENT_MAX).find(|&percent| parity::size(bytes.len(), percent) == Some(size));
            if let Some(percent) = made {
                let (again, object) = parity::make(*id, &[bytes], percent)?;
                if again == hash {
                    if !self.options.dry_run {
                        objects.replace_parity(id, &hash, &object)?;
                    }
                    self.note(|summary| summary.parity_mended += 1);
                }
            }
        }
        Ok(())
    }

    /// A pack that was put back gets what every new one gets.
    fn protect(&self, id: PackId, bytes: &[u8]) -> Result<(), RepositoryError> {
        let percent = self.repository.config().parity_percent();
        if percent > 0 && self.repository.parity_of(&id)?.is_empty() {
            self.repository.put_parity(id, bytes, percent)?;
        }
        Ok(())
    }

    fn note(&self, note: impl FnOnce(&mut PacksSummary)) {
        note(&mut self.summary.lock().unpoisoned());
    }
}

/// Puts a pack over what stands under its name, or back where it stood. Its bytes must hash to the name, and no verdict may list it: a
/// pack that a verdict deletes never comes back.
pub fn put_back(repository: &Repository, id: PackId, bytes: &[u8]) -> Result<(), RepositoryError> {
    repository.need_owner("repairing")?;
    let name = names::pack_name(id);
    if *blake3::hash(bytes).as_bytes() != id.0 {
        return Err(RepositoryError::Inconclusive(format!("{name} is not put back: these bytes do not hash to its name")));
    }
    if repository.gc_state(&mut NoMemo)?.deleted.contains(&id) && !planted::is("deleted-pack-put-back") {
        return Err(RepositoryError::Inconclusive(format!("{name} is not put back: it was deleted meanwhile")));
    }
    repository.objects().replace_pack(&id, bytes)?;
    // A disk that lost the pack once may lose it again at once.
    match repository.objects().pack_bytes(&id) {
        Ok(found) if found == bytes => Ok(()),
        Ok(_) => Err(RepositoryError::Inconclusive(format!("{name} was put back and does not read back as it was written"))),
        Err(error) => Err(error.into()),
    }
}

/// Brings the config's list of damaged packs up to date: what was looked at and is wrong is on it, what is right or gone is not. Returns
/// how many are on it.
fn list_damaged(
    repository: &Repository,
    summary: &PacksSummary,
    looked_at: &BTreeSet<PackId>,
    is_listed: impl Fn(&PackId) -> bool,
    dry_run: bool,
) -> Result<u64, RepositoryError> {
    let before = repository.config().damaged_packs();
    let mut damaged: BTreeSet<PackId> = before.iter().copied().filter(|id| is_listed(id) && !looked_at.contains(id)).collect();
    // A pack that is missing is in nobody's view anyhow.
    let unmended = summary.packs.iter().filter(|pack| pack.outcome == Outcome::Unmended && pack.harm == Harm::Damaged);
    damaged.extend(unmended.map(|pack| pack.pack));
    let damaged: Vec<PackId> = damaged.into_iter().take(DAMAGED_PACKS_MAX).collect();
    if damaged != before && !dry_run {
        repository.change_config(|config| config.set_damaged_packs(&damaged))?;
    }
    Ok(damaged.len() as u64)
}
