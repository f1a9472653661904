//! The programs that know a deployment's containers: `docker compose`, `docker-compose`, `podman compose`, `podman-compose`; without
//! any of them `docker` or `podman` alone.

use super::super::super::child::Child;
use super::super::super::{Environment, Secret, SourceError};
use super::{Model, Project};
use crate::monitor::Stop;

/// In the order of trying.
const COMPOSE: [&[&str]; 4] = [&["docker", "compose"], &["docker-compose"], &["podman", "compose"], &["podman-compose"]];

/// How containers are reached.
pub(in super::super) struct Client {
    /// The words that begin a compose command, with the files of the deployment.
    compose: Vec<String>,
    /// Is there a compose? Otherwise containers go by their names.
    has_compose: bool,
    /// `docker` or `podman`.
    engine: &'static str,
    /// Is the engine's program there?
    has_engine: bool,
    /// What they see.
    environment: Environment,
}

impl Client {
    /// Finds one, and what its `config` says the files mean; no answer where it is missing or fails.
    pub(crate) fn find(project: &Project, mut environment: Environment, stop: &Stop) -> Result<(Self, Option<Model>), SourceError> {
        environment.pass_for_prefix();
        let there = |program: &str| is_there(program, &environment);
        let mut works = None;
        let mut answered = None;
        for words in COMPOSE.into_iter().filter(|words| there(words[0])) {
            match config(words, project, &environment, stop)? {
                Config::Answer(answer) => {
                    answered = Some(Model::of_answer(&answer, &format!("the answer of {}", words.join(" ")))?);
                    works = Some(words);
                    break;
                }
                Config::Fails => works = works.or(Some(words)),
                Config::Missing => {}
            }
        }
        let has_podman = !there("docker") && there("podman");
        let words = works.unwrap_or(if has_podman { COMPOSE[2] } else { COMPOSE[0] });
        let engine = if words[0].starts_with("podman") { "podman" } else { "docker" };
        let (compose, has_engine) = (command(words, project), there(engine));
        Ok((Self { compose, has_compose: works.is_some(), engine, has_engine, environment }, answered))
    }

    /// `docker` or `podman`.
    pub(crate) fn engine(&self) -> &'static str {
        self.engine
    }

    /// What its programs, and those behind them, must see.
    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }

    /// What stands before a program to run it inside a service. Without compose the container goes by one of `names`.
    pub(crate) fn run_in(&self, service: &str, names: &[String], stop: &Stop) -> Result<Vec<String>, SourceError> {
        if let Some(name) = self.container(names, stop)? {
            return Ok([self.engine, "exec", "-i", &name].map(String::from).to_vec());
        }
        Ok(self.compose.iter().cloned().chain(["exec", "-T", service].map(String::from)).collect())
    }

    /// Without compose: the first of these names that a container has. `None` where compose knows it.
    fn container(&self, names: &[String], stop: &Stop) -> Result<Option<String>, SourceError> {
        let engine = self.engine;
        let mut failed = None;
        for name in names.iter().filter(|_| self.has_engine && !self.has_compose) {
            let argv = [engine, "inspect", "--type", "container", "--format", "{{.Id}}", name].map(String::from);
            match ask(&argv, &self.environment, stop) {
                Ok(id) if id.len() >= 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) => return Ok(Some(name.clone())),
                Err(SourceError::Stopped) => return Err(SourceError::Stopped),
                Err(error) => failed = Some(error),
                Ok(_) => {}
            }
        }
        let Some(error) = failed else { return Ok(None) };
        Err(SourceError::Unfit(format!(
            "there is no `{engine} compose` here, and {engine} knows no container {}: {error}\nIs {engine} running, and may this user ask \
             it? Otherwise install its compose plugin, or set `command-prefix` in [source.authentik]",
            names.join(" or ")
        )))
    }

    /// The address of a service whose port is not published, as it is by default.
    pub(crate) fn address(&self, service: &str, names: &[String], stop: &Stop) -> Result<String, SourceError> {
        let engine = self.engine;
        let asked = |argv: Vec<String>| match ask(&argv, &self.environment, stop) {
            Err(SourceError::Stopped) => Err(SourceError::Stopped),
            Err(SourceError::Start { program, error }) => Err(SourceError::Unfit(format!(
                "the service {service:?} of the compose file cannot be found: cannot start {program:?}: {error}; install the client of \
                 {engine}, or name the server's address in AUTHENTIK_REDIS__HOST where esker can reach it"
            ))),
            Err(error) => Err(SourceError::Unfit(format!(
                "{engine} does not say where the service {service:?} of the compose file is: {error}\nIs {engine} running, and may this \
                 user ask it?"
            ))),
            Ok(text) if text.is_empty() => Err(SourceError::Unfit(format!(
                "the service {service:?} of the compose file is not running: start it, or make its source optional"
            ))),
            Ok(text) => Ok(text.split_whitespace().next().unwrap_or_default().to_owned()),
        };
        let container = match self.container(names, stop)? {
            Some(name) => name,
            None => asked(self.compose.iter().cloned().chain(["ps", "-q", service].map(String::from)).collect())?,
        };
        let address = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
        asked([engine, "inspect", "--format", address, &container].map(String::from).to_vec())
    }

    /// Where a volume is on this host; none when it is not known.
    pub(crate) fn volume_folder(&self, name: &str, stop: &Stop) -> Result<Option<String>, SourceError> {
        if !self.has_engine {
            return Ok(None);
        }
        let argv = [self.engine, "volume", "inspect", "--format", "{{.Mountpoint}}", name].map(String::from);
        match ask(&argv, &self.environment, stop) {
            Ok(folder) => Ok(Some(folder).filter(|folder| folder.starts_with('/'))),
            Err(SourceError::Stopped) => Err(SourceError::Stopped),
            Err(_) => Ok(None),
        }
    }
}

