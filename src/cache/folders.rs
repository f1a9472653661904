//! What each folder looked like last time: bytes of the caller, in pages. The table `folders`.
//!
//! A state may be large (a folder of a million files), so it comes in pages, each a row. All pages of one put carry its stamp (64
//! random bits), so that pages of two puts are never taken for one state.

use super::database::{Database, Fault};
use super::tag::{TAG, Table, same};

/// The state of one folder, to be remembered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FolderRecord {
    /// The folder's path as its source names it; raw bytes.
    pub path: Vec<u8>,
    /// What the caller wants back, in pages of at most 16 MiB.
    pub pages: Vec<Vec<u8>>,
}

/// Where a page belongs, and to which put.
struct Page<'a> {
    host: &'a str,
    source: &'a str,
    path: &'a [u8],
    page: i64,
    pages: i64,
    stamp: i64,
}

impl Database {
    /// The pages of a folder's state, as they were put.
    pub(super) fn folder_state(&self, host: &str, source: &str, path: &[u8]) -> Result<Option<Vec<Vec<u8>>>, Fault> {
        let mut select = self.connection.prepare_cached(
            "SELECT page, pages, stamp, value, tag FROM folders WHERE host = ?1 AND source = ?2 AND path = ?3 ORDER BY page",
        )?;
        let mut rows = select.query((host, source, path))?;
        let mut values = Vec::new();
        let mut first = None;
        while let Some(row) = rows.next()? {
            let page = Page { host, source, path, page: row.get(0)?, pages: row.get(1)?, stamp: row.get(2)? };
            let value: Vec<u8> = row.get(3)?;
            let tag = row.get_ref(4)?.as_blob().map_err(rusqlite::Error::from)?;
            if !same(tag, &self.page_tag(&page, &value)) {
                return Err(Fault::bad_tag(Table::Folder));
            }
            let put = (page.pages, page.stamp);
            if *first.get_or_insert(put) != put || usize::try_from(page.page) != Ok(values.len()) {
                return Ok(None);
            }
            values.push(value);
        }
        // A page that is missing makes the state unknown, as a file that lost its newest commits may have it.
        Ok(first.filter(|(pages, _)| usize::try_from(*pages) == Ok(values.len())).map(|_| values))
    }

    /// Puts the state of one folder in place of what was there. Inside the caller's transaction.
    pub(super) fn put_folder_state(&self, host: &str, source: &str, state: &FolderRecord, stamp: i64) -> Result<(), Fault> {
        self.remove_folder_state(host, source, &state.path)?;
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO folders (host, source, path, page, pages, stamp, value, tag) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        let pages = i64::try_from(state.pages.len()).unwrap_or(i64::MAX);
        for (page, value) in (0i64..).zip(&state.pages) {
            let tag = self.page_tag(&Page { host, source, path: &state.path, page, pages, stamp }, value);
            insert.execute((host, source, state.path.as_slice(), page, pages, stamp, value.as_slice(), tag.as_slice()))?;
        }
        Ok(())
    }

    /// Forgets the state of one folder. Inside the caller's transaction.
    pub(super) fn remove_folder_state(&self, host: &str, source: &str, path: &[u8]) -> Result<(), Fault> {
        self.connection
            .prepare_cached("DELETE FROM folders WHERE host = ?1 AND source = ?2 AND path = ?3")?
            .execute((host, source, path))?;
        Ok(())
    }

    /// How many folders of a source are remembered.
    pub(super) fn count_folder_states(&self, host: &str, source: &str) -> Result<u64, Fault> {
        let mut select =
            self.connection.prepare_cached("SELECT count(*) FROM folders WHERE host = ?1 AND source = ?2 AND page = 0")?;
        Ok(select.query_row((host, source), |row| row.get::<_, i64>(0))?.unsigned_abs())
    }

    /// Forgets the states of a source's folders for which `keep` says no; asked once or more often for each, in order of path.
    /// Inside the caller's transaction.
    pub(super) fn retain_folder_states(&self, host: &str, source: &str, keep: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), Fault> {
        let mut doomed: Vec<i64> = Vec::new();
        let mut select = self
            .connection
            .prepare_cached("SELECT number, path FROM folders WHERE host = ?1 AND source = ?2 ORDER BY path, page")?;
        let mut rows = select.query((host, source))?;
        while let Some(row) = rows.next()? {
            // The path's tag is not checked: the worst that follows is a folder read again.
            if !keep(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?) {
                doomed.push(row.get(0)?);
            }
        }
        drop(rows);
        let mut delete = self.connection.prepare_cached("DELETE FROM folders WHERE number = ?1")?;
        for number in doomed {
            delete.execute([number])?;
        }
        Ok(())
    }

    fn page_tag(&self, page: &Page<'_>, value: &[u8]) -> [u8; TAG] {
        let fields: [&[u8]; 7] = [
            page.host.as_bytes(),
            page.source.as_bytes(),
            page.path,
            &page.page.to_le_bytes(),
            &page.pages.to_le_bytes(),
            &page.stamp.to_le_bytes(),
            value,
        ];
        self.tagger.tag(Table::Folder, &fields)
    }
}
