//! Undo of forget: a new snapshot with the same root, as long as every chunk of it is usable.
//!
//! It is a writer like any other, with a session: what it relies on is pinned and acknowledged, so a prune that runs meanwhile either
//! sees that or has deleted it before, and then nothing is committed.

use std::sync::Arc;

use crate::crypto::ChunkType;
use crate::format::content::{self, Leaves};
use crate::format::note::{Entry, Keep, Value};
use crate::format::tree::{Content, Item, Node, NodeKind, XattrValue};
use crate::format::{FormatError, folder, limits};
use crate::id::{ChunkId, SnapshotId};
use crate::monitor::{Monitor, Stop, Stopped};
use crate::repository::survey::Survey;
use crate::repository::writer::{Writer, WriterOptions};
use crate::repository::{Forgone, Reader, Repository, RepositoryError};

/// Chunks that are asked for together.
const BATCH: usize = 4096;

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
    let mut walk = Walk { reader: &reader, writer: &mut *writer, stop, monitor: &**monitor, batch: Vec::with_capacity(BATCH) };
    walk.folder(&old.snapshot.root, 0).and_then(|()| walk.ask()).map_err(|error| match error {
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
    writer: &'a mut Writer,
    stop: &'a Stop,
    monitor: &'a dyn Monitor,
    batch: Vec<(ChunkType, ChunkId)>,
}

impl Walk<'_> {
    fn folder(&mut self, root: &Content, depth: usize) -> Result<(), Refused> {
        if depth > limits::DEPTH_MAX {
            return Err(RepositoryError::Inconclusive(format!("folders are nested deeper than {}", limits::DEPTH_MAX)).into());
        }
        let (reader, mut read) = (self.reader, Vec::new());
        // One chunk of a folder at a time: what stands in it is looked at while it is in memory.
        folder::walk::<Refused>(
            root,
            &mut |kind, id| {
                read.push((kind, *id));
                Ok(reader.read_chunk(kind, id)?)
            },
            &mut |node: Node| self.node(&node, depth),
        )?;
        read.into_iter().try_for_each(|chunk| self.want(chunk))
    }

    fn node(&mut self, node: &Node, depth: usize) -> Result<(), Refused> {
        self.monitor.current(&node.name);
        for xattr in &node.xattrs {
            if let XattrValue::Content(content) = &xattr.value {
                self.data(content)?;
            }
        }
        match node.kind {
            NodeKind::Folder => self.folder(&node.content, depth + 1),
            _ => self.data(&node.content),
        }
    }

    fn data(&mut self, content: &Content) -> Result<(), Refused> {
        let (reader, mut lists) = (self.reader, Vec::new());
        content::walk::<Refused>(
            content,
            Leaves::Data,
            &mut |id| {
                lists.push((ChunkType::List, *id));
                Ok(reader.read_chunk(ChunkType::List, id)?)
            },
            &mut |item| match item {
                Item::Chunk { id, .. } => self.want((ChunkType::Data, *id)),
                Item::Hole { .. } => Ok(()),
            },
        )?;
        lists.into_iter().try_for_each(|chunk| self.want(chunk))
    }

    fn want(&mut self, chunk: (ChunkType, ChunkId)) -> Result<(), Refused> {
        self.batch.push(chunk);
        if self.batch.len() < BATCH { Ok(()) } else { self.ask() }
    }

    fn ask(&mut self) -> Result<(), Refused> {
        self.stop.check()?;
        self.batch.sort_unstable();
        self.batch.dedup();
        let known = self.writer.use_if_known(&self.batch)?;
        self.monitor.advance(self.batch.len() as u64, 0);
        self.batch.clear();
        if known { Ok(()) } else { Err(Refused::Freed("chunks of it are in no pack that may be relied on".to_owned())) }
    }
}
