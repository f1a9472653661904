//! The flags of `chattr`: kept, put back last, and never a riddle.

use super::creating::{node, rules};
use super::*;
use crate::format::tree::FileFlags;

const IMMUTABLE: FileFlags = FileFlags::IMMUTABLE;
const NO_DUMP: FileFlags = FileFlags::kept(0x40);

/// A folder whose entries lose their flags before it is removed; none where flags cannot be set.
struct Flagged(tempfile::TempDir);

impl Flagged {
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(dir.path().join("probe")).unwrap();
        let can = is_root() && super::super::flags::add(&file, IMMUTABLE).is_ok();
        let this = Self(dir);
        if can {
            this.free();
            std::fs::remove_file(this.0.path().join("probe")).unwrap();
        }
        can.then_some(this)
    }

    fn flags(&self, path: &str) -> FileFlags {
        super::super::flags::read(std::fs::File::open(self.0.path().join(path)).unwrap())
    }

    fn free(&self) {
        let _ = std::process::Command::new("chattr").args(["-R", "-i", "-a"]).arg(self.0.path()).status();
    }
}

impl Drop for Flagged {
    fn drop(&mut self) {
        self.free();
    }
}

fn flagged(name: &str, kind: NodeKind, flags: FileFlags) -> Node {
    let mut node = node(name, kind, 0o755);
    node.set_flags(flags);
    node
}

#[test]
fn flags_come_back_with_files_further_names_replacements_and_folders() {
    let Some(dir) = Flagged::new() else { return };
    std::fs::write(dir.0.path().join("old"), "old").unwrap();
    let target = Target::open(dir.0.path(), false).unwrap();
    let folder = target.create_folder(b"folder").unwrap().folder;
    let both = IMMUTABLE.and(NO_DUMP);
    for file in [folder.create_file(b"file").unwrap(), target.root().replace_file(b"old").unwrap()] {
        file.write_at(b"new", 0).unwrap();
        assert_eq!(file.finish(&flagged("x", NodeKind::File, both), &rules()).unwrap(), []);
    }
    target.root().hard_link(b"link", &folder, b"file").unwrap();
    assert_eq!(folder.finish(&flagged("folder", NodeKind::Folder, FileFlags::APPEND_ONLY), &rules(), false).unwrap(), []);
    for (path, flags) in [("folder", FileFlags::APPEND_ONLY), ("folder/file", both), ("link", both), ("old", both)] {
        assert_eq!(dir.flags(path), flags, "{path}");
    }
    assert_eq!(std::fs::read(dir.0.path().join("old")).unwrap(), b"new");
    let mut seen = BTreeMap::new();
    walk(dir.0.path(), &ScanOptions::default(), |step| {
        if let Step::Enter(mut entered) = step {
            let owners = Owners::new();
            entered.complete_folder(&owners).unwrap();
            seen.insert(entered.path.clone(), entered.folder.node.flags());
            let open = entered.dir.unwrap();
            for mut found in entered.entries.into_iter().filter(|found| found.node.kind == NodeKind::File) {
                open.open_file(&mut found).unwrap().complete(&mut found, &owners).unwrap();
                seen.insert(open.path_of(&found.node.name), found.node.flags());
            }
        }
    })
    .unwrap();
    let expected =
        [(&b""[..], FileFlags::NONE), (b"folder", FileFlags::APPEND_ONLY), (b"folder/file", both), (b"link", both), (b"old", both)];
    assert_eq!(seen, expected.map(|(path, flags)| (path.to_vec(), flags)).into());
}

#[test]
fn an_immutable_entry_in_the_way_is_called_that() {
    let Some(dir) = Flagged::new() else { return };
    std::fs::create_dir(dir.0.path().join("folder")).unwrap();
    for path in ["file", "folder/inner"] {
        std::fs::write(dir.0.path().join(path), "x").unwrap();
    }
    for path in ["file", "folder"] {
        super::super::flags::add(std::fs::File::open(dir.0.path().join(path)).unwrap(), IMMUTABLE).unwrap();
    }
    let target = Target::open(dir.0.path(), false).unwrap();
    let folder = target.create_folder(b"folder").unwrap().folder;
    let replacement = target.root().replace_file(b"file").unwrap();
    for refused in [
        target.root().update_file(b"file").map(drop),
        target.root().remove(b"file"),
        replacement.finish(&node("file", NodeKind::File, 0o600), &rules()).map(drop),
        folder.create_file(b"new").map(drop),
        folder.remove(b"inner"),
    ] {
        assert!(matches!(refused, Err(FilesystemError::Fixed { .. })), "{refused:?}");
    }
    assert_eq!(std::fs::read_dir(dir.0.path()).unwrap().count(), 2, "nothing half done is left");
}

#[test]
fn a_flag_that_cannot_be_set_is_a_shortfall_and_keeps_no_other_off() {
    let Some(dir) = Flagged::new() else { return };
    let (path, mut node) = (dir.0.path().to_owned(), flagged("file", NodeKind::File, IMMUTABLE.and(NO_DUMP)));
    std::os::unix::fs::chown(&path, Some(65534), Some(65534)).unwrap();
    (node.uid, node.gid) = (65534, 65534);
    let shortfalls = as_nobody(move || {
        let target = Target::open(&path, false).unwrap();
        target.root().create_file(b"file").unwrap().finish(&node, &rules()).unwrap()
    });
    assert!(matches!(&shortfalls[..], [Shortfall::Flags { flags, .. }] if *flags == IMMUTABLE), "{shortfalls:?}");
    assert_eq!(dir.flags("file"), NO_DUMP);
}
