//! Reading files: small ones whole, many side by side; each is cut and named where it is read.

use std::io::Read;
use std::sync::Arc;

use crate::chunker::{Chunker, Sizes};
use crate::crypto::{ChunkType, Keys};
use crate::filesystem::{FilesystemError, Folder, Found, OpenFile, Owners};
use crate::id::ChunkId;

/// Files up to this size are read whole by one worker; larger ones, and those with holes, stream through the pipeline.
pub const WHOLE_BYTES_MAX: u64 = 2 << 20;

/// A file to be read, and where its row is waiting.
pub struct ToRead {
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
pub struct WasRead {
    /// As in [`ToRead`].
    pub level: u64,
    /// As in [`ToRead`].
    pub row: usize,
    /// Brought up to what was opened.
    pub found: Found,
    /// Its bytes cut and named, or why it could not be read.
    pub outcome: Result<Whole, FilesystemError>,
}

/// A small file in memory.
pub struct Whole {
    /// All of it.
    pub bytes: Vec<u8>,
    /// Its chunks in order: length and id.
    pub chunks: Vec<(usize, ChunkId)>,
    /// It went on changing while it was read, twice.
    pub unsteady: bool,
}

/// What every worker needs.
pub struct Workshop {
    /// Names chunks.
    pub keys: Arc<Keys>,
    /// Cuts them.
    pub chunker: Chunker,
    /// Sizes of the class "files".
    pub sizes: Sizes,
    /// Names of users and groups.
    pub owners: Arc<Owners>,
}

impl Workshop {
    /// Reads one file that fits in memory.
    pub fn read(&self, job: ToRead) -> WasRead {
        let ToRead { level, row, folder, mut found } = job;
        let outcome = self.read_whole(&folder, &mut found);
        WasRead { level, row, found, outcome }
    }

    fn read_whole(&self, folder: &Folder, found: &mut Found) -> Result<Whole, FilesystemError> {
        let mut whole = self.read_once(folder, found)?;
        if whole.unsteady {
            whole = self.read_once(folder, found)?;
        }
        Ok(whole)
    }

    fn read_once(&self, folder: &Folder, found: &mut Found) -> Result<Whole, FilesystemError> {
        let file = folder.open_file(found)?;
        file.complete(found, &self.owners)?;
        // It may have grown since it was listed, beyond what is read whole; then what came until here counts as changing.
        let size = found.stat.size.min(WHOLE_BYTES_MAX * 2) as usize;
        let mut bytes = vec![0; size];
        let length = file.read_at(&mut bytes, 0)?;
        bytes.truncate(length);
        let unsteady = length as u64 != found.stat.size || file.changed()?;
        found.node.size = length as u64;
        let mut chunks = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            // With `end` there is always a cut.
            let length = self.chunker.cut(&self.sizes, &bytes[at..], true).unwrap_or(bytes.len() - at);
            chunks.push((length, self.keys.chunk_id(ChunkType::Data, &bytes[at..at + length])));
            at += length;
        }
        Ok(Whole { bytes, chunks, unsteady })
    }
}

/// A run of an open file as a stream.
pub struct Run<'a> {
    file: &'a OpenFile,
    at: u64,
    end: u64,
    /// Bytes that came.
    pub read: u64,
}

impl<'a> Run<'a> {
    /// `length` bytes from `offset`.
    pub fn new(file: &'a OpenFile, offset: u64, length: u64) -> Self {
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
