//! A folder built again without what cannot be read: the same chunks where nothing is lost, new ones above what is.
//!
//! Every chunk the new folder refers to is either usable for the session that will commit it, or is read now and stored again.

use crate::crypto::ChunkType;
use crate::format::content::{self, Leaves, ListChunk};
use crate::format::folder;
use crate::format::limits::DEPTH_MAX;
use crate::format::tree::{Content, Item, Node, NodeKind, TreeChunk, XattrValue};
use crate::format::{FormatError, snapshot::Totals};
use crate::id::ChunkId;
use crate::monitor::{Monitor, Stop};
use crate::path;
use crate::repair::marks::Marks;
use crate::repository::writer::{Named, Writer};
use crate::repository::{Reader, RepositoryError};

/// Chunks of a file asked for at a time.
const BATCH_CHUNKS: usize = 256;

/// Something that is not in the new folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Lost {
    /// A file, link or other entry whose content cannot be read.
    Entry(Vec<u8>),
    /// A folder whose listing cannot be read at all.
    Folder(Vec<u8>),
    /// Some of a folder's entries: which, nobody can tell.
    PartOfFolder(Vec<u8>),
    /// An extended attribute of an entry that is still there.
    Attribute(Vec<u8>, Vec<u8>),
}

impl Lost {
    /// Where it was in the snapshot.
    pub fn path(&self) -> &[u8] {
        match self {
            Self::Entry(path) | Self::Folder(path) | Self::PartOfFolder(path) | Self::Attribute(path, _) => path,
        }
    }
    /// The stable word for it.
    pub fn what(&self) -> &'static str {
        match self {
            Self::Entry(_) => "entry",
            Self::Folder(_) => "folder",
            Self::PartOfFolder(_) => "part_of_folder",
            Self::Attribute(..) => "attribute",
        }
    }
}

/// Builds folders again within one session.
pub(super) struct Rebuild<'a> {
    pub reader: &'a Reader,
    pub writer: &'a mut Writer,
    /// Read every chunk of every file, also those that stand in packs nothing is known against.
    pub read_data: bool,
    pub monitor: &'a dyn Monitor,
    pub stop: &'a Stop,
    /// Gets everything that is lost, in the order of paths.
    pub lost: &'a mut dyn FnMut(Lost),
    /// What the new folders add up to.
    pub totals: Totals,
    /// Tree chunks below which nothing is lost: whoever only looks need not look twice, however many snapshots share them.
    pub whole: Option<&'a mut Marks>,
    lost_count: u64,
}

/// A chunk that cannot be had.
struct Gone;

impl<'a> Rebuild<'a> {
    pub(super) fn new(
        reader: &'a Reader,
        writer: &'a mut Writer,
        monitor: &'a dyn Monitor,
        stop: &'a Stop,
        lost: &'a mut dyn FnMut(Lost),
    ) -> Self {
        Self { reader, writer, read_data: false, monitor, stop, lost, totals: Totals::default(), whole: None, lost_count: 0 }
    }

    fn lose(&mut self, lost: Lost) {
        self.lost_count += 1;
        (self.lost)(lost);
    }

    /// The folder again, without what is lost in it. `None`: not one of its chunks can be read.
    pub(super) fn folder(
        &mut self,
        content: &Content,
        path: &mut Vec<u8>,
        depth: usize,
    ) -> Result<Option<Content>, RepositoryError> {
        self.stop.check()?;
        let only = match content.items[..] {
            [Item::Chunk { id, .. }] if content.level == 0 && self.whole.is_some() => {
                self.reader.locate(&[(ChunkType::Tree, id)])?[0]
            }
            _ => None,
        };
        if let (Some(whole), Some(at)) = (&self.whole, &only)
            && whole.is_set(at)
        {
            return Ok(Some(content.clone()));
        }
        let lost_before = self.lost_count;
        let content = self.folder_unseen(content, path, depth)?;
        if let (Some(whole), Some(at)) = (&mut self.whole, &only)
            && self.lost_count == lost_before
            && content.is_some()
        {
            whole.set(at);
        }
        Ok(content)
    }

