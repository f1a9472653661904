//! Real servers for tests: a PostgreSQL and a Redis on private sockets, with nothing in them, stopped when dropped.
//!
//! Use it with `#[path = "common/services.rs"] mod services;`. PostgreSQL refuses to run as root: then its user `postgres` is used.

#![allow(dead_code, clippy::unwrap_used, reason = "not every test uses everything, and a test may fail")]

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// Stops `child` by `signal`, and kills it if it does not obey.
fn stop(child: &mut Child, signal: rustix::process::Signal) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
    let began = Instant::now();
    while matches!(child.try_wait(), Ok(None)) {
        if began.elapsed() > PATIENCE {
            let _ = child.kill();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error} (Debian: postgresql, redis-server)"))
}

/// Standard output of a command that must succeed.
fn succeed(command: &mut Command) -> Vec<u8> {
    let output = output(command);
    assert!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A PostgreSQL server. Everyone may connect to everything, but the role `secured`, who needs its password `correct horse`.
pub struct Postgres {
    folder: tempfile::TempDir,
    server: Child,
}

impl Postgres {
    /// The newest server programs of this machine.
    pub fn bin_dir() -> PathBuf {
        let version = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
        let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path());
        let newest = installed.filter(|path| version(path).is_some()).max_by_key(version);
        newest.map_or_else(|| PathBuf::from("/usr/bin"), |path| path.join("bin"))
    }

    /// Starts one.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("esker-pg-").tempdir_in("/tmp").unwrap();
        let data = folder.path().join("data");
        let user = rustix::process::geteuid().is_root().then(|| uzers::get_user_by_name("postgres").expect("a user postgres"));
        let run = |program: &str| {
            let mut command = Command::new(Self::bin_dir().join(program));
            command.current_dir(folder.path()).env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
            if let Some(user) = &user {
                command.uid(user.uid()).gid(user.primary_group_id());
            }
            command
        };
        if let Some(user) = &user {
            std::os::unix::fs::chown(folder.path(), Some(user.uid()), Some(user.primary_group_id())).unwrap();
        }
        succeed(run("initdb").arg("-D").arg(&data).args([
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
            "--locale=C",
        ]));
        std::fs::write(data.join("pg_hba.conf"), "local all secured scram-sha-256\nlocal all all trust\n").unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let server = run("postgres")
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(folder.path())
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=16MB"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut postgres = Self { folder, server };
        let began = Instant::now();
        while !postgres.psql_output("postgres", "CREATE ROLE secured LOGIN PASSWORD 'correct horse'").status.success() {
            let ended = postgres.server.try_wait().unwrap();
            let log = || std::fs::read_to_string(postgres.folder.path().join("log")).unwrap_or_default();
            assert!(ended.is_none() && began.elapsed() < PATIENCE, "PostgreSQL does not start: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
        postgres
    }

    /// The folder of its socket: the `host` to connect to.
    pub fn host(&self) -> &Path {
        self.folder.path()
    }

    /// `host='...' user='...' dbname='...'`
    pub fn conninfo(&self, user: &str, database: &str) -> String {
        format!("host='{}' user='{user}' dbname='{database}'", self.host().display())
    }

    /// A client program, connected as superuser, without a database yet.
    pub fn client(&self, program: &str) -> Command {
        let mut command = Command::new(Self::bin_dir().join(program));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("PGHOST", self.host()).env("PGUSER", "postgres").stdin(Stdio::null());
        command
    }

    fn psql_output(&self, database: &str, sql: &str) -> Output {
        output(self.client("psql").args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", sql]))
    }

    /// The rows of a query (or nothing), which must succeed.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let output = self.psql_output(database, sql);
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// A plain dump as text, without the lines that differ every time.
    pub fn dump_text(&self, database: &str) -> String {
        let text = String::from_utf8(succeed(self.client("pg_dump").args(["-d", database]))).unwrap();
        let same = |line: &&str| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict");
        text.lines().filter(same).collect::<Vec<_>>().join("\n")
    }

    /// Restores a custom dump into a new database.
    pub fn restore(&self, dump: &[u8], database: &str) {
        self.psql("postgres", &format!("CREATE DATABASE {database}"));
        let file = self.folder.path().join("restore.dump");
        std::fs::write(&file, dump).unwrap();
        succeed(self.client("pg_restore").args(["--exit-on-error", "-d", database]).arg(&file));
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGQUIT: at once, nobody needs what is in it.
        stop(&mut self.server, rustix::process::Signal::QUIT);
    }
}

/// A Redis server, without save points unless the settings say otherwise.
pub struct Redis {
    folder: tempfile::TempDir,
    server: Child,
}

impl Redis {
    /// Starts one with more settings (`&["--requirepass", "x"]`).
    pub fn start(settings: &[&str]) -> Self {
        Self::start_in(tempfile::Builder::new().prefix("esker-redis-").tempdir_in("/tmp").unwrap(), settings)
    }

    /// Starts one that loads this RDB.
    pub fn load(rdb: &[u8]) -> Self {
        let folder = tempfile::Builder::new().prefix("esker-redis-").tempdir_in("/tmp").unwrap();
        std::fs::write(folder.path().join("dump.rdb"), rdb).unwrap();
        Self::start_in(folder, &[])
    }

    fn start_in(folder: tempfile::TempDir, settings: &[&str]) -> Self {
        let server = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--daemonize", "no", "--repl-diskless-sync-delay", "0"])
            .args(["--enable-debug-command", "yes", "--unixsocketperm", "777", "--unixsocket"])
            .arg(folder.path().join("redis.sock"))
            .arg("--dir")
            .arg(folder.path())
            .args(settings)
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(folder.path().join("log")).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run redis-server: {error} (Debian: redis-server)"));
        let mut redis = Self { folder, server };
        let began = Instant::now();
        loop {
            let answer = redis.cli_output(&["PING"]);
            // Without a password it says NOAUTH: it is there all the same.
            if answer.starts_with("PONG") || answer.starts_with("NOAUTH") {
                return redis;
            }
            let ended = redis.server.try_wait().unwrap();
            let log = || std::fs::read_to_string(redis.folder.path().join("log")).unwrap_or_default();
            assert!(ended.is_none() && began.elapsed() < PATIENCE, "Redis does not start: {answer} {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its folder: `dump.rdb` is written there.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `unix:/...`
    pub fn url(&self) -> String {
        format!("unix:{}", self.folder.path().join("redis.sock").display())
    }

    fn cli_output(&self, words: &[&str]) -> String {
        let output = output(Command::new("redis-cli").arg("-s").arg(self.folder.path().join("redis.sock")).args(words));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// The answer to one command.
    pub fn cli(&self, words: &[&str]) -> String {
        self.cli_output(words)
    }

    /// A digest over every key and value.
    pub fn digest(&self) -> String {
        let digest = self.cli(&["DEBUG", "DIGEST"]);
        assert_eq!(digest.len(), 40, "{digest}");
        digest
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        stop(&mut self.server, rustix::process::Signal::KILL);
    }
}
