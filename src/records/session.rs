//! The session of one writer: its start record, its acknowledgements, its commit, and the record that it is closed.

use crate::clock;
use crate::format::limits;
use crate::format::names::{self, ObjectName};
use crate::format::session::{self, Acknowledgement, Closed, Start};
use crate::format::snapshot::{self, Snapshot};
use crate::id::{ObjectHash, PackId, SessionId, SnapshotId};
use crate::objects::create_same;
use crate::planted;
use crate::records::{RecordError, Records, liveness};
use crate::store::{StoreError, StoreErrorKind};

/// A live session. Dropping it ends nothing: a session ends when it commits or gives up.
pub struct Session {
    id: SessionId,
    records: u32,
}

impl Session {
    /// S0: chooses the id and makes the start record durable, before anything is listed (R10).
    ///
    /// # Errors
    /// The store's; sealing failed; no randomness.
    pub fn start(records: &Records<'_>, host: &str) -> Result<Self, RecordError> {
        let id = if planted::is("sid-reused") { SessionId([7; 16]) } else { SessionId(clock::random(&*records.objects.rng)?) };
        let start = Start {
            session: id,
            time: records.objects.clock.now(),
            host: host.to_owned(),
            program: concat!("esker ", env!("CARGO_PKG_VERSION")).to_owned(),
            machine: liveness::machine(),
            boot: liveness::boot(),
            pid: std::process::id(),
            process_start: liveness::own_start(),
            encapsulated: *records.objects.sealer.encapsulated(),
            extra: Vec::new(),
        };
        let name = ObjectName::SessionRecord(id, 0).name();
        let sealed = session::seal_start(&records.objects.sealer, &start)?;
        create_same(&*records.objects.store, &name, &[&sealed])?;
        Ok(Self { id, records: 1 })
    }

    /// The session's id.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Says that this session has seen the gc records up to `number`, and the records `seen` among those whose names
    /// hold their hash. Of the packs that these records call bad it needs `pins`.
    ///
    /// # Errors
    /// The store's; sealing failed.
    pub fn acknowledge(
        &mut self,
        records: &Records<'_>,
        number: u64,
        seen: &[ObjectHash],
        pins: &[PackId],
    ) -> Result<(), RecordError> {
        let mut record =
            Acknowledgement { session: self.id, number: self.records, observed: number, pins: pins.to_vec(), extra: Vec::new() };
        record.set_seen(seen);
        let sealed = session::seal_acknowledgement(&records.objects.sealer, &record)?;
        // The number is never used again. A put that failed may still arrive later, and where names can be overwritten
        // it would remove the pins of a later record.
        self.records += 1;
        let name = ObjectName::SessionRecord(record.session, record.number).name();
        Ok(create_same(&*records.objects.store, &name, &[&sealed])?)
    }

    /// D3, the commit, and D4. Either this session or a revocation gets the name, never both (R4), so a revoked session
    /// never commits (I6). Calls `committed` once the snapshot counts. Returns its id and its size in bytes.
    ///
    /// # Errors
    /// [`RecordError::Revoked`]: nothing was committed. After any other error the snapshot may have been committed.
    pub fn commit(
        self,
        records: &Records<'_>,
        snapshot: &Snapshot,
        committed: impl FnOnce(SnapshotId, ObjectHash),
    ) -> Result<(SnapshotId, u64), RecordError> {
        let id = SnapshotId::from(self.id);
        let name = names::snapshot_name(id);
        let sealed = snapshot::seal(&records.objects.sealer, snapshot)?;
        match records.objects.store.create(&name, &[&sealed]) {
            Ok(()) => {}
            // The first reply was lost, or the session was revoked. Only our own bytes mean that it is ours.
            Err(StoreError { kind: StoreErrorKind::Exists, .. }) => {
                match records.objects.store.get(&name, limits::SNAPSHOT_SIZE_MAX) {
                    Ok(found) if found == sealed || planted::is("revocation-overlooked") => {}
                    Ok(_) | Err(StoreError { kind: StoreErrorKind::Size { .. }, .. }) => return Err(RecordError::Revoked),
                    Err(StoreError { kind: StoreErrorKind::Missing, .. }) => {
                        return Err(RecordError::inconclusive(format!("{name} is said to exist, and then not to")));
                    }
                    // It is not known which object has the name. To start again could take the snapshot twice.
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error.into()),
        }
        // M5: where names can be overwritten, a revocation is put beside the snapshot. Then nothing was committed.
        if records.revoked_beside()?.contains(&self.id) && !planted::is("revocation-beside-overlooked") {
            return Err(RecordError::Revoked);
        }
        committed(id, names::hash_of(&[&sealed]));
        // Housekeeping only: nothing relies on this record, so a failure to write it does no harm.
        let _ = self.close(records);
        Ok((id, sealed.len() as u64))
    }

    /// V3: a run that gives up writes its own revocation, so no prune waits for it.
    ///
    /// # Errors
    /// The store's; sealing failed.
    pub(crate) fn give_up(self, records: &Records<'_>) -> Result<(), RecordError> {
        records.revoke(self.id, "the run gave up", None)?;
        self.close(records)
    }

    /// As [`Session::give_up`], for a snapshot of `host` that failed: the revocation says so. `reason` is for a person.
    ///
    /// # Errors
    /// The store's; sealing failed.
    pub fn fail(self, records: &Records<'_>, host: &str, reason: &str) -> Result<(), RecordError> {
        records.revoke(self.id, first_line_of(reason), Some(host))?;
        self.close(records)
    }

    fn close(&self, records: &Records<'_>) -> Result<(), RecordError> {
        let sealed = session::seal_closed(&records.objects.sealer, &Closed { session: self.id, extra: Vec::new() })?;
        Ok(create_same(&*records.objects.store, &ObjectName::SessionClosed(self.id).name(), &[&sealed])?)
    }
}

/// The longest reason that a revocation holds, in bytes.
const REASON_SIZE_MAX: usize = 1000;

/// One line only: every writer can read it, and the whole output of a tool belongs in the log.
fn first_line_of(reason: &str) -> &str {
    let line = reason.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("the run failed");
    let end = (0..=REASON_SIZE_MAX.min(line.len())).rev().find(|&end| line.is_char_boundary(end));
    &line[..end.unwrap_or(0)]
}
