//! The examples and notes below the options of a help page, laid out so that they fit any width.
//!
//! The definitions hold them as they are easiest to write: an example is a line that begins with two blanks, and what it does follows
//! after at least two more. A terminal of 80 columns breaks such lines in the middle. So each example becomes two lines, and the lines of
//! a paragraph become one, which clap then wraps to the terminal.

use clap::{Command, CommandFactory};

use super::Arguments;

/// Columns that an example may take, so that it fits a terminal of 80 with the sign that it goes on.
const WIDTH_MAX: usize = 78;

/// The command line, with every help page laid out.
pub fn command() -> Command {
    laid_out(Arguments::command())
}

fn laid_out(command: Command) -> Command {
    let short = command.get_after_help().map(|text| text.to_string());
    let long = command.get_after_long_help().map(|text| text.to_string());
    let mut command = command.mut_subcommands(laid_out);
    if let Some(text) = short {
        command = command.after_help(lay_out(&text));
    }
    if let Some(text) = long {
        command = command.after_long_help(lay_out(&text));
    }
    command
}

/// One text: examples in two lines, paragraphs in one.
fn lay_out(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut in_paragraph = false;
    for line in text.lines() {
        if line.is_empty() {
            lines.push(String::new());
            in_paragraph = false;
        } else if let Some(example) = line.strip_prefix("  ") {
            in_paragraph = false;
            let (command, does) = example.split_once("  ").unwrap_or((example, ""));
            match command {
                // What the example above does.
                "" => push_words(&mut lines, does),
                _ if !is_example(command) => lines.push(line.to_owned()),
                _ => {
                    push_command(&mut lines, command);
                    push_words(&mut lines, does);
                }
            }
        } else if in_paragraph && let Some(last) = lines.last_mut() {
            last.push(' ');
            last.push_str(line);
        } else {
            // A heading such as `Examples:` stands by itself.
            in_paragraph = !line.ends_with(':');
            lines.push(line.to_owned());
        }
    }
    lines.join("\n")
}

/// A command that is too long goes on in the next line, as in a shell.
fn push_command(lines: &mut Vec<String>, command: &str) {
    let mut line = " ".to_owned();
    // A flag stays in one line with its value.
    for (number, part) in command.split(" -").enumerate() {
        let dash = if number == 0 { "" } else { "-" };
        if line.len() + dash.len() + part.len() >= WIDTH_MAX {
            lines.push(format!("{line} \\"));
            line = "     ".to_owned();
        }
        line = format!("{line} {dash}{part}");
    }
    lines.push(line);
}

/// What an example does, below it.
fn push_words(lines: &mut Vec<String>, does: &str) {
    let mut line = "     ".to_owned();
    for word in does.split_whitespace() {
        if line.len() + word.len() >= WIDTH_MAX {
            lines.push(std::mem::replace(&mut line, "     ".to_owned()));
        }
        line = format!("{line} {word}");
    }
    lines.extend((!line.trim().is_empty()).then_some(line));
}

/// Tables, such as that of the exit codes, stay as they are.
fn is_example(text: &str) -> bool {
    text.starts_with("esker ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_fits_a_terminal_of_80_columns() {
        fn check(command: &Command) {
            for text in command.get_after_help().into_iter().chain(command.get_after_long_help()) {
                let text = text.to_string();
                for line in text.lines().filter(|line| line.starts_with(' ')) {
                    assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
                }
            }
            command.get_subcommands().for_each(check);
        }
        check(&command());
    }

    #[test]
    fn every_command_and_every_option_has_a_help_text_that_begins_with_a_capital() {
        fn check(command: &Command) {
            let path = command.get_name();
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(about.starts_with(char::is_uppercase), "{path}: {about:?}");
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.starts_with(char::is_uppercase), "{path} {}: {help:?}", argument.get_id());
            }
            command.get_subcommands().for_each(check);
        }
        check(&command());
    }

    #[test]
    fn a_long_example_goes_on_in_the_next_line_at_a_flag() {
        let text = format!("  esker snapshot {} --dir media=/srv/media", "x".repeat(60));
        assert_eq!(lay_out(&text), format!("  esker snapshot {} \\\n      --dir media=/srv/media", "x".repeat(60)));
    }

    #[test]
    fn an_example_says_below_it_what_it_does_and_a_paragraph_is_one_line() {
        let text = "Examples:\n  esker a -b      does a\n  esker long\n                  does this\n\nOne\ntwo.\n\nCodes:\n  1  one    2  two";
        let laid_out =
            "Examples:\n  esker a -b\n      does a\n  esker long\n      does this\n\nOne two.\n\nCodes:\n  1  one    2  two";
        assert_eq!(lay_out(text), laid_out);
    }
}
