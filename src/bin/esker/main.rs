//! The program `esker`: arguments in, words and exit code out.
//!
//! `args` is the command line, `settings` what it means together with the environment and the config file, `secret` where a password
//! or key comes from; `hooks` and `monitoring` are what a config file may ask for around a run; `commands` has one file for each command; `terminal` prints; `error` turns errors into messages and
//! `exit_code` into numbers. What the commands do is the library's.

mod args;
mod commands;
mod error;
mod exit_code;
mod hooks;
mod monitoring;
mod secret;
mod settings;
mod signals;
mod sources;
mod terminal;

use clap::FromArgMatches;

use crate::args::Arguments;
use crate::error::Report;
use crate::exit_code::ExitCode;

fn main() -> std::process::ExitCode {
    secret::protect_process();
    let parsed = args::layout::command().try_get_matches().and_then(|matches| Arguments::from_arg_matches(&matches));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => return of_clap(&error).into(),
    };
    commands::run(arguments).into()
}

/// Help and version go to standard output; a mistake is shown as clap words it, or as JSON.
fn of_clap(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        let text = error.render().to_string();
        let message = text.trim().trim_start_matches("error: ").to_owned();
        Report { code: ExitCode::Usage, message, hint: None }.print(true);
    } else if error.print().is_err() {
        // Nobody reads: nobody to tell.
    }
    if error.use_stderr() { ExitCode::Usage } else { ExitCode::Done }
}
