//! A hostile tree, and hostile neighbours: whatever a snapshot holds, and whatever somebody does in the target or the source
//! meanwhile, nothing outside is written or read.

#![allow(clippy::unwrap_used, reason = "a test may")]

#[cfg(feature = "webdav")]
#[path = "hostile/servers.rs"]
mod servers;
mod small;
#[path = "hostile/walks.rs"]
mod walks;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use esker::clock::Timestamp;
use esker::filesystem::{FilesystemError, FolderState, Rules, ScanError, ScanOptions, Shortfall, Step, Target, scan, shown};
use esker::format::tree::{Content, Node, NodeKind, Xattr, XattrValue};
use esker::monitor::Stop;

/// How long a race is run: a while, and on until both sides have won, which a busy machine may keep from happening.
fn race_is_on(start: Instant, won: u64, lost: u64) -> bool {
    start.elapsed() < Duration::from_millis(400) || (start.elapsed() < Duration::from_secs(20) && (won == 0 || lost == 0))
}

fn node(name: &[u8], kind: NodeKind) -> Node {
    Node {
        name: name.to_vec(),
        kind,
        mode: 0o644,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        user: None,
        group: None,
        mtime: Timestamp::default(),
        ctime: Timestamp::default(),
        size: 0,
        content: Content::default(),
        link_target: Vec::new(),
        device: 0,
        xattrs: Vec::new(),
        hard_link: None,
        extra: Vec::new(),
    }
}

fn rules() -> Rules {
    Rules::new(true, true, true)
}

/// A target beside a folder that must stay as it is.
struct Place {
    dir: tempfile::TempDir,
    target: Target,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("outside")).unwrap();
        std::fs::write(dir.path().join("outside/theirs"), "theirs").unwrap();
        let target = Target::open(&dir.path().join("target"), true).unwrap();
        Self { dir, target }
    }

    fn outside(&self) -> std::path::PathBuf {
        self.dir.path().join("outside")
    }

    fn assert_outside_untouched(&self) {
        let names: Vec<_> = std::fs::read_dir(self.outside()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["theirs"]);
        assert_eq!(std::fs::read(self.outside().join("theirs")).unwrap(), b"theirs");
        let mut beside: Vec<_> = std::fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        beside.sort();
        assert_eq!(beside, ["outside", "target"]);
    }
}

#[test]
fn names_that_lead_out_of_their_folder_are_refused_everywhere() {
    let place = Place::new();
    let root = place.target.root();
    root.create_file(b"own").unwrap();
    for name in [b"".as_slice(), b".", b"..", b"../escaped", b"/tmp/escaped", b"a/b", b"own/../../escaped", b"a\0b", b"/"] {
        let refused = |error: FilesystemError| matches!(error, FilesystemError::BadName(_));
        assert!(refused(root.create_file(name).unwrap_err()), "{}", shown(name));
        assert!(refused(root.replace_file(name).unwrap_err()));
        assert!(refused(root.update_file(name).unwrap_err()));
        assert!(refused(root.create_folder(name).unwrap_err()));
        assert!(refused(root.open_folder(name).unwrap_err()));
        assert!(refused(root.remove(name).unwrap_err()));
        assert!(refused(root.look_up(name).unwrap_err()));
        assert!(refused(root.hard_link(name, root, b"own").unwrap_err()));
        assert!(refused(root.hard_link(b"new", root, name).unwrap_err()));
        for kind in [NodeKind::Symlink, NodeKind::Fifo, NodeKind::Socket, NodeKind::Char, NodeKind::Block] {
            assert!(refused(root.create_special(&node(name, kind), &rules()).unwrap_err()));
            assert!(refused(root.update_special(&node(name, kind), &rules()).unwrap_err()));
        }
    }
    for path in [b"..".as_slice(), b"a/../../escaped", b"/etc", b"a//b", b"../outside", b"own/.."] {
        assert!(place.target.folder(path).is_err(), "{}", shown(path));
        assert!(place.target.create_folder(path).is_err());
        assert!(place.target.remove(path).is_err());
    }
    place.assert_outside_untouched();
}

