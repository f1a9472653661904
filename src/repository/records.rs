//! What the repository says and reads through its records.

use crate::format::note::{Entry, Value};
use crate::format::proof::Proof;
use crate::id::{ObjectHash, SnapshotId};
use crate::records::Records;
use crate::records::notes::Notes;
use crate::records::tombstones::Tombstones;
use crate::repository::{Repository, RepositoryError};
use crate::store::{Name, StoreError};

impl Repository {
    /// The records of this repository.
    pub(crate) fn records(&self) -> Records<'_> {
        Records::new(&self.objects, self.config.class)
    }

    /// Reads every note and says what holds. Owners only.
    ///
    /// # Errors
    /// Those of [`Records::notes`].
    pub fn notes(&self) -> Result<Notes, RepositoryError> {
        self.need_owner("reading notes")?;
        Ok(self.records().notes(&mut self.open_cache()?)?)
    }

    /// Says these things about these snapshots; they override everything that was said before.
    ///
    /// # Errors
    /// Those of [`Records::put_notes`].
    pub fn say(&self, notes: &Notes, statements: impl IntoIterator<Item = (SnapshotId, Value)>) -> Result<(), RepositoryError> {
        let (number, time) = (notes.next_number(), self.objects.clock.now());
        let entry = |(snapshot, value)| Entry { snapshot, number, time, value };
        self.put_notes(statements.into_iter().map(entry).collect(), Vec::new())
    }

    /// Puts notes with these entries and these proofs of reading. Owners only.
    ///
    /// # Errors
    /// Those of [`Records::put_notes`].
    pub fn put_notes(&self, entries: Vec<Entry>, proofs: Vec<Proof>) -> Result<(), RepositoryError> {
        Ok(self.records().put_notes(entries, proofs)?)
    }

    /// Lists and reads `forgotten/`. Each record is read only once from the store.
    ///
    /// # Errors
    /// The store's; no cache can be kept.
    pub fn tombstones(&self) -> Result<Tombstones, RepositoryError> {
        let listed = self.records().list_tombstones()?;
        if listed.is_empty() {
            return Ok(Tombstones::default());
        }
        Ok(self.records().tombstones(listed, &mut self.open_cache()?)?)
    }

    /// Forgets one snapshot. A prune frees its space; until then `undelete` brings the snapshot back. Owners only.
    ///
    /// # Errors
    /// The store's; sealing failed.
    pub fn forget(&self, id: SnapshotId, hash: ObjectHash, reason: &str) -> Result<(), RepositoryError> {
        Ok(self.records().forget(id, hash, reason)?)
    }

    /// Creates a small record that makes room. On a store that is too full for it, the ballast is deleted first.
    ///
    /// # Errors
    /// The store's.
    pub fn create_small(&self, name: &Name, sealed: &[u8]) -> Result<(), StoreError> {
        self.records().create_small(name, sealed)
    }

    /// As [`Repository::create_small`], for a record that may exist already because a reply was lost.
    ///
    /// # Errors
    /// The store's; the name is taken by other bytes.
    pub fn create_small_same(&self, name: &Name, sealed: &[u8]) -> Result<(), RepositoryError> {
        Ok(self.records().create_small_same(name, sealed)?)
    }

    /// Writes the ballast to a local store that has none. A store without room for it is no error.
    ///
    /// # Errors
    /// The store's; no randomness.
    pub fn keep_ballast(&self) -> Result<(), RepositoryError> {
        Ok(self.records().keep_ballast()?)
    }
}
