//! Repositories on the far side of a network: on real servers from end to end, and on one that goes wrong by plan. The stores
//! themselves keep the contract of `store.rs`; here it is what a user sees of them.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail, and prints why it skips")]

mod contract;
#[path = "servers/mod.rs"]
mod servers;

mod remote {
    mod house;
    mod workload;

    mod bad_input;
    mod clock;
    #[cfg(any(feature = "azblob", feature = "gcs"))]
    mod clouds;
    mod contract;
    mod end_to_end;
    mod faults;
    mod garage;
    mod hosts;
    mod second_copy;
}
