//! One run of a writer, recorded in the repository while it lives: start, acknowledgements, commit, closed.

use crate::clock;
use crate::format::names::{self, ObjectName};
use crate::format::revocation::{self, Revocation};
use crate::format::session::{self, Acknowledgement, Closed, Start};
use crate::format::snapshot::{self, Snapshot};
use crate::id::{ObjectHash, PackId, SessionId, SnapshotId};
use crate::repository::packing::create_same;
use crate::repository::{Repository, RepositoryError};
use crate::store::StoreError;

/// A live session. Dropping it closes nothing: a session ends by its commit or by giving up.
pub struct Session {
    id: SessionId,
    records: u32,
}

impl Session {
    /// S0: chooses the id and makes the start record durable, before anything is listed (R10).
    pub fn start(repository: &Repository) -> Result<Self, RepositoryError> {
        let id = SessionId(clock::random(&*repository.rng)?);
        let start = Start {
            session: id,
            time: repository.clock.now(),
            host: repository.host.clone(),
            program: concat!("esker ", env!("CARGO_PKG_VERSION")).to_owned(),
            machine: first_line("/etc/machine-id"),
            boot: first_line("/proc/sys/kernel/random/boot_id"),
            pid: std::process::id(),
            process_start: process_start(),
            encapsulated: *repository.sealer.encapsulated(),
            extra: Vec::new(),
        };
        let name = ObjectName::SessionRecord(id, 0).name();
        let sealed = session::seal_start(&repository.sealer, &start)?;
        repository.store.create(&name, &[&sealed])?;
        Ok(Self { id, records: 1 })
    }

    /// The session's id.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// "I have seen gc records up to `number`, and of the packs they call bad I need `pins`."
    pub fn acknowledge(&mut self, repository: &Repository, number: u64, pins: &[PackId]) -> Result<(), RepositoryError> {
        let record =
            Acknowledgement { session: self.id, number: self.records, observed: number, pins: pins.to_vec(), extra: Vec::new() };
        let sealed = session::seal_acknowledgement(&repository.sealer, &record)?;
        create_same(&*repository.store, &ObjectName::SessionRecord(self.id, self.records).name(), &[&sealed])?;
        self.records += 1;
        Ok(())
    }

    /// D3, the commit, and D4. Exactly one of this session and a revoker wins the name.
    pub fn commit(self, repository: &Repository, snapshot: &Snapshot) -> Result<(SnapshotId, u64), RepositoryError> {
        let id = SnapshotId::from(self.id);
        let name = names::snapshot_name(id);
        let sealed = snapshot::seal(&repository.sealer, snapshot)?;
        match repository.store.create(&name, &[&sealed]) {
            Ok(()) => {}
            // A lost reply, or a revocation: what stands there tells. Anything but our own bytes means we lost.
            Err(StoreError::AlreadyExists(_)) => {
                let found = repository.store.get(&name, crate::format::limits::SNAPSHOT_SIZE_MAX);
                if !found.is_ok_and(|found| found == sealed) {
                    return Err(RepositoryError::Revoked);
                }
            }
            Err(error) => return Err(error.into()),
        }
        repository.remember_commit(id, ObjectHash(*blake3::hash(&sealed).as_bytes()));
        // Housekeeping only: nothing believes it, so failing to write it is nothing.
        let _ = self.close(repository);
        Ok((id, sealed.len() as u64))
    }

    /// A run that gives up writes its own revocation, so that nobody waits for it.
    pub fn give_up(self, repository: &Repository) -> Result<(), RepositoryError> {
        let revocation =
            Revocation { session: self.id, time: repository.clock.now(), reason: "the run gave up".to_owned(), extra: Vec::new() };
        let sealed = revocation::seal(&repository.sealer, &revocation)?;
        match repository.store.create(&names::snapshot_name(self.id.into()), &[&sealed]) {
            Ok(()) | Err(StoreError::AlreadyExists(_)) => {}
            Err(error) => return Err(error.into()),
        }
        self.close(repository)
    }

    fn close(&self, repository: &Repository) -> Result<(), RepositoryError> {
        let sealed = session::seal_closed(&repository.sealer, &Closed { session: self.id, extra: Vec::new() })?;
        create_same(&*repository.store, &ObjectName::SessionClosed(self.id).name(), &[&sealed])
    }
}

/// Machine, boot and start time tell a dead session of this machine from a live one. What cannot be read is empty and proves nothing.
fn first_line(path: &str) -> Vec<u8> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or_default().trim().as_bytes().iter().copied().take(64).collect()
}

/// Field 22 of `/proc/self/stat`: clock ticks since boot; a process id may be used again, not together with this.
fn process_start() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the program's name in parentheses and may hold anything.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    rest.split_whitespace().nth(19).and_then(|field| field.parse().ok()).unwrap_or(0)
}
