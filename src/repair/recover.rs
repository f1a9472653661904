//! Folders that no snapshot reaches, and one snapshot that reaches them again.
//!
//! Every tree chunk in the packs is read once and the chunks it refers to are marked; a tree nobody marked was the root of a snapshot
//! that is gone, or the beginning of one that never came. Marks are one byte a chunk of a metadata pack.

use std::sync::Arc;

use crate::catalog::PackNumber;
use crate::clock::Timestamp;
use crate::crypto::ChunkType;
use crate::format::content::Leaves;
use crate::format::pack::Class;
use crate::format::reference::{self, Opened, Reference, Role};
use crate::format::snapshot::{Snapshot, SourceEntry, SourceStatus};
use crate::format::tree::{Content, Item, Node, NodeKind};
use crate::id::{ChunkId, SnapshotId};
use crate::monitor::{Monitor, Phase, Stop};
use crate::repair::RepairError;
use crate::repair::marks::Marks;
use crate::repair::tree::{Lost, Rebuild, store_folder};
use crate::repository::writer::{Writer, WriterOptions};
use crate::repository::{Location, Reader, Repository, RepositoryError};

/// The name of the source of a recovered snapshot, and of its folder.
const SOURCE: &str = "recovered";
/// Hex digits of a tree's id that its folder is called by.
const NAME_DIGITS: usize = 16;

/// How a recovered snapshot is taken.
#[derive(Clone, Debug, Default)]
pub struct RecoverOptions {
    /// The host it is recorded under.
    pub host: String,
    /// Who takes it.
    pub user: String,
    /// Program and version, for the record.
    pub program: String,
    /// Say what would be recovered, commit nothing.
    pub dry_run: bool,
}

/// A folder that no snapshot reaches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Root {
    /// The name it gets in the recovered snapshot.
    pub name: String,
    /// The newest time of modification in it.
    pub newest: Timestamp,
    /// Names of its first entries: of a snapshot's root these are its sources.
    pub entries: Vec<Vec<u8>>,
}

/// What was found and made.
#[derive(Clone, Debug, Default)]
pub struct RecoverSummary {
    /// Tree and list chunks looked at.
    pub trees: u64,
    /// Those that cannot be read.
    pub unreadable: u64,
    /// Folders no snapshot reaches.
    pub roots: Vec<Root>,
    /// Things in them that cannot be read and are left out.
    pub lost: u64,
    /// The snapshot that holds them now; none in a dry run, or when there are none.
    pub snapshot: Option<SnapshotId>,
}

/// Names of a root's entries that are told.
const ENTRIES_TOLD_MAX: usize = 20;

/// Looks for folders no snapshot reaches and commits one that does.
pub fn run(
    repository: &Arc<Repository>,
    options: &RecoverOptions,
    monitor: &Arc<dyn Monitor>,
    stop: &Stop,
) -> Result<RecoverSummary, RepairError> {
    repository.need_owner("recovering")?;
    // The session stands before anything is listed: nothing found here is swept meanwhile without its being asked.
    let mut writer = Writer::begin_after_loss(repository, WriterOptions { dry_run: options.dry_run }, monitor, stop)?;
    match recover(repository, options, &mut writer, monitor, stop) {
        Ok((summary, None)) => {
            writer.abandon();
            Ok(summary)
        }
        Ok((mut summary, Some(snapshot))) => {
            summary.snapshot = Some(writer.commit(&snapshot)?.id);
            Ok(summary)
        }
        Err(error) => {
            writer.abandon();
            Err(error)
        }
    }
}

