//! `${VAR}` and `${VAR:-default}` in the texts of the config file.
//!
//! `$${` stands for `${` itself. A `$` without a brace is a `$`, so that `$HOME` in a command for a shell stays what it is.

use std::ffi::OsString;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Looks variables up, and remembers the values of those that seem to be secrets, so that they are never shown.
pub struct Variables<'a> {
    lookup: &'a dyn Fn(&str) -> Option<OsString>,
    /// Values to hide.
    pub hidden: Vec<String>,
}

/// What cannot be expanded.
#[derive(Debug, PartialEq, Eq)]
pub struct Unexpanded {
    /// Where, in bytes of the file.
    pub span: Range<usize>,
    /// What is wrong.
    pub why: String,
    /// The variable is not set, which is in order in a profile that is not used.
    pub unset: bool,
}

impl<'a> Variables<'a> {
    /// `lookup` gives the value of a variable.
    pub fn new(lookup: &'a dyn Fn(&str) -> Option<OsString>) -> Self {
        Self { lookup, hidden: Vec::new() }
    }

    /// Expands every text below.
    pub fn table(&mut self, table: &mut DeTable<'_>) -> Result<(), Unexpanded> {
        for (_, value) in table.iter_mut() {
            self.value(value)?;
        }
        Ok(())
    }

    fn value(&mut self, value: &mut Spanned<DeValue<'_>>) -> Result<(), Unexpanded> {
        let span = value.span();
        match value.get_mut() {
            DeValue::String(text) if text.contains("${") => {
                let expanded = self.text(text).map_err(|(why, unset)| Unexpanded { span, why, unset })?;
                *text = expanded.into();
                Ok(())
            }
            DeValue::Array(values) => values.iter_mut().try_for_each(|value| self.value(value)),
            DeValue::Table(table) => self.table(table),
            _ => Ok(()),
        }
    }

    fn text(&mut self, text: &str) -> Result<String, (String, bool)> {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                expanded.push_str(&rest[..at - 1]);
                expanded.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            expanded.push_str(&rest[..at]);
            let inner = &rest[at + 2..];
            let end = inner.find('}').ok_or_else(|| ("`${` without a `}` (write `$${` for a literal `${`)".to_owned(), false))?;
            expanded.push_str(&self.one(&inner[..end])?);
            rest = &inner[end + 1..];
        }
        expanded.push_str(rest);
        Ok(expanded)
    }

    fn one(&mut self, inside: &str) -> Result<String, (String, bool)> {
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(is_name) || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err((
                format!(
                    "`${{{inside}}}` is not understood: `${{NAME}}` or `${{NAME:-default}}` (write `$${{` for a literal `${{`)"
                ),
                false,
            ));
        }
        let value = match (self.lookup)(name) {
            Some(value) => Some(value.into_string().map_err(|_| (format!("the variable {name} is not UTF-8 text"), false))?),
            None => None,
        };
        match (value, default) {
            (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
            (Some(value), _) => {
                if looks_secret(name) && !value.is_empty() {
                    self.hidden.push(value.clone());
                }
                Ok(value)
            }
            (None, Some(default)) => Ok(default.to_owned()),
            (None, None) => Err((format!("the variable {name} is not set; `${{{name}:-default}}` would do without it"), true)),
        }
    }
}

/// By its name: `DB_PASSWORD`, `API_TOKEN`.
pub fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["pass", "secret", "token", "key", "credential", "auth"].iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> Result<String, (String, bool)> {
        let lookup = |name: &str| match name {
            "HOST" => Some("auth01".into()),
            "EMPTY" => Some(OsString::new()),
            _ => None,
        };
        Variables::new(&lookup).text(text)
    }

    #[test]
    fn a_variable_is_replaced_and_a_default_stands_in_for_one_that_is_unset_or_empty() {
        for (text, expected) in [
            ("/srv/${HOST}/x", "/srv/auth01/x"),
            ("${HOST}${HOST}", "auth01auth01"),
            ("${NONE:-a b}", "a b"),
            ("${EMPTY:-d}", "d"),
            ("${EMPTY}", ""),
            ("${NONE:-}", ""),
            ("$${HOST}", "${HOST}"),
            ("$HOME $$ $", "$HOME $$ $"),
        ] {
            assert_eq!(expand(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn an_unset_variable_and_one_that_is_not_understood_are_errors() {
        assert!(expand("${NONE}").is_err_and(|(why, unset)| unset && why.contains("NONE is not set")));
        for text in ["${", "${HOST", "${}", "${a b}", "${1}", "${HOST:?x}"] {
            assert!(expand(text).is_err_and(|(_, unset)| !unset), "{text}");
        }
    }
}
