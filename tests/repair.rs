//! Damage that parity, other copies, mirrors and new snapshots mend, and what is said of damage that nothing mends.

#![allow(clippy::unwrap_used, reason = "also what helps a test may unwrap")]

mod small;

#[path = "repair/parity.rs"]
mod parity;
