//! `esker init`: a new repository, and the only time its recovery key is seen.

use anyhow::Result;

use crate::args::Init;
use crate::context::Context;
use crate::error::Usage;
use crate::exit_code::ExitCode;
use crate::shared::creation::{create, guard};
use crate::shared::other_repository as from;

/// Creates it and says what to do next.
pub fn run(options: &Init, context: &mut Context) -> Result<ExitCode> {
    let guard_seconds = guard(&options.guard)?;
    if !options.copy_chunker_params && options.from.repository.is_some() {
        return Err(Usage::new("--from-repo alone means nothing to `init`").hint("give --copy-chunker-params with it").into());
    }
    let chunker = match options.copy_chunker_params {
        // Before the new one is made: a wrong password of the other one must leave nothing behind.
        true => Some(from::open(&options.from, context)?.chunker_params()),
        false => None,
    };
    create(options.kdf, guard_seconds, options.parity, chunker, context)?;
    Ok(ExitCode::Done)
}
