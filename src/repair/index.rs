//! Index files: what no readable one tells of is read from the packs themselves and written into new ones.
//!
//! Damaged index files stay where they are; nobody believes them, and a prune takes them away.

use std::collections::HashSet;
use std::sync::Arc;

use crate::catalog::NoMemo;
use crate::format::pack::PackFacts;
use crate::id::PackId;
use crate::monitor::{Monitor, Phase, Stop};
use crate::repair::RepairError;
use crate::repository::writer::{Writer, WriterOptions};
use crate::repository::{Repository, RepositoryError};
use crate::store::{Name, StoreError, StoreErrorKind};

/// What was found and written.
#[derive(Clone, Debug, Default)]
pub struct IndexSummary {
    /// Index files that open.
    pub good: u64,
    /// Index files that do not, and why.
    pub damaged: Vec<(Name, String)>,
    /// Packs listed and not deleted.
    pub packs: u64,
    /// Packs that no readable index file told of, and that are indexed now.
    pub indexed: Vec<PackId>,
    /// Packs that cannot be indexed, because their own directory does not open; and why.
    pub unreadable: Vec<(PackId, String)>,
}

/// Writes index files for packs that have none. With `dry_run` only says for which.
pub fn run(
    repository: &Arc<Repository>,
    dry_run: bool,
    monitor: &Arc<dyn Monitor>,
    stop: &Stop,
) -> Result<IndexSummary, RepairError> {
    repository.need_owner("repairing")?;
    // The session stands before anything is listed, as for every writer.
    let mut writer = Writer::begin(repository, WriterOptions { dry_run }, monitor, stop)?;
    let done = index_all(repository, &mut writer, &**monitor, stop);
    let flushed = if done.is_ok() { writer.flush() } else { Ok(()) };
    // No snapshot comes of it: the session ends without one.
    writer.abandon();
    let summary = done?;
    flushed?;
    Ok(summary)
}

fn index_all(
    repository: &Arc<Repository>,
    writer: &mut Writer,
    monitor: &dyn Monitor,
    stop: &Stop,
) -> Result<IndexSummary, RepairError> {
    let mut summary = IndexSummary::default();
    let deleted = repository.gc_state(&mut NoMemo)?.deleted;
    let mut packs: Vec<(PackId, u64)> = repository.list_packs()?.into_iter().collect();
    packs.retain(|(id, _)| !deleted.contains(id));
    packs.sort_unstable();
    summary.packs = packs.len() as u64;
    let indexed = indexed_packs(repository, &mut summary, stop)?;
    packs.retain(|(id, _)| !indexed.contains(id));
    monitor.begin(Phase::Sync, packs.len() as u64, 0);
    for (id, size) in packs {
        stop.check()?;
        match facts(repository, &id, size)? {
            Ok(facts) => {
                summary.indexed.push(id);
                writer.index_again(facts)?;
            }
            Err(detail) => summary.unreadable.push((id, detail)),
        }
        monitor.advance(1, 0);
    }
    Ok(summary)
}

/// Packs that a readable index file tells of.
fn indexed_packs(repository: &Repository, summary: &mut IndexSummary, stop: &Stop) -> Result<HashSet<PackId>, RepositoryError> {
    let mut indexed = HashSet::new();
    for (id, entry) in repository.list_index_files()? {
        let name = entry.name;
        stop.check()?;
        let opened = match repository.objects().index_file_bytes(&id) {
            Ok(sealed) => repository.objects().open_index_file(id, &sealed).map_err(|error| error.to_string()),
            Err(StoreError { kind: StoreErrorKind::Missing, .. }) => continue,
            Err(error) => match error.into() {
                error if repository.is_damage(&error) => Err(error.to_string()),
                error => return Err(error),
            },
        };
        match opened {
            Ok(file) => {
                summary.good += 1;
                indexed.extend(file.packs.iter().map(|facts| facts.id));
            }
            Err(detail) => summary.damaged.push((name, detail)),
        }
    }
    Ok(indexed)
}

/// A pack's own directory, through parity if need be; or what is wrong with it.
fn facts(repository: &Repository, id: &PackId, size: u64) -> Result<Result<PackFacts, String>, RepositoryError> {
    match repository.own_facts_mended(id, size, true) {
        Ok((facts, _)) => Ok(Ok(facts)),
        Err(RepositoryError::Store(error @ StoreError { kind: StoreErrorKind::Missing, .. })) => Ok(Err(error.to_string())),
        Err(error) if repository.is_damage(&error) => Ok(Err(error.to_string())),
        Err(error) => Err(error),
    }
}
