//! Which `pg_dump`: that of the server's own major version where it is installed.
//!
//! A newer one writes settings and archives that the server and its own `pg_restore` refuse; an older one refuses to dump.

use std::path::{Path, PathBuf};

use super::super::child::Child;
use super::super::{Environment, Secret, SourceError};
use super::PostgresOptions;
use super::server::Server;
use crate::monitor::Stop;

/// How many major versions above the server's are looked for when its own is not there.
const NEWER: u32 = 9;

/// The programs that dump.
#[derive(Debug)]
pub(super) struct Client {
    /// Their folder; none: `PATH`.
    pub folder: Option<PathBuf>,
    /// The version of `pg_dump`.
    pub version: String,
}

impl Client {
    /// What a restore will lack because of this client.
    pub(super) fn warning(&self, server: &Server) -> Option<String> {
        (major(&self.version) > server.major).then(|| {
            format!(
                "pg_dump {} is newer than the server, PostgreSQL {}: that server and its pg_restore may refuse the dump \
                 (transaction_timeout, archive version); install the client of version {} beside it ({})",
                self.version,
                server.version,
                server.major,
                packages(server.major),
            )
        })
    }
}

/// Asks the programs that are there for their versions and takes the best. A folder or prefix that the user chose is kept.
pub(super) fn choose(
    options: &PostgresOptions,
    environment: &Environment,
    stop: &Stop,
    server: &Server,
) -> Result<Client, SourceError> {
    let ask = |folder: Option<PathBuf>| {
        let version = version(options, environment, stop, folder.as_deref())?;
        Ok::<_, SourceError>(Client { folder, version })
    };
    let usual = ask(options.bin_dir.clone());
    let fits = |client: &Client| major(&client.version) == server.major;
    let is_fixed = options.bin_dir.is_some() || !options.command_prefix.is_empty();
    match &usual {
        Err(SourceError::Stopped) => return usual,
        Ok(client) if is_fixed || fits(client) => {}
        Err(_) if is_fixed => {}
        _ => {
            let mut newer = None;
            for version in server.major..=server.major + NEWER {
                for folder in installed(Path::new("/"), version) {
                    match ask(Some(folder)) {
                        Ok(client) if fits(&client) => return Ok(client),
                        Ok(client) if major(&client.version) > server.major => newer = newer.or(Some(client)),
                        Err(SourceError::Stopped) => return Err(SourceError::Stopped),
                        _ => {}
                    }
                }
            }
            let is_usable = |client: &Client| major(&client.version) >= server.major;
            if let Some(newer) = newer.filter(|_| !usual.as_ref().is_ok_and(is_usable)) {
                return Ok(newer);
            }
        }
    }
    let client = usual?;
    if major(&client.version) < server.major {
        let place = if options.command_prefix.is_empty() { "" } else { " behind command-prefix" };
        return Err(SourceError::Unfit(format!(
            "pg_dump {} is older than the server, PostgreSQL {}, and cannot dump it: install the client of version {}{place} ({}), name \
             its folder with `bin-dir` in the config file, or run the server's own with `command-prefix`",
            client.version,
            server.version,
            server.major,
            packages(server.major),
        )));
    }
    Ok(client)
}

/// The packages that hold the client of a major version.
fn packages(major: u32) -> String {
    format!(
        "postgresql-client-{major} on Debian and Ubuntu, postgresql{major} on Fedora and RHEL, postgresql{major}-client on Alpine"
    )
}

/// Where packages of distributions put the programs of one major version, below `root`; those folders that hold a `pg_dump`.
fn installed(root: &Path, major: u32) -> impl Iterator<Item = PathBuf> {
    let places = [
        format!("usr/lib/postgresql/{major}/bin"),
        format!("usr/pgsql-{major}/bin"),
        format!("usr/lib/postgresql{major}/bin"),
        format!("usr/libexec/postgresql{major}"),
        format!("usr/lib64/postgresql-{major}/bin"),
        format!("usr/local/pgsql-{major}/bin"),
    ];
    let folders = places.map(|place| root.join(place));
    folders.into_iter().filter(|folder| folder.join("pg_dump").is_file())
}

/// The version of a `pg_dump`.
fn version(
    options: &PostgresOptions,
    environment: &Environment,
    stop: &Stop,
    folder: Option<&Path>,
) -> Result<String, SourceError> {
    let mut argv = options.program_in(folder, "pg_dump");
    argv.push("--version".into());
    let answer = Child::answer(&argv, environment, stop, &Secret::default())?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    // "pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"
    let version = answer.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    version
        .map(str::to_owned)
        .ok_or_else(|| SourceError::Unfit(format!("pg_dump --version said {:?}: is it PostgreSQL's?", answer.trim())))
}

/// The major version: "15.18" and "15beta1" are 15.
fn major(version: &str) -> u32 {
    let digits = version.bytes().take_while(u8::is_ascii_digit).count();
    version[..digits].parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn major_versions_are_found() {
        assert_eq!(["15.18", "16beta1", "17devel", "9.6.24", "x"].map(major), [15, 16, 17, 9, 0]);
    }

    #[test]
    fn the_programs_of_one_version_are_found_where_distributions_put_them() {
        let root = tempfile::tempdir().unwrap();
        for place in ["usr/lib/postgresql/16/bin", "usr/pgsql-16/bin", "usr/lib/postgresql/17/bin"] {
            std::fs::create_dir_all(root.path().join(place)).unwrap();
        }
        assert_eq!(installed(root.path(), 16).count(), 0, "an empty folder holds no client");
        std::fs::write(root.path().join("usr/pgsql-16/bin/pg_dump"), "").unwrap();
        let found: Vec<PathBuf> = installed(root.path(), 16).collect();
        assert_eq!(found, [root.path().join("usr/pgsql-16/bin")]);
    }
}
