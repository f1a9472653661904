//! Restoring: what is there already, what is chosen, what is damaged.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail, and prints why it skips")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use esker::format::snapshot::Stream;
use esker::monitor::{Monitor, Problem, Quiet, Stop};
use esker::repository::Reader;
use esker::restore::proof::StreamProof;
use esker::restore::{self, Origin, Overwrite, RestoreError, RestoreOptions, RestoreSummary};

#[path = "common/rig.rs"]
mod rig;
use rig::Rig;

fn options(target: &Path) -> RestoreOptions {
    RestoreOptions { target: target.to_owned(), ..RestoreOptions::default() }
}

fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// A source with a bit of everything.
fn everything(at: &Path) {
    fs::create_dir_all(at.join("empty folder")).unwrap();
    fs::create_dir_all(at.join("deep/er/and/deeper")).unwrap();
    fs::write(at.join("empty"), b"").unwrap();
    fs::write(at.join("small"), b"hello").unwrap();
    fs::write(at.join("deep/er/medium"), pattern(1, 700_000)).unwrap();
    fs::write(at.join("deep/er/and/deeper/large"), pattern(2, 9_000_000)).unwrap();
    fs::write(at.join(OsStr::from_bytes(b"odd \xff\n name")), b"odd").unwrap();
    symlink("small", at.join("link")).unwrap();
    symlink("/nowhere", at.join("deep/dangling")).unwrap();
    fs::hard_link(at.join("small"), at.join("zz other name")).unwrap();
    fs::hard_link(at.join("small"), at.join("deep/third name")).unwrap();
    fs::set_permissions(at.join("small"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(at.join("deep/er"), fs::Permissions::from_mode(0o555)).unwrap();
    let holes = fs::File::create(at.join("holes")).unwrap();
    holes.set_len(3_000_000).unwrap();
    holes.write_all_at(&pattern(3, 100_000), 1_000_000).unwrap();
    for path in ["small", "deep/er", "empty folder", "deep/er/medium"] {
        let file = fs::File::open(at.join(path)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::new(1_234_567_890, 123_456_789)).unwrap();
    }
}

/// What a tree is: kind, mode, time (not of folders' parents), content; and which names are one file.
fn describe(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut all = BTreeMap::new();
    let mut inodes: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    let mut stack = vec![PathBuf::new()];
    while let Some(below) = stack.pop() {
        let mut names: Vec<_> = fs::read_dir(root.join(&below)).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            let path = below.join(&name);
            let meta = fs::symlink_metadata(root.join(&path)).unwrap();
            let mut text = format!("{:o} {}.{}", meta.mode(), meta.mtime(), meta.mtime_nsec());
            if meta.is_dir() {
                stack.push(path.clone());
            } else if meta.is_symlink() {
                text += &format!(" -> {:?}", fs::read_link(root.join(&path)).unwrap());
            } else {
                let bytes = fs::read(root.join(&path)).unwrap();
                text += &format!(" {} {}", bytes.len(), blake3::hash(&bytes));
            }
            all.insert(path.as_os_str().as_bytes().to_vec(), text);
            if meta.nlink() > 1 && !meta.is_dir() {
                let bytes = path.as_os_str().as_bytes().to_vec();
                let first = inodes.entry(meta.ino()).or_insert_with(|| bytes.clone());
                if bytes < *first {
                    *first = bytes;
                }
            }
        }
    }
    for (path, text) in &mut all {
        let meta = fs::symlink_metadata(root.join(OsStr::from_bytes(path))).unwrap();
        if let Some(first) = inodes.get(&meta.ino()) {
            *text += &format!(" = {first:?}");
        }
    }
    all
}

fn restore(rig: &Rig, options: &RestoreOptions) -> RestoreSummary {
    restore_path(rig, b"", options)
}

/// As a part of the snapshot, which knows what it left out.
fn restore_recorded(rig: &Rig, options: &RestoreOptions) -> RestoreSummary {
    let stored = rig.repository.snapshots().unwrap().snapshots.pop().unwrap();
    let snapshot = Some(&stored.snapshot);
    let origin = Origin { root: &stored.snapshot.root, snapshot: "test", path: b"data", streams: &[], record: snapshot };
    let monitor: Arc<dyn Monitor> = Arc::new(Quiet);
    restore::run(&rig.repository, origin, options, &monitor, &Stop::new()).unwrap()
}

fn restore_path(rig: &Rig, path: &[u8], options: &RestoreOptions) -> RestoreSummary {
    let monitor: Arc<dyn Monitor> = Arc::new(Quiet);
    restore::run(
        &rig.repository,
        Origin { root: &rig.root, snapshot: "test", path, streams: &[], record: None },
        options,
        &monitor,
        &Stop::new(),
    )
    .unwrap()
}

struct Case {
    _dir: tempfile::TempDir,
    source: PathBuf,
    target: PathBuf,
    rig: Rig,
}

fn case(fill: impl FnOnce(&Path)) -> Case {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    fill(&source);
    let rig = Rig::snapshot(&source);
    let target = dir.path().join("target");
    Case { source, target, rig, _dir: dir }
}

#[test]
fn what_was_taken_comes_back() {
    let case = case(everything);
    let summary = restore(&case.rig, &RestoreOptions { verify: true, ..options(&case.target) });
    assert!(summary.is_whole(), "{:?}", summary.failures);
    assert_eq!(describe(&case.target), describe(&case.source));
    assert_eq!((summary.hard_links, summary.others, summary.folders), (2, 2, 5));
    assert_eq!(summary.files_restored, summary.files_verified);
    let blocks = fs::metadata(case.target.join("holes")).unwrap().blocks();
    assert!(blocks * 512 < 1_000_000, "holes take {blocks} blocks");
}

#[test]
fn a_second_restore_finds_everything_unchanged() {
    let case = case(everything);
    restore(&case.rig, &options(&case.target));
    for overwrite in [Overwrite::Always, Overwrite::IfChanged] {
        let ctime = |name: &str| fs::metadata(case.target.join(name)).unwrap().ctime_nsec();
        let before = (ctime("small"), ctime("deep/er/medium"), ctime("deep/er/and/deeper/large"));
        let summary = restore(&case.rig, &RestoreOptions { overwrite, verify: true, ..options(&case.target) });
        assert!(summary.is_whole(), "{:?}", summary.failures);
        assert_eq!((summary.files_restored, summary.bytes_written), (0, 0), "{overwrite:?}");
        let after = (ctime("small"), ctime("deep/er/medium"), ctime("deep/er/and/deeper/large"));
        assert_eq!(after, before, "{overwrite:?}: what was right was touched");
        assert_eq!(describe(&case.target), describe(&case.source));
    }
}

#[test]
fn only_what_differs_is_written() {
    let case = case(everything);
    restore(&case.rig, &options(&case.target));
    let large = fs::File::options().write(true).open(case.target.join("deep/er/and/deeper/large")).unwrap();
    large.write_all_at(b"!", 4_500_000).unwrap();
    large.set_len(9_500_000).unwrap();
    fs::write(case.target.join("deep/er/medium"), b"short").unwrap();
    fs::write(case.target.join("holes"), pattern(9, 3_000_000)).unwrap();
    let summary = restore(&case.rig, &options(&case.target));
    assert_eq!(describe(&case.target), describe(&case.source));
    assert_eq!(summary.files_restored, 3);
    assert!(summary.bytes_written < 700_000 + 100_000 + 1_100_000 * 2, "{} bytes written", summary.bytes_written);
}

#[test]
fn never_leaves_what_is_there() {
    let case = case(everything);
    fs::create_dir_all(case.target.join("deep")).unwrap();
    fs::write(case.target.join("small"), b"mine").unwrap();
    fs::write(case.target.join("deep/er"), b"a file where a folder would be").unwrap();
    let summary = restore(&case.rig, &RestoreOptions { overwrite: Overwrite::Never, ..options(&case.target) });
    assert!(summary.is_whole(), "{:?}", summary.failures);
    assert_eq!(fs::read(case.target.join("small")).unwrap(), b"mine");
    assert!(case.target.join("deep/er").is_file());
    // The other names hold what the snapshot says, and not what was found under the first.
    assert_eq!(fs::read(case.target.join("deep/third name")).unwrap(), b"hello");
    assert_eq!(fs::read(case.target.join("zz other name")).unwrap(), b"hello");
    assert_eq!(summary.entries_skipped, 2);
}

#[test]
fn what_is_in_the_way_goes_but_never_a_folder_unasked() {
    let case = case(everything);
    fs::create_dir_all(case.target.join("small/inside")).unwrap();
    fs::write(case.target.join("empty folder"), b"file").unwrap();
    let outside = case.source.parent().unwrap().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, case.target.join("deep")).unwrap();
    symlink(&outside, case.target.join("empty")).unwrap();
    let summary = restore(&case.rig, &options(&case.target));
    assert_eq!(summary.failed, 1, "{:?}", summary.failures);
    assert_eq!(summary.failures[0].path, b"small");
    assert!(case.target.join("small/inside").is_dir());
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    // Nobody knows what a tree without its snapshot left out.
    let summary = restore(&case.rig, &RestoreOptions { delete: true, ..options(&case.target) });
    assert_eq!((summary.failed, summary.deleted), (1, 0), "{:?}", summary.failures);
    let summary = restore_recorded(&case.rig, &RestoreOptions { delete: true, ..options(&case.target) });
    assert!(summary.is_whole(), "{:?}", summary.failures);
    assert_eq!(describe(&case.target), describe(&case.source));
}

