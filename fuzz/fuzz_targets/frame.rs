//! Decompression of a frame into exactly its authenticated length.

#![no_main]

use esker::compress::{Decompressor, with_compressor};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let [low, high, rest @ ..] = bytes else { return };
    let raw_length = usize::from(*low) | usize::from(*high) << 8;
    if let Ok(raw) = Decompressor::new().unwrap().decompress(rest, raw_length) {
        assert_eq!(raw.len(), raw_length);
    }
    if let Some(compressed) = with_compressor(3, |zstd| zstd.compress(rest)).unwrap() {
        assert_eq!(Decompressor::new().unwrap().decompress(&compressed, rest.len()).unwrap(), rest);
    }
});
