//! Keyslots: the stored form, and the payload behind it.

#![no_main]

use esker::format::keyslot::{Keyslot, decode_payload};
use esker::id::RepositoryId;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(slot) = Keyslot::parse(bytes) {
        assert_eq!(slot.as_bytes().as_slice(), bytes);
    }
    let _ = decode_payload(RepositoryId([0; 32]), bytes);
});
