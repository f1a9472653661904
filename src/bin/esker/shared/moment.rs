//! A moment that a person types: `2027-01-31`, or `30d` from now.

use anyhow::Result;
use esker::clock::Timestamp;
use esker::retention::policy::Period;

use crate::error::Usage;

/// A date (its end), a date and time, or a period from now; local time.
pub fn until(text: &str) -> Result<Timestamp> {
    let zone = jiff::tz::TimeZone::system();
    let at = |moment: jiff::Timestamp| Timestamp { seconds: moment.as_second(), nanoseconds: 0 };
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Ok(at(moment));
    }
    let refuse = || {
        Usage::new(format!("{text:?} is no moment to keep a snapshot until"))
            .hint("it is such as 2027-01-31 (to its end), 2027-01-31T12:00, or 30d from now")
    };
    let civil = match (text.parse::<jiff::civil::Date>(), text.parse::<jiff::civil::DateTime>()) {
        // A text with a time is a date too, to jiff.
        (Ok(date), _) if text.len() == 10 => date.at(23, 59, 59, 0),
        (_, Ok(moment)) => moment,
        _ => {
            let period: Period = text.parse().map_err(|_| refuse())?;
            let now = esker::clock::Clock::now(&esker::clock::SystemClock::new());
            return Ok(period.after(now, &zone).ok_or_else(refuse)?);
        }
    };
    Ok(at(zone.to_timestamp(civil).map_err(|_| refuse())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_date_a_time_or_a_period_from_now() {
        assert_eq!(until("2027-01-31T12:00:00Z").unwrap().seconds, 1_801_396_800);
        let end = until("2027-01-31").unwrap().seconds;
        assert_eq!(until("2027-01-31T23:59:59").unwrap().seconds, end);
        assert!(until("30d").unwrap().seconds > 1_790_000_000);
        for wrong in ["", "tomorrow", "2027-13-01", "30", "-3d", "unlimited"] {
            assert!(until(wrong).is_err(), "{wrong}");
        }
    }
}
