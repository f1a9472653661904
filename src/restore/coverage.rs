//! What a snapshot is known to hold completely: only there does absence mean that something was deleted.
//!
//! Page `format-spec/snapshot.md`, "Facts of a directory source". What is not understood counts as left out.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::filesystem::{ExcludeError, Excludes};
use crate::format::snapshot::incomplete::{About, about};
use crate::format::snapshot::{Snapshot, SourceEntry, SourceStatus};
use crate::format::tree::{LeftOut, Node, NodeKind};
use crate::path;

const DIRECTORY: &str = "directory";
const UNREAD: Why = "the snapshot could not read it";
const CACHE_TAG: &[u8] = b"CACHEDIR.TAG";

/// Why an entry that the snapshot does not hold is kept.
pub type Why = &'static str;

/// The sources of a snapshot, each with what it left out.
pub struct Coverage {
    /// Where in the snapshot the restore begins.
    base: Vec<u8>,
    sources: Vec<Covered>,
    /// Sources that are missing, or not whole.
    failed: Vec<Vec<u8>>,
    /// Something is missing of which the snapshot does not say where.
    is_vague: bool,
}

/// One directory source that was taken.
pub struct Covered {
    name: Vec<u8>,
    /// The folder that was taken, as it was named then.
    pub original: PathBuf,
    excludes: Excludes,
    larger_than: Option<u64>,
    marks: Vec<Vec<u8>>,
    /// Beginnings of the reasons why the snapshot is incomplete: `media/a.png: Permission denied`.
    unread: Vec<String>,
}

impl Coverage {
    /// Of what is below `base` in the snapshot. Without a snapshot nothing is known.
    pub fn new(snapshot: Option<&Snapshot>, base: &[u8]) -> Result<Self, ExcludeError> {
        let base = path::plain(base);
        let Some(snapshot) = snapshot else { return Ok(Self { base, sources: Vec::new(), failed: Vec::new(), is_vague: true }) };
        let is_directory = |source: &&SourceEntry| {
            source.kind == DIRECTORY && source.status == SourceStatus::Ok && source.path == source.name.as_bytes()
        };
        let of = |source| Covered::new(source, &snapshot.incomplete);
        let sources = snapshot.sources.iter().filter(is_directory).filter_map(|source| of(source).transpose());
        let is_placed = |line: &String| snapshot.sources.iter().any(|source| concerns(line, source.name.as_bytes()));
        let is_vague = !snapshot.incomplete.iter().all(is_placed);
        let not_whole = |source: &&SourceEntry| matches!(source.status, SourceStatus::Failed | SourceStatus::OptionalFailed);
        let failed = snapshot.sources.iter().filter(not_whole).map(|source| source.name.clone().into_bytes());
        Ok(Self { base, sources: sources.collect::<Result<_, _>>()?, failed: failed.collect(), is_vague })
    }

    /// The source that the entry at `path` (relative to the target) belongs to, and its path there. None: it belongs to none, or
    /// what the snapshot lacks of it is not known.
    pub fn of<'a>(&'a self, path: &[u8]) -> Option<(&'a Covered, Vec<u8>)> {
        if self.is_vague {
            return None;
        }
        let whole = if path.is_empty() { self.base.clone() } else { path::join(&self.base, path) };
        let (name, rest) = path::split_first(&whole);
        let source = self.sources.iter().find(|source| source.name == name)?;
        Some((source, rest.to_vec()))
    }

    /// Where what goes into the target was taken from, and the last name of its path in the snapshot.
    pub fn original(&self) -> Option<(PathBuf, Vec<u8>)> {
        let (source, below) = self.of(b"")?;
        let name = path::split_last(&self.base).1;
        Some((source.original.join(OsStr::from_bytes(&below)), name.to_vec()))
    }

    /// Is the folder at `path` (relative to the target) in a source, or the source's own folder?
    pub(crate) fn is_in_a_source(&self, path: &[u8]) -> bool {
        !(path.is_empty() && self.base.is_empty())
    }

    /// Why an entry of an older snapshot is not in this one although it may still be there. None: it was removed, as far as is known.
    /// `left_out` is what the node of its folder in this snapshot says; `path` is relative to what is looked at.
    pub fn why_absent(&self, path: &[u8], node: &Node, left_out: LeftOut) -> Option<Why> {
        let whole = path::join(&self.base, path);
        let name = path::split_first(&whole).0;
        if self.failed.iter().any(|failed| failed == name) {
            return Some("its source failed");
        }
        let source = self.sources.iter().find(|source| source.name == name)?;
        if self.is_vague {
            return Some("the snapshot is incomplete, and does not say where");
        }
        if !(left_out.is_nothing() || left_out == LeftOut::BY_RULE) {
            return Some("its folder was not recorded completely");
        }
        let within = whole.get(name.len() + 1..)?;
        let why = source.left_out(within, node.kind, node.size)?;
        // Without the mark at its folder no rule left anything out there.
        (left_out.has(LeftOut::BY_RULE) || why == UNREAD).then_some(why)
    }

    /// May what is missing from a folder's record be deleted from that folder? `left_out` is what its node says.
    pub fn is_complete(&self, path: &[u8], left_out: LeftOut) -> bool {
        (left_out.is_nothing() || left_out == LeftOut::BY_RULE) && self.of(path).is_some()
    }
}

