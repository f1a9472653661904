//! Reading from afar: few requests for much, and what every command needs again kept on this machine's disk.
//!
//! Frames that stand near each other are fetched together. Windows of metadata packs (trees and lists: what `ls`, `find`, `diff`, a mark
//! and the way to every restored file go through) are kept as they came, sealed: some in memory, and for whoever does not ask what stands
//! in the store now, in a bounded folder of the cache. What is read from there is opened and checked like everything else; when it does
//! not open, it is thrown away and fetched again before anybody calls it damage.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use quick_cache::Weighter;
use quick_cache::sync::Cache as Bounded;

use crate::format::names;
use crate::format::pack::PackFacts;
use crate::id::PackId;
use crate::private;
use crate::store::{Store, StoreError, WINDOW_BYTES, get_widened, widened};

/// Disk that windows may take.
const KEPT_BYTES_MAX: u64 = 512 << 20;
/// Memory that windows may take.
const MEMORY_BYTES_MAX: u64 = 8 << 20;
/// A missing window brings what follows it along: whoever walks a tree goes on there.
const AHEAD_BYTES: u64 = 2 << 20;
/// Frames of a pack with no more between them are read with one request...
const GAP_BYTES_MAX: u64 = 2 * WINDOW_BYTES;
/// ...of no more than this, so that many can be on their way at once: what two requests share is fetched once, so small ones cost no bytes.
const RUN_BYTES_MAX: u64 = 2 << 20;

/// Whole windows of a pack as they stand in the store; of a small pack all of it.
pub(super) struct Fetched {
    pack: PackId,
    /// Where in the pack the first of these bytes stands.
    offset: u64,
    /// What an earlier request had brought, then what this one did.
    pieces: [Vec<u8>; 2],
}

impl Fetched {
    /// Reads the windows around `start..end` of a pack, but for those at their beginning that `before` has.
    pub(super) fn read(
        store: &dyn Store,
        facts: &PackFacts,
        start: u64,
        end: u64,
        before: Option<&Self>,
    ) -> Result<Self, StoreError> {
        let (from, to) = widened(facts.size, start, end);
        let head = before.filter(|before| before.pack == facts.id).and_then(|before| before.tail(from)).unwrap_or_default();
        let middle = from + head.len() as u64;
        let rest = match to.checked_sub(middle).filter(|length| *length > 0) {
            Some(length) => store.get_range(&names::pack_name(facts.id), middle, length as usize)?,
            None => Vec::new(),
        };
        Ok(Self { pack: facts.id, offset: from, pieces: [head, rest] })
    }

    /// `length` bytes from `offset` of the pack, if they were read.
    pub(super) fn part(&self, offset: u64, length: usize) -> Option<Vec<u8>> {
        let [head, rest] = &self.pieces;
        let at = usize::try_from(offset.checked_sub(self.offset)?).ok()?;
        let end = at.checked_add(length)?;
        let rest = rest.get(at.saturating_sub(head.len())..end.saturating_sub(head.len()))?;
        let mut part = Vec::with_capacity(length);
        part.extend_from_slice(head.get(at..end.min(head.len())).unwrap_or_default());
        part.extend_from_slice(rest);
        Some(part)
    }

    /// Its last window alone, for the request that goes on from there.
    pub(super) fn into_last_window(self) -> Self {
        let end = self.offset + self.pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        let offset = self.offset.max(end.saturating_sub(1) / WINDOW_BYTES * WINDOW_BYTES);
        Self { pack: self.pack, offset, pieces: [self.tail(offset).unwrap_or_default(), Vec::new()] }
    }

    /// What was read from `offset` of the pack on.
    fn tail(&self, offset: u64) -> Option<Vec<u8>> {
        let end = self.offset + self.pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        self.part(offset, usize::try_from(end.checked_sub(offset)?).ok()?)
    }
}

/// Does what begins at `start` stand in the window that what ends at `end` stands in?
pub(super) fn meet(end: u64, start: u64) -> bool {
    start >= end && start / WINDOW_BYTES == end.saturating_sub(1) / WINDOW_BYTES
}

