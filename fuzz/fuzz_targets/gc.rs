//! Bodies of gc records and tombstones.

#![no_main]

use esker::format::forgotten::Forgotten;
use esker::format::gc::{Condemn, Verdict};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(condemn) = Condemn::decode(bytes) {
        assert_eq!(condemn.encode().unwrap(), bytes);
    }
    if let Ok(verdict) = Verdict::decode(bytes) {
        assert_eq!(verdict.encode().unwrap(), bytes);
    }
    if let Ok(forgotten) = Forgotten::decode(bytes) {
        assert_eq!(forgotten.encode().unwrap(), bytes);
    }
});
