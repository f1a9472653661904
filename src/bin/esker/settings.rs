//! What the command line, the environment and the config file mean together: one plain struct.
//!
//! Flags win over the environment, the environment over a profile, a profile over the defaults at the top of the file. The config
//! file is strict: a key nobody knows is an error that names it and its line, because a misspelt `exclude` is a backup with a hole.

mod keep;

pub use keep::Keep;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::num::NonZeroU64;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use esker::source::command;
use serde::Deserialize;
use zeroize::Zeroizing;

use esker::store::options::Options as StoreOptions;

use crate::args::Global;
use crate::error::Usage;
use crate::secret::{CREDENTIAL_KEY, CREDENTIAL_PASSWORD, SecretSource};
use crate::terminal::escape::escape;

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

/// The config file, and each profile in it.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Section {
    repository: Option<String>,
    /// Options of the store by name, as `--option` takes them.
    option: Option<BTreeMap<String, Scalar>>,
    limit_upload: Option<String>,
    limit_download: Option<String>,
    password_file: Option<PathBuf>,
    password_command: Option<Words>,
    key_file: Option<PathBuf>,
    cache_dir: Option<PathBuf>,
    host: Option<String>,
    tags: Option<Vec<String>>,
    exclude: Option<Vec<String>>,
    exclude_files: Option<Vec<PathBuf>>,
    source: Option<Vec<SourceEntry>>,
    keep: Option<Keep>,
    #[serde(default)]
    profile: BTreeMap<String, Section>,
}

/// A value of an option, written as it comes.
#[derive(Deserialize, Clone, Debug, PartialEq)]
#[serde(untagged, expecting = "a text, a number, or true or false")]
enum Scalar {
    Text(String),
    Yes(bool),
    Whole(i64),
    Number(f64),
}

impl std::fmt::Display for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Yes(yes) => yes.fmt(f),
            Self::Whole(number) => number.fmt(f),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// A command: a line in shell quoting, or its words.
#[derive(Deserialize, Clone, Debug, PartialEq, Eq)]
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

/// One `[[source]]`: exactly one of directory, command, stdin, postgres, redis, authentik.
#[derive(Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SourceEntry {
    /// What it is called in the snapshot; a directory may go without and is called by its last part.
    pub name: Option<String>,
    /// May it fail?
    #[serde(default)]
    pub optional: bool,
    /// Patterns for this directory only.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// An empty directory, or a command that prints nothing, is in order.
    #[serde(default)]
    pub allow_empty: bool,
    /// Variables of this process's environment that children of this source get beside the usual few.
    #[serde(default)]
    pub pass_environment: Vec<String>,
    /// A directory.
    pub directory: Option<PathBuf>,
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
#[derive(Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StdinEntry {
    /// What it must end with, in the escapes of `--stdin-trailer`.
    pub trailer: Option<String>,
}

/// `[source.postgres]`
#[derive(Deserialize, Clone, Debug, Default, PartialEq, Eq)]
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
}

/// Formats of pg_dump.
#[derive(Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum PostgresFormat {
    /// `-Fc -Z0`
    Custom,
    /// SQL
    Plain,
}

/// `[source.redis]`
#[derive(Deserialize, Clone, Debug, PartialEq, Eq)]
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
#[derive(Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AuthentikEntry {
    /// The folder of its compose file and .env.
    pub directory: Option<PathBuf>,
    /// What to put before pg_dump when the compose file does not tell how to reach the database's container.
    pub command_prefix: Option<Words>,
    /// Names of its sources that may fail.
    #[serde(default)]
    pub optional: Vec<String>,
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
        Some(path) => read(path, global.profile.as_deref())?,
        None if global.profile.is_some() => {
            return Err(Usage::new("--profile needs a config file").hint("give --config FILE, or set ESKER_CONFIG").into());
        }
        None => Section::default(),
    };
    let secret = secret(global, environment, &mut section)?;
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

