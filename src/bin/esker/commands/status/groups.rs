//! Groups of snapshots as `status` shows them. The library judges them.

use esker::clock::Timestamp;
use esker::repository::freshness::{self, Limits, Seen, Silent, TRIAL_AGE_SECONDS};
use esker::repository::survey::{Survey, Surveyed};
use esker::retention::policy::{GroupBy, Period};

use crate::args::Status;
use crate::shared::place;

/// A group, with what the survey knows of its snapshots.
pub struct Group<'a> {
    /// What the library says of it.
    pub judged: freshness::Group<'a>,
    /// The newest snapshot.
    pub newest: &'a Surveyed,
    /// The newest complete snapshot.
    pub complete: Option<&'a Surveyed>,
}

impl Group<'_> {
    /// `auth01: database, media`
    pub fn name(&self) -> String {
        let host = self.judged.host.unwrap_or("all hosts");
        match &self.judged.sources {
            Some(sources) => format!("{host}: {}", sources.join(", ")),
            None => host.to_owned(),
        }
    }
}

/// For a person and for JSON.
pub fn silent_word(silent: Silent) -> &'static str {
    match silent {
        Silent::Superseded => "superseded",
        Silent::Trial => "made once",
    }
}

/// All groups, in order; quarantined snapshots do not count.
pub fn groups<'a>(options: &Status, by: GroupBy, survey: &'a Survey) -> Vec<Group<'a>> {
    let counts = |surveyed: &&Surveyed| surveyed.quarantined.is_none() && place::passes(&options.filter, surveyed);
    let seen = survey.snapshots.iter().filter(counts).map(|surveyed| seen(by, surveyed)).collect();
    let trial_age = options.max_age.map_or(0, |max_age| seconds(max_age, survey.clock).saturating_mul(4));
    let limits = Limits {
        now: survey.clock,
        oldest: options.max_age.and_then(|max_age| oldest(max_age, survey.clock)),
        trial_age_seconds: TRIAL_AGE_SECONDS.max(trial_age),
    };
    let groups = freshness::groups(seen, limits).into_iter();
    let with_snapshots = |judged: freshness::Group<'a>| {
        let newest = survey.get(&judged.newest)?;
        Some(Group { newest, complete: judged.complete.and_then(|id| survey.get(&id)), judged })
    };
    groups.filter_map(with_snapshots).collect()
}

fn seen(by: GroupBy, surveyed: &Surveyed) -> Seen<'_> {
    let snapshot = &surveyed.stored.snapshot;
    let mut sources: Vec<&str> = snapshot.sources.iter().map(|source| source.name.as_str()).collect();
    sources.sort_unstable();
    Seen {
        id: surveyed.stored.id,
        time: surveyed.time,
        is_complete: snapshot.is_complete(),
        host: by.host.then_some(snapshot.host.as_str()),
        sources: by.sources.then_some(sources),
        tags: by.tags.then_some(surveyed.tags.as_slice()),
    }
}

/// The oldest time that is fresh; none: the period has no end.
fn oldest(max_age: Period, now: Timestamp) -> Option<Timestamp> {
    max_age.before(now, &jiff::tz::TimeZone::system())
}

/// Is this older than the period? Nothing is older than a period without end.
pub fn is_older(time: Timestamp, max_age: Period, now: Timestamp) -> bool {
    oldest(max_age, now).is_some_and(|oldest| time < oldest)
}

fn seconds(period: Period, now: Timestamp) -> i64 {
    oldest(period, now).map_or(i64::MAX, |then| now.seconds.saturating_sub(then.seconds))
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
