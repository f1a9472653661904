//! Bodies of configs.

#![no_main]

use esker::format::config::Config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(config) = Config::decode(bytes) {
        assert_eq!(config.encode().unwrap(), bytes);
    }
});
