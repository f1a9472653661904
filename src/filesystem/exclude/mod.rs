//! Which entries are left out: patterns with gitignore's meaning, matched on the path relative to the root of a source.

mod pattern;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

pub(crate) use pattern::place_within;
pub use pattern::{lines_of_file, names_matching};

/// A pattern could not be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("pattern {pattern:?}: {detail}")]
pub struct ExcludeError {
    /// As it was given.
    pub pattern: String,
    /// What is wrong with it.
    pub detail: String,
}

/// Patterns with gitignore's meaning: `*.tmp` at any depth, `/cache` at the root only, `logs/` folders only, `**`, `!` takes back;
/// the last one that matches decides. What an excluded folder holds cannot be taken back. Braces mean themselves.
#[derive(Clone, Debug, Default)]
pub struct Excludes(Vec<Arc<List>>);

/// Patterns that are matched together.
#[derive(Debug)]
struct List {
    matcher: Gitignore,
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    /// As it was given.
    given: String,
    /// As the matcher has it.
    text: String,
    /// It decided about an entry.
    used: AtomicBool,
}

impl Excludes {
    /// Leaves nothing out.
    pub fn none() -> Self {
        Self::default()
    }

    /// Each pattern is taken as it stands: a blank at its end belongs to it, and `#` begins no comment.
    pub fn new(patterns: &[String]) -> Result<Self, ExcludeError> {
        let lines = patterns.iter().map(|pattern| (pattern.clone(), pattern.clone()));
        Self::none().with(lines, false)
    }

    /// Patterns for the folder that has these absolute paths: one that begins with such a path means what lies there. Patterns of the
    /// second list do not tell upper from lower case; an entry is left out when either list says so.
    pub fn of_source(patterns: &[String], any_case: &[String], roots: &[PathBuf]) -> Result<Self, ExcludeError> {
        let place = |pattern: &String| Some((pattern.clone(), place_within(pattern, roots)?));
        Self::none().with(patterns.iter().filter_map(place), false)?.with(any_case.iter().filter_map(place), true)
    }

    /// With one more list; each line as it was given, and as it is meant.
    fn with(mut self, lines: impl Iterator<Item = (String, String)>, any_case: bool) -> Result<Self, ExcludeError> {
        let mut builder = GitignoreBuilder::new("");
        // Only whether a path matches is asked, so this cannot fail before the patterns are built.
        let _ = builder.case_insensitive(any_case);
        let mut kept = Vec::new();
        for (given, meant) in lines {
            let error = |detail: String| ExcludeError { pattern: given.clone(), detail };
            let text = pattern::for_matcher(&meant).map_err(|detail| error(detail.to_owned()))?;
            builder.add_line(None, &text).map_err(|cause| error(cause.to_string()))?;
            kept.push(Line { text, used: AtomicBool::new(false), given });
        }
        if kept.is_empty() {
            return Ok(self);
        }
        let all = || kept.iter().map(|line| line.given.as_str()).collect::<Vec<_>>().join(", ");
        let matcher = builder.build().map_err(|cause| ExcludeError { pattern: all(), detail: cause.to_string() })?;
        self.0.push(Arc::new(List { matcher, lines: kept }));
        Ok(self)
    }

    /// There is no pattern.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Is the entry at `path` (relative to the root, raw bytes) left out? Only its own path is matched: a walk from the top does not
    /// get below an excluded folder.
    pub fn excluded(&self, path: &[u8], is_folder: bool) -> bool {
        // Every list is asked, so that each knows which of its patterns were used.
        self.0.iter().fold(false, |out, list| out | list.excluded(path, is_folder))
    }

    /// The patterns that decided about an entry so far, as they were given.
    pub fn used(&self) -> Vec<String> {
        let used = |line: &&Line| line.used.load(Ordering::Relaxed);
        self.0.iter().flat_map(|list| list.lines.iter().filter(used).map(|line| line.given.clone())).collect()
    }
}

