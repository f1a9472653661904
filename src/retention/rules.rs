//! Which snapshots the rules keep, and why: restic's algorithm, and what no rule may drop. Pure: plain data in, a plan out.
//!
//! The rules are applied to each group apart, newest snapshot first. A quarantined snapshot is kept and shown but takes nobody's slot.
//! Beside the rules four things keep a snapshot: it is the newest complete one of its group, it is the newest verified one of its group,
//! it has a keep note, or it was first seen a short time ago (the repository's `guard`).

use jiff::tz::TimeZone;

use super::candidate::Candidate;
use super::policy::{Count, GroupBy, Period, Policy, zoned};
use crate::clock::Timestamp;
use crate::id::SnapshotId;
use crate::repository::survey::has_tags;

/// How to choose.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What to keep.
    pub policy: Policy,
    /// What to keep besides, of the snapshots that hold a source: its name, and its rules.
    pub of_sources: Vec<(String, Policy)>,
    /// Groups that are looked at apart.
    pub group_by: GroupBy,
    /// Where days, weeks, months and years begin.
    pub zone: TimeZone,
    /// A group may end with nothing, and then its newest complete and newest verified snapshot go too.
    pub remove_all: bool,
}

impl Rules {
    fn policies(&self) -> impl Iterator<Item = &Policy> {
        std::iter::once(&self.policy).chain(self.of_sources.iter().map(|(_, policy)| policy))
    }

    /// Does any rule measure an age?
    pub(crate) fn goes_by_age(&self) -> bool {
        self.policies().any(Policy::goes_by_age)
    }

    /// What all of them say about each of `newest_first`: reasons to keep it, or none. A snapshot of several sources stays when the rules
    /// of any of them keep it.
    fn apply(&self, newest_first: &[&Candidate]) -> Vec<Vec<String>> {
        let mut all = apply(&self.policy, &self.zone, newest_first);
        for (name, policy) in &self.of_sources {
            let holds = |candidate: &Candidate| candidate.sources.iter().any(|source| source == name);
            let (places, members): (Vec<usize>, Vec<&Candidate>) = newest_first
                .iter()
                .enumerate()
                .filter(|(_, candidate)| holds(candidate))
                .map(|(place, member)| (place, *member))
                .unzip();
            for (place, reasons) in places.into_iter().zip(apply(policy, &self.zone, &members)) {
                all[place].extend(reasons.into_iter().map(|reason| format!("{reason} of source {name}")));
            }
        }
        all
    }
}

/// Snapshots that were looked at together, and what becomes of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// Their host, when grouped by it.
    pub host: Option<String>,
    /// Names of their sources, when grouped by them.
    pub sources: Option<Vec<String>>,
    /// Their tags, when grouped by them.
    pub tags: Option<Vec<String>>,
    /// Kept, newest first.
    pub keep: Vec<Kept>,
    /// To be forgotten, newest first.
    pub remove: Vec<SnapshotId>,
}

/// A snapshot that is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Which.
    pub id: SnapshotId,
    /// Why; at least one reason. Those of rules come first, in restic's words.
    pub reasons: Vec<String>,
}

/// The rules cannot be applied.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RetentionError {
    /// Nothing says what to keep.
    #[error("no rule says what to keep, so every snapshot would be forgotten")]
    NoPolicy,
    /// No rule keeps any snapshot of a group.
    #[error("the rules keep none of the {snapshots} snapshots of {group}")]
    KeepsNothing {
        /// The group, for a person.
        group: String,
        /// How many it has.
        snapshots: usize,
    },
}

/// Applies the rules to the selected ones of `all`.
pub fn plan(all: &[Candidate], rules: &Rules) -> Result<Vec<Group>, RetentionError> {
    if rules.policies().all(Policy::is_empty) && !rules.remove_all {
        return Err(RetentionError::NoPolicy);
    }
    let mut groups: Vec<(Group, Vec<&Candidate>)> = Vec::new();
    for candidate in all.iter().filter(|candidate| candidate.selected) {
        let group = empty_group(candidate, rules.group_by);
        match groups.iter_mut().find(|(other, _)| *other == group) {
            Some((_, members)) => members.push(candidate),
            None => groups.push((group, vec![candidate])),
        }
    }
    groups.sort_by(|(a, _), (b, _)| (&a.host, &a.sources, &a.tags).cmp(&(&b.host, &b.sources, &b.tags)));
    groups.into_iter().map(|(group, members)| decide(group, members, all, rules)).collect()
}

