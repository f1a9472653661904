//! Findings: what `verify` says is wrong.

use std::fmt;

use crate::id::SnapshotId;

/// Paths shown with one finding; further ones are counted.
pub(crate) const PATHS_MAX: usize = 20;

/// What is wrong. The names are stable: scripts read them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum FindingKind {
    /// An object whose name no version of the format gives.
    NameUnknown,
    /// A config, or the chain of configs, is not what it should be.
    ConfigDamaged,
    /// A keyslot is not what it should be.
    KeyslotDamaged,
    /// An index file does not open, or does not hash to its name.
    IndexDamaged,
    /// An index file says of a pack what the pack's own directory does not.
    IndexDisagrees,
    /// A snapshot needs a pack that no index file tells of.
    IndexMissing,
    /// A snapshot needs a pack that is not there.
    PackMissing,
    /// A pack has another size than the facts about it say.
    PackSize,
    /// The header, head, directory or padding of a pack is damaged, or its bytes do not hash to its name.
    PackDamaged,
    /// A frame of a pack does not open.
    FrameDamaged,
    /// A chunk's bytes do not give its id, or its row or recipe cannot be followed.
    ChunkDamaged,
    /// A snapshot needs a chunk that stands in no pack.
    ChunkMissing,
    /// The only copies of a chunk that a snapshot needs are composed, and a base of them has no literal copy.
    BaseMissing,
    /// A tree or list opens, but breaks a rule of the format.
    TreeDamaged,
    /// A snapshot object does not open, or is not the one it should be.
    SnapshotDamaged,
    /// A snapshot was committed and not forgotten, but is not there.
    SnapshotMissing,
    /// A session, gc record, note or tombstone does not open.
    RecordDamaged,
    /// A parity object is damaged, or does not belong to its pack. It may mend the pack all the same.
    ParityDamaged,
    /// The store could not read an object that it lists.
    ObjectUnreadable,
}

impl FindingKind {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::NameUnknown => "name_unknown",
            Self::ConfigDamaged => "config_damaged",
            Self::KeyslotDamaged => "keyslot_damaged",
            Self::IndexDamaged => "index_damaged",
            Self::IndexDisagrees => "index_disagrees",
            Self::IndexMissing => "index_missing",
            Self::PackMissing => "pack_missing",
            Self::PackSize => "pack_size",
            Self::PackDamaged => "pack_damaged",
            Self::FrameDamaged => "frame_damaged",
            Self::ChunkDamaged => "chunk_damaged",
            Self::ChunkMissing => "chunk_missing",
            Self::BaseMissing => "base_missing",
            Self::TreeDamaged => "tree_damaged",
            Self::SnapshotDamaged => "snapshot_damaged",
            Self::SnapshotMissing => "snapshot_missing",
            Self::RecordDamaged => "record_damaged",
            Self::ParityDamaged => "parity_damaged",
            Self::ObjectUnreadable => "object_unreadable",
        }
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What.
    pub kind: FindingKind,
    /// Where: an object's name in the store, or `chunk <id>` for a chunk that stands nowhere.
    pub object: String,
    /// What exactly, for a person.
    pub detail: String,
    /// A snapshot holds data that cannot be read any more. Otherwise everything can still be restored, and the rest repaired: all but a
    /// snapshot that was revoked, whose run was told that it committed nothing.
    pub data_affected: bool,
    /// Snapshots that lost something by it, in the order of their ids.
    pub snapshots: Vec<SnapshotId>,
    /// Paths that lost something by it, raw bytes, each once; at most [`PATHS_MAX`].
    pub paths: Vec<Vec<u8>>,
    /// How many places (a path in a snapshot) lost something, those in `paths` included.
    pub places: u64,
}

impl Finding {
    /// One that costs no data.
    pub(super) fn new(kind: FindingKind, object: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            kind,
            object: object.into(),
            detail: detail.into(),
            data_affected: false,
            snapshots: Vec::new(),
            paths: Vec::new(),
            places: 0,
        }
    }
}
