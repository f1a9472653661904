//! Whose clock is believed: at which time a snapshot counts, and which snapshots count for nothing because their time cannot be. Pure.
//!
//! A snapshot's time is claimed by the host that took it. Two things are known better: it was not there at one run of an owner, and
//! it was there at the next. A claim counts only within that window; one that has to be moved far is quarantined. The owner's own
//! clock may have been wrong at a run, so only runs whose times fit together are used: the longest sequence of runs in whose order
//! time never goes back. The ones with a wrong clock, in whichever direction, are those that are left over.

use crate::clock::Timestamp;

/// A claim that has to be moved further than this is not believed, in seconds: 48 hours.
pub(crate) const MOVED_MAX: i64 = 48 * 3600;
/// Clocks of hosts and owner may differ by this much, in seconds: an hour.
const SKEW_MAX: i64 = 3600;
/// So long a time without any snapshot or run is more likely a clock that jumped, in seconds: 90 days.
pub(crate) const JUMP_MIN: i64 = 90 * 86_400;

/// Runs of owners, as first-seen notes tell of them, and the one that is under way.
#[derive(Debug)]
pub struct Runs {
    /// In rising order of numbers; times never go back.
    in_order: Vec<(u64, Timestamp)>,
    now: Timestamp,
}

/// When a snapshot came, as far as the owner knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// The last run that did not list it.
    pub after: Option<Timestamp>,
    /// The first run that did.
    pub until: Timestamp,
}

/// What became of a claim.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judged {
    /// The time it counts at.
    pub time: Timestamp,
    /// Why it does not count at all.
    pub quarantined: Option<String>,
}

impl Runs {
    /// From the numbers and times of recorded runs, in any order; `now` is that of the run under way.
    pub fn new(mut recorded: Vec<(u64, Timestamp)>, now: Timestamp) -> Self {
        recorded.sort_unstable();
        recorded.push((u64::MAX, now));
        let mut in_order = longest_in_order(&recorded);
        let now_fits = in_order.last() == Some(&(u64::MAX, now));
        in_order.retain(|(number, _)| *number != u64::MAX);
        // A clock that is behind what is known of the past: time is at least what the last run that fits had.
        let now = if now_fits { now } else { in_order.last().map_or(now, |(_, time)| *time) };
        Self { in_order, now }
    }

    /// Now: by the clock, unless that is behind the runs that are known.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The last run that is known and fits.
    pub fn last(&self) -> Option<Timestamp> {
        self.in_order.last().map(|(_, time)| *time)
    }

    /// The window of a snapshot that was first seen at the run of this number and time; `None`: it was never seen before.
    pub fn window(&self, first_seen: Option<(u64, Timestamp)>) -> Window {
        let Some((number, time)) = first_seen else { return Window { after: self.last(), until: self.now } };
        let place = self.in_order.partition_point(|(other, _)| *other < number);
        let after = place.checked_sub(1).map(|before| self.in_order[before].1);
        let rest = &self.in_order[place..];
        // The clock of that run did not fit: all that is known is that a later one did list it.
        let fits = rest.iter().take_while(|(other, _)| *other == number).any(|(_, other)| *other == time);
        let until = if fits { time } else { rest.first().map_or(self.now, |(_, time)| *time) };
        // Number 0 is given to what came before all runs: its note carries the only time there is.
        let until = if number == 0 { time.min(self.now) } else { until };
        Window { after, until }
    }
}

/// The longest sequence in which times never go back; of several, one with the latest runs.
fn longest_in_order(runs: &[(u64, Timestamp)]) -> Vec<(u64, Timestamp)> {
    // Patience sorting: `ends[n]` is where the sequence of length n+1 with the earliest end stops.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(runs.len());
    for (at, (_, time)) in runs.iter().enumerate() {
        let length = ends.partition_point(|&end| runs[end].1 <= *time);
        before.push(length.checked_sub(1).map(|shorter| ends[shorter]));
        match ends.get_mut(length) {
            Some(end) => *end = at,
            None => ends.push(at),
        }
    }
    let mut sequence = Vec::with_capacity(ends.len());
    let mut at = ends.last().copied();
    while let Some(place) = at {
        sequence.push(runs[place]);
        at = before[place];
    }
    sequence.reverse();
    sequence
}