#[test]
fn a_link_and_then_a_folder_of_the_same_name_do_not_lead_out() {
    let place = Place::new();
    let root = place.target.root();
    for target in [place.outside().into_os_string().into_encoded_bytes(), b"../outside".to_vec()] {
        let link = Node { link_target: target, ..node(b"a", NodeKind::Symlink) };
        root.create_special(&link, &rules()).unwrap();
        let error = place.target.create_folder(b"a").unwrap_err();
        assert!(matches!(error, FilesystemError::InTheWay { found: NodeKind::Symlink, .. }), "{error}");
        assert!(place.target.folder(b"a").is_err());
        assert!(place.target.create_folder(b"a/b").is_err());
        assert!(place.target.remove(b"a/theirs").is_err());
        // The link itself is ours to remove.
        place.target.remove(b"a").unwrap();
    }
    place.assert_outside_untouched();
}

#[test]
fn a_link_to_a_file_outside_is_not_written_through_nor_given_other_metadata() {
    let place = Place::new();
    let root = place.target.root();
    let before = std::fs::metadata(place.outside().join("theirs")).unwrap();
    let link = Node { link_target: b"../outside/theirs".to_vec(), mode: 0o777, ..node(b"link", NodeKind::Symlink) };
    root.create_special(&link, &rules()).unwrap();
    let times = Node { mtime: Timestamp { seconds: 1, nanoseconds: 1 }, ..link };
    root.update_special(&times, &rules()).unwrap();
    assert!(root.update_file(b"link").is_err());
    assert!(root.create_file(b"link").is_err());
    // Something of another kind is expected where the link stands.
    assert!(root.update_special(&node(b"link", NodeKind::Fifo), &rules()).is_err());
    let after = std::fs::metadata(place.outside().join("theirs")).unwrap();
    assert_eq!(before.modified().unwrap(), after.modified().unwrap());
    assert_eq!(before.permissions(), after.permissions());
    place.assert_outside_untouched();
}

/// Until `done`, swaps the folder `name` with a link to `outside`, as fast as it can.
fn swap(within: &Path, name: &str, outside: &Path, done: &AtomicBool) {
    let spare = within.join("spare");
    symlink(outside, &spare).unwrap();
    while !done.load(Ordering::Relaxed) {
        let exchange = rustix::fs::RenameFlags::EXCHANGE;
        rustix::fs::renameat_with(rustix::fs::CWD, within.join(name), rustix::fs::CWD, &spare, exchange).unwrap();
    }
}

