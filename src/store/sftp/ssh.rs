//! The user's own `ssh` as a child that carries the protocol: how it is started, what it said, how it ends.
//!
//! It stands in a process group of its own, so that a Ctrl-C in the terminal reaches only us and what is half done can be ended well. When we
//! die, its standard input ends and so does it. It never asks for anything, and sees nothing of our environment that begins with `ESKER_`.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use rustix::process::{Pid, Signal, kill_process_group};

use super::{SftpAddress, SftpOptions};
use crate::environment::Environment;
use crate::locks::Unpoisoned;
use crate::parallel;

/// How much of the end of standard error is kept, in bytes.
const KEPT: usize = 4 << 10;
/// How many of its last lines are shown.
const SHOWN_LINES: usize = 3;
/// How long a child may take to obey SIGTERM before SIGKILL.
const GRACE: Duration = Duration::from_millis(500);

/// What ssh is told after the user's own arguments, of which the first of a kind wins.
const SETTINGS: [&str; 9] = [
    "BatchMode=yes",
    "ConnectTimeout=30",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=4",
    // An existing master is used, but none is left behind.
    "ControlMaster=no",
    "ForwardAgent=no",
    "ForwardX11=no",
    "ClearAllForwardings=yes",
    "PermitLocalCommand=no",
];

/// The command that reaches the server.
pub(super) fn command(address: &SftpAddress, options: &SftpOptions) -> Command {
    let mut command = match options.command.split_first() {
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments);
            command
        }
        None => {
            let mut command = Command::new("ssh");
            command.args(&options.args);
            for setting in SETTINGS {
                command.arg("-o").arg(setting);
            }
            if let Some(port) = address.port {
                command.arg("-p").arg(port.to_string());
            }
            if let Some(user) = &address.user {
                command.arg("-l").arg(user);
            }
            command.args(["-s", "--", &address.host, "sftp"]);
            command
        }
    };
    // Its settings may run programs (`ProxyCommand`) and send variables to the server (`SendEnv`).
    command.env_clear().envs(Environment::of_process_without_secrets().for_child());
    // So that its words are those that `judge` knows.
    command.env("LC_ALL", "C");
    command
}

/// A running child. Dropped, it is ended and reaped.
pub(super) struct Ssh {
    process: Mutex<Child>,
    said: Arc<Mutex<Vec<u8>>>,
    drained: Receiver<()>,
}

