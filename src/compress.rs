//! Compression: zstd, one frame for one run of plaintext, and back into exactly the length that is authenticated elsewhere.
//!
//! Leans on the zstd crate and nothing else; the only room that knows it. It never knows what it compresses. A context costs some
//! hundred KiB and a page-faulting start, so each thread keeps one: [`with_compressor`], [`with_decompressor`].

use std::cell::RefCell;

use zstd::zstd_safe::{CParameter, DParameter, find_frame_compressed_size, get_frame_content_size};

/// Levels that are accepted: zstd's own, without the negative ones that hardly compress.
pub(crate) const LEVELS: std::ops::RangeInclusive<i32> = -7..=22;
/// Used unless the repository's config says otherwise.
pub(crate) const LEVEL_DEFAULT: i32 = 3;
/// The longest run of plaintext, in bytes, that is ever compressed or decompressed in one piece: the largest chunk.
pub(crate) const RAW_LENGTH_MAX: usize = 16 << 20;
/// Shorter input is compressed without asking samples first.
const PROBED_LENGTH_MIN: usize = 1 << 20;
/// How many samples are taken, and the bytes of each: a stretch that shrinks is missed only if it is below a thirtieth of the whole.
const SAMPLES: usize = 32;
const SAMPLE_LENGTH: usize = 4 << 10;
/// Bytes of a piece whose spread of values is looked at, one for so many bytes of a chunk, and at most so many.
const PIECE_LENGTH: usize = 1 << 10;
const PIECE_EVERY: usize = 32 << 10;
const PIECES_MAX: usize = 16;
/// Pieces shorter than this on average make a frame of many small files.
const SMALL_PIECE: usize = 16 << 10;
/// log2 of the largest window a frame may ask for: 16 MiB, the whole of the longest frame.
const WINDOW_LOG_MAX: u32 = 24;

/// Do all pieces of `bytes` look like noise: compressed or encrypted before? Then they are better kept apart from what shrinks. About
/// a microsecond a piece; what is shorter than one piece never looks so.
///
/// A piece's sum of squared counts of byte values is N + N(N-1)/256 on average for noise (5116 of 1024 bytes) and grows with every
/// preference; up to 1.3 times that, order-0 coding would save less than 3 %.
pub(crate) fn looks_dense(bytes: &[u8]) -> bool {
    let pieces = (bytes.len() / PIECE_EVERY).clamp(1, PIECES_MAX);
    bytes.len() >= PIECE_LENGTH && bytes.chunks(bytes.len() / pieces).take(pieces).all(|part| is_spread(&part[..PIECE_LENGTH]))
}

fn is_spread(piece: &[u8]) -> bool {
    let mut counts = [0_u32; 256];
    for &byte in piece {
        counts[usize::from(byte)] += 1;
    }
    let (sum, length) = (counts.iter().map(|&count| u64::from(count * count)).sum::<u64>(), piece.len() as u64);
    sum * 10 <= (length + length * (length - 1) / 256) * 13
}

/// How the default level is tuned for a frame of a MiB and more. Shorter ones and other levels are left as zstd sets them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tuning {
    /// As the level says.
    Level,
    /// A window over all of it (zstd's own is 2 MiB), and no matches shorter than 6 bytes. Of 4 MiB frames at the same speed: an RDB 3.3 %
    /// smaller, a dump 1.9 %, text 0.5 %; programs 1.7 % larger. Larger tables would take another 2 % off the RDB and cost 6 % of the time.
    Long,
    /// Small tables, which stay in a core's own cache: what small files share is near. A sixth faster; sources 0.6 % larger, words 0.4 %
    /// smaller.
    ManySmall,
}

impl Tuning {
    fn of(level: i32, length: usize, pieces: usize) -> Self {
        match length {
            _ if level != LEVEL_DEFAULT || length < PROBED_LENGTH_MIN => Self::Level,
            _ if length / pieces.max(1) < SMALL_PIECE => Self::ManySmall,
            _ => Self::Long,
        }
    }

