//! Bodies of notes.

#![no_main]

use esker::format::note::Note;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(note) = Note::decode(bytes) {
        assert_eq!(note.encode().unwrap(), bytes);
    }
});
