//! What the compose files of a deployment say together: services, volumes, secrets, configs.
//!
//! Read from the files ourselves, or from the answer of `docker compose config`. A form that is not understood is refused with its
//! file and line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::super::super::SourceError;
use super::dotenv;
use super::interpolate::{Lookup, interpolate};
use super::service::{Context, Service, tidy};
use super::yaml::{self, Merge, Node, Place, Value};

/// Most files of one deployment, and deepest chain of `extends`.
const MAX_FILES: usize = 64;

/// A named volume.
#[derive(Clone, Debug, Default)]
pub(crate) struct Volume {
    /// Its name for docker; none: made of the project's and its own.
    pub name: Option<String>,
    /// The folder of the host that it is (`driver_opts` with `o: bind`).
    pub device: Option<PathBuf>,
    /// Another driver than docker's own.
    pub driver: Option<String>,
}

/// A secret or a config.
#[derive(Clone, Debug)]
pub(crate) enum Given {
    /// In a file.
    File(PathBuf),
    /// In the compose file itself.
    Inline,
    /// In a variable.
    Variable(String),
    /// Kept by docker.
    External,
}

/// A deployment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    /// The name of the project.
    pub name: Option<String>,
    /// Its services.
    pub services: BTreeMap<String, Service>,
    /// Its named volumes.
    pub volumes: BTreeMap<String, Volume>,
    /// Its secrets.
    pub secrets: BTreeMap<String, Given>,
    /// Its configs.
    pub configs: BTreeMap<String, Given>,
    /// Every file that was read for it: compose files, those they include and extend, and their `.env`.
    pub files: BTreeSet<PathBuf>,
}

impl Model {
    /// Reads `files`, each over those before it. Paths are relative to `folder`.
    pub(crate) fn read(files: &[PathBuf], folder: &Path, lookup: Lookup<'_>) -> Result<Self, SourceError> {
        let mut model = Self::default();
        let context = Context { folder, lookup };
        for file in files {
            for document in model.documents(file, lookup)? {
                model.apply(&document, &context)?;
            }
        }
        Ok(model)
    }

    /// From the answer of `docker compose config --format json`, in which paths are absolute and `$` is written `$$`.
    pub(crate) fn of_answer(answer: &serde_json::Value, by: &str) -> Result<Self, SourceError> {
        let mut node = Node::of_json(answer, &Place::of_file(Path::new(by)));
        node.change_texts(&mut |text| Ok((text.replace("$$", "$"), None)))?;
        let mut model = Self::default();
        model.apply(&node, &Context { folder: Path::new("/"), lookup: &|_| None })?;
        Ok(model)
    }

    fn documents(&mut self, file: &Path, lookup: Lookup<'_>) -> Result<Vec<Node>, SourceError> {
        self.files.insert(tidy(file));
        if self.files.len() > MAX_FILES {
            return Err(Place::of_file(file).refuse("too many files: they include one another?"));
        }
        let mut documents = yaml::read(file)?;
        documents.iter_mut().try_for_each(|document| document.change_texts(&mut |text| interpolate(text, lookup)))?;
        Ok(documents)
    }

