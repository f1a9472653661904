//! Reading files: small ones whole, many side by side; each is cut and named where it is read.

use std::io::Read;
use std::sync::Arc;

use crate::chunker::{Chunker, Sizes};
use crate::filesystem::{FilesystemError, Folder, Found, OpenFile, Owners};
use crate::id::ChunkId;
use crate::pieces::CutPiece;
use crate::repository::Namer;
use crate::repository::writer::PieceCutter;

/// Files up to this size are read whole by one worker; larger ones, and those with holes, stream through the pipeline.
pub(crate) const WHOLE_BYTES_MAX: u64 = 2 << 20;

/// Asked for at first of a file that says it is empty: those of /proc say that.
const FIRST_BYTES: usize = 4096;

/// A file to be read, and where its row is waiting.
pub(crate) struct ToRead {
    /// The folder level that waits for it.
    pub level: u64,
    /// Its row there.
    pub row: usize,
    /// The open folder.
    pub folder: Arc<Folder>,
    /// What the scan saw.
    pub found: Found,
}

/// What a worker made of a file.
pub(crate) struct WasRead {
    /// As in [`ToRead`].
    pub level: u64,
    /// As in [`ToRead`].
    pub row: usize,
    /// As in [`ToRead`].
    pub folder: Arc<Folder>,
    /// Brought up to what was opened.
    pub found: Found,
    /// Its bytes cut and named, or why it could not be read.
    pub outcome: Result<Outcome, FilesystemError>,
}

/// What came of reading a file whole.
pub(super) enum Outcome {
    /// It fits in memory.
    Whole(Whole),
    /// It has far more bytes than its size said: it is to be read as a stream.
    TooLong,
}

/// How far what was read of a file can be trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Trust {
    /// It is one state of the file, as long as its size says.
    Full,
    /// It is all of the file, but its file system gives another size: what it says of the file later is no reason not to read it again.
    SizeMeansNothing,
    /// The file takes space for more than reading it gave.
    Short,
    /// It changed meanwhile.
    Changing,
}

impl Trust {
    /// In a file that was read to its end, `length` bytes.
    pub(crate) fn in_file(file: &OpenFile, length: u64) -> Result<Self, FilesystemError> {
        let size = file.stat().size;
        Ok(if file.changed()? {
            Self::Changing
        } else if length == size {
            Self::Full
        } else if length < size && file.size_is_a_promise() {
            Self::Short
        } else {
            Self::SizeMeansNothing
        })
    }

    /// Reading it again may give something better.
    pub(crate) fn is_worth_another_try(self) -> bool {
        matches!(self, Self::Short | Self::Changing)
    }

    /// What is wrong with what is stored after two tries.
    pub(super) fn complaint(self) -> Option<&'static str> {
        match self {
            Self::Full | Self::SizeMeansNothing => None,
            Self::Short => Some("its size says more than could be read of it, twice: what is stored may lack its end"),
            Self::Changing => Some("changed while it was read, twice: what is stored may mix two states"),
        }
    }
}

/// A small file in memory.
pub(super) struct Whole {
    /// All of it.
    pub bytes: Vec<u8>,
    /// Its chunks in order: length and id.
    pub chunks: Vec<(usize, ChunkId)>,
    /// The pieces of each, as far as they are worth cutting.
    pub pieces: Vec<Option<Vec<CutPiece>>>,
    /// How far they can be trusted.
    pub trust: Trust,
}

/// What every worker needs.
#[derive(Clone)]
pub(crate) struct Workshop {
    /// Names chunks.
    pub namer: Namer,
    /// Cuts them.
    pub chunker: Chunker,
    /// Sizes of the class "files".
    pub sizes: Sizes,
    /// Names of users and groups.
    pub owners: Arc<Owners>,
    /// Cuts what is new into pieces.
    pub pieces: Option<PieceCutter>,
}

impl Workshop {
    /// Reads one file that fits in memory.
    pub(super) fn read(&self, job: ToRead) -> WasRead {
        let ToRead { level, row, folder, mut found } = job;
        let outcome = self.read_whole(&folder, &mut found);
        WasRead { level, row, folder, found, outcome }
    }

    fn read_whole(&self, folder: &Folder, found: &mut Found) -> Result<Outcome, FilesystemError> {
        match self.read_once(folder, found)? {
            Outcome::Whole(whole) if whole.trust.is_worth_another_try() => self.read_once(folder, found),
            outcome => Ok(outcome),
        }
    }

    fn read_once(&self, folder: &Folder, found: &mut Found) -> Result<Outcome, FilesystemError> {
        let file = folder.open_file(found)?;
        file.complete(found, &self.owners)?;
        let Some(bytes) = read_to_end(&file)? else { return Ok(Outcome::TooLong) };
        let trust = Trust::in_file(&file, bytes.len() as u64)?;
        found.node.size = bytes.len() as u64;
        let (mut chunks, mut pieces) = (Vec::new(), Vec::new());
        let mut at = 0;
        while at < bytes.len() {
            // With `end` there is always a cut.
            let length = self.chunker.cut(&self.sizes, &bytes[at..], true).unwrap_or(bytes.len() - at);
            let chunk = &bytes[at..at + length];
            let id = self.namer.id(chunk);
            pieces.push(self.pieces.as_ref().and_then(|cutter| cutter.cut(&id, chunk)));
            chunks.push((length, id));
            at += length;
        }
        Ok(Outcome::Whole(Whole { bytes, chunks, pieces, trust }))
    }
}

/// All of a file, whatever its size says; none when that is too much to be read whole.
fn read_to_end(file: &OpenFile) -> Result<Option<Vec<u8>>, FilesystemError> {
    let limit = WHOLE_BYTES_MAX as usize * 2;
    // One byte more than there should be: the end is known only when a read gives less than was asked for.
    let size = usize::try_from(file.stat().size).unwrap_or(limit).min(limit);
    let mut bytes = vec![0; (size + 1).max(FIRST_BYTES)];
    let mut length = 0;
    loop {
        length += file.read_at(&mut bytes[length..], length as u64)?;
        if length < bytes.len() {
            bytes.truncate(length);
            return Ok(Some(bytes));
        }
        if length > limit {
            return Ok(None);
        }
        bytes.resize((length * 2).min(limit + 1), 0);
    }
}

/// A run of an open file as a stream.
pub(super) struct Run<'a> {
    file: &'a OpenFile,
    at: u64,
    end: u64,
    /// Bytes that came.
    pub read: u64,
}

impl<'a> Run<'a> {
    /// `length` bytes from `offset`.
    pub(super) fn new(file: &'a OpenFile, offset: u64, length: u64) -> Self {
        Self { file, at: offset, end: offset.saturating_add(length), read: 0 }
    }
}

impl Read for Run<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
        let length = self.file.read_at(&mut buffer[..wanted], self.at).map_err(std::io::Error::other)?;
        self.at += length as u64;
        self.read += length as u64;
        Ok(length)
    }
}
