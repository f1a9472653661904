//! The command line of `snapshot`.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, ValueEnum, ValueHint};

use super::{FilesFrom, LeaveOut};

/// `snapshot`
#[derive(Args, Debug, Default)]
#[command(after_help = "\
Examples:
  esker snapshot /srv/media /srv/certs             two directories, named `media` and `certs`
  esker snapshot --postgres database='host=/run/postgresql dbname=app' --dir media=/srv/app/media
  esker snapshot --command ldap='slapcat -n 1'     the output of a command, which must end with status 0
  esker snapshot --preset authentik                the databases and directories of an authentik installation
  esker --config /etc/esker.toml snapshot          the sources of a config file
  esker --config /etc/esker.toml snapshot /srv/x   these and one more directory
  esker --config /etc/esker.toml snapshot --only media --only certs

A source name has 1 to 64 characters of a-z 0-9 . _ - and begins with a letter or digit. Sources on the command line are added
to those of the config file; --only selects some of them. When a required source fails, nothing is saved and the exit code
is 4. When an optional source fails or a file cannot be read, the snapshot is saved, it is marked incomplete, and the exit
code is 3.")]
pub struct Snapshot {
    /// Directories or files; the last part of the path is the source name
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,

    /// A directory or file, with a source name of your choice
    #[arg(long, value_name = "NAME=PATH", value_parser = named(), value_hint = ValueHint::AnyPath, help_heading = "Sources")]
    pub dir: Vec<Named>,

    /// The output of a command (shell quoting, but no shell). The command gets the environment of esker except ESKER_*, AWS_*,
    /// AZURE_STORAGE_*, B2_*, WEBDAV_USERNAME, WEBDAV_PASSWORD, GOOGLE_APPLICATION_CREDENTIALS and CREDENTIALS_DIRECTORY
    #[arg(long, value_name = "NAME=CMDLINE", value_parser = named(), help_heading = "Sources")]
    pub command: Vec<Named>,

    /// Standard input. It has no exit status, so the source is recorded as "ended without status". Prefer --command
    #[arg(long, value_name = "NAME", help_heading = "Sources")]
    pub stdin: Option<String>,

    /// Fail unless standard input ends with these bytes (escapes: \n, \t, \\, \xNN)
    #[arg(long, value_name = "BYTES", requires = "stdin", allow_hyphen_values = true, help_heading = "Sources")]
    pub stdin_trailer: Option<String>,

    /// A PostgreSQL server, as a libpq connection string: roles and all databases, or only the one in dbname=
    #[arg(long, value_name = "NAME=CONNINFO", value_parser = named(), help_heading = "Sources")]
    pub postgres: Vec<Named>,

    /// A Redis server: redis://[USER[:PASSWORD]@]HOST[:PORT] or unix:PATH
    #[arg(long, value_name = "NAME=URL", value_parser = named(), help_heading = "Sources")]
    pub redis: Vec<Named>,

    /// A known service: esker finds its databases and directories in its own settings
    #[arg(long, value_enum, value_name = "SERVICE", help_heading = "Sources")]
    pub preset: Option<Preset>,

    /// The folder of the service's compose file and .env
    #[arg(long, value_name = "DIR", requires = "preset", value_hint = ValueHint::DirPath, help_heading = "Sources")]
    pub preset_dir: Option<PathBuf>,

    /// Pass this environment variable to the programs of every source. By default, tools such as pg_dump get only PATH, HOME,
    /// LANG, LC_*, TZ, USER, LOGNAME, TMPDIR, PG* and KRB5*. With a command-prefix they also get DOCKER_*, COMPOSE_*,
    /// CONTAINER_*, CONTAINERS_*, KUBECONFIG, SSH_AUTH_SOCK, XDG_RUNTIME_DIR and XDG_CONFIG_HOME
    #[arg(long, value_name = "NAME", help_heading = "Sources")]
    pub pass_env: Vec<String>,

