//! One service of a compose file: the part of it that says where its data and its settings are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::super::SourceError;
use super::dotenv;
use super::interpolate::Lookup;
use super::yaml::{Merge, Node, Place, Value};

/// What is mounted somewhere in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mounted {
    /// A folder or file of the host.
    Path(PathBuf),
    /// A named volume, by its name in the compose file.
    Volume(String),
    /// Something that goes with the container: an anonymous volume, a tmpfs.
    Nothing,
}

/// A mount, and where it is said.
#[derive(Clone, Debug)]
pub(crate) struct Mount {
    /// What is mounted.
    pub what: Mounted,
    /// Where the file says so.
    pub place: Place,
    /// A variable in it that has no value.
    pub unset: Option<String>,
}

/// An `env_file`.
#[derive(Clone, Debug)]
pub(crate) struct EnvFile {
    /// The file.
    pub path: PathBuf,
    /// Is a missing one an error?
    required: bool,
    /// Are its values taken as they stand?
    raw: bool,
    place: Place,
}

/// A service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Service {
    /// The image, without a default.
    pub image: Option<String>,
    /// The Dockerfile that its image is built from.
    pub dockerfile: Option<PathBuf>,
    /// The name of its container, if it has one of its own.
    pub container: Option<String>,
    /// It runs only when one of these is active; empty: always.
    pub profiles: Vec<String>,
    /// The variables it sees. `None` until [`Service::complete`]: taken over from outside.
    environment: BTreeMap<String, Option<String>>,
    /// Files of further variables.
    pub env_files: Vec<EnvFile>,
    /// What is mounted, by the place in the container.
    pub mounts: BTreeMap<String, Mount>,
    /// Secrets, by the file in the container: their names.
    pub secrets: BTreeMap<String, String>,
    /// Configs, by the file in the container: their names.
    pub configs: BTreeMap<String, String>,
    /// It takes over the mounts of other containers, which nothing here can tell.
    pub volumes_from: Option<Place>,
}

/// What relative paths and `~` of a file mean.
pub(crate) struct Context<'a> {
    /// The folder that paths are relative to.
    pub folder: &'a Path,
    /// Variables.
    pub lookup: Lookup<'a>,
}

impl Context<'_> {
    /// A path of the file as a path of the host.
    pub(crate) fn path(&self, text: &str, place: &Place) -> Result<PathBuf, SourceError> {
        let path = match text.strip_prefix('~') {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                let home = (self.lookup)("HOME").ok_or_else(|| place.refuse("`~` in a path, and HOME is not set"))?;
                PathBuf::from(home).join(rest.trim_start_matches('/'))
            }
            Some(_) => return Err(place.refuse(format_args!("the path {text:?} is the home of another user: write it out"))),
            None => self.folder.join(text),
        };
        Ok(tidy(&path))
    }
}

/// Without `.` and `..`, as compose does it: by the text alone.
pub(crate) fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                tidy.pop();
            }
            part => tidy.push(part),
        }
    }
    tidy
}

impl Service {
    /// Puts what a file says over what is known, as compose merges files.
    pub(crate) fn apply(&mut self, node: &Node, context: &Context<'_>) -> Result<(), SourceError> {
        for (key, node) in node.map("a service")? {
            if node.merge != Merge::Join {
                self.forget(key);
            }
            if node.merge == Merge::Reset {
                continue;
            }
            match key.as_str() {
                "image" => self.image = Some(node.text(key)?.to_owned()).filter(|image| !image.is_empty()),
                "build" => self.dockerfile = dockerfile(node, context)?,
                "container_name" => self.container = Some(node.text(key)?.to_owned()).filter(|name| !name.is_empty()),
                "profiles" => {
                    for profile in node.list(key)? {
                        self.profiles.push(profile.text("a profile")?.to_owned());
                    }
                }
                "environment" => self.environment.extend(variables(node)?),
                "env_file" => self.env_files(node, context)?,
                "volumes" => {
                    for node in node.list(key)? {
                        let (target, mount) = mount(node, context)?;
                        self.mounts.insert(target, mount);
                    }
                }
                "secrets" => self.secrets.extend(uses(node, "/run/secrets/")?),
                "configs" => self.configs.extend(uses(node, "/")?),
                "volumes_from" if !node.items().is_empty() => self.volumes_from = Some(node.place.clone()),
                _ => {}
            }
        }
        Ok(())
    }