    fn parameters(self) -> [CParameter; 4] {
        // Zero is what the level says.
        let (window, hash, chain, shortest) = match self {
            Self::Level => (0, 0, 0, 0),
            Self::Long => (22, 0, 0, 6),
            Self::ManySmall => (22, 16, 15, 0),
        };
        [CParameter::WindowLog(window), CParameter::HashLog(hash), CParameter::ChainLog(chain), CParameter::MinMatch(shortest)]
    }
}

/// Why something could not be compressed or decompressed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompressError {
    /// Not one of [`LEVELS`].
    #[error("compression level {0} is not between {min} and {max}", min = LEVELS.start(), max = LEVELS.end())]
    Level(i32),
    /// Longer than [`RAW_LENGTH_MAX`].
    #[error("{0} bytes are more than the {max} that go into one frame", max = RAW_LENGTH_MAX)]
    TooLong(usize),
    /// The compressed bytes hold less or more than the stated length.
    #[error("compressed data does not hold exactly the {0} bytes it should")]
    Length(usize),
    /// Not one whole zstd frame.
    #[error("not a zstd frame: {0}")]
    Damaged(String),
    /// The library refused; only lack of memory is known to do that.
    #[error("zstd: {0}")]
    Library(String),
}

fn library(error: impl std::fmt::Display) -> CompressError {
    CompressError::Library(error.to_string())
}

/// A compression context of one level.
pub struct Compressor {
    context: zstd::bulk::Compressor<'static>,
    level: i32,
    tuning: Tuning,
    /// Where zstd writes; reused, so that what is handed out has its exact size.
    scratch: Vec<u8>,
}

impl Compressor {
    /// A context for `level`, one of [`LEVELS`].
    pub fn new(level: i32) -> Result<Self, CompressError> {
        if !LEVELS.contains(&level) {
            return Err(CompressError::Level(level));
        }
        let mut context = zstd::bulk::Compressor::new(level).map_err(library)?;
        // The AEAD box around every frame already detects any change.
        context.set_parameter(CParameter::ChecksumFlag(false)).map_err(library)?;
        Ok(Self { context, level, tuning: Tuning::Level, scratch: Vec::new() })
    }

    /// One zstd frame with all of `raw`; `None` when that saves less than 3 %: then the raw bytes are stored.
    pub fn compress(&mut self, raw: &[u8]) -> Result<Option<Vec<u8>>, CompressError> {
        self.compress_pieces(raw, 1)
    }

    /// The same for `pieces` chunks laid end to end: how many there are tells what is likely to be found in them.
    pub(crate) fn compress_pieces(&mut self, raw: &[u8], pieces: usize) -> Result<Option<Vec<u8>>, CompressError> {
        if raw.len() > RAW_LENGTH_MAX {
            return Err(CompressError::TooLong(raw.len()));
        }
        // Pictures and archives: a few samples show what compressing all of it would, at a thirtieth of the time.
        if raw.len() >= PROBED_LENGTH_MIN && !self.samples_shrink(raw)? {
            return Ok(None);
        }
        self.tune(Tuning::of(self.level, raw.len(), pieces))?;
        let length = self.squeeze(raw)?;
        Ok(is_worth_it(length, raw.len()).then(|| self.scratch[..length].to_vec()))
    }

    fn tune(&mut self, tuning: Tuning) -> Result<(), CompressError> {
        if tuning != self.tuning {
            for parameter in tuning.parameters() {
                self.context.set_parameter(parameter).map_err(library)?;
            }
            self.tuning = tuning;
        }
        Ok(())
    }

    fn squeeze(&mut self, raw: &[u8]) -> Result<usize, CompressError> {
        self.scratch.clear();
        self.scratch.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        self.context.compress_to_buffer(raw, &mut self.scratch).map_err(library)
    }

