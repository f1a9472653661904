//! `restore --delete`: absence from a snapshot is not deletion.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::common::*;

fn snapshot(house: &House, arguments: &[&str]) {
    exits(house.esker(), [&["snapshot", "data"], arguments].concat(), 0);
}

#[test]
fn what_the_snapshot_left_out_is_not_deleted() {
    let house = House::with_repository();
    house.write("data/kept.txt", b"kept");
    house.write("data/sub/.nobackup.not", b"x");
    snapshot(&house, &["--exclude", "*.key", "--exclude", "/cache"]);
    for path in ["data/a.key", "data/sub/b.key", "data/cache/x", "data/new/deep/c.key"] {
        house.write(path, b"only copy");
    }
    house.write("data/new/deep/plain", b"goes");
    house.write("data/gone", b"goes");
    let out = exits(house.esker(), ["restore", "latest:data", "--target", "data", "--delete", "--yes"], 0);
    for path in ["data/a.key", "data/sub/b.key", "data/cache/x", "data/new/deep/c.key", "data/kept.txt"] {
        assert!(house.path(path).exists(), "{path} is gone");
    }
    for path in ["data/gone", "data/new/deep/plain"] {
        assert!(!house.path(path).exists(), "{path} is still there");
    }
    assert!(stderr(&out).contains("not deleted: a.key"), "{}", stderr(&out));
}

#[test]
fn what_this_restore_leaves_out_is_not_deleted_wherever_it_lies() {
    let house = House::with_snapshot();
    house.write("data/new/secret.key", b"only copy");
    house.write("data/new/plain", b"goes");
    house.write("data/sub/extra", b"not included");
    let options = ["restore", "latest:data", "--target", "data", "--delete", "--yes"];
    exits(house.esker(), [&options[..], &["--include", "hello.txt"]].concat(), 0);
    assert!(house.path("data/sub/extra").exists() && house.path("data/new/plain").exists());
    exits(house.esker(), [&options[..], &["--exclude", "*.key"]].concat(), 0);
    assert!(house.path("data/new/secret.key").exists());
    assert!(!house.path("data/new/plain").exists() && !house.path("data/sub/extra").exists());
}

#[test]
fn nothing_beside_the_restored_sources_is_deleted() {
    let house = House::with_repository();
    house.write("app/media/a", b"1");
    exits(house.esker(), ["snapshot", "--dir", "media=app/media"], 0);
    for path in ["app/.env", "app/compose.yml", "app/certs/tls.pem"] {
        house.write(path, b"precious");
    }
    exits(house.esker(), ["restore", "latest", "--target", "app", "--delete", "--yes"], 0);
    // The content of media goes into app itself, which holds nothing of it.
    let out = exits(house.esker(), ["restore", "latest:media", "--target", "app", "--delete", "--yes"], 14);
    assert!(stderr(&out).contains("holds nothing of media"), "{}", stderr(&out));
    for path in ["app/.env", "app/compose.yml", "app/certs/tls.pem", "app/media/a"] {
        assert!(house.path(path).exists(), "{path} is gone");
    }
    assert!(!house.path("app/a").exists());
}

#[test]
fn the_root_and_the_home_folder_are_no_place_to_delete_from() {
    let house = House::with_snapshot();
    let home = house.path("");
    for target in ["/", "/../", home.to_str().unwrap()] {
        let out = exits(house.esker(), ["restore", "latest:data", "--target", target, "--delete", "-n"], 14);
        assert!(stderr(&out).contains("nothing was changed"), "{}", stderr(&out));
    }
}

#[test]
fn a_repository_below_the_target_is_not_deleted() {
    let house = House::with_snapshot();
    fs::create_dir_all(house.path("data/backups")).unwrap();
    exits(house.esker(), ["-r", "data/backups/esker", "init", "--kdf", "low"], 0);
    for name in ["config", "data/00", "snapshots/1", "keys/1", "index/1"] {
        house.write(format!("data/backups/restic/{name}"), b"x");
    }
    house.write("data/backups/notes", b"goes");
    exits(house.esker(), ["restore", "latest:data", "--target", "data", "--delete", "--yes"], 0);
    assert!(house.path("data/backups/esker/config").exists());
    assert!(house.path("data/backups/restic/snapshots/1").exists());
    assert!(!house.path("data/backups/notes").exists());
}

