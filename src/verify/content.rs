//! Packs read whole: the file hashed, every frame opened, every chunk's id recomputed, the padding looked at.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::{self, Rng, RngError};
use crate::crypto::ChunkType;
use crate::format::FormatError;
use crate::format::names::ObjectName;
use crate::format::pack::{ChunkRow, PackFacts, RowEncoding, recipe};
use crate::format::{names, parity};
use crate::id::{ChunkId, PackId};
use crate::locks::Unpoisoned;
use crate::monitor::{Monitor, Stop};
use crate::parallel;
use crate::records::ledger::Ledger;
use crate::repository::{Reader, Repository, RepositoryError};
use crate::verify::ReadData;
use crate::verify::damage::{CauseNumber, Damage};
use crate::verify::findings::FindingKind;
use crate::verify::lookup::Lookup;

/// Packs in memory at once; 16 MiB each as esker writes them, 80 MiB at most.
const PACKS_AT_ONCE_MAX: usize = 8;

/// What was read so far; there also when reading ended early.
#[derive(Default, Debug)]
pub(super) struct Read {
    pub packs: AtomicU64,
    pub bytes: AtomicU64,
    /// Packs of which everything was looked at, good or not.
    pub whole: Mutex<Vec<PackId>>,
}

/// Which packs to read. Parts are decided by the packs' names, so that `m` runs read everything once; the rest by chance.
pub(super) fn choose(packs: &[(PackId, u64)], read_data: ReadData, rng: &dyn Rng) -> Result<Vec<(PackId, u64)>, RngError> {
    let mut packs = packs.to_vec();
    match read_data {
        // Those that are long unread are chosen by [`unread`].
        ReadData::Nothing | ReadData::Unread(_) => packs.clear(),
        ReadData::All => {}
        ReadData::Part { n, m } => packs.retain(|(id, _)| first_bytes(id) % u64::from(m.max(1)) + 1 == u64::from(n)),
        ReadData::Percent(percent) => {
            shuffle(&mut packs, rng)?;
            // At least one, so that a small repository is not always passed over.
            let count = (packs.len() as f64 * percent.clamp(0.0, 100.0) / 100.0).ceil() as usize;
            packs.truncate(count);
        }
        ReadData::Bytes(bytes_max) => {
            shuffle(&mut packs, rng)?;
            let mut sum = 0u64;
            packs.retain(|(_, size)| {
                let wanted = sum < bytes_max;
                sum = sum.saturating_add(if wanted { *size } else { 0 });
                wanted
            });
        }
    }
    packs.sort_unstable();
    Ok(packs)
}

/// Packs that were not read and found good within these many seconds, the longest unread first.
pub(super) fn unread(
    packs: &[(PackId, u64)],
    seconds: u64,
    repository: &Repository,
) -> Result<Vec<(PackId, u64)>, RepositoryError> {
    let now = repository.clock().now();
    let ledger = Ledger::new(repository.notes()?.proofs(), now);
    let since = now.seconds.saturating_sub(i64::try_from(seconds).unwrap_or(i64::MAX));
    let mut chosen: Vec<_> = packs.iter().map(|&(id, size)| (ledger.read_at(&id), id, size)).collect();
    // Never comes before ever.
    chosen.sort_unstable();
    chosen.retain(|(read, ..)| read.is_none_or(|read| read.seconds < since));
    Ok(chosen.into_iter().map(|(_, id, size)| (id, size)).collect())
}

fn first_bytes(id: &PackId) -> u64 {
    id.0.iter().take(8).fold(0, |number, &byte| number << 8 | u64::from(byte))
}

fn shuffle(packs: &mut [(PackId, u64)], rng: &dyn Rng) -> Result<(), RngError> {
    let seed: [u8; 32] = clock::random(rng)?;
    packs.sort_by_cached_key(|(id, _)| *blake3::keyed_hash(&seed, id.as_bytes()).as_bytes());
    Ok(())
}

