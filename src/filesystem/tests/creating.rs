//! Putting entries back where others are or come.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;

pub(super) fn node(name: &str, kind: NodeKind, mode: u32) -> Node {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let mtime = crate::clock::Timestamp { seconds: 1_000_000_000, nanoseconds: 5 };
    Node {
        name: name.as_bytes().to_vec(),
        kind,
        mode,
        uid,
        gid,
        user: None,
        group: None,
        mtime,
        ctime: mtime,
        size: 0,
        content: crate::format::tree::Content::default(),
        link_target: Vec::new(),
        device: 0,
        xattrs: Vec::new(),
        hard_link: None,
        extra: Vec::new(),
    }
}

pub(super) fn rules() -> Rules {
    Rules::new(true, true, true)
}

fn mode_of(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn until_it_is_finished_nobody_else_may_open_an_entry() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::open(dir.path(), false).unwrap();
    let folder = target.create_folder(b"folder").unwrap();
    let file = folder.folder.create_file(b"file").unwrap();
    let path = dir.path().join("folder/file");
    assert_eq!((mode_of(path.parent().unwrap()), mode_of(&path)), (0o700, 0o600));
    file.write_at(b"x", 0).unwrap();
    file.finish(&node("file", NodeKind::File, 0o4755), &rules()).unwrap();
    folder.folder.finish(&node("folder", NodeKind::Folder, 0o2775), &rules(), false).unwrap();
    assert_eq!((mode_of(path.parent().unwrap()), mode_of(&path)), (0o2775, 0o4755));
    assert_eq!(std::fs::metadata(path).unwrap().mtime(), 1_000_000_000);
}

#[test]
fn an_existing_file_is_kept_from_others_before_something_new_is_written_into_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, "old").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    let target = Target::open(dir.path(), false).unwrap();
    let file = target.root().update_file(b"file").unwrap();
    let mut bytes = [0; 8];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), 3);
    assert_eq!(mode_of(&path), 0o644, "looking changes nothing");
    file.write_at(b"new", 0).unwrap();
    assert_eq!(mode_of(&path), 0o600);
    file.finish(&node("file", NodeKind::File, 0o640), &rules()).unwrap();
    assert_eq!((mode_of(&path), std::fs::read(&path).unwrap()), (0o640, b"new".to_vec()));
}

#[test]
fn a_file_with_other_names_is_not_written_in_place() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("outside"), "theirs").unwrap();
    std::fs::create_dir(dir.path().join("target")).unwrap();
    std::fs::hard_link(dir.path().join("outside"), dir.path().join("target/file")).unwrap();
    let target = Target::open(&dir.path().join("target"), false).unwrap();
    assert!(matches!(target.root().update_file(b"file"), Err(FilesystemError::HasOtherNames(_))));
    let file = target.root().replace_file(b"file").unwrap();
    file.write_at(b"ours", 0).unwrap();
    file.finish(&node("file", NodeKind::File, 0o644), &rules()).unwrap();
    assert_eq!(std::fs::read(dir.path().join("outside")).unwrap(), b"theirs");
    assert_eq!(std::fs::read(dir.path().join("target/file")).unwrap(), b"ours");
}

#[test]
fn a_replacement_takes_its_place_whole_or_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "old").unwrap();
    let target = Target::open(dir.path(), false).unwrap();
    let unfinished = target.root().replace_file(b"file").unwrap();
    unfinished.write_at(b"half", 0).unwrap();
    assert_eq!(std::fs::read(dir.path().join("file")).unwrap(), b"old");
    drop(unfinished);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    // A link there is replaced, not followed.
    symlink("/etc/hostname", dir.path().join("link")).unwrap();
    let file = target.root().replace_file(b"link").unwrap();
    file.write_at(b"new", 0).unwrap();
    file.finish(&node("link", NodeKind::File, 0o644), &rules()).unwrap();
    assert_eq!(std::fs::read(dir.path().join("link")).unwrap(), b"new");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn what_stands_in_the_way_is_named_and_never_written_through() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("file"), "theirs").unwrap();
    symlink(outside.path(), dir.path().join("folder")).unwrap();
    symlink(outside.path().join("file"), dir.path().join("file")).unwrap();
    symlink(outside.path().join("new"), dir.path().join("dangling")).unwrap();
    let target = Target::open(dir.path(), false).unwrap();
    let in_the_way = |error: FilesystemError| matches!(error, FilesystemError::InTheWay { found: NodeKind::Symlink, .. });
    assert!(in_the_way(target.create_folder(b"folder").unwrap_err()));
    assert!(in_the_way(target.root().update_file(b"file").unwrap_err()));
    assert!(target.root().create_file(b"file").unwrap_err().already_exists());
    assert!(target.root().create_file(b"dangling").unwrap_err().already_exists());
    assert!(target.folder(b"folder").is_err());
    assert!(target.folder(b"folder/deeper").is_err());
    assert!(target.root().hard_link(b"dangling", target.root(), b"file").unwrap_err().already_exists());
    // A hard link to a link is another link.
    target.root().hard_link(b"second", target.root(), b"file").unwrap();
    assert!(std::fs::symlink_metadata(dir.path().join("second")).unwrap().is_symlink());
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    assert_eq!(std::fs::read(outside.path().join("file")).unwrap(), b"theirs");
}

