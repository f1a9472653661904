//! `esker completions`: from the same definitions as the help.

use anyhow::Result;
use clap::CommandFactory;

use crate::args::{Arguments, Completions};
use crate::exit_code::ExitCode;
use crate::terminal::Output;

/// Prints the script for one shell.
pub fn run(options: &Completions, out: &mut Output) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Arguments::command(), "esker", &mut script);
    out.bytes(&script)?;
    out.flush()?;
    Ok(ExitCode::Done)
}
