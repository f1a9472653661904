//! Completion in a shell: what the repository knows is offered, and nothing is asked.

use std::process::{Command, Stdio};

use super::common::{House, PASSWORD, exits, json, stdout};

/// What bash offers for these words; the last one is being typed. `variables` are those of the shell.
fn offered(house: &House, words: &[&str], variables: &[(&str, &str)]) -> Vec<String> {
    let program = assert_cmd::cargo::cargo_bin!("esker").to_str().unwrap();
    let drive = r#"
        source <("$1" completions bash)
        # As bash splits a line.
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
        _esker "$1" "${!#}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut bash = Command::new("bash");
    bash.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", house.path("")).current_dir(house.path(""));
    bash.envs(variables.iter().copied()).args(["-c", drive, "bash", program]).args(words).stdin(Stdio::null());
    let output = bash.output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    stdout(&output).lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn short_id(house: &House) -> String {
    let listed = json(&exits(house.esker(), ["snapshots", "--json"], 0).stdout);
    listed[0]["short_id"].as_str().unwrap().to_owned()
}

#[test]
fn bash_completes_ids_and_names_of_sources_from_the_repository() {
    let house = House::with_snapshot();
    let repo = house.path("repo");
    let known = [("ESKER_REPOSITORY", repo.to_str().unwrap()), ("ESKER_PASSWORD", PASSWORD)];
    let id = short_id(&house);
    assert_eq!(offered(&house, &["restore", ""], &known), ["latest", &id]);
    assert_eq!(offered(&house, &["restore", &id[..3]], &known), [id.as_str()]);
    assert_eq!(offered(&house, &["-r", "repo", "verify", "-s", "la"], &known[1..]), ["latest"]);
    assert_eq!(offered(&house, &["restore", "latest", "--source", ""], &known), ["data"]);
    // A path in the snapshot is no file of this machine.
    assert!(offered(&house, &["ls", &format!("{id}:")], &known).is_empty());
    // What clap knows is still there.
    assert_eq!(offered(&house, &["restore", "--targ"], &known), ["--target"]);
}

#[test]
fn completion_takes_the_repository_and_the_sources_from_the_config_file() {
    let house = House::with_snapshot();
    house.write("password", PASSWORD.as_bytes());
    house.write("esker.toml", b"repository = 'repo'\npassword-file = 'password'\n[[source]]\nname = 'media'\ndirectory = '/srv'\n");
    assert_eq!(offered(&house, &["-c", "esker.toml", "snapshot", "--only", ""], &[]), ["media"]);
    assert_eq!(offered(&house, &["-c", "esker.toml", "ls", ""], &[]), ["latest", &short_id(&house)]);
}

#[test]
fn completion_asks_for_no_password_and_says_nothing_about_an_error() {
    let house = House::with_snapshot();
    for (variables, words) in [
        (&[][..], &["ls", ""][..]),
        (&[("ESKER_PASSWORD", "wrong")], &["ls", ""]),
        (&[("ESKER_PASSWORD", PASSWORD)], &["-r", "/nowhere", "ls", ""]),
        (&[("ESKER_PASSWORD", PASSWORD)], &["-c", "/nowhere.toml", "ls", ""]),
    ] {
        let mut esker = house.bare();
        esker.envs(variables.iter().copied()).env("ESKER_REPOSITORY", house.path("repo"));
        let output = exits(esker, ["completions", "bash", "--", "esker"].iter().chain(words), 0);
        assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{words:?}: {output:?}");
    }
}

#[test]
fn a_password_command_may_ask_so_completion_does_not_run_it() {
    let house = House::with_snapshot();
    let mut esker = house.bare();
    esker.env("ESKER_REPOSITORY", house.path("repo")).env("ESKER_PASSWORD_COMMAND", "touch asked");
    let output = exits(esker, ["completions", "fish", "--", "esker", "ls", ""], 0);
    assert!(stdout(&output).contains(&short_id(&house)), "{}", stdout(&output));
    assert!(!house.path("asked").exists());
}

#[test]
fn the_scripts_are_accepted_by_their_shells() {
    let house = House::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = house.write(shell, &exits(house.bare(), ["completions", shell], 0).stdout);
        match Command::new(shell).arg("-n").arg(script).status() {
            Ok(status) => assert!(status.success(), "{shell}"),
            Err(error) => println!("SKIPPED: {shell} is not installed ({error})"),
        }
    }
}
