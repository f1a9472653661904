//! The compose deployment around authentik: which files it consists of, what they say, and how its containers are reached.
//!
//! Where docker or podman have `compose`, its own `config` says what the files mean. Otherwise they are read here. The files are
//! read here in either case, because only they say which files they consist of.

mod client;
mod dotenv;
mod interpolate;
mod model;
mod service;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub(super) use self::client::Client;
pub(super) use self::dotenv::read_small;
pub(super) use self::model::{Given, Model};
pub(super) use self::service::{Mounted, Service};
use super::super::{Environment, SourceError};
use crate::monitor::Stop;

/// Names compose looks for, its favourite first.
pub(super) const FILES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
/// Names of the file that it puts over it.
const OVERRIDES: [&str; 4] =
    ["compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"];

/// The variables of the process, over those of `.env`. Holds secrets: never printed.
#[derive(Clone, Default)]
pub(super) struct Variables {
    process: Environment,
    file: BTreeMap<String, String>,
}

impl Variables {
    /// A variable as it stands.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        self.process.get(name).or_else(|| self.file.get(name).map(String::as_str)).map(str::to_owned)
    }

    /// A variable of the process.
    pub(super) fn of_process(&self, name: &str) -> Option<&str> {
        self.process.get(name)
    }

    /// A variable of `.env`.
    pub(crate) fn of_file(&self, name: &str) -> Option<&str> {
        self.file.get(name).map(String::as_str)
    }
}

/// The folder of a deployment, and the files that make it.
pub(super) struct Project {
    /// The folder that was named.
    pub folder: PathBuf,
    /// The compose files, each over those before it; none: no compose deployment.
    pub files: Vec<PathBuf>,
    /// The files of variables: `.env`, if it is there.
    pub env_files: Vec<PathBuf>,
    /// Variables, for what the files leave open.
    pub variables: Variables,
    /// Why an `.env` could not be read.
    pub unreadable: Vec<String>,
}

impl Project {
    /// `place` is the folder or the file; without it the current folder if it looks like a deployment, else `/`.
    pub(super) fn find(place: Option<&Path>, process: &Environment) -> Result<Self, SourceError> {
        let (folder, given) = match place {
            Some(place) if place.is_dir() => (place.to_owned(), None),
            Some(place) if place.is_file() => {
                let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
                (folder.to_owned(), Some(place.to_owned()))
            }
            Some(place) => return Err(SourceError::Settings(format!("there is no folder or compose file {}", place.display()))),
            None => match std::env::current_dir() {
                Ok(here) if looks_like_one(&here) => (here, None),
                _ => (PathBuf::from("/"), None),
            },
        };
        let folder = folder.canonicalize().unwrap_or(folder);
        let variables = Variables { process: process.clone(), file: BTreeMap::new() };
        let mut project = Self { folder, files: Vec::new(), env_files: Vec::new(), variables, unreadable: Vec::new() };
        let named = project.variables.of_process("COMPOSE_ENV_FILES").filter(|files| !files.is_empty()).map(str::to_owned);
        match &named {
            Some(files) => files.split(',').for_each(|file| project.read_env(&project.folder.join(file.trim()))),
            None => project.read_env(&project.folder.join(".env")),
        }
        project.files = match given {
            Some(file) => vec![project.folder.join(file.file_name().unwrap_or(file.as_os_str()))],
            None => project.compose_files()?,
        };
        // Compose reads the `.env` beside its first file too.
        let other = project.project_folder().join(".env");
        if named.is_none() && !project.env_files.contains(&other) {
            project.read_env(&other);
        }
        Ok(project)
    }

    fn compose_files(&self) -> Result<Vec<PathBuf>, SourceError> {
        if let Some(list) = self.variables.get("COMPOSE_FILE").filter(|list| !list.is_empty()) {
            let separator =
                self.variables.get("COMPOSE_PATH_SEPARATOR").filter(|sign| !sign.is_empty()).unwrap_or_else(|| ":".into());
            let files: Vec<_> = list.split(&separator).filter(|file| !file.is_empty()).map(|file| self.folder.join(file)).collect();
            return match files.iter().find(|file| !file.is_file()) {
                Some(missing) => Err(SourceError::Settings(format!("COMPOSE_FILE names {}, which is no file", missing.display()))),
                None => Ok(files.iter().map(|file| service::tidy(file)).collect()),
            };
        }
        let first = |names: &[&str]| names.iter().map(|name| self.folder.join(name)).find(|path| path.is_file());
        let Some(main) = first(&FILES) else { return Ok(Vec::new()) };
        Ok([Some(main), first(&OVERRIDES)].into_iter().flatten().collect())
    }

