//! Parity objects beside packs: put when a pack is, looked for when one turns out damaged.

use std::collections::HashSet;

use super::{ObjectError, Objects, create_same};
use crate::format::names::{self, ObjectName};
use crate::format::{limits, parity};
use crate::id::{ObjectHash, PackId};
use crate::store::{Name, ReadUnit, Store, StoreError, StoreErrorKind};

/// A read that fails is tried again in pieces of this size, so that one bad place does not hide what stands around it.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that fail are tried again sector by sector.
const SECTOR_BYTES: usize = 4 << 10;

/// Makes the parity object of a durable pack and puts it; returns its size. Putting it twice is the same object again.
pub(crate) fn put_parity(store: &dyn Store, pack: PackId, parts: &[&[u8]], percent: u8) -> Result<u64, ObjectError> {
    let (hash, object) = parity::make(pack, parts, percent)?;
    create_same(store, &ObjectName::Parity(pack, hash).name(), &[&object])?;
    Ok(object.len() as u64)
}

impl Objects {
    /// Parity objects of a pack, with their sizes; the smallest first.
    pub(crate) fn parity_of(&self, pack: &PackId) -> Result<Vec<(ObjectHash, u64)>, ObjectError> {
        let mut found = Vec::new();
        self.store.list(&format!("{}/{pack}", names::PARITY), &mut |entry| {
            if let Some(ObjectName::Parity(_, hash)) = ObjectName::parse(&entry.name) {
                found.push((hash, entry.size));
            }
        })?;
        found.sort_unstable_by_key(|&(hash, size)| (size, hash));
        Ok(found)
    }

    /// Every pack that has a parity object, and how many bytes they take together.
    pub fn packs_with_parity(&self) -> Result<(HashSet<PackId>, u64), ObjectError> {
        let mut packs = HashSet::new();
        let mut bytes = 0;
        self.store.list(names::PARITY, &mut |entry| {
            if let Some(ObjectName::Parity(pack, _)) = ObjectName::parse(&entry.name) {
                packs.insert(pack);
                bytes += entry.size;
            }
        })?;
        Ok((packs, bytes))
    }

    /// The bytes of a damaged pack, rebuilt in memory from what can be read of it and one of its parity objects. They
    /// hash to its name. `None`: it has no parity object, or more is damaged than they can mend.
    pub(crate) fn mend_pack(&self, pack: &PackId) -> Result<Option<Vec<u8>>, ObjectError> {
        let objects = self.parity_of(pack)?;
        if objects.is_empty() {
            return Ok(None);
        }
        let left = read_what_is_left(&*self.store, &names::pack_name(*pack), limits::PACK_SIZE_MAX)?;
        // Small ones cannot help more than large ones.
        for (hash, _) in objects.into_iter().rev() {
            let object = read_what_is_left(&*self.store, &ObjectName::Parity(*pack, hash).name(), limits::PARITY_SIZE_MAX)?;
            if let Ok(mended) = parity::mend(&object, *pack, &left) {
                return Ok(Some(mended));
            }
        }
        Ok(None)
    }
}

/// All of an object that can be read; zeros where it cannot. Nothing of an object that is gone or larger than any of
/// its kind. On a store far away a failed read says nothing about the object and is an error.
pub(crate) fn read_what_is_left(store: &dyn Store, name: &Name, size_max: u64) -> Result<Vec<u8>, StoreError> {
    match store.get(name, size_max) {
        Ok(bytes) => return Ok(bytes),
        Err(StoreError { kind: StoreErrorKind::Missing | StoreErrorKind::Size { .. }, .. }) => return Ok(Vec::new()),
        Err(StoreError { kind: StoreErrorKind::Failed, .. }) if store.read_unit() == ReadUnit::Exact => {}
        Err(error) => return Err(error),
    }
    // At most `size_max`, which is far below what a usize holds.
    let size = store.size(name)?.min(size_max) as usize;
    let mut bytes = vec![0; size];
    read_pieces(store, name, &mut bytes, 0, PIECE_BYTES);
    Ok(bytes)
}

fn read_pieces(store: &dyn Store, name: &Name, bytes: &mut [u8], offset: usize, piece: usize) {
    for (number, place) in bytes.chunks_mut(piece).enumerate() {
        let at = offset + number * piece;
        match store.get_range(name, at as u64, place.len()) {
            Ok(read) => place.copy_from_slice(&read),
            Err(_) if piece > SECTOR_BYTES => read_pieces(store, name, place, at, SECTOR_BYTES),
            // Zeros stay there; their checksum will not fit.
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Entry;

    /// Sectors of a disk that cannot be read.
    struct BadSectors {
        bytes: Vec<u8>,
        bad: Vec<u64>,
    }

    impl Store for BadSectors {
        fn location(&self) -> String {
            "bad sectors".to_owned()
        }
        fn create(&self, name: &Name, _: &[&[u8]]) -> Result<(), StoreError> {
            Err(StoreError::exists(name.clone()))
        }
        fn replace(&self, _: &Name, _: &[&[u8]]) -> Result<(), StoreError> {
            Err(StoreError::failed("no"))
        }
        fn get(&self, name: &Name, _: u64) -> Result<Vec<u8>, StoreError> {
            self.get_range(name, 0, self.bytes.len())
        }
        fn get_range(&self, _: &Name, offset: u64, length: usize) -> Result<Vec<u8>, StoreError> {
            let end = offset + length as u64;
            match self.bad.iter().any(|sector| sector * 4096 < end && (sector + 1) * 4096 > offset) {
                true => Err(StoreError::failed("a bad sector")),
                false => Ok(self.bytes[offset as usize..end as usize].to_vec()),
            }
        }
        fn size(&self, _: &Name) -> Result<u64, StoreError> {
            Ok(self.bytes.len() as u64)
        }
        fn list(&self, _: &str, _: &mut dyn FnMut(Entry)) -> Result<(), StoreError> {
            Ok(())
        }
        fn delete(&self, _: &Name) -> Result<(), StoreError> {
            Ok(())
        }
        fn create_place(&self) -> Result<(), StoreError> {
            Ok(())
        }
        fn read_unit(&self) -> ReadUnit {
            ReadUnit::Exact
        }
    }

    #[test]
    fn a_sector_that_cannot_be_read_costs_that_sector() {
        let bytes: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8 + 1).collect();
        let store = BadSectors { bytes: bytes.clone(), bad: vec![3, 40, 73] };
        let name = Name::new("packs/x").unwrap();
        let left = read_what_is_left(&store, &name, 1 << 20).unwrap();
        let mut expected = bytes;
        for sector in [3, 40, 73] {
            let end = expected.len().min((sector + 1) * 4096);
            expected[sector * 4096..end].fill(0);
        }
        assert!(left == expected);
    }
}
