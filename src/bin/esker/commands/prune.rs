//! `esker prune`: what was freed, and what waits for whom.

use anyhow::Result;
use esker::prune::{self, PruneOptions};

use crate::args::Prune;
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::shared::{class, pruned};

/// Prunes and says what came of it.
pub fn run(options: &Prune, context: &mut Context) -> Result<ExitCode> {
    let repository = context.open()?;
    let begun = std::time::Instant::now();
    let how = PruneOptions {
        dry_run: options.dry_run,
        max_unused: options.max_unused,
        max_repack: options.max_repack_size,
        grace: options.grace,
        force: options.force,
    };
    let monitor = context.monitor();
    if let Some(sentence) = class::about_class(&repository)
        && !context.out.json
    {
        context.out.remark(&sentence)?;
    }
    let summary = prune::run(&repository, &how, &monitor, &context.stop)?;
    context.progress.finish();
    pruned::print(&summary, options.dry_run, begun.elapsed().as_secs_f64(), context)?;
    Ok(ExitCode::Done)
}
