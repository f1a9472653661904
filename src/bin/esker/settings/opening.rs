//! Which of the secrets that were given opens the repository.

use std::ffi::OsStr;
use std::path::PathBuf;

use anyhow::Result;
use esker::source::command;
use zeroize::Zeroizing;

use super::file::Section;
use super::{Environment, given};
use crate::args::Global;
use crate::error::Usage;
use crate::secret::{CREDENTIAL_KEY, CREDENTIAL_PASSWORD, SecretSource};

/// What opens the repository, and where it was found.
pub struct Opening {
    /// Where the secret is to be had.
    pub source: SecretSource,
    /// In words: `ESKER_PASSWORD in the environment`.
    pub from: String,
    /// The environment answered before this one of the config file or of systemd.
    pub instead_of: Option<String>,
}

/// A secret that was given: what it is called in a list of too many, where it is, what it is.
struct Given {
    name: &'static str,
    from: String,
    source: SecretSource,
}

/// Flags and environment before config and systemd; two of one rank cannot be meant.
pub(super) fn opening(global: &Global, environment: &Environment, section: &mut Section, file: &str) -> Result<Opening> {
    let mut near = near(global, environment)?;
    let mut far = far(environment, section, file)?;
    for given in [&near, &far] {
        if given.len() > 1 {
            let names: Vec<_> = given.iter().map(|given| given.name).collect();
            return Err(Usage::new(format!("more than one secret is given: {}", names.join(" and ")))
                .hint(
                    "check the flags and the variables ESKER_PASSWORD, ESKER_PASSWORD_FILE, ESKER_PASSWORD_COMMAND, ESKER_KEY_FILE",
                )
                .into());
        }
    }
    Ok(match (near.pop(), far.pop()) {
        (Some(near), far) => {
            let by_environment = near.from.ends_with(IN_ENVIRONMENT);
            Opening { source: near.source, from: near.from, instead_of: far.filter(|_| by_environment).map(|far| far.from) }
        }
        (None, Some(far)) => Opening { source: far.source, from: far.from, instead_of: None },
        (None, None) => Opening { source: SecretSource::Prompt, from: "what was typed at the prompt".to_owned(), instead_of: None },
    })
}

const IN_ENVIRONMENT: &str = " in the environment";

/// On the command line, or in the environment.
fn near(global: &Global, environment: &Environment) -> Result<Vec<Given>> {
    let mut near = Vec::new();
    let mut add = |name: &'static str, variable: &str, value: &OsStr, source: SecretSource| {
        let from = match environment.variables.iter().any(|(set, its)| *set == variable && its == value) {
            true => format!("{variable}{IN_ENVIRONMENT}"),
            false => name.to_owned(),
        };
        near.push(Given { name, from, source });
    };
    if let Some(path) = given(&global.password_file) {
        add("--password-file", "ESKER_PASSWORD_FILE", path.as_os_str(), SecretSource::PasswordFile(path.clone()));
    }
    if let Some(line) = global.password_command.as_ref().filter(|line| !line.is_empty()) {
        let words = command::split(line).map_err(|error| Usage::new(format!("--password-command: {error}")))?;
        add("--password-command", "ESKER_PASSWORD_COMMAND", OsStr::new(line), SecretSource::PasswordCommand(words));
    }
    if let Some(path) = given(&global.key_file) {
        add("--key-file", "ESKER_KEY_FILE", path.as_os_str(), SecretSource::KeyFile(path.clone()));
    }
    if let Some(password) = &environment.password {
        let text = password.to_str().ok_or_else(|| Usage::new("ESKER_PASSWORD is not UTF-8 text"))?;
        let source = SecretSource::PasswordVariable(Zeroizing::new(text.to_owned()));
        near.push(Given { name: "ESKER_PASSWORD", from: format!("ESKER_PASSWORD{IN_ENVIRONMENT}"), source });
    }
    Ok(near)
}

