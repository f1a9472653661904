//! Names of sources, and the checks over all sources of one snapshot.

use std::collections::HashMap;

use super::{Source, SourceError};

/// Longest name in bytes.
const MAX_NAME: usize = 64;

/// Is `name` of the form `[a-z0-9][a-z0-9._-]{0,63}`? Such a name is one safe path component and needs no quoting anywhere.
pub(crate) fn check_name(name: &str) -> Result<(), SourceError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut bytes = name.bytes();
    let fits = name.len() <= MAX_NAME
        && bytes.next().is_some_and(plain)
        && bytes.all(|byte| plain(byte) || matches!(byte, b'.' | b'_' | b'-'));
    if fits { Ok(()) } else { Err(SourceError::Name { name: name.to_owned() }) }
}

/// Checks the names of all sources of one snapshot (form, no name twice) and that no folder is given twice (also not by two
/// spellings or through a symbolic link). Looks at the file system only to tell spellings of existing folders apart.
pub fn check_sources(sources: &[Source]) -> Result<(), SourceError> {
    let mut names = HashMap::new();
    let mut paths = HashMap::new();
    for source in sources {
        check_name(source.name())?;
        if names.insert(source.name(), ()).is_some() {
            return Err(SourceError::DuplicateName { name: source.name().to_owned() });
        }
        if let Source::Directory(directory) = source
            && directory.named.is_none()
        {
            let path = directory.path.canonicalize().unwrap_or_else(|_| directory.path.clone());
            if let Some(first) = paths.insert(path, &directory.name) {
                return Err(SourceError::DuplicatePath {
                    path: directory.path.clone(),
                    first: first.clone(),
                    second: directory.name.clone(),
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::DirectorySource;
    use super::*;

    fn folder(name: &str, path: &std::path::Path) -> Source {
        Source::Directory(DirectorySource::new(name, path))
    }

    #[test]
    fn names_are_one_safe_path_component() {
        for good in ["a", "0", "postgresql", "media-2024.10_x", &"a".repeat(64)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "-a", "_a", ".a", "A", "a/b", "a b", "ä", "a\n", &"a".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_or_a_folder_given_twice_is_refused() {
        let folders = tempfile::tempdir().unwrap();
        let (one, two) = (folders.path().join("one"), folders.path().join("two"));
        std::fs::create_dir(&one).unwrap();
        std::fs::create_dir(&two).unwrap();
        assert!(check_sources(&[folder("a", &one), folder("b", &two)]).is_ok());
        let error = check_sources(&[folder("a", &one), folder("a", &two)]).unwrap_err();
        assert!(matches!(error, SourceError::DuplicateName { .. }));
        let error = check_sources(&[folder("a", &one), folder("b", &two.join("../one"))]).unwrap_err();
        assert!(error.to_string().contains("given twice, as source \"a\" and as source \"b\""), "{error}");
    }
}
