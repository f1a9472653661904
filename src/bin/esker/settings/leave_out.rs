//! Keys that leave something out of directories: at the top of the config file for all of them, in a source for that one.

use std::path::PathBuf;

/// What they say.
#[derive(Clone, Debug, Default)]
pub struct LeaveOutKeys {
    /// `exclude`: patterns.
    pub exclude: Vec<String>,
    /// `exclude-files`: files of patterns.
    pub exclude_files: Vec<PathBuf>,
    /// `iexclude`: patterns that do not tell upper from lower case.
    pub iexclude: Vec<String>,
    /// `iexclude-files`: files of those.
    pub iexclude_files: Vec<PathBuf>,
    /// `one-file-system`
    pub one_file_system: Option<bool>,
    /// `exclude-caches`
    pub exclude_caches: Option<bool>,
    /// `exclude-if-present`: `NAME` or `NAME:HEADER`.
    pub exclude_if_present: Vec<String>,
    /// `exclude-larger-than`: a size.
    pub exclude_larger_than: Option<String>,
}

impl LeaveOutKeys {
    /// None of them is given.
    pub fn is_empty(&self) -> bool {
        let Self { exclude, exclude_files, iexclude, iexclude_files, exclude_if_present, .. } = self;
        let flags = self.one_file_system.is_none() && self.exclude_caches.is_none() && self.exclude_larger_than.is_none();
        flags
            && [exclude, iexclude, exclude_if_present].into_iter().all(Vec::is_empty)
            && exclude_files.is_empty()
            && iexclude_files.is_empty()
    }
}
