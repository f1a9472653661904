//! Forgetting and freeing: which snapshots may go (retention), and which packs may go after them (condemn, verdict, sweep).
//!
//! Leans on `repository` and `format`. No clock decides what is deleted: everything a delete rests on is listed and proved in the
//! order of the protocol. Never knows how a snapshot is made or restored.

pub mod forget;
pub mod policy;
pub mod retention;
pub mod survey;
pub mod trust;
pub mod undelete;
