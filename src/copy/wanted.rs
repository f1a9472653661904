//! The first pass: which data chunks of the other repository are not known here, as bits on the rows of its packs.

use std::collections::{BTreeMap, HashMap};

use crate::catalog::{Bits, PackNumber};
use crate::copy::{Work, ids, items, read_old};
use crate::crypto::ChunkType;
use crate::format::content::Leaves;
use crate::format::limits::DEPTH_MAX;
use crate::format::tree::{Content, Item, Node, NodeKind, TreeChunk, XattrValue};
use crate::id::ChunkId;
use crate::repository::{Location, RepositoryError};

/// Data chunks asked about at a time.
const BATCH: usize = 4096;

/// See the top of this file.
#[derive(Default)]
pub(super) struct Wanted {
    /// Data chunks to be read, in the order of packs.
    pub packs: BTreeMap<PackNumber, Bits>,
    /// How many.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Tree chunks that were looked into.
    seen: HashMap<PackNumber, Bits>,
    batch: Vec<(ChunkId, u64)>,
}

impl Work<'_> {
    /// Adds what a root needs.
    pub(super) fn want(&mut self, wanted: &mut Wanted, root: &Content) -> Result<(), RepositoryError> {
        self.want_folder(wanted, root, 0)?;
        self.ask(wanted)
    }

    fn want_folder(&mut self, wanted: &mut Wanted, content: &Content, depth: usize) -> Result<(), RepositoryError> {
        self.stop.check()?;
        if depth > DEPTH_MAX {
            return Err(too_deep());
        }
        if self.folder_known(content)?.is_some() {
            return Ok(());
        }
        let reader = self.reader;
        items(reader, content, Leaves::Tree, &mut |item| {
            let Item::Chunk { id, .. } = item else { return Ok(()) };
            if let Some(at) = reader.locate(&[(ChunkType::Tree, *id)])?[0]
                && !wanted.seen.entry(at.pack).or_default().set(at.row)
            {
                return Ok(());
            }
            let tree = TreeChunk::decode(&read_old(reader, ChunkType::Tree, id)?)?;
            self.monitor.advance(tree.nodes.len() as u64, 0);
            tree.nodes.iter().try_for_each(|node| self.want_node(wanted, node, depth))
        })
    }

    fn want_node(&mut self, wanted: &mut Wanted, node: &Node, depth: usize) -> Result<(), RepositoryError> {
        for xattr in &node.xattrs {
            if let XattrValue::Content(content) = &xattr.value {
                self.want_data(wanted, content)?;
            }
        }
        match node.kind {
            NodeKind::Folder => self.want_folder(wanted, &node.content, depth + 1),
            _ => self.want_data(wanted, &node.content),
        }
    }

    fn want_data(&mut self, wanted: &mut Wanted, content: &Content) -> Result<(), RepositoryError> {
        let reader = self.reader;
        items(reader, content, Leaves::Data, &mut |item| {
            if let Item::Chunk { id, length } = *item {
                wanted.batch.push((id, length));
                if wanted.batch.len() >= BATCH {
                    self.ask(wanted)?;
                }
            }
            Ok(())
        })
    }

    /// Sets the bits of those chunks of the batch that are not known here.
    fn ask(&mut self, wanted: &mut Wanted) -> Result<(), RepositoryError> {
        self.stop.check()?;
        let mut batch = std::mem::take(&mut wanted.batch);
        let olds: Vec<ChunkId> = batch.iter().map(|(id, _)| *id).collect();
        let named = ids::wanted_here(self.ids, &olds)?;
        let keys: Vec<(ChunkType, ChunkId)> = named.iter().map(|(_, key)| *key).collect();
        let homes = self.writer.find_known(&keys)?;
        let mut known = vec![false; batch.len()];
        for ((at, _), home) in named.iter().zip(homes) {
            known[*at] = home.is_some();
        }
        let mut known = known.into_iter();
        batch.retain(|_| known.next() != Some(true));
        let keys: Vec<(ChunkType, ChunkId)> = batch.iter().map(|(id, _)| (ChunkType::Data, *id)).collect();
        for (at, (_, length)) in self.reader.locate(&keys)?.into_iter().zip(batch) {
            // What is nowhere is missed when the trees are written again, where it can be said what needs it.
            let Some(Location { pack, row, .. }) = at else { continue };
            if wanted.packs.entry(pack).or_default().set(row) {
                wanted.chunks += 1;
                wanted.bytes += length;
            }
        }
        Ok(())
    }
}

pub(super) fn too_deep() -> RepositoryError {
    RepositoryError::Inconclusive(format!("folders are nested deeper than {DEPTH_MAX}"))
}
