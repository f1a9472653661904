//! Parity objects: recovery shards of one pack, with checksums that say which shards are damaged. Page `format-spec/parity.md`.
//!
//! The one object that is not sealed: everything in it follows from the sealed bytes of the pack, which whoever sees it sees too. So it
//! opens without a key, two writers make the same bytes, and a damaged sector costs one shard or one checksum instead of all of it. The
//! pack's name, the BLAKE3 of its bytes, decides whether what was mended is right; nothing in here has to be believed.

use std::borrow::Cow;

use super::error::{FormatError, at_most};
use super::limits;
use super::names;
use super::table::Fields;
use crate::id::{ObjectHash, PackId};
use crate::parity::{self, Shape};
use crate::planted;

const WHAT: &str = "parity object";
/// First bytes of a parity object.
pub const MAGIC: [u8; 8] = *b"ESKERPAR";
/// The version this program writes and reads.
pub const VERSION: u8 = 1;
/// Bytes of HEAD.
pub(crate) const HEAD_SIZE: usize = 72;
/// Bytes of HEAD that its checksum covers.
const COVERED: usize = 64;
/// The largest share, in percent of the pack's shards, that recovery shards are made for.
pub const PERCENT_MAX: u8 = 50;

/// Of a shard, or of HEAD: enough to tell damage by accident. Against anybody else there is the pack's name.
type Sum = [u8; 8];

fn sum(bytes: &[u8]) -> Sum {
    let mut sum = [0; 8];
    sum.copy_from_slice(&blake3::hash(bytes).as_bytes()[..8]);
    sum
}

/// What a parity object says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Head {
    pack: PackId,
    shape: Shape,
}

impl Head {
    fn encode(&self) -> [u8; HEAD_SIZE] {
        let mut bytes = [0; HEAD_SIZE];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8] = VERSION;
        // Both are far below 2^32: a shape comes from a pack, and packs have a limit.
        bytes[12..16].copy_from_slice(&(self.shape.shard_size() as u32).to_le_bytes());
        bytes[16..20].copy_from_slice(&(self.shape.recovery() as u32).to_le_bytes());
        bytes[24..32].copy_from_slice(&(self.shape.length() as u64).to_le_bytes());
        bytes[32..COVERED].copy_from_slice(&self.pack.0);
        let sum = sum(&bytes[..COVERED]);
        bytes[COVERED..].copy_from_slice(&sum);
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut fields = Fields::new(WHAT, bytes);
        if fields.array::<8>()? != MAGIC {
            return Err(FormatError::WrongMagic { what: WHAT });
        }
        let version = fields.u8()?;
        fields.zeros(3)?;
        let (shard_size, recovery) = (fields.u32()?, fields.u32()?);
        fields.zeros(4)?;
        let length = fields.u64()?;
        let pack = PackId(fields.array()?);
        if fields.array::<8>()? != sum(&bytes[..COVERED]) {
            return Err(FormatError::Damaged { what: WHAT });
        }
        match version {
            0 => return Err(FormatError::field(WHAT, "version", "is 0")),
            VERSION => {}
            version => return Err(FormatError::NewerVersion { what: WHAT, version }),
        }
        at_most("pack", length, limits::PACK_SIZE_MAX)?;
        let shape = Shape::new(length as usize, shard_size as usize, recovery as usize)?;
        let head = Self { pack, shape };
        at_most(WHAT, head.size() as u64, limits::PARITY_SIZE_MAX)?;
        Ok(head)
    }

    /// Checksums: of every shard of the pack, then of every recovery shard.
    fn sums(&self) -> usize {
        self.shape.shards() + self.shape.recovery()
    }
    fn table_size(&self) -> usize {
        self.sums() * size_of::<Sum>()
    }
    fn recovery_size(&self) -> usize {
        self.shape.recovery() * self.shape.shard_size()
    }
    /// Bytes of the object.
    fn size(&self) -> usize {
        2 * (HEAD_SIZE + self.table_size()) + self.recovery_size()
    }
}

