//! Reading objects that a listing named. One bad object never ends a run: what is wrong with it is told, and the others
//! go on.

use super::{ObjectError, Objects};
use crate::format::FormatError;
use crate::id::ObjectHash;
use crate::store::{Entry, Name, ReadUnit, Store, StoreError, StoreErrorKind};

/// What a tombstone names in place of a hash when the object is larger than any snapshot: nobody reads such an object
/// to hash it.
pub(crate) const HASH_OF_TOO_LARGE: ObjectHash = ObjectHash([0; 32]);

/// The bytes of an object that a listing named; `None` when it is gone since then.
///
/// # Errors
/// [`ObjectError::Object`] when the fault is in this object: it is larger than `size_max` bytes, or a local disk cannot
/// read it. Any other error is about the store as a whole.
pub fn get(store: &dyn Store, name: &Name, size_max: u64) -> Result<Option<Vec<u8>>, ObjectError> {
    match store.get(name, size_max) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(StoreError { kind: StoreErrorKind::Missing, .. }) => Ok(None),
        Err(error) => Err(of_object(store.read_unit(), name, size_max, error)),
    }
}

/// Tells the fault of one object from that of a store.
fn of_object(unit: ReadUnit, name: &Name, size_max: u64, error: StoreError) -> ObjectError {
    let source = match error {
        StoreError { kind: StoreErrorKind::Size { size }, .. } => {
            FormatError::TooLong { what: "object", length: size, most: size_max }
        }
        // A local disk has bad sectors and files of the wrong mode. A store far away that fails says nothing about this
        // object.
        error if error.is_damage(unit) => FormatError::Unreadable { what: "object", why: error.detail().to_owned() },
        error => return error.into(),
    };
    ObjectError::Object { object: name.to_string(), source }
}

impl ObjectError {
    /// The fault of one object, in words.
    ///
    /// # Errors
    /// Any other error.
    pub(crate) fn into_fault(self) -> Result<String, Self> {
        match self {
            Self::Object { source, .. } => Ok(source.to_string()),
            error => Err(error),
        }
    }
}

impl Objects {
    /// Is the store far away? Then a read costs a round trip, and a read that fails says nothing about the object.
    pub(crate) fn is_remote(&self) -> bool {
        self.store.read_unit() == ReadUnit::Window
    }

    /// Lists every object below a folder, or with an empty name of the folder the whole store.
    ///
    /// # Errors
    /// The store's.
    pub fn list(&self, folder: &str, each: &mut dyn FnMut(Entry)) -> Result<(), StoreError> {
        self.store.list(folder, each)
    }

    /// All bytes of an object, for verification: what is wrong with it in the eyes of the store is a finding.
    ///
    /// # Errors
    /// The store's.
    pub fn get(&self, name: &Name, size_max: u64) -> Result<Vec<u8>, StoreError> {
        self.store.get(name, size_max)
    }

    /// As [`get`], from this store.
    ///
    /// # Errors
    /// Those of [`get`].
    pub(crate) fn get_listed(&self, name: &Name, size_max: u64) -> Result<Option<Vec<u8>>, ObjectError> {
        get(&*self.store, name, size_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;
    use crate::store::faults::{Fault, FaultyStore, Verb};

    #[test]
    fn a_file_that_a_disk_cannot_read_is_its_own_fault_and_a_server_that_fails_is_not() {
        let name = Name::new("index/a").unwrap();
        for (unit, fault, of_object) in [
            (ReadUnit::Exact, Fault::Fail, true),
            (ReadUnit::Exact, Fault::Denied, true),
            (ReadUnit::Window, Fault::Fail, false),
            (ReadUnit::Window, Fault::Denied, false),
        ] {
            let store = FaultyStore::new(MemoryStore::new());
            store.create(&name, &[b"ab"]).unwrap();
            store.pretend_read_unit(unit).fault(Verb::Get, 1, fault);
            let error = get(&store, &name, 2).unwrap_err();
            assert_eq!(matches!(error, ObjectError::Object { .. }), of_object, "{unit:?} {fault:?}: {error}");
            assert_eq!(get(&store, &name, 2).unwrap(), Some(b"ab".to_vec()));
            assert!(matches!(get(&store, &name, 1).unwrap_err(), ObjectError::Object { .. }));
            assert!(get(&store, &Name::new("index/b").unwrap(), 1).unwrap().is_none());
        }
    }
}
