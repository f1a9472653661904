//! What the command line, the environment and the config file mean together: one plain struct.
//!
//! Flags win over the environment, the environment over a profile, a profile over the defaults at the top of the file. The config
//! file is strict: an unknown key is an error that names it and its line, because a misspelt `exclude` is a backup with a hole.

mod entry;
mod file;
mod keep;
mod opening;

pub use entry::{AuthentikEntry, PostgresEntry, PostgresFormat, RedisEntry, SourceEntry, StdinEntry, Words};
pub use keep::Keep;

use std::ffi::OsString;
use std::num::NonZeroU64;
use std::path::PathBuf;

use anyhow::Result;
use esker::store::options::Options as StoreOptions;

use crate::args::Global;
use crate::error::Usage;
use crate::secret::SecretSource;
use file::Section;

/// Everything a command needs to know beside its own flags.
pub struct Settings {
    /// Where the repository is; `None` only matters to commands that need one.
    pub repository: Option<OsString>,
    /// What is said about its store.
    pub store: StoreOptions,
    /// What opens it.
    pub secret: SecretSource,
    /// Try only this keyslot.
    pub slot: Option<String>,
    /// Where the cache lives; `None`: the user's cache folder.
    pub cache_dir: Option<PathBuf>,
    /// The host to record; `None`: this one.
    pub host: Option<String>,
    /// Tags of every snapshot.
    pub tags: Vec<String>,
    /// Patterns for every directory.
    pub exclude: Vec<String>,
    /// Files of such patterns.
    pub exclude_files: Vec<PathBuf>,
    /// Sources, as the config file has them.
    pub sources: Vec<SourceEntry>,
    /// What `forget` keeps.
    pub keep: Option<Keep>,
}

/// What the environment says beside the variables that belong to flags.
pub struct Environment {
    /// `ESKER_PASSWORD`
    pub password: Option<OsString>,
    /// systemd's `CREDENTIALS_DIRECTORY`
    pub credentials: Option<PathBuf>,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        let value = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Self { password: value("ESKER_PASSWORD"), credentials: value("CREDENTIALS_DIRECTORY").map(PathBuf::from) }
    }
}

/// Puts everything together.
pub fn load(global: &Global, environment: &Environment) -> Result<Settings> {
    let mut section = match given(&global.config) {
        Some(path) => file::read(path, global.profile.as_deref())?,
        None if global.profile.is_some() => {
            return Err(Usage::new("--profile needs a config file").hint("give --config FILE, or set ESKER_CONFIG").into());
        }
        None => Section::default(),
    };
    let secret = opening::secret(global, environment, &mut section)?;
    let store = store_options(global, &section)?;
    Ok(Settings {
        store,
        repository: global.repository.clone().or(section.repository.map(OsString::from)).filter(|place| !place.is_empty()),
        secret,
        slot: global.slot.clone(),
        cache_dir: given(&global.cache_dir).cloned().or(section.cache_dir),
        host: section.host,
        tags: section.tags.unwrap_or_default(),
        exclude: section.exclude.unwrap_or_default(),
        exclude_files: section.exclude_files.unwrap_or_default(),
        sources: section.source.unwrap_or_default(),
        keep: section.keep,
    })
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

/// An empty variable is one that was not set.
fn given(path: &Option<PathBuf>) -> Option<&PathBuf> {
    path.as_ref().filter(|path| !path.as_os_str().is_empty())
}
