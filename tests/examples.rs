//! The files of `examples/` and the pages of the documentation work: each file is what its kind must be, the program takes each `esker`
//! command in them, and the policies for S3 accounts give a host what a snapshot needs and not more.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail, and prints why it skips")]

#[path = "servers/mod.rs"]
mod servers;

mod examples {
    mod files;
    mod house;
    mod pages;
    mod policy;
    mod rights;
    mod rights_on_moto;
}