/// Makes the parity object of a pack: `parts` laid end to end are its file. `percent` % of its shards will be able to be lost.
pub fn make(pack: PackId, parts: &[&[u8]], percent: u8) -> Result<(ObjectHash, Vec<u8>), FormatError> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    at_most("pack", length as u64, limits::PACK_SIZE_MAX)?;
    at_most("percent of parity", percent.into(), PERCENT_MAX.into())?;
    let head = Head { pack, shape: Shape::of_share(length, percent)? };
    at_most(WHAT, head.size() as u64, limits::PARITY_SIZE_MAX)?;
    let recovery = parity::protect(&head.shape, parts)?;
    let mut table = Vec::with_capacity(head.table_size());
    sums_of_parts(parts, head.shape.shard_size(), &mut table);
    recovery.chunks(head.shape.shard_size()).for_each(|shard| table.extend_from_slice(&sum(shard)));
    let mut object = Vec::with_capacity(head.size());
    object.extend_from_slice(&head.encode());
    object.extend_from_slice(&table);
    object.extend_from_slice(&recovery);
    object.extend_from_slice(&table);
    object.extend_from_slice(&head.encode());
    Ok((names::hash_of(&[&object]), object))
}

/// Bytes of the parity object of a pack of `length` bytes made with this share; `None` when there is none.
pub fn size(length: usize, percent: u8) -> Option<u64> {
    let shape = Shape::of_share(length, percent).ok()?;
    Some(Head { pack: PackId([0; 32]), shape }.size() as u64)
}

/// Checksums of the shards of bytes that lie in several parts.
fn sums_of_parts(parts: &[&[u8]], shard_size: usize, table: &mut Vec<u8>) {
    let mut close = |hasher: &mut blake3::Hasher| {
        table.extend_from_slice(&hasher.finalize().as_bytes()[..size_of::<Sum>()]);
        hasher.reset();
    };
    let mut hasher = blake3::Hasher::new();
    let mut room = shard_size;
    for part in parts {
        let mut rest = *part;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(room.min(rest.len()));
            hasher.update(now);
            room -= now.len();
            rest = later;
            if room == 0 {
                close(&mut hasher);
                room = shard_size;
            }
        }
    }
    if room < shard_size {
        close(&mut hasher);
    }
}

/// Is this a whole and undamaged parity object? Says of which pack. Whether it fits that pack only the pack can tell.
pub fn check(object: &[u8]) -> Result<PackId, FormatError> {
    let head = Head::decode(object)?;
    let (length, size) = (object.len() as u64, head.size() as u64);
    if length < size {
        return Err(FormatError::TooShort { what: WHAT, length, least: size });
    }
    at_most(WHAT, length, size)?;
    let found = Found::at_front(head, object);
    if found.tables[0] != found.tables[1] || object[object.len() - HEAD_SIZE..] != object[..HEAD_SIZE] {
        return Err(FormatError::field(WHAT, "its end", "does not repeat its beginning"));
    }
    match found.recovery_lost().iter().any(|&lost| lost) {
        true => Err(FormatError::Damaged { what: WHAT }),
        false => Ok(head.pack),
    }
}

/// Rebuilds a pack. `object` is a parity object of it, damaged or not; `left` is what can be read of its file: wrong, cut off, with
/// anything in place of what cannot be read. The result hashes to `pack`.
pub fn mend(object: &[u8], pack: PackId, left: &[u8]) -> Result<Vec<u8>, FormatError> {
    let found = Found::in_what_is_left(object)?;
    let shape = found.head.shape;
    if found.head.pack != pack {
        return Err(FormatError::WrongPlace { what: WHAT });
    }
    let mut bytes = left[..left.len().min(shape.length())].to_vec();
    let there = bytes.len();
    bytes.resize(shape.length(), 0);
    let lost: Vec<bool> = (0..shape.shards())
        .map(|shard| {
            let range = shape.range(shard);
            range.end > there || !found.is_sum(shard, &bytes[range])
        })
        .collect();
    let mut recovery = Cow::Borrowed(found.recovery);
    if recovery.len() < found.head.recovery_size() {
        recovery.to_mut().resize(found.head.recovery_size(), 0);
    }
    parity::mend(&shape, &mut bytes, &lost, &recovery, &found.recovery_lost())?;
    let is_right = *blake3::hash(&bytes).as_bytes() == pack.0 || planted::is("mended-unchecked");
    if is_right { Ok(bytes) } else { Err(FormatError::Damaged { what: "pack" }) }
}