impl Covered {
    /// None: it does not say what it left out, or not in a way that is understood.
    fn new(source: &SourceEntry, incomplete: &[String]) -> Result<Option<Self>, ExcludeError> {
        let facts = |key: &'static str| source.facts.iter().filter(move |fact| fact.0 == key).map(|fact| fact.1.as_str());
        let Some(original) = source.original_path() else { return Ok(None) };
        let patterns = |key| facts(key).flat_map(str::lines).map(str::to_owned).collect::<Vec<_>>();
        // The patterns were made relative to the folder when they were recorded.
        let excludes = Excludes::of_source(&patterns("exclude"), &patterns("iexclude"), &[])?;
        let mut marks: Vec<Vec<u8>> = facts("exclude-if-present")
            .map(|mark| mark.split_once(':').map_or(mark, |(name, _)| name).as_bytes().to_vec())
            .collect();
        if facts("exclude-caches").next().is_some() {
            marks.push(CACHE_TAG.to_vec());
        }
        let larger_than = match facts("exclude-larger-than").next().map(str::parse) {
            None => None,
            Some(Ok(bytes)) => Some(bytes),
            Some(Err(_)) => Some(0),
        };
        let name = source.name.clone().into_bytes();
        let unread = incomplete.iter().filter(|line| concerns(line, &name)).cloned().collect();
        Ok(Some(Self { name, original, excludes, larger_than, marks, unread }))
    }

    /// Why the snapshot would not hold this entry even if it had been there; `path` is relative to the source.
    pub fn left_out(&self, path: &[u8], kind: NodeKind, size: u64) -> Option<Why> {
        if self.excludes.excluded(path, kind == NodeKind::Folder) {
            return Some("the snapshot leaves it out by a pattern");
        }
        if kind == NodeKind::File && self.larger_than.is_some_and(|limit| size > limit) {
            return Some("the snapshot leaves out files of this size");
        }
        // Said of the entry by its path, or of the source as a whole.
        let whole = path::join(&self.name, path);
        if self.unread.iter().any(|line| concerns(line, &whole)) {
            return Some(UNREAD);
        }
        None
    }

    /// Is a folder that holds this entry left out of the snapshot?
    pub(crate) fn is_mark(&self, name: &[u8]) -> bool {
        self.marks.iter().any(|mark| mark == name)
    }
}

/// Does a reason of an incomplete snapshot speak of this path, or of something below it?
fn concerns(line: &str, path: &[u8]) -> bool {
    about(line, path) != About::Other
}

/// Does an incomplete snapshot say that this very entry, which it holds, is not as it should be?
pub fn is_named(snapshot: &Snapshot, path: &[u8]) -> bool {
    let whole = path::plain(path);
    snapshot.incomplete.iter().any(|line| concerns(line, &whole))
}

