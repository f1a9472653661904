//! Everything that is not a pack, an index file or a tree: names, configs, keyslots, snapshots, and small records.

use std::collections::{HashMap, HashSet};

use crate::format::keyslot::Keyslot;
use crate::format::limits;
use crate::format::names::{self, ObjectName};
use crate::format::session::OpenedStart;
use crate::id::{ObjectHash, SessionId, SnapshotId};
use crate::repository::{RepositoryError, StoredSnapshot};
use crate::store::Name;
use crate::verify::Run;
use crate::verify::findings::{Finding, FindingKind};
use crate::verify::lookup::{Harm, store_harm};

/// Unknown names shown one by one; the rest is counted.
const UNKNOWN_MAX: usize = 100;

/// Snapshots that can be opened and were not forgotten.
pub(super) struct Snapshots {
    pub all: Vec<StoredSnapshot>,
    /// Those that were revoked before they came, as far as anything tells: they may never have been whole.
    pub doubtful: HashSet<SnapshotId>,
}

/// Looks at all of them. Returns the snapshots.
pub(super) fn check(run: &mut Run<'_>) -> Result<Snapshots, RepositoryError> {
    names(run)?;
    configs(run)?;
    keyslots(run)?;
    // Sessions before snapshots: a session that closes in between has its snapshot in the later listing.
    let closed = sessions(run)?;
    // A run that gives up revokes itself before it closes its session.
    let revoked = run.repository.revoked_beside()?;
    let snapshots = snapshots(run, &closed, &revoked)?;
    records(run)?;
    Ok(snapshots)
}

fn names(run: &mut Run<'_>) -> Result<(), RepositoryError> {
    let mut unknown = Vec::new();
    let mut more = 0u64;
    run.repository.objects().list("", &mut |entry| {
        if is_known(&entry.name) {
        } else if unknown.len() < UNKNOWN_MAX {
            unknown.push(entry.name);
        } else {
            more += 1;
        }
    })?;
    for name in &unknown {
        run.found(Finding::new(FindingKind::NameUnknown, name.as_str(), "no version of the format gives this name"));
    }
    if more > 0 {
        run.found(Finding::new(FindingKind::NameUnknown, "...", format!("{more} more names that the format does not give")));
    }
    Ok(())
}

/// Probes and ballast have names that say nothing, and come and go.
fn is_known(name: &Name) -> bool {
    let folder = name.as_str().split('/').next().unwrap_or_default();
    folder == names::PROBE || folder == "ballast" || ObjectName::parse(name).is_some()
}

/// All names of ours below a folder, in order.
fn list(run: &Run<'_>, folder: &str) -> Result<Vec<(ObjectName, Name)>, RepositoryError> {
    let mut names = Vec::new();
    run.repository.objects().list(folder, &mut |entry| {
        if let Some(parsed) = ObjectName::parse(&entry.name) {
            names.push((parsed, entry.name));
        }
    })?;
    names.sort_unstable();
    Ok(names)
}

/// Configs 1..=n without a gap, each with the hash of one before it: there may be several of a number where names hold their hash.
fn configs(run: &mut Run<'_>) -> Result<(), RepositoryError> {
    let (mut at, mut these, mut before) = (0, Vec::new(), Vec::new());
    let mut listed = Vec::new();
    for (parsed, name) in list(run, names::CONFIG)? {
        match parsed {
            ObjectName::Config(number) => listed.push((number, None, name)),
            ObjectName::ConfigByHash(number, hash) => listed.push((number, Some(hash), name)),
            _ => {}
        }
    }
    listed.sort_unstable();
    for (number, hash, name) in listed {
        let Some(sealed) = run.get(&name, limits::CONFIG_SIZE_MAX, FindingKind::ConfigDamaged)? else { continue };
        let mut wrong = Vec::new();
        if number > at {
            if number > at + 1 {
                wrong.push(format!("config {} should come before it, and is not there", at + 1));
            }
            before = if number == at + 1 { std::mem::take(&mut these) } else { Vec::new() };
            these.clear();
            at = number;
        }
        let found = names::hash_of(&[&sealed]);
        if hash.is_some_and(|hash| hash != found) {
            wrong.push("its bytes do not hash to its name".to_owned());
        }
        match run.repository.records().open_config(number, &sealed) {
            Ok(opened) if number > 1 && !before.is_empty() && !before.contains(&opened.config.previous) => {
                wrong.push("it does not follow the config before it".to_owned());
            }
            Ok(_) => {}
            Err(error) => wrong.push(error.to_string()),
        }
        for detail in wrong {
            run.found(Finding::new(FindingKind::ConfigDamaged, name.as_str(), detail));
        }
        these.push(found);
    }
    Ok(())
}

