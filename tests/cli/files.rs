//! Files as they are: of whatever size they say, with their flags.

use std::path::Path;
use std::process::Command;

use super::common::{House, exits, json, stderr, stdout};

#[test]
fn a_file_that_says_it_is_empty_is_stored_with_what_it_holds() {
    let house = House::with_repository();
    let path = Path::new("/proc/sys/kernel/random");
    let Ok(expected) = std::fs::read_to_string(path.join("boot_id")) else { return };
    for _ in 0..2 {
        exits(house.esker(), ["snapshot", "--dir", "random=/proc/sys/kernel/random"], 0);
        assert_eq!(stdout(&exits(house.esker(), ["dump", "latest:random/boot_id"], 0)), expected);
    }
}

#[test]
fn a_file_that_says_it_is_longer_than_it_is_is_stored_as_it_is() {
    let house = House::with_repository();
    let path = Path::new("/sys/kernel/mm/transparent_hugepage/khugepaged");
    let Ok(expected) = std::fs::read_to_string(path.join("defrag")) else { return };
    exits(house.esker(), ["snapshot", path.to_str().unwrap()], 0);
    assert_eq!(stdout(&exits(house.esker(), ["dump", "latest:khugepaged/defrag"], 0)), expected);
}

#[test]
fn the_flags_of_chattr_come_back() {
    let house = House::with_repository();
    house.write("data/f", b"x");
    house.write("data/linked", b"x");
    std::fs::hard_link(house.path("data/linked"), house.path("data/other")).unwrap();
    let chattr = |flags: &str, path: &str| {
        Command::new("chattr").args([flags, path]).current_dir(house.path("")).output().is_ok_and(|done| done.status.success())
    };
    let flags = |path: &str| {
        let out = Command::new("lsattr").args(["-d", path]).current_dir(house.path("")).output().unwrap();
        String::from_utf8(out.stdout).unwrap().split(' ').next().unwrap().to_owned()
    };
    if !chattr("+i", "data/f") {
        return println!("no flags can be set here");
    }
    assert!(chattr("+a", "data/linked") && chattr("+d", "data"));
    exits(house.esker(), ["snapshot", "data"], 0);
    exits(house.esker(), ["restore", "latest", "--target", "out"], 0);
    let wanted = ["data", "data/f", "data/linked", "data/other"].map(|path| (path, flags(path)));
    let restored = wanted.clone().map(|(path, _)| (path, flags(&format!("out/{path}"))));
    // What is there already is left as it is; what differs cannot be written, and the reason is given.
    exits(house.esker(), ["restore", "latest", "--target", "out"], 0);
    assert!(chattr("-i", "data/f"));
    house.write("data/f", b"another");
    exits(house.esker(), ["snapshot", "data"], 0);
    let refused = stderr(&exits(house.esker(), ["restore", "latest", "--target", "out"], 3));
    for path in ["data/f", "data/linked", "out/data/f", "out/data/linked"] {
        assert!(chattr("-ia", path) || chattr("-i", path) && chattr("-a", path));
    }
    assert_eq!(wanted, restored);
    assert!(wanted[1].1.contains('i') && wanted[2].1.contains('a') && wanted[0].1.contains('d'), "{wanted:?}");
    assert!(refused.contains("immutable"), "{refused}");
}

/// What the newest snapshot holds, one path a line.
fn listed(house: &House) -> Vec<String> {
    stdout(&exits(house.esker(), ["ls", "-R", "latest"], 0)).lines().map(str::to_owned).collect()
}

#[test]
fn a_pattern_leaves_out_what_it_says_and_nothing_else() {
    let house = House::with_repository();
    for name in ["data/a", "data/a ", "data/cache/x", "data/sub/cache/x", "data/first", "data/b{1}", "data/b1"] {
        house.write(name, b"x");
    }
    let absolute = house.path("data/cache").display().to_string();
    house.write("list", "\u{feff}first\r\n# comment\r\n".as_bytes());
    let output = exits(
        house.esker(),
        ["snapshot", "data", "--exclude", "a ", "--exclude", &absolute, "--exclude", "b{1}", "--exclude-file", "list"],
        0,
    );
    assert_eq!(listed(&house), ["data/", "data/a", "data/b1", "data/sub/", "data/sub/cache/", "data/sub/cache/x"]);
    assert!(!stderr(&output).contains("left nothing out"), "{}", stderr(&output));
    for pattern in ["./cache", "../x", "cache//x", " ", "x\\"] {
        exits(house.esker(), ["snapshot", "data", "--exclude", pattern], 2);
    }
}

#[test]
fn a_pattern_that_left_nothing_out_is_said() {
    let house = House::with_repository();
    house.write("data/a", b"x");
    let output = exits(house.esker(), ["snapshot", "data", "--exclude", "/srv/elsewhere", "--exclude", "*.tpm"], 0);
    for pattern in ["/srv/elsewhere", "*.tpm"] {
        assert!(stderr(&output).contains(&format!("the pattern {pattern} left nothing out")), "{}", stderr(&output));
    }
    let summary = json(&exits(house.esker(), ["snapshot", "data", "--exclude", "b", "--exclude", "a", "--json"], 0).stdout);
    assert_eq!(summary["unused_patterns"], serde_json::json!(["b"]));
    assert_eq!(summary["sources"][0]["left_out"]["by_pattern"], 1);
    assert!(summary["warnings"][0]["text"].as_str().unwrap().contains("everything"), "{summary}");
}

