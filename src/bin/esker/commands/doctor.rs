//! `esker doctor`: is what esker leans on as it should be?

use anyhow::Result;
use esker::clock::{SystemClock, SystemRng};
use esker::records::class as store_class;
use esker::repository::probe::{self, Deletes, Probe, ProbeOptions, Shown};
use serde_json::{Value, json};

use crate::args::{Doctor, DoctorStore, DoctorWhat};
use crate::context::{Context, holds_config};
use crate::exit_code::ExitCode;
use crate::terminal::words;

/// Checks what was asked for, or says what can be checked.
pub fn run(options: &Doctor, context: &mut Context) -> Result<ExitCode> {
    match &options.what {
        Some(DoctorWhat::Store(store)) => check_store(store, context),
        None => {
            match context.out.json {
                true => context.out.json(&json!({ "message_type": "doctor", "checks": ["store"] }))?,
                false => {
                    context.out.line("esker doctor store   what the store guarantees and how fast it is")?;
                    context.out.line("esker verify         what the repository holds")?;
                    context.out.line("esker status         how fresh its snapshots are")?;
                }
            }
            Ok(ExitCode::Done)
        }
    }
}

fn check_store(options: &DoctorStore, context: &mut Context) -> Result<ExitCode> {
    let store = context.store()?;
    let holds_repository = holds_config(&*store)?;
    let how = ProbeOptions { may_delete: !options.no_delete, ..ProbeOptions::default() };
    let found = probe::run(&*store, &SystemClock::new(), &SystemRng, &how)?;
    context.progress.finish();
    match context.out.json {
        true => context.out.json(&as_json(&found, &store.location(), holds_repository))?,
        false => show(&found, &store.location(), holds_repository, context)?,
    }
    Ok(if found.class().is_some() { ExitCode::Done } else { ExitCode::Unreachable })
}

fn show(found: &Probe, place: &str, holds_repository: bool, context: &mut Context) -> Result<()> {
    match found.class() {
        Some(class) => {
            context.out.line(&format!("{place}: class {}", store_class::title(class)))?;
            context.out.line(&format!("  {}", store_class::meaning(class)))?;
        }
        None => context.out.line(&format!("{place}: UNFIT to hold a repository"))?,
    }
    for line in found.reasons().into_iter().chain(found.remarks()) {
        context.out.line(&format!("  {line}"))?;
    }
    let time = |time: std::time::Duration| words::duration(time.as_secs_f64());
    context.out.line(&format!("  put {}, get {}, list {} (medians)", time(found.put), time(found.get), time(found.list)))?;
    if found.listed == Shown::AtOnce {
        context.out.line("  a listing shows new objects at once")?;
    }
    match found.deletes {
        Deletes::Work(Shown::AtOnce) => context.out.line("  a deleted object is gone at once")?,
        Deletes::NotTried => context.out.line("  deleting was not tried")?,
        _ => {}
    }
    if let Some(ahead) = found.clock_ahead_seconds {
        context.out.line(&format!("  this machine's clock is {}", esker::clock::ahead_in_words(ahead)))?;
    }
    match holds_repository {
        true => context.out.line("  a repository is there; `esker status` says which class it was made with"),
        false => context.out.line("  no repository is there"),
    }
}

fn as_json(found: &Probe, place: &str, holds_repository: bool) -> Value {
    let shown = |shown: Shown| match shown {
        Shown::AtOnce => json!(0.0),
        Shown::After(time) => json!(time.as_secs_f64()),
        Shown::Never(_) => Value::Null,
    };
    let (deletes, delete_shown) = match found.deletes {
        Deletes::Work(when) => ("work", shown(when)),
        Deletes::Nothing => ("nothing", Value::Null),
        Deletes::NotAllowed => ("not_allowed", Value::Null),
        Deletes::NotTried => ("not_tried", Value::Null),
    };
    json!({
        "message_type": "store",
        "repository": place,
        "holds_repository": holds_repository,
        "fit": found.class().is_some(),
        "class": found.class().map(store_class::word),
        "meaning": found.class().map(store_class::meaning),
        "reasons": found.reasons(),
        "remarks": found.remarks(),
        "racers": found.racers,
        "rounds": found.rounds,
        "winners": found.winners,
        "listed_after": shown(found.listed),
        "deletes": deletes,
        "delete_listed_after": delete_shown,
        "clock_ahead_seconds": found.clock_ahead_seconds,
        "put_seconds": found.put.as_secs_f64(),
        "get_seconds": found.get.as_secs_f64(),
        "list_seconds": found.list.as_secs_f64(),
    })
}