/// Flags and environment before config and systemd; two of one rank cannot be meant.
fn secret(global: &Global, environment: &Environment, section: &mut Section) -> Result<SecretSource> {
    let mut near = Vec::new();
    near.extend(given(&global.password_file).map(|path| ("--password-file", SecretSource::PasswordFile(path.clone()))));
    if let Some(line) = global.password_command.as_ref().filter(|line| !line.is_empty()) {
        let words = command::split(line).map_err(|error| Usage::new(format!("--password-command: {error}")))?;
        near.push(("--password-command", SecretSource::PasswordCommand(words)));
    }
    near.extend(given(&global.key_file).map(|path| ("--key-file", SecretSource::KeyFile(path.clone()))));
    if let Some(password) = &environment.password {
        let text = password.to_str().ok_or_else(|| Usage::new("ESKER_PASSWORD is not UTF-8 text"))?;
        near.push(("ESKER_PASSWORD", SecretSource::PasswordVariable(Zeroizing::new(text.to_owned()))));
    }

    let mut far = Vec::new();
    far.extend(section.password_file.take().map(|path| ("password-file in the config file", SecretSource::PasswordFile(path))));
    if let Some(words) = section.password_command.take() {
        far.push(("password-command in the config file", SecretSource::PasswordCommand(words.split()?)));
    }
    far.extend(section.key_file.take().map(|path| ("key-file in the config file", SecretSource::KeyFile(path))));
    if let Some(folder) = &environment.credentials {
        let there = |name| Some(folder.join(name)).filter(|path| path.exists());
        far.extend(there(CREDENTIAL_PASSWORD).map(|path| ("systemd's esker-password", SecretSource::PasswordFile(path))));
        far.extend(there(CREDENTIAL_KEY).map(|path| ("systemd's esker-key", SecretSource::KeyFile(path))));
    }
    for mut given in [near, far] {
        if given.len() > 1 {
            let names: Vec<_> = given.iter().map(|(name, _)| *name).collect();
            return Err(Usage::new(format!("more than one secret is given: {}", names.join(" and ")))
                .hint(
                    "each flag has a variable: look at ESKER_PASSWORD, ESKER_PASSWORD_FILE, ESKER_PASSWORD_COMMAND, ESKER_KEY_FILE",
                )
                .into());
        }
        if let Some((_, source)) = given.pop() {
            return Ok(source);
        }
    }
    Ok(SecretSource::Prompt)
}

fn read(path: &Path, profile: Option<&str>) -> Result<Section> {
    let shown = escape(path.as_os_str().as_bytes());
    let text = std::fs::read_to_string(path).map_err(|error| Usage::new(format!("config file {shown}: {error}")))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    parse(&text, profile, folder).map_err(|error| Usage::new(format!("config file {shown}: {error}")).into())
}

fn parse(text: &str, profile: Option<&str>, folder: &Path) -> Result<Section, String> {
    let mut section: Section = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
    let mut profiles = std::mem::take(&mut section.profile);
    for (name, inner) in &profiles {
        if !inner.profile.is_empty() {
            return Err(format!("profile {name:?} has profiles of its own"));
        }
    }
    if let Some(name) = profile {
        let known = profiles.keys().cloned().collect::<Vec<_>>().join(", ");
        let chosen = profiles.remove(name).ok_or_else(|| format!("there is no profile {name:?} (there are: {known})"))?;
        section = over(section, chosen);
    }
    resolve(&mut section, folder);
    for source in section.source.iter().flatten() {
        source.check()?;
    }
    Ok(section)
}

/// The profile's answer where it has one. A secret of the profile replaces every secret above it.
fn over(base: Section, top: Section) -> Section {
    let own_secret = top.password_file.is_some() || top.password_command.is_some() || top.key_file.is_some();
    let secret_of = if own_secret {
        (top.password_file, top.password_command, top.key_file)
    } else {
        (base.password_file, base.password_command, base.key_file)
    };
    Section {
        repository: top.repository.or(base.repository),
        option: top.option.or(base.option),
        limit_upload: top.limit_upload.or(base.limit_upload),
        limit_download: top.limit_download.or(base.limit_download),
        password_file: secret_of.0,
        password_command: secret_of.1,
        key_file: secret_of.2,
        cache_dir: top.cache_dir.or(base.cache_dir),
        host: top.host.or(base.host),
        tags: top.tags.or(base.tags),
        exclude: top.exclude.or(base.exclude),
        exclude_files: top.exclude_files.or(base.exclude_files),
        source: top.source.or(base.source),
        keep: top.keep.or(base.keep),
        profile: BTreeMap::new(),
    }
}

