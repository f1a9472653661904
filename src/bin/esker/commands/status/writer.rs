//! What `status` can tell with a writer key: when runs of this host were begun and committed. It can open no snapshot.

use anyhow::Result;
use esker::clock::{Clock, SystemClock, Timestamp};
use esker::id::SnapshotId;
use esker::repository::Repository;
use serde_json::{Value, json};

use super::age;
use super::groups::is_older;
use crate::args::Status;
use crate::around::record;
use crate::context::Context;
use crate::error::Usage;
use crate::exit_code::ExitCode;
use crate::terminal::escape::escape;
use crate::terminal::words;

/// A run of this host that committed.
struct Committed {
    id: SnapshotId,
    /// When it was begun; unknown when its session record is gone.
    time: Option<Timestamp>,
}

/// The newest run of this host that committed, as far as can be seen.
pub fn run(options: &Status, repository: &Repository, context: &mut Context) -> Result<ExitCode> {
    let filter = &options.filter;
    if options.group_by.is_some() || filter.source.is_some() || !filter.tag.is_empty() {
        return Err(Usage::new("a writer key cannot see sources or tags; use only --host and --max-age").into());
    }
    let host = filter.host.clone().unwrap_or_else(|| context.host());
    let newest = newest(repository, &host, filter.host.is_none())?;
    let now = SystemClock::new().now();
    let time = newest.as_ref().and_then(|newest| newest.time);
    // An age that nobody knows is no proof of being fresh.
    let stale = options.max_age.is_some_and(|max_age| time.is_none_or(|time| is_older(time, max_age, now)));
    let seconds = time.map(|time| now.seconds.saturating_sub(time.seconds));
    let last_run = last_run(&host, context);
    let mut problems = Vec::new();
    if newest.is_none() {
        problems.push(format!("no snapshot of host {host} is visible"));
    }
    if stale {
        problems.push(match seconds {
            Some(seconds) => format!("{host}: the newest snapshot is {} old", age(seconds)),
            None => format!("{host}: the age of the newest snapshot is not known"),
        });
    }
    if let Some(failed) = &last_run.failure {
        problems.push(format!("{host}: the last run on this machine, {failed}"));
    }
    let code = if problems.is_empty() { ExitCode::Done } else { ExitCode::Incomplete };
    if context.out.json {
        context.out.json(&json!({
            "message_type": "status",
            "exit_code": code.number(),
            "key": "writer",
            "problems": problems,
            "last_run": last_run.json,
            "newest": newest.iter().map(|newest| json!({
                "host": host,
                "snapshot_id": newest.id.to_hex(),
                "time": time.map(words::rfc3339),
                "age_seconds": seconds,
                "complete": null,
                "too_old": stale,
            })).collect::<Vec<_>>(),
        }))?;
        return Ok(code);
    }
    let host = escape(host.as_bytes());
    context.out.line(&match (&newest, seconds) {
        (None, _) => format!("no committed run of host {host} is visible"),
        (Some(newest), None) => {
            format!("host {host}: committed {}; its time is no longer visible", newest.id.short())
        }
        (Some(newest), Some(seconds)) => {
            let old = if stale { "  TOO OLD" } else { "" };
            format!("host {host}: newest committed run {} was begun {} ago{old}", newest.id.short(), age(seconds))
        }
    })?;
    context.out.remark(
        "a writer key shows neither whether it is complete, nor failed runs of other machines, nor what was verified; an owner's \
         `esker status` does",
    )?;
    for problem in &problems {
        context.out.line(&format!("NOT OK  {}", escape(problem.as_bytes())))?;
    }
    if problems.is_empty() {
        context.out.line("OK")?;
    }
    Ok(code)
}

/// The last run of this host on this machine, as this machine remembers it.
struct LastRun {
    /// For a script; `null`: none is known.
    json: Value,
    /// When and why it failed; none: it did not.
    failure: Option<String>,
}

fn last_run(host: &str, context: &Context) -> LastRun {
    let Some(run) = record::all(context).into_iter().find(|run| run["host"] == host) else {
        return LastRun { json: Value::Null, failure: None };
    };
    let failed = run["exit_code"].as_i64().is_some_and(|code| code != 0) && run["snapshot_id"].is_null();
    let time = Timestamp { seconds: run["ended_at"].as_i64().unwrap_or(0), nanoseconds: 0 };
    let failure = failed.then(|| format!("{}, failed: {}", words::local_time(time), run["message"].as_str().unwrap_or("unknown")));
    let json = json!({ "exit_code": run["exit_code"], "message": run["message"], "ended_at": words::rfc3339(time) });
    LastRun { json, failure }
}

fn newest(repository: &Repository, host: &str, this_host: bool) -> Result<Option<Committed>> {
    let there = repository.snapshot_names()?;
    let mut newest: Option<Committed> = None;
    for id in repository.session_names()?.into_keys() {
        let snapshot = SnapshotId::from(id);
        if there.binary_search(&snapshot).is_err() {
            continue;
        }
        let Some(start) = repository.session_start(id)?.filter(|opened| opened.start.host == host) else { continue };
        let time = Some(start.start.time);
        if newest.as_ref().is_none_or(|newest| newest.time < time) && repository.is_committed(&snapshot)? {
            newest = Some(Committed { id: snapshot, time });
        }
    }
    // Its records may be gone by now; this machine remembers that it committed.
    let remembered = repository.last_commit().map(|(id, _)| id).filter(|id| this_host && there.binary_search(id).is_ok());
    Ok(newest.or(remembered.map(|id| Committed { id, time: None })))
}