fn empty_group(candidate: &Candidate, by: GroupBy) -> Group {
    let sorted = |list: &[String]| {
        let mut list = list.to_vec();
        list.sort_unstable();
        list
    };
    Group {
        host: by.host.then(|| candidate.host.clone()),
        sources: by.sources.then(|| sorted(&candidate.sources)),
        tags: by.tags.then(|| sorted(&candidate.tags)),
        keep: Vec::new(),
        remove: Vec::new(),
    }
}

fn decide(mut group: Group, mut members: Vec<&Candidate>, all: &[Candidate], rules: &Rules) -> Result<Group, RetentionError> {
    newest_first(&mut members);
    let counted: Vec<&Candidate> = members.iter().copied().filter(|candidate| candidate.quarantined.is_none()).collect();
    let by_rules = rules.apply(&counted);
    if !counted.is_empty() && by_rules.iter().all(Vec::is_empty) && !rules.remove_all {
        return Err(RetentionError::KeepsNothing { group: group.name(), snapshots: counted.len() });
    }
    let mut by_rules = by_rules.into_iter();
    // A container has another host name at every run: what is guarded follows the groups that were asked for.
    let newest = |good: &dyn Fn(&Candidate) -> bool| newest_of_group(all, &group, rules.group_by, good);
    let (complete, verified) = (newest(&|other| other.complete), newest(&|other| other.verified));
    for candidate in members {
        let mut reasons = match &candidate.quarantined {
            Some(why) => vec![format!("quarantined: {why}")],
            None => by_rules.next().unwrap_or_default(),
        };
        reasons.extend(candidate.noted.iter().cloned());
        if candidate.guarded {
            reasons.push("first seen within the guard period".to_owned());
        }
        if !rules.remove_all {
            if complete == Some(candidate.id) {
                reasons.push("newest complete of its group".to_owned());
            }
            if verified == Some(candidate.id) {
                reasons.push("newest verified of its group".to_owned());
            }
        }
        match reasons.is_empty() {
            true => group.remove.push(candidate.id),
            false => group.keep.push(Kept { id: candidate.id, reasons }),
        }
    }
    Ok(group)
}

impl Group {
    /// For a person: `host a, sources b, c`.
    pub fn name(&self) -> String {
        let list = |what: &str, list: &Option<Vec<String>>| list.as_ref().map(|list| format!("{what} {}", list.join(", ")));
        let parts =
            [self.host.as_ref().map(|host| format!("host {host}")), list("sources", &self.sources), list("tags", &self.tags)];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if parts.is_empty() { "this repository".to_owned() } else { parts.join("; ") }
    }
}

fn newest_first(members: &mut [&Candidate]) {
    members.sort_unstable_by_key(|candidate| std::cmp::Reverse((candidate.time, candidate.id)));
}

/// The newest good one of a group that is not quarantined; also one that the rules do not look at.
fn newest_of_group(all: &[Candidate], group: &Group, by: GroupBy, good: &dyn Fn(&Candidate) -> bool) -> Option<SnapshotId> {
    let is_of_group = |candidate: &Candidate| {
        let own = empty_group(candidate, by);
        (&own.host, &own.sources, &own.tags) == (&group.host, &group.sources, &group.tags)
    };
    let good = all.iter().filter(|candidate| candidate.quarantined.is_none() && good(candidate) && is_of_group(candidate));
    good.max_by_key(|candidate| (candidate.time, candidate.id)).map(|candidate| candidate.id)
}

/// A stretch of the calendar as a number that differs from that of its neighbours.
type Slot = fn(&jiff::ZonedDateTime) -> i64;

fn hour(time: &jiff::ZonedDateTime) -> i64 {
    day(time) * 100 + i64::from(time.hour())
}

fn day(time: &jiff::ZonedDateTime) -> i64 {
    month(time) * 100 + i64::from(time.day())
}

