//! Whether backups are fresh and complete: snapshots in groups, and which groups and runs raise an alarm.

use crate::clock::Timestamp;
use crate::id::SnapshotId;

/// A group with a single snapshot is a trial run if it is older than this, in seconds.
pub const TRIAL_AGE_SECONDS: i64 = 14 * 86_400;
/// So many complete snapshots of other sources, taken since, show that a service was set up anew.
const REPLACEMENTS: usize = 3;

/// A snapshot whose time is believed.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// Its id.
    pub id: SnapshotId,
    /// When it counts.
    pub time: Timestamp,
    /// Nothing is missing in it.
    pub is_complete: bool,
    /// Its host, if groups differ by host.
    pub host: Option<&'a str>,
    /// The names of its sources in order, if groups differ by sources.
    pub sources: Option<Vec<&'a str>>,
    /// Its tags, if groups differ by tags.
    pub tags: Option<&'a [String]>,
}

/// What is fresh.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The present.
    pub now: Timestamp,
    /// An older newest snapshot is too old; none: no snapshot is.
    pub oldest: Option<Timestamp>,
    /// A group with a single snapshot of this age is a trial run.
    pub trial_age_seconds: i64,
}

/// Snapshots that are judged together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group<'a> {
    /// Their host, if groups differ by host.
    pub host: Option<&'a str>,
    /// The names of their sources, if groups differ by sources.
    pub sources: Option<Vec<&'a str>>,
    /// Their tags, if groups differ by tags.
    pub tags: Option<&'a [String]>,
    /// The newest snapshot.
    pub newest: SnapshotId,
    /// The newest complete snapshot.
    pub complete: Option<SnapshotId>,
    /// Seconds since the newest snapshot.
    pub age_seconds: i64,
    /// The newest snapshot is too old.
    pub is_stale: bool,
    /// Why the group raises no alarm, whatever its newest snapshot is.
    pub silent: Option<Silent>,
    first: Timestamp,
    last: Timestamp,
    last_complete: Option<Timestamp>,
    count: usize,
    count_complete: usize,
}

/// Why a group raises no alarm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Silent {
    /// Newer complete snapshots of the same host hold its sources or replaced them.
    Superseded,
    /// It has one snapshot, made long ago, and its host has newer ones.
    Trial,
}

impl Group<'_> {
    /// Does somebody have to look at its newest snapshot?
    pub fn is_bad(&self) -> bool {
        self.silent.is_none() && (self.is_stale || self.complete != Some(self.newest))
    }

    fn differs_in_sources(&self, other: &Self) -> bool {
        self.host == other.host && self.tags == other.tags && self.sources != other.sources
    }
}

/// All groups, in order.
pub fn groups<'a>(mut seen: Vec<Seen<'a>>, limits: Limits) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    seen.sort_by_key(|one| (one.time, one.id));
    for one in seen {
        let is_it = |other: &Group<'_>| (other.host, &other.sources, other.tags) == (one.host, &one.sources, one.tags);
        let place = groups.iter().position(is_it).unwrap_or_else(|| {
            groups.push(Group {
                host: one.host,
                sources: one.sources.clone(),
                tags: one.tags,
                newest: one.id,
                complete: None,
                age_seconds: 0,
                is_stale: false,
                silent: None,
                first: one.time,
                last: one.time,
                last_complete: None,
                count: 0,
                count_complete: 0,
            });
            groups.len() - 1
        });
        let group = &mut groups[place];
        (group.newest, group.last) = (one.id, one.time);
        group.count += 1;
        if one.is_complete {
            (group.complete, group.last_complete) = (Some(one.id), Some(one.time));
            group.count_complete += 1;
        }
    }
    for group in &mut groups {
        group.age_seconds = limits.now.seconds.saturating_sub(group.last.seconds);
        group.is_stale = limits.oldest.is_some_and(|oldest| group.last < oldest);
    }
    let silent: Vec<Option<Silent>> = groups.iter().map(|group| silent(group, &groups, limits.trial_age_seconds)).collect();
    for (group, silent) in groups.iter_mut().zip(silent) {
        group.silent = silent;
    }
    groups.sort_by(|a, b| (a.host, &a.sources, a.tags).cmp(&(b.host, &b.sources, b.tags)));
    groups
}

/// Groups that differ only in their sources may follow each other. Each rule wants a newer complete snapshot, so the newest group of a
/// host is never silent.
fn silent(group: &Group<'_>, all: &[Group<'_>], trial_age_seconds: i64) -> Option<Silent> {
    let mine = group.sources.as_ref()?;
    let newer =
        |other: &&Group<'_>| other.differs_in_sources(group) && other.last_complete.is_some_and(|complete| complete > group.last);
    let follows = |other: &Group<'_>| {
        let theirs = other.sources.as_deref().unwrap_or_default();
        let holds_all = mine.iter().all(|name| theirs.contains(name));
        let shares = mine.iter().any(|name| theirs.contains(name));
        holds_all || (shares && other.first > group.last && other.count_complete >= REPLACEMENTS)
    };
    let mut newer = all.iter().filter(newer).peekable();
    let has_newer = newer.peek().is_some();
    if newer.any(follows) {
        return Some(Silent::Superseded);
    }
    (has_newer && group.count == 1 && group.age_seconds > trial_age_seconds).then_some(Silent::Trial)
}

