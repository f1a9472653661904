//! One run of a writer, recorded in the repository while it lives: start, acknowledgements, commit, closed.

use crate::clock;
use crate::format::config::StoreClass;
use crate::format::names::{self, ObjectName};
use crate::format::revocation::{self, Revocation};
use crate::format::session::{self, Acknowledgement, Closed, Start};
use crate::format::snapshot::{self, Snapshot};
use crate::format::{FormatError, limits};
use crate::id::{ObjectHash, PackId, SessionId, SnapshotId};
use crate::objects::create_same;
use crate::planted;
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
        let id = if planted::is("sid-reused") { SessionId([7; 16]) } else { SessionId(clock::random(&*repository.objects.rng)?) };
        let start = Start {
            session: id,
            time: repository.objects.clock.now(),
            host: repository.host.clone(),
            program: concat!("esker ", env!("CARGO_PKG_VERSION")).to_owned(),
            machine: machine(),
            boot: first_line(BOOT),
            pid: std::process::id(),
            process_start: process_start("self").unwrap_or(0),
            encapsulated: *repository.objects.sealer.encapsulated(),
            extra: Vec::new(),
        };
        let name = ObjectName::SessionRecord(id, 0).name();
        let sealed = session::seal_start(&repository.objects.sealer, &start)?;
        create_same(&*repository.objects.store, &name, &[&sealed])?;
        Ok(Self { id, records: 1 })
    }

    /// The session's id.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// "I have seen gc records up to `number`, and of those that stand under their hash `seen`; of the packs they call bad I need `pins`."
    pub fn acknowledge(
        &mut self,
        repository: &Repository,
        number: u64,
        seen: &[ObjectHash],
        pins: &[PackId],
    ) -> Result<(), RepositoryError> {
        let mut record =
            Acknowledgement { session: self.id, number: self.records, observed: number, pins: pins.to_vec(), extra: Vec::new() };
        record.set_seen(seen);
        let sealed = session::seal_acknowledgement(&repository.objects.sealer, &record)?;
        // Never used again, whatever becomes of it: one that failed may still land, and where names are overwritten it would take away
        // what a later one pins.
        self.records += 1;
        let name = ObjectName::SessionRecord(record.session, record.number).name();
        Ok(create_same(&*repository.objects.store, &name, &[&sealed])?)
    }

    /// D3, the commit, and D4. Exactly one of this session and a revocation gets the name (R4), so a revoked session never commits (I6).
    pub fn commit(self, repository: &Repository, snapshot: &Snapshot) -> Result<(SnapshotId, u64), RepositoryError> {
        let id = SnapshotId::from(self.id);
        let name = names::snapshot_name(id);
        let sealed = snapshot::seal(&repository.objects.sealer, snapshot)?;
        match repository.objects.store.create(&name, &[&sealed]) {
            Ok(()) => {}
            // A lost reply, or a revocation: what stands there tells. Anything but our own bytes means we lost.
            Err(StoreError::AlreadyExists(_)) => {
                match repository.objects.store.get(&name, limits::SNAPSHOT_SIZE_MAX) {
                    Ok(found) if found == sealed || planted::is("revocation-overlooked") => {}
                    Ok(_) | Err(StoreError::Size { .. }) => return Err(RepositoryError::Revoked),
                    Err(StoreError::NotFound(_)) => {
                        return Err(RepositoryError::Inconclusive(format!("{name} is said to exist, and then not to")));
                    }
                    // What stands there is not known: to start again would take the snapshot twice.
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error.into()),
        }
        // M5: without create-if-absent a revocation is put beside the snapshot, and then nothing was committed.
        if repository.config.class == StoreClass::SingleMaintainer
            && is_revoked_beside(repository, self.id)?
            && !planted::is("revocation-beside-overlooked")
        {
            return Err(RepositoryError::Revoked);
        }
        repository.remember_commit(id, ObjectHash(*blake3::hash(&sealed).as_bytes()));
        // Housekeeping only: nothing believes it, so failing to write it is nothing.
        let _ = self.close(repository);
        Ok((id, sealed.len() as u64))
    }

    /// V3: a run that gives up writes its own revocation, so no prune waits for it.
    pub fn give_up(self, repository: &Repository) -> Result<(), RepositoryError> {
        revoke(repository, self.id, "the run gave up", None)?;
        self.close(repository)
    }

    /// A run whose snapshot failed: its revocation is the record of that. `reason` is for a person.
    pub fn fail(self, repository: &Repository, host: &str, reason: &str) -> Result<(), RepositoryError> {
        revoke(repository, self.id, first_line_of(reason), Some(host))?;
        self.close(repository)
    }

    fn close(&self, repository: &Repository) -> Result<(), RepositoryError> {
        let sealed = session::seal_closed(&repository.objects.sealer, &Closed { session: self.id, extra: Vec::new() })?;
        Ok(create_same(&*repository.objects.store, &ObjectName::SessionClosed(self.id).name(), &[&sealed])?)
    }
}