/// Reads packs whole, side by side, and writes down what is wrong with them.
pub(super) fn read(
    lookup: &Lookup,
    packs: &[(PackId, u64)],
    threads: usize,
    monitor: &dyn Monitor,
    stop: &Stop,
    read: &Read,
) -> Result<(), RepositoryError> {
    let later = Mutex::new(Vec::new());
    parallel::for_each(threads.min(PACKS_AT_ONCE_MAX), packs.iter(), |(id, _)| -> Result<(), RepositoryError> {
        stop.check()?;
        let mut pack = Pack { lookup, id: *id, name: names::pack_name(*id).to_string(), composed: Vec::new() };
        if let Some(size) = pack.check()? {
            read.packs.fetch_add(1, Ordering::Relaxed);
            read.bytes.fetch_add(size, Ordering::Relaxed);
            monitor.advance(1, size);
            if pack.composed.is_empty() {
                read.whole.lock().unpoisoned().push(pack.id);
            }
        }
        later.lock().unpoisoned().append(&mut pack.composed);
        Ok(())
    })?;
    let composed = later.into_inner().unpoisoned();
    for rows in composed.chunk_by(|(a, _), (b, _)| a == b) {
        stop.check()?;
        rows.iter().try_for_each(|(id, row)| check_composed(lookup, id, *row))?;
        if let (Ok(mut whole), [(id, _), ..]) = (read.whole.lock(), rows) {
            whole.push(*id);
        }
    }
    Ok(())
}

struct Pack<'a> {
    lookup: &'a Lookup,
    id: PackId,
    name: String,
    /// Composed rows of frames that opened: checked when every literal copy was looked at.
    composed: Vec<(PackId, u32)>,
}

