//! Opening what was found, while somebody works on it.

use std::os::unix::fs::{FileExt, MetadataExt, symlink};

use super::*;

/// The folder and its only entry, as a scan gives them.
fn only_entry(root: &Path) -> (Arc<Folder>, Found) {
    let mut only = None;
    walk(root, &ScanOptions::default(), |step| {
        if let Step::Enter(mut entered) = step {
            only = Some((entered.dir.clone().unwrap(), entered.entries.remove(0)));
        }
    })
    .unwrap();
    only.unwrap()
}

#[test]
fn a_file_that_changes_while_it_is_read_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, "before").unwrap();
    let (folder, mut found) = only_entry(dir.path());
    let file = folder.open_file(&mut found).unwrap();
    assert!(!file.changed().unwrap());
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().write_all_at(b"AFTER!", 0).unwrap();
    assert!(file.changed().unwrap());
}

#[test]
fn the_node_describes_what_was_opened_and_not_what_was_listed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, "short").unwrap();
    let (folder, mut found) = only_entry(dir.path());
    let listed = found.clone();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "quite another file").unwrap();
    let file = folder.open_file(&mut found).unwrap();
    assert!(!listed.stat.same(&found.stat));
    assert_eq!((found.node.size, file.stat().size), (18, 18));
    assert!(!file.changed().unwrap());
}

#[test]
fn what_took_the_place_of_a_file_is_neither_followed_nor_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, "x").unwrap();
    let (folder, found) = only_entry(dir.path());
    std::fs::remove_file(&path).unwrap();
    let open = || folder.open_file(&mut found.clone());
    assert!(open().unwrap_err().is_vanished());
    symlink("/etc/passwd", &path).unwrap();
    assert!(matches!(open(), Err(FilesystemError::KindChanged(_))));
    std::fs::remove_file(&path).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    assert!(matches!(open(), Err(FilesystemError::KindChanged(_))));
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(matches!(open(), Err(FilesystemError::KindChanged(_))));
}

#[test]
fn reading_leaves_no_trace_in_the_access_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, "x").unwrap();
    // Older than the last change, which makes even `relatime` mark a read.
    let old = std::fs::FileTimes::new().set_accessed(std::time::UNIX_EPOCH);
    std::fs::File::options().write(true).open(&path).unwrap().set_times(old).unwrap();
    let (folder, mut found) = only_entry(dir.path());
    folder.open_file(&mut found).unwrap().read_at(&mut [0; 1], 0).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().atime(), 0);
}

#[test]
fn the_runs_of_a_file_cover_it_without_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    for (size, data, runs) in [
        (0u64, vec![], 0),
        (5, vec![(0u64, 5u64)], 1),
        (1 << 20, vec![], 1),
        (1 << 20, vec![(0, 4096)], 2),
        (1 << 20, vec![(65_536, 4096), (524_288, 10)], 5),
        ((1 << 20) + 3, vec![(1 << 20, 3)], 2),
    ] {
        let file = std::fs::File::create(&path).unwrap();
        file.set_len(size).unwrap();
        for (offset, length) in &data {
            file.write_all_at(&vec![1; usize::try_from(*length).unwrap()], *offset).unwrap();
        }
        file.sync_all().unwrap();
        let (folder, mut found) = only_entry(dir.path());
        let open = folder.open_file(&mut found).unwrap();
        let segments: Vec<_> = open.segments().collect();
        let mut end = 0;
        for segment in &segments {
            let (Segment::Data { offset, length } | Segment::Hole { offset, length }) = *segment;
            assert_eq!(offset, end);
            assert!(length > 0);
            end += length;
            if let Segment::Hole { offset, length } = *segment {
                assert!(data.iter().all(|(start, size)| start + size <= offset || *start >= offset + length));
            }
        }
        assert_eq!(end, size);
        // A file system without holes may give one run; one with holes gives exactly these.
        assert!(segments.len() == runs || segments.len() == 1, "{segments:?} of {data:?}");
        std::fs::remove_file(&path).unwrap();
    }
}
