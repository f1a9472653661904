//! A folder's rows -> tree chunks -> its content.

use crate::crypto::ChunkType;
use crate::format::folder::Builder;
use crate::format::tree::Content;
use crate::repository::writer::Writer;
use crate::snapshot::SnapshotError;

/// What a folder became.
pub(super) struct Stored {
    /// Where its rows stand.
    pub content: Content,
    /// Was any tree chunk new?
    pub any_new: bool,
}

/// Stores a folder given its rows (name, encoded node) in rising order of names.
pub(super) fn store<'a>(writer: &mut Writer, rows: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Result<Stored, SnapshotError> {
    let mut builder = Builder::new(&writer.repository().cut_key());
    let mut any_new = false;
    let mut place = |chunk_type: ChunkType, bytes: Vec<u8>| -> Result<_, SnapshotError> {
        let (id, placed) = writer.place_metadata(chunk_type, &bytes)?;
        any_new |= placed.new;
        Ok(id)
    };
    for (name, node) in rows {
        builder.push_encoded(name, node, &mut place)?;
    }
    let content = builder.finish(&mut place)?;
    Ok(Stored { content, any_new })
}
