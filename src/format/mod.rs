//! Plaintext things <-> sealed bytes: the specification in `format-spec/` in Rust, one file per page.
//!
//! Every stored thing has a struct, a way to seal it and a way to open it, and behind both a bounded decoder of its body that needs no
//! keys (fuzzed: stored bytes are a stranger's). This room leans on `crypto`, `chunker` (sizes), `compress` (frames), `parity` (recovery shards) and `store::Name`;
//! it never knows where objects are stored, which of them exist, or what the user wants.

mod cbor;
pub mod config;
pub mod content;
pub mod envelope;
mod error;
pub mod folder;
pub mod forgotten;
pub mod gc;
pub mod index;
pub mod keyslot;
pub mod limits;
pub mod names;
pub mod note;
pub mod pack;
pub mod parity;
pub mod proof;
pub(crate) mod proportion;
pub mod reference;
pub mod revocation;
pub mod session;
pub mod snapshot;
mod table;
pub mod tree;

pub use envelope::{Authority, Header, ObjectType, Opener, Sealer};
pub use error::FormatError;

/// One field of a later version: (number, required, bytes), in rising order of numbers.
pub type Extra = Vec<(u16, bool, Vec<u8>)>;
