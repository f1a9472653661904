//! What an owner knows about every snapshot: what it says itself, what notes say of it, at which time it counts, and whether at all.

pub mod trust;

use self::trust::{Jump, Runs};

use crate::clock::Timestamp;
use crate::format::note::{Entry, Keep, Value};
use crate::id::{SessionId, SnapshotId};
use crate::records::notes::{Notes, SnapshotNotes};
use crate::records::revocations::FailedRun;
use crate::repository::{Forgone, Repository, RepositoryError, StoredSnapshot};

/// Time goes on at most this much after the newest snapshot that is believed, in seconds: see [`Survey::now`].
const WITHOUT_SNAPSHOTS_MAX: i64 = 2 * 86_400;

/// One snapshot, and what is known of it.
#[derive(Clone, Debug)]
pub struct Surveyed {
    /// As it stands.
    pub stored: StoredSnapshot,
    /// Its tags: those it was taken with, and what notes changed.
    pub tags: Vec<String>,
    /// The time it counts at.
    pub time: Timestamp,
    /// When an owner saw it first, by a clock that is believed.
    pub seen: Timestamp,
    /// Why its time, or its whole word, is not believed: it is kept and shown, and takes no slot.
    pub quarantined: Option<String>,
    /// What notes say.
    pub notes: SnapshotNotes,
}

/// Every snapshot there is, oldest first.
#[derive(Debug)]
pub struct Survey {
    /// Committed and not forgotten.
    pub snapshots: Vec<Surveyed>,
    /// Forgotten, but still there.
    pub forgotten: Vec<Forgone>,
    /// Objects that could not be opened, and why.
    pub damaged: Vec<(SnapshotId, RepositoryError)>,
    /// Tombstones and notes that say nothing, and why.
    pub ignored: Vec<(String, String)>,
    /// Sessions whose revocation has the name that their snapshot would have.
    pub revoked: Vec<SessionId>,
    /// Runs whose snapshot failed, oldest first.
    pub failed: Vec<FailedRun>,
    /// All notes.
    pub notes: Notes,
    /// The moment that keep notes and the guard period are measured by. It is not simply the clock's: time goes on only while snapshots
    /// come, and never over a jump, so that a clock that is ten years ahead ends no promise to keep something.
    pub now: Timestamp,
    /// By the clock of this run, unless that is behind what is known.
    pub clock: Timestamp,
    /// A long time without anything before snapshots that no run recorded.
    pub jump: Option<Jump>,
    guard_seconds: i64,
}

/// Looks at everything. Writes nothing; [`Survey::record`] does.
pub fn survey(repository: &Repository) -> Result<Survey, RepositoryError> {
    let list = repository.snapshots()?;
    let mut notes = repository.notes()?;
    let runs = Runs::new(notes.runs().to_vec(), repository.clock().now());
    let revoked = repository.records().revoked_beside()?;
    let (mut snapshots, mut known, mut new) = (Vec::new(), Vec::new(), Vec::new());
    for stored in list.snapshots {
        let of = notes.of(&stored.id);
        let ended = stored.snapshot.sources.iter().map(|source| source.end).max().unwrap_or(stored.snapshot.time);
        let window = runs.window(of.first_seen);
        let judged = trust::judge(stored.snapshot.time, ended, &window, runs.now());
        // The secret of its generation is in somebody else's hands: whatever was not there when it was given up may be theirs.
        let old = (stored.generation < repository.config().generation
            && of.listed.is_none_or(|listed| listed <= stored.generation))
        .then(|| format!("it is of generation {}, which was given up before it came", stored.generation));
        // Where create-if-absent cannot be trusted its writer may have been told that it failed.
        let doubtful =
            revoked.contains(&stored.id.into()).then(|| "a revocation stands beside it, so it may be unfinished".to_owned());
        let quarantined = old.or(doubtful).or(judged.quarantined);
        if quarantined.is_none() {
            let times = if of.first_seen.is_some() { &mut known } else { &mut new };
            times.push(judged.time);
        }
        let tags = of.tags(&stored.snapshot.tags);
        snapshots.push(Surveyed { tags, time: judged.time, seen: window.until, quarantined, notes: of, stored });
    }
    let newest = known.iter().chain(&new).max().copied();
    known.extend(runs.last());
    let jump = trust::jump(known, new);
    let newest = match jump {
        Some(jump) => Some(jump.from),
        None => newest,
    };
    let latest = newest.map(|time| Timestamp { seconds: time.seconds.saturating_add(WITHOUT_SNAPSHOTS_MAX), ..time });
    let now = latest.map_or(runs.now(), |latest| latest.min(runs.now()));
    let mut failed = list.failed;
    failed.extend(repository.records().failed_beside()?);
    let mut ignored = list.ignored;
    ignored.append(&mut notes.ignored);
    Ok(Survey {
        snapshots,
        forgotten: list.forgotten,
        revoked: list.revoked,
        failed,
        damaged: list.damaged,
        ignored,
        notes,
        now,
        clock: runs.now(),
        jump,
        guard_seconds: i64::try_from(repository.config().guard_seconds).unwrap_or(i64::MAX),
    })
}

