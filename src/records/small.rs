//! Small records on a store that may be full, and records that are read once.

use super::{RecordError, Records};
use crate::cache::Memo;
use crate::format::names;
use crate::id::ObjectHash;
use crate::objects::create_same;
use crate::store::{Name, ReadUnit, StoreError, StoreErrorKind};

/// The space that a full disk gives back for tombstones, condemn records and verdicts. Each of them takes some KiB and
/// is written beside its final name.
const BALLAST_SIZE_BYTES: usize = 256 << 10;

impl Records<'_> {
    /// Creates a small record that makes room. On a store that is too full for it, the ballast is deleted first.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn create_small(&self, name: &Name, sealed: &[u8]) -> Result<(), StoreError> {
        let store = &self.objects.store;
        match store.create(name, &[sealed]) {
            // A writer key deletes nothing, ever.
            Err(error @ StoreError { kind: StoreErrorKind::Full, .. }) if self.objects.keys.is_owner() => {
                let ballast = names::ballast();
                if store.size(&ballast).is_err() {
                    return Err(error);
                }
                store.delete(&ballast)?;
                store.create(name, &[sealed])
            }
            other => other,
        }
    }

    /// As [`Records::create_small`], for a record that may exist already because a reply was lost.
    ///
    /// # Errors
    /// The store's; [`RecordError::Object`] when the name is taken by other bytes.
    pub(crate) fn create_small_same(&self, name: &Name, sealed: &[u8]) -> Result<(), RecordError> {
        match self.create_small(name, sealed) {
            Err(StoreError { kind: StoreErrorKind::Exists, .. }) => Ok(create_same(&*self.objects.store, name, &[sealed])?),
            other => Ok(other?),
        }
    }

    /// Writes the ballast to a local store that has none. A store without room for it is no error.
    ///
    /// # Errors
    /// The store's; no randomness.
    pub(crate) fn keep_ballast(&self) -> Result<(), RecordError> {
        let name = names::ballast();
        let store = &self.objects.store;
        if store.read_unit() != ReadUnit::Exact || !self.objects.keys.is_owner() || store.size(&name).is_ok() {
            return Ok(());
        }
        // Random, so that no file system compresses it.
        let mut bytes = vec![0; BALLAST_SIZE_BYTES];
        self.objects.rng.fill(&mut bytes)?;
        match store.create(&name, &[&bytes]) {
            Ok(()) | Err(StoreError { kind: StoreErrorKind::Exists | StoreErrorKind::Full, .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// A small record whose name ends in its own hash: from the memo, else from the store and then into the memo. The
    /// inner error says why the record is of no use: it is gone, it is too large, or its bytes do not hash to its name.
    ///
    /// # Errors
    /// The store's; no cache can be kept.
    pub(super) fn recall_or_get(
        &self,
        memo: &mut dyn Memo,
        name: &Name,
        hash: &ObjectHash,
        size_max: u64,
    ) -> Result<Result<Vec<u8>, String>, RecordError> {
        let key = [b"record ", name.as_str().as_bytes()].concat();
        if let Some(sealed) = memo.recall(&key)?.filter(|sealed| names::hash_of(&[sealed]) == *hash) {
            return Ok(Ok(sealed));
        }
        let sealed = match self.objects.get_listed(name, size_max) {
            Ok(Some(sealed)) => sealed,
            Ok(None) => return Ok(Err(StoreError::missing(name.clone()).to_string())),
            Err(error) => return Ok(Err(error.into_fault()?)),
        };
        if names::hash_of(&[&sealed]) != *hash {
            return Ok(Err("its bytes do not hash to its name".to_owned()));
        }
        memo.remember(&key, Some(&sealed))?;
        Ok(Ok(sealed))
    }
}
