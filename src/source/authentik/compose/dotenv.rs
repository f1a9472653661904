//! Files of `NAME=value` lines (`.env`, `env_file`), as compose reads them.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use super::interpolate::{Lookup, interpolate};

/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// A file of settings, at most 1 MiB of it.
pub(crate) fn read_small(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB: not a file of settings"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The variables of a file. `outside` is what it may refer to beside its own lines, and wins over them; `raw` replaces nothing.
pub(super) fn parse(text: &str, outside: Lookup<'_>, raw: bool) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    while !rest.is_empty() {
        let (line, behind) = rest.split_once('\n').unwrap_or((rest, ""));
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            rest = behind;
            continue;
        }
        let Some(equals) = line.find('=') else {
            // A name alone is handed on from outside.
            if let Some(value) = outside(bare_name(trimmed)) {
                found.insert(bare_name(trimmed).to_owned(), value);
            }
            rest = behind;
            continue;
        };
        let name = bare_name(line[..equals].trim()).to_owned();
        let (value, literal, after) =
            if raw { (line[equals + 1..].trim().to_owned(), true, behind) } else { value(&rest[equals + 1..]) };
        rest = after;
        if name.is_empty() || name.contains('#') {
            continue;
        }
        let lookup = |name: &str| outside(name).or_else(|| found.get(name).cloned());
        // A lone `$` stands for itself: a password may hold one.
        let value = if literal { value } else { interpolate(&value, &lookup).map_or(value, |(value, _)| value) };
        found.insert(name, value);
    }
    found
}

fn bare_name(text: &str) -> &str {
    text.strip_prefix("export ").unwrap_or(text).trim()
}

/// The value at the start of `text`, whether it stands as it is, and what follows its line.
fn value(text: &str) -> (String, bool, &str) {
    let start = text.trim_start_matches([' ', '\t']);
    if let Some(quote @ ('"' | '\'')) = start.chars().next()
        && let Some((value, behind)) = quoted(&start[1..], quote)
    {
        let behind = behind.split_once('\n').map_or("", |(_, behind)| behind);
        return (value, quote == '\'', behind);
    }
    let (line, behind) = text.split_once('\n').unwrap_or((text, ""));
    let line = if line.trim_start().starts_with('#') { "" } else { line };
    let value = line.find(" #").into_iter().chain(line.find("\t#")).min().map_or(line, |at| &line[..at]);
    (value.trim().to_owned(), false, behind)
}

/// The text up to the closing quote, which may stand on a later line, and what is behind it.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut signs = text.char_indices();
    while let Some((at, sign)) = signs.next() {
        if sign == quote {
            return Some((value, &text[at + 1..]));
        }
        if sign != '\\' {
            value.push(sign);
            continue;
        }
        let (_, escaped) = signs.next()?;
        match (quote, escaped) {
            ('\'', '\'') => value.push('\''),
            ('"', 'n') => value.push('\n'),
            ('"', 'r') => value.push('\r'),
            ('"', 't') => value.push('\t'),
            ('"', '"' | '\\') => value.push(escaped),
            // Kept from being replaced.
            ('"', '$') => value.push_str("$$"),
            _ => value.extend(['\\', escaped]),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let outside = |name: &str| (name == "HOME").then(|| "/home/ada".to_owned());
        parse(text, &outside, false).into_iter().collect()
    }

    #[test]
    fn lines_of_an_env_file_are_read_as_compose_does() {
        let text = "\u{feff}# comment\nPG_PASS=a#b=c\nexport X = 'q # x' # y\nY=\"z\"\n\nZ=v # note\nBAD\n=x\nE=\nC= # only\n";
        let wanted = [("C", ""), ("E", ""), ("PG_PASS", "a#b=c"), ("X", "q # x"), ("Y", "z"), ("Z", "v")];
        assert_eq!(pairs(text), wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn values_refer_to_variables_and_may_have_several_lines() {
        let text =
            "A=/srv\r\nB=${A}/x:${HOME}\nC='${A}'\nD=\"two\nlines \\\"q\\\" \\$A\"\nE=${NO:-y}\nHOME\nF=pa$$ss$\nG=\"open\nH=1\n";
        let wanted = [
            ("A", "/srv"),
            ("B", "/srv/x:/home/ada"),
            ("C", "${A}"),
            ("D", "two\nlines \"q\" $A"),
            ("E", "y"),
            ("F", "pa$$ss$"),
            ("G", "\"open"),
            ("H", "1"),
            ("HOME", "/home/ada"),
        ];
        assert_eq!(pairs(text), wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_raw_file_is_taken_as_it_stands() {
        let found = parse("A='x' $Y # z\n", &|_| None, true);
        assert_eq!(found["A"], "'x' $Y # z");
    }

    proptest::proptest! {
        #[test]
        fn any_env_file_is_read(text in "([a-zA-Z_#= '\"é$\\\\{}\n]|.)*") {
            let _ = pairs(&text);
        }
    }
}