impl Pack<'_> {
    /// Its size, unless it cannot be read at all. Frames are opened where they lie: one pack and one frame in memory.
    fn check(&mut self) -> Result<Option<u64>, RepositoryError> {
        let repository = self.lookup.reader.repository();
        let objects = repository.objects();
        let mut bytes = match objects.pack_bytes(&self.id) {
            Ok(bytes) => bytes,
            Err(error) => {
                let (kind, detail) = self.lookup.damage_or_error(error.into())?.of_pack();
                self.whole_pack_is_bad(kind, detail)?;
                self.lookup.mends(&self.id)?;
                return Ok(None);
            }
        };
        let is_named_right = *blake3::hash(&bytes).as_bytes() == self.id.0;
        let facts = match objects.own_facts_in(self.id, &bytes) {
            Ok(facts) => Some(std::sync::Arc::new(facts)),
            Err(error) => {
                let detail = format!("its own directory cannot be read: {error}");
                self.lookup.damage().cause(FindingKind::PackDamaged, self.name.clone(), detail);
                self.known_facts()?
            }
        };
        if !is_named_right {
            self.lookup.mends(&self.id)?;
        }
        self.check_parity()?;
        if let Some(facts) = facts {
            let is_whole = self.check_frames(repository, &facts, &mut bytes);
            match objects.check_padding(&facts, &bytes) {
                Ok(()) if is_whole && !is_named_right => {
                    let detail = "its bytes do not hash to its name";
                    self.lookup.damage().cause(FindingKind::PackDamaged, self.name.clone(), detail);
                }
                Ok(()) => {}
                Err(detail) => {
                    self.lookup.damage().cause(FindingKind::PackDamaged, self.name.clone(), format!("its padding: {detail}"));
                }
            }
        }
        Ok(Some(bytes.len() as u64))
    }

    /// Its parity objects are what they are called, and whole.
    fn check_parity(&self) -> Result<(), RepositoryError> {
        let repository = self.lookup.reader.repository();
        for hash in self.lookup.parity.get(&self.id).into_iter().flatten() {
            let name = ObjectName::Parity(self.id, *hash).name();
            let detail = match repository.objects().parity_bytes(&self.id, hash) {
                Ok(object) => match parity::check(&object) {
                    Ok(pack) if pack != self.id => Some("it belongs to another pack".to_owned()),
                    Ok(_) if names::hash_of(&[&object]) != *hash => Some("its bytes do not hash to its name".to_owned()),
                    Ok(_) => None,
                    Err(error) => Some(error.to_string()),
                },
                Err(error) => Some(self.lookup.damage_or_error(error.into())?.of_pack().1),
            };
            if let Some(detail) = detail {
                self.lookup.damage().cause(FindingKind::ParityDamaged, name.as_str(), detail);
            }
        }
        Ok(())
    }

    /// What an index file says of a pack whose own directory does not open.
    fn known_facts(&self) -> Result<Option<std::sync::Arc<PackFacts>>, RepositoryError> {
        match self.lookup.view.number(&self.id) {
            Some(number) => Ok(Some(self.lookup.reader.facts(number)?)),
            None => Ok(None),
        }
    }

    fn whole_pack_is_bad(&self, kind: FindingKind, detail: String) -> Result<(), RepositoryError> {
        let cause = self.lookup.damage().cause(kind, self.name.clone(), detail);
        if let Some(number) = self.lookup.view.number(&self.id) {
            let rows = self.lookup.reader.facts(number)?.directory.chunks.len() as u32;
            let mut damage = self.lookup.damage();
            (0..rows).for_each(|row| damage.bad_row(number, row, cause));
        }
        Ok(())
    }

    fn check_frames(&mut self, repository: &Repository, facts: &PackFacts, bytes: &mut [u8]) -> bool {
        let mut is_whole = true;
        let rows: Vec<u32> = (0..facts.directory.chunks.len() as u32).collect();
        // Rows stand in the order of their frames.
        let mut groups =
            rows.chunk_by(|&a, &b| facts.directory.chunks[a as usize].frame == facts.directory.chunks[b as usize].frame).peekable();
        for (frame, place) in (0u32..).zip(&facts.directory.frames) {
            let rows = groups.next_if(|rows| facts.directory.chunks[rows[0] as usize].frame == frame).unwrap_or_default();
            let opened = match within(place.range()).and_then(|range| bytes.get_mut(range)) {
                Some(sealed) => {
                    repository.objects().open_frame(&facts.header, frame, place, sealed).map_err(|error| error.to_string())
                }
                None => Err("it lies beyond the end of the pack".to_owned()),
            };
            match opened {
                Ok(raw) => is_whole &= self.check_chunks(repository, facts, rows, &raw),
                Err(detail) => {
                    is_whole = false;
                    self.bad_frame(frame, rows, &detail);
                }
            }
        }
        is_whole
    }

    fn bad_frame(&self, frame: u32, rows: &[u32], detail: &str) {
        let number = self.lookup.view.number(&self.id);
        let mut damage = self.lookup.damage();
        let cause = damage.part(FindingKind::FrameDamaged, self.name.clone(), frame, format!("frame {frame}: {detail}"));
        self.mark(&mut damage, number, rows, cause);
    }

    fn mark(&self, damage: &mut Damage, number: Option<crate::catalog::PackNumber>, rows: &[u32], cause: CauseNumber) {
        if let Some(number) = number {
            rows.iter().for_each(|&row| damage.bad_row(number, row, cause));
        }
    }

    fn check_chunks(&mut self, repository: &Repository, facts: &PackFacts, rows: &[u32], raw: &[u8]) -> bool {
        let mut is_whole = true;
        for &row in rows {
            let chunk = &facts.directory.chunks[row as usize];
            if let RowEncoding::Composed { .. } = chunk.encoding {
                self.composed.push((self.id, row));
                continue;
            }
            if let Err(detail) = check_literal(repository, facts, chunk, raw) {
                is_whole = false;
                let number = self.lookup.view.number(&self.id);
                let mut damage = self.lookup.damage();
                let cause = damage.part(FindingKind::ChunkDamaged, self.name.clone(), row, format!("chunk {}: {detail}", chunk.id));
                self.mark(&mut damage, number, &[row], cause);
            }
        }
        is_whole
    }
}

fn check_literal(repository: &Repository, facts: &PackFacts, chunk: &ChunkRow, raw: &[u8]) -> Result<(), &'static str> {
    let bytes = raw.get(chunk.encoding.range()).ok_or("its row points beyond its frame")?;
    match repository.chunk_id_in(facts, chunk.chunk_type, bytes) {
        Some(id) if id == chunk.id => Ok(()),
        Some(_) => Err("its bytes do not give its id"),
        None => Err("there is no key for its generation"),
    }
}

/// Why a chunk could not be composed.
enum Uncomposed {
    NoBase,
    Wrong(String),
    Failed(RepositoryError),
}

impl From<FormatError> for Uncomposed {
    fn from(error: FormatError) -> Self {
        Self::Wrong(error.to_string())
    }
}

