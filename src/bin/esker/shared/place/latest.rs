//! Which snapshot `latest` means. A repository may hold several hosts, and one host may have several configurations: with a config
//! file, `latest` is the newest snapshot of this host that holds the file's sources. What was chosen is said.

use std::collections::BTreeSet;

use anyhow::Result;
use esker::clock::Timestamp;
use esker::prune::survey::Surveyed;
use esker::repository::{RepositoryError, StoredSnapshot};

use crate::args::Filter;
use crate::context::Context;
use crate::error::Failure;
use crate::sources;
use crate::terminal::words;

/// A snapshot that `latest` may mean.
#[derive(Clone, Copy)]
pub struct One<'a> {
    /// As it stands.
    pub stored: &'a StoredSnapshot,
    /// The time it counts at.
    pub time: Timestamp,
    /// Its time is believed.
    pub is_believed: bool,
}

impl<'a> From<&'a Surveyed> for One<'a> {
    fn from(surveyed: &'a Surveyed) -> Self {
        Self { stored: &surveyed.stored, time: surveyed.time, is_believed: surveyed.quarantined.is_none() }
    }
}

impl<'a> From<&'a StoredSnapshot> for One<'a> {
    fn from(stored: &'a StoredSnapshot) -> Self {
        Self { stored, time: stored.snapshot.time, is_believed: true }
    }
}

impl One<'_> {
    fn host(&self) -> &str {
        &self.stored.snapshot.host
    }

    fn holds(&self, name: &str) -> bool {
        self.stored.snapshot.sources.iter().any(|source| source.name == name)
    }
}

/// What narrows `latest` beside the filter of the command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Latest {
    /// The host of the config file, or this one.
    host: Option<String>,
    /// Sources of the config file. A preset finds its sources by itself, so they are not among them.
    sources: Vec<String>,
}

impl Latest {
    /// A config file that has sources or a host narrows, except where the command line says otherwise.
    pub fn new(filter: &Filter, context: &Context) -> Self {
        let settings = &context.settings;
        let narrows = settings.host.is_some() || !settings.sources.is_empty();
        Self {
            host: (filter.host.is_none() && narrows).then(|| context.host()),
            sources: if filter.source.is_none() { sources::configured(settings) } else { Vec::new() },
        }
    }

    /// The one that `wanted` (`latest`, `latest~1`) means among those that passed the filter. `warn` hears what did not fit.
    pub fn choose<'a>(&self, wanted: &str, mut there: Vec<One<'a>>, warn: &dyn Fn(&str)) -> Result<One<'a>> {
        let missing = || RepositoryError::SnapshotNotFound(wanted.to_owned());
        let back = match wanted.strip_prefix("latest").ok_or_else(missing)? {
            "" => 0,
            rest => rest.strip_prefix('~').and_then(|back| back.parse::<usize>().ok()).ok_or_else(missing)?,
        };
        if there.is_empty() {
            return Err(missing().into());
        }
        if there.iter().any(|one| one.is_believed) {
            there.retain(|one| one.is_believed);
        }
        self.keep_host(&mut there, warn)?;
        self.keep_sources(&mut there, warn)?;
        there.sort_by_key(|one| (one.time, one.stored.id));
        Ok(there.into_iter().rev().nth(back).ok_or_else(missing)?)
    }

    /// A new machine has another name than the one whose backup it needs: where only one host can be meant it is that one.
    fn keep_host(&self, there: &mut Vec<One<'_>>, warn: &dyn Fn(&str)) -> Result<()> {
        let Some(host) = &self.host else { return Ok(()) };
        if there.iter().any(|one| one.host() == host) {
            there.retain(|one| one.host() == host);
            return Ok(());
        }
        let held = most(there, &self.sources);
        let hosts: BTreeSet<String> = there.iter().filter(|one| self.held(one) == held).map(|one| one.host().to_owned()).collect();
        let shown = hosts.iter().cloned().collect::<Vec<_>>().join(", ");
        if hosts.len() > 1 {
            let sources = if self.sources.is_empty() { "" } else { " with the sources of the config file" };
            return Err(Failure::new(format!("there is no snapshot of host {host}, but of several other hosts{sources}: {shown}"))
                .hint("select one with --host NAME, name a snapshot by its id, or set `host` in the config file")
                .into());
        }
        warn(&format!("there is no snapshot of host {host}; esker uses those of host {shown}, and --host NAME selects another"));
        there.retain(|one| hosts.contains(one.host()));
        Ok(())
    }

    /// A source that was added to the config file since is in no snapshot yet: then it is those that hold the most of them.
    fn keep_sources(&self, there: &mut Vec<One<'_>>, warn: &dyn Fn(&str)) -> Result<()> {
        let held = most(there, &self.sources);
        if !self.sources.is_empty() && held == 0 {
            let found: BTreeSet<&str> =
                there.iter().flat_map(|one| one.stored.snapshot.sources.iter().map(|source| source.name.as_str())).collect();
            let found = found.into_iter().collect::<Vec<_>>().join(", ");
            let host = there.first().map(|one| one.host().to_owned()).unwrap_or_default();
            return Err(Failure::new(format!(
                "no snapshot of host {host} holds a source of the config file ({}); they hold {found}",
                self.sources.join(", ")
            ))
            .hint("select with --source NAME or --host NAME, or name a snapshot by its id")
            .into());
        }
        there.retain(|one| self.held(one) == held);
        if held < self.sources.len() {
            let lacks = |name: &&String| !there.iter().any(|one| one.holds(name));
            let lacking: Vec<&str> = self.sources.iter().filter(lacks).map(String::as_str).collect();
            let what = match lacking.is_empty() {
                true => "holds all sources of the config file".to_owned(),
                false => format!("holds all sources of the config file (missing: {})", lacking.join(", ")),
            };
            warn(&format!("no snapshot {what}; esker uses those that hold the most of them"));
        }
        Ok(())
    }

    fn held(&self, one: &One<'_>) -> usize {
        self.sources.iter().filter(|name| one.holds(name)).count()
    }
}

/// How many of these sources the snapshot holds that holds the most.
fn most(there: &[One<'_>], sources: &[String]) -> usize {
    there.iter().map(|one| sources.iter().filter(|name| one.holds(name)).count()).max().unwrap_or(0)
}

/// `snapshot 3fa2c1d0 of host auth01, 2026-11-30 03:15:00, sources database, media`
pub fn describe(stored: &StoredSnapshot) -> String {
    let snapshot = &stored.snapshot;
    let names: Vec<&str> = snapshot.sources.iter().map(|source| source.name.as_str()).collect();
    let incomplete = if snapshot.is_complete() { "" } else { ", INCOMPLETE" };
    format!(
        "snapshot {} of host {}, {}, sources {}{incomplete}",
        stored.id.short(),
        snapshot.host,
        words::local_time(snapshot.time),
        names.join(", ")
    )
}