/// What came of asking a compose.
enum Config {
    Answer(serde_json::Value),
    /// It is there and gives no answer.
    Fails,
    /// There is no such program, or it has no compose.
    Missing,
}

fn config(words: &[&str], project: &Project, environment: &Environment, stop: &Stop) -> Result<Config, SourceError> {
    let argv: Vec<_> = command(words, project).into_iter().chain(["config", "--format", "json"].map(String::from)).collect();
    let version: Vec<_> = words.iter().chain(&["version"]).map(ToString::to_string).collect();
    match ask(&argv, environment, stop) {
        Ok(text) => match serde_json::from_str::<serde_json::Value>(&text) {
            Ok(answer) if answer.get("services").is_some_and(serde_json::Value::is_object) => Ok(Config::Answer(answer)),
            _ => Ok(Config::Fails),
        },
        Err(SourceError::Stopped) => Err(SourceError::Stopped),
        Err(_) => match ask(&version, environment, stop) {
            Ok(_) => Ok(Config::Fails),
            Err(SourceError::Stopped) => Err(SourceError::Stopped),
            Err(_) => Ok(Config::Missing),
        },
    }
}

/// The words before a compose command for these files.
fn command(words: &[&str], project: &Project) -> Vec<String> {
    let mut command: Vec<String> = words.iter().map(ToString::to_string).collect();
    for file in &project.files {
        command.extend(["--file".to_owned(), file.to_string_lossy().into_owned()]);
    }
    // Compose looks for `.env` beside its first file, and else where it is started: not here.
    if project.env_files.iter().any(|file| file.parent() != Some(project.project_folder())) {
        for file in &project.env_files {
            command.extend(["--env-file".to_owned(), file.to_string_lossy().into_owned()]);
        }
    }
    command
}

fn ask(argv: &[String], environment: &Environment, stop: &Stop) -> Result<String, SourceError> {
    let answer = Child::answer(argv, environment, stop, &Secret::default())?;
    Ok(String::from_utf8_lossy(&answer).trim().to_owned())
}

/// Is this program on the path that a child would be looked up in?
fn is_there(program: &str, environment: &Environment) -> bool {
    let path = environment.get("PATH").unwrap_or("/usr/bin:/bin");
    std::env::split_paths(path).any(|folder| folder.join(program).is_file())
}
