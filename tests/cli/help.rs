//! Help, completions and manual: one set of definitions, three shapes.

use super::common::{House, commands, exits, stderr, stdout};

#[test]
fn help_names_every_command_and_every_exit_code() {
    let house = House::new();
    let help = stdout(&exits(house.bare(), ["--help"], 0));
    let commands = commands(&house);
    assert!(commands.len() > 20, "{commands:?}");
    for command in commands.iter().filter_map(|words| words.first()) {
        assert!(help.lines().any(|line| line.trim_start().starts_with(command.as_str())), "{command} is not in:\n{help}");
    }
    for code in ["0", "1", "2", "3", "4", "10", "11", "12", "13", "14", "20", "21", "130", "143"] {
        assert!(help.split(|c: char| !c.is_ascii_digit()).any(|word| word == code), "exit code {code}");
    }
}

#[test]
fn every_command_has_help_of_its_own() {
    let house = House::new();
    for command in commands(&house) {
        let help = stdout(&exits(house.bare(), command.iter().map(String::as_str).chain(["--help"]), 0));
        assert!(help.contains("Usage: esker"), "{command:?}: {help}");
    }
}

#[test]
fn completions_and_manual_come_without_a_repository() {
    let house = House::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stdout(&exits(house.bare(), ["completions", shell], 0));
        assert!(script.contains("snapshots") && script.contains("password-file"), "{shell}");
    }
    assert!(stdout(&exits(house.bare(), ["man"], 0)).contains(".TH"));
    exits(house.bare(), ["man", "--output", "pages"], 0);
    assert!(house.path("pages/esker.1").exists());
    assert!(house.path("pages/esker-snapshot.1").exists());
}

#[test]
fn a_mistake_on_the_command_line_is_exit_2_and_goes_to_standard_error() {
    let house = House::new();
    for wrong in [&["--no-such-flag"][..], &["no-such-command"], &["restore"], &[], &["-q", "-v", "snapshots"]] {
        let output = exits(house.bare(), wrong, 2);
        assert!(output.stdout.is_empty(), "{wrong:?}");
        assert!(!output.stderr.is_empty(), "{wrong:?}");
    }
    let line = super::common::json(&exits(house.bare(), ["--json", "restore"], 2).stderr);
    assert_eq!((&line["message_type"], &line["code"]), (&"exit_error".into(), &2.into()));
}

#[test]
fn without_a_repository_named_the_message_says_how_to_name_one() {
    let output = exits(House::new().bare(), ["snapshots"], 2);
    assert!(stderr(&output).contains("ESKER_REPOSITORY"), "{}", stderr(&output));
}

#[test]
fn no_line_of_any_help_is_wider_than_a_terminal_of_80_columns() {
    let house = House::new();
    for command in commands(&house) {
        for help in ["-h", "--help"] {
            let mut esker = house.bare();
            esker.env("COLUMNS", "80").args(&command);
            let text = stdout(&exits(esker, [help], 0));
            for line in text.lines() {
                assert!(line.chars().count() <= 80, "esker {command:?} {help}: {line}");
            }
        }
    }
}

#[test]
fn a_command_that_is_not_finished_shows_its_help_and_no_error() {
    let house = House::new();
    for (arguments, shows) in [(&[][..], "Commands:"), (&["-q"], "Commands:"), (&["-q", "key"], "rotate")] {
        let mut esker = house.bare();
        esker.env("ESKER_REPOSITORY", "repo");
        let output = exits(esker, arguments, 2);
        let said = stderr(&output);
        assert!(said.contains(shows) && said.contains("Usage: esker") && !said.contains("error:"), "{arguments:?}: {said}");
    }
}
