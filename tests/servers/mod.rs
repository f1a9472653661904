//! Real servers on loopback, for tests of remote stores: each with a folder of its own and a free port, ready when it answers, gone
//! when dropped, and also when the test that started it panics or is killed. What Debian has not comes from `.ci/servers`, which
//! `make test` calls.
//!
//! Use it with `#[path = "servers/mod.rs"] mod servers;`. Where a server is not installed, its test fails and says what to do;
//! `ESKER_WITHOUT_SERVERS=1` lets it say that it was skipped instead.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "not every test uses everything; a test may fail, and prints why it skips"
)]

pub mod certificate;
pub mod clouds;
pub mod faulty;
pub mod http;
mod place;
pub mod s3;
pub mod sshd;
pub mod webdav;

pub use place::{installed, program};

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to answer for the first time, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);
/// Ends the server, and itself, when the test that holds the other end of its input is no more, for whatever reason. A server that
/// ends by itself takes it along, so that the test sees it.
const WATCHMAN: &str = r#"( "$@"; kill -KILL 0 ) <&- & read _; kill -KILL 0"#;

/// A running server.
pub struct Server {
    name: &'static str,
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Server {
    /// Starts what `command` gives for a folder (new, empty) and a port, and waits for its first answer. Another port when
    /// somebody else was faster.
    pub fn start(name: &'static str, command: impl Fn(&Path, u16) -> Command) -> Self {
        Self::start_with(name, command, |address| http::request(address, "GET", "/", &[], b"").is_ok())
    }

    /// The same for a server whose first answer is another one.
    pub fn start_with(name: &'static str, command: impl Fn(&Path, u16) -> Command, is_ready: impl Fn(&str) -> bool) -> Self {
        let mut said = String::new();
        for _ in 0..5 {
            let folder = tempfile::Builder::new().prefix("esker-server-").tempdir().unwrap();
            let port = free_port();
            let wanted = command(folder.path(), port);
            let log = std::fs::File::create(folder.path().join("log")).unwrap();
            let child = Command::new("sh")
                .args(["-c", WATCHMAN, name])
                .arg(wanted.get_program())
                .args(wanted.get_args())
                .envs(wanted.get_envs().filter_map(|(name, value)| Some((name, value?))))
                .current_dir(folder.path())
                .stdin(Stdio::piped())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .process_group(0)
                .spawn()
                .unwrap();
            let mut server = Self { name, child, port, folder };
            if server.answers(&is_ready) {
                return server;
            }
            said = server.log();
        }
        panic!("{name} does not start: {said}");
    }

    /// Waits until it does; no when it ended instead.
    fn answers(&mut self, is_ready: impl Fn(&str) -> bool) -> bool {
        let began = Instant::now();
        loop {
            let answered = is_ready(&self.address());
            // Looked at after the answer: one that found the port taken is gone by then, or is seen to go by the next request.
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if answered {
                return true;
            }
            assert!(began.elapsed() < PATIENCE, "{} does not answer: {}", self.name, self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What it wrote so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Where it keeps what it has.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let start = log.char_indices().rev().nth(4_000).map_or(0, |(at, _)| at);
            println!("-- the last words of {}:\n{}", self.name, &log[start..]);
        }
    }
}

/// A port that nobody listened on a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
