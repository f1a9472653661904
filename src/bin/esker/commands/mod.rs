//! One file for each command. It reads its flags, calls the library and prints the result. No command imports another: what
//! several need is in `shared`.

mod cache;
mod completions;
mod config;
mod copy;
mod diff;
mod doctor;
mod dump;
mod find;
mod forget;
mod guard;
mod init;
mod key;
mod ls;
mod man;
mod mirror;
mod parity;
mod prune;
mod recover;
mod repair;
mod restore;
mod snapshot;
mod snapshots;
mod stats;
mod status;
mod tag;
mod undelete;
mod unlock;
mod verify;

use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use anyhow::Result;

use crate::args::{Arguments, Command, Global};
use crate::around;
use crate::context::Context;
use crate::ended::Ended;
use crate::exit_code::ExitCode;
use crate::settings::{self, Environment, Quiet, Settings};
use crate::signals::Signals;
use crate::terminal::escape::escape;
use crate::terminal::progress::{Mode, Progress};
use crate::terminal::{Output, held, log, stderr_is_terminal};

/// Runs one command from its arguments to its exit code; every error is printed here.
pub fn run(arguments: Arguments) -> ExitCode {
    let global = &arguments.global;
    let (json, snapshot) = (global.json, matches!(arguments.command, Command::Snapshot(_)));
    let mut out = Output::new(json, global.quiet);
    let apart = match &arguments.command {
        Command::Completions(options) => Some(completions::run(options, &mut out)),
        Command::Man(options) => Some(man::run(options, &mut out)),
        Command::Config(options) => Some(config::run(options, global, &mut out)),
        _ => None,
    };
    let signals = Signals::default();
    if let Some(result) = apart {
        return Ended::of(&result, &signals, false).print(json);
    }
    let settings = match settings::load(global, &Environment::of_process()) {
        Ok(settings) => settings,
        Err(error) => {
            // What the file says about a log is not known; what the flag says is.
            global.log_file.iter().for_each(|path| drop(log::open(path)));
            return Ended::of(&Err(error), &signals, false).print(json);
        }
    };
    out.quiet = settings.quiet == Quiet::Yes;
    if settings.quiet == Quiet::UnlessFailed {
        held::begin();
    }
    let progress = Arc::new(progress(global, settings.quiet));
    open_log(&settings, &arguments.command, &progress);
    if let Some(hidden) = &settings.instead_of_repository {
        progress.warn(&format!("ESKER_REPOSITORY in the environment is used instead of {hidden}"));
    }
    let result = dispatch(arguments.command, settings, out, &signals, &progress);
    progress.finish();
    let code = Ended::of(&result, &signals, snapshot).print(json);
    log::write(&format!("ended with exit code {}", code.number()));
    held::end(code != ExitCode::Done);
    code
}

/// A log that cannot be opened is said, and no reason not to make a backup.
fn open_log(settings: &Settings, command: &Command, progress: &Progress) {
    let Some(path) = &settings.log_file else { return };
    if let Err(error) = log::open(path) {
        progress.warn(&format!(
            "the log file {} cannot be opened: {error}; continuing without it",
            escape(path.as_os_str().as_bytes())
        ));
    }
    let name = around::name(command).map_or_else(String::new, |name| format!(", {}", name.name()));
    log::write(&format!("esker {}{name}, process {}", env!("CARGO_PKG_VERSION"), std::process::id()));
}

fn dispatch(command: Command, settings: Settings, out: Output, signals: &Signals, progress: &Arc<Progress>) -> Result<ExitCode> {
    let mut context = Context::new(settings, out, signals, progress, &command);
    let outcome = around::run(command, &mut context, self::command);
    context.show_traffic();
    let code = outcome?;
    context.progress.finish();
    context.out.flush()?;
    Ok(code)
}

fn command(command: Command, context: &mut Context) -> Result<ExitCode> {
    match command {
        Command::Init(options) => init::run(&options, context),
        Command::Snapshot(options) => snapshot::run(&options, context),
        Command::Snapshots(options) => snapshots::run(&options, context),
        Command::Ls(options) => ls::run(&options, context),
        Command::Find(options) => find::run(&options, context),
        Command::Diff(options) => diff::run(&options, context),
        Command::Restore(options) => restore::run(&options, context),
        Command::Dump(options) => dump::run(&options, context),
        Command::Verify(options) => verify::run(&options, context),
        Command::Forget(options) => forget::run(&options, context),
        Command::Prune(options) => prune::run(&options, context),
        Command::Undelete(options) => undelete::run(&options, context),
        Command::Unlock(options) => unlock::run(&options, context),
        Command::Tag(options) => tag::run(&options, context),
        Command::Status(options) => status::run(&options, context),
        Command::Repair(options) => repair::run(&options, context),
        Command::Recover(options) => recover::run(&options, context),
        Command::Parity(options) => parity::run(&options, context),
        Command::Copy(options) => copy::run(&options, context),
        Command::Mirror(options) => mirror::run(&options, context),
        Command::Guard(options) => guard::run(&options, context),
        Command::Stats(options) => stats::run(&options, context),
        Command::Key(options) => key::run(&options, context),
        Command::Cache(options) => cache::run(&options, context),
        Command::Doctor(options) => doctor::run(&options, context),
        // Needs no settings that hold together; `run` has seen to it.
        Command::Config(_) => Ok(ExitCode::Done),
        Command::Completions(options) => completions::run(&options, &mut context.out),
        Command::Man(options) => man::run(&options, &mut context.out),
    }
}

fn progress(global: &Global, quiet: Quiet) -> Progress {
    let mode = match global {
        _ if quiet != Quiet::No || global.no_progress => Mode::Silent,
        global if global.json => Mode::Json,
        _ if stderr_is_terminal() => Mode::Bar,
        _ => Mode::Lines,
    };
    Progress::new(mode, global.json, quiet == Quiet::Yes, global.verbose)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    /// Every source file below a folder.
    fn files(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
    }

    #[test]
    fn no_command_imports_another() {
        let commands = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin/esker/commands");
        let all = files(&commands);
        assert!(all.len() > 30);
        for file in
            all.iter().filter(|file| file.extension().is_some_and(|kind| kind == "rs") && !file.ends_with("commands/mod.rs"))
        {
            let below = file.strip_prefix(&commands).unwrap();
            let depth = below.components().count() - usize::from(file.ends_with("mod.rs"));
            let out = "super::".repeat(depth);
            let text = std::fs::read_to_string(file).unwrap();
            for line in text.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
                assert!(!line.contains("crate::commands"), "{}: {line}", below.display());
                let is_test = line == "use super::*;";
                assert!(is_test || !line.contains(&out), "{}: {line}", below.display());
            }
        }
    }
}
