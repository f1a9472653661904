//! [`Cache`]: the door. Every call goes to the file. When something is wrong with the file, an empty one takes its place and the call
//! returns [`CacheError::Reset`].

use std::cell::{Cell, RefCell};
use std::path::Path;

use super::database::{Database, Fault};
use super::file::Place;
use super::tag::Tagger;
use super::{CacheError, ChunkKey, FolderRecord, NewPack, PackNumber, PackRow, PieceTable, StoredCopy};
use crate::clock::{SystemRng, random};
use crate::id::{ChunkId, IndexId, PackId, RepositoryId};

/// A disk on which the cache has to be dropped this often in one run cannot hold one.
const RESETS_MAX: u64 = 8;

/// The cache of one repository. The page of this room (`mod.rs`) says what it promises.
pub struct Cache {
    place: RefCell<Place>,
    repository: Tagger,
    /// Upper half of the last number given.
    last: i64,
    remarks: RefCell<Vec<String>>,
    /// How often it was dropped since it was opened.
    resets: Cell<u64>,
    /// A call out of a look-up met damage: the next one drops the file.
    suspect: Cell<bool>,
    unusable: Cell<bool>,
    /// Chunks may have arrived that are not sorted in. Every call that tells of packs sets it, so that a caller who knows a pack finds
    /// its chunks, also when another process put them. To check before every look-up would double the cost of small ones.
    unsettled: Cell<bool>,
}

impl Cache {
    /// Opens the cache in `folder`. The folder is made with mode 0700 when it is missing, and nothing else may be in it. When something
    /// is wrong with the cache or the folder, the result is an empty cache, in a temporary folder if need be, and
    /// [`Cache::take_remarks`] says so.
    pub fn open(folder: &Path, repository: &RepositoryId, cache_key: &[u8; 32]) -> Result<Self, CacheError> {
        let repository = Tagger::of_repository(repository, cache_key);
        let mut remarks = Vec::new();
        let place = Place::open(folder, &repository, &mut remarks).map_err(unusable)?;
        Ok(Self::at(place, repository, remarks))
    }

    /// A cache in a private temporary folder, which is removed when the cache is dropped: for one run, and for tests.
    pub fn temporary(repository: &RepositoryId, cache_key: &[u8; 32]) -> Result<Self, CacheError> {
        let repository = Tagger::of_repository(repository, cache_key);
        let place = Place::private(&repository).map_err(unusable)?;
        Ok(Self::at(place, repository, Vec::new()))
    }

    fn at(place: Place, repository: Tagger, remarks: Vec<String>) -> Self {
        Self {
            place: RefCell::new(place),
            repository,
            last: 0,
            remarks: RefCell::new(remarks),
            resets: Cell::new(0),
            suspect: Cell::new(false),
            unusable: Cell::new(false),
            unsettled: Cell::new(true),
        }
    }

    /// How often the cache was dropped since it was opened.
    pub fn resets(&self) -> u64 {
        self.resets.get()
    }

    /// What a person should know about the cache since the last time this was asked.
    pub(crate) fn take_remarks(&self) -> Vec<String> {
        self.remarks.take()
    }

    // -- look-ups ----------------------------------------------------------------------------------

    /// Calls `each` with a position in `wanted` and a copy, for every copy of every wanted chunk, in no useful order. Batches of
    /// thousands cost least for each key. Whether a pack still exists is not known here: a listing says so.
    pub fn find(&self, wanted: &[ChunkKey], each: &mut dyn FnMut(usize, StoredCopy)) -> Result<(), CacheError> {
        self.run(|database| {
            self.settle(database)?;
            database.find(wanted, each)
        })
    }

    /// The number of a pack that is in the cache.
    pub(crate) fn pack_number(&self, id: &PackId) -> Result<Option<PackNumber>, CacheError> {
        self.run_learning(|database| database.pack_number(id))
    }

    /// Every pack with its size in bytes, in order of number. Reads no directories.
    pub fn packs(&self, each: &mut dyn FnMut(PackNumber, PackId, u64)) -> Result<(), CacheError> {
        self.run_learning(|database| database.packs(each))
    }

    /// Facts of one pack with its directory.
    pub fn pack(&self, number: PackNumber) -> Result<Option<PackRow>, CacheError> {
        self.run(|database| database.pack(number))
    }

