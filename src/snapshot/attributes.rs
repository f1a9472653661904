//! Extended attributes that are too large for their node together: the largest become data chunks, stored like a file's.

use crate::crypto::ChunkType;
use crate::format::limits::XATTRS_SIZE_MAX;
use crate::format::tree::{Content, Item, Node, XattrValue};
use crate::repository::writer::{Home, Named, Writer};
use crate::snapshot::SnapshotError;

/// Moves values out of `node`, the largest first, until the rest is small enough to stand in it; says where they are stored. One value
/// is at most 64 KiB (the kernel's limit), so one chunk holds it.
pub(crate) fn make_fit(writer: &mut Writer, node: &mut Node) -> Result<Vec<Home>, SnapshotError> {
    let mut homes = Vec::new();
    let length = |value: &XattrValue| match value {
        XattrValue::Inline(bytes) => bytes.len(),
        XattrValue::Content(_) => 0,
    };
    let mut total: usize = node.xattrs.iter().map(|xattr| xattr.name.len() + length(&xattr.value)).sum();
    while total > XATTRS_SIZE_MAX {
        let Some(largest) = node.xattrs.iter_mut().max_by_key(|xattr| length(&xattr.value)) else { break };
        let XattrValue::Inline(bytes) = &largest.value else { break };
        // Nothing left but names: the format refuses the node, with its path.
        if bytes.is_empty() {
            break;
        }
        let id = writer.repository().data_id(bytes);
        let placed = writer.place(&[Named { chunk_type: ChunkType::Data, id, bytes }])?;
        homes.extend(placed.iter().map(|placed| placed.home));
        total -= bytes.len();
        largest.value = XattrValue::Content(Content { level: 0, items: vec![Item::Chunk { id, length: bytes.len() as u64 }] });
    }
    Ok(homes)
}
