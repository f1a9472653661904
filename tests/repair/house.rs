//! A repository with one snapshot, and what is done to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use esker::format::names;
use esker::id::{PackId, SnapshotId};
use esker::repository::{Reader, Repository, RepositoryError, Secret};
use esker::store::{MemoryStore, Name, Store};
use esker::verify::ReadData;

use super::small::{self, Files, noise};

/// A repository with one snapshot and 5 % of parity.
pub struct House {
    pub store: Arc<MemoryStore>,
    pub line: String,
    pub snapshot: SnapshotId,
    pub files: Files,
}

impl House {
    pub fn new(files: Files) -> Self {
        Self::with_parity(files, 5)
    }

    pub fn with_parity(files: Files, percent: u8) -> Self {
        let store = Arc::new(MemoryStore::new());
        let (repository, line) = small::init_with_parity(store.clone(), percent);
        let snapshot = small::commit(&repository, &files, None);
        Self { store, line, snapshot, files }
    }

    /// One full data pack of 16 MiB, and the metadata.
    pub fn with_full_pack() -> Self {
        Self::new(Files::from([("large".to_owned(), noise(1, 16_600_000))]))
    }

    pub fn small() -> Self {
        Self::new(Files::from([("a".to_owned(), noise(2, 30_000)), ("folder/b".to_owned(), noise(3, 700))]))
    }

    /// Opened as by another run: with randomness of its own.
    pub fn open(&self) -> Arc<Repository> {
        static NEXT: AtomicU64 = AtomicU64::new(100);
        let environment = small::environment(self.store.clone(), NEXT.fetch_add(1, Ordering::Relaxed));
        let secret = Secret::KeyLine(zeroize::Zeroizing::new(self.line.clone()));
        Arc::new(Repository::open(environment, &secret, None).unwrap())
    }

    /// Packs with their sizes, the largest last.
    pub fn packs(&self) -> Vec<(PackId, u64)> {
        let mut packs = Vec::new();
        self.store.list("packs", &mut |entry| packs.extend(names::parse_pack(&entry.name).map(|id| (id, entry.size)))).unwrap();
        packs.sort_unstable_by_key(|&(id, size)| (size, id));
        packs
    }

    pub fn largest(&self) -> PackId {
        self.packs().pop().unwrap().0
    }

    pub fn holds_data(&self, pack: PackId) -> bool {
        let size = self.store.size(&names::pack_name(pack)).unwrap();
        let facts = self.open().own_facts(&pack, size).unwrap();
        facts.class == esker::format::pack::Class::Data
    }

    pub fn parity_names(&self, pack: PackId) -> Vec<Name> {
        let mut found = Vec::new();
        self.store.list(&format!("parity/{pack}"), &mut |entry| found.push(entry.name)).unwrap();
        found
    }

    pub fn change(&self, name: &Name, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.store.get(name, u64::MAX).unwrap();
        change(&mut bytes);
        self.store.replace(name, &[&bytes]).unwrap();
    }

    pub fn damage(&self, pack: PackId, change: impl FnOnce(&mut Vec<u8>)) {
        self.change(&names::pack_name(pack), change);
    }

    pub fn restore(&self) -> Result<Files, RepositoryError> {
        let repository = self.open();
        let reader = Reader::new(&repository, &esker::monitor::Quiet)?;
        let stored = repository.snapshot(&self.snapshot)?.unwrap();
        small::restore(&reader, &stored.snapshot.root)
    }

    /// Everything restores, and verify says that what it found can be mended.
    pub fn assert_mendable(&self, what: &str) {
        assert!(self.restore().unwrap() == self.files, "{what}");
        for read_data in [ReadData::All, ReadData::Nothing] {
            let (findings, summary) = small::check(&self.open(), read_data);
            assert_eq!(summary.data_affected, 0, "{what}: {findings:?}");
            if read_data == ReadData::All {
                assert!(summary.repairable > 0, "{what}");
                assert!(
                    findings.iter().all(|finding| finding.detail.contains("parity object can mend it")),
                    "{what}: {findings:?}"
                );
            }
        }
    }

    pub fn assert_lost(&self, what: &str) {
        assert!(self.restore().is_err(), "{what}");
        let (findings, summary) = small::check(&self.open(), ReadData::All);
        assert!(summary.data_affected > 0, "{what}: {findings:?}");
    }
}
