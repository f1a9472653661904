//! Verify: is everything there that snapshots promise, and does it read back as what it was named after?
//!
//! [`run`] looks at a repository in this order:
//! * **objects**: every listed name is one the format gives; configs, keyslots, snapshots and small records open;
//! * **packs**: every pack's own directory is read into a fresh temporary cache, and index files are held against it. Neither the local
//!   cache nor an index file is believed: both are what a thief or a bad disk may have changed;
//! * **content** (on request): packs are read whole, their bytes hashed, every frame opened, every chunk's id recomputed;
//! * **structure**: every tree of every snapshot is walked once, every chunk it refers to must have a usable copy;
//! * **trace**: only when something is lost, the trees are walked again to say which snapshots and paths it hits.
//!
//! Damage never stops it: it is written down and the rest is looked at. Only a store that does not answer, or a request to stop, does.
//!
//! Leans on `repository` (reader, cache feed) and `format`. Knows nothing of the file system, of sources, or how to repair.
//! Memory: one pack and one frame a thread, 5 bytes a tree or list chunk, about 100 bytes a pack, and what the damage itself takes.

mod content;
mod damage;
mod findings;
mod lookup;
mod objects;
mod packs;
mod record;
mod structure;
mod trace;

pub use findings::{Finding, FindingKind};

use std::sync::Arc;

use crate::format::names;
use crate::format::tree::Content;
use crate::id::SnapshotId;
use crate::locks::Unpoisoned;
use crate::monitor::{Monitor, Phase, Problem, Stop, Stopped};
use crate::parallel;
use crate::repository::{Repository, RepositoryError, StoredSnapshot};
use crate::store::Name;
use crate::verify::damage::Damage;
use crate::verify::lookup::{Harm, store_harm};
use crate::verify::record::Record;

/// Which packs are read whole.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum ReadData {
    /// None: structure only.
    #[default]
    Nothing,
    /// Every pack.
    All,
    /// The `n`th of `m` parts (1..=m), decided by the packs' names: `m` runs with each `n` read everything.
    Part {
        /// Which part, from 1.
        n: u32,
        /// Of how many.
        m: u32,
    },
    /// A random choice of this many percent of the packs.
    Percent(f64),
    /// A random choice of packs of about this many bytes.
    Bytes(u64),
    /// Those that nobody has read and found good for this many seconds, the longest unread first.
    Unread(u64),
}

/// What to verify.
#[derive(Clone, Debug, Default)]
pub struct VerifyOptions {
    /// Walk the trees of these snapshots only; empty: of all.
    pub snapshots: Vec<SnapshotId>,
    /// Which packs are read whole.
    pub read_data: ReadData,
    /// Leave a note of what was verified and found.
    pub record: bool,
}

/// What was looked at and found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VerifySummary {
    /// All findings.
    pub findings: u64,
    /// Those that cost no data: everything can still be restored.
    pub repairable: u64,
    /// Those that make data of a snapshot unreadable.
    pub data_affected: u64,
    /// Packs listed.
    pub packs_listed: u64,
    /// Packs read whole.
    pub packs_read: u64,
    /// Bytes of packs read whole.
    pub bytes_read: u64,
    /// Snapshots whose trees were walked.
    pub snapshots_checked: u64,
    /// Tree and list chunks walked.
    pub trees_checked: u64,
}

/// Verification could not be carried out; what was found until then has been reported.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The store does not answer, the run was asked to stop, or no cache can be kept.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// A part that cannot be.
    #[error("there is no part {n} of {m}")]
    NoSuchPart {
        /// Which part was asked for.
        n: u32,
        /// Of how many.
        m: u32,
    },
    /// A snapshot asked for is not there.
    #[error("snapshot {0} is not in this repository, or cannot be opened")]
    NoSuchSnapshot(SnapshotId),
}

impl From<Stopped> for VerifyError {
    fn from(stopped: Stopped) -> Self {
        Self::Repository(stopped.into())
    }
}

/// How often everything is looked at while prunes go on beside it.
const LISTINGS_MAX: usize = 5;

/// Looks at everything, hands over each finding, and counts them. Needs the owner's key.
pub fn run(
    repository: &Arc<Repository>,
    options: &VerifyOptions,
    monitor: &Arc<dyn Monitor>,
    stop: &Stop,
    each: &mut dyn FnMut(&Finding),
) -> Result<VerifySummary, VerifyError> {
    repository.need_owner("verifying")?;
    if let ReadData::Part { n, m } = options.read_data
        && !(1..=m).contains(&n)
    {
        return Err(VerifyError::NoSuchPart { n, m });
    }
    for attempt in 1.. {
        let decided = gc_names(repository)?;
        let mut found = Vec::new();
        let mut keep = |finding: &Finding| found.push(finding.clone());
        let mut run = Run {
            repository,
            monitor: &**monitor,
            stop,
            threads: parallel::cores(),
            each: &mut keep,
            summary: VerifySummary::default(),
            record: Record::default(),
            worth_a_note: false,
        };
        let ended = look(&mut run, options);
        let Run { summary, record, worth_a_note, .. } = run;
        // A prune that decided meanwhile may have taken packs from under our eyes, after what is needed was stored elsewhere.
        if ended.is_ok() && !found.is_empty() && attempt < LISTINGS_MAX && gc_names(repository)? != decided {
            monitor.note("a prune finished meanwhile: everything is looked at once more");
            continue;
        }
        found.iter().for_each(&mut *each);
        if worth_a_note && options.record {
            note(repository, record, &**monitor);
        }
        return ended.map(|()| summary);
    }
    unreachable!("the loop above ends by returning: its last attempt is not repeated")
}

