//! From new chunks to packs in the store: open frames, compression, assembly, sealing, put.
//!
//! New chunks of one class are laid end to end in an *open frame*, those of data that look like noise in one of their own: among
//! pictures, drawings would be stored uncompressed with them. A full frame is compressed on any core; compressed frames come back
//! in order and are assembled; a full pack is sealed, named and put on an upload thread. At most a few frames and packs are between
//! the stages, so memory does not depend on how much is stored.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use crate::crypto::{BOX_OVERHEAD, ChunkType};
use crate::format::names;
use crate::format::pack::{self, Class, Codec, Encoding, PackFacts, PreparedChunk, PreparedFrame};
use crate::format::{Sealer, limits};
use crate::id::{ChunkId, PackId};
use crate::locks::Unpoisoned;
use crate::objects::{ObjectError, put_parity, unless_same};
use crate::parallel::{OrderedPool, cores};
use crate::planted;
use crate::store::{Store, StoreError, StoreErrorKind};
use crate::{compress, repository::RepositoryError};

/// Plaintext of one frame of data. zstd finds what chunks share only inside a frame: against 1 MiB, 4 MiB save 5 % of a dump and
/// 20 % of an RDB; opening one to read a single chunk costs about 5 ms.
const DATA_FRAME_SIZE_BYTES: usize = limits::FRAME_RAW_SIZE_MAX as usize;
/// Of one frame of trees, lists or recipes, which are read one by one; and of data that does not shrink, where a larger frame saves
/// nothing and small ones leave more edges to close a pack at (see `split_where_padding_is_least`).
const SMALL_FRAME_SIZE_BYTES: usize = 1 << 20;
/// A frame is closed at the latest when so many others were opened after it, so that whoever waits for its pack does not wait for ever.
const FRAME_OPEN_MAX: FrameNumber = 256;
/// Sealed size at which a pack is closed.
pub(crate) const PACK_SIZE_TARGET_BYTES: usize = 16 << 20;
/// Rows of a directory at which a pack is closed, well below the limit of the format.
const PACK_CHUNKS_TARGET: usize = 65_536;
/// Bases of composed chunks, each counted as often as it is used, at which a frame is closed and a pack is. A frame that is added to a
/// pack just below its target stays within the limits of the format.
const FRAME_BASES_TARGET: usize = 8_192;
const PACK_BASES_TARGET: usize = 32_768;
/// What 1,024 bytes of data take before this run has compressed any.
const PER_KIB_AT_FIRST: u32 = 256;
/// Level for what is new of composed chunks: it is little, so that time is cheap. Against level 3 it takes an eighth less.
const GATHERED_LEVEL: i32 = 12;
/// Packs sealed and put side by side. Two of 16 MiB fill any line; each more costs twice its size in memory.
const UPLOAD_THREADS: usize = 2;

/// Number of a frame within this session, in the order frames were opened.
pub(crate) type FrameNumber = u32;

/// A pack that is durable, and the session's frames in it.
pub(crate) struct StoredPack {
    /// What an index file will say of it.
    pub facts: PackFacts,
    /// The session's numbers of its frames.
    pub frames: Vec<FrameNumber>,
    /// Bytes of its parity object.
    pub parity_size: u64,
}

#[derive(Default)]
struct OpenFrame {
    number: FrameNumber,
    raw: Vec<u8>,
    chunks: Vec<PreparedChunk>,
    /// Bases of its composed chunks.
    base_count: usize,
}

struct FrameJob {
    class: Class,
    level: i32,
    number: FrameNumber,
    raw: Vec<u8>,
    chunks: Vec<PreparedChunk>,
}

struct ReadyFrame {
    class: Class,
    number: FrameNumber,
    frame: PreparedFrame,
}

#[derive(Default)]
struct Assembly {
    numbers: Vec<FrameNumber>,
    frames: Vec<PreparedFrame>,
    size_bytes: usize,
    chunk_count: usize,
    base_count: usize,
}

impl Assembly {
    fn push(&mut self, number: FrameNumber, frame: PreparedFrame) {
        self.numbers.push(number);
        self.size_bytes += frame.bytes.len();
        self.chunk_count += frame.chunks.len();
        self.base_count += bases_of(&frame);
        self.frames.push(frame);
    }

    /// Size of the pack if it were closed now, before padding; at most, since chunks may share bases.
    fn pack_size_bytes(&self) -> usize {
        pack_size_bytes(self.size_bytes, self.frames.len(), self.chunk_count, self.base_count)
    }