impl Survey {
    /// Writes down which snapshots this run saw for the first time, and returns how many. Not over a jump: what a wrong clock says must
    /// not become what is known.
    pub fn record(&self, repository: &Repository) -> Result<usize, RepositoryError> {
        if self.jump.is_some() {
            return Ok(0);
        }
        self.record_over_a_jump(repository)
    }

    /// The same, when somebody has said that the clock is right.
    pub fn record_over_a_jump(&self, repository: &Repository) -> Result<usize, RepositoryError> {
        let entries = self.sightings(repository.clock().now());
        let count = entries.len();
        if count > 0 {
            repository.put_notes(entries, Vec::new())?;
        }
        Ok(count)
    }

    /// Says these things of these snapshots, and, as [`Survey::record`], which were seen for the first time.
    pub fn say(&self, repository: &Repository, statements: Vec<(SnapshotId, Value)>) -> Result<(), RepositoryError> {
        let (number, time) = (self.notes.next_number(), repository.clock().now());
        let mut entries = if self.jump.is_some() { Vec::new() } else { self.sightings(time) };
        entries.extend(statements.into_iter().map(|(snapshot, value)| Entry { snapshot, number, time, value }));
        repository.put_notes(entries, Vec::new())
    }

    fn sightings(&self, time: Timestamp) -> Vec<Entry> {
        let number = self.notes.next_number();
        let new = self.snapshots.iter().filter(|surveyed| surveyed.notes.first_seen.is_none());
        new.map(|surveyed| Entry { snapshot: surveyed.stored.id, number, time, value: Value::FirstSeen }).collect()
    }

    /// What keeps this one by a note, if anything does now.
    pub fn noted(&self, surveyed: &Surveyed) -> Option<Keep> {
        match surveyed.notes.keep? {
            Keep::Release => None,
            Keep::Until(time) if time <= self.now => None,
            keep => Some(keep),
        }
    }

    /// Was it first seen so short a time ago that no rule may drop it?
    pub(crate) fn guarded(&self, surveyed: &Surveyed) -> bool {
        self.guard_seconds > 0 && self.now.seconds.saturating_sub(surveyed.seen.seconds) < self.guard_seconds
    }

    /// One by its id, forgotten or not, with the tags it has.
    pub fn find(&self, id: &SnapshotId) -> Option<(&StoredSnapshot, &[String])> {
        let there = self.get(id).map(|surveyed| (&surveyed.stored, surveyed.tags.as_slice()));
        let forgone = || self.forgotten.iter().find(|forgone| forgone.stored.id == *id);
        there.or_else(|| forgone().map(|forgone| (&forgone.stored, forgone.stored.snapshot.tags.as_slice())))
    }

    /// One by its id.
    pub fn get(&self, id: &SnapshotId) -> Option<&Surveyed> {
        self.snapshots.iter().find(|surveyed| surveyed.stored.id == *id)
    }
}

impl Surveyed {
    /// Does it fit what was asked for? Every tag must be there, by what notes say.
    pub fn matches(&self, host: Option<&str>, source: Option<&str>, tags: &[String]) -> bool {
        let snapshot = &self.stored.snapshot;
        host.is_none_or(|host| host == snapshot.host)
            && source.is_none_or(|name| snapshot.sources.iter().any(|source| source.name == name))
            && (tags.is_empty() || has_tags(&self.tags, tags))
    }
}

/// A moment to the second, in UTC; for messages.
pub fn date(time: Timestamp) -> String {
    jiff::Timestamp::from_second(time.seconds).map_or_else(|_| format!("@{}", time.seconds), |time| time.to_string())
}

/// Are all of these tags there?
pub(crate) fn has_tags(tags: &[String], wanted: &[String]) -> bool {
    match wanted {
        [only] if only.is_empty() => tags.is_empty(),
        _ => wanted.iter().all(|wanted| tags.contains(wanted)),
    }
}
