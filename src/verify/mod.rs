//! Verify: is everything there that snapshots promise, and does it read back as what it was named after?
//!
//! [`run`] looks at a repository in this order:
//! * **objects**: every listed name is one the format gives; configs, keyslots, snapshots and small records open;
//! * **packs**: every pack's own directory is read into a fresh temporary cache, and index files are held against it. Neither the local
//!   cache nor an index file is believed: both are what a thief or a bad disk may have changed;
//! * **content** (on request): packs are read whole, their bytes hashed, every frame opened, every chunk's id recomputed;
//! * **structure**: every tree of every snapshot is walked once, every chunk it refers to must have a usable copy;
//! * **trace**: only when something is lost, the trees are walked again to say which snapshots and paths it hits.
//!
//! Damage never stops it: it is written down and the rest is looked at. Only a store that does not answer, or a request to stop, does.
//!
//! Leans on `repository` (reader, cache feed) and `format`. Knows nothing of the file system, of sources, or how to repair.
//! Memory: one pack and one frame a thread, 5 bytes a tree or list chunk, about 100 bytes a pack, and what the damage itself takes.

mod findings;

pub use findings::{Finding, FindingKind, PATHS_MAX};

use crate::id::SnapshotId;

/// Which packs are read whole.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum ReadData {
    /// None: structure only.
    #[default]
    Nothing,
    /// Every pack.
    All,
    /// The `n`th of `m` parts (1..=m), decided by the packs' names: `m` runs with each `n` read everything.
    Part {
        /// Which part, from 1.
        n: u32,
        /// Of how many.
        m: u32,
    },
    /// A random choice of this many percent of the packs.
    Percent(f64),
    /// A random choice of packs of about this many bytes.
    Bytes(u64),
}

/// What to verify.
#[derive(Clone, Debug, Default)]
pub struct VerifyOptions {
    /// Walk the trees of these snapshots only; empty: of all.
    pub snapshots: Vec<SnapshotId>,
    /// Which packs are read whole.
    pub read_data: ReadData,
}

/// What was looked at and found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VerifySummary {
    /// All findings.
    pub findings: u64,
    /// Those that cost no data: everything can still be restored.
    pub repairable: u64,
    /// Those that make data of a snapshot unreadable.
    pub data_affected: u64,
    /// Packs listed.
    pub packs_listed: u64,
    /// Packs read whole.
    pub packs_read: u64,
    /// Bytes of packs read whole.
    pub bytes_read: u64,
    /// Snapshots whose trees were walked.
    pub snapshots_checked: u64,
    /// Tree and list chunks walked.
    pub trees_checked: u64,
}
