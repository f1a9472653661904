//! What the command line, the environment and the config file mean together: one plain struct.
//!
//! Flags win over the environment, the environment over a profile, a profile over the defaults at the top of the file. The config
//! file is strict: an unknown key is an error that names it and its line, because a misspelt `exclude` is a backup with a hole.

mod entry;
pub mod file;
mod hooks;
mod keep;
#[cfg(test)]
mod keys;
mod leave_out;
mod monitor;
mod opening;
mod time;
mod variables;

pub use entry::{AuthentikEntry, PostgresEntry, PostgresFormat, RedisEntry, SourceEntry, StdinEntry, Words};
pub use hooks::{Commands, Hooks, OnFailure};
pub use keep::Keep;
pub use leave_out::LeaveOutKeys;
pub use monitor::{Message, MonitorEntry, When};
pub use opening::Opening;
pub use time::Span;
pub use variables::looks_secret;

use std::ffi::{OsStr, OsString};
use std::num::NonZeroU64;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use esker::store::options::Options as StoreOptions;

use crate::args::Global;
use crate::error::Usage;
use crate::terminal::escape::escape;
use file::Section;

/// Everything a command needs to know beside its own flags.
pub struct Settings {
    /// The config file that was read.
    pub config: Option<PathBuf>,
    /// Where the repository is; `None` only matters to commands that need one.
    pub repository: Option<OsString>,
    /// The environment answered before this one of the config file, which is another.
    pub instead_of_repository: Option<String>,
    /// The options of its store.
    pub store: StoreOptions,
    /// A flag of the command line that says something of it.
    pub store_flag: Option<&'static str>,
    /// What opens it.
    pub opening: Opening,
    /// Try only this keyslot.
    pub slot: Option<String>,
    /// Where the cache lives; `None`: the user's cache folder.
    pub cache_dir: Option<PathBuf>,
    /// The host to record; `None`: this one.
    pub host: Option<String>,
    /// Tags of every snapshot.
    pub tags: Vec<String>,
    /// What is left out of every directory.
    pub leave_out: LeaveOutKeys,
    /// Sources, as the config file has them.
    pub sources: Vec<SourceEntry>,
    /// The config file itself, and those that it includes.
    pub files: Vec<PathBuf>,
    /// What `forget` keeps.
    pub keep: Option<Keep>,
    /// What runs before and after.
    pub hooks: Hooks,
    /// Who is told.
    pub monitor: MonitorEntry,
    /// Where all that is said is written down too.
    pub log_file: Option<PathBuf>,
    /// How much is printed.
    pub quiet: Quiet,
}

/// `quiet`
#[derive(Deserialize, Serialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(from = "QuietValue", into = "QuietValue")]
pub enum Quiet {
    /// Everything.
    #[default]
    No,
    /// `true`, as `-q`: errors, warnings and what was asked for.
    Yes,
    /// `"unless-failed"`: nothing, until the exit code is another than 0; then everything.
    UnlessFailed,
}

#[derive(Deserialize, Serialize)]
#[serde(untagged, expecting = "true, false or \"unless-failed\"")]
enum QuietValue {
    Plain(bool),
    Word(QuietWord),
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum QuietWord {
    UnlessFailed,
}

impl From<QuietValue> for Quiet {
    fn from(value: QuietValue) -> Self {
        match value {
            QuietValue::Plain(false) => Self::No,
            QuietValue::Plain(true) => Self::Yes,
            QuietValue::Word(QuietWord::UnlessFailed) => Self::UnlessFailed,
        }
    }
}

impl From<Quiet> for QuietValue {
    fn from(quiet: Quiet) -> Self {
        match quiet {
            Quiet::No => Self::Plain(false),
            Quiet::Yes => Self::Plain(true),
            Quiet::UnlessFailed => Self::Word(QuietWord::UnlessFailed),
        }
    }
}

/// Commands of esker that hooks and monitors are for.
#[derive(Deserialize, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Wrapped {
    /// `snapshot`
    Snapshot,
    /// `forget`
    Forget,
    /// `prune`
    Prune,
    /// `verify`
    Verify,
    /// `copy`
    Copy,
    /// `mirror`
    Mirror,
}

impl Wrapped {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Forget => "forget",
            Self::Prune => "prune",
            Self::Verify => "verify",
            Self::Copy => "copy",
            Self::Mirror => "mirror",
        }
    }
}

/// What the environment says beside the variables that belong to flags.
pub struct Environment {
    /// `ESKER_PASSWORD`
    pub password: Option<OsString>,
    /// systemd's `CREDENTIALS_DIRECTORY`
    pub credentials: Option<PathBuf>,
    /// Those of flags that name a repository or a secret, to tell the two apart.
    pub variables: Vec<(&'static str, OsString)>,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        let value = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let of_flags = ["ESKER_REPOSITORY", "ESKER_PASSWORD_FILE", "ESKER_PASSWORD_COMMAND", "ESKER_KEY_FILE"];
        Self {
            password: value("ESKER_PASSWORD"),
            credentials: value("CREDENTIALS_DIRECTORY").map(PathBuf::from),
            variables: of_flags.into_iter().filter_map(|name| Some((name, value(name)?))).collect(),
        }
    }
}

