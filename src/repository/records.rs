//! What the repository says and reads through its records.

use std::collections::{BTreeMap, HashSet};

use crate::cache::Memo;
use crate::format::note::{Entry, Value};
use crate::format::proof::Proof;
use crate::format::session::OpenedStart;
use crate::id::{ObjectHash, PackId, SessionId, SnapshotId};
use crate::records::Records;
use crate::records::gc::Decided;
use crate::records::notes::Notes;
use crate::records::sessions::{SessionNames, SessionState};
use crate::records::snapshots::SnapshotObject;
use crate::records::tombstones::Tombstones;
use crate::repository::{Repository, RepositoryError};
use crate::store::Name;

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

    /// Lists `sessions/`.
    ///
    /// # Errors
    /// The store's.
    pub fn session_names(&self) -> Result<BTreeMap<SessionId, SessionNames>, RepositoryError> {
        Ok(self.records().session_names()?)
    }

    /// How a session began, if its first record can be read.
    ///
    /// # Errors
    /// The store's.
    pub fn session_start(&self, id: SessionId) -> Result<Option<OpenedStart>, RepositoryError> {
        Ok(self.records().session_start(id)?)
    }

    /// Sessions that are not over: they are under way, or dead.
    ///
    /// # Errors
    /// The store's.
    pub fn sessions_under_way(&self) -> Result<Vec<SessionId>, RepositoryError> {
        Ok(self.records().sessions_under_way()?)
    }

    /// What the records of a session prove, see [`Records::session_state`].
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn session_state(&self, id: SessionId, listed: &SessionNames) -> Result<SessionState, RepositoryError> {
        Ok(self.records().session_state(id, listed)?)
    }

    /// Sessions with a revocation beside their snapshot, see [`Records::revoked_beside`].
    ///
    /// # Errors
    /// The store's.
    pub fn revoked_beside(&self) -> Result<HashSet<SessionId>, RepositoryError> {
        Ok(self.records().revoked_beside()?)
    }

    /// Revokes sessions of this machine whose process is proved to be gone. No prune has to wait for them then. Returns
    /// which.
    ///
    /// # Errors
    /// The store's; sealing failed.
    pub(crate) fn revoke_dead_here(&self, mine: Option<SessionId>) -> Result<Vec<SessionId>, RepositoryError> {
        Ok(self.records().revoke_dead_here(mine, &self.host)?)
    }

    /// Ends a session, see [`Records::revoke`]. True: it is over and committed nothing; false: it committed.
    ///
    /// # Errors
    /// Those of [`Records::revoke`].
    pub fn revoke(&self, session: SessionId, reason: &str, host: Option<&str>) -> Result<bool, RepositoryError> {
        Ok(self.records().revoke(session, reason, host)?)
    }

    /// The ids of every name below `snapshots/`, in rising order. A name may hold a revocation.
    ///
    /// # Errors
    /// The store's.
    pub fn snapshot_names(&self) -> Result<Vec<SnapshotId>, RepositoryError> {
        Ok(self.records().snapshot_names()?)
    }

    /// Reads the object with the name of this snapshot, see [`Records::snapshot_object`].
    ///
    /// # Errors
    /// [`RepositoryError::Object`] when it is too large or cannot be read; the store's.
    pub(crate) fn snapshot_object(&self, id: &SnapshotId) -> Result<Option<SnapshotObject>, RepositoryError> {
        Ok(self.records().snapshot_object(id)?)
    }

    /// Does a snapshot have this name, rather than a revocation? See [`Records::is_committed`].
    ///
    /// # Errors
    /// The store's.
    pub fn is_committed(&self, id: &SnapshotId) -> Result<bool, RepositoryError> {
        Ok(self.records().is_committed(id)?)
    }

    /// Is there an object with the name of this snapshot?
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn has_snapshot_object(&self, id: &SnapshotId) -> Result<bool, RepositoryError> {
        Ok(self.records().has_snapshot_object(id)?)
    }

    /// The forgotten snapshots, see [`Records::good_tombstones`].
    ///
    /// # Errors
    /// Those of [`Records::good_tombstones`].
    pub(crate) fn good_tombstones(&self, memo: &mut dyn Memo) -> Result<HashSet<(SnapshotId, ObjectHash)>, RepositoryError> {
        Ok(self.records().good_tombstones(memo)?)
    }

    /// R14: deletes what a verdict allows to clear away, see [`Records::clear_away`].
    ///
    /// # Errors
    /// Those of [`Records::clear_away`].
    pub(crate) fn clear_away(&self, name: &Name) -> Result<(), RepositoryError> {
        Ok(self.records().clear_away(name)?)
    }

    /// Lists objects with which hosts tried the store.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn list_probes(&self) -> Result<Vec<Name>, RepositoryError> {
        Ok(self.records().list_probes()?)
    }

    /// Deletes one of them.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn delete_probe(&self, name: &Name) -> Result<(), RepositoryError> {
        Ok(self.records().delete_probe(name)?)
    }

    /// A7: condemns these packs, see [`Records::condemn`]. False: another prune took the number.
    ///
    /// # Errors
    /// Those of [`Records::condemn`].
    pub(crate) fn condemn(
        &self,
        number: u64,
        packs: Vec<PackId>,
        written: Vec<PackId>,
        snapshots: Vec<(SnapshotId, ObjectHash)>,
    ) -> Result<bool, RepositoryError> {
        Ok(self.records().condemn(number, packs, written, snapshots)?)
    }

    /// R3: decides about a condemn record, see [`Records::decide`].
    ///
    /// # Errors
    /// Those of [`Records::decide`].
    pub(crate) fn decide(
        &self,
        number: u64,
        condemn: (ObjectHash, bool),
        delete: Vec<PackId>,
        pardon: Vec<(PackId, u8)>,
    ) -> Result<Decided, RepositoryError> {
        Ok(self.records().decide(number, condemn, delete, pardon)?)
    }

    /// Answers a condemn record that cannot be read, or that no owner wrote, see [`Records::answer`].
    ///
    /// # Errors
    /// Those of [`Records::answer`].
    pub(crate) fn answer_gc_record(&self, number: u64, by_hash: Option<ObjectHash>) -> Result<(), RepositoryError> {
        Ok(self.records().answer(number, by_hash)?)
    }

    /// M8: deletes a gc record that no owner wrote, see [`Records::delete_forged`].
    ///
    /// # Errors
    /// Those of [`Records::delete_forged`].
    pub(crate) fn delete_forged_gc_record(&self, name: &Name) -> Result<(), RepositoryError> {
        Ok(self.records().delete_forged(name)?)
    }

    /// Writes the ballast to a local store that has none. A store without room for it is no error.
    ///
    /// # Errors
    /// The store's; no randomness.
    pub(crate) fn keep_ballast(&self) -> Result<(), RepositoryError> {
        Ok(self.records().keep_ballast()?)
    }
}
