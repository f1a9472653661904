//! A disk as a power cut leaves it: what was synced is there, and any part of the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use esker::store::{DiskStep, MemoryStore, Name, Store};

/// A number of a file's bytes on the disk; the same file may have several names over time.
type File = usize;

/// What becomes of everything that was not synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rest {
    /// None of it reached the disk.
    Dropped,
    /// All of it did.
    Kept,
    /// Each name and each file by itself, files also in part.
    Any(u64),
}

/// See the top of this file.
#[derive(Clone, Default)]
pub struct Disk {
    files: Vec<Arc<Vec<u8>>>,
    synced: BTreeSet<File>,
    /// Names as a running system sees them, and as the disk has them.
    now: BTreeMap<String, Entry>,
    durable: BTreeMap<String, Entry>,
    /// Files by the temporary name they were written under: a sync is of a file, whatever it is called meanwhile.
    written: BTreeMap<String, File>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    Folder,
    File(File),
}

fn above(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(above, _)| above)
}

impl Disk {
    /// One more step reached the operating system.
    pub fn step(&mut self, step: &DiskStep) {
        match step {
            DiskStep::Folder(path) => drop(self.now.entry(path.clone()).or_insert(Entry::Folder)),
            DiskStep::FolderSynced(folder) => {
                self.durable.retain(|path, _| above(path) != folder || self.now.contains_key(path));
                let inside = self.now.iter().filter(|(path, _)| above(path) == folder);
                self.durable.extend(inside.map(|(path, entry)| (path.clone(), *entry)));
            }
            DiskStep::Written(path, bytes) => {
                self.now.insert(path.clone(), Entry::File(self.files.len()));
                self.written.insert(path.clone(), self.files.len());
                self.files.push(Arc::new(bytes.clone()));
            }
            DiskStep::Synced(path) => self.synced.extend(self.written.get(path)),
            DiskStep::Moved(from, to) => {
                if let Some(entry) = self.now.remove(from) {
                    self.now.insert(to.clone(), entry);
                }
            }
            DiskStep::Removed(path) => drop(self.now.remove(path)),
        }
    }

    /// What a machine finds that starts again now.
    pub fn after_power_cut(&self, rest: Rest) -> Left {
        let mut choices = Choices(match rest {
            Rest::Any(seed) => seed,
            _ => 0,
        });
        let mut found: BTreeMap<&str, Entry> = BTreeMap::new();
        let names: BTreeSet<&String> = self.now.keys().chain(self.durable.keys()).collect();
        for name in names {
            let (now, durable) = (self.now.get(name), self.durable.get(name));
            let entry = match rest {
                Rest::Dropped => durable,
                Rest::Kept => now,
                Rest::Any(_) if now == durable || choices.next(2) == 0 => now,
                Rest::Any(_) => durable,
            };
            if let Some(entry) = entry {
                found.insert(name, *entry);
            }
        }
        let mut left = Left::default();
        for (path, entry) in &found {
            let Entry::File(file) = entry else { continue };
            let parents = std::iter::successors(Some(above(path)), |path| Some(above(path))).take_while(|path| !path.is_empty());
            if path.starts_with("tmp/") || !parents.into_iter().all(|parent| found.contains_key(parent)) {
                continue;
            }
            let bytes = &self.files[*file];
            let whole = rest == Rest::Kept || self.synced.contains(file);
            let (tag, bytes) = match rest {
                _ if whole => (*file as u64, Arc::clone(bytes)),
                Rest::Any(_) => (choices.next(u64::MAX) | 1 << 63, Arc::new(tear(bytes, &mut choices))),
                _ => (u64::MAX, Arc::default()),
            };
            left.0.push(((*path).to_owned(), tag, bytes));
        }
        left
    }
}

/// Names, which file each is of (or another number for one that was torn), and its bytes.
#[derive(Default)]
pub struct Left(Vec<(String, u64, Arc<Vec<u8>>)>);

impl Left {
    /// Disks that are the same need to be looked at once.
    pub fn fingerprint(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        for (path, tag, _) in &self.0 {
            hasher.update(path.as_bytes()).update(&[0]).update(&tag.to_le_bytes());
        }
        hasher.finalize()
    }

    /// As a store.
    pub fn store(&self) -> Arc<MemoryStore> {
        let store = MemoryStore::new();
        store.create_place().unwrap();
        for (path, _, bytes) in &self.0 {
            store.create(&Name::new(path.as_str()).unwrap(), &[bytes]).unwrap();
        }
        Arc::new(store)
    }
}

/// A file whose pages reached the disk in no order: shorter, or with pages of zeros.
fn tear(bytes: &[u8], choices: &mut Choices) -> Vec<u8> {
    const PAGE: usize = 4096;
    let mut torn = bytes.to_vec();
    for page in torn.chunks_mut(PAGE) {
        if choices.next(3) == 0 {
            page.fill(0);
        }
    }
    if choices.next(2) == 0 {
        torn.truncate(choices.next(bytes.len() as u64 + 1) as usize);
    }
    torn
}

/// Choices that repeat from their seed (SplitMix64).
pub struct Choices(pub u64);

impl Choices {
    pub fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below.max(1)
    }
}