#[test]
fn caches_marked_directories_large_files_and_any_case_are_left_out() {
    let house = House::with_repository();
    house.write("data/cache/CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55");
    house.write("data/fake/CACHEDIR.TAG", b"Signature: no");
    for name in ["data/cache/x", "data/fake/x", "data/skip/.nobackup", "data/skip/x", "data/mark/TAG", "data/mark/x"] {
        house.write(name, name.as_bytes());
    }
    house.write("data/IMG.JPG", b"x");
    house.write("data/large", &[7; 2049]);
    house.write("data/just", &[7; 2048]);
    let flags = [
        ["--exclude-caches", "--exclude-if-present=.nobackup"],
        ["--exclude-if-present=TAG:data/mark", "--iexclude=*.jpg"],
        ["--exclude-larger-than=2K", "-v"],
    ];
    let output = exits(house.esker(), ["snapshot", "data"].into_iter().chain(flags.into_iter().flatten()), 0);
    let expected = [
        "data/",
        "data/cache/",
        "data/cache/CACHEDIR.TAG",
        "data/fake/",
        "data/fake/CACHEDIR.TAG",
        "data/fake/x",
        "data/just",
        "data/mark/",
        "data/mark/TAG",
        "data/skip/",
        "data/skip/.nobackup",
    ];
    assert_eq!(listed(&house), expected);
    let said = stderr(&output) + &stdout(&output);
    assert!(said.contains("left out 1 by a pattern, 1 as too large, 3 in a marked directory"), "{said}");

    // The same from the config file, one of them for this directory only.
    let config = "exclude-caches = true\niexclude = ['*.JPG']\nexclude-if-present = ['.nobackup', 'TAG:data/mark']\n\
                  [[source]]\ndirectory = 'data'\nexclude-larger-than = '2K'\n";
    house.write("esker.toml", config.as_bytes());
    exits(house.esker(), ["-c", "esker.toml", "snapshot"], 0);
    assert_eq!(listed(&house), expected);
    let refused = exits(house.esker(), ["snapshot", "data", "--exclude-larger-than", "many"], 2);
    assert!(stderr(&refused).contains("500M"), "{}", stderr(&refused));
}

#[test]
fn a_file_system_mounted_in_a_directory_is_left_out_when_asked() {
    let house = House::with_repository();
    house.write("data/a", b"x");
    std::fs::create_dir(house.path("data/mnt")).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(house.path("data/mnt")).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        return println!("nothing can be mounted here");
    }
    house.write("data/mnt/b", b"x");
    exits(house.esker(), ["snapshot", "data"], 0);
    let all = listed(&house);
    exits(house.esker(), ["snapshot", "-x", "data"], 0);
    let one = listed(&house);
    assert!(Command::new("umount").arg(house.path("data/mnt")).status().unwrap().success());
    assert_eq!(all, ["data/", "data/a", "data/mnt/", "data/mnt/b"]);
    assert_eq!(one, ["data/", "data/a", "data/mnt/"]);
}

#[test]
fn one_file_is_a_source() {
    let house = House::with_repository();
    house.write("app/one.env", b"KEY=1");
    house.write("app/other", b"x");
    for _ in 0..2 {
        exits(house.esker(), ["snapshot", "app/one.env", "--exclude", "*.env"], 0);
        assert_eq!(listed(&house), ["one.env"]);
        assert_eq!(stdout(&exits(house.esker(), ["dump", "latest:one.env"], 0)), "KEY=1");
    }
    house.write("app/one.env", b"KEY=22");
    exits(house.esker(), ["snapshot", "--dir", "env=app/one.env", "app"], 0);
    assert_eq!(listed(&house), ["app/", "app/one.env", "app/other", "env"]);
    exits(house.esker(), ["restore", "latest", "--target", "out"], 0);
    assert_eq!(std::fs::read(house.path("out/env")).unwrap(), b"KEY=22");
    exits(house.esker(), ["snapshot", "app/missing"], 4);
    exits(house.esker(), ["snapshot", "--dir", "null=/dev/null"], 4);
}

#[test]
fn paths_of_a_list_are_one_source() {
    let house = House::with_repository();
    for name in ["a/1", "a/2", "b/deep/3", "b/deep/4", "c/odd\nname"] {
        house.write(name, b"x");
    }
    house.write("list", b"a/1\n# no\nb/d*\n");
    let root = house.path("").canonicalize().unwrap();
    let within = |paths: &[&str]| paths.iter().map(|path| format!("files{}/{path}", root.display())).collect::<Vec<_>>();
    let files = |house: &House| listed(house).into_iter().filter(|path| !path.ends_with('/')).collect::<Vec<_>>();
    exits(house.esker(), ["snapshot", "--files-from", "list"], 0);
    assert_eq!(files(&house), within(&["a/1", "b/deep/3", "b/deep/4"]));
    let mut command = house.esker();
    command.write_stdin("c/odd\nname\0a/2\0");
    exits(command, ["snapshot", "--files-from-raw", "-"], 0);
    assert_eq!(files(&house).len(), 2);
    house.write("list", b"a/1\ngone\na/2/below\n");
    let output = exits(house.esker(), ["snapshot", "--files-from-verbatim", "list"], 3);
    assert!(stderr(&output).contains("gone: was named and does not exist"), "{}", stderr(&output));
    assert!(stderr(&output).contains("a/2: something in it was named, and it is no folder"), "{}", stderr(&output));
    house.write("esker.toml", b"[[source]]\nname = 'etc'\nfiles-from = ['list']\n");
    house.write("list", b"a/2\n");
    exits(house.esker(), ["-c", "esker.toml", "snapshot"], 0);
    assert_eq!(files(&house).len(), 1);
}

#[test]
fn a_comment_is_given_with_the_snapshot() {
    let house = House::with_repository();
    house.write("data/a", b"x");
    exits(house.esker(), ["snapshot", "data", "--comment", "before the upgrade"], 0);
    assert!(stdout(&exits(house.esker(), ["snapshots"], 0)).contains("before the upgrade"));
}
