//! A store in memory: for tests, simulations and `memory:`. It obeys the contract of [`Store`] to the letter and is gone with the process.

use crate::locks::Unpoisoned;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Entry, Name, ReadUnit, Store, StoreError, beyond, concat, in_folder, too_large};

/// Objects in a map.
pub struct MemoryStore {
    /// `None`: the place itself is not there yet.
    objects: Mutex<Option<BTreeMap<Name, Arc<[u8]>>>>,
}

impl MemoryStore {
    /// An empty store whose place exists.
    #[expect(clippy::new_without_default, reason = "there are two kinds of empty")]
    pub fn new() -> Self {
        Self { objects: Mutex::new(Some(BTreeMap::new())) }
    }

    /// A store whose place must first be created.
    pub fn without_place() -> Self {
        Self { objects: Mutex::new(None) }
    }

    /// Another store that holds the same objects now; what happens to one later does not touch the other.
    pub fn fork(&self) -> Self {
        Self { objects: Mutex::new(self.lock().clone()) }
    }

    fn lock(&self) -> MutexGuard<'_, Option<BTreeMap<Name, Arc<[u8]>>>> {
        // Every change is one call on the map, so a panic elsewhere leaves nothing half done.
        self.objects.lock().unpoisoned()
    }

    fn with<R>(&self, work: impl FnOnce(&mut BTreeMap<Name, Arc<[u8]>>) -> Result<R, StoreError>) -> Result<R, StoreError> {
        work(self.lock().as_mut().ok_or_else(|| StoreError::no_store(self.location()))?)
    }

    fn find(&self, name: &Name) -> Result<Arc<[u8]>, StoreError> {
        self.with(|objects| objects.get(name).cloned().ok_or_else(|| StoreError::missing(name.clone())))
    }
}

impl Store for MemoryStore {
    fn location(&self) -> String {
        "memory:".to_owned()
    }

    fn create(&self, name: &Name, parts: &[&[u8]]) -> Result<(), StoreError> {
        let bytes = concat(parts);
        self.with(|objects| match objects.entry(name.clone()) {
            std::collections::btree_map::Entry::Occupied(_) => Err(StoreError::exists(name.clone())),
            std::collections::btree_map::Entry::Vacant(free) => {
                free.insert(bytes.into());
                Ok(())
            }
        })
    }

    fn replace(&self, name: &Name, parts: &[&[u8]]) -> Result<(), StoreError> {
        let bytes = concat(parts);
        self.with(|objects| {
            objects.insert(name.clone(), bytes.into());
            Ok(())
        })
    }

    fn get(&self, name: &Name, size_max: u64) -> Result<Vec<u8>, StoreError> {
        let bytes = self.find(name)?;
        if bytes.len() as u64 > size_max {
            return Err(too_large(name, bytes.len() as u64, size_max));
        }
        Ok(bytes.to_vec())
    }

    fn get_range(&self, name: &Name, offset: u64, length: usize) -> Result<Vec<u8>, StoreError> {
        let bytes = self.find(name)?;
        let size = bytes.len() as u64;
        let range = usize::try_from(offset).ok().and_then(|start| bytes.get(start..start.checked_add(length)?));
        Ok(range.ok_or_else(|| beyond(name, size, offset, length))?.to_vec())
    }

    fn size(&self, name: &Name) -> Result<u64, StoreError> {
        Ok(self.find(name)?.len() as u64)
    }

    fn list(&self, folder: &str, each: &mut dyn FnMut(Entry)) -> Result<(), StoreError> {
        // Collected first: `each` may call this store.
        let entries = self.with(|objects| {
            let inside = objects.iter().filter(|(name, _)| in_folder(name, folder));
            Ok(inside.map(|(name, bytes)| Entry { name: name.clone(), size: bytes.len() as u64 }).collect::<Vec<_>>())
        })?;
        entries.into_iter().for_each(each);
        Ok(())
    }

    fn delete(&self, name: &Name) -> Result<(), StoreError> {
        self.with(|objects| {
            objects.remove(name);
            Ok(())
        })
    }

    fn create_place(&self) -> Result<(), StoreError> {
        self.lock().get_or_insert_default();
        Ok(())
    }

    fn read_unit(&self) -> ReadUnit {
        ReadUnit::Exact
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreErrorKind;

    #[test]
    fn a_fork_goes_its_own_way() {
        let store = MemoryStore::new();
        let name = |text| Name::new(text).unwrap();
        store.create(&name("a"), &[b"1"]).unwrap();
        let fork = store.fork();
        store.delete(&name("a")).unwrap();
        fork.create(&name("b"), &[b"2"]).unwrap();
        assert_eq!(fork.get(&name("a"), 9).unwrap(), b"1");
        assert!(matches!(store.get(&name("b"), 9), Err(StoreError { kind: StoreErrorKind::Missing, .. })));
    }

    #[test]
    fn a_listing_may_call_back() {
        let store = MemoryStore::new();
        store.create(&Name::new("gc/1").unwrap(), &[b"x"]).unwrap();
        store.list("gc", &mut |entry| store.delete(&entry.name).unwrap()).unwrap();
        assert!(store.size(&Name::new("gc/1").unwrap()).is_err());
    }
}
