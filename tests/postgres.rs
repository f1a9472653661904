//! The PostgreSQL source against a real server, started here on a private socket.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use esker::monitor::Stop;
use esker::source::postgres::{DumpFormat, PostgresOptions, PostgresSource};
use esker::source::{Ended, Environment, RunningStream, SourceError, StreamEnd, StreamSource};

#[path = "common/services.rs"]
mod services;
use services::Postgres;

/// A source of `conninfo` that uses the programs of the server.
fn options(conninfo: &str) -> PostgresOptions {
    let mut options = PostgresOptions::new("postgresql", conninfo).unwrap();
    options.bin_dir = Some(Postgres::bin_dir());
    options.environment = Environment::from_pairs([("PATH", "/usr/bin:/bin")]);
    options
}

/// Every stream, read to its end and found whole.
fn take(source: &mut PostgresSource) -> Result<BTreeMap<String, Vec<u8>>, SourceError> {
    let mut streams = BTreeMap::new();
    for (number, path) in source.prepare(&Stop::new())?.into_iter().enumerate() {
        let mut stream = source.open(number)?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).map_err(|error| SourceError::from_read(&path, error))?;
        assert_eq!(stream.finish()?, StreamEnd::Ok);
        streams.insert(path, bytes);
    }
    Ok(streams)
}

fn fact(source: &PostgresSource, name: &str) -> Option<String> {
    source.facts().into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

fn fill(server: &Postgres, database: &str) {
    server.psql("postgres", &format!("CREATE DATABASE {database}"));
    server.psql(
        database,
        "CREATE TABLE events (id bigint PRIMARY KEY, body jsonb, raw bytea); \
         INSERT INTO events SELECT n, jsonb_build_object('n', n, 'text', repeat('x', n % 50)), sha256(n::text::bytea) \
         FROM generate_series(1, 20000) n; \
         CREATE SCHEMA tenant; CREATE TABLE tenant.users (name text); INSERT INTO tenant.users VALUES ('äöü'), (NULL), (E'\\\\.'); \
         CREATE VIEW counted AS SELECT count(*) FROM events; SELECT lo_from_bytea(4711, 'large');",
    );
}

/// An executable script in `folder`.
fn script(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// The `pg_dump` of this server: a child of this process whose arguments name its socket (other tests may run beside this one).
fn running_dump(server: &Postgres) -> Option<rustix::process::Pid> {
    let own = std::process::id().to_string();
    std::fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let (head, rest) = stat.rsplit_once(')')?;
        let (pid, name) = head.split_once(" (")?;
        let parent = rest.split_whitespace().nth(1)?;
        let arguments = String::from_utf8_lossy(&std::fs::read(entry.path().join("cmdline")).ok()?).into_owned();
        let found = name == "pg_dump" && parent == own && arguments.contains(server.host().to_str()?);
        found.then(|| rustix::process::Pid::from_raw(pid.parse().ok()?))?
    })
}

#[test]
fn a_dump_restores_into_an_empty_database_and_dumps_equal() {
    let server = Postgres::start();
    fill(&server, "authentik");
    let mut source = PostgresSource::new(options(&server.conninfo("postgres", "authentik"))).unwrap();
    let streams = take(&mut source).unwrap();
    assert_eq!(streams.keys().collect::<Vec<_>>(), ["authentik.dump", "globals.sql"]);
    assert!(streams["authentik.dump"].starts_with(b"PGDMP"));
    server.restore(&streams["authentik.dump"], "restored");
    assert_eq!(server.dump_text("restored"), server.dump_text("authentik"));
    assert_eq!(server.psql("restored", "SELECT * FROM counted"), "20000");
    assert!(fact(&source, "server_version").is_some_and(|version| version.contains('.')));
    assert!(fact(&source, "pg_dump_version").is_some());
    assert_eq!(fact(&source, "format").as_deref(), Some("custom"));
    assert_eq!(fact(&source, "globals").as_deref(), Some("with role passwords"));
}