/// Size, magic, fields, and the name; what is sealed inside needs the password.
fn keyslots(run: &mut Run<'_>) -> Result<(), RepositoryError> {
    for (parsed, name) in list(run, names::KEYS)? {
        let ObjectName::Keyslot(hash) = parsed else { continue };
        let Some(bytes) = run.get(&name, limits::KEYSLOT_SIZE as u64, FindingKind::KeyslotDamaged)? else { continue };
        let wrong = if names::hash_of(&[&bytes]) != hash {
            Some("its bytes do not hash to its name".to_owned())
        } else {
            match Keyslot::parse(&bytes) {
                Ok(slot) if slot.repository_id != run.repository.id() => Some("it belongs to another repository".to_owned()),
                Ok(_) => None,
                Err(error) => Some(error.to_string()),
            }
        };
        if let Some(detail) = wrong {
            run.found(Finding::new(FindingKind::KeyslotDamaged, name.as_str(), detail));
        }
    }
    Ok(())
}

/// Opens session records; returns the sessions that say they were closed.
fn sessions(run: &mut Run<'_>) -> Result<HashSet<SessionId>, RepositoryError> {
    let mut starts: HashMap<SessionId, OpenedStart> = HashMap::new();
    let mut closed = HashSet::new();
    // In this order starts come before the rest, which only they can prove.
    for (parsed, name) in list(run, names::SESSIONS)? {
        let Some(sealed) = run.get(&name, limits::SESSION_SIZE_MAX, FindingKind::RecordDamaged)? else { continue };
        let records = run.repository.records();
        let opened = match parsed {
            ObjectName::SessionRecord(session, 0) => records.open_start(session, &sealed).map(|start| {
                starts.insert(session, start);
            }),
            ObjectName::SessionRecord(session, number) => match starts.get(&session) {
                Some(start) => records.check_acknowledgement(start, number, &sealed),
                None => Ok(()),
            },
            ObjectName::SessionClosed(session) => match starts.get(&session) {
                Some(start) => records.check_closed(start, &sealed).map(|()| {
                    closed.insert(session);
                }),
                None => Ok(()),
            },
            _ => Ok(()),
        };
        if let Err(error) = opened {
            record_damaged(run, &name, &error);
        }
    }
    Ok(closed)
}

fn snapshots(run: &mut Run<'_>, closed: &HashSet<SessionId>, revoked: &HashSet<SessionId>) -> Result<Snapshots, RepositoryError> {
    let names = run.repository.snapshot_names()?;
    let forgotten = tombstones(run)?;
    let mut snapshots = Vec::new();
    let mut hashes: HashMap<ObjectHash, SnapshotId> = HashMap::new();
    for &id in &names {
        run.stop.check()?;
        let object = snapshot_name(id).to_string();
        let damaged = |detail: String| {
            let mut finding = Finding::new(FindingKind::SnapshotDamaged, object.clone(), detail);
            finding.data_affected = true;
            finding.snapshots.push(id);
            finding
        };
        match run.repository.snapshot(&id) {
            Ok(Some(stored)) if forgotten.contains(&(id, stored.hash)) => {}
            Ok(Some(stored)) => {
                if let Some(other) = hashes.insert(stored.hash, id) {
                    run.found(damaged(format!("it is the same object as {}", snapshot_name(other))));
                    continue;
                }
                snapshots.push(stored);
            }
            // A revocation: this session never committed.
            Ok(None) => {}
            Err(RepositoryError::Object { source, .. }) => run.found(damaged(source.to_string())),
            Err(RepositoryError::Store(error)) => match store_harm(run.repository, error)? {
                // Forgotten and pruned since it was listed.
                Harm::Missing => {}
                Harm::Unreadable(detail) | Harm::Frame(detail) | Harm::Chunk(detail) => run.found(damaged(detail)),
            },
            Err(error) => return Err(error),
        }
    }
    let forgotten: HashSet<SnapshotId> = forgotten.into_iter().map(|(id, _)| id).collect();
    let names: HashSet<SnapshotId> = names.into_iter().collect();
    let mut committed = closed.clone();
    for session in revoked.intersection(closed).filter(|session| !names.contains(&SnapshotId::from(**session))) {
        if gave_up(run, *session)? {
            committed.remove(session);
        }
    }
    missing_snapshots(run, &snapshots, &names, &forgotten, &committed);
    let doubtful = doubtful(run, &snapshots, &committed, revoked)?;
    Ok(Snapshots { all: snapshots, doubtful })
}

/// Does a revocation stand beside that somebody with a key made? Whoever has none could hide that way what he took away.
fn gave_up(run: &mut Run<'_>, session: SessionId) -> Result<bool, RepositoryError> {
    let name = ObjectName::Revoked(session).name();
    let Some(sealed) = run.get(&name, limits::REVOCATION_SIZE_MAX, FindingKind::RecordDamaged)? else { return Ok(false) };
    match run.repository.records().check_revocation(session, &sealed) {
        Ok(()) => Ok(true),
        Err(error) => {
            record_damaged(run, &name, &error);
            Ok(false)
        }
    }
}

