//! The catalogs of a repository: where their caches lie, and in which order they are brought up to date.

use std::collections::HashMap;
use std::sync::Arc;

use crate::cache::{Cache, Memo};
use crate::catalog::{Catalog, Condemned, FactsFrom, list_index_files, list_packs, own_facts, own_facts_mended, put_index_files};
use crate::format::pack::PackFacts;
use crate::id::{IndexId, ObjectHash, PackId};
use crate::monitor::Monitor;
use crate::planted;
use crate::records::gc::{Book, GcState, SnapshotsSeen};
use crate::repository::{Repository, RepositoryError};
use crate::store::Entry;

/// What an acknowledgement of a listing of `gc/` says.
#[derive(Clone, Debug, Default)]
pub struct GcSeen {
    /// The highest number without a gap that was understood.
    pub number: u64,
    /// Condemn records without a verdict that were read under their hash.
    pub records: Vec<ObjectHash>,
}

impl GcState {
    /// What they say of packs, and what an acknowledgement says of them.
    pub(crate) fn split(self) -> (Condemned, GcSeen) {
        (Condemned { bad: Arc::new(self.bad), deleted: self.deleted }, GcSeen { number: self.number, records: self.seen })
    }
}

impl Repository {
    /// The catalog by index files; without a folder for its cache, one that lives as long as this process.
    pub fn open_catalog(&self) -> Result<Catalog, RepositoryError> {
        Ok(Catalog::new(self.open_cache()?, FactsFrom::IndexFiles))
    }

    /// The catalog by what packs say of themselves, and by nothing else. The key of its cache is the owner's alone:
    /// whoever holds a writer key and can write on this disk must not be able to put words into the mouths of packs.
    pub(crate) fn open_pack_catalog(&self) -> Result<Catalog, RepositoryError> {
        let Some(root) = self.objects.keys.root() else { return Err(RepositoryError::NeedsOwner("reading packs")) };
        let key = zeroize::Zeroizing::new(blake3::derive_key("esker 2026-11 v1 cache of packs", root.expose()));
        let cache = match &self.cache {
            Some(folder) => Cache::open(&folder.join("packs"), &self.id(), &key)?,
            None => Cache::temporary(&self.id(), &key)?,
        };
        Ok(Catalog::new(cache, FactsFrom::Packs))
    }

    /// The same, empty and for this run alone: verification believes no cache.
    pub(crate) fn fresh_pack_catalog(&self) -> Result<Catalog, RepositoryError> {
        Ok(Catalog::new(Cache::temporary(&self.id(), &self.objects.keys.cache_key())?, FactsFrom::Packs))
    }

    /// Notes of what chunks of another repository are called here, for copying. The key of their cache needs the other
    /// one's root: whoever holds a writer key here and can write on this disk must not be able to put another chunk in
    /// the place of one that is copied.
    pub(crate) fn open_copy_memo(&self, from: &Repository) -> Result<Box<dyn Memo>, RepositoryError> {
        let Some(root) = from.objects.keys.root() else {
            return Err(RepositoryError::NeedsOwner("copying snapshots out of a repository"));
        };
        let mut hasher = blake3::Hasher::new_derive_key("esker 2026-11 v1 cache of copies");
        hasher.update(root.expose()).update(&self.id().0).update(&self.objects.keys.cache_key());
        let key = zeroize::Zeroizing::new(*hasher.finalize().as_bytes());
        let cache = match &self.cache {
            Some(folder) => Cache::open(&folder.join("copied").join(from.id().to_hex()), &self.id(), &key)?,
            None => Cache::temporary(&self.id(), &key)?,
        };
        Ok(Box::new(cache))
    }

    /// Sizes in bytes of every listed pack.
    ///
    /// # Errors
    /// The store's.
    pub fn list_packs(&self) -> Result<HashMap<PackId, u64>, RepositoryError> {
        Ok(list_packs(&self.objects)?)
    }

    /// Every listed index file, in the order of ids.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn list_index_files(&self) -> Result<Vec<(IndexId, Entry)>, RepositoryError> {
        Ok(list_index_files(&self.objects)?)
    }

    /// What gc records say; those that `memo` holds are not read again.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn gc_state(&self, memo: &mut dyn Memo) -> Result<GcState, RepositoryError> {
        Ok(self.records().gc_state(memo)?)
    }

    /// What all gc records say together.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn gc_book(&self, memo: &mut dyn Memo) -> Result<Book, RepositoryError> {
        Ok(self.records().gc_book(memo)?)
    }

    /// Snapshots that earlier prunes saw, and the hashes of their objects.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn snapshots_seen_by_prunes(&self, memo: &mut dyn Memo) -> Result<SnapshotsSeen, RepositoryError> {
        Ok(self.records().snapshots_seen(memo)?)
    }

    /// What gc records say of packs now.
    ///
    /// # Errors
    /// The store's.
    pub fn condemned(&self) -> Result<Condemned, RepositoryError> {
        Ok(self.gc_state(&mut self.open_cache()?)?.split().0)
    }

    /// What a listed pack of this size in bytes says of itself.
    ///
    /// # Errors
    /// An object error when it does not open or has another size than it says; the store's.
    pub fn own_facts(&self, id: &PackId, size: u64) -> Result<PackFacts, RepositoryError> {
        Ok(own_facts(&self.objects, id, size)?)
    }

    /// The same through parity when its directory is damaged; the damage comes with the facts. `must_fit`: it must have
    /// the size that it says.
    ///
    /// # Errors
    /// What is damaged, when parity does not help; the store's.
    pub(crate) fn own_facts_mended(
        &self,
        id: &PackId,
        size: u64,
        must_fit: bool,
    ) -> Result<(PackFacts, Option<RepositoryError>), RepositoryError> {
        let (facts, damage) = own_facts_mended(&self.objects, id, size, must_fit)?;
        Ok((facts, damage.map(Into::into)))
    }

    /// Puts index files that name these durable packs; the first one says that it replaces `replaces`. Returns their
    /// ids.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn put_index_files(&self, packs: Vec<PackFacts>, replaces: &[IndexId]) -> Result<Vec<IndexId>, RepositoryError> {
        let mut ids = Vec::new();
        put_index_files(&self.objects, packs, replaces, &mut |id, _, _| {
            ids.push(id);
            Ok(())
        })?;
        Ok(ids)
    }

    /// S1 and S2: lists gc records, then packs, and learns what is new (R12).
    ///
    /// # Errors
    /// The store's.
    pub fn sync(&self, catalog: &mut Catalog, monitor: &dyn Monitor) -> Result<GcSeen, RepositoryError> {
        let early = if planted::is("packs-listed-before-gc") { Some(list_packs(&self.objects)?) } else { None };
        let (condemned, seen) = self.gc_state(catalog)?.split();
        let listed = match early {
            Some(listed) => listed,
            None => list_packs(&self.objects)?,
        };
        catalog.sync(&self.objects, condemned, listed, monitor)?;
        Ok(seen)
    }
}