#[test]
fn every_database_but_the_system_ones_is_dumped_whole() {
    let server = Postgres::start();
    fill(&server, "one");
    server.psql("postgres", "CREATE DATABASE \"we/ird it's\"");
    // Whichever database the conninfo names: it is only the one to ask.
    for asked in ["one", "postgres"] {
        let streams = take(&mut PostgresSource::new(options(&server.conninfo("postgres", asked))).unwrap()).unwrap();
        assert_eq!(streams.keys().collect::<Vec<_>>(), ["globals.sql", "one.dump", "we%2Fird it's.dump"]);
        let globals = String::from_utf8_lossy(&streams["globals.sql"]);
        assert!(globals.contains("CREATE ROLE secured") && globals.contains("SCRAM-SHA-256"), "{globals}");
    }
    let mut named = options(&server.conninfo("postgres", "one"));
    named.databases = vec!["one".into()];
    named.globals = false;
    let mut named = PostgresSource::new(named).unwrap();
    let streams = take(&mut named).unwrap();
    assert_eq!(streams.keys().collect::<Vec<_>>(), ["one.dump"]);
    assert!(named.remarks().iter().any(|remark| remark.contains("not asked for: [\"we/ird it's\"]")), "{:?}", named.remarks());
    let mut missing = options(&server.conninfo("postgres", "one"));
    missing.databases = vec!["two".into()];
    let error = take(&mut PostgresSource::new(missing).unwrap()).unwrap_err();
    assert!(error.to_string().contains("no database \"two\""), "{error}");
}

#[test]
fn a_server_without_databases_of_its_users_is_no_success() {
    let server = Postgres::start();
    let error = take(&mut PostgresSource::new(options(&server.conninfo("postgres", "postgres"))).unwrap()).unwrap_err();
    assert!(error.to_string().contains("nothing to back up"), "{error}");
}

#[test]
fn a_system_database_is_taken_when_someone_keeps_something_in_it() {
    let server = Postgres::start();
    server.psql("postgres", "CREATE DATABASE other");
    let streams = || take(&mut PostgresSource::new(options(&server.conninfo("postgres", ""))).unwrap()).unwrap();
    assert_eq!(streams().keys().collect::<Vec<_>>(), ["globals.sql", "other.dump"]);
    server.psql("postgres", "CREATE TABLE kept AS SELECT 1 AS n");
    server.psql("template1", "CREATE FUNCTION house() RETURNS int LANGUAGE sql AS 'SELECT 1'");
    assert_eq!(streams().keys().collect::<Vec<_>>(), ["globals.sql", "other.dump", "postgres.dump", "template1.dump"]);
}

#[test]
fn what_a_dump_will_lack_is_a_warning() {
    let server = Postgres::start();
    fill(&server, "authentik");
    server.psql("postgres", "CREATE DATABASE closed ALLOW_CONNECTIONS false");
    server.psql("postgres", "ALTER DATABASE authentik SET work_mem = '65MB'");
    server.psql(
        "authentik",
        "CREATE FOREIGN DATA WRAPPER elsewhere; CREATE SERVER far FOREIGN DATA WRAPPER elsewhere; \
         CREATE FOREIGN TABLE distant (n int) SERVER far; CREATE UNLOGGED TABLE quick AS SELECT 1 AS n",
    );
    let warnings = |change: &dyn Fn(&mut PostgresOptions)| {
        let mut options = options(&server.conninfo("postgres", ""));
        change(&mut options);
        let mut source = PostgresSource::new(options).unwrap();
        let streams = take(&mut source).unwrap();
        (source.warnings(), streams)
    };
    let (found, streams) = warnings(&|_| {});
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("\"closed\" accepts no connections") && found[1].contains("public.distant"), "{found:?}");
    // Unlogged rows and large objects are in a dump of a primary.
    server.restore(&streams["authentik.dump"], "restored");
    assert_eq!(server.psql("restored", "SELECT n, convert_from(lo_get(4711), 'UTF8') FROM quick"), "1|large");
    let (found, _) = warnings(&|options| {
        (options.format, options.globals, options.databases) = (DumpFormat::Plain, false, vec!["authentik".into()]);
    });
    assert!(found.iter().any(|warning| warning.contains("work_mem=65MB")), "{found:?}");
    assert!(found.iter().any(|warning| warning.contains("roles and tablespaces are left out")), "{found:?}");
    let mut closed = options(&server.conninfo("postgres", "postgres"));
    closed.databases = vec!["closed".into()];
    let error = take(&mut PostgresSource::new(closed).unwrap()).unwrap_err();
    assert!(error.to_string().contains("\"closed\" accepts no connections"), "{error}");
}

