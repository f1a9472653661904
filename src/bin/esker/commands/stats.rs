//! `esker stats`: how much is stored, and how much it stands for.

use std::collections::HashSet;
use std::sync::Arc;

use anyhow::Result;
use esker::format::names;
use esker::id::{SessionId, SnapshotId};
use esker::prune::PruneError;
use esker::prune::usage::Usage;
use esker::repository::survey::Survey;
use esker::repository::{Repository, StoredSnapshot};
use serde_json::json;

use crate::args::Stats;
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::shared::{look, place};
use crate::terminal::words;

/// Folders of a repository, and what a person calls what is in them.
const FOLDERS: [(&str, &str); 10] = [
    ("packs", "packs"),
    ("parity", "parity objects"),
    ("index", "index files"),
    ("snapshots", "snapshots"),
    ("sessions", "session records"),
    ("keys", "keyslots"),
    ("config", "configs"),
    ("notes", "notes"),
    ("gc", "gc records"),
    ("forgotten", "forgotten"),
];

/// Objects and bytes by kind, against the bytes that the snapshots stand for.
pub fn run(options: &Stats, context: &mut Context) -> Result<ExitCode> {
    let repository = context.open()?;
    let survey = look::look(&repository, context)?;
    let snapshots = place::chosen_of(&survey, &repository, &options.snapshots, &options.filter, context)?;
    // A revocation has the name of a snapshot and is none. It stays for ever, as a fence against a late commit.
    let revoked: HashSet<SessionId> = survey.revoked.iter().copied().collect();
    let is_choice = !options.snapshots.is_empty() || !options.filter.is_empty();
    let sizes = if is_choice { sizes(&repository, &snapshots, &survey, context)? } else { Sizes::default() };
    let bytes: u64 = snapshots.iter().map(|stored| stored.snapshot.totals.bytes).sum();
    let files: u64 = snapshots.iter().map(|stored| stored.snapshot.totals.files).sum();
    let mut rows = Vec::new();
    for (folder, what) in FOLDERS {
        context.check_stop()?;
        let (mut count, mut size) = (0u64, 0u64);
        let mut fences = (0u64, 0u64);
        repository.list_objects(folder, &mut |entry| {
            let is_fence = names::parse_snapshot(&entry.name).is_some_and(|id| revoked.contains(&id.into()));
            let (count, size) = if is_fence { (&mut fences.0, &mut fences.1) } else { (&mut count, &mut size) };
            *count += 1;
            *size += entry.size;
        })?;
        rows.push((folder, what, count, size));
        if folder == "snapshots" {
            rows.push(("failed_runs", "ended runs without a snapshot", fences.0, fences.1));
        }
    }
    let stored: u64 = rows.iter().map(|row| row.3).sum();
    // Against a choice of snapshots the size of the whole repository says nothing.
    let ratio = (!is_choice && stored > 0).then(|| ratio(bytes, stored));
    if context.out.json {
        let objects: serde_json::Map<String, serde_json::Value> =
            rows.iter().map(|(folder, _, count, size)| ((*folder).to_owned(), json!({ "count": count, "bytes": size }))).collect();
        context.out.json(&json!({
            "message_type": "stats",
            "repository_id": repository.id().to_hex(),
            "snapshots_count": snapshots.len(),
            "total_file_count": files,
            "total_size": bytes,
            "referred_size": sizes.referred,
            "unique_size": sizes.unique,
            "stored_size": stored,
            "ratio": ratio,
            "objects": objects,
        }))?;
        return Ok(ExitCode::Done);
    }
    context.out.line(&format!(
        "{} with {} of {}",
        words::counted(snapshots.len() as u64, "snapshot", "snapshots"),
        words::counted(files, "file", "files"),
        words::size(bytes),
    ))?;
    if let Some(referred) = sizes.referred {
        let whose = if snapshots.len() == 1 { "Its" } else { "Their" };
        context.out.line(&format!("{whose} chunks take {} in the repository", words::size(referred)))?;
    }
    if let Some(unique) = sizes.unique {
        context.out.line(&format!("{} of that is in no other snapshot: `forget` and `prune` free it", words::size(unique)))?;
    }
    if is_choice {
        context.out.line("The whole repository:")?;
    }
    let table = rows
        .iter()
        .filter(|row| row.2 > 0)
        .map(|(_, what, count, size)| vec![(*what).to_owned(), words::count(*count), words::size(*size)])
        .collect();
    context.out.line(&words::table(&["Stored", "Objects", "Size"], &[1, 2], table))?;
    match ratio {
        Some(ratio) if ratio > 1.0 => {
            context.out.line(&format!("{} stored altogether, {ratio:.1} times less", words::size(stored)))?
        }
        _ => context.out.line(&format!("{} stored altogether", words::size(stored)))?,
    }
    Ok(ExitCode::Done)
}

/// Stored bytes of the snapshots that were chosen, as far as they are known.
#[derive(Default)]
struct Sizes {
    /// Of all that they refer to.
    referred: Option<u64>,
    /// Of what no other snapshot refers to.
    unique: Option<u64>,
}

fn sizes(repository: &Arc<Repository>, chosen: &[&StoredSnapshot], survey: &Survey, context: &Context) -> Result<Sizes> {
    let monitor = context.monitor();
    let usage = Usage::new(repository, &*monitor, &context.stop)?;
    let ids: HashSet<SnapshotId> = chosen.iter().map(|stored| stored.id).collect();
    let all = survey.snapshots.iter().map(|surveyed| &surveyed.stored);
    let (chosen, others): (Vec<_>, Vec<_>) = all.partition(|stored| ids.contains(&stored.id));
    let referred = known(usage.stored(&chosen), context)?;
    // A snapshot that cannot be read may need anything.
    let unique = match survey.damaged.first() {
        Some((id, error)) => {
            let id = id.short();
            context.progress.warn(&format!("snapshot {id} cannot be read, so what no other snapshot needs is not known: {error}"));
            None
        }
        None if referred.is_none() => None,
        None => known(usage.unique(&chosen, &others), context)?,
    };
    context.progress.finish();
    Ok(Sizes { referred, unique })
}

/// Damage makes a size unknown, and is told of; the rest of the figures are good all the same.
fn known(size: Result<u64, PruneError>, context: &Context) -> Result<Option<u64>> {
    match size {
        Ok(size) => Ok(Some(size)),
        Err(PruneError::Repository(error)) => Err(error.into()),
        Err(damage) => {
            context.progress.warn(&format!("not every size is known: {damage}; `esker verify` says more"));
            Ok(None)
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for a person")]
fn ratio(bytes: u64, stored: u64) -> f64 {
    bytes as f64 / stored as f64
}
