//! Which snapshot `latest` means.
//!
//! A repository may hold snapshots of several hosts, and a host may take snapshots of several sets of sources. A wish narrows `latest` to
//! one host and to some sources. Snapshots whose time is not believed count only if there are no others.

use std::collections::BTreeSet;

use crate::clock::Timestamp;
use crate::id::SnapshotId;

/// A snapshot that `latest` may mean.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// Its id.
    pub id: SnapshotId,
    /// Its host.
    pub host: &'a str,
    /// The names of its sources.
    pub sources: Vec<&'a str>,
    /// The time at which it counts.
    pub time: Timestamp,
    /// Its time is plausible.
    pub is_believed: bool,
}

/// What `latest` is narrowed to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// The host; none: any.
    pub host: Option<String>,
    /// Sources that the snapshot should hold.
    pub sources: Vec<String>,
}

/// The choice, and what the user has to know about it.
#[derive(Debug, PartialEq, Eq)]
pub struct Choice {
    /// The snapshot.
    pub id: SnapshotId,
    /// Where it does not fit the wish.
    pub remarks: Vec<Remark>,
}

/// Where a choice does not fit the wish.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Remark {
    /// The wished host has no snapshot, and only one other host can be meant.
    #[error("there is no snapshot of host {wished}; esker uses those of host {used}, and --host NAME selects another")]
    OtherHost {
        /// The wished host.
        wished: String,
        /// The host of the choice.
        used: String,
    },
    /// No snapshot holds all wished sources.
    #[error("no snapshot holds all sources of the config file{}; esker uses those that hold the most of them", missing(.0))]
    NotAllSources(Vec<String>),
}

fn missing(sources: &[String]) -> String {
    if sources.is_empty() { String::new() } else { format!(" (missing: {})", sources.join(", ")) }
}

/// `latest` means no snapshot.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LatestError {
    /// There are not so many, or the word is not `latest` or `latest~N`.
    #[error("no snapshot matches {0:?}")]
    NotFound(String),
    /// The wished host has none, and several others have.
    #[error("there is no snapshot of host {wished}, but of several other hosts{}: {}", with_sources(*.by_sources), .hosts.join(", "))]
    SeveralHosts {
        /// The wished host.
        wished: String,
        /// Those that have.
        hosts: Vec<String>,
        /// These hold the wished sources.
        by_sources: bool,
    },
    /// The host's snapshots hold none of the wished sources.
    #[error(
        "no snapshot of host {host} holds a source of the config file ({}); they hold {}",
        .wished.join(", "),
        .found.join(", ")
    )]
    NoSource {
        /// The host.
        host: String,
        /// The wished sources.
        wished: Vec<String>,
        /// The sources that its snapshots hold.
        found: Vec<String>,
    },
}

fn with_sources(by_sources: bool) -> &'static str {
    if by_sources { " with the sources of the config file" } else { "" }
}

impl Wish {
    /// The snapshot that `word` (`latest`, `latest~1`) means among the candidates.
    pub fn choose(&self, word: &str, mut there: Vec<Candidate<'_>>) -> Result<Choice, LatestError> {
        let not_found = || LatestError::NotFound(word.to_owned());
        let back = match word.strip_prefix("latest").ok_or_else(not_found)? {
            "" => 0,
            rest => rest.strip_prefix('~').and_then(|back| back.parse::<usize>().ok()).ok_or_else(not_found)?,
        };
        if there.is_empty() {
            return Err(not_found());
        }
        if there.iter().any(|one| one.is_believed) {
            there.retain(|one| one.is_believed);
        }
        let mut remarks = Vec::new();
        remarks.extend(self.keep_host(&mut there)?);
        remarks.extend(self.keep_sources(&mut there)?);
        there.sort_by_key(|one| (one.time, one.id));
        let id = there.iter().rev().nth(back).ok_or_else(not_found)?.id;
        Ok(Choice { id, remarks })
    }

    /// A new machine has another name than the one whose backup it needs. If only one host can be meant, it is that one.
    fn keep_host(&self, there: &mut Vec<Candidate<'_>>) -> Result<Option<Remark>, LatestError> {
        let Some(wished) = self.host.clone() else { return Ok(None) };
        if there.iter().any(|one| one.host == wished) {
            there.retain(|one| one.host == wished);
            return Ok(None);
        }
        let most = self.most(there);
        let hosts: BTreeSet<String> = there.iter().filter(|one| self.held(one) == most).map(|one| one.host.to_owned()).collect();
        let mut hosts: Vec<String> = hosts.into_iter().collect();
        if hosts.len() > 1 {
            return Err(LatestError::SeveralHosts { wished, hosts, by_sources: !self.sources.is_empty() });
        }
        let used = hosts.pop().unwrap_or_default();
        there.retain(|one| one.host == used);
        Ok(Some(Remark::OtherHost { wished, used }))
    }

