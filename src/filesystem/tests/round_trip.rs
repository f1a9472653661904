//! What was scanned comes back when it is created.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, lchown, symlink};
use std::os::unix::net::UnixListener;

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, UTIME_OMIT, XattrFlags, lsetxattr, mknodat, utimensat};

use super::*;

fn set_mtime(path: &Path, seconds: i64, nanoseconds: i64) {
    let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let times = Timestamps { last_access, last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds } };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

/// One of every kind of entry, each with something that is easily lost.
fn make_everything(root: &Path) {
    let at = |name: &str| root.join(name);
    std::fs::create_dir(at("folder")).unwrap();
    std::fs::create_dir(at("empty")).unwrap();
    std::fs::write(at("folder/plain"), "plain").unwrap();
    std::fs::write(at("no bytes"), "").unwrap();
    std::fs::write(root.join(OsStr::from_bytes(b"not \xff UTF-8\n")), "x").unwrap();
    std::fs::write(at("no rights"), "x").unwrap();
    std::fs::write(at("old"), "older than time").unwrap();
    std::fs::write(at("attributes"), "a").unwrap();
    symlink("../somewhere/\u{e4}", at("link")).unwrap();
    symlink("folder", at("link to a folder")).unwrap();
    std::fs::hard_link(at("folder/plain"), at("second name")).unwrap();
    std::fs::hard_link(at("link"), at("second name of a link")).unwrap();
    mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    UnixListener::bind(at("socket")).unwrap();
    let sparse = std::fs::File::create(at("sparse")).unwrap();
    sparse.set_len(10 << 20).unwrap();
    sparse.write_all_at(b"in the middle", 5 << 20).unwrap();
    set_xattr(&at("attributes"), "user.comment", b"hello\0there");
    set_xattr(&at("attributes"), "user.empty", b"");
    set_xattr(&at("attributes"), "user.long", &[7; 2000]);
    set_xattr(&at("attributes"), "system.posix_acl_access", &acl(6, (1234, 4), 4, 6, 0));
    set_xattr(&at("folder"), "user.comment", b"of a folder");
    set_xattr(&at("folder"), "system.posix_acl_default", &acl(7, (1234, 5), 5, 7, 0));
    if is_root() {
        for (name, kind) in [("char", FileType::CharacterDevice), ("block", FileType::BlockDevice)] {
            mknodat(CWD, at(name), kind, Mode::RUSR, rustix::fs::makedev(259, 70_000)).unwrap();
        }
        std::fs::write(at("set-uid"), "#!").unwrap();
        chown(at("set-uid"), Some(1000), Some(1001)).unwrap();
        set_mode(&at("set-uid"), 0o6751);
        std::fs::write(at("capable"), "#!").unwrap();
        let capability = [0x0200_0001u32, 0x400, 0, 0, 0].map(u32::to_le_bytes).concat();
        set_xattr(&at("capable"), "security.capability", &capability);
        lchown(at("link"), Some(1000), Some(1000)).unwrap();
        chown(at("pipe"), Some(1000), Some(3_000_000_000)).unwrap();
        set_xattr(&at("link to a folder"), "trusted.of-a-link", b"l");
    }
    set_mode(&at("no rights"), if is_root() { 0 } else { 0o400 });
    set_mode(&at("pipe"), 0o666);
    set_mode(&at("socket"), 0o777);
    set_mode(&at("empty"), 0o1777);
    set_mode(&at("folder"), 0o2555);
    set_mtime(&at("old"), -1_000_000_000, 123_456_789);
    for name in ["link", "pipe", "socket", "sparse", "attributes", "folder"] {
        set_mtime(&at(name), 1_700_000_000, 987_654_321);
    }
    set_mtime(root, 1_600_000_000, 1);
}

#[test]
fn every_kind_of_entry_comes_back_as_it_was() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make_everything(from.path());
    let shortfalls = copy(from.path(), to.path(), &Rules::new(true, true, true));
    assert_eq!(shortfalls, []);
    let (before, after) = (see(from.path()), see(to.path()));
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (path, seen) in &before {
        assert_eq!(*seen, after[path], "{}", shown(path));
    }
    assert!(before[b"sparse".as_slice()].blocks < 100);
    assert_eq!(before[b"folder/plain".as_slice()].same_as.as_deref(), Some(b"second name".as_slice()));
    assert_eq!(before[b"attributes".as_slice()].node.xattrs.len(), 4);
    set_mode(&from.path().join("folder"), 0o755);
    set_mode(&to.path().join("folder"), 0o755);
}

#[test]
fn a_path_longer_than_the_system_allows_comes_back() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let rules = Rules::new(true, true, true);
    // 40 names of 200 bytes; no call takes such a path whole.
    let target = Target::open(from.path(), false).unwrap();
    let mut path = Vec::new();
    for depth in 0..40u8 {
        path = crate::path::join(&path, &[b'a' + depth % 20; 200]);
        target.create_folder(&path).unwrap();
    }
    // Past the folders kept at hand as well.
    let again = Target::open(from.path(), false).unwrap();
    let file = again.folder(&path).unwrap().create_file(b"deep").unwrap();
    file.write_at(b"down here", 0).unwrap();
    drop(file);
    copy(from.path(), to.path(), &rules);
    let after = see(to.path());
    assert_eq!(see(from.path()), after);
    assert_eq!(after.len(), 42);
    // The standard library cannot remove them.
    for dir in [from.path(), to.path()] {
        Target::open(dir, false).unwrap().remove(&[b'a'; 200]).unwrap();
        assert_eq!(std::fs::read_dir(dir).unwrap().count(), 0);
    }
}

#[test]
fn somebody_else_than_root_gets_all_but_owners_and_devices() {
    if !is_root() {
        return;
    }
    let (from, to) = (tempfile::tempdir().unwrap(), open_to_nobody());
    make_everything(from.path());
    let nodes = see(from.path());
    let shortfalls = as_nobody(|| {
        let rules = Rules::new(true, true, true);
        let folder = Arc::clone(Target::open(to.path(), false).unwrap().root());
        let mut all = Vec::new();
        for seen in nodes.values().filter(|seen| !seen.node.name.is_empty()) {
            all.push((
                seen.node.name.clone(),
                match seen.node.kind {
                    NodeKind::Folder => {
                        folder.create_folder(&seen.node.name).unwrap().folder.finish(&seen.node, &rules, false).unwrap()
                    }
                    NodeKind::File => folder.create_file(&seen.node.name).unwrap().finish(&seen.node, &rules).unwrap(),
                    _ => folder.create_special(&seen.node, &rules).unwrap(),
                },
            ));
        }
        all
    });
    let of = |name: &[u8]| shortfalls.iter().find(|(of, _)| of == name).unwrap().1.clone();
    assert_eq!(of(b"char"), [Shortfall::Device]);
    assert_eq!(of(b"plain"), [Shortfall::Owner]);
    assert_eq!(of(b"set-uid"), [Shortfall::Owner, Shortfall::SetIds]);
    assert!(matches!(of(b"capable")[1], Shortfall::Xattr { .. }));
    let after = see(to.path());
    assert_eq!(after[b"set-uid".as_slice()].node.mode, 0o751);
    assert_eq!(after[b"old".as_slice()].node.mtime, nodes[b"old".as_slice()].node.mtime);
    assert_eq!(after[b"attributes".as_slice()].node.xattrs, nodes[b"attributes".as_slice()].node.xattrs);
    assert!(!after.contains_key(b"char".as_slice()));
}
