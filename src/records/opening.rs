//! Single records opened from their bytes, for verification: it reads every object itself and wants to know what is
//! wrong with each.

use super::Records;
use crate::format::names::ObjectName;
use crate::format::session::OpenedStart;
use crate::format::{FormatError, config, forgotten, gc, note, revocation, session};
use crate::id::{ObjectHash, SessionId, SnapshotId};

impl Records<'_> {
    /// Opens a config.
    ///
    /// # Errors
    /// It does not open.
    pub(crate) fn open_config(&self, number: u32, sealed: &[u8]) -> Result<config::Opened, FormatError> {
        config::open(&self.objects.opener, number, sealed)
    }

    /// Opens the first record of a session.
    ///
    /// # Errors
    /// It does not open.
    pub fn open_start(&self, session: SessionId, sealed: &[u8]) -> Result<OpenedStart, FormatError> {
        session::open_start(&self.objects.opener, session, sealed)
    }

    /// Checks that an acknowledgement opens.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn check_acknowledgement(&self, start: &OpenedStart, number: u32, sealed: &[u8]) -> Result<(), FormatError> {
        session::open_acknowledgement(&self.objects.opener, start, number, sealed).map(|_| ())
    }

    /// Checks that the record of a session's end opens.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn check_closed(&self, start: &OpenedStart, sealed: &[u8]) -> Result<(), FormatError> {
        session::open_closed(&self.objects.opener, start, sealed).map(|_| ())
    }

    /// Checks that a revocation beside a snapshot opens.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn check_revocation(&self, session: SessionId, sealed: &[u8]) -> Result<(), FormatError> {
        revocation::open(&self.objects.opener, session, sealed).map(|_| ())
    }

    /// Opens a tombstone. Returns the snapshot that it forgets and the hash of its object.
    ///
    /// # Errors
    /// It does not open, or no owner wrote it.
    pub(crate) fn open_tombstone(&self, snapshot: SnapshotId, sealed: &[u8]) -> Result<(SnapshotId, ObjectHash), FormatError> {
        forgotten::open(&self.objects.opener, snapshot, sealed).map(|(record, _)| (record.snapshot, record.hash))
    }

    /// Checks that a gc record, or else a note, opens.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn check_gc_record_or_note(&self, name: &ObjectName, sealed: &[u8]) -> Result<(), FormatError> {
        let opener = &self.objects.opener;
        match *name {
            ObjectName::GcCondemn(number) | ObjectName::GcCondemnByHash(number, _) => {
                gc::open_condemn(opener, number, sealed).map(|_| ())
            }
            ObjectName::GcVerdict(number) | ObjectName::GcVerdictByHash(number, _) => {
                gc::open_verdict(opener, number, sealed).map(|_| ())
            }
            _ => note::open(opener, sealed).map(|_| ()),
        }
    }
}
