//! The config file: its keys, what it includes, its profiles, and what its paths are relative to.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::hooks::Hooks;
use super::monitor::MonitorEntry;
use super::variables::{Unexpanded, Variables};
use super::{Keep, Quiet, SourceEntry, Words};
use crate::error::Usage;
use crate::terminal::escape::escape;

/// The top of the config file, and each profile in it.
#[derive(Deserialize, Serialize, Default, Debug, Clone)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Section {
    #[serde(skip_serializing)]
    pub(super) include: Option<Vec<PathBuf>>,
    pub(super) repository: Option<String>,
    pub(super) limit_upload: Option<String>,
    pub(super) limit_download: Option<String>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) password_command: Option<Words>,
    pub(super) key_file: Option<PathBuf>,
    pub(super) cache_dir: Option<PathBuf>,
    pub(super) log_file: Option<PathBuf>,
    pub(super) quiet: Option<Quiet>,
    pub(super) host: Option<String>,
    pub(super) tags: Option<Vec<String>>,
    pub(super) exclude: Option<Vec<String>>,
    pub(super) exclude_files: Option<Vec<PathBuf>>,
    pub(super) iexclude: Option<Vec<String>>,
    pub(super) iexclude_files: Option<Vec<PathBuf>>,
    pub(super) one_file_system: Option<bool>,
    pub(super) exclude_caches: Option<bool>,
    pub(super) exclude_if_present: Option<Vec<String>>,
    pub(super) exclude_larger_than: Option<String>,
    /// Options of the store by name, as `--option` takes them.
    pub(super) option: Option<BTreeMap<String, Scalar>>,
    pub(super) keep: Option<Keep>,
    pub(super) hooks: Option<Hooks>,
    pub(super) monitor: Option<MonitorEntry>,
    pub(super) source: Option<Vec<SourceEntry>>,
}

/// A value of an option, written as it comes.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(untagged, expecting = "a text, a number, or true or false")]
pub(super) enum Scalar {
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

/// A file with all that it includes.
#[derive(Debug)]
pub struct Config {
    base: Section,
    profiles: BTreeMap<String, Profile>,
    /// Every file that was read, the named one last.
    pub files: Vec<PathBuf>,
    /// Values of variables that are never shown.
    pub hidden: Vec<String>,
}

#[derive(Debug)]
enum Profile {
    Read(Box<Section>),
    /// It needs a variable that is not set, which matters only when it is used.
    Unset(String),
}

impl Config {
    /// The names of its profiles.
    pub fn profiles(&self) -> impl Iterator<Item = &str> {
        self.profiles.keys().map(String::as_str)
    }