#[test]
fn without_a_terminal_deleting_needs_a_yes_and_a_dry_run_names_every_path() {
    let house = House::with_snapshot();
    house.write("data/new/deep/file", b"x");
    house.write("data/hello.txt", b"changed");
    let out = exits(house.esker(), ["restore", "latest:data", "--target", "data", "--delete"], 14);
    assert!(stderr(&out).contains("3 entries") && stderr(&out).contains("--yes"), "{}", stderr(&out));
    assert_eq!(fs::read(house.path("data/hello.txt")).unwrap(), b"changed");
    let out = exits(house.esker(), ["restore", "latest:data", "--target", "data", "--delete", "-n"], 0);
    let told = stdout(&out);
    for line in ["would delete new/deep/file\n", "would delete new/deep/\n", "would delete new/\n", "would be deleted"] {
        assert!(told.contains(line), "{told}");
    }
    assert!(!told.contains("restored") && house.path("data/new/deep/file").exists(), "{told}");
    let lines =
        json_lines(&exits(house.esker(), ["restore", "latest:data", "--target", "data", "--delete", "-n", "--json"], 0).stdout);
    assert_eq!(lines.iter().filter(|line| line["message_type"] == "delete").count(), 3);
    exits(house.esker(), ["restore", "latest:data", "--target", "data", "--delete", "--yes"], 0);
    assert!(!house.path("data/new").exists());
    // Nothing to delete: nothing to ask.
    exits(house.esker(), ["restore", "latest:data", "--target", "data", "--delete"], 0);
}

/// As a user who may not read everything; none where this cannot be tried.
fn as_nobody(house: &House) -> Option<assert_cmd::Command> {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: needs root");
        return None;
    }
    std::os::unix::fs::chown(house.path(""), Some(65_534), Some(65_534)).unwrap();
    fs::set_permissions(house.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = assert_cmd::Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(assert_cmd::cargo::cargo_bin!("esker"));
    command.env("ESKER_REPOSITORY", house.path("other")).env("ESKER_PASSWORD", PASSWORD).env("HOME", house.path("nobody"));
    command.env("ESKER_CACHE_DIR", house.path("nobody/cache")).current_dir(house.path(""));
    Some(command)
}

