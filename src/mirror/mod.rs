//! Mirroring: every object of a store, byte by byte, into another one. No key is needed: nothing is opened.
//!
//! Whatever the moment at which a mirror is cut off, it is a repository from which every snapshot in it restores:
//!
//! * snapshots are listed before packs and copied last, so all they need is there before them;
//! * gc records are listed before and after packs: were they the same, no pack moved into another one meanwhile, and every pack that
//!   holds what was moved before is among those that were listed. Else packs are listed again, as when one of them vanished;
//! * tombstones are listed after that and copied before gc records, so nothing is called deleted that a live snapshot needs.
//!
//! Sessions are not copied: no writer works in the mirror. Only names that are not there are copied; an object of another size is
//! replaced when its bytes prove its name. Nothing is deleted, unless an owner's records say that it was ([`Deleted`]).
//!
//! A mirror has one source. A target that has what the source never had, or has something else under a name that is never used twice,
//! is another history (one of the two was rolled back, or was written to by itself), and nothing is changed.
//!
//! Leans on `store`, and on `format` for names. Memory: the names of the largest folder, and a few packs.

mod compare;

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::format::limits;
use crate::format::names::{self, ObjectName};
use crate::id::{ObjectHash, PackId, SnapshotId};
use crate::locks::Unpoisoned;
use crate::mirror::compare::{Listing, list};
use crate::monitor::{Monitor, Phase, Problem, Stop, Stopped};
use crate::objects::create_same;
use crate::parallel;
use crate::repository::RepositoryError;
use crate::store::{Name, Store, StoreError, StoreErrorKind};

/// Objects in memory at once.
const AT_ONCE: usize = 4;
/// How often packs are listed again because something moved meanwhile.
const ROUNDS_MAX: usize = 5;

/// Nothing more was mirrored; what was stays.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// A store does not answer, or the run was asked to stop.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The target has another past than the source.
    #[error("{target} is no mirror of {source_place}: {why}")]
    OtherHistory {
        /// The target.
        target: String,
        /// The source.
        source_place: String,
        /// What shows it.
        why: String,
    },
}

impl From<Stopped> for MirrorError {
    fn from(stopped: Stopped) -> Self {
        Self::Repository(stopped.into())
    }
}

impl From<StoreError> for MirrorError {
    fn from(error: StoreError) -> Self {
        Self::Repository(error.into())
    }
}

/// What an owner's records say is gone for good, so that it may go from the mirror too.
pub struct Deleted<'a> {
    /// Packs that verdicts delete.
    pub packs: HashSet<PackId>,
    /// Is this object a snapshot with a good tombstone?
    pub is_forgotten: &'a dyn Fn(SnapshotId, ObjectHash) -> bool,
}

/// How to mirror.
#[derive(Default)]
pub struct MirrorOptions<'a> {
    /// Say what would be copied, change nothing.
    pub dry_run: bool,
    /// Delete from the target what is gone from the source by these records, and index files and keyslots that are gone there.
    pub delete: Option<Deleted<'a>>,
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct MirrorSummary {
    /// Objects copied; in a dry run, that would be.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that were there already.
    pub there: u64,
    /// Objects of a wrong size that were replaced.
    pub mended: u64,
    /// Objects deleted from the target; in a dry run, that would be.
    pub deleted: u64,
    /// Objects that were listed and gone when they were read: a prune runs.
    pub vanished: u64,
    /// Objects of the source whose bytes are not those of their names, not copied.
    pub damaged: Vec<String>,
    /// Packs, parity objects and index files that only the target has.
    pub only_there: u64,
    /// Keyslots that only the target has: old passwords still open it.
    pub keys_only_there: u64,
}

/// Copies what `to` has not of `from`.
pub fn run(
    from: &dyn Store,
    to: &dyn Store,
    options: &MirrorOptions<'_>,
    monitor: &dyn Monitor,
    stop: &Stop,
) -> Result<MirrorSummary, MirrorError> {
    monitor.begin(Phase::Sync, 0, 0);
    if !options.dry_run {
        to.create_place()?;
    }
    compare::same_history(from, to)?;
    let run = Run { from, to, dry_run: options.dry_run, monitor, stop, summary: Mutex::default(), vanished: AtomicU64::new(0) };
    // First of all, and copied last: what they need was there before this moment.
    let snapshots = list(from, names::SNAPSHOTS)?;
    run.folder(names::KEYS)?;
    run.folder(names::CONFIG)?;
    let gc = run.packs()?;
    run.folder(names::NOTES)?;
    run.folder(names::FORGOTTEN)?;
    run.copy_absent(gc, names::GC)?;
    run.folder(names::REVOKED)?;
    run.copy_absent(snapshots, names::SNAPSHOTS)?;
    run.left_over(options.delete.as_ref())?;
    let mut summary = run.summary.into_inner().unpoisoned();
    summary.vanished = run.vanished.into_inner();
    summary.damaged.sort_unstable();
    Ok(summary)
}

