//! What chunks of a stream or directory shared with others: bytes of the caller, a row for each chunk. The table `pieces`.

use super::database::{Database, Fault};
use super::tag::{TAG, Table, same};
use crate::id::ChunkId;

/// Which stream or directory rows belong to: a number that the caller derives from its names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PieceTable(pub i64);

impl Database {
    /// The chunks of a table with the numbers of their rows, in the order in which they came.
    pub(super) fn piece_chunks(&self, table: PieceTable) -> Result<Vec<(i64, ChunkId)>, Fault> {
        let mut select = self.connection.prepare_cached("SELECT number, chunk FROM pieces WHERE place = ?1")?;
        let rows = select.query_map([table.0], |row| Ok((row.get(0)?, ChunkId(row.get(1)?))))?;
        let mut chunks = rows.collect::<Result<Vec<_>, _>>()?;
        chunks.sort_unstable_by_key(|&(number, _)| number);
        Ok(chunks)
    }

    /// What was put for a chunk.
    pub(super) fn pieces(&self, table: PieceTable, chunk: &ChunkId) -> Result<Option<Vec<u8>>, Fault> {
        let mut select = self.connection.prepare_cached("SELECT value, tag FROM pieces WHERE place = ?1 AND chunk = ?2")?;
        let mut rows = select.query((table.0, chunk.0.as_slice()))?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let value: Vec<u8> = row.get(0)?;
        let tag = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        if !same(tag, &self.pieces_tag(table, chunk, &value)) {
            return Err(Fault::bad_tag(Table::Pieces));
        }
        Ok(Some(value))
    }

    /// Puts rows in place of those of the same chunks. Inside the caller's transaction.
    pub(super) fn put_pieces(&self, table: PieceTable, rows: &[(ChunkId, Vec<u8>)]) -> Result<(), Fault> {
        let mut insert =
            self.connection.prepare_cached("INSERT OR REPLACE INTO pieces (place, chunk, value, tag) VALUES (?1, ?2, ?3, ?4)")?;
        for (chunk, value) in rows {
            let tag = self.pieces_tag(table, chunk, value);
            insert.execute((table.0, chunk.0.as_slice(), value.as_slice(), tag.as_slice()))?;
        }
        Ok(())
    }

    /// Forgets rows by their numbers. Inside the caller's transaction.
    pub(super) fn forget_pieces(&self, numbers: &[i64]) -> Result<(), Fault> {
        let mut delete = self.connection.prepare_cached("DELETE FROM pieces WHERE number = ?1")?;
        for number in numbers {
            delete.execute([number])?;
        }
        Ok(())
    }

    /// Bytes of all rows of a table.
    pub(super) fn pieces_bytes(&self, table: PieceTable) -> Result<u64, Fault> {
        let mut select = self.connection.prepare_cached("SELECT coalesce(sum(length(value)), 0) FROM pieces WHERE place = ?1")?;
        Ok(select.query_row([table.0], |row| row.get::<_, i64>(0))?.unsigned_abs())
    }

    fn pieces_tag(&self, table: PieceTable, chunk: &ChunkId, value: &[u8]) -> [u8; TAG] {
        self.tagger.tag(Table::Pieces, &[&table.0.to_le_bytes(), &chunk.0, value])
    }
}
