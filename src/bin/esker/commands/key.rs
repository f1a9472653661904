//! `esker key`: who may open the repository, and with what.

use std::path::Path;

use anyhow::Result;
use esker::format::keyslot::{Kdf, Level};
use esker::repository::{KeyslotInfo, NewSlot};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Context, init::cost, passphrase};
use crate::args::{Key, KeyAction, NewPassword};
use crate::error::Usage;
use crate::exit_code::ExitCode;
use crate::secret::{self, SecretSource, write_key_file};
use crate::terminal::escape::{escape, escape_lines};
use crate::terminal::words;

/// Digits of an id that are shown and may be typed.
const ID_DIGITS: usize = 12;

/// Does one of them.
pub fn run(options: &Key, context: &mut Context) -> Result<ExitCode> {
    match &options.action {
        KeyAction::Add { new, writer, label } => {
            let repository = context.open()?;
            let password = passphrase(&new_password(new, context)?);
            let slot = match writer {
                true => NewSlot::writer_password(label, &password, cost(new.kdf)),
                false => NewSlot::password(label, &password, cost(new.kdf)),
            };
            told("added", &repository.add_keyslot(&slot)?.to_hex(), context)?;
        }
        KeyAction::List => list(context)?,
        KeyAction::Remove { id } => {
            let repository = context.open()?;
            told("removed", &repository.remove_keyslot(id)?.to_hex(), context)?;
        }
        KeyAction::Passwd { new } => {
            let repository = context.open()?;
            let password = passphrase(&new_password(new, context)?);
            told("changed", &repository.change_password(&password, cost(new.kdf))?.to_hex(), context)?;
        }
        KeyAction::Export { writer: _, owner, output } => export(*owner, output.as_deref(), context)?,
    }
    Ok(ExitCode::Done)
}

fn told(what: &str, id: &str, context: &mut Context) -> Result<()> {
    if context.out.json {
        return context.out.json(&json!({ "message_type": what, "id": id }));
    }
    context.out.remark(&format!("{what} keyslot {}", short(id)))
}

fn new_password(new: &NewPassword, context: &Context) -> Result<Zeroizing<String>> {
    let source = match (&new.new_password_file, &new.new_password_command) {
        (Some(path), _) => SecretSource::PasswordFile(path.clone()),
        (None, Some(line)) => SecretSource::PasswordCommand(esker::source::command::split(line).map_err(Usage::new)?),
        (None, None) => SecretSource::Prompt,
    };
    secret::load_new(&source, "new password", &|text| context.progress.warn(text))
}

fn list(context: &mut Context) -> Result<()> {
    let repository = context.open()?;
    let slots = repository.keyslots()?;
    if context.out.json {
        return context.out.json(&slots.iter().map(as_json).collect::<Vec<_>>());
    }
    let rows = slots.iter().map(|slot| {
        let state = match (&slot.damaged, slot.current) {
            (Some(damaged), _) => escape_lines(damaged),
            (None, true) => "in use now".to_owned(),
            (None, false) => String::new(),
        };
        vec![short(&slot.id.to_hex()), opened_by(slot).to_owned(), gives(slot).to_owned(), state]
    });
    let rows = rows.collect();
    context.out.line(&words::table(&["ID", "Opened by", "Gives", ""], &[], rows))
}

fn opened_by(slot: &KeyslotInfo) -> &'static str {
    match slot.kdf {
        Kdf::Recovery => "recovery key",
        Kdf::Argon2id(_) => "password",
    }
}

fn gives(slot: &KeyslotInfo) -> &'static str {
    match slot.level {
        Level::Owner => "owner key",
        Level::Writer => "writer key",
    }
}

fn as_json(slot: &KeyslotInfo) -> Value {
    let memory = match slot.kdf {
        Kdf::Argon2id(cost) => Value::from(u64::from(cost.memory_kib) << 10),
        Kdf::Recovery => Value::Null,
    };
    json!({
        "id": slot.id.to_hex(),
        "opened_by": opened_by(slot),
        "gives": gives(slot),
        "argon2id_bytes": memory,
        "current": slot.current,
        "damaged": slot.damaged,
    })
}

fn short(id: &str) -> String {
    id.chars().take(ID_DIGITS).collect()
}

fn export(owner: bool, output: Option<&Path>, context: &mut Context) -> Result<()> {
    let repository = context.open()?;
    let line = repository.export_key(if owner { Level::Owner } else { Level::Writer })?;
    match output {
        Some(path) => {
            write_key_file(path, &line)?;
            let shown = escape(path.as_os_str().as_encoded_bytes());
            let means =
                if owner { "it opens everything; keep it away from the hosts" } else { "it takes snapshots and reads none" };
            context.out.remark(&format!("wrote {shown} (mode 0600): {means}"))
        }
        None => context.out.line(&line),
    }
}
