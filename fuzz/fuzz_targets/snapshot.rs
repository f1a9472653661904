//! Bodies of snapshots and revocations.

#![no_main]

use esker::format::{revocation::Revocation, snapshot::Snapshot};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(snapshot) = Snapshot::decode(bytes) {
        assert_eq!(snapshot.encode().unwrap(), bytes);
    }
    if let Ok(revocation) = Revocation::decode(bytes) {
        assert_eq!(revocation.encode().unwrap(), bytes);
    }
});
