//! `esker status`: is the newest snapshot fresh and complete, and what was proved of what is stored? For people, and for monitoring.

use anyhow::Result;
use esker::clock::Timestamp;
use esker::id::PackId;
use esker::prune::policy::{GroupBy, Period};
use esker::prune::survey::{Survey, Surveyed};
use esker::repository::ledger::{Ledger, Wrong};
use esker::repository::{Repository, gc};
use serde_json::{Value, json};

use super::{Context, doctor, forget, place};
use crate::args::Status;
use crate::exit_code::ExitCode;
use crate::terminal::escape::escape;
use crate::terminal::words;

mod metrics;
mod writer;

/// The newest snapshot of a group that is believed.
struct Newest<'a> {
    host: Option<&'a str>,
    sources: Option<Vec<&'a str>>,
    tags: Option<&'a [String]>,
    surveyed: &'a Surveyed,
    /// Seconds.
    age: i64,
    stale: bool,
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
    if !repository.keys().is_owner() {
        let code = writer::run(options, &repository, context)?;
        if let Some(path) = &options.metrics {
            metrics::write(path, None, code, context)?;
        }
        return Ok(code);
    }
    let survey = forget::look(&repository, context)?;
    if let Err(error) = survey.record(&repository) {
        context.progress.warn(&format!("what was seen for the first time could not be written down: {error}"));
    }
    let ledger = Ledger::new(survey.notes.proofs(), survey.clock);
    let packs = packs(&repository, &ledger)?;
    let newest = newest(options, &survey);
    let code = code(&survey, &ledger, &packs, &newest);
    if let Some(path) = &options.metrics {
        let seen = metrics::Seen { survey: &survey, ledger: &ledger, packs: &packs };
        metrics::write(path, Some(&seen), code, context)?;
    }
    match context.out.json {
        true => {
            let mut line = as_json(&survey, &ledger, &packs, &newest, code);
            line["class"] = doctor::class_json(repository.config().class).into();
            context.out.json(&line)?;
        }
        false => {
            show(&survey, &ledger, &packs, &newest, context)?;
            if let Some(sentence) = doctor::about_class(&repository) {
                context.out.line(&sentence)?;
            }
        }
    }
    Ok(code)
}

fn packs(repository: &Repository, ledger: &Ledger) -> Result<Packs> {
    let bad = gc::read(repository, &mut repository.open_cache()?)?.bad;
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
    gc::list_packs(repository)?.into_iter().filter(|(id, _)| !bad.contains(id)).for_each(|(id, size)| each(id, size));
    Ok(packs)
}

fn newest<'a>(options: &Status, survey: &'a Survey) -> Vec<Newest<'a>> {
    let by = options.group_by.unwrap_or_default();
    let mut groups: Vec<Newest<'a>> = Vec::new();
    let believed =
        survey.snapshots.iter().filter(|surveyed| surveyed.quarantined.is_none() && place::passes(&options.filter, surveyed));
    for surveyed in believed {
        let found = group(by, surveyed);
        let age = survey.clock.seconds.saturating_sub(surveyed.time.seconds);
        let stale = options.max_age.is_some_and(|max_age| is_older(surveyed.time, max_age, survey.clock));
        let found = Newest { host: found.0, sources: found.1, tags: found.2, surveyed, age, stale };
        match groups.iter_mut().find(|other| (other.host, &other.sources, other.tags) == (found.host, &found.sources, found.tags)) {
            Some(other) if (other.surveyed.time, other.surveyed.stored.id) < (surveyed.time, surveyed.stored.id) => *other = found,
            Some(_) => {}
            None => groups.push(found),
        }
    }
    groups.sort_by(|a, b| (a.host, &a.sources, a.tags).cmp(&(b.host, &b.sources, b.tags)));
    groups
}

/// What a snapshot is told apart by.
type Key<'a> = (Option<&'a str>, Option<Vec<&'a str>>, Option<&'a [String]>);

