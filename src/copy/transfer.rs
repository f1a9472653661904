//! The second pass: chunks are read in the order in which packs hold them, and stored here under their new names.

use crate::catalog::PackNumber;
use crate::copy::wanted::Wanted;
use crate::copy::{Work, hits_one_snapshot, read_old};
use crate::crypto::ChunkType;
use crate::id::ChunkId;
use crate::monitor::Phase;
use crate::parallel::{self, Feed};
use crate::repository::writer::Named;
use crate::repository::{Reader, Repository, RepositoryError};

/// A chunk on its way.
struct Moved {
    old: ChunkId,
    new: ChunkId,
    bytes: Vec<u8>,
}

/// Rows of one frame.
type Job = (PackNumber, Vec<u32>);

impl Work<'_> {
    /// Stores what is wanted. What cannot be read is passed over: the snapshot fails where it is needed.
    pub(super) fn transfer(&mut self, wanted: &Wanted) -> Result<(), RepositoryError> {
        if wanted.chunks == 0 {
            return Ok(());
        }
        self.monitor.begin(Phase::Copy, wanted.chunks, wanted.bytes);
        let (reader, to, threads) = (self.reader, self.to, parallel::cores());
        parallel::pipeline::<_, _, _, RepositoryError>(
            threads,
            threads + 1,
            |feed| produce(reader, wanted, feed),
            |(pack, rows)| read(reader, to, pack, &rows),
            |moved| self.place(moved?),
        )
    }

    fn place(&mut self, moved: Vec<Moved>) -> Result<(), RepositoryError> {
        self.stop.check()?;
        let named: Vec<Named<'_>> =
            moved.iter().map(|chunk| Named { chunk_type: ChunkType::Data, id: chunk.new, bytes: &chunk.bytes }).collect();
        self.writer.place(&named)?;
        for chunk in &moved {
            self.ids.put_data(&chunk.old, &chunk.new)?;
            self.chunks_read += 1;
            self.bytes_read += chunk.bytes.len() as u64;
            self.monitor.advance(1, chunk.bytes.len() as u64);
        }
        Ok(())
    }
}

/// Frame by frame, pack by pack.
fn produce<U>(reader: &Reader, wanted: &Wanted, feed: &Feed<Job, U>) -> Result<(), RepositoryError> {
    for (&pack, rows) in &wanted.packs {
        let facts = reader.facts(pack)?;
        let mut open: Option<u32> = None;
        let mut job = Vec::new();
        for row in rows.iter() {
            let frame = facts.directory.chunks.get(row as usize).map(|chunk| chunk.frame);
            if open != frame && !job.is_empty() && feed.push((pack, std::mem::take(&mut job))).is_err() {
                return Ok(());
            }
            open = frame;
            job.push(row);
        }
        if !job.is_empty() && feed.push((pack, job)).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn read(reader: &Reader, to: &Repository, pack: PackNumber, rows: &[u32]) -> Result<Vec<Moved>, RepositoryError> {
    let facts = reader.facts(pack)?;
    let mut moved = Vec::with_capacity(rows.len());
    for &row in rows {
        let Some(chunk) = facts.directory.chunks.get(row as usize) else { continue };
        let old = chunk.id;
        // The slow way tries every copy, and parity.
        let bytes = match reader.read_copy(ChunkType::Data, &old, pack, row).or_else(|_| read_old(reader, ChunkType::Data, &old)) {
            Ok(bytes) => bytes,
            Err(error) if hits_one_snapshot(&error) => continue,
            Err(error) => return Err(error),
        };
        moved.push(Moved { old, new: to.data_id(&bytes), bytes });
    }
    Ok(moved)
}