    /// Packs are padded in steps of up to 512 KiB. Of the frame edges in the last half, takes the one where that costs least, and
    /// gives the frames behind it back for the next pack.
    fn split_where_padding_is_least(&mut self) -> Self {
        let (mut size_bytes, mut chunk_count, mut base_count) = (0, 0, 0);
        let mut best = (u64::MAX, self.frames.len());
        for (nth, frame) in self.frames.iter().enumerate() {
            size_bytes += frame.bytes.len();
            chunk_count += frame.chunks.len();
            base_count += bases_of(frame);
            let size = pack_size_bytes(size_bytes, nth + 1, chunk_count, base_count);
            if size >= PACK_SIZE_TARGET_BYTES / 2 {
                // In millionths of the pack, so that small packs are not preferred.
                let waste = (limits::padme(size as u64) - size as u64) * 1_000_000 / size as u64;
                best = best.min((waste, nth + 1));
            }
        }
        let mut rest = Self::default();
        let numbers = self.numbers.split_off(best.1);
        let frames = self.frames.split_off(best.1);
        for (number, frame) in numbers.into_iter().zip(frames) {
            self.size_bytes -= frame.bytes.len();
            self.chunk_count -= frame.chunks.len();
            self.base_count -= bases_of(&frame);
            rest.push(number, frame);
        }
        rest
    }
}

fn bases_of(frame: &PreparedFrame) -> usize {
    let of = |chunk: &PreparedChunk| match &chunk.encoding {
        Encoding::Literal { .. } => 0,
        Encoding::Composed { bases, .. } => bases.len(),
    };
    frame.chunks.iter().map(of).sum()
}

fn pack_size_bytes(frames_bytes: usize, frame_count: usize, chunk_count: usize, base_count: usize) -> usize {
    const FRAME: usize = BOX_OVERHEAD + 16;
    const CHUNK_ROW: usize = 52;
    const BASE: usize = 32 + 2;
    // The DIRECTORY box and an empty PAD box come on top of the frames' own.
    pack::PREFIX_SIZE + 2 * BOX_OVERHEAD + frames_bytes + frame_count * FRAME + chunk_count * CHUNK_ROW + base_count * BASE
}

struct PackJob {
    class: Class,
    assembly: Assembly,
}

/// See the top of this file.
pub(crate) struct Packer {
    open: [OpenFrame; LANES],
    next_frame: FrameNumber,
    compressing: OrderedPool<FrameJob, Result<ReadyFrame, RepositoryError>>,
    assembling: [Assembly; 2],
    uploading: OrderedPool<PackJob, Result<StoredPack, RepositoryError>>,
    stored: Vec<StoredPack>,
    own: Arc<Mutex<HashSet<PackId>>>,
    /// Bytes of data that shrinks, before and after.
    squeezed: (u64, u64),
    level: i32,
    level_gathered: i32,
}

/// Open frames: data that shrinks, metadata, data that does not, what is new of composed chunks.
const LANES: usize = 4;
const DENSE: usize = 2;
const GATHERED: usize = 3;

fn lane(class: Class, bytes: &[u8]) -> usize {
    if class == Class::Data && compress::looks_dense(bytes) { DENSE } else { slot(class) }
}

fn slot(class: Class) -> usize {
    match class {
        Class::Data => 0,
        Class::Metadata => 1,
    }
}

fn class_of(chunk_type: ChunkType) -> Class {
    match chunk_type {
        ChunkType::Data => Class::Data,
        ChunkType::Tree | ChunkType::List => Class::Metadata,
    }
}

impl Packer {
    /// A packer that seals with `sealer` and puts into `store`, compressing at `level`, with this percentage of recovery shards beside
    /// each pack.
    pub(crate) fn new(store: Arc<dyn Store>, sealer: Arc<Sealer>, level: i32, parity_percent: u8) -> Self {
        let own = Arc::new(Mutex::new(HashSet::new()));
        let announced = Arc::clone(&own);
        Self {
            open: Default::default(),
            next_frame: 0,
            compressing: OrderedPool::new("esker-compress", cores(), cores() + 2, compress_frame),
            assembling: Default::default(),
            uploading: OrderedPool::new("esker-upload", UPLOAD_THREADS, UPLOAD_THREADS, move |job: PackJob| {
                put_pack(&*store, &sealer, parity_percent, &announced, job)
            }),
            stored: Vec::new(),
            own,
            squeezed: (0, 0),
            level,
            level_gathered: level.max(GATHERED_LEVEL),
        }
    }