/// Names below `gc/`: another verdict shows there before anything is deleted by it.
fn gc_names(repository: &Repository) -> Result<Vec<Name>, RepositoryError> {
    let mut found = Vec::new();
    repository.objects().list(names::GC, &mut |entry| found.push(entry.name))?;
    found.sort_unstable();
    Ok(found)
}

/// Leaves a note of what was verified. A store that takes none is no reason to hide what was found.
fn note(repository: &Arc<Repository>, record: Record, monitor: &dyn Monitor) {
    if let Err(error) = record.put(repository) {
        let detail = format!("what was verified could not be written down: {error}");
        monitor.problem(Problem { subject: b"notes".to_vec(), detail });
    }
}

/// One look at everything.
fn look(run: &mut Run<'_>, options: &VerifyOptions) -> Result<(), VerifyError> {
    let (repository, monitor, stop) = (run.repository, run.monitor, run.stop);
    monitor.begin(Phase::VerifyStructure, 0, 0);
    let objects::Snapshots { all, doubtful } = objects::check(run)?;
    let roots = roots(all, &options.snapshots)?;
    let (lookup, packs) = packs::learn(run)?;
    let chosen = match options.read_data {
        ReadData::Unread(seconds) => content::unread(&packs, seconds, repository)?,
        read_data => content::choose(&packs, read_data, &**repository.rng()).map_err(RepositoryError::from)?,
    };
    if !chosen.is_empty() {
        monitor.begin(Phase::VerifyData, chosen.len() as u64, chosen.iter().map(|(_, size)| size).sum());
        let read = content::Read::default();
        let ended = content::read(&lookup, &chosen, run.threads, run.monitor, stop, &read);
        run.summary.packs_read = read.packs.into_inner();
        run.summary.bytes_read = read.bytes.into_inner();
        run.record.read = read.whole.into_inner().unwrap_or_default();
        run.record.bytes = run.summary.bytes_read;
        if let Err(error) = ended {
            // Hours of reading are not lost because somebody could not wait for the rest.
            run.record.doubtful(lookup.damage().objects().collect::<Vec<_>>());
            run.worth_a_note = true;
            return Err(error.into());
        }
        monitor.begin(Phase::VerifyStructure, 0, 0);
    }
    let of = |doubt: bool| -> Vec<Content> {
        roots.iter().filter(|(id, _)| doubtful.contains(id) == doubt).map(|(_, root)| root.clone()).collect()
    };
    run.summary.trees_checked = structure::walk(&lookup, &of(false), run.threads, run.monitor, stop)?;
    let doubtful = of(true);
    if !doubtful.is_empty() {
        lookup.damage().doubt();
        run.summary.trees_checked += structure::walk(&lookup, &doubtful, run.threads, run.monitor, stop)?;
    }
    run.summary.snapshots_checked = roots.len() as u64;
    if lookup.damage().loses_something() {
        trace::trace(&lookup, &roots, stop)?;
    }
    let damage: Damage = lookup.damage.into_inner().unpoisoned();
    for finding in damage.into_findings() {
        run.found(finding);
    }
    run.record.complete = options.snapshots.is_empty();
    run.record.everything_read = matches!(options.read_data, ReadData::All | ReadData::Unread(_));
    run.record.walked = roots.into_iter().map(|(id, _)| id).collect();
    run.worth_a_note = true;
    Ok(())
}

/// The folders to walk.
fn roots(snapshots: Vec<StoredSnapshot>, wanted: &[SnapshotId]) -> Result<Vec<(SnapshotId, Content)>, VerifyError> {
    if let Some(missing) = wanted.iter().find(|id| !snapshots.iter().any(|stored| stored.id == **id)) {
        return Err(VerifyError::NoSuchSnapshot(*missing));
    }
    let mut roots: Vec<(SnapshotId, Content)> = snapshots.into_iter().map(|stored| (stored.id, stored.snapshot.root)).collect();
    roots.retain(|(id, _)| wanted.is_empty() || wanted.contains(id));
    roots.sort_unstable_by_key(|(id, _)| *id);
    Ok(roots)
}

/// What every part of a run needs.
struct Run<'a> {
    repository: &'a Arc<Repository>,
    monitor: &'a dyn Monitor,
    stop: &'a Stop,
    threads: usize,
    each: &'a mut dyn FnMut(&Finding),
    summary: VerifySummary,
    record: Record,
    /// Enough was done that the record is kept.
    worth_a_note: bool,
}

impl Run<'_> {
    /// Counts a finding and hands it over.
    fn found(&mut self, finding: Finding) {
        self.summary.findings += 1;
        if finding.data_affected {
            self.summary.data_affected += 1;
        } else {
            self.summary.repairable += 1;
        }
        self.record.found(&finding);
        (self.each)(&finding);
    }

    /// A small object that was listed. What is wrong with it in the eyes of the store is a finding of `kind`; gone since then is nothing.
    fn get(&mut self, name: &Name, size_max: u64, kind: FindingKind) -> Result<Option<Vec<u8>>, RepositoryError> {
        self.stop.check()?;
        match self.repository.objects().get(name, size_max) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) => {
                match store_harm(self.repository, error)? {
                    Harm::Missing => {}
                    Harm::Unreadable(detail) => {
                        self.found(Finding::new(FindingKind::ObjectUnreadable, name.as_str(), detail));
                    }
                    Harm::Frame(detail) | Harm::Chunk(detail) => self.found(Finding::new(kind, name.as_str(), detail)),
                }
                Ok(None)
            }
        }
    }
}