/// Longest reason that is kept of a run that failed, in bytes.
const REASON_SIZE_MAX: usize = 1000;

/// One line, for every writer can read it, and the whole output of a tool belongs in the log.
fn first_line_of(reason: &str) -> &str {
    let line = reason.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("the run failed");
    let end = (0..=REASON_SIZE_MAX.min(line.len())).rev().find(|&end| line.is_char_boundary(end));
    &line[..end.unwrap_or(0)]
}

/// Ends a session: exactly one of its writer and this wins. True: it is over and committed nothing; false: it committed.
///
/// Where create-if-absent cannot be trusted, the revocation is put beside the snapshot, and the writer looks for it after its commit (M4).
/// A snapshot that is listed here is left alone (M6): the run may be gone because it was done, and may have committed since the caller
/// looked.
///
/// `host`: the session was to take a snapshot of this host, so the revocation is the record of a run that failed.
pub fn revoke(repository: &Repository, session: SessionId, reason: &str, host: Option<&str>) -> Result<bool, RepositoryError> {
    if repository.config.class == StoreClass::SingleMaintainer
        && repository.snapshot_names()?.contains(&session.into())
        && !planted::is("commit-before-revocation-overlooked")
    {
        return Ok(false);
    }
    let extra = host.map(|host| (revocation::EXTRA_FAILED_HOST, false, host.as_bytes().to_vec())).into_iter().collect();
    let revocation = Revocation { session, time: repository.objects.clock.now(), reason: reason.to_owned(), extra };
    let sealed = revocation::seal(&repository.objects.sealer, &revocation)?;
    let name = match repository.config.class {
        StoreClass::Shared => names::snapshot_name(session.into()),
        StoreClass::SingleMaintainer => ObjectName::Revoked(session).name(),
    };
    match repository.create_small(&name, &sealed) {
        Ok(()) => Ok(true),
        // What stands there tells: somebody's revocation (ours, if the reply was lost), or the snapshot.
        Err(StoreError::AlreadyExists(_)) => {
            match repository.get_listed(&name, limits::SNAPSHOT_SIZE_MAX) {
                Ok(Some(found)) => Ok(revocation::stands_here(&found)),
                Ok(None) => Err(RepositoryError::Inconclusive(format!("{name} is said to exist, and then not to"))),
                // Larger than any snapshot: the name is taken, and nothing was committed under it.
                Err(RepositoryError::Object { source: FormatError::TooLong { .. }, .. }) => Ok(true),
                Err(error) => Err(error),
            }
        }
        Err(error) => Err(error.into()),
    }
}

fn is_revoked_beside(repository: &Repository, session: SessionId) -> Result<bool, RepositoryError> {
    let mut revoked = false;
    let name = ObjectName::Revoked(session).name();
    repository.objects.store.list(names::REVOKED, &mut |entry| revoked |= entry.name == name)?;
    Ok(revoked)
}

// -- what tells a dead run of this machine from a live one --------------------------------------------

const BOOT: &str = "/proc/sys/kernel/random/boot_id";
/// The second where there is no systemd.
const IDENTITIES: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];

/// V1: is it proved that the process behind this record is gone? Only its own machine, which calls itself `host`, can prove that: it was
/// started again since, or no process has that id, or the process that has it was started at another time. Whatever cannot be read proves
/// nothing.
pub fn is_dead_here(start: &Start, host: &str) -> bool {
    is_dead_on(&machine(), &first_line(BOOT), start, host)
}

