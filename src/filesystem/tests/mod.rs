//! The room as a whole, on a real file system: what was scanned comes back when it is created.

mod creating;
mod flags;
mod reading;
mod round_trip;
mod walking;

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::format::tree::{Node, NodeKind};
use crate::monitor::Stop;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs `work` on a thread that is nobody (65534) when this process is root: permissions mean nothing to root.
fn as_nobody<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
    std::thread::scope(|scope| {
        let result = scope.spawn(|| {
            if is_root() {
                let (uid, gid) = (rustix::fs::Uid::from_raw(65534), rustix::fs::Gid::from_raw(65534));
                set_thread_groups(&[]).unwrap();
                set_thread_res_gid(gid, gid, gid).unwrap();
                set_thread_res_uid(uid, uid, uid).unwrap();
            }
            work()
        });
        result.join().unwrap()
    })
}

/// A temporary folder that nobody may use too.
fn open_to_nobody() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    if is_root() {
        std::os::unix::fs::chown(dir.path(), Some(65534), Some(65534)).unwrap();
    }
    dir
}

fn walk(root: &Path, options: &ScanOptions, mut each: impl FnMut(Step)) -> Result<ScanSummary, ScanError> {
    scan(root, options, &Stop::new(), |step| {
        each(step);
        Ok(())
    })
}

/// An ACL in the form of the kernel's attribute: owner, one more user, group, mask, others.
fn acl(owner: u16, user: (u32, u16), group: u16, mask: u16, other: u16) -> Vec<u8> {
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, bits, id) in
        [(1u16, owner, u32::MAX), (2, user.1, user.0), (4, group, u32::MAX), (16, mask, u32::MAX), (32, other, u32::MAX)]
    {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(bits.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

/// All there is below a folder: what a restore must bring back, without what only the original can have (ctime, inode numbers).
#[derive(PartialEq, Debug)]
struct Seen {
    node: Node,
    bytes: Vec<u8>,
    /// The first path with the same inode.
    same_as: Option<Vec<u8>>,
    blocks: u64,
}

fn see(root: &Path) -> BTreeMap<Vec<u8>, Seen> {
    let owners = Owners::new();
    let mut all = BTreeMap::new();
    let mut first = HashMap::new();
    walk(root, &ScanOptions::default(), |step| {
        let Step::Enter(mut entered) = step else { return };
        assert_eq!(entered.state, FolderState::Listed, "{:?}", entered.troubles);
        entered.complete_folder(&owners).unwrap();
        let dir = entered.dir.clone().unwrap();
        let mut see = |mut found: Found, path: Vec<u8>, bytes: Vec<u8>| {
            found.node.ctime = crate::clock::Timestamp::default();
            let same_as = (found.stat.nlink > 1 && found.node.kind != NodeKind::Folder)
                .then(|| first.entry(found.stat.ino).or_insert_with(|| path.clone()).clone());
            let blocks = if found.node.kind == NodeKind::File { found.stat.blocks } else { 0 };
            all.insert(path, Seen { node: found.node, bytes, same_as, blocks });
        };
        for mut found in std::mem::take(&mut entered.entries) {
            let path = dir.path_of(&found.node.name);
            let mut bytes = Vec::new();
            match found.node.kind {
                NodeKind::Folder => continue,
                NodeKind::File => {
                    let file = dir.open_file(&mut found).unwrap();
                    file.complete(&mut found, &owners).unwrap();
                    bytes = vec![0; usize::try_from(found.stat.size).unwrap()];
                    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
                    let mut by_name = found.clone();
                    dir.complete(&mut by_name, &owners).unwrap();
                    assert_eq!(by_name, found);
                }
                _ => dir.complete(&mut found, &owners).unwrap(),
            }
            see(found, path, bytes);
        }
        see(entered.folder, entered.path, Vec::new());
    })
    .unwrap();
    all
}

/// Creates in `to` what a scan of `from` finds, as a restore would.
fn copy(from: &Path, to: &Path, rules: &Rules) -> Vec<Shortfall> {
    let owners = Owners::new();
    let target = Target::open(to, true).unwrap();
    let mut open: Vec<(Arc<Folder>, Node)> = Vec::new();
    let mut linked = HashMap::new();
    let mut systems = FileSystems::new();
    let mut shortfalls = Vec::new();
    walk(from, &ScanOptions::default(), |step| match step {
        Step::Enter(mut entered) => {
            entered.complete_folder(&owners).unwrap();
            let here = match entered.path.as_slice() {
                b"" => Arc::clone(target.root()),
                path => target.create_folder(path).unwrap().folder,
            };
            let dir = entered.dir.clone().unwrap();
            for mut found in entered.entries {
                let link = systems.hard_link(&found);
                if let Some((folder, name)) = link.and_then(|link| linked.get(&link)) {
                    let folder: &Arc<Folder> = folder;
                    let name: &Vec<u8> = name;
                    here.hard_link(&found.node.name, folder, name).unwrap();
                    continue;
                }
                match found.node.kind {
                    NodeKind::Folder => continue,
                    NodeKind::File => {
                        let file = dir.open_file(&mut found).unwrap();
                        file.complete(&mut found, &owners).unwrap();
                        let new = here.create_file(&found.node.name).unwrap();
                        new.set_size(found.node.size).unwrap();
                        for segment in file.segments() {
                            if let Segment::Data { offset, length } = segment {
                                let mut bytes = vec![0; usize::try_from(length).unwrap()];
                                assert_eq!(file.read_at(&mut bytes, offset).unwrap(), bytes.len());
                                new.write_at(&bytes, offset).unwrap();
                            }
                        }
                        shortfalls.extend(new.finish(&found.node, rules).unwrap());
                    }
                    _ => {
                        dir.complete(&mut found, &owners).unwrap();
                        shortfalls.extend(here.create_special(&found.node, rules).unwrap());
                    }
                }
                if let Some(link) = link {
                    linked.insert(link, (Arc::clone(&here), found.node.name.clone()));
                }
            }
            open.push((here, entered.folder.node));
        }
        Step::Leave { path } => {
            let (folder, node) = open.pop().unwrap();
            assert_eq!(folder.path(), path);
            shortfalls.extend(folder.finish(&node, rules, false).unwrap());
        }
    })
    .unwrap();
    shortfalls
}
