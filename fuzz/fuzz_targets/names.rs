//! Names of objects.

#![no_main]

use esker::format::names::ObjectName;
use esker::store::Name;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some(name) = Name::new(text) else { return };
    if let Some(parsed) = ObjectName::parse(&name) {
        assert_eq!(parsed.name(), name);
    }
});
