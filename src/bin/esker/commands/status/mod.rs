//! `esker status`: is the newest snapshot fresh and complete, and what was proved of what is stored? For people, and for monitoring.

use anyhow::Result;
use esker::clock::Timestamp;
use esker::id::PackId;
use esker::records::class as store_class;
use esker::records::ledger::{Ledger, Wrong};
use esker::records::revocations::FailedRun;
use esker::repository::Repository;
use esker::repository::freshness::{self, Damage, Verdict};
use esker::repository::survey::Survey;
use serde_json::{Value, json};

use crate::args::Status;
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::shared::{class, listing, look, warnings};
use crate::terminal::escape::escape;
use crate::terminal::{stdout_columns, words};
use groups::Group;

mod groups;
mod metrics;
mod writer;

/// Everything that is shown.
struct Look<'a> {
    survey: &'a Survey,
    ledger: &'a Ledger,
    packs: Packs,
    groups: Vec<Group<'a>>,
    /// The last failed run of each host.
    failed: Vec<Failed<'a>>,
}

/// A run that committed nothing.
struct Failed<'a> {
    run: &'a FailedRun,
    /// No complete snapshot of its host came since.
    is_last: bool,
}

/// What was proved of packs.
struct Packs {
    count: u64,
    bytes: u64,
    never_read: u64,
    oldest: Option<Timestamp>,
    mendable: u64,
    lost: u64,
}

/// Looks, tells, and gives the exit code that monitoring goes by.
pub fn run(options: &Status, context: &mut Context) -> Result<ExitCode> {
    let repository = context.open()?;
    if !repository.is_owner() {
        let code = writer::run(options, &repository, context)?;
        if let Some(path) = &options.metrics {
            metrics::write(path, None, code, context)?;
        }
        return Ok(code);
    }
    let survey = look::look(&repository, context)?;
    if let Err(error) = survey.record(&repository) {
        context.progress.warn(&format!("the time when snapshots were first seen could not be recorded: {error}"));
    }
    let ledger = Ledger::new(survey.notes.proofs(), survey.clock);
    let of_config = context.settings.keep.as_ref().and_then(|keep| keep.group_by());
    let by = options.group_by.or(of_config).unwrap_or_default();
    let look = Look {
        packs: packs(&repository, &ledger)?,
        groups: groups::groups(options, by, &survey),
        failed: failed(options, &survey),
        survey: &survey,
        ledger: &ledger,
    };
    let code = code(&look);
    if let Some(path) = &options.metrics {
        let seen = metrics::Seen { survey: &survey, ledger: &ledger, packs: &look.packs };
        metrics::write(path, Some(&seen), code, context)?;
    }
    match context.out.json {
        true => {
            let mut line = as_json(&look, code);
            line["class"] = store_class::word(repository.config().class).into();
            context.out.json(&line)?;
        }
        false => {
            show(&look, context)?;
            if let Some(sentence) = class::about_class(&repository) {
                context.out.line(&sentence)?;
            }
            conclude(&look, code, context)?;
        }
    }
    Ok(code)
}

fn packs(repository: &Repository, ledger: &Ledger) -> Result<Packs> {
    let bad = repository.condemned()?.bad;
    let mut packs = Packs { count: 0, bytes: 0, never_read: 0, oldest: None, mendable: 0, lost: 0 };
    let mut each = |id: PackId, size: u64| {
        packs.count += 1;
        packs.bytes += size;
        match ledger.wrong(&id) {
            Some(Wrong::Lost) => packs.lost += 1,
            Some(Wrong::Mendable) => packs.mendable += 1,
            None => {}
        }
        match ledger.read_at(&id) {
            None => packs.never_read += 1,
            Some(read) => packs.oldest = Some(packs.oldest.map_or(read, |oldest| oldest.min(read))),
        }
    };
    repository.list_packs()?.into_iter().filter(|(id, _)| !bad.contains(id)).for_each(|(id, size)| each(id, size));
    Ok(packs)
}

/// The last failed run of each host that the filter lets through. A run that failed has no sources and no tags yet.
fn failed<'a>(options: &Status, survey: &'a Survey) -> Vec<Failed<'a>> {
    let mut last: Vec<Failed<'a>> = Vec::new();
    let host = options.filter.host.as_ref();
    // Newest first.
    for run in survey.failed.iter().rev().filter(|run| host.is_none_or(|host| *host == run.host)) {
        if last.iter().any(|other| other.run.host == run.host) {
            continue;
        }
        let came_since = survey.snapshots.iter().any(|surveyed| {
            let snapshot = &surveyed.stored.snapshot;
            snapshot.host == run.host && snapshot.is_complete() && surveyed.quarantined.is_none() && surveyed.time > run.time
        });
        last.push(Failed { run, is_last: !came_since });
    }
    last
}

