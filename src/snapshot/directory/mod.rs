//! One directory source: the scan's steps in, tree chunks out, unchanged files not read.
//!
//! The scan delivers folders depth first. Rows of files that must be read wait for a pool of readers; a folder's tree is stored once
//! its last row and its last subfolder are there. The readers' results are taken in order, on this thread, which is the one that
//! decides known or new.

mod facts;
mod reading;

use std::collections::{HashMap, VecDeque};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::crypto::ChunkType;
use crate::filesystem::{self, Entered, Excludes, FileStat, FileSystems, Folder, Found, LeftOutCounts, ScanOptions, Step};
use crate::format::tree::{self, LeftOut, Node, NodeKind, XattrValue};
use crate::monitor::{Monitor, Problem, Stop};
use crate::parallel::{OrderedPool, cores};
use crate::path;
use crate::repository::writer::Writer;
use crate::snapshot::files::{ToRead, WHOLE_BYTES_MAX, WasRead, Workshop};
use crate::snapshot::pending::{PendingStates, Seen, SeenFile};
use crate::snapshot::state::{FolderState, Stat};
use crate::snapshot::{Counts, Reasons, SnapshotError, attributes, folder};
use crate::source::{DirectorySource, SourceKind};

/// What a directory source needs from the run.
pub(super) struct Context<'a> {
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
pub(super) struct Taken {
    /// Its node, named after the source.
    pub node: Node,
    /// Bytes of its files.
    pub bytes: u64,
    /// What the snapshot says about it.
    pub facts: Vec<(String, String)>,
    /// What a restore of it will lack, one plain sentence each.
    pub warnings: Vec<String>,
    /// How much was left out on request.
    pub left_out: LeftOutCounts,
    /// Patterns that decided about an entry, as they were given.
    pub used_patterns: Vec<String>,
}

/// Stores one directory; `skip` are the entries (device, inode) that are never taken.
pub(super) fn take(context: Context<'_>, source: &DirectorySource, skip: Vec<(u64, u64)>) -> Result<Taken, SnapshotError> {
    let roots = facts::roots(source);
    let alone = source.kind() == SourceKind::File;
    let (walked, options) = match alone {
        true => facts::alone(&source.path).map_err(|error| SnapshotError::SourceFailed {
            name: source.name.clone(),
            kind: None,
            reason: format!("cannot read {}: {error}", source.path.display()),
        })?,
        false => {
            let excludes = Excludes::of_source(&source.excludes, &source.excludes_any_case, &roots)
                .map_err(|error| SnapshotError::Sources(format!("source {:?}: {error}", source.name)))?;
            (source.path.clone(), ScanOptions { excludes, skip, ..facts::scan_options(source) })
        }
    };
    let workshop = Arc::clone(&context.workshop);
    let readers = OrderedPool::new("esker-read", cores(), cores() * 2, move |batch: Vec<ToRead>| {
        batch.into_iter().map(|job| workshop.read(job)).collect::<Vec<_>>()
    });
    let (monitor, stop) = (context.monitor, context.stop);
    let mut taker = Taker {
        context,
        source: &source.name,
        alone,
        folder: &source.path,
        readers,
        batch: Vec::new(),
        batch_bytes: 0,
        levels: HashMap::new(),
        open: Vec::new(),
        next_level: 0,
        root: None,
        bytes: 0,
    };
    let seen = filesystem::scan(&walked, &options, stop, |step| match step {
        Step::Enter(entered) => taker.enter(*entered),
        Step::Leave { .. } => taker.leave(),
    })?;
    let (mut node, bytes) = taker.finish()?;
    node.name = source.name.clone().into_bytes();
    monitor.current(b"");
    let (left_out, used_patterns) = (seen.left_out, options.excludes.used());
    let mut warnings = Vec::new();
    if node.left_out().has(LeftOut::MARKED) {
        warnings.push("the directory is marked as a cache, or by a file: only the mark is in the snapshot".to_owned());
    } else if seen.entries == 0 && left_out.total() > 0 {
        warnings.push("everything in the directory was left out on request: the snapshot has none of it".to_owned());
    }
    Ok(Taken { node, bytes, facts: facts::of(source, &roots, &left_out), warnings, left_out, used_patterns })
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
    /// The source is the only file in what is walked.
    alone: bool,
    /// As it was named.
    folder: &'a Path,
    readers: OrderedPool<Vec<ToRead>, Vec<WasRead>>,
    batch: Vec<ToRead>,
    batch_bytes: u64,
    levels: HashMap<u64, Level>,
    open: Vec<u64>,
    next_level: u64,
    root: Option<Root>,
    bytes: u64,
}

/// What the walk came to: the source's node, or none when it is a file that could not be read.
struct Root(Option<Node>);

