//! Is the process behind a session gone? Only the machine on which the process ran can prove that.

use crate::format::session::Start;
use crate::process;

const BOOT: &str = "/proc/sys/kernel/random/boot_id";
/// The second one exists where there is no systemd.
const IDENTITIES: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];

/// V1: is it proved that the process behind this record is gone? Only its own machine, with the name `host`, can prove
/// that: the machine was started again since, or no process has that id, or the process with that id was started at
/// another time. What cannot be read proves nothing.
pub(crate) fn is_dead_here(start: &Start, host: &str) -> bool {
    is_dead_on(&machine(), &first_line(BOOT), start, host)
}

fn is_dead_on(machine: &[u8], boot: &[u8], start: &Start, host: &str) -> bool {
    let (identity, namespace) = parts(machine);
    let (its_identity, its_namespace) = parts(&start.machine);
    if namespace.is_empty() || its_namespace != namespace || boot.is_empty() || start.boot.is_empty() || start.pid == 0 {
        return false;
    }
    if start.boot != boot {
        // Machines made from one template may share an identity. Then their names tell them apart.
        return !identity.is_empty() && its_identity == identity && start.host == host;
    }
    // One boot is one machine, even without an identity: minimal systems and many containers have none.
    // Without /proc nothing can be proved.
    let Some(_) = process::start_of("self") else { return false };
    match process::start_of(&start.pid.to_string()) {
        Some(running) => start.process_start != 0 && running != start.process_start,
        // For a service that may not see other users' processes (ProtectProc), /proc hides processes that are alive. A
        // null signal finds them.
        None => process::is_gone(start.pid),
    }
}

/// The machine's identity (empty when it has none), a space, and the namespace of process ids. In another namespace the
/// same ids mean other processes.
pub(super) fn machine() -> Vec<u8> {
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

/// The first line of a file; empty when it cannot be read, and then it proves nothing.
fn first_line(path: &str) -> Vec<u8> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or_default().trim().as_bytes().iter().copied().take(64).collect()
}

/// This boot of the machine.
pub(super) fn boot() -> Vec<u8> {
    first_line(BOOT)
}

/// When this process was started; 0 when that cannot be read.
pub(super) fn own_start() -> u64 {
    process::start_of("self").unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::id::SessionId;

    fn here() -> Start {
        Start {
            session: SessionId([1; 16]),
            time: Timestamp::default(),
            host: "host".into(),
            program: "test".into(),
            machine: machine(),
            boot: first_line(BOOT),
            pid: std::process::id(),
            process_start: process::start_of("self").unwrap(),
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
