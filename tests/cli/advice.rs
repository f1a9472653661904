//! A message says what is wrong and what to do about it.

use super::common::{House, exits, json, stderr};

#[test]
fn a_repository_in_place_of_a_file_is_refused_with_advice() {
    let house = House::new();
    house.write("repo", b"a file");
    let said = stderr(&exits(house.esker(), ["init", "--kdf", "low"], 2));
    assert!(said.contains("is a file") && said.contains("folder with -r"), "{said}");
}

#[test]
fn a_repository_without_snapshots_says_so_and_how_to_take_one() {
    let house = House::with_repository();
    for command in [
        &["ls", "latest"][..],
        &["restore", "latest", "--target", "back"],
        &["dump", "latest:data/a"],
        &["diff", "latest~1", "latest"],
        &["stats", "latest"],
        &["snapshots", "latest"],
        &["tag", "--keep", "latest"],
    ] {
        let said = stderr(&exits(house.esker(), command, 1));
        assert!(said.contains("no snapshots yet") && said.contains("esker snapshot"), "{command:?}: {said}");
    }
}

#[test]
fn a_path_as_restic_writes_it_is_answered_with_the_right_form() {
    let house = House::with_snapshot();
    let said = stderr(&exits(house.esker(), ["dump", "latest", "/data/hello.txt"], 2));
    assert!(said.contains("esker dump latest:data/hello.txt"), "{said}");
}

#[test]
fn an_option_that_a_local_store_does_not_have_is_2_and_a_copy_may_mean_the_other_store() {
    let house = House::with_snapshot();
    let said = stderr(&exits(house.esker(), ["-o", "nope=1", "snapshots"], 2));
    assert!(said.contains("no option nope"), "{said}");
    exits(house.esker(), ["-o", "timeout=1", "mirror", "mirror"], 0);
}

#[test]
fn a_limit_of_a_rate_that_a_local_store_does_not_have_is_2_and_says_so() {
    let house = House::with_snapshot();
    for flag in ["--limit-upload", "--limit-download"] {
        let said = stderr(&exits(house.esker(), [flag, "5M", "snapshots"], 2));
        assert!(said.contains(&format!("{flag} has no effect")) && said.contains(&format!("remove {flag}")), "{said}");
        // The other place may be a remote one.
        exits(house.esker(), [flag, "5M", "mirror", "mirror"], 0);
    }
    // In a config file it may be meant for another profile.
    house.write("esker.toml", b"limit-upload = '5M'\n");
    exits(house.esker(), ["-c", "esker.toml", "snapshots"], 0);
}

#[test]
fn files_and_commands_that_are_not_there_come_with_a_hint() {
    let house = House::with_repository();
    let without_password = || {
        let mut command = house.esker();
        command.env_remove("ESKER_PASSWORD");
        command
    };
    for (arguments, code, hint) in [
        (&["-c", "nope.toml", "snapshots"][..], 2, "ESKER_CONFIG"),
        (&["--password-file", "nope", "snapshots"], 2, "check the path"),
        (&["--password-command", "false", "snapshots"], 12, "by hand"),
        (&["--password-command", "/no/such/program", "snapshots"], 12, "PATH"),
        (&["--key-file", "nope", "snapshots"], 12, "check the path"),
    ] {
        let said = stderr(&exits(without_password(), arguments, code));
        assert!(said.contains("hint: ") && said.contains(hint), "{arguments:?}: {said}");
    }
}

#[test]
fn a_failing_hook_of_a_source_is_answered_with_advice_about_the_hook() {
    let house = House::with_repository();
    house.write("data/a", b"a");
    house.write("esker.toml", b"[[source]]\ndirectory = 'data'\n[source.hooks]\nbefore = 'false'\n");
    let said = stderr(&exits(house.esker(), ["-c", "esker.toml", "snapshot"], 4));
    assert!(said.contains("command of the hook") && !said.contains("mounted"), "{said}");
}

#[test]
fn a_dry_run_says_so_to_a_script() {
    let house = House::with_snapshot();
    for (dry, flags) in [(true, &["-n"][..]), (false, &[])] {
        let arguments = ["snapshot", "--json", "data"].iter().chain(flags);
        assert_eq!(json(&exits(house.esker(), arguments, 0).stdout)["dry_run"], dry);
        let arguments = ["forget", "--json", "--keep-last", "1"].iter().chain(flags);
        assert_eq!(json(&exits(house.esker(), arguments, 0).stdout)[0]["dry_run"], dry);
    }
}
