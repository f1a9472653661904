//! `esker repair`: index files, packs, snapshots.

use std::sync::Arc;

use anyhow::Result;
use esker::format::names;
use esker::id::SnapshotId;
use esker::repair::index::{self, IndexSummary};
use esker::repair::other::{self, OtherSummary};
use esker::repair::packs::{self, Harm, Outcome, PacksOptions, PacksSummary};
use esker::repair::snapshots::{self, Lost, SnapshotsOptions, SnapshotsSummary};
use esker::repository::repository_at;
use esker::store::Store;
use serde_json::{Value, json};

use crate::args::{Repair, RepairAction, RepairPacks, RepairSnapshots};
use crate::context::Context;
use crate::error::Usage;
use crate::exit_code::ExitCode;
use crate::shared::other_repository as from;
use crate::shared::place::{self, put_bytes};
use crate::terminal::escape::{escape, escape_lines};
use crate::terminal::words;

/// Does one of them.
pub fn run(options: &Repair, context: &mut Context) -> Result<ExitCode> {
    match &options.action {
        RepairAction::Index { dry_run } => repair_index(*dry_run, context),
        RepairAction::Packs(options) => repair_packs(options, context),
        RepairAction::Snapshots(options) => repair_snapshots(options, context),
    }
}

fn repair_index(dry_run: bool, context: &mut Context) -> Result<ExitCode> {
    let repository = context.open()?;
    let summary = index::run(&repository, dry_run, &context.monitor(), &context.stop)?;
    context.progress.finish();
    print_index(&summary, dry_run, context)?;
    Ok(match (summary.unreadable.is_empty(), summary.indexed.is_empty()) {
        (false, _) => ExitCode::DamageData,
        (true, false) if dry_run => ExitCode::DamageRepairable,
        _ => ExitCode::Done,
    })
}

fn print_index(summary: &IndexSummary, dry_run: bool, context: &mut Context) -> Result<()> {
    let pack = |id| names::pack_name(id).to_string();
    if context.out.json {
        let named = |(name, detail): (String, &String)| json!({ "object": name, "detail": detail });
        let damaged: Vec<Value> = summary.damaged.iter().map(|(name, detail)| named((name.to_string(), detail))).collect();
        let unreadable: Vec<Value> = summary.unreadable.iter().map(|(id, detail)| named((pack(*id), detail))).collect();
        return context.out.json(&json!({
            "message_type": "summary",
            "dry_run": dry_run,
            "packs": summary.packs,
            "index_files_good": summary.good,
            "index_files_damaged": damaged,
            "packs_indexed": summary.indexed.iter().map(|id| pack(*id)).collect::<Vec<_>>(),
            "packs_unreadable": unreadable,
        }));
    }
    for (name, detail) in &summary.damaged {
        context.out.line(&format!("damaged and ignored: {name}: {}", escape_lines(detail)))?;
    }
    for (id, detail) in &summary.unreadable {
        context.out.line(&format!("cannot be indexed: {}: {}", pack(*id), escape_lines(detail)))?;
    }
    let verb = if dry_run { "would be indexed" } else { "indexed" };
    context.out.remark(&format!(
        "{} and {} looked at; {} {verb} from their own directories",
        words::counted(summary.good + summary.damaged.len() as u64, "index file", "index files"),
        words::counted(summary.packs, "pack", "packs"),
        words::counted(summary.indexed.len() as u64, "pack", "packs"),
    ))
}

fn repair_packs(options: &RepairPacks, context: &mut Context) -> Result<ExitCode> {
    let mut places: Vec<Arc<dyn Store>> = Vec::new();
    for place in &options.from {
        places.push(from::store(place.as_ref(), &options.from_options, context)?);
    }
    let repository = context.open()?;
    let (mut mirrors, mut others) = (Vec::new(), Vec::new());
    for store in places {
        match repository_at(&*store)? {
            Some(id) if id != repository.id() => others.push(from::open_at(store, &options.secret, context)?),
            // Without keyslots it may be a folder of packs.
            _ => mirrors.push(store),
        }
    }
    let wanted = options.packs.iter().map(|pack| prefix(pack)).collect::<Result<_>>()?;
    let packs_options = PacksOptions { packs: wanted, from: mirrors, dry_run: options.dry_run };
    let summary = packs::run(&repository, &packs_options, &*context.monitor(), &context.stop)?;
    let found = match others.is_empty() || summary.unmended() == 0 {
        true => None,
        false => {
            let lost: Vec<_> =
                summary.packs.iter().filter(|pack| pack.outcome == Outcome::Unmended).map(|pack| pack.pack).collect();
            Some(other::run(&repository, &others, &lost, options.dry_run, &context.monitor(), &context.stop)?)
        }
    };
    context.progress.finish();
    print_packs(&summary, found.as_ref(), options.dry_run, context)?;
    let whole = found.is_some_and(|found| found.is_whole());
    Ok(match (summary.unmended(), summary.packs.len() as u64 + summary.parity_mended) {
        (0, 0) => ExitCode::Done,
        (0, _) if options.dry_run => ExitCode::DamageRepairable,
        (0, _) => ExitCode::Done,
        _ if whole && options.dry_run => ExitCode::DamageRepairable,
        _ if whole => ExitCode::Done,
        _ => ExitCode::DamageData,
    })
}

