//! The config file: its keys, its profiles, and what its paths are relative to.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Deserialize;

use super::{Keep, SourceEntry, Words};
use crate::error::Usage;
use crate::terminal::escape::escape;

/// The config file, and each profile in it.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Section {
    pub(super) repository: Option<String>,
    /// Options of the store by name, as `--option` takes them.
    pub(super) option: Option<BTreeMap<String, Scalar>>,
    pub(super) limit_upload: Option<String>,
    pub(super) limit_download: Option<String>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) password_command: Option<Words>,
    pub(super) key_file: Option<PathBuf>,
    pub(super) cache_dir: Option<PathBuf>,
    pub(super) host: Option<String>,
    pub(super) tags: Option<Vec<String>>,
    pub(super) exclude: Option<Vec<String>>,
    pub(super) exclude_files: Option<Vec<PathBuf>>,
    pub(super) source: Option<Vec<SourceEntry>>,
    pub(super) keep: Option<Keep>,
    #[serde(default)]
    pub(super) profile: BTreeMap<String, Section>,
}

/// A value of an option, written as it comes.
#[derive(Deserialize, Clone, Debug, PartialEq)]
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

/// Reads a file and chooses a profile.
pub(super) fn read(path: &Path, profile: Option<&str>) -> Result<Section> {
    let shown = escape(path.as_os_str().as_bytes());
    let text = std::fs::read_to_string(path).map_err(|error| Usage::new(format!("config file {shown}: {error}")))?;
    parse(&text, profile, path).map_err(|error| Usage::new(format!("config file {shown}: {error}")).into())
}

/// The same, from its text; its name says what relative paths are relative to.
pub(super) fn parse(text: &str, profile: Option<&str>, path: &Path) -> Result<Section, String> {
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
    resolve(&mut section, folder_of(path));
    for source in section.source.iter_mut().flatten() {
        source.check()?;
        source.file = Some(path.to_owned());
    }
    Ok(section)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
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

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../../../examples/esker.toml");

    fn with(text: &str, profile: Option<&str>) -> Result<Section, String> {
        parse(text, profile, Path::new("/etc/esker/esker.toml"))
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
}