#[test]
fn what_could_not_be_read_is_neither_deleted_nor_forgotten_in_silence() {
    let house = House::new();
    for path in ["live/a", "live/unread", "live/locked/x", "plain/p"] {
        house.write(path, b"only copy");
    }
    let Some(mut nobody) = as_nobody(&house) else { return };
    fs::set_permissions(house.path("live/unread"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(house.path("live/locked"), fs::Permissions::from_mode(0o700)).unwrap();
    nobody.args(["snapshot", "--init", "live", "plain"]).assert().code(3);
    let mut esker = house.esker();
    esker.env("ESKER_REPOSITORY", house.path("other"));
    let out = exits(esker, ["restore", "latest:live", "--target", "live", "--delete", "--yes"], 3);
    assert!(house.path("live/unread").exists() && house.path("live/locked/x").exists());
    let told = stderr(&out);
    for words in ["is incomplete", "live/unread", "live/locked", "no complete snapshot"] {
        assert!(told.contains(words), "{told}");
    }
    // What was recorded completely is what it was, and can be deleted from.
    house.write("plain/extra", b"goes");
    let mut esker = house.esker();
    esker.env("ESKER_REPOSITORY", house.path("other"));
    exits(esker, ["restore", "latest:plain", "--target", "plain", "--delete", "--yes"], 0);
    assert!(!house.path("plain/extra").exists());
}

#[test]
fn a_single_file_takes_the_place_of_a_folder_but_not_of_what_the_snapshot_leaves_out() {
    let house = House::with_repository();
    house.write("data/sub/name", b"a file");
    snapshot(&house, &["--exclude", "/sub/name/cache"]);
    fs::remove_file(house.path("data/sub/name")).unwrap();
    house.write("data/sub/name/cache/x", b"only copy");
    house.write("data/sub/beside", b"nobody asked");
    let restore = ["restore", "latest:data/sub/name", "--target", "data/sub", "--delete", "--yes"];
    let out = exits(house.esker(), restore, 3);
    assert!(stderr(&out).contains("not deleted: name/cache"), "{}", stderr(&out));
    assert_eq!(fs::read(house.path("data/sub/name/cache/x")).unwrap(), b"only copy");
    fs::remove_dir_all(house.path("data/sub/name/cache")).unwrap();
    house.write("data/sub/name/plain", b"goes");
    exits(house.esker(), restore, 0);
    assert_eq!(fs::read(house.path("data/sub/name")).unwrap(), b"a file");
    assert!(house.path("data/sub/beside").exists());
}

#[test]
fn a_user_can_restore_into_own_folders_without_write_permission() {
    let house = House::new();
    for path in ["live/closed/inner/a", "live/closed/b"] {
        house.write(path, b"first");
    }
    let Some(mut nobody) = as_nobody(&house) else { return };
    for folder in ["live/closed/inner", "live/closed"] {
        fs::set_permissions(house.path(folder), fs::Permissions::from_mode(0o555)).unwrap();
    }
    nobody.args(["snapshot", "--init", "live"]).assert().code(0);
    for change in [None, Some("out/closed/inner/a")] {
        if let Some(path) = change {
            fs::write(house.path(path), b"changed").unwrap();
        }
        as_nobody(&house).unwrap().args(["restore", "latest:live", "--target", "out"]).assert().code(0);
        assert_eq!(fs::read(house.path("out/closed/inner/a")).unwrap(), b"first");
        assert_eq!(fs::metadata(house.path("out/closed/inner")).unwrap().permissions().mode() & 0o777, 0o555);
    }
}

#[test]
fn a_folder_in_the_way_of_a_further_name_of_a_file_stays_and_is_named() {
    let house = House::new();
    house.write("live/a/one", b"one file");
    fs::create_dir(house.path("live/b")).unwrap();
    fs::hard_link(house.path("live/a/one"), house.path("live/b/two")).unwrap();
    let Some(mut nobody) = as_nobody(&house) else { return };
    for folder in ["live", "live/a", "live/b", "live/a/one"] {
        std::os::unix::fs::chown(house.path(folder), Some(65_534), Some(65_534)).unwrap();
    }
    nobody.args(["snapshot", "--init", "live"]).assert().success();
    // A folder of another user, which cannot be looked into, has the place of the second name.
    house.write("out/live/b/two/theirs", b"only copy");
    for folder in ["out", "out/live", "out/live/b"] {
        std::os::unix::fs::chown(house.path(folder), Some(65_534), Some(65_534)).unwrap();
    }
    fs::set_permissions(house.path("out/live/b/two"), fs::Permissions::from_mode(0o700)).unwrap();
    for more in [&[][..], &["--delete", "--yes"]] {
        let mut nobody = as_nobody(&house).unwrap();
        nobody.args(["restore", "latest", "--target", "out"]).args(more);
        let output = nobody.assert().code(3).get_output().clone();
        let told = stderr(&output);
        assert!(told.contains("live/b/two: a folder is in the way") && told.contains("1 entry could not be restored"), "{told}");
        assert_eq!(fs::read(house.path("out/live/b/two/theirs")).unwrap(), b"only copy");
        assert_eq!(fs::read(house.path("out/live/a/one")).unwrap(), b"one file");
    }
}

#[test]
fn a_name_of_a_file_in_a_folder_that_cannot_be_read_is_missed_and_the_other_names_are_kept() {
    let house = House::new();
    for folder in ["live/locked", "live/open"] {
        fs::create_dir_all(house.path(folder)).unwrap();
    }
    house.write("live/locked/first", b"one file");
    fs::hard_link(house.path("live/locked/first"), house.path("live/open/second")).unwrap();
    fs::hard_link(house.path("live/locked/first"), house.path("live/open/third")).unwrap();
    let Some(mut nobody) = as_nobody(&house) else { return };
    fs::set_permissions(house.path("live/locked"), fs::Permissions::from_mode(0o700)).unwrap();
    let told = nobody.args(["snapshot", "--init", "live"]).assert().code(3).get_output().clone();
    assert!(stderr(&told).contains("live/locked: cannot open folder"), "{}", stderr(&told));
    let mut esker = house.esker();
    esker.env("ESKER_REPOSITORY", house.path("other"));
    exits(esker, ["restore", "latest", "--target", "out"], 3);
    let inode = |path: &str| std::os::unix::fs::MetadataExt::ino(&fs::metadata(house.path(path)).unwrap());
    assert_eq!(fs::read(house.path("out/live/open/second")).unwrap(), b"one file");
    assert_eq!(inode("out/live/open/second"), inode("out/live/open/third"));
    assert_eq!(fs::read_dir(house.path("out/live/locked")).unwrap().count(), 0);
}
