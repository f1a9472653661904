//! Directory sources: what is left out of them, and the paths that stand in files.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use anyhow::Result;
use esker::filesystem::{Excludes, lines_of_file, names_matching};
use esker::source::{DirectorySource, IfPresent, Source};

use crate::args::{LeaveOut, bytes};
use crate::error::Usage;
use crate::settings::{LeaveOutKeys, SourceEntry};
use crate::terminal::escape::escape;

/// What every directory leaves out: by the config file, then by the flags.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    patterns: Vec<String>,
    any_case: Vec<String>,
    one_file_system: bool,
    caches: bool,
    if_present: Vec<IfPresent>,
    larger_than: Option<u64>,
    /// What the flags say, which a source's own keys do not change.
    fixed: Fixed,
}

#[derive(Clone, Copy, Debug, Default)]
struct Fixed {
    one_file_system: bool,
    caches: bool,
    larger_than: Option<u64>,
}

impl Rules {
    /// Of the flags and the top of the config file.
    pub fn new(flags: &LeaveOut, keys: &LeaveOutKeys) -> Result<Self> {
        let mut rules = Self::default().with(keys)?;
        rules.patterns.extend(flags.exclude.iter().cloned());
        rules.any_case.extend(flags.iexclude.iter().cloned());
        for path in &flags.exclude_file {
            rules.patterns.extend(patterns_in(path)?);
        }
        for path in &flags.iexclude_file {
            rules.any_case.extend(patterns_in(path)?);
        }
        rules.if_present.extend(flags.exclude_if_present.iter().cloned());
        rules.fixed =
            Fixed { one_file_system: flags.one_file_system, caches: flags.exclude_caches, larger_than: flags.exclude_larger_than };
        Ok(rules)
    }

    /// With those of one source, which answers before them where there is one answer only.
    fn with(mut self, keys: &LeaveOutKeys) -> Result<Self> {
        self.patterns.extend(keys.exclude.iter().cloned());
        self.any_case.extend(keys.iexclude.iter().cloned());
        for path in &keys.exclude_files {
            self.patterns.extend(patterns_in(path)?);
        }
        for path in &keys.iexclude_files {
            self.any_case.extend(patterns_in(path)?);
        }
        self.one_file_system = keys.one_file_system.unwrap_or(self.one_file_system);
        self.caches = keys.exclude_caches.unwrap_or(self.caches);
        for mark in &keys.exclude_if_present {
            self.if_present.push(mark.parse().map_err(|why| Usage::new(format!("exclude-if-present: {why}")))?);
        }
        if let Some(size) = &keys.exclude_larger_than {
            self.larger_than = Some(bytes(size).map_err(|why| Usage::new(format!("exclude-larger-than: {why}")))?);
        }
        Ok(self)
    }

    /// Patterns of every directory, for the preset.
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }

    /// All patterns of every directory.
    pub fn all_patterns(&self) -> impl Iterator<Item = &String> {
        self.patterns.iter().chain(&self.any_case)
    }

    /// Leaves out of a source that a preset found what every directory leaves out; its patterns it has already.
    pub fn put_on_found(&self, source: &mut Source) {
        if let Source::Directory(directory) = source {
            self.put_on(directory);
        }
    }

    fn put_on(&self, directory: &mut DirectorySource) {
        directory.excludes_any_case = self.any_case.clone();
        directory.one_file_system = self.one_file_system || self.fixed.one_file_system;
        directory.exclude_caches = self.caches || self.fixed.caches;
        directory.exclude_if_present = self.if_present.clone();
        directory.exclude_larger_than = self.fixed.larger_than.or(self.larger_than);
    }
}

/// The directory of an entry, or the paths that it names.
pub fn directory(entry: &SourceEntry, name: String, optional: bool, rules: &Rules) -> Result<DirectorySource> {
    let rules = rules.clone().with(&entry.leave_out_keys())?;
    let mut source = match &entry.directory {
        Some(path) => DirectorySource::new(name, path.clone()),
        None => DirectorySource { named: Some(listed(entry)?), ..DirectorySource::new(name, "/") },
    };
    source.optional = optional;
    source.allow_empty = entry.allow_empty;
    source.excludes = rules.patterns.clone();
    rules.put_on(&mut source);
    // A pattern that cannot work is found before a password is asked for.
    Excludes::of_source(&source.excludes, &source.excludes_any_case, &[]).map_err(Usage::new)?;
    Ok(source)
}

fn patterns_in(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Usage::new(format!("exclude file {}: {error}", escape(path.as_os_str().as_bytes()))))?;
    Ok(lines_of_file(&text))
}

