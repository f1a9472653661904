//! Which sources were asked for, on the command line and in the config file, and which of them one snapshot takes.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use anyhow::Result;
use esker::source::Source;
use esker::source::redis::RedisOptions;

use super::name_of;
use crate::args::{Named, Preset, Snapshot};
use crate::error::Usage;
use crate::settings::{AuthentikEntry, Hooks, PostgresEntry, RedisEntry, Settings, SourceEntry, StdinEntry, Words};
use crate::terminal::escape::escape;

/// A source that was asked for.
pub struct Asked {
    /// What it is.
    pub entry: SourceEntry,
    /// Where it was asked for, for messages: `--dir`, `the config file /etc/esker.toml`.
    pub place: String,
}

/// Those of the config file, then those of the command line.
pub fn all(options: &Snapshot, settings: &Settings, warn: &dyn Fn(&str)) -> Result<Vec<Asked>> {
    let given = of_flags(options)?;
    if given.iter().any(|asked| holds_password(&asked.entry)) {
        warn("the arguments hold a password, and every user of this machine can read them; use password-file in a config file");
    }
    let mut all: Vec<Asked> = settings.sources.iter().map(of_config).collect();
    all.extend(given);
    if all.is_empty() {
        return Err(Usage::new("no source was named")
            .hint("name a directory or another source (`esker snapshot --help`), or sources in a config file")
            .into());
    }
    once(&all, |entry| entry.stdin.is_some(), "standard input")?;
    once(&all, |entry| entry.authentik.is_some(), "the preset authentik")?;
    Ok(all)
}

fn of_config(entry: &SourceEntry) -> Asked {
    let file = entry.file.as_deref().map(|path| format!(" {}", escape(path.as_os_str().as_bytes())));
    Asked { entry: entry.clone(), place: format!("the config file{}", file.unwrap_or_default()) }
}

/// There is one standard input, and the preset's sources have one set of names.
fn once(all: &[Asked], is_it: impl Fn(&SourceEntry) -> bool, what: &str) -> Result<()> {
    let mut found = all.iter().filter(|asked| is_it(&asked.entry));
    match (found.next(), found.next()) {
        (Some(first), Some(second)) => Err(twice(what, &first.place, &second.place).into()),
        _ => Ok(()),
    }
}

fn twice(what: &str, first: &str, second: &str) -> Usage {
    let places = if first == second { format!("twice in {first}") } else { format!("twice: in {first}, and by {second}") };
    Usage::new(format!("{what} is given {places}"))
        .hint("sources of the command line are added to those of the config file; remove one, or choose another name")
}

/// Those that have to be looked at to find what `--only` names. A preset is left alone when every name belongs to another
/// source: finding its sources needs files and programs that have nothing to do with these.
pub fn needed<'a>(all: &'a [Asked], only: &[String]) -> Result<Vec<&'a Asked>> {
    if only.is_empty() {
        return Ok(all.iter().collect());
    }
    let mut named = Vec::new();
    let mut presets = Vec::new();
    for asked in all {
        match name(&asked.entry)? {
            Some(name) if only.contains(&name) => named.push((name, asked)),
            Some(_) => {}
            None => presets.push(asked),
        }
    }
    let rest_is_of_presets = only.iter().any(|wanted| !named.iter().any(|(name, _)| name == wanted));
    let mut needed: Vec<&Asked> = named.into_iter().map(|(_, asked)| asked).collect();
    if rest_is_of_presets {
        needed.extend(presets);
    }
    if needed.is_empty() {
        return Err(no_such("--only", &only[0], &names(all)?));
    }
    Ok(needed)
}

/// The hooks of the sources of the config file, by the names of these.
pub fn hooks(settings: &Settings) -> Result<BTreeMap<String, Hooks>> {
    let mut found = BTreeMap::new();
    for entry in &settings.sources {
        if let (Some(hooks), Some(name)) = (&entry.hooks, name(entry)?) {
            found.insert(name, hooks.clone());
        }
    }
    Ok(found)
}

/// `None`: it names its sources itself.
fn name(entry: &SourceEntry) -> Result<Option<String>> {
    match (&entry.name, &entry.directory) {
        (Some(name), _) => Ok(Some(name.clone())),
        (None, Some(path)) => Ok(Some(name_of(path)?)),
        (None, None) => Ok(None),
    }
}

/// Names of the config file's sources, as far as they are known without looking: a preset finds its own.
pub fn configured(settings: &Settings) -> Vec<String> {
    settings.sources.iter().filter_map(|entry| name(entry).ok().flatten()).collect()
}

fn names(all: &[Asked]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for asked in all {
        names.push(name(&asked.entry)?.unwrap_or_else(|| "those of the preset authentik".to_owned()));
    }
    Ok(names)
}

fn no_such(flag: &str, name: &str, known: &[String]) -> anyhow::Error {
    Usage::new(format!("{flag} {name:?} names no source; there are: {}", known.join(", "))).into()
}

/// The sources of one snapshot, while they are put together.
pub struct Chosen<'a> {
    only: &'a [String],
    /// With the place where each was asked for.
    sources: Vec<(Source, String)>,
    /// Names that were not chosen.
    passed_over: Vec<String>,
}

impl<'a> Chosen<'a> {
    /// None yet.
    pub fn new(only: &'a [String]) -> Self {
        Self { only, sources: Vec::new(), passed_over: Vec::new() }
    }

