//! One directory source: the scan's steps in, tree chunks out, unchanged files not read.
//!
//! The scan delivers folders depth first. Rows of files that must be read wait for a pool of readers; a folder's tree is stored once
//! its last row and its last subfolder are there. The readers' results are taken in order, on this thread, which is the one that
//! decides known or new.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::cache;
use crate::clock::Timestamp;
use crate::crypto::ChunkType;
use crate::filesystem::{self, Entered, FileStat, FileSystems, Found, ScanOptions, Segment, Step};
use crate::format::tree::{self, Content, Node, NodeKind};
use crate::monitor::{Monitor, Problem, Stop};
use crate::parallel::{OrderedPool, cores};
use crate::repository::writer::{Named, Writer};
use crate::snapshot::files::{Run, ToRead, WHOLE_BYTES_MAX, WasRead, Workshop};
use crate::snapshot::pending::{PendingStates, Seen, SeenFile};
use crate::snapshot::state::{FolderState, Stat};
use crate::snapshot::stream::{Sink, Stored, StreamPlan};
use crate::snapshot::{Counts, Reasons, SnapshotError, folder};
use crate::source::DirectorySource;

/// Files handed to a reader together: enough that handing over costs nothing, few enough that memory stays small.
const BATCH_FILES: usize = 32;
const BATCH_BYTES: u64 = 1 << 20;

/// What a directory source needs from the run.
pub struct Context<'a> {
    /// Where chunks go.
    pub writer: &'a mut Writer,
    /// Cuts, names, knows owners.
    pub workshop: Arc<Workshop>,
    /// This host, for the cache.
    pub host: &'a str,
    /// When the session began.
    pub start: Timestamp,
    /// Read unchanged files too.
    pub force: bool,
    /// Folder records on their way to the cache.
    pub pending: &'a mut PendingStates,
    /// Counts of the whole run.
    pub counts: &'a mut Counts,
    /// Why the snapshot is incomplete.
    pub reasons: &'a mut Reasons,
    /// File systems of the whole snapshot.
    pub file_systems: &'a mut FileSystems,
    /// Reports.
    pub monitor: &'a dyn Monitor,
    /// Stop requests.
    pub stop: &'a Stop,
}

/// What became of a directory source.
pub struct Taken {
    /// Its node, named after the source.
    pub node: Node,
    /// Bytes of its files.
    pub bytes: u64,
}

/// Stores one directory.
pub fn take(context: Context<'_>, source: &DirectorySource, options: &ScanOptions) -> Result<Taken, SnapshotError> {
    let workshop = Arc::clone(&context.workshop);
    let readers = OrderedPool::new("esker-read", cores(), cores() * 2, move |batch: Vec<ToRead>| {
        batch.into_iter().map(|job| workshop.read(job)).collect::<Vec<_>>()
    });
    let (monitor, stop) = (context.monitor, context.stop);
    let mut taker = Taker {
        context,
        source: &source.name,
        readers,
        batch: Vec::new(),
        batch_bytes: 0,
        levels: HashMap::new(),
        open: Vec::new(),
        next_level: 0,
        root: None,
        bytes: 0,
    };
    filesystem::scan(&source.path, options, stop, |step| match step {
        Step::Enter(entered) => taker.enter(*entered),
        Step::Leave { .. } => taker.leave(),
    })?;
    let (mut node, bytes) = taker.finish()?;
    node.name = source.name.clone().into_bytes();
    monitor.current(b"");
    Ok(Taken { node, bytes })
}

/// A row of a folder that is being put together.
struct Row {
    name: Vec<u8>,
    /// None while it waits for a reader or a subfolder, and for entries that are left out.
    encoded: Option<Vec<u8>>,
    /// What the next run needs to know of a file.
    seen: Option<Seen>,
}

struct Level {
    parent: Option<(u64, usize)>,
    path: Vec<u8>,
    node: Node,
    rows: Vec<Row>,
    /// Rows and subfolders that are not there yet.
    awaited: usize,
    /// All its subfolders have begun.
    left: bool,
    /// Row of each subfolder that will come, in order.
    folders: VecDeque<usize>,
    old: Option<FolderState>,
    state_changed: bool,
    listed: bool,
}