    /// Takes a new chunk into the open frame of its class; says in which frame it will be.
    pub(crate) fn append(&mut self, chunk_type: ChunkType, id: ChunkId, bytes: &[u8]) -> Result<FrameNumber, RepositoryError> {
        let class = class_of(chunk_type);
        self.append_to(lane(class, bytes), chunk_type, id, bytes)
    }

    /// Takes what is new of composed chunks into an open frame of its own.
    pub(crate) fn append_gathered(&mut self, id: ChunkId, bytes: &[u8]) -> Result<FrameNumber, RepositoryError> {
        self.append_to(GATHERED, ChunkType::Data, id, bytes)
    }

    fn append_to(&mut self, lane: usize, chunk_type: ChunkType, id: ChunkId, bytes: &[u8]) -> Result<FrameNumber, RepositoryError> {
        let open = self.room(lane, class_of(chunk_type), bytes.len())?;
        // Both fit: a frame holds at most 4 MiB or one chunk, and chunks are at most 16 MiB.
        let (offset, length) = (open.raw.len() as u32, bytes.len() as u32);
        open.raw.extend_from_slice(bytes);
        open.chunks.push(PreparedChunk { id, chunk_type, encoding: Encoding::Literal { offset, length } });
        Ok(open.number)
    }

    /// The open frame of this lane, with room for so many bytes.
    fn room(&mut self, lane: usize, class: Class, length: usize) -> Result<&mut OpenFrame, RepositoryError> {
        let full = if lane == slot(Class::Data) || lane == GATHERED { DATA_FRAME_SIZE_BYTES } else { SMALL_FRAME_SIZE_BYTES };
        let open = &self.open[lane];
        if !open.chunks.is_empty() && open.raw.len() + length > full {
            self.close_lane(lane, class)?;
        }
        let open = &mut self.open[lane];
        if open.chunks.is_empty() {
            open.number = self.next_frame;
            open.raw.reserve_exact(length.max(full));
            self.next_frame += 1;
            self.close_stale()?;
        }
        Ok(&mut self.open[lane])
    }

    /// Takes the recipe of a new chunk into the open frame of metadata.
    pub(crate) fn append_recipe(
        &mut self,
        id: ChunkId,
        raw_length: u32,
        bases: Vec<ChunkId>,
        recipe: &[u8],
    ) -> Result<FrameNumber, RepositoryError> {
        let lane = slot(Class::Metadata);
        if self.open[lane].base_count + bases.len() > FRAME_BASES_TARGET {
            self.close_lane(lane, Class::Metadata)?;
        }
        let open = self.room(lane, Class::Metadata, recipe.len())?;
        let (offset, length) = (open.raw.len() as u32, recipe.len() as u32);
        open.raw.extend_from_slice(recipe);
        open.base_count += bases.len();
        let encoding = Encoding::Composed { offset, length, raw_length, bases };
        open.chunks.push(PreparedChunk { id, chunk_type: ChunkType::Data, encoding });
        Ok(open.number)
    }

    /// What 1,024 bytes of data that shrinks have taken so far.
    pub(crate) fn data_per_kib(&self) -> u32 {
        match self.squeezed {
            (before, after) if before >= 1 << 20 => (after * 1024 / before) as u32,
            _ => PER_KIB_AT_FIRST,
        }
    }

    /// Ends the open frames, so that what follows (another source) stands in frames of its own.
    pub(crate) fn close_frame(&mut self, class: Class) -> Result<(), RepositoryError> {
        if class == Class::Data {
            self.close_lane(DENSE, class)?;
        }
        self.close_lane(slot(class), class)
    }

    fn close_stale(&mut self) -> Result<(), RepositoryError> {
        for lane in 0..LANES {
            let class = if lane == slot(Class::Metadata) { Class::Metadata } else { Class::Data };
            if self.next_frame - self.open[lane].number > FRAME_OPEN_MAX {
                self.close_lane(lane, class)?;
            }
        }
        Ok(())
    }

    fn close_lane(&mut self, lane: usize, class: Class) -> Result<(), RepositoryError> {
        let open = std::mem::take(&mut self.open[lane]);
        if open.chunks.is_empty() {
            return Ok(());
        }
        while self.compressing.is_full() {
            self.take_compressed()?;
        }
        let level = if lane == GATHERED { self.level_gathered } else { self.level };
        self.compressing.submit(FrameJob { class, level, number: open.number, raw: open.raw, chunks: open.chunks });
        self.take_ready()
    }

    /// Takes over whatever other threads have finished; never waits.
    pub(crate) fn take_ready(&mut self) -> Result<(), RepositoryError> {
        while let Some(ready) = self.compressing.take_ready() {
            self.assemble(ready?)?;
        }
        while let Some(stored) = self.uploading.take_ready() {
            self.stored.push(stored?);
        }
        Ok(())
    }

