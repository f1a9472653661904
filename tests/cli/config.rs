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
    // Sources of the command line replace those of the file.
    exits(esker(&["snapshot", "certs"]), nothing, 0);
    assert_eq!(stdout(&exits(esker(&["ls", "latest"]), nothing, 0)), "certs/\n");
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
