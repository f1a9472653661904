//! Packs, their parity objects, and index files, as whole objects: read, replaced, deleted, and opened in memory.

use super::Objects;
use crate::format::envelope::HEADER_SIZE;
use crate::format::index::{self, IndexFile};
use crate::format::names::{self, ObjectName};
use crate::format::pack::{self, FrameRow, Head, PackFacts};
use crate::format::{FormatError, limits};
use crate::id::{IndexId, ObjectHash, PackId};
use crate::store::StoreError;

impl Objects {
    /// All bytes of a pack.
    ///
    /// # Errors
    /// The store's.
    pub fn pack_bytes(&self, id: &PackId) -> Result<Vec<u8>, StoreError> {
        self.store.get(&names::pack_name(*id), limits::PACK_SIZE_MAX)
    }

    /// All bytes of a parity object.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn parity_bytes(&self, pack: &PackId, hash: &ObjectHash) -> Result<Vec<u8>, StoreError> {
        self.store.get(&ObjectName::Parity(*pack, *hash).name(), limits::PARITY_SIZE_MAX)
    }

    /// All bytes of an index file.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn index_file_bytes(&self, id: &IndexId) -> Result<Vec<u8>, StoreError> {
        self.store.get(&names::index_name(*id), limits::INDEX_SIZE_MAX)
    }

    /// Lists the parity objects of all packs: the pack, the hash in the name, and the size in bytes.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn list_parity(&self, each: &mut dyn FnMut(PackId, ObjectHash, u64)) -> Result<(), StoreError> {
        self.store.list(names::PARITY, &mut |entry| {
            if let Some(ObjectName::Parity(pack, hash)) = ObjectName::parse(&entry.name) {
                each(pack, hash, entry.size);
            }
        })
    }

    /// Puts a pack, whatever has its name now. The caller has checked that the bytes hash to the name.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn replace_pack(&self, id: &PackId, bytes: &[u8]) -> Result<(), StoreError> {
        self.store.replace(&names::pack_name(*id), &[bytes])
    }

    /// Puts a parity object, whatever has its name now. The caller has checked that the bytes hash to the name.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn replace_parity(&self, pack: &PackId, hash: &ObjectHash, bytes: &[u8]) -> Result<(), StoreError> {
        self.store.replace(&ObjectName::Parity(*pack, *hash).name(), &[bytes])
    }

    /// Deletes a pack.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn delete_pack(&self, id: &PackId) -> Result<(), StoreError> {
        self.store.delete(&names::pack_name(*id))
    }

    /// Deletes a parity object.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn delete_parity(&self, pack: &PackId, hash: &ObjectHash) -> Result<(), StoreError> {
        self.store.delete(&ObjectName::Parity(*pack, *hash).name())
    }

    /// Deletes an index file.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn delete_index_file(&self, id: &IndexId) -> Result<(), StoreError> {
        self.store.delete(&names::index_name(*id))
    }

    /// Opens an index file.
    ///
    /// # Errors
    /// It does not open.
    pub(crate) fn open_index_file(&self, id: IndexId, sealed: &[u8]) -> Result<IndexFile, FormatError> {
        index::open(&self.opener, id, sealed)
    }

    /// What a pack says of itself, from all its bytes.
    ///
    /// # Errors
    /// Why its head or directory does not open.
    pub(crate) fn own_facts_in(&self, id: PackId, bytes: &[u8]) -> Result<PackFacts, String> {
        let head = pack::read_head(&self.opener, bytes).map_err(|error| error.to_string())?;
        let sealed = part(bytes, head.directory_range())?;
        let directory = pack::read_directory(&self.opener, &head, &mut sealed.to_vec()).map_err(|error| error.to_string())?;
        Ok(head.facts(id, directory))
    }

    /// Opens one frame of a pack in place. Returns its bytes, decompressed.
    ///
    /// # Errors
    /// It does not open.
    pub fn open_frame(
        &self,
        header: &[u8; HEADER_SIZE],
        number: u32,
        row: &FrameRow,
        sealed: &mut [u8],
    ) -> Result<Vec<u8>, FormatError> {
        pack::open_frame(&self.opener, header, number, row, sealed)
    }

    /// Checks that the padding of a pack opens, is all zeros, and ends the pack.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn check_padding(&self, facts: &PackFacts, bytes: &[u8]) -> Result<(), String> {
        let head = Head::from_facts(facts).map_err(|error| error.to_string())?;
        let sealed = part(bytes, head.pad_range())?;
        pack::check_pad(&self.opener, &head, &mut sealed.to_vec()).map_err(|error| error.to_string())?;
        if head.size() == bytes.len() as u64 { Ok(()) } else { Err("it does not end the pack".to_owned()) }
    }
}

fn part(bytes: &[u8], (offset, length): (u64, u32)) -> Result<&[u8], String> {
    let range = usize::try_from(offset).ok().and_then(|start| Some(start..start.checked_add(length as usize)?));
    range.and_then(|range| bytes.get(range)).ok_or_else(|| "it lies beyond the end of the pack".to_owned())
}
