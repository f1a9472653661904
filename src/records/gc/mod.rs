//! Gc records: which packs are bad, by number (`format-spec/protocol.md`).
//!
//! A record never changes and its name never becomes free, so a memo keeps what was read, and nothing is read twice
//! except the newest record. That one tells whether the store still has the past that the memo knows.
//!
//! Where names can be overwritten (class single maintainer), the names of records hold their hash (M1): a record that
//! arrives late, from a run that is dead, replaces no other record. A number can then have several records. Each is
//! acknowledged and decided by its hash. What one of them condemned stays bad whatever is decided (M3), because another
//! verdict may arrive late. Both forms are always read, whatever the class: a writer cannot tell who wrote a config.

mod book;
mod write;

pub(crate) use book::{Book, Pending};
pub use write::Decided;

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::cache::Memo;
use crate::clock::Timestamp;
use crate::format::gc::{Condemn, Verdict};
use crate::format::names::{self, ObjectName};
use crate::format::{FormatError, gc, limits};
use crate::id::{ObjectHash, PackId, SnapshotId};
use crate::objects::{ObjectError, Objects};
use crate::planted;
use crate::records::{RecordError, Records};
use crate::store::{Name, StoreError, StoreErrorKind};

/// The state of a name in `gc/`.
#[derive(Debug)]
pub enum Slot<T> {
    /// The name is not listed.
    Free,
    /// The record does not open: it is damaged, too large, or of a newer program or generation.
    Unreadable(FormatError),
    /// The record opens, but does not bear the owner's mark (R15). For an owner it condemns and deletes nothing, ever,
    /// and its name is taken. (A writer cannot tell, and obeys.)
    Forged,
    /// The record, and the BLAKE3 of its object.
    Read(T, ObjectHash),
}

impl<T> Slot<T> {
    /// The record, if it can be read.
    pub fn read(&self) -> Option<&T> {
        match self {
            Self::Read(record, _) => Some(record),
            _ => None,
        }
    }

    fn is_read(&self) -> bool {
        matches!(self, Self::Read(..))
    }
}

/// One number of gc.
#[derive(Debug)]
pub(crate) struct Numbered {
    /// From 1.
    pub number: u64,
    /// What was condemned.
    pub condemn: Slot<Condemn>,
    /// What was decided.
    pub verdict: Slot<Verdict>,
    /// Condemn records with a hash in their names.
    pub condemns_by_hash: Vec<(ObjectHash, Slot<Condemn>)>,
    /// Verdicts with a hash in their names.
    pub verdicts_by_hash: Vec<(ObjectHash, Slot<Verdict>)>,
}

impl Numbered {
    /// Packs that no run may rely on because of this number: the packs that the verdict deletes, or all condemned packs
    /// while there is no verdict. For records with a hash in their names: all condemned packs, for ever.
    pub(crate) fn bad(&self) -> impl Iterator<Item = &PackId> {
        let plain: &[PackId] = match (&self.verdict, &self.condemn) {
            (Slot::Read(verdict, _), _) => &verdict.delete,
            // A forged verdict deletes nothing, ever. One that is only damaged may be carried out by a run that read it
            // before.
            (Slot::Forged, _) => &[],
            (_, Slot::Read(condemn, _)) => &condemn.packs,
            _ => &[],
        };
        // Another verdict on the same record may arrive, and may delete what this one pardons.
        let stays_bad = |hash: &ObjectHash| !planted::is("pardons-by-hash-believed") || !self.is_decided(hash);
        let condemned = self.condemns_by_hash.iter().filter(move |(hash, _)| stays_bad(hash)).filter_map(|(_, slot)| slot.read());
        plain.iter().chain(condemned.flat_map(|condemn| &condemn.packs)).chain(self.deleted_by_hash())
    }

    /// Packs that a verdict deletes. They are bad for ever, and any prune that lists one deletes it.
    pub(crate) fn deleted(&self) -> impl Iterator<Item = &PackId> {
        self.verdict.read().into_iter().flat_map(|verdict| &verdict.delete).chain(self.deleted_by_hash())
    }