/// A parity object whose HEAD was found, with both tables as they stand there.
struct Found<'a> {
    head: Head,
    tables: [&'a [u8]; 2],
    recovery: &'a [u8],
}

impl<'a> Found<'a> {
    /// By the HEAD at either end. An object that was cut off mends nothing any more that stood in the part that is gone; one too long
    /// was not ours.
    fn in_what_is_left(object: &'a [u8]) -> Result<Self, FormatError> {
        let whole = |head: Head| object.len() == head.size();
        let error = match Head::decode(object) {
            Ok(head) => return Ok(Self::at_front(head, object)),
            Err(error) => error,
        };
        let end = object.len().checked_sub(HEAD_SIZE).and_then(|start| Head::decode(&object[start..]).ok());
        end.filter(|&head| whole(head)).map(|head| Self::at_front(head, object)).ok_or(error)
    }

    /// Cuts the object into its parts; what is not there is empty.
    fn at_front(head: Head, object: &'a [u8]) -> Self {
        let part = |start: usize, length: usize| object.get(start..object.len().min(start + length)).unwrap_or_default();
        let first = HEAD_SIZE;
        let recovery = first + head.table_size();
        let second = recovery + head.recovery_size();
        Self {
            head,
            tables: [part(first, head.table_size()), part(second, head.table_size())],
            recovery: part(recovery, head.recovery_size()),
        }
    }

    /// Does one of the tables say this of shard `number`? A checksum that is damaged in both makes the shard count as lost.
    fn is_sum(&self, number: usize, bytes: &[u8]) -> bool {
        let sum = sum(bytes);
        self.tables.iter().any(|table| table.get(number * sum.len()..).is_some_and(|rest| rest.starts_with(&sum)))
    }