/// Each name of the source, with a folder in its place, or with something else where a folder belongs.
fn everything_in_the_way(target: &Path) {
    for path in ["small", "zz other name", "deep/third name", "link", "empty", "deep/er/and/deeper/large"] {
        fs::remove_file(target.join(path)).unwrap();
        fs::create_dir_all(target.join(path).join("inside")).unwrap();
        fs::write(target.join(path).join("inside/file"), b"not in the snapshot").unwrap();
    }
    fs::remove_dir(target.join("empty folder")).unwrap();
    symlink("/nowhere", target.join("empty folder")).unwrap();
}

#[test]
fn delete_puts_every_entry_back_where_a_folder_took_its_place() {
    let case = case(everything);
    restore(&case.rig, &options(&case.target));
    everything_in_the_way(&case.target);
    fs::remove_dir_all(case.target.join("deep/er")).unwrap();
    fs::write(case.target.join("deep/er"), b"a file where a folder belongs").unwrap();
    let delete = RestoreOptions { delete: true, ..options(&case.target) };
    let pretended = restore_recorded(&case.rig, &RestoreOptions { dry_run: true, ..delete.clone() });
    let summary = restore_recorded(&case.rig, &delete);
    assert!(summary.is_whole() && pretended.is_whole(), "{:?} {:?}", summary.failures, pretended.failures);
    // Of each of five folders: itself, the one in it, and the file in that one. What was below deep/er went with it.
    assert_eq!((summary.deleted, pretended.deleted), (15, 15));
    assert_eq!(describe(&case.target), describe(&case.source));
}

