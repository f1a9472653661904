//! What is looked at when only some paths of a folder were named.

use crate::path;
use std::collections::BTreeMap;

/// What is looked at in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Only {
    /// All that is in it, and below.
    #[default]
    Everything,
    /// These entries and nothing else; of each of them what its own value says.
    Names(BTreeMap<Vec<u8>, Self>),
}

impl Only {
    /// These paths, relative to the folder, and what is below them. An empty path is the folder itself.
    pub fn paths<'a>(paths: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut all = Self::Names(BTreeMap::new());
        for path in paths {
            all.add(path);
        }
        all
    }

    fn add(&mut self, path: &[u8]) {
        let mut here = self;
        for part in path::parts(path) {
            // What is named with all that is below it stays so.
            let Self::Names(names) = here else { return };
            here = names.entry(part.to_vec()).or_insert_with(|| Self::Names(BTreeMap::new()));
        }
        *here = Self::Everything;
    }

    /// What is looked at below the folder at `path`.
    pub(super) fn at(&self, path: &[u8]) -> &Self {
        let mut here = self;
        for part in path::parts(path) {
            match here {
                Self::Everything => break,
                Self::Names(names) => here = names.get(part).unwrap_or(&Self::Everything),
            }
        }
        here
    }

    /// The names in it that are looked at; none: whatever is there.
    pub(super) fn names(&self) -> Option<&BTreeMap<Vec<u8>, Self>> {
        match self {
            Self::Everything => None,
            Self::Names(names) => Some(names),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_brings_what_is_below_it_whatever_else_is_named() {
        for paths in [["etc", "etc/ssl/a", "srv/x"], ["etc/ssl/a", "srv/x", "/etc/"]] {
            let only = Only::paths(paths.map(str::as_bytes));
            assert_eq!(only.at(b"etc/ssl"), &Only::Everything);
            let names = |path: &[u8]| only.at(path).names().map(|names| names.keys().cloned().collect::<Vec<_>>());
            assert_eq!(names(b"").unwrap(), [b"etc".to_vec(), b"srv".to_vec()]);
            assert_eq!(names(b"srv").unwrap(), [b"x".to_vec()]);
            assert_eq!(names(b"srv/x"), None);
        }
        assert_eq!(Only::paths([&b""[..], b"a"]), Only::Everything);
    }
}
