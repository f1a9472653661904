//! Parity objects: what is accepted is whole, and what is left of one never mends anything wrong.

#![no_main]

use esker::format::parity;
use esker::id::PackId;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let named = parity::check(bytes).unwrap_or(PackId([0; 32]));
    // The first bytes as what is left of the pack, too: the result hashes to the name, or there is none.
    for left in [&[][..], &bytes[..bytes.len().min(70_000)]] {
        if let Ok(mended) = parity::mend(bytes, named, left) {
            assert_eq!(esker::format::names::hash_of(&[&mended]).0, named.0);
        }
    }
});