#[test]
fn without_delete_a_folder_stays_in_the_way_and_everything_else_makes_place() {
    let case = case(everything);
    restore(&case.rig, &options(&case.target));
    everything_in_the_way(&case.target);
    let summary = restore_recorded(&case.rig, &options(&case.target));
    let mut failed: Vec<_> = summary.failures.iter().map(|failure| failure.path.clone()).collect();
    failed.sort();
    // The first name of the file with three is in a folder of its own: the others are in the way of themselves.
    let expected = ["deep/er/and/deeper/large", "deep/third name", "empty", "link", "small", "zz other name"];
    assert_eq!(failed, expected.map(|path| path.as_bytes().to_vec()));
    for path in expected {
        assert_eq!(fs::read(case.target.join(path).join("inside/file")).unwrap(), b"not in the snapshot", "{path}");
    }
    assert!(fs::symlink_metadata(case.target.join("empty folder")).unwrap().is_dir());
}

#[test]
fn a_folder_in_the_way_that_holds_something_protected_stays_whole() {
    let case = case(everything);
    restore(&case.rig, &options(&case.target));
    everything_in_the_way(&case.target);
    // What this restore leaves out, what the caller protects, and a repository; of a file, a link and another name of a file.
    fs::write(case.target.join("empty/only.key"), b"only copy").unwrap();
    fs::create_dir_all(case.target.join("link/backups/data")).unwrap();
    for name in ["config", "snapshots"] {
        fs::write(case.target.join("link/backups").join(name), b"x").unwrap();
    }
    let protected = vec![case.target.join("zz other name/inside")];
    let delete = RestoreOptions { delete: true, exclude: vec!["*.key".into()], protected, ..options(&case.target) };
    for dry_run in [true, false] {
        let summary = restore_recorded(&case.rig, &RestoreOptions { dry_run, ..delete.clone() });
        let mut failed: Vec<_> = summary.failures.iter().map(|failure| failure.path.clone()).collect();
        failed.sort();
        assert_eq!(failed, [&b"empty"[..], b"link", b"zz other name"], "dry run: {dry_run}");
        let mut kept: Vec<_> = summary.kept.iter().map(|kept| kept.path.clone()).collect();
        kept.sort();
        assert_eq!(kept, [&b"empty/only.key"[..], b"link/backups", b"zz other name/inside"]);
        assert_eq!(summary.deleted, 9);
    }
    for path in ["empty", "link", "zz other name"] {
        assert!(case.target.join(path).join("inside/file").exists(), "{path}");
    }
    assert_eq!(fs::read(case.target.join("small")).unwrap(), b"hello");
}

