//! What gc records mean to everybody: a number, and which packs are bad (protocol.md, "Objects").

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::format::names::{self, ObjectName};
use crate::format::{FormatError, gc, limits};
use crate::id::PackId;
use crate::repository::{Repository, RepositoryError};
use crate::store::StoreError;

/// What a listing of `gc/` says.
#[derive(Debug, Default)]
pub struct GcState {
    /// The highest n for which each of 1..=n has a name in the listing and was understood.
    pub number: u64,
    /// Packs nobody may rely on.
    pub bad: HashSet<PackId>,
}

#[derive(Default)]
struct Records {
    condemned: Option<Vec<PackId>>,
    verdict: Option<Vec<PackId>>,
    unreadable: bool,
}

/// Lists and reads `gc/`.
///
/// Bad is the union over numbers of the verdict's delete list, or, without a verdict, all packs of the condemn record. A record of an
/// older generation counts as read and empty for a writer: it names no pack of the writer's generation.
pub fn read(repository: &Repository) -> Result<GcState, RepositoryError> {
    let mut listed = Vec::new();
    repository.store.list(names::GC, &mut |entry| listed.push(entry.name))?;
    let mut numbers: BTreeMap<u64, Records> = BTreeMap::new();
    for name in &listed {
        let Some(parsed) = ObjectName::parse(name) else { continue };
        let (ObjectName::GcCondemn(number) | ObjectName::GcVerdict(number)) = parsed else { continue };
        let records = numbers.entry(number).or_default();
        let packs = match repository.store.get(name, limits::GC_SIZE_MAX) {
            Ok(sealed) => read_packs(repository, &parsed, number, &sealed),
            // Larger than any record: as unreadable as one that does not open, and no reason to stop every command.
            Err(StoreError::Size { size, .. }) => {
                Err(FormatError::TooLong { what: "gc record", length: size, most: limits::GC_SIZE_MAX })
            }
            Err(error) => return Err(error.into()),
        };
        match (parsed, packs) {
            (ObjectName::GcCondemn(_), Ok(packs)) => records.condemned = Some(packs),
            (ObjectName::GcCondemn(_), Err(_)) => records.unreadable = true,
            (_, Ok(packs)) => records.verdict = Some(packs),
            (_, Err(_)) => {}
        }
    }
    let mut state = GcState::default();
    let mut gap = false;
    for (expected, (number, records)) in (1u64..).zip(numbers) {
        // A LIST that is not atomic can show 6 without 5; an unreadable condemn without a verdict stops the count below it.
        gap |= number != expected || (records.unreadable && records.verdict.is_none());
        if !gap {
            state.number = number;
        }
        state.bad.extend(records.verdict.or(records.condemned).unwrap_or_default());
    }
    Ok(state)
}

fn read_packs(repository: &Repository, name: &ObjectName, number: u64, sealed: &[u8]) -> Result<Vec<PackId>, FormatError> {
    let opened = match name {
        ObjectName::GcVerdict(_) => gc::open_verdict(&repository.opener, number, sealed).map(|opened| opened.record.delete),
        _ => gc::open_condemn(&repository.opener, number, sealed).map(|opened| opened.record.packs),
    };
    match opened {
        Err(FormatError::OtherGeneration { generation, .. }) if generation < repository.keys.generation() => Ok(Vec::new()),
        other => other,
    }
}

/// Sizes of every listed pack.
pub fn list_packs(repository: &Repository) -> Result<HashMap<PackId, u64>, RepositoryError> {
    let mut packs = HashMap::new();
    repository.store.list(names::PACKS, &mut |entry| {
        if let Some(id) = names::parse_pack(&entry.name) {
            packs.insert(id, entry.size);
        }
    })?;
    Ok(packs)
}
