//! What a restore with `delete` removes from the target, listed entry by entry before anything is changed.
//!
//! An entry goes when it stands in a folder that the snapshot recorded completely and the snapshot does not hold it. What the snapshot
//! or this restore leaves out stays, as does every repository, every mount point and what the caller protects; a folder that holds
//! such a thing stays too. Only what was listed is removed, so nothing that appears meanwhile is lost.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::filesystem::{FilesystemError, Folder, Found, Named};
use crate::format::limits::DEPTH_MAX;
use crate::format::names;
use crate::format::tree::NodeKind;
use crate::monitor::Stop;
use crate::path;
use crate::restore::coverage::{Covered, Why};
use crate::restore::select::{Selected, Selection};
use crate::restore::{FAILURES_NAMED_MAX, RestoreError};

/// What fsck makes at the root of a file system.
const LOST_AND_FOUND: &[u8] = b"lost+found";

/// One entry that goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deletion {
    /// Where, relative to the target.
    pub path: Vec<u8>,
    /// A folder, empty by the time it goes.
    pub is_folder: bool,
    /// Bytes that it takes on the disk.
    pub bytes: u64,
}

/// Something that stays although the snapshot does not hold it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Where, relative to the target.
    pub path: Vec<u8>,
    /// Why.
    pub why: Why,
}

/// All that goes. What a folder holds comes before the folder.
#[derive(Clone, Default, Debug)]
pub struct Deletions {
    /// Of each folder of the snapshot, or of the entry that takes the place of a folder.
    groups: HashMap<Vec<u8>, Vec<Deletion>>,
    order: Vec<Vec<u8>>,
    kept: Vec<Kept>,
    kept_count: u64,
    /// Something of the snapshot stands in the target already.
    pub(super) has_common: bool,
}

impl Deletions {
    /// In the order of the walk.
    pub fn iter(&self) -> impl Iterator<Item = &Deletion> {
        self.order.iter().filter_map(|group| self.groups.get(group)).flatten()
    }

    /// Nothing goes.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// What stays, the first of it.
    pub fn kept(&self) -> &[Kept] {
        &self.kept
    }

    /// How much of it there is.
    pub fn kept_count(&self) -> u64 {
        self.kept_count
    }

    /// What goes from the folder at `path` or makes place for the entry there.
    pub(super) fn of(&self, path: &[u8]) -> Option<&[Deletion]> {
        self.groups.get(path).map(Vec::as_slice)
    }

    pub(super) fn add(&mut self, group: &[u8], deletions: Vec<Deletion>) {
        if deletions.is_empty() {
            return;
        }
        if !self.groups.contains_key(group) {
            self.order.push(group.to_vec());
        }
        self.groups.entry(group.to_vec()).or_default().extend(deletions);
    }

    pub(super) fn keep(&mut self, path: Vec<u8>, why: Why) {
        self.kept_count += 1;
        if self.kept.len() < FAILURES_NAMED_MAX {
            self.kept.push(Kept { path, why });
        }
    }
}

/// What is never deleted, whatever a snapshot says: by device and inode.
#[derive(Default)]
pub(crate) struct Protected(Vec<(u64, u64)>);

impl Protected {
    /// The entries at these paths; links are followed. What is not there needs no protection.
    pub(crate) fn new(paths: &[PathBuf]) -> Self {
        let found = paths.iter().filter_map(|path| std::fs::metadata(path).ok());
        Self(found.map(|metadata| (metadata.dev(), metadata.ino())).collect())
    }

    /// Is it one of them?
    pub(crate) fn has(&self, found: &Found) -> bool {
        self.has_id((found.stat.dev, found.stat.ino))
    }

    pub(super) fn has_id(&self, id: (u64, u64)) -> bool {
        self.0.contains(&id)
    }
}

/// Looks at what would go.
pub(crate) struct Doom<'a> {
    /// What this restore leaves out stays.
    pub selection: &'a Selection,
    /// And what must never go.
    pub protected: &'a Protected,
    /// And what the snapshot of this source leaves out.
    pub source: &'a Covered,
    /// Stop requests.
    pub stop: &'a Stop,
}