    fn read_env(&mut self, path: &Path) {
        match read_small(path) {
            Ok(text) => {
                let process = self.variables.process.clone();
                let outside = |name: &str| process.get(name).map(str::to_owned);
                for (name, value) in dotenv::parse(&text, &outside, false) {
                    self.variables.file.entry(name).or_insert(value);
                }
                self.env_files.push(path.to_owned());
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => self.unreadable.push(format!("{} cannot be read: {error}", path.display())),
        }
    }

    /// What relative paths of the compose files are relative to.
    pub(crate) fn project_folder(&self) -> &Path {
        self.files.first().and_then(|file| file.parent()).unwrap_or(&self.folder)
    }

    fn read(&self) -> Result<Model, SourceError> {
        let lookup = |name: &str| self.variables.get(name);
        let mut model = Model::read(&self.files, self.project_folder(), &lookup)?;
        let profiles = self.variables.get("COMPOSE_PROFILES").unwrap_or_default();
        let active: Vec<String> = profiles.split(',').map(|profile| profile.trim().to_owned()).collect();
        model.complete(&active, &lookup)?;
        model.services.retain(|_, service| service.is_active(&active));
        model.files.extend(self.env_files.iter().cloned());
        Ok(model)
    }

    /// The names of variables that the files mention: what `compose` must see of our environment.
    fn mentioned(&self) -> BTreeSet<String> {
        let mut words = BTreeSet::new();
        for text in self.files.iter().chain(&self.env_files).filter_map(|file| read_small(file).ok()) {
            let is_name = |sign: char| sign.is_ascii_alphanumeric() || sign == '_';
            words.extend(text.split(|sign| !is_name(sign)).filter(|word| !word.is_empty()).map(str::to_owned));
        }
        words.retain(|word| !word.starts_with("ESKER_"));
        words
    }
}

/// Is this folder one of a deployment?
fn looks_like_one(folder: &Path) -> bool {
    FILES.iter().chain(&[".env"]).any(|name| folder.join(name).is_file())
}

/// A deployment by compose, understood.
pub(super) struct Compose {
    /// What its files say.
    pub model: Model,
    /// The name of the project, which names of containers and volumes begin with.
    pub name: String,
    /// The way to its containers.
    pub client: Client,
    /// What a person should know about how it was read.
    pub warnings: Vec<String>,
}

impl Compose {
    /// Asks compose, or reads the files; `None` without compose files.
    pub(super) fn read(project: &Project, environment: &Environment, stop: &Stop) -> Result<Option<Self>, SourceError> {
        if project.files.is_empty() {
            return Ok(None);
        }
        let own = project.read();
        let mut environment = environment.clone();
        for name in project.mentioned() {
            environment.pass(&name);
        }
        let mut warnings = Vec::new();
        let (client, answer) = Client::find(project, environment, stop)?;
        let model = match (answer, own) {
            (Some(mut answer), Ok(own)) => {
                answer.files = own.files;
                // The answer no longer says which files the variables come from, and which variables had no value.
                for (name, service) in own.services {
                    if let Some(answered) = answer.services.get_mut(&name) {
                        answered.env_files = service.env_files;
                        for (target, mount) in service.mounts {
                            answered
                                .mounts
                                .entry(target)
                                .and_modify(|known| (known.unset, known.place) = (mount.unset, mount.place));
                        }
                    }
                }
                answer
            }
            (Some(mut answer), Err(refused)) => {
                warnings.push(format!(
                    "only compose itself understands its files ({refused}): env files and included files are not kept unless they lie \
                     in the list of compose files"
                ));
                answer.files.extend(project.files.iter().chain(&project.env_files).cloned());
                answer
            }
            (None, own) => own?,
        };
        let given = project.variables.get("COMPOSE_PROJECT_NAME").filter(|name| !name.is_empty());
        let folder = || project.project_folder().file_name().map(|name| name.to_string_lossy().into_owned());
        let name = given.or_else(|| model.name.clone()).or_else(folder).unwrap_or_default();
        Ok(Some(Self { name: plain_name(&name), model, client, warnings }))
    }

    /// The name that docker has for a volume of the compose file.
    pub(crate) fn volume_name(&self, key: &str) -> String {
        let named = self.model.volumes.get(key).and_then(|volume| volume.name.clone());
        named.unwrap_or_else(|| format!("{}_{key}", self.name))
    }

    /// Names its container may have for docker.
    fn container_names(&self, service: &str) -> Vec<String> {
        let own = self.model.services.get(service).and_then(|service| service.container.clone());
        let made = [format!("{}-{service}-1", self.name), format!("{}_{service}_1", self.name)];
        own.map_or_else(|| made.to_vec(), |own| vec![own])
    }

    /// What stands before a program to run it inside a service: no terminal, it would change bytes.
    pub(crate) fn run_in(&self, service: &str, stop: &Stop) -> Result<Vec<String>, SourceError> {
        self.client.run_in(service, &self.container_names(service), stop)
    }

    /// The address of a service inside docker.
    pub(super) fn address(&self, service: &str, stop: &Stop) -> Result<String, SourceError> {
        self.client.address(service, &self.container_names(service), stop)
    }
}

/// A project's name as compose makes it: lower-case letters, digits, `_` and `-`.
fn plain_name(name: &str) -> String {
    let plain = |sign: &char| sign.is_ascii_lowercase() || sign.is_ascii_digit() || matches!(sign, '_' | '-');
    let name: String = name.to_lowercase().chars().filter(plain).collect();
    name.trim_start_matches(['_', '-']).to_owned()
}