/// Can what stands at `next` be read together with `run`? Both are places in one pack of `size` bytes, `next` behind.
pub(super) fn belongs(size: u64, run: (u64, u64), next: (u64, u64)) -> bool {
    // Of a small pack any run would bring the whole pack, by the rule of halves: then once.
    let run_max = if size <= 2 * (RUN_BYTES_MAX + 2 * WINDOW_BYTES) { size } else { RUN_BYTES_MAX };
    next.0 >= run.0 && next.0.saturating_sub(run.1) <= GAP_BYTES_MAX && next.1.saturating_sub(run.0) <= run_max
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<(PackId, u64), Arc<Vec<u8>>> for ByBytes {
    fn weight(&self, _: &(PackId, u64), window: &Arc<Vec<u8>>) -> u64 {
        window.len() as u64 + 64
    }
}

/// Sealed windows of metadata packs.
pub(super) struct Windows {
    memory: Bounded<(PackId, u64), Arc<Vec<u8>>, ByBytes>,
    disk: Option<Disk>,
}

/// Those in a folder.
struct Disk {
    folder: PathBuf,
    kept_bytes_max: u64,
    /// What is there, roughly: other processes write too. Counted when the first is kept: who only reads need not look.
    kept_bytes: OnceLock<AtomicU64>,
}

impl Windows {
    /// Keeps them for this process.
    pub(super) fn in_memory() -> Self {
        Self { memory: Bounded::with_weighter(32, MEMORY_BYTES_MAX, ByBytes), disk: None }
    }

    /// Keeps them in `folder` too, which need not exist.
    pub(super) fn on_disk(folder: PathBuf) -> Self {
        Self { disk: Some(Disk::bounded(folder, KEPT_BYTES_MAX)), ..Self::in_memory() }
    }

    /// `length` bytes from `offset` of a pack, and whether any had been kept.
    pub(super) fn read(
        &self,
        store: &dyn Store,
        facts: &PackFacts,
        offset: u64,
        length: usize,
    ) -> Result<(Vec<u8>, bool), StoreError> {
        let end = offset.saturating_add(length as u64);
        if length == 0 || end > facts.size {
            return Ok((get_widened(store, &names::pack_name(facts.id), facts.size, offset, length)?, false));
        }
        let (first, last) = (offset / WINDOW_BYTES, (end - 1) / WINDOW_BYTES);
        let mut windows: Vec<Option<Arc<Vec<u8>>>> = (first..=last).map(|window| self.get(facts, window)).collect();
        let kept = windows.iter().any(Option::is_some);
        if let Some(missing) = windows.iter().position(Option::is_none) {
            let start = (first + missing as u64) * WINDOW_BYTES;
            // As everywhere: above half of a pack it is the whole pack that is read. Then all of it is kept.
            let (start, end) = widened(facts.size, start, end.max(start + AHEAD_BYTES).min(facts.size));
            let fetched = store.get_range(&names::pack_name(facts.id), start, (end - start) as usize)?;
            for (window, bytes) in (start / WINDOW_BYTES..).zip(fetched.chunks(WINDOW_BYTES as usize)) {
                let bytes = Arc::new(bytes.to_vec());
                self.memory.insert((facts.id, window), Arc::clone(&bytes));
                if let Some(disk) = &self.disk {
                    disk.put(&facts.id, window, &bytes);
                }
                if let Some(wanted) = window.checked_sub(first).and_then(|nth| windows.get_mut(nth as usize)) {
                    *wanted = Some(bytes);
                }
            }
        }
        let mut together = Vec::with_capacity(windows.len() * WINDOW_BYTES as usize);
        windows.iter().flatten().for_each(|window| together.extend_from_slice(window));
        together.drain(..((offset - first * WINDOW_BYTES) as usize).min(together.len()));
        together.truncate(length);
        Ok((together, kept))
    }

    /// Throws away what is kept of a pack.
    pub(super) fn forget(&self, facts: &PackFacts) {
        for window in 0..facts.size.div_ceil(WINDOW_BYTES) {
            self.memory.remove(&(facts.id, window));
            if let Some(disk) = &self.disk {
                let _ = std::fs::remove_file(disk.path(&facts.id, window));
            }
        }
    }

    fn get(&self, facts: &PackFacts, window: u64) -> Option<Arc<Vec<u8>>> {
        self.memory.get(&(facts.id, window)).or_else(|| {
            let found = Arc::new(self.disk.as_ref()?.get(facts, window)?);
            self.memory.insert((facts.id, window), Arc::clone(&found));
            Some(found)
        })
    }
}

impl Disk {
    fn bounded(folder: PathBuf, kept_bytes_max: u64) -> Self {
        Self { folder, kept_bytes_max, kept_bytes: OnceLock::new() }
    }

    fn kept_bytes(&self) -> &AtomicU64 {
        self.kept_bytes.get_or_init(|| AtomicU64::new(files(&self.folder).iter().map(|file| file.size).sum()))
    }

    fn path(&self, pack: &PackId, window: u64) -> PathBuf {
        self.folder.join(format!("{pack}-{window}"))
    }

    fn get(&self, facts: &PackFacts, window: u64) -> Option<Vec<u8>> {
        let length = WINDOW_BYTES.min(facts.size.checked_sub(window * WINDOW_BYTES)?);
        let path = self.path(&facts.id, window);
        // A cut-off one counts as absent, and a wrong length is not even read.
        (std::fs::symlink_metadata(&path).ok()?.len() == length)
            .then(|| private::read(&path, length).ok())?
            .filter(|b| b.len() as u64 == length)
    }

    /// Keeps one; that it could not be kept costs a request later.
    fn put(&self, pack: &PackId, window: u64, bytes: &[u8]) {
        let path = self.path(pack, window);
        if path.exists() {
            return;
        }
        let kept = self.kept_bytes();
        let written = private::create_folder(&self.folder)
            .and_then(|()| tempfile::NamedTempFile::new_in(&self.folder))
            .and_then(|mut file| file.write_all(bytes).map(|()| file))
            .is_ok_and(|file| file.persist(&path).is_ok());
        if written && kept.fetch_add(bytes.len() as u64, Ordering::Relaxed) > self.kept_bytes_max {
            self.trim();
        }
    }

    /// Takes the oldest away until three quarters of the room are used.
    fn trim(&self) {
        let mut files = files(&self.folder);
        files.sort_by_key(|file| file.written);
        let mut kept: u64 = files.iter().map(|file| file.size).sum();
        for file in files {
            if kept <= self.kept_bytes_max / 4 * 3 {
                break;
            }
            if std::fs::remove_file(&file.path).is_ok() {
                kept -= file.size;
            }
        }
        self.kept_bytes().store(kept, Ordering::Relaxed);
    }
}

struct Kept {
    path: PathBuf,
    size: u64,
    written: std::time::SystemTime,
}

fn files(folder: &Path) -> Vec<Kept> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let metadata = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
            Some(Kept { path: entry.path(), size: metadata.len(), written: metadata.modified().ok()? })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::pack;

    #[test]
    fn neighbours_are_read_together_and_no_more_than_a_run() {
        let belongs = |run, next| belongs(16 << 20, run, next);
        assert!(belongs((0, 100), (100, 200)));
        assert!(belongs((0, 100), (100 + GAP_BYTES_MAX, 200 + GAP_BYTES_MAX)));
        assert!(!belongs((0, 100), (101 + GAP_BYTES_MAX, 200 + GAP_BYTES_MAX)));
        assert!(!belongs((0, RUN_BYTES_MAX - 10), (RUN_BYTES_MAX - 10, RUN_BYTES_MAX + 1)));
        assert!(
            super::belongs(2 * RUN_BYTES_MAX, (0, RUN_BYTES_MAX - 10), (RUN_BYTES_MAX - 10, RUN_BYTES_MAX + 1)),
            "read whole, and once"
        );
    }

    #[test]
    fn what_one_request_brought_the_next_one_does_not_ask_for_again() {
        let store = crate::store::MemoryStore::new();
        let id = PackId([7; 32]);
        let bytes: Vec<u8> = (0..16_u32 << 20).map(|at| (at / 1000) as u8).collect();
        store.create(&names::pack_name(id), &[&bytes]).unwrap();
        let facts = PackFacts {
            id,
            size: bytes.len() as u64,
            header: [0; crate::format::envelope::HEADER_SIZE],
            directory_sealed_length: 0,
            class: pack::Class::Data,
            directory: pack::Directory::default(),
        };
        let part = |fetched: &Fetched, start: u64, end: u64| {
            fetched.part(start, (end - start) as usize).is_some_and(|part| part == bytes[start as usize..end as usize])
        };

        let first = Fetched::read(&store, &facts, 300_000, 4_000_000, None).unwrap();
        assert!(part(&first, 262_144, 300_001) && part(&first, 3_999_999, 4_194_304) && !part(&first, 262_143, 300_000));
        let last = first.into_last_window();
        let second = Fetched::read(&store, &facts, 4_000_000, 8_000_000, Some(&last)).unwrap();
        assert!(part(&second, 4_000_000, 8_000_000) && part(&second, 3_932_160, 3_932_161) && part(&second, 4_194_303, 4_194_305));
        assert_eq!(second.pieces.each_ref().map(Vec::len), [262_144, 3_932_160], "the second asks from where the first ended");
        let inside = Fetched::read(&store, &facts, 8_000_001, 8_100_000, Some(&second.into_last_window())).unwrap();
        assert!(part(&inside, 8_000_001, 8_100_000) && inside.pieces[1].is_empty(), "nothing to ask for");
        let elsewhere = Fetched::read(&store, &facts, 100, 200, Some(&inside)).unwrap();
        assert!(part(&elsewhere, 100, 200) && elsewhere.pieces[0].is_empty());
    }

    #[test]
    fn the_folder_stays_within_its_bound_and_the_newest_stay() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::bounded(folder.path().join("metadata"), 10_000);
        for number in 0..40_u8 {
            disk.put(&PackId([number; 32]), 0, &[number; 1_000]);
        }
        let kept = files(&folder.path().join("metadata"));
        assert!(kept.len() >= 7 && kept.len() <= 12, "{} kept", kept.len());
        assert!(disk.path(&PackId([39; 32]), 0).exists());
        assert!(!disk.path(&PackId([0; 32]), 0).exists());
    }
}