    fn deleted_by_hash(&self) -> impl Iterator<Item = &PackId> {
        self.verdicts_by_hash.iter().filter_map(|(_, slot)| slot.read()).flat_map(|verdict| &verdict.delete)
    }

    /// Snapshots that the prunes of this number saw, and the hash of each object.
    pub(crate) fn snapshots(&self) -> impl Iterator<Item = &(SnapshotId, ObjectHash)> {
        let by_hash = self.condemns_by_hash.iter().filter_map(|(_, slot)| slot.read());
        self.condemn.read().into_iter().chain(by_hash).flat_map(|condemn| &condemn.snapshots)
    }

    /// Is there a verdict on the condemn record with this hash in its name?
    pub(crate) fn is_decided(&self, condemn: &ObjectHash) -> bool {
        self.verdicts_by_hash.iter().filter_map(|(_, slot)| slot.read()).any(|verdict| verdict.condemn == *condemn)
    }

    /// Is all known that a writer must know before it acknowledges this number?
    pub(crate) fn is_understood(&self) -> bool {
        let plain = match (&self.condemn, &self.verdict) {
            (Slot::Free, Slot::Free) => true,
            // A LIST that is not atomic can show a verdict without its condemn record.
            (condemn, verdict) => verdict.is_read() || matches!(condemn, Slot::Read(..) | Slot::Forged),
        };
        let readable = |(hash, slot): &(ObjectHash, Slot<Condemn>)| !matches!(slot, Slot::Unreadable(_)) || self.is_decided(hash);
        plain && self.condemns_by_hash.iter().all(readable)
    }
}

/// What a listing of `gc/` says.
#[derive(Debug, Default)]
pub(crate) struct GcState {
    /// R9: the highest n for which each of 1..=n has a name in the listing and was understood. A writer acknowledges
    /// it.
    pub number: u64,
    /// The first number that has a name and is not understood.
    pub blocked_at: Option<u64>,
    /// Packs that no run may rely on.
    pub bad: HashSet<PackId>,
    /// Those of them that a verdict deletes: bad for ever.
    pub deleted: HashSet<PackId>,
    /// Condemn records with a hash in their names that have no verdict. An acknowledgement names them.
    pub seen: Vec<ObjectHash>,
}

/// Snapshots that any earlier prune saw, and the hashes of their objects.
pub(crate) type SnapshotsSeen = HashMap<SnapshotId, HashSet<ObjectHash>>;

impl Records<'_> {
    /// Lists and reads `gc/`.
    ///
    /// For a writer, a record of an older generation counts as read and empty: it names no pack of the writer's
    /// generation.
    ///
    /// # Errors
    /// The store's; no cache can be kept; a record of a later generation than this run's.
    pub(crate) fn gc_state(&self, memo: &mut dyn Memo) -> Result<GcState, RecordError> {
        let mut state = GcState::default();
        for_each(self.objects, memo, &mut |numbered| {
            let follows =
                (state.blocked_at.is_none() && numbered.number == state.number + 1) || planted::is("gap-in-numbers-skipped");
            if follows && numbered.is_understood() {
                state.number = numbered.number;
            } else if follows {
                state.blocked_at = Some(numbered.number);
            }
            state.bad.extend(numbered.bad());
            state.deleted.extend(numbered.deleted());
            let read = numbered.condemns_by_hash.iter().filter(|(_, slot)| slot.is_read()).map(|(hash, _)| *hash);
            state.seen.extend(read.filter(|hash| !numbered.is_decided(hash)));
            Ok(())
        })?;
        Ok(state)
    }

    /// Lists and reads `gc/` for the snapshots that earlier prunes saw.
    ///
    /// # Errors
    /// Those of [`Records::gc_state`].
    pub(crate) fn snapshots_seen(&self, memo: &mut dyn Memo) -> Result<SnapshotsSeen, RecordError> {
        let mut seen = SnapshotsSeen::new();
        for_each(self.objects, memo, &mut |numbered| {
            for (id, hash) in numbered.snapshots() {
                seen.entry(*id).or_default().insert(*hash);
            }
            Ok(())
        })?;
        Ok(seen)
    }
}

