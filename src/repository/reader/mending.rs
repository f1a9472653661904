//! Reading through parity: damaged packs are mended in memory, and what comes of it is kept apart from what stands in the store.

use std::sync::Arc;

use super::{BadCopy, Reader};
use crate::catalog::{PackNumber, StoredCopy, Trust};
use crate::crypto::ChunkType;
use crate::format::pack::{self, PackFacts};
use crate::id::{ChunkId, PackId};
use crate::locks::Unpoisoned;
use crate::planted;
use crate::repository::RepositoryError;

impl Reader {
    /// The last way: copies in damaged packs that a parity object mends, also in packs that were cut off and are therefore not in the
    /// view.
    pub(super) fn read_mended(
        &self,
        chunk_type: ChunkType,
        id: &ChunkId,
        bad: &[BadCopy],
    ) -> Result<Option<Vec<u8>>, RepositoryError> {
        if bad.iter().any(|copy| self.repository.is_damage(&copy.error)) {
            for copy in self.copies(chunk_type, id)? {
                if let Ok(bytes) = self.read_copy_mended(chunk_type, id, copy.pack, copy.row) {
                    return Ok(Some(bytes));
                }
            }
        }
        for copy in self.copies_cut_off(chunk_type, id)? {
            if let Ok(bytes) = self.read_copy_mended(chunk_type, id, copy.pack, copy.row) {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// Copies in packs of the wrong size, which are not in the view, as far as parity gives these packs back.
    pub(super) fn copies_cut_off(&self, chunk_type: ChunkType, id: &ChunkId) -> Result<Vec<StoredCopy>, RepositoryError> {
        let found = {
            let catalog = &mut *self.lock();
            if !catalog.view().has_cut_off() {
                return Ok(Vec::new());
            }
            let found = catalog.find(self.repository.objects(), &[(chunk_type, *id)], Trust::CutOff)?;
            let view = catalog.view();
            found.into_iter().filter_map(|(_, copy)| Some((view.cut_off(copy.pack)?, copy))).collect::<Vec<_>>()
        };
        let mut copies = Vec::new();
        for (pack, copy) in found {
            if self.mended_pack(&pack)?.is_some() {
                copies.push(copy);
            }
        }
        Ok(copies)
    }

    /// Can a parity object mend this pack? If so, its bytes, which hash to its name.
    pub(crate) fn mended_pack(&self, id: &PackId) -> Result<Option<Arc<Vec<u8>>>, RepositoryError> {
        // Held while mending: other threads that want the same pack wait for it instead of doing the same.
        let mut mended = self.mended.lock().unpoisoned();
        if mended.hopeless.contains(id) {
            return Ok(None);
        }
        if let Some((last, bytes)) = &mended.last
            && last == id
        {
            return Ok(Some(Arc::clone(bytes)));
        }
        match self.repository.mend_pack(id)? {
            Some(bytes) => {
                let bytes = Arc::new(bytes);
                mended.last = Some((*id, Arc::clone(&bytes)));
                Ok(Some(bytes))
            }
            None => {
                mended.hopeless.insert(*id);
                Ok(None)
            }
        }
    }

    /// The same out of the mended pack, when it does not open as it lies there.
    pub(super) fn open_frame_mended(
        &self,
        number: PackNumber,
        facts: &PackFacts,
        frame: u32,
    ) -> Result<Arc<Vec<u8>>, RepositoryError> {
        if let Some(opened) = self.frames_mended.get(&(number, frame)) {
            return Ok(opened);
        }
        let error = match self.open_frame(number, facts, frame) {
            Err(error) if self.repository.is_damage(&error) => error,
            other => return other,
        };
        let Some(bytes) = self.mended_pack(&facts.id)? else { return Err(error) };
        let Some(row) = facts.directory.frames.get(frame as usize) else { return Err(error) };
        // The bytes are those of the pack's name; facts of a false index file may point anywhere all the same.
        let sealed =
            usize::try_from(row.offset).ok().and_then(|start| bytes.get(start..start.checked_add(row.sealed_length as usize)?));
        let Some(sealed) = sealed else { return Err(error) };
        let raw = pack::open_frame(&self.repository.objects.opener, &facts.header, frame, row, &mut sealed.to_vec())
            .map_err(|_| error)?;
        let raw = Arc::new(raw);
        if planted::is("parity-taken-for-proof") {
            self.frames.insert((number, frame), Arc::clone(&raw));
        }
        self.frames_mended.insert((number, frame), Arc::clone(&raw));
        Ok(raw)
    }
}
