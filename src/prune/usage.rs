//! How much of what is stored belongs to some snapshots: counted as a prune counts what is used.

use std::collections::HashSet;
use std::sync::Arc;

use super::PruneError;
use super::choose;
use super::live::Root;
use super::mark::{Ground, Mark};
use crate::monitor::{Monitor, Phase, Stop};
use crate::parallel;
use crate::repository::{Reader, Repository, RepositoryError, StoredSnapshot};

/// Counts stored bytes of chunks, as the directories of their packs have them. Memory: six bits a chunk of the repository.
pub struct Usage<'a> {
    reader: Reader,
    monitor: &'a dyn Monitor,
    stop: &'a Stop,
}

impl<'a> Usage<'a> {
    /// Learns what the repository holds now. Needs the owner's key.
    pub fn new(repository: &Arc<Repository>, monitor: &'a dyn Monitor, stop: &'a Stop) -> Result<Self, RepositoryError> {
        monitor.begin(Phase::Sync, 0, 0);
        Ok(Self { reader: Reader::new(repository, monitor)?, monitor, stop })
    }

    /// Bytes of all chunks that these snapshots refer to, bases of composed chunks included. A chunk counts once.
    pub fn stored(&self, snapshots: &[&StoredSnapshot]) -> Result<u64, PruneError> {
        let mut mark = Mark::default();
        self.walk(&mut mark, snapshots)?;
        self.used(&mark)
    }

    /// Bytes that a prune may free once `snapshots` are forgotten and `others` stay: what would be used less.
    pub fn unique(&self, snapshots: &[&StoredSnapshot], others: &[&StoredSnapshot]) -> Result<u64, PruneError> {
        let mut mark = Mark::default();
        self.walk(&mut mark, others)?;
        let without = self.used(&mark)?;
        // What is marked already is not walked again.
        self.walk(&mut mark, snapshots)?;
        Ok(self.used(&mark)?.saturating_sub(without))
    }

    fn walk(&self, mark: &mut Mark, snapshots: &[&StoredSnapshot]) -> Result<(), PruneError> {
        self.monitor.begin(Phase::Plan, 0, 0);
        let root = |stored: &&StoredSnapshot| Root {
            id: stored.id,
            hash: stored.hash,
            root: stored.snapshot.root.clone(),
            doubtful: false,
        };
        let roots: Vec<Root> = snapshots.iter().map(root).collect();
        mark.walk(&Ground { reader: &self.reader, monitor: self.monitor, stop: self.stop, threads: parallel::cores() }, &roots)
    }

    fn used(&self, mark: &Mark) -> Result<u64, PruneError> {
        let packs: Vec<_> = self.reader.with_catalog(|catalog| catalog.view().iter().chain(catalog.view().condemned()).collect());
        let choice = choose::choose(&self.reader, mark, &packs, &HashSet::new())?;
        Ok(choice.uses.iter().map(|pack| pack.used).sum())
    }
}
