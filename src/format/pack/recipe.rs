//! Recipes: how a composed chunk is made of ranges of its bases.

use crate::format::error::{FormatError, at_most};
use crate::format::limits;

const WHAT: &str = "recipe";

/// A range of one base.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecipeRange {
    /// Which base: an index in the list of the chunk's directory row.
    pub base: u8,
    /// Where it starts in the base.
    pub offset: u32,
    /// Bytes, at least 1.
    pub length: u32,
}

/// Ranges whose concatenation is the chunk.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recipe {
    /// In the order of the chunk.
    pub ranges: Vec<RecipeRange>,
}

/// The stored form of a recipe.
pub fn encode(recipe: &Recipe) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(recipe.ranges.len() * 6);
    let mut ends = [0i64; 256];
    for range in &recipe.ranges {
        let end = &mut ends[usize::from(range.base)];
        let step = i64::from(range.offset) - *end;
        bytes.push(range.base);
        // Zigzag: small steps in either direction are short.
        put_varint(&mut bytes, ((step << 1) ^ (step >> 63)) as u64);
        put_varint(&mut bytes, range.length.into());
        *end = i64::from(range.offset) + i64::from(range.length);
    }
    bytes
}

/// Reads a recipe of a chunk of `raw_length` bytes whose row lists `base_count` bases. What the bases hold is not known here; that no
/// range reaches beyond its base is checked by [`apply`].
pub fn decode(bytes: &[u8], base_count: usize, raw_length: u32) -> Result<Recipe, FormatError> {
    let refuse = |field, why| Err(FormatError::field(WHAT, field, why));
    let mut ranges = Vec::new();
    let mut ends = [0i64; 256];
    let mut used = [false; 256];
    let mut sum = 0u64;
    let mut rest = bytes;
    while let Some((&base, after)) = rest.split_first() {
        rest = after;
        if ranges.len() == limits::RECIPE_RANGES_MAX {
            return Err(FormatError::TooLong {
                what: WHAT,
                length: ranges.len() as u64 + 1,
                most: limits::RECIPE_RANGES_MAX as u64,
            });
        }
        if usize::from(base) >= base_count {
            return refuse("base", "is outside the list");
        }
        let step = take_varint(&mut rest)?;
        let step = (step >> 1) as i64 ^ -((step & 1) as i64);
        let length = take_varint(&mut rest)?;
        let end = &mut ends[usize::from(base)];
        let offset = end.checked_add(step).and_then(|offset| u32::try_from(offset).ok()).unwrap_or(u32::MAX);
        at_most("base", u64::from(offset).saturating_add(length), limits::BASE_SIZE_MAX.into())?;
        if length == 0 {
            return refuse("length", "is 0");
        }
        // Both are at most 1 MiB now.
        let length = length as u32;
        *end = i64::from(offset) + i64::from(length);
        used[usize::from(base)] = true;
        sum += u64::from(length);
        ranges.push(RecipeRange { base, offset, length });
    }
    if ranges.is_empty() {
        return refuse("ranges", "are none");
    }
    if sum != u64::from(raw_length) {
        return refuse("ranges", "do not add up to the length of the chunk");
    }
    if used.iter().filter(|&&used| used).count() != base_count {
        return refuse("base", "is listed and not used");
    }
    Ok(Recipe { ranges })
}

/// Makes the chunk: ranges of its bases laid end to end. `base` gives the whole literal chunk that has this number in the row's list. It
/// is asked for each base once, and one base is held at a time: a chunk may have 255 of them. A base above `BASE_SIZE_MAX` is refused,
/// also where the recipe takes little of it.
pub fn compose<B: AsRef<[u8]>, E: From<FormatError>>(
    recipe: &Recipe,
    base_count: usize,
    mut base: impl FnMut(usize) -> Result<B, E>,
) -> Result<Vec<u8>, E> {
    if recipe.ranges.iter().any(|range| usize::from(range.base) >= base_count) {
        return Err(FormatError::field(WHAT, "base", "is outside the list").into());
    }
    let length: u64 = recipe.ranges.iter().map(|range| u64::from(range.length)).sum();
    at_most("chunk", length, limits::CHUNK_SIZE_MAX.into())?;
    let mut chunk = vec![0; length as usize];
    for number in 0..base_count {
        let base = base(number)?;
        recipe.take_from(number, base.as_ref(), &mut chunk)?;
    }
    Ok(chunk)
}

/// The chunk, of bases that are in memory.
pub fn apply(recipe: &Recipe, bases: &[&[u8]]) -> Result<Vec<u8>, FormatError> {
    compose(recipe, bases.len(), |number| Ok(bases[number]))
}

impl Recipe {
    /// Puts what the chunk has of one base in its places. The chunk is as long as all ranges together.
    fn take_from(&self, number: usize, base: &[u8], chunk: &mut [u8]) -> Result<(), FormatError> {
        at_most("base", base.len() as u64, limits::BASE_SIZE_MAX.into())?;
        let mut rest = chunk;
        for range in &self.ranges {
            let beyond = || FormatError::field(WHAT, "range", "reaches beyond its base");
            let (place, after) = rest.split_at_mut_checked(range.length as usize).ok_or_else(beyond)?;
            rest = after;
            if usize::from(range.base) == number {
                let end = (range.offset as usize).checked_add(place.len()).ok_or_else(beyond)?;
                place.copy_from_slice(base.get(range.offset as usize..end).ok_or_else(beyond)?);
            }
        }
        Ok(())
    }
}

