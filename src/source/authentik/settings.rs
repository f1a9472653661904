//! authentik's settings as authentik reads them.
//!
//! In this order: `AUTHENTIK_*` of this process, what the compose files give to authentik's own services, `.env`. A value may be
//! `env://NAME?fallback` or `file:///path?fallback`; a path of a container is looked for behind its mounts and secrets.

use std::path::{Path, PathBuf};

use super::super::SourceError;
use super::compose::{Compose, Given, Mounted, Project, Service, Variables, read_small};

/// Images of authentik's own services. Outposts are others, and have no data.
const IMAGE: &str = "goauthentik/server";
/// Names of the services in its own compose file, and usual ones, for an image of another name.
const NAMES: [&str; 5] = ["server", "worker", "authentik-server", "authentik-worker", "authentik"];

/// Holds secrets: never printed.
pub(super) struct Settings<'a> {
    variables: &'a Variables,
    compose: Option<&'a Compose>,
    /// authentik's own services, the server first.
    services: Vec<(&'a str, &'a Service)>,
}

/// Where a path of a container is.
pub(super) enum Behind {
    /// On this host.
    Path(PathBuf),
    /// In a volume, by its name in the compose file, below this path.
    Volume(String, PathBuf),
    /// It holds the value of a variable.
    Variable(String),
    /// In the container alone.
    Container,
}

impl<'a> Settings<'a> {
    /// Finds authentik's own services; compose files without one are refused.
    pub(super) fn new(project: &'a Project, compose: Option<&'a Compose>) -> Result<Self, SourceError> {
        let mut services = Vec::new();
        if let Some(compose) = compose {
            let all = || compose.model.services.iter().map(|(name, service)| (name.as_str(), service));
            services.extend(all().filter(|(_, service)| is_authentik(service)));
            if services.is_empty() {
                services.extend(all().filter(|(name, _)| NAMES.contains(name)));
            }
            services.sort_by_key(|(name, _)| !name.contains("server"));
            if services.is_empty() {
                let files: Vec<_> = project.files.iter().map(|file| file.display().to_string()).collect();
                return Err(SourceError::Settings(format!(
                    "{}: no service runs authentik (an image {IMAGE}, or the names server and worker); if it has a profile, set \
                     COMPOSE_PROFILES in .env",
                    files.join(", ")
                )));
            }
        }
        for (_, service) in &services {
            if let Some(place) = &service.volumes_from {
                return Err(place.refuse("`volumes_from` of authentik is not understood: write its volumes out"));
            }
        }
        Ok(Self { variables: &project.variables, compose, services })
    }

    /// authentik's own services, the server first.
    pub(super) fn services(&self) -> &[(&'a str, &'a Service)] {
        &self.services
    }

    /// A variable of this process, if it is not empty.
    pub(super) fn of_process(&self, name: &str) -> Option<&str> {
        self.variables.of_process(name).filter(|value| !value.is_empty())
    }

    /// A variable as it stands, if it is not empty.
    pub(super) fn plain(&self, name: &str) -> Option<String> {
        let of_services = || self.services.iter().find_map(|(_, service)| service.variable(name));
        let value = self.of_process(name).or_else(of_services).or_else(|| self.variables.of_file(name));
        value.filter(|value| !value.is_empty()).map(str::to_owned)
    }

    /// The setting `AUTHENTIK_<key>`, with `env://` and `file://` followed.
    pub(super) fn get(&self, key: &str) -> Result<Option<String>, SourceError> {
        let name = format!("AUTHENTIK_{key}");
        let Some(value) = self.plain(&name) else { return Ok(None) };
        let (address, fallback) = value.split_once('?').map_or((value.as_str(), None), |(address, rest)| (address, Some(rest)));
        let followed = if let Some(other) = address.strip_prefix("env://") {
            self.plain(other)
        } else if let Some(path) = address.strip_prefix("file://") {
            match self.read(&name, path) {
                Ok(text) => Some(text.trim().to_owned()),
                Err(SourceError::Io { .. }) if fallback.is_some() => None,
                Err(error) => return Err(error),
            }
        } else {
            return Ok(Some(value));
        };
        Ok(followed.or(fallback.map(str::to_owned)).filter(|value| !value.is_empty()))
    }

    fn read(&self, name: &str, path: &str) -> Result<String, SourceError> {
        // A setting of this process means a path of this process.
        let place = if self.of_process(name).is_some() { Behind::Path(path.into()) } else { self.behind(path) };
        match place {
            Behind::Variable(variable) => Ok(self.variables.get(&variable).unwrap_or_default()),
            Behind::Path(file) => {
                read_small(&file).map_err(|error| SourceError::Io { what: format!("{name} points to {}", file.display()), error })
            }
            Behind::Volume(..) | Behind::Container => Err(SourceError::Settings(format!(
                "{name} points to {path}, a file inside the container: set {name} for esker too"
            ))),
        }
    }

    /// Where a path of authentik's containers is; without compose, on this host as it stands.
    pub(super) fn behind(&self, path: &str) -> Behind {
        let Some(compose) = self.compose else { return Behind::Path(path.into()) };
        let found = self.services.iter().map(|(_, service)| behind(path, service, compose));
        found.into_iter().find(|found| !matches!(found, Behind::Container)).unwrap_or(Behind::Container)
    }

    /// The first of these settings that is there.
    pub(super) fn first(&self, keys: &[&str]) -> Result<Option<String>, SourceError> {
        for key in keys {
            if let Some(value) = self.get(key)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// Has one of these settings this value?
    pub(crate) fn any_is(&self, keys: &[&str], wanted: &str) -> Result<bool, SourceError> {
        for key in keys {
            if self.get(key)?.is_some_and(|value| value.eq_ignore_ascii_case(wanted)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Is any setting that begins so given?
    pub(super) fn any(&self, prefix: &str) -> bool {
        ["HOST", "NAME", "USER", "PASSWORD", "PORT"].iter().any(|key| self.plain(&format!("AUTHENTIK_{prefix}{key}")).is_some())
    }
}

fn is_authentik(service: &Service) -> bool {
    let name = service.image_name();
    name == IMAGE || name.ends_with(&format!("/{IMAGE}")) || name.ends_with("goauthentik.io/server")
}

/// Where a path of a service's container is.
pub(super) fn behind(path: &str, service: &Service, compose: &Compose) -> Behind {
    let path = Path::new(path);
    let given = |used: Option<&String>, all: &std::collections::BTreeMap<String, Given>| match all.get(used?)? {
        Given::File(file) => Some(Behind::Path(file.clone())),
        Given::Variable(name) => Some(Behind::Variable(name.clone())),
        Given::Inline | Given::External => None,
    };
    let text = path.to_string_lossy();
    let secret = given(service.secrets.get(&*text), &compose.model.secrets);
    if let Some(found) = secret.or_else(|| given(service.configs.get(&*text), &compose.model.configs)) {
        return found;
    }
    let mounts = service.mounts.iter().filter_map(|(target, mount)| Some((path.strip_prefix(target).ok()?, mount)));
    let nearest = mounts.min_by_key(|(below, _)| below.components().count());
    let join = |folder: &Path, below: &Path| if below.as_os_str().is_empty() { folder.to_owned() } else { folder.join(below) };
    match nearest.map(|(below, mount)| (below, &mount.what)) {
        Some((below, Mounted::Path(folder))) => Behind::Path(join(folder, below)),
        Some((below, Mounted::Volume(name))) => Behind::Volume(name.clone(), below.to_owned()),
        Some((_, Mounted::Nothing)) | None => Behind::Container,
    }
}
