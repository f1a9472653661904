//! `esker key`: who may open the repository, and with what.

use std::path::Path;

use anyhow::Result;
use esker::format::keyslot::{Kdf, Level};
use esker::id::SnapshotId;
use esker::records::keyslots::{KeyslotInfo, NewSlot};
use esker::rotate::{self, Rotation};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::args::{Key, KeyAction, NewPassword};
use crate::context::{Context, passphrase};
use crate::error::Usage;
use crate::exit_code::ExitCode;
use crate::secret::{self, SecretSource, write_key_file};
use crate::shared::creation::cost;
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
        KeyAction::Rotate { dry_run } => rotate(*dry_run, context)?,
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

fn rotate(dry_run: bool, context: &mut Context) -> Result<()> {
    let repository = context.open()?;
    let done = rotate::rotate(&repository, dry_run)?;
    if context.out.json {
        let ids = |ids: &[SnapshotId]| ids.iter().map(|id| id.to_hex()).collect::<Vec<_>>();
        return context.out.json(&json!({
            "message_type": "summary",
            "dry_run": dry_run,
            "generation_before": done.before,
            "generation": done.generation,
            "snapshots_listed": ids(&done.listed),
            "snapshots_quarantined": ids(&done.quarantined),
            "keyslots_removed": done.keyslots.iter().map(|id| id.to_hex()).collect::<Vec<_>>(),
            "sessions_under_way": done.under_way.iter().map(|id| id.to_hex()).collect::<Vec<_>>(),
        }));
    }
    for line in rotated(&done, dry_run) {
        context.out.remark(&line)?;
    }
    Ok(())
}

fn rotated(done: &Rotation, dry_run: bool) -> Vec<String> {
    let would = |would: &str, did: &str| if dry_run { would.to_owned() } else { did.to_owned() };
    let mut lines = Vec::new();
    lines.push(match done.before == done.generation {
        true => would("would finish an interrupted rotation", "finished an interrupted rotation"),
        false => format!(
            "{} the generation from {} to {}: {} on to count",
            would("would raise", "raised"),
            done.before,
            done.generation,
            match done.listed.len() {
                1 => "1 snapshot goes".to_owned(),
                count => format!("{} snapshots go", words::count(count as u64)),
            },
        ),
    });
    if !done.quarantined.is_empty() {
        let which = done.quarantined.iter().map(|id| id.short()).collect::<Vec<_>>().join(", ");
        lines.push(format!("quarantined before, and for good now: {which}"));
    }
    if !done.keyslots.is_empty() {
        let slots = words::counted(done.keyslots.len() as u64, "keyslot", "keyslots");
        lines.push(format!("{} {slots} with a writer key", would("would remove", "removed")));
    }
    if !done.under_way.is_empty() {
        let runs = words::counted(done.under_way.len() as u64, "run", "runs");
        lines
            .push(format!("{runs} may be active or dead; if one of them still saves a snapshot, it is quarantined: take it again"));
    }
    if dry_run {
        lines.push("dry run: nothing was changed".to_owned());
    } else {
        lines.push("every earlier writer key is revoked; export a new one for each host:".to_owned());
        lines.push("  esker key export --writer --output writer.key".to_owned());
        lines.push("the next snapshot of each host stores everything once more".to_owned());
    }
    lines
}

fn short(id: &str) -> String {
    id.chars().take(ID_DIGITS).collect()
}

fn export(owner: bool, output: Option<&Path>, context: &mut Context) -> Result<()> {
    let repository = context.open()?;
    let line = repository.export_key(if owner { Level::Owner } else { Level::Writer })?;
    let gives = if owner { "owner key" } else { "writer key" };
    match output {
        Some(path) => {
            write_key_file(path, &line)?;
            let shown = escape(path.as_os_str().as_encoded_bytes());
            if context.out.json {
                return context.out.json(&json!({ "message_type": "key_exported", "gives": gives, "path": shown }));
            }
            let means =
                if owner { "it gives full access; do not keep it on the hosts" } else { "it takes snapshots but cannot read any" };
            context.out.remark(&format!("wrote {shown} (mode 0600): {means}"))
        }
        None if context.out.json => {
            context.out.json(&json!({ "message_type": "key_exported", "gives": gives, "key": line.as_str() }))
        }
        None => context.out.line(&line),
    }
}