fn week(time: &jiff::ZonedDateTime) -> i64 {
    let week = time.date().iso_week_date();
    i64::from(week.year()) * 100 + i64::from(week.week())
}

fn month(time: &jiff::ZonedDateTime) -> i64 {
    i64::from(time.year()) * 100 + i64::from(time.month())
}

fn year(time: &jiff::ZonedDateTime) -> i64 {
    i64::from(time.year())
}

/// A rule under way: how many slots are left, and the last one taken.
struct Rule {
    left: Count,
    /// Only what is younger than this.
    after: Option<Timestamp>,
    slot: Option<Slot>,
    last: Option<i64>,
    reason: String,
}

impl Rule {
    fn counted(left: Count, slot: Option<Slot>, reason: &str) -> Self {
        Self { left, after: None, slot, last: None, reason: reason.to_owned() }
    }

    /// Only within `period` before `newest`.
    fn within(period: Period, slot: Slot, reason: &str, newest: Timestamp, zone: &TimeZone) -> Self {
        let left = if period.is_none() { Count::Up(0) } else { Count::Unlimited };
        Self { left, after: period.before(newest, zone), slot: Some(slot), last: None, reason: format!("{reason} within {period}") }
    }

    /// Does it want this one? `oldest`: there is none after it.
    fn wants(&mut self, time: Timestamp, moment: Option<&jiff::ZonedDateTime>, oldest: bool) -> Option<String> {
        if self.left.is_none() || self.after.is_some_and(|after| time <= after) {
            return None;
        }
        let value = self.slot.and_then(|slot| moment.map(slot));
        let is_new = value.is_none() || value != self.last;
        // While slots are left the oldest is kept too: so a history that is not full yet reaches as far back as it can.
        if !is_new && !oldest {
            return None;
        }
        self.last = value;
        self.left.take();
        Some(if is_new { self.reason.clone() } else { format!("oldest {}", self.reason) })
    }
}

