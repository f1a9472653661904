//! Index files: the listing, and the writer. An index file names durable packs only.

use super::CatalogError;
use crate::format::index::{self, IndexFile};
use crate::format::names;
use crate::format::pack::PackFacts;
use crate::id::IndexId;
use crate::objects::Objects;
use crate::objects::create_same;
use crate::store::Entry;

/// Every listed index file, in the order of ids.
///
/// # Errors
/// The store's.
pub(crate) fn list_index_files(objects: &Objects) -> Result<Vec<(IndexId, Entry)>, CatalogError> {
    let mut files = Vec::new();
    objects.store.list(names::INDEX, &mut |entry| {
        if let Some(id) = names::parse_index(&entry.name) {
            files.push((id, entry));
        }
    })?;
    files.sort_unstable_by_key(|(id, _)| *id);
    Ok(files)
}

/// Is told of each index file that was put: its id, its size in bytes, and the packs that it names.
pub(crate) type EachFile<'a> = dyn FnMut(IndexId, u64, &[PackFacts]) -> Result<(), CatalogError> + 'a;

/// Puts index files that name these durable packs, as few as their size limit allows. The first one says that it replaces `replaces`.
///
/// # Errors
/// The store's, and those of `put`.
pub(crate) fn put_index_files(
    objects: &Objects,
    packs: Vec<PackFacts>,
    replaces: &[IndexId],
    put: &mut EachFile<'_>,
) -> Result<(), CatalogError> {
    let mut packs = packs.into_iter().peekable();
    let mut replaces = replaces.to_vec();
    while packs.peek().is_some() {
        let mut file = IndexFile { replaces: std::mem::take(&mut replaces), packs: Vec::new() };
        let mut rows = 0;
        while let Some(next) =
            packs.next_if(|next| file.packs.is_empty() || index::fits(rows + index::row_length(next), file.replaces.len()))
        {
            rows += index::row_length(&next);
            file.packs.push(next);
        }
        let (id, sealed) = index::seal(&objects.sealer, &file)?;
        create_same(&*objects.store, &names::index_name(id), &[&sealed])?;
        put(id, sealed.len() as u64, &file.packs)?;
    }
    Ok(())
}
