//! Is what stands on the disk what the snapshot says? Pieces are named again and compared by id: nothing is read from the repository.

use std::ops::Range;

use crate::filesystem::{FilesystemError, NewFile, OpenFile, Segment};
use crate::format::tree::Node;
use crate::id::ChunkId;
use crate::repository::Namer;
use crate::restore::plan::Piece;

/// Bytes read at once where a hole should be.
const READ_BYTES: usize = 64 << 10;
/// Longest chunk of the format; a piece that claims more cannot be one.
const CHUNK_LENGTH_MAX: u64 = 16 << 20;

/// Something with bytes at offsets.
pub(crate) trait ReadAt {
    /// Fills `buffer` from `offset` on; returns less than its length only at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, FilesystemError>;
}

impl ReadAt for OpenFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, FilesystemError> {
        Self::read_at(self, buffer, offset)
    }
}

impl ReadAt for NewFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, FilesystemError> {
        Self::read_at(self, buffer, offset)
    }
}

/// Is this chunk where it should be? The buffer is only lent.
pub(crate) fn holds_chunk(
    file: &impl ReadAt,
    namer: &Namer,
    id: &ChunkId,
    piece: &Piece,
    buffer: &mut Vec<u8>,
) -> Result<bool, FilesystemError> {
    if piece.length > CHUNK_LENGTH_MAX {
        return Ok(false);
    }
    buffer.resize(piece.length as usize, 0);
    Ok(file.read_at(buffer, piece.offset)? == buffer.len() && namer.gives(id, buffer))
}

/// Do these pieces of an open file hold what they should? Its size is not looked at.
pub(crate) fn holds_pieces(file: &OpenFile, namer: &Namer, pieces: &[Piece]) -> Result<bool, FilesystemError> {
    let mut buffer = Vec::new();
    // Where data is: asked for only when there are holes to be checked.
    let mut data: Option<Vec<Range<u64>>> = None;
    for piece in pieces {
        let holds = match &piece.chunk {
            Some(id) => holds_chunk(file, namer, id, piece, &mut buffer)?,
            None => {
                let data = data.get_or_insert_with(|| data_ranges(file));
                holds_zeros(file, data, piece.offset..piece.offset.saturating_add(piece.length))?
            }
        };
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
}

fn data_ranges(file: &OpenFile) -> Vec<Range<u64>> {
    let ranges = file.segments().filter_map(|segment| match segment {
        Segment::Data { offset, length } => Some(offset..offset + length),
        Segment::Hole { .. } => None,
    });
    ranges.collect()
}

fn holds_zeros(file: &OpenFile, data: &[Range<u64>], hole: Range<u64>) -> Result<bool, FilesystemError> {
    let mut buffer = [0; READ_BYTES];
    let first = data.partition_point(|range| range.end <= hole.start);
    for range in data[first..].iter().take_while(|range| range.start < hole.end) {
        let (mut at, end) = (range.start.max(hole.start), range.end.min(hole.end));
        while at < end {
            let part = usize::try_from(end - at).unwrap_or(READ_BYTES).min(READ_BYTES);
            let read = file.read_at(&mut buffer[..part], at)?;
            if read < part || buffer[..part].iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            at += part as u64;
        }
    }
    Ok(true)
}

/// Is the metadata what it should be already? `there` is complete, with attributes and names of owners. Setting it nevertheless would
/// move the time of the inode, and the next snapshot would read an unchanged file.
pub(super) fn same_metadata(there: &Node, node: &Node, ownership: bool) -> bool {
    let owners = |node: &Node| (node.uid, node.gid, node.user.clone(), node.group.clone());
    there.mode == node.mode
        && there.mtime == node.mtime
        && there.xattrs == node.xattrs
        && there.flags().has(node.flags())
        && (!ownership || owners(there) == owners(node))
}

/// Runs of blocks that are all zeros or not: (range within `bytes`, is zeros). A block is one of the file at `offset`, or the part of it
/// that `bytes` has at its edges.
pub(crate) fn zero_runs(bytes: &[u8], offset: u64) -> impl Iterator<Item = (Range<usize>, bool)> + '_ {
    const BLOCK: u64 = 4096;
    const ZEROS: [u8; BLOCK as usize] = [0; BLOCK as usize];
    let block_end = move |at: usize| {
        let into = (offset + at as u64) % BLOCK;
        bytes.len().min(at + (BLOCK - into) as usize)
    };
    let is_hole = move |from: usize, to: usize| bytes[from..to] == ZEROS[..to - from];
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= bytes.len() {
            return None;
        }
        let start = at;
        at = block_end(at);
        let zeros = is_hole(start, at);
        while at < bytes.len() {
            let next = block_end(at);
            if is_hole(at, next) != zeros {
                break;
            }
            at = next;
        }
        Some((start..at, zeros))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_zeros_follow_the_blocks_of_the_file() {
        let mut bytes = vec![0u8; 4096 * 4];
        bytes[4096 * 2] = 1;
        let runs: Vec<_> = zero_runs(&bytes, 8192).collect();
        assert_eq!(runs, [(0..8192, true), (8192..12288, false), (12288..16384, true)]);
        // Shifted by one byte: the block with the one that is not zero starts and ends a byte earlier.
        let runs: Vec<_> = zero_runs(&bytes, 1).collect();
        assert_eq!(runs, [(0..8191, true), (8191..12287, false), (12287..16384, true)]);
        assert_eq!(zero_runs(&[1, 0], 4095).collect::<Vec<_>>(), [(0..1, false), (1..2, true)]);
        assert_eq!(zero_runs(&[], 5).count(), 0);
    }
}
