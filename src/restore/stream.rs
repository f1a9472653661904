//! The bytes of one file or stream, in order, to a writer.

use std::io::Write;

use crate::crypto::ChunkType;
use crate::format::content::Leaves;
use crate::format::tree::{Item, Node, NodeKind};
use crate::id::ChunkId;
use crate::monitor::{Monitor, Stop};
use crate::parallel::{self, Feed};
use crate::repository::{Reader, RepositoryError};
use crate::restore::RestoreError;
use crate::restore::proof::{Proving, StreamProof};

/// Items whose places are looked up together, so that those of one frame are read by one thread.
const ITEMS_LOOKED_UP: usize = 256;
/// Bytes one job reads, unless a single chunk is longer.
const JOB_BYTES: u64 = 1 << 20;
/// Jobs read ahead of the writer.
const JOBS_IN_FLIGHT: usize = 8;
/// Zeros written at once where a hole is.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Neighbouring parts of the file that are best read together.
enum Job {
    Chunks(Vec<(ChunkId, u64)>),
    Hole(u64),
}

/// What came of a job.
enum Part {
    Bytes(Vec<Vec<u8>>),
    Hole(u64),
}

/// Writes the bytes of a file to `out`, read ahead on all cores; memory is bounded by a few chunks. Returns how many there were.
///
/// A damaged chunk ends it: what was written by then is right, and the rest is missing. With a proof the whole must be what was taken; that
/// it is not is known only at the end.
pub fn dump(
    reader: &Reader,
    node: &Node,
    path: &[u8],
    proof: Option<&StreamProof>,
    out: &mut dyn Write,
    monitor: &dyn Monitor,
    stop: &Stop,
) -> Result<u64, RestoreError> {
    check_kind(node, path)?;
    let mut written = 0u64;
    let mut proving = proof.map(StreamProof::begin);
    parallel::pipeline(
        super::threads(reader),
        JOBS_IN_FLIGHT,
        |feed: &Feed<Job, Result<Part, RepositoryError>>| produce(reader, node, stop, feed),
        |job| read(reader, job),
        |part| {
            let before = written;
            match part? {
                Part::Bytes(chunks) => {
                    for bytes in chunks {
                        if let Some(proving) = &mut proving {
                            proving.feed(&bytes);
                        }
                        out.write_all(&bytes).map_err(RestoreError::Output)?;
                        written += bytes.len() as u64;
                    }
                }
                Part::Hole(length) => {
                    write_zeros(out, length, &mut proving, stop)?;
                    written += length;
                }
            }
            monitor.advance(0, written - before);
            Ok::<(), RestoreError>(())
        },
    )?;
    out.flush().map_err(RestoreError::Output)?;
    if written != node.size {
        let detail = format!("{} has {written} bytes where {} should be", crate::filesystem::shown(path), node.size);
        return Err(RepositoryError::TreeDamaged { id: ChunkId([0; 32]), detail }.into());
    }
    match proving {
        Some(proving) if !proving.is_proved() => Err(RestoreError::NotTheStream { path: path.to_vec() }),
        _ => Ok(written),
    }
}

fn check_kind(node: &Node, path: &[u8]) -> Result<(), RestoreError> {
    let what = match node.kind {
        NodeKind::File => return Ok(()),
        NodeKind::Folder => "folder",
        NodeKind::Symlink => "symbolic link",
        NodeKind::Fifo => "named pipe",
        NodeKind::Socket => "socket",
        NodeKind::Char | NodeKind::Block => "device",
    };
    Err(RestoreError::NotAFile { path: path.to_vec(), what })
}

fn produce(reader: &Reader, node: &Node, stop: &Stop, feed: &Feed<Job, Result<Part, RepositoryError>>) -> Result<(), RestoreError> {
    let mut items = Vec::with_capacity(ITEMS_LOOKED_UP);
    reader.for_each_item::<RestoreError>(&node.content, Leaves::Data, &mut |item| {
        items.push(*item);
        if items.len() < ITEMS_LOOKED_UP { Ok(()) } else { push(reader, &mut items, stop, feed) }
    })?;
    push(reader, &mut items, stop, feed)
}

fn push(
    reader: &Reader,
    items: &mut Vec<Item>,
    stop: &Stop,
    feed: &Feed<Job, Result<Part, RepositoryError>>,
) -> Result<(), RestoreError> {
    stop.check()?;
    let chunks: Vec<(ChunkType, ChunkId)> = items
        .iter()
        .filter_map(|item| match *item {
            Item::Chunk { id, .. } => Some((ChunkType::Data, id)),
            Item::Hole { .. } => None,
        })
        .collect();
    let mut frames = reader.locate(&chunks)?.into_iter().map(|at| at.map(|at| (at.pack, at.frame)));
    // A closed feed: the writer failed, and has the reason.
    let send = |job| feed.push(job).map_err(|_| RestoreError::stopped());
    let (mut together, mut bytes, mut frame) = (Vec::new(), 0u64, None);
    for item in items.drain(..) {
        let next = if matches!(item, Item::Chunk { .. }) { frames.next().flatten() } else { None };
        let fits = next == frame && bytes.saturating_add(item.length()) <= JOB_BYTES;
        if !together.is_empty() && (!fits || matches!(item, Item::Hole { .. })) {
            send(Job::Chunks(std::mem::take(&mut together)))?;
            bytes = 0;
        }
        frame = next;
        match item {
            Item::Chunk { id, length } => {
                together.push((id, length));
                bytes += length;
            }
            Item::Hole { length } => send(Job::Hole(length))?,
        }
    }
    if together.is_empty() { Ok(()) } else { send(Job::Chunks(together)) }
}

fn read(reader: &Reader, job: Job) -> Result<Part, RepositoryError> {
    let chunks = match job {
        Job::Hole(length) => return Ok(Part::Hole(length)),
        Job::Chunks(chunks) => chunks,
    };
    let mut texts = Vec::with_capacity(chunks.len());
    for (id, length) in chunks {
        let bytes = reader.read_chunk(ChunkType::Data, &id)?;
        if bytes.len() as u64 != length {
            return Err(RepositoryError::ChunkDamaged { id, detail: "it has another length than the file says".to_owned() });
        }
        texts.push(bytes);
    }
    Ok(Part::Bytes(texts))
}

fn write_zeros(out: &mut dyn Write, length: u64, proving: &mut Option<Proving<'_>>, stop: &Stop) -> Result<(), RestoreError> {
    let mut left = length;
    while left > 0 {
        stop.check()?;
        let part = usize::try_from(left).unwrap_or(ZEROS.len()).min(ZEROS.len());
        if let Some(proving) = proving {
            proving.feed(&ZEROS[..part]);
        }
        out.write_all(&ZEROS[..part]).map_err(RestoreError::Output)?;
        left -= part as u64;
    }
    Ok(())
}
