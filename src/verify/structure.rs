//! Every tree of every snapshot, each once: does it keep to the rules, and is all it refers to there?
//!
//! Each tree or list chunk has a *mark*: 4 bytes by pack and row, in place of a set of ids. 0 is "not seen"; else the mark is a hash of what
//! the parent claims of the chunk (its length, its level, its leaves), so that a second parent that claims something else is checked
//! too. Data chunks need no mark: they are asked for in batches, once for each tree or list chunk that names them.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use crate::catalog::PackNumber;
use crate::crypto::ChunkType;
use crate::format::content::{Leaves, ListChunk};
use crate::format::limits::DEPTH_MAX;
use crate::format::tree::{Content, Item, Node, NodeKind, TreeChunk, XattrValue};
use crate::id::ChunkId;
use crate::monitor::{Monitor, Stop};
use crate::parallel;
use crate::repository::{Location, RepositoryError};
use crate::verify::findings::FindingKind;
use crate::verify::lookup::{Found, Lookup};

/// Tree and list chunks looked up and read at a time.
const BATCH_CHUNKS: usize = 512;

/// A tree or list chunk to be looked at, and what its parent claims of it.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    id: ChunkId,
    step: Step,
    /// Entries of a tree; what the items of a list sum up to.
    length: u64,
    /// Folders above it.
    depth: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Tree,
    List { level: u8, leaves: Leaves },
}

impl Wanted {
    fn kind(&self) -> ChunkType {
        match self.step {
            Step::Tree => ChunkType::Tree,
            Step::List { .. } => ChunkType::List,
        }
    }

    /// Never 0, which means "not seen".
    fn claim(&self) -> u32 {
        let (level, leaves) = match self.step {
            Step::Tree => (0, 0),
            Step::List { level, leaves } => (level, 1 + u8::from(leaves == Leaves::Tree)),
        };
        let mut hash = blake3::Hasher::new();
        hash.update(&self.length.to_le_bytes()).update(&[level, leaves]);
        let mut bytes = [0; 4];
        hash.finalize_xof().fill(&mut bytes);
        u32::from_le_bytes(bytes) | 1
    }
}

#[derive(Default)]
struct Marks(HashMap<PackNumber, Vec<u32>>);

impl Marks {
    /// Sets a mark; says whether the chunk is to be looked at.
    fn set(&mut self, at: &Location, claim: u32) -> bool {
        let row = at.row as usize;
        let marks = self.0.entry(at.pack).or_default();
        if marks.len() <= row {
            marks.resize(row + 1, 0);
        }
        std::mem::replace(&mut marks[row], claim) != claim
    }
}

/// What one chunk refers to.
#[derive(Default)]
struct References {
    chunks: Vec<Wanted>,
    data: Vec<(ChunkId, u64)>,
    folders: Vec<Content>,
}

struct Walk<'a> {
    lookup: &'a Lookup,
    monitor: &'a dyn Monitor,
    stop: &'a Stop,
    stack: Mutex<Vec<Wanted>>,
    /// Folders of several chunks whose names were held against each other; 8 bytes each.
    ordered: Mutex<HashSet<u64>>,
}

/// Walks everything below these roots; returns how many tree and list chunks that were.
pub(super) fn walk(
    lookup: &Lookup,
    roots: &[Content],
    threads: usize,
    monitor: &dyn Monitor,
    stop: &Stop,
) -> Result<u64, RepositoryError> {
    let walk = Walk { lookup, monitor, stop, stack: Mutex::default(), ordered: Mutex::default() };
    let mut references = References::default();
    for root in roots {
        // A snapshot whose root cannot be read as a folder was refused when it was opened.
        if let Err(detail) = references.content(root, Leaves::Tree, 0) {
            return Err(RepositoryError::Inconclusive(format!("root of a snapshot: {detail}")));
        }
        walk.check_folder(root)?;
    }
    walk.push(references.chunks);
    let mut marks = [Marks::default(), Marks::default()];
    let mut trees = 0;
    loop {
        if stop.requested() {
            return Err(RepositoryError::Stopped);
        }
        let batch = walk.pop();
        if batch.is_empty() {
            return Ok(trees);
        }
        let work = walk.locate(batch, &mut marks)?;
        trees += work.len() as u64;
        let groups = work.chunk_by(|(a, ..), (b, ..)| (a.pack, a.frame) == (b.pack, b.frame));
        parallel::for_each(threads, groups, |group| walk.look_at(group))?;
    }
}

