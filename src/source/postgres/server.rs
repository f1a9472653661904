//! What is to be known before the first dump: versions, databases, rights.

use super::super::child::Child;
use super::super::{Environment, Secret, SourceError};
use super::PostgresOptions;
use crate::monitor::Stop;

/// Three lines about the server, then one for each database: `+` those that can be dumped, `-` those that accept no connection.
const ABOUT: &str = "SELECT v FROM (VALUES (1, current_setting('server_version_num')), (2, current_setting('server_version')), \
     (3, has_table_privilege('pg_catalog.pg_authid', 'SELECT')::text)) AS t (n, v) ORDER BY n";
const DATABASES: &str = "SELECT CASE WHEN datallowconn AND datconnlimit <> -2 THEN '+' ELSE '-' END || datname \
     FROM pg_catalog.pg_database ORDER BY datname";
/// As XML, because a query that names a missing table fails even where it would not run.
const AUTHENTIK: &str = "SELECT CASE WHEN to_regclass('public.authentik_version_history') IS NULL THEN '' ELSE \
     query_to_xml('SELECT version FROM public.authentik_version_history ORDER BY id DESC LIMIT 1', false, true, '')::text END";

/// A server.
#[derive(Debug)]
pub(super) struct Server {
    /// Its version in its own words.
    pub version: String,
    /// Its major version.
    pub major: u32,
    /// May this user read the passwords of roles?
    pub reads_passwords: bool,
    /// Databases that accept connections.
    pub databases: Vec<String>,
    /// Those that accept none.
    pub closed: Vec<String>,
    /// The version of authentik whose data it holds.
    pub authentik: Option<String>,
}

impl Server {
    /// Connects and asks.
    pub(super) fn ask(options: &PostgresOptions, environment: &Environment, stop: &Stop) -> Result<Self, SourceError> {
        let answer = psql(options, environment, stop, &database_to_ask(options), &[ABOUT, DATABASES])?;
        let mut lines = answer.into_iter();
        let (Some(number), Some(version), Some(reads_passwords)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(SourceError::Unfit("psql did not say which version the server has".into()));
        };
        let major = number.parse::<u32>().map_or(0, |number| number / 10_000);
        let (mut databases, mut closed) = (Vec::new(), Vec::new());
        for line in lines {
            match line.split_at_checked(1) {
                Some(("+", name)) => databases.push(name.to_owned()),
                Some((_, name)) => closed.push(name.to_owned()),
                None => {}
            }
        }
        Ok(Self { version, major, reads_passwords: reads_passwords == "true", databases, closed, authentik: None })
    }

    /// The newest version of authentik that `database` has seen; none when it is not authentik's or may not be asked.
    pub(super) fn authentik_version(
        options: &PostgresOptions,
        environment: &Environment,
        stop: &Stop,
        database: &str,
    ) -> Result<Option<String>, SourceError> {
        match psql(options, environment, stop, database, &[AUTHENTIK]) {
            Ok(answer) => Ok(answer.join("\n").split_once("<version>").and_then(|(_, rest)| {
                let version = rest.split_once("</version>")?.0;
                let plain = version.len() < 64 && version.bytes().all(|byte| byte.is_ascii_graphic() && !b"<&".contains(&byte));
                plain.then(|| version.to_owned())
            })),
            Err(SourceError::Stopped) => Err(SourceError::Stopped),
            // Only a fact is missing; if something is really wrong, the dump itself will fail.
            Err(_) => Ok(None),
        }
    }
}

/// The database to connect to for questions about the server.
pub(super) fn database_to_ask(options: &PostgresOptions) -> String {
    let named = options.conninfo.get("dbname").or_else(|| options.environment.get("PGDATABASE").filter(|name| !name.is_empty()));
    named.or(options.databases.first().map(String::as_str)).unwrap_or("postgres").to_owned()
}

/// The rows (of one column) of some queries.
pub(super) fn psql(
    options: &PostgresOptions,
    environment: &Environment,
    stop: &Stop,
    database: &str,
    queries: &[&str],
) -> Result<Vec<String>, SourceError> {
    let mut argv = options.program("psql");
    // No start-up file, no alignment, no titles; rows end with a zero byte, because a name may hold anything else.
    argv.extend(["-X", "-A", "-t", "-0", "-q", "-w", "-v", "ON_ERROR_STOP=1"].map(String::from));
    argv.push(format!("--dbname={}", options.conninfo.to_database(database)));
    argv.extend(queries.iter().map(|query| format!("--command={query}")));
    let mut environment = environment.clone();
    environment.give("PGCLIENTENCODING", "UTF8");
    let nothing = Secret::default();
    let answer = Child::answer(&argv, &environment, stop, options.conninfo.password().unwrap_or(&nothing))?;
    let answer = String::from_utf8(answer).map_err(|_| SourceError::Unfit("psql answered something that is not UTF-8".into()))?;
    Ok(answer.split_terminator('\0').map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_go_to_a_database_the_user_can_reach() {
        let mut options = PostgresOptions::new("p", "host=h").unwrap();
        options.environment = Environment::default();
        assert_eq!(database_to_ask(&options), "postgres");
        options.databases = vec!["authentik".into()];
        assert_eq!(database_to_ask(&options), "authentik");
        options.conninfo.set("dbname", "other").unwrap();
        assert_eq!(database_to_ask(&options), "other");
    }
}
