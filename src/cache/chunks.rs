//! Chunks: which packs hold one. The tables `chunks` and `arrivals`.
//!
//! Ids are random, so putting rows into the sorted table one batch at a time rewrites nearly the whole table for each batch. Rows
//! that come in bulk (index files at a sync) are therefore appended to `arrivals`, and the next look-up sorts all of them into
//! `chunks` in one pass: the cost of a sync is that of one sort, whatever the number of batches.

use std::rc::Rc;

use rusqlite::types::Value;

use super::database::{Database, Fault};
use super::tag::{TAG, Table, same};
use super::{ChunkKey, PackNumber, PackedChunk, StoredCopy};
use crate::id::ChunkId;

/// Ids asked for in one statement; 32 bytes each while it runs.
const BATCH: usize = 4096;
/// Bytes of a `tail`: an id without its first eight bytes, then the kind.
const TAIL: usize = 25;

/// A row of either table.
struct Row {
    prefix: i64,
    tail: [u8; TAIL],
    pack: i64,
    place: i64,
    tag: [u8; TAG],
}

impl Database {
    /// Calls `each` with the position in `wanted` and a copy, for every copy of every wanted chunk, in no useful order.
    pub(super) fn find(&self, wanted: &[ChunkKey], each: &mut dyn FnMut(usize, StoredCopy)) -> Result<(), Fault> {
        let mut order: Vec<(i64, u32)> = Vec::with_capacity(wanted.len());
        // Positions beyond u32 would need 160 GiB of wanted keys.
        order.extend((0u32..).zip(wanted).map(|(at, key)| (prefix(&key.id), at)));
        order.sort_unstable();
        let mut statement = self.connection.prepare_cached(
            "SELECT c.prefix, c.tail, c.pack, c.place, c.tag FROM rarray(?1) AS w CROSS JOIN chunks AS c ON c.prefix = w.value",
        )?;
        for part in order.chunks(BATCH) {
            let mut prefixes: Vec<Value> = Vec::with_capacity(part.len());
            let mut before = None;
            for &(prefix, _) in part {
                if before.replace(prefix) != Some(prefix) {
                    prefixes.push(Value::Integer(prefix));
                }
            }
            let mut rows = statement.query([Rc::new(prefixes)])?;
            let mut at = 0;
            while let Some(row) = rows.next()? {
                let prefix = row.get_ref(0)?.as_i64().map_err(rusqlite::Error::from)?;
                let tail = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
                while at < part.len() && part[at].0 < prefix {
                    at += 1;
                }
                // Rows come in the order of the array; a damaged file may do anything.
                if part.get(at).is_none_or(|wanted| wanted.0 != prefix) {
                    at = part.partition_point(|wanted| wanted.0 < prefix);
                }
                let mut copy = None;
                for &(_, position) in part[at..].iter().take_while(|wanted| wanted.0 == prefix) {
                    let key = &wanted[position as usize];
                    if tail.len() != TAIL || tail[..24] != key.id.0[8..] || tail[24] != key.kind {
                        continue;
                    }
                    let copy = match copy {
                        Some(copy) => copy,
                        None => *copy.insert(self.copy(key, row)?),
                    };
                    each(position as usize, copy);
                }
            }
        }
        Ok(())
    }

    /// The copy a row speaks of, once its tag was checked.
    fn copy(&self, key: &ChunkKey, row: &rusqlite::Row<'_>) -> Result<StoredCopy, Fault> {
        let pack = row.get_ref(2)?.as_i64().map_err(rusqlite::Error::from)?;
        let place = row.get_ref(3)?.as_i64().map_err(rusqlite::Error::from)?;
        let tag = row.get_ref(4)?.as_blob().map_err(rusqlite::Error::from)?;
        if !same(tag, &self.tagger.chunk_tag(&key.id.0, key.kind, pack, place)) {
            return Err(Fault::bad_tag(Table::Chunk));
        }
        let row = u32::try_from(place >> 1).map_err(|_| Fault::bad_tag(Table::Chunk))?;
        Ok(StoredCopy { pack: PackNumber(pack), row, composed: place & 1 == 1 })
    }

    /// Appends the chunks of `pack` to the arrivals. Inside the caller's transaction.
    pub(super) fn append_chunks(&self, pack: PackNumber, chunks: &[PackedChunk]) -> Result<(), Fault> {
        let mut insert =
            self.connection.prepare_cached("INSERT INTO arrivals (prefix, tail, pack, place, tag) VALUES (?1, ?2, ?3, ?4, ?5)")?;
        for chunk in chunks {
            let row = self.row(pack, chunk);
            insert.execute((row.prefix, row.tail.as_slice(), row.pack, row.place, row.tag.as_slice()))?;
        }
        Ok(())
    }

    fn row(&self, pack: PackNumber, chunk: &PackedChunk) -> Row {
        let place = i64::from(chunk.row) << 1 | i64::from(chunk.composed);
        let mut tail = [0; TAIL];
        tail[..24].copy_from_slice(&chunk.key.id.0[8..]);
        tail[24] = chunk.key.kind;
        let tag = self.tagger.chunk_tag(&chunk.key.id.0, chunk.key.kind, pack.0, place);
        Row { prefix: prefix(&chunk.key.id), tail, pack: pack.0, place, tag }
    }

    /// Sorts what arrived, this process's or another's, into the table that is looked up. SQLite sorts in bounded memory, beyond
    /// that in temporary files.
    pub(super) fn settle(&self) -> Result<(), Fault> {
        if !self.connection.prepare_cached("SELECT 1 FROM arrivals LIMIT 1")?.exists(())? {
            return Ok(());
        }
        let transaction = self.writing()?;
        transaction.execute(
            "INSERT OR IGNORE INTO chunks (prefix, tail, pack, place, tag) \
             SELECT prefix, tail, pack, place, tag FROM arrivals ORDER BY prefix, tail, pack, place",
            (),
        )?;
        transaction.execute("DELETE FROM arrivals", ())?;
        transaction.commit()?;
        Ok(())
    }

    /// Removes the chunks of these packs: one pass over the table. Inside the caller's transaction.
    pub(super) fn remove_chunks(&self, packs: &[PackNumber]) -> Result<(), Fault> {
        let packs: Rc<Vec<Value>> = Rc::new(packs.iter().map(|pack| Value::Integer(pack.0)).collect());
        for table in ["chunks", "arrivals"] {
            self.connection
                .prepare_cached(&format!("DELETE FROM {table} WHERE pack IN (SELECT value FROM rarray(?1))"))?
                .execute([Rc::clone(&packs)])?;
        }
        Ok(())
    }
}

/// The first eight bytes of an id as a signed integer.
fn prefix(id: &ChunkId) -> i64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&id.0[..8]);
    i64::from_be_bytes(bytes)
}