#[test]
fn rows_that_a_policy_hides_fail_the_dump() {
    let server = Postgres::start();
    server.psql("postgres", "CREATE ROLE backup LOGIN IN ROLE pg_read_all_data");
    server.psql("postgres", "CREATE DATABASE authentik");
    server.psql("authentik", "CREATE TABLE hidden AS SELECT 1 AS n; ALTER TABLE hidden ENABLE ROW LEVEL SECURITY");
    let error = take(&mut PostgresSource::new(options(&server.conninfo("backup", "authentik"))).unwrap()).unwrap_err();
    assert!(error.to_string().contains("row-level security policy"), "{error}");
}

#[test]
fn what_pg_dump_warns_of_is_a_warning_of_the_snapshot() {
    let server = Postgres::start();
    server.psql("postgres", "CREATE DATABASE authentik");
    let programs = tempfile::tempdir().unwrap();
    for program in ["psql", "pg_dumpall"] {
        std::os::unix::fs::symlink(Postgres::bin_dir().join(program), programs.path().join(program)).unwrap();
    }
    let real = Postgres::bin_dir().join("pg_dump");
    let warns = format!("echo 'pg_dump: warning: subscriptions not dumped' >&2; exec {} \"$@\"", real.display());
    script(programs.path(), "pg_dump", &warns);
    let mut options = options(&server.conninfo("postgres", "authentik"));
    options.bin_dir = Some(programs.path().to_owned());
    let mut source = PostgresSource::new(options).unwrap();
    take(&mut source).unwrap();
    assert_eq!(source.warnings(), ["pg_dump says: warning: subscriptions not dumped"]);
}

/// A folder whose `pg_dump` says that it is of version 99, and dumps as the real one does.
fn newer_client() -> tempfile::TempDir {
    let programs = tempfile::tempdir().unwrap();
    for program in ["psql", "pg_dumpall"] {
        std::os::unix::fs::symlink(Postgres::bin_dir().join(program), programs.path().join(program)).unwrap();
    }
    let real = Postgres::bin_dir().join("pg_dump");
    let text = format!("[ \"$1\" = --version ] && echo 'pg_dump (PostgreSQL) 99.1' && exit\nexec {} \"$@\"", real.display());
    script(programs.path(), "pg_dump", &text);
    programs
}

#[test]
fn the_client_of_the_servers_own_version_is_taken_where_it_is_installed() {
    if !Postgres::bin_dir().starts_with("/usr/lib/postgresql") {
        return; // the programs of this machine stand where only PATH leads
    }
    let server = Postgres::start();
    server.psql("postgres", "CREATE DATABASE authentik");
    let newer = newer_client();
    let mut options = options(&server.conninfo("postgres", "authentik"));
    options.bin_dir = None;
    options.environment = Environment::from_pairs([("PATH", format!("{}:/usr/bin:/bin", newer.path().display()))]);
    let mut source = PostgresSource::new(options).unwrap();
    take(&mut source).unwrap();
    let major = |version: Option<String>| version.unwrap().split('.').next().unwrap().to_owned();
    assert_eq!(major(fact(&source, "pg_dump_version")), major(fact(&source, "server_version")));
    assert!(source.warnings().is_empty(), "{:?}", source.warnings());
}

#[test]
fn a_client_newer_than_the_server_is_a_warning_and_recorded() {
    let server = Postgres::start();
    server.psql("postgres", "CREATE DATABASE authentik");
    let newer = newer_client();
    let mut options = options(&server.conninfo("postgres", "authentik"));
    options.bin_dir = Some(newer.path().to_owned());
    let mut source = PostgresSource::new(options).unwrap();
    take(&mut source).unwrap();
    assert_eq!(fact(&source, "pg_dump_version").as_deref(), Some("99.1"));
    assert!(source.warnings()[0].contains("pg_dump 99.1 is newer than the server"), "{:?}", source.warnings());
}

#[test]
fn plain_dumps_restore_with_psql() {
    let server = Postgres::start();
    fill(&server, "authentik");
    let mut plain = options(&server.conninfo("postgres", "authentik"));
    plain.format = DumpFormat::Plain;
    let streams = take(&mut PostgresSource::new(plain).unwrap()).unwrap();
    let file = server.host().join("authentik.sql");
    std::fs::write(&file, &streams["authentik.sql"]).unwrap();
    server.psql("postgres", "CREATE DATABASE restored");
    let psql = server.client("psql").args(["-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-d", "restored", "-f"]).arg(&file).output();
    assert!(psql.unwrap().status.success());
    assert_eq!(server.dump_text("restored"), server.dump_text("authentik"));
}

