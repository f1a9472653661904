//! Plaintext things <-> sealed bytes: the specification in `format-spec/`, one file per page.

pub mod tree;

/// One field of a later version: (number, required, bytes), in rising order of numbers.
pub type Extra = Vec<(u16, bool, Vec<u8>)>;
