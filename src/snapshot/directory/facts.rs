//! What the snapshot records about a directory source: page `format-spec/snapshot.md`, "Facts of a directory source".

use std::path::Path;

use crate::filesystem::{LeftOutCounts, Mark, ScanOptions, place_within};
use crate::source::DirectorySource;

/// The facts, in the order a snapshot wants them. `root` is the folder's absolute path.
pub fn of(source: &DirectorySource, root: &Path, left_out: &LeftOutCounts) -> Vec<(String, String)> {
    let mut facts = vec![("path".to_owned(), root.display().to_string())];
    let mut add = |key: &str, value: String| facts.push((key.to_owned(), value));
    for (key, patterns) in [("exclude", &source.excludes), ("iexclude", &source.excludes_any_case)] {
        let places: Vec<String> = patterns.iter().filter_map(|pattern| place_within(pattern, root)).collect();
        if !places.is_empty() {
            add(key, places.join("\n"));
        }
    }
    if source.one_file_system {
        add("one-file-system", "yes".to_owned());
    }
    if source.exclude_caches {
        add("exclude-caches", "yes".to_owned());
    }
    for mark in &source.exclude_if_present {
        add("exclude-if-present", mark.to_string());
    }
    if let Some(bytes) = source.exclude_larger_than {
        add("exclude-larger-than", bytes.to_string());
    }
    for (reason, count) in [
        ("pattern", left_out.by_pattern),
        ("size", left_out.by_size),
        ("mark", left_out.marked),
        ("file-system", left_out.other_file_systems),
        ("own", left_out.own),
    ] {
        if count > 0 {
            add("left-out", format!("{reason} {count}"));
        }
    }
    facts.sort_unstable();
    facts.dedup();
    facts
}

/// What the walk is told to leave out.
pub fn scan_options(source: &DirectorySource) -> ScanOptions {
    let mark =
        |mark: &crate::source::IfPresent| Mark { name: mark.name.clone().into_bytes(), header: mark.header.clone().into_bytes() };
    ScanOptions {
        one_file_system: source.one_file_system,
        exclude_caches: source.exclude_caches,
        exclude_if_present: source.exclude_if_present.iter().map(mark).collect(),
        exclude_larger_than: source.exclude_larger_than,
        ..ScanOptions::default()
    }
}
