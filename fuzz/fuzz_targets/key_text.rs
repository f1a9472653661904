//! Keys that a person types: writer and owner lines, recovery keys.

#![no_main]

use esker::crypto::{RecoveryKey, RootKey, WriterKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(key) = WriterKey::from_line(text) {
        assert_eq!(*WriterKey::from_line(&key.to_line()).unwrap().to_line(), *key.to_line());
    }
    if let Ok((root, generation)) = RootKey::from_line(text) {
        assert_eq!(RootKey::from_line(&root.to_line(generation)).unwrap().0.expose(), root.expose());
    }
    if let Ok(key) = RecoveryKey::from_text(text) {
        assert!(RecoveryKey::from_text(&key.to_text()).unwrap() == key);
    }
});