/// Does an incomplete snapshot lack something of what is at `path` or below? Yes, where it does not say where things are missing.
pub fn is_affected(snapshot: &Snapshot, path: &[u8]) -> bool {
    let parts: Vec<&[u8]> = path::parts(path).collect();
    if parts.is_empty() {
        return !snapshot.is_complete();
    }
    let is_placed = |line: &String| snapshot.sources.iter().any(|source| concerns(line, source.name.as_bytes()));
    let is_of_a_folder_above =
        |line: &String| (1..parts.len()).any(|length| about(line, &parts[..length].join(&b'/')) == About::Path);
    let whole = parts.join(&b'/');
    snapshot.incomplete.iter().any(|line| !is_placed(line) || concerns(line, &whole) || is_of_a_folder_above(line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::format::snapshot::Totals;
    use crate::format::tree::Content;
    use crate::id::SnapshotId;

    fn source(name: &str, kind: &str, facts: &[(&str, &str)]) -> SourceEntry {
        let time = Timestamp { seconds: 1, nanoseconds: 0 };
        SourceEntry {
            name: name.to_owned(),
            kind: kind.to_owned(),
            path: name.as_bytes().to_vec(),
            start: time,
            end: time,
            status: SourceStatus::Ok,
            streams: Vec::new(),
            facts: facts.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            extra: Vec::new(),
        }
    }

    fn snapshot(sources: Vec<SourceEntry>, incomplete: &[&str]) -> Snapshot {
        Snapshot {
            id: SnapshotId([0; 16]),
            time: Timestamp { seconds: 1, nanoseconds: 0 },
            host: String::new(),
            user: String::new(),
            program: String::new(),
            tags: Vec::new(),
            root: Content::default(),
            previous: None,
            totals: Totals::default(),
            incomplete: incomplete.iter().map(|line| (*line).to_owned()).collect(),
            sources,
            extra: Vec::new(),
        }
    }

    fn media(facts: &[(&str, &str)]) -> SourceEntry {
        source("media", DIRECTORY, &[&[("path", "/srv/media")], facts].concat())
    }

    #[test]
    fn nothing_is_complete_beside_the_sources_or_where_the_snapshot_does_not_know() {
        let snapshot = snapshot(vec![media(&[]), source("db", "postgres", &[]), source("old", DIRECTORY, &[])], &[]);
        let coverage = Coverage::new(Some(&snapshot), b"").unwrap();
        for (path, complete) in [("media", true), ("media/a", true), ("", false), ("db", false), ("old", false), ("other", false)] {
            assert_eq!(coverage.is_complete(path.as_bytes(), LeftOut::NOTHING), complete, "{path}");
        }
        assert!(coverage.is_complete(b"media", LeftOut::BY_RULE));
        for left_out in [LeftOut::UNREAD, LeftOut::TOO_DEEP, LeftOut::MARKED, LeftOut::OWN, LeftOut::BY_RULE.and(LeftOut::UNREAD)] {
            assert!(!coverage.is_complete(b"media", left_out));
        }
        assert!(!Coverage::new(None, b"media").unwrap().is_complete(b"", LeftOut::NOTHING));
    }

    #[test]
    fn a_part_of_a_source_has_the_rules_of_the_source() {
        let facts = [("exclude", "/cache\n*.tmp"), ("exclude-larger-than", "10"), ("exclude-if-present", ".nobackup")];
        let snapshot = snapshot(vec![media(&facts)], &["media/sub/locked: Permission denied"]);
        let coverage = Coverage::new(Some(&snapshot), b"/media/sub/").unwrap();
        let (source, path) = coverage.of(b"x.tmp").unwrap();
        assert_eq!(path, b"sub/x.tmp");
        assert!(source.left_out(&path, NodeKind::File, 1).is_some());
        assert!(source.left_out(b"sub/cache", NodeKind::Folder, 0).is_none());
        assert!(source.left_out(b"cache", NodeKind::Folder, 0).is_some());
        assert!(source.left_out(b"sub/big", NodeKind::File, 11).is_some());
        assert!(source.left_out(b"sub/locked", NodeKind::Folder, 0).is_some());
        assert!(source.left_out(b"sub/lock", NodeKind::File, 10).is_none());
        assert!(source.is_mark(b".nobackup") && !source.is_mark(b"CACHEDIR.TAG"));
        assert_eq!(coverage.original().unwrap(), (PathBuf::from("/srv/media/sub"), b"sub".to_vec()));
    }

    #[test]
    fn a_snapshot_that_does_not_say_where_it_is_incomplete_is_complete_nowhere() {
        for line in ["and 12 more", "repaired from snapshot 12", "lost: media/a"] {
            let snapshot = snapshot(vec![media(&[])], &[line]);
            assert!(!Coverage::new(Some(&snapshot), b"").unwrap().is_complete(b"media", LeftOut::NOTHING), "{line}");
            assert!(is_affected(&snapshot, b"media"), "{line}");
        }
    }

    #[test]
    fn what_is_missing_affects_what_holds_it_and_what_it_holds() {
        let snapshot = snapshot(vec![media(&[]), source("db", "postgres", &[])], &["media/a/b: refused", "db: no server"]);
        for (path, affected) in
            [("", true), ("media", true), ("media/a", true), ("media/a/b", true), ("media/a/b/c", true), ("media/a/bc", false)]
        {
            assert_eq!(is_affected(&snapshot, path.as_bytes()), affected, "{path}");
        }
        assert!(is_affected(&snapshot, b"db/app.dump"));
        assert!(is_named(&snapshot, b"/media/a/b") && !is_named(&snapshot, b"media/a/bc"));
        assert!(!is_affected(&snapshot, b"other"));
    }
}
