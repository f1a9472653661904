//! One SQLite file: how it is opened, what its tables are, and what counts as wrong with it.
//!
//! Write-ahead log, `synchronous = NORMAL`: a commit costs no fsync, and a power cut loses the newest commits but tears nothing
//! (`OFF` would save two fsyncs per 16 MiB of log). Memory maps stay off: a truncated file must be an error, not a SIGBUS.

use std::path::Path;
use std::time::Duration;

use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

use super::tag::{Table, Tagger, same};

/// What SQLite may hold of a file's pages, in KiB; per connection.
const PAGE_CACHE_KIB: i64 = 16 * 1024;
/// Against 4 KiB pages look-ups in batches are a tenth faster and sorting in a third; with 16 KiB both gain another tenth, but every
/// chunk of a finished pack rewrites a page, and twice the bytes would be written for each pack.
const PAGE_BYTES: i64 = 8192;
/// The log is written back at this many pages (16 MiB); a larger transaction makes it grow for a while.
const CHECKPOINT_PAGES: i64 = 2048;
/// Longest row in bytes: a directory (16 MiB) and room; a claim beyond it is damage, not an allocation.
const ROW_BYTES_MAX: i32 = 32 * 1024 * 1024;
/// How long a call waits for another process that writes.
const BUSY: Duration = Duration::from_secs(if cfg!(test) { 6 } else { 60 });

/// The tables, exactly as SQLite keeps their text: a file with any other schema (an older version, a trigger, a view in place of a
/// table) is not ours. `chunks` is looked up by the first eight bytes of an id as an integer, because SQLite compares integer keys
/// fastest and a batch of them binds without an allocation each; `tail` is the rest of the id and the kind; `place` is the row in
/// the directory doubled, plus one when composed. `arrivals` takes chunks in the order they come; they are sorted into `chunks`
/// before the next look-up (`chunks.rs`). Directories stand apart from packs so that a scan of packs stays small.
const SCHEMA: [&str; 9] = [
    "CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), salt BLOB NOT NULL, tag BLOB NOT NULL) STRICT",
    "CREATE TABLE packs (number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, size INTEGER NOT NULL, header BLOB NOT NULL, \
     directory_sealed_length INTEGER NOT NULL, class INTEGER NOT NULL, tag BLOB NOT NULL) STRICT",
    "CREATE TABLE directories (number INTEGER PRIMARY KEY, directory BLOB NOT NULL, tag BLOB NOT NULL) STRICT",
    "CREATE TABLE chunks (prefix INTEGER NOT NULL, tail BLOB NOT NULL, pack INTEGER NOT NULL, place INTEGER NOT NULL, \
     tag BLOB NOT NULL, PRIMARY KEY (prefix, tail, pack, place)) STRICT, WITHOUT ROWID",
    "CREATE TABLE arrivals (number INTEGER PRIMARY KEY, prefix INTEGER NOT NULL, tail BLOB NOT NULL, pack INTEGER NOT NULL, \
     place INTEGER NOT NULL, tag BLOB NOT NULL) STRICT",
    "CREATE TABLE index_files (id BLOB PRIMARY KEY NOT NULL, packs BLOB NOT NULL, tag BLOB NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE TABLE meta (key BLOB PRIMARY KEY NOT NULL, value BLOB NOT NULL, tag BLOB NOT NULL) STRICT",
    "CREATE TABLE folders (number INTEGER PRIMARY KEY, host TEXT NOT NULL, source TEXT NOT NULL, path BLOB NOT NULL, \
     page INTEGER NOT NULL, pages INTEGER NOT NULL, stamp INTEGER NOT NULL, value BLOB NOT NULL, tag BLOB NOT NULL, \
     UNIQUE (host, source, path, page)) STRICT",
    "CREATE TABLE pieces (number INTEGER PRIMARY KEY, place INTEGER NOT NULL, chunk BLOB NOT NULL, value BLOB NOT NULL, \
     tag BLOB NOT NULL, UNIQUE (place, chunk)) STRICT",
];

