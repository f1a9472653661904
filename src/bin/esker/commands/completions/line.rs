//! A command line that is not finished: what is expected at the cursor, and which repository it names.

use std::ffi::{OsStr, OsString};

use clap::{Arg, ArgAction, Command, CommandFactory, FromArgMatches, Parser};
use esker::source::command;

use crate::args::{Arguments, Global};

/// What only the repository, or the config file, knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// A snapshot.
    Snapshot,
    /// A snapshot that was forgotten.
    Forgotten,
    /// The name of a source in some snapshot.
    Source,
    /// The name of a source in the config file.
    Configured,
}

/// A line up to the cursor.
pub struct Line {
    /// The flags that say which repository, and what opens it; with the environment.
    pub global: Global,
    /// What is expected at the cursor.
    pub expected: Expected,
    /// `--source=`, when the value is written behind it.
    pub prefix: String,
    /// What is typed of it already.
    pub typed: String,
}

#[derive(Parser)]
struct Globals {
    #[command(flatten)]
    global: Global,
}

/// An option in a line.
struct Given<'a> {
    option: &'a Arg,
    /// Its name and what is written behind it.
    text: String,
    /// How long the name is, when a value follows it in the same word.
    value_at: Option<usize>,
}

/// Reads it: the program, whole words, and the word at the cursor, which may be empty. `None`: something else is expected there.
pub fn read(words: &[OsString]) -> Option<Line> {
    let mut root = Arguments::command();
    // Hands global options on to the commands.
    root.build();
    let words: Vec<OsString> = words.iter().map(|word| unquoted(word)).collect();
    let (typed, before) = words.get(1..)?.split_last()?;
    let typed = typed.to_str()?;
    let mut command = &root;
    let mut global = vec![OsString::from("esker")];
    let (mut waiting, mut operands, mut only_operands) = (None::<&Arg>, 0, false);
    for word in before {
        if let Some(option) = waiting.take() {
            global.extend(option.is_global_set().then(|| word.clone()));
            continue;
        }
        let text = word.to_string_lossy();
        if only_operands || !text.starts_with('-') || text == "-" {
            match command.find_subcommand(word).filter(|_| operands == 0 && !only_operands) {
                Some(below) => command = below,
                None => operands += 1,
            }
        } else if text == "--" {
            only_operands = true;
        } else if let Some(given) = given(command, &text) {
            global.extend(given.option.is_global_set().then(|| OsString::from(&given.text)));
            waiting = given.value_at.is_none().then_some(given.option);
        }
    }
    let (arg, prefix) = match waiting {
        Some(option) => (option, ""),
        None if !only_operands && typed.starts_with('-') => {
            let given = given(command, typed)?;
            (given.option, &typed[..given.value_at.filter(|_| typed.starts_with("--"))?])
        }
        None => (operand(command, operands)?, ""),
    };
    Some(Line {
        expected: expected(command, arg)?,
        global: Globals::from_arg_matches(&Globals::command().ignore_errors(true).try_get_matches_from(global).ok()?).ok()?.global,
        prefix: prefix.to_owned(),
        typed: typed[prefix.len()..].to_owned(),
    })
}

/// Quotes and `~/` as a shell takes them away; the scripts hand words over as they are typed.
fn unquoted(word: &OsStr) -> OsString {
    let split = word.to_str().map(command::split);
    let home = || std::env::var_os("HOME").filter(|home| !home.is_empty());
    match (split, word.to_str().and_then(|text| text.strip_prefix("~/"))) {
        (_, Some(below)) => home().map_or_else(|| word.to_owned(), |home| std::path::Path::new(&home).join(below).into_os_string()),
        (Some(Ok(words)), None) if words.len() == 1 => words.concat().into(),
        _ => word.to_owned(),
    }
}

/// The option with a value that a word gives: `--repo`, `--repo=x`, `-r`, `-rx`, `-vr`.
fn given<'a>(command: &'a Command, text: &str) -> Option<Given<'a>> {
    if let Some(long) = text.strip_prefix("--") {
        let name = long.split('=').next()?;
        let option = command.get_arguments().find(|arg| arg.get_long() == Some(name) && takes_value(arg))?;
        let value_at = (name.len() < long.len()).then_some(name.len() + 3);
        return Some(Given { option, text: text.to_owned(), value_at });
    }
    for (at, letter) in text.char_indices().skip(1) {
        let option = command.get_arguments().find(|arg| arg.get_short() == Some(letter))?;
        if takes_value(option) {
            let end = at + letter.len_utf8();
            return Some(Given { option, text: format!("-{}", &text[at..]), value_at: (end < text.len()).then_some(end) });
        }
    }
    None
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append) && arg.get_index().is_none()
}

