//! Bodies of index files.

#![no_main]

use esker::format::index::IndexFile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(index) = IndexFile::decode(bytes) {
        assert_eq!(index.encode().unwrap(), bytes);
    }
});
