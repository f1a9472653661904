//! `esker verify`: can everything that snapshots promise be had back?

use std::str::FromStr;

use anyhow::Result;
use bytesize::ByteSize;
use esker::clock::{Clock, SystemClock};
use esker::repository::survey;
use esker::retention::policy::Period;
use esker::verify::{self, Finding, ReadData, VerifyOptions, VerifySummary};
use serde_json::{Value, json};

use crate::args::Verify;
use crate::context::Context;
use crate::error::Usage;
use crate::exit_code::ExitCode;
use crate::shared::place::{self, put_bytes};
use crate::terminal::escape::{escape, escape_lines};
use crate::terminal::words;

/// Checks, prints each finding, and gives the exit code that says how bad it is.
pub fn run(options: &Verify, context: &mut Context) -> Result<ExitCode> {
    let read_data = match &options.read_data_subset {
        _ if options.read_data => ReadData::All,
        Some(part) => parse(part)?,
        None => options.max_age.map_or(Ok(ReadData::Nothing), |age| seconds(age).map(ReadData::Unread))?,
    };
    let repository = context.open()?;
    let snapshots = place::only(&repository, &options.snapshots, &options.filter, context)?;
    let monitor = context.monitor();
    let begun = std::time::Instant::now();
    let mut findings = Vec::new();
    let mut each = |finding: &Finding| findings.push(finding.clone());
    let summary = verify::run(
        &repository,
        &VerifyOptions { snapshots, read_data, record: !options.no_record },
        &monitor,
        &context.stop,
        &mut each,
    )?;
    if !options.no_record
        && let Err(error) = survey::survey(&repository).and_then(|survey| survey.record(&repository))
    {
        context.progress.warn(&format!("the time when snapshots were first seen could not be recorded: {error}"));
    }
    context.progress.finish();
    for finding in &findings {
        print(finding, context)?;
    }
    conclude(&summary, context, begun.elapsed().as_secs_f64())?;
    Ok(match (summary.data_affected, summary.findings) {
        (0, 0) => ExitCode::Done,
        (0, _) => ExitCode::DamageRepairable,
        _ => ExitCode::DamageData,
    })
}

/// How long a period is, measured back from now.
fn seconds(period: Period) -> Result<u64> {
    let now = SystemClock::new().now();
    let refuse = || Usage::new(format!("--max-age {period} is not an age")).hint("such as 30d");
    let then = period.before(now, &jiff::tz::TimeZone::system()).ok_or_else(refuse)?;
    Ok(u64::try_from(now.seconds.saturating_sub(then.seconds)).map_err(|_| refuse())?)
}

/// `n/m`, `x%`, or a size.
fn parse(part: &str) -> Result<ReadData> {
    let refuse = || {
        Usage::new(format!("--read-data-subset {part:?} is not n/m, x% or a size"))
            .hint("such as 1/7 (a seventh: seven runs read everything), 5%, or 10GiB")
    };
    let part = part.trim();
    if let Some((n, m)) = part.split_once('/') {
        let (n, m) = (n.parse::<u32>().map_err(|_| refuse())?, m.parse::<u32>().map_err(|_| refuse())?);
        if n == 0 || n > m {
            return Err(Usage::new(format!("--read-data-subset {part:?}: the first number is between 1 and the second")).into());
        }
        return Ok(ReadData::Part { n, m });
    }
    if let Some(percent) = part.strip_suffix('%') {
        let percent: f64 = percent.trim().parse().map_err(|_| refuse())?;
        if !(percent > 0.0 && percent <= 100.0) {
            return Err(Usage::new(format!("--read-data-subset {part:?}: between 0 and 100%")).into());
        }
        return Ok(ReadData::Percent(percent));
    }
    match ByteSize::from_str(part) {
        Ok(size) if size.as_u64() > 0 => Ok(ReadData::Bytes(size.as_u64())),
        _ => Err(refuse().into()),
    }
}

fn print(finding: &Finding, context: &mut Context) -> Result<()> {
    if context.out.json {
        return context.out.json(&as_json(finding));
    }
    let what = if finding.data_affected { "DATA LOST" } else { "repairable" };
    context.out.line(&format!("{what}  {}  {}", finding.kind, escape(finding.object.as_bytes())))?;
    context.out.line(&format!("    {}", escape_lines(&finding.detail)))?;
    if !finding.snapshots.is_empty() {
        let ids: Vec<String> = finding.snapshots.iter().map(|id| id.short()).collect();
        context.out.line(&format!("    snapshots: {}", ids.join(" ")))?;
    }
    for path in &finding.paths {
        context.out.line(&format!("    path: {}", escape(path)))?;
    }
    let more = finding.places.saturating_sub(finding.paths.len() as u64);
    if more > 0 && !finding.paths.is_empty() {
        context.out.line(&format!("    in {} altogether", words::counted(finding.places, "place", "places")))?;
    }
    Ok(())
}

fn as_json(finding: &Finding) -> Value {
    // Paths in one array are all text; one that is not is escaped as it is for a person.
    let path = |path: &Vec<u8>| {
        let mut object = serde_json::Map::new();
        put_bytes(&mut object, "path", path);
        if object.len() > 1 { Value::from(escape(path)) } else { object.remove("path").unwrap_or_default() }
    };
    json!({
        "message_type": "finding",
        "kind": finding.kind.name(),
        "object": finding.object,
        "detail": finding.detail,
        "data_affected": finding.data_affected,
        "snapshots": finding.snapshots.iter().map(|id| id.to_hex()).collect::<Vec<_>>(),
        "paths": finding.paths.iter().map(path).collect::<Vec<_>>(),
        "places": finding.places,
    })
}

fn conclude(summary: &VerifySummary, context: &mut Context, seconds: f64) -> Result<()> {
    if context.out.json {
        return context.out.json(&json!({
            "message_type": "summary",
            "findings": summary.findings,
            "repairable": summary.repairable,
            "data_affected": summary.data_affected,
            "packs": summary.packs_listed,
            "packs_read": summary.packs_read,
            "bytes_read": summary.bytes_read,
            "snapshots_checked": summary.snapshots_checked,
            "total_duration": seconds,
        }));
    }
    context.out.remark(&format!(
        "checked {} and {}, read {} of them back ({}), in {}",
        words::counted(summary.snapshots_checked, "snapshot", "snapshots"),
        words::counted(summary.packs_listed, "pack", "packs"),
        words::count(summary.packs_read),
        words::size(summary.bytes_read),
        words::duration(seconds),
    ))?;
    context.out.remark(&match (summary.findings, summary.data_affected) {
        (0, _) => "no damage found".to_owned(),
        (found, 0) => format!(
            "{}, and everything can still be restored; `esker repair --help` shows how to repair it",
            words::counted(found, "finding", "findings")
        ),
        (found, lost) => format!(
            "{}, of which {} lost data; `esker repair --help` shows what may restore it",
            words::counted(found, "finding", "findings"),
            words::count(lost)
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subset_is_a_fraction_a_percentage_or_a_size() {
        assert_eq!(parse("2/7").unwrap(), ReadData::Part { n: 2, m: 7 });
        assert_eq!(parse("2.5%").unwrap(), ReadData::Percent(2.5));
        assert_eq!(parse("1 GiB").unwrap(), ReadData::Bytes(1 << 30));
        for wrong in ["0/7", "8/7", "1/0", "x", "", "0%", "101%", "-1%", "NaN%", "0"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
