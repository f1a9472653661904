//! What a child process may see of our environment: little, and by name.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// Variables that every child gets, besides `LC_*` and `PG*`.
const PASSED: [&str; 6] = ["PATH", "HOME", "LANG", "TZ", "USER", "LOGNAME"];

/// Variables that lead docker, podman, kubectl or ssh to where they should run something.
const FOR_PREFIX: [&str; 9] = [
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_CONFIG",
    "DOCKER_TLS_VERIFY",
    "DOCKER_CERT_PATH",
    "CONTAINER_HOST",
    "XDG_RUNTIME_DIR",
    "KUBECONFIG",
    "SSH_AUTH_SOCK",
];

/// Environment variables: those this process has, and those the user gave for children. A child sees an inherited variable only
/// if it is on the short list (`PATH HOME LANG LC_* TZ USER LOGNAME PG*`); every given one.
#[derive(Clone, Default)]
pub struct Environment {
    inherited: BTreeMap<OsString, OsString>,
    given: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// The variables of this process.
    pub fn of_process() -> Self {
        Self { inherited: std::env::vars_os().collect(), given: BTreeMap::new() }
    }

    /// Instead of those of this process.
    pub fn from_pairs<N: Into<OsString>, V: Into<OsString>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        Self { inherited: pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect(), given: BTreeMap::new() }
    }

    /// Gives a variable to every child.
    pub fn give(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.given.insert(name.into(), value.into());
    }

    /// Lets children see an inherited variable that is not on the short list (`DOCKER_HOST`, say); nothing if it is not set.
    pub fn pass(&mut self, name: &str) {
        if let Some(value) = self.inherited.get(OsStr::new(name)) {
            self.given.insert(name.into(), value.clone());
        }
    }

    /// Passes what a command prefix (`docker exec`, `ssh`) needs to find its way.
    pub(super) fn pass_for_prefix(&mut self) {
        FOR_PREFIX.iter().for_each(|name| self.pass(name));
    }

    /// Keeps a variable from every child.
    pub(super) fn withhold(&mut self, name: &str) {
        self.inherited.remove(OsStr::new(name));
        self.given.remove(OsStr::new(name));
    }

    /// The value of a variable, given before inherited; `None` also when it is not UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        let name = OsStr::new(name);
        self.given.get(name).or_else(|| self.inherited.get(name)).and_then(|value| value.to_str())
    }

    /// What a child gets.
    pub(super) fn for_child(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        let passed = |name: &OsStr| {
            let name = name.to_string_lossy();
            PASSED.contains(&&*name) || name.starts_with("LC_") || name.starts_with("PG")
        };
        let inherited = self.inherited.iter().filter(move |(name, _)| passed(name) && !self.given.contains_key(*name));
        inherited.chain(&self.given).map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }
}

impl std::fmt::Debug for Environment {
    /// Names only: values may be passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.for_child().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_sees_the_short_list_and_what_was_given() {
        let pairs = [("PATH", "/bin"), ("ESKER_PASSWORD", "s3cret"), ("LC_ALL", "C"), ("PGHOST", "db"), ("DOCKER_HOST", "x")];
        let mut environment = Environment::from_pairs(pairs);
        environment.pass("DOCKER_HOST");
        environment.pass("NOT_SET");
        environment.give("LC_ALL", "de");
        let seen: Vec<_> = environment.for_child().map(|(name, value)| (name.to_str().unwrap(), value.to_str().unwrap())).collect();
        assert_eq!(seen, [("PATH", "/bin"), ("PGHOST", "db"), ("DOCKER_HOST", "x"), ("LC_ALL", "de")].map(|pair| pair).to_vec());
        assert!(!format!("{environment:?}").contains("s3cret"));
    }
}
