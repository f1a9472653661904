//! `esker snapshots`: what there is to go back to.

use anyhow::Result;
use esker::format::snapshot::{Snapshot, SourceStatus};
use esker::repository::StoredSnapshot;
use serde_json::{Value, json};

use super::{Context, place};
use crate::args::Snapshots;
use crate::exit_code::ExitCode;
use crate::terminal::escape::escape;
use crate::terminal::words;

/// Lists them, oldest first.
pub fn run(options: &Snapshots, context: &mut Context) -> Result<ExitCode> {
    let repository = context.open()?;
    let found = place::chosen(&repository, &options.snapshots, &options.filter, &|text| context.progress.warn(text))?;
    if context.out.json {
        context.out.json(&found.iter().map(as_json).collect::<Vec<_>>())?;
    } else if found.is_empty() {
        context.out.remark("no snapshots")?;
    } else {
        let rows = found.iter().map(row).collect();
        context.out.line(&words::table(&["ID", "Time", "Host", "Tags", "Sources", "Files", "Size", ""], &[5, 6], rows))?;
        context.out.remark(&words::counted(found.len() as u64, "snapshot", "snapshots"))?;
    }
    Ok(ExitCode::Done)
}

fn row(stored: &StoredSnapshot) -> Vec<String> {
    let snapshot = &stored.snapshot;
    vec![
        stored.id.short(),
        words::local_time(snapshot.time),
        escape(snapshot.host.as_bytes()),
        escape(snapshot.tags.join(",").as_bytes()),
        sources(snapshot),
        words::count(snapshot.totals.files),
        words::size(snapshot.totals.bytes),
        if snapshot.incomplete.is_empty() { String::new() } else { "incomplete".to_owned() },
    ]
}

/// Names; what ended otherwise than well says so.
fn sources(snapshot: &Snapshot) -> String {
    let names = snapshot.sources.iter().map(|source| {
        let name = escape(source.name.as_bytes());
        match source.status {
            SourceStatus::Ok => name,
            SourceStatus::Failed | SourceStatus::OptionalFailed => format!("{name} (failed)"),
            SourceStatus::EndedWithoutStatus => format!("{name} (ended without status)"),
        }
    });
    names.collect::<Vec<_>>().join(", ")
}

/// The word for how a source ended.
pub fn status_word(status: SourceStatus) -> &'static str {
    match status {
        SourceStatus::Ok => "ok",
        SourceStatus::Failed => "failed",
        SourceStatus::OptionalFailed => "optional failed",
        SourceStatus::EndedWithoutStatus => "ended without status",
    }
}

fn as_json(stored: &StoredSnapshot) -> Value {
    let snapshot = &stored.snapshot;
    let details: Vec<Value> = snapshot
        .sources
        .iter()
        .map(|source| json!({ "name": source.name, "kind": source.kind, "status": status_word(source.status) }))
        .collect();
    json!({
        "id": stored.id.to_hex(),
        "short_id": stored.id.short(),
        "time": words::rfc3339(snapshot.time),
        "hostname": snapshot.host,
        "username": snapshot.user,
        "program_version": snapshot.program,
        "tags": snapshot.tags,
        "sources": snapshot.sources.iter().map(|source| &source.name).collect::<Vec<_>>(),
        "source_details": details,
        "complete": snapshot.incomplete.is_empty(),
        "incomplete_reasons": snapshot.incomplete,
        "total_files": snapshot.totals.files,
        "total_bytes": snapshot.totals.bytes,
    })
}