fn group(by: GroupBy, surveyed: &Surveyed) -> Key<'_> {
    let snapshot = &surveyed.stored.snapshot;
    let mut sources: Vec<&str> = snapshot.sources.iter().map(|source| source.name.as_str()).collect();
    sources.sort_unstable();
    (by.host.then_some(snapshot.host.as_str()), by.sources.then_some(sources), by.tags.then_some(surveyed.tags.as_slice()))
}

/// Nothing is too old for a period without end.
fn is_older(time: Timestamp, max_age: Period, now: Timestamp) -> bool {
    max_age.before(now, &jiff::tz::TimeZone::system()).is_some_and(|then| time < then)
}

fn code(survey: &Survey, ledger: &Ledger, packs: &Packs, newest: &[Newest<'_>]) -> ExitCode {
    let last = ledger.last();
    let hit = survey.snapshots.iter().any(|surveyed| surveyed.notes.verified.is_some_and(|verified| verified.findings > 0));
    if hit || packs.lost > 0 || !survey.damaged.is_empty() || last.is_some_and(|last| last.data_affected > 0) {
        return ExitCode::DamageData;
    }
    if packs.mendable > 0 || last.is_some_and(|last| last.repairable > 0) {
        return ExitCode::DamageRepairable;
    }
    let bad = newest.iter().any(|newest| newest.stale || !newest.surveyed.stored.snapshot.is_complete());
    if bad || newest.is_empty() { ExitCode::Incomplete } else { ExitCode::Done }
}

fn show(survey: &Survey, ledger: &Ledger, packs: &Packs, newest: &[Newest<'_>], context: &mut Context) -> Result<()> {
    if newest.is_empty() {
        context.out.line("no snapshot")?;
    } else {
        let rows = newest.iter().map(row).collect();
        context.out.line(&words::table(&["Host", "Sources", "Newest", "Time", "Age", ""], &[], rows))?;
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

fn row(newest: &Newest<'_>) -> Vec<String> {
    let stored = &newest.surveyed.stored;
    let mut state = Vec::new();
    state.extend((!stored.snapshot.is_complete()).then_some("INCOMPLETE"));
    state.extend(newest.stale.then_some("TOO OLD"));
    let verified = newest.surveyed.notes.verified;
    state.extend(verified.is_some_and(|verified| verified.findings == 0).then_some("verified"));
    state.extend(verified.is_some_and(|verified| verified.findings > 0).then_some("DAMAGED"));
    vec![
        escape(newest.host.unwrap_or("(all)").as_bytes()),
        newest.sources.as_ref().map_or("(all)".to_owned(), |sources| escape(sources.join(",").as_bytes())),
        stored.id.short(),
        words::local_time(newest.surveyed.time),
        age(newest.age),
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

fn as_json(survey: &Survey, ledger: &Ledger, packs: &Packs, newest: &[Newest<'_>], code: ExitCode) -> Value {
    let group = |newest: &Newest<'_>| {
        json!({
            "host": newest.host,
            "sources": newest.sources,
            "tags": newest.tags,
            "snapshot_id": newest.surveyed.stored.id.to_hex(),
            "time": words::rfc3339(newest.surveyed.time),
            "age_seconds": newest.age,
            "complete": newest.surveyed.stored.snapshot.is_complete(),
            "too_old": newest.stale,
        })
    };
    let last = ledger.last().map(
        |last| json!({ "time": words::rfc3339(last.time), "repairable": last.repairable, "data_affected": last.data_affected }),
    );
    json!({
        "message_type": "status",
        "exit_code": code.number(),
        "newest": newest.iter().map(group).collect::<Vec<_>>(),
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

    #[test]
    fn too_old_goes_by_the_calendar_and_nothing_is_older_than_for_ever() {
        let at = |seconds| Timestamp { seconds, nanoseconds: 0 };
        assert!(is_older(at(0), "1h".parse().unwrap(), at(3_601)));
        assert!(!is_older(at(0), "1h".parse().unwrap(), at(3_600)));
        assert!(!is_older(at(0), Period::Unlimited, at(i64::MAX)));
    }
}