    /// A source that the config file got later is in no snapshot yet. Then those count that hold the most sources.
    fn keep_sources(&self, there: &mut Vec<Candidate<'_>>) -> Result<Option<Remark>, LatestError> {
        let most = self.most(there);
        if !self.sources.is_empty() && most == 0 {
            let found: BTreeSet<&str> = there.iter().flat_map(|one| one.sources.iter().copied()).collect();
            return Err(LatestError::NoSource {
                host: there.first().map(|one| one.host.to_owned()).unwrap_or_default(),
                wished: self.sources.clone(),
                found: found.into_iter().map(str::to_owned).collect(),
            });
        }
        there.retain(|one| self.held(one) == most);
        if most == self.sources.len() {
            return Ok(None);
        }
        let lacks = |name: &&String| !there.iter().any(|one| one.sources.contains(&name.as_str()));
        Ok(Some(Remark::NotAllSources(self.sources.iter().filter(lacks).cloned().collect())))
    }

    /// How many of the wished sources it holds.
    fn held(&self, one: &Candidate<'_>) -> usize {
        self.sources.iter().filter(|name| one.sources.contains(&name.as_str())).count()
    }

    fn most(&self, there: &[Candidate<'_>]) -> usize {
        there.iter().map(|one| self.held(one)).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate<'a>(id: u8, host: &'a str, sources: &[&'a str]) -> Candidate<'a> {
        let time = Timestamp { seconds: i64::from(id), nanoseconds: 0 };
        Candidate { id: SnapshotId([id; 16]), host, sources: sources.to_vec(), time, is_believed: true }
    }

    fn wish(host: Option<&str>, sources: &[&str]) -> Wish {
        Wish { host: host.map(str::to_owned), sources: sources.iter().map(|&name| name.to_owned()).collect() }
    }

    fn chosen(wish: &Wish, word: &str, there: &[Candidate<'_>]) -> Result<u8, LatestError> {
        wish.choose(word, there.to_vec()).map(|choice| choice.id.0[0])
    }

    #[test]
    fn latest_is_the_newest_and_a_number_counts_back() {
        let there = [candidate(2, "a", &["db"]), candidate(1, "a", &["db"]), candidate(3, "b", &["web"])];
        assert_eq!(chosen(&Wish::default(), "latest", &there), Ok(3));
        assert_eq!(chosen(&Wish::default(), "latest~2", &there), Ok(1));
        for word in ["latest~3", "latest~", "latest~x", "newest", ""] {
            assert_eq!(chosen(&Wish::default(), word, &there), Err(LatestError::NotFound(word.to_owned())));
        }
        assert!(chosen(&Wish::default(), "latest", &[]).is_err());
    }

    #[test]
    fn a_time_that_is_not_believed_counts_only_if_no_other_does() {
        let mut there = [candidate(1, "a", &["db"]), candidate(9, "a", &["db"])];
        there[1].is_believed = false;
        assert_eq!(chosen(&Wish::default(), "latest", &there), Ok(1));
        assert_eq!(chosen(&Wish::default(), "latest", &there[1..]), Ok(9));
    }

    #[test]
    fn a_wished_host_narrows_and_a_new_machine_gets_the_only_other_one() {
        let there = [candidate(1, "a", &["db"]), candidate(2, "b", &["web"])];
        assert_eq!(chosen(&wish(Some("a"), &[]), "latest", &there), Ok(1));
        let choice = wish(Some("new"), &[]).choose("latest", there[..1].to_vec()).unwrap();
        assert_eq!(choice.remarks, [Remark::OtherHost { wished: "new".to_owned(), used: "a".to_owned() }]);
        assert!(matches!(chosen(&wish(Some("new"), &[]), "latest", &there), Err(LatestError::SeveralHosts { .. })));
        // Their sources tell the two apart.
        assert_eq!(chosen(&wish(Some("new"), &["db"]), "latest", &there), Ok(1));
    }

    #[test]
    fn the_snapshots_that_hold_the_most_wished_sources_count() {
        let there = [candidate(1, "a", &["db", "media"]), candidate(2, "a", &["db"]), candidate(3, "a", &["other"])];
        assert_eq!(chosen(&wish(None, &["db", "media"]), "latest", &there), Ok(1));
        let choice = wish(None, &["db", "media", "new"]).choose("latest", there.to_vec()).unwrap();
        assert_eq!((choice.id.0[0], choice.remarks), (1, vec![Remark::NotAllSources(vec!["new".to_owned()])]));
        let error = chosen(&wish(None, &["x"]), "latest", &there).unwrap_err();
        assert!(error.to_string().contains("(x)") && error.to_string().contains("db, media, other"), "{error}");
    }
}
