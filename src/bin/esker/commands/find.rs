//! `esker find`: where a file is, across snapshots.

use anyhow::Result;
use esker::filesystem::Excludes;
use esker::format::tree::NodeKind;
use esker::repository::{Reader, StoredSnapshot};
use serde_json::Value;

use crate::args::Find;
use crate::context::Context;
use crate::error::Usage;
use crate::exit_code::ExitCode;
use crate::shared::place::{self, node_json, shown};
use crate::terminal::words;

/// Looks through each snapshot, newest first.
pub fn run(options: &Find, context: &mut Context) -> Result<ExitCode> {
    let patterns = Patterns::new(&options.patterns, options.ignore_case)?;
    let repository = context.open()?;
    let mut snapshots = place::chosen(&repository, &options.snapshots, &options.filter, context)?;
    snapshots.reverse();
    let reader = Reader::new(&repository, &*context.progress)?;
    context.progress.finish();
    let mut found = 0;
    for stored in &snapshots {
        found += within(stored, &patterns, &reader, context)?;
    }
    if found == 0 {
        context.out.remark("nothing found")?;
    }
    Ok(ExitCode::Done)
}

fn within(stored: &StoredSnapshot, patterns: &Patterns, reader: &Reader, context: &mut Context) -> Result<u64> {
    let mut found = 0;
    reader.walk::<anyhow::Error>(&stored.snapshot.root, &mut |path, node| {
        context.check_stop()?;
        if !patterns.match_path(path, node.kind == NodeKind::Folder) {
            return Ok(true);
        }
        found += 1;
        if context.out.json {
            let mut line = node_json("match", path, node);
            line["snapshot"] = Value::from(stored.id.to_hex());
            context.out.json(&line)?;
            return Ok(true);
        }
        if found == 1 {
            let time = words::local_time(stored.snapshot.time);
            context.out.remark(&format!("snapshot {} of {time}:", stored.id.short()))?;
        }
        let size = if node.kind == NodeKind::File { words::size(node.size) } else { String::new() };
        context.out.line(&format!("  {size:>10}  {}  {}", words::local_time(node.mtime), shown(path, node.kind)))?;
        Ok(true)
    })?;
    Ok(found)
}

/// Patterns with the meaning of .gitignore lines: a name anywhere, or a path when there is a slash.
struct Patterns {
    inner: Excludes,
    ignore_case: bool,
}

impl Patterns {
    fn new(patterns: &[String], ignore_case: bool) -> Result<Self> {
        let lowered: Vec<String> =
            patterns.iter().map(|pattern| if ignore_case { pattern.to_lowercase() } else { pattern.clone() }).collect();
        if let Some(pattern) = lowered.iter().find(|pattern| pattern.starts_with('!')) {
            return Err(
                Usage::new(format!("pattern {pattern:?} cannot match; write '[!]...' for a name that begins with !")).into()
            );
        }
        let inner = Excludes::new(&lowered).map_err(Usage::new)?;
        Ok(Self { inner, ignore_case })
    }

    fn match_path(&self, path: &[u8], folder: bool) -> bool {
        if self.ignore_case {
            let lowered = String::from_utf8_lossy(path).to_lowercase();
            self.inner.excluded(lowered.as_bytes(), folder)
        } else {
            self.inner.excluded(path, folder)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, ignore_case: bool, path: &str) -> bool {
        Patterns::new(&[pattern.to_owned()], ignore_case).unwrap().match_path(path.as_bytes(), false)
    }

    #[test]
    fn a_pattern_without_a_slash_is_a_name_and_one_with_a_slash_is_a_path() {
        assert!(matches("*.pem", false, "certs/a/tls.pem"));
        assert!(!matches("*.pem", false, "certs/a/tls.key"));
        assert!(matches("media/*/logo*", false, "media/x/logo.png"));
        assert!(!matches("media/*/logo*", false, "other/media/x/logo.png"));
    }

    #[test]
    fn case_matters_unless_it_was_said_not_to() {
        assert!(!matches("*.PEM", false, "a.pem"));
        assert!(matches("*.PEM", true, "A.Pem"));
        assert!(Patterns::new(&["!x".to_owned()], false).is_err());
    }
}
