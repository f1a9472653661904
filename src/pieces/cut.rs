//! Where a chunk is cut into pieces, and the name of a piece.

use polyval::Polyval;
use polyval::universal_hash::UniversalHash;

use crate::chunker::{Chunker, Sizes};
use crate::compress;

/// No piece of text is shorter, unless it is the last of its chunk: shorter rows are put together.
const TEXT_MIN: usize = 64;
/// Rows longer than this are cut by content.
const ROW_MAX: usize = 2048;
/// A chunk counts as text when it has at least one line break in so many bytes.
const TEXT_BREAK_EVERY: usize = 1024;
/// How long rows are cut.
const ROW_SIZES: Sizes = Sizes { min: 128, avg: 512, max: 2048 };
/// How other bytes are cut.
const BYTES_SIZES: Sizes = Sizes { min: 64, avg: 256, max: 1024 };

/// The name of a piece: two pieces with one name are the same bytes.
///
/// It is the first 12 bytes of POLYVAL over the bytes and their length, under a key that nobody else knows: two different pieces of at most n
/// bytes have one name with a probability of at most (n / 16 + 2) / 2^96.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PieceHash(pub [u8; 12]);

impl PieceHash {
    /// Eight bytes of it, to look it up by.
    pub fn prefix(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

/// A piece of a chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CutPiece {
    /// Its name.
    pub hash: PieceHash,
    /// Bytes.
    pub length: u32,
}

/// Cuts chunks into pieces. Cheap to clone.
#[derive(Clone)]
pub struct Cutter {
    hash: Polyval,
    chunker: Chunker,
}

impl Cutter {
    /// A cutter with the key of names and that of cuts by content.
    pub fn new(piece_key: &[u8; 16], chunker: Chunker) -> Self {
        Self { hash: Polyval::new(&(*piece_key).into()), chunker }
    }

    /// The pieces of a chunk, in order. None of a chunk that looks like noise: it shares nothing.
    pub fn cut(&self, chunk: &[u8]) -> Vec<CutPiece> {
        if compress::looks_dense(chunk) {
            return Vec::new();
        }
        let mut pieces = Vec::with_capacity(chunk.len() / 256);
        let mut take = |piece: &[u8]| pieces.push(CutPiece { hash: self.name(piece), length: piece.len() as u32 });
        if memchr::memchr_iter(b'\n', chunk).count() * TEXT_BREAK_EVERY >= chunk.len() {
            self.rows(chunk, &mut take);
        } else {
            self.by_content(BYTES_SIZES, chunk, &mut take);
        }
        pieces
    }

    /// The name of a piece.
    pub fn name(&self, piece: &[u8]) -> PieceHash {
        let mut hash = self.hash.clone();
        hash.update_padded(piece);
        let mut length = polyval::Block::default();
        length[..8].copy_from_slice(&(piece.len() as u64).to_le_bytes());
        hash.update(&[length]);
        let tag: [u8; 16] = hash.finalize().into();
        let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = tag;
        PieceHash([a, b, c, d, e, f, g, h, i, j, k, l])
    }

    fn rows(&self, chunk: &[u8], take: &mut dyn FnMut(&[u8])) {
        let mut start = 0;
        for at in memchr::memchr_iter(b'\n', chunk) {
            let end = at + 1;
            if end - start >= TEXT_MIN {
                self.row(&chunk[start..end], take);
                start = end;
            }
        }
        if start < chunk.len() {
            self.row(&chunk[start..], take);
        }
    }

    fn row(&self, row: &[u8], take: &mut dyn FnMut(&[u8])) {
        if row.len() <= ROW_MAX { take(row) } else { self.by_content(ROW_SIZES, row, take) }
    }

    fn by_content(&self, sizes: Sizes, mut bytes: &[u8], take: &mut dyn FnMut(&[u8])) {
        while let Some(length) = self.chunker.cut(&sizes, bytes, true) {
            take(&bytes[..length]);
            bytes = &bytes[length..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cutter(key: u8) -> Cutter {
        Cutter::new(&[key; 16], Chunker::new(&[7; 32]))
    }

    proptest! {
        #[test]
        fn pieces_laid_end_to_end_are_the_chunk(chunk in proptest::collection::vec(prop_oneof![9 => 97u8..100, 1 => Just(b'\n')], 0..9_000)) {
            let cutter = cutter(1);
            let mut at = 0;
            for piece in cutter.cut(&chunk) {
                let bytes = &chunk[at..at + piece.length as usize];
                prop_assert_eq!(cutter.name(bytes), piece.hash);
                at += bytes.len();
            }
            prop_assert_eq!(at, chunk.len());
        }
    }

    #[test]
    fn a_name_depends_on_every_byte_on_the_length_and_on_the_key() {
        let one = cutter(1);
        let names = [
            one.name(b""),
            one.name(b"\0"),
            one.name(b"\0\0"),
            one.name(&[0; 16]),
            one.name(&[0; 17]),
            one.name(b"a"),
            one.name(b"b"),
            cutter(2).name(b"a"),
        ];
        for (n, name) in names.iter().enumerate() {
            assert!(!names[..n].contains(name), "{n}");
        }
    }

    #[test]
    fn a_changed_row_changes_one_piece() {
        let rows = |changed: usize| -> Vec<u8> {
            let row =
                |n: usize| format!("{n}\t{}\tsome value of a row that has seventy or so bytes\n", n * usize::from(n != changed));
            (0..500).map(row).collect::<String>().into_bytes()
        };
        let (old, new) = (cutter(1).cut(&rows(1_000)), cutter(1).cut(&rows(77)));
        let same = old.iter().zip(&new).filter(|(old, new)| old == new).count();
        assert_eq!((old.len(), same), (new.len(), new.len() - 1));
    }

    #[test]
    fn long_rows_and_bytes_are_cut_by_content_and_noise_not_at_all() {
        let words: Vec<u8> =
            (0..40_000u32).flat_map(|n| format!("{} ", n.wrapping_mul(2_654_435_761) >> 20).into_bytes()).collect();
        let cut = cutter(1).cut(&words);
        assert!(cut.len() > words.len() / 1024 && cut.iter().all(|piece| piece.length <= 1024));
        let mut noise = vec![0; 100_000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        assert!(cutter(1).cut(&noise).is_empty());
    }
}
