//! What stands in `examples/` works: each file is what its kind must be, each `esker` command in them is one that the program takes,
//! and the policies for S3 accounts give a host what a snapshot needs and not more.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail, and prints why it skips")]

#[path = "servers/mod.rs"]
mod servers;

mod examples {
    mod files;
    mod house;
    mod policy;
    mod rights;
    mod rights_on_moto;
}
