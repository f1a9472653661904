//! Forgetting: which snapshots may go, which stay whatever the rules say, and how a forgotten one comes back.
//!
//! [`policy`] reads the rules as they are typed. [`rules`] applies them to [`candidate`]s and says why each snapshot is kept. [`forget`]
//! writes a tombstone for each snapshot that goes. It frees nothing: a later prune does. [`undelete`] brings a forgotten snapshot back
//! as long as its data is still stored.
//!
//! Leans on `repository`, whose survey says at which time each snapshot counts. Never knows how packs are freed.

pub(crate) mod candidate;
pub mod forget;
pub mod policy;
pub mod rules;
pub mod undelete;