struct Run<'a> {
    from: &'a dyn Store,
    to: &'a dyn Store,
    dry_run: bool,
    monitor: &'a dyn Monitor,
    stop: &'a Stop,
    summary: Mutex<MirrorSummary>,
    vanished: AtomicU64,
}

impl Run<'_> {
    /// Packs with their parity and index files, until nothing moved while they were copied. The gc records that go with them.
    fn packs(&self) -> Result<Listing, MirrorError> {
        for _ in 0..ROUNDS_MAX {
            let gc = list(self.from, names::GC)?;
            // Index files tell of durable packs only: listed before, they tell of none that is not listed after.
            let index = list(self.from, names::INDEX)?;
            let vanished = self.vanished.load(Ordering::SeqCst);
            self.folder(names::PACKS)?;
            let packs_vanished = self.vanished.load(Ordering::SeqCst) != vanished;
            self.folder(names::PARITY)?;
            let vanished = self.vanished.load(Ordering::SeqCst);
            self.copy_absent(index, names::INDEX)?;
            let index_vanished = self.vanished.load(Ordering::SeqCst) != vanished;
            if !packs_vanished && !index_vanished && list(self.from, names::GC)? == gc {
                return Ok(gc);
            }
        }
        Err(RepositoryError::Inconclusive(
            "packs were moved and deleted all the while they were copied; run again when no prune runs".to_owned(),
        )
        .into())
    }

    fn folder(&self, folder: &'static str) -> Result<(), MirrorError> {
        self.copy_absent(list(self.from, folder)?, folder)
    }

    /// Copies what of a listing of the source the target has not.
    fn copy_absent(&self, listed: Listing, folder: &'static str) -> Result<(), MirrorError> {
        let there = list_target(self.to, folder)?;
        let mut work: Vec<(Name, u64, bool)> = Vec::new();
        for (name, size) in listed {
            match there.get(&name) {
                Some(found) if *found == size => self.note(|summary| summary.there += 1),
                Some(_) => work.push((name, size, true)),
                None => work.push((name, size, false)),
            }
        }
        drop(there);
        self.monitor.begin(Phase::Copy, work.len() as u64, work.iter().map(|(_, size, _)| size).sum());
        if self.dry_run {
            self.note(|summary| {
                summary.objects += work.iter().filter(|(.., replace)| !replace).count() as u64;
                summary.mended += work.iter().filter(|(.., replace)| *replace).count() as u64;
                summary.bytes += work.iter().map(|(_, size, _)| size).sum::<u64>();
            });
            return Ok(());
        }
        // gc records in the order of their numbers: one by one, so that a mirror never has a gap.
        let threads = if folder == names::GC { 1 } else { AT_ONCE };
        parallel::for_each(threads, work.iter(), |(name, size, replace)| -> Result<(), RepositoryError> {
            self.stop.check()?;
            self.object(name, *replace)?;
            self.monitor.advance(1, *size);
            Ok(())
        })?;
        Ok(())
    }

    fn object(&self, name: &Name, replace: bool) -> Result<(), RepositoryError> {
        let Some(object) = ObjectName::parse(name) else { return Ok(()) };
        self.monitor.current(name.as_str().as_bytes());
        let bytes = match self.from.get(name, size_max(&object)) {
            Ok(bytes) => bytes,
            // Deleted since it was listed: by a prune, or because an index file was merged into another.
            Err(StoreError { kind: StoreErrorKind::Missing, .. }) => {
                self.vanished.fetch_add(1, Ordering::SeqCst);
                return Ok(());
            }
            Err(StoreError { kind: StoreErrorKind::Size { size }, .. }) => {
                return self.damaged(name, &format!("has {size} bytes, more than any may have"));
            }
            Err(error) => return Err(error.into()),
        };
        if hash_in(&object).is_some_and(|hash| hash != *blake3::hash(&bytes).as_bytes()) {
            return self.damaged(name, "does not hash to its name");
        }
        match replace {
            // Its bytes are proved by its name; those that stand there cannot be.
            true if hash_in(&object).is_some() => {
                self.to.replace(name, &[&bytes])?;
                self.note(|summary| summary.mended += 1);
            }
            true => {
                return Err(RepositoryError::Inconclusive(format!("{name} changed its size while it was compared; run again")));
            }
            false => {
                create_same(self.to, name, &[&bytes])?;
                self.note(|summary| summary.objects += 1);
            }
        }
        self.note(|summary| summary.bytes += bytes.len() as u64);
        self.monitor.uploaded(bytes.len() as u64);
        Ok(())
    }

    fn damaged(&self, name: &Name, why: &str) -> Result<(), RepositoryError> {
        self.monitor.problem(Problem { subject: name.as_str().as_bytes().to_vec(), detail: format!("not copied: it {why}") });
        self.note(|summary| summary.damaged.push(name.to_string()));
        Ok(())
    }

    /// What only the target has: counted, and deleted where records allow it. Snapshots go first: nothing needs what goes after them.
    fn left_over(&self, delete: Option<&Deleted<'_>>) -> Result<(), MirrorError> {
        self.monitor.begin(Phase::Delete, 0, 0);
        for folder in [names::SNAPSHOTS, names::INDEX, names::PACKS, names::PARITY, names::KEYS] {
            let there = list_target(self.to, folder)?;
            let here = list(self.from, folder)?;
            for name in there.into_keys().filter(|name| !here.contains_key(name)) {
                self.stop.check()?;
                let Some(object) = ObjectName::parse(&name) else { continue };
                let may_go = match delete {
                    None => false,
                    // A folder that is empty at once was not emptied by an owner.
                    Some(_) if here.is_empty() && !matches!(object, ObjectName::Parity(..)) => false,
                    Some(delete) => self.may_go(delete, &object, &name)?,
                };
                if may_go {
                    if !self.dry_run {
                        self.to.delete(&name)?;
                    }
                    self.note(|summary| summary.deleted += 1);
                } else if folder == names::KEYS {
                    self.note(|summary| summary.keys_only_there += 1);
                } else {
                    self.note(|summary| summary.only_there += 1);
                }
            }
        }
        Ok(())
    }

    fn may_go(&self, delete: &Deleted<'_>, object: &ObjectName, name: &Name) -> Result<bool, MirrorError> {
        Ok(match object {
            ObjectName::Pack(pack) | ObjectName::Parity(pack, _) => delete.packs.contains(pack),
            ObjectName::Snapshot(id) => {
                let sealed = self.to.get(name, limits::SNAPSHOT_SIZE_MAX)?;
                (delete.is_forgotten)(*id, names::hash_of(&[&sealed]))
            }
            // Facts only, told again by others; and passwords that were taken back.
            ObjectName::Index(_) | ObjectName::Keyslot(_) => true,
            _ => false,
        })
    }

    fn note(&self, note: impl FnOnce(&mut MirrorSummary)) {
        note(&mut self.summary.lock().unpoisoned());
    }
}

