//! `esker snapshots`: what there is to go back to.

use anyhow::Result;
use esker::format::note::{Keep, VerifiedHow};
use esker::records::revocations::FailedRun;
use esker::repository::StoredSnapshot;
use esker::repository::survey::{Survey, Surveyed};
use serde_json::{Value, json};

use crate::args::Snapshots;
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::shared::listing::{failed_json, list_forgotten, plain_json, row, table};
use crate::shared::{look, place, warnings};
use crate::terminal::escape::escape;
use crate::terminal::words;

/// Lists them, oldest first.
pub fn run(options: &Snapshots, context: &mut Context) -> Result<ExitCode> {
    let repository = context.open()?;
    let survey = look::look(&repository, context)?;
    if options.forgotten {
        list_forgotten(&survey.forgotten, context)?;
        return Ok(ExitCode::Done);
    }
    if options.failed {
        let host = options.filter.host.as_ref();
        let failed: Vec<&FailedRun> = survey.failed.iter().filter(|run| host.is_none_or(|host| *host == run.host)).collect();
        list_failed(&failed, context)?;
        return Ok(ExitCode::Done);
    }
    let found: Vec<&Surveyed> = match options.snapshots.is_empty() {
        true => survey.snapshots.iter().filter(|surveyed| place::passes(&options.filter, surveyed)).collect(),
        false => {
            let find = |name: &String| place::find(&survey, name, &options.filter, context);
            options.snapshots.iter().map(find).collect::<Result<_, _>>()?
        }
    };
    if context.out.json {
        context.out.json(&found.iter().map(|surveyed| as_json(surveyed, &survey)).collect::<Vec<_>>())?;
    } else if found.is_empty() {
        context.out.remark("no snapshots")?;
    } else {
        context.out.line(&table(&|names_columns| {
            let one = |surveyed: &&Surveyed| row(&surveyed.stored, &surveyed.tags, &state(surveyed, &survey), names_columns);
            found.iter().map(one).collect()
        }))?;
        if options.long {
            for surveyed in &found {
                details(&surveyed.stored, context)?;
            }
        }
        context.out.remark(&words::counted(found.len() as u64, "snapshot", "snapshots"))?;
    }
    Ok(ExitCode::Done)
}

/// What is missing in a snapshot, a line each: why it is incomplete, then what its sources could not take.
fn details(stored: &StoredSnapshot, context: &mut Context) -> Result<()> {
    let snapshot = &stored.snapshot;
    for reason in &snapshot.incomplete {
        context.out.line(&format!("{} incomplete: {}", stored.id.short(), escape(reason.as_bytes())))?;
    }
    for (source, text) in snapshot.warnings() {
        let text = escape(format!("{source}: {text}").as_bytes());
        context.out.line(&format!("{} warning: {text}", stored.id.short()))?;
    }
    Ok(())
}

/// Runs that committed nothing, oldest first.
fn list_failed(failed: &[&FailedRun], context: &mut Context) -> Result<()> {
    if context.out.json {
        return context.out.json(&failed.iter().map(|run| failed_json(run)).collect::<Vec<_>>());
    }
    if failed.is_empty() {
        return context.out.remark("no failed runs");
    }
    let one = |run: &&FailedRun| {
        let text = |text: &str| escape(text.as_bytes());
        vec![words::local_time(run.time), text(&run.host), text(&run.reason)]
    };
    context.out.line(&words::table(&["Time", "Host", "Reason"], &[], failed.iter().map(one).collect()))
}

/// What is to be known beside what it holds.
fn state(surveyed: &Surveyed, survey: &Survey) -> String {
    let mut words = Vec::new();
    if !surveyed.stored.snapshot.is_complete() {
        words.push("incomplete".to_owned());
    }
    if let Some(why) = &surveyed.quarantined {
        words.push(format!("quarantined ({})", escape(why.as_bytes())));
    }
    words.extend(warnings::mark(surveyed.stored.snapshot.warnings().count()));
    match survey.noted(surveyed) {
        Some(Keep::Until(time)) => words.push(format!("kept until {}", words::local_time(time))),
        Some(_) => words.push("kept".to_owned()),
        None => {}
    }
    match &surveyed.notes.verified {
        Some(verified) if verified.findings == 0 => words.push("verified".to_owned()),
        Some(_) => words.push("DAMAGED".to_owned()),
        None => {}
    }
    if let Some(comment) = &surveyed.notes.comment {
        words.push(format!("\"{}\"", escape(comment.as_bytes())));
    }
    words.join(", ")
}

fn as_json(surveyed: &Surveyed, survey: &Survey) -> Value {
    let mut json = plain_json(&surveyed.stored, &surveyed.tags);
    json["quarantined"] = json!(surveyed.quarantined);
    json["kept"] = match survey.noted(surveyed) {
        None => Value::Null,
        Some(Keep::Until(time)) => words::rfc3339(time).into(),
        Some(_) => "forever".into(),
    };
    json["verified"] = surveyed.notes.verified.map_or(Value::Null, |verified| {
        let how = if verified.how == VerifiedHow::Content { "content" } else { "structure" };
        json!({ "time": words::rfc3339(verified.time), "how": how, "findings": verified.findings })
    });
    json["comment"] = json!(surveyed.notes.comment);
    json
}
