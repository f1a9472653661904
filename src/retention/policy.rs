//! What a person asks to keep: restic's rules, as they are typed. Pure.

use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;

use crate::clock::Timestamp;

/// How many slots of a rule there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Count {
    /// At most this many; 0: the rule is not given.
    Up(u32),
    /// `unlimited`, or -1.
    Unlimited,
}

impl Default for Count {
    fn default() -> Self {
        Self::Up(0)
    }
}

impl Count {
    /// Is the rule not given?
    pub fn is_none(self) -> bool {
        self == Self::Up(0)
    }

    /// Takes one slot, if there is one left.
    pub(super) fn take(&mut self) {
        if let Self::Up(left) = self {
            *left = left.saturating_sub(1);
        }
    }
}

/// A rule that cannot be understood.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RuleError {
    /// Neither a number of slots nor `unlimited`.
    #[error("{0:?} is neither a number nor `unlimited` (which -1 means too)")]
    Count(String),
    /// Not a period.
    #[error("{0:?} is no period: it is such as 2y5m7d3h (years, months, days, hours), or `unlimited`")]
    Period(String),
    /// Not one of the things to group by.
    #[error("{0:?} is nothing to group by: it is host, sources (or paths) and tags, with commas between")]
    GroupBy(String),
}

impl FromStr for Count {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        match text {
            "unlimited" | "-1" => Ok(Self::Unlimited),
            _ => text.parse().map(Self::Up).map_err(|_| RuleError::Count(text.to_owned())),
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up(count) => count.fmt(f),
            Self::Unlimited => f.write_str("unlimited"),
        }
    }
}

/// A stretch of the calendar.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Period {
    /// Years, months, days, hours; all 0: none.
    Calendar {
        /// Calendar years.
        years: u16,
        /// Calendar months.
        months: u16,
        /// Calendar days.
        days: u32,
        /// Hours of 60 minutes.
        hours: u32,
    },
    /// However long.
    Unlimited,
    /// The rule is not given.
    #[default]
    None,
}

impl Period {
    /// Is the rule not given?
    pub fn is_none(self) -> bool {
        self == Self::None || matches!(self, Self::Calendar { years: 0, months: 0, days: 0, hours: 0 })
    }

    /// The moment this long before `time`, by the calendar of `zone`; `None` before the beginning of the calendar.
    pub fn before(self, time: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        moment(&zoned(time, zone)?.checked_sub(self.span()?).ok()?)
    }

    /// The moment this long after `time`; `None` after the end of the calendar.
    pub fn after(self, time: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        moment(&zoned(time, zone)?.checked_add(self.span()?).ok()?)
    }

    fn span(self) -> Option<jiff::Span> {
        let Self::Calendar { years, months, days, hours } = self else { return None };
        jiff::Span::new().try_years(years).ok()?.try_months(months).ok()?.try_days(days).ok()?.try_hours(hours).ok()
    }
}

fn moment(time: &jiff::ZonedDateTime) -> Option<Timestamp> {
    let nanoseconds = time.timestamp().as_nanosecond();
    Some(Timestamp {
        seconds: i64::try_from(nanoseconds.div_euclid(1_000_000_000)).ok()?,
        nanoseconds: u32::try_from(nanoseconds.rem_euclid(1_000_000_000)).ok()?,
    })
}

impl FromStr for Period {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let refuse = || RuleError::Period(text.to_owned());
        if text == "unlimited" {
            return Ok(Self::Unlimited);
        }
        let (mut years, mut months, mut days, mut hours) = (None, None, None, None);
        let mut rest = text;
        if rest.is_empty() {
            return Err(refuse());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(refuse)?;
            let (number, after) = rest.split_at(digits);
            let mut after = after.chars();
            let seen = match after.next() {
                Some('y') => years.replace(number.parse::<u16>().map_err(|_| refuse())?).map(u32::from),
                Some('m') => months.replace(number.parse::<u16>().map_err(|_| refuse())?).map(u32::from),
                Some('d') => days.replace(number.parse::<u32>().map_err(|_| refuse())?),
                Some('h') => hours.replace(number.parse::<u32>().map_err(|_| refuse())?),
                _ => return Err(refuse()),
            };
            if seen.is_some() {
                return Err(refuse());
            }
            rest = after.as_str();
        }
        Ok(Self::Calendar {
            years: years.unwrap_or(0),
            months: months.unwrap_or(0),
            days: days.unwrap_or(0),
            hours: hours.unwrap_or(0),
        })
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.write_str("unlimited"),
            Self::None => Ok(()),
            Self::Calendar { years, months, days, hours } => {
                for (number, unit) in [(u32::from(*years), 'y'), (u32::from(*months), 'm'), (*days, 'd'), (*hours, 'h')] {
                    if number > 0 {
                        write!(f, "{number}{unit}")?;
                    }
                }
                Ok(())
            }
        }
    }
}

