//! Undo of forget: a new snapshot with the same root, as long as every chunk of it is usable.
//!
//! It is a writer like any other, with a session: what it relies on is pinned and acknowledged, so a prune that runs meanwhile either
//! sees that or has deleted it before, and then nothing is committed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::catalog::PackNumber;
use crate::crypto::ChunkType;
use crate::format::note::{Entry, Keep, Value};
use crate::format::reference::Reference;
use crate::format::tree::Content;
use crate::format::{FormatError, limits};
use crate::id::{ChunkId, SnapshotId};
use crate::locks::Unpoisoned;
use crate::monitor::{Monitor, Quiet, Stop, Stopped};
use crate::parallel;
use crate::repository::survey::Survey;
use crate::repository::walk::set::{self, Options, Read, Visitor};
use crate::repository::walk::{Met, Visited};
use crate::repository::writer::{Writer, WriterOptions};
use crate::repository::{Forgone, Reader, Repository, RepositoryError};

/// Chunks that are asked for together.
const BATCH: usize = 4096;
/// Tree and list chunks that are looked up and read at a time.
const BATCH_TREES: usize = 128;

/// Nothing was brought back.
#[derive(Debug, thiserror::Error)]
pub enum UndeleteError {
    /// The store, the keys, or a request to stop.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// Part of it is gone, or about to go.
    #[error("snapshot {} cannot be brought back: a part of it is freed already, or about to be ({detail})", id.short())]
    Freed {
        /// Which.
        id: SnapshotId,
        /// What was met first.
        detail: String,
    },
    /// It was brought back before.
    #[error("snapshot {} is there already: {} has the same content, host and time", id.short(), other.short())]
    AlreadyThere {
        /// Which.
        id: SnapshotId,
        /// The one that is there.
        other: SnapshotId,
    },
    /// Ids of another generation cannot be told apart under the keys of this one.
    #[error("snapshot {} is of generation {found}, and new snapshots are of generation {current}", id.short())]
    OtherGeneration {
        /// Which.
        id: SnapshotId,
        /// Its generation.
        found: u32,
        /// That of new snapshots.
        current: u32,
    },
}

impl From<Stopped> for UndeleteError {
    fn from(stopped: Stopped) -> Self {
        Self::Repository(stopped.into())
    }
}

/// Brings one back under a new id, with its tags, comment and keep note; `None` for a dry run, which only looks whether it could be.
pub fn run(
    repository: &Arc<Repository>,
    survey: &Survey,
    forgone: &Forgone,
    dry_run: bool,
    monitor: &Arc<dyn Monitor>,
    stop: &Stop,
) -> Result<Option<SnapshotId>, UndeleteError> {
    let old = &forgone.stored;
    let (id, current) = (old.id, repository.generation());
    if old.generation != current {
        return Err(UndeleteError::OtherGeneration { id, found: old.generation, current });
    }
    let same = |other: &&crate::repository::survey::Surveyed| {
        let (a, b) = (&other.stored.snapshot, &old.snapshot);
        a.root == b.root && a.host == b.host && a.time == b.time && a.sources == b.sources
    };
    if let Some(other) = survey.snapshots.iter().find(same) {
        return Err(UndeleteError::AlreadyThere { id, other: other.stored.id });
    }
    let mut writer = Writer::begin(repository, WriterOptions { dry_run }, monitor, stop)?;
    match prepare(repository, &mut writer, survey, forgone, monitor, stop) {
        Ok(Some(snapshot)) => Ok(Some(writer.commit(&snapshot)?.id)),
        Ok(None) => Ok(None),
        Err(error) => {
            writer.abandon();
            Err(error)
        }
    }
}

/// Everything but the commit.
fn prepare(
    repository: &Arc<Repository>,
    writer: &mut Writer,
    survey: &Survey,
    forgone: &Forgone,
    monitor: &Arc<dyn Monitor>,
    stop: &Stop,
) -> Result<Option<crate::format::snapshot::Snapshot>, UndeleteError> {
    let old = &forgone.stored;
    let reader = Reader::new(repository, &**monitor)?;
    let walk = Walk {
        reader: &reader,
        writer: Mutex::new(&mut *writer),
        stop,
        monitor: &**monitor,
        visited: Mutex::default(),
        batch: Mutex::default(),
        is_too_deep: AtomicBool::new(false),
    };
    walk.run(&old.snapshot.root).map_err(|error| match error {
        Refused::Freed(detail) => UndeleteError::Freed { id: old.id, detail },
        Refused::Repository(error @ (RepositoryError::ChunkMissing(_) | RepositoryError::ChunkDamaged { .. })) => {
            UndeleteError::Freed { id: old.id, detail: error.to_string() }
        }
        Refused::Repository(error) => error.into(),
    })?;
    let Some(id) = writer.snapshot_id() else { return Ok(None) };
    let notes = survey.notes.of(&old.id);
    // Before the commit: a note about a snapshot that never comes says nothing.
    repository.put_notes(inherited(repository, survey, old.id, id), Vec::new())?;
    let mut snapshot = old.snapshot.clone();
    snapshot.id = id;
    snapshot.tags = notes.tags(&snapshot.tags);
    snapshot.previous = repository.last_commit();
    Ok(Some(snapshot))
}