/// What the rules say about each of `newest_first`: reasons to keep it, or none.
fn apply(policy: &Policy, zone: &TimeZone, newest_first: &[&Candidate]) -> Vec<Vec<String>> {
    let Some(newest) = newest_first.first().map(|candidate| candidate.time) else { return Vec::new() };
    let within = |period, slot, reason| Rule::within(period, slot, reason, newest, zone);
    let mut rules = [
        Rule::counted(policy.last, None, "last snapshot"),
        Rule::counted(policy.hourly, Some(hour), "hourly snapshot"),
        Rule::counted(policy.daily, Some(day), "daily snapshot"),
        Rule::counted(policy.weekly, Some(week), "weekly snapshot"),
        Rule::counted(policy.monthly, Some(month), "monthly snapshot"),
        Rule::counted(policy.yearly, Some(year), "yearly snapshot"),
        within(policy.within_hourly, hour, "hourly"),
        within(policy.within_daily, day, "daily"),
        within(policy.within_weekly, week, "weekly"),
        within(policy.within_monthly, month, "monthly"),
        within(policy.within_yearly, year, "yearly"),
    ];
    let young_after = policy.within.before(newest, zone);
    let count = newest_first.len();
    let mut all = Vec::with_capacity(count);
    for (place, candidate) in newest_first.iter().enumerate() {
        let mut reasons = Vec::new();
        for wanted in policy.tags.iter().filter(|wanted| has_tags(&candidate.tags, wanted)) {
            reasons.push(format!("has tags [{}]", wanted.join(", ")));
        }
        if !policy.within.is_none() && young_after.is_none_or(|after| candidate.time > after) {
            reasons.push(format!("within {}", policy.within));
        }
        let moment = zoned(candidate.time, zone);
        for rule in &mut rules {
            reasons.extend(rule.wants(candidate.time, moment.as_ref(), place + 1 == count));
        }
        all.push(reasons);
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn candidate(number: u8, seconds: i64) -> Candidate {
        Candidate {
            id: SnapshotId([number; 16]),
            host: "a".to_owned(),
            sources: vec!["db".to_owned()],
            tags: Vec::new(),
            time: Timestamp { seconds, nanoseconds: 0 },
            complete: true,
            verified: false,
            quarantined: None,
            noted: None,
            guarded: false,
            selected: true,
        }
    }

    fn at(number: u8, text: &str) -> Candidate {
        candidate(number, text.parse::<jiff::Timestamp>().unwrap().as_second())
    }

    fn rules(policy: Policy) -> Rules {
        Rules { policy, of_sources: Vec::new(), group_by: GroupBy::default(), zone: TimeZone::UTC, remove_all: false }
    }

    fn ids(ids: impl IntoIterator<Item = SnapshotId>) -> Vec<u8> {
        ids.into_iter().map(|id| id.0[0]).collect()
    }

    fn kept(all: &[Candidate], policy: Policy) -> Vec<(u8, Vec<String>)> {
        let groups = plan(all, &rules(policy)).unwrap();
        groups.into_iter().flat_map(|group| group.keep).map(|kept| (kept.id.0[0], kept.reasons)).collect()
    }

    fn kept_ids(all: &[Candidate], policy: Policy) -> Vec<u8> {
        kept(all, policy).into_iter().map(|(id, _)| id).collect()
    }

    #[test]
    fn a_source_has_rules_of_its_own_beside_those_for_all() {
        let hourly = |number| candidate(number, i64::from(number) * 3_600);
        let mut full = candidate(9, 3_700);
        full.sources = vec!["db".to_owned(), "media".to_owned()];
        let all = [hourly(1), hourly(2), hourly(3), full];
        let policy = |daily, hourly| Policy { daily: Count::Up(daily), hourly: Count::Up(hourly), ..Policy::default() };
        let kept = |rules: &Rules| {
            let groups = plan(&all, rules).unwrap();
            groups.iter().map(|group| group.keep.iter().map(|kept| kept.id.0[0]).collect::<Vec<_>>()).collect::<Vec<_>>()
        };
        let mut rules = rules(policy(1, 0));
        assert_eq!(kept(&rules), [vec![3], vec![9]]);
        rules.of_sources = vec![("db".to_owned(), policy(0, 2)), ("media".to_owned(), policy(0, 1))];
        assert_eq!(kept(&rules), [vec![3, 2], vec![9]]);
        let groups = plan(&all, &rules).unwrap();
        assert_eq!(groups[0].keep[1].reasons, ["hourly snapshot of source db"]);
        // Without rules for all, a group that no table covers is not emptied in silence.
        rules.policy = Policy::default();
        rules.of_sources = vec![("media".to_owned(), policy(0, 1))];
        assert!(matches!(plan(&all, &rules), Err(RetentionError::KeepsNothing { .. })));
    }

    #[test]
    fn each_rule_keeps_the_newest_of_its_stretch() {
        let all = [
            at(1, "2025-12-30T10:00:00Z"),
            at(2, "2026-01-01T10:00:00Z"),
            at(3, "2026-01-01T10:30:00Z"),
            at(4, "2026-01-02T09:00:00Z"),
            at(5, "2026-01-02T11:00:00Z"),
            at(6, "2026-01-05T00:00:00Z"),
        ];
        let up = Count::Up;
        assert_eq!(kept_ids(&all, Policy { last: up(2), ..Policy::default() }), [6, 5]);
        assert_eq!(kept_ids(&all, Policy { hourly: up(3), ..Policy::default() }), [6, 5, 4]);
        assert_eq!(kept_ids(&all, Policy { daily: up(3), ..Policy::default() }), [6, 5, 3]);
        // 30 December 2025 and 2 January 2026 are in one ISO week; the oldest is kept because a slot is left.
        assert_eq!(kept_ids(&all, Policy { weekly: up(2), ..Policy::default() }), [6, 5]);
        assert_eq!(kept_ids(&all, Policy { weekly: up(3), ..Policy::default() }), [6, 5, 1]);
        assert_eq!(kept_ids(&all, Policy { monthly: up(1), ..Policy::default() }), [6]);
        assert_eq!(kept_ids(&all, Policy { yearly: Count::Unlimited, ..Policy::default() }), [6, 1]);
        let period = |text: &str| text.parse::<Period>().unwrap();
        assert_eq!(kept_ids(&all, Policy { within: period("3d"), ..Policy::default() }), [6, 5, 4]);
        assert_eq!(kept_ids(&all, Policy { within_daily: period("4d"), ..Policy::default() }), [6, 5, 3]);
        assert_eq!(kept_ids(&all, Policy { within: Period::Unlimited, ..Policy::default() }), [6, 5, 4, 3, 2, 1]);
    }

    #[test]
    fn every_kept_snapshot_says_why_in_the_words_of_restic() {
        let mut all = [at(1, "2026-01-01T10:00:00Z"), at(2, "2026-01-01T11:00:00Z"), at(3, "2026-01-02T10:00:00Z")];
        all[1].tags = vec!["gold".to_owned()];
        let policy = Policy { last: Count::Up(1), daily: Count::Up(7), tags: vec![vec!["gold".to_owned()]], ..Policy::default() };
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let expected = [
            (3, texts(&["last snapshot", "daily snapshot", "newest complete of its group"])),
            (2, texts(&["has tags [gold]", "daily snapshot"])),
            (1, texts(&["oldest daily snapshot"])),
        ];
        assert_eq!(kept(&all, policy), expected);
    }

    #[test]
    fn days_begin_where_the_zone_says() {
        let all = [at(1, "2026-01-01T22:30:00Z"), at(2, "2026-01-01T23:30:00Z"), at(3, "2026-01-02T00:30:00Z")];
        let mut rules = rules(Policy { daily: Count::Up(2), ..Policy::default() });
        let kept = |rules: &Rules| plan(&all, rules).unwrap()[0].keep.iter().map(|kept| kept.id.0[0]).collect::<Vec<_>>();
        assert_eq!(kept(&rules), [3, 2]);
        rules.zone = TimeZone::fixed(jiff::tz::offset(1));
        assert_eq!(kept(&rules), [3, 1]);
    }

    #[test]
    fn a_policy_that_keeps_nothing_is_refused() {
        let all = [candidate(1, 0), candidate(2, 1)];
        assert_eq!(plan(&all, &rules(Policy::default())), Err(RetentionError::NoPolicy));
        let unknown = Policy { tags: vec![vec!["unknown".to_owned()]], ..Policy::default() };
        let error = plan(&all, &rules(unknown.clone())).unwrap_err();
        assert_eq!(error, RetentionError::KeepsNothing { group: "host a; sources db".to_owned(), snapshots: 2 });
        let removed = plan(&all, &Rules { remove_all: true, ..rules(unknown) }).unwrap();
        assert_eq!(ids(removed[0].remove.clone()), [2, 1]);
        assert_eq!(plan(&[], &rules(Policy { last: Count::Up(1), ..Policy::default() })), Ok(Vec::new()));
    }

    #[test]
    fn what_no_rule_may_drop_stays() {
        let mut all: Vec<Candidate> = (1..=8).map(|number| candidate(number, i64::from(number) * 3600)).collect();
        all[0].noted = Some("kept by a note, for ever".to_owned());
        all[1].guarded = true;
        all[2].quarantined = Some("why".to_owned());
        all[3].verified = true;
        all[7].complete = false;
        let policy = Policy { last: Count::Up(1), ..Policy::default() };
        let kept = kept(&all, policy.clone());
        let expected = [
            (8, "last snapshot"),
            (7, "newest complete of its group"),
            (4, "newest verified of its group"),
            (3, "quarantined: why"),
            (2, "first seen within the guard period"),
            (1, "kept by a note, for ever"),
        ];
        assert_eq!(kept.iter().map(|(id, reasons)| (*id, reasons[0].as_str())).collect::<Vec<_>>(), expected);
        let groups = plan(&all, &Rules { remove_all: true, ..rules(policy) }).unwrap();
        assert_eq!(
            ids(groups[0].keep.iter().map(|kept| kept.id)),
            [8, 3, 2, 1],
            "asked to remove all, notes and guards still hold"
        );
    }

    #[test]
    fn a_snapshot_from_the_future_takes_no_slot() {
        let mut all: Vec<Candidate> = (1..=4).map(|number| candidate(number, i64::from(number) * 86_400)).collect();
        let policy = Policy { last: Count::Up(2), within: "1d".parse().unwrap(), ..Policy::default() };
        let before = kept_ids(&all, policy.clone());
        all.push(Candidate { quarantined: Some("it claims a time in the future".to_owned()), ..candidate(9, 3_650 * 86_400) });
        let mut after = kept_ids(&all, policy);
        assert_eq!(after.remove(0), 9);
        assert_eq!(after, before);
    }

    #[test]
    fn groups_are_looked_at_apart_and_a_filter_hides_nothing_from_the_guards() {
        let mut all: Vec<Candidate> = (1..=4).map(|number| candidate(number, i64::from(number))).collect();
        all[1].host = "b".to_owned();
        all[2].sources = vec!["files".to_owned()];
        let policy = Policy { last: Count::Up(1), ..Policy::default() };
        assert_eq!(kept_ids(&all, policy.clone()), [4, 3, 2]);
        let groups = plan(&all, &Rules { group_by: "".parse().unwrap(), ..rules(policy.clone()) }).unwrap();
        assert_eq!((ids(groups[0].keep.iter().map(|kept| kept.id)), groups[0].name()), (vec![4], "this repository".to_owned()));
        // 4 is not looked at, and is still the newest complete of its group: 1 is not.
        all[3].selected = false;
        all.push(candidate(5, 0));
        assert_eq!(kept_ids(&all, policy), [1, 3, 2]);
    }

    #[test]
    fn with_another_host_name_at_every_run_a_group_by_sources_keeps_one_complete_snapshot_and_not_all() {
        let mut all: Vec<Candidate> = (1..=5).map(|number| candidate(number, i64::from(number))).collect();
        for (number, one) in (0..).zip(&mut all) {
            one.host = format!("c0ffee{number}");
        }
        all[4].complete = false;
        let last = Policy { last: Count::Up(1), ..Policy::default() };
        let groups = plan(&all, &Rules { group_by: "sources".parse().unwrap(), ..rules(last) }).unwrap();
        assert_eq!(ids(groups[0].keep.iter().map(|kept| kept.id)), [5, 4], "the newest, and the newest complete");
    }

    #[test]
    fn a_group_keeps_its_last_complete_snapshot_though_its_host_has_a_newer_one_of_other_sources() {
        let mut all: Vec<Candidate> = (1..=3).map(|number| candidate(number, i64::from(number))).collect();
        all[1].complete = false;
        all[2].sources = vec!["files".to_owned()];
        assert_eq!(kept_ids(&all, Policy { last: Count::Up(1), ..Policy::default() }), [2, 1, 3]);
    }

    fn policies() -> impl Strategy<Value = Policy> {
        let count = || prop_oneof![3 => Just(Count::Up(0)), 3 => (1u32..6).prop_map(Count::Up), 1 => Just(Count::Unlimited)];
        let period = || {
            prop_oneof![
                4 => Just(Period::None),
                2 => (0u16..2, 0u16..3, 0u32..9, 0u32..9).prop_map(|(years, months, days, hours)| Period::Calendar { years, months, days, hours }),
                1 => Just(Period::Unlimited),
            ]
        };
        ((count(), count(), count()), (count(), count(), count()), (period(), period(), period(), period())).prop_map(
            |((last, hourly, daily), (weekly, monthly, yearly), (within, within_daily, within_weekly, within_yearly))| Policy {
                last,
                hourly,
                daily,
                weekly,
                monthly,
                yearly,
                within,
                within_daily,
                within_weekly,
                within_yearly,
                ..Policy::default()
            },
        )
    }

    fn histories() -> impl Strategy<Value = Vec<Candidate>> {
        let one = (0i64..400 * 24, any::<bool>(), any::<bool>(), prop::bool::weighted(0.1), prop::bool::weighted(0.1), 0u8..2);
        prop::collection::vec(one, 1..60).prop_map(|rows| {
            let row = |(number, (hours, complete, verified, quarantined, noted, host)): (u8, (i64, bool, bool, bool, bool, u8))| {
                Candidate {
                    complete,
                    verified,
                    quarantined: quarantined.then(|| "why".to_owned()),
                    noted: noted.then(|| "note".to_owned()),
                    host: format!("host{host}"),
                    ..candidate(number, 1_790_000_000 + hours * 3600)
                }
            };
            (1..).zip(rows).map(row).collect()
        })
    }

    fn all_kept(groups: &[Group]) -> BTreeSet<SnapshotId> {
        groups.iter().flat_map(|group| &group.keep).map(|kept| kept.id).collect()
    }

    proptest! {
        #[test]
        fn every_snapshot_is_kept_with_a_reason_or_removed_and_what_is_guarded_is_kept(all in histories(), policy in policies()) {
            prop_assume!(!policy.is_empty());
            let Ok(groups) = plan(&all, &rules(policy.clone())) else { return Ok(()) };
            let kept = all_kept(&groups);
            let removed: BTreeSet<SnapshotId> = groups.iter().flat_map(|group| &group.remove).copied().collect();
            prop_assert_eq!(kept.len() + removed.len(), all.len());
            prop_assert!(kept.is_disjoint(&removed));
            prop_assert!(groups.iter().flat_map(|group| &group.keep).all(|kept| !kept.reasons.is_empty()));
            for candidate in &all {
                if candidate.quarantined.is_some() || candidate.noted.is_some() {
                    prop_assert!(kept.contains(&candidate.id));
                }
            }
            for group in &groups {
                let newest = newest_of_group(&all, group, GroupBy::default(), &|candidate| candidate.complete);
                prop_assert!(newest.is_none_or(|newest| kept.contains(&newest)));
                let newest = newest_of_group(&all, group, GroupBy::default(), &|candidate| candidate.verified);
                prop_assert!(newest.is_none_or(|newest| kept.contains(&newest)));
            }
        }

        #[test]
        fn what_is_kept_is_kept_again(all in histories(), policy in policies()) {
            prop_assume!(!policy.is_empty());
            let Ok(groups) = plan(&all, &rules(policy.clone())) else { return Ok(()) };
            let kept = all_kept(&groups);
            let left: Vec<Candidate> = all.iter().filter(|candidate| kept.contains(&candidate.id)).cloned().collect();
            let again = plan(&left, &rules(policy)).unwrap();
            prop_assert_eq!(all_kept(&again), kept);
        }

        #[test]
        fn quarantined_snapshots_change_nothing_for_the_others(all in histories(), policy in policies(), times in prop::collection::vec(any::<i64>(), 60)) {
            prop_assume!(!policy.is_empty());
            let Ok(groups) = plan(&all, &rules(policy.clone())) else { return Ok(()) };
            let mut forged = all.clone();
            for (candidate, seconds) in forged.iter_mut().zip(times) {
                if candidate.quarantined.is_some() {
                    candidate.time.seconds = seconds;
                }
            }
            prop_assert_eq!(all_kept(&plan(&forged, &rules(policy)).unwrap()), all_kept(&groups));
        }

        #[test]
        fn more_slots_never_keep_less(all in histories(), slots in 1u32..8) {
            let with = |slots| {
                let policy = Policy { last: Count::Up(slots), daily: Count::Up(slots), monthly: Count::Up(slots), ..Policy::default() };
                all_kept(&plan(&all, &rules(policy)).unwrap())
            };
            prop_assert!(with(slots).is_subset(&with(slots + 1)));
        }

        #[test]
        fn slots_count_what_they_say(hours in prop::collection::vec(0i64..2_000, 1..60), slots in 1u32..9) {
            let all: Vec<Candidate> = (1..).zip(&hours).map(|(number, hours)| candidate(number, hours * 3600)).collect();
            let kept = kept_ids(&all, Policy { daily: Count::Up(slots), ..Policy::default() });
            let days: BTreeSet<i64> = hours.iter().map(|hours| hours / 24).collect();
            // One a day for the newest days; when there are fewer days than slots, the oldest snapshot too.
            let of_oldest_day = days.first().map_or(0, |first| hours.iter().filter(|hours| *hours / 24 == *first).count());
            let oldest = usize::from(days.len() < slots as usize && of_oldest_day > 1);
            prop_assert_eq!(kept.len(), days.len().min(slots as usize) + oldest);
        }
    }
}