/// Lists `gc/` and passes every number that has a name to `each`, in rising order. Returns the number of the listing:
/// the highest n for which each of 1..=n has a name in it, readable or not.
fn for_each(
    objects: &Objects,
    memo: &mut dyn Memo,
    each: &mut dyn FnMut(Numbered) -> Result<(), RecordError>,
) -> Result<u64, RecordError> {
    let mut numbers: BTreeMap<u64, Listed> = BTreeMap::new();
    objects.store.list(names::GC, &mut |entry| match ObjectName::parse(&entry.name) {
        Some(ObjectName::GcCondemn(number)) => numbers.entry(number).or_default().plain[0] = Some(entry.name),
        Some(ObjectName::GcVerdict(number)) => numbers.entry(number).or_default().plain[1] = Some(entry.name),
        Some(ObjectName::GcCondemnByHash(number, hash)) => numbers.entry(number).or_default().condemns.push((hash, entry.name)),
        Some(ObjectName::GcVerdictByHash(number, hash)) => numbers.entry(number).or_default().verdicts.push((hash, entry.name)),
        _ => {}
    })?;
    let newest = numbers.values().rev().map(|listed| &listed.plain).find(|plain| plain.iter().any(Option::is_some));
    let past = past(objects, memo, newest.unwrap_or(&[None, None]))?;
    let mut named = 0;
    for (number, Listed { plain: [condemn, verdict], condemns, verdicts }) in numbers {
        // A LIST that is not atomic can show 6 without 5.
        if number == named + 1 || planted::is("gap-in-numbers-skipped") {
            named = number;
        }
        each(Numbered {
            number,
            condemn: load(objects, memo, past, number, condemn, None)?,
            verdict: load(objects, memo, past, number, verdict, None)?,
            condemns_by_hash: load_by_hash(objects, memo, past, number, condemns)?,
            verdicts_by_hash: load_by_hash(objects, memo, past, number, verdicts)?,
        })?;
    }
    Ok(named)
}

/// The names of one number.
#[derive(Default)]
struct Listed {
    /// Condemn record and verdict.
    plain: [Option<Name>; 2],
    condemns: Vec<(ObjectHash, Name)>,
    verdicts: Vec<(ObjectHash, Name)>,
}

/// What reading needs to know of either kind of record.
trait Record: Sized {
    fn open(objects: &Objects, number: u64, sealed: &[u8]) -> Result<gc::Opened<Self>, FormatError>;
    fn encode(&self) -> Result<Vec<u8>, FormatError>;
    fn decode(body: &[u8]) -> Result<Self, FormatError>;
    fn empty(number: u64) -> Self;
}

impl Record for Condemn {
    fn open(objects: &Objects, number: u64, sealed: &[u8]) -> Result<gc::Opened<Self>, FormatError> {
        gc::open_condemn(&objects.opener, number, sealed)
    }
    fn encode(&self) -> Result<Vec<u8>, FormatError> {
        self.encode()
    }
    fn decode(body: &[u8]) -> Result<Self, FormatError> {
        Self::decode(body)
    }
    fn empty(number: u64) -> Self {
        let time = Timestamp::default();
        Self { number, time, packs: Vec::new(), written: Vec::new(), snapshots: Vec::new(), extra: Vec::new() }
    }
}

impl Record for Verdict {
    fn open(objects: &Objects, number: u64, sealed: &[u8]) -> Result<gc::Opened<Self>, FormatError> {
        gc::open_verdict(&objects.opener, number, sealed)
    }
    fn encode(&self) -> Result<Vec<u8>, FormatError> {
        self.encode()
    }
    fn decode(body: &[u8]) -> Result<Self, FormatError> {
        Self::decode(body)
    }
    fn empty(number: u64) -> Self {
        let (time, condemn) = (Timestamp::default(), ObjectHash([0; 32]));
        Self { number, time, condemn, delete: Vec::new(), pardon: Vec::new(), extra: Vec::new() }
    }
}

/// The memo's key of the record with this name. It holds the location, because a repository may have been copied, and
/// both copies go on.
fn memo_key(objects: &Objects, past: u64, name: &Name) -> Vec<u8> {
    // An owner has checked the owner's mark of what it keeps; a writer has not.
    let role = if objects.keys.is_owner() { "owner" } else { "writer" };
    format!("{role} {past} {name} {}", objects.store.location()).into_bytes()
}

