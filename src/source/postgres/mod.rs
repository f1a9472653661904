//! Databases of a PostgreSQL server: one stream of `pg_dump` for each, and the roles as `globals.sql`.
//!
//! `pg_dump -Fc -Z0` by default: uncompressed, so that it deduplicates; restored with `pg_restore`. **The exit status is the only
//! truth**: a dump cut off half-way can end like a whole one. Besides it, a custom stream must begin with `PGDMP` and a plain one
//! must end with the line that says it is complete.
//!
//! The client programs may run elsewhere (`command_prefix`). A password goes to them in a file in memory that has no name
//! (`PGPASSFILE`), or, behind a prefix, in the environment of the prefix (`PGPASSWORD`). It is never in an argument or on a disk.

mod client;
mod conninfo;
mod dump;
mod lacks;
mod server;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use conninfo::ConnInfo;

use self::client::Client;
use self::dump::{DumpStream, Said, Shape};
use self::server::Server;
use super::child::Child;
use super::{Environment, RunningStream, SourceError, SourceKind, StreamSource, percent};
use crate::monitor::Stop;

/// The stream of roles and tablespaces.
const GLOBALS: &str = "globals.sql";
/// The database that nothing can be kept in.
const TEMPLATE: &str = "template0";
/// Databases that every server has: left out when nobody keeps anything in them.
const SYSTEM_DATABASES: [&str; 2] = ["postgres", "template1"];
/// How long a dump waits for a lock on a table before it fails.
const LOCK_WAIT: Duration = Duration::from_secs(60);
/// How long libpq tries to connect, in seconds, unless the user said otherwise.
const CONNECT_TIMEOUT_S: &str = "10";

/// The form of a dump. One form for one repository: the two share no chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DumpFormat {
    /// `pg_dump -Fc`, restored with `pg_restore`, `NAME.dump`.
    #[default]
    Custom,
    /// SQL, restored with `psql`, `NAME.sql`.
    Plain,
}

/// Which server, which databases, and how.
#[derive(Debug)]
pub struct PostgresOptions {
    /// The name in the snapshot.
    pub name: String,
    /// How to connect.
    pub conninfo: ConnInfo,
    /// The databases, whole; empty: all, whichever one the conninfo connects to. Of `postgres` and `template1` only those that hold
    /// something of a user.
    pub databases: Vec<String>,
    /// The form of the dumps.
    pub format: DumpFormat,
    /// Roles and tablespaces too (`pg_dumpall --globals-only`). True by default.
    pub globals: bool,
    /// Tables (patterns of `pg_dump`) whose rows are left out. Recorded in the snapshot.
    pub exclude_table_data: Vec<String>,
    /// Level of compression in the dump, 0 to 9. 0 by default: a compressed dump deduplicates nothing.
    pub compression: u8,
    /// How long to wait for a lock. 60 s by default.
    pub lock_wait: Duration,
    /// Stands before every program: `docker exec -i NAME` (never with `-t`: it changes the bytes).
    pub command_prefix: Vec<String>,
    /// The folder of `pg_dump`, `pg_dumpall` and `psql`; none: `psql` of `PATH`, and the `pg_dump` that fits the server best.
    pub bin_dir: Option<PathBuf>,
    /// May the snapshot be committed (as incomplete) when it fails?
    pub optional: bool,
    /// Warnings of the caller, recorded beside those of this source.
    pub warnings: Vec<String>,
    /// What the programs see of the environment.
    pub environment: Environment,
}

impl PostgresOptions {
    /// With `conninfo` as libpq reads it: a URI, `key=value` pairs, or the name of a database; empty leaves all to `PG*`.
    pub fn new(name: impl Into<String>, conninfo: &str) -> Result<Self, SourceError> {
        let name = name.into();
        let conninfo =
            ConnInfo::parse(conninfo).map_err(|what| SourceError::Settings(format!("source {name:?}: the conninfo {what}")))?;
        Ok(Self {
            name,
            conninfo,
            databases: Vec::new(),
            format: DumpFormat::Custom,
            globals: true,
            exclude_table_data: Vec::new(),
            compression: 0,
            lock_wait: LOCK_WAIT,
            command_prefix: Vec::new(),
            bin_dir: None,
            optional: false,
            warnings: Vec::new(),
            environment: Environment::of_process(),
        })
    }

