//! What narrows `latest` beside the filter of the command line, and how the choice is shown.

use esker::repository::StoredSnapshot;
use esker::repository::latest::{Candidate, Wish};
use esker::repository::survey::Surveyed;

use crate::args::Filter;
use crate::context::Context;
use crate::sources;
use crate::terminal::words;

/// A surveyed snapshot counts at the time of the survey.
pub fn of_surveyed(surveyed: &Surveyed) -> Candidate<'_> {
    Candidate { time: surveyed.time, is_believed: surveyed.quarantined.is_none(), ..of_stored(&surveyed.stored) }
}

/// Without a survey, a snapshot counts at the time that it claims.
pub fn of_stored(stored: &StoredSnapshot) -> Candidate<'_> {
    let snapshot = &stored.snapshot;
    let sources = snapshot.sources.iter().map(|source| source.name.as_str()).collect();
    Candidate { id: stored.id, host: &snapshot.host, sources, time: snapshot.time, is_believed: true }
}

/// A config file that has sources or a host narrows `latest`, except where the command line says otherwise. A preset finds its sources
/// itself, so they are not among those of the config file.
pub fn wish(filter: &Filter, context: &Context) -> Wish {
    let settings = &context.settings;
    let narrows = settings.host.is_some() || !settings.sources.is_empty();
    Wish {
        host: (filter.host.is_none() && narrows).then(|| context.host()),
        sources: if filter.source.is_none() { sources::configured(settings) } else { Vec::new() },
    }
}

/// Columns for the names of sources in one sentence.
const SOURCES_COLUMNS_MAX: usize = 60;

/// `snapshot 3fa2c1d0 of host auth01, 2026-11-30 03:15:00, sources database, media`
pub fn describe(stored: &StoredSnapshot) -> String {
    let snapshot = &stored.snapshot;
    let names: Vec<String> = snapshot.sources.iter().map(|source| source.name.clone()).collect();
    let incomplete = if snapshot.is_complete() { "" } else { ", INCOMPLETE" };
    format!(
        "snapshot {} of host {}, {}, sources {}{incomplete}",
        stored.id.short(),
        snapshot.host,
        words::local_time(snapshot.time),
        words::names(&names, SOURCES_COLUMNS_MAX)
    )
}
