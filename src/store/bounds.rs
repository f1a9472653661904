//! What a listing of a server may hold. A server that lists without end must not keep a run from ending, nor fill the memory.

use std::fmt::Display;

use super::StoreError;

/// Rows of one listing. At 16 MiB a pack this is a third of an exabyte.
const ROWS_MAX: u64 = 20_000_000;
/// Folders that one listing goes into. A session or a forgotten snapshot has a folder of its own.
const FOLDERS_MAX: u64 = 1_000_000;

/// Counts what comes in one listing.
pub(super) struct Bounds<'a> {
    place: &'a dyn Display,
    rows: u64,
    folders: u64,
}

impl<'a> Bounds<'a> {
    /// Of a listing of this place.
    pub(super) fn new(place: &'a dyn Display) -> Self {
        Self { place, rows: 0, folders: 0 }
    }

    /// An answer with so many rows came. One without any counts too.
    pub(super) fn answer(&mut self, rows: usize) -> Result<(), StoreError> {
        self.rows = self.rows.saturating_add(rows.max(1) as u64);
        self.check(self.rows, ROWS_MAX, "rows")
    }

    /// A folder is to be gone into.
    pub(super) fn folder(&mut self) -> Result<(), StoreError> {
        self.folders += 1;
        self.check(self.folders, FOLDERS_MAX, "folders")
    }

    fn check(&self, count: u64, most: u64, what: &str) -> Result<(), StoreError> {
        match count > most {
            false => Ok(()),
            true => Err(StoreError::failed(format!("{}: the store lists more than {most} {what}", self.place))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_without_end_ends() {
        let mut bounds = Bounds::new(&"there");
        assert_eq!((0..).take_while(|_| bounds.answer(0).is_ok()).count() as u64, ROWS_MAX);
        let mut bounds = Bounds::new(&"there");
        assert!(bounds.answer(ROWS_MAX as usize).is_ok() && bounds.answer(1).is_err());
        let mut bounds = Bounds::new(&"there");
        assert_eq!((0..).take_while(|_| bounds.folder().is_ok()).count() as u64, FOLDERS_MAX);
    }
}
