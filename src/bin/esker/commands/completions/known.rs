//! What fits at the end of a command line, as the repository and the config file know it.
//!
//! A person presses a key and goes on typing: nothing is asked, nothing is written, no error is shown, and it ends soon.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap_complete::Shell;
use esker::clock::{SystemClock, SystemRng};
use esker::format::names;
use esker::id::SnapshotId;
use esker::parallel;
use esker::repository::{self, Repository, RepositoryError, StoredSnapshot};
use esker::store::Store;
use esker::store::location::{self, Location};
use esker::store::options::Options as StoreOptions;

use super::line::{self, Expected, Line};
use crate::context::passphrase;
use crate::secret::{self, Secret, SecretSource};
use crate::settings::{self, Environment, Settings};
use crate::sources;
use crate::terminal::escape::escape;
use crate::terminal::{Output, words};

/// How long a person waits for it.
const TIME_MAX: Duration = Duration::from_secs(3);

/// What may be typed, and what it is.
struct Word {
    word: String,
    says: String,
}

/// What the repository holds, as far as it can be read.
enum Held {
    /// The snapshots, oldest first, those that were forgotten, and those that cannot be read.
    Opened { snapshots: Vec<StoredSnapshot>, forgotten: Vec<StoredSnapshot>, damaged: Vec<SnapshotId> },
    /// Only the names.
    Names(Vec<SnapshotId>),
}

/// Prints a line for each word that fits: the word, a tab, what it is. An empty line says that nothing fits, not even a file.
pub fn print(shell: Shell, typed: &[OsString], out: &mut Output) -> Result<()> {
    let typed = typed.to_vec();
    // A store that does not answer is left behind when the process ends.
    let found = parallel::within(TIME_MAX, move || line::read(&typed).map(|line| (fitting(&line), line.prefix)));
    let Some((fitting, prefix)) = found.flatten() else { return Ok(()) };
    // Bash replaces only what follows the equal sign.
    let prefix = if shell == Shell::Bash { String::new() } else { prefix };
    for Word { word, says } in fitting {
        match word.as_str() {
            "" => out.line("")?,
            word => out.line(&format!("{prefix}{word}\t{says}"))?,
        }
    }
    Ok(())
}

fn fitting(line: &Line) -> Vec<Word> {
    if matches!(line.expected, Expected::Snapshot | Expected::Forgotten) && line.typed.contains(':') {
        return vec![Word { word: String::new(), says: String::new() }];
    }
    let Ok(settings) = settings::load(&line.global, &Environment::of_process()) else { return Vec::new() };
    let mut all = match line.expected {
        Expected::Snapshot => held(&settings).map(|held| snapshots(held, &line.typed)).unwrap_or_default(),
        Expected::Forgotten => held(&settings).map(|held| forgotten(held, &line.typed)).unwrap_or_default(),
        Expected::Source => {
            let mut names = configured(&settings);
            names.extend(held(&settings).map(of_snapshots).unwrap_or_default());
            once(names)
        }
        Expected::Configured => {
            let mut names = configured(&settings);
            // The preset finds its sources itself, and a snapshot of it has their names.
            if settings.sources.iter().any(|entry| entry.authentik.is_some()) {
                names.extend(held(&settings).map(of_snapshots).unwrap_or_default());
            }
            once(names)
        }
    };
    all.retain(|word| word.word.starts_with(&line.typed) && is_plain(&word.word));
    all
}

/// Names come from strangers, and a shell takes what is completed for what was typed.
fn is_plain(word: &str) -> bool {
    !word.starts_with('-') && word.chars().all(|letter| letter.is_alphanumeric() || "._-@+".contains(letter))
}

fn snapshots(held: Held, typed: &str) -> Vec<Word> {
    let mut all: Vec<Word> = match held {
        Held::Opened { snapshots, damaged, .. } => {
            let damaged = damaged.iter().map(|id| Word { word: shown(id, typed), says: "cannot be read".to_owned() });
            snapshots.iter().rev().map(|stored| of(stored, typed)).chain(damaged).collect()
        }
        Held::Names(names) => names.iter().map(|id| Word { word: shown(id, typed), says: String::new() }).collect(),
    };
    if let Some(newest) = all.first() {
        let latest = Word { word: "latest".to_owned(), says: newest.says.clone() };
        all.insert(0, latest);
    }
    all
}

