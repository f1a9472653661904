//! The program `esker`: arguments in, words and exit code out.
//!
//! `args` is the command line. `settings` puts it together with the environment and the config file, and `secret` finds the password
//! or key. `context` is what every command has at hand. `commands` has one file for each command, `shared` has what several of them
//! need, and `around` runs one with its lock, hooks and monitors. `terminal` prints, `error` turns errors into messages, `ended` and
//! `exit_code` into the exit code. The commands only read flags and print: the library does the work.

mod args;
mod around;
mod commands;
mod context;
mod ended;
mod error;
mod exit_code;
mod hooks;
mod monitoring;
mod secret;
mod settings;
mod shared;
mod signals;
mod sources;
mod terminal;

use clap::FromArgMatches;
use clap::error::ErrorKind;

use crate::args::Arguments;
use crate::error::Report;
use crate::exit_code::ExitCode;

fn main() -> std::process::ExitCode {
    secret::protect_process();
    let parsed = args::layout::command().try_get_matches().and_then(|matches| Arguments::from_arg_matches(&matches));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) if error.kind() == ErrorKind::MissingSubcommand && !asks_for_json() => return help_of_incomplete().into(),
        Err(error) => return of_clap(&error).into(),
    };
    commands::run(arguments).into()
}

/// Help and version go to standard output; a mistake is shown as clap words it, or as JSON.
fn of_clap(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && asks_for_json() {
        let text = error.render().to_string();
        let message = text.trim().trim_start_matches("error: ").to_owned();
        Report { code: ExitCode::Usage, message, hint: None }.print(true);
    } else if error.print().is_err() {
        // Nobody reads: nobody to tell.
    }
    if error.use_stderr() { ExitCode::Usage } else { ExitCode::Done }
}

fn asks_for_json() -> bool {
    std::env::args_os().any(|argument| argument == "--json")
}

/// `esker -q` or `esker -v key` without what comes next: the help that names it, on standard error, for it is no result.
fn help_of_incomplete() -> ExitCode {
    let mut command = args::layout::command();
    // Hands names and flags on to the commands below.
    command.build();
    for argument in std::env::args_os().skip(1) {
        if let Some(below) = command.find_subcommand(&argument).cloned() {
            command = below;
        }
    }
    terminal::stderr_line(command.render_help().to_string().trim_end());
    ExitCode::Usage
}
