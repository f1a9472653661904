//! A small repository in memory, its source folder and its cache, for tests.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use esker::clock::{Clock, SystemClock, SystemRng};
use esker::crypto::{Argon2Cost, Passphrase};
use esker::format::content::Leaves;
use esker::format::keyslot::Level;
use esker::format::tree::{Item, Node};
use esker::monitor::{Monitor, Quiet, Stop};
use esker::repository::{Environment, InitOptions, Reader, Repository, RepositoryError, Secret};
use esker::snapshot::{self, SnapshotOptions, SnapshotSummary};
use esker::source::{DirectorySource, Source};
use esker::store::{MemoryStore, Name, Store};

/// The password of every test repository.
pub const PASSWORD: &str = "correct horse battery staple";

/// A directory source.
pub fn directory(name: &str, path: &Path) -> Source {
    Source::Directory(DirectorySource { allow_empty: true, ..DirectorySource::new(name, path) })
}

/// Bytes that do not compress and are the same for one seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Everything a test needs around one repository.
pub struct Place {
    folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    caches: PathBuf,
    key: Secret,
}

impl Place {
    /// A new repository in memory.
    pub fn new() -> Self {
        Self::over(Arc::new(MemoryStore::new()))
    }

    /// A new repository in `store`.
    pub fn over(store: Arc<dyn Store>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("source")).unwrap();
        let caches = folder.path().join("cache");
        let mut place = Self { folder, store, caches, key: Secret::Passphrase(Passphrase::new(PASSWORD.into())) };
        let options = InitOptions { cost: Argon2Cost::LEAST, ..InitOptions::default() };
        let made = Repository::init(place.environment(), &Passphrase::new(PASSWORD.into()), &options).unwrap();
        place.key = Secret::KeyLine(made.repository.export_key(Level::Owner).unwrap());
        place
    }

    pub fn environment(&self) -> Environment {
        Environment {
            store: Arc::clone(&self.store),
            clock: Arc::new(SystemClock::new()),
            rng: Arc::new(SystemRng),
            host: "host".into(),
            caches: Some(self.caches.clone()),
            states: Some(self.folder.path().join("state")),
        }
    }

    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    pub fn source(&self) -> &'static Path {
        // Tests are short-lived: leaking a path keeps their lines short.
        Box::leak(self.folder.path().join("source").into_boxed_path())
    }

    pub fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.source().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// Waits until files written so far are old enough to be trusted unread.
    pub fn settle(&self) {
        let now = SystemClock::new().now().seconds;
        while SystemClock::new().now().seconds < now + 3 {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }

    pub fn open(&self) -> Arc<Repository> {
        Arc::new(Repository::open(self.environment(), &self.key, None).unwrap())
    }

    pub fn open_with_writer_key(&self) -> Arc<Repository> {
        let line = self.open().export_key(Level::Writer).unwrap();
        Arc::new(Repository::open(self.environment(), &Secret::KeyLine(line), None).unwrap())
    }

    pub fn drop_cache(&mut self) {
        std::fs::remove_dir_all(&self.caches).unwrap();
    }

    pub fn names(&self, folder: &str) -> Vec<Name> {
        let mut names = Vec::new();
        self.store.list(folder, &mut |entry| names.push(entry.name)).unwrap();
        names
    }

    pub fn snapshot(&self, sources: Vec<Source>) -> SnapshotSummary {
        self.snapshot_with(&self.open(), sources)
    }

    pub fn snapshot_with(&self, repository: &Arc<Repository>, sources: Vec<Source>) -> SnapshotSummary {
        Self::run(repository, sources).unwrap()
    }

    pub fn try_snapshot(&self, sources: Vec<Source>) -> Result<SnapshotSummary, snapshot::SnapshotError> {
        Self::run(&self.open(), sources)
    }

    fn run(repository: &Arc<Repository>, sources: Vec<Source>) -> Result<SnapshotSummary, snapshot::SnapshotError> {
        let options = SnapshotOptions { host: "host".into(), user: "user".into(), program: "test".into(), ..Default::default() };
        let monitor: Arc<dyn Monitor> = Arc::new(Quiet);
        snapshot::run(repository, sources, &options, &monitor, &Stop::new())
    }

    pub fn bytes(&self, reader: &Reader, node: &Node) -> Vec<u8> {
        let mut bytes = Vec::new();
        reader
            .for_each_item::<RepositoryError>(&node.content, Leaves::Data, &mut |item| {
                match *item {
                    Item::Chunk { id, .. } => bytes.extend(reader.read_chunk(esker::crypto::ChunkType::Data, &id)?),
                    Item::Hole { length } => bytes.resize(bytes.len() + length as usize, 0),
                }
                Ok(())
            })
            .unwrap();
        bytes
    }
}
