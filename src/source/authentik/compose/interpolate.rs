//! Variables in values, as compose replaces them: `$X`, `${X}`, `${X:-y}`, `${X-y}`, `${X:?why}`, `${X?why}`, `${X:+y}`, `${X+y}`,
//! `$$`. Words behind an operator are replaced in turn.

/// Deepest nesting of defaults.
const MAX_DEPTH: usize = 16;

/// Where variables are looked up.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A text with its variables replaced, and the first variable that has neither a value nor a default; else why it is refused.
pub(crate) type Replaced = Result<(String, Option<String>), String>;

/// Replaces the variables of a text.
pub(crate) fn interpolate(text: &str, lookup: Lookup<'_>) -> Replaced {
    let mut unset = None;
    let replaced = replace(text, lookup, &mut unset, 0)?;
    Ok((replaced, unset))
}

fn replace(text: &str, lookup: Lookup<'_>, unset: &mut Option<String>, depth: usize) -> Result<String, String> {
    if depth > MAX_DEPTH {
        return Err("defaults of variables are nested too deeply".into());
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let behind = &rest[at + 1..];
        if let Some(behind) = behind.strip_prefix('$') {
            out.push('$');
            rest = behind;
        } else if let Some(inside) = behind.strip_prefix('{') {
            let end = closing(inside).ok_or_else(|| format!("`${{{inside}` has no closing brace"))?;
            out.push_str(&braced(&inside[..end], lookup, unset, depth)?);
            rest = &inside[end + 1..];
        } else {
            let name = name_at_start(behind);
            if name.is_empty() {
                return Err(format!("a single `$` in {text:?}: write `$$` for the sign itself"));
            }
            out.push_str(&value_or_nothing(name, lookup, unset));
            rest = &behind[name.len()..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// The part between the braces.
fn braced(inside: &str, lookup: Lookup<'_>, unset: &mut Option<String>, depth: usize) -> Result<String, String> {
    let name = name_at_start(inside);
    let rest = &inside[name.len()..];
    if name.is_empty() {
        return Err(format!("`${{{inside}}}` names no variable"));
    }
    if rest.is_empty() {
        return Ok(value_or_nothing(name, lookup, unset));
    }
    let (counts_empty, operator) = match rest.strip_prefix(':') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let mut signs = operator.chars();
    let (sign, word) = (signs.next(), signs.as_str());
    let value = lookup(name).filter(|value| !(counts_empty && value.is_empty()));
    match (sign, value) {
        (Some('-' | '?'), Some(value)) => Ok(value),
        (Some('-'), None) | (Some('+'), Some(_)) => replace(word, lookup, unset, depth + 1),
        (Some('+'), None) => Ok(String::new()),
        (Some('?'), None) => {
            let why = replace(word, lookup, unset, depth + 1)?;
            Err(format!("the variable {name} has no value{}{why}", if why.is_empty() { "" } else { ": " }))
        }
        _ => Err(format!("`${{{inside}}}` is not understood")),
    }
}

fn value_or_nothing(name: &str, lookup: Lookup<'_>, unset: &mut Option<String>) -> String {
    lookup(name).unwrap_or_else(|| {
        unset.get_or_insert_with(|| name.to_owned());
        String::new()
    })
}

/// Where the brace that was opened before `text` is closed.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0;
    let mut before = ' ';
    for (at, sign) in text.char_indices() {
        match sign {
            '{' if before == '$' => open += 1,
            '}' if open == 0 => return Some(at),
            '}' => open -= 1,
            _ => {}
        }
        before = sign;
    }
    None
}

fn name_at_start(text: &str) -> &str {
    let starts = text.starts_with(|sign: char| sign.is_ascii_alphabetic() || sign == '_');
    let length = text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
    if starts { &text[..length] } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "X" => Some("x".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn every_form_of_a_variable_is_replaced_as_compose_does() {
        for (text, wanted) in [
            ("a$X/b${X}c", "ax/bxc"),
            ("${NO:-y}${EMPTY:-y}${EMPTY-y}${X:-y}", "yyx"),
            ("${NO-y}", "y"),
            ("${X:+y}${EMPTY:+y}${EMPTY+z}${NO+z}", "yz"),
            ("${NO:-${ALSO:-${X}}/m}", "x/m"),
            ("$$X $${X} $$$X", "$X ${X} $x"),
            ("${X:?needed}${EMPTY?needed}", "x"),
            ("$NO|", "|"),
            ("plain", "plain"),
        ] {
            assert_eq!(interpolate(text, &lookup).unwrap().0, wanted, "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (text, says) in [
            ("${NO:?set it}", "NO has no value: set it"),
            ("${EMPTY:?}", "EMPTY has no value"),
            ("${X", "no closing brace"),
            ("cost: 5$", "write `$$`"),
            ("${X/a/b}", "is not understood"),
            ("${}", "names no variable"),
        ] {
            let error = interpolate(text, &lookup).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        assert_eq!(interpolate("${NO}/media", &lookup).unwrap().1.unwrap(), "NO");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_replaced_or_refused(text in "([$X{}:?+-]|.)*") {
            let _ = interpolate(&text, &lookup);
        }
    }
}