    /// The top of the file, or a profile over it.
    pub fn choose(&self, profile: Option<&str>) -> Result<Section, String> {
        let Some(name) = profile else { return Ok(self.base.clone()) };
        match self.profiles.get(name) {
            Some(Profile::Read(section)) => Ok(over(self.base.clone(), (**section).clone(), Sources::Replace)),
            Some(Profile::Unset(why)) => Err(why.clone()),
            None if self.profiles.is_empty() => Err(format!("there is no profile {name:?}, and no other profile either")),
            None => {
                let known = self.profiles().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
                Err(format!("there is no profile {name:?}; there are: {known}"))
            }
        }
    }
}

/// Reads a file and all that it includes.
pub fn read(path: &Path, lookup: &dyn Fn(&str) -> Option<OsString>) -> Result<Config> {
    let mut reading = Reading { variables: Variables::new(lookup), open: Vec::new(), files: Vec::new() };
    let (base, profiles) = reading.file(path)?;
    Ok(Config { base, profiles, files: reading.files, hidden: reading.variables.hidden })
}

/// A mistake in a file, with its name.
pub fn mistake(path: &Path, error: impl std::fmt::Display) -> Usage {
    Usage::new(format!("config file {}: {error}", escape(path.as_os_str().as_bytes())))
}

type Parts = (Section, BTreeMap<String, Profile>);

struct Reading<'a> {
    variables: Variables<'a>,
    /// The file that is being read, below those that include it.
    open: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

impl Reading<'_> {
    fn file(&mut self, path: &Path) -> Result<Parts> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| mistake(path, error).hint("check the path: --config, ESKER_CONFIG, or `include` in a config file"))?;
        let whole = path.canonicalize().map_err(|error| mistake(path, error))?;
        if self.open.contains(&whole) {
            return Err(mistake(path, "it includes itself, directly or through another file").into());
        }
        self.open.push(whole.clone());
        let (mut base, mut profiles) = self.parse(&text, path).map_err(|error| mistake(path, error))?;
        for include in base.include.take().unwrap_or_default().iter().rev() {
            let include = folder_of(path).join(include);
            // By two ways it is still one file: its sources are not there twice.
            if include.canonicalize().is_ok_and(|whole| self.files.contains(&whole) && !self.open.contains(&whole)) {
                continue;
            }
            let (below, profiles_below) = self.file(&include)?;
            base = over(below, base, Sources::Add);
            for (name, below) in profiles_below {
                let merged = match (below, profiles.remove(&name)) {
                    (below, None) => below,
                    (Profile::Read(below), Some(Profile::Read(own))) => Profile::Read(Box::new(over(*below, *own, Sources::Add))),
                    (Profile::Unset(why), Some(_)) | (_, Some(Profile::Unset(why))) => Profile::Unset(why),
                };
                profiles.insert(name, merged);
            }
        }
        self.open.pop();
        self.files.push(whole);
        Ok((base, profiles))
    }

    /// One file, without what it includes. Its name says what relative paths are relative to.
    fn parse(&mut self, text: &str, path: &Path) -> Result<Parts, String> {
        // Editors of other systems put it there; it means nothing.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let located = |mut error: toml::de::Error| {
            error.set_input(Some(text));
            error.to_string().trim_end().to_owned()
        };
        let parsed = DeTable::parse(text).map_err(located)?;
        let span = parsed.span();
        let mut table = parsed.into_inner();
        let profiles = table.remove("profile");
        self.variables.table(&mut table).map_err(|error| unexpanded(text, &error))?;
        let base = section(Spanned::new(span, table), path).map_err(|error| error.located(located))?;
        let mut found = BTreeMap::new();
        let Some(profiles) = profiles else { return Ok((base, found)) };
        let DeValue::Table(profiles) = profiles.into_inner() else { return Err("`profile` is not a table".to_owned()) };
        for (name, value) in profiles {
            let (name, span) = (name.into_inner().into_owned(), value.span());
            let DeValue::Table(mut table) = value.into_inner() else {
                return Err(format!("profile {name:?} is not a table"));
            };
            let profile = match self.variables.table(&mut table) {
                Ok(()) => {
                    let section = section(Spanned::new(span, table), path).map_err(|error| error.located(located))?;
                    if section.include.is_some() {
                        return Err(format!("profile {name:?} has an `include`, which is allowed only at the top of a file"));
                    }
                    Profile::Read(Box::new(section))
                }
                Err(error) if error.unset => Profile::Unset(unexpanded(text, &error)),
                Err(error) => return Err(unexpanded(text, &error)),
            };
            found.insert(name, profile);
        }
        Ok((base, found))
    }
}

fn unexpanded(text: &str, error: &Unexpanded) -> String {
    let line = text.as_bytes().iter().take(error.span.start).filter(|&&byte| byte == b'\n').count() + 1;
    format!("line {line}: {}", error.why)
}

/// Why a section is refused.
enum Refused {
    Parser(toml::de::Error),
    Check(String),
}

impl Refused {
    fn located(self, located: impl Fn(toml::de::Error) -> String) -> String {
        match self {
            Self::Parser(error) => located(error),
            Self::Check(text) => text,
        }
    }
}

