//! What the cache remembers of the pieces of a chunk.

#![no_main]

use esker::pieces::ChunkPieces;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(read) = ChunkPieces::decode(bytes) else { return };
    for piece in &read.pieces {
        assert!(usize::from(piece.base) < read.bases.len());
        assert!(u64::from(piece.offset) + u64::from(piece.length) <= 1 << 20);
    }
    // One form is written; others may be read.
    assert_eq!(ChunkPieces::decode(&read.encode()).as_ref(), Ok(&read));
});