fn forgotten(held: Held, typed: &str) -> Vec<Word> {
    match held {
        Held::Opened { forgotten, .. } => forgotten.iter().rev().map(|stored| of(stored, typed)).collect(),
        Held::Names(_) => Vec::new(),
    }
}

fn of(stored: &StoredSnapshot, typed: &str) -> Word {
    let snapshot = &stored.snapshot;
    let sources: Vec<&str> = snapshot.sources.iter().map(|source| source.name.as_str()).collect();
    let incomplete = if snapshot.is_complete() { "" } else { " (incomplete)" };
    let says = format!("{}  {}", snapshot.host, sources.join(", "));
    let says = format!("{}  {}{incomplete}", words::local_time(snapshot.time), escape(says.as_bytes()));
    Word { word: shown(&stored.id, typed), says }
}

/// The short form, unless more than that is typed.
fn shown(id: &SnapshotId, typed: &str) -> String {
    let short = id.short();
    if typed.len() > short.len() { id.to_hex() } else { short }
}

fn of_snapshots(held: Held) -> Vec<Word> {
    let Held::Opened { snapshots, .. } = held else { return Vec::new() };
    let sources = snapshots.iter().flat_map(|stored| &stored.snapshot.sources);
    let names: std::collections::BTreeSet<&str> = sources.map(|source| source.name.as_str()).collect();
    names.into_iter().map(|name| Word { word: name.to_owned(), says: "in a snapshot".to_owned() }).collect()
}

fn configured(settings: &Settings) -> Vec<Word> {
    let of_directory = |entry: &settings::SourceEntry| sources::name_of(entry.directory.as_deref()?).ok();
    let names = settings.sources.iter().filter_map(|entry| entry.name.clone().or_else(|| of_directory(entry)));
    names.map(|word| Word { word, says: "in the config file".to_owned() }).collect()
}

/// Each name once, as it is said first.
fn once(mut all: Vec<Word>) -> Vec<Word> {
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|word| seen.insert(word.word.clone()));
    all
}

/// Opens the repository where no person is needed for it. A store that is far away is only listed.
fn held(settings: &Settings) -> Option<Held> {
    let source = &settings.opening.source;
    if *source == SecretSource::Prompt {
        return None;
    }
    let place = location::parse(settings.repository.as_ref()?.to_str()?).ok()?;
    let is_near = matches!(place, Location::Path(_));
    let options = if is_near { StoreOptions::default() } else { settings.store.clone() };
    let store = place.open(&options).ok()?;
    // A command may ask: a password manager does.
    if !is_near || source.may_ask() {
        return listed(&*store);
    }
    let secret = match secret::load(source, &|_| ()).ok()? {
        Secret::Password(password) => repository::Secret::Passphrase(passphrase(&password)),
        Secret::Key(line) => repository::Secret::KeyLine(line),
    };
    let environment = repository::Environment {
        store: Arc::clone(&store),
        clock: Arc::new(SystemClock::new()),
        rng: Arc::new(SystemRng),
        host: settings.host.clone().unwrap_or_default(),
        // Nothing is kept of a glance.
        caches: None,
        states: None,
    };
    match Repository::open(environment, &secret, settings.slot.as_deref()).ok()?.snapshots() {
        Ok(list) => Some(Held::Opened {
            snapshots: list.snapshots,
            forgotten: list.forgotten.into_iter().map(|forgone| forgone.stored).collect(),
            damaged: list.damaged.iter().map(|(id, _)| *id).collect(),
        }),
        Err(RepositoryError::NeedsOwner(_)) => listed(&*store),
        Err(_) => None,
    }
}

/// Only the names, among them those of runs that failed.
fn listed(store: &dyn Store) -> Option<Held> {
    let mut ids = Vec::new();
    store.list(names::SNAPSHOTS, &mut |entry| ids.extend(names::parse_snapshot(&entry.name))).ok()?;
    ids.sort_unstable();
    Some(Held::Names(ids))
}
