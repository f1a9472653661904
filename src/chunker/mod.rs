//! The chunker: where a run of bytes is cut, so that a change moves only the cuts beside it.
//!
//! Chunker 1 is FastCDC v2020 of the fastcdc crate with gear tables derived from a key, so that chunk lengths tell nothing to whoever
//! lacks it. Keyed, not proved: it relies on chunk lengths never being visible in the store. Leans on fastcdc (the only room that
//! knows it) and blake3; it never knows what the bytes are or what becomes of the chunks.
//!
//! The crate's 64-bit xor seed is not used: sixteen known chunk lengths give it away. Its cut points decide what is deduplicated
//! against what is stored already, so the crate is pinned and the golden cut points below must never change.

use std::sync::Arc;

use fastcdc::v2020::{self, Normalization};

/// How long chunks are, in bytes. Even numbers; the average a power of two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// No chunk but the last of its run is shorter.
    pub min: u32,
    /// What most chunks are near to.
    pub avg: u32,
    /// No chunk is longer.
    pub max: u32,
}

/// Sizes the chunker cannot work with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("chunk sizes {min}/{avg}/{max}: {why}")]
pub struct SizesError {
    min: u32,
    avg: u32,
    max: u32,
    why: &'static str,
}

impl Sizes {
    /// Dumps and other streams: 32 KiB, 128 KiB, 512 KiB.
    pub const STREAMS: Self = Self { min: 32 << 10, avg: 128 << 10, max: 512 << 10 };
    /// Files: 64 KiB, 256 KiB, 1 MiB.
    pub const FILES: Self = Self { min: 64 << 10, avg: 256 << 10, max: 1 << 20 };

    /// Hard limits, whatever a config says: even, min < avg < max, avg a power of two, min 64 B..1 MiB, avg 256 B..4 MiB,
    /// max 1 KiB..16 MiB.
    pub fn check(&self) -> Result<(), SizesError> {
        let within = |size: u32, least: usize, most: usize| (least..=most).contains(&(size as usize));
        let why = if !(self.min.is_multiple_of(2) && self.max.is_multiple_of(2)) {
            // The crate scans two bytes a step; odd sizes would shift its boundaries.
            "must be even"
        } else if !self.avg.is_power_of_two() {
            "the average must be a power of two"
        } else if !(self.min < self.avg && self.avg < self.max) {
            "must rise"
        } else if !(within(self.min, v2020::MINIMUM_MIN, v2020::MINIMUM_MAX)
            && within(self.avg, v2020::AVERAGE_MIN, v2020::AVERAGE_MAX)
            && within(self.max, v2020::MAXIMUM_MIN, v2020::MAXIMUM_MAX))
        {
            "beyond the limits"
        } else {
            return Ok(());
        };
        Err(SizesError { min: self.min, avg: self.avg, max: self.max, why })
    }
}

/// A chunker of one key. Cheap to clone.
#[derive(Clone)]
pub struct Chunker(Arc<Tables>);

struct Tables {
    gear: [u64; 256],
    /// `gear` shifted left by one: the crate rolls two bytes a step and adds the first one a bit further up.
    gear_ls: [u64; 256],
}

impl Drop for Tables {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.gear);
        zeroize::Zeroize::zeroize(&mut self.gear_ls);
    }
}

impl Chunker {
    /// Gear tables from `cut_key`: `gear[i]` is the little-endian u64 at byte 8 i of XOF(`cut_key`), the extended output of keyed BLAKE3
    /// over nothing.
    pub fn new(cut_key: &[u8; 32]) -> Self {
        let mut output = blake3::Hasher::new_keyed(cut_key).finalize_xof();
        let gear: [u64; 256] = std::array::from_fn(|_| {
            let mut value = [0; 8];
            output.fill(&mut value);
            u64::from_le_bytes(value)
        });
        Self(Arc::new(Tables { gear_ls: gear.map(|value| value << 1), gear }))
    }

