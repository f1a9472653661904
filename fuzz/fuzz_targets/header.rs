//! Headers of sealed objects.

#![no_main]

use esker::format::{Header, ObjectType};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(header) = Header::parse_any("object", bytes) {
        assert_eq!(header.bytes, bytes[..128]);
        assert!(Header::parse(bytes, header.object_type).is_ok());
    }
    let _ = Header::parse(bytes, ObjectType::Snapshot);
});
