//! What things of the other repository are called here. A cache: whatever is missing is found out again by reading it.
//!
//! A name once learnt stays true. That a chunk of this name is *stored* here is another matter, and asked of the writer each time.

use std::collections::{BTreeSet, HashMap};

use crate::catalog::{Memo, PackNumber};
use crate::crypto::ChunkType;
use crate::format::tree::{Content, Item};
use crate::id::{ChunkId, RepositoryId, SnapshotId};
use crate::repository::{Repository, RepositoryError};

/// Names that wait to be written together.
const BATCH: usize = 4096;
/// A folder that spans more packs is not remembered: looking through its entries again costs less.
const PACKS_MAX: usize = 10_000;

/// What a row is about; the first byte of its key.
#[derive(Clone, Copy)]
enum Of {
    Data = 1,
    Folder = 4,
    Stream = 5,
    Snapshot = 6,
}

/// See the top of this file.
pub(super) struct Ids {
    memo: Box<dyn Memo>,
    /// Rows belong to a generation here: another names chunks otherwise.
    generation: [u8; 4],
    waiting: HashMap<Vec<u8>, Vec<u8>>,
}

impl Ids {
    pub(super) fn open(from: &Repository, to: &Repository) -> Result<Self, RepositoryError> {
        let memo = to.open_copy_memo(from)?;
        Ok(Self { memo, generation: to.generation().to_le_bytes(), waiting: HashMap::new() })
    }

    /// What a data chunk is called here.
    pub(super) fn data(&self, old: &ChunkId) -> Result<Option<ChunkId>, RepositoryError> {
        Ok(self.get(&self.key(Of::Data, &old.0))?.and_then(|value| Some(ChunkId(value.try_into().ok()?))))
    }

    pub(crate) fn put_data(&mut self, old: &ChunkId, new: &ChunkId) -> Result<(), RepositoryError> {
        self.put(Of::Data, &old.0, new.0.to_vec())
    }

    /// The MAC here of a stream that has this MAC there.
    pub(super) fn stream(&self, old: &[u8; 32]) -> Result<Option<[u8; 32]>, RepositoryError> {
        Ok(self.get(&self.key(Of::Stream, old))?.and_then(|value| value.try_into().ok()))
    }

    pub(crate) fn put_stream(&mut self, old: &[u8; 32], new: &[u8; 32]) -> Result<(), RepositoryError> {
        self.put(Of::Stream, old, new.to_vec())
    }

    /// A folder as it is here, and the packs that hold all that is below it.
    pub(super) fn folder(&self, old: &Content) -> Result<Option<(Content, Vec<PackNumber>)>, RepositoryError> {
        let Some(place) = encode(old) else { return Ok(None) };
        let Some(value) = self.get(&self.key(Of::Folder, blake3::hash(&place).as_bytes()))? else { return Ok(None) };
        Ok(decode(&value).and_then(|(content, packs)| {
            let packs = packs.chunks_exact(8).map(|number| number.try_into().map(|number| PackNumber(i64::from_le_bytes(number))));
            Some((content, packs.collect::<Result<_, _>>().ok()?))
        }))
    }

    pub(crate) fn put_folder(&mut self, old: &Content, new: &Content, packs: &BTreeSet<PackNumber>) -> Result<(), RepositoryError> {
        let (Some(place), Some(mut value)) = (encode(old), encode(new)) else { return Ok(()) };
        if packs.len() > PACKS_MAX {
            return Ok(());
        }
        value.extend(packs.iter().flat_map(|number| number.0.to_le_bytes()));
        self.put(Of::Folder, blake3::hash(&place).as_bytes(), value)
    }

    /// The copy of a snapshot, if one was made by this host and its object still stands.
    pub(crate) fn snapshot_still_there(
        &self,
        to: &Repository,
        repository: RepositoryId,
        old: SnapshotId,
    ) -> Result<Option<SnapshotId>, RepositoryError> {
        let value = self.get(&self.key(Of::Snapshot, &[&repository.0[..], &old.0].concat()))?;
        let Some(id) = value.and_then(|value| Some(SnapshotId(value.try_into().ok()?))) else { return Ok(None) };
        Ok(to.has_snapshot_object(&id)?.then_some(id))
    }

    pub(crate) fn put_snapshot(&mut self, repository: RepositoryId, old: SnapshotId, new: SnapshotId) {
        self.waiting.insert(self.key(Of::Snapshot, &[&repository.0[..], &old.0].concat()), new.0.to_vec());
    }

    /// Writes what waits.
    pub(super) fn flush(&mut self) -> Result<(), RepositoryError> {
        let rows: Vec<_> = self.waiting.drain().collect();
        Ok(self.memo.remember_all(&rows)?)
    }

    fn key(&self, of: Of, name: &[u8]) -> Vec<u8> {
        [&[of as u8], &self.generation[..], name].concat()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RepositoryError> {
        if let Some(value) = self.waiting.get(key) {
            return Ok(Some(value.clone()));
        }
        Ok(self.memo.recall(key)?)
    }

    fn put(&mut self, of: Of, name: &[u8], value: Vec<u8>) -> Result<(), RepositoryError> {
        self.waiting.insert(self.key(of, name), value);
        if self.waiting.len() >= BATCH { self.flush() } else { Ok(()) }
    }
}

/// A place in a batch, and the chunk there by the name it has here.
pub(super) type NamedHere = (usize, (ChunkType, ChunkId));

/// The data chunks of a batch that have a name here already.
pub(super) fn wanted_here(ids: &Ids, olds: &[ChunkId]) -> Result<Vec<NamedHere>, RepositoryError> {
    let mut named = Vec::with_capacity(olds.len());
    for (at, old) in olds.iter().enumerate() {
        named.extend(ids.data(old)?.map(|new| (at, (ChunkType::Data, new))));
    }
    Ok(named)
}

/// Of a folder: no holes.
fn encode(content: &Content) -> Option<Vec<u8>> {
    let mut bytes = vec![content.level, u8::try_from(content.items.len()).ok()?];
    for item in &content.items {
        let Item::Chunk { id, length } = item else { return None };
        bytes.extend_from_slice(&id.0);
        bytes.extend_from_slice(&length.to_le_bytes());
    }
    Some(bytes)
}

/// And what follows it.
fn decode(bytes: &[u8]) -> Option<(Content, &[u8])> {
    let (&[level, count], rest) = bytes.split_first_chunk::<2>()?;
    let (items, rest) = rest.split_at_checked(usize::from(count) * 40)?;
    let item = |item: &[u8]| {
        let (id, length) = item.split_first_chunk::<32>()?;
        Some(Item::Chunk { id: ChunkId(*id), length: u64::from_le_bytes(length.try_into().ok()?) })
    };
    Some((Content { level, items: items.chunks_exact(40).map(item).collect::<Option<_>>()? }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_comes_back_with_what_follows_it() {
        let content = Content {
            level: 1,
            items: (0..64).map(|n| Item::Chunk { id: ChunkId([n; 32]), length: u64::MAX - u64::from(n) }).collect(),
        };
        let encoded = encode(&content).unwrap();
        let longer = [&encoded[..], b"packs"].concat();
        assert_eq!(decode(&longer), Some((content.clone(), &b"packs"[..])));
        assert_eq!(decode(&encoded[..encoded.len() - 1]), None);
        assert_eq!(decode(&[]), None);
        assert_eq!(encode(&Content { level: 0, items: vec![Item::Hole { length: 1 }] }), None);
        assert_eq!(decode(&encode(&Content::default()).unwrap()), Some((Content::default(), &b""[..])));
    }
}
