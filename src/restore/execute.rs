//! Windows of work, brought to the disk: compare, read, write. [`finish`](super::finish) has the end of each entry.

use std::sync::{Arc, Mutex};

use crate::crypto::ChunkType;
use crate::filesystem::{FilesystemError, NewFile, Target};
use crate::format::tree::Node;
use crate::id::ChunkId;
use crate::locks::Unpoisoned;
use crate::parallel;
use crate::repository::Namer;
use crate::repository::RepositoryError;
use crate::restore::compare::{holds_chunk, holds_pieces, same_metadata, zero_runs};
use crate::restore::file::{FileJob, Handles, Way};
use crate::restore::plan::{Action, Piece, Segment, Window};
use crate::restore::tally::add;
use crate::restore::{RestoreError, Run, check, is_loss};

/// A chunk to be read: which piece of which segment it is for.
type Wanted = (ChunkType, ChunkId, (u32, u32));

/// What stands under the name of a small file.
enum Right {
    /// It differs in nothing.
    Altogether,
    /// Its content is right, and its metadata can be set.
    ButMetadata,
    /// It is to be replaced.
    No,
}

/// Executes windows one after the other; each on many threads.
pub(crate) struct Executor<'a> {
    pub(super) run: Run<'a>,
    pub(super) target: &'a Target,
    pub(super) handles: Handles<'a>,
    pub(super) namer: Namer,
    /// Files of this window, and the one that goes on in the next: what is not settled when the restore stops is removed.
    under_way: Mutex<Vec<Arc<FileJob>>>,
}

impl<'a> Executor<'a> {
    /// Nothing under way yet.
    pub(super) fn new(run: Run<'a>, target: &'a Target) -> Self {
        let namer = run.reader.repository().namer();
        Self { run, target, handles: Handles::new(target), namer, under_way: Mutex::default() }
    }

    /// Everything of one window.
    pub(crate) fn execute(&self, window: &Window) -> Result<(), RestoreError> {
        let mut under_way = self.under_way.lock().unpoisoned();
        under_way.retain(|job| !job.is_settled());
        under_way.extend(window.segments.iter().map(|segment| Arc::clone(&segment.job)));
        drop(under_way);
        let wanted = self.prepare(window)?;
        self.read(window, &wanted)?;
        if self.run.options.verify {
            check::window(self, window)?;
        }
        for link in &window.links {
            self.link(link)?;
        }
        for folder in &window.folders {
            self.folder(folder)?;
        }
        Ok(())
    }

    /// The restore stops before its end: half a file is of no use to anybody. One that was there before stays, as its time tells that
    /// it is not the snapshot's.
    pub(crate) fn give_up(&self) {
        for job in self.under_way.lock().unpoisoned().drain(..) {
            if !job.is_settled() && job.way() != Way::InPlace {
                // It stops for another reason; what cannot be removed has mode 0600 and a new time.
                let _ = self.handles.discard(&job);
            }
        }
    }

    /// Which chunks are to be read: all of new files, of existing ones those that differ. What needs no chunk is done here.
    fn prepare(&self, window: &Window) -> Result<Vec<Wanted>, RestoreError> {
        let mut wanted = Vec::with_capacity(window.pieces.len());
        let mut others = Vec::new();
        for (number, segment) in (0u32..).zip(&window.segments) {
            let pieces = pieces(window, segment);
            segment.job.expect(pieces.len() as u64);
            let is_plain = segment.job.way() == Way::Fresh && segment.job.trouble().is_none();
            if is_plain && pieces.iter().any(|piece| piece.chunk.is_some()) {
                let holes = pieces.iter().filter(|piece| piece.chunk.is_none()).count() as u64;
                wanted.extend(self.chunks(window, number, segment));
                // Pieces are left: this cannot be the last word about the file.
                let _ = segment.job.done(holes + u64::from(segment.last));
            } else {
                others.push((number, segment));
            }
        }
        let more = Mutex::new(wanted);
        parallel::for_each(self.run.threads, others.into_iter(), |(number, segment)| -> Result<(), RestoreError> {
            self.run.stop.check()?;
            let chunks = self.prepare_one(window, number, segment)?;
            more.lock().unpoisoned().extend(chunks);
            Ok(())
        })?;
        Ok(more.into_inner().unpoisoned())
    }

    fn chunks<'w>(&self, window: &'w Window, number: u32, segment: &'w Segment) -> impl Iterator<Item = Wanted> + 'w {
        let places = segment.pieces.clone();
        let chunk = move |place: u32| Some((ChunkType::Data, window.pieces.get(place as usize)?.chunk?, (number, place)));
        places.filter_map(chunk)
    }