fn is_dead_on(machine: &[u8], boot: &[u8], start: &Start, host: &str) -> bool {
    let (identity, namespace) = parts(machine);
    let (its_identity, its_namespace) = parts(&start.machine);
    if namespace.is_empty() || its_namespace != namespace || boot.is_empty() || start.boot.is_empty() || start.pid == 0 {
        return false;
    }
    if start.boot != boot {
        // Machines made of one template may have one identity: then their names tell them apart.
        return !identity.is_empty() && its_identity == identity && start.host == host;
    }
    // One boot is one machine, also one without an identity: as minimal systems and many containers are.
    // Without /proc nothing can be said.
    let Some(_) = process_start("self") else { return false };
    match process_start(&start.pid.to_string()) {
        Some(running) => start.process_start != 0 && running != start.process_start,
        // In a service that may not see the processes of others (ProtectProc) /proc lacks those that live; a signal that is not sent does not.
        None => is_nobody(start.pid),
    }
}

/// The kernel knows no process of this id; of one that it only lets nobody touch it says so.
fn is_nobody(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_none_or(|pid| rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH))
}

/// Which machine this is, nothing when it has no identity, and after a space which of its namespaces of process ids: in another one our
/// ids mean other processes.
fn machine() -> Vec<u8> {
    let identity = IDENTITIES.into_iter().map(first_line).find(|line| !line.is_empty()).unwrap_or_default();
    let namespace =
        std::fs::read_link("/proc/self/ns/pid").map(|link| link.into_os_string().into_encoded_bytes()).unwrap_or_default();
    if namespace.is_empty() {
        return Vec::new();
    }
    [identity.as_slice(), b" ", &namespace].concat()
}

/// Identity and namespace.
fn parts(machine: &[u8]) -> (&[u8], &[u8]) {
    let space = machine.iter().position(|byte| *byte == b' ').unwrap_or(machine.len());
    (&machine[..space], machine.get(space + 1..).unwrap_or_default())
}

/// What cannot be read is empty and proves nothing.
fn first_line(path: &str) -> Vec<u8> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or_default().trim().as_bytes().iter().copied().take(64).collect()
}

/// Field 22 of `/proc/<pid>/stat`: clock ticks since boot; a process id may be used again, not together with this.
fn process_start(pid: &str) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    fn here() -> Start {
        Start {
            session: SessionId([1; 16]),
            time: Timestamp::default(),
            host: "host".into(),
            program: "test".into(),
            machine: machine(),
            boot: first_line(BOOT),
            pid: std::process::id(),
            process_start: process_start("self").unwrap(),
            encapsulated: [0; 32],
            extra: Vec::new(),
        }
    }

    const NOBODY: u32 = u32::MAX - 1;

    #[test]
    fn a_live_run_and_one_of_another_machine_are_never_taken_for_dead() {
        assert!(!is_dead_here(&here(), "host"));
        let gone = || Start { pid: NOBODY, ..here() };
        assert!(!is_dead_here(&Start { machine: b"another".to_vec(), ..gone() }, "host"));
        assert!(!is_dead_here(&Start { machine: b"id pid:[1]".to_vec(), ..gone() }, "host"), "in a container");
        assert!(!is_dead_here(&Start { machine: Vec::new(), ..gone() }, "host"));
        assert!(!is_dead_here(&Start { boot: Vec::new(), ..gone() }, "host"));
        let booted_since = Start { boot: b"another boot".to_vec(), ..gone() };
        assert!(!is_dead_here(&booted_since, "a clone of host"));
        let (_, namespace) = parts(&booted_since.machine);
        let nameless = [b" ", namespace].concat();
        assert!(!is_dead_on(&nameless, &first_line(BOOT), &Start { machine: nameless.clone(), ..booted_since }, "host"));
    }

    #[test]
    fn a_run_of_this_machine_whose_process_is_gone_is_dead() {
        assert!(is_dead_here(&Start { pid: NOBODY, ..here() }, "host"));
        assert!(is_dead_here(&Start { process_start: 1, ..here() }, "host"), "its id belongs to another process now");
        let boot = first_line(BOOT);
        let named = b"0123456789abcdef pid:[4026531836]".to_vec();
        let booted_since = Start { machine: named.clone(), boot: b"another boot".to_vec(), ..here() };
        assert!(is_dead_on(&named, &boot, &booted_since, "host"));
        // A minimal system or a container has no identity; as long as it runs its processes have.
        let nameless = b" pid:[4026531836]".to_vec();
        let gone = Start { machine: nameless.clone(), pid: NOBODY, ..here() };
        assert!(is_dead_on(&nameless, &boot, &gone, "host"));
        assert!(is_dead_on(&named, &boot, &gone, "host"), "seen from outside a chroot");
    }
}