    /// Length of the first chunk of `data`; `None` when more data is needed to decide, that is when `data` is shorter than the longest
    /// chunk and not the `end` of its run, or empty. `sizes` must have passed [`Sizes::check`].
    pub fn cut(&self, sizes: &Sizes, data: &[u8], end: bool) -> Option<usize> {
        let (min, avg, max) = (sizes.min as usize, sizes.avg as usize, sizes.max as usize);
        if data.is_empty() || (data.len() < max && !end) {
            return None;
        }
        let (mask_s, mask_l) = v2020::select_masks(avg, Normalization::Level1);
        let Tables { gear, gear_ls } = &*self.0;
        let (_, length) = v2020::cut_gear(data, min, avg, max, mask_s, mask_l, mask_s << 1, mask_l << 1, gear, gear_ls);
        Some(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small, so that a test sees many chunks.
    const SMALL: Sizes = Sizes { min: 256, avg: 1024, max: 4096 };

    fn noise(seed: u8, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn lengths(chunker: &Chunker, sizes: &Sizes, mut data: &[u8]) -> Vec<usize> {
        let mut lengths = Vec::new();
        while let Some(length) = chunker.cut(sizes, data, true) {
            lengths.push(length);
            data = &data[length..];
        }
        lengths
    }

    /// Byte by byte and from the paper, not from the crate.
    fn cut_slowly(key: &[u8; 32], sizes: &Sizes, data: &[u8]) -> usize {
        let mut table = [0; 2048];
        blake3::Hasher::new_keyed(key).finalize_xof().fill(&mut table);
        let gear = |byte: u8| u64::from_le_bytes(table[usize::from(byte) * 8..][..8].try_into().unwrap());
        let bits = sizes.avg.ilog2() as usize;
        // The mask for the byte at an even distance is shifted with the hash, which cancels out: both see the same bits.
        let (strict, loose) = (v2020::MASKS[bits + 1], v2020::MASKS[bits - 1]);
        let mut hash = 0u64;
        for (at, &byte) in data.iter().enumerate().take(sizes.max as usize / 2 * 2).skip(sizes.min as usize) {
            hash = (hash << 1).wrapping_add(gear(byte));
            let centre = (sizes.avg as usize).min(data.len()) / 2 * 2;
            let last_odd_byte = data.len() % 2 == 1 && at == data.len() - 1;
            if !last_odd_byte && hash & if at < centre { strict } else { loose } == 0 {
                return at;
            }
        }
        data.len().min(sizes.max as usize)
    }

    #[test]
    fn cut_points_are_what_they_always_were() {
        let data = noise(7, 3 << 20);
        let chunker = Chunker::new(&[1; 32]);
        assert_eq!(lengths(&chunker, &Sizes::STREAMS, &data)[..8], [161636, 212325, 149079, 49823, 55956, 81497, 182533, 159767]);
        assert_eq!(lengths(&chunker, &Sizes::FILES, &data)[..4], [161636, 289237, 177946, 81497]);
        assert_eq!(lengths(&Chunker::new(&[2; 32]), &SMALL, &data)[..8], [1034, 1314, 973, 1102, 1994, 859, 321, 267]);
    }

    #[test]
    fn cut_points_are_those_of_the_algorithm_written_out() {
        let data = noise(3, 300_001);
        let key = [9; 32];
        let mut rest = &data[..];
        for length in lengths(&Chunker::new(&key), &SMALL, &data) {
            assert_eq!(length, cut_slowly(&key, &SMALL, rest));
            rest = &rest[length..];
        }
    }

    #[test]
    fn chunks_keep_to_their_sizes() {
        for data in [noise(5, 1 << 20), vec![0; 1 << 20], b"ab".repeat(1 << 19)] {
            let lengths = lengths(&Chunker::new(&[4; 32]), &SMALL, &data);
            assert_eq!(lengths.iter().sum::<usize>(), data.len());
            let (_, all_but_last) = lengths.split_last().unwrap();
            assert!(all_but_last.iter().all(|&length| (256..=4096).contains(&length)));
        }
        let average = (1 << 20) / lengths(&Chunker::new(&[4; 32]), &SMALL, &noise(5, 1 << 20)).len();
        assert!((700..1600).contains(&average), "{average}");
    }

    #[test]
    fn a_changed_stretch_changes_only_the_chunks_around_it() {
        let chunker = Chunker::new(&[6; 32]);
        let before = noise(8, 1 << 20);
        let mut after = before.clone();
        after.splice(500_000..500_010, *b"something else, and longer");
        let cuts = |data: &[u8]| {
            let mut at = 0;
            let all = lengths(&chunker, &SMALL, data);
            all.iter()
                .map(|length| {
                    (at, {
                        at += length;
                        data[at - length..at].to_vec()
                    })
                        .1
                })
                .collect::<Vec<_>>()
        };
        let old: std::collections::HashSet<_> = cuts(&before).into_iter().collect();
        let new = cuts(&after);
        let changed = new.iter().filter(|chunk| !old.contains(*chunk)).count();
        assert!((1..=8).contains(&changed), "{changed} of {} chunks are new", new.len());
    }

    #[test]
    fn another_key_cuts_elsewhere() {
        let data = noise(1, 1 << 20);
        let ends = |key| {
            let mut end = 0;
            lengths(&Chunker::new(&[key; 32]), &SMALL, &data)
                .iter()
                .map(|l| {
                    end += l;
                    end
                })
                .collect::<std::collections::HashSet<_>>()
        };
        let (one, other) = (ends(1), ends(2));
        assert!(one.intersection(&other).count() * 20 < one.len());
    }

    #[test]
    fn nothing_is_decided_before_enough_data_is_there() {
        let chunker = Chunker::new(&[3; 32]);
        let data = noise(2, 4096);
        assert_eq!(chunker.cut(&SMALL, &data[..4095], false), None);
        let decided = chunker.cut(&SMALL, &data, false);
        assert_eq!(decided, chunker.cut(&SMALL, &[&data[..], &[0; 999]].concat(), false));
        assert_eq!(chunker.cut(&SMALL, &data[..100], true), Some(100));
        assert_eq!(chunker.cut(&SMALL, b"", true), None);
        assert_eq!(chunker.cut(&SMALL, b"", false), None);
    }

    #[test]
    fn the_class_sizes_pass_and_impossible_sizes_do_not() {
        assert_eq!(Sizes::STREAMS.check(), Ok(()));
        assert_eq!(Sizes::FILES.check(), Ok(()));
        for (min, avg, max) in [
            (255, 1024, 4096),
            (256, 1024, 4097),
            (256, 1000, 4096),
            (1024, 1024, 4096),
            (256, 4096, 4096),
            (32, 1024, 4096),
            (64, 128, 4096),
            (256, 1 << 23, 16 << 20),
            (1 << 10, 1 << 20, (16 << 20) + 2),
        ] {
            assert!(Sizes { min, avg, max }.check().is_err(), "{min} {avg} {max}");
        }
    }
}
