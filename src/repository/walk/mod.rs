//! Walks through what snapshots hold: plaintext rows in, no sealed bytes in sight.
//!
//! What a chunk refers to is a pure function of `format::reference`. Two drivers stand on it, because two questions are asked:
//!
//! * [`set`]: "what is all of it?" Every tree and list chunk is looked into once, by batches in the order of packs, on many threads. There
//!   are no paths, since a chunk has as many as it has parents. Mark, verify, undelete and the first pass of a copy ask this.
//! * [`ordered`]: "what stands where?" Entries come one by one with their place, in rising order of names, on one thread. A chunk is met
//!   as often as it has parents. Restore, find, dump, repair and the other passes of a copy ask this.
//!
//! What snapshots hold was written by hosts that may be stolen. The rules that keep a walk bounded are the same in both:
//!
//! * A chunk must be what its parent claims of it: type, level, leaves, length. A claim that differs from the truth is told, and nothing is
//!   read for it.
//! * Folders stand at most [`DEPTH_MAX`](crate::format::limits::DEPTH_MAX) deep in each other.
//! * The work is in proportion to what is stored. The set walk reads every chunk at most twice, whatever leads to it. The ordered walk has
//!   a [`Budget`](crate::format::proportion::Budget): it ends when the paths it meets are out of all proportion to the rows that make them.
//! * Memory is bounded: what is not needed now is read again later.
//! * A request to stop ends every walk at the next chunk.

pub(crate) mod ordered;
pub mod set;
mod visited;

pub(crate) use visited::{Met, Visited};
