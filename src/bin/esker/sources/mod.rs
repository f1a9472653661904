//! From flags and the config file to the sources of one snapshot. Mistakes are found here, before a password is asked for.

mod asked;
mod files;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use esker::monitor::Stop;
use esker::source::authentik::{self, AuthentikOptions};
use esker::source::command::{CommandOptions, CommandSource};
use esker::source::postgres::{DumpFormat, PostgresOptions, PostgresSource};
use esker::source::redis::{RedisOptions, RedisSource};
use esker::source::stdin::StdinSource;
use esker::source::{Environment, Source, SourceError, check_sources};

use crate::args::Snapshot;
use crate::error::Usage;
use crate::secret::password_file;
use crate::settings::{AuthentikEntry, PostgresEntry, PostgresFormat, Settings, SourceEntry};
use crate::terminal::escape::{escape, unescape};
use asked::Chosen;
pub use asked::{configured, hooks};
use files::Rules;

/// Who hears of things that are no errors, and may ask to stop.
pub struct Tell<'a> {
    /// A warning for a person.
    pub warn: &'a dyn Fn(&str),
    /// `-v`: something to know that is no warning.
    pub remark: &'a dyn Fn(&str),
    /// Ctrl-C.
    pub stop: &'a Stop,
}

/// What one snapshot takes.
pub struct Gathered {
    /// The sources.
    pub sources: Vec<Source>,
    /// Every exclude pattern a user gave for them.
    pub patterns: Vec<String>,
}

impl Gathered {
    /// Name and path of each directory.
    pub fn directories(&self) -> Vec<(String, PathBuf)> {
        let directory = |source: &Source| match source {
            Source::Directory(directory) => Some((directory.name.clone(), directory.path.clone())),
            Source::Stream(_) => None,
        };
        self.sources.iter().filter_map(directory).collect()
    }
}

/// The sources of the config file and those of the command line; of all of them only what `--only` names.
pub fn gather(options: &Snapshot, settings: &Settings, tell: &Tell<'_>) -> Result<Gathered> {
    let asked = asked::all(options, settings, tell.warn)?;
    let rules = Rules::new(&options.leave_out, &settings.leave_out)?;
    let mut patterns: Vec<String> = rules.all_patterns().cloned().collect();
    let mut chosen = Chosen::new(&options.only);
    for one in asked::needed(&asked, &options.only)? {
        let mut sources = Vec::new();
        let mut entry = one.entry.clone();
        entry.pass_environment.extend(options.pass_env.iter().cloned());
        // A preset has patterns of its own, which no user needs to hear of.
        if let Some(authentik) = &entry.authentik {
            sources.extend(found_by_preset(&entry, authentik, &rules, options, settings, tell)?);
        } else {
            build(&entry, &rules, &options.optional, tell, &mut sources)?;
            for source in &sources {
                let Source::Directory(directory) = source else { continue };
                patterns.extend(directory.excludes.iter().chain(&directory.excludes_any_case).cloned());
            }
        }
        chosen.add(sources, &one.place)?;
    }
    patterns.sort_unstable();
    patterns.dedup();
    let sources = chosen.finish(&options.optional)?;
    check_sources(&sources).map_err(|error| {
        Usage::new(error).hint("choose a name: --dir NAME=PATH, --command NAME=..., or `name` in a config file")
    })?;
    Ok(Gathered { sources, patterns })
}

fn build(entry: &SourceEntry, rules: &Rules, optional: &[String], tell: &Tell<'_>, sources: &mut Vec<Source>) -> Result<()> {
    let is_optional = |name: &str| entry.optional || optional.iter().any(|given| given == name);
    let name = entry.name.clone().unwrap_or_default();
    if entry.directory.is_some() || entry.names_paths() {
        let name = match (&entry.name, &entry.directory) {
            (None, Some(path)) => name_of(path)?,
            _ => name,
        };
        let optional = is_optional(&name);
        sources.push(Source::Directory(files::directory(entry, name, optional, rules)?));
    } else if let Some(words) = &entry.command {
        let mut options = CommandOptions::new(name.clone(), words.split()?);
        options.optional = is_optional(&name);
        options.allow_empty = entry.allow_empty;
        pass(&mut options.environment, &entry.pass_environment, tell.warn)?;
        sources.push(Source::Stream(Box::new(CommandSource::new(options).map_err(Usage::new)?)));
    } else if let Some(stdin) = &entry.stdin {
        let mut source = StdinSource::new(name.clone()).map_err(Usage::new)?.optional(is_optional(&name));
        if let Some(trailer) = &stdin.trailer {
            let bytes = unescape(trailer).ok_or_else(|| {
                Usage::new(format!("the trailer {trailer:?} has an escape that is none of \\n \\r \\t \\0 \\\\ \\xNN"))
            })?;
            source = source.trailer(bytes);
        }
        sources.push(Source::Stream(Box::new(source)));
    } else if let Some(postgres) = &entry.postgres {
        let mut options = postgres_options(&name, postgres, tell.warn)?;
        options.optional = is_optional(&name);
        pass(&mut options.environment, &entry.pass_environment, tell.warn)?;
        sources.push(Source::Stream(Box::new(PostgresSource::new(options).map_err(Usage::new)?)));
    } else if let Some(redis) = &entry.redis {
        let mut options = RedisOptions::from_url(name.clone(), &redis.url).map_err(Usage::new)?;
        if let Some(path) = &redis.password_file {
            options.password = Some(esker::source::Secret::new(password_file(path, tell.warn)?.as_str()));
        }
        options.rdb_file = redis.rdb_file.clone().or(options.rdb_file);
        options.optional = is_optional(&name);
        sources.push(Source::Stream(Box::new(RedisSource::new(options).map_err(Usage::new)?)));
    }
    Ok(())
}

