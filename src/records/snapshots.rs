//! What the names below `snapshots/` hold: snapshots, and revocations in their place.

use super::{RecordError, Records};
use crate::format::envelope::{HEADER_SIZE, Header, ObjectType};
use crate::format::names::{self, ObjectName};
use crate::format::{FormatError, limits, revocation, snapshot};
use crate::id::{ObjectHash, SnapshotId};
use crate::objects::{HASH_OF_TOO_LARGE, ObjectError};
use crate::store::{Name, StoreError, StoreErrorKind};

/// The object with the name of a snapshot.
#[derive(Debug)]
pub(crate) enum SnapshotObject {
    /// A snapshot: the BLAKE3 of its object, and what it says or why it does not open.
    Snapshot(ObjectHash, Result<Box<snapshot::Opened>, FormatError>),
    /// The bytes of a revocation: the session of this name committed nothing.
    Revocation(Vec<u8>),
}

impl Records<'_> {
    /// Reads the object with the name of this snapshot; `None` when there is none.
    ///
    /// # Errors
    /// [`ObjectError::Object`] when it is too large or cannot be read; the store's.
    pub(crate) fn snapshot_object(&self, id: &SnapshotId) -> Result<Option<SnapshotObject>, RecordError> {
        let Some(sealed) = self.objects.get_listed(&names::snapshot_name(*id), limits::SNAPSHOT_SIZE_MAX)? else { return Ok(None) };
        if revocation::stands_here(&sealed) {
            return Ok(Some(SnapshotObject::Revocation(sealed)));
        }
        let opened = snapshot::open(&self.objects.opener, *id, &sealed).map(Box::new);
        Ok(Some(SnapshotObject::Snapshot(names::hash_of(&[&sealed]), opened)))
    }

    /// BLAKE3 of the object with the name of this snapshot, whether it opens or not; [`HASH_OF_TOO_LARGE`] when it is
    /// larger than any snapshot.
    ///
    /// # Errors
    /// [`ObjectError::Object`] when it cannot be read; the store's, also when there is none.
    pub fn snapshot_hash(&self, id: &SnapshotId) -> Result<ObjectHash, RecordError> {
        let name = names::snapshot_name(*id);
        match self.objects.get_listed(&name, limits::SNAPSHOT_SIZE_MAX) {
            Ok(Some(sealed)) => Ok(names::hash_of(&[&sealed])),
            Ok(None) => Err(StoreError::missing(name).into()),
            Err(ObjectError::Object { source: FormatError::TooLong { .. }, .. }) => Ok(HASH_OF_TOO_LARGE),
            Err(error) => Err(error.into()),
        }
    }

    /// Is there an object with the name of this snapshot?
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn has_snapshot_object(&self, id: &SnapshotId) -> Result<bool, RecordError> {
        match self.objects.store.size(&names::snapshot_name(*id)) {
            Ok(_) => Ok(true),
            Err(StoreError { kind: StoreErrorKind::Missing, .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Does a snapshot have this name, rather than a revocation? Every host can tell by the header. Where a store shows
    /// a host only its own objects, the answer is no.
    ///
    /// # Errors
    /// The store's.
    pub fn is_committed(&self, id: &SnapshotId) -> Result<bool, RecordError> {
        match self.objects.store.get_range(&names::snapshot_name(*id), 0, HEADER_SIZE) {
            Ok(header) => Ok(Header::parse(&header, ObjectType::Snapshot).is_ok()),
            Err(StoreError { kind: StoreErrorKind::Missing | StoreErrorKind::Denied | StoreErrorKind::Size { .. }, .. }) => {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// R14: deletes, after a verdict, the record of a session that is over or the object of a forgotten snapshot.
    /// Tombstones, revocations and everything below `gc/` stay for ever (B7).
    ///
    /// # Errors
    /// The store's; [`RecordError::Object`] for the name of any other object.
    pub(crate) fn clear_away(&self, name: &Name) -> Result<(), RecordError> {
        match ObjectName::parse(name) {
            Some(ObjectName::SessionRecord(..) | ObjectName::SessionClosed(_) | ObjectName::Snapshot(_)) => {
                Ok(self.objects.store.delete(name)?)
            }
            _ => Err(RecordError::inconclusive(format!("{name} is not deleted: it may be a record that holds"))),
        }
    }
}
