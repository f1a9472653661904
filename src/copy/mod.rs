//! Copying snapshots from one repository into another, sealed and named anew: nothing of one tells anything about the other.
//!
//! Each snapshot is copied by a session of its own, oldest first. Its chunks keep the boundaries they have; a chunk that this
//! repository knows is used, any other is read from the other one and stored, so a copy that was cut off goes on where it ended, and
//! what is equal is stored once. For each snapshot, three passes:
//!
//! * [`wanted`]: its trees are walked, and a bit is set for every data chunk that is not known here;
//! * [`transfer`]: those chunks are read in the order in which packs hold them, each frame once, named and stored;
//! * [`rewrite`]: trees and lists are built again bottom up, since they name chunks; every reference passes the writer's test.
//!
//! What a chunk is called here is remembered in a cache ([`ids`]), so that the next snapshot reads only what is new in it.
//!
//! Leans on `repository` and `format`. Never knows which snapshots are chosen, or who asks. Memory: two bits for each chunk of the other
//! repository, some frames, one batch of names.

mod ids;
mod rewrite;
mod streams;
mod transfer;
mod wanted;

use std::collections::HashMap;
use std::sync::Arc;

use crate::copy::ids::Ids;
use crate::copy::wanted::Wanted;
use crate::crypto::ChunkType;
use crate::format::content::{self, Leaves};
use crate::format::folder;
use crate::format::note::{Entry, Keep, Value};
use crate::format::snapshot::Snapshot;
use crate::format::tree::{Content, Item, Node};
use crate::id::{ChunkId, ObjectHash, RepositoryId, SnapshotId};
use crate::monitor::{Monitor, Phase, Problem, Stop, Stopped};
use crate::records::notes::SnapshotNotes;
use crate::repository::writer::{Writer, WriterOptions, WriterTotals};
use crate::repository::{Reader, Repository, RepositoryError, StoredSnapshot};

/// Nothing more was copied; what was copied until then stays.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A store does not answer, the run was asked to stop, or a key is not good enough.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// Both are one.
    #[error("both places hold repository {0}: there is nothing to seal anew")]
    SameRepository(String),
}

impl From<Stopped> for CopyError {
    fn from(stopped: Stopped) -> Self {
        Self::Repository(stopped.into())
    }
}

/// A snapshot of the other repository, and what is known of it there.
#[derive(Clone, Debug)]
pub struct Original {
    /// As it stands there.
    pub stored: StoredSnapshot,
    /// What its owner said of it: tags, comment and pin go with the copy.
    pub notes: SnapshotNotes,
    /// Its owner believes its time. Then an owner here does too, however late the copy comes.
    pub is_believed: bool,
}

/// What became of one of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is here now, as this one.
    Copied(SnapshotId),
    /// It was here before, as this one.
    There(SnapshotId),
    /// A dry run: it would be copied.
    Wanted,
    /// It cannot be read whole, so it was not copied.
    Failed(String),
}

/// A snapshot and what became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Copied {
    /// In the other repository.
    pub original: SnapshotId,
    /// What became of it.
    pub outcome: Outcome,
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct CopySummary {
    /// Every snapshot that was asked for, oldest first.
    pub snapshots: Vec<Copied>,
    /// Data chunks read from the other repository; in a dry run, that would be.
    pub chunks_read: u64,
    /// Their bytes.
    pub bytes_read: u64,
    /// What was stored here.
    pub totals: WriterTotals,
    /// Both repositories cut alike: what is copied shares chunks with what is backed up here.
    pub cuts_alike: bool,
}

impl CopySummary {
    /// How many ended like this.
    pub fn count(&self, is: impl Fn(&Outcome) -> bool) -> u64 {
        self.snapshots.iter().filter(|copied| is(&copied.outcome)).count() as u64
    }
}

/// How to copy.
#[derive(Clone, Copy, Debug, Default)]
pub struct CopyOptions {
    /// Look at everything, store nothing.
    pub dry_run: bool,
    /// Copy again what is here already: trees and lists that were lost here are stored again that way.
    pub again: bool,
}