/// The operand at this place; the last one may be given several times.
fn operand(command: &Command, number: usize) -> Option<&Arg> {
    let operands: Vec<&Arg> = command.get_positionals().collect();
    let several = |arg: &&&Arg| matches!(arg.get_action(), ArgAction::Append);
    operands.get(number).or_else(|| operands.last().filter(several)).copied()
}

fn expected(command: &Command, arg: &Arg) -> Option<Expected> {
    let value = arg.get_value_names()?.first()?.as_str();
    match (command.get_name(), arg.get_long(), value) {
        // Its snapshots are those of the other repository.
        ("copy", _, _) => None,
        ("undelete", None, "SNAPSHOT") => Some(Expected::Forgotten),
        (_, Some("only"), _) => Some(Expected::Configured),
        (_, Some("source"), _) => Some(Expected::Source),
        (_, _, "SNAPSHOT" | "SNAPSHOT[:PATH]" | "SNAPSHOT:PATH" | "A[:PATH]" | "B[:PATH]") => Some(Expected::Snapshot),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &[&str]) -> Option<Line> {
        read(&words.iter().map(OsString::from).collect::<Vec<_>>())
    }

    fn expected_at(words: &[&str]) -> Option<Expected> {
        line(words).map(|line| line.expected)
    }

    #[test]
    fn every_place_of_a_snapshot_and_of_a_source_is_known_by_its_definition() {
        let snapshot = Some(Expected::Snapshot);
        for command in ["ls", "restore", "dump", "cat", "diff", "snapshots", "list", "forget", "tag", "stats"] {
            assert_eq!(expected_at(&["esker", command, ""]), snapshot, "{command}");
        }
        assert_eq!(expected_at(&["esker", "repair", "snapshots", ""]), snapshot);
        assert_eq!(expected_at(&["esker", "diff", "latest~1", ""]), snapshot);
        assert_eq!(expected_at(&["esker", "forget", "a", "b", "c"]), snapshot);
        assert_eq!(expected_at(&["esker", "find", "--snapshot", ""]), snapshot);
        assert_eq!(expected_at(&["esker", "verify", "-s", ""]), snapshot);
        assert_eq!(expected_at(&["esker", "undelete", ""]), Some(Expected::Forgotten));
        assert_eq!(expected_at(&["esker", "restore", "latest", "--source", ""]), Some(Expected::Source));
        assert_eq!(expected_at(&["esker", "snapshot", "--only", ""]), Some(Expected::Configured));
    }

    #[test]
    fn other_places_are_left_to_the_shell() {
        for words in [
            &["esker", ""][..],
            &["esker", "restore", "--ta"],
            &["esker", "restore", "latest", ""],
            &["esker", "restore", "latest", "--target", ""],
            &["esker", "restore", "-r", ""],
            &["esker", "find", ""],
            &["esker", "snapshot", ""],
            &["esker", "copy", "--from-repo", "/a", ""],
            &["esker"],
        ] {
            assert_eq!(expected_at(words), None, "{words:?}");
        }
    }

    #[test]
    fn the_repository_is_the_one_that_the_line_names() {
        for words in [
            &["esker", "-r", "/a b", "ls", ""][..],
            &["esker", "-vr'/a b'", "ls", ""],
            &["esker", "ls", "--repo='/a b'", ""],
            &["esker", "ls", "-n", "--repo", "\"/a b\"", ""],
        ] {
            assert_eq!(line(words).unwrap().global.repository, Some("/a b".into()), "{words:?}");
        }
    }

    #[test]
    fn a_value_behind_an_equal_sign_is_completed_too() {
        let line = line(&["esker", "restore", "--source=da"]).unwrap();
        assert_eq!((line.expected, line.prefix.as_str(), line.typed.as_str()), (Expected::Source, "--source=", "da"));
    }
}