/// LEB128.
fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// LEB128 of at most five bytes, in its shortest form.
fn take_varint(bytes: &mut &[u8]) -> Result<u64, FormatError> {
    let mut value = 0u64;
    for place in 0..5 {
        let Some((&byte, rest)) = bytes.split_first() else {
            return Err(FormatError::TooShort { what: WHAT, length: 0, least: 1 });
        };
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            if byte == 0 && place > 0 {
                return Err(FormatError::NotCanonical { what: WHAT });
            }
            return Ok(value);
        }
    }
    Err(FormatError::NotCanonical { what: WHAT })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(base: u8, offset: u32, length: u32) -> RecipeRange {
        RecipeRange { base, offset, length }
    }

    #[test]
    fn a_base_above_the_limit_is_refused_however_little_is_taken_of_it() {
        let recipe = Recipe { ranges: vec![range(0, 0, 1)] };
        let base = vec![7; limits::BASE_SIZE_MAX as usize + 1];
        assert_eq!(apply(&recipe, &[&base[1..]]).unwrap(), [7]);
        assert!(matches!(apply(&recipe, &[&base]), Err(FormatError::TooLong { .. })));
    }

    proptest! {
        #[test]
        fn a_recipe_reads_back(ranges in proptest::collection::vec((0u8..3, 0u32..1_000_000, 1u32..40_000), 1..50)) {
            let mut ranges: Vec<_> = ranges.into_iter().map(|(base, offset, length)| range(base, offset, length)).collect();
            ranges.extend([range(0, 0, 1), range(1, 5, 1), range(2, 1_048_575, 1)]);
            let recipe = Recipe { ranges };
            let raw: u32 = recipe.ranges.iter().map(|range| range.length).sum();
            prop_assert_eq!(decode(&encode(&recipe), 3, raw).unwrap(), recipe);
        }

        #[test]
        fn what_is_accepted_has_one_form(bytes in proptest::collection::vec(any::<u8>(), 0..40), raw in 0u32..2_000) {
            if let Ok(recipe) = decode(&bytes, 1, raw) {
                prop_assert_eq!(encode(&recipe), bytes);
            }
        }
    }

    #[test]
    fn a_chunk_is_its_ranges_laid_end_to_end() {
        let recipe = Recipe { ranges: vec![range(1, 2, 3), range(0, 0, 2), range(1, 5, 1)] };
        assert_eq!(apply(&recipe, &[b"abcd", b"0123456"]).unwrap(), b"234ab5");
        assert_eq!(encode(&recipe), [1, 4, 3, 0, 0, 2, 1, 0, 1]);
    }

    #[test]
    fn every_rule_broken_is_refused_by_name() {
        let good = [1, 4, 3, 0, 0, 2, 1, 0, 1];
        assert!(decode(&good, 2, 6).is_ok());
        let field = |bytes: &[u8], bases, raw| match decode(bytes, bases, raw) {
            Err(FormatError::Field { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        assert_eq!(field(&[], 0, 0), "ranges");
        assert_eq!(field(&good, 1, 6), "base");
        assert_eq!(field(&good, 3, 6), "base");
        assert_eq!(field(&good, 2, 7), "ranges");
        assert_eq!(field(&[0, 0, 0], 1, 0), "length");
        assert!(matches!(decode(&[0, 1, 1], 1, 1), Err(FormatError::TooLong { .. })), "an offset before the base");
        assert!(matches!(decode(&[0, 0x80, 0x80, 0x80, 1, 1], 1, 1), Err(FormatError::TooLong { .. })), "an offset beyond 1 MiB");
        assert!(matches!(decode(&[0, 0x80, 0, 1], 1, 1), Err(FormatError::NotCanonical { .. })));
        assert!(matches!(decode(&[0, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1], 1, 1), Err(FormatError::NotCanonical { .. })));
        assert!(matches!(decode(&[0, 0], 1, 1), Err(FormatError::TooShort { .. })));
        let beyond = Recipe { ranges: vec![range(0, 3, 2)] };
        assert!(matches!(apply(&beyond, &[b"abcd"]), Err(FormatError::Field { field: "range", .. })));
        assert!(matches!(apply(&beyond, &[]), Err(FormatError::Field { field: "base", .. })));
    }

    #[test]
    fn a_base_above_1_mib_is_refused_before_another_is_asked_for() {
        let recipe = Recipe { ranges: (0..255).map(|base| range(base, 0, 1)).collect() };
        let mut asked = 0;
        let composed = compose(&recipe, 255, |_| {
            asked += 1;
            Ok::<_, FormatError>(vec![0; limits::BASE_SIZE_MAX as usize + 1])
        });
        assert!(matches!(composed, Err(FormatError::TooLong { what: "base", .. })), "{composed:?}");
        assert_eq!(asked, 1);
    }

    #[test]
    fn too_many_ranges_are_refused() {
        let many = Recipe { ranges: vec![range(0, 0, 1); limits::RECIPE_RANGES_MAX + 1] };
        assert!(matches!(decode(&encode(&many), 1, 65_537), Err(FormatError::TooLong { .. })));
    }
}
