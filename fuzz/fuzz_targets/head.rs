//! HEAD of a pack.

#![no_main]

use esker::format::pack::Head;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(head) = Head::decode([0; 128], bytes) {
        assert_eq!(head.encode().as_slice(), bytes);
        assert!(head.size() <= 80 << 20);
    }
});