    /// The arguments that run one of the client programs.
    fn program(&self, program: &str) -> Vec<String> {
        self.program_in(self.bin_dir.as_deref(), program)
    }

    /// The same with a folder of its own; none: `PATH`.
    fn program_in(&self, folder: Option<&Path>, program: &str) -> Vec<String> {
        let program = match folder {
            Some(folder) => folder.join(program).to_string_lossy().into_owned(),
            None => program.to_owned(),
        };
        self.command_prefix.iter().cloned().chain([program]).collect()
    }
}

/// One stream to come.
enum Stream {
    Database(String),
    Globals { passwords: bool },
}

/// A PostgreSQL server.
pub struct PostgresSource {
    options: PostgresOptions,
    stop: Stop,
    /// What the programs see: the user's, and how to get the password.
    environment: Environment,
    server: Option<Server>,
    client: Option<Client>,
    streams: Vec<Stream>,
    warnings: Vec<String>,
    /// What the programs warned of while they dumped.
    said: Said,
    remarks: Vec<String>,
}

impl PostgresSource {
    /// Checks the settings; nothing runs yet.
    pub fn new(options: PostgresOptions) -> Result<Self, SourceError> {
        super::check_name(&options.name)?;
        let wrong = |what: &str| Err(SourceError::Settings(format!("source {:?}: {what}", options.name)));
        if options.compression > 9 {
            return wrong("compression is a number from 0 to 9");
        }
        if options.command_prefix.iter().any(|word| matches!(word.as_str(), "-t" | "-it" | "-ti" | "--tty")) {
            return wrong("`command-prefix` asks for a terminal (-t): it would change the bytes of the dump; use -i alone");
        }
        let environment = credentials(&options)?;
        Ok(Self {
            options,
            stop: Stop::new(),
            environment,
            server: None,
            client: None,
            streams: Vec::new(),
            warnings: Vec::new(),
            said: Said::default(),
            remarks: Vec::new(),
        })
    }

    /// The streams to come, and what a person should know about the choice.
    fn plan(&mut self, server: &Server) -> Result<(), SourceError> {
        let wanted: Vec<String> = match self.options.databases.is_empty() {
            true => self.all_databases(server)?,
            false => self.options.databases.clone(),
        };
        let options = &self.options;
        if let Some(closed) = wanted.iter().find(|name| server.closed.contains(name)) {
            return Err(SourceError::Unfit(format!(
                "database {closed:?} accepts no connections and cannot be dumped (ALTER DATABASE ... ALLOW_CONNECTIONS true)"
            )));
        }
        if let Some(missing) = wanted.iter().find(|name| !server.databases.contains(name)) {
            let there = server.databases.join(", ");
            return Err(SourceError::Unfit(format!("there is no database {missing:?} on the server; it has: {there}")));
        }
        if wanted.is_empty() {
            return Err(SourceError::Unfit("the server has no database besides the system's own: nothing to back up".into()));
        }
        let left_out: Vec<_> =
            server.databases.iter().filter(|name| !wanted.contains(name) && !SYSTEM_DATABASES.contains(&name.as_str())).collect();
        if !left_out.is_empty() {
            self.remarks.push(format!("databases of the server that were not asked for: {left_out:?}"));
        }
        self.streams = wanted.into_iter().map(Stream::Database).collect();
        if options.globals {
            self.streams.push(Stream::Globals { passwords: server.reads_passwords });
            if !server.reads_passwords {
                self.warnings.push("the roles have no passwords in the snapshot, because only a superuser may read them".into());
            }
        }
        if !options.globals {
            self.warnings.push("roles and tablespaces are left out, as asked (globals = false)".into());
        }
        if options.compression > 0 {
            self.remarks
                .push("compressed dumps deduplicate nothing: every snapshot will cost a whole dump (use compression 0)".into());
        }
        if !options.exclude_table_data.is_empty() {
            self.warnings
                .push(format!("the rows of these tables are left out, as asked: {}", options.exclude_table_data.join(", ")));
        }
        Ok(())
    }

