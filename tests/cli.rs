//! The promises of the command line, kept by the real binary: exit codes, JSON, messages.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that cannot go on says where, and prints why it skips")]

mod cli {
    mod common;

    mod advice;

    mod completing;
    mod config;
    mod copy;
    mod deleting;
    mod doctor;
    mod exit_codes;
    mod files;
    mod forget;
    mod help;
    mod json;
    mod junk;
    mod keys;
    mod latest;
    mod look;
    mod monitoring;
    mod prune;
    mod reference;
    mod repair;
    mod restoring;
    mod runs;
    mod secrets;
    mod sources;
    mod status;
    mod warnings;
    mod way_back;
}

/// Bytes that do not compress, the same for one seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}
