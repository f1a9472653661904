//! `esker undelete`: brings back what was forgotten, as long as it is all there.

use anyhow::Result;
use esker::repository::RepositoryError;
use serde_json::json;

use crate::args::Undelete;
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::shared::{listing, look};

/// Lists what there is to bring back, or brings it back.
pub fn run(options: &Undelete, context: &mut Context) -> Result<ExitCode> {
    let repository = context.open()?;
    let mut survey = look::look(&repository, context)?;
    if options.snapshots.is_empty() {
        listing::list_forgotten(&survey.forgotten, context)?;
        return Ok(ExitCode::Done);
    }
    let mut chosen = Vec::new();
    for name in &options.snapshots {
        let fits: Vec<_> =
            survey.forgotten.iter().filter(|forgone| forgone.stored.id.to_hex().starts_with(name.as_str())).collect();
        match fits[..] {
            [one] if !name.is_empty() => chosen.push(one.clone()),
            [] => {
                return Err(
                    anyhow::Error::from(RepositoryError::SnapshotNotFound(name.clone())).context("among the forgotten snapshots")
                );
            }
            _ => return Err(RepositoryError::SnapshotAmbiguous { prefix: name.clone(), count: fits.len() }.into()),
        }
    }
    let monitor = context.monitor();
    for (place, forgone) in chosen.iter().enumerate() {
        if place > 0 {
            survey = esker::repository::survey::survey(&repository)?;
        }
        let id = esker::retention::undelete::run(&repository, &survey, forgone, options.dry_run, &monitor, &context.stop)?;
        context.progress.finish();
        let old = forgone.stored.id;
        if context.out.json {
            context.out.json(
                &json!({ "message_type": "undeleted", "snapshot_id": id.map(|id| id.to_hex()), "forgotten_id": old.to_hex(), "dry_run": options.dry_run }),
            )?;
            continue;
        }
        context.out.remark(&match id {
            Some(id) => format!("snapshot {} is back as {}", old.short(), id.short()),
            None => format!("would bring back snapshot {}; nothing was changed", old.short()),
        })?;
    }
    Ok(ExitCode::Done)
}