impl Taker<'_> {
    fn enter(&mut self, mut entered: Entered) -> Result<(), SnapshotError> {
        let owners = Arc::clone(&self.context.workshop.owners);
        for trouble in std::mem::take(&mut entered.troubles) {
            // As it is called in the snapshot, as every other reason is: a restore looks for it there.
            let below = path::relative(&trouble.path, self.folder.as_os_str().as_bytes());
            let path = below.map_or_else(|| trouble.path.clone(), |below| self.path_of(below, b""));
            self.trouble(path, trouble.vanished, trouble.detail);
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
            // A record from before flags were recorded is written anew, so that they are asked for once only.
            state_changed: old.as_ref().is_some_and(FolderState::is_without_flags),
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
                    if let Some(encoded) = self.unchanged(&level, &mut cursor, &found, entered.dir.as_deref())? {
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
                    attributes::make_fit(self.context.writer, &mut found.node)?;
                    done.encoded = Some(self.encode(&found.node, &level.path)?);
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
        self.forget_gone_folders()?;
        match self.root.take() {
            Some(Root(Some(node))) => Ok((node, self.bytes)),
            // Of one file that cannot be read nothing is there.
            Some(Root(None)) => {
                let reason = self.context.reasons.kept.last().map_or("it is gone", |(_, detail)| detail.as_str());
                Err(SnapshotError::SourceFailed { kind: None, name: self.source.to_owned(), reason: reason.to_owned() })
            }
            None => Err(SnapshotError::Internal("a folder was never finished")),
        }
    }

    /// A folder that cannot be looked at may be there again next time: its record stays.
    fn forget_gone_folders(&mut self) -> Result<(), SnapshotError> {
        if self.alone {
            return Ok(());
        }
        let folder = self.folder;
        let mut exists = |path: &[u8]| {
            let there = folder.join(std::ffi::OsStr::from_bytes(path)).symlink_metadata();
            there.map_or_else(|error| error.kind() != std::io::ErrorKind::NotFound, |there| there.is_dir())
        };
        let Context { writer, host, .. } = &mut self.context;
        Ok(writer.forget_gone_folders(host, self.source, self.next_level, &mut exists)?)
    }

    /// The encoded node of a file that is as it was; its chunks are marked as used.
    fn unchanged(
        &mut self,
        level: &Level,
        cursor: &mut usize,
        found: &Found,
        dir: Option<&Folder>,
    ) -> Result<Option<Vec<u8>>, SnapshotError> {
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
        if old.is_without_flags() && dir.is_some_and(|dir| !dir.flags_of(&found.node.name).is_none()) {
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
        let attributes = node.xattrs.iter().filter_map(|xattr| match &xattr.value {
            XattrValue::Content(content) => Some(content),
            XattrValue::Inline(_) => None,
        });
        let mut ids = Vec::new();
        for content in attributes.chain([&node.content]) {
            if content.level != 0 {
                return Ok(false);
            }
            ids.extend(content.items.iter().filter_map(|item| match item {
                tree::Item::Chunk { id, .. } => Some((ChunkType::Data, *id)),
                tree::Item::Hole { .. } => None,
            }));
        }
        Ok(self.context.writer.use_if_known(&ids)?)
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
            let root = match self.alone {
                true => level.rows.iter().find_map(|row| tree::decode_node(row.encoded.as_deref()?).ok()),
                false => {
                    self.store_folder(&mut level)?;
                    None
                }
            };
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
                self.root = Some(Root(if self.alone { root } else { Some(level.node) }));
                return Ok(());
            };
            let encoded = if level.listed { Some(self.encode(&level.node, &level.path)?) } else { None };
            if let Some(parent) = self.levels.get_mut(&parent) {
                parent.rows[row].encoded = encoded;
                parent.awaited -= 1;
            }
            key = parent;
        }
    }

    fn store_folder(&mut self, level: &mut Level) -> Result<(), SnapshotError> {
        let rows = level.rows.iter().filter_map(|row| Some((row.name.as_slice(), row.encoded.as_deref()?)));
        let tree = folder::store(self.context.writer, rows)?;
        self.context.counts.folder(tree.any_new, level.old.is_some());
        level.node.content = tree.content;
        attributes::make_fit(self.context.writer, &mut level.node)?;
        Ok(())
    }

    fn old_state(&mut self, path: &[u8]) -> Result<Option<FolderState>, SnapshotError> {
        if self.context.force {
            return Ok(None);
        }
        let pages = self.context.writer.folder_record(self.context.host, self.source, path)?;
        Ok(pages.and_then(|pages| FolderState::decode(&pages.concat())))
    }

    fn encode(&self, node: &Node, folder: &[u8]) -> Result<Vec<u8>, SnapshotError> {
        tree::encode_node(node).map_err(|source| SnapshotError::Node { path: self.path_of(folder, &node.name), source })
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
        for part in if self.alone { [&[][..], &[]] } else { [folder, name] } {
            path::push(&mut path, part);
        }
        path
    }
}

fn stat_of(stat: &FileStat) -> Stat {
    Stat { inode: stat.ino, size: stat.size, mtime: stat.mtime, ctime: stat.ctime }
}
