//! Which of the secrets that were given opens the repository.

use anyhow::Result;
use esker::source::command;
use zeroize::Zeroizing;

use super::file::Section;
use super::{Environment, given};
use crate::args::Global;
use crate::error::Usage;
use crate::secret::{CREDENTIAL_KEY, CREDENTIAL_PASSWORD, SecretSource};

/// Flags and environment before config and systemd; two of one rank cannot be meant.
pub(super) fn secret(global: &Global, environment: &Environment, section: &mut Section) -> Result<SecretSource> {
    let mut near = Vec::new();
    near.extend(given(&global.password_file).map(|path| ("--password-file", SecretSource::PasswordFile(path.clone()))));
    if let Some(line) = global.password_command.as_ref().filter(|line| !line.is_empty()) {
        let words = command::split(line).map_err(|error| Usage::new(format!("--password-command: {error}")))?;
        near.push(("--password-command", SecretSource::PasswordCommand(words)));
    }
    near.extend(given(&global.key_file).map(|path| ("--key-file", SecretSource::KeyFile(path.clone()))));
    if let Some(password) = &environment.password {
        let text = password.to_str().ok_or_else(|| Usage::new("ESKER_PASSWORD is not UTF-8 text"))?;
        near.push(("ESKER_PASSWORD", SecretSource::PasswordVariable(Zeroizing::new(text.to_owned()))));
    }

    let mut far = Vec::new();
    far.extend(section.password_file.take().map(|path| ("password-file in the config file", SecretSource::PasswordFile(path))));
    if let Some(words) = section.password_command.take() {
        far.push(("password-command in the config file", SecretSource::PasswordCommand(words.split()?)));
    }
    far.extend(section.key_file.take().map(|path| ("key-file in the config file", SecretSource::KeyFile(path))));
    if let Some(folder) = &environment.credentials {
        let there = |name| Some(folder.join(name)).filter(|path| path.exists());
        far.extend(there(CREDENTIAL_PASSWORD).map(|path| ("systemd's esker-password", SecretSource::PasswordFile(path))));
        far.extend(there(CREDENTIAL_KEY).map(|path| ("systemd's esker-key", SecretSource::KeyFile(path))));
    }
    for mut given in [near, far] {
        if given.len() > 1 {
            let names: Vec<_> = given.iter().map(|(name, _)| *name).collect();
            return Err(Usage::new(format!("more than one secret is given: {}", names.join(" and ")))
                .hint(
                    "each flag has a variable: look at ESKER_PASSWORD, ESKER_PASSWORD_FILE, ESKER_PASSWORD_COMMAND, ESKER_KEY_FILE",
                )
                .into());
        }
        if let Some((_, source)) = given.pop() {
            return Ok(source);
        }
    }
    Ok(SecretSource::Prompt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::file::parse;

    fn nothing() -> Environment {
        Environment { password: None, credentials: None }
    }

    fn with(text: &str, profile: Option<&str>) -> Result<Section, String> {
        parse(text, profile, std::path::Path::new("/etc/esker/esker.toml"))
    }

    #[test]
    fn two_secrets_of_one_rank_are_refused_and_a_near_one_wins_over_a_far_one() {
        let global = Global { key_file: Some("k".into()), ..Global::default() };
        let environment = Environment { password: Some("p".into()), credentials: None };
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
        let environment = Environment { password: None, credentials: Some(folder.path().to_owned()) };
        assert!(secret(&Global::default(), &environment, &mut Section::default()).unwrap() == SecretSource::Prompt);
        let path = folder.path().join(CREDENTIAL_PASSWORD);
        std::fs::write(&path, "p").unwrap();
        assert!(secret(&Global::default(), &environment, &mut Section::default()).unwrap() == SecretSource::PasswordFile(path));
    }
}