struct Taker<'a> {
    context: Context<'a>,
    source: &'a str,
    readers: OrderedPool<Vec<ToRead>, Vec<WasRead>>,
    batch: Vec<ToRead>,
    batch_bytes: u64,
    levels: HashMap<u64, Level>,
    open: Vec<u64>,
    next_level: u64,
    root: Option<Node>,
    bytes: u64,
}

impl Taker<'_> {
    fn enter(&mut self, mut entered: Entered) -> Result<(), SnapshotError> {
        let owners = Arc::clone(&self.context.workshop.owners);
        for trouble in std::mem::take(&mut entered.troubles) {
            self.trouble(trouble.path.clone(), trouble.vanished, trouble.detail);
        }
        if let Err(error) = entered.complete_folder(&owners) {
            self.trouble(self.path_of(&entered.path, b""), false, error.to_string());
        }
        let parent = self.open.last().and_then(|&key| {
            let level = self.levels.get_mut(&key)?;
            level.folders.pop_front().map(|row| (key, row))
        });
        let key = self.next_level;
        self.next_level += 1;
        self.open.push(key);
        let vanished = entered.state == filesystem::FolderState::Vanished;
        let old = self.old_state(&entered.path)?;
        let mut level = Level {
            parent,
            path: std::mem::take(&mut entered.path),
            node: entered.folder.node,
            rows: Vec::with_capacity(entered.entries.len()),
            awaited: 0,
            left: false,
            folders: VecDeque::new(),
            state_changed: false,
            listed: !vanished,
            old,
        };
        let mut cursor = 0;
        let mut to_read = Vec::new();
        let mut in_line = Vec::new();
        for mut found in entered.entries {
            let row = level.rows.len();
            let name = found.node.name.clone();
            let mut done = Row { name, encoded: None, seen: None };
            match found.node.kind {
                NodeKind::Folder => {
                    level.folders.push_back(row);
                    level.awaited += 1;
                }
                NodeKind::File => {
                    if let Some(encoded) = self.unchanged(&level, &mut cursor, &found)? {
                        self.count_file(&level.path, &found, "unmodified", found.stat.size);
                        self.context.monitor.advance(1, found.stat.size);
                        done.encoded = Some(encoded);
                        done.seen = Some(Seen::Same);
                    } else if let Some(dir) = &entered.dir {
                        level.state_changed = true;
                        level.awaited += 1;
                        if found.stat.size > WHOLE_BYTES_MAX || found.stat.may_have_holes() {
                            in_line.push((row, found));
                        } else {
                            to_read.push(ToRead { level: key, row, folder: Arc::clone(dir), found });
                        }
                    }
                }
                _ => {
                    if let Some(dir) = &entered.dir
                        && let Err(error) = dir.complete(&mut found, &owners)
                    {
                        self.trouble(self.path_of(&level.path, &found.node.name), false, error.to_string());
                    }
                    found.node.hard_link = self.context.file_systems.hard_link(&found);
                    self.context.counts.other += 1;
                    done.encoded = Some(self.encode(found.node, &level.path)?);
                }
            }
            level.rows.push(done);
        }
        // Files that are gone must leave the record too.
        level.state_changed |= level
            .old
            .as_ref()
            .is_some_and(|old| old.files().len() != level.rows.iter().filter(|row| matches!(row.seen, Some(Seen::Same))).count());
        self.levels.insert(key, level);
        for job in to_read {
            self.read(job)?;
        }
        if let Some(dir) = entered.dir {
            for (row, found) in in_line {
                self.read_in_line(key, row, &dir, found)?;
            }
        }
        self.take_ready()
    }

    fn leave(&mut self) -> Result<(), SnapshotError> {
        let Some(key) = self.open.pop() else { return Ok(()) };
        if let Some(level) = self.levels.get_mut(&key) {
            level.left = true;
        }
        self.close_if_done(key)
    }

    fn finish(mut self) -> Result<(Node, u64), SnapshotError> {
        self.submit()?;
        while let Some(results) = self.readers.take() {
            self.take_results(results)?;
        }
        match self.root.take() {
            Some(root) => Ok((root, self.bytes)),
            None => Err(SnapshotError::Internal("a folder was never finished")),
        }
    }

    /// The encoded node of a file that is as it was; its chunks are marked as used.
    fn unchanged(&mut self, level: &Level, cursor: &mut usize, found: &Found) -> Result<Option<Vec<u8>>, SnapshotError> {
        let Some(old) = &level.old else { return Ok(None) };
        let files = old.files();
        // Both sides rise by name: step along instead of searching.
        while files.get(*cursor).is_some_and(|file| file.name < found.node.name) {
            *cursor += 1;
        }
        let Some(file) = files.get(*cursor).filter(|file| file.name == found.node.name) else { return Ok(None) };
        if self.context.force || file.stat != stat_of(&found.stat) {
            return Ok(None);
        }
        if old.packs(file).all(|pack| self.context.writer.is_usable(pack)) {
            for pack in old.packs(file) {
                self.context.writer.use_pack(pack);
            }
        } else if !self.chunks_are_known(&file.node)? {
            return Ok(None);
        }
        if found.stat.nlink > 1 {
            // The numbering of file systems is this snapshot's own.
            let Ok(mut node) = tree::decode_node(&file.node) else { return Ok(None) };
            node.hard_link = self.context.file_systems.hard_link(found);
            return Ok(tree::encode_node(&node).ok());
        }
        Ok(Some(file.node.clone()))
    }

    /// A pack went away (repacked, perhaps): are the chunks still somewhere?
    fn chunks_are_known(&mut self, node: &[u8]) -> Result<bool, SnapshotError> {
        let Ok(node) = tree::decode_node(node) else { return Ok(false) };
        if node.content.level != 0 {
            return Ok(false);
        }
        let ids: Vec<_> = node
            .content
            .items
            .iter()
            .filter_map(|item| match item {
                tree::Item::Chunk { id, .. } => Some((ChunkType::Data, *id)),
                tree::Item::Hole { .. } => None,
            })
            .collect();
        Ok(self.context.writer.use_if_known(&ids)?)
    }

    fn read(&mut self, job: ToRead) -> Result<(), SnapshotError> {
        self.batch_bytes += job.found.stat.size;
        self.batch.push(job);
        if self.batch.len() >= BATCH_FILES || self.batch_bytes >= BATCH_BYTES {
            self.submit()?;
        }
        Ok(())
    }

    fn submit(&mut self) -> Result<(), SnapshotError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        while self.readers.is_full() {
            if let Some(results) = self.readers.take() {
                self.take_results(results)?;
            }
        }
        self.batch_bytes = 0;
        self.readers.submit(std::mem::take(&mut self.batch));
        Ok(())
    }

    fn take_ready(&mut self) -> Result<(), SnapshotError> {
        while let Some(results) = self.readers.take_ready() {
            self.take_results(results)?;
        }
        Ok(())
    }

    fn take_results(&mut self, results: Vec<WasRead>) -> Result<(), SnapshotError> {
        // One look-up for the whole batch: cut the answers up again afterwards.
        let mut chunks = Vec::new();
        for result in &results {
            if let Ok(whole) = &result.outcome {
                let mut rest = whole.bytes.as_slice();
                for &(length, id) in &whole.chunks {
                    let (bytes, after) = rest.split_at(length);
                    rest = after;
                    chunks.push(Named { chunk_type: ChunkType::Data, id, bytes });
                }
            }
        }
        let mut placed = self.context.writer.place(&chunks)?.into_iter();
        for WasRead { level, row, mut found, outcome } in results {
            let whole = match outcome {
                Ok(whole) => whole,
                Err(error) => {
                    self.could_not_read(level, &found, error.is_vanished(), error.to_string())?;
                    continue;
                }
            };
            let mut items = Vec::with_capacity(whole.chunks.len());
            let mut homes = Vec::with_capacity(whole.chunks.len());
            for (&(length, id), placed) in whole.chunks.iter().zip(placed.by_ref()) {
                items.push(tree::Item::Chunk { id, length: length as u64 });
                homes.push(placed.home);
            }
            // A file read whole has fewer chunks than a node holds items.
            found.node.content = Content { level: 0, items };
            let stored = Stored { content: found.node.content.clone(), bytes: whole.bytes.len() as u64, homes };
            self.context.monitor.advance(1, stored.bytes);
            self.file_done(level, row, found, stored, whole.unsteady)?;
        }
        Ok(())
    }

    /// A large file, or one with holes: streamed through the pipeline, here and now.
    fn read_in_line(
        &mut self,
        level: u64,
        row: usize,
        dir: &Arc<filesystem::Folder>,
        mut found: Found,
    ) -> Result<(), SnapshotError> {
        self.context.writer.begin_source()?;
        let mut attempt = 1;
        loop {
            let (stored, changed) = match self.stream_file(dir, &mut found) {
                Ok(done) => done,
                Err(SnapshotError::Filesystem(error)) => {
                    return self.could_not_read(level, &found, error.is_vanished(), error.to_string());
                }
                Err(SnapshotError::Read(error)) => return self.could_not_read(level, &found, false, error.to_string()),
                Err(error) => return Err(error),
            };
            if changed && attempt == 1 {
                attempt += 1;
                continue;
            }
            found.node.size = stored.bytes;
            found.node.content = stored.content.clone();
            self.context.monitor.advance(1, 0);
            return self.file_done(level, row, found, stored, changed);
        }
    }

    fn stream_file(&mut self, dir: &filesystem::Folder, found: &mut Found) -> Result<(Stored, bool), SnapshotError> {
        let workshop = Arc::clone(&self.context.workshop);
        let file = dir.open_file(found)?;
        file.complete(found, &workshop.owners)?;
        file.will_be_read_through();
        self.context.monitor.current(&found.node.name);
        let mut sink = Sink::default();
        let mut plan = StreamPlan { chunker: &workshop.chunker, sizes: workshop.sizes, mac: None };
        let mut short = false;
        for segment in file.segments() {
            match segment {
                Segment::Data { offset, length } => {
                    let mut run = Run::new(&file, offset, length);
                    sink.append(self.context.writer, &mut run, &mut plan, self.context.monitor, self.context.stop)?;
                    short |= run.read != length;
                }
                Segment::Hole { length, .. } => {
                    sink.hole(self.context.writer, length)?;
                    self.context.monitor.advance(0, length);
                }
            }
        }
        let changed = short || file.changed()?;
        Ok((sink.finish(self.context.writer)?, changed))
    }

    fn file_done(&mut self, key: u64, row: usize, mut found: Found, stored: Stored, unsteady: bool) -> Result<(), SnapshotError> {
        found.node.hard_link = self.context.file_systems.hard_link(&found);
        let Some(level) = self.levels.get(&key) else { return Ok(()) };
        let path = self.path_of(&level.path, &found.node.name);
        let known = level.old.as_ref().is_some_and(|old| old.find(&found.node.name).is_some());
        let action = if known { "changed" } else { "new" };
        let relative = level.path.clone();
        self.count_file(&relative, &found, action, stored.bytes);
        if unsteady {
            self.trouble(path, false, "changed while it was read, twice: what is stored may mix two states".to_owned());
        }
        let stat = stat_of(&found.stat);
        let stat = (!unsteady && stat.is_settled(self.context.start)).then_some(stat);
        let encoded = self.encode(found.node, &relative)?;
        if let Some(level) = self.levels.get_mut(&key) {
            let row = &mut level.rows[row];
            row.encoded = Some(encoded);
            row.seen = Some(Seen::Read { stat, homes: stored.homes });
            level.awaited -= 1;
        }
        self.close_if_done(key)
    }

    fn could_not_read(&mut self, key: u64, found: &Found, vanished: bool, detail: String) -> Result<(), SnapshotError> {
        if let Some(level) = self.levels.get_mut(&key) {
            level.awaited -= 1;
            let path = self.levels.get(&key).map(|level| self.path_of(&level.path, &found.node.name));
            self.trouble(path.unwrap_or_default(), vanished, detail);
        }
        self.close_if_done(key)
    }

    /// Stores a folder's tree once everything it waits for is there; its parent may then be next.
    fn close_if_done(&mut self, key: u64) -> Result<(), SnapshotError> {
        let mut key = key;
        loop {
            let Some(level) = self.levels.get(&key) else { return Ok(()) };
            if !level.left || level.awaited > 0 {
                return Ok(());
            }
            let Some(mut level) = self.levels.remove(&key) else { return Ok(()) };
            let rows = level.rows.iter().filter_map(|row| Some((row.name.as_slice(), row.encoded.as_deref()?)));
            let tree = folder::store(self.context.writer, rows)?;
            let known = level.old.is_some();
            self.context.counts.folder(tree.any_new, known);
            level.node.content = tree.content;
            if level.state_changed || (level.old.is_none() && !level.rows.is_empty()) {
                let files = std::mem::take(&mut level.rows).into_iter().filter_map(|row| {
                    let (node, seen) = (row.encoded?, row.seen?);
                    Some(SeenFile { name: row.name, node, seen })
                });
                let Context { pending, writer, host, .. } = &mut self.context;
                pending.push(self.source, level.path.clone(), level.old.take(), files.collect());
                pending.save_some(writer, host)?;
            }
            let Some((parent, row)) = level.parent else {
                self.root = Some(level.node);
                return Ok(());
            };
            let encoded = if level.listed { Some(self.encode(level.node, &level.path)?) } else { None };
            if let Some(parent) = self.levels.get_mut(&parent) {
                parent.rows[row].encoded = encoded;
                parent.awaited -= 1;
            }
            key = parent;
        }
    }

    fn old_state(&mut self, path: &[u8]) -> Result<Option<FolderState>, SnapshotError> {
        if self.context.force {
            return Ok(None);
        }
        let pages = match self.context.writer.cache().folder_state(self.context.host, self.source, path) {
            Ok(pages) => pages,
            // Dropped: files are read again; the writer's next look-up syncs the cache anew.
            Err(cache::CacheError::Reset(_)) => None,
            Err(error) => return Err(SnapshotError::Cache(error)),
        };
        Ok(pages.and_then(|pages| FolderState::decode(&pages.concat())))
    }

    fn encode(&mut self, node: Node, folder: &[u8]) -> Result<Vec<u8>, SnapshotError> {
        tree::encode_node(&node).map_err(|source| SnapshotError::Node { path: self.path_of(folder, &node.name), source })
    }

    fn count_file(&mut self, folder: &[u8], found: &Found, action: &'static str, bytes: u64) {
        self.bytes += bytes;
        self.context.counts.file(action, bytes);
        if self.context.monitor.wants_entries() {
            self.context.monitor.entry(action, &self.path_of(folder, &found.node.name), bytes);
        }
    }

    fn trouble(&mut self, path: Vec<u8>, vanished: bool, detail: String) {
        if !vanished {
            self.context.reasons.add(&path, &detail);
        }
        self.context.monitor.problem(Problem { subject: path, detail });
    }

    fn path_of(&self, folder: &[u8], name: &[u8]) -> Vec<u8> {
        let mut path = self.source.as_bytes().to_vec();
        for part in [folder, name] {
            if !part.is_empty() {
                path.push(b'/');
                path.extend_from_slice(part);
            }
        }
        path
    }
}

fn stat_of(stat: &FileStat) -> Stat {
    Stat { inode: stat.ino, size: stat.size, mtime: stat.mtime, ctime: stat.ctime }
}
