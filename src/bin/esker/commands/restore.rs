//! `esker restore`: a snapshot, or a part of it, back to a directory.

use anyhow::Result;
use esker::restore::proof::StreamProof;
use esker::restore::{self, Origin, RestoreOptions, RestoreSummary};
use serde_json::{Map, json};

use super::Context;
use super::place::{Place, put_bytes};
use crate::args::{Overwrite, Restore};
use crate::exit_code::ExitCode;
use crate::terminal::escape::escape;
use crate::terminal::words;

/// Restores and says what was done. What could not be restored is named, and the exit code is not 0.
pub fn run(options: &Restore, context: &mut Context) -> Result<ExitCode> {
    let place = Place::parse(&options.place)?;
    let repository = context.open()?;
    let stored = place.find(&repository)?;
    let monitor = context.monitor();
    let name = stored.id.short();
    let streams = StreamProof::all(&repository, &stored);
    let origin = Origin { root: &stored.snapshot.root, snapshot: &name, path: place.path, streams: &streams };
    let begun = std::time::Instant::now();
    let summary = restore::run(&repository, origin, &of(options), &monitor, &context.stop)?;
    context.progress.finish();
    print(options, context, &name, &summary, begun.elapsed().as_secs_f64())?;
    Ok(match (summary.damaged, summary.failed) {
        (0, 0) => ExitCode::Done,
        (0, _) => ExitCode::Incomplete,
        _ => ExitCode::DamageData,
    })
}

fn of(options: &Restore) -> RestoreOptions {
    RestoreOptions {
        target: options.target.clone(),
        include: options.include.clone(),
        exclude: options.exclude.clone(),
        overwrite: match options.overwrite {
            Overwrite::Always => restore::Overwrite::Always,
            Overwrite::IfChanged => restore::Overwrite::IfChanged,
            Overwrite::Never => restore::Overwrite::Never,
        },
        delete: options.delete,
        sparse: options.sparse,
        verify: options.verify,
        no_ownership: options.no_ownership,
        numeric_ids: options.numeric_ids,
        dry_run: options.dry_run,
        threads: None,
    }
}

fn print(options: &Restore, context: &mut Context, snapshot: &str, summary: &RestoreSummary, seconds: f64) -> Result<()> {
    if context.out.json {
        for failure in &summary.failures {
            let mut object = Map::new();
            object.insert("message_type".to_owned(), "failure".into());
            put_bytes(&mut object, "path", &failure.path);
            object.insert("detail".to_owned(), failure.detail.as_str().into());
            object.insert("damage".to_owned(), failure.damage.into());
            context.out.json(&object)?;
        }
        return context.out.json(&json!({
            "message_type": "summary",
            "snapshot_id": snapshot,
            "dry_run": options.dry_run,
            "files_restored": summary.files_restored,
            "files_unchanged": summary.files_unchanged,
            "files_skipped": summary.entries_skipped,
            "files_deleted": summary.deleted,
            "files_verified": summary.files_verified,
            "streams_verified": summary.streams_verified,
            "dirs": summary.folders,
            "hard_links": summary.hard_links,
            "others": summary.others,
            "total_bytes": summary.bytes_total,
            "bytes_written": summary.bytes_written,
            "metadata_shortfalls": summary.shortfalls,
            "damaged": summary.damaged,
            "failed": summary.failed,
            "total_duration": seconds,
        }));
    }
    let target = escape(options.target.as_os_str().as_encoded_bytes());
    let would = if options.dry_run { "would be " } else { "" };
    context.out.remark(&format!(
        "{would}restored snapshot {snapshot} to {target}: {} written ({}), {} unchanged, {} in {}",
        words::counted(summary.files_restored, "file", "files"),
        words::size(summary.bytes_written),
        words::count(summary.files_unchanged),
        words::counted(summary.folders, "folder", "folders"),
        words::duration(seconds),
    ))?;
    for (number, what) in [
        (summary.entries_skipped, "left alone because they were there"),
        (summary.deleted, "deleted from the target"),
        (summary.files_verified, "read back and found right"),
        (summary.streams_verified, "of them streams, from the first byte to the last what was taken"),
        (summary.shortfalls, "pieces of metadata (owners, attributes) could not be set"),
    ] {
        if number > 0 {
            context.out.remark(&format!("  {} {what}", words::count(number)))?;
        }
    }
    if !summary.is_whole() {
        context.progress.warn(&format!(
            "{} could not be restored: {} because the repository is damaged, {} because of the target",
            words::counted(summary.damaged + summary.failed, "entry", "entries"),
            words::count(summary.damaged),
            words::count(summary.failed),
        ));
    }
    Ok(())
}
