//! Files as they are: of whatever size they say, with their flags.

use std::path::Path;
use std::process::Command;

use super::common::{House, exits, stderr, stdout};

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