#[test]
fn a_dump_killed_half_way_is_not_whole() {
    let server = Postgres::start();
    fill(&server, "authentik");
    // More than all the pipes in between hold.
    server.psql("authentik", "CREATE TABLE big AS SELECT n, repeat(md5(n::text), 30) t FROM generate_series(1, 30000) n");
    let mut source = PostgresSource::new(options(&server.conninfo("postgres", "authentik"))).unwrap();
    source.prepare(&Stop::new()).unwrap();
    let start = |source: &mut PostgresSource| -> Box<dyn RunningStream> {
        let mut stream = source.open(0).unwrap();
        stream.read_exact(&mut vec![0; 100_000]).unwrap();
        stream
    };

    let mut stream = start(&mut source);
    rustix::process::kill_process(running_dump(&server).unwrap(), rustix::process::Signal::KILL).unwrap();
    std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    let error = stream.finish().unwrap_err();
    assert!(matches!(error, SourceError::Child { ended: Ended::Signal(9), .. }), "{error}");

    let mut stream = start(&mut source);
    server.psql("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'esker'");
    std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    let error = stream.finish().unwrap_err();
    assert!(matches!(error, SourceError::Child { ended: Ended::Status(1), .. }), "{error}");

    start(&mut source).abort();
    assert!(running_dump(&server).is_none(), "an aborted dump still runs");
    drop(start(&mut source));
    assert!(running_dump(&server).is_none(), "a dropped dump still runs");
}

