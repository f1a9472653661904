//! Sums of a run, and the reasons a snapshot is incomplete.

use crate::format::snapshot::Snapshot;

/// Reasons kept in the snapshot; beyond that only a count.
const REASONS_MAX: usize = 1_000;

/// What was seen, in files and folders.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Files (and streams) never seen before.
    pub files_new: u64,
    /// Files that changed since the last snapshot of this host.
    pub files_changed: u64,
    /// Files that were not read because they did not.
    pub files_unmodified: u64,
    /// Folders never seen before.
    pub dirs_new: u64,
    /// Folders whose listing changed.
    pub dirs_changed: u64,
    /// Folders whose listing is stored already.
    pub dirs_unmodified: u64,
    /// Links, pipes, sockets, devices.
    pub other: u64,
    /// Plaintext bytes of all files and streams.
    pub bytes: u64,
}

impl Counts {
    /// Files, new and old.
    pub fn files(&self) -> u64 {
        self.files_new + self.files_changed + self.files_unmodified
    }

    /// Every entry of the tree.
    pub fn entries(&self) -> u64 {
        self.files() + self.dirs_new + self.dirs_changed + self.dirs_unmodified + self.other
    }

    pub(super) fn file(&mut self, action: &str, bytes: u64) {
        match action {
            "new" => self.files_new += 1,
            "changed" => self.files_changed += 1,
            _ => self.files_unmodified += 1,
        }
        self.bytes += bytes;
    }

    pub(super) fn folder(&mut self, any_new: bool, known: bool) {
        match (any_new, known) {
            (false, _) => self.dirs_unmodified += 1,
            (true, true) => self.dirs_changed += 1,
            (true, false) => self.dirs_new += 1,
        }
    }
}

/// Why a snapshot is incomplete.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reasons {
    /// Path and what happened, at most 1,000.
    pub kept: Vec<(Vec<u8>, String)>,
    /// How many there were.
    pub count: u64,
}

impl Reasons {
    /// Something is not in the snapshot, or not as it should be.
    pub fn add(&mut self, path: &[u8], detail: &str) {
        self.count += 1;
        if self.kept.len() < REASONS_MAX {
            self.kept.push((path.to_vec(), detail.to_owned()));
        }
    }

    /// One line each, for the snapshot; the last says how many are left out.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.kept.iter().map(|(path, detail)| Snapshot::line_at(path, detail)).collect();
        if self.count > lines.len() as u64 {
            lines.push(format!("and {} more", self.count - lines.len() as u64));
        }
        lines
    }

    /// None: the snapshot is complete.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}
