//! What a child process may see of our environment: a tool little, a command of the user's own all but secrets.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::process::Stdio;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, Mode, fchmod, memfd_create};

/// Variables that every child gets, besides those that begin with [`PLAIN_BEGIN`]: none of them is a secret.
const PLAIN: [&str; 7] = ["PATH", "HOME", "LANG", "TZ", "USER", "LOGNAME", "TMPDIR"];
const PLAIN_BEGIN: [&str; 1] = ["LC_"];

/// What the tools get too that esker chooses itself (`pg_dump`): how they reach their server.
const TOOLS_BEGIN: [&str; 2] = ["PG", "KRB5"];

/// What a hook gets too: its shell, the user's bus, and the run of systemd that it belongs to.
const FOR_HOOK: [&str; 3] = ["SHELL", "DBUS_SESSION_BUS_ADDRESS", "INVOCATION_ID"];

/// Credentials that begin like a variable of [`FOR_PREFIX_BEGIN`].
const SECRET_FOR_PREFIX: [&str; 1] = ["DOCKER_AUTH_CONFIG"];

/// Variables that lead docker, podman, kubectl or ssh to where they should run something, and what they begin with.
const FOR_PREFIX: [&str; 4] = ["XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "KUBECONFIG", "SSH_AUTH_SOCK"];
const FOR_PREFIX_BEGIN: [&str; 4] = ["DOCKER_", "COMPOSE_", "CONTAINER_", "CONTAINERS_"];

/// What a command of the user's own does not get unless it is named: esker's settings and secrets, and the credentials of stores.
const WITHHELD: [&str; 4] = ["WEBDAV_USERNAME", "WEBDAV_PASSWORD", "CREDENTIALS_DIRECTORY", "GOOGLE_APPLICATION_CREDENTIALS"];
const WITHHELD_BEGIN: [&str; 4] = ["ESKER_", "AWS_", "AZURE_STORAGE_", "B2_"];

/// Where a child finds the file that it got as its standard input. Opening this path starts at the file's beginning each time.
const SECRET_FILE: &str = "/proc/self/fd/0";

/// How much a child sees of what this process inherited.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Sight {
    /// The short list: for tools that esker chooses.
    #[default]
    Tools,
    /// All but secrets: for a command of the user's own.
    AllButSecrets,
}

impl Sight {
    fn shows(self, name: &OsStr) -> bool {
        let name = name.to_string_lossy();
        match self {
            Self::Tools => is_plain(&name) || is_among(&name, &[], &TOOLS_BEGIN),
            Self::AllButSecrets => !is_among(&name, &WITHHELD, &WITHHELD_BEGIN),
        }
    }
}

fn is_plain(name: &str) -> bool {
    is_among(name, &PLAIN, &PLAIN_BEGIN)
}

fn is_among(name: &str, names: &[&str], beginnings: &[&str]) -> bool {
    names.contains(&name) || beginnings.iter().any(|beginning| name.starts_with(beginning))
}

/// Environment variables: those this process has, and those the user gave for children. A tool that esker chooses (`pg_dump`)
/// sees an inherited variable only if it is on the short list (`PATH HOME LANG LC_* TZ USER LOGNAME TMPDIR PG* KRB5*`). A command
/// of the user's own sees all but esker's own variables and the credentials of stores. Every child sees what was given.
#[derive(Clone, Default)]
pub struct Environment {
    inherited: BTreeMap<OsString, OsString>,
    given: BTreeMap<OsString, OsString>,
    sight: Sight,
    /// What a child gets as its standard input.
    input: Option<Arc<File>>,
}

impl Environment {
    /// The variables of this process.
    pub fn of_process() -> Self {
        Self { inherited: std::env::vars_os().collect(), ..Self::default() }
    }

