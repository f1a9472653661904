//! The third pass: folders and lists built again from the bottom, naming chunks as they are called here.
//!
//! Folders and lists are cut as this repository cuts them; files keep the boundaries of their chunks. Every chunk is asked for at the
//! writer. A folder below which all was found in durable packs is remembered with those packs: the next snapshot that has it only asks
//! whether they may still be relied on.

use std::collections::BTreeSet;

use crate::catalog::PackNumber;
use crate::copy::wanted::too_deep;
use crate::copy::{Work, ids, items, nodes, read_old};
use crate::crypto::ChunkType;
use crate::format::content::{self, Leaves};
use crate::format::folder;
use crate::format::limits::DEPTH_MAX;
use crate::format::tree::{Content, Item, Node, NodeKind, XattrValue};
use crate::id::ChunkId;
use crate::repository::RepositoryError;
use crate::repository::writer::{Home, Named, Placed, Writer};

/// Chunks of a file asked for at a time.
const BATCH: usize = 256;

/// Packs that hold everything met; none when something is not in a durable pack of its own.
#[derive(Clone)]
struct Homes(Option<BTreeSet<PackNumber>>);

impl Homes {
    fn new() -> Self {
        Self(Some(BTreeSet::new()))
    }

    fn add(&mut self, home: Home) {
        match (&mut self.0, home) {
            (Some(packs), Home::Pack(number)) => drop(packs.insert(number)),
            _ => self.0 = None,
        }
    }

    fn add_all(&mut self, other: Self) {
        match (&mut self.0, other.0) {
            (Some(packs), Some(more)) => packs.extend(more),
            _ => self.0 = None,
        }
    }
}

impl Work<'_> {
    /// The root as it is here, everything below it used or stored.
    pub(crate) fn rewrite(&mut self, root: &Content) -> Result<Content, RepositoryError> {
        self.folder(root, 0).map(|(content, _)| content)
    }

    /// A folder as it is here, when all below it stands in packs that may be relied on; none of them counts as used yet.
    pub(super) fn folder_known(&self, content: &Content) -> Result<Option<(Content, Vec<PackNumber>)>, RepositoryError> {
        let known = self.ids.folder(content)?;
        Ok(known.filter(|(_, packs)| packs.iter().all(|&number| self.writer.is_usable(number))))
    }

    fn folder(&mut self, old: &Content, depth: usize) -> Result<(Content, Homes), RepositoryError> {
        self.stop.check()?;
        if depth > DEPTH_MAX {
            return Err(too_deep());
        }
        if let Some((content, packs)) = self.folder_known(old)? {
            packs.iter().for_each(|&number| self.writer.use_pack(number));
            return Ok((content, Homes(Some(packs.into_iter().collect()))));
        }
        let reader = self.reader;
        let mut builder = folder::Builder::new(&self.to.cut_key());
        let mut homes = Homes::new();
        nodes(reader, old, &mut |node| {
            let (size, is_folder) = (node.size, node.kind == NodeKind::Folder);
            let node = self.node(node, depth, &mut homes)?;
            self.monitor.advance(1, if is_folder { 0 } else { size });
            builder.push::<RepositoryError>(&node, &mut |kind, bytes| store(self.writer, &mut homes, kind, &bytes))
        })?;
        let new = builder.finish::<RepositoryError>(&mut |kind, bytes| store(self.writer, &mut homes, kind, &bytes))?;
        if let Some(packs) = &homes.0 {
            self.ids.put_folder(old, &new, packs)?;
        }
        Ok((new, homes))
    }

    fn node(&mut self, mut node: Node, depth: usize, homes: &mut Homes) -> Result<Node, RepositoryError> {
        match node.kind {
            NodeKind::Folder => {
                let (content, below) = self.folder(&node.content, depth + 1)?;
                homes.add_all(below);
                node.content = content;
            }
            _ => node.content = self.data(&node.content, homes)?,
        }
        for xattr in &mut node.xattrs {
            if let XattrValue::Content(content) = &xattr.value {
                xattr.value = XattrValue::Content(self.data(content, homes)?);
            }
        }
        Ok(node)
    }

    fn data(&mut self, old: &Content, homes: &mut Homes) -> Result<Content, RepositoryError> {
        let reader = self.reader;
        let mut builder = content::Builder::new(Leaves::Data);
        let mut batch = Vec::new();
        items(reader, old, Leaves::Data, &mut |item| {
            batch.push(*item);
            if batch.len() < BATCH {
                return Ok(());
            }
            self.push(&mut builder, &std::mem::take(&mut batch), homes)
        })?;
        self.push(&mut builder, &batch, homes)?;
        builder.finish::<RepositoryError>(&mut |kind, bytes| store(self.writer, homes, kind, &bytes))
    }

    /// The next items of a file, by the names their chunks have here.
    fn push(&mut self, builder: &mut content::Builder, items: &[Item], homes: &mut Homes) -> Result<(), RepositoryError> {
        let chunk = |item: &Item| if let Item::Chunk { id, .. } = item { Some(*id) } else { None };
        let olds: Vec<ChunkId> = items.iter().filter_map(chunk).collect();
        let named = ids::wanted_here(self.ids, &olds)?;
        let keys: Vec<(ChunkType, ChunkId)> = named.iter().map(|(_, key)| *key).collect();
        let mut news: Vec<Option<ChunkId>> = vec![None; olds.len()];
        for ((at, (_, new)), home) in named.into_iter().zip(self.writer.find_known(&keys)?) {
            if let Some(home) = home {
                homes.add(home);
                news[at] = Some(new);
            }
        }
        let mut news = news.into_iter();
        for item in items {
            let item = match *item {
                Item::Hole { .. } => *item,
                Item::Chunk { id, length } => {
                    let new = match news.next().flatten() {
                        Some(new) => new,
                        None => self.read_and_place(&id, homes)?,
                    };
                    Item::Chunk { id: new, length }
                }
            };
            builder.push::<RepositoryError>(item, &mut |kind, bytes| store(self.writer, homes, kind, &bytes))?;
        }
        Ok(())
    }

    /// A chunk that the second pass did not bring, or whose pack was condemned since.
    fn read_and_place(&mut self, old: &ChunkId, homes: &mut Homes) -> Result<ChunkId, RepositoryError> {
        let bytes = read_old(self.reader, ChunkType::Data, old)?;
        let new = self.to.data_id(&bytes);
        let placed = self.writer.place(&[Named { chunk_type: ChunkType::Data, id: new, bytes: &bytes }])?;
        placed.first().into_iter().for_each(|placed| homes.add(placed.home));
        self.ids.put_data(old, &new)?;
        self.chunks_read += 1;
        self.bytes_read += bytes.len() as u64;
        Ok(new)
    }
}

fn store(writer: &mut Writer, homes: &mut Homes, kind: ChunkType, bytes: &[u8]) -> Result<ChunkId, RepositoryError> {
    let (id, Placed { home, .. }) = writer.place_metadata(kind, bytes)?;
    homes.add(home);
    Ok(id)
}