/// All paths of the entry's lists, relative to `/`.
fn listed(entry: &SourceEntry) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for file in &entry.files_from {
        for line in lines(&read(file)?) {
            let line = line.trim_ascii();
            if !line.is_empty() && !line.starts_with(b"#") {
                paths.extend(expand(Path::new(OsStr::from_bytes(line))));
            }
        }
    }
    for file in &entry.files_from_verbatim {
        let bytes = read(file)?;
        paths.extend(lines(&bytes).filter(|line| !line.is_empty()).map(|line| PathBuf::from(OsStr::from_bytes(line))));
    }
    for file in &entry.files_from_raw {
        let bytes = read(file)?;
        let mut parts = bytes.split(|byte| *byte == 0).peekable();
        while let Some(part) = parts.next() {
            match (part.is_empty(), parts.peek().is_some()) {
                (false, _) => paths.push(PathBuf::from(OsStr::from_bytes(part))),
                // After the last NUL there is nothing.
                (true, false) => {}
                (true, true) => return Err(Usage::new(format!("{}: an empty path", shown(file))).into()),
            }
        }
    }
    if paths.is_empty() {
        return Err(Usage::new("the lists of --files-from name no path").hint("an empty list is usually a mistake").into());
    }
    paths.iter().map(|path| below_root(path)).collect()
}

fn shown(path: &Path) -> String {
    escape(path.as_os_str().as_bytes())
}

/// A byte order mark, which some editors write, is no part of the first path.
fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let done = match path.as_os_str() == "-" {
        true => std::io::stdin().lock().read_to_end(&mut bytes).map(drop),
        false => std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes).map(drop)),
    };
    done.map_err(|error| Usage::new(format!("list of paths {}: {error}", shown(path))))?;
    if bytes.starts_with("\u{feff}".as_bytes()) {
        bytes.drain(..3);
    }
    Ok(bytes)
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// The way from `/` to the path: through the real folders, as a walk goes; the last part is not followed if it is a link.
fn below_root(path: &Path) -> Result<PathBuf> {
    let refuse = |error: std::io::Error| Usage::new(format!("{}: {error}", shown(path)));
    let whole = std::path::absolute(path).map_err(refuse)?;
    let real = match whole.components().next_back() {
        Some(Component::Normal(name)) => {
            let folder = whole.parent().unwrap_or(Path::new("/"));
            // What does not exist stays as it is written; the snapshot says that it is missing.
            folder.canonicalize().unwrap_or_else(|_| folder.to_owned()).join(name)
        }
        _ => whole.canonicalize().map_err(refuse)?,
    };
    Ok(real.strip_prefix("/").unwrap_or(&real).to_owned())
}

/// The paths that a path with wildcards names; itself when there are none, so that the snapshot says that it is missing.
fn expand(pattern: &Path) -> Vec<PathBuf> {
    let has_wildcard = |part: &OsStr| part.as_bytes().iter().any(|byte| matches!(byte, b'*' | b'?' | b'['));
    if std::fs::symlink_metadata(pattern).is_ok() || !has_wildcard(pattern.as_os_str()) {
        return vec![pattern.to_owned()];
    }
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let text = part.as_os_str().to_str().filter(|_| has_wildcard(part.as_os_str()));
        found = match text {
            None => found.into_iter().map(|path| path.join(part)).collect(),
            Some(text) => found.iter().flat_map(|path| names_below(path, text).into_iter().map(|name| path.join(name))).collect(),
        };
    }
    found.retain(|path| std::fs::symlink_metadata(path).is_ok());
    if found.is_empty() { vec![pattern.to_owned()] } else { found }
}

fn names_below(folder: &Path, pattern: &str) -> Vec<OsString> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.file_name()));
    // As in a shell: a name that begins with a dot is hidden from a wildcard at its beginning.
    let shows = |name: &OsString| pattern.starts_with('.') || !name.as_bytes().starts_with(b".");
    let mut names = names_matching(pattern, entries.filter(shows).collect());
    names.sort_unstable_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stand_in_lines_or_between_nuls() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("real")).unwrap();
        std::os::unix::fs::symlink("real", root.join("link")).unwrap();
        for name in ["a.log", "b.log", ".c.log", "real/x", " odd "] {
            std::fs::write(root.join(name), name).unwrap();
        }
        let at = |name: &str| root.join(name).strip_prefix("/").unwrap().to_owned();
        let listed = |fill: &dyn Fn(&mut SourceEntry, PathBuf), text: &str| {
            let list = root.join("list");
            std::fs::write(&list, text.replace("@", root.to_str().unwrap())).unwrap();
            let mut entry = SourceEntry::default();
            fill(&mut entry, list);
            super::listed(&entry).map_err(|error| error.to_string())
        };
        let plain = |text| listed(&|entry, list| entry.files_from.push(list), text);
        assert_eq!(
            plain("\u{feff}@/*.log\r\n# no\n\n  @/link/x  \n@/gone*\n").unwrap(),
            ["a.log", "b.log", "real/x", "gone*"].map(at)
        );
        assert!(plain("# nothing\n").is_err());
        let verbatim = |text| listed(&|entry, list| entry.files_from_verbatim.push(list), text);
        assert_eq!(verbatim("@/ odd \n@/*.log\n").unwrap(), [" odd ", "*.log"].map(at));
        let raw = |text| listed(&|entry, list| entry.files_from_raw.push(list), text);
        assert_eq!(raw("@/a.log\0@/n\nl\0").unwrap(), ["a.log", "n\nl"].map(at));
        assert!(raw("@/a\0\0@/b\0").is_err());
    }
}
