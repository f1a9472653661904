//! A repository to test with: taken from folders, restored to folders, and damaged where a test wants it.

#![allow(dead_code, clippy::unwrap_used, reason = "each test uses its part, and may fail")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use esker::clock::{SystemClock, SystemRng};
use esker::crypto::{Argon2Cost, ChunkType, Passphrase};
use esker::format::content::Leaves;
use esker::format::tree::{Content, Item};
use esker::id::SnapshotId;
use esker::monitor::{Monitor, Quiet, Stop};
use esker::repository::{Environment, InitOptions, Reader, Repository, RepositoryError, Secret};
use esker::restore::{self, Origin, RestoreError, RestoreOptions, RestoreSummary};
use esker::snapshot::{self, SnapshotOptions};
use esker::source::{DirectorySource, Source};
use esker::store::{LocalStore, MemoryStore, Name, Store};

const PASSWORD: &str = "correct horse";
/// The source's name in snapshots, and so its folder in their trees.
pub const SOURCE: &str = "data";

/// See the top of this file.
pub struct Rig {
    pub repository: Arc<Repository>,
    /// The folder that was taken last.
    pub root: Content,
    environment: Environment,
}

impl Rig {
    /// A repository in memory, without a cache on disk.
    pub fn memory() -> Self {
        Self::new(Arc::new(MemoryStore::new()), None)
    }

    /// A repository in a folder.
    pub fn local(folder: &Path, cache: &Path) -> Self {
        Self::new(Arc::new(LocalStore::open(folder)), Some(cache.to_owned()))
    }

    fn new(store: Arc<dyn Store>, caches: Option<PathBuf>) -> Self {
        let (clock, rng, host) = (Arc::new(SystemClock::new()), Arc::new(SystemRng), "test".to_owned());
        let environment = Environment { store, clock, rng, host, caches, states: None };
        let options = InitOptions { cost: Argon2Cost::LEAST, ..InitOptions::default() };
        let made = Repository::init(environment.clone(), &Passphrase::new(PASSWORD.to_owned()), &options).unwrap();
        Self { repository: Arc::new(made.repository), root: Content::default(), environment }
    }

    /// A new repository with one snapshot.
    pub fn snapshot(source: &Path) -> Self {
        let mut rig = Self::memory();
        let id = rig.take(source);
        rig.root = rig.folder(id);
        rig
    }

    /// Closes and opens it again, as the next command would.
    pub fn reopen(&mut self, forget_cache: bool) {
        if let Some(caches) = self.environment.caches.as_ref().filter(|caches| forget_cache && caches.exists()) {
            std::fs::remove_dir_all(caches).unwrap();
        }
        let secret = Secret::Passphrase(Passphrase::new(PASSWORD.to_owned()));
        self.repository = Arc::new(Repository::open(self.environment.clone(), &secret, None).unwrap());
    }

    /// Takes a snapshot of a folder.
    pub fn take(&self, source: &Path) -> SnapshotId {
        let directory = DirectorySource { allow_empty: true, ..DirectorySource::new(SOURCE, source) };
        let options = SnapshotOptions { host: "test".to_owned(), program: "test".to_owned(), ..SnapshotOptions::default() };
        let sources = vec![Source::Directory(directory)];
        let summary = snapshot::run(&self.repository, sources, &options, &quiet(), &Stop::new()).unwrap();
        assert!(summary.reasons.is_empty(), "{:?}", summary.reasons);
        summary.id.unwrap()
    }

    /// The content of what a snapshot took.
    pub fn folder(&self, id: SnapshotId) -> Content {
        let stored = self.repository.snapshot(&id).unwrap().unwrap();
        let reader = Reader::new(&self.repository, &Quiet).unwrap();
        reader.resolve(&stored.snapshot.root, SOURCE.as_bytes(), "test").unwrap().unwrap().content
    }

    /// Restores what a snapshot took, as the command does: with the record of what the snapshot left out.
    pub fn restore(&self, id: SnapshotId, options: &RestoreOptions) -> RestoreSummary {
        let snapshot = &self.repository.snapshot(&id).unwrap().unwrap().snapshot;
        let path = SOURCE.as_bytes();
        let origin = Origin { root: &snapshot.root, snapshot: "test", path, streams: &[], record: Some(snapshot) };
        restore::run(&self.repository, origin, options, &quiet(), &Stop::new()).unwrap()
    }

    /// Gives out one file of [`Rig::root`].
    pub fn dump(&self, path: &[u8], out: &mut Vec<u8>) -> Result<u64, RestoreError> {
        let reader = Reader::new(&self.repository, &Quiet)?;
        let node = reader.resolve(&self.root, path, "test")?.unwrap();
        restore::stream::dump(&reader, &node, path, None, out, &Quiet, &Stop::new())
    }

    /// Damages the frame that holds the middle of a file of [`Rig::root`].
    pub fn damage(&self, path: &[u8]) {
        let reader = Reader::new(&self.repository, &Quiet).unwrap();
        let node = reader.resolve(&self.root, path, "test").unwrap().unwrap();
        let mut chunks = Vec::new();
        let each = &mut |item: &Item| {
            if let Item::Chunk { id, .. } = *item {
                chunks.push((ChunkType::Data, id));
            }
            Ok::<(), RepositoryError>(())
        };
        reader.for_each_item(&node.content, Leaves::Data, each).unwrap();
        let at = reader.locate(&chunks[chunks.len() / 2..][..1]).unwrap()[0].unwrap();
        let frame = reader.facts(at.pack).unwrap().directory.frames[at.frame as usize].offset;
        let name = Name::new(reader.pack_name(at.pack)).unwrap();
        let mut bytes = self.environment.store.get(&name, u64::MAX).unwrap();
        bytes[frame as usize + 100] ^= 1;
        self.environment.store.replace(&name, &[&bytes]).unwrap();
    }

    /// Bytes in each folder of the store.
    pub fn sizes(&self) -> HashMap<String, u64> {
        let mut sizes = HashMap::new();
        for folder in ["packs", "index", "snapshots", "sessions"] {
            let each = &mut |entry: esker::store::Entry| *sizes.entry(folder.to_owned()).or_default() += entry.size;
            self.environment.store.list(folder, each).unwrap();
        }
        sizes
    }
}

fn quiet() -> Arc<dyn Monitor> {
    Arc::new(Quiet)
}
