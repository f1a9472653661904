//! Where a directory source was taken from.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::SourceEntry;

/// Extra field of a source: its absolute path as raw bytes. Only where the fact `path`, which is text, cannot hold it.
const EXTRA_PATH: u16 = 1;
const FACT_PATH: &str = "path";

impl SourceEntry {
    /// The absolute path that it was taken from; none: it does not say.
    pub fn original_path(&self) -> Option<PathBuf> {
        let raw = self.extra.iter().find(|field| field.0 == EXTRA_PATH).map(|(.., path)| PathBuf::from(OsStr::from_bytes(path)));
        let text = || self.facts.iter().find(|fact| fact.0 == FACT_PATH).map(|fact| PathBuf::from(&fact.1));
        raw.or_else(text).filter(|path| path.is_absolute())
    }

    /// Records the path in raw bytes, if the fact `path` cannot hold it.
    pub(crate) fn keep_original_path(&mut self, path: &Path) {
        self.extra.retain(|field| field.0 != EXTRA_PATH);
        if path.to_str().is_none() {
            let place = self.extra.partition_point(|field| field.0 < EXTRA_PATH);
            self.extra.insert(place, (EXTRA_PATH, false, path.as_os_str().as_bytes().to_vec()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::format::snapshot::SourceStatus;

    #[test]
    fn a_path_that_is_no_text_survives() {
        let time = Timestamp { seconds: 0, nanoseconds: 0 };
        let mut source = SourceEntry {
            name: "a".to_owned(),
            kind: "directory".to_owned(),
            path: b"a".to_vec(),
            start: time,
            end: time,
            status: SourceStatus::Ok,
            streams: Vec::new(),
            facts: Vec::new(),
            extra: vec![(7, false, Vec::new())],
        };
        assert_eq!(source.original_path(), None);
        let odd = Path::new(OsStr::from_bytes(b"/srv/\xff"));
        source.facts = vec![("path".to_owned(), odd.display().to_string())];
        source.keep_original_path(odd);
        assert_eq!(source.original_path().as_deref(), Some(odd));
        assert_eq!(source.extra.iter().map(|field| field.0).collect::<Vec<_>>(), [1, 7]);
        source.keep_original_path(Path::new("/srv/plain"));
        assert_eq!(source.extra.len(), 1);
        source.facts = vec![("path".to_owned(), "relative".to_owned())];
        assert_eq!(source.original_path(), None);
    }
}