/// Holds a claim (a snapshot was begun and ended at these times) against its window.
pub fn judge(begun: Timestamp, ended: Timestamp, window: &Window, now: Timestamp) -> Judged {
    let ended = ended.max(begun);
    let after = window.after.unwrap_or(Timestamp { seconds: i64::MIN, nanoseconds: 0 });
    // The window of a run whose neighbours had the same time is one moment; never an empty one.
    let until = window.until.max(after);
    let time = begun.max(after).min(until);
    let early = after.seconds.saturating_sub(ended.seconds);
    let late = begun.seconds.saturating_sub(until.seconds);
    let quarantined = if begun.seconds.saturating_sub(now.seconds) > SKEW_MAX {
        Some(format!("it claims a time {} in the future", days(begun.seconds.saturating_sub(now.seconds))))
    } else if late > MOVED_MAX {
        Some(format!("it claims a time {} after it was first seen", days(late)))
    } else if early > MOVED_MAX {
        Some(format!("it claims a time {} before a run that did not find it", days(early)))
    } else {
        None
    };
    Judged { time, quarantined }
}

fn days(seconds: i64) -> String {
    match seconds / 86_400 {
        0 => format!("{} hours", seconds / 3600),
        1 => "a day".to_owned(),
        days => format!("{days} days"),
    }
}

/// A long time without anything, after which only snapshots come that no run has recorded: a clock that jumped, or a long silence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Jump {
    /// The last thing before it.
    pub from: Timestamp,
    /// The first thing after it.
    pub to: Timestamp,
}

