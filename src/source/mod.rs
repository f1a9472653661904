//! What is read: named sources that yield folders or streams, and the proof that a stream came whole.
//!
//! A source is one named input of a snapshot. A [`DirectorySource`] only says which folder (the `filesystem` room walks it); every
//! other source is a [`StreamSource`]: bytes from a child process, a socket or standard input. **A stream is whole only when
//! [`RunningStream::finish`] says so**: it reaps the child, looks at its exit status and at the shape of what came. Nothing here
//! retries, stores or prints.
//!
//! Leans on `monitor` (the wish to stop) and `parallel` (one thread per child drains its standard error). Never knows chunks,
//! repositories or the command line. Secrets reach a child through a file of mode 0600 or its environment, never through its
//! arguments, and are cut out of every message.

pub mod authentik;
mod child;
pub mod command;
mod crc64;
mod directory;
mod error;
mod name;
mod packages;
mod percent;
pub mod postgres;
mod rdb;
pub mod redis;
mod secret;
pub mod stdin;

use std::io::Read;

pub use crate::environment::Environment;
pub use directory::{DirectorySource, IfPresent};
pub use error::{Ended, SourceError};
pub(crate) use name::check_name;
pub use name::check_sources;
pub use secret::Secret;

use crate::monitor::Stop;

/// What sort of thing a source reads.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SourceKind {
    /// A folder and what is below it.
    Directory,
    /// One file.
    File,
    /// The standard output of a program.
    Command,
    /// Standard input: an end, but no status.
    Stdin,
    /// Databases of a PostgreSQL server.
    Postgres,
    /// The data set of a Redis server.
    Redis,
}

impl SourceKind {
    /// The word for it in snapshots, lists and settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::File => "file",
            Self::Command => "command",
            Self::Stdin => "stdin",
            Self::Postgres => "postgres",
            Self::Redis => "redis",
        }
    }
}

/// How a whole stream ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamEnd {
    /// Someone vouched for it: an exit status of 0, a checksum, an end mark.
    Ok,
    /// It ended, and nobody can say whether it was meant to (standard input).
    WithoutStatus,
}

/// A source that yields bytes. Used in this order, from one thread: `prepare`, then for each stream `open`, read to the end,
/// `finish`; then `facts`, `warnings` and `remarks`.
pub trait StreamSource: Send {
    /// Its name in the snapshot.
    fn name(&self) -> &str;
    /// What sort of source it is.
    fn kind(&self) -> SourceKind;
    /// May the snapshot be committed (as incomplete) when this source fails?
    fn optional(&self) -> bool;
    /// Connects, learns versions, lists databases; the relative paths of the streams it will give, in order ("authentik.dump",
    /// "globals.sql"). An **empty path** stands for the source itself: one file with the source's name instead of a folder.
    /// Keeps `stop` and obeys it in every later call.
    fn prepare(&mut self, stop: &Stop) -> Result<Vec<String>, SourceError>;
    /// Starts the stream with this number in the answer of `prepare`.
    fn open(&mut self, stream: usize) -> Result<Box<dyn RunningStream>, SourceError>;
    /// Tool and server versions, format, exclusions, application version: sorted (text, text) pairs for the snapshot. Complete
    /// only after the last stream has finished.
    fn facts(&self) -> Vec<(String, String)>;
    /// What a restore from this snapshot will lack, or what makes one harder: one plain sentence each, without a full stop. Recorded
    /// in the snapshot and always shown. Complete only after the last stream has finished.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
    /// What is good to know and lacks nothing (`-v`). Complete only after the last stream has finished.
    fn remarks(&self) -> Vec<String>;
}

/// A stream under way. Dropping it is the same as [`RunningStream::abort`].
///
/// `read` fails with an [`std::io::Error`] that carries a [`SourceError`]; [`SourceError::from_read`] takes it out again.
pub trait RunningStream: Read + Send {
    /// Only after `read` gave 0: reaps the child, checks its status and the shape of what came. Ok = the stream is whole.
    /// Called earlier it aborts and fails.
    fn finish(self: Box<Self>) -> Result<StreamEnd, SourceError>;
    /// Kills the child (its whole process group) and reaps it.
    fn abort(self: Box<Self>);
}

/// One named input of a snapshot.
pub enum Source {
    /// A folder, walked by the `filesystem` room.
    Directory(DirectorySource),
    /// Something that yields bytes.
    Stream(Box<dyn StreamSource>),
}

impl Source {
    /// Its name in the snapshot.
    pub fn name(&self) -> &str {
        match self {
            Self::Directory(directory) => &directory.name,
            Self::Stream(stream) => stream.name(),
        }
    }

    /// What sort of source it is.
    pub fn kind(&self) -> SourceKind {
        match self {
            Self::Directory(directory) => directory.kind(),
            Self::Stream(stream) => stream.kind(),
        }
    }

    /// May the snapshot be committed (as incomplete) when this source fails?
    pub fn optional(&self) -> bool {
        match self {
            Self::Directory(directory) => directory.optional,
            Self::Stream(stream) => stream.optional(),
        }
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("name", &self.name()).field("kind", &self.kind()).finish_non_exhaustive()
    }
}
