//! `esker restore`: a snapshot, or a part of it, back to a directory or to where it came from.

mod agree;
mod original;
mod report;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use esker::repository::{Repository, StoredSnapshot};
use esker::restore::coverage::is_affected;
use esker::restore::proof::StreamProof;
use esker::restore::{self, Origin, RestoreOptions, RestoreSummary};

use self::original::Put;
use crate::args::{Overwrite, Restore};
use crate::context::{Context, states};
use crate::exit_code::ExitCode;
use crate::shared::incomplete::Incomplete;
use crate::shared::place::Place;

/// Restores and says what was done. What could not be restored is named, and the exit code is not 0; nor is it when the snapshot lacks
/// something of what was asked for.
pub fn run(options: &Restore, context: &mut Context) -> Result<ExitCode> {
    let place = Place::parse(&options.place)?;
    let repository = context.open()?;
    let stored = place.find(&repository, &options.filter, context)?;
    let incomplete = Incomplete::of(&repository, &stored, is_affected(&stored.snapshot, place.path))?;
    if let Some(incomplete) = &incomplete {
        context.progress.finish();
        incomplete.tell(context);
        if context.out.json {
            context.out.json(&incomplete.json())?;
        }
    }
    let puts = match &options.target {
        Some(target) => vec![Put { path: place.path.to_vec(), target: target.clone(), name: None }],
        None => original::puts(&repository, &stored, place.path, context)?,
    };
    if options.target.is_none() && !options.dry_run {
        agree::to_places(options, &puts, context)?;
    }
    let mut code = ExitCode::Done;
    for put in &puts {
        let summary = restore(options, context, &repository, &stored, put)?;
        code = worse(code, &summary);
    }
    let lacks = incomplete.is_some_and(|incomplete| incomplete.affected);
    Ok(if code == ExitCode::Done && lacks { ExitCode::Incomplete } else { code })
}

fn restore(
    options: &Restore,
    context: &mut Context,
    repository: &Arc<Repository>,
    stored: &StoredSnapshot,
    put: &Put,
) -> Result<RestoreSummary> {
    let (monitor, stop, name) = (context.monitor(), context.stop.clone(), stored.id.short());
    let streams = StreamProof::all(repository, stored);
    let snapshot = &stored.snapshot;
    let origin = Origin { root: &snapshot.root, snapshot: &name, path: &put.path, streams: &streams, record: Some(snapshot) };
    let wanted = of(options, put, protected(context)?);
    let begun = Instant::now();
    let mut said = Ok(());
    let summary = restore::run_if(repository, origin, &wanted, &monitor, &stop, &mut |deletions| {
        agree::to_deletions(options, &put.target, deletions, context).unwrap_or_else(|error| {
            said = Err(error);
            false
        })
    });
    said?;
    let summary = summary?;
    context.progress.finish();
    report::print(options, context, stored.id, &put.place(), &summary, begun.elapsed().as_secs_f64())?;
    Ok(summary)
}

fn worse(code: ExitCode, summary: &RestoreSummary) -> ExitCode {
    match (summary.damaged, summary.failed) {
        (0, 0) => code,
        (0, _) if code == ExitCode::Done => ExitCode::Incomplete,
        (0, _) => code,
        _ => ExitCode::DamageData,
    }
}

fn of(options: &Restore, put: &Put, protected: Vec<PathBuf>) -> RestoreOptions {
    RestoreOptions {
        target: put.target.clone(),
        name: put.name.clone(),
        include: options.include.clone(),
        exclude: options.exclude.clone(),
        overwrite: match options.overwrite {
            Overwrite::Always => restore::Overwrite::Always,
            Overwrite::IfChanged => restore::Overwrite::IfChanged,
            Overwrite::Never => restore::Overwrite::Never,
        },
        delete: options.delete,
        protected,
        no_space_check: options.no_space_check,
        sparse: options.sparse,
        verify: options.verify,
        no_ownership: options.no_ownership,
        numeric_ids: options.numeric_ids,
        dry_run: options.dry_run,
        threads: None,
    }
}

/// What --delete never removes: the repository, the cache, what this machine remembers, the config file, and home folders.
fn protected(context: &Context) -> Result<Vec<PathBuf>> {
    let mut protected = context.never()?;
    protected.extend(states());
    protected.extend(context.settings.config.clone());
    protected.extend(etcetera::home_dir().ok());
    protected.extend(["/home", "/root"].map(PathBuf::from));
    Ok(protected)
}