/// What is known of damage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Data of snapshots is affected.
    pub is_data_affected: bool,
    /// Something is damaged that can be repaired.
    pub is_repairable: bool,
}

/// The state of a repository's backups, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Every group is fresh and complete, and no last run failed.
    Fine,
    /// A group is missing, incomplete or too old, or a last run failed.
    Incomplete,
    /// There is damage, all of it repairable.
    DamageRepairable,
    /// There is damage, and data is affected.
    DamageData,
}

/// Damage counts more than what is missing.
pub fn verdict(groups: &[Group<'_>], has_failed_last_run: bool, damage: Damage) -> Verdict {
    if damage.is_data_affected {
        Verdict::DamageData
    } else if damage.is_repairable {
        Verdict::DamageRepairable
    } else if groups.is_empty() || has_failed_last_run || groups.iter().any(Group::is_bad) {
        Verdict::Incomplete
    } else {
        Verdict::Fine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn at(seconds: i64) -> Timestamp {
        Timestamp { seconds, nanoseconds: 0 }
    }

    fn seen<'a>(id: u8, day: i64, sources: &[&'a str], is_complete: bool) -> Seen<'a> {
        let (id, sources) = (SnapshotId([id; 16]), Some(sources.to_vec()));
        Seen { id, time: at(day * DAY), is_complete, host: Some("auth01"), sources, tags: None }
    }

    fn limits(now: i64, oldest: Option<i64>) -> Limits {
        Limits { now: at(now * DAY), oldest: oldest.map(|day| at(day * DAY)), trial_age_seconds: TRIAL_AGE_SECONDS }
    }

    #[test]
    fn a_group_goes_by_its_newest_snapshot_and_remembers_the_last_complete_one() {
        let found = groups(vec![seen(2, 9, &["db"], false), seen(1, 8, &["db"], true)], limits(10, None));
        assert_eq!((found.len(), found[0].newest.0[0], found[0].age_seconds), (1, 2, DAY));
        assert_eq!(found[0].complete, Some(SnapshotId([1; 16])));
        assert!(found[0].is_bad() && !found[0].is_stale);
    }

    #[test]
    fn a_group_is_too_old_when_its_newest_snapshot_is_before_the_limit() {
        let snapshot = vec![seen(1, 8, &["db"], true)];
        assert!(!groups(snapshot.clone(), limits(10, Some(8)))[0].is_bad());
        assert!(groups(snapshot, limits(10, Some(9)))[0].is_bad());
    }

    #[test]
    fn a_group_whose_sources_a_newer_one_holds_is_silent_and_an_incomplete_newer_one_silences_nothing() {
        let old = seen(1, 1, &["db"], true);
        let found = groups(vec![old.clone(), seen(2, 5, &["db", "media"], true)], limits(6, Some(5)));
        assert_eq!(found.iter().map(|group| group.silent).collect::<Vec<_>>(), [Some(Silent::Superseded), None]);
        let found = groups(vec![old, seen(2, 5, &["db", "media"], false)], limits(6, Some(5)));
        assert!(found.iter().all(|group| group.silent.is_none()));
    }

    #[test]
    fn three_complete_snapshots_of_a_new_setup_replace_the_old_one() {
        let mut all =
            vec![seen(1, 1, &["db", "redis"], true), seen(2, 2, &["db", "data"], true), seen(3, 3, &["db", "data"], true)];
        let silent = |all: &[Seen<'_>]| groups(all.to_vec(), limits(5, None)).iter().filter(|one| one.silent.is_some()).count();
        assert_eq!(silent(&all), 0);
        all.push(seen(4, 4, &["db", "data"], true));
        assert_eq!(silent(&all), 1);
    }

    #[test]
    fn one_old_snapshot_beside_newer_ones_is_a_trial_and_alone_it_is_not() {
        let trial = seen(1, 1, &["test"], true);
        let found = groups(vec![trial.clone(), seen(2, 20, &["db"], true)], limits(21, None));
        assert_eq!(found.iter().find(|group| group.newest.0[0] == 1).unwrap().silent, Some(Silent::Trial));
        assert_eq!(groups(vec![trial], limits(21, None))[0].silent, None);
    }

    #[test]
    fn damage_counts_more_than_what_is_missing() {
        let fine = groups(vec![seen(1, 8, &["db"], true)], limits(10, None));
        let (data, repairable) =
            (Damage { is_data_affected: true, is_repairable: true }, Damage { is_repairable: true, ..Damage::default() });
        assert_eq!(verdict(&fine, false, Damage::default()), Verdict::Fine);
        assert_eq!(verdict(&fine, true, Damage::default()), Verdict::Incomplete);
        assert_eq!(verdict(&[], false, Damage::default()), Verdict::Incomplete);
        assert_eq!(verdict(&fine, true, repairable), Verdict::DamageRepairable);
        assert_eq!(verdict(&[], true, data), Verdict::DamageData);
    }
}
