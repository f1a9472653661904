//! What a compose file says, as far as a look at its lines tells: services and mounted folders. It is not parsed as YAML: a form
//! that is not understood is a folder not found, which is said, never one guessed.

use std::path::{Path, PathBuf};

use super::super::SourceError;

/// Names compose looks for, its favourite first.
pub(super) const FILES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];

/// The folder of a deployment, and its compose file if it has one.
#[derive(Debug)]
pub(super) struct Compose {
    /// Where `.env` and relative paths are looked for.
    pub folder: PathBuf,
    /// The compose file.
    pub file: Option<PathBuf>,
    /// What stands in it.
    pub text: Option<String>,
}

impl Compose {
    /// `place` is the folder or the file; without it the current folder if it looks like a deployment, else `/`.
    pub fn find(place: Option<&Path>) -> Result<Self, SourceError> {
        let folder = match place {
            Some(place) if place.is_dir() => place.to_owned(),
            Some(place) if place.is_file() => {
                let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
                return Self::read(folder.to_owned(), Some(place.to_owned()));
            }
            Some(place) => return Err(SourceError::Settings(format!("there is no folder or compose file {}", place.display()))),
            None => match std::env::current_dir() {
                Ok(here) if super::looks_like_one(&here) => here,
                _ => PathBuf::from("/"),
            },
        };
        let file = FILES.iter().map(|name| folder.join(name)).find(|path| path.is_file());
        Self::read(folder, file)
    }

    fn read(folder: PathBuf, file: Option<PathBuf>) -> Result<Self, SourceError> {
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path)
                .map_err(|error| SourceError::Io { what: format!("cannot read the compose file {}", path.display()), error })
        };
        let folder = folder.canonicalize().unwrap_or(folder);
        let text = file.as_ref().map(read).transpose()?;
        Ok(Self { folder, file, text })
    }

    /// The first of these services that the file has.
    pub fn service<'a>(&self, names: &[&'a str]) -> Option<&'a str> {
        let mut services = false;
        let mut found = Vec::new();
        for line in self.text.as_deref()?.lines() {
            let indent = line.len() - line.trim_start().len();
            let name = line.trim().trim_end_matches(':').trim_matches(['"', '\'']);
            match (indent, line.trim().ends_with(':')) {
                (0, _) if !line.trim().is_empty() && !line.starts_with('#') => services = name == "services",
                (1..=4, true) if services => found.push(name),
                _ => {}
            }
        }
        names.iter().copied().find(|name| found.contains(name))
    }

    /// A docker compose command for this deployment.
    pub fn docker(&self, rest: &[&str]) -> Vec<String> {
        let file = self.file.as_ref().map(|file| ["--file".to_owned(), file.to_string_lossy().into_owned()]);
        let words = ["docker", "compose"].map(String::from).into_iter().chain(file.into_iter().flatten());
        words.chain(rest.iter().map(|&word| word.to_owned())).collect()
    }

    /// What stands before a program to run it inside a service: no terminal, it would change bytes.
    pub fn run_in(&self, service: &str) -> Vec<String> {
        self.docker(&["exec", "-T", service])
    }

    /// What is mounted at these places in a container: (left side, right side) of `- left:right[:mode]`.
    fn mounts<'a>(&'a self, places: &'a [&str]) -> impl Iterator<Item = &'a str> {
        let lines = self.text.as_deref().unwrap_or_default().lines();
        lines.filter_map(|line| {
            let mount = line.trim().strip_prefix("- ")?.trim().trim_matches(['"', '\'']);
            let (left, right) = mount.split_once(':')?;
            let right = right.split(':').next()?.trim_end_matches('/');
            places.contains(&right).then_some(left)
        })
    }

    /// The folders mounted there.
    pub fn mounted<'a>(&'a self, places: &'a [&str]) -> impl Iterator<Item = PathBuf> + 'a {
        self.mounts(places).filter(|left| left.starts_with(['.', '/'])).map(|left| self.folder.join(left.trim_start_matches("./")))
    }

    /// The named volume mounted there; Redis' and PostgreSQL's own are not authentik's.
    pub fn named_volume<'a>(&'a self, places: &'a [&str]) -> Option<&'a str> {
        let own = |left: &str| !left.starts_with(['.', '/', '$', '~']) && !matches!(left, "redis" | "database");
        self.mounts(places).find(|left| own(left))
    }
}