    /// Every database that a restore could miss. `postgres` is the one where images and providers let people begin.
    fn all_databases(&mut self, server: &Server) -> Result<Vec<String>, SourceError> {
        let closed = server.closed.iter().filter(|name| *name != TEMPLATE);
        self.warnings.extend(closed.map(|name| format!("database {name:?} accepts no connections and is not in the snapshot")));
        let mut wanted = Vec::new();
        for name in server.databases.iter().filter(|name| *name != TEMPLATE) {
            if !SYSTEM_DATABASES.contains(&name.as_str()) {
                wanted.push(name.clone());
                continue;
            }
            match lacks::holds_anything(&self.options, &self.environment, &self.stop, name) {
                Ok(true) => wanted.push(name.clone()),
                Ok(false) => {}
                Err(SourceError::Stopped) => return Err(SourceError::Stopped),
                Err(error) => self.warnings.push(format!(
                    "database {name:?} is not in the snapshot, because it could not be seen whether it holds anything: {error}"
                )),
            }
        }
        Ok(wanted)
    }

    fn path(&self, stream: &Stream) -> String {
        match (stream, self.options.format) {
            (Stream::Globals { .. }, _) => GLOBALS.to_owned(),
            (Stream::Database(name), DumpFormat::Custom) => percent::file_name(name) + ".dump",
            // A database of this name would take the place of the roles.
            (Stream::Database(name), DumpFormat::Plain) if name == "globals" => "%67lobals.sql".to_owned(),
            (Stream::Database(name), DumpFormat::Plain) => percent::file_name(name) + ".sql",
        }
    }

    /// How the first of the named databases would be dumped.
    #[cfg(test)]
    pub(super) fn arguments_for_tests(&self) -> Vec<String> {
        self.arguments(&Stream::Database(self.options.databases[0].clone()))
    }

    fn arguments(&self, stream: &Stream) -> Vec<String> {
        let options = &self.options;
        let folder = self.client.as_ref().map_or(options.bin_dir.as_deref(), |client| client.folder.as_deref());
        let lock_wait = format!("--lock-wait-timeout={}", options.lock_wait.as_millis().clamp(1, i32::MAX as u128));
        match stream {
            Stream::Database(name) => {
                let mut argv = options.program_in(folder, "pg_dump");
                argv.extend(["--no-password".to_owned(), lock_wait]);
                match options.format {
                    DumpFormat::Custom => argv.push("--format=custom".into()),
                    DumpFormat::Plain => argv.push("--format=plain".into()),
                }
                argv.push(format!("--compress={}", options.compression));
                argv.extend(options.exclude_table_data.iter().map(|table| format!("--exclude-table-data={table}")));
                argv.push(format!("--dbname={}", options.conninfo.to_database(name)));
                argv
            }
            Stream::Globals { passwords } => {
                let mut argv = options.program_in(folder, "pg_dumpall");
                argv.extend(["--globals-only".to_owned(), "--no-password".to_owned(), lock_wait]);
                argv.extend((!passwords).then(|| "--no-role-passwords".to_owned()));
                let database = server::database_to_ask(options);
                argv.push(format!("--dbname={}", options.conninfo.to_database(&database)));
                argv.push(format!("--database={database}"));
                argv
            }
        }
    }
}

