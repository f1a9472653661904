//! What a session puts beside its packs: index files and acknowledgements.

use std::collections::HashSet;

use super::{ROUNDS_BLOCKED_MAX, Writer};
use crate::format::pack::PackFacts;
use crate::id::PackId;
use crate::planted;
use crate::repository::RepositoryError;

impl Writer {
    /// A listed pack that no readable index file names, with facts from the pack itself: it goes into the next one.
    pub(crate) fn index_again(&mut self, facts: PackFacts) -> Result<(), RepositoryError> {
        self.catalog.index_again(facts);
        self.settle()
    }

    /// Puts and indexes everything in hand, and waits until it is durable.
    pub fn flush(&mut self) -> Result<(), RepositoryError> {
        if self.options.dry_run {
            return Ok(());
        }
        self.close_gathered()?;
        self.packer.flush()?;
        self.settle()?;
        self.put_index()
    }

    /// D2: an index file that names only durable packs.
    pub(super) fn put_index(&mut self) -> Result<(), RepositoryError> {
        self.indexed_at = self.repository.objects.clock.monotonic();
        if self.options.dry_run {
            return Ok(());
        }
        let Self { catalog, repository, totals, monitor, .. } = self;
        Ok(catalog.put_index_files(repository.objects(), &mut |bytes| {
            totals.bytes_stored += bytes;
            monitor.uploaded(bytes);
        })?)
    }

    /// Packs whose facts this host knows from a run that died before its index file: listed, usable, and named by our index file now.
    pub(super) fn adopt_orphans(&mut self) -> Result<(), RepositoryError> {
        if !self.options.dry_run {
            self.catalog.adopt_orphans()?;
        }
        Ok(())
    }

    /// R8: lists gc/, drops new bad packs from the view, and pins those that this session relies on (I4).
    pub(super) fn acknowledge(&mut self) -> Result<(), RepositoryError> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let gc = self.repository.gc_state(&mut self.catalog)?;
        let own = self.packer.own();
        let own = if planted::is("own-packs-not-pinned") { HashSet::new() } else { own };
        let mut pins: Vec<PackId> = gc.bad.iter().filter(|id| self.used.contains(id) || own.contains(id)).copied().collect();
        if planted::is("pins-missing") {
            pins.clear();
        }
        pins.sort_unstable();
        let blocked_at = gc.blocked_at;
        let (condemned, seen) = gc.split();
        self.catalog.condemn(condemned);
        session.acknowledge(&self.repository.records(), seen.number, &seen.records, &pins)?;
        self.acknowledged_at = self.repository.objects.clock.monotonic();
        self.rounds_blocked = if blocked_at.is_some() { self.rounds_blocked + 1 } else { 0 };
        match blocked_at {
            Some(number) if self.rounds_blocked >= ROUNDS_BLOCKED_MAX => Err(RepositoryError::Inconclusive(format!(
                "gc record {number} has been unreadable for this run for long, and no prune can finish while it goes on: an owner's \
                 prune answers it"
            ))),
            _ => Ok(()),
        }
    }
}
