//! Whom it hits: which snapshots and which paths refer to chunks that are lost.
//!
//! The walk looks at each tree once, whoever shares it; this one goes through every snapshot, and only when something is lost. A tree or
//! list without loss below it is remembered (one byte by pack and row) and not entered again.

use std::collections::HashMap;

use crate::catalog::PackNumber;
use crate::crypto::ChunkType;
use crate::format::content::{Leaves, ListChunk};
use crate::format::limits::DEPTH_MAX;
use crate::format::tree::{Content, Item, Node, NodeKind, TreeChunk, XattrValue};
use crate::id::{ChunkId, SnapshotId};
use crate::monitor::Stop;
use crate::repository::{Location, RepositoryError};
use crate::verify::damage::CauseNumber;
use crate::verify::lookup::{Found, Lookup};

struct Trace<'a> {
    lookup: &'a Lookup,
    stop: &'a Stop,
    snapshot: SnapshotId,
    /// 1: nothing is lost below.
    whole: HashMap<PackNumber, Vec<u8>>,
}

/// Writes down the snapshots and paths of everything lost.
pub(super) fn trace(lookup: &Lookup, roots: &[(SnapshotId, Content)], stop: &Stop) -> Result<(), RepositoryError> {
    let mut trace = Trace { lookup, stop, snapshot: SnapshotId([0; 16]), whole: HashMap::new() };
    for (snapshot, root) in roots {
        trace.snapshot = *snapshot;
        trace.folder(root, &mut Vec::new(), 0)?;
    }
    Ok(())
}

impl Trace<'_> {
    /// Is something lost below this folder?
    fn folder(&mut self, content: &Content, path: &mut Vec<u8>, depth: usize) -> Result<bool, RepositoryError> {
        let mut causes = Vec::new();
        let mut lost = self.items(content.level, &content.items, Leaves::Tree, path, depth, &mut causes)?;
        lost |= self.write_down(causes, path);
        Ok(lost)
    }

    fn write_down(&self, mut causes: Vec<CauseNumber>, path: &[u8]) -> bool {
        causes.sort_unstable();
        causes.dedup();
        let mut damage = self.lookup.damage();
        for &cause in &causes {
            damage.hit(cause, self.snapshot, if path.is_empty() { b"/" } else { path });
        }
        !causes.is_empty()
    }

    /// Goes through a content; what the content itself lost is added to `causes`, what folders below it lost is written down.
    fn items(
        &mut self,
        level: u8,
        items: &[Item],
        leaves: Leaves,
        path: &mut Vec<u8>,
        depth: usize,
        causes: &mut Vec<CauseNumber>,
    ) -> Result<bool, RepositoryError> {
        let kind = match (level, leaves) {
            (0, Leaves::Data) => ChunkType::Data,
            (0, Leaves::Tree) => ChunkType::Tree,
            _ => ChunkType::List,
        };
        let mut lost = false;
        for item in items {
            let Item::Chunk { id, .. } = item else { continue };
            let cause = self.lookup.damage().lost_by(kind, id);
            if let Some(cause) = cause {
                causes.push(cause);
                lost = true;
            } else if kind != ChunkType::Data {
                lost |= self.chunk(kind, id, level, leaves, path, depth, causes)?;
            }
        }
        Ok(lost)
    }

    #[expect(clippy::too_many_arguments, reason = "one recursion over two kinds of chunk; a struct would only rename them")]
    fn chunk(
        &mut self,
        kind: ChunkType,
        id: &ChunkId,
        level: u8,
        leaves: Leaves,
        path: &mut Vec<u8>,
        depth: usize,
        causes: &mut Vec<CauseNumber>,
    ) -> Result<bool, RepositoryError> {
        if self.stop.requested() {
            return Err(RepositoryError::Stopped);
        }
        let found = self.lookup.resolve(&[(kind, *id)])?;
        let [Found::At(at) | Found::Mended(at)] = found[..] else { return Ok(false) };
        if self.is_whole(&at) {
            return Ok(false);
        }
        // The walk read it a moment ago; if it cannot be read now, the next run says so.
        let mended = matches!(found[..], [Found::Mended(_)]);
        let Ok(bytes) = self.lookup.read(kind, id, &at, mended) else { return Ok(false) };
        let mut lost = false;
        if kind == ChunkType::List {
            if let Ok(list) = ListChunk::decode(&bytes)
                && list.level < level
            {
                lost = self.items(list.level, &list.items, leaves, path, depth, causes)?;
            }
        } else if let Ok(tree) = TreeChunk::decode(&bytes) {
            for node in &tree.nodes {
                lost |= self.node(node, path, depth)?;
            }
        }
        if !lost {
            self.set_whole(&at);
        }
        Ok(lost)
    }

    fn node(&mut self, node: &Node, path: &mut Vec<u8>, depth: usize) -> Result<bool, RepositoryError> {
        let length = path.len();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(&node.name);
        let mut causes = Vec::new();
        let mut lost = false;
        match node.kind {
            NodeKind::File => {
                lost |= self.items(node.content.level, &node.content.items, Leaves::Data, path, depth, &mut causes)?;
            }
            NodeKind::Folder if depth < DEPTH_MAX => lost |= self.folder(&node.content, path, depth + 1)?,
            _ => {}
        }
        for xattr in &node.xattrs {
            if let XattrValue::Content(content) = &xattr.value {
                lost |= self.items(content.level, &content.items, Leaves::Data, path, depth, &mut causes)?;
            }
        }
        lost |= self.write_down(causes, path);
        path.truncate(length);
        Ok(lost)
    }

    fn is_whole(&self, at: &Location) -> bool {
        self.whole.get(&at.pack).and_then(|rows| rows.get(at.row as usize)) == Some(&1)
    }

    fn set_whole(&mut self, at: &Location) {
        let rows = self.whole.entry(at.pack).or_default();
        let row = at.row as usize;
        if rows.len() <= row {
            rows.resize(row + 1, 0);
        }
        rows[row] = 1;
    }
}
