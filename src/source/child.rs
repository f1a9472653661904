//! A child process whose standard output is read to its end and whose exit status is the truth about it.
//!
//! It stands in a process group of its own, so that ending it ends what it started and a Ctrl-C in the terminal reaches only us;
//! standard input is empty, or holds the file of a password; standard error is drained by a thread, so that a talkative child never blocks, and its end is kept.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};

use super::{Ended, Environment, Secret, SourceError};
use crate::locks::Unpoisoned;
use crate::monitor::Stop;
use crate::parallel;
use crate::planted;

/// How much of the end of standard error is kept, in bytes.
const KEPT_STDERR: usize = 64 << 10;
/// Most bytes of a small answer ([`Child::answer`]).
const MAX_ANSWER: u64 = 16 << 20;
/// How long a child may take to obey SIGTERM before SIGKILL.
const GRACE: Duration = Duration::from_secs(2);
/// How long the drained standard error is waited for after the child has ended (a grandchild may hold it open for ever).
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Size of the pipe in bytes: larger than the usual 64 KiB, so that both sides run longer at a stretch.
const PIPE: usize = 1 << 20;
/// How often the wish to stop is looked at while nothing comes.
const LOOK: Duration = Duration::from_millis(100);

/// Waits until `fd` has bytes or its end, or `limit` passes (`Ok(false)`); `None` waits for ever. The wish to stop is an error.
pub(super) fn wait_readable(fd: impl AsFd, stop: &Stop, limit: Option<Duration>) -> io::Result<bool> {
    let began = Instant::now();
    loop {
        if stop.requested() {
            return Err(SourceError::Stopped.into_read());
        }
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        let look = Timespec { tv_sec: 0, tv_nsec: LOOK.subsec_nanos().into() };
        match poll(&mut fds, Some(&look)) {
            Ok(0) => {}
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        if limit.is_some_and(|limit| began.elapsed() >= limit) {
            return Ok(false);
        }
    }
}

/// A running child. Dropped, it is ended and reaped.
pub(super) struct Child {
    /// The last part of the program's path, for messages.
    program: String,
    process: std::process::Child,
    stdout: ChildStdout,
    stderr: Arc<Mutex<Vec<u8>>>,
    drained: Receiver<()>,
    ended: Option<Ended>,
    stop: Stop,
    hidden: Secret,
}

impl Child {
    /// Starts `argv`; `hidden` is cut out of what it says.
    pub(super) fn start(argv: &[String], environment: &Environment, stop: &Stop, hidden: &Secret) -> Result<Self, SourceError> {
        stop.check()?;
        let (program, arguments) = argv.split_first().ok_or_else(|| SourceError::Settings("a command without a program".into()))?;
        let cannot = |error| SourceError::Start { program: program.clone(), error };
        let mut process = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(environment.for_child())
            .stdin(environment.stdin_for_child().map_err(cannot)?)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(cannot)?;
        let (Some(stdout), Some(mut said)) = (process.stdout.take(), process.stderr.take()) else {
            return Err(cannot(io::Error::other("no pipes"))); // cannot happen: both were asked for above
        };
        // Only faster: a system that refuses (a limit on pipe pages) is no reason to fail.
        let _ = rustix::pipe::fcntl_setpipe_size(&stdout, PIPE);
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&stderr);
        let drain = move || {
            let mut piece = [0; 8 << 10];
            while let Ok(n @ 1..) = said.read(&mut piece) {
                let mut kept = kept.lock().unpoisoned();
                kept.extend_from_slice(&piece[..n]);
                if kept.len() > 2 * KEPT_STDERR {
                    let surplus = kept.len() - KEPT_STDERR;
                    kept.drain(..surplus);
                }
            }
        };
        let name = program.rsplit('/').next().unwrap_or(program).to_owned();
        let drained = match parallel::background("stderr", drain) {
            Ok(drained) => drained,
            Err(error) => {
                let _ = process.kill();
                let _ = process.wait();
                return Err(cannot(error));
            }
        };
        Ok(Self { program: name, process, stdout, stderr, drained, ended: None, stop: stop.clone(), hidden: hidden.another() })
    }

    /// Runs `argv` to its end; all it wrote to standard output, at most 16 MiB.
    pub(super) fn answer(argv: &[String], environment: &Environment, stop: &Stop, hidden: &Secret) -> Result<Vec<u8>, SourceError> {
        let mut child = Self::start(argv, environment, stop, hidden)?;
        let mut answer = Vec::new();
        let read = (&mut child).take(MAX_ANSWER + 1).read_to_end(&mut answer);
        read.map_err(|error| SourceError::from_read(&child.program, error))?;
        if answer.len() as u64 > MAX_ANSWER {
            let detail = format!("more than {MAX_ANSWER} bytes");
            return Err(SourceError::Shape { what: format!("the answer of {}", child.program), detail });
        }
        child.wait()?;
        Ok(answer)
    }

    /// The program's name, for messages.
    pub(super) fn program(&self) -> &str {
        &self.program
    }

    /// The end of what it said so far, without secrets.
    pub(super) fn stderr(&self) -> String {
        let kept = self.stderr.lock().unpoisoned();
        self.hidden.cut_out(String::from_utf8_lossy(&kept[kept.len().saturating_sub(KEPT_STDERR)..]).into_owned())
    }

    /// After the end of its output: waits for the child and accepts status 0 only.
    pub(super) fn wait(&mut self) -> Result<(), SourceError> {
        let mut pause = Duration::from_micros(200);
        while !self.reap() {
            if self.stop.requested() {
                self.kill();
                return Err(SourceError::Stopped);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LOOK);
        }
        let _ = self.drained.recv_timeout(LAST_WORDS);
        match self.ended {
            Some(Ended::Status(0)) => Ok(()),
            Some(Ended::Status(_)) if planted::is("child-status-ignored") => Ok(()),
            Some(ended) => Err(SourceError::Child { program: self.program.clone(), ended, stderr: self.stderr() }),
            None => Err(SourceError::Unfit(format!("{}: its exit status was lost", self.program))),
        }
    }

    /// Has it ended? Then it is reaped, and its status noted.
    fn reap(&mut self) -> bool {
        if self.ended.is_none()
            && let Ok(Some(status)) = self.process.try_wait()
        {
            self.ended = Some(match (status.code(), status.signal()) {
                (Some(code), _) => Ended::Status(code),
                (None, signal) => Ended::Signal(signal.unwrap_or(0)),
            });
        }
        self.ended.is_some()
    }

    /// Ends the whole process group, at first kindly (a wrapper such as `docker exec` may want to pass it on), and reaps the child.
    pub(super) fn kill(&mut self) {
        // As long as the child is not reaped its number cannot belong to anyone else: only then is the group ours.
        if self.reap() {
            return;
        }
        let group = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::TERM);
        }
        let began = Instant::now();
        let pidfd = group.and_then(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok());
        // Becomes readable when the child has ended, reaped or not; without it (an old kernel) SIGKILL comes at once.
        if let Some(pidfd) = pidfd {
            let _ = wait_readable(pidfd, &Stop::new(), Some(GRACE.saturating_sub(began.elapsed())));
        }
        // What is left of the group; the child itself is at least a zombie, so the number is still ours.
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        self.ended = Some(Ended::Signal(Signal::KILL.as_raw()));
    }
}