/// The preset names its sources itself; flags and the config file still say what is optional and what is left out.
fn found_by_preset(
    entry: &SourceEntry,
    authentik: &AuthentikEntry,
    rules: &Rules,
    asked: &Snapshot,
    settings: &Settings,
    tell: &Tell<'_>,
) -> Result<Vec<Source>> {
    let mut options = AuthentikOptions::new(authentik.directory.clone());
    pass(&mut options.environment, &entry.pass_environment, tell.warn)?;
    if let Some(words) = &authentik.command_prefix {
        options.command_prefix = words.split()?;
    }
    options.optional = authentik.optional.iter().chain(&asked.optional).cloned().collect();
    options.excludes = rules.patterns().to_vec();
    options.folders = authentik.folders.clone();
    options.allow_empty = entry.allow_empty;
    options.keep = settings.files.iter().chain(&entry.file).cloned().collect();
    let found = authentik::discover(&options, tell.stop).map_err(|error| match error {
        SourceError::Settings(text) => anyhow::Error::from(Usage::new(text)),
        other => other.into(),
    })?;
    for remark in &found.remarks {
        (tell.remark)(&format!("authentik: {remark}"));
    }
    let mut sources = found.sources;
    sources.iter_mut().for_each(|source| rules.put_on_found(source));
    Ok(sources)
}

/// Passes variables to the programs of a source, as `pass-environment` and `--pass-env` ask for.
fn pass(environment: &mut Environment, names: &[String], warn: &dyn Fn(&str)) -> Result<()> {
    for name in names {
        if Environment::is_secret(name) {
            return Err(Usage::new(format!("{name} holds a secret of the repository: esker passes it to no program")).into());
        }
        if !environment.pass(name) {
            warn(&format!(
                "the environment variable {} is not set: the programs of the sources do not get it",
                escape(name.as_bytes())
            ));
        }
    }
    Ok(())
}

fn postgres_options(name: &str, entry: &PostgresEntry, warn: &dyn Fn(&str)) -> Result<PostgresOptions> {
    let mut options = PostgresOptions::new(name, &entry.connection).map_err(Usage::new)?;
    if let Some(path) = &entry.password_file {
        options.conninfo.set("password", &password_file(path, warn)?).map_err(Usage::new)?;
    }
    options.databases = entry.databases.clone();
    // A database that is named is the one that is meant. Without a name all are.
    if options.databases.is_empty() {
        options.databases = options.conninfo.get("dbname").map(str::to_owned).into_iter().collect();
    }
    options.format = match entry.format {
        Some(PostgresFormat::Plain) => DumpFormat::Plain,
        Some(PostgresFormat::Custom) | None => DumpFormat::Custom,
    };
    options.globals = entry.globals.unwrap_or(true);
    options.exclude_table_data = entry.exclude_table_data.clone();
    if let Some(words) = &entry.command_prefix {
        options.command_prefix = words.split()?;
    }
    options.bin_dir.clone_from(&entry.bin_dir);
    Ok(options)
}

/// The last part of a path as a source name: lower case, and `-` for what a name cannot hold.
pub fn name_of(path: &Path) -> Result<String> {
    // `.` and `..` have no last part of their own.
    let whole = path.canonicalize().ok().filter(|_| path.file_name().is_none());
    let Some(last) = whole.as_deref().unwrap_or(path).file_name() else { return Ok("root".to_owned()) };
    let name: String = String::from_utf8_lossy(last.as_bytes())
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' })
        .collect();
    let name: String = name.trim_start_matches(['.', '_', '-']).chars().take(64).collect();
    if name.is_empty() {
        return Err(Usage::new(format!("{} gives no name for a source", escape(path.as_os_str().as_bytes())))
            .hint("choose a name: --dir NAME=PATH")
            .into());
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_without_a_name_is_called_by_its_last_part() {
        for (path, name) in [
            ("/srv/media", "media"),
            ("/srv/media/", "media"),
            ("Bilder & Töne", "bilder---t-ne"),
            ("/home/ada/.config", "config"),
            ("/", "root"),
        ] {
            assert_eq!(name_of(Path::new(path)).unwrap(), name, "{path}");
        }
        assert!(name_of(Path::new("/srv/...")).is_err());
        assert_ne!(name_of(Path::new(".")).unwrap(), "root");
    }
}