#[test]
fn a_wrong_password_is_refused_before_anything_is_read_and_shown_nowhere() {
    let server = Postgres::start();
    fill(&server, "authentik");
    let uri = |password: &str| format!("postgresql://secured:{password}@/authentik?host={}", server.host().display());
    let mut source = PostgresSource::new(options(&uri("hunter2"))).unwrap();
    let error = take(&mut source).unwrap_err();
    assert!(error.to_string().contains("password authentication failed"), "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
    // And with none at all nobody is asked on a terminal.
    let error = take(&mut PostgresSource::new(options(&server.conninfo("secured", "authentik"))).unwrap()).unwrap_err();
    assert!(error.to_string().contains("no password supplied"), "{error}");

    server.psql("authentik", "GRANT pg_read_all_data TO secured");
    let mut right = options(&uri("correct%20horse"));
    right.databases = vec!["authentik".into()];
    right.environment.give("PGPASSWORD", "hunter2");
    let mut source = PostgresSource::new(right).unwrap();
    // The right password wins over one of the environment. A large object of another owner stays out of reach.
    server.psql("authentik", "SELECT lo_unlink(4711)");
    assert_eq!(take(&mut source).unwrap().len(), 2);
}

#[test]
fn roles_come_without_passwords_when_the_user_may_not_read_them() {
    let server = Postgres::start();
    server.psql("postgres", "CREATE ROLE authentik LOGIN");
    server.psql("postgres", "CREATE DATABASE authentik OWNER authentik");
    let mut source = PostgresSource::new(options(&server.conninfo("authentik", "authentik"))).unwrap();
    let streams = take(&mut source).unwrap();
    let globals = String::from_utf8_lossy(&streams["globals.sql"]);
    assert!(globals.contains("CREATE ROLE authentik") && !globals.contains("SCRAM"), "{globals}");
    assert_eq!(fact(&source, "globals").as_deref(), Some("without role passwords"));
    assert!(source.warnings().iter().any(|warning| warning.contains("have no passwords")));
}

#[test]
fn a_server_newer_than_pg_dump_is_refused_with_both_versions() {
    let server = Postgres::start();
    let programs = tempfile::tempdir().unwrap();
    script(programs.path(), "pg_dump", "echo 'pg_dump (PostgreSQL) 9.6.24'");
    std::os::unix::fs::symlink(Postgres::bin_dir().join("psql"), programs.path().join("psql")).unwrap();
    let mut old = options(&server.conninfo("postgres", "postgres"));
    old.bin_dir = Some(programs.path().to_owned());
    let error = PostgresSource::new(old).unwrap().prepare(&Stop::new()).unwrap_err().to_string();
    let version = server.psql("postgres", "SHOW server_version");
    assert!(error.contains("pg_dump 9.6.24 is older") && error.contains(&version), "{error}");
}

#[test]
fn a_dump_that_looks_whole_but_is_not_the_real_thing_is_refused() {
    let server = Postgres::start();
    server.psql("postgres", "CREATE DATABASE authentik");
    let programs = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(Postgres::bin_dir().join("psql"), programs.path().join("psql")).unwrap();
    let run = |body: &str, format: DumpFormat| {
        let version = "[ \"$1\" = --version ] && echo 'pg_dump (PostgreSQL) 99.0' && exit 0";
        script(programs.path(), "pg_dump", &format!("{version}\n{body}"));
        let mut fake = options(&server.conninfo("postgres", "authentik"));
        (fake.format, fake.globals, fake.bin_dir) = (format, false, Some(programs.path().to_owned()));
        take(&mut PostgresSource::new(fake).unwrap())
    };
    assert!(matches!(run("true", DumpFormat::Custom), Err(SourceError::Empty { .. })));
    assert!(matches!(run("echo Usage", DumpFormat::Custom), Err(SourceError::Shape { .. })));
    assert!(matches!(run("echo PGDMP; exit 1", DumpFormat::Custom), Err(SourceError::Child { .. })));
    assert!(matches!(run("echo PGDMP; kill -9 $$", DumpFormat::Custom), Err(SourceError::Child { .. })));
    assert!(matches!(run("printf '1\\n\\\\.\\n'", DumpFormat::Plain), Err(SourceError::Shape { .. })));
    assert!(run("echo PGDMP", DumpFormat::Custom).is_ok());
}

#[test]
fn a_missing_pg_dump_is_named() {
    let mut missing = options("host=/nowhere");
    missing.bin_dir = Some("/no/such/folder".into());
    let error = take(&mut PostgresSource::new(missing).unwrap()).unwrap_err();
    assert!(error.to_string().contains("cannot start \"/no/such/folder/psql\""), "{error}");
}

#[test]
fn rows_left_out_and_the_version_of_authentik_are_recorded() {
    let server = Postgres::start();
    fill(&server, "authentik");
    server.psql(
        "authentik",
        "CREATE TABLE authentik_version_history (id serial, timestamp timestamptz, version text, build text); \
         INSERT INTO authentik_version_history (timestamp, version, build) VALUES (now(), '2024.8.1', ''), (now(), '2024.10.5', '')",
    );
    let mut less = options(&server.conninfo("postgres", "authentik"));
    less.exclude_table_data = vec!["public.events".into()];
    let mut source = PostgresSource::new(less).unwrap();
    let streams = take(&mut source).unwrap();
    server.restore(&streams["authentik.dump"], "restored");
    assert_eq!(server.psql("restored", "SELECT * FROM counted"), "0");
    assert_eq!(fact(&source, "exclude_table_data").as_deref(), Some("public.events"));
    assert_eq!(fact(&source, "authentik_version").as_deref(), Some("2024.10.5"));
    assert!(source.warnings().iter().any(|warning| warning.contains("public.events")));
}

#[test]
fn a_locked_table_fails_the_dump_in_time_and_a_wish_to_stop_at_once() {
    let server = Postgres::start();
    fill(&server, "authentik");
    let mut locker = server
        .client("psql")
        .args(["-XAtq", "-d", "authentik", "-c", "BEGIN; LOCK TABLE events; SELECT pg_sleep(1000)"])
        .spawn()
        .unwrap();
    let locked = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted";
    while server.psql("authentik", locked) == "0" {
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut impatient = options(&server.conninfo("postgres", "authentik"));
    impatient.lock_wait = Duration::from_millis(100);
    let error = take(&mut PostgresSource::new(impatient).unwrap()).unwrap_err();
    assert!(error.to_string().contains("statement timeout"), "{error}");

    let mut source = PostgresSource::new(options(&server.conninfo("postgres", "authentik"))).unwrap();
    let stop = Stop::new();
    source.prepare(&stop).unwrap();
    let mut stream = source.open(0).unwrap();
    let began = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(300));
            stop.request();
        });
        let error = std::io::copy(&mut stream, &mut std::io::sink()).unwrap_err();
        assert!(matches!(SourceError::from_read("x", error), SourceError::Stopped));
    });
    stream.abort();
    assert!(began.elapsed() < Duration::from_secs(5));
    locker.kill().unwrap();
    locker.wait().unwrap();
}
