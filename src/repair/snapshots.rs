//! Snapshots that lost something for good: beside each a new one without it. The original stays as it is.
//!
//! A chunk counts as lost when no copy of it can be relied on and none can be read. Copies in packs that nothing is known against are
//! relied on without reading them (unless asked to): what is known is what `repair packs` found.

use std::sync::Arc;

use crate::format::snapshot::{Snapshot, SourceEntry, SourceStatus, Totals};
use crate::format::tree::Content;
use crate::id::SnapshotId;
use crate::monitor::{Monitor, Phase, Stop};
use crate::path;
use crate::repair::RepairError;
use crate::repair::marks::Marks;
use crate::repair::tree::Rebuild;
use crate::repository::writer::{Writer, WriterOptions};
use crate::repository::{Reader, Repository, RepositoryError, StoredSnapshot};

pub use crate::repair::tree::Lost;

/// Lost paths that are written into the new snapshot one by one; the rest is counted.
const PATHS_MAX: usize = 200;

/// Which snapshots, and how closely.
#[derive(Clone, Debug, Default)]
pub struct SnapshotsOptions {
    /// These only; empty: all.
    pub snapshots: Vec<SnapshotId>,
    /// Read every chunk instead of relying on packs that nothing is known against.
    pub read_data: bool,
    /// Say what is lost, commit nothing.
    pub dry_run: bool,
}

/// A snapshot that lost something.
#[derive(Clone, Debug)]
pub struct RepairedSnapshot {
    /// The original.
    pub original: SnapshotId,
    /// The one beside it; none in a dry run, when nothing is left to keep, or when one was made before.
    pub new: Option<SnapshotId>,
    /// One made before.
    pub before: Option<SnapshotId>,
    /// The generation of the original, when new snapshots are of another: then none is made, for it would have to name chunks and streams
    /// of both. What is left can be restored.
    pub other_generation: Option<u32>,
    /// How many entries, folders and attributes are lost.
    pub lost: u64,
}

/// What was looked at and done.
#[derive(Clone, Debug, Default)]
pub struct SnapshotsSummary {
    /// Snapshots looked at.
    pub checked: u64,
    /// Those that lost something.
    pub damaged: Vec<RepairedSnapshot>,
    /// Snapshot objects that do not open: `recover` finds their folders.
    pub unreadable: Vec<(SnapshotId, String)>,
}

/// Looks through snapshots and commits what is left of those that lost something. `each` gets everything lost as it is found.
pub fn run(
    repository: &Arc<Repository>,
    options: &SnapshotsOptions,
    monitor: &Arc<dyn Monitor>,
    stop: &Stop,
    each: &mut dyn FnMut(SnapshotId, &Lost),
) -> Result<SnapshotsSummary, RepairError> {
    repository.need_owner("repairing")?;
    let list = repository.snapshots()?;
    if let Some(missing) = options.snapshots.iter().find(|id| !list.snapshots.iter().any(|stored| stored.id == **id)) {
        return Err(RepairError::NotFound(format!("snapshot {missing} is not in this repository, or cannot be opened")));
    }
    let mut summary = SnapshotsSummary {
        unreadable: list.damaged.into_iter().map(|(id, error)| (id, error.to_string())).collect(),
        ..SnapshotsSummary::default()
    };
    let is_wanted = |stored: &&StoredSnapshot| options.snapshots.is_empty() || options.snapshots.contains(&stored.id);
    let reader = Reader::new(repository, &**monitor)?;
    monitor.begin(Phase::VerifyStructure, 0, 0);
    let look = Look { reader: &reader, monitor, stop, read_data: options.read_data };
    // One session that stores nothing looks at all of them.
    let mut looking = Writer::begin(repository, WriterOptions { dry_run: true }, monitor, stop)?;
    let mut whole = Marks::default();
    for stored in list.snapshots.iter().filter(is_wanted) {
        stop.check()?;
        summary.checked += 1;
        let mut count = 0;
        look.rebuild(&mut looking, &stored.snapshot.root, Some(&mut whole), &mut |lost| {
            count += 1;
            each(stored.id, &lost);
        })?;
        if count == 0 {
            continue;
        }
        let before = list.snapshots.iter().find(|other| is_repaired_from(&other.snapshot, stored)).map(|other| other.id);
        let other_generation = Some(stored.generation).filter(|generation| *generation != repository.generation());
        let new = match (before, other_generation) {
            (None, None) if !options.dry_run => look.commit(repository, stored)?,
            _ => None,
        };
        summary.damaged.push(RepairedSnapshot { original: stored.id, new, before, other_generation, lost: count });
    }
    Ok(summary)
}

