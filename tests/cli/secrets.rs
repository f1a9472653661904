//! Passwords and keys: one of them, from anywhere but the arguments.

use std::os::unix::fs::PermissionsExt;

use super::common::{House, PASSWORD, exits, stderr, text};

#[test]
fn a_wrong_password_is_12() {
    let house = House::with_repository();
    let mut command = house.esker();
    command.env("ESKER_PASSWORD", "wrong");
    let output = exits(command, ["snapshots"], 12);
    assert!(stderr(&output).contains("wrong password"), "{}", stderr(&output));
}

#[test]
fn a_password_may_come_from_a_file_a_command_or_a_credential() {
    let house = House::with_repository();
    let file = house.write("password", format!("{PASSWORD}\n").as_bytes());
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let without_password = || {
        let mut command = house.esker();
        command.env_remove("ESKER_PASSWORD");
        command
    };
    exits(without_password(), ["--password-file", "password", "snapshots"], 0);
    exits(without_password(), ["--password-command", "cat password", "snapshots"], 0);
    let mut by_variable = without_password();
    by_variable.env("ESKER_PASSWORD_FILE", &file);
    exits(by_variable, ["snapshots"], 0);
    house.write("credentials/esker-password", PASSWORD.as_bytes());
    let mut by_credential = without_password();
    by_credential.env("CREDENTIALS_DIRECTORY", house.path("credentials"));
    exits(by_credential, ["snapshots"], 0);
}

#[test]
fn a_password_file_that_others_can_read_gives_a_warning() {
    let house = House::with_repository();
    let file = house.write("password", PASSWORD.as_bytes());
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let mut command = house.esker();
    command.env_remove("ESKER_PASSWORD");
    let output = exits(command, ["--password-file", "password", "snapshots"], 0);
    assert!(stderr(&output).contains("warning"), "{}", stderr(&output));
}

#[test]
fn two_secrets_are_2() {
    let house = House::with_repository();
    house.write("password", b"x");
    let output = exits(house.esker(), ["--password-file", "password", "snapshots"], 2);
    assert!(stderr(&output).contains("--password-file and ESKER_PASSWORD"), "{}", stderr(&output));
}

#[test]
fn without_a_secret_and_without_a_terminal_it_is_12_and_says_what_to_do() {
    let house = House::with_repository();
    let mut command = assert_cmd::Command::new("setsid");
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("ESKER_REPOSITORY", house.path("repo"));
    command.arg("--wait").arg(house.esker().get_program()).arg("snapshots");
    let output = command.assert().code(12).get_output().clone();
    assert!(stderr(&output).contains("--password-file"), "{}", stderr(&output));
}

#[test]
fn a_password_is_never_taken_from_the_arguments() {
    let house = House::with_repository();
    exits(house.esker(), ["--password", "x", "snapshots"], 2);
}

#[test]
fn the_recovery_key_is_printed_once_and_opens_the_repository() {
    let house = House::new();
    let output = exits(house.esker(), ["init", "--kdf", "low", "--json"], 0);
    let created = super::common::json(&output.stdout);
    let recovery = created["recovery_key"].as_str().unwrap().to_owned();
    let mut command = house.esker();
    command.env("ESKER_PASSWORD", &recovery);
    exits(command, ["snapshots"], 0);
    let listed = text(&exits(house.esker(), ["key", "list"], 0).stdout);
    assert!(!listed.contains(&recovery));
}

#[test]
fn a_secret_that_does_not_open_is_named_with_its_place() {
    let house = House::with_repository();
    house.write("esker.toml", b"password-file = 'password'\n");
    let file = house.write("password", PASSWORD.as_bytes());
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let with = |variable: Option<(&str, &str)>| {
        let mut command = house.esker();
        command.env_remove("ESKER_PASSWORD").args(["-c", "esker.toml"]);
        command.envs(variable);
        command
    };
    assert_eq!(stderr(&exits(with(None), ["snapshots"], 0)), "");
    // A variable that was left behind wins, so it is said, whether it opens or not.
    let message = stderr(&exits(with(Some(("ESKER_PASSWORD", "stale"))), ["snapshots"], 12));
    for word in
        ["wrong password", "ESKER_PASSWORD in the environment", "instead of password-file in the config file esker.toml", "unset"]
    {
        assert!(message.contains(word), "{word}: {message}");
    }
    let message = stderr(&exits(with(Some(("ESKER_PASSWORD", PASSWORD))), ["snapshots"], 0));
    assert!(message.contains("warning") && message.contains("ESKER_PASSWORD in the environment"), "{message}");
    // A flag was meant.
    assert_eq!(stderr(&exits(with(None), ["--password-file", "password", "snapshots"], 0)), "");
    // A file that is not there is named with what named it.
    let message = stderr(&exits(with(Some(("ESKER_PASSWORD_FILE", "gone"))), ["snapshots"], 2));
    assert!(message.contains("gone") && message.contains("from ESKER_PASSWORD_FILE in the environment"), "{message}");
    std::fs::write(&file, "other").unwrap();
    let message = stderr(&exits(with(None), ["snapshots"], 12));
    assert!(message.contains("password-file in the config file esker.toml"), "{message}");
}

/// What `env` prints of the variables that [`private_variables`] sets.
fn seen(said: &str) -> Vec<&str> {
    said.lines().filter_map(|line| line.split_once('=')).filter(|(_, value)| *value == "private").map(|(name, _)| name).collect()
}

/// Sets variables that only esker and the store may see, and one that a password manager needs.
fn private_variables(mut command: assert_cmd::Command) -> assert_cmd::Command {
    for name in ["ESKER_OTHER", "AWS_SECRET_ACCESS_KEY", "WEBDAV_PASSWORD", "B2_APPLICATION_KEY", "PASSWORD_STORE_DIR"] {
        command.env(name, "private");
    }
    command
}

#[test]
fn a_password_command_and_the_program_that_reaches_a_server_see_no_secrets() {
    let house = House::with_repository();
    house.write("password", PASSWORD.as_bytes());
    let (first, second) = (house.path("seen-by-password-command"), house.path("seen-by-ssh"));
    let script = |to: &std::path::Path, then: &str| format!("sh -c 'env > {}; {then}'", to.display());
    let mut command = private_variables(house.esker());
    command.env_remove("ESKER_PASSWORD");
    let _ = command.args(["--password-command", &script(&first, "cat password"), "snapshots"]).output().unwrap();
    let mut command = private_variables(house.esker());
    let option = format!("command={}", script(&second, "exit 1"));
    let _ = command.args(["-r", "sftp://host/repo", "-o", &option, "snapshots"]).output().unwrap();
    for path in [first, second] {
        let said = std::fs::read_to_string(&path).unwrap();
        assert_eq!(seen(&said), ["PASSWORD_STORE_DIR"], "{}", path.display());
        assert!(said.contains("PATH="), "{said}");
    }
}
