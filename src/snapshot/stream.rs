//! Bytes that come one after another: cut on one thread, named on all, placed here in order.

use std::io::Read;

use crate::chunker::{Chunker, Sizes};
use crate::crypto::ChunkType;
use crate::format::content::{Builder, Leaves};
use crate::format::tree::{Content, Item};
use crate::id::ChunkId;
use crate::monitor::{Monitor, Stop};
use crate::parallel::{self, Feed, cores};
use crate::pieces::CutPiece;
use crate::repository::Namer;
use crate::repository::writer::{Home, Named, PieceCutter, Writer};
use crate::snapshot::SnapshotError;

/// Bytes read, cut and named together.
const BATCH_BYTES: usize = 2 << 20;
/// Batches between reading and placing.
const BATCHES_IN_FLIGHT: usize = 4;

/// A run of bytes and the chunks cut from it.
struct Batch {
    bytes: Vec<u8>,
    lengths: Vec<usize>,
}

struct NamedBatch {
    batch: Batch,
    ids: Vec<ChunkId>,
    pieces: Vec<Option<Vec<CutPiece>>>,
}

/// What a stream became.
pub(super) struct Stored {
    /// Where its bytes stand.
    pub content: Content,
    /// How many there were.
    pub bytes: u64,
    /// Homes of its chunks and lists.
    pub homes: Vec<Home>,
}

/// How a stream is cut and watched.
pub(crate) struct StreamPlan<'a> {
    /// The repository's cutter.
    pub chunker: &'a Chunker,
    /// Sizes of its class.
    pub sizes: Sizes,
    /// A keyed hasher for the whole stream, or none.
    pub mac: Option<&'a mut blake3::Hasher>,
    /// Cuts what is new into pieces, so that it may be composed.
    pub pieces: Option<PieceCutter>,
}

/// What is being stored: the content so far, and what became of its chunks.
pub(crate) struct Sink {
    builder: Builder,
    bytes: u64,
    homes: Vec<Home>,
}

impl Default for Sink {
    fn default() -> Self {
        Self { builder: Builder::new(Leaves::Data), bytes: 0, homes: Vec::new() }
    }
}

impl Sink {
    /// Appends everything `input` gives; a MAC in the plan is fed with the same bytes.
    pub(super) fn append(
        &mut self,
        writer: &mut Writer,
        input: &mut (dyn Read + Send),
        plan: &mut StreamPlan<'_>,
        monitor: &dyn Monitor,
        stop: &Stop,
    ) -> Result<(), SnapshotError> {
        let namer = writer.repository().namer();
        let StreamPlan { chunker, sizes, mac, pieces } = plan;
        parallel::pipeline(
            cores(),
            BATCHES_IN_FLIGHT,
            move |feed: &Feed<Batch, NamedBatch>| produce(input, chunker, sizes, mac, stop, feed),
            |batch: Batch| name(&namer, pieces.as_ref(), batch),
            |named: NamedBatch| self.consume(writer, &named, monitor),
        )
    }

    /// Places chunks that were named elsewhere, with their pieces as far as they were cut.
    pub(super) fn place(
        &mut self,
        writer: &mut Writer,
        chunks: &[Named<'_>],
        pieces: &[Option<Vec<CutPiece>>],
    ) -> Result<(), SnapshotError> {
        let placed = writer.place_cut(chunks, pieces)?;
        for (chunk, placed) in chunks.iter().zip(placed) {
            self.bytes += chunk.bytes.len() as u64;
            self.homes.push(placed.home);
            self.push(writer, Item::Chunk { id: chunk.id, length: chunk.bytes.len() as u64 })?;
        }
        Ok(())
    }

    /// Appends zeros that are stored nowhere.
    pub(super) fn hole(&mut self, writer: &mut Writer, length: u64) -> Result<(), SnapshotError> {
        self.bytes += length;
        self.push(writer, Item::Hole { length })
    }

    /// The finished content.
    pub(super) fn finish(mut self, writer: &mut Writer) -> Result<Stored, SnapshotError> {
        let homes = &mut self.homes;
        let content = self.builder.finish(&mut |chunk_type, bytes| place_list(writer, chunk_type, &bytes, homes))?;
        Ok(Stored { content, bytes: self.bytes, homes: self.homes })
    }

    fn push(&mut self, writer: &mut Writer, item: Item) -> Result<(), SnapshotError> {
        let homes = &mut self.homes;
        self.builder.push(item, &mut |chunk_type, bytes| place_list(writer, chunk_type, &bytes, homes))
    }

    fn consume(&mut self, writer: &mut Writer, named: &NamedBatch, monitor: &dyn Monitor) -> Result<(), SnapshotError> {
        let chunks: Vec<Named<'_>> = chunks_of(&named.batch)
            .zip(&named.ids)
            .map(|(bytes, id)| Named { chunk_type: ChunkType::Data, id: *id, bytes })
            .collect();
        self.place(writer, &chunks, &named.pieces)?;
        monitor.advance(0, named.batch.bytes.len() as u64);
        Ok(())
    }
}

fn produce(
    input: &mut (dyn Read + Send),
    chunker: &Chunker,
    sizes: &Sizes,
    mac: &mut Option<&mut blake3::Hasher>,
    stop: &Stop,
    feed: &Feed<Batch, NamedBatch>,
) -> Result<(), SnapshotError> {
    let mut bytes: Vec<u8> = Vec::with_capacity(BATCH_BYTES);
    let mut end = false;
    while !end {
        let kept = bytes.len();
        bytes.resize(BATCH_BYTES, 0);
        let mut filled = kept;
        while filled < BATCH_BYTES && !end {
            stop.check()?;
            match input.read(&mut bytes[filled..]) {
                Ok(0) => end = true,
                Ok(read) => filled += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(SnapshotError::Read(error)),
            }
        }
        bytes.truncate(filled);
        if let Some(mac) = mac {
            mac.update(&bytes[kept..]);
        }
        let mut lengths = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let Some(length) = chunker.cut(sizes, &bytes[at..], end) else { break };
            lengths.push(length);
            at += length;
        }
        let mut next = Vec::with_capacity(BATCH_BYTES);
        next.extend_from_slice(&bytes[at..]);
        bytes.truncate(at);
        // The taking side failed: it has the reason.
        if !lengths.is_empty() && feed.push(Batch { bytes, lengths }).is_err() {
            return Ok(());
        }
        bytes = next;
    }
    Ok(())
}

fn name(namer: &Namer, cutter: Option<&PieceCutter>, batch: Batch) -> NamedBatch {
    let ids: Vec<ChunkId> = chunks_of(&batch).map(|chunk| namer.id(chunk)).collect();
    let pieces = match cutter {
        Some(cutter) => chunks_of(&batch).zip(&ids).map(|(chunk, id)| cutter.cut(id, chunk)).collect(),
        None => Vec::new(),
    };
    NamedBatch { batch, ids, pieces }
}

fn chunks_of(batch: &Batch) -> impl Iterator<Item = &[u8]> {
    let mut rest = batch.bytes.as_slice();
    batch.lengths.iter().map(move |&length| {
        let (piece, after) = rest.split_at(length);
        rest = after;
        piece
    })
}

fn place_list(writer: &mut Writer, chunk_type: ChunkType, bytes: &[u8], homes: &mut Vec<Home>) -> Result<ChunkId, SnapshotError> {
    let (id, placed) = writer.place_metadata(chunk_type, bytes)?;
    homes.push(placed.home);
    Ok(id)
}