/// Where create-if-absent cannot be trusted a revocation stands beside, and a run that finds it after its commit says that it failed. A
/// revocation that came later takes nothing back: the session that was closed after its commit, the next snapshot of that host, or a
/// verification that found it whole shows that somebody counts on it.
fn doubtful(
    run: &Run<'_>,
    snapshots: &[StoredSnapshot],
    committed: &HashSet<SessionId>,
    revoked: &HashSet<SessionId>,
) -> Result<HashSet<SnapshotId>, RepositoryError> {
    let beside = |id: &SnapshotId| revoked.contains(&SessionId(id.0)) && !committed.contains(&SessionId(id.0));
    let mut doubtful: HashSet<SnapshotId> = snapshots.iter().map(|stored| stored.id).filter(beside).collect();
    if doubtful.is_empty() {
        return Ok(doubtful);
    }
    for (previous, _) in snapshots.iter().filter_map(|stored| stored.snapshot.previous) {
        doubtful.remove(&previous);
    }
    let notes = run.repository.notes()?;
    doubtful.retain(|id| notes.of(id).verified.is_none_or(|verified| verified.findings > 0));
    Ok(doubtful)
}

/// Snapshots that others tell of: the next one of the same host, or their own session.
fn missing_snapshots(
    run: &mut Run<'_>,
    snapshots: &[StoredSnapshot],
    names: &HashSet<SnapshotId>,
    forgotten: &HashSet<SnapshotId>,
    closed: &HashSet<SessionId>,
) {
    let hashes: HashMap<SnapshotId, ObjectHash> = snapshots.iter().map(|stored| (stored.id, stored.hash)).collect();
    let mut told: HashMap<SnapshotId, String> = HashMap::new();
    for stored in snapshots {
        let Some((previous, hash)) = stored.snapshot.previous else { continue };
        if forgotten.contains(&previous) {
            continue;
        }
        let teller = snapshot_name(stored.id);
        if !names.contains(&previous) {
            told.insert(previous, format!("it is not there, and was not forgotten; {teller} tells of it"));
        } else if hashes.get(&previous).is_some_and(|found| *found != hash) {
            let detail = format!("it is another object than the one {teller} was taken after");
            let mut finding = Finding::new(FindingKind::SnapshotDamaged, snapshot_name(previous).to_string(), detail);
            finding.data_affected = true;
            finding.snapshots.push(previous);
            run.found(finding);
        }
    }
    for &session in closed {
        let id = SnapshotId::from(session);
        if !names.contains(&id) && !forgotten.contains(&id) {
            told.entry(id).or_insert_with(|| "it is not there, and was not forgotten; its session says it was closed".to_owned());
        }
    }
    let mut told: Vec<(SnapshotId, String)> = told.into_iter().collect();
    told.sort_unstable();
    for (id, detail) in told {
        let mut finding = Finding::new(FindingKind::SnapshotMissing, snapshot_name(id).to_string(), detail);
        finding.data_affected = true;
        finding.snapshots.push(id);
        run.found(finding);
    }
}

/// Tombstones that forget a snapshot, with the hash of the object they mean.
fn tombstones(run: &mut Run<'_>) -> Result<HashSet<(SnapshotId, ObjectHash)>, RepositoryError> {
    let mut forgotten = HashSet::new();
    for (parsed, name) in list(run, names::FORGOTTEN)? {
        let ObjectName::Forgotten(snapshot, hash) = parsed else { continue };
        let Some(sealed) = run.get(&name, limits::FORGOTTEN_SIZE_MAX, FindingKind::RecordDamaged)? else { continue };
        match run.repository.records().open_tombstone(snapshot, &sealed) {
            Ok(_) if names::hash_of(&[&sealed]) != hash => record_damaged(run, &name, &"its bytes do not hash to its name"),
            Ok(of) => drop(forgotten.insert(of)),
            Err(error) => record_damaged(run, &name, &error),
        }
    }
    Ok(forgotten)
}

/// gc records and notes.
fn records(run: &mut Run<'_>) -> Result<(), RepositoryError> {
    for (parsed, name) in list(run, names::GC)?.into_iter().chain(list(run, names::NOTES)?) {
        let size_max = if matches!(parsed, ObjectName::Note(_)) { limits::NOTE_SIZE_MAX } else { limits::GC_SIZE_MAX };
        let Some(sealed) = run.get(&name, size_max, FindingKind::RecordDamaged)? else { continue };
        let opened = run.repository.records().check_gc_record_or_note(&parsed, &sealed);
        match (opened, parsed) {
            (Err(error), _) => record_damaged(run, &name, &error),
            (Ok(()), ObjectName::Note(hash) | ObjectName::GcCondemnByHash(_, hash) | ObjectName::GcVerdictByHash(_, hash))
                if names::hash_of(&[&sealed]) != hash =>
            {
                record_damaged(run, &name, &"its bytes do not hash to its name");
            }
            _ => {}
        }
    }
    Ok(())
}

fn snapshot_name(id: SnapshotId) -> Name {
    ObjectName::Snapshot(id).name()
}

fn record_damaged(run: &mut Run<'_>, name: &Name, error: &dyn std::fmt::Display) {
    run.found(Finding::new(FindingKind::RecordDamaged, name.as_str(), error.to_string()));
}
