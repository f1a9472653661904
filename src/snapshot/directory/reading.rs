//! The files of a directory source that must be read: small ones in batches by a pool of readers, large ones and those with holes in line.

use std::sync::Arc;

use super::{Taker, stat_of};
use crate::crypto::ChunkType;
use crate::filesystem::{self, Found, Segment};
use crate::format::tree::{self, Content, LeftOut};
use crate::repository::writer::Named;
use crate::snapshot::files::{Outcome, Run, ToRead, Trust, WasRead};
use crate::snapshot::pending::Seen;
use crate::snapshot::stream::{Sink, Stored, StreamPlan};
use crate::snapshot::{SnapshotError, attributes};

/// Files handed to a reader together: enough that handing over costs nothing, few enough that memory stays small.
const BATCH_FILES: usize = 32;
const BATCH_BYTES: u64 = 1 << 20;

/// What the file system calls a hole is read up to so many bytes of a file, for some have called data that: reading zeros costs little.
const HOLES_CHECKED_BYTES: u64 = 64 << 20;

impl Taker<'_> {
    pub(super) fn read(&mut self, job: ToRead) -> Result<(), SnapshotError> {
        self.batch_bytes += job.found.stat.size;
        self.batch.push(job);
        if self.batch.len() >= BATCH_FILES || self.batch_bytes >= BATCH_BYTES {
            self.submit()?;
        }
        Ok(())
    }

    pub(super) fn submit(&mut self) -> Result<(), SnapshotError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        while self.readers.is_full() {
            if let Some(results) = self.readers.take() {
                self.take_results(results)?;
            }
        }
        self.context.writer.load_pieces()?;
        self.batch_bytes = 0;
        self.readers.submit(std::mem::take(&mut self.batch));
        Ok(())
    }

    pub(super) fn take_ready(&mut self) -> Result<(), SnapshotError> {
        while let Some(results) = self.readers.take_ready() {
            self.take_results(results)?;
        }
        Ok(())
    }

    pub(super) fn take_results(&mut self, mut results: Vec<WasRead>) -> Result<(), SnapshotError> {
        // One look-up for the whole batch: cut the answers up again afterwards.
        let mut pieces = Vec::new();
        for result in &mut results {
            if let Ok(Outcome::Whole(whole)) = &mut result.outcome {
                pieces.append(&mut whole.pieces);
            }
        }
        let mut chunks = Vec::new();
        for result in &results {
            if let Ok(Outcome::Whole(whole)) = &result.outcome {
                let mut rest = whole.bytes.as_slice();
                for &(length, id) in &whole.chunks {
                    let (bytes, after) = rest.split_at(length);
                    rest = after;
                    chunks.push(Named { chunk_type: ChunkType::Data, id, bytes });
                }
            }
        }
        let mut placed = self.context.writer.place_cut(&chunks, &pieces)?.into_iter();
        let mut too_long = Vec::new();
        for WasRead { level, row, folder, mut found, outcome } in results {
            let whole = match outcome {
                Ok(Outcome::Whole(whole)) => whole,
                Ok(Outcome::TooLong) => {
                    too_long.push((level, row, folder, found));
                    continue;
                }
                Err(error) => {
                    self.could_not_read(level, &found, error.is_vanished(), error.to_string())?;
                    continue;
                }
            };
            let mut items = Vec::with_capacity(whole.chunks.len());
            let mut homes = Vec::with_capacity(whole.chunks.len());
            for (&(length, id), placed) in whole.chunks.iter().zip(placed.by_ref()) {
                items.push(tree::Item::Chunk { id, length: length as u64 });
                homes.push(placed.home);
            }
            // A file read whole has fewer chunks than a node holds items.
            found.node.content = Content { level: 0, items };
            let stored = Stored { content: found.node.content.clone(), bytes: whole.bytes.len() as u64, homes };
            self.context.monitor.advance(1, stored.bytes);
            self.file_done(level, row, found, stored, whole.trust)?;
        }
        for (level, row, folder, found) in too_long {
            self.read_in_line(level, row, &folder, found)?;
        }
        Ok(())
    }

    /// A large file, or one with holes: streamed through the pipeline, here and now.
    pub(super) fn read_in_line(
        &mut self,
        level: u64,
        row: usize,
        dir: &Arc<filesystem::Folder>,
        mut found: Found,
    ) -> Result<(), SnapshotError> {
        self.context.writer.load_pieces()?;
        self.context.writer.begin_source()?;
        let mut attempt = 1;
        loop {
            let (stored, trust) = match self.stream_file(dir, &mut found) {
                Ok(done) => done,
                Err(SnapshotError::Filesystem(error)) => {
                    return self.could_not_read(level, &found, error.is_vanished(), error.to_string());
                }
                Err(SnapshotError::Read(error)) => return self.could_not_read(level, &found, false, error.to_string()),
                Err(error) => return Err(error),
            };
            if trust.is_worth_another_try() && attempt == 1 {
                attempt += 1;
                continue;
            }
            found.node.size = stored.bytes;
            found.node.content = stored.content.clone();
            self.context.monitor.advance(1, 0);
            return self.file_done(level, row, found, stored, trust);
        }
    }

    fn stream_file(&mut self, dir: &filesystem::Folder, found: &mut Found) -> Result<(Stored, Trust), SnapshotError> {
        let workshop = Arc::clone(&self.context.workshop);
        let file = dir.open_file(found)?;
        file.complete(found, &workshop.owners)?;
        file.will_be_read_through();
        self.context.monitor.current(&found.node.name);
        let mut sink = Sink::default();
        let mut plan = StreamPlan { chunker: &workshop.chunker, sizes: workshop.sizes, mac: None, pieces: workshop.pieces.clone() };
        let (mut at, mut to_check) = (0, HOLES_CHECKED_BYTES);
        for segment in file.segments() {
            let (offset, length, is_hole) = match segment {
                Segment::Data { offset, length } => (offset, length, false),
                Segment::Hole { offset, length } if length > to_check => (offset, length, true),
                Segment::Hole { offset, length } => {
                    to_check -= length;
                    (offset, length, file.is_hole(offset, length)?)
                }
            };
            if is_hole {
                sink.hole(self.context.writer, length)?;
                self.context.monitor.advance(0, length);
                at += length;
                continue;
            }
            let mut run = Run::new(&file, offset, length);
            sink.append(self.context.writer, &mut run, &mut plan, self.context.monitor, self.context.stop)?;
            at += run.read;
            if run.read < length {
                break;
            }
        }
        // Where the size says that it ends there may be more: some file systems give no size, or a wrong one. A file that grows is left
        // to the next try, for the end of it may run ahead for ever.
        if at == file.stat().size && !file.changed()? && file.read_at(&mut [0], at)? > 0 {
            let mut rest = Run::new(&file, at, u64::MAX);
            sink.append(self.context.writer, &mut rest, &mut plan, self.context.monitor, self.context.stop)?;
            at += rest.read;
        }
        let trust = Trust::in_file(&file, at)?;
        Ok((sink.finish(self.context.writer)?, trust))
    }

    fn file_done(&mut self, key: u64, row: usize, mut found: Found, mut stored: Stored, trust: Trust) -> Result<(), SnapshotError> {
        found.node.hard_link = self.context.file_systems.hard_link(&found);
        let Some(level) = self.levels.get(&key) else { return Ok(()) };
        let path = self.path_of(&level.path, &found.node.name);
        let relative = level.path.clone();
        if let Some(complaint) = trust.complaint() {
            self.trouble(path, false, complaint.to_owned());
        }
        let homes = attributes::make_fit(self.context.writer, &mut found.node)?;
        stored.homes.extend(homes);
        let stat = stat_of(&found.stat);
        let stat = (trust == Trust::Full && stat.is_settled(self.context.start)).then_some(stat);
        let encoded = self.encode(&found.node, &relative)?;
        let old = self.levels.get(&key).and_then(|level| level.old.as_ref()?.find(&found.node.name));
        // A file that changed shortly before the last run is read again, and most often it is what it was.
        let action = match old {
            None => "new",
            Some(old) if old.node == encoded => "unmodified",
            Some(_) => "changed",
        };
        self.count_file(&relative, &found, action, stored.bytes);
        if let Some(level) = self.levels.get_mut(&key) {
            let row = &mut level.rows[row];
            row.encoded = Some(encoded);
            row.seen = Some(Seen::Read { stat, homes: stored.homes });
            level.awaited -= 1;
        }
        self.close_if_done(key)
    }

    fn could_not_read(&mut self, key: u64, found: &Found, vanished: bool, detail: String) -> Result<(), SnapshotError> {
        if let Some(level) = self.levels.get_mut(&key) {
            level.awaited -= 1;
            level.node.leave_out(LeftOut::UNREAD.when(!vanished));
            let path = self.levels.get(&key).map(|level| self.path_of(&level.path, &found.node.name));
            self.trouble(path.unwrap_or_default(), vanished, detail);
        }
        self.close_if_done(key)
    }
}