impl List {
    fn excluded(&self, path: &[u8], is_folder: bool) -> bool {
        let found = self.matcher.matched(Path::new(OsStr::from_bytes(path)), is_folder);
        if let Match::Ignore(glob) | Match::Whitelist(glob) = &found {
            // The same pattern given twice counts as used twice.
            for line in self.lines.iter().filter(|line| line.text == glob.original()) {
                line.used.store(true, Ordering::Relaxed);
            }
        }
        found.is_ignore()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(patterns: &[&str]) -> Vec<String> {
        patterns.iter().map(|pattern| (*pattern).to_owned()).collect()
    }

    fn of(patterns: &[&str]) -> Excludes {
        Excludes::new(&owned(patterns)).unwrap()
    }

    #[test]
    fn patterns_mean_what_they_mean_in_gitignore() {
        let excludes = of(&["*.tmp", "/cache", "logs/", "a/**/z", "!keep.tmp", "#odd", "\\!loud", "b\\*", "**/deep", "end/**"]);
        for (path, folder, out) in [
            ("x.tmp", false, true),
            ("deep/er/x.tmp", false, true),
            ("deeper/keep.tmp", false, false),
            ("cache", true, true),
            ("sub/cache", true, false),
            ("logs", true, true),
            ("logs", false, false),
            ("sub/logs", true, true),
            ("a/b/c/z", false, true),
            ("a/z", false, true),
            ("#odd", false, true),
            ("!loud", false, true),
            ("loud", false, false),
            ("b*", false, true),
            ("bc", false, false),
            ("x/deep", true, true),
            ("deep", true, true),
            ("end", true, false),
            ("end/x", false, true),
            ("plain", false, false),
        ] {
            assert_eq!(excludes.excluded(path.as_bytes(), folder), out, "{path}");
        }
        assert!(of(&["*.tmp"]).excluded(b"\xff\xfe.tmp", false));
        assert!(!Excludes::none().excluded(b"x", false));
    }

    #[test]
    fn a_blank_at_the_end_of_a_pattern_belongs_to_it() {
        for (pattern, out, kept) in [
            ("a ", "a ", "a"),
            ("a\\ ", "a ", "a"),
            ("a\t", "a\t", "a"),
            ("a  ", "a  ", "a "),
            ("a\u{a0}", "a\u{a0}", "a"),
            ("a /", "a ", "a"),
            (" a", " a", "a"),
            ("a{b}", "a{b}", "ab"),
            ("a{b,c}", "a{b,c}", "ab"),
            ("a\\{", "a{", "a\\"),
        ] {
            let excludes = of(&[pattern]);
            assert!(excludes.excluded(out.as_bytes(), true), "{pattern:?} leaves {out:?} out");
            assert!(!excludes.excluded(kept.as_bytes(), true), "{pattern:?} does not leave {kept:?} out");
        }
    }

    #[test]
    fn a_pattern_that_can_match_nothing_is_an_error_and_not_skipped() {
        for pattern in ["[z-a]", "", " ", "!", "! ", "/", "//", "!/", "a//b", "./a", "../a", "a/./b", "a/..", "a\\", "a\nb", "a\0"]
        {
            assert!(Excludes::new(&owned(&[pattern])).is_err(), "{pattern:?}");
        }
    }

    #[test]
    fn patterns_without_case_are_a_list_of_their_own() {
        let excludes = Excludes::of_source(&owned(&["*.tmp", "!*.JPG"]), &owned(&["*.jpg"]), &["/srv".into()]).unwrap();
        for (path, out) in [("a.JPG", true), ("a.jpg", true), ("a.tmp", true), ("a.TMP", false)] {
            assert_eq!(excludes.excluded(path.as_bytes(), false), out, "{path}");
        }
    }

    #[test]
    fn a_pattern_that_left_something_out_is_named_as_it_was_given() {
        let excludes = Excludes::of_source(&owned(&["a ", "/srv/b", "c", "/srv/d"]), &owned(&["E"]), &["/srv".into()]).unwrap();
        assert!(excludes.excluded(b"a ", false) && excludes.excluded(b"b", false) && excludes.excluded(b"e", false));
        assert_eq!(excludes.used(), ["a ", "/srv/b", "E"]);
    }
}
