//! What `restore` shows and asks before it changes something that cannot be had back.

use std::path::Path;

use anyhow::Result;
use esker::restore::RestoreError;
use esker::restore::deletions::{Deletion, Deletions};
use serde_json::Map;

use super::original::Put;
use crate::args::Restore;
use crate::context::Context;
use crate::shared::place::put_bytes;
use crate::terminal::escape::escape;
use crate::terminal::{confirm, words};

/// Paths that are listed before the question; `-n` lists all.
const LISTED_MAX: usize = 40;

/// May these entries be deleted? A dry run names each of them.
pub fn to_deletions(options: &Restore, target: &Path, deletions: &Deletions, context: &mut Context) -> Result<bool> {
    if deletions.is_empty() {
        return Ok(true);
    }
    context.progress.finish();
    if options.dry_run {
        for deletion in deletions.iter() {
            name(deletion, context)?;
        }
        return Ok(true);
    }
    let count = deletions.iter().count();
    let what = format!(
        "{} that the snapshot does not have ({})",
        words::counted(count as u64, "entry", "entries"),
        words::size(deletions.iter().map(|deletion| deletion.bytes).sum()),
    );
    let target = escape(target.as_os_str().as_encoded_bytes());
    if options.yes {
        context.progress.remark(&format!("{target}: deleting {what}"));
        return Ok(true);
    }
    if !confirm::is_possible() {
        context.progress.warn(&format!("--delete would remove {what} from {target}"));
        return Ok(false);
    }
    let list = deletions.iter().take(LISTED_MAX).map(shown).collect::<Vec<_>>().join("\n");
    let more = count.saturating_sub(LISTED_MAX);
    let more = if more > 0 { format!("\n  and {} more (-n names all)", words::count(more as u64)) } else { String::new() };
    crate::terminal::stderr_line(&format!("These entries of {target} would be deleted:\n{list}{more}"));
    Ok(confirm::ask(&format!("Delete {what}, and restore?")))
}

/// May the original places be written to?
pub fn to_places(options: &Restore, puts: &[Put], context: &mut Context) -> Result<()> {
    context.progress.finish();
    if options.yes || puts.is_empty() {
        return Ok(());
    }
    if !confirm::is_possible() {
        return Err(RestoreError::NotAgreed.into());
    }
    let each = |put: &Put| format!("  {} -> {}", escape(&put.path), escape(put.place().as_os_str().as_encoded_bytes()));
    let list = puts.iter().map(each).collect::<Vec<_>>().join("\n");
    crate::terminal::stderr_line(&format!("These places will be overwritten where they differ:\n{list}"));
    if confirm::ask("Restore?") { Ok(()) } else { Err(RestoreError::NotAgreed.into()) }
}

fn name(deletion: &Deletion, context: &mut Context) -> Result<()> {
    if context.out.json {
        let mut object = Map::new();
        object.insert("message_type".to_owned(), "delete".into());
        put_bytes(&mut object, "path", &deletion.path);
        object.insert("dry_run".to_owned(), true.into());
        return context.out.json(&object);
    }
    context.out.line(&format!("would delete{}", &shown(deletion)[1..]))
}

fn shown(deletion: &Deletion) -> String {
    format!("  {}{}", escape(&deletion.path), if deletion.is_folder { "/" } else { "" })
}