impl Read for Child {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        wait_readable(&self.stdout, &self.stop, None)?;
        self.stdout.read(buffer)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Child {
        let argv = ["/bin/sh", "-c", script].map(String::from);
        Child::start(&argv, &Environment::of_process(), &Stop::new(), &Secret::new("hunter2")).unwrap()
    }

    fn run(script: &str) -> (Vec<u8>, Result<(), SourceError>) {
        let mut child = sh(script);
        let mut out = Vec::new();
        child.read_to_end(&mut out).unwrap();
        (out, child.wait())
    }

    #[test]
    fn status_zero_is_the_only_success() {
        assert!(matches!(run("echo out"), (out, Ok(())) if out == b"out\n"));
        let (out, result) = run("echo out; echo why >&2; exit 3");
        assert_eq!(out, b"out\n");
        assert!(
            matches!(result, Err(SourceError::Child { program, ended: Ended::Status(3), stderr }) if program == "sh" && stderr == "why\n")
        );
    }

    #[test]
    fn a_child_killed_by_a_signal_is_said_to_be() {
        let (_, result) = run("echo out; kill -KILL $$");
        let error = result.unwrap_err();
        assert!(error.to_string().starts_with("sh was killed by signal 9"), "{error}");
    }

    #[test]
    fn a_mebibyte_on_standard_error_neither_blocks_nor_fills_memory() {
        let (out, result) = run("head -c 1048576 /dev/zero | tr '\\0' x >&2; echo hunter2 the end >&2; echo out; exit 1");
        assert_eq!(out, b"out\n");
        let Err(SourceError::Child { stderr, .. }) = result else { panic!("status 1 was taken for success") };
        assert!(stderr.len() <= KEPT_STDERR && stderr.ends_with("x*** the end\n"), "{}", stderr.len());
    }

    #[test]
    fn ending_a_child_ends_what_it_started() {
        let mut child = sh("sleep 1000 & echo $!; wait");
        let mut number = [0; 16];
        let n = child.read(&mut number).unwrap();
        let number = std::str::from_utf8(&number[..n]).unwrap().trim().to_owned();
        let alive = || std::fs::read_to_string(format!("/proc/{number}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
        assert!(alive());
        child.kill();
        for _ in 0..100 {
            if !alive() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the grandchild {number} still runs");
    }

    #[test]
    fn a_child_that_ignores_sigterm_is_killed_all_the_same() {
        let mut child = sh("trap '' TERM; echo ready; while :; do sleep 0.1; done");
        child.read_exact(&mut [0; 6]).unwrap();
        let began = Instant::now();
        child.kill();
        assert!(began.elapsed() < 2 * GRACE);
        assert_eq!(child.ended, Some(Ended::Signal(9)));
    }

    #[test]
    fn the_wish_to_stop_ends_a_read_that_waits() {
        let mut child = sh("sleep 1000");
        child.stop.request();
        let error = child.read(&mut [0; 16]).unwrap_err();
        assert!(matches!(SourceError::from_read("x", error), SourceError::Stopped));
    }

    #[test]
    fn a_grandchild_that_holds_standard_error_open_does_not_hold_us_up() {
        let began = Instant::now();
        let (_, result) = run("sleep 5 >/dev/null & exit 0");
        assert!(result.is_ok() && began.elapsed() < Duration::from_secs(4));
    }

    #[test]
    fn a_missing_program_is_named() {
        let argv = ["no-such-program-anywhere".to_owned()];
        let result = Child::start(&argv, &Environment::of_process(), &Stop::new(), &Secret::default());
        let error = result.err().unwrap();
        assert!(error.to_string().contains("cannot start \"no-such-program-anywhere\": No such file"), "{error}");
    }
}