/// The environment of the client programs.
fn credentials(options: &PostgresOptions) -> Result<Environment, SourceError> {
    let mut environment = options.environment.clone();
    environment.give("PGAPPNAME", "esker");
    if environment.get("PGCONNECT_TIMEOUT").is_none() {
        environment.give("PGCONNECT_TIMEOUT", CONNECT_TIMEOUT_S);
    }
    if !options.command_prefix.is_empty() {
        environment.pass_for_prefix();
    }
    let Some(password) = options.conninfo.password() else { return Ok(environment) };
    // An inherited one would win over the file.
    environment.withhold("PGPASSWORD");
    if !options.command_prefix.is_empty() {
        environment.give("PGPASSWORD", password.reveal());
        return Ok(environment);
    }
    if password.reveal().contains('\n') {
        return Err(SourceError::Settings("a PostgreSQL password with a line break cannot be handed on".into()));
    }
    let quoted = zeroize::Zeroizing::new(password.reveal().replace('\\', "\\\\").replace(':', "\\:"));
    let line = zeroize::Zeroizing::new(format!("*:*:*:*:{}\n", *quoted));
    let cannot = |error| SourceError::Io { what: "cannot make a private password file".into(), error };
    environment.give_secret_file("PGPASSFILE", line.as_bytes()).map_err(cannot)?;
    Ok(environment)
}