/// Recomposes one chunk. A base that cannot be had is no fault of this copy: it is then not usable, and if somebody needs it the walk
/// says so.
fn check_composed(lookup: &Lookup, id: &PackId, row: u32) -> Result<(), RepositoryError> {
    let reader = &lookup.reader;
    let Some(number) = lookup.view.number(id) else { return Ok(()) };
    let facts = reader.facts(number)?;
    let Some(chunk) = facts.directory.chunks.get(row as usize) else { return Ok(()) };
    let RowEncoding::Composed { raw_length, .. } = chunk.encoding else { return Ok(()) };
    let bases: Vec<ChunkId> = facts.directory.bases_of(&chunk.encoding).collect();
    let frame = match reader.open_frame(number, &facts, chunk.frame) {
        Ok(frame) => frame,
        // It opened a moment ago.
        Err(error) => return lookup.damage_or_error(error).map(|_| ()),
    };
    let composed = || {
        let beyond = || Uncomposed::Wrong("its recipe lies beyond its frame".to_owned());
        let encoded = frame.get(chunk.encoding.range()).ok_or_else(beyond)?;
        let recipe = recipe::decode(encoded, bases.len(), raw_length)?;
        recipe::compose(&recipe, bases.len(), |number| match read_base(reader, lookup, &bases[number]) {
            Ok(base) => base.ok_or(Uncomposed::NoBase),
            Err(error) => Err(Uncomposed::Failed(error)),
        })
    };
    let detail = match composed() {
        Ok(bytes) if reader.repository().chunk_id_in(&facts, chunk.chunk_type, &bytes) == Some(chunk.id) => return Ok(()),
        Ok(_) => "its bytes do not give its id".to_owned(),
        Err(Uncomposed::NoBase) => return Ok(()),
        Err(Uncomposed::Failed(error)) => return Err(error),
        Err(Uncomposed::Wrong(detail)) => detail,
    };
    let name = names::pack_name(*id).to_string();
    let mut damage = lookup.damage();
    let cause = damage.part(FindingKind::ChunkDamaged, name, row, format!("composed chunk {}: {detail}", chunk.id));
    damage.bad_row(number, row, cause);
    Ok(())
}

fn read_base(reader: &Reader, lookup: &Lookup, id: &ChunkId) -> Result<Option<Vec<u8>>, RepositoryError> {
    for copy in reader.copies(ChunkType::Data, id)?.into_iter().filter(|copy| !copy.composed) {
        if lookup.damage().row(copy.pack, copy.row).is_some() {
            continue;
        }
        match reader.read_copy(ChunkType::Data, id, copy.pack, copy.row) {
            Ok(bytes) => return Ok(Some(bytes)),
            Err(error) => {
                lookup.damage_or_error(error)?;
            }
        }
    }
    Ok(None)
}

fn within(range: Range<u64>) -> Option<Range<usize>> {
    Some(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SeededRng;

    fn packs() -> Vec<(PackId, u64)> {
        let mut packs: Vec<(PackId, u64)> =
            (0..100u32).map(|n| (PackId(*blake3::hash(&n.to_le_bytes()).as_bytes()), 1000)).collect();
        packs.sort_unstable();
        packs
    }

    #[test]
    fn the_parts_together_are_every_pack_once() {
        let rng = SeededRng::new(1);
        let mut all = Vec::new();
        for n in 1..=7 {
            all.extend(choose(&packs(), ReadData::Part { n, m: 7 }, &rng).unwrap());
        }
        all.sort_unstable();
        assert_eq!(all, packs());
    }

    #[test]
    fn a_share_is_as_large_as_asked_and_another_each_time() {
        let rng = SeededRng::new(2);
        let first = choose(&packs(), ReadData::Percent(10.0), &rng).unwrap();
        let second = choose(&packs(), ReadData::Percent(10.0), &rng).unwrap();
        assert_eq!((first.len(), second.len()), (10, 10));
        assert_ne!(first, second);
        assert_eq!(choose(&packs(), ReadData::Bytes(4500), &rng).unwrap().len(), 5);
        assert_eq!(choose(&packs()[..1], ReadData::Percent(0.1), &rng).unwrap().len(), 1);
    }
}
