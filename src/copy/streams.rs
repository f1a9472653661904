//! Streams: their MACs are made anew, which takes every byte in order; the old ones are checked on the way.

use std::sync::Mutex;

use crate::copy::{Work, items, read_old};
use crate::crypto::ChunkType;
use crate::format::content::Leaves;
use crate::format::snapshot::{Snapshot, SourceStatus, Stream};
use crate::format::tree::{Content, Item, NodeKind};
use crate::id::ChunkId;
use crate::locks::Unpoisoned;
use crate::monitor::Phase;
use crate::parallel;
use crate::repository::writer::Named;
use crate::repository::{RepositoryError, StoredSnapshot};

/// Bytes of a stream in memory.
const BATCH_BYTES: u64 = 16 << 20;

impl Work<'_> {
    /// Puts the MACs of this repository into `new`; what was read is stored on the way.
    pub(super) fn streams(&mut self, old: &StoredSnapshot, new: &mut Snapshot) -> Result<(), RepositoryError> {
        let bytes = new.sources.iter().flat_map(|source| &source.streams).map(|stream| stream.bytes).sum();
        if bytes > 0 {
            self.monitor.begin(Phase::Copy, 0, bytes);
        }
        for source in &mut new.sources {
            let may_lack = source.status == SourceStatus::Failed;
            let mut streams = Vec::with_capacity(source.streams.len());
            for stream in std::mem::take(&mut source.streams) {
                let mac = match self.ids.stream(&stream.mac)? {
                    Some(mac) => Ok(mac),
                    None => self.stream(old, &stream),
                };
                match mac {
                    Ok(mac) => streams.push(Stream { mac, ..stream }),
                    // Beside a snapshot that lost something there may stand one that says so.
                    Err(RepositoryError::PathNotFound { .. }) if may_lack => {}
                    Err(error) => return Err(error),
                }
            }
            source.streams = streams;
        }
        Ok(())
    }

    fn stream(&mut self, old: &StoredSnapshot, stream: &Stream) -> Result<[u8; 32], RepositoryError> {
        self.monitor.current(&stream.path);
        let node = self.reader.resolve(&old.snapshot.root, &stream.path, &old.id.short())?;
        let Some(node) = node.filter(|node| node.kind == NodeKind::File) else {
            return Err(wrong(stream, "is no file in its snapshot"));
        };
        let Some(before) = self.reader.repository().stream_mac_at(old.generation) else {
            return Err(RepositoryError::NeedsOwner("copying snapshots out of a repository"));
        };
        let mut macs = [before, self.to.stream_mac()];
        let length = self.through(&node.content, &mut macs)?;
        let [before, after] = macs.map(|mac| *mac.finalize().as_bytes());
        if length != stream.bytes || before != stream.mac {
            return Err(wrong(stream, "is not the stream that was taken"));
        }
        self.ids.put_stream(&before, &after)?;
        Ok(after)
    }

    /// Feeds a content to both MACs and stores its chunks; its length.
    fn through(&mut self, content: &Content, macs: &mut [blake3::Hasher; 2]) -> Result<u64, RepositoryError> {
        let (reader, mut batch, mut held, mut length) = (self.reader, Vec::new(), 0, 0u64);
        items(reader, content, Leaves::Data, &mut |item| {
            match *item {
                Item::Chunk { length, .. } => held += length,
                Item::Hole { .. } => {}
            }
            batch.push(*item);
            if held >= BATCH_BYTES || batch.len() >= 1024 {
                held = 0;
                length += self.batch(&std::mem::take(&mut batch), macs)?;
            }
            Ok(())
        })?;
        length += self.batch(&batch, macs)?;
        Ok(length)
    }

    fn batch(&mut self, items: &[Item], macs: &mut [blake3::Hasher; 2]) -> Result<u64, RepositoryError> {
        let mut wanted: Vec<(ChunkType, ChunkId, usize)> = Vec::new();
        for (nth, item) in items.iter().enumerate() {
            if let Item::Chunk { id, .. } = item {
                wanted.push((ChunkType::Data, *id, nth));
            }
        }
        let texts: Vec<Mutex<Vec<u8>>> = items.iter().map(|_| Mutex::default()).collect();
        let reader = self.reader;
        reader.read_many::<_, RepositoryError>(&wanted, parallel::cores(), self.stop, |nth, bytes| {
            let bytes = match (bytes, &items[nth]) {
                (Ok(bytes), _) => bytes.to_vec(),
                (Err(_), Item::Chunk { id, .. }) => read_old(reader, ChunkType::Data, id)?,
                (Err(error), Item::Hole { .. }) => return Err(error),
            };
            *texts[nth].lock().unpoisoned() = bytes;
            Ok(())
        })?;
        let mut length = 0;
        for (item, text) in items.iter().zip(texts) {
            match *item {
                Item::Hole { length: hole } => {
                    feed_zeros(macs, hole);
                    length += hole;
                }
                Item::Chunk { id, .. } => {
                    let bytes = text.into_inner().unwrap_or_default();
                    feed(macs, &bytes);
                    length += bytes.len() as u64;
                    let new = self.to.data_id(&bytes);
                    self.writer.place(&[Named { chunk_type: ChunkType::Data, id: new, bytes: &bytes }])?;
                    self.ids.put_data(&id, &new)?;
                    self.chunks_read += 1;
                    self.bytes_read += bytes.len() as u64;
                    self.monitor.advance(0, bytes.len() as u64);
                }
            }
        }
        Ok(length)
    }
}

fn feed(macs: &mut [blake3::Hasher; 2], bytes: &[u8]) {
    for mac in macs {
        mac.update(bytes);
    }
}

fn feed_zeros(macs: &mut [blake3::Hasher; 2], mut length: u64) {
    const ZEROS: [u8; 4096] = [0; 4096];
    while length > 0 {
        let piece = length.min(ZEROS.len() as u64);
        feed(macs, &ZEROS[..piece as usize]);
        length -= piece;
    }
}

fn wrong(stream: &Stream, what: &str) -> RepositoryError {
    let source = crate::format::FormatError::field("snapshot", "stream", "is not what its snapshot says");
    RepositoryError::Object { object: format!("{} {what}", String::from_utf8_lossy(&stream.path)), source }
}