    /// A segment of an existing, empty, hollow or broken file. What stays wanted is not counted as done.
    fn prepare_one(&self, window: &Window, number: u32, segment: &Segment) -> Result<Vec<Wanted>, RestoreError> {
        let job = &*segment.job;
        let pieces = pieces(window, segment);
        let hold = u64::from(segment.last);
        let all = pieces.len() as u64 + hold;
        let nothing_to_do = pieces.is_empty() && matches!(job.way(), Way::Fresh | Way::Keep);
        if job.trouble().is_some() || nothing_to_do {
            return self.done(job, all).map(|()| Vec::new());
        }
        let prepared = match job.way() {
            // Only holes in this segment: the file is made with its size.
            Way::Fresh => self.handles.get(job).map(|_| (all, Vec::new())),
            Way::Keep => Ok((all, Vec::new())),
            Way::InPlace => self.prepare_in_place(window, number, segment).map(|(right, wanted)| (right + hold, wanted)),
            Way::Replace => match self.is_right(job, pieces) {
                Ok(Right::Altogether) => {
                    job.turn(Way::Keep);
                    self.finished(job);
                    Ok((all, Vec::new()))
                }
                Ok(Right::ButMetadata) => {
                    job.turn(Way::Keep);
                    Ok((all, Vec::new()))
                }
                Ok(Right::No) => match pieces {
                    // The usual small file: written by whoever reads its chunk.
                    [Piece { chunk: Some(_), .. }] => Ok((hold, self.chunks(window, number, segment).collect())),
                    _ => {
                        self.assemble(job, pieces)?;
                        Ok((all, Vec::new()))
                    }
                },
                Err(error) => Err(error),
            },
        };
        match prepared {
            Ok((done, wanted)) => self.done(job, done).map(|()| wanted),
            Err(error) => {
                self.refused(job, error)?;
                self.done(job, all).map(|()| Vec::new())
            }
        }
    }

    /// Does the existing file hold what it should, and can its metadata be set where it is?
    fn is_right(&self, job: &FileJob, pieces: &[Piece]) -> Result<Right, FilesystemError> {
        if job.action != Action::CompareThenReplace {
            return Ok(Right::No);
        }
        let folder = self.target.folder(&job.folder)?;
        let Some(mut found) = folder.look_up(&job.node.name)? else { return Ok(Right::No) };
        // What cannot be read is replaced.
        let Ok(file) = folder.open_file(&mut found) else { return Ok(Right::No) };
        if found.node.size != job.node.size || !holds_pieces(&file, &self.namer, pieces)? {
            return Ok(Right::No);
        }
        file.complete(&mut found, self.run.owners)?;
        Ok(match self.is_same(&found.node, &job.node) {
            true => Right::Altogether,
            // One that has other names too gets a file of its own: its metadata is theirs as well.
            false if folder.update_file(&job.node.name).is_ok() => Right::ButMetadata,
            false => Right::No,
        })
    }

    pub(super) fn is_same(&self, there: &Node, node: &Node) -> bool {
        same_metadata(there, node, !self.run.options.no_ownership)
    }

    /// Pieces of an existing file that differ, and how many others there are.
    fn prepare_in_place(&self, window: &Window, number: u32, segment: &Segment) -> Result<(u64, Vec<Wanted>), FilesystemError> {
        let job = &*segment.job;
        let file = match self.handles.get(job) {
            Ok(file) => file,
            // Not ours to write, or it has got other names: a new one takes its place.
            Err(_) if !job.is_opened() => {
                job.turn(Way::Fresh);
                self.handles.get(job)?
            }
            Err(error) => return Err(error),
        };
        if file.stat()?.size != job.node.size {
            file.set_size(job.node.size)?;
            job.note_written();
        }
        let mut buffer = Vec::new();
        let (mut right, mut wanted) = (0, Vec::new());
        for (place, piece) in segment.pieces.clone().zip(pieces(window, segment)) {
            match &piece.chunk {
                None => file.punch(piece.offset, piece.length)?,
                Some(id) if job.way() == Way::InPlace && holds_chunk(&*file, &self.namer, id, piece, &mut buffer)? => {}
                Some(id) => {
                    wanted.push((ChunkType::Data, *id, (number, place)));
                    continue;
                }
            }
            right += 1;
        }
        Ok((right, wanted))
    }