/// In the config file, or of systemd.
fn far(environment: &Environment, section: &mut Section, file: &str) -> Result<Vec<Given>> {
    let mut far = Vec::new();
    let mut add = |name: &'static str, key: &str, source: SecretSource| {
        far.push(Given { name, from: format!("{key} in the config file{file}"), source });
    };
    if let Some(path) = section.password_file.take() {
        add("password-file in the config file", "password-file", SecretSource::PasswordFile(path));
    }
    if let Some(words) = section.password_command.take() {
        add("password-command in the config file", "password-command", SecretSource::PasswordCommand(words.split()?));
    }
    if let Some(path) = section.key_file.take() {
        add("key-file in the config file", "key-file", SecretSource::KeyFile(path));
    }
    if let Some(folder) = &environment.credentials {
        let mut there = |file, name: &'static str, source: fn(PathBuf) -> SecretSource| {
            let path = folder.join(file);
            if path.exists() {
                far.push(Given { name, from: name.to_owned(), source: source(path) });
            }
        };
        there(CREDENTIAL_PASSWORD, "systemd's esker-password", SecretSource::PasswordFile);
        there(CREDENTIAL_KEY, "systemd's esker-key", SecretSource::KeyFile);
    }
    Ok(far)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::file::parsed;

    fn nothing() -> Environment {
        Environment { password: None, credentials: None, variables: Vec::new() }
    }

    fn secret(global: &Global, environment: &Environment, section: &mut Section) -> Result<SecretSource> {
        opening(global, environment, section, "").map(|opening| opening.source)
    }

    fn with(text: &str, profile: Option<&str>) -> Result<Section, String> {
        parsed(text)?.choose(profile)
    }

    #[test]
    fn two_secrets_of_one_rank_are_refused_and_a_near_one_wins_over_a_far_one() {
        let global = Global { key_file: Some("k".into()), ..Global::default() };
        let environment = Environment { password: Some("p".into()), ..nothing() };
        let refused = secret(&global, &environment, &mut Section::default()).err().unwrap().to_string();
        assert!(refused.contains("--key-file and ESKER_PASSWORD"), "{refused}");

        let mut section = with("password-file = '/p'", None).unwrap();
        assert!(secret(&global, &nothing(), &mut section).unwrap() == SecretSource::KeyFile("k".into()));
        let mut section = with("password-file = '/p'", None).unwrap();
        assert!(secret(&Global::default(), &nothing(), &mut section).unwrap() == SecretSource::PasswordFile("/p".into()));
        let mut section = with("password-file = '/p'\nkey-file = '/k'", None).unwrap();
        assert!(secret(&Global::default(), &nothing(), &mut section).is_err());
        assert!(secret(&Global::default(), &nothing(), &mut Section::default()).unwrap() == SecretSource::Prompt);
    }

    #[test]
    fn a_systemd_credential_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let environment = Environment { credentials: Some(folder.path().to_owned()), ..nothing() };
        assert!(secret(&Global::default(), &environment, &mut Section::default()).unwrap() == SecretSource::Prompt);
        let path = folder.path().join(CREDENTIAL_PASSWORD);
        std::fs::write(&path, "p").unwrap();
        assert!(secret(&Global::default(), &environment, &mut Section::default()).unwrap() == SecretSource::PasswordFile(path));
    }

    #[test]
    fn where_a_secret_comes_from_is_known_and_what_the_environment_hides() {
        let global = Global { password_file: Some("/p".into()), ..Global::default() };
        let config = || with("key-file = '/k'", None).unwrap();
        let by_flag = opening(&global, &nothing(), &mut config(), " a.toml").unwrap();
        assert_eq!((by_flag.from.as_str(), by_flag.instead_of), ("--password-file", None));
        let environment = Environment { variables: vec![("ESKER_PASSWORD_FILE", "/p".into())], ..nothing() };
        let by_variable = opening(&global, &environment, &mut config(), " a.toml").unwrap();
        assert_eq!(by_variable.from, "ESKER_PASSWORD_FILE in the environment");
        assert_eq!(by_variable.instead_of.as_deref(), Some("key-file in the config file a.toml"));
        let by_config = opening(&Global::default(), &nothing(), &mut config(), " a.toml").unwrap();
        assert_eq!(by_config.from, "key-file in the config file a.toml");
    }
}