    fn folder_unseen(&mut self, content: &Content, path: &mut Vec<u8>, depth: usize) -> Result<Option<Content>, RepositoryError> {
        let cut_key = self.reader.repository().cut_key();
        let mut builder = folder::Builder::new(&cut_key);
        let mut chunks = Vec::new();
        let is_whole = self.tree_chunks(content.level, &content.items, &mut chunks)?;
        if !is_whole && chunks.is_empty() {
            return Ok(None);
        }
        if !is_whole {
            self.lose(Lost::PartOfFolder(path.clone()));
        }
        for id in chunks {
            // It could be read a moment ago.
            let Ok(tree) = self.tree(&id)? else {
                self.lose(Lost::PartOfFolder(path.clone()));
                continue;
            };
            for node in tree.nodes {
                let length = path::push(path, &node.name);
                if let Some(node) = self.node(node, path, depth)? {
                    let writer = &mut *self.writer;
                    builder.push(&node, &mut |kind, bytes| store(writer, kind, &bytes)).map_err(Failed::into_error)?;
                }
                path.truncate(length);
            }
        }
        let writer = &mut *self.writer;
        let content = builder.finish(&mut |kind, bytes| store(writer, kind, &bytes)).map_err(Failed::into_error)?;
        Ok(Some(content))
    }

    /// Ids of the tree chunks below a content that can be read; says whether that is all of them.
    fn tree_chunks(&self, level: u8, items: &[Item], chunks: &mut Vec<ChunkId>) -> Result<bool, RepositoryError> {
        let mut is_whole = true;
        for item in items {
            let Item::Chunk { id, .. } = item else { continue };
            if level == 0 {
                match self.tree(id)? {
                    Ok(_) => chunks.push(*id),
                    Err(Gone) => is_whole = false,
                }
            } else {
                match self.list(id, level - 1, Leaves::Tree)? {
                    Ok(list) => is_whole &= self.tree_chunks(list.level, &list.items, chunks)?,
                    Err(Gone) => is_whole = false,
                }
            }
        }
        Ok(is_whole)
    }

    fn tree(&self, id: &ChunkId) -> Result<Result<TreeChunk, Gone>, RepositoryError> {
        Ok(self.read(ChunkType::Tree, id)?.and_then(|bytes| TreeChunk::decode(&bytes).map_err(|_| Gone)))
    }

    fn list(&self, id: &ChunkId, level: u8, leaves: Leaves) -> Result<Result<ListChunk, Gone>, RepositoryError> {
        let list = self.read(ChunkType::List, id)?.and_then(|bytes| ListChunk::decode(&bytes).map_err(|_| Gone));
        Ok(list.and_then(|list| if list.level == level && list.leaves == leaves { Ok(list) } else { Err(Gone) }))
    }

    fn node(&mut self, mut node: Node, path: &mut Vec<u8>, depth: usize) -> Result<Option<Node>, RepositoryError> {
        match node.kind {
            NodeKind::Folder if depth >= DEPTH_MAX => {
                self.lose(Lost::Folder(path.clone()));
                return Ok(None);
            }
            NodeKind::Folder => match self.folder(&node.content, path, depth + 1)? {
                Some(content) => node.content = content,
                None => {
                    self.lose(Lost::Folder(path.clone()));
                    return Ok(None);
                }
            },
            NodeKind::File => match self.file(&node.content)? {
                Ok(content) => node.content = content,
                Err(Gone) => {
                    self.lose(Lost::Entry(path.clone()));
                    return Ok(None);
                }
            },
            _ => {}
        }
        let mut kept = Vec::with_capacity(node.xattrs.len());
        for mut xattr in std::mem::take(&mut node.xattrs) {
            if let XattrValue::Content(content) = &xattr.value {
                match self.file(content)? {
                    Ok(content) => xattr.value = XattrValue::Content(content),
                    Err(Gone) => {
                        self.lose(Lost::Attribute(path.clone(), xattr.name));
                        continue;
                    }
                }
            }
            kept.push(xattr);
        }
        node.xattrs = kept;
        self.totals.entries += 1;
        if node.kind == NodeKind::File {
            self.totals.files += 1;
            self.totals.bytes += node.size;
        }
        self.monitor.advance(1, node.size);
        Ok(Some(node))
    }

