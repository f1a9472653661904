//! `[keep]`: what `forget` keeps when its command line says nothing.

use std::collections::BTreeMap;

use esker::retention::policy::{Count, GroupBy, Period, Policy, tag_list};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// `[keep]`, or `[profile.NAME.keep]`, which then replaces all of it.
#[derive(Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Keep {
    #[serde(deserialize_with = "count")]
    last: Count,
    #[serde(deserialize_with = "count")]
    hourly: Count,
    #[serde(deserialize_with = "count")]
    daily: Count,
    #[serde(deserialize_with = "count")]
    weekly: Count,
    #[serde(deserialize_with = "count")]
    monthly: Count,
    #[serde(deserialize_with = "count")]
    yearly: Count,
    #[serde(deserialize_with = "text")]
    within: Period,
    #[serde(deserialize_with = "text")]
    within_hourly: Period,
    #[serde(deserialize_with = "text")]
    within_daily: Period,
    #[serde(deserialize_with = "text")]
    within_weekly: Period,
    #[serde(deserialize_with = "text")]
    within_monthly: Period,
    #[serde(deserialize_with = "text")]
    within_yearly: Period,
    tags: Vec<String>,
    #[serde(deserialize_with = "maybe_text")]
    group_by: Option<GroupBy>,
    /// Rules for the snapshots that hold a source, by its name.
    #[serde(deserialize_with = "of_sources")]
    source: BTreeMap<String, Keep>,
}

impl Keep {
    /// As rules.
    pub fn policy(&self) -> Policy {
        Policy {
            last: self.last,
            hourly: self.hourly,
            daily: self.daily,
            weekly: self.weekly,
            monthly: self.monthly,
            yearly: self.yearly,
            within: self.within,
            within_hourly: self.within_hourly,
            within_daily: self.within_daily,
            within_weekly: self.within_weekly,
            within_monthly: self.within_monthly,
            within_yearly: self.within_yearly,
            tags: self.tags.iter().map(|tags| tag_list(tags)).collect(),
        }
    }

    /// Rules that count besides, for the snapshots that hold a source.
    pub fn of_sources(&self) -> Vec<(String, Policy)> {
        self.source.iter().map(|(name, keep)| (name.clone(), keep.policy())).collect()
    }

    /// What tells groups apart.
    pub fn group_by(&self) -> Option<GroupBy> {
        self.group_by
    }
}

/// Only the rules that are there, as they may be written.
impl Serialize for Keep {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, count) in [
            ("last", self.last),
            ("hourly", self.hourly),
            ("daily", self.daily),
            ("weekly", self.weekly),
            ("monthly", self.monthly),
            ("yearly", self.yearly),
        ] {
            if count != Count::default() {
                map.serialize_entry(name, &count.to_string())?;
            }
        }
        for (name, period) in [
            ("within", self.within),
            ("within-hourly", self.within_hourly),
            ("within-daily", self.within_daily),
            ("within-weekly", self.within_weekly),
            ("within-monthly", self.within_monthly),
            ("within-yearly", self.within_yearly),
        ] {
            if period != Period::default() {
                map.serialize_entry(name, &period.to_string())?;
            }
        }
        if !self.tags.is_empty() {
            map.serialize_entry("tags", &self.tags)?;
        }
        if let Some(by) = self.group_by {
            let parts = [(by.host, "host"), (by.sources, "sources"), (by.tags, "tags")];
            let named: Vec<_> = parts.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
            map.serialize_entry("group-by", &named.join(","))?;
        }
        if !self.source.is_empty() {
            map.serialize_entry("source", &self.source)?;
        }
        map.end()
    }
}

/// Tables of rules by source. What tells groups apart is said once, for all of them.
fn of_sources<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Keep>, D::Error> {
    let tables = BTreeMap::<String, Keep>::deserialize(deserializer)?;
    match tables.iter().find(|(_, keep)| keep.group_by.is_some() || !keep.source.is_empty()) {
        Some((name, _)) => {
            Err(de::Error::custom(format!("[keep.source.{name}] takes rules only: `group-by` and `source` belong into [keep]")))
        }
        None => Ok(tables),
    }
}

/// A number, or `"unlimited"`.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Count, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a number, or \"unlimited\"")]
    enum Either {
        Number(i64),
        Text(String),
    }
    let text = match Either::deserialize(deserializer)? {
        Either::Number(number) => number.to_string(),
        Either::Text(text) => text,
    };
    text.parse().map_err(de::Error::custom)
}

fn text<'de, D: Deserializer<'de>, T: std::str::FromStr<Err: std::fmt::Display>>(deserializer: D) -> Result<T, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

fn maybe_text<'de, D: Deserializer<'de>, T: std::str::FromStr<Err: std::fmt::Display>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    text(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_of_the_config_file_are_those_of_the_command_line() {
        let keep: Keep =
            toml::from_str("last = 3\ndaily = 'unlimited'\nwithin-weekly = '2m'\ntags = ['a,b', 'c']\ngroup-by = 'host'").unwrap();
        let policy = keep.policy();
        assert_eq!((policy.last, policy.daily), (Count::Up(3), Count::Unlimited));
        assert_eq!(policy.within_weekly, "2m".parse().unwrap());
        assert_eq!(policy.tags, [tag_list("a,b"), tag_list("c")]);
        assert_eq!(keep.group_by(), Some("host".parse().unwrap()));
        assert!(Keep::default().policy().is_empty());
        let keep: Keep = toml::from_str("daily = 7\n[source.db]\nhourly = 24").unwrap();
        assert_eq!(
            keep.of_sources().iter().map(|(name, policy)| (name.as_str(), policy.hourly)).collect::<Vec<_>>(),
            [("db", Count::Up(24))]
        );
        for wrong in [
            "[source.db]\ngroup-by = 'host'",
            "last = -2",
            "within = '3'",
            "within = 3",
            "lasts = 3",
            "group-by = 'x'",
            "daily = 1.5",
        ] {
            assert!(toml::from_str::<Keep>(wrong).is_err(), "{wrong}");
        }
    }
}