    fn apply(&mut self, document: &Node, context: &Context<'_>) -> Result<(), SourceError> {
        for node in document.get("include").map_or(&[][..], Node::items) {
            self.include(node, context)?;
        }
        for (key, node) in document.map("a compose file")? {
            match key.as_str() {
                "name" => self.name = Some(node.text(key)?.to_owned()).filter(|name| !name.is_empty()),
                "services" => self.services(node, document, context)?,
                "volumes" => {
                    for (name, node) in node.map(key)? {
                        let mut volume = volume(node, name, context)?;
                        if let Some(known) = self.volumes.get(name).filter(|_| node.merge == Merge::Join) {
                            volume.name = volume.name.or_else(|| known.name.clone());
                            volume.device = volume.device.or_else(|| known.device.clone());
                            volume.driver = volume.driver.or_else(|| known.driver.clone());
                        }
                        merged(&mut self.volumes, name, node.merge, volume);
                    }
                }
                "secrets" | "configs" => {
                    for (name, node) in node.map(key)? {
                        let given = given(node, context)?;
                        merged(if key == "secrets" { &mut self.secrets } else { &mut self.configs }, name, node.merge, given);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn services(&mut self, node: &Node, document: &Node, context: &Context<'_>) -> Result<(), SourceError> {
        for (name, node) in node.map("services")? {
            if node.merge != Merge::Join {
                self.services.remove(name);
            }
            if node.merge == Merge::Reset {
                continue;
            }
            let base = match node.get("extends").filter(|extends| extends.merge != Merge::Reset) {
                Some(extends) if self.services.contains_key(name) => {
                    return Err(extends.place.refuse("`extends` in an override of a service is not understood"));
                }
                Some(extends) => Some(self.extended(extends, document, context, 0)?),
                None => None,
            };
            let service = self.services.entry(name.clone()).or_default();
            if let Some(base) = base {
                *service = base;
            }
            service.apply(node, context)?;
        }
        Ok(())
    }

    /// The service that another one builds on.
    fn extended(&mut self, extends: &Node, document: &Node, context: &Context<'_>, depth: usize) -> Result<Service, SourceError> {
        if depth > MAX_FILES {
            return Err(extends.place.refuse("services extend one another without end"));
        }
        let (name, file) = match &extends.value {
            Value::Map(_) => (extends.text_of("service")?, extends.text_of("file")?),
            _ => (Some(extends.text("extends")?), None),
        };
        let name = name.ok_or_else(|| extends.place.refuse("`extends` names no service"))?;
        let (documents, folder) = match file {
            None => (vec![document.clone()], context.folder.to_owned()),
            Some(file) => {
                let file = context.path(file, &extends.place)?;
                let folder = file.parent().unwrap_or(Path::new("/")).to_owned();
                (self.documents(&file, context.lookup)?, folder)
            }
        };
        let found = documents.iter().find_map(|document| Some((document, document.get("services")?.get(name)?)));
        let (document, node) = found.ok_or_else(|| extends.place.refuse(format_args!("there is no service {name:?} to extend")))?;
        let context = Context { folder: &folder, lookup: context.lookup };
        let mut service = match node.get("extends") {
            Some(extends) => self.extended(extends, document, &context, depth + 1)?,
            None => Service::default(),
        };
        service.apply(node, &context)?;
        Ok(service)
    }

    /// Another deployment that becomes part of this one, with a folder and an `.env` of its own.
    fn include(&mut self, node: &Node, context: &Context<'_>) -> Result<(), SourceError> {
        let place = &node.place;
        let given = if matches!(node.value, Value::Map(_)) { node.get("path") } else { Some(node) };
        let mut files = Vec::new();
        for node in given.map_or(&[][..], Node::items) {
            let text = node.text("an included file")?;
            if text.contains("://") || text.starts_with("git@") {
                return Err(place.refuse(format_args!("the file {text:?} is included from elsewhere, which is not supported")));
            }
            files.push(context.path(text, place)?);
        }
        let first = files.first().ok_or_else(|| place.refuse("`include` names no file"))?;
        let folder = match node.text_of("project_directory")? {
            Some(folder) => context.path(folder, place)?,
            None => first.parent().unwrap_or(Path::new("/")).to_owned(),
        };
        let mut env_files = Vec::new();
        for node in node.get("env_file").map_or(&[][..], Node::items) {
            env_files.push(context.path(node.text("env_file")?, &node.place)?);
        }
        if env_files.is_empty() {
            env_files.extend(Some(folder.join(".env")).filter(|file| file.is_file()));
        }
        let mut variables = BTreeMap::new();
        for file in &env_files {
            let text = dotenv::read_small(file).map_err(|error| place.refuse(format_args!("{}: {error}", file.display())))?;
            variables.extend(dotenv::parse(&text, context.lookup, false));
        }
        let lookup = |name: &str| (context.lookup)(name).or_else(|| variables.get(name).cloned());
        let mut included = Self { files: std::mem::take(&mut self.files), ..Self::default() };
        included.files.extend(env_files);
        let inside = Context { folder: &folder, lookup: &lookup };
        for file in &files {
            if included.files.contains(&tidy(file)) {
                return Err(place.refuse(format_args!("{} is included more than once", file.display())));
            }
            for document in included.documents(file, &lookup)? {
                included.apply(&document, &inside)?;
            }
        }
        for service in included.services.values_mut() {
            // Their variables are those of the included folder, which is forgotten after this.
            service.complete(&lookup)?;
        }
        self.files = std::mem::take(&mut included.files);
        for (name, service) in included.services {
            if self.services.insert(name.clone(), service).is_some() {
                return Err(place.refuse(format_args!("the service {name:?} is in several included files")));
            }
        }
        self.volumes.extend(included.volumes);
        self.secrets.extend(included.secrets);
        self.configs.extend(included.configs);
        Ok(())
    }

    /// Drops what does not run, and reads the files of variables of the rest.
    pub(crate) fn complete(&mut self, profiles: &[String], lookup: Lookup<'_>) -> Result<(), SourceError> {
        for (_, service) in self.services.iter_mut().filter(|(_, service)| service.is_active(profiles)) {
            service.complete(lookup)?;
        }
        Ok(())
    }
}

fn merged<T>(all: &mut BTreeMap<String, T>, name: &str, merge: Merge, value: T) {
    if merge == Merge::Reset {
        all.remove(name);
    } else {
        all.insert(name.to_owned(), value);
    }
}

fn volume(node: &Node, key: &str, context: &Context<'_>) -> Result<Volume, SourceError> {
    node.map("a volume")?;
    let external = node.get("external");
    let old_name = external.map(|external| external.text_of("name")).transpose()?.flatten();
    let is_external = match external.map(|external| &external.value) {
        Some(Value::Map(_)) => true,
        _ => node.truth_of("external", false)?,
    };
    let name = node.text_of("name")?.or(old_name).or(is_external.then_some(key)).map(str::to_owned);
    let driver = node.text_of("driver")?.filter(|driver| *driver != "local").map(str::to_owned);
    let mut device = None;
    if let Some(options) = node.get("driver_opts") {
        let is_bind = options.text_of("o")?.is_some_and(|o| o.split(',').any(|option| matches!(option.trim(), "bind" | "rbind")));
        if let Some(given) = options.get("device").filter(|_| is_bind) {
            if let Value::Scalar { unset: Some(name), .. } = &given.value {
                return Err(given.place.refuse(format_args!("the variable {name} has no value: set it in .env")));
            }
            device = options.text_of("device")?.map(|device| context.path(device, &given.place)).transpose()?;
        }
    }
    Ok(Volume { name, device, driver })
}

fn given(node: &Node, context: &Context<'_>) -> Result<Given, SourceError> {
    node.map("a secret or config")?;
    if let Some(file) = node.text_of("file")? {
        return Ok(Given::File(context.path(file, &node.place)?));
    }
    if let Some(variable) = node.text_of("environment")? {
        return Ok(Given::Variable(variable.to_owned()));
    }
    Ok(if node.get("content").is_some() { Given::Inline } else { Given::External })
}
