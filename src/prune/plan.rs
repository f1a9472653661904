//! What goes and what is repacked: decided from numbers alone.

use std::collections::{BTreeMap, HashSet};

use crate::catalog::PackNumber;
use crate::format::pack::Class;
use crate::id::PackId;
use crate::repository::packing::PACK_SIZE_TARGET_BYTES;

/// Bytes of a full pack.
const FULL: u64 = PACK_SIZE_TARGET_BYTES as u64;
/// Packs below this are small: every short run leaves one or two.
const SMALL: u64 = FULL / 4;

/// How much may stay unused in packs that are partly used.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum MaxUnused {
    /// So many bytes.
    Bytes(u64),
    /// So many percent of what stays.
    Percent(f64),
    /// Any: nothing is repacked.
    Unlimited,
}

impl Default for MaxUnused {
    fn default() -> Self {
        Self::Percent(5.0)
    }
}

/// How much of a pack is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PackUse {
    /// In the cache.
    pub number: PackNumber,
    /// The pack.
    pub id: PackId,
    /// Bytes of the file.
    pub size: u64,
    /// What it holds.
    pub class: Class,
    /// Of its chunk ids.
    pub generation: u32,
    /// Rows of its directory.
    pub rows: u32,
    /// Rows that stay.
    pub chosen: u32,
    /// Sealed bytes of frames that fall to rows that stay.
    pub used: u64,
    /// Sealed bytes of all its frames.
    pub stored: u64,
    /// Bad for good though nobody may delete it: what is used of it is saved elsewhere, whatever it costs.
    pub must_go: bool,
}

impl PackUse {
    /// Sealed bytes of frames that fall to rows nobody needs.
    pub fn unused(&self) -> u64 {
        self.stored.saturating_sub(self.used)
    }
}

/// What a prune would do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// Nothing of these is used.
    pub remove: Vec<PackUse>,
    /// What is used of these is stored again, then they go.
    pub repack: Vec<PackUse>,
    /// Bytes that stay unused.
    pub unused_after: u64,
    /// Bytes that are used.
    pub used: u64,
}

impl Plan {
    /// Bytes that go: of packs nobody uses all, of repacked ones what is not used.
    pub fn going(&self) -> u64 {
        let removed: u64 = self.remove.iter().map(|pack| pack.size).sum();
        removed + self.repack.iter().map(PackUse::unused).sum::<u64>()
    }
}

/// Packs of which nothing is chosen go. Of partly used ones those with the largest unused share are repacked first, until what stays
/// unused is within `max_unused`, or `max_repack` bytes of packs would be read. Small ones of a kind are put together once they fill a
/// pack; what that makes is not small any more but for one rest, so the next prune finds nothing to do.
pub(super) fn plan(packs: &[PackUse], max_unused: MaxUnused, max_repack: Option<u64>) -> Plan {
    let mut plan = Plan::default();
    let mut partly = Vec::new();
    for pack in packs {
        if pack.chosen == 0 {
            plan.remove.push(*pack);
            continue;
        }
        plan.used += pack.used;
        plan.unused_after += pack.unused();
        if pack.must_go {
            plan.repack.push(*pack);
            plan.unused_after -= pack.unused();
        } else if pack.chosen < pack.rows {
            partly.push(*pack);
        }
    }
    let allowed = match max_unused {
        MaxUnused::Bytes(bytes) => bytes,
        MaxUnused::Unlimited => u64::MAX,
        // Of what stays, used and unused together.
        MaxUnused::Percent(percent) if percent >= 100.0 => u64::MAX,
        MaxUnused::Percent(percent) => (plan.used as f64 * percent.max(0.0) / (100.0 - percent.max(0.0))) as u64,
    };
    // Unused share falling; unused / stored against each other without division.
    partly.sort_by(|a, b| {
        let (left, right) = (u128::from(b.unused()) * u128::from(a.stored), u128::from(a.unused()) * u128::from(b.stored));
        left.cmp(&right).then(a.id.cmp(&b.id))
    });
    let mut read: u64 = 0;
    for pack in partly {
        if plan.unused_after <= allowed {
            break;
        }
        if max_repack.is_some_and(|most| read + pack.size > most) {
            continue;
        }
        read += pack.size;
        plan.unused_after -= pack.unused();
        plan.repack.push(pack);
    }
    if max_unused != MaxUnused::Unlimited {
        let left = max_repack.map_or(u64::MAX, |most| most.saturating_sub(read));
        for pack in small(packs, &plan.repack, left) {
            plan.unused_after -= pack.unused();
            plan.repack.push(pack);
        }
    }
    plan.remove.sort_unstable_by_key(|pack| pack.id);
    plan.repack.sort_unstable_by_key(|pack| (pack.class as u8, pack.generation, pack.number));
    plan
}