fn recover(
    repository: &Arc<Repository>,
    options: &RecoverOptions,
    writer: &mut Writer,
    monitor: &Arc<dyn Monitor>,
    stop: &Stop,
) -> Result<(RecoverSummary, Option<Snapshot>), RepairError> {
    let start = repository.clock().now();
    let reader = Reader::new(repository, &**monitor)?;
    let mut search = Search { reader: &reader, marks: Marks::default(), summary: RecoverSummary::default(), stop };
    monitor.begin(Phase::Plan, 0, 0);
    search.mark_snapshots(repository)?;
    search.mark_trees(&**monitor)?;
    let roots = search.roots()?;
    let mut summary = search.summary;
    if roots.is_empty() || options.dry_run {
        summary.roots = roots.into_iter().map(|(root, _)| root).collect();
        return Ok((summary, None));
    }
    let mut lost = 0;
    let mut count = |_: Lost| lost += 1;
    let mut rebuild = Rebuild::new(&reader, writer, &**monitor, stop, &mut count);
    let mut nodes = Vec::new();
    for (root, content) in &roots {
        if let Some(content) = rebuild.folder(content, &mut Vec::new(), 1)? {
            nodes.push(folder_node(&root.name, root.newest, content));
        }
    }
    let mut totals = rebuild.totals;
    totals.entries += nodes.len() as u64 + 1;
    let newest = roots.iter().map(|(root, _)| root.newest).max().unwrap_or(start);
    let below = store_folder(writer, &nodes)?;
    let root = store_folder(writer, &[folder_node(SOURCE, newest, below)])?;
    summary.lost = lost;
    summary.roots = roots.into_iter().map(|(root, _)| root).collect();
    let Some(id) = writer.snapshot_id() else { return Ok((summary, None)) };
    let source = SourceEntry {
        name: SOURCE.to_owned(),
        kind: "recover".to_owned(),
        path: SOURCE.as_bytes().to_vec(),
        start,
        end: repository.clock().now(),
        status: SourceStatus::EndedWithoutStatus,
        streams: Vec::new(),
        facts: Vec::new(),
        extra: Vec::new(),
    };
    let snapshot = Snapshot {
        id,
        time: start,
        host: options.host.clone(),
        user: options.user.clone(),
        program: options.program.clone(),
        tags: vec![SOURCE.to_owned()],
        root,
        // The one this host remembers may be among those that are gone.
        previous: None,
        totals,
        incomplete: vec![format!("recovered from {} folders that no snapshot reached", summary.roots.len())],
        sources: vec![source],
        extra: Vec::new(),
    };
    Ok((summary, Some(snapshot)))
}

struct Search<'a> {
    reader: &'a Reader,
    marks: Marks,
    summary: RecoverSummary,
    stop: &'a Stop,
}