    fn forget(&mut self, key: &str) {
        match key {
            "image" => self.image = None,
            "build" => self.dockerfile = None,
            "container_name" => self.container = None,
            "profiles" => self.profiles.clear(),
            "environment" => self.environment.clear(),
            "env_file" => self.env_files.clear(),
            "volumes" => self.mounts.clear(),
            "secrets" => self.secrets.clear(),
            "configs" => self.configs.clear(),
            "volumes_from" => self.volumes_from = None,
            _ => {}
        }
    }

    fn env_files(&mut self, node: &Node, context: &Context<'_>) -> Result<(), SourceError> {
        for node in node.items() {
            let (path, required, raw) = match &node.value {
                Value::Map(_) => {
                    let path = node.text_of("path")?.ok_or_else(|| node.place.refuse("an env_file without a path"))?;
                    (path, node.truth_of("required", true)?, node.text_of("format")? == Some("raw"))
                }
                _ => (node.text("an env_file")?, true, false),
            };
            let path = context.path(path, &node.place)?;
            self.env_files.retain(|known| known.path != path);
            self.env_files.push(EnvFile { path, required, raw, place: node.place.clone() });
        }
        Ok(())
    }

    /// Reads the files of variables: what the service itself says wins over them.
    pub(crate) fn complete(&mut self, lookup: Lookup<'_>) -> Result<(), SourceError> {
        let mut all = BTreeMap::new();
        for file in &self.env_files {
            match dotenv::read_small(&file.path) {
                Ok(text) => all.extend(dotenv::parse(&text, lookup, file.raw).into_iter().map(|(name, value)| (name, Some(value)))),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && !file.required => {}
                Err(error) => return Err(file.place.refuse(format_args!("env_file {}: {error}", file.path.display()))),
            }
        }
        for (name, value) in std::mem::take(&mut self.environment) {
            let value = value.or_else(|| lookup(&name));
            all.insert(name, value);
        }
        self.environment = all;
        Ok(())
    }

    /// A variable as the service sees it.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).and_then(Option::as_deref)
    }

    /// Is it one of those that run?
    pub(crate) fn is_active(&self, active: &[String]) -> bool {
        self.profiles.is_empty()
            || self.profiles.iter().any(|profile| active.contains(profile) || active.iter().any(|all| all == "*"))
    }

    /// The repository of its image: `ghcr.io/goauthentik/server` of `ghcr.io/goauthentik/server:2025.10.1@sha256:...`.
    pub(crate) fn image_name(&self) -> &str {
        let image = self.image.as_deref().unwrap_or_default();
        let image = image.split('@').next().unwrap_or_default();
        match image.rsplit_once(':') {
            // A colon before a slash is that of a port.
            Some((name, tag)) if !tag.contains('/') => name,
            _ => image,
        }
    }

    /// The tag of its image.
    pub(crate) fn image_tag(&self) -> Option<&str> {
        let image = self.image.as_deref()?.split('@').next()?;
        image.strip_prefix(self.image_name())?.strip_prefix(':')
    }
}

/// `environment` in both forms.
fn variables(node: &Node) -> Result<BTreeMap<String, Option<String>>, SourceError> {
    let mut found = BTreeMap::new();
    match &node.value {
        Value::List(items) => {
            for item in items {
                let text = item.text("a variable")?;
                match text.split_once('=') {
                    Some((name, value)) => found.insert(name.to_owned(), Some(value.to_owned())),
                    None => found.insert(text.to_owned(), None),
                };
            }
        }
        _ => {
            for (name, value) in node.map("environment")? {
                let value = match &value.value {
                    Value::Null => None,
                    _ => Some(value.text(name)?.to_owned()),
                };
                found.insert(name.clone(), value);
            }
        }
    }
    Ok(found)
}

