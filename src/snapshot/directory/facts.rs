//! What the snapshot records about a directory source: page `format-spec/snapshot.md`, "Facts of a directory source".

use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::filesystem::{LeftOutCounts, Mark, Only, ScanOptions, place_within};
use crate::source::{DirectorySource, IfPresent, SourceKind};

/// The absolute paths of the source: as it is called, and where it is when links are followed.
pub(super) fn roots(source: &DirectorySource) -> [PathBuf; 2] {
    let real = source.path.canonicalize().unwrap_or_else(|_| source.path.clone());
    // What `..` leaves depends on links: only the system knows.
    let goes_up = source.path.components().any(|part| part == Component::ParentDir);
    let called = if goes_up { None } else { std::path::absolute(&source.path).ok() };
    [called.unwrap_or_else(|| real.clone()), real]
}

/// The facts, in the order a snapshot wants them; `roots` as [`roots`] gives them.
pub(super) fn of(source: &DirectorySource, roots: &[PathBuf; 2], left_out: &LeftOutCounts) -> Vec<(String, String)> {
    let mut facts = vec![("path".to_owned(), roots[0].display().to_string())];
    if source.kind() == SourceKind::File {
        // No rule leaves out what was named itself.
        return facts;
    }
    let mut add = |key: &str, value: String| facts.push((key.to_owned(), value));
    for (key, patterns) in [("exclude", &source.excludes), ("iexclude", &source.excludes_any_case)] {
        let places: Vec<String> = patterns.iter().filter_map(|pattern| place_within(pattern, roots)).collect();
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
    if let Some(named) = &source.named {
        add("named", named.len().to_string());
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
pub(crate) fn scan_options(source: &DirectorySource) -> ScanOptions {
    let mark = |mark: &IfPresent| Mark { name: mark.name.clone().into_bytes(), header: mark.header.clone().into_bytes() };
    let only =
        source.named.as_ref().map_or(Only::Everything, |named| Only::paths(named.iter().map(|path| path.as_os_str().as_bytes())));
    ScanOptions {
        only,
        one_file_system: source.one_file_system,
        exclude_caches: source.exclude_caches,
        exclude_if_present: source.exclude_if_present.iter().map(mark).collect(),
        exclude_larger_than: source.exclude_larger_than,
        ..ScanOptions::default()
    }
}

/// A file as a source: the folder it is in, and what of it is looked at. No rule leaves out what was named itself.
pub(super) fn alone(file: &Path) -> std::io::Result<(PathBuf, ScanOptions)> {
    let file = file.canonicalize()?;
    let name = file.file_name().unwrap_or_default().as_bytes();
    let only = Only::paths([name]);
    let folder = file.parent().unwrap_or(Path::new("/")).to_owned();
    Ok((folder, ScanOptions { only, threads: 0, ..ScanOptions::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_says_what_it_was_told_to_leave_out() {
        let source = DirectorySource {
            excludes: ["*.tmp", "!keep.tmp", "/srv/app/cache", "/srv/app", "/real/logs"].map(str::to_owned).to_vec(),
            excludes_any_case: vec!["*.JPG".to_owned()],
            one_file_system: true,
            exclude_caches: true,
            exclude_if_present: vec!["TAG:x".parse().unwrap(), ".nobackup".parse().unwrap()],
            exclude_larger_than: Some(10),
            named: Some(vec!["a".into(), "b".into()]),
            ..DirectorySource::new("app", "app")
        };
        let left_out = LeftOutCounts { by_pattern: 2, marked: 1, ..LeftOutCounts::default() };
        let roots = ["/srv/app".into(), "/real".into()];
        let facts = of(&source, &roots, &left_out);
        let expected = [
            ("exclude", "*.tmp\n!keep.tmp\n/cache\n/logs"),
            ("exclude-caches", "yes"),
            ("exclude-if-present", ".nobackup"),
            ("exclude-if-present", "TAG:x"),
            ("exclude-larger-than", "10"),
            ("iexclude", "*.JPG"),
            ("left-out", "mark 1"),
            ("left-out", "pattern 2"),
            ("named", "2"),
            ("one-file-system", "yes"),
            ("path", "/srv/app"),
        ];
        assert_eq!(facts, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        let plain = of(&DirectorySource::new("app", "app"), &roots, &LeftOutCounts::default());
        assert_eq!(plain, [("path".to_owned(), "/srv/app".to_owned())]);
    }
}
