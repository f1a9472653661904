//! The order of a walk, what it leaves out, and what goes wrong meanwhile.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::format::tree::LeftOut;

fn names(entries: &[Found]) -> Vec<String> {
    entries.iter().map(|found| String::from_utf8_lossy(&found.node.name).into_owned()).collect()
}

/// One line a step.
fn steps(root: &Path, options: &ScanOptions) -> Vec<String> {
    let mut lines = Vec::new();
    walk(root, options, |step| match step {
        Step::Enter(entered) => {
            lines.push(format!("+{} [{}]", String::from_utf8_lossy(&entered.path), names(&entered.entries).join(" ")));
        }
        Step::Leave { path } => lines.push(format!("-{}", String::from_utf8_lossy(&path))),
    })
    .unwrap();
    lines
}

fn make(root: &Path, files: &[&str]) {
    for file in files {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, file).unwrap();
    }
}

#[test]
fn folders_come_depth_first_in_the_bytewise_order_of_their_names() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), &["a/z/1", "a/b", "a-b/2", "a.b/3", "B/4", "Z", "c"]);
    for threads in [0, 1, 3] {
        let options = ScanOptions { threads, ..ScanOptions::default() };
        assert_eq!(
            steps(dir.path(), &options),
            [
                "+ [B Z a a-b a.b c]",
                "+B [4]",
                "-B",
                "+a [b z]",
                "+a/z [1]",
                "-a/z",
                "-a",
                "+a-b [2]",
                "-a-b",
                "+a.b [3]",
                "-a.b",
                "-"
            ]
        );
    }
}

#[test]
fn a_wide_and_deep_tree_is_delivered_whole_and_in_order_by_any_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..300 {
        make(dir.path(), &[&format!("{}/{}/{n}/file", n % 7, n % 13)]);
    }
    let expected = steps(dir.path(), &ScanOptions { threads: 0, ..ScanOptions::default() });
    for threads in [1, 2, 8] {
        assert_eq!(steps(dir.path(), &ScanOptions { threads, ..ScanOptions::default() }), expected);
    }
    assert_eq!(expected.len(), 2 * (1 + 7 + 91 + 300));
}

#[test]
fn what_is_excluded_is_counted_and_not_gone_into() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), &["keep", "x.tmp", "cache/1", "sub/cache/2", "sub/y.tmp", "repo/config"]);
    let skip = {
        use std::os::unix::fs::MetadataExt;
        let repo = std::fs::metadata(dir.path().join("repo")).unwrap();
        vec![(repo.dev(), repo.ino())]
    };
    let excludes = Excludes::new(&["*.tmp".to_owned(), "/cache".to_owned()]).unwrap();
    let options = ScanOptions { excludes, skip, ..ScanOptions::default() };
    assert_eq!(steps(dir.path(), &options), ["+ [keep sub]", "+sub [cache]", "+sub/cache [2]", "-sub/cache", "-sub", "-"]);
    let summary = walk(dir.path(), &options, |_| ()).unwrap();
    let left_out = LeftOutCounts { by_pattern: 3, own: 1, ..LeftOutCounts::default() };
    assert_eq!(summary, ScanSummary { folders: 3, entries: 4, left_out, troubles: 0, root_is_empty: false });
}

#[test]
fn of_a_marked_folder_only_the_mark_is_delivered() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), &["a/CACHEDIR.TAG", "a/big", "a/sub/x", "b/CACHEDIR.TAG", "b/kept", "c/.nobackup", "c/big", "d/mark", "d/x"]);
    std::fs::write(dir.path().join("a/CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc55\n# made by x").unwrap();
    let mark = |name: &[u8], header: &[u8]| Mark { name: name.to_vec(), header: header.to_vec() };
    let marks = [mark(b".nobackup", b""), mark(b"mark", b"not this")];
    let options = ScanOptions { exclude_caches: true, exclude_if_present: marks.to_vec(), ..ScanOptions::default() };
    assert_eq!(
        steps(dir.path(), &options),
        [
            "+ [a b c d]",
            "+a [CACHEDIR.TAG]",
            "-a",
            "+b [CACHEDIR.TAG kept]",
            "-b",
            "+c [.nobackup]",
            "-c",
            "+d [mark x]",
            "-d",
            "-"
        ]
    );
    std::fs::write(dir.path().join("d/mark"), "not this, please").unwrap();
    assert!(steps(dir.path(), &options).contains(&"+d [mark]".to_owned()));
}

