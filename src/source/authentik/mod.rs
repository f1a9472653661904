//! The preset `authentik`: finds what an authentik deployment keeps, from its own settings.
//!
//! Everything is read anew at every run: the compose files with all that they refer to (as docker understands them, where it is
//! there), `.env`, and `AUTHENTIK_*` variables of this process. What is not understood is refused with its file and line, and never
//! guessed. Order: PostgreSQL, Redis, directories: files named by the database are captured after it.
//!
//! authentik's layouts: files in `media` until 2025.10, in `data` from 2025.12; Redis until 2025.8.

mod compose;
mod folders;
mod kept;
mod servers;
mod settings;
mod version;

use std::collections::BTreeMap;
use std::path::PathBuf;

use self::compose::{Compose, Project};
use self::settings::Settings;
use self::version::Version;
use super::postgres::PostgresSource;
use super::{Environment, Source, SourceError, StreamSource};
use crate::monitor::Stop;

/// Where to look for a deployment.
#[derive(Clone, Debug)]
pub struct AuthentikOptions {
    /// The folder of the compose file and `.env`, or the compose file itself; none: the current folder if it holds either, else `/`
    /// (inside a container or on a bare machine).
    pub place: Option<PathBuf>,
    /// Where `AUTHENTIK_*` is looked up, and what `pg_dump` sees.
    pub environment: Environment,
    /// Stands before `pg_dump` (`docker exec -i NAME`) and takes it where the database's own socket is: then host, port and password
    /// of authentik's settings are not used. Empty: as the settings say, or through the compose file.
    pub command_prefix: Vec<String>,
    /// Where folders are, by the source's name (`data`), in place of where the compose files say.
    pub folders: BTreeMap<String, PathBuf>,
    /// Further files to keep with the settings (esker's own config file).
    pub keep: Vec<PathBuf>,
    /// Names of sources that may fail.
    pub optional: Vec<String>,
    /// An empty folder of files is in order: nobody has uploaded any yet.
    pub allow_empty: bool,
    /// Patterns of what is left out of every folder, in gitignore's language.
    pub excludes: Vec<String>,
}

impl AuthentikOptions {
    /// Everything by default, over the environment of this process.
    pub fn new(place: Option<PathBuf>) -> Self {
        Self {
            place,
            environment: Environment::of_process(),
            command_prefix: Vec::new(),
            folders: BTreeMap::new(),
            keep: Vec::new(),
            optional: Vec::new(),
            allow_empty: false,
            excludes: Vec::new(),
        }
    }

    fn is_optional(&self, name: &str) -> bool {
        self.optional.iter().any(|given| given == name)
    }
}

/// What was found.
#[derive(Debug)]
pub struct Authentik {
    /// PostgreSQL, Redis, directories, settings: in the order to read them.
    pub sources: Vec<Source>,
    /// What a person may want to know. What a restore will lack is said by the sources.
    pub remarks: Vec<String>,
}

/// What is said beside the sources.
#[derive(Default)]
struct Notes {
    warnings: Vec<String>,
    remarks: Vec<String>,
}

/// Looks around and lists the sources. Reads settings, and asks docker what compose files mean and where containers and volumes are;
/// opens nothing.
pub fn discover(options: &AuthentikOptions, stop: &Stop) -> Result<Authentik, SourceError> {
    let project = Project::find(options.place.as_deref(), &options.environment)?;
    let compose = Compose::read(&project, &options.environment, stop)?;
    let compose = compose.as_ref();
    let settings = Settings::new(&project, compose)?;
    let mut notes = Notes::default();
    notes.warnings.extend(compose.into_iter().flat_map(|compose| compose.warnings.iter().cloned()));
    let mut postgres = servers::postgres(options, compose, &settings, stop)?;
    let version = version(compose, &settings);
    let redis = servers::redis(options, compose, &settings, version, &mut notes, stop)?;
    let (mut directories, single) = folders::folders(options, &project, compose, &settings, version, &mut notes, stop)?;
    directories.extend(kept::kept(&project, compose, single.into_iter().chain(options.keep.iter().cloned()), &mut notes));
    for directory in &mut directories {
        directory.optional = options.is_optional(&directory.name);
        directory.excludes.extend_from_slice(&options.excludes);
    }
    // The snapshot records them with the settings, or with the database where it has no settings.
    match directories.iter_mut().find(|directory| directory.name == kept::NAME) {
        Some(config) => config.warnings.append(&mut notes.warnings),
        None => postgres.warnings.append(&mut notes.warnings),
    }
    let mut sources = vec![Source::Stream(Box::new(PostgresSource::new(postgres)?))];
    sources.extend(redis.map(|redis| Source::Stream(Box::new(redis) as Box<dyn StreamSource>)));
    sources.extend(directories.into_iter().map(Source::Directory));
    Ok(Authentik { sources, remarks: notes.remarks })
}

/// The version, where the image or `.env` says it; not for `latest` and the like.
fn version(compose: Option<&Compose>, settings: &Settings<'_>) -> Option<Version> {
    let of_images = settings.services().iter().find_map(|(_, service)| Version::parse(service.image_tag()?));
    let of_variable = || settings.plain("AUTHENTIK_TAG").filter(|_| compose.is_none()).and_then(|tag| Version::parse(&tag));
    of_images.or_else(of_variable)
}

#[cfg(test)]
mod tests;
