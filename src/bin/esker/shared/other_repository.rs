//! The other repository of a command that works on two: where it is, and what opens it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use esker::repository::{self, Repository, RepositoryError};
use esker::source::command;
use esker::store::Store;
use esker::store::location::{self, Location};
use zeroize::Zeroizing;

use crate::args::{From, FromSecret};
use crate::context::{Context, holds_config, passphrase};
use crate::error::{NoSecret, Usage};
use crate::secret::{self, Secret, SecretSource};

/// Opens the other repository.
pub fn open(from: &From, context: &mut Context) -> Result<Arc<Repository>> {
    let Some(place) = from.repository.as_deref().filter(|place| !place.is_empty()) else {
        return Err(Usage::new("no other repository was named").hint("give --from-repo URL or set ESKER_FROM_REPOSITORY").into());
    };
    open_at(store(place, &from.options, context)?, &from.secret, context)
}

/// The same, when its place is known already.
pub fn open_at(store: Arc<dyn Store>, from: &FromSecret, context: &mut Context) -> Result<Arc<Repository>> {
    if !holds_config(&*store)? {
        return Err(RepositoryError::NoRepository(store.location()).into());
    }
    let (source, place) = secret_source(from)?;
    let secret = match secret::load_asking(&source, "password or recovery key of the other repository: ", &|text| {
        context.progress.warn(text);
    })? {
        Secret::Password(password) => repository::Secret::Passphrase(passphrase(&password)),
        Secret::Key(line) => repository::Secret::KeyLine(line),
    };
    let environment = repository::Environment { store, ..context.environment()? };
    match Repository::open(environment, &secret, None) {
        Ok(repository) => Ok(Arc::new(repository)),
        Err(RepositoryError::Keyslot(why)) => Err(NoSecret::new(format!("the other repository: {why}")).into()),
        Err(error @ (RepositoryError::WrongSecret { .. } | RepositoryError::ForeignKey { .. })) => {
            Err(NoSecret::new(format!("the other repository: {error} (it was {place})"))
                .hint("check --from-repo and its secret; each flag has a variable that begins with ESKER_FROM_")
                .into())
        }
        Err(error) => Err(error.into()),
    }
}

/// The store a person named beside that of the repository. What is said about stores counts for it too, until something is said about
/// this one alone: two servers seldom share an endpoint, and two kinds share no option at all.
pub fn store(place: &OsStr, options: &[String], context: &Context) -> Result<Arc<dyn Store>> {
    let location = match place.to_str() {
        Some(text) => location::parse(text).map_err(Usage::new)?,
        None if place.as_bytes().contains(&b':') => return Err(Usage::new("the location is not UTF-8 text").into()),
        None => Location::Path(PathBuf::from(place)),
    };
    let mut named = context.settings.store.clone();
    if !options.is_empty() {
        named.forget_names();
        for option in options {
            named.add(option).map_err(Usage::new)?;
        }
    }
    context.open_store(&location, &named)
}

fn variable() -> Option<std::ffi::OsString> {
    std::env::var_os("ESKER_FROM_PASSWORD").filter(|value| !value.is_empty())
}

/// What opens it, and where that was found.
fn secret_source(from: &FromSecret) -> Result<(SecretSource, &'static str)> {
    let given = |path: &Option<PathBuf>| path.clone().filter(|path| !path.as_os_str().is_empty());
    let mut sources = Vec::new();
    sources.extend(given(&from.password_file).map(|path| ("--from-password-file", SecretSource::PasswordFile(path))));
    if let Some(line) = from.password_command.as_ref().filter(|line| !line.is_empty()) {
        let words = command::split(line).map_err(|error| Usage::new(format!("--from-password-command: {error}")))?;
        sources.push(("--from-password-command", SecretSource::PasswordCommand(words)));
    }
    sources.extend(given(&from.key_file).map(|path| ("--from-key-file", SecretSource::KeyFile(path))));
    if let Some(password) = variable() {
        let text = password.to_str().ok_or_else(|| Usage::new("ESKER_FROM_PASSWORD is not UTF-8 text"))?;
        sources.push(("ESKER_FROM_PASSWORD", SecretSource::PasswordVariable(Zeroizing::new(text.to_owned()))));
    }
    if sources.len() > 1 {
        let names: Vec<_> = sources.iter().map(|(name, _)| *name).collect();
        return Err(Usage::new(format!("more than one secret of the other repository is given: {}", names.join(" and ")))
            .hint("check the flags, and the variables that begin with ESKER_FROM_")
            .into());
    }
    Ok(match sources.pop() {
        Some((name, source)) => (source, name),
        None => (SecretSource::Prompt, "what was typed at the prompt"),
    })
}
