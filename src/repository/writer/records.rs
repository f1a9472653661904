//! What a session puts beside its packs: index files and acknowledgements.

use std::collections::HashSet;

use super::{ROUNDS_BLOCKED_MAX, Writer};
use crate::cache::CacheError;
use crate::format::index::{self, IndexFile};
use crate::format::names;
use crate::id::PackId;
use crate::planted;
use crate::repository::packing::create_same;
use crate::repository::{RepositoryError, gc, reindex};

impl Writer {
    /// D2: an index file that names only durable packs.
    pub(super) fn put_index(&mut self) -> Result<(), RepositoryError> {
        self.indexed_at = self.repository.clock.monotonic();
        if self.unindexed.is_empty() || self.options.dry_run {
            return Ok(());
        }
        let mut packs = std::mem::take(&mut self.unindexed).into_iter().peekable();
        while packs.peek().is_some() {
            let mut file = IndexFile::default();
            let mut rows = 0;
            while let Some(next) = packs.next_if(|next| file.packs.is_empty() || index::fits(rows + index::row_length(next), 0)) {
                rows += index::row_length(&next);
                file.packs.push(next);
            }
            let (id, sealed) = index::seal(&self.repository.sealer, &file)?;
            create_same(&*self.repository.store, &names::index_name(id), &[&sealed])?;
            self.totals.bytes_stored += sealed.len() as u64;
            self.monitor.uploaded(sealed.len() as u64);
            reindex::mark_indexed(&mut self.cache, &id, &file.packs)?;
        }
        self.unindexed_chunks = 0;
        Ok(())
    }

    /// Packs whose facts this host knows from a run that died before its index file: listed, usable, and named by our index file now.
    pub(super) fn adopt_orphans(&mut self) -> Result<(), RepositoryError> {
        if self.options.dry_run {
            return Ok(());
        }
        for facts in reindex::unindexed_facts(&self.cache, &self.view)? {
            self.unindexed_chunks += facts.directory.chunks.len();
            self.unindexed.push(facts);
        }
        Ok(())
    }

    /// R8: lists gc/, drops new bad packs from the view, and pins those that this session relies on (I4).
    pub(super) fn acknowledge(&mut self) -> Result<(), RepositoryError> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let gc = match gc::read(&self.repository, &mut self.cache) {
            Err(RepositoryError::Cache(CacheError::Reset(_))) => gc::read(&self.repository, &mut self.cache)?,
            other => other?,
        };
        let own = self.packer.own();
        let own = if planted::is("own-packs-not-pinned") { HashSet::new() } else { own };
        let mut pins: Vec<PackId> = gc.bad.iter().filter(|id| self.used.contains(id) || own.contains(id)).copied().collect();
        if planted::is("pins-missing") {
            pins.clear();
        }
        pins.sort_unstable();
        for id in gc.bad.iter().filter(|_| !planted::is("bad-packs-stay-in-view")) {
            self.view.remove(id);
        }
        self.view.bad = gc.bad;
        self.view.gc_number = gc.number;
        session.acknowledge(&self.repository, gc.number, &gc.seen, &pins)?;
        self.acknowledged_at = self.repository.clock.monotonic();
        self.rounds_blocked = if gc.blocked_at.is_some() { self.rounds_blocked + 1 } else { 0 };
        match gc.blocked_at {
            Some(number) if self.rounds_blocked >= ROUNDS_BLOCKED_MAX => Err(RepositoryError::Inconclusive(format!(
                "gc record {number} has been unreadable for this run for long, and no prune can finish while it goes on: an owner's \
                 prune answers it"
            ))),
            _ => Ok(()),
        }
    }
}
