//! Whether the clock here and the one of the server agree. Nothing that deletes or commits ever asks a clock; but servers that check
//! signatures refuse requests from far away in time, and a snapshot's time decides what the keep rules drop.

use crate::clock::ahead_in_words;

/// Above this a person is warned: a third of what S3 stands.
const WARN_SECONDS: u64 = 5 * 60;
/// Two clocks that are read in whole seconds say nothing about less.
const UNCERTAIN_SECONDS: i64 = 1;

/// How many seconds, at least, the clock here is ahead of the one `there`, which was read between `before` and `after` (here); negative:
/// behind. 0: they agree as far as can be told.
pub(super) fn ahead(before: i64, there: i64, after: i64) -> i64 {
    let ahead = if there < before {
        before.saturating_sub(there)
    } else if there > after {
        after.saturating_sub(there)
    } else {
        0
    };
    if ahead.unsigned_abs() <= UNCERTAIN_SECONDS.unsigned_abs() { 0 } else { ahead }
}

/// What is to be done about it, where something is.
pub(super) fn remark(ahead_seconds: i64) -> Option<String> {
    (ahead_seconds.unsigned_abs() > WARN_SECONDS).then(|| {
        format!(
            "this machine's clock is {}: from 15 minutes on S3 servers refuse every request, and snapshots get times that keep rules do \
             not believe; set the one that is wrong (here: timedatectl set-ntp true)",
            ahead_in_words(ahead_seconds)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_counts_only_for_what_the_time_of_asking_does_not_explain() {
        assert_eq!(ahead(1_000, 1_005, 1_010), 0);
        assert_eq!((ahead(1_000, 999, 1_010), ahead(1_000, 1_011, 1_010)), (0, 0));
        assert_eq!((ahead(1_000, 400, 1_010), ahead(1_000, 1_610, 1_010)), (600, -600));
        assert_eq!(ahead(i64::MAX, i64::MIN, i64::MAX), i64::MAX);
        assert_eq!(ahead(i64::MIN, i64::MAX, i64::MIN), i64::MIN);
    }

    #[test]
    fn a_person_is_warned_above_five_minutes_and_told_what_to_do() {
        assert_eq!((remark(0), remark(300), remark(-300)), (None, None, None));
        assert!(remark(301).unwrap().starts_with("this machine's clock is 5 minutes ahead of the server's: from 15 minutes"));
        assert!(remark(-90_000).unwrap().contains("25 hours behind the server's"));
        assert!(remark(i64::MIN).unwrap().contains("timedatectl"));
    }
}
