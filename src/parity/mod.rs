//! Recovery shards for one run of bytes: computed, and used to put damaged stretches right.
//!
//! Leans on the reed-solomon-simd crate, and is the only room that knows it. Never knows what the bytes are.
