//! Why a snapshot is incomplete: lines that a person reads, and what the program may conclude from them.
//!
//! This is the one place that knows how the lines begin. Page `format-spec/snapshot.md`.

use super::Snapshot;
use crate::id::SnapshotId;

/// Begins the line that a repair adds.
const REPAIRED: &str = "repaired from snapshot ";

/// What a line says about a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum About {
    /// It is about this very path.
    Path,
    /// It is about something below this path.
    Below,
    /// It is about something else, or does not say what it is about.
    Other,
}

impl Snapshot {
    /// The line that says what happened at a path.
    pub(crate) fn line_at(path: &[u8], detail: &str) -> String {
        format!("{}: {detail}", path.escape_ascii())
    }

    /// The line that says that this snapshot is what a repair left of another one.
    pub(crate) fn line_of_repair(original: &SnapshotId, lost: u64) -> String {
        format!("{REPAIRED}{} without {lost} lost things", original.to_hex())
    }

    /// Did a repair make this snapshot from the snapshot `original`?
    pub(crate) fn is_repaired_from(&self, original: &SnapshotId) -> bool {
        let hex = original.to_hex();
        self.incomplete.iter().any(|line| line.strip_prefix(REPAIRED).is_some_and(|rest| rest.starts_with(&hex)))
    }
}

/// What a line of an incomplete snapshot says about a path, or about the source of that name.
pub fn about(line: &str, path: &[u8]) -> About {
    let rest = line.strip_prefix(&path.escape_ascii().to_string());
    match rest.and_then(|rest| rest.chars().next()) {
        Some(':') => About::Path,
        Some('/') => About::Below,
        _ => About::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_about_its_path_and_the_folders_above_and_nothing_that_begins_alike() {
        let line = Snapshot::line_at(b"media/a\xff.png", "Permission denied");
        assert_eq!(line, "media/a\\xff.png: Permission denied");
        assert_eq!(about(&line, b"media/a\xff.png"), About::Path);
        assert_eq!(about(&line, b"media"), About::Below);
        assert_eq!(
            (about(&line, b"med"), about(&line, b"media/a"), about("and 3 more", b"media")),
            (About::Other, About::Other, About::Other)
        );
    }
}