/// A mount in the short form `[SOURCE:]TARGET[:MODE]` or the long form, and its place in the container.
fn mount(node: &Node, context: &Context<'_>) -> Result<(String, Mount), SourceError> {
    let place = &node.place;
    let unset_in = |node: Option<&Node>| match node.map(|node| &node.value) {
        Some(Value::Scalar { unset, .. }) => unset.clone(),
        _ => None,
    };
    let (source, target, kind, unset) = match &node.value {
        Value::Map(_) => {
            let target = node.text_of("target")?.ok_or_else(|| place.refuse("a volume without a target"))?;
            let kind = node.text_of("type")?.unwrap_or("volume");
            let unset = unset_in(node.get("source")).or_else(|| unset_in(node.get("target")));
            (node.text_of("source")?, target, Some(kind), unset)
        }
        _ => {
            let text = node.text("a volume")?;
            let parts: Vec<&str> = text.split(':').collect();
            let is_wrong = parts.iter().any(|part| part.is_empty()) || parts.len() > 3;
            if let Some(name) = unset_in(Some(node)).filter(|_| is_wrong) {
                return Err(place
                    .refuse(format_args!("the volume {text:?} is none: the variable {name} has no value here, set it in .env")));
            }
            if is_wrong {
                return Err(place.refuse(format_args!("the volume {text:?} is none of TARGET, SOURCE:TARGET, SOURCE:TARGET:MODE")));
            }
            let (source, target) = if parts.len() == 1 { (None, parts[0]) } else { (Some(parts[0]), parts[1]) };
            (source, target, None, unset_in(Some(node)))
        }
    };
    if !target.starts_with('/') {
        return Err(place.refuse(format_args!("a volume is mounted at {target:?}, which is no absolute path")));
    }
    let is_path = |source: &str| source.starts_with(['.', '/', '~']);
    let what = match (kind, source) {
        (Some("bind"), Some(source)) => Mounted::Path(context.path(source, place)?),
        (Some("bind"), None) => return Err(place.refuse("a bind mount without a source")),
        (None, Some(source)) if is_path(source) => Mounted::Path(context.path(source, place)?),
        (None | Some("volume"), Some(source)) => Mounted::Volume(source.to_owned()),
        (None | Some("volume" | "tmpfs" | "cluster" | "npipe" | "image"), _) => Mounted::Nothing,
        (Some(other), _) => return Err(place.refuse(format_args!("a volume of the type {other:?} is not understood"))),
    };
    let target = tidy(Path::new(target)).to_string_lossy().into_owned();
    Ok((target, Mount { what, place: place.clone(), unset }))
}

/// The secrets or configs that a service uses: the file in the container, and the name.
fn uses(node: &Node, folder: &str) -> Result<BTreeMap<String, String>, SourceError> {
    let mut found = BTreeMap::new();
    for node in node.list("the list of secrets or configs")? {
        let (name, target) = match &node.value {
            Value::Map(_) => {
                let name = node.text_of("source")?.ok_or_else(|| node.place.refuse("a secret or config without a source"))?;
                (name, node.text_of("target")?.unwrap_or(name))
            }
            _ => (node.text("a secret or config")?, node.text("a secret or config")?),
        };
        let target = if target.starts_with('/') { target.to_owned() } else { format!("{folder}{target}") };
        found.insert(target, name.to_owned());
    }
    Ok(found)
}

/// The Dockerfile of `build`, unless it stands in the compose file or elsewhere than on this machine.
fn dockerfile(node: &Node, context: &Context<'_>) -> Result<Option<PathBuf>, SourceError> {
    let (build, file) = match &node.value {
        Value::Map(_) if node.get("dockerfile_inline").is_some() => return Ok(None),
        Value::Map(_) => (node.text_of("context")?.unwrap_or("."), node.text_of("dockerfile")?.unwrap_or("Dockerfile")),
        _ => (node.text("build")?, "Dockerfile"),
    };
    if build.contains("://") || build.starts_with("git@") {
        return Ok(None);
    }
    Ok(Some(tidy(&context.path(build, &node.place)?.join(file))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_taken_apart() {
        for (image, name, tag) in [
            ("ghcr.io/goauthentik/server:2025.10.1", "ghcr.io/goauthentik/server", Some("2025.10.1")),
            ("localhost:5000/goauthentik/server", "localhost:5000/goauthentik/server", None),
            ("h:5000/server:2024.8@sha256:abc", "h:5000/server", Some("2024.8")),
            ("redis", "redis", None),
        ] {
            let service = Service { image: Some(image.into()), ..Service::default() };
            assert_eq!((service.image_name(), service.image_tag()), (name, tag), "{image}");
        }
    }
}
