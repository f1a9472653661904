//! What `restore` prints at its end.

use std::path::Path;

use anyhow::Result;
use esker::id::SnapshotId;
use esker::restore::RestoreSummary;
use serde_json::{Map, json};

use crate::args::Restore;
use crate::context::Context;
use crate::shared::place::put_bytes;
use crate::terminal::escape::escape;
use crate::terminal::words;

/// Entries that stay, shown one by one; the rest is counted.
const KEPT_SHOWN_MAX: usize = 10;

/// The summary, as text or JSON.
pub fn print(
    options: &Restore,
    context: &mut Context,
    id: SnapshotId,
    target: &Path,
    summary: &RestoreSummary,
    seconds: f64,
) -> Result<()> {
    for pattern in &summary.unused_excludes {
        context.progress.warn(&format!("--exclude {} matched nothing", escape(pattern.as_bytes())));
    }
    if context.out.json {
        return print_json(options, context, &id.to_hex(), target, summary, seconds);
    }
    let snapshot = id.short();
    print_kept(context, summary);
    let target = escape(target.as_os_str().as_encoded_bytes());
    let (dry, files) = (options.dry_run, words::counted(summary.files_restored, "file", "files"));
    context.out.remark(&format!(
        "{} snapshot {snapshot} to {target}: {files} {}{}, {} unchanged, {} in {}",
        if dry { "would restore" } else { "restored" },
        if dry { "would be written" } else { "written" },
        if dry { String::new() } else { format!(" ({})", words::size(summary.bytes_written)) },
        words::count(summary.files_unchanged),
        words::counted(summary.folders, "folder", "folders"),
        words::duration(seconds),
    ))?;
    let (skipped, deleted) = match dry {
        true => ("would be kept because they exist", "would be deleted from the target"),
        false => ("kept because they existed", "deleted from the target"),
    };
    for (number, what) in [
        (summary.entries_skipped, skipped),
        (summary.deleted, deleted),
        (summary.files_verified, "read again and found correct"),
        (summary.streams_verified, "of them streams, identical from the first to the last byte"),
    ] {
        if number > 0 {
            context.out.remark(&format!("  {} {what}", words::count(number)))?;
        }
    }
    if summary.shortfalls > 0 {
        let pieces = words::counted(summary.shortfalls, "piece of metadata", "pieces of metadata");
        context.out.remark(&format!("  {pieces} (owners, attributes) could not be set"))?;
    }
    if dry {
        context.out.remark("dry run: nothing was changed")?;
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

/// `--delete` left something in the target on purpose.
fn print_kept(context: &Context, summary: &RestoreSummary) {
    for kept in summary.kept.iter().take(KEPT_SHOWN_MAX) {
        context.progress.warn(&format!("not deleted: {}: {}", escape(&kept.path), kept.why));
    }
    let more = summary.kept_count.saturating_sub(KEPT_SHOWN_MAX as u64);
    if more > 0 {
        context.progress.warn(&format!("not deleted: {} more", words::count(more)));
    }
}

fn print_json(
    options: &Restore,
    context: &mut Context,
    snapshot: &str,
    target: &Path,
    summary: &RestoreSummary,
    seconds: f64,
) -> Result<()> {
    for failure in &summary.failures {
        let mut object = Map::new();
        object.insert("message_type".to_owned(), "failure".into());
        put_bytes(&mut object, "path", &failure.path);
        object.insert("detail".to_owned(), failure.detail.as_str().into());
        object.insert("damage".to_owned(), failure.damage.into());
        context.out.json(&object)?;
    }
    for kept in &summary.kept {
        let mut object = Map::new();
        object.insert("message_type".to_owned(), "kept".into());
        put_bytes(&mut object, "path", &kept.path);
        object.insert("detail".to_owned(), kept.why.into());
        context.out.json(&object)?;
    }
    let mut object = Map::new();
    put_bytes(&mut object, "target", target.as_os_str().as_encoded_bytes());
    let serde_json::Value::Object(rest) = json!({
        "message_type": "summary",
        "snapshot_id": snapshot,
        "dry_run": options.dry_run,
        "files_restored": summary.files_restored,
        "files_unchanged": summary.files_unchanged,
        "files_skipped": summary.entries_skipped,
        "files_deleted": summary.deleted,
        "files_kept": summary.kept_count,
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
    }) else {
        return Ok(());
    };
    object.extend(rest);
    context.out.json(&object)
}
