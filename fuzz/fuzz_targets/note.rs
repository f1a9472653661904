//! Bodies of notes, and proofs of reading.

#![no_main]

use esker::format::note::Note;
use esker::format::proof::Proof;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(note) = Note::decode(bytes) {
        assert_eq!(note.encode().unwrap(), bytes);
    }
    if let Ok(proof) = Proof::decode(bytes) {
        assert_eq!(proof.encode(), bytes);
    }
});
