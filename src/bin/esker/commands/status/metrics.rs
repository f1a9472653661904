//! `status --metrics FILE`: what Prometheus reads, through the textfile collector of node_exporter.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context as _, Result};
use esker::clock::{Clock, SystemClock, Timestamp};
use esker::format::snapshot::SourceStatus;
use esker::records::ledger::Ledger;
use esker::repository::survey::{Survey, Surveyed};
use serde_json::Value;

use super::Packs;
use crate::around::record;
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::terminal::escape::escape;

/// What an owner sees of a repository.
pub struct Seen<'a> {
    /// Its snapshots.
    pub survey: &'a Survey,
    /// What was proved.
    pub ledger: &'a Ledger,
    /// Its packs.
    pub packs: &'a Packs,
}

/// Writes the file beside itself and renames it. `seen`: none with a writer key, which opens no snapshot.
pub fn write(path: &Path, seen: Option<&Seen<'_>>, code: ExitCode, context: &Context) -> Result<()> {
    let mut page = Page::default();
    page.add("esker_status_timestamp_seconds", "When this was written.", &[], SystemClock::new().now().seconds);
    page.add("esker_status_exit_code", "Exit code of `esker status`.", &[], code.number());
    if let Some(seen) = seen {
        repository(seen, &mut page);
        newest(seen.survey, &mut page);
        failed(seen.survey, &mut page);
    }
    record::all(context).iter().for_each(|run| last_run(run, &mut page));
    let shown = escape(path.as_os_str().as_encoded_bytes());
    // The collector runs as another user.
    record::replace(path, page.text().as_bytes(), 0o644).with_context(|| format!("writing {shown}"))
}

fn repository(seen: &Seen<'_>, page: &mut Page) {
    let (survey, packs) = (seen.survey, seen.packs);
    page.add("esker_snapshots", "Snapshots in the repository.", &[], survey.snapshots.len());
    page.add("esker_snapshots_unreadable", "Snapshots that cannot be opened.", &[], survey.damaged.len());
    page.add("esker_packs", "Packs in the repository.", &[], packs.count);
    page.add("esker_stored_bytes", "Bytes of all packs.", &[], packs.bytes);
    page.add("esker_packs_never_read", "Packs that were never read back.", &[], packs.never_read);
    if let Some(oldest) = packs.oldest {
        let help = "When the pack that was read back longest ago was read.";
        page.add("esker_oldest_proof_timestamp_seconds", help, &[], oldest.seconds);
    }
    let help = "Packs that are known to be damaged.";
    page.add("esker_packs_damaged", help, &[("kind", "repairable")], packs.mendable);
    page.add("esker_packs_damaged", help, &[("kind", "lost")], packs.lost);
    if let Some(last) = seen.ledger.last() {
        page.add("esker_last_verify_timestamp_seconds", "When the last verification ended.", &[], last.time.seconds);
        let help = "Findings of the last verification.";
        page.add("esker_last_verify_findings", help, &[("kind", "repairable")], last.repairable);
        page.add("esker_last_verify_findings", help, &[("kind", "data_affected")], last.data_affected);
    }
}

/// For each host the run that failed last; the repository keeps it also of other machines.
fn failed(survey: &Survey, page: &mut Page) {
    let mut hosts: BTreeMap<&str, i64> = BTreeMap::new();
    for run in &survey.failed {
        let last = hosts.entry(&run.host).or_insert(run.time.seconds);
        *last = (*last).max(run.time.seconds);
    }
    for (host, time) in hosts {
        let newest = survey.snapshots.iter().filter(|surveyed| surveyed.stored.snapshot.host == host).map(|surveyed| surveyed.time);
        let is_last = newest.max().is_none_or(|newest| newest.seconds < time);
        let labels = [("host", host)];
        page.add("esker_last_failed_run_timestamp_seconds", "When a run of this host failed last.", &labels, time);
        let help = "Has a run of this host failed since its newest snapshot?";
        page.add("esker_failed_since_last_snapshot", help, &labels, u8::from(is_last));
    }
}

