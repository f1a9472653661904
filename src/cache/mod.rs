//! The local cache: which packs hold a chunk, facts about packs, which index files were read, what each folder looked like last time.
//!
//! It is only a cache. Whatever happens to its file (deleted, of another repository, rolled back, truncated, flipped, swapped, read-only,
//! locked), the outcome of every operation is the same, only slower. Three things make that so:
//!
//! * Every row carries a 16-byte tag over its table and all its fields ([`tag`]). A row without a good tag is never handed out.
//! * A pack number is never given to two packs ([`PackNumber`]), not even in a file that was rolled back or torn. So a row of one history
//!   cannot speak about a pack of another.
//! * When SQLite or a tag complains, the file is dropped, an empty one takes its place, and the call returns [`CacheError::Reset`]. The
//!   catalog then fills the cache again and repeats the call.
//!
//! A row may always be *missing*. Then a chunk is stored again, or a file is read again.
//!
//! This is the only room that knows SQLite. It needs `id` and `clock`, one key, and no format: a pack's directory and a folder's record
//! are bytes here. Memory: SQLite's page cache ([`database`]); nothing grows with the repository.
//!
//! Several processes may use one cache at a time.

mod chunks;
mod database;
mod facts;
mod file;
mod folders;
mod memo;
mod owner;
mod pieces;
mod tag;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod timing;

pub(crate) use folders::FolderRecord;
pub use memo::Memo;
pub(crate) use memo::{NoMemo, or_nothing};
pub use owner::Cache;
pub use pieces::PieceTable;

use crate::id::{ChunkId, PackId};

/// Gives every row of a table of this file a bad tag, as a bad disk might.
#[cfg(test)]
pub(crate) fn spoil(file: &std::path::Path, table: &str) {
    let connection = rusqlite::Connection::open(file).unwrap();
    connection.execute(&format!("UPDATE {table} SET tag = zeroblob(16)"), ()).unwrap();
}

/// What this cache calls a pack. Numbers rise in the order in which packs became known: the upper half counts them. The lower half is 32
/// random bits. So a count that is given twice, by a file that was rolled back or by two processes at once, still gives two numbers. In
/// another cache, and after a reset, a number is unknown.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PackNumber(pub i64);

/// What a chunk is looked up by: its type (1 data, 2 tree, 3 list) and its id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ChunkKey {
    /// The chunk's type as a number.
    pub kind: u8,
    /// The chunk's id.
    pub id: ChunkId,
}

/// One stored copy of a chunk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StoredCopy {
    /// The pack that holds it.
    pub pack: PackNumber,
    /// Which row of that pack's directory describes it, from 0.
    pub row: u32,
    /// Stored as a recipe rather than as its own bytes.
    pub composed: bool,
}

/// A chunk in a pack that the context names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PackedChunk {
    /// The chunk.
    pub key: ChunkKey,
    /// Its row in the pack's directory, from 0.
    pub row: u32,
    /// Stored as a recipe.
    pub composed: bool,
}

/// Facts of one pack; enough to open any frame of it with one ranged read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PackRow {
    /// The pack's name.
    pub id: PackId,
    /// Size of the file in bytes.
    pub size: u64,
    /// Its first bytes: the envelope header.
    pub header: [u8; 128],
    /// Sealed length of its DIRECTORY box in bytes.
    pub directory_sealed_length: u32,
    /// 1 data, 2 metadata.
    pub class: u8,
    /// Its encoded directory; opaque here, at most 16 MiB.
    pub directory: Vec<u8>,
}

/// A pack to be remembered: its facts and all its chunks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewPack {
    /// The facts.
    pub row: PackRow,
    /// Every chunk its directory lists.
    pub chunks: Vec<PackedChunk>,
}

/// Why a cache could not answer.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// Something was wrong with the cache. It is empty now and usable. Fill it again and repeat the call. Discard what a look-up had
    /// delivered before: its pack numbers are unknown now.
    #[error("the cache was dropped and starts empty: {0}")]
    Reset(String),
    /// Neither the cache's folder nor a temporary one can hold a cache.
    #[error("no cache can be kept: {0}")]
    Unusable(String),
}