fn section(table: Spanned<DeTable<'_>>, path: &Path) -> Result<Section, Refused> {
    let mut section = Section::deserialize(toml::Deserializer::from(table)).map_err(Refused::Parser)?;
    resolve(&mut section, folder_of(path));
    for source in section.source.iter_mut().flatten() {
        source.check().map_err(Refused::Check)?;
        source.file = Some(path.to_owned());
    }
    section.hooks.as_ref().map_or(Ok(()), Hooks::check).map_err(Refused::Check)?;
    section.monitor.as_ref().map_or(Ok(()), MonitorEntry::check).map_err(Refused::Check)?;
    Ok(section)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What becomes of the sources below.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sources {
    /// A profile has its own.
    Replace,
    /// A file has those of what it includes, and its own.
    Add,
}

/// The upper one's answer where it has one. A secret of the upper one replaces every secret below it.
fn over(base: Section, top: Section, sources: Sources) -> Section {
    let own_secret = top.password_file.is_some() || top.password_command.is_some() || top.key_file.is_some();
    let secret_of = if own_secret {
        (top.password_file, top.password_command, top.key_file)
    } else {
        (base.password_file, base.password_command, base.key_file)
    };
    let source = match (base.source, top.source) {
        (Some(mut below), Some(own)) if sources == Sources::Add => {
            below.extend(own);
            Some(below)
        }
        (below, own) => own.or(below),
    };
    Section {
        include: top.include,
        repository: top.repository.or(base.repository),
        limit_upload: top.limit_upload.or(base.limit_upload),
        limit_download: top.limit_download.or(base.limit_download),
        password_file: secret_of.0,
        password_command: secret_of.1,
        key_file: secret_of.2,
        cache_dir: top.cache_dir.or(base.cache_dir),
        log_file: top.log_file.or(base.log_file),
        quiet: top.quiet.or(base.quiet),
        host: top.host.or(base.host),
        tags: top.tags.or(base.tags),
        exclude: top.exclude.or(base.exclude),
        exclude_files: top.exclude_files.or(base.exclude_files),
        iexclude: top.iexclude.or(base.iexclude),
        iexclude_files: top.iexclude_files.or(base.iexclude_files),
        one_file_system: top.one_file_system.or(base.one_file_system),
        exclude_caches: top.exclude_caches.or(base.exclude_caches),
        exclude_if_present: top.exclude_if_present.or(base.exclude_if_present),
        exclude_larger_than: top.exclude_larger_than.or(base.exclude_larger_than),
        option: top.option.or(base.option),
        keep: top.keep.or(base.keep),
        hooks: top.hooks.or(base.hooks),
        monitor: top.monitor.or(base.monitor),
        source,
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
    section.log_file.iter_mut().for_each(at);
    if let Some(monitor) = &mut section.monitor {
        monitor.ping_file.iter_mut().for_each(at);
        for message in &mut monitor.message {
            message.url_file.iter_mut().for_each(at);
            message.secret_file.iter_mut().for_each(at);
        }
    }
    section.exclude_files.iter_mut().chain(&mut section.iexclude_files).flatten().for_each(at);
    for source in section.source.iter_mut().flatten() {
        source.directory.iter_mut().for_each(at);
        for files in [&mut source.exclude_files, &mut source.iexclude_files] {
            files.iter_mut().for_each(at);
        }
        for lists in [&mut source.files_from, &mut source.files_from_verbatim, &mut source.files_from_raw] {
            lists.iter_mut().filter(|path| path.as_os_str() != "-").for_each(at);
        }
        if let Some(postgres) = &mut source.postgres {
            postgres.password_file.iter_mut().for_each(at);
        }
        if let Some(redis) = &mut source.redis {
            redis.password_file.iter_mut().for_each(at);
            redis.rdb_file.iter_mut().for_each(at);
        }
        if let Some(authentik) = &mut source.authentik {
            authentik.directory.iter_mut().for_each(at);
            authentik.folders.values_mut().for_each(at);
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

#[cfg(test)]
/// A file of this text in `/etc/esker`, where no variable is set.
pub(super) fn parsed(text: &str) -> Result<Config, String> {
    let mut reading = Reading { variables: Variables::new(&|_| None), open: Vec::new(), files: Vec::new() };
    let (base, profiles) = reading.parse(text, Path::new("/etc/esker/esker.toml"))?;
    Ok(Config { base, profiles, files: Vec::new(), hidden: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../../../examples/esker.toml");

    fn with(text: &str, profile: Option<&str>) -> Result<Section, String> {
        parsed(text)?.choose(profile)
    }

    fn error(text: &str) -> String {
        with(text, None).err().unwrap()
    }

    #[test]
    fn the_example_is_understood_in_every_profile() {
        let plain = with(EXAMPLE, None).unwrap();
        assert!(!plain.source.unwrap().is_empty());
        let config = parsed(EXAMPLE).unwrap();
        assert!(config.profiles().count() > 0);
        for name in config.profiles() {
            config.choose(Some(name)).unwrap();
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
}