#[test]
fn delete_removes_what_the_snapshot_has_not() {
    let case = case(everything);
    restore(&case.rig, &options(&case.target));
    fs::set_permissions(case.target.join("deep/er"), fs::Permissions::from_mode(0o755)).unwrap();
    for path in ["aaa", "deep/er/n", "deep/er/zzz", "zzzz", "keep.tmp"] {
        fs::write(case.target.join(path), b"extra").unwrap();
    }
    fs::create_dir_all(case.target.join("extra/tree/of/folders")).unwrap();
    let delete = RestoreOptions { delete: true, exclude: vec!["*.tmp".into()], ..options(&case.target) };
    let pretended = restore_recorded(&case.rig, &RestoreOptions { dry_run: true, ..delete.clone() });
    assert!(case.target.join("aaa").exists());
    let summary = restore_recorded(&case.rig, &delete);
    // Every entry of a folder counts.
    assert_eq!((summary.deleted, pretended.deleted), (8, 8));
    assert!(case.target.join("keep.tmp").exists());
    fs::remove_file(case.target.join("keep.tmp")).unwrap();
    assert_eq!(describe(&case.target), describe(&case.source));
}

#[test]
fn patterns_choose_and_make_only_the_folders_they_need() {
    let case = case(everything);
    let include = RestoreOptions { include: vec!["large".into(), "/small".into()], ..options(&case.target) };
    let summary = restore(&case.rig, &include);
    assert_eq!(summary.files_restored, 2);
    let found: Vec<_> = describe(&case.target).into_keys().collect();
    let expected: [&[u8]; 6] = [b"deep", b"deep/er", b"deep/er/and", b"deep/er/and/deeper", b"deep/er/and/deeper/large", b"small"];
    assert_eq!(found, expected);
    assert_eq!(fs::metadata(case.target.join("deep/er")).unwrap().mode() & 0o777, 0o555);
}

#[test]
fn a_path_of_a_snapshot_is_a_folders_content_or_one_entry() {
    let case = case(everything);
    restore_path(&case.rig, b"deep/er", &options(&case.target.join("a")));
    assert_eq!(fs::read(case.target.join("a/medium")).unwrap(), pattern(1, 700_000));
    restore_path(&case.rig, b"/deep/er/medium", &options(&case.target.join("b")));
    assert_eq!(fs::read(case.target.join("b/medium")).unwrap(), pattern(1, 700_000));
    restore_path(&case.rig, b"link", &options(&case.target.join("c")));
    assert_eq!(fs::read_link(case.target.join("c/link")).unwrap(), Path::new("small"));
}

#[test]
fn a_dry_run_counts_and_writes_nothing() {
    let case = case(everything);
    let dry = RestoreOptions { dry_run: true, ..options(&case.target) };
    let pretended = restore(&case.rig, &dry);
    assert!(!case.target.exists());
    let summary = restore(&case.rig, &options(&case.target));
    assert_eq!((pretended.files_restored, pretended.folders), (summary.files_restored, summary.folders));
    assert_eq!((pretended.hard_links, pretended.others), (summary.hard_links, summary.others));
    let again = restore(&case.rig, &dry);
    assert_eq!((again.files_restored, again.files_unchanged), (0, summary.files_restored));
}

