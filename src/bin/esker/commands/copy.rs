//! `esker copy`: which snapshots came, which were here, which could not be read.

use anyhow::Result;
use esker::copy::{self, Copied, CopyOptions, CopySummary, Original, Outcome};
use esker::id::SnapshotId;
use esker::repository::survey::{self, Surveyed};
use serde_json::json;

use crate::args::Copy;
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::shared::{other_repository as from, place};
use crate::terminal::escape::escape_lines;
use crate::terminal::words;

/// Copies and says what came of it.
pub fn run(options: &Copy, context: &mut Context) -> Result<ExitCode> {
    let to = context.open()?;
    let other = from::open(&options.from, context)?;
    let begun = std::time::Instant::now();
    let survey = survey::survey(&other)?;
    for (id, error) in &survey.damaged {
        context.progress.warn(&format!("snapshot {} of the other repository cannot be read: {error}", id.short()));
    }
    let chosen: Vec<&Surveyed> = match options.snapshots.is_empty() {
        true => survey.snapshots.iter().filter(|surveyed| place::passes(&options.filter, surveyed)).collect(),
        false => {
            options.snapshots.iter().map(|name| place::find(&survey, name, &options.filter, context)).collect::<Result<_, _>>()?
        }
    };
    let originals: Vec<Original> = chosen
        .into_iter()
        .map(|surveyed| Original {
            stored: surveyed.stored.clone(),
            notes: surveyed.notes.clone(),
            is_believed: surveyed.quarantined.is_none(),
        })
        .collect();
    if !to.cuts_as(&other) {
        context.progress.warn(
            "the two repositories cut data differently: what is copied shares little with what is backed up here by itself \
             (`esker init --copy-chunker-params` makes one that cuts alike)",
        );
    }
    let how = CopyOptions { dry_run: options.dry_run, again: options.again };
    let (mut lines, mut failed) = (Vec::new(), None);
    let out = &mut context.out;
    let monitor = std::sync::Arc::clone(&context.progress) as std::sync::Arc<dyn esker::monitor::Monitor>;
    let summary = copy::run(&other, &to, &originals, how, &monitor, &context.stop, &mut |copied| {
        // JSON is a line at a time, there when the snapshot is; a person reads it when the bar is gone.
        if out.json {
            failed = failed.take().or(out.json(&as_json(copied)).and_then(|()| out.flush()).err());
        } else {
            lines.push(line(copied));
        }
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    context.progress.finish();
    for line in &lines {
        context.out.line(line)?;
    }
    conclude(&summary, options.dry_run, begun.elapsed().as_secs_f64(), context)?;
    Ok(match summary.count(|outcome| matches!(outcome, Outcome::Failed(_))) as usize + survey_damage(options, &survey) {
        0 => ExitCode::Done,
        _ => ExitCode::DamageData,
    })
}

/// Snapshots that do not even open count when all were asked for.
fn survey_damage(options: &Copy, survey: &survey::Survey) -> usize {
    if options.snapshots.is_empty() { survey.damaged.len() } else { 0 }
}

fn as_json(copied: &Copied) -> serde_json::Value {
    let (status, new, detail): (_, Option<SnapshotId>, _) = match &copied.outcome {
        Outcome::Copied(id) => ("copied", Some(*id), None),
        Outcome::There(id) => ("there", Some(*id), None),
        Outcome::Wanted => ("wanted", None, None),
        Outcome::Failed(detail) => ("failed", None, Some(detail)),
    };
    json!({
        "message_type": "snapshot",
        "original_id": copied.original.to_hex(),
        "status": status,
        "snapshot_id": new.map(SnapshotId::to_hex),
        "detail": detail,
    })
}

fn line(copied: &Copied) -> String {
    let what = match &copied.outcome {
        Outcome::Copied(id) => format!("copied as {}", id.short()),
        Outcome::There(id) => format!("is here already, as {}", id.short()),
        Outcome::Wanted => "would be copied".to_owned(),
        Outcome::Failed(detail) => format!("NOT COPIED: {}", escape_lines(detail)),
    };
    format!("snapshot {} {what}", copied.original.short())
}

fn conclude(summary: &CopySummary, dry_run: bool, seconds: f64, context: &mut Context) -> Result<()> {
    let copied = summary.count(|outcome| matches!(outcome, Outcome::Copied(_)));
    let there = summary.count(|outcome| matches!(outcome, Outcome::There(_)));
    let wanted = summary.count(|outcome| matches!(outcome, Outcome::Wanted));
    let failed = summary.count(|outcome| matches!(outcome, Outcome::Failed(_)));
    if context.out.json {
        return context.out.json(&json!({
            "message_type": "summary",
            "dry_run": dry_run,
            "snapshots_copied": copied,
            "snapshots_there": there,
            "snapshots_wanted": wanted,
            "snapshots_failed": failed,
            "cuts_alike": summary.cuts_alike,
            "chunks_read": summary.chunks_read,
            "bytes_read": summary.bytes_read,
            "data_blobs": summary.totals.data_chunks_new,
            "tree_blobs": summary.totals.tree_chunks_new,
            "data_added": summary.totals.bytes_added,
            "data_added_packed": summary.totals.bytes_stored,
            "total_duration": seconds,
        }));
    }
    let snapshots = |count| words::counted(count, "snapshot", "snapshots");
    context.out.remark(&match dry_run {
        true => format!(
            "would copy {} and read {} for them; {} already here; nothing was changed",
            snapshots(wanted),
            words::size(summary.bytes_read),
            words::count(there)
        ),
        false => format!(
            "copied {}, read {}, stored {}; {} already here; in {}",
            snapshots(copied),
            words::size(summary.bytes_read),
            words::size(summary.totals.bytes_stored),
            words::count(there),
            words::duration(seconds)
        ),
    })?;
    if failed > 0 {
        context.out.remark(&format!(
            "{} cannot be read whole in the other repository; `esker verify` and `esker repair` there say more",
            snapshots(failed)
        ))?;
    }
    Ok(())
}