impl Search<'_> {
    /// What committed snapshots refer to, forgotten ones among them: those come back by `undelete`.
    fn mark_snapshots(&mut self, repository: &Repository) -> Result<(), RepositoryError> {
        for id in repository.snapshot_names()? {
            match repository.snapshot(&id) {
                Ok(Some(stored)) => self.mark(&metadata(reference::of_content(&stored.snapshot.root, Leaves::Tree)))?,
                Ok(None) => {}
                // It reaches nothing any more.
                Err(error) if repository.is_damage(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn mark_trees(&mut self, monitor: &dyn Monitor) -> Result<(), RepositoryError> {
        for number in self.metadata_packs()? {
            self.stop.check()?;
            for (kind, id, _) in self.own_chunks(number)? {
                self.summary.trees += 1;
                let Some(bytes) = self.read(kind, &id)? else {
                    self.summary.unreadable += 1;
                    continue;
                };
                monitor.advance(1, bytes.len() as u64);
                // A chunk that breaks a rule refers to nothing.
                if let Ok(opened) = Opened::decode(kind, &bytes) {
                    self.mark(&metadata(opened.references()))?;
                }
            }
        }
        Ok(())
    }

    /// Trees that nothing refers to, as contents of folders; those that are lists of trees too.
    fn roots(&mut self) -> Result<Vec<(Root, Content)>, RepositoryError> {
        let mut roots = Vec::new();
        for number in self.metadata_packs()? {
            self.stop.check()?;
            for (kind, id, at) in self.own_chunks(number)? {
                if self.marks.is_set(&at) {
                    continue;
                }
                let Some(bytes) = self.read(kind, &id)? else { continue };
                let Ok(truth) = Opened::decode(kind, &bytes).and_then(|opened| opened.truth(id)) else { continue };
                let level = match truth.role {
                    Role::Tree => 0,
                    Role::List { level, leaves: Leaves::Tree } => level + 1,
                    _ => continue,
                };
                let content = Content { level, items: vec![Item::Chunk { id, length: truth.length }] };
                roots.push((self.describe(&id, &content), content));
            }
        }
        roots.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        // Two ids that begin alike in 64 bits: one of them waits for the next run.
        roots.dedup_by(|(a, _), (b, _)| a.name == b.name);
        Ok(roots)
    }

    fn describe(&self, id: &ChunkId, content: &Content) -> Root {
        let mut root =
            Root { name: id.to_hex().chars().take(NAME_DIGITS).collect(), newest: Timestamp::default(), entries: Vec::new() };
        // What cannot be read is not told of.
        let _ = self.reader.for_each_node::<RepositoryError>(content, &mut |node| {
            root.newest = root.newest.max(node.mtime);
            if root.entries.len() < ENTRIES_TOLD_MAX {
                root.entries.push(node.name);
            }
            Ok(())
        });
        root
    }

    /// Packs of trees, in the generation that snapshots of this run will be in.
    fn metadata_packs(&self) -> Result<Vec<PackNumber>, RepositoryError> {
        let mut packs: Vec<PackNumber> = self.reader.view().iter().map(|(number, _)| number).collect();
        packs.sort_unstable();
        let generation = self.reader.repository().generation();
        let mut found = Vec::new();
        for number in packs {
            let facts = self.reader.facts(number)?;
            if facts.class == Class::Metadata && facts.generation() == generation {
                found.push(number);
            }
        }
        Ok(found)
    }

    /// Trees and lists whose place of reading is in this pack: of several copies each is looked at once.
    fn own_chunks(&self, number: PackNumber) -> Result<Vec<(ChunkType, ChunkId, Location)>, RepositoryError> {
        let facts = self.reader.facts(number)?;
        let rows = facts.directory.chunks.iter().filter(|row| row.chunk_type != ChunkType::Data);
        let wanted: Vec<(ChunkType, ChunkId)> = rows.map(|row| (row.chunk_type, row.id)).collect();
        let located = self.reader.locate(&wanted)?;
        let own = wanted.into_iter().zip(located).filter_map(|((kind, id), at)| Some((kind, id, at?)));
        let mut own: Vec<_> = own.filter(|(_, _, at)| at.pack == number).collect();
        own.sort_unstable_by_key(|(_, _, at)| *at);
        own.dedup_by_key(|(_, _, at)| *at);
        Ok(own)
    }

    fn mark(&mut self, chunks: &[(ChunkType, ChunkId)]) -> Result<(), RepositoryError> {
        for at in self.reader.locate(chunks)?.into_iter().flatten() {
            self.marks.set(&at);
        }
        Ok(())
    }

    fn read(&self, kind: ChunkType, id: &ChunkId) -> Result<Option<Vec<u8>>, RepositoryError> {
        match self.reader.read_chunk(kind, id) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(RepositoryError::ChunkMissing(_)) => Ok(None),
            Err(error) if self.reader.repository().is_damage(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The trees and lists among these.
fn metadata(references: impl IntoIterator<Item = Reference>) -> Vec<(ChunkType, ChunkId)> {
    let all = references.into_iter().map(|reference| (reference.chunk_type(), reference.id));
    all.filter(|(kind, _)| *kind != ChunkType::Data).collect()
}

fn folder_node(name: &str, time: Timestamp, content: Content) -> Node {
    Node {
        name: name.as_bytes().to_vec(),
        kind: NodeKind::Folder,
        mode: 0o700,
        uid: 0,
        gid: 0,
        user: None,
        group: None,
        mtime: time,
        ctime: time,
        size: 0,
        content,
        link_target: Vec::new(),
        device: 0,
        xattrs: Vec::new(),
        hard_link: None,
        extra: Vec::new(),
    }
}
