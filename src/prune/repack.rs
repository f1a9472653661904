//! Repacking: what is still used of packs that are to go is stored again, before anything is condemned.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::choose::Choice;
use super::plan::PackUse;
use super::{PruneError, Pruner};
use crate::format::pack::PackFacts;
use crate::format::{FormatError, names};
use crate::monitor::{Phase, Problem};
use crate::repository::RepositoryError;
use crate::repository::packing::Packer;
use crate::store::{StoreError, StoreErrorKind};

impl Pruner {
    /// Stores the chosen chunks of these packs in new packs of the same class and generation, each rebuilt and its id recomputed. Returns
    /// the packs whose chosen chunks are all durable and indexed now; none when the store is too full.
    pub(super) fn repack(&mut self, packs: &[PackUse], choice: &Choice) -> Result<Vec<PackUse>, PruneError> {
        self.monitor.begin(Phase::Repack, packs.len() as u64, packs.iter().map(|pack| pack.used).sum());
        let mut packers: HashMap<u32, Packer> = HashMap::new();
        let mut done = Vec::new();
        let stored = self.repack_into(packs, choice, &mut packers, &mut done);
        match stored {
            Ok(()) => {
                self.summary.packs_repacked += done.len() as u64;
                Ok(done)
            }
            // What can go without storing anything makes room for the next time.
            Err(PruneError::Repository(RepositoryError::Store(StoreError { kind: StoreErrorKind::Full, .. }))) => {
                self.summary.too_full_to_repack = true;
                self.note_written(&mut packers);
                Ok(Vec::new())
            }
            Err(error) => Err(error),
        }
    }

    fn repack_into(
        &mut self,
        packs: &[PackUse],
        choice: &Choice,
        packers: &mut HashMap<u32, Packer>,
        done: &mut Vec<PackUse>,
    ) -> Result<(), PruneError> {
        let mut facts: Vec<PackFacts> = Vec::new();
        for pack in packs {
            self.stop.check()?;
            self.changed = true;
            let packer = match packers.entry(pack.generation) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(self.repository.packer_of(pack.generation)?),
            };
            match self.copy_chosen(pack, choice, packer) {
                Ok(()) => done.push(*pack),
                // Another prune deleted it since it was listed.
                Err(RepositoryError::Store(StoreError { kind: StoreErrorKind::Missing, .. })) => {}
                Err(
                    error @ (RepositoryError::Object { .. }
                    | RepositoryError::ChunkDamaged { .. }
                    | RepositoryError::ChunkMissing(_)),
                ) => {
                    // It stays, with what it still gives; whatever of it was copied is there twice.
                    self.monitor.problem(Problem {
                        subject: names::pack_name(pack.id).as_str().as_bytes().to_vec(),
                        detail: format!("not repacked: {error}"),
                    });
                }
                Err(error) => return Err(error.into()),
            }
            self.monitor.advance(1, pack.used);
        }
        for packer in packers.values_mut() {
            packer.flush()?;
            for stored in packer.drain_stored() {
                self.summary.bytes_written += stored.facts.size + stored.parity_size;
                facts.push(stored.facts);
            }
        }
        self.written.extend(facts.iter().map(|facts| facts.id));
        self.repository.put_index_files(facts.clone(), &[])?;
        self.reader.with_catalog(|catalog| catalog.learn(&facts, true))?;
        Ok(())
    }

    fn copy_chosen(&self, pack: &PackUse, choice: &Choice, packer: &mut Packer) -> Result<(), RepositoryError> {
        let facts = self.reader.facts(pack.number)?;
        for row in choice.rows(pack.number).iter() {
            let Some(chunk) = facts.directory.chunks.get(row as usize) else {
                let source = FormatError::field("pack", "directory", "is not the one that was marked");
                return Err(RepositoryError::Object { object: names::pack_name(pack.id).to_string(), source });
            };
            // Rebuilt, and its id recomputed. A composed chunk becomes a literal one: it needs its bases no longer.
            let bytes = self.reader.read_copy_mended(chunk.chunk_type, &chunk.id, pack.number, row)?;
            packer.append(chunk.chunk_type, chunk.id, &bytes)?;
        }
        packer.take_ready()
    }

    /// After a full store: which packs were stored all the same. They are listed, and will be found; only what is in them is not indexed.
    fn note_written(&mut self, packers: &mut HashMap<u32, Packer>) {
        for packer in packers.values_mut() {
            self.written.extend(packer.drain_stored().into_iter().map(|stored| stored.facts.id));
        }
    }
}