    /// A small existing file of several pieces: its new content is put together before it takes the place of the old.
    fn assemble(&self, job: &FileJob, pieces: &[Piece]) -> Result<(), RestoreError> {
        let write = || -> Result<(), RestoreError> {
            let file = self.target.folder(&job.folder)?.replace_file(&job.node.name)?;
            file.set_size(job.node.size)?;
            for piece in pieces {
                let Some(id) = &piece.chunk else { continue };
                let bytes = self.run.reader.read_chunk(ChunkType::Data, id)?;
                if bytes.len() as u64 != piece.length {
                    return Err(wrong_length(*id).into());
                }
                self.write(&file, job, piece.offset, &bytes)?;
            }
            self.finish_file(file, job)
        };
        match write() {
            Ok(()) => Ok(()),
            Err(RestoreError::Repository(error)) if is_loss(&error) => {
                job.fail(error.to_string(), true);
                Ok(())
            }
            Err(RestoreError::Filesystem(error)) => self.refused(job, error),
            Err(error) => Err(error),
        }
    }

    fn read(&self, window: &Window, wanted: &[Wanted]) -> Result<(), RestoreError> {
        self.run.reader.read_many(wanted, self.run.threads, self.run.stop, |(segment, piece), bytes| {
            // Both numbers came from this window.
            let (Some(segment), Some(piece)) = (window.segments.get(segment as usize), window.pieces.get(piece as usize)) else {
                return Ok(());
            };
            let job = &*segment.job;
            match bytes {
                _ if job.trouble().is_some() => {}
                Ok(bytes) if bytes.len() as u64 == piece.length => {
                    self.run.monitor.current(&job.path());
                    job.note_shown(piece.length);
                    self.run.monitor.advance(0, piece.length);
                    self.piece(job, piece, bytes)?;
                }
                Ok(_) => job.fail("a chunk has another length than the file says".to_owned(), true),
                Err(error) if is_loss(&error) => job.fail(error.to_string(), true),
                Err(error) => return Err(error.into()),
            }
            self.done(job, 1)
        })
    }

    /// Writes one piece; a file of one piece is made, written and finished at once.
    fn piece(&self, job: &FileJob, piece: &Piece, bytes: &[u8]) -> Result<(), RestoreError> {
        let is_whole = piece.length == job.node.size;
        let written = match job.way() {
            Way::Fresh if is_whole => self.handles.create(job).and_then(|file| self.write_whole(file, job, bytes)),
            Way::Replace => self
                .target
                .folder(&job.folder)
                .and_then(|folder| folder.replace_file(&job.node.name))
                .and_then(|file| self.write_whole(file, job, bytes)),
            _ => self.handles.get(job).and_then(|file| self.write(&file, job, piece.offset, bytes)),
        };
        written.or_else(|error| self.refused(job, error))
    }

    fn write_whole(&self, file: NewFile, job: &FileJob, bytes: &[u8]) -> Result<(), FilesystemError> {
        if self.run.options.sparse {
            file.set_size(job.node.size)?;
        }
        let written = self.write(&file, job, 0, bytes);
        match written.and_then(|()| self.finish_plain(file, job)) {
            Err(error) => {
                // A replacement vanishes by itself.
                if job.way() == Way::Fresh {
                    let _ = self.target.folder(&job.folder).and_then(|folder| folder.remove(&job.node.name));
                }
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    fn write(&self, file: &NewFile, job: &FileJob, offset: u64, bytes: &[u8]) -> Result<(), FilesystemError> {
        job.note_written();
        if !self.run.options.sparse {
            add(&self.run.tally.bytes_written, bytes.len() as u64);
            return file.write_at(bytes, offset);
        }
        for (range, zeros) in zero_runs(bytes, offset) {
            let (at, length) = (offset + range.start as u64, range.len() as u64);
            match (zeros, job.way()) {
                (false, _) => {
                    add(&self.run.tally.bytes_written, length);
                    file.write_at(&bytes[range], at)?;
                }
                (true, Way::InPlace) => file.punch(at, length)?,
                (true, _) => {}
            }
        }
        Ok(())
    }
}

fn wrong_length(id: ChunkId) -> RepositoryError {
    RepositoryError::ChunkDamaged { id, detail: "it has another length than the file says".to_owned() }
}

/// The pieces of a segment.
pub(super) fn pieces<'w>(window: &'w Window, segment: &Segment) -> &'w [Piece] {
    window.pieces.get(segment.pieces.start as usize..segment.pieces.end as usize).unwrap_or_default()
}
