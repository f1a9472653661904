//! The config file: defaults, profiles, and mistakes that are named.

use super::common::{House, PASSWORD, exits, stderr, stdout};

#[test]
fn a_config_file_holds_repository_secret_and_sources() {
    let house = House::new();
    house.write("password", PASSWORD.as_bytes());
    house.write("media/logo.png", b"logo");
    house.write("media/x.tmp", b"junk");
    house.write("certs/tls.pem", b"pem");
    house.write(
        "esker.toml",
        br#"
repository = "repo"
password-file = "password"
tags = ["nightly"]
exclude = ["*.tmp"]

[[source]]
directory = "media"

[[source]]
name = "words"
command = ["echo", "hello"]

[profile.certs]
tags = ["weekly"]
[[profile.certs.source]]
name = "pems"
directory = "certs"
"#,
    );
    let esker = |arguments: &[&str]| {
        let mut command = house.bare();
        command.args(["--config", "esker.toml"]).args(arguments);
        command
    };
    let nothing: [&str; 0] = [];
    exits(esker(&["init", "--kdf", "low"]), nothing, 0);
    exits(esker(&["snapshot"]), nothing, 0);
    assert_eq!(stdout(&exits(esker(&["ls", "-R", "latest"]), nothing, 0)), "media/\nmedia/logo.png\nwords\n");
    exits(esker(&["-P", "certs", "snapshot"]), nothing, 0);
    assert_eq!(stdout(&exits(esker(&["ls", "-R", "latest"]), nothing, 0)), "pems/\npems/tls.pem\n");
    let listed = stdout(&exits(esker(&["snapshots"]), nothing, 0));
    assert!(listed.contains("nightly") && listed.contains("weekly"), "{listed}");
}

#[test]
fn a_mistake_in_the_config_file_is_2_and_named_with_its_line() {
    let house = House::new();
    house.write("esker.toml", b"repository = 'repo'\n\nexlude = ['*.tmp']\n");
    let message = stderr(&exits(house.bare(), ["--config", "esker.toml", "snapshots"], 2));
    assert!(message.contains("exlude") && message.contains("line 3"), "{message}");
    let message = stderr(&exits(house.bare(), ["--config", "missing.toml", "snapshots"], 2));
    assert!(message.contains("missing.toml"), "{message}");
    house.write("ok.toml", b"repository = 'repo'\n");
    let message = stderr(&exits(house.bare(), ["--config", "ok.toml", "-P", "nights", "snapshots"], 2));
    assert!(message.contains("nights"), "{message}");
}

/// A config file with two sources, `media` and `words`, in a house with a repository.
fn house_with_sources() -> House {
    let house = House::with_repository();
    house.write("media/logo.png", b"logo");
    house.write("certs/tls.pem", b"pem");
    house.write("esker.toml", b"[[source]]\ndirectory = 'media'\n[[source]]\nname = 'words'\ncommand = ['echo', 'hello']\n");
    house
}

fn sources_of_latest(house: &House) -> String {
    stdout(&exits(house.esker(), ["ls", "latest"], 0))
}

#[test]
fn sources_of_the_command_line_come_beside_those_of_the_config_file() {
    let house = house_with_sources();
    exits(house.esker(), ["-c", "esker.toml", "snapshot", "--dir", "pems=certs"], 0);
    assert_eq!(sources_of_latest(&house), "media/\npems/\nwords\n");
    exits(house.esker(), ["-c", "esker.toml", "snapshot", "certs", "--command", "more=echo more"], 0);
    assert_eq!(sources_of_latest(&house), "certs/\nmedia/\nmore\nwords\n");
}

#[test]
fn only_takes_some_of_all_sources() {
    let house = house_with_sources();
    exits(house.esker(), ["-c", "esker.toml", "snapshot", "certs", "--only", "media", "--only", "certs"], 0);
    assert_eq!(sources_of_latest(&house), "certs/\nmedia/\n");
    for arguments in [vec!["--only", "music"], vec!["--only", "media", "--only", "music"]] {
        let mut command = house.esker();
        command.args(["-c", "esker.toml", "snapshot"]);
        let message = stderr(&exits(command, arguments, 2));
        assert!(message.contains("--only \"music\"") && message.contains("media"), "{message}");
    }
    let message = stderr(&exits(house.esker(), ["-c", "esker.toml", "snapshot", "--only", "media", "--optional", "words"], 2));
    assert!(message.contains("--optional \"words\""), "{message}");
}

#[test]
fn only_a_source_of_its_own_does_not_look_for_those_of_a_preset() {
    let house = House::with_repository();
    house.write("media/logo.png", b"logo");
    house.write("esker.toml", b"[[source]]\ndirectory = 'media'\n[[source]]\n[source.authentik]\ndirectory = 'nowhere'\n");
    exits(house.esker(), ["-c", "esker.toml", "snapshot"], 2);
    exits(house.esker(), ["-c", "esker.toml", "snapshot", "--only", "media"], 0);
    assert_eq!(sources_of_latest(&house), "media/\n");
}

#[test]
fn a_name_given_twice_is_2_and_says_where_each_comes_from() {
    let house = house_with_sources();
    for (arguments, what, place) in [
        (vec!["--dir", "media=certs"], "\"media\"", "--dir"),
        (vec!["--command", "media=echo"], "\"media\"", "--command"),
        (vec!["media"], "media", "the arguments"),
        (vec!["--dir", "other=media/../media"], "as \"media\" and as \"other\"", "--dir"),
    ] {
        let mut command = house.esker();
        command.args(["-c", "esker.toml", "snapshot"]);
        let message = stderr(&exits(command, &arguments, 2));
        for word in [what, "twice", "the config file esker.toml", place] {
            assert!(message.contains(word), "{arguments:?}: {word}: {message}");
        }
    }
    let message = stderr(&exits(house.esker(), ["snapshot", "--dir", "a=media", "--dir", "a=certs"], 2));
    assert!(message.contains("\"a\"") && message.contains("twice in --dir"), "{message}");
    house.write("twice.toml", b"[[source]]\nname = 'a'\ncommand = 'echo'\n[[source]]\nname = 'a'\ncommand = 'ls'\n");
    let message = stderr(&exits(house.esker(), ["-c", "twice.toml", "snapshot"], 2));
    assert!(message.contains("twice in the config file twice.toml"), "{message}");
    // A preset names its sources itself, so two of it clash as a whole.
    house.write("preset.toml", b"[[source]]\n[source.authentik]\ndirectory = 'a'\n");
    let message = stderr(&exits(house.esker(), ["-c", "preset.toml", "snapshot", "--preset", "authentik"], 2));
    assert!(message.contains("preset authentik") && message.contains("preset.toml") && message.contains("--preset"), "{message}");
    house.write("stdin.toml", b"[[source]]\nname = 'a'\n[source.stdin]\n");
    let message = stderr(&exits(house.esker(), ["-c", "stdin.toml", "snapshot", "--stdin", "b"], 2));
    assert!(message.contains("standard input") && message.contains("stdin.toml") && message.contains("--stdin"), "{message}");
}