#[test]
fn files_above_a_size_are_left_out_and_their_folder_says_so() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), &["a/small", "b/small"]);
    std::fs::write(dir.path().join("a/big"), [0; 11]).unwrap();
    std::fs::write(dir.path().join("b/just"), [0; 10]).unwrap();
    let options = ScanOptions { exclude_larger_than: Some(10), ..ScanOptions::default() };
    let mut left_out = Vec::new();
    let summary = walk(dir.path(), &options, |step| {
        if let Step::Enter(entered) = step {
            left_out.push((entered.path.clone(), entered.folder.node.left_out()));
        }
    });
    assert_eq!(summary.unwrap().left_out.by_size, 1);
    let expected = [(&b""[..], LeftOut::NOTHING), (b"a", LeftOut::BY_RULE), (b"b", LeftOut::NOTHING)];
    assert_eq!(left_out, expected.map(|(path, bits)| (path.to_vec(), bits)));
}

#[test]
fn an_empty_root_is_told_from_one_whose_entries_are_excluded() {
    let dir = tempfile::tempdir().unwrap();
    assert!(walk(dir.path(), &ScanOptions::default(), |_| ()).unwrap().root_is_empty);
    make(dir.path(), &["x"]);
    let options = ScanOptions { excludes: Excludes::new(&["x".to_owned()]).unwrap(), ..ScanOptions::default() };
    assert!(!walk(dir.path(), &options, |_| ()).unwrap().root_is_empty);
}

#[test]
fn a_root_that_is_missing_or_no_folder_is_an_error_and_a_link_to_a_folder_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), &["real/file"]);
    for root in ["missing", "real/file"] {
        let result = walk(&dir.path().join(root), &ScanOptions::default(), |_| ());
        assert!(matches!(result, Err(ScanError::Root { .. })), "{result:?}");
    }
    symlink("real", dir.path().join("link")).unwrap();
    assert_eq!(steps(&dir.path().join("link"), &ScanOptions::default()), ["+ [file]", "-"]);
}

#[test]
fn links_to_folders_are_entries_and_not_gone_into() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), &["real/file"]);
    symlink("/", dir.path().join("a")).unwrap();
    symlink(".", dir.path().join("z")).unwrap();
    assert_eq!(steps(dir.path(), &ScanOptions::default()), ["+ [a real z]", "+real [file]", "-real", "-"]);
}

#[test]
fn a_folder_that_vanishes_is_told_apart_from_one_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), &["a/1", "b/2"]);
    let mut states = Vec::new();
    let options = ScanOptions { threads: 0, ..ScanOptions::default() };
    let summary = walk(dir.path(), &options, |step| {
        if let Step::Enter(entered) = step {
            if entered.path.is_empty() {
                std::fs::remove_dir_all(dir.path().join("a")).unwrap();
                std::fs::remove_dir_all(dir.path().join("b")).unwrap();
                // A link took its place: it is not followed.
                symlink("/etc", dir.path().join("b")).unwrap();
            }
            states.push((entered.state, entered.entries.len()));
            for trouble in entered.troubles {
                assert!(trouble.path.starts_with(dir.path().as_os_str().as_encoded_bytes()));
            }
        }
    })
    .unwrap();
    assert_eq!(states, [(FolderState::Listed, 2), (FolderState::Vanished, 0), (FolderState::Unreadable, 0)]);
    assert_eq!(summary.troubles, 1);
}