impl Walk<'_> {
    fn push(&self, wanted: Vec<Wanted>) {
        self.stack.lock().unwrap_or_else(PoisonError::into_inner).extend(wanted);
    }

    fn pop(&self) -> Vec<Wanted> {
        let mut stack = self.stack.lock().unwrap_or_else(PoisonError::into_inner);
        let keep = stack.len().saturating_sub(BATCH_CHUNKS);
        stack.split_off(keep)
    }

    /// Where each chunk not seen yet is read, in the order of packs, and whether only through parity: such a copy was marked when it was
    /// tried without, so these have marks of their own.
    fn locate(&self, batch: Vec<Wanted>, marks: &mut [Marks; 2]) -> Result<Vec<(Location, bool, Wanted)>, RepositoryError> {
        let keys: Vec<(ChunkType, ChunkId)> = batch.iter().map(|wanted| (wanted.kind(), wanted.id)).collect();
        let mut work = Vec::with_capacity(batch.len());
        for (wanted, found) in batch.into_iter().zip(self.lookup.resolve(&keys)?) {
            match found {
                Found::Lost(cause) => self.lookup.damage().lost(wanted.kind(), wanted.id, cause),
                Found::At(at) | Found::Mended(at) => {
                    let mended = matches!(found, Found::Mended(_));
                    if marks[usize::from(mended)].set(&at, wanted.claim()) {
                        work.push((at, mended, wanted));
                    }
                }
            }
        }
        work.sort_unstable_by_key(|(at, ..)| *at);
        Ok(work)
    }

    /// Chunks of one frame.
    fn look_at(&self, group: &[(Location, bool, Wanted)]) -> Result<(), RepositoryError> {
        for (at, mended, wanted) in group {
            if self.stop.requested() {
                return Err(RepositoryError::Stopped);
            }
            match self.lookup.read(wanted.kind(), &wanted.id, at, *mended) {
                Ok(bytes) => {
                    self.monitor.advance(1, bytes.len() as u64);
                    self.look_into(wanted, &bytes)?;
                }
                Err(error) => {
                    self.lookup.copy_failed(at, error)?;
                    // Another copy may be good.
                    self.push(vec![*wanted]);
                }
            }
        }
        Ok(())
    }

    fn look_into(&self, wanted: &Wanted, bytes: &[u8]) -> Result<(), RepositoryError> {
        let mut references = References::default();
        let read = match wanted.step {
            Step::Tree => references.tree(wanted, bytes),
            Step::List { level, leaves } => references.list(wanted, level, leaves, bytes),
        };
        if let Err(detail) = read {
            self.breaks_a_rule(wanted.kind(), wanted.id, &detail);
            return Ok(());
        }
        self.check_data(wanted, &references.data)?;
        for folder in &references.folders {
            self.check_folder(folder)?;
        }
        self.push(references.chunks);
        Ok(())
    }

    fn breaks_a_rule(&self, kind: ChunkType, id: ChunkId, detail: &str) {
        let mut damage = self.lookup.damage();
        let cause = damage.cause(FindingKind::TreeDamaged, format!("chunk {id}"), detail);
        damage.lost(kind, id, cause);
    }

    /// Every data chunk has a usable copy, as long as the content says.
    fn check_data(&self, within: &Wanted, data: &[(ChunkId, u64)]) -> Result<(), RepositoryError> {
        let keys: Vec<(ChunkType, ChunkId)> = data.iter().map(|&(id, _)| (ChunkType::Data, id)).collect();
        for (&(id, length), found) in data.iter().zip(self.lookup.resolve(&keys)?) {
            match found {
                Found::Lost(cause) => self.lookup.damage().lost(ChunkType::Data, id, cause),
                Found::At(at) | Found::Mended(at) => {
                    if self.lookup.raw_length(&at)? != Some(length) {
                        self.breaks_a_rule(within.kind(), within.id, &format!("chunk {id} is not the {length} bytes it says"));
                    }
                }
            }
        }
        Ok(())
    }

    /// A folder of several chunks: the names rise across them too.
    fn check_folder(&self, folder: &Content) -> Result<(), RepositoryError> {
        if folder.level == 0 && folder.items.len() <= 1 {
            return Ok(());
        }
        let mut hash = blake3::Hasher::new();
        hash.update(&[folder.level]);
        for item in &folder.items {
            if let Item::Chunk { id, .. } = item {
                hash.update(id.as_bytes());
            }
        }
        let mut bytes = [0; 8];
        hash.finalize_xof().fill(&mut bytes);
        let is_new = self.ordered.lock().unwrap_or_else(PoisonError::into_inner).insert(u64::from_le_bytes(bytes));
        if is_new { self.check_order(folder.level, &folder.items, &mut None) } else { Ok(()) }
    }

    fn check_order(&self, level: u8, items: &[Item], last: &mut Option<Vec<u8>>) -> Result<(), RepositoryError> {
        for item in items {
            let Item::Chunk { id, .. } = item else { continue };
            let kind = if level == 0 { ChunkType::Tree } else { ChunkType::List };
            // What cannot be read or decoded is written down where it is walked.
            let Some(bytes) = self.read_quietly(kind, id)? else { continue };
            match kind {
                ChunkType::List => {
                    if let Ok(list) = ListChunk::decode(&bytes)
                        && list.level < level
                    {
                        self.check_order(list.level, &list.items, last)?;
                    }
                }
                _ => {
                    let Ok(tree) = TreeChunk::decode(&bytes) else { continue };
                    if let (Some(last), Some(first)) = (&*last, tree.nodes.first())
                        && *last >= first.name
                    {
                        self.breaks_a_rule(kind, *id, "its names do not rise above those of the chunk before it");
                    }
                    if let Some(node) = tree.nodes.into_iter().next_back() {
                        *last = Some(node.name);
                    }
                }
            }
        }
        Ok(())
    }

    fn read_quietly(&self, kind: ChunkType, id: &ChunkId) -> Result<Option<Vec<u8>>, RepositoryError> {
        let found = self.lookup.resolve(&[(kind, *id)])?;
        match found[..] {
            [Found::At(at) | Found::Mended(at)] => match self.lookup.read(kind, id, &at, matches!(found[..], [Found::Mended(_)])) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) => self.lookup.damage_or_error(error).map(|_| None),
            },
            _ => Ok(None),
        }
    }
}