    /// Instead of those of this process.
    pub fn from_pairs<N: Into<OsString>, V: Into<OsString>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        Self { inherited: pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect(), ..Self::default() }
    }

    /// Gives a variable to every child.
    pub fn give(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.given.insert(name.into(), value.into());
    }

    /// Lets children see an inherited variable that is not on their list. False: it is not set.
    pub fn pass(&mut self, name: &str) -> bool {
        let Some(value) = self.inherited.get(OsStr::new(name)) else { return false };
        self.given.insert(name.into(), value.clone());
        true
    }

    /// Does a hook or the command of a monitor get this variable by itself? It gets the plain ones, and those that lead docker, podman,
    /// kubectl or ssh to their servers.
    pub fn is_for_hook(name: &str) -> bool {
        let is_secret = SECRET_FOR_PREFIX.contains(&name);
        is_plain(name) || FOR_HOOK.contains(&name) || (!is_secret && is_among(name, &FOR_PREFIX, &FOR_PREFIX_BEGIN))
    }

    /// Is this one of the variables that hold a password or key of a repository? No child gets it, whatever is asked for.
    pub fn is_secret(name: &str) -> bool {
        let name = name.strip_prefix("ESKER_").unwrap_or_default();
        let name = name.strip_prefix("FROM_").unwrap_or(name);
        name.starts_with("PASSWORD") || name.starts_with("KEY_FILE")
    }

    /// The variables of this process, for a command of the user's own: all but secrets.
    pub fn of_process_without_secrets() -> Self {
        Self { sight: Sight::AllButSecrets, ..Self::of_process() }
    }

    /// Shows children all but secrets: they are commands of the user's own.
    pub(crate) fn show_all_but_secrets(&mut self) {
        self.sight = Sight::AllButSecrets;
    }

    /// Gives every child a variable that holds the path of a file with this content. The file has no name and lives in memory, and
    /// only the child can open it: as its standard input. So nothing is left of it, even when this process is killed.
    pub(crate) fn give_secret_file(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        if !std::path::Path::new(SECRET_FILE).exists() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "/proc is not mounted"));
        }
        let mut file = File::from(memfd_create("esker", MemfdFlags::CLOEXEC)?);
        // libpq ignores a password file that others may read.
        fchmod(&file, Mode::RUSR | Mode::WUSR)?;
        file.write_all(content)?;
        self.input = Some(Arc::new(file));
        self.give(name, SECRET_FILE);
        Ok(())
    }

    /// The standard input of a child: empty, or the file of [`Environment::give_secret_file`].
    pub(crate) fn stdin_for_child(&self) -> io::Result<Stdio> {
        Ok(match &self.input {
            Some(file) => file.try_clone()?.into(),
            None => Stdio::null(),
        })
    }

    /// Passes what a command prefix (`docker exec`, `ssh`) needs to find its way.
    pub(crate) fn pass_for_prefix(&mut self) {
        for (name, value) in &self.inherited {
            if is_among(&name.to_string_lossy(), &FOR_PREFIX, &FOR_PREFIX_BEGIN) {
                self.given.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
    }

    /// Keeps a variable from every child.
    pub(crate) fn withhold(&mut self, name: &str) {
        self.inherited.remove(OsStr::new(name));
        self.given.remove(OsStr::new(name));
    }

    /// The value of a variable, given before inherited; `None` also when it is not UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        let name = OsStr::new(name);
        self.given.get(name).or_else(|| self.inherited.get(name)).and_then(|value| value.to_str())
    }

    /// What a child gets.
    pub fn for_child(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        let shown = |name: &OsStr| self.sight.shows(name);
        let inherited = self.inherited.iter().filter(move |(name, _)| shown(name) && !self.given.contains_key(*name));
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

    fn names(environment: &Environment) -> Vec<&str> {
        environment.for_child().map(|(name, _)| name.to_str().unwrap()).collect()
    }

    #[test]
    fn a_command_of_the_users_own_sees_what_a_shell_would_but_no_secret() {
        let secrets = [
            "ESKER_PASSWORD",
            "ESKER_PASSWORD_FILE",
            "ESKER_FROM_PASSWORD",
            "ESKER_KEY_FILE",
            "ESKER_REPOSITORY",
            "AWS_SECRET_ACCESS_KEY",
            "AZURE_STORAGE_ACCOUNT_KEY",
            "B2_APPLICATION_KEY",
            "WEBDAV_PASSWORD",
            "CREDENTIALS_DIRECTORY",
        ];
        let plain = ["DOCKER_HOST", "EDITOR", "MYSQL_PWD", "PATH", "SSH_AUTH_SOCK"];
        let mut environment = Environment::from_pairs(secrets.iter().chain(&plain).map(|name| (*name, "x")));
        environment.show_all_but_secrets();
        assert_eq!(names(&environment), plain);
        assert!(environment.pass("AWS_SECRET_ACCESS_KEY") && !environment.pass("NOT_SET"));
        assert!(names(&environment).contains(&"AWS_SECRET_ACCESS_KEY"));
    }

    #[test]
    fn a_hook_sees_the_plain_variables_and_the_way_to_docker_but_no_secret() {
        for name in ["PATH", "LC_ALL", "DOCKER_HOST", "SSH_AUTH_SOCK", "INVOCATION_ID", "SHELL"] {
            assert!(Environment::is_for_hook(name), "{name}");
        }
        for name in ["PGPASSWORD", "ESKER_PASSWORD", "AWS_SECRET_ACCESS_KEY", "DOCKER_AUTH_CONFIG", "UNRELATED"] {
            assert!(!Environment::is_for_hook(name), "{name}");
        }
    }

    #[test]
    fn secrets_of_repositories_are_known_by_name() {
        for name in
            ["ESKER_PASSWORD", "ESKER_PASSWORD_COMMAND", "ESKER_FROM_PASSWORD_FILE", "ESKER_KEY_FILE", "ESKER_FROM_KEY_FILE"]
        {
            assert!(Environment::is_secret(name), "{name}");
        }
        for name in ["ESKER_REPOSITORY", "PASSWORD", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY"] {
            assert!(!Environment::is_secret(name), "{name}");
        }
    }

    #[test]
    fn a_tool_behind_a_prefix_finds_its_way() {
        let pairs = ["DOCKER_HOST", "DOCKER_CUSTOM", "SSH_AUTH_SOCK", "KRB5CCNAME", "EDITOR"].map(|name| (name, "x"));
        let mut environment = Environment::from_pairs(pairs);
        assert_eq!(names(&environment), ["KRB5CCNAME"]);
        environment.pass_for_prefix();
        assert_eq!(names(&environment), ["KRB5CCNAME", "DOCKER_CUSTOM", "DOCKER_HOST", "SSH_AUTH_SOCK"]);
    }
}