    /// Adds those that `--only` lets through. A name or a folder that is there already is a mistake of whoever asked.
    pub fn add(&mut self, sources: Vec<Source>, place: &str) -> Result<()> {
        for source in sources {
            if !self.only.is_empty() && !self.only.iter().any(|name| name == source.name()) {
                self.passed_over.push(source.name().to_owned());
                continue;
            }
            if let Some((path, (other, first))) = folder(&source).and_then(|path| Some((path.clone(), self.with_folder(&path)?))) {
                let shown = escape(path.as_os_str().as_bytes());
                let what = match other.name() == source.name() {
                    true => shown,
                    false => format!("{shown} (as {:?} and as {:?})", other.name(), source.name()),
                };
                return Err(twice(&what, first, place).into());
            }
            if let Some((_, first)) = self.sources.iter().find(|(other, _)| other.name() == source.name()) {
                return Err(twice(&format!("the source name {:?}", source.name()), first, place).into());
            }
            self.sources.push((source, place.to_owned()));
        }
        Ok(())
    }

    fn with_folder(&self, path: &PathBuf) -> Option<(&Source, &str)> {
        let found = self.sources.iter().find(|(other, _)| folder(other).as_ref() == Some(path))?;
        Some((&found.0, &found.1))
    }

    /// All of them. `--only` and `--optional` must have named sources.
    pub fn finish(self, optional: &[String]) -> Result<Vec<Source>> {
        let sources: Vec<Source> = self.sources.into_iter().map(|(source, _)| source).collect();
        let mut known: Vec<String> = sources.iter().map(|source| source.name().to_owned()).collect();
        if let Some(name) = optional.iter().find(|name| !known.contains(name)) {
            return Err(no_such("--optional", name, &known));
        }
        let missing = self.only.iter().find(|name| !known.contains(name));
        known.extend(self.passed_over);
        match missing {
            Some(name) => Err(no_such("--only", name, &known)),
            None => Ok(sources),
        }
    }
}

/// The folder of a directory source, so that two ways to write one path are one.
fn folder(source: &Source) -> Option<PathBuf> {
    let Source::Directory(directory) = source else { return None };
    // Of these one takes certain files alone: another may have the whole folder.
    if directory.named.is_some() {
        return None;
    }
    Some(directory.path.canonicalize().unwrap_or_else(|_| directory.path.clone()))
}

fn of_flags(options: &Snapshot) -> Result<Vec<Asked>> {
    let mut entries = Vec::new();
    let mut add = |place: &str, name: Option<String>, fill: &dyn Fn(&mut SourceEntry)| {
        let mut entry = SourceEntry { name, ..SourceEntry::default() };
        fill(&mut entry);
        entries.push(Asked { entry, place: place.to_owned() });
    };
    for named in &options.postgres {
        let connection = text_of(named, "--postgres")?;
        add("--postgres", Some(named.name.clone()), &|entry| {
            entry.postgres = Some(PostgresEntry { connection: connection.clone(), ..PostgresEntry::default() });
        });
    }
    for named in &options.redis {
        let url = text_of(named, "--redis")?;
        add("--redis", Some(named.name.clone()), &|entry| {
            entry.redis = Some(RedisEntry { url: url.clone(), password_file: None, rdb_file: None });
        });
    }
    if let Some(Preset::Authentik) = options.preset {
        add("--preset", None, &|entry| {
            entry.authentik = Some(AuthentikEntry { directory: options.preset_dir.clone(), ..AuthentikEntry::default() })
        });
    }
    for named in &options.command {
        let line = text_of(named, "--command")?;
        add("--command", Some(named.name.clone()), &|entry| entry.command = Some(Words::Line(line.clone())));
    }
    if let Some(name) = &options.stdin {
        add("--stdin", Some(name.clone()), &|entry| entry.stdin = Some(StdinEntry { trailer: options.stdin_trailer.clone() }));
    }
    let lists = &options.files_from;
    if [&lists.files_from, &lists.files_from_verbatim, &lists.files_from_raw].into_iter().any(|files| !files.is_empty()) {
        add("--files-from", Some("files".to_owned()), &|entry| {
            entry.files_from = lists.files_from.clone();
            entry.files_from_verbatim = lists.files_from_verbatim.clone();
            entry.files_from_raw = lists.files_from_raw.clone();
        });
    }
    for named in &options.dir {
        add("--dir", Some(named.name.clone()), &|entry| entry.directory = Some(PathBuf::from(&named.value)));
    }
    for path in &options.paths {
        add("the arguments", None, &|entry| entry.directory = Some(path.clone()));
    }
    Ok(entries)
}

fn text_of(named: &Named, flag: &str) -> Result<String> {
    let text = named.value.to_str().ok_or_else(|| Usage::new(format!("{flag} {}: not UTF-8 text", named.name)))?;
    Ok(text.to_owned())
}

/// A password in a connection string or URL.
fn holds_password(entry: &SourceEntry) -> bool {
    let of_postgres = |postgres: &PostgresEntry| {
        postgres.connection.contains("password=")
            || postgres.connection.split('@').next().is_some_and(|login| login.matches(':').count() > 1)
    };
    let of_redis = |redis: &RedisEntry| RedisOptions::from_url("x", &redis.url).is_ok_and(|options| options.password.is_some());
    entry.postgres.as_ref().is_some_and(of_postgres) || entry.redis.as_ref().is_some_and(of_redis)
}