/// A target that is not there yet is empty.
fn list_target(to: &dyn Store, folder: &str) -> Result<Listing, StoreError> {
    match list(to, folder) {
        Err(StoreError { kind: StoreErrorKind::NoStore { .. }, .. }) => Ok(Listing::new()),
        other => other,
    }
}

/// What the bytes of an object must hash to.
fn hash_in(object: &ObjectName) -> Option<[u8; 32]> {
    match object {
        ObjectName::Pack(id) => Some(id.0),
        ObjectName::Index(id) => Some(id.0),
        ObjectName::Keyslot(hash)
        | ObjectName::Note(hash)
        | ObjectName::Forgotten(_, hash)
        | ObjectName::Parity(_, hash)
        | ObjectName::ConfigByHash(_, hash)
        | ObjectName::GcCondemnByHash(_, hash)
        | ObjectName::GcVerdictByHash(_, hash) => Some(hash.0),
        ObjectName::Config(_)
        | ObjectName::SessionRecord(..)
        | ObjectName::SessionClosed(_)
        | ObjectName::Snapshot(_)
        | ObjectName::GcCondemn(_)
        | ObjectName::GcVerdict(_)
        | ObjectName::Revoked(_) => None,
    }
}

fn size_max(object: &ObjectName) -> u64 {
    match object {
        ObjectName::Config(_) | ObjectName::ConfigByHash(..) => limits::CONFIG_SIZE_MAX,
        ObjectName::Keyslot(_) => limits::KEYSLOT_SIZE as u64,
        ObjectName::Pack(_) => limits::PACK_SIZE_MAX,
        ObjectName::Index(_) => limits::INDEX_SIZE_MAX,
        ObjectName::SessionRecord(..) | ObjectName::SessionClosed(_) => limits::SESSION_SIZE_MAX,
        ObjectName::Snapshot(_) => limits::SNAPSHOT_SIZE_MAX,
        ObjectName::Forgotten(..) => limits::FORGOTTEN_SIZE_MAX,
        ObjectName::GcCondemn(_) | ObjectName::GcVerdict(_) | ObjectName::GcCondemnByHash(..) | ObjectName::GcVerdictByHash(..) => {
            limits::GC_SIZE_MAX
        }
        ObjectName::Note(_) => limits::NOTE_SIZE_MAX,
        ObjectName::Parity(..) => limits::PARITY_SIZE_MAX,
        ObjectName::Revoked(_) => limits::REVOCATION_SIZE_MAX,
    }
}