fn is_repaired_from(snapshot: &Snapshot, original: &StoredSnapshot) -> bool {
    snapshot.previous == Some((original.id, original.hash)) && snapshot.is_repaired_from(&original.id)
}

struct Look<'a> {
    reader: &'a Reader,
    monitor: &'a Arc<dyn Monitor>,
    stop: &'a Stop,
    read_data: bool,
}

impl Look<'_> {
    fn rebuild(
        &self,
        writer: &mut Writer,
        root: &Content,
        whole: Option<&mut Marks>,
        lost: &mut dyn FnMut(Lost),
    ) -> Result<(Option<Content>, Totals), RepositoryError> {
        let mut rebuild = Rebuild::new(self.reader, writer, &**self.monitor, self.stop, lost);
        rebuild.read_data = self.read_data;
        rebuild.whole = whole;
        let content = rebuild.folder(root, &mut Vec::new(), 0)?;
        let totals = rebuild.totals;
        if content.is_none() {
            lost(Lost::Folder(Vec::new()));
        }
        Ok((content, totals))
    }

    /// A session that commits what is left. `None`: nothing is.
    fn commit(&self, repository: &Arc<Repository>, original: &StoredSnapshot) -> Result<Option<SnapshotId>, RepositoryError> {
        let mut writer = Writer::begin(repository, WriterOptions::default(), self.monitor, self.stop)?;
        let mut lost = Vec::new();
        let mut count = 0u64;
        let rebuilt = self.rebuild(&mut writer, &original.snapshot.root, None, &mut |entry| {
            count += 1;
            // Streams are told by their paths: those are few, and among the first that count.
            if lost.len() < PATHS_MAX || original.snapshot.sources.iter().any(|source| concerns(source, &entry)) {
                lost.push(entry);
            }
        });
        let (root, totals) = match rebuilt {
            Ok((Some(root), totals)) if totals.entries > 0 => (root, totals),
            Ok(_) => {
                writer.abandon();
                return Ok(None);
            }
            Err(error) => {
                writer.abandon();
                return Err(error);
            }
        };
        let Some(id) = writer.snapshot_id() else { return Ok(None) };
        let snapshot = beside(id, original, root, totals, &lost, count);
        Ok(Some(writer.commit(&snapshot)?.id))
    }
}

fn concerns(source: &SourceEntry, lost: &Lost) -> bool {
    let is_at_or_below = |path: &[u8]| is_at_or_below(path, lost.path());
    is_at_or_below(&source.path) || source.streams.iter().any(|stream| is_at_or_below(&stream.path))
}

/// The snapshot beside: of the same time and host, so that it stands where the original does.
fn beside(id: SnapshotId, original: &StoredSnapshot, root: Content, totals: Totals, lost: &[Lost], count: u64) -> Snapshot {
    let mut snapshot = Snapshot { id, root, totals, previous: Some((original.id, original.hash)), ..original.snapshot.clone() };
    // What is left of a copy is no copy: a whole one may be made again.
    snapshot.set_original(None);
    for source in &mut snapshot.sources {
        if !lost.iter().any(|lost| concerns(source, lost)) {
            continue;
        }
        let is_gone = |path: &[u8]| lost.iter().any(|lost| is_at_or_below(path, lost.path()));
        source.streams.retain(|stream| !is_gone(&stream.path));
        source.status = SourceStatus::Failed;
        if is_gone(&source.path) && !lost.iter().any(|lost| matches!(lost, Lost::PartOfFolder(path) if *path == source.path)) {
            source.path.clear();
        }
    }
    snapshot.incomplete.push(Snapshot::line_of_repair(&original.id, count));
    for entry in lost.iter().take(PATHS_MAX) {
        let attribute = match entry {
            Lost::Attribute(_, name) => format!(" (attribute {})", String::from_utf8_lossy(name)),
            Lost::PartOfFolder(_) => " (some of its entries)".to_owned(),
            Lost::Entry(_) | Lost::Folder(_) => String::new(),
        };
        snapshot.incomplete.push(format!("lost: {}{attribute}", String::from_utf8_lossy(entry.path())));
    }
    snapshot
}

/// Nothing is below the empty path here: a loss at the root of a snapshot names what is lost.
fn is_at_or_below(path: &[u8], lost: &[u8]) -> bool {
    path == lost || !lost.is_empty() && path::relative(path, lost).is_some()
}
