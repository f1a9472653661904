//! One source of the config file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use esker::source::command;
use serde::{Deserialize, Serialize};

use super::LeaveOutKeys;
use super::hooks::Hooks;
use crate::error::Usage;

/// A command: a line in shell quoting, or its words.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(untagged, expecting = "a command line, or a list of words")]
pub enum Words {
    /// `"slapcat -n 1"`
    Line(String),
    /// `["slapcat", "-n", "1"]`
    List(Vec<String>),
}

impl Words {
    /// Program and arguments.
    pub fn split(&self) -> Result<Vec<String>> {
        match self {
            Self::Line(line) => Ok(command::split(line).map_err(Usage::new)?),
            Self::List(words) if words.is_empty() => Err(Usage::new("a command in the config file is an empty list").into()),
            Self::List(words) => Ok(words.clone()),
        }
    }
}

/// One `[[source]]`: exactly one of directory, files-from, command, stdin, postgres, redis, authentik.
#[derive(Deserialize, Serialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SourceEntry {
    /// The config file that it stands in; none: the command line.
    #[serde(skip)]
    pub file: Option<PathBuf>,
    /// What it is called in the snapshot; a directory may go without and is called by its last part.
    pub name: Option<String>,
    /// What runs before and after it.
    pub hooks: Option<Hooks>,
    /// May it fail?
    #[serde(default)]
    pub optional: bool,
    /// Patterns for this directory only.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Files of such patterns.
    #[serde(default)]
    pub exclude_files: Vec<PathBuf>,
    /// Patterns that do not tell upper from lower case.
    #[serde(default)]
    pub iexclude: Vec<String>,
    /// Files of those.
    #[serde(default)]
    pub iexclude_files: Vec<PathBuf>,
    /// Do not go where another file system is mounted.
    pub one_file_system: Option<bool>,
    /// Leave out what a CACHEDIR.TAG marks.
    pub exclude_caches: Option<bool>,
    /// `NAME` or `NAME:HEADER` of files that mark a directory.
    #[serde(default)]
    pub exclude_if_present: Vec<String>,
    /// A size such as `500M`.
    pub exclude_larger_than: Option<String>,
    /// An empty directory, or a command that prints nothing, is in order.
    #[serde(default)]
    pub allow_empty: bool,
    /// Variables of this process's environment that programs of this source get besides the usual ones.
    #[serde(default)]
    pub pass_environment: Vec<String>,
    /// A directory, or one file.
    pub directory: Option<PathBuf>,
    /// Files of paths, with wildcards and comments.
    #[serde(default)]
    pub files_from: Vec<PathBuf>,
    /// Files of paths, each line as it is.
    #[serde(default)]
    pub files_from_verbatim: Vec<PathBuf>,
    /// Files of paths, each ended by a NUL.
    #[serde(default)]
    pub files_from_raw: Vec<PathBuf>,
    /// The output of a command.
    pub command: Option<Words>,
    /// Standard input.
    pub stdin: Option<StdinEntry>,
    /// A PostgreSQL server.
    pub postgres: Option<PostgresEntry>,
    /// A Redis server.
    pub redis: Option<RedisEntry>,
    /// An authentik installation.
    pub authentik: Option<AuthentikEntry>,
}

/// `[source.stdin]`
#[derive(Deserialize, Serialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StdinEntry {
    /// What it must end with, in the escapes of `--stdin-trailer`.
    pub trailer: Option<String>,
}

/// `[source.postgres]`
#[derive(Deserialize, Serialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PostgresEntry {
    /// A libpq connection string, without a password.
    #[serde(default)]
    pub connection: String,
    /// The file that holds only the password; without it libpq looks in ~/.pgpass.
    pub password_file: Option<PathBuf>,
    /// Only these databases; none: all but the system's.
    #[serde(default)]
    pub databases: Vec<String>,
    /// `custom` (the default) or `plain`.
    pub format: Option<PostgresFormat>,
    /// Roles and tablespaces too (default true).
    pub globals: Option<bool>,
    /// Tables whose rows are left out.
    #[serde(default)]
    pub exclude_table_data: Vec<String>,
    /// What to put before pg_dump and its friends, such as `docker exec -i NAME`.
    pub command_prefix: Option<Words>,
    /// The folder of psql, pg_dump and pg_dumpall, instead of those that fit the server best.
    pub bin_dir: Option<PathBuf>,
}