    /// The content of a file again, every chunk of it usable by this session.
    fn file(&mut self, content: &Content) -> Result<Result<Content, Gone>, RepositoryError> {
        let mut items = Vec::new();
        if self.file_items(content.level, &content.items, &mut items)?.is_err() {
            return Ok(Err(Gone));
        }
        let mut builder = content::Builder::new(Leaves::Data);
        for batch in items.chunks(BATCH_CHUNKS) {
            if self.use_or_store(batch)?.is_err() {
                return Ok(Err(Gone));
            }
            for item in batch {
                let writer = &mut *self.writer;
                builder.push(*item, &mut |kind, bytes| store(writer, kind, &bytes)).map_err(Failed::into_error)?;
            }
        }
        let writer = &mut *self.writer;
        Ok(Ok(builder.finish(&mut |kind, bytes| store(writer, kind, &bytes)).map_err(Failed::into_error)?))
    }

    /// The items of level 0: 40 bytes for each chunk of one file, about 160 MiB for a terabyte.
    fn file_items(&self, level: u8, items: &[Item], out: &mut Vec<Item>) -> Result<Result<(), Gone>, RepositoryError> {
        for item in items {
            match item {
                _ if level == 0 => out.push(*item),
                Item::Hole { .. } => return Ok(Err(Gone)),
                Item::Chunk { id, .. } => {
                    let Ok(list) = self.list(id, level - 1, Leaves::Data)? else { return Ok(Err(Gone)) };
                    if self.file_items(list.level, &list.items, out)?.is_err() {
                        return Ok(Err(Gone));
                    }
                }
            }
        }
        Ok(Ok(()))
    }

    /// Chunks the session may use as they stand are used; others are read, wherever they can be, and stored again.
    fn use_or_store(&mut self, items: &[Item]) -> Result<Result<(), Gone>, RepositoryError> {
        let ids: Vec<ChunkId> =
            items.iter().filter_map(|item| if let Item::Chunk { id, .. } = item { Some(*id) } else { None }).collect();
        let wanted: Vec<(ChunkType, ChunkId)> = ids.iter().map(|&id| (ChunkType::Data, id)).collect();
        if !self.read_data && self.writer.use_if_known(&wanted)? {
            return Ok(Ok(()));
        }
        for id in ids {
            if !self.read_data && self.writer.use_if_known(&[(ChunkType::Data, id)])? {
                continue;
            }
            let Ok(bytes) = self.read(ChunkType::Data, &id)? else { return Ok(Err(Gone)) };
            self.writer.place(&[Named { chunk_type: ChunkType::Data, id, bytes: &bytes }])?;
        }
        Ok(Ok(()))
    }

    fn read(&self, kind: ChunkType, id: &ChunkId) -> Result<Result<Vec<u8>, Gone>, RepositoryError> {
        match self.reader.read_chunk(kind, id) {
            Ok(bytes) => Ok(Ok(bytes)),
            Err(RepositoryError::ChunkMissing(_)) => Ok(Err(Gone)),
            Err(error) if self.reader.repository().is_damage(&error) => Ok(Err(Gone)),
            Err(error) => Err(error),
        }
    }
}

/// Carries a store's error through the format's builders, which know only their own.
struct Failed(RepositoryError);

impl Failed {
    fn into_error(self) -> RepositoryError {
        self.0
    }
}

impl From<FormatError> for Failed {
    fn from(error: FormatError) -> Self {
        Self(error.into())
    }
}

/// A folder of these nodes.
pub(super) fn store_folder(writer: &mut Writer, nodes: &[Node]) -> Result<Content, RepositoryError> {
    let mut builder = folder::Builder::new(&writer.repository().cut_key());
    for node in nodes {
        builder.push(node, &mut |kind, bytes| store(writer, kind, &bytes)).map_err(Failed::into_error)?;
    }
    builder.finish(&mut |kind, bytes| store(writer, kind, &bytes)).map_err(Failed::into_error)
}

fn store(writer: &mut Writer, kind: ChunkType, bytes: &[u8]) -> Result<ChunkId, Failed> {
    writer.place_metadata(kind, bytes).map(|(id, _)| id).map_err(Failed)
}
