//! Which entries are restored: `--include` and `--exclude`.

use crate::filesystem::{ExcludeError, Excludes};
use crate::format::tree::{Node, NodeKind};
use crate::monitor::Stop;
use crate::repository::Reader;
use crate::restore::{RestoreError, Start, is_loss};

/// What becomes of one entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Selected {
    /// It is restored.
    Yes,
    /// A folder that is not, unless something in it is.
    Below,
    /// Neither it nor what it holds.
    No,
}

/// Patterns of a restore, matched on paths relative to what is restored.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    include: Excludes,
    exclude: Excludes,
}

impl Selection {
    /// Patterns of `--include` and `--exclude`.
    pub(crate) fn new(include: &[String], exclude: &[String]) -> Result<Self, ExcludeError> {
        // Both have one meaning of a pattern; that one is called after leaving out is history.
        Ok(Self { include: Excludes::new(include)?, exclude: Excludes::new(exclude)? })
    }

    /// Those of the patterns of `--exclude`, as they were given, that decided about nothing so far.
    pub(crate) fn unused<'p>(&self, exclude: &'p [String]) -> impl Iterator<Item = &'p String> {
        let used = self.exclude.used();
        exclude.iter().filter(move |pattern| !used.contains(pattern))
    }

    /// Is all that a folder holds selected with it, unless a pattern leaves it out?
    pub(crate) fn starts_selected(&self) -> bool {
        self.include.is_empty()
    }

    /// Decides about the entry at `path`; `within`: a folder above it is selected, and nothing above is left out.
    pub(crate) fn select(&self, path: &[u8], is_folder: bool, within: bool) -> Selected {
        if self.exclude.excluded(path, is_folder) {
            Selected::No
        } else if within || self.include.is_empty() || self.include.excluded(path, is_folder) {
            Selected::Yes
        } else if is_folder {
            Selected::Below
        } else {
            Selected::No
        }
    }
}

/// An `--include` that matches nothing is a mistake that would pass for a restore: refused before anything is written.
pub(crate) fn check_includes(reader: &Reader, start: &Start, include: &[String], stop: &Stop) -> Result<(), RestoreError> {
    // Each on its own: the last one that matches decides, and what an earlier one matched as well would not be seen.
    let positive = include.iter().filter(|pattern| !pattern.starts_with('!'));
    let mut unmatched = positive
        .map(|pattern| Ok((pattern.clone(), Excludes::new(std::slice::from_ref(pattern))?)))
        .collect::<Result<Vec<_>, ExcludeError>>()?;
    let mut meet = |path: &[u8], node: &Node| {
        unmatched.retain(|(_, pattern)| !pattern.excluded(path, node.kind == NodeKind::Folder));
        !unmatched.is_empty()
    };
    match start {
        Start::Entry(node) => drop(meet(&node.name, node)),
        Start::Folder(content, _) if !include.is_empty() => {
            let walked = reader.walk::<RestoreError>(content, &mut |path, node| {
                stop.check()?;
                Ok(meet(path, node))
            });
            match walked {
                // What is damaged might have matched. The restore itself tells of the damage.
                Err(RestoreError::Repository(error)) if is_loss(&error) => return Ok(()),
                other => other?,
            }
        }
        Start::Folder(..) => {}
    }
    match unmatched.is_empty() {
        true => Ok(()),
        false => Err(RestoreError::NoMatch(unmatched.into_iter().map(|(pattern, _)| pattern).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(include: &[&str], exclude: &[&str]) -> Selection {
        let owned = |patterns: &[&str]| patterns.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
        Selection::new(&owned(include), &owned(exclude)).unwrap()
    }

    #[test]
    fn without_patterns_everything_is_selected() {
        assert_eq!(of(&[], &[]).select(b"a/b", false, true), Selected::Yes);
        assert!(of(&[], &[]).starts_selected());
    }

    #[test]
    fn an_included_folder_brings_all_it_holds() {
        let selection = of(&["media/"], &[]);
        assert_eq!(selection.select(b"media", true, false), Selected::Yes);
        assert_eq!(selection.select(b"media/x", false, true), Selected::Yes);
        assert_eq!(selection.select(b"other", true, false), Selected::Below);
        assert_eq!(selection.select(b"other/file", false, false), Selected::No);
        assert_eq!(selection.select(b"other/media", true, false), Selected::Yes);
    }

    #[test]
    fn exclude_wins_over_include() {
        let selection = of(&["*.jpg"], &["/private"]);
        assert_eq!(selection.select(b"a/b.jpg", false, false), Selected::Yes);
        assert_eq!(selection.select(b"private", true, false), Selected::No);
        assert_eq!(of(&[], &["*.tmp"]).select(b"a/x.tmp", false, true), Selected::No);
    }

    #[test]
    fn a_broken_pattern_is_an_error() {
        assert!(Selection::new(&["[z-a]".to_owned()], &[]).is_err());
    }
}