#[test]
fn sparse_writes_zeros_as_holes() {
    let case = case(|at| {
        let mut bytes = vec![0; 6_000_000];
        bytes[3_000_000] = 1;
        fs::write(at.join("zeros"), &bytes).unwrap();
        fs::write(at.join("small zeros"), vec![0; 20_000]).unwrap();
    });
    restore(&case.rig, &RestoreOptions { sparse: true, ..options(&case.target) });
    assert_eq!(describe(&case.target), describe(&case.source));
    let blocks = |name: &str| fs::metadata(case.target.join(name)).unwrap().blocks();
    assert!(blocks("zeros") * 512 < 100_000, "{}", blocks("zeros"));
    assert!(blocks("small zeros") * 512 < 10_000);
    // In place: what was written there becomes a hole.
    fs::write(case.target.join("zeros"), pattern(1, 6_000_000)).unwrap();
    restore(&case.rig, &RestoreOptions { sparse: true, ..options(&case.target) });
    assert_eq!(describe(&case.target), describe(&case.source));
    assert!(blocks("zeros") * 512 < 1_000_000, "{}", blocks("zeros"));
}

#[derive(Default)]
struct Problems(Mutex<Vec<Problem>>);

impl Monitor for Problems {
    fn problem(&self, problem: Problem) {
        self.0.lock().unwrap().push(problem);
    }
}

#[test]
fn damage_is_told_and_the_rest_restored() {
    let case = case(everything);
    let large = pattern(2, 9_000_000);
    case.rig.damage(b"deep/er/and/deeper/large");
    let problems = Arc::new(Problems::default());
    let monitor: Arc<dyn Monitor> = problems.clone();
    let origin = Origin { root: &case.rig.root, snapshot: "test", path: b"", streams: &[], record: None };
    // One time as a new file, one time over an old one.
    for _ in 0..2 {
        let summary = restore::run(&case.rig.repository, origin, &options(&case.target), &monitor, &Stop::new()).unwrap();
        assert_eq!((summary.damaged, summary.failed), (1, 0), "{:?}", summary.failures);
        assert!(!summary.is_whole() && summary.failures[0].damage);
        assert_eq!(summary.failures[0].path, b"deep/er/and/deeper/large");
        assert!(!case.target.join("deep/er/and/deeper/large").exists());
        let mut rest = describe(&case.source);
        rest.remove(&b"deep/er/and/deeper/large"[..]);
        let mut there = describe(&case.target);
        // The time of its folder is the snapshot's nevertheless.
        assert_eq!(there, rest);
        there.clear();
        // Not the damaged middle: what is there already is not asked of the repository.
        fs::write(case.target.join("deep/er/and/deeper/large"), &large[..2_000_000]).unwrap();
    }
    assert_eq!(problems.0.lock().unwrap().len(), 2);
}

#[test]
fn a_request_to_stop_leaves_no_half_file() {
    let case = case(everything);
    let monitor: Arc<dyn Monitor> = Arc::new(Quiet);
    let stop = Stop::new();
    stop.request();
    let origin = Origin { root: &case.rig.root, snapshot: "test", path: b"", streams: &[], record: None };
    let result = restore::run(&case.rig.repository, origin, &options(&case.target), &monitor, &stop);
    assert!(matches!(result, Err(RestoreError::Repository(esker::repository::RepositoryError::Stopped))));
    assert_eq!(describe(&case.target).len(), 0);
}

#[test]
fn a_stream_is_given_out_in_order() {
    let case = case(everything);
    for path in ["deep/er/and/deeper/large", "holes", "empty", "small"] {
        let mut out = Vec::new();
        let written = case.rig.dump(path.as_bytes(), &mut out).unwrap();
        assert!(out == fs::read(case.source.join(path)).unwrap(), "{path}");
        assert_eq!(written, out.len() as u64);
    }
    assert!(matches!(case.rig.dump(b"deep", &mut Vec::new()), Err(RestoreError::NotAFile { what: "folder", .. })));
    assert!(matches!(case.rig.dump(b"link", &mut Vec::new()), Err(RestoreError::NotAFile { .. })));
}

#[test]
fn a_damaged_stream_ends_with_an_error_after_right_bytes() {
    let case = case(everything);
    case.rig.damage(b"deep/er/and/deeper/large");
    let mut out = Vec::new();
    assert!(case.rig.dump(b"deep/er/and/deeper/large", &mut out).is_err());
    assert!(pattern(2, 9_000_000).starts_with(&out) && out.len() < 9_000_000);
}

