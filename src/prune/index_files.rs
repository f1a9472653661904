//! Index files: written for new packs, and merged when they speak of packs that are gone or have become many.

use std::collections::HashSet;

use super::choose::facts;
use super::{PruneError, Pruner};
use crate::catalog::Memo;
use crate::format::limits;
use crate::format::pack::PackFacts;
use crate::id::{IndexId, PackId};
use crate::planted;
use crate::records::gc::Book;
use crate::repository::{RepositoryError, listed};
use crate::store::{StoreError, StoreErrorKind};

/// An index file smaller than this is small.
const SMALL_SIZE_BYTES: u64 = 1 << 20;
/// So many small ones are left alone.
const SMALL_MAX: usize = 8;
/// An index file with at least one pack in so many gone is written again without them.
const GONE_ONE_IN: usize = 4;

/// An index file and the packs it names.
struct Listed {
    id: IndexId,
    size: u64,
    packs: Vec<PackId>,
}

impl Pruner {
    /// Merges index files when it pays. A replaced one is deleted only after every fact about a listed pack is in a new, durable one;
    /// the facts come from the packs themselves.
    pub(crate) fn merge_index_files(&mut self) -> Result<(), PruneError> {
        let (listed, rotten) = self.list_index_files()?;
        // Packs after index files: an index file names durable packs only, so what it names and is not listed now is gone.
        let book = self.refresh()?;
        let all_named = self.name_orphans(&listed, &book)?;
        // What is needed of the packs they named stands in readable ones now.
        for id in rotten.iter().filter(|_| all_named) {
            self.repository.objects().delete_index_file(id)?;
            self.summary.index_files_replaced += 1;
        }
        if !self.changed {
            return Ok(());
        }
        let gone = |file: &Listed| file.packs.iter().filter(|id| !self.listed.contains_key(*id)).count();
        let stale = |file: &Listed| gone(file) * GONE_ONE_IN >= file.packs.len().max(1);
        let small = listed.iter().filter(|file| file.size < SMALL_SIZE_BYTES).count();
        let merge_small = small > SMALL_MAX;
        let replaced: Vec<&Listed> =
            listed.iter().filter(|file| stale(file) || (merge_small && file.size < SMALL_SIZE_BYTES)).collect();
        let (mut packs, mut whole) = (Vec::new(), Vec::new());
        let mut named = HashSet::new();
        for file in replaced {
            if let Some(facts) = self.facts_of_listed(file, &named)? {
                named.extend(facts.iter().map(|facts| facts.id));
                packs.extend(facts);
                whole.push(file.id);
            }
        }
        if planted::is("merge-drops-a-fact") {
            packs.pop();
        }
        if whole.is_empty() {
            return Ok(());
        }
        match self.repository.put_index_files(packs, &whole) {
            Ok(new) => whole.retain(|id| !new.contains(id)),
            // No room to write the new one: it can wait.
            Err(RepositoryError::Store(StoreError { kind: StoreErrorKind::Full, .. })) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        for id in &whole {
            self.repository.objects().delete_index_file(id)?;
            self.summary.index_files_replaced += 1;
        }
        Ok(())
    }

    /// A run that died between its packs and their index file left packs that snapshots may have come to need. Are all of these named
    /// now?
    fn name_orphans(&self, listed: &[Listed], book: &Book) -> Result<bool, PruneError> {
        let named: HashSet<PackId> = listed.iter().flat_map(|file| &file.packs).copied().collect();
        let mut orphans = Vec::new();
        for id in self.listed.keys().filter(|id| !named.contains(*id) && !book.bad.contains(*id)) {
            if let Some(number) = self.reader.number(id).filter(|&number| self.mark.of(number).is_some())
                && let Some(facts) = facts(&self.reader, number)?
            {
                orphans.push(facts);
            }
        }
        orphans.sort_unstable_by_key(|facts| facts.id);
        match self.repository.put_index_files(orphans, &[]) {
            Ok(_) => Ok(true),
            // No room: it can wait.
            Err(RepositoryError::Store(StoreError { kind: StoreErrorKind::Full, .. })) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Facts, from the packs' own directories, of every listed pack that this file names and `named` does not hold; `None` when a pack's
    /// own directory does not open: then the index file may be all that is known of it, and stays.
    fn facts_of_listed(&self, file: &Listed, named: &HashSet<PackId>) -> Result<Option<Vec<PackFacts>>, PruneError> {
        let mut found = Vec::new();
        for id in file.packs.iter().filter(|id| self.listed.contains_key(*id) && !named.contains(*id)) {
            let Some(number) = self.reader.number(id) else { return Ok(None) };
            let Some(facts) = facts(&self.reader, number)? else { return Ok(None) };
            found.push(facts);
        }
        Ok(Some(found))
    }

    /// Which packs each index file names; each is read once and then stands in the cache. And those whose bytes are not those of their
    /// name any more.
    fn list_index_files(&self) -> Result<(Vec<Listed>, Vec<IndexId>), PruneError> {
        let (mut listed, mut rotten) = (Vec::new(), Vec::new());
        for (id, entry) in self.repository.list_index_files()? {
            self.stop.check()?;
            let note = format!("packs of {}", entry.name).into_bytes();
            let kept = self.reader.with_catalog(|catalog| catalog.recall(&note)).map_err(RepositoryError::from)?;
            let packs: Vec<PackId> = match kept {
                Some(kept) => kept.chunks_exact(PackId::SIZE).filter_map(PackId::from_slice).collect(),
                None => {
                    let sealed = match self.repository.get_listed(&entry.name, limits::INDEX_SIZE_MAX) {
                        Ok(Some(sealed)) => sealed,
                        // Merged by another prune.
                        Ok(None) => continue,
                        // Larger than any, or unreadable: nothing in it is needed, since its packs are known from themselves.
                        Err(error) => {
                            listed::fault(error)?;
                            rotten.push(id);
                            continue;
                        }
                    };
                    // One that is whole and does not open may be of a newer program; its packs are known from themselves.
                    let Ok(file) = self.repository.objects().open_index_file(id, &sealed) else {
                        rotten.extend((*blake3::hash(&sealed).as_bytes() != id.0).then_some(id));
                        continue;
                    };
                    let packs: Vec<PackId> = file.packs.iter().map(|facts| facts.id).collect();
                    let value: Vec<u8> = packs.iter().flat_map(|id| *id.as_bytes()).collect();
                    self.reader.with_catalog(|catalog| catalog.remember(&note, Some(&value))).map_err(RepositoryError::from)?;
                    packs
                }
            };
            listed.push(Listed { id, size: entry.size, packs });
        }
        Ok((listed, rotten))
    }
}