fn code(look: &Look<'_>) -> ExitCode {
    let (survey, packs, last) = (look.survey, &look.packs, look.ledger.last());
    let is_hit = survey.snapshots.iter().any(|surveyed| surveyed.notes.verified.is_some_and(|verified| verified.findings > 0));
    let damage = Damage {
        is_data_affected: is_hit || packs.lost > 0 || !survey.damaged.is_empty() || last.is_some_and(|last| last.data_affected > 0),
        is_repairable: packs.mendable > 0 || last.is_some_and(|last| last.repairable > 0),
    };
    let groups: Vec<_> = look.groups.iter().map(|group| group.judged.clone()).collect();
    match freshness::verdict(&groups, look.failed.iter().any(|failed| failed.is_last), damage) {
        Verdict::Fine => ExitCode::Done,
        Verdict::Incomplete => ExitCode::Incomplete,
        Verdict::DamageRepairable => ExitCode::DamageRepairable,
        Verdict::DamageData => ExitCode::DamageData,
    }
}

/// What is wrong with the snapshots, one sentence each.
fn problems(look: &Look<'_>) -> Vec<String> {
    let mut problems = Vec::new();
    if look.groups.is_empty() {
        problems.push("there is no snapshot".to_owned());
    }
    for group in look.groups.iter().filter(|group| group.judged.is_bad()) {
        let snapshot = &group.newest.stored.snapshot;
        if !snapshot.is_complete() {
            let last = match group.complete {
                Some(complete) => {
                    format!("the last complete one is {} of {}", complete.stored.id.short(), words::local_time(complete.time))
                }
                None => "no complete one is there".to_owned(),
            };
            problems.push(format!(
                "{}: the newest snapshot is incomplete ({}); {last}",
                group.name(),
                snapshot.incomplete.join("; ")
            ));
        }
        if group.judged.is_stale {
            problems.push(format!("{}: the newest snapshot is {} old", group.name(), age(group.judged.age_seconds)));
        }
    }
    for failed in look.failed.iter().filter(|failed| failed.is_last) {
        let run = failed.run;
        problems.push(format!("{}: the last run, {}, failed: {}", run.host, words::local_time(run.time), run.reason));
    }
    problems
}

/// The last line says `OK` or what is wrong, for a reader who looks at nothing else.
fn conclude(look: &Look<'_>, code: ExitCode, context: &mut Context) -> Result<()> {
    for problem in problems(look) {
        context.out.line(&format!("NOT OK  {}", escape(problem.as_bytes())))?;
    }
    match code {
        ExitCode::Done => context.out.line("OK"),
        ExitCode::DamageData => context.out.line("NOT OK  damage is known, and data is affected: run `esker verify`"),
        ExitCode::DamageRepairable => context.out.line("NOT OK  damage is known, all of it repairable: run `esker repair packs`"),
        _ => Ok(()),
    }
}

fn show(look: &Look<'_>, context: &mut Context) -> Result<()> {
    let (survey, ledger, packs) = (look.survey, look.ledger, &look.packs);
    if look.groups.is_empty() {
        context.out.line("no snapshot")?;
    } else {
        let header = ["Host", "Sources", "Newest", "Time", "Age", ""];
        let rows = |names_columns| look.groups.iter().map(|group| row(group, names_columns)).collect();
        context.out.line(&words::fitted_table(&header, &[], &[3, 2], stdout_columns(), &rows))?;
    }
    for (group, source, text) in lacking(look) {
        let line = format!("warning: {} of snapshot {}: {text}", source, group.newest.stored.id.short());
        context.out.line(&escape(line.as_bytes()))?;
    }
    for failed in &look.failed {
        let run = failed.run;
        let line = format!("last failed run of {}: {}: {}", run.host, words::local_time(run.time), run.reason);
        context.out.line(&escape(line.as_bytes()))?;
    }
    let quarantined = survey.snapshots.iter().filter(|surveyed| surveyed.quarantined.is_some()).count() as u64;
    let mut counts = vec![words::counted(survey.snapshots.len() as u64, "snapshot", "snapshots")];
    let mut count = |number: u64, text: &str| counts.extend((number > 0).then(|| format!("{} {text}", words::count(number))));
    count(quarantined, "quarantined");
    count(survey.damaged.len() as u64, "unreadable");
    count(survey.forgotten.len() as u64, "forgotten and still there");
    context.out.line(&counts.join(", "))?;
    let age = |time: Timestamp| age(survey.clock.seconds.saturating_sub(time.seconds));
    let read = match (packs.never_read, packs.oldest) {
        (never, _) if never > 0 => format!("{} never read back", words::count(never)),
        (_, Some(oldest)) => format!("all read back within {}", age(oldest)),
        _ => "nothing to read back".to_owned(),
    };
    context.out.line(&format!("{} of {}: {read}", words::counted(packs.count, "pack", "packs"), words::size(packs.bytes)))?;
    if packs.lost + packs.mendable > 0 {
        let lost = words::count(packs.lost);
        context.out.line(&format!(
            "KNOWN DAMAGE: {} are damaged, of which {lost} lost data",
            words::counted(packs.lost + packs.mendable, "pack", "packs")
        ))?;
    }
    context.out.line(&match ledger.last() {
        None => "never verified".to_owned(),
        Some(last) if last.repairable + last.data_affected == 0 => format!("verified {} ago: no damage found", age(last.time)),
        Some(last) => format!(
            "verified {} ago: {}, of which {} lost data",
            age(last.time),
            words::counted(last.repairable + last.data_affected, "finding", "findings"),
            words::count(last.data_affected)
        ),
    })
}

