//! Facts of packs, index files that were read, and small notes of the caller. The tables `packs`, `directories`, `index_files`, `meta`.

use rusqlite::{OptionalExtension, Row, Transaction, TransactionBehavior};

use super::database::{Database, Fault};
use super::tag::{TAG, Table, same};
use super::{PackNumber, PackRow};
use crate::id::{IndexId, PackId};

/// A row of `packs`: a pack without its directory.
struct Pack {
    number: i64,
    id: [u8; 32],
    size: i64,
    header: [u8; 128],
    directory_sealed_length: u32,
    class: u8,
}

const PACK: &str = "number, id, size, header, directory_sealed_length, class, tag";

impl Database {
    /// A transaction that will write: it waits for other writers now rather than failing at its first write.
    pub(super) fn writing(&self) -> Result<Transaction<'_>, Fault> {
        Ok(Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?)
    }

    /// The number of a pack.
    pub(super) fn pack_number(&self, id: &PackId) -> Result<Option<PackNumber>, Fault> {
        let mut select = self.connection.prepare_cached(&format!("SELECT {PACK} FROM packs WHERE id = ?1"))?;
        let mut rows = select.query([id.as_bytes()])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let pack = self.check_pack(row)?;
        // SQLite came here through an index that has no tag.
        if pack.id == id.0 { Ok(Some(PackNumber(pack.number))) } else { Err(Fault::bad_tag(Table::Pack)) }
    }

    /// Every pack, in order of number.
    pub(super) fn packs(&self, each: &mut dyn FnMut(PackNumber, PackId, u64)) -> Result<(), Fault> {
        let mut select = self.connection.prepare_cached(&format!("SELECT {PACK} FROM packs ORDER BY number"))?;
        let mut rows = select.query(())?;
        while let Some(row) = rows.next()? {
            let pack = self.check_pack(row)?;
            each(PackNumber(pack.number), PackId(pack.id), pack.size.cast_unsigned());
        }
        Ok(())
    }

    /// A pack and its directory.
    pub(super) fn pack(&self, number: PackNumber) -> Result<Option<PackRow>, Fault> {
        let mut select = self.connection.prepare_cached(&format!("SELECT {PACK} FROM packs WHERE number = ?1"))?;
        let mut rows = select.query([number.0])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let pack = self.check_pack(row)?;
        let mut select = self.connection.prepare_cached("SELECT directory, tag FROM directories WHERE number = ?1")?;
        let found: Option<(Vec<u8>, Vec<u8>)> = select.query_row([number.0], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((directory, tag)) = found else { return Ok(None) };
        if pack.number != number.0 || !same(&tag, &self.directory_tag(number, &pack.id, &directory)) {
            return Err(Fault::bad_tag(Table::Directory));
        }
        Ok(Some(PackRow {
            id: PackId(pack.id),
            size: pack.size.cast_unsigned(),
            header: pack.header,
            directory_sealed_length: pack.directory_sealed_length,
            class: pack.class,
            directory,
        }))
    }

    /// The highest number given so far.
    pub(super) fn last_number(&self) -> Result<PackNumber, Fault> {
        let mut select = self.connection.prepare_cached("SELECT max(number) FROM packs")?;
        Ok(PackNumber(select.query_row((), |row| row.get::<_, Option<i64>>(0))?.unwrap_or(0)))
    }

    /// Puts a pack that is not there yet. Inside the caller's transaction.
    pub(super) fn insert_pack(&self, number: PackNumber, pack: &PackRow) -> Result<(), Fault> {
        let row = Pack {
            number: number.0,
            id: pack.id.0,
            size: pack.size.cast_signed(),
            header: pack.header,
            directory_sealed_length: pack.directory_sealed_length,
            class: pack.class,
        };
        self.connection.prepare_cached(&format!("INSERT INTO packs ({PACK}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"))?.execute((
            row.number,
            row.id.as_slice(),
            row.size,
            row.header.as_slice(),
            row.directory_sealed_length,
            row.class,
            self.pack_tag(&row).as_slice(),
        ))?;
        let tag = self.directory_tag(number, &pack.id.0, &pack.directory);
        // A directory without its pack is what a torn file may hold; it says nothing, and its number is taken now.
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO directories (number, directory, tag) VALUES (?1, ?2, ?3)")?
            .execute((number.0, pack.directory.as_slice(), tag.as_slice()))?;
        Ok(())
    }

    /// Removes packs, their directories, their chunks. Inside the caller's transaction.
    pub(super) fn remove_packs(&self, packs: &[PackNumber]) -> Result<(), Fault> {
        for number in packs {
            self.connection.prepare_cached("DELETE FROM packs WHERE number = ?1")?.execute([number.0])?;
            self.connection.prepare_cached("DELETE FROM directories WHERE number = ?1")?.execute([number.0])?;
        }
        self.remove_chunks(packs)
    }

    /// Every index file that was read, with the packs it names.
    pub(super) fn index_files(&self, each: &mut dyn FnMut(IndexId, Vec<PackId>)) -> Result<(), Fault> {
        let mut select = self.connection.prepare_cached("SELECT id, packs, tag FROM index_files")?;
        let mut rows = select.query(())?;
        while let Some(row) = rows.next()? {
            let (id, packs) = self.check_index_file(row)?;
            each(id, packs);
        }
        Ok(())
    }

    /// Notes that an index file was read. Inside the caller's transaction.
    pub(super) fn insert_index_file(&self, id: &IndexId, packs: &[PackId]) -> Result<(), Fault> {
        let packs: Vec<u8> = packs.iter().flat_map(|id| *id.as_bytes()).collect();
        let tag = self.tagger.tag(Table::IndexFile, &[id.as_bytes(), &packs]);
        self.connection.prepare_cached("INSERT OR REPLACE INTO index_files (id, packs, tag) VALUES (?1, ?2, ?3)")?.execute((
            id.as_bytes(),
            packs,
            tag.as_slice(),
        ))?;
        Ok(())
    }

    /// Forgets that index files were read. Inside the caller's transaction.
    pub(super) fn remove_index_files(&self, ids: &[IndexId]) -> Result<(), Fault> {
        for id in ids {
            self.connection.prepare_cached("DELETE FROM index_files WHERE id = ?1")?.execute([id.as_bytes()])?;
        }
        Ok(())
    }

    /// The value under `key`.
    pub(super) fn meta(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let mut select = self.connection.prepare_cached("SELECT value, tag FROM meta WHERE key = ?1")?;
        let found: Option<(Vec<u8>, Vec<u8>)> = select.query_row([key], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((value, tag)) = found else { return Ok(None) };
        if same(&tag, &self.tagger.tag(Table::Meta, &[key, &value])) { Ok(Some(value)) } else { Err(Fault::bad_tag(Table::Meta)) }
    }

    /// Puts `value` under `key`, or removes the key.
    pub(super) fn put_meta(&self, key: &[u8], value: Option<&[u8]>) -> Result<(), Fault> {
        match value {
            Some(value) => {
                let tag = self.tagger.tag(Table::Meta, &[key, value]);
                self.connection.prepare_cached("INSERT OR REPLACE INTO meta (key, value, tag) VALUES (?1, ?2, ?3)")?.execute((
                    key,
                    value,
                    tag.as_slice(),
                ))?;
            }
            None => {
                self.connection.prepare_cached("DELETE FROM meta WHERE key = ?1")?.execute([key])?;
            }
        }
        Ok(())
    }

    fn check_pack(&self, row: &Row<'_>) -> Result<Pack, Fault> {
        let pack = Pack {
            number: row.get(0)?,
            id: row.get(1)?,
            size: row.get(2)?,
            header: row.get(3)?,
            directory_sealed_length: row.get(4)?,
            class: row.get(5)?,
        };
        let tag = row.get_ref(6)?.as_blob().map_err(rusqlite::Error::from)?;
        if same(tag, &self.pack_tag(&pack)) { Ok(pack) } else { Err(Fault::bad_tag(Table::Pack)) }
    }

    fn pack_tag(&self, pack: &Pack) -> [u8; TAG] {
        let fields: [&[u8]; 6] = [
            &pack.number.to_le_bytes(),
            &pack.id,
            &pack.size.to_le_bytes(),
            &pack.header,
            &pack.directory_sealed_length.to_le_bytes(),
            &[pack.class],
        ];
        self.tagger.tag(Table::Pack, &fields)
    }

    fn directory_tag(&self, number: PackNumber, id: &[u8; 32], directory: &[u8]) -> [u8; TAG] {
        self.tagger.tag(Table::Directory, &[&number.0.to_le_bytes(), id, directory])
    }

    fn check_index_file(&self, row: &Row<'_>) -> Result<(IndexId, Vec<PackId>), Fault> {
        let id: [u8; 32] = row.get(0)?;
        let packs = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        let tag = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
        if !same(tag, &self.tagger.tag(Table::IndexFile, &[&id, packs])) {
            return Err(Fault::bad_tag(Table::IndexFile));
        }
        Ok((IndexId(id), packs.chunks_exact(PackId::SIZE).filter_map(PackId::from_slice).collect()))
    }
}