/// The first digits of an id, or a whole name as `verify` shows it.
fn prefix(text: &str) -> Result<String> {
    let digits = text.rsplit('/').next().unwrap_or_default();
    if digits.is_empty() || digits.len() > 64 || !digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(Usage::new(format!(
            "{text:?} is no pack: give the first digits of its id, or its name as `esker verify` shows it"
        ))
        .into());
    }
    Ok(digits.to_owned())
}

fn print_packs(summary: &PacksSummary, found: Option<&OtherSummary>, dry_run: bool, context: &mut Context) -> Result<()> {
    let harm = |harm| match harm {
        Harm::Missing => "missing",
        Harm::Damaged => "damaged",
    };
    if context.out.json {
        for pack in &summary.packs {
            let (outcome, from) = match &pack.outcome {
                Outcome::FromParity => ("parity", None),
                Outcome::FromMirror(place) => ("mirror", Some(place)),
                Outcome::Unmended => ("unmended", None),
            };
            context.out.json(&json!({
                "message_type": "pack",
                "object": names::pack_name(pack.pack).as_str(),
                "harm": harm(pack.harm),
                "mended_from": outcome,
                "mirror": from,
            }))?;
        }
        return context.out.json(&json!({
            "message_type": "summary",
            "dry_run": dry_run,
            "packs_checked": summary.checked,
            "bytes_read": summary.bytes,
            "packs_damaged": summary.packs.len(),
            "packs_unmended": summary.unmended(),
            "parity_mended": summary.parity_mended,
            "packs_listed_damaged": summary.listed_damaged,
            "chunks_lost": found.map(|found| found.lost),
            "chunks_found": found.map(|found| found.found),
            "bytes_found": found.map(|found| found.bytes),
            "trees_lost": found.map(|found| found.trees_lost),
        }));
    }
    for pack in &summary.packs {
        let outcome = match (&pack.outcome, dry_run) {
            (Outcome::FromParity, true) => "its parity object can restore it".to_owned(),
            (Outcome::FromParity, false) => "restored from its parity object".to_owned(),
            (Outcome::FromMirror(place), true) => format!("{} can restore it", escape(place.as_bytes())),
            (Outcome::FromMirror(place), false) => format!("restored from {}", escape(place.as_bytes())),
            (Outcome::Unmended, _) => "its bytes cannot be restored".to_owned(),
        };
        context.out.line(&format!("{}  {}: {outcome}", harm(pack.harm), names::pack_name(pack.pack)))?;
    }
    context.out.remark(&format!(
        "read {} ({}): {} {}",
        words::counted(summary.checked, "pack", "packs"),
        words::size(summary.bytes),
        words::counted(summary.packs.len() as u64, "was wrong", "were wrong"),
        match (summary.packs.len() as u64 - summary.unmended(), dry_run) {
            (mended, true) => format!("of which {} can be restored", words::count(mended)),
            (mended, false) => format!("of which {} restored", words::count(mended)),
        },
    ))?;
    if summary.parity_mended > 0 {
        let verb = if dry_run { "could be made again" } else { "made again" };
        let objects = words::counted(summary.parity_mended, "damaged parity object", "damaged parity objects");
        context.out.remark(&format!("{objects} {verb}"))?;
    }
    if let Some(found) = found {
        let chunks = words::counted(found.found, "chunk", "chunks");
        let verb = if dry_run { "could be stored again" } else { "stored again" };
        context.out.remark(&format!(
            "of {} lost with them {chunks} ({}) {verb} from another repository",
            words::count(found.lost),
            words::size(found.bytes)
        ))?;
        if found.trees_lost > 0 {
            let lost = words::counted(found.trees_lost, "folder or list", "folders and lists");
            context.out.remark(&format!("{lost} can come from there by `esker copy --again`"))?;
        }
    }
    if summary.unmended() > 0 && found.is_none_or(|found| !found.is_whole()) {
        context.out.remark(
            "run `esker snapshot` where the data still is, and it stores the data again; then run `esker verify`. For data that no \
             source has any more, run `esker repair snapshots`",
        )?;
    }
    Ok(())
}

