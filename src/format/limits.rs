//! Limits of the format: page `format-spec/limits.md`. Every one is checked before anything of the claimed size is allocated.

/// A pack, in bytes.
pub const PACK_SIZE_MAX: u64 = 80 << 20;
/// Frames in a pack.
pub const PACK_FRAMES_MAX: u32 = 65_536;
/// Chunks in a pack.
pub const PACK_CHUNKS_MAX: u32 = 262_144;
/// Bases in the base table of a pack.
pub const PACK_BASES_MAX: u32 = 65_536;
/// Entries of the table of base numbers of a pack: all the chunks of a full directory could not use more.
pub const PACK_BASE_NUMBERS_MAX: u32 = 8 << 20;
/// A sealed DIRECTORY, in bytes.
pub const DIRECTORY_SIZE_MAX: u32 = 16 << 20;
/// Bases of one composed chunk.
pub const CHUNK_BASES_MAX: u32 = 255;
/// A chunk that may be a base, in bytes.
pub const BASE_SIZE_MAX: u32 = 1 << 20;
/// Ranges of a recipe.
pub const RECIPE_RANGES_MAX: usize = 65_536;
/// A chunk, in bytes.
pub const CHUNK_SIZE_MAX: u32 = 16 << 20;
/// Plaintext of a frame of several chunks, in bytes; a single chunk may take [`CHUNK_SIZE_MAX`].
pub const FRAME_RAW_SIZE_MAX: u32 = 4 << 20;
/// What a sealed frame may have above its raw length, in bytes.
pub const FRAME_EXCESS_MAX: u32 = 1 << 10;
/// Least size of a pack, in bytes: smaller ones are padded up to it.
pub const PACK_SIZE_MIN: u64 = 64 << 10;
/// Least plaintext of a BODY box, in bytes.
pub const BODY_SIZE_MIN: u64 = 4 << 10;
/// An index file, in bytes.
pub const INDEX_SIZE_MAX: u64 = 32 << 20;
/// A snapshot object, in bytes.
pub const SNAPSHOT_SIZE_MAX: u64 = 4 << 20;
/// A config object, in bytes.
pub const CONFIG_SIZE_MAX: u64 = 1 << 20;
/// A session record, in bytes.
pub const SESSION_SIZE_MAX: u64 = 16 << 20;
/// A gc record, in bytes.
pub const GC_SIZE_MAX: u64 = 16 << 20;
/// A note object, in bytes.
pub const NOTE_SIZE_MAX: u64 = 1 << 20;
/// A forgotten record, in bytes.
pub const FORGOTTEN_SIZE_MAX: u64 = 64 << 10;
/// A revocation, in bytes.
pub const REVOCATION_SIZE_MAX: u64 = 64 << 10;
/// A parity object, in bytes.
pub const PARITY_SIZE_MAX: u64 = 80 << 20;
/// A keyslot: its only size, in bytes.
pub const KEYSLOT_SIZE: usize = 304;
/// Items of a list chunk.
pub const LIST_ITEMS_MAX: usize = 1_024;
/// Items of a list chunk before a cut is looked for.
pub const LIST_ITEMS_MIN: usize = 32;
/// Items of a content that stand in the node itself.
pub const CONTENT_ITEMS_MAX: usize = 64;
/// Level of a content: 64 items of 32 items each at every level pass 2^64 bytes long before it.
pub const CONTENT_LEVEL_MAX: u8 = 16;
/// Entries of a tree chunk.
pub const TREE_ENTRIES_MAX: usize = 4_096;
/// Entries of a tree chunk before a cut is looked for.
pub const TREE_ENTRIES_MIN: usize = 32;
/// Encoded entries of a tree chunk, in bytes.
pub const TREE_SIZE_MAX: usize = 4 << 20;
/// A name in a folder, in bytes.
pub const NAME_SIZE_MAX: usize = 1_024;
/// Target of a symbolic link, in bytes.
pub const LINK_TARGET_SIZE_MAX: usize = 4_096;
/// Names and inline values of the extended attributes of one node, in bytes.
pub const XATTRS_SIZE_MAX: usize = 64 << 10;
/// Folders inside each other, below the root.
pub const DEPTH_MAX: usize = 256;
/// Sources of a snapshot.
pub const SOURCES_MAX: usize = 256;

/// The least length of the form that hides all but the order of magnitude: Padmé, at most 12 % above `length`.
pub(crate) fn padme(length: u64) -> u64 {
    if length < 2 {
        return length;
    }
    let exponent = length.ilog2();
    let kept = exponent.ilog2() + 1;
    let mask = (1u64 << (exponent - kept.min(exponent))) - 1;
    length.saturating_add(mask) & !mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padme_pads_as_its_paper_says() {
        // Values of the reference implementation (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs").
        for (length, padded) in
            [(0, 0), (1, 1), (2, 2), (9, 10), (100, 104), (1000, 1024), (4097, 4352), (1 << 24, 1 << 24), (16_777_217, 17_301_504)]
        {
            assert_eq!(padme(length), padded, "{length}");
        }
    }

    #[test]
    fn padding_never_shrinks_costs_little_and_is_stable() {
        for length in (0..5_000).chain((1..4_000).map(|n| n * 21_001)) {
            let padded = padme(length);
            assert!(padded >= length && padded <= length + length / 8 + 1, "{length}: {padded}");
            assert_eq!(padme(padded), padded);
        }
    }
}
