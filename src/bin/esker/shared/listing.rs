//! Snapshots and failed runs as rows of a table and as JSON.

use anyhow::Result;
use esker::format::snapshot::{Snapshot, SourceStatus};
use esker::records::revocations::FailedRun;
use esker::repository::{Forgone, StoredSnapshot};
use serde_json::{Value, json};

use super::warnings;
use crate::context::Context;
use crate::terminal::escape::escape;
use crate::terminal::{stdout_columns, words};

/// Those that may still be brought back.
pub fn list_forgotten(forgotten: &[Forgone], context: &mut Context) -> Result<()> {
    if context.out.json {
        let one = |forgone: &Forgone| {
            let mut json = plain_json(&forgone.stored, &forgone.stored.snapshot.tags);
            json["forgotten"] = words::rfc3339(forgone.time).into();
            json["reason"] = forgone.reason.as_str().into();
            json
        };
        return context.out.json(&forgotten.iter().map(one).collect::<Vec<_>>());
    }
    if forgotten.is_empty() {
        return context.out.remark("nothing was forgotten that is still there");
    }
    context.out.line(&table(&|names_columns| {
        let one = |forgone: &Forgone| {
            let state = format!("forgotten {}", words::local_time(forgone.time));
            row(&forgone.stored, &forgone.stored.snapshot.tags, &state, names_columns)
        };
        forgotten.iter().map(one).collect()
    }))
}

/// A run that failed.
pub fn failed_json(run: &FailedRun) -> Value {
    json!({
        "session": run.session.to_hex(),
        "time": words::rfc3339(run.time),
        "hostname": run.host,
        "reason": run.reason,
    })
}

/// A table of snapshots that fits the terminal. `rows` makes rows with names in at most so many columns.
pub fn table(rows: &dyn Fn(usize) -> Vec<Vec<String>>) -> String {
    words::fitted_table(
        &["ID", "Time", "Host", "Tags", "Sources", "Files", "Size", "Added", "Took", ""],
        &[5, 6, 7, 8],
        &[8, 7, 5, 3, 6, 2],
        stdout_columns(),
        rows,
    )
}

/// A snapshot as a row, with its sources in at most so many columns.
pub fn row(stored: &StoredSnapshot, tags: &[String], state: &str, names_columns: usize) -> Vec<String> {
    let snapshot = &stored.snapshot;
    vec![
        stored.id.short(),
        words::local_time(snapshot.time),
        escape(snapshot.host.as_bytes()),
        escape(tags.join(",").as_bytes()),
        sources(snapshot, names_columns),
        words::count(snapshot.totals.files),
        words::size(snapshot.totals.bytes),
        snapshot.run().map(|run| words::size(run.bytes_added)).unwrap_or_default(),
        snapshot.run().map(|run| words::duration(run.duration.as_secs_f64())).unwrap_or_default(),
        state.to_owned(),
    ]
}

/// Names; what ended otherwise than well says so.
fn sources(snapshot: &Snapshot, columns: usize) -> String {
    let names = snapshot.sources.iter().map(|source| {
        let name = escape(source.name.as_bytes());
        match source.status {
            SourceStatus::Ok => name,
            SourceStatus::Failed | SourceStatus::OptionalFailed => format!("{name} (failed)"),
            SourceStatus::EndedWithoutStatus => format!("{name} (ended without status)"),
        }
    });
    words::names(&names.collect::<Vec<_>>(), columns)
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

/// What a snapshot says itself, with the tags it has by now.
pub fn plain_json(stored: &StoredSnapshot, tags: &[String]) -> Value {
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
        "tags": tags,
        "sources": snapshot.sources.iter().map(|source| &source.name).collect::<Vec<_>>(),
        "source_details": details,
        "complete": snapshot.incomplete.is_empty(),
        "incomplete_reasons": snapshot.incomplete,
        "warnings": warnings::as_json(snapshot.warnings()),
        "total_files": snapshot.totals.files,
        "total_bytes": snapshot.totals.bytes,
        "bytes_added": snapshot.run().map(|run| run.bytes_added),
        "duration": snapshot.run().map(|run| run.duration.as_secs_f64()),
    })
}
