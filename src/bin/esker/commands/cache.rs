//! `esker cache`: where it is, and emptying it. It may be deleted at any time; the next run builds it again.

use std::io::ErrorKind;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::args::{Cache, CacheAction};
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::terminal::escape::escape;

/// Prints the folder, or deletes what esker made in it.
pub fn run(options: &Cache, context: &mut Context) -> Result<ExitCode> {
    let Some(folder) = context.caches() else {
        context.out.remark("there is no cache: this user has no home folder, so each run uses a temporary one")?;
        return Ok(ExitCode::Done);
    };
    let shown = escape(folder.as_os_str().as_encoded_bytes());
    match options.action {
        CacheAction::Path if context.out.json => context.out.json(&json!({ "message_type": "cache", "path": shown }))?,
        CacheAction::Path => context.out.line(&shown)?,
        CacheAction::Clear => {
            let entries = match std::fs::read_dir(&folder) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(ExitCode::Done),
                other => other.with_context(|| format!("reading {shown}"))?,
            };
            for entry in entries {
                let entry = entry.with_context(|| format!("reading {shown}"))?;
                // Each repository's cache is a folder named by its id. Whatever else stands here is not ours to delete.
                if entry.file_name().to_str().is_some_and(is_repository_id) && entry.path().is_dir() {
                    std::fs::remove_dir_all(entry.path()).with_context(|| format!("deleting from {shown}"))?;
                }
            }
            match context.out.json {
                true => context.out.json(&json!({ "message_type": "cache_cleared", "path": shown }))?,
                false => context.out.remark(&format!("cleared {shown}"))?,
            }
        }
    }
    Ok(ExitCode::Done)
}

fn is_repository_id(name: &str) -> bool {
    esker::id::RepositoryId::from_hex(name).is_some()
}
