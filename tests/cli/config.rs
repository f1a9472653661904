//! The config file: defaults, profiles, and mistakes that are named.

use std::os::unix::fs::PermissionsExt;

use super::common::{House, PASSWORD, exits, json, stderr, stdout};

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
    // `latest` is the newest with the sources of the config file, here those of the profile.
    assert_eq!(stdout(&exits(esker(&["-P", "certs", "ls", "-R", "latest"]), nothing, 0)), "pems/\npems/tls.pem\n");
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
    assert!(message.contains("nights") && message.contains("no other profile"), "{message}");
    house.write("two.toml", b"[profile.near]\n[profile.far]\n");
    let message = stderr(&exits(house.bare(), ["--config", "two.toml", "-P", "nights", "snapshots"], 2));
    assert!(message.contains("there are: \"far\", \"near\""), "{message}");
}

#[test]
fn a_byte_order_mark_does_not_spoil_the_first_key() {
    let house = House::with_repository();
    house.write("esker.toml", b"\xef\xbb\xbfrepository = 'repo'\n");
    exits(house.esker(), ["--config", "esker.toml", "snapshots"], 0);
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

#[test]
fn a_file_includes_others_and_its_own_answer_goes_first() {
    let house = House::with_repository();
    house.write(
        "etc/common/base.toml",
        b"tags = ['base']\nhost = 'base'\n[[source]]\ndirectory = 'certs'\n[profile.far]\nhost = 'far'\n",
    );
    house.write("etc/common/certs/tls.pem", b"pem");
    house.write("etc/later.toml", b"host = 'later'\n");
    house.write("etc/media/logo.png", b"logo");
    house.write("etc/esker.toml", b"include = ['common/base.toml', 'later.toml']\n[[source]]\ndirectory = 'media'\n");
    exits(house.esker(), ["-c", "etc/esker.toml", "snapshot"], 0);
    // Sources of all files; their paths are relative to the file that they stand in.
    assert_eq!(sources_of_latest(&house), "certs/\nmedia/\n");
    let listed = stdout(&exits(house.esker(), ["snapshots"], 0));
    assert!(listed.contains("later") && listed.contains("base"), "{listed}");
    let shown = json(&exits(house.bare(), ["-c", "etc/esker.toml", "-P", "far", "config", "show", "--json"], 0).stdout);
    assert_eq!(shown["settings"]["host"], "far");
    assert_eq!(shown["files"].as_array().unwrap().len(), 3, "{shown}");
}

#[test]
fn an_include_in_a_circle_or_of_nothing_is_2() {
    let house = House::new();
    house.write("a.toml", b"include = ['b.toml']\n");
    house.write("b.toml", b"include = ['./a.toml']\n");
    let message = stderr(&exits(house.bare(), ["-c", "a.toml", "snapshots"], 2));
    assert!(message.contains("includes itself") && message.contains("a.toml"), "{message}");
    house.write("c.toml", b"include = ['missing.toml']\n");
    assert!(stderr(&exits(house.bare(), ["-c", "c.toml", "snapshots"], 2)).contains("missing.toml"));
    house.write("d.toml", b"[profile.x]\ninclude = ['a.toml']\n");
    assert!(stderr(&exits(house.bare(), ["-c", "d.toml", "snapshots"], 2)).contains("top of a file"));
    // Two ways to one file are no circle, and its sources are there once.
    house.write("data/x", b"x");
    house.write("base.toml", b"repository = 'repo'\n[[source]]\ndirectory = 'data'\n");
    house.write("left.toml", b"include = ['base.toml']\n");
    house.write("right.toml", b"include = ['base.toml']\n");
    house.write("top.toml", b"include = ['left.toml', 'right.toml']\n");
    let shown = json(&exits(house.bare(), ["-c", "top.toml", "config", "show", "--json"], 0).stdout);
    assert_eq!(shown["settings"]["source"].as_array().unwrap().len(), 1, "{shown}");
}

#[test]
fn variables_stand_in_texts_and_one_that_is_not_set_is_named_with_its_line() {
    let house = House::with_repository();
    house.write("media/logo.png", b"logo");
    let text = "host = '${WHO:-nobody}'\ntags = ['$${x}', '$HOME']\n[[source]]\ndirectory = '${WHERE}'\n[profile.p]\nhost = '${NOT_SET}'\n";
    house.write("esker.toml", text.as_bytes());
    let message = stderr(&exits(house.esker(), ["-c", "esker.toml", "snapshot"], 2));
    for word in ["esker.toml", "line 4", "WHERE is not set"] {
        assert!(message.contains(word), "{word}: {message}");
    }
    let mut command = house.esker();
    command.env("WHERE", "media");
    exits(command, ["-c", "esker.toml", "snapshot"], 0);
    let listed = stdout(&exits(house.esker(), ["snapshots"], 0));
    for word in ["nobody", "${x}", "$HOME"] {
        assert!(listed.contains(word), "{word}: {listed}");
    }
    // A profile that is not used may need what is not set.
    let mut command = house.esker();
    command.env("WHERE", "media").args(["-P", "p"]);
    let message = stderr(&exits(command, ["-c", "esker.toml", "snapshot"], 2));
    assert!(message.contains("line 6") && message.contains("NOT_SET"), "{message}");
}

#[test]
fn config_check_finds_what_the_first_night_would() {
    let house = House::new();
    let key = house.write("key", b"x");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    house.write("media/logo.png", b"logo");
    house.write(
        "esker.toml",
        br#"
repository = "repo"
key-file = "key"
exclude-files = ["no-excludes"]
[hooks]
before = "no-such-program now"
[[source]]
directory = "media"
[[source]]
directory = "gone"
[[source]]
name = "words"
command = ["no-such-command"]
[profile.offsite]
password-file = "no-password"
host = "${NOT_SET}"
[profile.twice]
[[profile.twice.source]]
directory = "media"
[[profile.twice.source]]
name = "media"
command = "echo"
"#,
    );
    let output = exits(house.bare(), ["-c", "esker.toml", "config", "check"], 2);
    let found = stdout(&output);
    for word in ["key", "chmod 600", "no-excludes", "no-such-program", "gone", "no-such-command", "NOT_SET", "\"media\"", "twice"] {
        assert!(found.contains(word), "{word}: {found}");
    }
    let as_json = json(&exits(house.bare(), ["-c", "esker.toml", "config", "check", "--json"], 2).stdout);
    assert_eq!(as_json["message_type"], "config_check");
    assert!(as_json["errors"].as_array().unwrap().len() >= 7, "{as_json}");
    house.write("wrong.toml", b"exlude = []\n");
    let found = stdout(&exits(house.bare(), ["-c", "wrong.toml", "config", "check"], 2));
    assert!(found.contains("exlude") && found.contains("line 1"), "{found}");

    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    house.write("ok.toml", b"repository = 'repo'\nkey-file = 'key'\n[[source]]\ndirectory = 'media'\n");
    let output = exits(house.bare(), ["-c", "ok.toml", "config", "check"], 0);
    assert_eq!((stdout(&output).lines().count(), stderr(&output)), (1, String::new()));
    assert!(stderr(&exits(house.bare(), ["config", "check"], 2)).contains("--config"));
}

#[test]
fn config_show_resolves_everything_and_shows_no_secret() {
    let house = House::new();
    house.write(
        "esker.toml",
        br#"
repository = "repo"
option = { secret-access-key = "s3cret-option", region = "x" }
[keep]
daily = 7
group-by = "host"
[monitor]
ping = "https://hc.example/s3cret-uuid"
[[monitor.message]]
when = ["failure"]
url = "https://ntfy.example/s3cret-topic"
headers = { Authorization = "Bearer s3cret-bearer" }
[[source]]
name = "redis"
[source.redis]
url = "redis://me:s3cret-redis@cache"
[[source]]
name = "dump"
command = ["dump", "--token", "${API_TOKEN}"]
"#,
    );
    let show = |arguments: &[&str]| {
        let mut command = house.bare();
        command.env("API_TOKEN", "s3cret-token").args(["-c", "esker.toml", "config", "show"]);
        stdout(&exits(command, arguments, 0))
    };
    for text in [show(&[]), show(&["--json"])] {
        assert!(!text.contains("s3cret"), "{text}");
        for word in ["redis://me:(hidden)@cache", "https://hc.example/...", "group-by", "daily", "(hidden)"] {
            assert!(text.contains(word), "{word}: {text}");
        }
    }
    // What is shown can be read again.
    house.write("shown.toml", show(&[]).as_bytes());
    exits(house.bare(), ["-c", "shown.toml", "config", "show"], 0);
}

#[test]
fn a_variable_that_hides_the_repository_of_the_config_file_is_said() {
    let house = House::with_repository();
    house.write("esker.toml", b"repository = 'elsewhere'\n");
    house.write("same.toml", b"repository = 'repo'\n");
    let message = stderr(&exits(house.esker(), ["-c", "esker.toml", "snapshots"], 0));
    assert!(message.contains("ESKER_REPOSITORY in the environment is used instead of repository in the config file"), "{message}");
    assert_eq!(stderr(&exits(house.esker(), ["-c", "same.toml", "snapshots"], 0)), "");
    let mut command = house.esker();
    command.env_remove("ESKER_REPOSITORY");
    assert_eq!(stderr(&exits(command, ["-c", "esker.toml", "-r", "repo", "snapshots"], 0)), "");
}