/// Everything to keep. A snapshot that any rule wants is kept.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Policy {
    /// The newest.
    pub last: Count,
    /// The newest of each of the newest hours that have one.
    pub hourly: Count,
    /// ... of days.
    pub daily: Count,
    /// ... of weeks of ISO 8601.
    pub weekly: Count,
    /// ... of months.
    pub monthly: Count,
    /// ... of years.
    pub yearly: Count,
    /// All that are younger than this before the newest.
    pub within: Period,
    /// The newest of every hour within this before the newest.
    pub within_hourly: Period,
    /// ... of every day.
    pub within_daily: Period,
    /// ... of every week.
    pub within_weekly: Period,
    /// ... of every month.
    pub within_monthly: Period,
    /// ... of every year.
    pub within_yearly: Period,
    /// Those that have all tags of one of these lists; a list of one empty tag means those without tags.
    pub tags: Vec<Vec<String>>,
}

impl Policy {
    /// Is no rule given?
    pub fn is_empty(&self) -> bool {
        let counts = [self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly];
        counts.iter().all(|count| count.is_none()) && !self.goes_by_age() && self.tags.is_empty()
    }

    /// Does any rule measure an age? Those are what a wrong clock upsets most.
    pub(crate) fn goes_by_age(&self) -> bool {
        let periods =
            [self.within, self.within_hourly, self.within_daily, self.within_weekly, self.within_monthly, self.within_yearly];
        periods.iter().any(|period| !period.is_none())
    }
}

/// `a,b`: one list of tags, all of which are wanted.
pub fn tag_list(text: &str) -> Vec<String> {
    text.split(',').map(|tag| tag.trim().to_owned()).collect()
}

/// Which snapshots are told apart before the rules are applied to each group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupBy {
    /// By host.
    pub host: bool,
    /// By the names of their sources.
    pub sources: bool,
    /// By their tags.
    pub tags: bool,
}

impl Default for GroupBy {
    fn default() -> Self {
        Self { host: true, sources: true, tags: false }
    }
}

impl FromStr for GroupBy {
    type Err = RuleError;

    /// Empty: all snapshots are one group.
    fn from_str(text: &str) -> Result<Self, RuleError> {
        let mut by = Self { host: false, sources: false, tags: false };
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part {
                "host" => by.host = true,
                "sources" | "source" | "paths" | "path" => by.sources = true,
                "tags" | "tag" => by.tags = true,
                _ => return Err(RuleError::GroupBy(part.to_owned())),
            }
        }
        Ok(by)
    }
}

/// A moment in the calendar of a zone; what no calendar has becomes its first or last moment.
pub(super) fn zoned(time: Timestamp, zone: &TimeZone) -> Option<jiff::ZonedDateTime> {
    let nanoseconds = i32::try_from(time.nanoseconds).unwrap_or(0);
    let time = jiff::Timestamp::new(time.seconds, nanoseconds).unwrap_or(match time.seconds {
        ..0 => jiff::Timestamp::MIN,
        _ => jiff::Timestamp::MAX,
    });
    Some(time.to_zoned_datetime(zone.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::survey::has_tags;

    #[test]
    fn a_count_is_a_number_or_unlimited() {
        assert_eq!("7".parse(), Ok(Count::Up(7)));
        assert_eq!("unlimited".parse(), Ok(Count::Unlimited));
        assert_eq!("-1".parse(), Ok(Count::Unlimited));
        for wrong in ["-2", "", "x", "1.5", "99999999999"] {
            assert_eq!(wrong.parse::<Count>(), Err(RuleError::Count(wrong.to_owned())));
        }
    }

    #[test]
    fn a_period_reads_back_from_what_it_prints() {
        for text in ["2y5m7d3h", "30d", "1y", "48h", "unlimited", "5m3h"] {
            assert_eq!(text.parse::<Period>().unwrap().to_string(), text);
        }
        for wrong in ["", "d", "3", "3x", "-3d", "3d3", "1d1d", "99999y", "3 d", "3dä"] {
            assert!(wrong.parse::<Period>().is_err(), "{wrong}");
        }
        assert!("0d".parse::<Period>().unwrap().is_none());
    }

    #[test]
    fn a_period_goes_back_by_the_calendar() {
        let at = |text: &str| Timestamp { seconds: text.parse::<jiff::Timestamp>().unwrap().as_second(), nanoseconds: 7 };
        let period: Period = "1y1m1d1h".parse().unwrap();
        assert_eq!(period.before(at("2024-03-01T12:00:00Z"), &TimeZone::UTC), Some(at("2023-01-31T11:00:00Z")));
        // Before the beginning of the calendar.
        assert_eq!(
            Period::Calendar { years: 20_000, months: 0, days: 0, hours: 0 }.before(at("2024-03-01T12:00:00Z"), &TimeZone::UTC),
            None
        );
        assert!(Period::default().before(Timestamp { seconds: i64::MIN, nanoseconds: u32::MAX }, &TimeZone::UTC).is_none());
    }

    #[test]
    fn grouping_takes_the_words_of_restic() {
        assert_eq!("host,paths".parse(), Ok(GroupBy::default()));
        assert_eq!("".parse(), Ok(GroupBy { host: false, sources: false, tags: false }));
        assert_eq!("tags".parse(), Ok(GroupBy { host: false, sources: false, tags: true }));
        assert!("hosts".parse::<GroupBy>().is_err());
    }

    #[test]
    fn tags_are_wanted_together_and_an_empty_one_means_none() {
        let tags = |text: &str| tag_list(text);
        assert!(has_tags(&tags("a,b"), &tags("b,a")) && !has_tags(&tags("a"), &tags("a,b")));
        assert!(has_tags(&[], &tags("")) && !has_tags(&tags("a"), &tags("")));
    }
}
