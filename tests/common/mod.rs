//! What several tests share.
#![allow(dead_code, missing_docs, clippy::unwrap_used)]

pub mod repository;