/// Puts everything together.
pub fn load(global: &Global, environment: &Environment) -> Result<Settings> {
    let mut files = Vec::new();
    let section = match given(&global.config) {
        Some(path) => {
            let config = file::read(path, &|name| std::env::var_os(name))?;
            files.clone_from(&config.files);
            config.choose(global.profile.as_deref()).map_err(|error| file::mistake(path, error))?
        }
        None if global.profile.is_some() => {
            return Err(Usage::new("--profile needs a config file").hint("give --config FILE or set ESKER_CONFIG").into());
        }
        None => Section::default(),
    };
    Ok(Settings { files, ..of_section(section, global, environment)? })
}

/// The same, with what the config file says read already.
pub fn of_section(mut section: Section, global: &Global, environment: &Environment) -> Result<Settings> {
    let file = given(&global.config).map(|path| format!(" {}", escape(path.as_os_str().as_bytes()))).unwrap_or_default();
    let opening = opening::opening(global, environment, &mut section, &file)?;
    let store = store_options(global, &section)?;
    Ok(Settings {
        config: given(&global.config).cloned(),
        store,
        store_flag: store_flag(global),
        instead_of_repository: hidden_repository(global, environment, &section, &file),
        repository: global.repository.clone().or(section.repository.map(OsString::from)).filter(|place| !place.is_empty()),
        opening,
        slot: global.slot.clone(),
        cache_dir: given(&global.cache_dir).cloned().or(section.cache_dir),
        host: section.host,
        tags: section.tags.unwrap_or_default(),
        leave_out: LeaveOutKeys {
            exclude: section.exclude.unwrap_or_default(),
            exclude_files: section.exclude_files.unwrap_or_default(),
            iexclude: section.iexclude.unwrap_or_default(),
            iexclude_files: section.iexclude_files.unwrap_or_default(),
            one_file_system: section.one_file_system,
            exclude_caches: section.exclude_caches,
            exclude_if_present: section.exclude_if_present.unwrap_or_default(),
            exclude_larger_than: section.exclude_larger_than,
        },
        sources: section.source.unwrap_or_default(),
        files: Vec::new(),
        keep: section.keep,
        hooks: section.hooks.unwrap_or_default(),
        monitor: section.monitor.unwrap_or_default(),
        log_file: given(&global.log_file).cloned().or(section.log_file),
        quiet: match (global.quiet, global.quiet_unless_failed) {
            (true, _) => Quiet::Yes,
            (false, true) => Quiet::UnlessFailed,
            // Who asks for more gets it.
            (false, false) if global.verbose > 0 => Quiet::No,
            (false, false) => section.quiet.unwrap_or_default(),
        },
    })
}

/// A variable that was left behind sends backups to another repository, where nobody looks for them.
fn hidden_repository(global: &Global, environment: &Environment, section: &Section, file: &str) -> Option<String> {
    let own = section.repository.as_ref()?;
    let given = global.repository.as_ref().filter(|given| !given.is_empty())?;
    let by_variable = environment.variables.iter().any(|(name, value)| *name == "ESKER_REPOSITORY" && value == given);
    let place = |text: &OsStr| std::fs::canonicalize(text).map_or_else(|_| text.to_owned(), PathBuf::into_os_string);
    (by_variable && place(given) != place(OsStr::new(own))).then(|| format!("repository in the config file{file}"))
}

/// What the command line says goes before what the config file says, option by option.
fn store_options(global: &Global, section: &Section) -> Result<StoreOptions> {
    let mut options = StoreOptions::default();
    for text in &global.store_options {
        options.add(text).map_err(Usage::new)?;
    }
    for (name, value) in section.option.iter().flatten() {
        options.add_default(name, &value.to_string());
    }
    let limit = |flag: Option<NonZeroU64>, text: &Option<String>, name: &str| match (flag, text) {
        (Some(flag), _) => Ok(Some(flag)),
        (None, Some(text)) => match crate::args::rate(text) {
            Ok(rate) => Ok(Some(rate)),
            Err(why) => Err(Usage::new(format!("{name} in the config file: {why}"))),
        },
        (None, None) => Ok(None),
    };
    options.limit_upload = limit(global.limit_upload, &section.limit_upload, "limit-upload")?;
    options.limit_download = limit(global.limit_download, &section.limit_download, "limit-download")?;
    Ok(options)
}

fn store_flag(global: &Global) -> Option<&'static str> {
    let flags = [
        ("-o", !global.store_options.is_empty()),
        ("--limit-upload", global.limit_upload.is_some()),
        ("--limit-download", global.limit_download.is_some()),
    ];
    flags.into_iter().find(|(_, given)| *given).map(|(flag, _)| flag)
}

/// An empty variable is one that was not set.
fn given(path: &Option<PathBuf>) -> Option<&PathBuf> {
    path.as_ref().filter(|path| !path.as_os_str().is_empty())
}