    /// Every index file that was read, with the packs it names.
    pub(crate) fn index_files(&self, each: &mut dyn FnMut(IndexId, Vec<PackId>)) -> Result<(), CacheError> {
        self.run_learning(|database| database.index_files(each))
    }

    /// A small note of the caller.
    pub fn meta(&self, key: &[u8]) -> Result<Option<Vec<u8>>, CacheError> {
        self.run(|database| database.meta(key))
    }

    /// What a folder looked like last time: the pages as they were put.
    pub(crate) fn folder_state(&self, host: &str, source: &str, path: &[u8]) -> Result<Option<Vec<Vec<u8>>>, CacheError> {
        self.run(|database| database.folder_state(host, source, path))
    }

    // -- what is learnt ----------------------------------------------------------------------------

    /// Remembers packs and, in the same transaction, that the index file which names them was read. A pack that is known already stays
    /// as it is, because facts do not change. Returns the number of each, in the order given.
    pub fn add_packs(&mut self, packs: &[NewPack], index_file: Option<&IndexId>) -> Result<Vec<PackNumber>, CacheError> {
        let mut last = self.last;
        let numbers = self.write(|database| {
            let mut numbers = Vec::with_capacity(packs.len());
            for pack in packs {
                if let Some(number) = database.pack_number(&pack.row.id)? {
                    numbers.push(number);
                    continue;
                }
                let number = next_number(database, &mut last)?;
                database.insert_pack(number, &pack.row)?;
                database.append_chunks(number, &pack.chunks)?;
                numbers.push(number);
            }
            if let Some(index_file) = index_file {
                let ids: Vec<PackId> = packs.iter().map(|pack| pack.row.id).collect();
                database.insert_index_file(index_file, &ids)?;
            }
            Ok(numbers)
        })?;
        self.last = last;
        self.unsettled.set(true);
        Ok(numbers)
    }

    /// Remembers that an index file names these packs. Facts about them come from elsewhere.
    pub(crate) fn add_index_file(&mut self, id: &IndexId, packs: &[PackId]) -> Result<(), CacheError> {
        self.write(|database| database.insert_index_file(id, packs))
    }

    /// Forgets packs with their chunks. It reads the whole table of chunks once, so hand over all packs at once.
    pub(crate) fn forget_packs(&mut self, packs: &[PackNumber]) -> Result<(), CacheError> {
        if packs.is_empty() {
            return Ok(());
        }
        self.write(|database| database.remove_packs(packs))
    }

    /// Forgets that index files were read, so that they are read again if they are ever listed.
    pub(crate) fn forget_index_files(&mut self, ids: &[IndexId]) -> Result<(), CacheError> {
        self.write(|database| database.remove_index_files(ids))
    }

    /// Puts a small note (`None` removes it); at most 16 MiB.
    pub(crate) fn put_meta(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), CacheError> {
        self.write(|database| database.put_meta(key, value))
    }

    /// Puts many small notes in one transaction.
    pub(crate) fn put_metas(&mut self, notes: &[(Vec<u8>, Vec<u8>)]) -> Result<(), CacheError> {
        self.write(|database| notes.iter().try_for_each(|(key, value)| database.put_meta(key, Some(value))))
    }

    /// Remembers what folders look like, in one transaction: hand over hundreds at once.
    pub(crate) fn put_folder_states(&mut self, host: &str, source: &str, states: &[FolderRecord]) -> Result<(), CacheError> {
        self.write(|database| {
            let stamp = i64::from_le_bytes(bits()?);
            states.iter().try_for_each(|state| database.put_folder_state(host, source, state, stamp))
        })
    }

    /// How many folders of a source are remembered.
    pub(crate) fn count_folder_states(&self, host: &str, source: &str) -> Result<u64, CacheError> {
        self.run(|database| database.count_folder_states(host, source))
    }