#[test]
fn a_folder_that_may_not_be_read_is_a_trouble_and_the_walk_goes_on() {
    let dir = open_to_nobody();
    make(dir.path(), &["closed/1", "open/2", "unsearchable/3"]);
    let mode = |name: &str, mode| std::fs::set_permissions(dir.path().join(name), PermissionsExt::from_mode(mode)).unwrap();
    mode("closed", 0);
    mode("unsearchable", 0o444);
    as_nobody(|| {
        let mut lines = Vec::new();
        let summary = walk(dir.path(), &ScanOptions::default(), |step| {
            if let Step::Enter(entered) = step {
                lines.push((entered.path.clone(), entered.state, names(&entered.entries).join(" "), entered.troubles.len()));
            }
        })
        .unwrap();
        assert_eq!(lines[1], (b"closed".to_vec(), FolderState::Unreadable, String::new(), 1));
        assert_eq!(lines[2], (b"open".to_vec(), FolderState::Listed, "2".to_owned(), 0));
        assert_eq!(lines[3], (b"unsearchable".to_vec(), FolderState::Listed, String::new(), 1));
        assert_eq!(summary.troubles, 2);
    });
    mode("closed", 0o755);
    mode("unsearchable", 0o755);
}

#[test]
fn files_of_others_are_read_without_their_permission_to_leave_no_trace() {
    let dir = open_to_nobody();
    make(dir.path(), &["file"]);
    as_nobody(|| {
        walk(dir.path(), &ScanOptions::default(), |step| {
            if let Step::Enter(mut entered) = step {
                let file = entered.dir.unwrap().open_file(&mut entered.entries[0]).unwrap();
                let mut bytes = [0; 9];
                assert_eq!(file.read_at(&mut bytes, 0).unwrap(), 4);
            }
        })
        .unwrap();
    });
}

#[test]
fn a_tree_deeper_than_the_format_is_cut_with_a_trouble() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), &["1/2/3/4/5/file"]);
    let mut last = None;
    let options = ScanOptions { depth_max: 3, ..ScanOptions::default() };
    let summary = walk(dir.path(), &options, |step| {
        if let Step::Enter(entered) = step {
            last = Some((entered.path, entered.state, entered.entries.len()));
        }
    })
    .unwrap();
    assert_eq!(last, Some((b"1/2/3/4".to_vec(), FolderState::TooDeep, 0)));
    assert_eq!(summary.troubles, 1);
}

#[test]
fn a_request_to_stop_and_an_error_of_the_consumer_end_the_walk() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..50 {
        make(dir.path(), &[&format!("{n}/file")]);
    }
    let stop = Stop::new();
    let mut steps = 0;
    let result = scan(dir.path(), &ScanOptions::default(), &stop, |_| {
        steps += 1;
        if steps == 5 {
            stop.request();
        }
        Ok::<(), ScanError>(())
    });
    assert!(matches!(result, Err(ScanError::Stopped)));
    assert_eq!(steps, 5);

    #[derive(Debug, PartialEq)]
    struct Enough;
    impl From<ScanError> for Enough {
        fn from(error: ScanError) -> Self {
            panic!("{error}")
        }
    }
    assert_eq!(scan(dir.path(), &ScanOptions::default(), &Stop::new(), |_| Err(Enough)), Err(Enough));
}

#[test]
fn another_file_system_is_left_out_when_only_one_is_wanted() {
    // /dev and /dev/shm or /dev/pts are file systems of their own wherever tests run; if not, there is nothing to see.
    use std::os::unix::fs::MetadataExt;
    let (Ok(outer), Ok(inner)) = (std::fs::metadata("/dev"), std::fs::metadata("/dev/pts")) else { return };
    if outer.dev() == inner.dev() {
        return;
    }
    let mut seen = None;
    let options = ScanOptions { one_file_system: true, ..ScanOptions::default() };
    walk(Path::new("/dev"), &options, |step| {
        if let Step::Enter(entered) = step
            && entered.path == b"pts"
        {
            seen = Some((entered.state, entered.entries.len(), entered.troubles.len()));
        }
    })
    .unwrap();
    assert_eq!(seen, Some((FolderState::OtherFileSystem, 0, 0)));
}