/// Relative paths are relative to the config file, wherever the program was started.
fn resolve(section: &mut Section, folder: &Path) {
    let at = |path: &mut PathBuf| *path = folder.join(&path);
    if let Some(repository) = section.repository.as_mut().filter(|place| !has_scheme(OsStr::new(place.as_str()))) {
        // From a String and a folder of the config file; a folder that is not UTF-8 leaves the path as it was written.
        if let Some(joined) = folder.join(&*repository).to_str() {
            *repository = joined.to_owned();
        }
    }
    section.password_file.iter_mut().for_each(at);
    section.key_file.iter_mut().for_each(at);
    section.cache_dir.iter_mut().for_each(at);
    section.exclude_files.iter_mut().flatten().for_each(at);
    for source in section.source.iter_mut().flatten() {
        source.directory.iter_mut().for_each(at);
        if let Some(postgres) = &mut source.postgres {
            postgres.password_file.iter_mut().for_each(at);
        }
        if let Some(redis) = &mut source.redis {
            redis.password_file.iter_mut().for_each(at);
            redis.rdb_file.iter_mut().for_each(at);
        }
        if let Some(authentik) = &mut source.authentik {
            authentik.directory.iter_mut().for_each(at);
        }
    }
}

/// `s3:...` but not `./a:b`.
fn has_scheme(place: &OsStr) -> bool {
    let bytes = place.as_bytes();
    let colon = bytes.iter().position(|&byte| byte == b':');
    let slash = bytes.iter().position(|&byte| byte == b'/').unwrap_or(bytes.len());
    colon.is_some_and(|colon| colon < slash)
}

