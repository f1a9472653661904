//! Bodies of session records.

#![no_main]

use esker::format::session::{Acknowledgement, Closed, Start};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(start) = Start::decode(bytes) {
        assert_eq!(start.encode().unwrap(), bytes);
    }
    if let Ok(acknowledgement) = Acknowledgement::decode(bytes) {
        assert_eq!(acknowledgement.encode().unwrap(), bytes);
    }
    if let Ok(closed) = Closed::decode(bytes) {
        assert_eq!(closed.encode().unwrap(), bytes);
    }
});
