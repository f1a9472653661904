//! `esker mirror`: the same repository at another place, byte by byte.

use std::sync::Arc;

use anyhow::Result;
use esker::id::{ObjectHash, SnapshotId};
use esker::mirror::{self, Deleted, MirrorOptions, MirrorSummary};
use esker::repository::{Repository, RepositoryError, check_is_free};
use serde_json::json;

use crate::args::Mirror;
use crate::context::{Context, holds_config};
use crate::error::Usage;
use crate::exit_code::ExitCode;
use crate::shared::other_repository as from;
use crate::terminal::escape::escape;
use crate::terminal::words;

/// Mirrors and says what came of it.
pub fn run(options: &Mirror, context: &mut Context) -> Result<ExitCode> {
    let to = from::store(&options.to, &options.to_options, context)?;
    if !holds_config(&*to)? {
        // The first time: other things in the place must not be mixed with those of a repository.
        check_is_free(&*to)?;
    }
    check_is_elsewhere(&context.store()?.location(), &to.location())?;
    let begun = std::time::Instant::now();
    let summary = match options.delete {
        false => {
            let store = context.environment()?.store;
            if !holds_config(&*store)? {
                return Err(RepositoryError::NoRepository(store.location()).into());
            }
            context.signals.install(&context.stop)?;
            let how = MirrorOptions { dry_run: options.dry_run, delete: None };
            mirror::run(&*store, &*to, &how, &*context.monitor(), &context.stop)?
        }
        true => {
            let repository = context.open()?;
            repository.need_owner("deleting from a mirror")?;
            delete_too(&repository, &*to, options.dry_run, context)?
        }
    };
    context.progress.finish();
    print(&summary, &to.location(), options.dry_run, begun.elapsed().as_secs_f64(), context)?;
    Ok(if summary.damaged.is_empty() { ExitCode::Done } else { ExitCode::DamageData })
}

/// A mirror in the folder of the repository itself would be no second copy, and would look like one.
fn check_is_elsewhere(here: &str, there: &str) -> Result<()> {
    // Addresses of servers are no paths of this machine; the same one may mean two of them, by options.
    let folder = |place: &str| std::fs::canonicalize(place).ok();
    match folder(here) {
        Some(folder_here) if Some(&folder_here) == folder(there).as_ref() => {
            Err(Usage::new(format!("{} is the repository itself", escape(there.as_bytes())))
                .hint("name another place, preferably on another disk or machine")
                .into())
        }
        _ => Ok(()),
    }
}

/// With what an owner's records say is gone.
fn delete_too(
    repository: &Arc<Repository>,
    to: &dyn esker::store::Store,
    dry_run: bool,
    context: &mut Context,
) -> Result<MirrorSummary> {
    let deleted = repository.condemned()?.deleted;
    let tombstones = repository.tombstones()?;
    let is_forgotten = |id: SnapshotId, hash: ObjectHash| tombstones.of(id, hash).is_some();
    let how = MirrorOptions { dry_run, delete: Some(Deleted { packs: deleted, is_forgotten: &is_forgotten }) };
    Ok(mirror::run(repository.all_objects(), to, &how, &*context.monitor(), &context.stop)?)
}

fn print(summary: &MirrorSummary, place: &str, dry_run: bool, seconds: f64, context: &mut Context) -> Result<()> {
    if context.out.json {
        return context.out.json(&json!({
            "message_type": "summary",
            "dry_run": dry_run,
            "objects_copied": summary.objects,
            "objects_there": summary.there,
            "objects_mended": summary.mended,
            "objects_deleted": summary.deleted,
            "objects_vanished": summary.vanished,
            "objects_damaged": summary.damaged,
            "objects_only_there": summary.only_there,
            "keys_only_there": summary.keys_only_there,
            "bytes_copied": summary.bytes,
            "total_duration": seconds,
        }));
    }
    let objects = |count| words::counted(count, "object", "objects");
    let place = escape(place.as_bytes());
    for name in &summary.damaged {
        context.out.line(&format!("damaged here, not copied: {name}"))?;
    }
    context.out.remark(&match dry_run {
        true => format!("would copy {} ({}) to {place}; nothing was changed", objects(summary.objects), words::size(summary.bytes)),
        false => format!(
            "copied {} ({}) to {place}, {} were there; in {}",
            objects(summary.objects),
            words::size(summary.bytes),
            words::count(summary.there),
            words::duration(seconds)
        ),
    })?;
    let verb = |done: &'static str, would: &'static str| if dry_run { would } else { done };
    if summary.mended > 0 {
        let done = verb("replaced", "would be replaced");
        context.out.remark(&format!("{} of a wrong size there {done}", objects(summary.mended)))?;
    }
    if summary.deleted > 0 {
        context.out.remark(&format!("{} {} there", objects(summary.deleted), verb("deleted", "would be deleted")))?;
    }
    if summary.only_there > 0 {
        let hint = "a prune here may have deleted them; --delete deletes them there too";
        context.out.remark(&format!("{} only there: {hint}", objects(summary.only_there)))?;
    }
    if summary.keys_only_there > 0 {
        let keys = words::counted(summary.keys_only_there, "key", "keys");
        context.progress.warn(&format!("{keys} removed here still open the mirror; --delete removes them there too"));
    }
    Ok(())
}
