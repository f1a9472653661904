//! The promises of the command line, kept by the real binary: exit codes, JSON, messages.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod cli {
    mod common;

    mod config;
    mod exit_codes;
    mod forget;
    mod help;
    mod json;
    mod keys;
    mod look;
    mod secrets;
    mod sources;
    mod status;
}