#[test]
fn a_link_swapped_in_while_restoring_leads_nowhere() {
    let place = Place::new();
    std::fs::create_dir_all(place.outside().join("b")).unwrap();
    place.target.create_folder(b"a").unwrap();
    place.target.create_folder(b"a/b").unwrap();
    let root = place.dir.path().join("target");
    let done = AtomicBool::new(false);
    let (mut written, mut stopped) = (0u64, 0u64);
    std::thread::scope(|scope| {
        scope.spawn(|| swap(&root, "a", &place.outside(), &done));
        let start = Instant::now();
        while race_is_on(start, written, stopped) {
            // A fresh one, which has no folder at hand: each must be opened anew.
            let target = Target::open(&root, false).unwrap();
            let name = format!("file-{}", written + stopped).into_bytes();
            let attempt = || {
                target.remove(b"a/theirs")?;
                target.create_folder(b"a/b")?;
                let file = target.folder(b"a/b")?.create_file(&name)?;
                file.write_at(b"ours", 0)?;
                file.finish(&node(&name, NodeKind::File), &rules())?;
                Arc::new(target.root().open_folder(b"a")?).create_file(&name)?;
                target.create_folder(b"a")
            };
            match attempt() {
                Ok(_) => written += 1,
                Err(_) => stopped += 1,
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(written > 0 && stopped > 0, "the race was not run: {written} written, {stopped} stopped");
    assert_eq!(std::fs::read_dir(place.outside().join("b")).unwrap().count(), 0);
    std::fs::remove_dir(place.outside().join("b")).unwrap();
    place.assert_outside_untouched();
}

#[test]
fn a_link_swapped_in_while_removing_leads_nowhere() {
    let place = Place::new();
    let root = place.dir.path().join("target");
    place.target.create_folder(b"work").unwrap();
    place.target.create_folder(b"work/a").unwrap();
    let work = root.join("work");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| swap(&work, "a", &place.outside(), &done));
        let start = Instant::now();
        let (mut opened, mut refused) = (0, 0);
        while race_is_on(start, opened, refused) {
            // What the swapped name holds now is removed, be it the folder or the link; the other must stay.
            let target = Target::open(&work, false).unwrap();
            let folder = target.folder(b"a");
            opened += u64::from(folder.is_ok());
            refused += u64::from(folder.is_err());
            if let Ok(folder) = folder {
                for name in ["theirs", "x", "y"] {
                    folder.remove(name.as_bytes()).unwrap();
                    let _ = folder.create_file(name.as_bytes());
                }
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    place.assert_outside_untouched();
}

#[test]
fn a_link_swapped_in_while_scanning_shows_nothing_of_what_is_outside() {
    let place = Place::new();
    let root = place.dir.path().join("target");
    std::fs::create_dir(root.join("a")).unwrap();
    std::fs::write(root.join("a/ours"), "ours").unwrap();
    let done = AtomicBool::new(false);
    let (mut listed, mut refused) = (0u64, 0u64);
    std::thread::scope(|scope| {
        scope.spawn(|| swap(&root, "a", &place.outside(), &done));
        let start = Instant::now();
        while race_is_on(start, listed, refused) {
            scan::<ScanError>(&root, &ScanOptions::default(), &Stop::new(), |step| {
                let Step::Enter(mut entered) = step else { return Ok(()) };
                assert!(entered.entries.iter().all(|found| found.node.name != b"theirs"));
                if !entered.path.is_empty() {
                    match entered.state {
                        FolderState::Listed => listed += 1,
                        _ => refused += 1,
                    }
                }
                let dir = entered.dir.clone();
                for found in entered.entries.iter_mut().filter(|found| found.node.kind == NodeKind::File) {
                    let mut bytes = [0; 16];
                    let length = dir.as_ref().unwrap().open_file(found).unwrap().read_at(&mut bytes, 0).unwrap();
                    assert_eq!(&bytes[..length], b"ours");
                }
                Ok(())
            })
            .unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(listed > 0 && refused > 0, "the race was not run: {listed} listed, {refused} refused");
}

#[test]
fn numbers_no_system_has_are_errors_or_shortfalls_and_never_a_crash() {
    let place = Place::new();
    let root = place.target.root();
    let nobody = Node { uid: u32::MAX, gid: u32::MAX, mode: u32::MAX, ..node(b"nobody", NodeKind::File) };
    let shortfalls = root.create_file(b"nobody").unwrap().finish(&nobody, &rules()).unwrap();
    assert_eq!(shortfalls, [Shortfall::Owner, Shortfall::SetIds]);
    for (number, (seconds, nanoseconds)) in [(i64::MAX, u32::MAX), (i64::MIN, 999_999_999), (i64::MAX, 0)].into_iter().enumerate() {
        let name = format!("time-{number}").into_bytes();
        let odd = Node { mtime: Timestamp { seconds, nanoseconds }, ..node(&name, NodeKind::File) };
        let _ = root.create_file(&name).unwrap().finish(&odd, &rules());
    }
    let _ = root.create_special(&Node { device: u64::MAX, ..node(b"device", NodeKind::Char) }, &rules());
    let file = root.create_file(b"huge").unwrap();
    assert!(file.set_size(u64::MAX).is_err());
    assert!(file.reserve(u64::MAX).is_err());
    assert!(file.write_at(b"x", u64::MAX).is_err());
    assert!(file.read_at(&mut [0], u64::MAX).is_err());
    assert!(file.punch(u64::MAX - 1, 10).is_err());
    assert!(root.create_file(&[b'n'; 256]).is_err());
    assert!(root.create_special(&node(b"file as special", NodeKind::File), &rules()).is_err());
    place.assert_outside_untouched();
}

#[test]
fn texts_no_system_has_are_errors_or_shortfalls_and_never_a_crash() {
    let place = Place::new();
    let root = place.target.root();
    for (number, target) in [Vec::new(), b"a\0b".to_vec(), vec![b'x'; 5000]].into_iter().enumerate() {
        let name = format!("link-{number}").into_bytes();
        let link = Node { link_target: target, ..node(&name, NodeKind::Symlink) };
        assert!(root.create_special(&link, &rules()).is_err());
        assert!(root.look_up(&name).unwrap().is_none());
    }
    let xattr = |name: &[u8], value: Vec<u8>| Xattr { name: name.to_vec(), value: XattrValue::Inline(value) };
    let xattrs = vec![
        xattr(b"", vec![1]),
        xattr(b"user.a\0b", vec![1]),
        xattr(&[b'u'; 300], vec![1]),
        xattr(b"no namespace", vec![1]),
        xattr(b"system.posix_acl_access", vec![9; 9]),
        xattr(b"user.good", vec![1]),
        xattr(b"user.huge", vec![1; 1 << 20]),
        Xattr { name: b"user.elsewhere".to_vec(), value: XattrValue::Content(Content::default()) },
    ];
    let odd = Node { xattrs, user: Some("a\0b".into()), group: Some(String::new()), ..node(b"odd", NodeKind::File) };
    let shortfalls = root.create_file(b"odd").unwrap().finish(&odd, &rules()).unwrap();
    assert_eq!(shortfalls.len(), 7, "{shortfalls:?}");
    assert!(shortfalls.iter().all(|shortfall| matches!(shortfall, Shortfall::Xattr { .. })));
    place.assert_outside_untouched();
}

#[test]
fn a_name_that_would_drive_a_terminal_is_shown_escaped_in_messages() {
    let place = Place::new();
    let name = b"\x1b]0;title\x07\x1b[2J\r\nfake line\xe2\x80\xae";
    place.target.root().create_file(name).unwrap();
    let message = place.target.root().create_file(name).unwrap_err().to_string();
    assert!(message.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{message:?}");
    assert!(message.contains("fake line"));
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_not_waited_for() {
    let place = Place::new();
    let root = place.target.root();
    root.create_special(&node(b"pipe", NodeKind::Fifo), &rules()).unwrap();
    assert!(matches!(root.update_file(b"pipe"), Err(FilesystemError::InTheWay { found: NodeKind::Fifo, .. })));
    let link_to_pipe = Node { link_target: b"pipe".to_vec(), ..node(b"link", NodeKind::Symlink) };
    root.create_special(&link_to_pipe, &rules()).unwrap();
    assert!(root.update_file(b"link").is_err());
}

#[test]
fn many_threads_restore_into_one_target() {
    let place = Place::new();
    let target = Arc::new(Target::open(&place.dir.path().join("target"), false).unwrap());
    let rules = rules();
    // More folders than are kept at hand, made and filled by all threads at once.
    esker::parallel::for_each(4, 0..2000usize, |n| {
        let path = format!("{}", n % 400).into_bytes();
        target.create_folder(&path)?;
        let name = format!("file-{n}").into_bytes();
        let file = target.folder(&path)?.create_file(&name)?;
        file.write_at(&name, 0)?;
        file.finish(&node(&name, NodeKind::File), &rules).map(|_| ())
    })
    .unwrap();
    for n in 0..2000 {
        let path = place.dir.path().join(format!("target/{}/file-{n}", n % 400));
        assert_eq!(std::fs::read(path).unwrap(), format!("file-{n}").into_bytes());
    }
}
