//! An OpenSSH server on loopback with keys and settings of its own; nothing of `~/.ssh` is read or written. Run by root, it serves as `nobody`,
//! so that what a server refuses is seen.

use std::net::TcpStream;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::{PATIENCE, WATCHMAN, free_port, program};

/// Serves the folder `files` (and everything else its user may see) until dropped.
pub struct Sshd {
    folder: tempfile::TempDir,
    child: Child,
    port: u16,
    user: uzers::User,
}

impl Sshd {
    /// Starts one; `None` as [`super::program`] says.
    pub fn start() -> Option<Self> {
        let daemon = program("sshd", "/usr/sbin/sshd".into(), "apt-get install openssh-server")?;
        let uid = rustix::process::geteuid();
        let user = if uid.is_root() { uzers::get_user_by_name("nobody") } else { uzers::get_user_by_uid(uid.as_raw()) };
        let user = user.expect("a user to serve as");
        for _ in 0..5 {
            let folder = tempfile::Builder::new().prefix("esker-sshd-").tempdir().unwrap();
            let (path, port) = (folder.path(), free_port());
            std::fs::create_dir(path.join("files")).unwrap();
            for key in ["host", "client", "stranger"] {
                let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path.join(key)).status();
                assert!(made.unwrap().success());
            }
            let read = |name: &str| std::fs::read_to_string(path.join(name)).unwrap();
            std::fs::write(path.join("authorized"), read("client.pub")).unwrap();
            std::fs::write(path.join("known"), format!("[127.0.0.1]:{port} {}", read("host.pub"))).unwrap();
            std::fs::write(path.join("unknown"), "").unwrap();
            // The right host with somebody else's key.
            std::fs::write(path.join("changed"), format!("[127.0.0.1]:{port} {}", read("stranger.pub"))).unwrap();
            let here = path.display();
            // With PAM: without it an account that has no password counts as locked.
            let settings = format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {here}/host\nAuthorizedKeysFile {here}/authorized\nPidFile none\n\
                 UsePAM yes\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUseDNS no\n\
                 MaxStartups 100\nPrintMotd no\nSubsystem sftp internal-sftp\n"
            );
            std::fs::write(path.join("sshd_config"), settings).unwrap();
            for (client, key, known) in [
                ("ssh_config", "client", "known"),
                ("wrong_key", "stranger", "known"),
                ("unknown_host", "client", "unknown"),
                ("changed_host", "client", "changed"),
            ] {
                let settings = format!(
                    "Host *\nUser {}\nIdentityFile {here}/{key}\nIdentitiesOnly yes\nIdentityAgent none\n\
                     UserKnownHostsFile {here}/{known}\nGlobalKnownHostsFile /dev/null\nStrictHostKeyChecking yes\n",
                    user.name().to_string_lossy()
                );
                std::fs::write(path.join(client), settings).unwrap();
            }
            if uid.is_root() {
                for owned in ["", "files", "host", "authorized"] {
                    chown(path.join(owned), Some(user.uid()), Some(user.primary_group_id())).unwrap();
                }
            }
            let log = std::fs::File::create(path.join("log")).unwrap();
            let mut command = Command::new("sh");
            command.args(["-c", WATCHMAN, "sshd"]).arg(&daemon).args(["-D", "-e", "-f"]).arg(path.join("sshd_config"));
            command.current_dir("/").stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
            if uid.is_root() {
                command.uid(user.uid()).gid(user.primary_group_id());
            }
            let child = command.spawn().unwrap();
            let mut server = Self { folder, child, port, user: user.clone() };
            if server.answers() {
                return Some(server);
            }
        }
        panic!("sshd does not start");
    }

    fn answers(&mut self) -> bool {
        let began = Instant::now();
        loop {
            let answered = TcpStream::connect(("127.0.0.1", self.port)).is_ok();
            if self.child.try_wait().unwrap().is_some() {
                println!("{}", self.log());
                return false;
            }
            if answered {
                return true;
            }
            assert!(began.elapsed() < PATIENCE, "sshd does not answer: {}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// What it said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Where it serves from.
    pub fn files(&self) -> PathBuf {
        self.folder.path().join("files")
    }

    /// A file of its own settings.
    pub fn own(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `sftp://127.0.0.1:PORT/...` for a folder below [`Sshd::files`].
    pub fn url(&self, below: &str) -> String {
        format!("sftp://127.0.0.1:{}{}", self.port, self.files().join(below).display())
    }

    /// Arguments for `ssh` so that it finds in: one of the client settings `ssh_config`, `wrong_key`, `unknown_host`, `changed_host`.
    pub fn ssh_arguments(&self, client: &str) -> Vec<String> {
        vec!["-F".to_owned(), self.own(client).display().to_string()]
    }

    /// Gives a folder or file to the user that it serves as.
    pub fn give(&self, path: &Path) {
        if rustix::process::geteuid().is_root() {
            chown(path, Some(self.user.uid()), Some(self.user.primary_group_id())).unwrap();
        }
    }

    /// Kills every session, as a server that restarts does; how many there were. The listening daemon lives on.
    pub fn kill_sessions(&self) -> usize {
        let mut killed = 0;
        for pid in self.sessions() {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                killed += usize::from(rustix::process::kill_process(pid, rustix::process::Signal::KILL).is_ok());
            }
        }
        killed
    }

    /// Lets every session stand still, or go on.
    pub fn signal_sessions(&self, signal: rustix::process::Signal) {
        for pid in self.sessions() {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                let _ = rustix::process::kill_process(pid, signal);
            }
        }
    }

    /// Processes below the daemon, which is a child of the shell that watches it.
    pub fn sessions(&self) -> Vec<i32> {
        let mut parents = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
            let Some((name, rest)) = stat.rsplit_once(") ") else { continue };
            let Some(parent) = rest.split(' ').nth(1).and_then(|parent| parent.parse::<i32>().ok()) else { continue };
            parents.push((pid, parent, name.contains("(sshd")));
        }
        let below = |above: &[i32]| -> Vec<i32> {
            parents.iter().filter(|(_, parent, _)| above.contains(parent)).map(|(pid, _, _)| *pid).collect()
        };
        // The shell, its subshell, the daemon; then what is below the daemon.
        let own = i32::try_from(self.child.id()).unwrap();
        let subshells = below(&[own]);
        let daemons: Vec<i32> = below(&subshells).into_iter().chain(subshells.iter().copied()).collect();
        let is_sshd = |pid: &i32| parents.iter().any(|(other, _, is_sshd)| other == pid && *is_sshd);
        let daemons: Vec<i32> = daemons.into_iter().filter(is_sshd).collect();
        let mut found = Vec::new();
        let mut level = below(&daemons);
        while !level.is_empty() {
            found.extend(&level);
            level = below(&level);
        }
        found.retain(|pid| !daemons.contains(pid));
        found
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.signal_sessions(rustix::process::Signal::CONT);
        self.kill_sessions();
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("-- the last words of sshd:\n{}", self.log());
        }
    }
}