#[test]
fn removing_goes_through_no_link_and_takes_folders_with_all_they_hold() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("file"), "theirs").unwrap();
    std::fs::create_dir_all(dir.path().join("a/b/c")).unwrap();
    std::fs::create_dir_all(dir.path().join("a/d")).unwrap();
    std::fs::write(dir.path().join("a/b/c/file"), "ours").unwrap();
    symlink(outside.path(), dir.path().join("a/b/link")).unwrap();
    symlink(outside.path(), dir.path().join("link")).unwrap();
    let target = Target::open(dir.path(), false).unwrap();
    target.remove(b"link").unwrap();
    target.remove(b"a").unwrap();
    target.remove(b"nothing").unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    assert_eq!(std::fs::read(outside.path().join("file")).unwrap(), b"theirs");
}

#[test]
fn a_folder_that_was_removed_is_not_taken_for_the_one_made_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::open(dir.path(), false).unwrap();
    target.create_folder(b"a").unwrap();
    target.create_folder(b"a/b").unwrap();
    target.remove(b"a").unwrap();
    target.create_folder(b"a").unwrap();
    target.create_folder(b"a/b").unwrap();
    target.folder(b"a/b").unwrap().create_file(b"file").unwrap();
    assert!(dir.path().join("a/b/file").exists());
}

#[test]
fn set_uid_bits_are_left_off_when_the_owner_is_another() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::open(dir.path(), false).unwrap();
    let without_owner = Rules::new(false, true, true);
    let theirs = Node { uid: 12_345, ..node("theirs", NodeKind::File, 0o4755) };
    let shortfalls = target.root().create_file(b"theirs").unwrap().finish(&theirs, &without_owner).unwrap();
    assert_eq!(shortfalls, [Shortfall::SetIds]);
    assert_eq!(mode_of(&dir.path().join("theirs")), 0o755);
    let ours = node("ours", NodeKind::File, 0o4755);
    assert_eq!(target.root().create_file(b"ours").unwrap().finish(&ours, &without_owner).unwrap(), []);
    assert_eq!(mode_of(&dir.path().join("ours")), 0o4755);
}

#[test]
fn owners_are_looked_up_by_name_first() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let target = Target::open(dir.path(), false).unwrap();
    let daemon = Owners::new().uid("daemon").unwrap();
    let moved = Node {
        uid: 12_345,
        user: Some("daemon".into()),
        group: Some("no such group".into()),
        gid: 77,
        ..node("x", NodeKind::File, 0o644)
    };
    for (by_name, expected) in [(true, daemon), (false, 12_345)] {
        target.root().replace_file(b"x").unwrap().finish(&moved, &Rules::new(true, by_name, true)).unwrap();
        let stat = std::fs::metadata(dir.path().join("x")).unwrap();
        assert_eq!((stat.uid(), stat.gid()), (expected, 77));
    }
}

#[test]
fn an_acl_the_target_hands_down_does_not_let_others_in() {
    let dir = tempfile::tempdir().unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(dir.path(), "system.posix_acl_default", &acl(7, (1234, 7), 7, 7, 0), flags).unwrap();
    let target = Target::open(dir.path(), false).unwrap();
    target.root().create_file(b"file").unwrap().finish(&node("file", NodeKind::File, 0o660), &rules()).unwrap();
    target.create_folder(b"folder").unwrap().folder.finish(&node("folder", NodeKind::Folder, 0o770), &rules(), false).unwrap();
    target.root().create_special(&node("pipe", NodeKind::Fifo, 0o660), &rules()).unwrap();
    for (name, mode) in [(b"file".as_slice(), 0o660), (b"folder", 0o770), (b"pipe", 0o660)] {
        let mut found = target.root().look_up(name).unwrap().unwrap();
        target.root().complete(&mut found, &Owners::new()).unwrap();
        assert_eq!(found.node.xattrs, [], "{}", shown(name));
        assert_eq!(found.node.mode, mode);
    }
}

#[test]
fn attributes_the_node_has_not_are_taken_off_an_existing_entry() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, "x").unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(&path, "user.old", b"1", flags).unwrap();
    rustix::fs::setxattr(&path, "system.posix_acl_access", &acl(6, (1234, 6), 4, 6, 0), flags).unwrap();
    let target = Target::open(dir.path(), false).unwrap();
    target.root().update_file(b"file").unwrap().finish(&node("file", NodeKind::File, 0o644), &rules()).unwrap();
    let mut found = target.root().look_up(b"file").unwrap().unwrap();
    target.root().complete(&mut found, &Owners::new()).unwrap();
    assert_eq!((found.node.xattrs, found.node.mode), (vec![], 0o644));
}

#[test]
fn a_hole_is_made_and_space_is_reserved() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::open(dir.path(), false).unwrap();
    let file = target.root().create_file(b"file").unwrap();
    file.reserve(1 << 20).unwrap();
    assert_eq!(file.stat().unwrap().size, 1 << 20);
    file.write_at(&[1; 300_000], 0).unwrap();
    file.punch(65_536, 131_072).unwrap();
    let mut bytes = vec![9; 300_000];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), 300_000);
    assert!(bytes[65_536..196_608].iter().all(|byte| *byte == 0));
    assert!(bytes[..65_536].iter().chain(&bytes[196_608..]).all(|byte| *byte == 1));
    file.set_size(10).unwrap();
    assert_eq!(file.segments().unwrap().collect::<Vec<_>>(), [Segment::Data { offset: 0, length: 10 }]);
}

#[test]
fn a_missing_target_is_made_only_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b");
    assert!(Target::open(&path, false).unwrap_err().is_vanished());
    Target::open(&path, true).unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    assert!(Target::open(&dir.path().join("file"), true).is_err());
}
