//! Parity objects beside the packs of this repository.

use std::collections::HashSet;

use crate::id::{ObjectHash, PackId};
use crate::objects::put_parity;
use crate::repository::{Repository, RepositoryError};

impl Repository {
    /// Parity objects of a pack, with their sizes in bytes; the smallest first.
    pub(crate) fn parity_of(&self, pack: &PackId) -> Result<Vec<(ObjectHash, u64)>, RepositoryError> {
        Ok(self.objects.parity_of(pack)?)
    }

    /// Every pack that has a parity object, and how many bytes they take together.
    pub fn packs_with_parity(&self) -> Result<(HashSet<PackId>, u64), RepositoryError> {
        Ok(self.objects.packs_with_parity()?)
    }

    /// Makes the parity object of a durable pack and puts it; returns its size in bytes. Putting it twice is the same object again.
    pub(crate) fn put_parity(&self, pack: PackId, bytes: &[u8], percent: u8) -> Result<u64, RepositoryError> {
        Ok(put_parity(&*self.objects.store, pack, &[bytes], percent)?)
    }

    /// The bytes of a damaged pack, rebuilt in memory from what can be read of it and one of its parity objects. They hash to its name.
    /// `None`: it has no parity object, or more is damaged than they can mend.
    pub(crate) fn mend_pack(&self, pack: &PackId) -> Result<Option<Vec<u8>>, RepositoryError> {
        Ok(self.objects.mend_pack(pack)?)
    }
}
