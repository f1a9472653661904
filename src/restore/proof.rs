//! Whole streams, from the first byte to the last, against what was counted while they were taken.
//!
//! Ids prove each chunk, and trees which chunks belong together; both are made after a stream was cut. The MAC of a stream was fed with
//! its bytes as they came, so it also proves the cutting and putting together. Page `format-spec/snapshot.md`, rule 4.

use crate::filesystem::Target;
use crate::format::snapshot::Stream;
use crate::path;
use crate::repository::{Repository, StoredSnapshot};
use crate::restore::select::Selected;
use crate::restore::tally::count;
use crate::restore::{Failure, Overwrite, RestoreError, Run};

/// What is read back at once.
const READ_BYTES: usize = 256 << 10;

/// What a stream must be.
#[derive(Clone, Debug)]
pub struct StreamProof {
    stream: Stream,
    keyed: blake3::Hasher,
}

impl StreamProof {
    /// Those of all streams of a snapshot.
    pub fn all(repository: &Repository, stored: &StoredSnapshot) -> Vec<Self> {
        // An owner has the keys of every generation, and nobody else opens snapshots.
        let Some(keyed) = repository.stream_mac_at(stored.generation) else { return Vec::new() };
        let streams = stored.snapshot.sources.iter().flat_map(|source| &source.streams);
        streams.map(|stream| Self { stream: stream.clone(), keyed: keyed.clone() }).collect()
    }

    /// Is this its path, as a person may type it?
    pub fn is_at(&self, path: &[u8]) -> bool {
        self.stream.path == path::plain(path)
    }

    /// To be fed with all of it.
    pub(super) fn begin(&self) -> Proving<'_> {
        Proving { stream: &self.stream, bytes: 0, mac: self.keyed.clone() }
    }
}

/// A stream on its way.
pub(super) struct Proving<'a> {
    stream: &'a Stream,
    bytes: u64,
    mac: blake3::Hasher,
}

impl Proving<'_> {
    /// The next bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.mac.update(bytes);
    }

    /// That was all: is it the stream that was taken?
    pub(super) fn is_proved(&self) -> bool {
        self.bytes == self.stream.bytes && self.mac.finalize() == self.stream.mac
    }
}

impl Run<'_> {
    /// Reads back the streams among what was restored.
    pub(super) fn check_streams(&self, target: &Target, below: &[u8], proofs: &[StreamProof]) -> Result<(), RestoreError> {
        // What stood there and was left alone is not what the snapshot holds.
        if self.options.overwrite == Overwrite::Never {
            return Ok(());
        }
        let below = path::plain(below);
        for proof in proofs {
            let Some(path) = relative(&proof.stream.path, &below).filter(|path| self.selects(path)) else { continue };
            if self.tally.has_failed(path) {
                continue;
            }
            self.monitor.current(path);
            let (detail, damage) = match self.holds(target, path, proof) {
                Ok(Some(true)) => {
                    count(&self.tally.streams_verified);
                    continue;
                }
                // Its pieces were read back and are those of the snapshot.
                Ok(Some(false)) => ("it is not the stream that was taken: its length or MAC differs".to_owned(), true),
                Ok(None) => ("it is not there any more".to_owned(), false),
                Err(RestoreError::Filesystem(error)) => (format!("cannot be read back: {error}"), false),
                Err(error) => return Err(error),
            };
            self.tally.failure(Failure { path: path.to_vec(), detail, damage });
        }
        Ok(())
    }

    /// Is it what was taken? `None`: there is no such file.
    fn holds(&self, target: &Target, path: &[u8], proof: &StreamProof) -> Result<Option<bool>, RestoreError> {
        let (folder, name) = path::split_last(path);
        let folder = target.folder(folder)?;
        let Some(mut found) = folder.look_up(name)? else { return Ok(None) };
        let file = folder.open_file(&mut found)?;
        file.will_be_read_through();
        let (mut proving, mut buffer, mut at) = (proof.begin(), vec![0; READ_BYTES], 0u64);
        loop {
            self.stop.check()?;
            let read = file.read_at(&mut buffer, at)?;
            proving.feed(&buffer[..read]);
            at += read as u64;
            self.monitor.advance(0, read as u64);
            if read < buffer.len() {
                return Ok(Some(proving.is_proved()));
            }
        }
    }

    /// Is this file among what the patterns let through?
    fn selects(&self, path: &[u8]) -> bool {
        let (mut within, mut above) = (self.selection.starts_selected(), Vec::new());
        let mut parts = path::parts(path).peekable();
        while let Some(part) = parts.next() {
            above = path::join(&above, part);
            match self.selection.select(&above, parts.peek().is_some(), within) {
                Selected::Yes => within = true,
                Selected::Below => {}
                Selected::No => return false,
            }
        }
        within
    }
}

/// Where a path of the snapshot goes, when `below` is restored: a folder's content into the target, a file under its own name.
fn relative<'p>(path: &'p [u8], below: &[u8]) -> Option<&'p [u8]> {
    if below.is_empty() {
        return Some(path);
    }
    if path == below {
        return Some(path::split_last(path).1);
    }
    path::relative(path, below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_goes_where_what_is_restored_goes() {
        assert_eq!(relative(b"pg/a.dump", b""), Some(&b"pg/a.dump"[..]));
        assert_eq!(relative(b"pg/a.dump", b"pg"), Some(&b"a.dump"[..]));
        assert_eq!(relative(b"pg/a.dump", b"pg/a.dump"), Some(&b"a.dump"[..]));
        assert_eq!(relative(b"pg/a.dump", b"p"), None);
        assert_eq!(relative(b"pg/a.dump", b"redis"), None);
        assert_eq!((path::plain(b"/pg/./a.dump/"), path::plain(b"/")), (b"pg/a.dump".to_vec(), Vec::new()));
    }
}
