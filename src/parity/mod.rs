//! Recovery shards for one run of bytes: computed, and used to put damaged stretches right.
//!
//! The run is cut into shards of one size; Reed-Solomon recovery shards stand beside them. As many shards as there are recovery shards
//! left may be lost, whichever they are, as long as it is known which: whoever calls knows that from checksums.
//!
//! Leans on the reed-solomon-simd crate, and is the only room that knows it. Never knows what the bytes are, where they are kept, or
//! how a lost shard is told from a good one.

mod pieces;
mod shape;

#[cfg(test)]
mod page_tests;

pub(crate) use shape::Shape;

use reed_solomon_simd::{Error, ReedSolomonDecoder, ReedSolomonEncoder};

use pieces::Pieces;

/// Bytes of each shard that are encoded at a time. The code works on each 64 bytes of the shards by themselves, so columns may be of any
/// multiple of that; this one keeps the work of a 16 MiB run at 1 MiB, inside a core's cache, where whole shards would need 16 MiB.
const ENCODE_COLUMN: usize = 1 << 10;
/// Of each shard that are decoded at a time: wider, because every round first works out which shards are lost (about a millisecond).
const DECODE_COLUMN: usize = 4 << 10;

/// Why bytes could not be protected or mended.
#[derive(Clone, Copy, PartialEq, Debug, thiserror::Error)]
pub enum ParityError {
    /// No shards can be made of this.
    #[error("recovery shards cannot be made of {length} bytes: {why}")]
    Shape {
        /// Bytes of the run.
        length: usize,
        /// What is wrong.
        why: &'static str,
    },
    /// The bytes handed in are not those of the shape.
    #[error("{found} bytes or shards where {expected} belong")]
    Length {
        /// How many there were.
        found: usize,
        /// How many there had to be.
        expected: usize,
    },
    /// More is lost than there are recovery shards for.
    #[error("{lost} shards are damaged, and only {left} recovery shards are left to mend them")]
    NotEnough {
        /// Damaged shards.
        lost: usize,
        /// Intact recovery shards.
        left: usize,
    },
    /// The code refused what the checks above should have refused.
    #[error("the recovery code failed: {0}")]
    Code(Error),
}

impl From<Error> for ParityError {
    fn from(error: Error) -> Self {
        Self::Code(error)
    }
}

/// The recovery shards of a run of bytes, end to end. The run is `parts` laid end to end; behind its end zeros are thought.
pub(crate) fn protect(shape: &Shape, parts: &[&[u8]]) -> Result<Vec<u8>, ParityError> {
    let pieces = Pieces::new(parts);
    same(pieces.length(), shape.length())?;
    let mut recovery = vec![0; shape.recovery() * shape.shard_size()];
    let mut encoder = ReedSolomonEncoder::new(shape.shards(), shape.recovery(), ENCODE_COLUMN)?;
    let mut spare = [0; ENCODE_COLUMN];
    for column in (0..shape.shard_size()).step_by(ENCODE_COLUMN) {
        let mut place = 0;
        for shard in 0..shape.shards() {
            encoder.add_original_shard(pieces.get(shard * shape.shard_size() + column, &mut spare, &mut place))?;
        }
        for (number, bytes) in encoder.encode()?.recovery_iter().enumerate() {
            recovery[number * shape.shard_size() + column..][..ENCODE_COLUMN].copy_from_slice(bytes);
        }
    }
    Ok(recovery)
}

/// Puts the lost shards of `bytes` right. `lost` says for each shard, `recovery_lost` for each recovery shard, whether it is; what stands
/// in lost places does not matter. Whether the result is right is for the caller to check: a shard wrongly thought good spoils it.
pub(crate) fn mend(
    shape: &Shape,
    bytes: &mut [u8],
    lost: &[bool],
    recovery: &[u8],
    recovery_lost: &[bool],
) -> Result<(), ParityError> {
    same(bytes.len(), shape.length())?;
    same(lost.len(), shape.shards())?;
    same(recovery.len(), shape.recovery() * shape.shard_size())?;
    same(recovery_lost.len(), shape.recovery())?;
    let lost_count = lost.iter().filter(|&&lost| lost).count();
    let left: Vec<usize> = (0..shape.recovery()).filter(|&number| !recovery_lost[number]).collect();
    if lost_count == 0 {
        return Ok(());
    }
    if lost_count > left.len() {
        return Err(ParityError::NotEnough { lost: lost_count, left: left.len() });
    }
    let size = shape.shard_size();
    let mut decoder = ReedSolomonDecoder::new(shape.shards(), shape.recovery(), DECODE_COLUMN)?;
    let mut spare = [0; DECODE_COLUMN];
    for column in (0..size).step_by(DECODE_COLUMN) {
        for shard in (0..shape.shards()).filter(|&shard| !lost[shard]) {
            let at = shard * size + column;
            let there = bytes.get(at..bytes.len().min(at + DECODE_COLUMN)).unwrap_or_default();
            spare[..there.len()].copy_from_slice(there);
            spare[there.len()..].fill(0);
            decoder.add_original_shard(shard, spare)?;
        }
        for &number in &left[..lost_count] {
            decoder.add_recovery_shard(number, &recovery[number * size + column..][..DECODE_COLUMN])?;
        }
        for (shard, restored) in decoder.decode()?.restored_original_iter() {
            let at = (shard * size + column).min(bytes.len());
            let end = bytes.len().min(at + DECODE_COLUMN);
            bytes[at..end].copy_from_slice(&restored[..end - at]);
        }
    }
    Ok(())
}