/// What went wrong with a file. Either way it is not used any more; the difference is what becomes of it.
#[derive(Debug)]
pub(super) enum Fault {
    /// The file does not hold what was put into it: drop it.
    Damaged(String),
    /// The file may be fine but cannot be used (locked, read-only, disk full): leave it to others.
    Refused(String),
}

impl Fault {
    /// A row of `table` whose tag is not over its fields.
    pub(super) fn bad_tag(table: Table) -> Self {
        Self::Damaged(format!("a row of {table:?} has a bad tag"))
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        let refused = matches!(
            error.sqlite_error_code(),
            Some(
                ErrorCode::PermissionDenied
                    | ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::OutOfMemory
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::DiskFull
                    | ErrorCode::CannotOpen
                    | ErrorCode::FileLockingProtocolFailed
                    | ErrorCode::NoLargeFileSupport
            )
        );
        if refused { Self::Refused(error.to_string()) } else { Self::Damaged(error.to_string()) }
    }
}

/// An open file whose head row was proved to be this repository's.
pub(super) struct Database {
    pub(super) connection: Connection,
    pub(super) tagger: Tagger,
}

impl Database {
    /// Makes the tables in an empty file.
    pub(super) fn create(path: &Path, repository: &Tagger, salt: &[u8; 32]) -> Result<Self, Fault> {
        let connection = connect(path)?;
        connection.pragma_update(None, "page_size", PAGE_BYTES)?;
        log_ahead(&connection)?;
        let transaction = connection.unchecked_transaction()?;
        for table in SCHEMA {
            transaction.execute_batch(table)?;
        }
        let tag = repository.tag(Table::Head, &[salt]);
        transaction.execute("INSERT INTO head (one, salt, tag) VALUES (1, ?1, ?2)", (salt.as_slice(), tag.as_slice()))?;
        transaction.commit()?;
        Ok(Self { connection, tagger: repository.of_file(salt) })
    }

    /// Opens a file and proves that it is this repository's.
    pub(super) fn open(path: &Path, repository: &Tagger) -> Result<Self, Fault> {
        let connection = connect(path)?;
        let schema: Vec<String> = connection
            .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid")?
            .query_map((), |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        if schema != SCHEMA {
            return Err(Fault::Damaged("it has other tables".into()));
        }
        // By its mode, or because a flipped bit says that a later SQLite wrote it. A fresh file does better.
        if connection.is_readonly("main")? {
            return Err(Fault::Damaged("it is read-only".into()));
        }
        log_ahead(&connection)?;
        let head: Option<([u8; 32], Vec<u8>)> =
            connection.query_row("SELECT salt, tag FROM head", (), |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((salt, tag)) = head else { return Err(Fault::Damaged("it has no head".into())) };
        if !same(&tag, &repository.tag(Table::Head, &[&salt])) {
            return Err(Fault::Damaged("it is not of this repository".into()));
        }
        Ok(Self { connection, tagger: repository.of_file(&salt) })
    }

    /// From now on nothing waits for the disk.
    pub(super) fn never_wait(&self) -> Result<(), Fault> {
        Ok(self.connection.pragma_update(None, "synchronous", "OFF")?)
    }
}

/// A connection set up; the file must exist.
fn connect(path: &Path) -> Result<Connection, Fault> {
    // No SQLITE_OPEN_CREATE: a name that vanished must not come back as an empty file. No URI: a path is a path.
    // A link is not followed: see the room `private`.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, ROW_BYTES_MAX)?;
    connection.set_prepared_statement_cache_capacity(32);
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "cache_size", -PAGE_CACHE_KIB)?;
    rusqlite::vtab::array::load_module(&connection)?;
    Ok(connection)
}

/// Where a file system cannot do shared memory SQLite keeps its rollback journal: slower, as right.
fn log_ahead(connection: &Connection) -> Result<(), Fault> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", CHECKPOINT_PAGES * PAGE_BYTES)?;
    Ok(())
}