/// Copies snapshots of `from` into `to`; `each` hears of every one when it is done. Needs an owner's key of `from`. With a writer key of
/// `to` only this host's cache knows what was copied before.
pub fn run(
    from: &Arc<Repository>,
    to: &Arc<Repository>,
    originals: &[Original],
    options: CopyOptions,
    monitor: &Arc<dyn Monitor>,
    stop: &Stop,
    each: &mut dyn FnMut(&Copied),
) -> Result<CopySummary, CopyError> {
    if from.id() == to.id() {
        return Err(CopyError::SameRepository(to.id().short()));
    }
    from.need_owner("copying snapshots out of a repository")?;
    to.need_write_features()?;
    monitor.begin(Phase::Sync, 0, 0);
    let ids = Ids::open(from, to)?;
    let there = There::read(to)?;
    let note_number = match to.is_owner() {
        true => to.notes()?.next_number(),
        false => 0,
    };
    let reader = Reader::new(from, &**monitor)?;
    let mut originals: Vec<&Original> = originals.iter().collect();
    originals.sort_by_key(|original| (original.stored.snapshot.time, original.stored.id));
    let summary = CopySummary { cuts_alike: to.cuts_as(from), ..CopySummary::default() };
    let mut run = Run { from, to, reader, ids, there, again: options.again, note_number, monitor, stop, summary };
    match options.dry_run {
        true => run.only_count(&originals, each)?,
        false => run.copy(&originals, each)?,
    }
    Ok(run.summary)
}

struct Run<'a> {
    from: &'a Arc<Repository>,
    to: &'a Arc<Repository>,
    reader: Reader,
    ids: Ids,
    there: There,
    again: bool,
    note_number: u64,
    monitor: &'a Arc<dyn Monitor>,
    stop: &'a Stop,
    summary: CopySummary,
}

