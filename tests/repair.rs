//! Damage that parity, other copies, mirrors and new snapshots mend, and what is said of damage that nothing mends.

#![allow(clippy::unwrap_used, reason = "also what helps a test may unwrap")]

mod small;

#[path = "repair/features.rs"]
mod features;
#[path = "repair/house.rs"]
mod house;
#[path = "repair/mending.rs"]
mod mending;
#[path = "repair/other.rs"]
mod other;
#[path = "repair/parity.rs"]
mod parity;
#[path = "repair/snapshots.rs"]
mod snapshots;
#[path = "repair/stops.rs"]
mod stops;
