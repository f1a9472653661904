//! Paths inside a snapshot or below a folder: names with `/` between, as raw bytes, relative to some folder.
//!
//! A name is one step down and nothing else. Names of stored objects are [`crate::store::Name`]s and have rules of
//! their own.

/// Is this one step down: not empty, not `.` or `..`, without `/` and without a zero byte?
pub fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name != b"." && name != b".." && !name.contains(&b'/') && !name.contains(&0)
}

/// The names of a path as a person may type it, without the parts that mean nothing: `a//./b/` is `a` and `b`.
pub fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|part| !part.is_empty() && *part != b".")
}

/// The same path with one `/` between its names.
pub fn plain(path: &[u8]) -> Vec<u8> {
    parts(path).collect::<Vec<_>>().join(&b'/')
}

/// `folder` and `below` with one `/` between; either may be empty.
pub fn join(folder: &[u8], below: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(folder.len() + 1 + below.len());
    path.extend_from_slice(folder);
    push(&mut path, below);
    path
}

/// Goes down to `name`. Returns the length that the path had before, to truncate it to later.
pub fn push(path: &mut Vec<u8>, name: &[u8]) -> usize {
    let length = path.len();
    if !path.is_empty() && !name.is_empty() && !path.ends_with(b"/") {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    length
}

/// The folder (empty for a single name) and the last name.
pub fn split_last(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}

/// The first name and what is below it.
pub fn split_first(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().position(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (path, &[]),
    }
}

/// `path` relative to `folder`: empty when both are the same, `None` when it is neither that nor below it.
pub fn relative<'p>(path: &'p [u8], folder: &[u8]) -> Option<&'p [u8]> {
    let rest = path.strip_prefix(folder)?;
    match rest.is_empty() || folder.is_empty() || folder.ends_with(b"/") {
        true => Some(rest),
        false => rest.strip_prefix(b"/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_step_down() {
        assert!([&b"a"[..], b"...", b"a b", b"\xff"].into_iter().all(is_name));
        assert!(![&b""[..], b".", b"..", b"a/b", b"/", b"a\0"].into_iter().any(is_name));
    }

    #[test]
    fn a_typed_path_means_the_names_in_it() {
        assert_eq!(plain(b"/a//./b/"), b"a/b");
        assert_eq!(plain(b"/"), b"");
    }

    #[test]
    fn paths_are_put_together_and_taken_apart() {
        assert_eq!([join(b"", b"a"), join(b"a", b""), join(b"/", b"a"), join(b"a", b"b/c")], [&b"a"[..], b"a", b"/a", b"a/b/c"]);
        let mut path = b"a".to_vec();
        assert_eq!((push(&mut path, b"b"), &path[..]), (1, &b"a/b"[..]));
        assert_eq!((split_last(b"a/b/c"), split_last(b"c")), ((&b"a/b"[..], &b"c"[..]), (&b""[..], &b"c"[..])));
        assert_eq!((split_first(b"a/b/c"), split_first(b"c")), ((&b"a"[..], &b"b/c"[..]), (&b"c"[..], &b""[..])));
    }

    #[test]
    fn a_name_that_only_begins_alike_is_not_below() {
        assert_eq!(relative(b"a/b", b"a"), Some(&b"b"[..]));
        assert_eq!(relative(b"a", b"a"), Some(&b""[..]));
        assert_eq!(relative(b"a/b", b""), Some(&b"a/b"[..]));
        assert_eq!(relative(b"/srv/x", b"/srv/"), Some(&b"x"[..]));
        assert_eq!((relative(b"ab", b"a"), relative(b"a", b"a/b")), (None, None));
    }
}
