//! What a session leaves in the cache of this host for the next one. All of it may be lost: then files are read again.

use super::Writer;
use crate::catalog::{FolderRecord, Memo};
use crate::repository::RepositoryError;

impl Writer {
    /// A note of an earlier run on this host, if the cache still has it.
    pub(crate) fn recall(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.catalog.recall(key).ok().flatten()
    }

    /// Leaves a note for the next run on this host. It may be lost.
    pub fn remember(&mut self, key: &[u8], value: &[u8]) {
        let _ = self.catalog.remember(key, Some(value));
    }

    /// What a folder looked like last time: the pages as they were put.
    pub fn folder_record(&self, host: &str, source: &str, path: &[u8]) -> Result<Option<Vec<Vec<u8>>>, RepositoryError> {
        Ok(self.catalog.folder_record(host, source, path)?)
    }

    /// Remembers what folders look like, in one transaction: hand over hundreds at once.
    pub(crate) fn put_folder_records(&mut self, host: &str, source: &str, records: &[FolderRecord]) -> Result<(), RepositoryError> {
        Ok(self.catalog.put_folder_records(host, source, records)?)
    }

    /// Forgets records of a source's folders that do not exist any more, when there are many against the `visited` ones.
    pub(crate) fn forget_gone_folders(
        &mut self,
        host: &str,
        source: &str,
        visited: u64,
        exists: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<(), RepositoryError> {
        if self.options.dry_run {
            return Ok(());
        }
        Ok(self.catalog.forget_gone_folders(host, source, visited, exists)?)
    }
}
