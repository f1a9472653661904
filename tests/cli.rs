//! The promises of the command line, kept by the real binary: exit codes, JSON, messages.

mod cli {
    mod common;

    mod config;
    mod help;
    mod secrets;
}