/// What restores of the newest snapshots will lack, as their sources said: group, source, sentence.
fn lacking<'a>(look: &'a Look<'_>) -> impl Iterator<Item = (&'a Group<'a>, &'a str, &'a str)> {
    let groups = look.groups.iter().filter(|group| group.judged.silent.is_none());
    groups.flat_map(|group| group.newest.stored.snapshot.warnings().map(move |(source, text)| (group, source, text)))
}

fn row(group: &Group<'_>, names_columns: usize) -> Vec<String> {
    let stored = &group.newest.stored;
    let mut state = Vec::new();
    state.extend((!stored.snapshot.is_complete()).then_some("INCOMPLETE"));
    match group.judged.silent {
        Some(silent) => state.push(groups::silent_word(silent)),
        None => state.extend(group.judged.is_stale.then_some("TOO OLD")),
    }
    let verified = group.newest.notes.verified;
    state.extend(verified.is_some_and(|verified| verified.findings == 0).then_some("verified"));
    state.extend(verified.is_some_and(|verified| verified.findings > 0).then_some("DAMAGED"));
    vec![
        escape(group.judged.host.unwrap_or("(all)").as_bytes()),
        group.judged.sources.as_ref().map_or("(all)".to_owned(), |sources| {
            let sources: Vec<String> = sources.iter().map(|name| escape(name.as_bytes())).collect();
            words::names(&sources, names_columns)
        }),
        stored.id.short(),
        words::local_time(group.newest.time),
        age(group.judged.age_seconds),
        state.join(", "),
    ]
}

/// `12 s`, `5 min`, `7 h`, `3 days`
fn age(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{} s", seconds.max(0)),
        60..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", words::count((seconds / 86_400).unsigned_abs())),
    }
}

fn as_json(look: &Look<'_>, code: ExitCode) -> Value {
    let (survey, ledger, packs) = (look.survey, look.ledger, &look.packs);
    let group = |group: &Group<'_>| {
        let snapshot = &group.newest.stored.snapshot;
        json!({
            "host": group.judged.host,
            "sources": group.judged.sources,
            "tags": group.judged.tags,
            "snapshot_id": group.newest.stored.id.to_hex(),
            "time": words::rfc3339(group.newest.time),
            "age_seconds": group.judged.age_seconds,
            "complete": snapshot.is_complete(),
            "incomplete_reasons": snapshot.incomplete,
            "last_complete": group.complete.map(|complete| json!({
                "snapshot_id": complete.stored.id.to_hex(),
                "time": words::rfc3339(complete.time),
            })),
            "too_old": group.judged.silent.is_none() && group.judged.is_stale,
            "silent": group.judged.silent.map(groups::silent_word),
            "warnings": warnings::as_json(snapshot.warnings()),
        })
    };
    let failed = |failed: &Failed<'_>| {
        let mut json = listing::failed_json(failed.run);
        json["is_last_run"] = failed.is_last.into();
        json
    };
    let last = ledger.last().map(
        |last| json!({ "time": words::rfc3339(last.time), "repairable": last.repairable, "data_affected": last.data_affected }),
    );
    json!({
        "message_type": "status",
        "exit_code": code.number(),
        "problems": problems(look),
        "newest": look.groups.iter().map(group).collect::<Vec<_>>(),
        "failed_runs": look.failed.iter().map(failed).collect::<Vec<_>>(),
        "snapshots": survey.snapshots.len(),
        "quarantined": survey.snapshots.iter().filter(|surveyed| surveyed.quarantined.is_some()).count(),
        "unreadable": survey.damaged.len(),
        "forgotten": survey.forgotten.len(),
        "packs": {
            "count": packs.count,
            "bytes": packs.bytes,
            "never_read": packs.never_read,
            "oldest_read": packs.oldest.map(words::rfc3339),
            "damaged_repairable": packs.mendable,
            "damaged_data_affected": packs.lost,
        },
        "last_verify": last,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_short() {
        assert_eq!([0, 61, 7_300, 200_000].map(age), ["0 s", "1 min", "2 h", "2 days"]);
    }
}
