//! `esker completions`: from the same definitions as the help, and from the repository where it is known.

mod known;
mod line;

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::{Arguments, Completions};
use crate::exit_code::ExitCode;
use crate::terminal::Output;

/// Prints the script for one shell; or, for that script, what fits at the end of a command line.
pub fn run(options: &Completions, out: &mut Output) -> Result<ExitCode> {
    match options.line.is_empty() {
        true => out.bytes(script(options.shell).as_bytes())?,
        false => known::print(options.shell, &options.line, out)?,
    }
    out.flush()?;
    Ok(ExitCode::Done)
}

/// What clap makes of the definitions, and around it a function that asks esker first.
fn script(shell: Shell) -> String {
    let mut fixed = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "esker", &mut fixed);
    let fixed = String::from_utf8_lossy(&fixed);
    match shell {
        Shell::Bash => around(&fixed, include_str!("esker.bash"), "\nif [[ \"${BASH_VERSINFO[0]}\" -eq 4"),
        Shell::Zsh => around(&fixed, include_str!("esker.zsh"), "\nif [ \"$funcstack[1]\" = \"_esker\" ]"),
        Shell::Fish => format!("{fixed}{}", include_str!("esker.fish")),
        _ => fixed.into_owned(),
    }
}

/// Gives the function `_esker` of clap another name, and puts ours before the end, where `_esker` is registered.
fn around(fixed: &str, ours: &str, end: &str) -> String {
    const NAME: &str = "_esker() {\n";
    match (fixed.find(NAME), fixed.rfind(end)) {
        (Some(function), Some(end)) if function < end => {
            let (before, body) = (&fixed[..function], &fixed[function + NAME.len()..end]);
            format!("{before}_esker_fixed() {{\n{body}{ours}{}", &fixed[end..])
        }
        // Another version of clap writes something else: that works too, without the repository.
        _ => fixed.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_of_bash_zsh_and_fish_ask_esker() {
        for (shell, call) in
            [(Shell::Bash, "completions bash --"), (Shell::Zsh, "completions zsh --"), (Shell::Fish, "completions fish --")]
        {
            assert!(script(shell).contains(call), "{shell}");
        }
        for shell in [Shell::Bash, Shell::Zsh] {
            let script = script(shell);
            assert_eq!(script.matches("\n_esker() {").count(), 1, "{shell}");
            assert_eq!(script.matches("_esker_fixed() {").count(), 1, "{shell}");
        }
    }
}
