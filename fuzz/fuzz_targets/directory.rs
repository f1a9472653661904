//! HEAD and DIRECTORY of a pack, one after the other.

#![no_main]

use esker::format::pack::{Directory, Head};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((head, rest)) = bytes.split_at_checked(64) else { return };
    let Ok(head) = Head::decode([0; 128], head) else { return };
    if let Ok(directory) = Directory::decode(&head, rest) {
        assert_eq!(directory.encode(), rest);
        for chunk in &directory.chunks {
            let frame = &directory.frames[chunk.frame as usize];
            assert!(chunk.encoding.range().end <= frame.raw_length as usize);
            assert!(frame.range().end <= head.size());
            assert_eq!(directory.bases_of(&chunk.encoding).count(), directory.bases_of(&chunk.encoding).len());
        }
    }
});
