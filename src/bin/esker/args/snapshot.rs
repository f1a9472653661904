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
  esker snapshot --command ldap='slapcat -n 1'     a command's output; it must end with status 0
  esker snapshot --preset authentik                PostgreSQL, Redis and directories of an authentik installation
  esker --config /etc/esker.toml snapshot          the sources of a config file
  esker --config /etc/esker.toml snapshot /srv/x   these, and one directory more
  esker --config /etc/esker.toml snapshot --only media --only certs

A source name is 1 to 64 of a-z 0-9 . _ - and begins with a letter or digit. Sources given here come beside those of the
config file; --only takes some of all of them. When a required source fails nothing is committed and the exit code is 4; when an optional source fails, or a file
cannot be read, the snapshot is committed, marked incomplete, and the exit code is 3.")]
pub struct Snapshot {
    /// Directories or files, each named by its last part
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,

    /// A directory or file under a name of your choice
    #[arg(long, value_name = "NAME=PATH", value_parser = named(), value_hint = ValueHint::AnyPath, help_heading = "Sources")]
    pub dir: Vec<Named>,

    /// The output of a command (words in shell quoting, no shell). It sees the environment of esker without ESKER_* and the
    /// credentials of stores (AWS_*, AZURE_STORAGE_*, B2_*, WEBDAV_*, GOOGLE_APPLICATION_CREDENTIALS)
    #[arg(long, value_name = "NAME=CMDLINE", value_parser = named(), help_heading = "Sources")]
    pub command: Vec<Named>,

    /// Standard input. It has no exit status, so the source is recorded as "ended without status"; prefer --command
    #[arg(long, value_name = "NAME", help_heading = "Sources")]
    pub stdin: Option<String>,

    /// Demand that standard input ends with these bytes (\n, \t, \\, \xNN are understood)
    #[arg(long, value_name = "BYTES", requires = "stdin", allow_hyphen_values = true, help_heading = "Sources")]
    pub stdin_trailer: Option<String>,

    /// A PostgreSQL server: roles and every database, or only the one that dbname= names; a libpq connection string
    #[arg(long, value_name = "NAME=CONNINFO", value_parser = named(), help_heading = "Sources")]
    pub postgres: Vec<Named>,

    /// A Redis server: redis://[USER[:PASSWORD]@]HOST[:PORT] or unix:PATH
    #[arg(long, value_name = "NAME=URL", value_parser = named(), help_heading = "Sources")]
    pub redis: Vec<Named>,

    /// A service whose parts are known: its databases and directories are found from its own settings
    #[arg(long, value_enum, value_name = "SERVICE", help_heading = "Sources")]
    pub preset: Option<Preset>,

    /// Where the service is installed: the folder of its compose file and .env
    #[arg(long, value_name = "DIR", requires = "preset", value_hint = ValueHint::DirPath, help_heading = "Sources")]
    pub preset_dir: Option<PathBuf>,

    /// Pass this environment variable to the programs of every source; pg_dump and its like get only PATH, HOME, LANG, LC_*, TZ,
    /// USER, LOGNAME, TMPDIR, PG* and KRB5* (and DOCKER_*, COMPOSE_*, CONTAINER*_*, KUBECONFIG, SSH_AUTH_SOCK, XDG_RUNTIME_DIR,
    /// XDG_CONFIG_HOME behind a command-prefix) by themselves
    #[arg(long, value_name = "NAME", help_heading = "Sources")]
    pub pass_env: Vec<String>,

    /// Take only this source, of those of the config file and of the command line (may be given several times)
    #[arg(long, value_name = "NAME", help_heading = "Sources")]
    pub only: Vec<String>,

    /// This source may fail: the snapshot is then marked incomplete instead of not taken
    #[arg(long, value_name = "NAME", help_heading = "Sources")]
    pub optional: Vec<String>,

    /// Paths that stand in files
    #[command(flatten)]
    pub files_from: FilesFrom,

    /// What is left out
    #[command(flatten)]
    pub leave_out: LeaveOut,

    /// Read every file again, also those that look unchanged
    #[arg(long, help_heading = "Files")]
    pub force: bool,

    /// A tag to find this snapshot by; may be given several times
    #[arg(long, value_name = "TAG", help_heading = "Snapshot")]
    pub tag: Vec<String>,

    /// What to say about it, as `esker tag --comment` would (needs an owner's key; with a writer key use --tag)
    #[arg(long, value_name = "TEXT", help_heading = "Snapshot")]
    pub comment: Option<String>,

    /// Pin it: no rule of `forget` drops it until `esker tag --release` (needs an owner's key)
    #[arg(long, help_heading = "Snapshot", conflicts_with = "keep_until")]
    pub keep: bool,

    /// Pin it until then: a date, or a period from now such as 30d
    #[arg(long, value_name = "WHEN", help_heading = "Snapshot")]
    pub keep_until: Option<String>,

    /// The host to record instead of this one
    #[arg(long, value_name = "NAME", help_heading = "Snapshot")]
    pub host: Option<String>,

    /// Create the repository first when it does not exist
    #[arg(long, help_heading = "Snapshot")]
    pub init: bool,

    /// Take it even while another run of this host writes to this repository
    #[arg(long, help_heading = "Snapshot")]
    pub allow_overlap: bool,

    /// Wait so long for another run of this host to end, such as 10m, instead of ending at once
    #[arg(long, value_name = "TIME", help_heading = "Snapshot", conflicts_with = "allow_overlap")]
    pub wait_lock: Option<crate::settings::Span>,

    /// Read everything, say what would be stored, and store nothing
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