/// Which of the pasts that this memo has seen the store has now. In a store that was rolled back, or a copy at the same
/// place, the same names belong to other records. Then the newest record differs from the one that was kept, and
/// nothing that was kept is used again.
fn past(objects: &Objects, memo: &mut dyn Memo, newest: &[Option<Name>; 2]) -> Result<u64, RecordError> {
    const PAST: &[u8] = b"gc past";
    let past = memo.recall(PAST)?.and_then(|kept| Some(u64::from_le_bytes(kept.try_into().ok()?))).unwrap_or(0);
    for name in newest.iter().flatten() {
        let Some(kept) = memo.recall(&memo_key(objects, past, name))? else { continue };
        let same = match objects.get_listed(name, limits::GC_SIZE_MAX) {
            Ok(Some(sealed)) => kept.starts_with(&names::hash_of(&[&sealed]).0),
            Ok(None) => return Err(StoreError::missing(name.clone()).into()),
            Err(error) => error.into_fault().map(|_| false)?,
        };
        if !same {
            memo.remember(PAST, Some(&(past + 1).to_le_bytes()))?;
            return Ok(past + 1);
        }
    }
    Ok(past)
}

fn load<T: Record>(
    objects: &Objects,
    memo: &mut dyn Memo,
    past: u64,
    number: u64,
    name: Option<Name>,
    expected: Option<ObjectHash>,
) -> Result<Slot<T>, RecordError> {
    let Some(name) = name else { return Ok(Slot::Free) };
    let key = memo_key(objects, past, &name);
    if let Some(kept) = memo.recall(&key)?
        && let Some((hash, body)) = kept.split_first_chunk::<32>()
        && let Ok(record) = T::decode(body)
    {
        return Ok(Slot::Read(record, ObjectHash(*hash)));
    }
    let sealed = match objects.get_listed(&name, limits::GC_SIZE_MAX) {
        Ok(Some(sealed)) => sealed,
        Ok(None) => return Err(StoreError::missing(name).into()),
        // It is as unreadable as one that does not open, and no reason to stop every command.
        Err(ObjectError::Object { source, .. }) => return Ok(Slot::Unreadable(source)),
        Err(error) => return Err(error.into()),
    };
    let hash = names::hash_of(&[&sealed]);
    if expected.is_some_and(|expected| expected != hash) {
        return Ok(Slot::Unreadable(FormatError::field("gc record", "bytes", "do not hash to the name")));
    }
    match T::open(objects, number, &sealed) {
        // Only an owner who opened the repository before a rotation gets here. Writers of the new generation would not
        // read what this run decides, and no run would trust what it stores.
        Ok(opened) if opened.sealed_in > objects.keys.generation() => Err(RecordError::rotated_meanwhile()),
        Ok(gc::Opened { record, .. }) => {
            memo.remember(&key, Some(&[&hash.0[..], &record.encode()?].concat()))?;
            Ok(Slot::Read(record, hash))
        }
        Err(FormatError::OtherGeneration { generation, .. }) if generation < objects.keys.generation() => {
            Ok(Slot::Read(T::empty(number), hash))
        }
        Err(FormatError::WrongOwnerMac { .. }) => Ok(Slot::Forged),
        Err(error) => Ok(Slot::Unreadable(error)),
    }
}

/// The records with these hashes in their names. A record that does not hash to its name is damaged.
fn load_by_hash<T: Record>(
    objects: &Objects,
    memo: &mut dyn Memo,
    past: u64,
    number: u64,
    mut names: Vec<(ObjectHash, Name)>,
) -> Result<Vec<(ObjectHash, Slot<T>)>, RecordError> {
    names.sort_unstable();
    let mut slots = Vec::with_capacity(names.len());
    for (hash, name) in names {
        match load(objects, memo, past, number, Some(name), Some(hash)) {
            // It was forged, and a prune has deleted it since the listing. A session names only what it has read.
            Err(RecordError::Object(ObjectError::Store(StoreError { kind: StoreErrorKind::Missing, .. }))) => {}
            slot => slots.push((hash, slot?)),
        }
    }
    Ok(slots)
}
