//! One file for each command: reads its flags, calls the library, prints the result.

mod completions;
mod man;

use std::sync::Arc;

use anyhow::Result;
use esker::monitor::Stop;

use crate::args::{Arguments, Command, Global};
use crate::error::{Report, report};
use crate::exit_code::ExitCode;
use crate::settings::{self, Environment, Settings};
use crate::signals::Signals;
use crate::terminal::progress::{Mode, Progress};
use crate::terminal::{Output, stderr_is_terminal};

/// What every command has at hand.
pub struct Context {
    /// Flags, environment and config file together.
    pub settings: Settings,
    /// Standard output.
    pub out: Output,
    /// Standard error, while something takes long.
    pub progress: Arc<Progress>,
    /// Set by Ctrl-C.
    pub stop: Stop,
    /// Which signal it was.
    pub signals: Signals,
}

/// Runs one command from its arguments to its exit code; every error is printed here.
pub fn run(arguments: Arguments) -> ExitCode {
    let json = arguments.global.json;
    let signals = Signals::default();
    let progress = Arc::new(progress(&arguments.global));
    let result = dispatch(arguments, &signals, &progress);
    progress.finish();
    match result {
        Ok(code) => code,
        Err(error) => match report(&error) {
            Some(found) => interrupted(&signals).unwrap_or(found).end(json),
            None => ExitCode::Signal(signal_hook::consts::SIGPIPE),
        },
    }
}

/// An operation that was asked to stop ends with whatever error it met first; the cause is the signal.
fn interrupted(signals: &Signals) -> Option<Report> {
    let signal = signals.caught()?;
    Some(Report {
        code: ExitCode::Signal(signal),
        message: "interrupted; nothing was committed".to_owned(),
        hint: Some("the repository is valid, and the next run uses what was stored already".to_owned()),
    })
}

fn progress(global: &Global) -> Progress {
    let mode = match global {
        global if global.quiet || global.no_progress => Mode::Silent,
        global if global.json => Mode::Json,
        _ if stderr_is_terminal() => Mode::Bar,
        _ => Mode::Lines,
    };
    Progress::new(mode, global.json, global.quiet, global.verbose)
}

fn dispatch(arguments: Arguments, signals: &Signals, progress: &Arc<Progress>) -> Result<ExitCode> {
    let mut out = Output::new(arguments.global.json, arguments.global.quiet);
    match &arguments.command {
        Command::Completions(completions) => return completions::run(completions, &mut out),
        Command::Man(man) => return man::run(man, &mut out),
        _ => {}
    }
    let settings = settings::load(&arguments.global, &Environment::of_process())?;
    let mut context = Context { settings, out, progress: Arc::clone(progress), stop: Stop::new(), signals: signals.clone() };
    let code = command(arguments.command, &mut context)?;
    context.progress.finish();
    context.out.flush()?;
    Ok(code)
}

fn command(command: Command, context: &mut Context) -> Result<ExitCode> {
    let _ = (command, context);
    anyhow::bail!("this command is not wired yet")
}
