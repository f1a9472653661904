//! Groups of snapshots, and which of them `status` still raises an alarm for.

use esker::clock::Timestamp;
use esker::prune::policy::{GroupBy, Period};
use esker::prune::survey::{Survey, Surveyed};

use crate::args::Status;
use crate::shared::place;

/// A group with a single snapshot is a trial run when it is older than this, in seconds, and older than four times `--max-age`.
const TRIAL_AGE: i64 = 14 * 86_400;
/// So many complete snapshots of other sources, taken since, show that a service was set up anew.
const REPLACEMENTS: usize = 3;

/// Snapshots that are looked at together.
pub struct Group<'a> {
    /// Their host, when grouped by it.
    pub host: Option<&'a str>,
    /// Names of their sources, when grouped by them.
    pub sources: Option<Vec<&'a str>>,
    /// Their tags, when grouped by them.
    pub tags: Option<&'a [String]>,
    /// The newest one that is believed.
    pub newest: &'a Surveyed,
    /// The newest complete one.
    pub complete: Option<&'a Surveyed>,
    /// Seconds since the newest.
    pub age: i64,
    /// Older than `--max-age`.
    pub is_stale: bool,
    /// Why it raises no alarm, whatever its newest snapshot is.
    pub silent: Option<Silent>,
    first: Timestamp,
    count: usize,
    count_complete: usize,
}

/// Why a group raises no alarm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Silent {
    /// Newer complete snapshots of the same host hold its sources, or took their place.
    Superseded,
    /// It has one snapshot, made long ago, and its host has newer ones.
    Trial,
}

impl Silent {
    /// For a person and for JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Superseded => "superseded",
            Self::Trial => "made once",
        }
    }
}

impl Group<'_> {
    /// Is its newest snapshot one that somebody has to look at?
    pub fn is_bad(&self) -> bool {
        self.silent.is_none() && (self.is_stale || !self.newest.stored.snapshot.is_complete())
    }

    /// `auth01: database, media`
    pub fn name(&self) -> String {
        let host = self.host.unwrap_or("all hosts");
        match &self.sources {
            Some(sources) => format!("{host}: {}", sources.join(", ")),
            None => host.to_owned(),
        }
    }

    fn is_beside(&self, other: &Self) -> bool {
        self.host == other.host && self.tags == other.tags && self.sources != other.sources
    }
}

/// All groups, in order; quarantined snapshots are not looked at.
pub fn groups<'a>(options: &Status, by: GroupBy, survey: &'a Survey) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    let believed =
        survey.snapshots.iter().filter(|surveyed| surveyed.quarantined.is_none() && place::passes(&options.filter, surveyed));
    let mut believed: Vec<&Surveyed> = believed.collect();
    believed.sort_by_key(|surveyed| (surveyed.time, surveyed.stored.id));
    for surveyed in believed {
        let is_complete = surveyed.stored.snapshot.is_complete();
        let (host, sources, tags) = key(by, surveyed);
        let is_it = |other: &Group<'_>| (other.host, &other.sources, other.tags) == (host, &sources, tags);
        let place = groups.iter().position(is_it).unwrap_or(groups.len());
        if place == groups.len() {
            groups.push(Group {
                host,
                sources,
                tags,
                newest: surveyed,
                complete: None,
                age: 0,
                is_stale: false,
                silent: None,
                first: surveyed.time,
                count: 0,
                count_complete: 0,
            });
        }
        let group = &mut groups[place];
        group.newest = surveyed;
        group.count += 1;
        if is_complete {
            group.complete = Some(surveyed);
            group.count_complete += 1;
        }
    }
    for group in &mut groups {
        group.age = survey.clock.seconds.saturating_sub(group.newest.time.seconds);
        group.is_stale = options.max_age.is_some_and(|max_age| is_older(group.newest.time, max_age, survey.clock));
    }
    let trial_age = options.max_age.map_or(TRIAL_AGE, |max_age| TRIAL_AGE.max(seconds(max_age, survey.clock).saturating_mul(4)));
    let silent: Vec<Option<Silent>> = groups.iter().map(|group| silent(group, &groups, trial_age)).collect();
    for (group, silent) in groups.iter_mut().zip(silent) {
        group.silent = silent;
    }
    groups.sort_by(|a, b| (a.host, &a.sources, a.tags).cmp(&(b.host, &b.sources, b.tags)));
    groups
}

/// Groups that differ in their sources alone may follow each other. Each rule wants a newer complete snapshot, so that the newest
/// group of a host is never silent.
fn silent(group: &Group<'_>, all: &[Group<'_>], trial_age: i64) -> Option<Silent> {
    let mine = group.sources.as_ref()?;
    let last = group.newest.time;
    let newer = |other: &&Group<'_>| other.is_beside(group) && other.complete.is_some_and(|complete| complete.time > last);
    let follows = |other: &Group<'_>| {
        let theirs = other.sources.as_deref().unwrap_or_default();
        let holds_all = mine.iter().all(|name| theirs.contains(name));
        let shares = mine.iter().any(|name| theirs.contains(name));
        holds_all || (shares && other.first > last && other.count_complete >= REPLACEMENTS)
    };
    let mut newer = all.iter().filter(newer).peekable();
    let has_newer = newer.peek().is_some();
    if newer.any(follows) {
        return Some(Silent::Superseded);
    }
    (has_newer && group.count == 1 && group.age > trial_age).then_some(Silent::Trial)
}

/// What a snapshot is told apart by.
type Key<'a> = (Option<&'a str>, Option<Vec<&'a str>>, Option<&'a [String]>);

fn key(by: GroupBy, surveyed: &Surveyed) -> Key<'_> {
    let snapshot = &surveyed.stored.snapshot;
    let mut sources: Vec<&str> = snapshot.sources.iter().map(|source| source.name.as_str()).collect();
    sources.sort_unstable();
    (by.host.then_some(snapshot.host.as_str()), by.sources.then_some(sources), by.tags.then_some(surveyed.tags.as_slice()))
}

/// Nothing is too old for a period without end.
pub fn is_older(time: Timestamp, max_age: Period, now: Timestamp) -> bool {
    max_age.before(now, &jiff::tz::TimeZone::system()).is_some_and(|then| time < then)
}

fn seconds(period: Period, now: Timestamp) -> i64 {
    period.before(now, &jiff::tz::TimeZone::system()).map_or(i64::MAX, |then| now.seconds.saturating_sub(then.seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_old_goes_by_the_calendar_and_nothing_is_older_than_for_ever() {
        let at = |seconds| Timestamp { seconds, nanoseconds: 0 };
        assert!(is_older(at(0), "1h".parse().unwrap(), at(3_601)));
        assert!(!is_older(at(0), "1h".parse().unwrap(), at(3_600)));
        assert!(!is_older(at(0), Period::Unlimited, at(i64::MAX)));
    }
}
