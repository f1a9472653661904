//! Making a repository: for `init` and `snapshot --init`, and the parameters that `key` and `guard` share with them.

use std::sync::Arc;

use anyhow::Result;
use esker::crypto::Argon2Cost;
use esker::records::class as store_class;
use esker::repository::probe::Probe;
use esker::repository::{ChunkerParams, InitOptions, Repository, RepositoryError, check_is_free, program_at};
use esker::retention::policy::Period;
use esker::store::location::Location;
use serde_json::json;

use super::class;
use crate::args::Kdf;
use crate::context::{Context, holds_config, passphrase};
use crate::error::Usage;
use crate::secret;
use crate::terminal::escape::escape;

/// Recovery data on a disk, in percent, when nobody says otherwise.
const PARITY_PERCENT: u8 = 5;

/// A guard is a stretch of time, not of the calendar: days and hours.
pub fn guard(text: &Option<String>) -> Result<u64> {
    let Some(text) = text else { return Ok(0) };
    match text.parse() {
        Ok(Period::Calendar { years: 0, months: 0, days, hours }) => Ok(u64::from(days) * 86_400 + u64::from(hours) * 3600),
        _ => Err(Usage::new(format!("--guard {text:?} is not a number of days or hours")).hint("write it as in 14d or 36h").into()),
    }
}

/// Also for `snapshot --init`.
pub fn create(
    kdf: Kdf,
    guard_seconds: u64,
    parity: Option<u8>,
    chunker: Option<ChunkerParams>,
    context: &mut Context,
) -> Result<Arc<Repository>> {
    if let Location::Path(path) = context.location()?
        && path.exists()
        && !path.is_dir()
    {
        let shown = escape(path.as_os_str().as_encoded_bytes());
        return Err(Usage::new(format!("{shown} is a file, and a repository needs a folder"))
            .hint("name a new or an empty folder with -r")
            .into());
    }
    let environment = context.environment()?;
    // Before a password is asked for. A repository of ours is called one, whatever else lies beside it.
    let program = program_at(&*environment.store)?;
    if program.is_none() && holds_config(&*environment.store)? {
        return Err(RepositoryError::AlreadyExists(environment.store.location()).into());
    }
    check_is_free(&*environment.store)?;
    let location = environment.store.location();
    let password = secret::load_new(&context.settings.opening.source, "password for the new repository", &|text| {
        context.progress.warn(text);
    })?;
    let parity_percent = parity.unwrap_or(match context.location()? {
        // Disks lose sectors and say nothing, also those behind ssh.
        Location::Path(_) => PARITY_PERCENT,
        #[cfg(feature = "sftp")]
        Location::Sftp(_) => PARITY_PERCENT,
        // Object stores keep copies of their own; a store in memory is gone with the process.
        Location::Remote(_) | Location::Memory => 0,
    });
    let options = InitOptions { cost: cost(kdf), guard_seconds, parity_percent, chunker, ..InitOptions::default() };
    let created = Repository::init(environment, &passphrase(&password), &options)?;
    let id = created.repository.id();
    if context.out.json {
        context.out.json(&json!({
            "message_type": "initialized",
            "id": id.to_hex(),
            "repository": location,
            "recovery_key": *created.recovery_key,
            "class": store_class::word(created.repository.config().class),
        }))?;
    } else {
        // The key is a result, not a remark: -q must not lose it.
        context.out.remark(&format!("created repository {} at {location}\n", id.short()))?;
        if let Some(sentence) = class::about_class(&created.repository) {
            let reasons = created.probe.as_ref().map(Probe::reasons).unwrap_or_default().join("; ");
            context.out.remark(&format!("{sentence}\n({reasons})\n"))?;
        }
        context.out.line(&format!("recovery key:  {}", *created.recovery_key))?;
        context.out.remark(
            "\nIt opens the repository if the password is lost. It is not shown again: print it and keep it in another place.\n\
             A host that should write but not read needs a writer key, and must not have the owner key:\n  \
             esker key export --output writer.key",
        )?;
    }
    context.out.flush()?;
    Ok(Arc::new(created.repository))
}

/// argon2id parameters.
pub fn cost(kdf: Kdf) -> Argon2Cost {
    match kdf {
        Kdf::Default => Argon2Cost::DEFAULT,
        Kdf::Low => Argon2Cost::LOW,
    }
}