    /// Take only this source of the config file and the command line (may be given several times)
    #[arg(long, value_name = "NAME", help_heading = "Sources")]
    pub only: Vec<String>,

    /// If this source fails, save the snapshot all the same and mark it incomplete
    #[arg(long, value_name = "NAME", help_heading = "Sources")]
    pub optional: Vec<String>,

    /// Paths that are read from files
    #[command(flatten)]
    pub files_from: FilesFrom,

    /// What is left out
    #[command(flatten)]
    pub leave_out: LeaveOut,

    /// Read every file again, including those that look unchanged
    #[arg(long, help_heading = "Files")]
    pub force: bool,
    /// Store changed chunks of streams with all their bytes, and not as ranges of chunks that are stored
    #[arg(long, help_heading = "Files")]
    pub no_compose: bool,

    /// A tag for this snapshot; may be given several times
    #[arg(long, value_name = "TAG", help_heading = "Snapshot")]
    pub tag: Vec<String>,

    /// A comment on the snapshot (needs an owner's key; with a writer key use --tag)
    #[arg(long, value_name = "TEXT", help_heading = "Snapshot")]
    pub comment: Option<String>,

    /// Pin the snapshot: no rule of `forget` drops it until `esker tag --release` (needs an owner's key)
    #[arg(long, help_heading = "Snapshot", conflicts_with = "keep_until")]
    pub keep: bool,

    /// Pin the snapshot until a date, or for a period such as 30d
    #[arg(long, value_name = "WHEN", help_heading = "Snapshot")]
    pub keep_until: Option<String>,

    /// Record this host name instead of the machine's own
    #[arg(long, value_name = "NAME", help_heading = "Snapshot")]
    pub host: Option<String>,

    /// Create the repository first if it does not exist
    #[arg(long, help_heading = "Snapshot")]
    pub init: bool,

    /// Run even while another run of this host writes to this repository
    #[arg(long, help_heading = "Snapshot")]
    pub allow_overlap: bool,

    /// Wait this long for another run of this host to end, such as 10m, instead of failing at once
    #[arg(long, value_name = "TIME", help_heading = "Snapshot", conflicts_with = "allow_overlap")]
    pub wait_lock: Option<crate::settings::Span>,

    /// Read everything and report what would be stored, but store nothing
    #[arg(short = 'n', long, help_heading = "Snapshot", conflicts_with = "init")]
    pub dry_run: bool,
}

/// Services with a preset.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// The identity provider: PostgreSQL, Redis (before 2025.10), media, certs, templates, blueprints
    Authentik,
}

/// `NAME=VALUE`; the value may be any bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Before the first `=`.
    pub name: String,
    /// After it.
    pub value: OsString,
}

fn named() -> impl TypedValueParser<Value = Named> {
    OsStringValueParser::new().try_map(|text| {
        let bytes = text.as_bytes();
        let at = bytes.iter().position(|&byte| byte == b'=').ok_or("it has to be NAME=VALUE")?;
        let name = std::str::from_utf8(&bytes[..at]).map_err(|_| "the name before `=` is not UTF-8")?;
        if name.is_empty() || at + 1 == bytes.len() {
            return Err("nothing may be empty in NAME=VALUE");
        }
        Ok(Named { name: name.to_owned(), value: OsString::from_vec(bytes[at + 1..].to_vec()) })
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Arguments, Command};

    #[test]
    fn the_value_of_a_named_source_may_hold_further_equal_signs_and_any_bytes() {
        let value = OsString::from_vec(b"db=host=x dbname=\xff".to_vec());
        let parsed = Arguments::try_parse_from([OsString::from("esker"), "snapshot".into(), "--postgres".into(), value]).unwrap();
        let Command::Snapshot(snapshot) = parsed.command else { panic!("not a snapshot") };
        assert_eq!(snapshot.postgres[0].name, "db");
        assert_eq!(snapshot.postgres[0].value.as_bytes(), b"host=x dbname=\xff");
    }
}
