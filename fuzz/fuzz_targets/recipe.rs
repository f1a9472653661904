//! Recipes, read and applied to bases of any length.

#![no_main]

use esker::format::pack::recipe;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let [bases, low, high, rest @ ..] = bytes else { return };
    let raw_length = u32::from(*low) | u32::from(*high) << 8;
    let Ok(read) = recipe::decode(rest, usize::from(*bases), raw_length) else { return };
    assert_eq!(recipe::encode(&read), rest);
    let base = [7u8; 300];
    let all = vec![&base[..]; usize::from(*bases)];
    if let Ok(chunk) = recipe::apply(&read, &all) {
        assert_eq!(chunk.len(), raw_length as usize);
    }
});
