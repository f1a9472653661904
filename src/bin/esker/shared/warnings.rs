//! How commands show what a restore of a snapshot will lack.

use serde_json::{Value, json};

use crate::terminal::words;

/// A source's name and one sentence for each warning.
pub fn as_json<'a>(warnings: impl Iterator<Item = (&'a str, &'a str)>) -> Value {
    warnings.map(|(source, text)| json!({ "source": source, "text": text })).collect()
}

/// For a list; none: nothing.
pub fn mark(count: usize) -> Option<String> {
    (count > 0).then(|| words::counted(count as u64, "warning", "warnings"))
}