fn repair_snapshots(options: &RepairSnapshots, context: &mut Context) -> Result<ExitCode> {
    let repository = context.open()?;
    let wanted = place::only(&repository, &options.snapshots, &options.filter, context)?;
    let snapshots_options = SnapshotsOptions { snapshots: wanted, read_data: options.read_data, dry_run: options.dry_run };
    let mut lost = Vec::new();
    let mut failed = None;
    let out = &mut context.out;
    let monitor = Arc::clone(&context.progress) as Arc<dyn esker::monitor::Monitor>;
    let summary = snapshots::run(&repository, &snapshots_options, &monitor, &context.stop, &mut |id, entry: &Lost| {
        // JSON is a line at a time; a person reads it when the bar is gone.
        if out.json {
            failed = failed.take().or(out.json(&lost_json(id, entry)).err());
        } else {
            lost.push((id, entry.clone()));
        }
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    context.progress.finish();
    for (id, entry) in &lost {
        context.out.line(&lost_line(*id, entry))?;
    }
    print_snapshots(&summary, options.dry_run, context)?;
    let kept = |repaired: &snapshots::RepairedSnapshot| repaired.new.is_some() || repaired.before.is_some();
    Ok(match summary.unreadable.is_empty() && summary.damaged.iter().all(kept) {
        true => ExitCode::Done,
        false => ExitCode::DamageData,
    })
}

fn lost_json(id: SnapshotId, lost: &Lost) -> Value {
    let mut object = serde_json::Map::new();
    object.insert("message_type".to_owned(), "lost".into());
    object.insert("snapshot".to_owned(), id.to_hex().into());
    object.insert("what".to_owned(), lost.what().into());
    put_bytes(&mut object, "path", lost.path());
    if let Lost::Attribute(_, name) = lost {
        put_bytes(&mut object, "attribute", name);
    }
    Value::Object(object)
}

fn lost_line(id: SnapshotId, lost: &Lost) -> String {
    let path = if lost.path().is_empty() { "/".to_owned() } else { escape(lost.path()) };
    let what = match lost {
        Lost::Entry(_) => String::new(),
        Lost::Folder(_) => " (the whole folder)".to_owned(),
        Lost::PartOfFolder(_) => " (some of its entries; it is unknown which)".to_owned(),
        Lost::Attribute(_, name) => format!(" (its attribute {})", escape(name)),
    };
    format!("lost  {}:{path}{what}", id.short())
}

fn print_snapshots(summary: &SnapshotsSummary, dry_run: bool, context: &mut Context) -> Result<()> {
    if context.out.json {
        for repaired in &summary.damaged {
            context.out.json(&json!({
                "message_type": "snapshot",
                "id": repaired.original.to_hex(),
                "lost": repaired.lost,
                "new_id": repaired.new.map(SnapshotId::to_hex),
                "repaired_before": repaired.before.map(SnapshotId::to_hex),
                "other_generation": repaired.other_generation,
            }))?;
        }
        let unreadable: Vec<Value> =
            summary.unreadable.iter().map(|(id, detail)| json!({ "id": id.to_hex(), "detail": detail })).collect();
        return context.out.json(&json!({
            "message_type": "summary",
            "dry_run": dry_run,
            "snapshots_checked": summary.checked,
            "snapshots_damaged": summary.damaged.len(),
            "snapshots_unreadable": unreadable,
        }));
    }
    for repaired in &summary.damaged {
        let what = match (repaired.new, repaired.before, repaired.other_generation) {
            (Some(new), ..) => format!("snapshot {} holds the rest; the original stays until you forget it", new.short()),
            (None, Some(before), _) => format!("snapshot {} already holds the rest", before.short()),
            (None, None, Some(generation)) => {
                format!(
                    "it is of generation {generation}, before a `key rotate`, so esker makes no snapshot of the rest; `restore` restores the rest"
                )
            }
            (None, None, None) if dry_run => "esker would make a snapshot of the rest".to_owned(),
            (None, None, None) => "nothing is left to keep".to_owned(),
        };
        let lost = words::counted(repaired.lost, "thing is lost", "things are lost");
        context.out.line(&format!("{}: {lost}; {what}", repaired.original.short()))?;
    }
    for (id, detail) in &summary.unreadable {
        context.out.line(&format!("{}: {}; `esker recover` finds its folders", id.short(), escape_lines(detail)))?;
    }
    context.out.remark(&format!(
        "{} looked at, {} lost something",
        words::counted(summary.checked, "snapshot", "snapshots"),
        words::count(summary.damaged.len() as u64)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_is_named_by_digits_or_as_verify_shows_it() {
        assert_eq!(prefix("0a1b").unwrap(), "0a1b");
        assert_eq!(prefix("packs/0a/0a1b").unwrap(), "0a1b");
        for wrong in ["", "packs/", "0A", "xyz", &"0".repeat(65)] {
            assert!(prefix(wrong).is_err(), "{wrong}");
        }
    }
}