/// Formats of pg_dump.
#[derive(Deserialize, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum PostgresFormat {
    /// `-Fc -Z0`
    Custom,
    /// SQL
    Plain,
}

/// `[source.redis]`
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RedisEntry {
    /// `redis://[USER@]HOST[:PORT]` or `unix:PATH`.
    pub url: String,
    /// The file that holds only the password.
    pub password_file: Option<PathBuf>,
    /// Where the server's dump.rdb stands: BGSAVE and read it, instead of streaming.
    pub rdb_file: Option<PathBuf>,
}

/// `[source.authentik]`
#[derive(Deserialize, Serialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AuthentikEntry {
    /// The folder of its compose file and .env.
    pub directory: Option<PathBuf>,
    /// What to put before pg_dump when the compose file does not tell how to reach the database's container.
    pub command_prefix: Option<Words>,
    /// Names of its sources that may fail.
    #[serde(default)]
    pub optional: Vec<String>,
    /// Where its folders are, by the source's name, in place of where the compose file says.
    #[serde(default)]
    pub folders: BTreeMap<String, PathBuf>,
}

impl SourceEntry {
    /// What the parser cannot see: a source is one thing, and its keys fit it.
    /// It is made of paths that stand in files.
    pub fn names_paths(&self) -> bool {
        [&self.files_from, &self.files_from_verbatim, &self.files_from_raw].into_iter().any(|files| !files.is_empty())
    }

    /// What is left out of this directory, beside what is left out of all.
    pub fn leave_out_keys(&self) -> LeaveOutKeys {
        LeaveOutKeys {
            exclude: self.exclude.clone(),
            exclude_files: self.exclude_files.clone(),
            iexclude: self.iexclude.clone(),
            iexclude_files: self.iexclude_files.clone(),
            one_file_system: self.one_file_system,
            exclude_caches: self.exclude_caches,
            exclude_if_present: self.exclude_if_present.clone(),
            exclude_larger_than: self.exclude_larger_than.clone(),
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let kinds = [
            self.directory.is_some(),
            self.names_paths(),
            self.command.is_some(),
            self.stdin.is_some(),
            self.postgres.is_some(),
            self.redis.is_some(),
            self.authentik.is_some(),
        ];
        let name = self.name.as_deref().map_or("without a name".to_owned(), |name| format!("{name:?}"));
        if kinds.into_iter().filter(|given| *given).count() != 1 {
            return Err(format!(
                "source {name} needs exactly one of directory, files-from, command, stdin, postgres, redis, authentik"
            ));
        }
        if !self.leave_out_keys().is_empty() && self.directory.is_none() && !self.names_paths() {
            return Err(format!(
                "source {name} has an `exclude` or another key that leaves files out, which only a directory can have"
            ));
        }
        if self.allow_empty && self.directory.is_none() && self.command.is_none() && self.authentik.is_none() {
            return Err(format!("source {name} has an `allow-empty`, which only a directory, a command and authentik can have"));
        }
        if !self.pass_environment.is_empty() && self.command.is_none() && self.postgres.is_none() && self.authentik.is_none() {
            return Err(format!("source {name} has a `pass-environment`, which only a command, postgres and authentik can have"));
        }
        if let Some(hooks) = &self.hooks {
            hooks.check().map_err(|why| format!("source {name}: {why}"))?;
            if hooks.commands.is_some() {
                return Err(format!("the hooks of source {name} have `commands`; they belong to `snapshot` alone"));
            }
            if self.authentik.is_some() {
                return Err("authentik is several sources, so it has no hooks of its own; [hooks] has those of the run".to_owned());
            }
        }
        if self.name.is_none() && self.directory.is_none() && self.authentik.is_none() {
            return Err("a source needs a name (optional only for a directory and authentik)".to_owned());
        }
        if (self.name.is_some() || self.optional) && self.authentik.is_some() {
            return Err("authentik names its sources itself: no `name`, and `optional = [NAMES]` in its own table".to_owned());
        }
        Ok(())
    }
}