    fn recovery_lost(&self) -> Vec<bool> {
        let shape = self.head.shape;
        let is_lost = |number: usize| {
            let bytes = self.recovery.get(number * shape.shard_size()..(number + 1) * shape.shard_size());
            bytes.is_none_or(|bytes| !self.is_sum(shape.shards() + number, bytes))
        };
        (0..shape.recovery()).map(is_lost).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(length: usize) -> (PackId, Vec<u8>) {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(b"a pack").finalize_xof().fill(&mut bytes);
        (PackId(*blake3::hash(&bytes).as_bytes()), bytes)
    }

    #[test]
    fn a_parity_object_is_the_same_whoever_makes_it() {
        let (id, bytes) = pack(100_000);
        let (hash, object) = make(id, &[&bytes], 5).unwrap();
        let (again, same) = make(id, &[&bytes[..3], &[], &bytes[3..70_001], &bytes[70_001..]], 5).unwrap();
        assert!(hash == again && object == same);
        assert_eq!(hash.0, *blake3::hash(&object).as_bytes());
        assert_eq!(check(&object).unwrap(), id);
        assert_eq!(mend(&object, id, &bytes).unwrap(), bytes);
    }

    #[test]
    fn every_changed_byte_is_told_and_the_pack_is_mended_all_the_same() {
        let (id, bytes) = pack(70_000);
        let (_, object) = make(id, &[&bytes], 20).unwrap();
        let mut damaged = bytes.clone();
        damaged[5_000..9_000].fill(0);
        for place in (0..object.len()).filter(|place| *place < 400 || place % 501 == 0 || object.len() - place < 400) {
            let mut bad = object.clone();
            bad[place] ^= 0x20;
            assert!(check(&bad).is_err(), "byte {place}");
            assert!(mend(&bad, id, &damaged).unwrap() == bytes, "byte {place}");
        }
    }

    #[test]
    fn what_is_left_of_a_parity_object_mends_what_it_can() {
        let (id, bytes) = pack(400_000);
        let (_, object) = make(id, &[&bytes], 10).unwrap();
        let mut damaged = bytes.clone();
        damaged[100_000..120_000].fill(0);
        // The beginning or the end of the object is gone.
        let zeroed = |range: std::ops::Range<usize>| {
            let mut bad = object.clone();
            bad[range].fill(0);
            bad
        };
        for bad in [zeroed(0..4_000), zeroed(object.len() - 4_000..object.len()), object[..object.len() - 10_000].to_vec()] {
            assert!(check(&bad).is_err());
            assert!(mend(&bad, id, &damaged).unwrap() == bytes);
        }
        // One checksum of the first table and another of the second.
        let mut bad = object.clone();
        bad[HEAD_SIZE + 8] ^= 1;
        let end = bad.len();
        bad[end - HEAD_SIZE - 9] ^= 1;
        assert!(mend(&bad, id, &damaged).unwrap() == bytes);
        // Both ends: nothing says any more what it is.
        let mut bad = zeroed(0..4_000);
        bad[object.len() - 4_000..].fill(0);
        assert!(mend(&bad, id, &damaged).is_err());
        for bad in [&[][..], &object[..HEAD_SIZE - 1], &object[..HEAD_SIZE], &[0; 100]] {
            assert!(mend(bad, id, &damaged).is_err() && check(bad).is_err());
        }
    }

    #[test]
    fn a_pack_cut_off_or_grown_is_mended() {
        let (id, bytes) = pack(300_000);
        let (_, object) = make(id, &[&bytes], 10).unwrap();
        assert!(mend(&object, id, &bytes[..280_000]).unwrap() == bytes);
        assert!(mend(&object, id, &[&bytes[..], &[0; 5_000]].concat()).unwrap() == bytes);
        let error = mend(&object, id, &bytes[..200_000]).unwrap_err();
        assert!(error.to_string().contains("26 shards are damaged, and only 8"), "{error}");
        assert!(mend(&object, id, &[]).is_err());
    }

    #[test]
    fn the_parity_object_of_another_pack_and_a_forged_one_mend_nothing() {
        let ((id, bytes), (other, others)) = (pack(100_000), pack(100_001));
        let (_, object) = make(other, &[&others], 5).unwrap();
        assert!(matches!(mend(&object, id, &bytes), Err(FormatError::WrongPlace { .. })));
        // It names our pack, and would make of it what it was made of.
        let (_, object) = make(id, &[&others], 5).unwrap();
        let mut damaged = bytes.clone();
        damaged[0] ^= 1;
        assert!(mend(&object, id, &damaged).is_err());
        assert!(matches!(mend(&object, id, &others), Err(FormatError::Damaged { what: "pack" })));
    }

    #[test]
    fn huge_claims_are_refused_before_anything_is_allocated() {
        let (id, bytes) = pack(100_000);
        let (_, object) = make(id, &[&bytes], 5).unwrap();
        for (place, value) in [(16, u64::MAX), (24, u64::MAX), (24, 1 << 60), (24, (80 << 20) + 1), (24, 0)] {
            let mut bad = object[..HEAD_SIZE].to_vec();
            let width = if place == 16 { 4 } else { 8 };
            bad[place..place + width].copy_from_slice(&value.to_le_bytes()[..width]);
            let sum = sum(&bad[..COVERED]);
            bad[COVERED..].copy_from_slice(&sum);
            assert!(matches!(check(&bad), Err(FormatError::TooLong { .. } | FormatError::Parity(_))), "{place} {value}");
        }
        assert!(make(id, &[&bytes], 51).is_err());
        assert!(make(id, &[], 5).is_err());
    }
}
