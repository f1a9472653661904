//! `esker cache`: where it is, and emptying it. It may be deleted at any time; the next run builds it again.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::args::{Cache, CacheAction};
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::terminal::escape::escape;

/// Prints the folder, or deletes what esker made in it.
pub fn run(options: &Cache, context: &mut Context) -> Result<ExitCode> {
    let folder = context.caches();
    let shown = folder.as_ref().map(|folder| escape(folder.as_os_str().as_encoded_bytes()));
    let what = match options.action {
        CacheAction::Path => "cache",
        CacheAction::Clear => "cache_cleared",
    };
    if let (CacheAction::Clear, Some(folder)) = (&options.action, &folder) {
        clear(folder)?;
    }
    if context.out.json {
        context.out.json(&json!({ "message_type": what, "path": shown }))?;
        return Ok(ExitCode::Done);
    }
    match (&options.action, shown) {
        (_, None) => context.out.remark("there is no cache: this user has no home folder, so each run uses a temporary one")?,
        (CacheAction::Path, Some(shown)) => context.out.line(&shown)?,
        (CacheAction::Clear, Some(shown)) => context.out.remark(&format!("cleared {shown}"))?,
    }
    Ok(ExitCode::Done)
}

/// Deletes the folder of each repository. The name of such a folder is the repository's id; anything else belongs to others.
fn clear(folder: &Path) -> Result<()> {
    let shown = escape(folder.as_os_str().as_encoded_bytes());
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.with_context(|| format!("reading {shown}"))?,
    };
    for entry in entries {
        let entry = entry.with_context(|| format!("reading {shown}"))?;
        if entry.file_name().to_str().is_some_and(is_repository_id) && entry.path().is_dir() {
            std::fs::remove_dir_all(entry.path()).with_context(|| format!("deleting from {shown}"))?;
        }
    }
    Ok(())
}

fn is_repository_id(name: &str) -> bool {
    esker::id::RepositoryId::from_hex(name).is_some()
}