impl Run<'_> {
    fn copy(&mut self, originals: &[&Original], each: &mut dyn FnMut(&Copied)) -> Result<(), RepositoryError> {
        for original in originals {
            let outcome = match self.found(original)? {
                Some(before) => Outcome::There(before),
                None => {
                    let writer = Writer::begin(self.to, WriterOptions::default(), self.monitor, self.stop)?;
                    match self.copy_one(writer, original) {
                        Ok(id) => Outcome::Copied(id),
                        Err(error) if hits_one_snapshot(&error) => {
                            self.monitor.problem(Problem {
                                subject: format!("snapshot {}", original.stored.id.short()).into_bytes(),
                                detail: format!("not copied: {error}"),
                            });
                            Outcome::Failed(error.to_string())
                        }
                        Err(error) => return Err(error),
                    }
                }
            };
            self.conclude(original, outcome, each);
        }
        Ok(())
    }

    /// One session that stores nothing looks at all of them, so that what they share is counted once.
    fn only_count(&mut self, originals: &[&Original], each: &mut dyn FnMut(&Copied)) -> Result<(), RepositoryError> {
        let mut writer = Writer::begin(self.to, WriterOptions { dry_run: true }, self.monitor, self.stop)?;
        let mut wanted = Wanted::default();
        for original in originals {
            let outcome = match self.found(original)? {
                Some(before) => Outcome::There(before),
                None => {
                    self.monitor.begin(Phase::Plan, 0, 0);
                    let looked = self.work(&mut writer).want(&mut wanted, &original.stored.snapshot.root);
                    match looked {
                        Ok(()) => Outcome::Wanted,
                        Err(error) if hits_one_snapshot(&error) => Outcome::Failed(error.to_string()),
                        Err(error) => return Err(error),
                    }
                }
            };
            self.conclude(original, outcome, each);
        }
        self.summary.chunks_read = wanted.chunks;
        self.summary.bytes_read = wanted.bytes;
        Ok(())
    }

    fn conclude(&mut self, original: &Original, outcome: Outcome, each: &mut dyn FnMut(&Copied)) {
        let copied = Copied { original: original.stored.id, outcome };
        each(&copied);
        self.summary.snapshots.push(copied);
    }

    /// The copy that is here already.
    fn found(&self, original: &Original) -> Result<Option<SnapshotId>, RepositoryError> {
        if self.again {
            return Ok(None);
        }
        let (repository, id) = first(self.from, original);
        if let Some((found, _)) = self.there.0.get(&(repository, id)) {
            return Ok(Some(*found));
        }
        // It was taken here, and the other one is the copy.
        if repository == self.to.id() && self.there.0.contains_key(&(self.to.id(), id)) {
            return Ok(Some(id));
        }
        match self.to.is_owner() {
            true => Ok(None),
            false => self.ids.snapshot_still_there(self.to, repository, id),
        }
    }

    fn copy_one(&mut self, mut writer: Writer, original: &Original) -> Result<SnapshotId, RepositoryError> {
        self.monitor.note(&format!("copying snapshot {}", original.stored.id.short()));
        let prepared = self.prepare(&mut writer, original);
        // What was stored counts, whatever becomes of the snapshot: the next run finds it.
        let committed = match prepared {
            Ok(snapshot) => {
                let _ = self.ids.flush();
                writer.commit(&snapshot)
            }
            Err(error) => {
                let _ = self.ids.flush();
                self.add_totals(writer.totals());
                writer.abandon();
                return Err(error);
            }
        }?;
        self.add_totals(committed.totals);
        let (repository, id) = first(self.from, original);
        self.ids.put_snapshot(repository, id, committed.id);
        self.ids.flush()?;
        let hash = self.to.last_commit().filter(|(last, _)| *last == committed.id).map(|(_, hash)| hash);
        self.there.0.insert((repository, id), (committed.id, hash));
        Ok(committed.id)
    }

    /// Everything but the commit.
    fn prepare(&mut self, writer: &mut Writer, original: &Original) -> Result<Snapshot, RepositoryError> {
        let old = &original.stored;
        let mut snapshot = old.snapshot.clone();
        let mut work = self.work(writer);
        // Streams first: their MACs need every byte in order, and so they are read but once.
        work.streams(old, &mut snapshot)?;
        let mut wanted = Wanted::default();
        work.monitor.begin(Phase::Plan, 0, 0);
        work.want(&mut wanted, &old.snapshot.root)?;
        work.transfer(&wanted)?;
        work.monitor.begin(Phase::Copy, old.snapshot.totals.entries, 0);
        snapshot.root = work.rewrite(&old.snapshot.root)?;
        let (chunks, bytes) = (work.chunks_read, work.bytes_read);
        self.summary.chunks_read += chunks;
        self.summary.bytes_read += bytes;
        snapshot.id = writer.snapshot_id().ok_or(RepositoryError::Revoked)?;
        snapshot.tags = original.notes.tags(&snapshot.tags);
        snapshot.previous = self.previous(&old.snapshot);
        snapshot.set_original(Some(first(self.from, original)));
        if self.to.is_owner() {
            // Before the commit: a note about a snapshot that never comes says nothing.
            let entries = self.notes(original, snapshot.id);
            if !entries.is_empty() {
                self.to.put_notes(entries, Vec::new())?;
            }
        }
        Ok(snapshot)
    }

    /// The copy of the snapshot that came before, if there is one.
    fn previous(&self, old: &Snapshot) -> Option<(SnapshotId, ObjectHash)> {
        let (id, _) = old.previous?;
        let (copy, hash) = self.there.0.get(&(self.from.id(), id))?;
        Some((*copy, (*hash)?))
    }

    /// What an owner says of the copy. Number 0 is before all runs: none of them could have listed it here at the time it claims.
    fn notes(&self, original: &Original, new: SnapshotId) -> Vec<Entry> {
        let now = self.to.clock().now();
        let mut entries = Vec::new();
        if original.is_believed {
            entries.push(Entry { snapshot: new, number: 0, time: now, value: Value::FirstSeen });
        }
        let mut say = |value| entries.push(Entry { snapshot: new, number: self.note_number, time: now, value });
        original.notes.comment.clone().map(Value::Comment).into_iter().for_each(&mut say);
        original.notes.keep.filter(|keep| *keep != Keep::Release).map(Value::Keep).into_iter().for_each(&mut say);
        entries
    }

    fn work<'b>(&'b mut self, writer: &'b mut Writer) -> Work<'b> {
        Work {
            reader: &self.reader,
            to: self.to,
            writer,
            ids: &mut self.ids,
            monitor: &**self.monitor,
            stop: self.stop,
            chunks_read: 0,
            bytes_read: 0,
        }
    }

    fn add_totals(&mut self, more: WriterTotals) {
        let totals = &mut self.summary.totals;
        totals.data_chunks_new += more.data_chunks_new;
        totals.tree_chunks_new += more.tree_chunks_new;
        totals.bytes_added += more.bytes_added;
        totals.bytes_stored += more.bytes_stored;
    }
}

