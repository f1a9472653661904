//! How a run of bytes is cut into shards, and how many recovery shards stand beside them.

use std::ops::Range;

use reed_solomon_simd::ReedSolomonEncoder;

use super::ParityError;

/// Bytes of a shard: four sectors of a disk. 16 MiB are 1,024 of them.
pub(crate) const SHARD_SIZE: usize = 16 << 10;
/// Bytes of a shard of a small run: one sector.
pub(crate) const SHARD_SIZE_SMALL: usize = 4 << 10;
/// A run below this length, in bytes, is small: in shards of 16 KiB, a twentieth of it would be one or two, and two damaged sectors far
/// apart would be too many.
const SMALL: usize = 1 << 20;
/// Recovery shards come to at least this many bytes together: 4 sectors, or one large shard.
const RECOVERY_SIZE_MIN: usize = SHARD_SIZE;

/// A run of bytes, its shards and its recovery shards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shape {
    length: usize,
    shard_size: usize,
    recovery: usize,
}

impl Shape {
    /// Of `length` bytes in shards of `shard_size` with `recovery` recovery shards.
    pub(crate) fn new(length: usize, shard_size: usize, recovery: usize) -> Result<Self, ParityError> {
        let refuse = |why| Err(ParityError::Shape { length, why });
        if shard_size != SHARD_SIZE && shard_size != SHARD_SIZE_SMALL {
            return refuse("shards are of 4 KiB or of 16 KiB");
        }
        let shards = length.div_ceil(shard_size);
        if length == 0 || recovery == 0 || recovery > shards {
            return refuse("there must be a byte, a recovery shard, and no more recovery shards than others");
        }
        if !ReedSolomonEncoder::supports(shards, recovery) {
            return refuse("those are too many shards");
        }
        Ok(Self { length, shard_size, recovery })
    }

    /// As a writer makes it: at least `percent` % of the shards can be lost.
    pub(crate) fn of_share(length: usize, percent: u8) -> Result<Self, ParityError> {
        let shard_size = if length < SMALL { SHARD_SIZE_SMALL } else { SHARD_SIZE };
        let shards = length.div_ceil(shard_size);
        let share = (shards * usize::from(percent)).div_ceil(100);
        Self::new(length, shard_size, share.max(RECOVERY_SIZE_MIN / shard_size).min(shards))
    }

    /// Bytes of the run.
    pub(crate) fn length(&self) -> usize {
        self.length
    }
    /// Bytes of a shard.
    pub(crate) fn shard_size(&self) -> usize {
        self.shard_size
    }
    /// Shards of the run; the last may be short.
    pub(crate) fn shards(&self) -> usize {
        self.length.div_ceil(self.shard_size)
    }
    /// Recovery shards.
    pub(crate) fn recovery(&self) -> usize {
        self.recovery
    }
    /// Where a shard stands in the run; the end of the run for one that is not there.
    pub(crate) fn range(&self, shard: usize) -> Range<usize> {
        let start = shard.saturating_mul(self.shard_size).min(self.length);
        start..self.length.min(start + self.shard_size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_percent_of_16_mib_outlive_50_sectors_and_a_hole_of_700_kib() {
        let shape = Shape::of_share(16 << 20, 5).unwrap();
        assert_eq!((shape.shards(), shape.recovery()), (1024, 52));
        // A hole that begins anywhere touches one shard more than fit into it.
        assert!((700 << 10) / SHARD_SIZE + 2 <= shape.recovery());
    }

    #[test]
    fn small_runs_have_shards_of_one_sector_and_four_to_spare() {
        let shape = Shape::of_share(64 << 10, 5).unwrap();
        assert_eq!((shape.shard_size(), shape.shards(), shape.recovery()), (4096, 16, 4));
        let shape = Shape::of_share((1 << 20) - 1, 5).unwrap();
        assert_eq!((shape.shards(), shape.recovery()), (256, 13));
        assert_eq!(shape.range(255), 255 * 4096..(1 << 20) - 1);
        assert_eq!(shape.range(256), (1 << 20) - 1..(1 << 20) - 1);
        assert_eq!(Shape::of_share(1, 5).unwrap().recovery(), 1);
        assert_eq!(Shape::of_share(1 << 20, 5).unwrap().recovery(), 4);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (length, size, recovery) in [(0, SHARD_SIZE, 1), (1, SHARD_SIZE, 0), (1, SHARD_SIZE, 2), (1 << 20, 8192, 1)] {
            assert!(matches!(Shape::new(length, size, recovery), Err(ParityError::Shape { .. })), "{length} {size} {recovery}");
        }
        assert!(Shape::new(usize::MAX, SHARD_SIZE, 1).is_err());
    }
}
