//! The data set of a Redis server as one RDB stream, `dump.rdb`.
//!
//! Two ways: as a replica asks for it (nothing is written on the server's side; the user needs the rights `+sync +replconf`), or,
//! when the path of the server's `dump.rdb` is known, by BGSAVE and reading that file (`+bgsave +lastsave +info`). Before either the
//! server is asked whether it holds its data (`+info`, and `+cluster|info` in a cluster). Either way the
//! stream must begin as an RDB file, end with its EOF opcode, and have the checksum it says.

mod bgsave;
mod connection;
mod replication;
mod state;
mod url;

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use connection::RedisPlace;

use super::command::unread;
use super::rdb::RdbCheck;
use super::{RunningStream, Secret, SourceError, SourceKind, StreamEnd, StreamSource};
use crate::locks::Unpoisoned;
use crate::monitor::Stop;

/// Name of the one stream.
const STREAM: &str = "dump.rdb";

/// Which server, as whom, and how.
#[derive(Debug)]
pub struct RedisOptions {
    /// The name in the snapshot.
    pub name: String,
    /// Where the server listens.
    pub place: RedisPlace,
    /// ACL user; none is `default`.
    pub user: Option<String>,
    /// Password; none is no AUTH at all.
    pub password: Option<Secret>,
    /// The server's RDB file, as seen from here: save and read it instead of streaming.
    pub rdb_file: Option<PathBuf>,
    /// May the snapshot be committed (as incomplete) when it fails?
    pub optional: bool,
    /// How long the server may say nothing at all (it says something every second while it prepares). 60 s by default.
    pub patience: Duration,
}

impl RedisOptions {
    /// From `redis://[user[:password]@]host[:port][/db]` or `unix:/path[?user=..&password=..]`; `rdb=/path/dump.rdb` in the query
    /// chooses BGSAVE. The number of a database is accepted and means nothing: an RDB file holds all of them.
    pub fn from_url(name: impl Into<String>, url: &str) -> Result<Self, SourceError> {
        url::parse(name.into(), url)
    }
}

/// What became known while streaming.
#[derive(Default, Clone)]
struct Notes {
    facts: Vec<(String, String)>,
    warnings: Vec<String>,
    remarks: Vec<String>,
}

type SharedNotes = Arc<Mutex<Notes>>;

/// A Redis server.
pub struct RedisSource {
    options: RedisOptions,
    stop: Stop,
    notes: SharedNotes,
}

impl RedisSource {
    /// Checks the settings; nothing is connected yet.
    pub fn new(options: RedisOptions) -> Result<Self, SourceError> {
        super::check_name(&options.name)?;
        Ok(Self { options, stop: Stop::new(), notes: SharedNotes::default() })
    }

    fn connect(&self) -> Result<connection::Connection, SourceError> {
        let options = &self.options;
        let mut connection = connection::Connection::open(&options.place, options.patience, &self.stop)?;
        connection.authenticate(options.user.as_deref(), options.password.as_ref())?;
        Ok(connection)
    }

    fn notes(&self) -> Notes {
        self.notes.lock().unpoisoned().clone()
    }
}

impl StreamSource for RedisSource {
    fn name(&self) -> &str {
        &self.options.name
    }
    fn kind(&self) -> SourceKind {
        SourceKind::Redis
    }
    fn optional(&self) -> bool {
        self.options.optional
    }
    /// Connects, authenticates and asks for its state, so that a wrong password or a server without data is found before anything is
    /// read.
    fn prepare(&mut self, stop: &Stop) -> Result<Vec<String>, SourceError> {
        self.stop = stop.clone();
        state::ask(&mut self.connect()?)?;
        Ok(vec![STREAM.to_owned()])
    }
    fn open(&mut self, _stream: usize) -> Result<Box<dyn RunningStream>, SourceError> {
        let mut connection = self.connect()?;
        // Again: much may have happened since `prepare`.
        let state = state::ask(&mut connection)?;
        let what = format!("the RDB of {}", self.options.place);
        let (how, reader): (_, Box<dyn Read + Send>) = match &self.options.rdb_file {
            None => ("replication", Box::new(replication::start(connection)?)),
            Some(file) => ("bgsave", Box::new(bgsave::save(&mut connection, file, &self.stop)?)),
        };
        let mut facts = vec![("method".into(), how.into())];
        facts.extend(state.role.map(|role| ("role".into(), role.into())));
        let notes = Arc::clone(&self.notes);
        *notes.lock().unpoisoned() = Notes { facts, warnings: state.warnings, remarks: state.remarks };
        Ok(Box::new(RdbStream { reader, check: RdbCheck::default(), ended: false, what, notes }))
    }
    fn facts(&self) -> Vec<(String, String)> {
        let mut facts = self.notes().facts;
        facts.sort();
        facts
    }
    fn warnings(&self) -> Vec<String> {
        self.notes().warnings
    }
    fn remarks(&self) -> Vec<String> {
        self.notes().remarks
    }
}

/// An RDB passing by.
struct RdbStream {
    reader: Box<dyn Read + Send>,
    check: RdbCheck,
    ended: bool,
    what: String,
    notes: SharedNotes,
}

impl Read for RdbStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        self.check.feed(&buffer[..n]);
        self.ended |= n == 0 && !buffer.is_empty();
        Ok(n)
    }
}

impl RunningStream for RdbStream {
    fn finish(self: Box<Self>) -> Result<StreamEnd, SourceError> {
        if !self.ended {
            return Err(unread(&self.what));
        }
        let rdb = self.check.finish(&self.what)?;
        let mut notes = self.notes.lock().unpoisoned();
        notes.facts.push(("rdb_version".into(), rdb.version.to_string()));
        notes.facts.push(("rdb_checksum".into(), if rdb.checksum { "checked" } else { "off" }.into()));
        notes.facts.extend(rdb.server.map(|version| ("server_version".into(), version)));
        if !rdb.checksum {
            notes.warnings.push("the server writes no checksum (rdbchecksum no), so only the end of the RDB was checked".into());
        }
        Ok(StreamEnd::Ok)
    }
    fn abort(self: Box<Self>) {}
}