/// Looks for a jump. `known`: times of recorded runs and of snapshots they recorded; `new`: times of snapshots seen for the first time.
pub fn jump(known: impl IntoIterator<Item = Timestamp>, new: impl IntoIterator<Item = Timestamp>) -> Option<Jump> {
    let mut times: Vec<(Timestamp, bool)> = known.into_iter().map(|time| (time, true)).collect();
    times.extend(new.into_iter().map(|time| (time, false)));
    // At one moment what is known comes last: it vouches for the rest.
    times.sort_unstable();
    let mut found = None;
    for pair in times.windows(2).rev() {
        let [(from, _), (to, is_known)] = *pair else { break };
        if is_known {
            break;
        }
        if to.seconds.saturating_sub(from.seconds) > JUMP_MIN {
            found = Some(Jump { from, to });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: i64 = 86_400;

    fn day(day: i64) -> Timestamp {
        Timestamp { seconds: day * DAY, nanoseconds: 0 }
    }

    fn daily(runs: impl IntoIterator<Item = i64>) -> Vec<(u64, Timestamp)> {
        (1..).zip(runs).map(|(number, at)| (number, day(at))).collect()
    }

    #[test]
    fn a_claim_counts_between_the_run_that_did_not_list_it_and_the_run_that_did() {
        let runs = Runs::new(daily([10, 11, 14]), day(20));
        assert_eq!(runs.window(Some((2, day(11)))), Window { after: Some(day(10)), until: day(11) });
        assert_eq!(runs.window(Some((1, day(10)))), Window { after: None, until: day(10) });
        assert_eq!(runs.window(None), Window { after: Some(day(14)), until: day(20) });
        let window = runs.window(Some((3, day(14))));
        let at = |from, to| judge(day(from), day(to), &window, day(20));
        assert_eq!(at(12, 12), Judged { time: day(12), quarantined: None });
        // Two days of leeway, counted from the end when it came late: a long first backup is no forgery.
        assert_eq!(at(9, 9), Judged { time: day(11), quarantined: None });
        assert_eq!(at(2, 11), Judged { time: day(11), quarantined: None });
        assert_eq!(at(16, 16), Judged { time: day(14), quarantined: None });
        assert!(at(8, 8).quarantined.unwrap().contains("3 days before"));
        assert!(at(17, 17).quarantined.unwrap().contains("3 days after"));
        assert!(at(3_700, 3_700).quarantined.unwrap().contains("3680 days in the future"));
    }

    #[test]
    fn a_snapshot_of_the_first_run_may_be_as_old_as_it_says() {
        let runs = Runs::new(Vec::new(), day(20));
        assert_eq!(
            judge(day(-9_000), day(-9_000), &runs.window(None), runs.now()),
            Judged { time: day(-9_000), quarantined: None }
        );
    }

    #[test]
    fn a_run_with_a_wrong_clock_narrows_nothing_in_either_direction() {
        for wrong in [3_660, -3_650] {
            let recorded = daily([10, 11, wrong, 13, 14]);
            let runs = Runs::new(recorded, day(15));
            assert_eq!(runs.now(), day(15));
            // Seen first at the wrong run: it was there at the next.
            assert_eq!(runs.window(Some((3, day(wrong)))), Window { after: Some(day(11)), until: day(13) });
            // Seen after it: the wrong run is no bound.
            assert_eq!(runs.window(Some((4, day(13)))), Window { after: Some(day(11)), until: day(13) });
        }
    }

    #[test]
    fn a_clock_that_is_behind_now_is_not_believed() {
        let runs = Runs::new(daily([10, 11, 12]), day(-3_650));
        assert_eq!((runs.now(), runs.last()), (day(12), Some(day(12))));
        let judged = judge(day(12), day(12), &runs.window(None), runs.now());
        assert_eq!(judged, Judged { time: day(12), quarantined: None });
    }

    #[test]
    fn a_jump_is_a_long_silence_before_what_nobody_recorded() {
        let known = [day(1), day(2), day(3)];
        assert_eq!(jump(known, [day(4), day(3_650)]), Some(Jump { from: day(4), to: day(3_650) }));
        assert_eq!(jump(known, [day(4), day(90)]), None);
        assert_eq!(jump(known, []), None);
        // What a run recorded is over and done with.
        assert_eq!(jump([day(1), day(400)], [day(401)]), None);
        assert_eq!(jump([], [day(1), day(400)]), Some(Jump { from: day(1), to: day(400) }));
        assert_eq!(jump([], [day(400)]), None);
    }

    proptest! {
        #[test]
        fn the_sequence_that_fits_is_in_order_and_none_is_longer(times in prop::collection::vec(0i64..12, 0..9)) {
            let runs = daily(times.iter().copied());
            let found = longest_in_order(&runs);
            prop_assert!(found.is_sorted());
            prop_assert!(found.windows(2).all(|pair| pair[0].1 <= pair[1].1 && pair[0].0 < pair[1].0));
            let longest = (0u32..1 << runs.len()).filter(|set| {
                let chosen: Vec<_> = runs.iter().enumerate().filter(|(at, _)| set >> at & 1 == 1).map(|(_, run)| run.1).collect();
                chosen.is_sorted()
            }).map(u32::count_ones).max().unwrap_or(0);
            prop_assert_eq!(found.len(), longest as usize);
        }

        #[test]
        fn whatever_is_claimed_it_counts_within_its_window(
            begun in any::<i64>(), length in 0i64..i64::MAX, times in prop::collection::vec(-4_000i64..4_000, 0..6), now in -4_000i64..4_000,
            seen in 0usize..7,
        ) {
            let recorded = daily(times);
            let first_seen = recorded.get(seen).copied();
            let runs = Runs::new(recorded, day(now));
            let window = runs.window(first_seen);
            let begun = Timestamp { seconds: begun, nanoseconds: 0 };
            let ended = Timestamp { seconds: begun.seconds.saturating_add(length), nanoseconds: 0 };
            let judged = judge(begun, ended, &window, runs.now());
            prop_assert!(judged.time <= window.until.max(window.after.unwrap_or(window.until)));
            prop_assert!(window.after.is_none_or(|after| judged.time >= after));
            prop_assert!(window.until <= runs.now());
        }
    }
}