impl References {
    fn tree(&mut self, wanted: &Wanted, bytes: &[u8]) -> Result<(), String> {
        let tree = TreeChunk::decode(bytes).map_err(|error| error.to_string())?;
        if tree.nodes.len() as u64 != wanted.length {
            return Err(format!("it holds {} entries, its parent says {}", tree.nodes.len(), wanted.length));
        }
        tree.nodes.iter().try_for_each(|node| self.node(node, wanted.depth))
    }

    fn node(&mut self, node: &Node, depth: usize) -> Result<(), String> {
        match node.kind {
            NodeKind::File => self.content(&node.content, Leaves::Data, depth)?,
            NodeKind::Folder if depth >= DEPTH_MAX => return Err(format!("folders are nested deeper than {DEPTH_MAX}")),
            NodeKind::Folder => {
                self.content(&node.content, Leaves::Tree, depth + 1)?;
                self.folders.push(node.content.clone());
            }
            _ => {}
        }
        for xattr in &node.xattrs {
            if let XattrValue::Content(content) = &xattr.value {
                self.content(content, Leaves::Data, depth)?;
            }
        }
        Ok(())
    }

    fn list(&mut self, wanted: &Wanted, level: u8, leaves: Leaves, bytes: &[u8]) -> Result<(), String> {
        let list = ListChunk::decode(bytes).map_err(|error| error.to_string())?;
        if list.level != level || list.leaves != leaves {
            return Err("it is a list of another level or other leaves than its parent says".to_owned());
        }
        if sum(&list.items) != Some(wanted.length) {
            return Err(format!("its items do not sum up to the {} its parent says", wanted.length));
        }
        self.content(&Content { level: list.level, items: list.items }, leaves, wanted.depth)
    }

    fn content(&mut self, content: &Content, leaves: Leaves, depth: usize) -> Result<(), String> {
        for item in &content.items {
            match (*item, content.level, leaves) {
                (Item::Hole { .. }, 0, Leaves::Data) => {}
                (Item::Hole { .. }, ..) => return Err("a hole stands where a tree or list should".to_owned()),
                (Item::Chunk { id, length }, 0, Leaves::Data) => self.data.push((id, length)),
                (Item::Chunk { id, length }, 0, Leaves::Tree) => {
                    self.chunks.push(Wanted { id, step: Step::Tree, length, depth });
                }
                (Item::Chunk { id, length }, level, leaves) => {
                    self.chunks.push(Wanted { id, step: Step::List { level: level - 1, leaves }, length, depth });
                }
            }
        }
        Ok(())
    }
}

fn sum(items: &[Item]) -> Option<u64> {
    items.iter().try_fold(0u64, |sum, item| sum.checked_add(item.length()))
}
