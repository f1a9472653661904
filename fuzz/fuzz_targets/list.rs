//! List chunks.

#![no_main]

use esker::format::content::ListChunk;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(list) = ListChunk::decode(bytes) {
        assert_eq!(list.encode().unwrap(), bytes);
    }
});