/// The passes over one snapshot.
struct Work<'a> {
    /// Of the other repository.
    reader: &'a Reader,
    to: &'a Repository,
    writer: &'a mut Writer,
    ids: &'a mut Ids,
    monitor: &'a dyn Monitor,
    stop: &'a Stop,
    chunks_read: u64,
    bytes_read: u64,
}

/// Copies that are here, by where their originals were taken; and what was taken here, by its own id.
struct There(HashMap<(RepositoryId, SnapshotId), (SnapshotId, Option<ObjectHash>)>);

impl There {
    /// A writer key opens no snapshots: then nothing is known here.
    fn read(to: &Repository) -> Result<Self, RepositoryError> {
        let mut there = HashMap::new();
        if to.is_owner() {
            for stored in to.snapshots()?.snapshots {
                let place = stored.snapshot.original().unwrap_or((to.id(), stored.id));
                there.insert(place, (stored.id, Some(stored.hash)));
            }
        }
        Ok(Self(there))
    }
}

/// Where a snapshot was taken: a copy of a copy names the first.
fn first(from: &Repository, original: &Original) -> (RepositoryId, SnapshotId) {
    original.stored.snapshot.original().unwrap_or((from.id(), original.stored.id))
}

/// Something of the other repository is lost: only the snapshots that need it are hit.
fn hits_one_snapshot(error: &RepositoryError) -> bool {
    use RepositoryError as E;
    matches!(
        error,
        E::ChunkMissing(_)
            | E::ChunkDamaged { .. }
            | E::TreeDamaged { .. }
            | E::PathNotFound { .. }
            | E::Object { .. }
            | E::Format(_)
    )
}

// -- reading the other repository --------------------------------------------------------------------

/// A chunk. What its disk cannot read is told apart from a store here that does not answer.
fn read_old(reader: &Reader, kind: ChunkType, id: &ChunkId) -> Result<Vec<u8>, RepositoryError> {
    reader.read_chunk(kind, id).map_err(|error| match error {
        RepositoryError::Store(_) if reader.repository().is_damage(&error) => {
            RepositoryError::ChunkDamaged { id: *id, detail: error.to_string() }
        }
        other => other,
    })
}

/// Every leaf item of a content.
fn items(
    reader: &Reader,
    content: &Content,
    leaves: Leaves,
    each: &mut impl FnMut(&Item) -> Result<(), RepositoryError>,
) -> Result<(), RepositoryError> {
    content::walk(content, leaves, &mut |id| read_old(reader, ChunkType::List, id), each)
}

/// Every entry of a folder.
fn nodes(
    reader: &Reader,
    content: &Content,
    each: &mut impl FnMut(Node) -> Result<(), RepositoryError>,
) -> Result<(), RepositoryError> {
    folder::walk(content, &mut |kind, id| read_old(reader, kind, id), each)
}