    /// Packs that became durable since the last call.
    pub(crate) fn drain_stored(&mut self) -> Vec<StoredPack> {
        std::mem::take(&mut self.stored)
    }

    /// Puts everything, and waits until it is durable.
    pub(crate) fn flush(&mut self) -> Result<(), RepositoryError> {
        for class in [Class::Data, Class::Metadata] {
            self.close_frame(class)?;
        }
        self.close_lane(GATHERED, Class::Data)?;
        while !self.compressing.is_empty() {
            self.take_compressed()?;
        }
        for class in [Class::Data, Class::Metadata] {
            self.close_pack(class)?;
        }
        while let Some(stored) = self.uploading.take() {
            self.stored.push(stored?);
        }
        Ok(())
    }

    /// Packs whose put began, whatever became of it: own packs in the sense of the protocol.
    pub(crate) fn own(&self) -> HashSet<PackId> {
        self.own.lock().unpoisoned().clone()
    }

    fn take_compressed(&mut self) -> Result<(), RepositoryError> {
        match self.compressing.take() {
            Some(ready) => self.assemble(ready?),
            None => Ok(()),
        }
    }

    fn assemble(&mut self, ready: ReadyFrame) -> Result<(), RepositoryError> {
        if ready.class == Class::Data && ready.frame.codec == Codec::Zstd {
            self.squeezed.0 += u64::from(ready.frame.raw_length);
            self.squeezed.1 += ready.frame.bytes.len() as u64;
        }
        let assembly = &mut self.assembling[slot(ready.class)];
        assembly.push(ready.number, ready.frame);
        if assembly.pack_size_bytes() >= PACK_SIZE_TARGET_BYTES
            || assembly.chunk_count >= PACK_CHUNKS_TARGET
            || assembly.base_count >= PACK_BASES_TARGET
            || assembly.frames.len() >= limits::PACK_FRAMES_MAX as usize / 2
        {
            let rest = assembly.split_where_padding_is_least();
            self.close_pack(ready.class)?;
            self.assembling[slot(ready.class)] = rest;
        }
        Ok(())
    }

    fn close_pack(&mut self, class: Class) -> Result<(), RepositoryError> {
        let assembly = std::mem::take(&mut self.assembling[slot(class)]);
        if assembly.frames.is_empty() {
            return Ok(());
        }
        while self.uploading.is_full() {
            if let Some(stored) = self.uploading.take() {
                self.stored.push(stored?);
            }
        }
        self.uploading.submit(PackJob { class, assembly });
        Ok(())
    }
}

fn compress_frame(job: FrameJob) -> Result<ReadyFrame, RepositoryError> {
    let raw_length = job.raw.len() as u32;
    let (codec, bytes) =
        match compress::with_compressor(job.level, |compressor| compressor.compress_pieces(&job.raw, job.chunks.len()))? {
            Some(squeezed) => (Codec::Zstd, squeezed),
            None => (Codec::Raw, job.raw),
        };
    let frame = PreparedFrame { codec, raw_length, bytes, chunks: job.chunks };
    Ok(ReadyFrame { class: job.class, number: job.number, frame })
}

fn put_pack(
    store: &dyn Store,
    sealer: &Sealer,
    parity_percent: u8,
    own: &Mutex<HashSet<PackId>>,
    job: PackJob,
) -> Result<StoredPack, RepositoryError> {
    let sealed = pack::seal_pack(sealer, job.class, job.assembly.frames)?;
    // D1. The pack is own from before its put begins: it may be listed and condemned before the reply comes.
    own.lock().unpoisoned().insert(sealed.facts.id);
    // Of the size of a pack nothing is copied on the way to the network.
    let parts: Vec<Arc<Vec<u8>>> = sealed.parts.into_iter().map(Arc::new).collect();
    let slices: Vec<&[u8]> = parts.iter().map(|part| part.as_slice()).collect();
    let name = names::pack_name(sealed.facts.id);
    match unless_same(store, &name, &slices, store.create_shared(&name, &parts)) {
        Err(ObjectError::Store(StoreError { kind: StoreErrorKind::Full, .. })) if planted::is("enospc-swallowed") => {}
        other => other?,
    }
    // After the pack: a parity object alone would be of use to nobody. A run that dies in between leaves a pack without one.
    let parity_size = match parity_percent {
        0 => 0,
        percent => put_parity(store, sealed.facts.id, &slices, percent)?,
    };
    Ok(StoredPack { facts: sealed.facts, frames: job.assembly.numbers, parity_size })
}