impl Ssh {
    /// Starts it; what goes in and what comes out.
    pub(super) fn start(mut command: Command) -> io::Result<(Self, ChildStdin, ChildStdout)> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).spawn()?;
        let (Some(stdin), Some(stdout), Some(mut stderr)) = (process.stdin.take(), process.stdout.take(), process.stderr.take())
        else {
            return Err(io::Error::other("no pipes")); // cannot happen: all were asked for above
        };
        let said = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&said);
        let drain = move || {
            let mut piece = [0; 1 << 10];
            while let Ok(n @ 1..) = stderr.read(&mut piece) {
                let mut kept = kept.lock().unpoisoned();
                kept.extend_from_slice(&piece[..n]);
                let surplus = kept.len().saturating_sub(KEPT);
                kept.drain(..surplus);
            }
        };
        match parallel::background("sftp-errors", drain) {
            Ok(drained) => Ok((Self { process: Mutex::new(process), said, drained }, stdin, stdout)),
            Err(error) => {
                let _ = process.kill();
                let _ = process.wait();
                Err(error)
            }
        }
    }

    /// What is kept of what it said. Waits up to `patience` for it to have said all.
    pub(super) fn said(&self, patience: Duration) -> String {
        let _ = self.drained.recv_timeout(patience);
        let said = self.said.lock().unpoisoned();
        String::from_utf8_lossy(&said).into_owned()
    }

    /// Waits up to `patience` for it to end by itself, then ends it and what it started, at first kindly.
    pub(super) fn end(&self, patience: Duration) {
        let mut process = self.process.lock().unpoisoned();
        // As long as the child is not reaped its number cannot belong to anyone else: only then is the group ours.
        let group = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
        for (patience, signal) in [(patience, Signal::TERM), (GRACE, Signal::KILL)] {
            if ends_within(&mut process, patience) {
                return;
            }
            if let Some(group) = group {
                let _ = kill_process_group(group, signal);
            }
        }
        let _ = process.kill();
        let _ = process.wait();
    }

    /// Ends it at once; it is reaped when this is dropped.
    pub(super) fn kill(&self) {
        let mut process = self.process.lock().unpoisoned();
        if let Ok(None) = process.try_wait()
            && let Some(group) = i32::try_from(process.id()).ok().and_then(Pid::from_raw)
        {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

fn ends_within(process: &mut Child, patience: Duration) -> bool {
    let began = Instant::now();
    let mut pause = Duration::from_micros(200);
    loop {
        match process.try_wait() {
            Ok(None) if began.elapsed() < patience => std::thread::sleep(pause),
            Ok(None) => return false,
            Ok(Some(_)) | Err(_) => return true,
        }
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// The end of what a program said, in one line, with nothing in it that a terminal obeys. A line that only tells how a connection was made says nothing about why it failed.
pub(super) fn last_lines(said: &str) -> String {
    let lines: Vec<_> = said.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("debug")).collect();
    let shown = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("; ");
    let escape = |c: char| if c.is_control() { c.escape_default().collect::<String>() } else { c.to_string() };
    shown.chars().map(escape).collect()
}

/// Why no connection came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The server, or the user's own trust in it, refuses: another try is of no use.
    Refused(String),
    /// The server is there but does not want us now: another try may help.
    Busy(String),
    /// Nothing reached the server.
    Failed(String),
}

/// What ssh meant by what it said.
pub(super) fn judge(address: &SftpAddress, why: &str, said: &str) -> Verdict {
    let has = |part: &str| said.contains(part);
    let host = &address.host;
    let words = last_lines(said);
    let tail = if words.is_empty() { String::new() } else { format!(" (ssh: {words})") };
    if has("REMOTE HOST IDENTIFICATION HAS CHANGED") || has("has changed and you have requested strict checking") {
        return Verdict::Refused(format!(
            "the host key of {host} is not the one it had: another machine may be posing as it{tail}"
        ));
    }
    if has("Host key verification failed") || has("host key is known for") {
        let hint = format!("log in once by hand (`ssh {host}`) and compare the fingerprint");
        return Verdict::Refused(format!("the host key of {host} is not known here, so it may be any machine: {hint}{tail}"));
    }
    if has("Permission denied") || has("Too many authentication failures") || has("No supported authentication methods") {
        return Verdict::Refused(format!(
            "{host} refused the login: none of the keys offered is welcome, and nobody is asked for a password{tail}"
        ));
    }
    if has("subsystem request failed") {
        return Verdict::Refused(format!("{host} lets us log in but offers no SFTP{tail}"));
    }
    let text = format!("cannot reach {host} by ssh: {why}{tail}");
    // Without a word: the other side hung up.
    if words.is_empty()
        || has("kex_exchange_identification")
        || has("Connection reset by peer")
        || has("Connection closed by")
        || has("closed by remote host")
    {
        return Verdict::Busy(text);
    }
    Verdict::Failed(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> SftpAddress {
        SftpAddress::parse("//me@host:2222/x").unwrap()
    }

    #[test]
    fn ssh_is_told_where_to_and_never_to_ask() {
        let options = SftpOptions { args: vec!["-i".into(), "key".into()], ..SftpOptions::default() };
        let command = command(&address(), &options);
        let arguments: Vec<_> = command.get_args().map(|argument| argument.to_str().unwrap()).collect();
        assert_eq!(command.get_program(), "ssh");
        assert_eq!(arguments[..4], ["-i", "key", "-o", "BatchMode=yes"]);
        assert_eq!(arguments[arguments.len() - 8..], ["-p", "2222", "-l", "me", "-s", "--", "host", "sftp"]);
    }

    #[test]
    fn another_program_may_stand_in_for_ssh() {
        let options = SftpOptions { command: vec!["sftp-server".into(), "-e".into()], ..SftpOptions::default() };
        let command = command(&address(), &options);
        assert_eq!((command.get_program().to_str(), command.get_args().count()), (Some("sftp-server"), 1));
    }

    #[test]
    fn its_last_words_are_one_line_that_no_terminal_obeys() {
        let said = "banner\n\ndebug1: x\none\r\n\x1b[31mtwo\nthree\n";
        assert_eq!(last_lines(said), "one; \\u{1b}[31mtwo; three");
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "yes noise | head -n 100000 >&2; echo why >&2; exit 255"]);
        let (ssh, stdin, stdout) = Ssh::start(shell).unwrap();
        assert_eq!(last_lines(&ssh.said(Duration::from_secs(10))), "noise; noise; why");
        drop((stdin, stdout));
    }

    #[test]
    fn what_ssh_says_is_understood() {
        for (words, refused, part) in [
            ("Host key verification failed.", true, "is not known here"),
            ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @; Host key verification failed.", true, "is not the one it had"),
            ("me@host: Permission denied (publickey).", true, "refused the login"),
            ("subsystem request failed on channel 0", true, "offers no SFTP"),
            ("ssh: connect to host host port 22: Connection refused", false, "cannot reach host"),
            ("ssh: Could not resolve hostname host: Name or service not known", false, "cannot reach host"),
            ("", false, "cannot reach host by ssh: it ended"),
        ] {
            let (is_refused, text) = match judge(&address(), "it ended", words) {
                Verdict::Refused(text) => (true, text),
                Verdict::Failed(text) | Verdict::Busy(text) => (false, text),
            };
            assert!(is_refused == refused && text.contains(part), "{words}: {text}");
        }
        let dropped = "kex_exchange_identification: Connection closed by remote host";
        assert!(matches!(judge(&address(), "", dropped), Verdict::Busy(_)));
    }

    #[test]
    fn a_ctrl_c_in_the_terminal_does_not_reach_it() {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "echo $$; cut -d ' ' -f 5 /proc/$$/stat"]);
        let (ssh, stdin, mut stdout) = Ssh::start(shell).unwrap();
        let mut said = String::new();
        stdout.read_to_string(&mut said).unwrap();
        let numbers: Vec<_> = said.lines().collect();
        assert!(numbers.len() == 2 && numbers[0] == numbers[1], "the group {said:?} is not its own");
        drop((ssh, stdin));
    }

    #[test]
    fn a_child_that_will_not_go_is_made_to() {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"]);
        let (ssh, stdin, mut stdout) = Ssh::start(shell).unwrap();
        stdout.read_exact(&mut [0; 6]).unwrap();
        let began = Instant::now();
        drop((ssh, stdin));
        assert!(began.elapsed() < 4 * GRACE);
    }
}