    /// Forgets the records of those folders of a source that `keep` denies.
    pub(crate) fn retain_folder_states(
        &mut self,
        host: &str,
        source: &str,
        keep: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<(), CacheError> {
        self.write(|database| database.retain_folder_states(host, source, keep))
    }

    /// The chunks of a table of pieces with the numbers of their rows, in the order in which they came. The rows are not checked.
    pub fn piece_chunks(&self, table: PieceTable) -> Result<Vec<(i64, ChunkId)>, CacheError> {
        self.run(|database| database.piece_chunks(table))
    }

    /// What was put into a table of pieces for a chunk.
    pub fn pieces(&self, table: PieceTable, chunk: &ChunkId) -> Result<Option<Vec<u8>>, CacheError> {
        self.run(|database| database.pieces(table, chunk))
    }

    /// Puts rows into a table of pieces, in one transaction: hand over hundreds at once.
    pub fn put_pieces(&mut self, table: PieceTable, rows: &[(ChunkId, Vec<u8>)]) -> Result<(), CacheError> {
        self.write(|database| database.put_pieces(table, rows))
    }

    /// Forgets rows of tables of pieces by their numbers.
    pub fn forget_pieces(&mut self, numbers: &[i64]) -> Result<(), CacheError> {
        self.write(|database| database.forget_pieces(numbers))
    }

    /// Bytes that the rows of a table of pieces hold. Reads the head of each.
    pub fn pieces_bytes(&self, table: PieceTable) -> Result<u64, CacheError> {
        self.run(|database| database.pieces_bytes(table))
    }

    // -- what goes wrong ---------------------------------------------------------------------------

    /// Drops the cache.
    #[cfg(test)]
    pub(super) fn drop_all(&mut self, reason: &str) -> Result<(), CacheError> {
        match self.reset(Fault::Damaged(reason.to_owned())) {
            CacheError::Reset(_) => Ok(()),
            error => Err(error),
        }
    }

    fn write<T>(&self, work: impl FnOnce(&Database) -> Result<T, Fault>) -> Result<T, CacheError> {
        self.run(|database| {
            let transaction = database.writing()?;
            let done = work(database)?;
            transaction.commit()?;
            Ok(done)
        })
    }

    fn settle(&self, database: &Database) -> Result<(), Fault> {
        if self.unsettled.get() {
            database.settle()?;
            self.unsettled.set(false);
        }
        Ok(())
    }

    /// As [`Cache::run`], for a call that may tell of packs which another process put.
    fn run_learning<T>(&self, work: impl FnOnce(&Database) -> Result<T, Fault>) -> Result<T, CacheError> {
        self.unsettled.set(true);
        self.run(work)
    }

    fn run<T>(&self, work: impl FnOnce(&Database) -> Result<T, Fault>) -> Result<T, CacheError> {
        if self.unusable.get() {
            return Err(CacheError::Unusable("it had to be dropped too often".into()));
        }
        if self.suspect.take() {
            return Err(self.reset(Fault::Damaged("a call out of a look-up met a bad row".into())));
        }
        let result = {
            let place = self.place.borrow();
            work(&place.database)
        };
        result.map_err(|fault| self.reset(fault))
    }

    /// Puts an empty cache in place of this one; the error to return.
    fn reset(&self, fault: Fault) -> CacheError {
        let Ok(mut place) = self.place.try_borrow_mut() else {
            // The callback of a look-up made this call and still has the file open, so the next call drops it.
            self.suspect.set(true);
            return CacheError::Reset(fault.text().to_owned());
        };
        let resets = self.resets.get() + 1;
        self.resets.set(resets);
        let successor = if resets > RESETS_MAX {
            Err(Fault::Refused(format!("it had to be dropped too often, at last because of: {}", fault.text())))
        } else {
            place.successor(&fault, &self.repository, &mut self.remarks.borrow_mut())
        };
        match successor {
            Ok(successor) => {
                *place = successor;
                self.unsettled.set(true);
                CacheError::Reset(fault.text().to_owned())
            }
            Err(fault) => {
                self.unusable.set(true);
                unusable(fault)
            }
        }
    }
}

/// The number after the last one, with fresh low bits.
fn next_number(database: &Database, last: &mut i64) -> Result<PackNumber, Fault> {
    let upper = (*last).max(database.last_number()?.0 >> 32) + 1;
    if upper > i64::from(i32::MAX) {
        return Err(Fault::Damaged("its packs have no number left".into()));
    }
    *last = upper;
    Ok(PackNumber(upper << 32 | i64::from(u32::from_le_bytes(bits()?))))
}

fn bits<const N: usize>() -> Result<[u8; N], Fault> {
    random(&SystemRng).map_err(|error| Fault::Refused(error.to_string()))
}

fn unusable(fault: Fault) -> CacheError {
    CacheError::Unusable(fault.text().to_owned())
}