/// What was said of the old one, said of the new one. It counts from when the old one was first seen: the lowest number wins.
fn inherited(repository: &Repository, survey: &Survey, old: SnapshotId, new: SnapshotId) -> Vec<Entry> {
    let notes = survey.notes.of(&old);
    let now = repository.clock().now();
    let (first, seen) = notes.first_seen.unwrap_or((0, now));
    let mut entries = vec![Entry { snapshot: new, number: first, time: seen, value: Value::FirstSeen }];
    let mut say = |value| entries.push(Entry { snapshot: new, number: survey.notes.next_number(), time: now, value });
    notes.comment.map(Value::Comment).into_iter().for_each(&mut say);
    notes.keep.filter(|keep| *keep != Keep::Release).map(Value::Keep).into_iter().for_each(&mut say);
    entries
}

/// Why the walk ended.
enum Refused {
    Freed(String),
    Repository(RepositoryError),
}

impl From<Stopped> for Refused {
    fn from(stopped: Stopped) -> Self {
        RepositoryError::from(stopped).into()
    }
}

impl From<RepositoryError> for Refused {
    fn from(error: RepositoryError) -> Self {
        Self::Repository(error)
    }
}

impl From<FormatError> for Refused {
    fn from(error: FormatError) -> Self {
        Self::Repository(error.into())
    }
}

/// Asks the writer about every chunk below a root.
struct Walk<'a> {
    reader: &'a Reader,
    writer: Mutex<&'a mut Writer>,
    stop: &'a Stop,
    monitor: &'a dyn Monitor,
    visited: Mutex<Visited>,
    batch: Mutex<Vec<(ChunkType, ChunkId)>>,
    is_too_deep: AtomicBool,
}

/// Where a chunk is read. Chunks of one pack together: a frame is opened once.
type Place = (PackNumber, u32);

impl Visitor for Walk<'_> {
    type Error = Refused;
    type Place = Place;

    fn meet(&self, batch: &[Reference]) -> Result<Vec<Option<Place>>, Refused> {
        let wanted: Vec<(ChunkType, ChunkId)> = batch.iter().map(|wanted| (wanted.chunk_type(), wanted.id)).collect();
        let mut found = self.reader.locate(&wanted)?;
        if found.iter().any(Option::is_none) {
            // A prune may have moved it.
            self.reader.sync_again(&Quiet)?;
            found = self.reader.locate(&wanted)?;
        }
        let mut places = Vec::with_capacity(batch.len());
        for (wanted, found) in batch.iter().zip(found) {
            let at = found.ok_or(RepositoryError::ChunkMissing(wanted.id))?;
            let met = self.visited.lock().unpoisoned().meet(at.pack, at.row, wanted);
            places.push(match met {
                Met::Look => Some((at.pack, at.row)),
                Met::Known => None,
                Met::Wrong => return Err(FormatError::field("chunk", "claim", "is not what it is").into()),
            });
        }
        self.want(batch.iter().zip(&places).filter(|(_, place)| place.is_some()).map(|(wanted, _)| wanted))?;
        Ok(places)
    }

    fn are_together(a: &Place, b: &Place) -> bool {
        a.0 == b.0
    }

    fn read(&self, wanted: &Reference, _: &Place) -> Result<Read, Refused> {
        Ok(Read::Bytes(self.reader.read_chunk(wanted.chunk_type(), &wanted.id)?))
    }

    fn opened(&self, place: &Place, truth: &Reference, is_followed: bool) {
        self.visited.lock().unpoisoned().opened(place.0, place.1, truth, is_followed);
    }

    fn broken(&self, _: &Reference, _: &Place, error: FormatError) -> Result<(), Refused> {
        Err(error.into())
    }

    fn claimed_wrongly(&self, _: &Reference, error: FormatError) -> Result<bool, Refused> {
        Err(error.into())
    }

    fn too_deep(&self, _: &Reference) {
        self.is_too_deep.store(true, Ordering::Relaxed);
    }

    fn data(&self, _: &Reference, data: Vec<Reference>) -> Result<(), Refused> {
        self.want(data.iter())
    }
}

impl Walk<'_> {
    fn run(self, root: &Content) -> Result<(), Refused> {
        let options = Options { threads: parallel::cores(), batch: BATCH_TREES, monitor: &Quiet, stop: self.stop };
        set::walk(&self, std::slice::from_ref(root), &options)?;
        if self.is_too_deep.load(Ordering::Relaxed) {
            return Err(RepositoryError::Inconclusive(format!("folders are nested deeper than {}", limits::DEPTH_MAX)).into());
        }
        let rest = std::mem::take(&mut *self.batch.lock().unpoisoned());
        self.ask(rest)
    }

    fn want<'r>(&self, chunks: impl Iterator<Item = &'r Reference>) -> Result<(), Refused> {
        let full = {
            let mut batch = self.batch.lock().unpoisoned();
            batch.extend(chunks.map(|chunk| (chunk.chunk_type(), chunk.id)));
            if batch.len() < BATCH { Vec::new() } else { std::mem::take(&mut *batch) }
        };
        self.ask(full)
    }

    fn ask(&self, mut chunks: Vec<(ChunkType, ChunkId)>) -> Result<(), Refused> {
        self.stop.check()?;
        chunks.sort_unstable();
        chunks.dedup();
        for part in chunks.chunks(BATCH) {
            let known = self.writer.lock().unpoisoned().use_if_known(part)?;
            self.monitor.advance(part.len() as u64, 0);
            if !known {
                return Err(Refused::Freed("chunks of it are in no pack that may be relied on".to_owned()));
            }
        }
        Ok(())
    }
}
