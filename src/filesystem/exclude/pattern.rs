//! A pattern as a user writes it -> a pattern as the library that matches understands it.

use std::path::{Component, Path, PathBuf};

use ignore::gitignore::GitignoreBuilder;

/// What a UTF-8 file of some editors begins with.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// The patterns in the text of a file, one a line: a line that is empty or begins with `#` is none, and blanks at the end of a line
/// are no part of it unless a `\` stands before them. A byte order mark and the line ends of other systems are no part of a line.
pub fn lines_of_file(text: &str) -> Vec<String> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let lines = text.lines().map(trim_end).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

/// Without blanks at its end, up to one that a backslash makes part of it.
fn trim_end(line: &str) -> &str {
    let trimmed = line.trim_end();
    match (ends_in_escape(trimmed), line[trimmed.len()..].chars().next()) {
        (true, Some(blank)) => &line[..trimmed.len() + blank.len_utf8()],
        _ => trimmed,
    }
}

fn ends_in_escape(text: &str) -> bool {
    text.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1
}

/// The pattern for the folder of a source, which has these absolute paths (with and without following links): an absolute path that
/// lies within the folder becomes the way from there. None when it is the folder's own path: it leaves out nothing in it. Any other
/// pattern stays as it is.
pub(crate) fn place_within(pattern: &str, roots: &[PathBuf]) -> Option<String> {
    for root in roots {
        let place = within(pattern, root)?;
        if place != pattern {
            return Some(place);
        }
    }
    Some(pattern.to_owned())
}

fn within(pattern: &str, root: &Path) -> Option<String> {
    let (not, rest) = pattern.strip_prefix('!').map_or(("", pattern), |rest| ("!", rest));
    let Some(mut rest) = rest.strip_prefix('/') else { return Some(pattern.to_owned()) };
    let mut names = root.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        _ => None,
    });
    let mut is_first = true;
    while let Some(name) = names.next() {
        let (part, after) = rest.split_once('/').unwrap_or((rest, ""));
        // `**` may stand for what is left of the way to the folder, and goes on below it.
        if part == "**" && !is_first {
            break;
        }
        // A pattern whose very first part is a wildcard says nothing of where it begins: it is relative.
        let same = name.as_encoded_bytes() == part.as_bytes() || (!is_first && part_matches(part, Path::new(name)));
        if !same {
            return Some(pattern.to_owned());
        }
        if after.is_empty() {
            return names.next().is_some().then(|| pattern.to_owned());
        }
        (rest, is_first) = (after, false);
    }
    Some(format!("{not}/{rest}"))
}

fn part_matches(part: &str, name: &Path) -> bool {
    let Ok(text) = for_matcher(part) else { return false };
    let mut builder = GitignoreBuilder::new("");
    let built = builder.add_line(None, &text).and_then(|builder| builder.build());
    built.is_ok_and(|matcher| matcher.matched(name, true).is_ignore())
}

/// Those of the names that the pattern of one name matches (`*`, `?`, `[a-z]`); none when it is no pattern.
pub fn names_matching(pattern: &str, names: Vec<std::ffi::OsString>) -> Vec<std::ffi::OsString> {
    names.into_iter().filter(|name| part_matches(pattern, Path::new(name))).collect()
}

/// What the matching library takes for the same pattern: it cuts blanks off the end, skips what begins with `#`, and reads braces as
/// alternatives, which a line of a .gitignore does not.
pub(super) fn for_matcher(pattern: &str) -> Result<String, &'static str> {
    check(pattern)?;
    let mut text = String::with_capacity(pattern.len() + 2);
    if pattern.starts_with('#') {
        text.push('\\');
    }
    let body = pattern.trim_end();
    let end = &pattern[body.len()..];
    // A group with one alternative ends with its brace, not with a blank; a backslash before the first blank has done its work then.
    let body = if !end.is_empty() && ends_in_escape(body) { &body[..body.len() - 1] } else { body };
    let (mut escaped, mut in_class) = (false, false);
    for c in body.chars() {
        if matches!(c, '{' | '}') && !escaped && !in_class {
            text.push('\\');
        }
        if !escaped {
            in_class = (in_class || c == '[') && c != ']';
        }
        escaped = c == '\\' && !escaped;
        text.push(c);
    }
    if !end.is_empty() {
        text.extend(["{", end, "}"]);
    }
    Ok(text)
}

/// Refuses what can match no path: it would be a typing error that nobody notices.
fn check(pattern: &str) -> Result<(), &'static str> {
    let body = pattern.strip_prefix('!').unwrap_or(pattern);
    if body.trim().is_empty() {
        return Err("is empty");
    }
    if body.contains(['\n', '\0']) {
        return Err("has a line break or a NUL in it; `?` matches any one character");
    }
    let inner = body.strip_prefix('/').unwrap_or(body);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if inner.is_empty() || inner.split('/').any(str::is_empty) {
        return Err("can match nothing: a part of the path is empty");
    }
    if inner.split('/').any(|part| matches!(part, "." | "..")) {
        return Err("can match nothing: paths have no `.` or `..`; `/x` is x in the source's own folder");
    }
    if ends_in_escape(body) {
        return Err("ends with a backslash that escapes nothing");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absolute_path_within_the_source_means_that_place() {
        for (pattern, root, meant) in [
            ("/srv/media/cache", "/srv/media", Some("/cache")),
            ("!/srv/media/cache/*", "/srv/media", Some("!/cache/*")),
            ("/srv/media/cache/", "/srv/media", Some("/cache/")),
            ("/srv/*/cache", "/srv/media", Some("/cache")),
            ("/srv/**/cache", "/srv/media/icons", Some("/**/cache")),
            ("/srv/some[file]/x", "/srv/some[file]", Some("/x")),
            ("/cache", "/srv/media", Some("/cache")),
            ("/srv/mediaX/cache", "/srv/media", Some("/srv/mediaX/cache")),
            ("/srv", "/srv/media", Some("/srv")),
            ("/*/*", "/srv", Some("/*/*")),
            ("/srv/x", "/", Some("/srv/x")),
            ("srv/media/x", "/srv/media", Some("srv/media/x")),
            ("/srv/media", "/srv/media", None),
            ("/srv/media/", "/srv/media", None),
        ] {
            assert_eq!(place_within(pattern, &[root.into()]).as_deref(), meant, "{pattern} in {root}");
        }
        // Two ways to write one folder.
        for (pattern, meant) in [("/srv/link/x", Some("/x")), ("/real/x", Some("/x")), ("/real", None), ("/x", Some("/x"))] {
            assert_eq!(place_within(pattern, &["/srv/link".into(), "/real".into()]).as_deref(), meant, "{pattern}");
        }
    }

    #[test]
    fn a_file_of_patterns_may_have_comments_a_byte_order_mark_and_the_line_ends_of_windows() {
        let text = "\u{feff}first\r\n# media of users\r\n\r\n  \n*.mp4  \nkept\\ \nboth\\  \n\\#x\n\u{feff}\n";
        assert_eq!(lines_of_file(text), ["first", "*.mp4", "kept\\ ", "both\\ ", "\\#x", "\u{feff}"]);
        assert_eq!(lines_of_file("\u{feff}# only a comment"), Vec::<String>::new());
    }
}