/// For each host, and each source of it, what its newest snapshots say.
fn newest(survey: &Survey, page: &mut Page) {
    let mut hosts: BTreeMap<&str, Vec<&Surveyed>> = BTreeMap::new();
    for surveyed in survey.snapshots.iter().filter(|surveyed| surveyed.quarantined.is_none()) {
        hosts.entry(&surveyed.stored.snapshot.host).or_default().push(surveyed);
    }
    for (host, mut snapshots) in hosts {
        snapshots.sort_by_key(|surveyed| (surveyed.time, surveyed.stored.id));
        if let Some(last) = snapshots.last() {
            let labels = [("host", host)];
            let help = "Plaintext bytes of the newest snapshot.";
            page.add("esker_last_snapshot_bytes", help, &labels, last.stored.snapshot.totals.bytes);
            let help = "Entries of the newest snapshot.";
            page.add("esker_last_snapshot_entries", help, &labels, last.stored.snapshot.totals.entries);
            if let Some(run) = last.stored.snapshot.run() {
                let help = "Bytes that the newest snapshot stored.";
                page.add("esker_last_snapshot_added_bytes", help, &labels, run.bytes_added);
                let help = "How long the newest snapshot took.";
                page.add("esker_last_snapshot_duration_seconds", help, &labels, run.duration.as_secs_f64());
            }
        }
        let mut names: Vec<&str> =
            snapshots.iter().flat_map(|surveyed| &surveyed.stored.snapshot.sources).map(|source| source.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().for_each(|name| source(host, name, &snapshots, page));
    }
}

fn source(host: &str, name: &str, snapshots: &[&Surveyed], page: &mut Page) {
    let labels = [("host", host), ("source", name)];
    let entry = |surveyed: &Surveyed| surveyed.stored.snapshot.sources.iter().find(|source| source.name == name).cloned();
    let mut with = snapshots.iter().rev().filter_map(|surveyed| Some((surveyed, entry(surveyed)?)));
    let Some((last, of_last)) = with.next() else { return };
    let complete = |surveyed: &Surveyed| surveyed.stored.snapshot.is_complete();
    let newest_complete = std::iter::once((last, of_last.clone()))
        .chain(with)
        .find(|(surveyed, source)| complete(surveyed) && source.status != SourceStatus::OptionalFailed);
    let help = "When the newest snapshot with this source was taken.";
    page.add("esker_last_snapshot_timestamp_seconds", help, &labels, last.time.seconds);
    let help = "Is the newest snapshot with this source complete?";
    page.add("esker_last_snapshot_complete", help, &labels, u8::from(complete(last)));
    if let Some((surveyed, _)) = newest_complete {
        let help = "When the newest complete snapshot with this source was taken. It moves when one is committed, and only then.";
        page.add("esker_last_complete_snapshot_timestamp_seconds", help, &labels, surveyed.time.seconds);
    }
    let help = "How long this source took in the newest snapshot.";
    page.add("esker_source_duration_seconds", help, &labels, seconds_between(of_last.start, of_last.end));
    if !of_last.streams.is_empty() {
        let help = "Plaintext bytes of the streams of this source in the newest snapshot.";
        page.add("esker_source_stream_bytes", help, &labels, of_last.streams.iter().map(|stream| stream.bytes).sum::<u64>());
    }
}

#[expect(clippy::cast_precision_loss, reason = "a duration in seconds")]
fn seconds_between(start: Timestamp, end: Timestamp) -> f64 {
    let nanoseconds = i64::from(end.nanoseconds) - i64::from(start.nanoseconds);
    // A clock that was set back meanwhile tells nothing.
    (end.seconds.saturating_sub(start.seconds) as f64 + nanoseconds as f64 / 1e9).max(0.0)
}

/// A record of this machine.
fn last_run(run: &Value, page: &mut Page) {
    let Some(host) = run["host"].as_str() else { return };
    let labels = [("host", host)];
    let mut number = |name: &str, help: &str, value: &Value| {
        if value.is_number() {
            page.add(name, help, &labels, value);
        }
    };
    number("esker_last_run_timestamp_seconds", "When the last run on this machine ended.", &run["ended_at"]);
    number("esker_last_run_exit_code", "How the last run on this machine ended.", &run["exit_code"]);
    number("esker_last_run_duration_seconds", "How long the last run on this machine took.", &run["duration"]);
    let summary = &run["summary"];
    let help = "Bytes that the last run on this machine wrote to the store.";
    number("esker_last_run_added_bytes", help, &summary["data_added_packed"]);
    number("esker_last_run_bytes", "Plaintext bytes of the last run on this machine.", &summary["total_bytes_processed"]);
    for source in summary["sources"].as_array().into_iter().flatten() {
        let (Some(name), Some(bytes)) = (source["name"].as_str(), source["bytes"].as_u64()) else { continue };
        let help = "Plaintext bytes of this source in the last run on this machine.";
        page.add("esker_last_run_source_bytes", help, &[("host", host), ("source", name)], bytes);
    }
}

/// A page in the text format of Prometheus: the samples of one metric stand together, below what it means.
#[derive(Default)]
struct Page(BTreeMap<String, (String, Vec<String>)>);

impl Page {
    fn add(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{}\"", label_value(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let metric = self.0.entry(name.to_owned()).or_insert_with(|| (help.to_owned(), Vec::new()));
        metric.1.push(format!("{name}{labels} {value}"));
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (name, (help, samples)) in &self.0 {
            // Writing to a String does not fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
            for sample in samples {
                let _ = writeln!(text, "{sample}");
            }
        }
        text
    }
}

fn label_value(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_cannot_break_the_line() {
        let mut page = Page::default();
        page.add("esker_x", "Help.", &[("host", "a\"b\\c\nd")], 1);
        page.add("esker_x", "Help.", &[("host", "e")], 2.5);
        let expected = "# HELP esker_x Help.\n# TYPE esker_x gauge\nesker_x{host=\"a\\\"b\\\\c\\nd\"} 1\nesker_x{host=\"e\"} 2.5\n";
        assert_eq!(page.text(), expected);
    }
}