/// Small packs that fill at least one pack together, class by class and generation by generation, the oldest first.
fn small(packs: &[PackUse], repacked: &[PackUse], mut left: u64) -> Vec<PackUse> {
    let repacked: HashSet<PackId> = repacked.iter().map(|pack| pack.id).collect();
    let mut kinds: BTreeMap<(u8, u32), Vec<PackUse>> = BTreeMap::new();
    for pack in packs.iter().filter(|pack| pack.chosen > 0 && pack.size < SMALL && !repacked.contains(&pack.id)) {
        kinds.entry((pack.class as u8, pack.generation)).or_default().push(*pack);
    }
    let mut small = Vec::new();
    for mut kind in kinds.into_values() {
        kind.sort_unstable_by_key(|pack| pack.number);
        let mut sum = 0;
        let fits = kind.iter().take_while(|pack| {
            sum += pack.size;
            sum <= left
        });
        kind.truncate(fits.count());
        let size: u64 = kind.iter().map(|pack| pack.size).sum();
        if size >= FULL {
            left -= size;
            small.extend(kind);
        }
    }
    small
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(id: u8, rows: u32, chosen: u32) -> PackUse {
        PackUse {
            number: PackNumber(i64::from(id)),
            id: PackId([id; 32]),
            size: u64::from(rows) * 10 + 5,
            class: Class::Data,
            generation: 1,
            rows,
            chosen,
            used: u64::from(chosen) * 10,
            stored: u64::from(rows) * 10,
            must_go: false,
        }
    }

    fn ids(packs: &[PackUse]) -> Vec<u8> {
        packs.iter().map(|pack| pack.id.0[0]).collect()
    }

    #[test]
    fn what_nobody_uses_goes_and_what_is_wholly_used_stays() {
        let plan = plan(&[pack(1, 10, 0), pack(2, 10, 10), pack(3, 10, 0)], MaxUnused::Bytes(0), None);
        assert_eq!((ids(&plan.remove), ids(&plan.repack)), (vec![1, 3], vec![]));
        assert_eq!((plan.used, plan.unused_after, plan.going()), (100, 0, 210));
    }

    #[test]
    fn the_emptiest_packs_are_repacked_until_little_enough_is_unused() {
        let packs = [pack(1, 100, 90), pack(2, 100, 10), pack(3, 100, 50), pack(4, 100, 100)];
        assert_eq!(ids(&plan(&packs, MaxUnused::Unlimited, None).repack), Vec::<u8>::new());
        assert_eq!(ids(&plan(&packs, MaxUnused::Bytes(0), None).repack), [1, 2, 3]);
        assert_eq!(ids(&plan(&packs, MaxUnused::Bytes(600), None).repack), [2]);
        // 2,500 used: 5 % of 2,631 may stay.
        let some = plan(&packs, MaxUnused::Percent(5.0), None);
        assert_eq!((ids(&some.repack), some.unused_after), (vec![2, 3], 100));
        assert!(plan(&packs, MaxUnused::Percent(100.0), None).repack.is_empty());
        assert_eq!(ids(&plan(&packs, MaxUnused::Percent(0.0), None).repack), [1, 2, 3]);
    }

    #[test]
    fn no_more_is_read_than_allowed() {
        let packs = [pack(1, 100, 50), pack(2, 10, 5), pack(3, 100, 60)];
        assert_eq!(ids(&plan(&packs, MaxUnused::Bytes(0), Some(200)).repack), [2], "the larger ones do not fit");
        assert!(plan(&packs, MaxUnused::Bytes(0), Some(0)).repack.is_empty());
    }

    #[test]
    fn small_packs_are_put_together_once_they_fill_one() {
        let small = |id, mib: u64| PackUse { size: mib << 20, used: mib << 20, stored: mib << 20, ..pack(id, 10, 10) };
        let few: Vec<PackUse> = (1..=5).map(|id| small(id, 3)).collect();
        assert!(plan(&few, MaxUnused::default(), None).repack.is_empty(), "15 MiB fill no pack");
        let mut many: Vec<PackUse> = (1..=6).map(|id| small(id, 3)).collect();
        many.push(small(9, 4));
        assert_eq!(ids(&plan(&many, MaxUnused::default(), None).repack), [1, 2, 3, 4, 5, 6], "4 MiB are not small");
        assert!(plan(&many, MaxUnused::Unlimited, None).repack.is_empty());
        assert!(plan(&many, MaxUnused::default(), Some(17 << 20)).repack.is_empty(), "no more is read than allowed");
        // Two kinds are never in one pack.
        many.iter_mut().take(3).for_each(|pack| pack.class = Class::Metadata);
        assert!(plan(&many, MaxUnused::default(), None).repack.is_empty());
    }

    #[test]
    fn a_pack_that_must_go_is_repacked_even_when_wholly_used() {
        let packs = [PackUse { must_go: true, ..pack(1, 10, 10) }];
        let plan = plan(&packs, MaxUnused::Unlimited, Some(0));
        assert_eq!((ids(&plan.repack), plan.unused_after), (vec![1], 0));
    }
}