impl StreamSource for PostgresSource {
    fn name(&self) -> &str {
        &self.options.name
    }
    fn kind(&self) -> SourceKind {
        SourceKind::Postgres
    }
    fn optional(&self) -> bool {
        self.options.optional
    }
    fn prepare(&mut self, stop: &Stop) -> Result<Vec<String>, SourceError> {
        self.stop = stop.clone();
        self.warnings.clone_from(&self.options.warnings);
        self.remarks.clear();
        self.said = Said::default();
        let mut server = Server::ask(&self.options, &self.environment, stop)?;
        let client = client::choose(&self.options, &self.environment, stop, &server)?;
        self.warnings.extend(client.warning(&server));
        if let Some(folder) = client.folder.as_ref().filter(|_| self.options.bin_dir.is_none()) {
            self.remarks.push(format!("pg_dump {} of {} fits the server", client.version, folder.display()));
        }
        self.client = Some(client);
        self.plan(&server)?;
        let databases = self.streams.iter().filter_map(|stream| match stream {
            Stream::Database(name) => Some(name),
            Stream::Globals { .. } => None,
        });
        for name in databases {
            match lacks::of_database(&self.options, &self.environment, stop, name) {
                Ok(lacking) => self.warnings.extend(lacking),
                Err(SourceError::Stopped) => return Err(SourceError::Stopped),
                // If something is really wrong, the dump itself fails.
                Err(error) => self.remarks.push(format!("database {name:?}: it is not known what its dump lacks: {error}")),
            }
            if server.authentik.is_none() {
                server.authentik = Server::authentik_version(&self.options, &self.environment, stop, name)?;
            }
        }
        self.server = Some(server);
        Ok(self.streams.iter().map(|stream| self.path(stream)).collect())
    }
    fn open(&mut self, stream: usize) -> Result<Box<dyn RunningStream>, SourceError> {
        let number = stream;
        let missing = || SourceError::Settings(format!("source {:?} has no stream {number}", self.options.name));
        let stream = self.streams.get(number).ok_or_else(missing)?;
        let nothing = super::Secret::default();
        let hidden = self.options.conninfo.password().unwrap_or(&nothing);
        let child = Child::start(&self.arguments(stream), &self.environment, &self.stop, hidden)?;
        let shape = match (stream, self.options.format, self.options.compression) {
            (Stream::Globals { .. }, ..) => Shape::Globals,
            (_, DumpFormat::Custom, _) => Shape::Custom,
            (_, DumpFormat::Plain, 0) => Shape::Plain,
            (_, DumpFormat::Plain, _) => Shape::Compressed,
        };
        Ok(Box::new(DumpStream::new(child, shape, format!("the dump {}", self.path(stream)), self.said.clone())))
    }
    fn facts(&self) -> Vec<(String, String)> {
        let options = &self.options;
        let mut facts = vec![(
            "format",
            match options.format {
                DumpFormat::Custom => "custom",
                DumpFormat::Plain => "plain",
            }
            .to_owned(),
        )];
        if let Some(server) = &self.server {
            facts.push(("server_version", server.version.clone()));
            facts.extend(server.authentik.clone().map(|version| ("authentik_version", version)));
        }
        facts.extend(self.client.as_ref().map(|client| ("pg_dump_version", client.version.clone())));
        facts.extend(self.streams.iter().find_map(|stream| match stream {
            Stream::Globals { passwords: true } => Some(("globals", "with role passwords".to_owned())),
            Stream::Globals { passwords: false } => Some(("globals", "without role passwords".to_owned())),
            Stream::Database(_) => None,
        }));
        if options.compression > 0 {
            facts.push(("compression", options.compression.to_string()));
        }
        if !options.exclude_table_data.is_empty() {
            facts.push(("exclude_table_data", options.exclude_table_data.join(", ")));
        }
        let mut facts: Vec<_> = facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        facts.sort();
        facts
    }
    fn warnings(&self) -> Vec<String> {
        self.warnings.iter().cloned().chain(self.said.all()).collect()
    }
    fn remarks(&self) -> Vec<String> {
        self.remarks.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_in_no_argument_and_in_a_file_without_a_name() {
        let mut options = PostgresOptions::new("p", "postgresql://u:hunt%3Aer2@h/d").unwrap();
        options.environment = Environment::from_pairs([("PGPASSWORD", "another")]);
        let source = PostgresSource::new(options).unwrap();
        for stream in [Stream::Database("d".into()), Stream::Globals { passwords: true }] {
            assert!(source.arguments(&stream).iter().all(|argument| !argument.contains("hunt")));
        }
        let look = r#"cat "$PGPASSFILE"; cat "$PGPASSFILE"; stat -Lc %a "$PGPASSFILE"; find /proc/self/fd/ -lname '*memfd*'"#;
        let argv = ["sh", "-c", look].map(String::from);
        let seen = Child::answer(&argv, &source.environment, &Stop::new(), &crate::source::Secret::default()).unwrap();
        let seen = String::from_utf8(seen).unwrap();
        assert_eq!(seen, "*:*:*:*:hunt\\:er2\n*:*:*:*:hunt\\:er2\n600\n/proc/self/fd/0\n");
        assert!(source.environment.for_child().all(|(name, _)| name != "PGPASSWORD"));
    }

    #[test]
    fn behind_a_prefix_the_password_goes_by_the_environment() {
        let mut options = PostgresOptions::new("p", "password=hunter2 host=h").unwrap();
        options.environment = Environment::from_pairs([("DOCKER_HOST", "tcp://d"), ("SECRET", "x")]);
        options.command_prefix = ["docker", "exec", "-i", "-e", "PGPASSWORD", "db"].map(String::from).to_vec();
        let source = PostgresSource::new(options).unwrap();
        assert!(source.arguments(&Stream::Database("d".into())).iter().all(|argument| !argument.contains("hunter2")));
        let seen: Vec<_> = source.environment.for_child().map(|(name, _)| name.to_str().unwrap()).collect();
        assert_eq!(seen, ["DOCKER_HOST", "PGAPPNAME", "PGCONNECT_TIMEOUT", "PGPASSWORD"]);
        assert!(!format!("{:?} {:?}", source.options, source.environment).contains("hunter2"));
    }

    #[test]
    fn a_terminal_in_the_prefix_is_refused() {
        let mut options = PostgresOptions::new("p", "").unwrap();
        options.command_prefix = ["docker", "exec", "-it", "db"].map(String::from).to_vec();
        assert!(PostgresSource::new(options).err().unwrap().to_string().contains("terminal"));
    }

    #[test]
    fn no_database_takes_the_place_of_another_stream() {
        let mut options = PostgresOptions::new("p", "").unwrap();
        options.format = DumpFormat::Plain;
        let source = PostgresSource::new(options).unwrap();
        let names = ["globals", "%67lobals", "a/b", "a%2Fb", "..", "."].map(|name| source.path(&Stream::Database(name.into())));
        assert!(names.iter().all(|name| name != GLOBALS && !name.contains('/') && !name.starts_with('.')), "{names:?}");
        assert_eq!(names.iter().collect::<std::collections::HashSet<_>>().len(), names.len());
    }
}
