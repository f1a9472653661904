//! Cut points: within the sizes, the same however the data arrives.

#![no_main]

use esker::chunker::{Chunker, Sizes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let sizes = Sizes { min: 64, avg: 256, max: 1024 };
    let chunker = Chunker::new(&[3; 32]);
    let mut rest = bytes;
    while let Some(length) = chunker.cut(&sizes, rest, true) {
        assert!(length >= 1 && length <= 1024 && (length >= 64 || length == rest.len()));
        if rest.len() >= 1024 {
            assert_eq!(chunker.cut(&sizes, &rest[..1024], false), Some(length));
        }
        rest = &rest[length..];
    }
    assert!(rest.is_empty());
});