impl SourceEntry {
    fn check(&self) -> Result<(), String> {
        let kinds = [
            self.directory.is_some(),
            self.command.is_some(),
            self.stdin.is_some(),
            self.postgres.is_some(),
            self.redis.is_some(),
            self.authentik.is_some(),
        ];
        let name = self.name.as_deref().map_or("without a name".to_owned(), |name| format!("{name:?}"));
        if kinds.into_iter().filter(|given| *given).count() != 1 {
            return Err(format!("source {name} needs exactly one of directory, command, stdin, postgres, redis, authentik"));
        }
        if !self.exclude.is_empty() && self.directory.is_none() {
            return Err(format!("source {name} has an `exclude`, which only a directory can have"));
        }
        if self.allow_empty && self.directory.is_none() && self.command.is_none() {
            return Err(format!("source {name} has an `allow-empty`, which only a directory and a command can have"));
        }
        if !self.pass_environment.is_empty() && self.command.is_none() && self.postgres.is_none() && self.authentik.is_none() {
            return Err(format!("source {name} has a `pass-environment`, which only a command, postgres and authentik can have"));
        }
        if self.name.is_none() && self.directory.is_none() && self.authentik.is_none() {
            return Err("a source needs a name (only a directory and authentik can go without)".to_owned());
        }
        if (self.name.is_some() || self.optional) && self.authentik.is_some() {
            return Err("authentik names its sources itself: no `name`, and `optional = [NAMES]` in its own table".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../../examples/esker.toml");

    fn nothing() -> Environment {
        Environment { password: None, credentials: None }
    }

    fn with(text: &str, profile: Option<&str>) -> Result<Section, String> {
        parse(text, profile, Path::new("/etc/esker"))
    }

    fn error(text: &str) -> String {
        with(text, None).err().unwrap()
    }

    #[test]
    fn the_example_is_understood_in_every_profile() {
        let plain = with(EXAMPLE, None).unwrap();
        assert!(!plain.source.unwrap().is_empty());
        let file: Section = toml::from_str(EXAMPLE).unwrap();
        assert!(!file.profile.is_empty());
        for name in file.profile.keys() {
            with(EXAMPLE, Some(name)).unwrap();
        }
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let message = error("repository = '/b'\nexlude = ['*.tmp']\n");
        assert!(message.contains("exlude") && message.contains("line 2"), "{message}");
        let message = error("[[source]]\nname = 'db'\n[source.postgres]\ndatabase = 'x'\n");
        assert!(message.contains("database") && message.contains("line 4"), "{message}");
    }

    #[test]
    fn a_password_cannot_be_written_into_the_config_file() {
        assert!(error("password = 'secret'").contains("unknown field `password`"));
    }

    #[test]
    fn a_source_is_one_thing_and_has_a_name() {
        assert!(error("[[source]]\nname = 'a'\n").contains("exactly one"));
        assert!(error("[[source]]\nname = 'a'\ndirectory = '/a'\ncommand = 'b'\n").contains("exactly one"));
        assert!(error("[[source]]\ncommand = 'b'\n").contains("needs a name"));
        assert!(error("[[source]]\nname = 'a'\ncommand = 'b'\nexclude = ['x']\n").contains("only a directory"));
    }

    #[test]
    fn a_profile_answers_before_the_defaults() {
        let text = "repository = '/a'\nkey-file = 'k'\ntags = ['x']\n[profile.far]\nrepository = 's3://b/c'\npassword-file = 'p'\n";
        let far = with(text, Some("far")).unwrap();
        assert_eq!(far.repository.as_deref(), Some("s3://b/c"));
        assert_eq!(far.password_file.as_deref(), Some(Path::new("/etc/esker/p")));
        assert_eq!(far.key_file, None);
        assert_eq!(far.tags.unwrap(), ["x"]);
        assert!(with(text, Some("near")).err().unwrap().contains("far"));
    }

    #[test]
    fn relative_paths_are_relative_to_the_config_file() {
        let section = with("repository = 'backup'\n[[source]]\ndirectory = 'media'\n", None).unwrap();
        assert_eq!(section.repository.as_deref(), Some("/etc/esker/backup"));
        assert_eq!(section.source.unwrap()[0].directory.as_deref(), Some(Path::new("/etc/esker/media")));
    }

    #[test]
    fn two_secrets_of_one_rank_are_refused_and_a_near_one_wins_over_a_far_one() {
        let global = Global { key_file: Some("k".into()), ..Global::default() };
        let environment = Environment { password: Some("p".into()), credentials: None };
        let refused = secret(&global, &environment, &mut Section::default()).err().unwrap().to_string();
        assert!(refused.contains("--key-file and ESKER_PASSWORD"), "{refused}");

        let mut section = with("password-file = '/p'", None).unwrap();
        assert!(secret(&global, &nothing(), &mut section).unwrap() == SecretSource::KeyFile("k".into()));
        let mut section = with("password-file = '/p'", None).unwrap();
        assert!(secret(&Global::default(), &nothing(), &mut section).unwrap() == SecretSource::PasswordFile("/p".into()));
        let mut section = with("password-file = '/p'\nkey-file = '/k'", None).unwrap();
        assert!(secret(&Global::default(), &nothing(), &mut section).is_err());
        assert!(secret(&Global::default(), &nothing(), &mut Section::default()).unwrap() == SecretSource::Prompt);
    }

    #[test]
    fn a_systemd_credential_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let environment = Environment { password: None, credentials: Some(folder.path().to_owned()) };
        assert!(secret(&Global::default(), &environment, &mut Section::default()).unwrap() == SecretSource::Prompt);
        let path = folder.path().join(CREDENTIAL_PASSWORD);
        std::fs::write(&path, "p").unwrap();
        assert!(secret(&Global::default(), &environment, &mut Section::default()).unwrap() == SecretSource::PasswordFile(path));
    }
}