/// ext4 holds a few KiB of attributes an inode; a file system in memory holds them all.
#[test]
fn attributes_larger_than_a_node_come_back() {
    use rustix::fs::{XattrFlags, lgetxattr, lsetxattr};
    let Ok(folder) = tempfile::tempdir_in("/dev/shm") else { return println!("skipped: no /dev/shm") };
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    fs::create_dir_all(source.join("folder")).unwrap();
    fs::write(source.join("file"), b"content").unwrap();
    symlink("file", source.join("link")).unwrap();
    let name = |n: usize| format!("trusted.esker{n}");
    for (nth, path) in ["file", "folder", "link"].into_iter().enumerate() {
        for n in 0..4 {
            let value = pattern((nth * 10 + n) as u64, 30_000 + n);
            match lsetxattr(source.join(path), name(n), &value, XattrFlags::empty()) {
                Ok(()) => {}
                Err(rustix::io::Errno::PERM | rustix::io::Errno::OPNOTSUPP) => {
                    return println!("skipped: no trusted attributes here");
                }
                Err(error) => panic!("{path}: {error}"),
            }
        }
    }
    let rig = Rig::snapshot(&source);
    // A second snapshot takes the files over unread, their attributes with them.
    let id = rig.take(&source);
    assert_eq!(rig.folder(id), rig.root);
    let summary = rig.restore(id, &options(&target));
    assert!(summary.is_whole(), "{summary:?}");
    for (nth, path) in ["file", "folder", "link"].into_iter().enumerate() {
        for n in 0..4 {
            let mut value = vec![0; 65_536];
            let length = lgetxattr(target.join(path), name(n), &mut value[..])
                .unwrap_or_else(|error| panic!("{path} {n}: {error}; {summary:?}"));
            assert_eq!(value[..length], pattern((nth * 10 + n) as u64, 30_000 + n), "{path} {n}");
        }
    }
}

#[test]
fn a_stream_is_proved_as_a_whole_and_one_that_is_another_is_told() {
    let case = case(|source| {
        fs::write(source.join("whole"), b"what was taken").unwrap();
        fs::write(source.join("other"), b"what was not taken").unwrap();
    });
    let repository = &case.rig.repository;
    let mut stored = repository.snapshots().unwrap().snapshots.remove(0);
    let mut mac = repository.objects().keys().stream_mac();
    mac.update(b"what was taken");
    let streams = [("whole", 14), ("other", 18)];
    let of =
        |(name, bytes): (&str, u64)| Stream { path: format!("data/{name}").into_bytes(), bytes, mac: *mac.finalize().as_bytes() };
    stored.snapshot.sources[0].streams = streams.map(of).into();
    let proofs = StreamProof::all(repository, &stored);

    let root = &stored.snapshot.root;
    let options = RestoreOptions { target: case.target.clone(), verify: true, ..RestoreOptions::default() };
    for (path, include, [verified, damaged]) in [
        (&b""[..], &[][..], [1, 1]),
        (b"/data/", &[], [1, 1]),
        (b"data/whole", &[], [1, 0]),
        (b"data", &["/whole"], [1, 0]),
        (b"data", &["/oth*"], [0, 1]),
    ] {
        let options = RestoreOptions { include: include.iter().map(|&pattern| pattern.to_owned()).collect(), ..options.clone() };
        let origin = Origin { root, snapshot: "test", path, streams: &proofs, record: None };
        let monitor: Arc<dyn Monitor> = Arc::new(Quiet);
        let summary = restore::run(repository, origin, &options, &monitor, &Stop::new()).unwrap();
        let found = [summary.streams_verified, summary.damaged];
        assert_eq!((found, summary.failed), ([verified, damaged], 0), "{path:?} {include:?}: {:?}", summary.failures);
        assert!(summary.failures.iter().all(|failure| failure.path.ends_with(b"other") && failure.detail.contains("MAC")));
    }

    let reader = Reader::new(repository, &Quiet).unwrap();
    let dump = |path: &[u8]| {
        let node = reader.resolve(root, path, "test").unwrap().unwrap();
        let proof = proofs.iter().find(|proof| proof.is_at(path)).unwrap();
        let mut out = Vec::new();
        (restore::stream::dump(&reader, &node, path, Some(proof), &mut out, &Quiet, &Stop::new()), out)
    };
    let (whole, out) = dump(b"data/whole");
    assert_eq!((whole.unwrap(), out.as_slice()), (14, &b"what was taken"[..]));
    let (other, out) = dump(b"data/./other");
    assert!(matches!(other, Err(RestoreError::NotTheStream { .. })));
    assert_eq!(out, b"what was not taken");
}