fn same(found: usize, expected: usize) -> Result<(), ParityError> {
    if found == expected { Ok(()) } else { Err(ParityError::Length { found, expected }) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::shape::SHARD_SIZE;
    use super::*;

    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    /// `count` different numbers below `most`.
    fn chosen(seed: u64, count: usize, most: usize) -> Vec<bool> {
        let mut order: Vec<usize> = (0..most).collect();
        order.sort_by_key(|number| *blake3::hash(&[seed.to_le_bytes(), number.to_le_bytes()].concat()).as_bytes());
        let mut marks = vec![false; most];
        order[..count].iter().for_each(|&number| marks[number] = true);
        marks
    }

    fn spoil(shape: &Shape, bytes: &mut [u8], lost: &[bool]) {
        for shard in (0..shape.shards()).filter(|&shard| lost[shard]) {
            bytes[shape.range(shard)].iter_mut().for_each(|byte| *byte ^= 0x5a);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn as_many_lost_shards_as_recovery_shards_are_mended_and_not_one_more(
            length in 1usize..1_500_000, percent in 1u8..=50, seed: u64, cuts in prop::collection::vec(0usize..1_500_000, 0..5),
            recovery_share in 0.0f64..1.0,
        ) {
            let shape = Shape::of_share(length, percent).unwrap();
            let good = noise(seed, length);
            let mut ends: Vec<usize> = cuts.into_iter().map(|cut| cut.min(length)).chain([0, length]).collect();
            ends.sort_unstable();
            let parts: Vec<&[u8]> = ends.windows(2).map(|ends| &good[ends[0]..ends[1]]).collect();
            let recovery = protect(&shape, &parts).unwrap();
            prop_assert_eq!(recovery.len(), shape.recovery() * shape.shard_size());

            // Some of the recovery shards are damaged too.
            let bad_recovery = (recovery_share * shape.recovery() as f64) as usize;
            let recovery_lost = chosen(seed ^ 1, bad_recovery, shape.recovery());
            let mut damaged_recovery = recovery.clone();
            for number in (0..shape.recovery()).filter(|&number| recovery_lost[number]) {
                damaged_recovery[number * shape.shard_size()] ^= 1;
            }
            let left = shape.recovery() - bad_recovery;
            let lost = chosen(seed, left.min(shape.shards()), shape.shards());
            let mut damaged = good.clone();
            spoil(&shape, &mut damaged, &lost);
            mend(&shape, &mut damaged, &lost, &damaged_recovery, &recovery_lost).unwrap();
            prop_assert!(damaged == good);

            if left < shape.shards() {
                let lost = chosen(seed, left + 1, shape.shards());
                let result = mend(&shape, &mut damaged, &lost, &damaged_recovery, &recovery_lost);
                prop_assert_eq!(result, Err(ParityError::NotEnough { lost: left + 1, left }));
            }
        }
    }

    #[test]
    fn columns_give_what_whole_shards_give() {
        let shape = Shape::new(2_000_000, SHARD_SIZE, 7).unwrap();
        let bytes = noise(1, 2_000_000);
        let mut padded = bytes.clone();
        padded.resize(shape.shards() * SHARD_SIZE, 0);
        let whole = reed_solomon_simd::encode(shape.shards(), 7, padded.chunks(SHARD_SIZE)).unwrap();
        assert!(protect(&shape, &[&bytes]).unwrap() == whole.concat());
    }

    #[test]
    fn bytes_of_another_length_are_refused() {
        let shape = Shape::of_share(100_000, 5).unwrap();
        assert_eq!(protect(&shape, &[&[0; 99_999]]), Err(ParityError::Length { found: 99_999, expected: 100_000 }));
        let recovery = vec![0; shape.recovery() * shape.shard_size()];
        let (lost, recovery_lost) = (vec![false; shape.shards()], vec![false; shape.recovery()]);
        assert!(mend(&shape, &mut [0; 99_999], &lost, &recovery, &recovery_lost).is_err());
        assert!(mend(&shape, &mut vec![0; 100_000], &lost[1..], &recovery, &recovery_lost).is_err());
        assert!(mend(&shape, &mut vec![0; 100_000], &lost, &recovery[1..], &recovery_lost).is_err());
        assert!(mend(&shape, &mut vec![0; 100_000], &lost, &recovery, &recovery_lost[1..]).is_err());
        assert_eq!(mend(&shape, &mut vec![0; 100_000], &lost, &recovery, &recovery_lost), Ok(()));
    }
}