    /// Does any of the samples, spread evenly over `raw`, shrink?
    fn samples_shrink(&mut self, raw: &[u8]) -> Result<bool, CompressError> {
        self.tune(Tuning::Level)?;
        for sample in raw.chunks(raw.len() / SAMPLES) {
            let sample = &sample[..sample.len().min(SAMPLE_LENGTH)];
            let length = self.squeeze(sample)?;
            if is_worth_it(length, sample.len()) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Saves at least 3 %. Lengths are at most 16 MiB, so the products fit.
fn is_worth_it(length: usize, raw_length: usize) -> bool {
    length * 100 <= raw_length * 97
}

/// A decompression context.
pub struct Decompressor {
    context: zstd::bulk::Decompressor<'static>,
}

impl Decompressor {
    /// A context that takes windows of at most 16 MiB.
    pub fn new() -> Result<Self, CompressError> {
        let mut context = zstd::bulk::Decompressor::new().map_err(library)?;
        // Decompression into one buffer uses that buffer as its window, whatever the frame asks for; the bound is for the day it does not.
        context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX)).map_err(library)?;
        Ok(Self { context })
    }

    /// The `raw_length` bytes of one zstd frame. Never writes or allocates beyond them; anything else than exactly one frame of exactly
    /// that length is an error. `raw_length` must be a length that was authenticated, or at least bounded, by the caller.
    pub fn decompress(&mut self, bytes: &[u8], raw_length: usize) -> Result<Vec<u8>, CompressError> {
        if raw_length > RAW_LENGTH_MAX {
            return Err(CompressError::TooLong(raw_length));
        }
        // Without this, frames behind the first and skippable ones would pass.
        let frame = find_frame_compressed_size(bytes).map_err(|code| damaged(zstd::zstd_safe::get_error_name(code)))?;
        if frame != bytes.len() {
            return Err(damaged("something follows the frame"));
        }
        // A slice, because of a Vec zstd would be given the whole capacity, which may be more.
        let mut raw = vec![0; raw_length];
        if get_frame_content_size(bytes).is_ok_and(|declared| declared.is_some_and(|length| length != raw_length as u64)) {
            return Err(CompressError::Length(raw_length));
        }
        let length = self.context.decompress_to_buffer(bytes, &mut raw[..]).map_err(|error| damaged(&error.to_string()))?;
        if length != raw_length {
            return Err(CompressError::Length(raw_length));
        }
        Ok(raw)
    }
}

fn damaged(why: &str) -> CompressError {
    CompressError::Damaged(why.to_owned())
}

thread_local! {
    static COMPRESSOR: RefCell<Option<Compressor>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor>> = const { RefCell::new(None) };
}

/// Runs `work` with this thread's compressor of `level`. `work` must not call this function again.
pub fn with_compressor<R>(level: i32, work: impl FnOnce(&mut Compressor) -> Result<R, CompressError>) -> Result<R, CompressError> {
    COMPRESSOR.with_borrow_mut(|kept| match kept {
        Some(compressor) if compressor.level == level => work(compressor),
        _ => work(kept.insert(Compressor::new(level)?)),
    })
}

/// Runs `work` with this thread's decompressor. `work` must not call this function again.
pub(crate) fn with_decompressor<R>(work: impl FnOnce(&mut Decompressor) -> Result<R, CompressError>) -> Result<R, CompressError> {
    DECOMPRESSOR.with_borrow_mut(|kept| match kept {
        Some(decompressor) => work(decompressor),
        None => work(kept.insert(Decompressor::new()?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_that_shrinks_is_found_among_noise() {
        let mut raw = vec![0; 4 << 20];
        blake3::Hasher::new().finalize_xof().fill(&mut raw);
        let mut compressor = Compressor::new(3).unwrap();
        assert_eq!(compressor.compress(&raw).unwrap(), None);
        for start in (0..raw.len() - (1 << 20)).step_by(300_000) {
            let mut mixed = raw.clone();
            mixed[start..start + (1 << 20)].fill(7);
            assert!(compressor.compress(&mixed).unwrap().is_some_and(|bytes| bytes.len() < 3_300_000), "from {start}");
        }
    }

    #[test]
    fn noise_looks_dense_and_words_base64_and_mixtures_do_not() {
        for length in [1024, 1025, 5000, 100_000, 1 << 20] {
            assert!(looks_dense(&noise(length)), "{length}");
            assert!(!looks_dense(&text(length)), "{length}");
            let base64: Vec<u8> = noise(length).iter().map(|byte| b'A' + byte % 64).collect();
            assert!(!looks_dense(&base64), "{length}");
        }
        let mut mixed = noise(1 << 20);
        mixed[200_000..300_000].fill(b' ');
        assert!(!looks_dense(&mixed));
        assert!(!looks_dense(b"") && !looks_dense(&noise(1023)));
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    fn text(length: usize) -> Vec<u8> {
        (0..).flat_map(|n: u32| format!("row {n}\tvalue {}\n", n * 7919).into_bytes()).take(length).collect()
    }

    fn decompress(bytes: &[u8], raw_length: usize) -> Result<Vec<u8>, CompressError> {
        Decompressor::new().unwrap().decompress(bytes, raw_length)
    }

    #[test]
    fn what_was_compressed_comes_back() {
        for level in [-7, 1, 3, 19] {
            for length in [2000, 65_536, 1 << 20, 4 << 20] {
                let raw = text(length);
                let pieces = length / if level > 0 { 3000 } else { 100_000 };
                let small = with_compressor(level, |c| c.compress_pieces(&raw, pieces)).unwrap().expect("text shrinks");
                assert!(small.len() < raw.len() && small.capacity() == small.len());
                assert_eq!(with_decompressor(|d| d.decompress(&small, length)).unwrap(), raw);
            }
        }
    }

    #[test]
    fn what_hardly_shrinks_is_left_alone() {
        assert_eq!(Compressor::new(3).unwrap().compress(&noise(100_000)).unwrap(), None);
        assert_eq!(Compressor::new(3).unwrap().compress(b"").unwrap(), None);
        // 2 % of zeros save 2 %, 5 % save 5 %.
        for (zeros, shrinks) in [(2_000, false), (5_000, true)] {
            let mut raw = noise(100_000);
            raw[..zeros].fill(0);
            assert_eq!(Compressor::new(3).unwrap().compress(&raw).unwrap().is_some(), shrinks, "{zeros} zeros");
        }
    }

    #[test]
    fn a_frame_of_another_length_is_refused() {
        let raw = text(5000);
        let small = Compressor::new(3).unwrap().compress(&raw).unwrap().unwrap();
        assert_eq!(decompress(&small, 4999), Err(CompressError::Length(4999)));
        assert_eq!(decompress(&small, 5001), Err(CompressError::Length(5001)));
        assert_eq!(decompress(&small, RAW_LENGTH_MAX + 1), Err(CompressError::TooLong(RAW_LENGTH_MAX + 1)));
    }

    #[test]
    fn a_bomb_never_grows_beyond_the_stated_length() {
        let bomb = Compressor::new(19).unwrap().compress(&vec![0; RAW_LENGTH_MAX]).unwrap().unwrap();
        assert!(bomb.len() < 2000);
        assert_eq!(decompress(&bomb, 1000), Err(CompressError::Length(1000)));
        assert_eq!(decompress(&bomb, RAW_LENGTH_MAX).unwrap().len(), RAW_LENGTH_MAX);
    }

    #[test]
    fn only_one_whole_frame_is_accepted() {
        let raw = text(5000);
        let small = Compressor::new(3).unwrap().compress(&raw).unwrap().unwrap();
        let twice = [&small[..], &small[..]].concat();
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4], &small[..]].concat();
        for bytes in [&small[..small.len() - 1], &small[1..], &twice, &skippable, b"", b"not zstd at all"] {
            assert!(matches!(decompress(bytes, 10_000), Err(CompressError::Damaged(_))));
            assert!(decompress(bytes, 5000).is_err());
        }
    }

    #[test]
    fn a_level_zstd_does_not_have_is_refused() {
        assert_eq!(Compressor::new(23).err(), Some(CompressError::Level(23)));
        assert_eq!(Compressor::new(-8).err(), Some(CompressError::Level(-8)));
    }
}