impl Doom<'_> {
    /// Lists the entry `name` of `folder` with all it holds; `path` is its path in the source. False: something of it stays.
    pub(crate) fn list(
        &self,
        folder: &Folder,
        name: &[u8],
        path: &[u8],
        out: &mut Vec<Deletion>,
        kept: &mut Vec<Kept>,
    ) -> Result<bool, RestoreError> {
        self.list_at(folder, name, path, 0, out, kept)
    }

    fn list_at(
        &self,
        folder: &Folder,
        name: &[u8],
        path: &[u8],
        depth: usize,
        out: &mut Vec<Deletion>,
        kept: &mut Vec<Kept>,
    ) -> Result<bool, RestoreError> {
        self.stop.check()?;
        let Some(found) = folder.look_up(name)? else {
            // Gone, or of a kind that no snapshot holds.
            kept.push(Kept { path: folder.path_of(name), why: "what it is cannot be told" });
            return Ok(false);
        };
        if let Some(why) = self.reason_to_keep(folder, &found, path, depth)? {
            kept.push(Kept { path: folder.path_of(name), why });
            return Ok(false);
        }
        let is_folder = found.node.kind == NodeKind::Folder;
        if is_folder {
            let open = folder.open_folder(name)?;
            let names = open.names()?;
            if let Some(why) = self.reason_to_keep_folder(&names) {
                kept.push(Kept { path: folder.path_of(name), why });
                return Ok(false);
            }
            let mut all = true;
            for Named { name, .. } in names {
                all &= self.list_at(&open, &name, &path::join(path, &name), depth + 1, out, kept)?;
            }
            if !all {
                return Ok(false);
            }
        }
        out.push(Deletion { path: folder.path_of(name), is_folder, bytes: found.stat.blocks.saturating_mul(512) });
        Ok(true)
    }

    fn reason_to_keep(&self, folder: &Folder, found: &Found, path: &[u8], depth: usize) -> Result<Option<Why>, FilesystemError> {
        let name = &found.node.name;
        let is_folder = found.node.kind == NodeKind::Folder;
        if self.protected.has(found) {
            return Ok(Some("esker uses it"));
        }
        if found.stat.dev != folder.found_self(Vec::new())?.stat.dev {
            return Ok(Some("another file system is mounted there"));
        }
        if is_folder && name == LOST_AND_FOUND {
            return Ok(Some("it belongs to the file system"));
        }
        if self.selection.select(&folder.path_of(name), is_folder, true) != Selected::Yes {
            return Ok(Some("this restore leaves it out"));
        }
        if depth > DEPTH_MAX {
            return Ok(Some("it lies deeper than a snapshot goes"));
        }
        Ok(self.source.left_out(path, found.node.kind, found.node.size))
    }

    fn reason_to_keep_folder(&self, names: &[Named]) -> Option<Why> {
        if is_repository(names) {
            return Some("it looks like a backup repository");
        }
        names.iter().any(|named| self.source.is_mark(&named.name)).then_some("a file in it keeps it out of snapshots")
    }
}

/// Does a folder with these names hold a backup repository, of this program or another?
pub(super) fn is_repository(names: &[Named]) -> bool {
    let has = |wanted: &str| names.iter().any(|named| named.name == wanted.as_bytes());
    let all = |wanted: &[&str]| wanted.iter().all(|name| has(name));
    all(&[names::CONFIG, names::KEYS])
        // restic, rustic
        || all(&["config", "data", "snapshots"])
        // Borg 1 and 2, Attic
        || all(&["README", "config", "data"])
        || all(&["config", "archives", "keys"])
        // Kopia
        || names.iter().any(|named| named.name.starts_with(b"kopia.repository"))
        // Duplicacy
        || all(&["chunks", "snapshots"])
        // Proxmox Backup Server, rdiff-backup, conserve
        || [".chunks", "rdiff-backup-data", "CONSERVE"].into_iter().any(has)
        // Duplicati, duplicity
        || names.iter().any(|named| named.name.starts_with(b"duplicati-") || named.name.starts_with(b"duplicity-full"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<Named> {
        names.iter().map(|name| Named { name: name.as_bytes().to_vec(), kind: None }).collect()
    }

    #[test]
    fn a_repository_is_known_by_its_names() {
        for repository in [
            &["config", "gc", "index", "keys", "packs", "snapshots"][..],
            &["config", "data", "index", "keys", "locks", "snapshots"],
            &["README", "config", "data", "hints.5", "index.5", "integrity.5"],
            &["kopia.repository.f", "p", "q"],
            &["chunks", "config", "snapshots"],
            &[".chunks", ".lock", "vm"],
            &["etc", "rdiff-backup-data"],
            &["CONSERVE", "b0000", "d"],
            &["duplicati-20161014090000.dlist.zip.aes"],
        ] {
            assert!(is_repository(&names(repository)), "{repository:?}");
        }
        assert!(!is_repository(&names(&["config", "data", "media"])));
        assert!(!is_repository(&names(&[])));
    }

    #[test]
    fn deletions_come_in_the_order_in_which_they_can_be_done() {
        let deletion = |path: &str, is_folder| Deletion { path: path.as_bytes().to_vec(), is_folder, bytes: 0 };
        let mut deletions = Deletions::default();
        assert!(deletions.is_empty());
        deletions.add(b"b", vec![deletion("b/x/y", false)]);
        deletions.add(b"", vec![deletion("z", false)]);
        deletions.add(b"b", vec![deletion("b/x", true)]);
        let paths: Vec<_> = deletions.iter().map(|deletion| deletion.path.clone()).collect();
        assert_eq!(paths, [&b"b/x/y"[..], b"b/x", b"z"]);
        assert_eq!(deletions.of(b"b").map(<[_]>::len), Some(2));
    }
}
