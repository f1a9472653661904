//! Which processes of this machine are alive.

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// Does the kernel know no process with this id? It tells the truth also about a process that this one may not signal
/// or see in `/proc`. An id that no process can have belongs to none.
pub(crate) fn is_gone(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_none_or(|pid| test_kill_process(pid) == Err(Errno::SRCH))
}

/// When the process `pid` (or `self`) was started, in clock ticks since boot: field 22 of `/proc/<pid>/stat`. An id may
/// be used again, but not with the same start. `None`: it cannot be read, which proves nothing.
pub(crate) fn start_of(pid: &str) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_an_id_that_none_can_have_is_not() {
        assert!(!is_gone(std::process::id()) && is_gone(0) && is_gone(u32::MAX));
        assert_eq!(start_of("self"), start_of(&std::process::id().to_string()));
        assert!(start_of("self").is_some());
    }
}
