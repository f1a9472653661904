//! Tree chunks.

#![no_main]

use esker::format::tree::TreeChunk;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(tree) = TreeChunk::decode(bytes) {
        assert_eq!(tree.encode().unwrap(), bytes);
    }
});
