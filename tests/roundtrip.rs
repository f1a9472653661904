//! Random histories: files change, snapshots are taken, forgotten, brought back, space is freed, and old ones are restored over whatever
//! is there; every restored tree equals a plain model of what was there when the snapshot was taken.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

#[path = "common/rig.rs"]
mod rig;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags, lgetxattr, llistxattr, lremovexattr, lsetxattr, utimensat};

use esker::id::SnapshotId;
use esker::monitor::{Monitor, Quiet, Stop};
use esker::prune::{self, MaxUnused, PruneOptions};
use esker::repository::survey;
use esker::restore::{Overwrite, RestoreOptions};
use esker::retention::undelete::UndeleteError;
use esker::retention::{forget, undelete};
use rig::{Rig, SOURCE};

const NAMES: [&[u8]; 6] = [b"a", b"folder", b"\xff\xfe not text", "ü — n.tmp".as_bytes(), b".hidden\n", b"zz"];

#[derive(Clone, Debug)]
enum Change {
    Write { at: Vec<usize>, size: usize, seed: u64 },
    Patch { at: Vec<usize>, offset: usize, length: usize, seed: u64 },
    Resize { at: Vec<usize>, size: usize },
    Remove { at: Vec<usize> },
    Folder { at: Vec<usize> },
    Symlink { at: Vec<usize>, target: Vec<usize> },
    Pipe { at: Vec<usize> },
    HardLink { from: Vec<usize>, to: Vec<usize> },
    Rename { from: Vec<usize>, to: Vec<usize> },
    Mode { at: Vec<usize>, mode: u32 },
    Attribute { at: Vec<usize>, value: Option<Vec<u8>> },
}

#[derive(Clone, Debug)]
enum Step {
    Change(Change),
    Snapshot,
    /// Restores one of the snapshots, into a new folder or over what an earlier restore left, some of it spoiled.
    Restore {
        which: usize,
        over: bool,
        spoil: Option<(usize, bool)>,
        overwrite: bool,
        sparse: bool,
    },
    /// Gives one up.
    Forget {
        which: usize,
    },
    /// Brings one back that was given up, if it is all there.
    Undelete {
        which: usize,
    },
    /// Frees space, repacking everything that is partly used or next to nothing.
    Prune {
        repack: bool,
    },
    /// Closes the repository and opens it again, with or without the cache.
    Reopen {
        forget_cache: bool,
    },
}

fn path() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(0..NAMES.len(), 1..=3)
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), 1..2_000usize, 60_000..300_000usize, 4_000_000..6_000_000usize]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (path(), size(), 0..8u64).prop_map(|(at, size, seed)| Change::Write { at, size, seed }),
        3 => (path(), 0..5_000_000usize, 1..5_000usize, any::<u64>())
            .prop_map(|(at, offset, length, seed)| Change::Patch { at, offset, length, seed }),
        1 => (path(), size()).prop_map(|(at, size)| Change::Resize { at, size }),
        1 => path().prop_map(|at| Change::Remove { at }),
        1 => path().prop_map(|at| Change::Folder { at }),
        1 => (path(), path()).prop_map(|(at, target)| Change::Symlink { at, target }),
        1 => path().prop_map(|at| Change::Pipe { at }),
        2 => (path(), path()).prop_map(|(from, to)| Change::HardLink { from, to }),
        2 => (path(), path()).prop_map(|(from, to)| Change::Rename { from, to }),
        1 => (path(), proptest::sample::select(vec![0o600, 0o644, 0o755, 0o2750, 0o444])).prop_map(|(at, mode)| Change::Mode { at, mode }),
        1 => (path(), proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300)))
            .prop_map(|(at, value)| Change::Attribute { at, value }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => change().prop_map(Step::Change),
        2 => Just(Step::Snapshot),
        2 => (any::<usize>(), any::<bool>(), proptest::option::of((any::<usize>(), any::<bool>())), any::<bool>(), any::<bool>())
            .prop_map(|(which, over, spoil, overwrite, sparse)| Step::Restore { which, over, spoil, overwrite, sparse }),
        1 => any::<usize>().prop_map(|which| Step::Forget { which }),
        1 => any::<usize>().prop_map(|which| Step::Undelete { which }),
        1 => any::<bool>().prop_map(|repack| Step::Prune { repack }),
        1 => any::<bool>().prop_map(|forget_cache| Step::Reopen { forget_cache }),
    ]
}

/// What stands under one name; equal inode numbers: one file.
#[derive(Clone, PartialEq, Debug)]
enum Entry {
    Folder(Meta),
    File { inode: u64 },
    Other { inode: u64 },
}

#[derive(Clone, PartialEq, Default)]
struct Inode {
    meta: Meta,
    data: Vec<u8>,
    /// Target of a link; none: a pipe, if it is not a file.
    target: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Debug, Default)]
struct Meta {
    mode: u32,
    seconds: i64,
    attribute: Option<Vec<u8>>,
}

/// A tree as a person would describe it.
#[derive(Clone, Default)]
struct Model {
    entries: BTreeMap<Vec<u8>, Entry>,
    inodes: BTreeMap<u64, Inode>,
    next: u64,
}

/// What can be compared: of each path what it is, and the first path that is the same file.
fn seen(model: &Model) -> BTreeMap<Vec<u8>, String> {
    let mut first: BTreeMap<u64, &Vec<u8>> = BTreeMap::new();
    let describe = |inode: &Inode, what: &str| {
        let digest = blake3::hash(&inode.data).to_hex();
        format!(
            "{what} {:?} {} {} {:?}",
            inode.meta,
            inode.data.len(),
            &digest[..16],
            inode.target.as_deref().map(OsStr::from_bytes)
        )
    };
    let mut all = BTreeMap::new();
    for (path, entry) in &model.entries {
        let text = match entry {
            Entry::Folder(meta) => format!("folder {meta:?}"),
            Entry::File { inode } => {
                describe(&model.inodes[inode], "file") + &format!(" = {:?}", first.entry(*inode).or_insert(path))
            }
            Entry::Other { inode } => {
                describe(&model.inodes[inode], "other") + &format!(" = {:?}", first.entry(*inode).or_insert(path))
            }
        };
        all.insert(path.clone(), text);
    }
    all
}

fn bytes_of(path: &[usize]) -> Vec<u8> {
    path.iter().map(|&name| NAMES[name]).collect::<Vec<_>>().join(&b'/')
}

fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|&b| b == b'/').map_or(b"", |slash| &path[..slash])
}

fn content(seed: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// The source on the disk, and the model of it.
struct World {
    root: PathBuf,
    model: Model,
    /// Every change has a time of its own, long ago.
    clock: i64,
}

impl World {
    fn at(&self, path: &[u8]) -> PathBuf {
        self.root.join(OsStr::from_bytes(path))
    }

    /// The folders above a path, made where nothing is; false when something else is in the way.
    fn make_parents(&mut self, path: &[u8]) -> bool {
        let above = parent(path).to_vec();
        if above.is_empty() {
            return true;
        }
        match self.model.entries.get(&above) {
            Some(Entry::Folder(_)) => true,
            Some(_) => false,
            None => self.make_parents(&above) && self.make_folder(&above),
        }
    }

    fn make_folder(&mut self, path: &[u8]) -> bool {
        fs::create_dir(self.at(path)).unwrap();
        fs::set_permissions(self.at(path), fs::Permissions::from_mode(0o755)).unwrap();
        self.model.entries.insert(path.to_vec(), Entry::Folder(Meta { mode: 0o755, ..Meta::default() }));
        self.touch(path);
        true
    }

    /// A new time for an entry and the folder that holds it.
    fn touch(&mut self, path: &[u8]) {
        for path in [path, parent(path)] {
            self.clock += 1;
            let at = Timespec { tv_sec: self.clock, tv_nsec: 5 };
            match self.model.entries.get_mut(path) {
                Some(Entry::Folder(meta)) => meta.seconds = self.clock,
                Some(Entry::File { inode } | Entry::Other { inode }) => {
                    self.model.inodes.get_mut(inode).unwrap().meta.seconds = self.clock;
                }
                None => continue,
            }
            let times = Timestamps { last_access: at, last_modification: at };
            utimensat(CWD, self.at(path), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        }
    }

    fn insert(&mut self, path: &[u8], inode: Inode, is_file: bool) {
        self.model.next += 1;
        let number = self.model.next;
        self.model.inodes.insert(number, inode);
        let entry = if is_file { Entry::File { inode: number } } else { Entry::Other { inode: number } };
        self.model.entries.insert(path.to_vec(), entry);
        self.touch(path);
    }

    fn file(&mut self, path: &[u8]) -> Option<&mut Inode> {
        let Some(Entry::File { inode }) = self.model.entries.get(path) else { return None };
        self.model.inodes.get_mut(inode)
    }

    fn is_free(&self, path: &[u8]) -> bool {
        !self.model.entries.contains_key(path)
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Write { at, size, seed } => {
                let path = bytes_of(at);
                if let Some(inode) = self.file(&path) {
                    inode.data = content(*seed, *size);
                    fs::write(self.at(&path), content(*seed, *size)).unwrap();
                    self.touch(&path);
                } else if self.is_free(&path) && self.make_parents(&path) {
                    fs::write(self.at(&path), content(*seed, *size)).unwrap();
                    fs::set_permissions(self.at(&path), fs::Permissions::from_mode(0o640)).unwrap();
                    let meta = Meta { mode: 0o640, ..Meta::default() };
                    self.insert(&path, Inode { meta, data: content(*seed, *size), target: None }, true);
                }
            }
            Change::Patch { at, offset, length, seed } => {
                let path = bytes_of(at);
                let Some(inode) = self.file(&path) else { return };
                let offset = (*offset).min(inode.data.len());
                let patch = content(*seed, *length);
                inode.data.resize(inode.data.len().max(offset + length), 0);
                inode.data[offset..offset + length].copy_from_slice(&patch);
                let file = fs::File::options().write(true).open(self.at(&path)).unwrap();
                file.write_all_at(&patch, offset as u64).unwrap();
                self.touch(&path);
            }
            Change::Resize { at, size } => {
                let path = bytes_of(at);
                let Some(inode) = self.file(&path) else { return };
                inode.data.resize(*size, 0);
                fs::File::options().write(true).open(self.at(&path)).unwrap().set_len(*size as u64).unwrap();
                self.touch(&path);
            }
            Change::Remove { at } => self.remove(&bytes_of(at)),
            Change::Folder { at } => {
                let path = bytes_of(at);
                if self.is_free(&path) && self.make_parents(&path) {
                    self.make_folder(&path);
                }
            }
            Change::Symlink { at, target } => {
                let (path, target) = (bytes_of(at), bytes_of(target));
                if self.is_free(&path) && self.make_parents(&path) {
                    symlink(OsStr::from_bytes(&target), self.at(&path)).unwrap();
                    let meta = Meta { mode: 0o777, ..Meta::default() };
                    self.insert(&path, Inode { meta, data: Vec::new(), target: Some(target) }, false);
                }
            }
            Change::Pipe { at } => {
                let path = bytes_of(at);
                if self.is_free(&path) && self.make_parents(&path) {
                    let mode = rustix::fs::Mode::from_raw_mode(0o600);
                    rustix::fs::mknodat(CWD, self.at(&path), rustix::fs::FileType::Fifo, mode, 0).unwrap();
                    self.insert(&path, Inode { meta: Meta { mode: 0o600, ..Meta::default() }, ..Inode::default() }, false);
                }
            }
            Change::HardLink { from, to } => {
                let (from, to) = (bytes_of(from), bytes_of(to));
                let Some(entry @ Entry::File { .. }) = self.model.entries.get(&from).cloned() else { return };
                if self.is_free(&to) && self.make_parents(&to) {
                    fs::hard_link(self.at(&from), self.at(&to)).unwrap();
                    self.model.entries.insert(to.clone(), entry);
                    self.touch(&to);
                }
            }
            Change::Rename { from, to } => self.rename(&bytes_of(from), &bytes_of(to)),
            Change::Mode { at, mode } => {
                let path = bytes_of(at);
                if let Some(inode) = self.file(&path) {
                    inode.meta.mode = *mode;
                    fs::set_permissions(self.at(&path), fs::Permissions::from_mode(*mode)).unwrap();
                }
            }
            Change::Attribute { at, value } => {
                let path = bytes_of(at);
                let meta = match self.model.entries.get_mut(&path) {
                    Some(Entry::Folder(meta)) => meta,
                    Some(Entry::File { inode }) => &mut self.model.inodes.get_mut(inode).unwrap().meta,
                    _ => return,
                };
                meta.attribute.clone_from(value);
                match value {
                    Some(value) => lsetxattr(self.at(&path), "user.esker", value, XattrFlags::empty()).unwrap(),
                    None => drop(lremovexattr(self.at(&path), "user.esker")),
                }
            }
        }
    }

    fn remove(&mut self, path: &[u8]) {
        match self.model.entries.get(path) {
            None => return,
            Some(Entry::Folder(_)) => fs::remove_dir_all(self.at(path)).unwrap(),
            Some(_) => fs::remove_file(self.at(path)).unwrap(),
        }
        let below = [path, b"/"].concat();
        self.model.entries.retain(|name, _| name != path && !name.starts_with(&below));
        self.touch(path);
    }

    fn rename(&mut self, from: &[u8], to: &[u8]) {
        let inside = to == from || to.starts_with(&[from, b"/"].concat());
        if inside || self.is_free(from) || !self.is_free(to) || !self.make_parents(to) {
            return;
        }
        fs::rename(self.at(from), self.at(to)).unwrap();
        let below = [from, b"/"].concat();
        let moved: Vec<Vec<u8>> =
            self.model.entries.keys().filter(|name| *name == from || name.starts_with(&below)).cloned().collect();
        for name in moved {
            let entry = self.model.entries.remove(&name).unwrap();
            self.model.entries.insert([to, &name[from.len()..]].concat(), entry);
        }
        self.touch(from);
        self.touch(to);
    }
}

/// The model of what stands on the disk.
fn read_tree(root: &Path) -> Model {
    let mut model = Model::default();
    let mut stack = vec![Vec::new()];
    while let Some(below) = stack.pop() {
        for entry in fs::read_dir(root.join(OsStr::from_bytes(&below))).unwrap() {
            let name = entry.unwrap().file_name();
            let path = if below.is_empty() { name.as_bytes().to_vec() } else { [below.as_slice(), b"/", name.as_bytes()].concat() };
            let at = root.join(OsStr::from_bytes(&path));
            let stat = fs::symlink_metadata(&at).unwrap();
            let meta = Meta { mode: stat.mode() & 0o7777, seconds: stat.mtime(), attribute: attribute(&at, stat.is_symlink()) };
            let entry = if stat.is_dir() {
                stack.push(path.clone());
                Entry::Folder(meta)
            } else {
                let data = if stat.is_file() { fs::read(&at).unwrap() } else { Vec::new() };
                let target = stat.is_symlink().then(|| fs::read_link(&at).unwrap().into_os_string().as_bytes().to_vec());
                model.inodes.insert(stat.ino(), Inode { meta, data, target });
                if stat.is_file() { Entry::File { inode: stat.ino() } } else { Entry::Other { inode: stat.ino() } }
            };
            model.entries.insert(path, entry);
        }
    }
    model
}

fn attribute(at: &Path, is_link: bool) -> Option<Vec<u8>> {
    let mut names = [0u8; 1024];
    let length = if is_link { 0 } else { llistxattr(at, &mut names).unwrap() };
    if !names[..length].split(|byte| *byte == 0).any(|name| name == b"user.esker") {
        return None;
    }
    let mut value = vec![0u8; 1024];
    let length = lgetxattr(at, "user.esker", &mut value).unwrap();
    value.truncate(length);
    Some(value)
}

/// Spoils one file of the target; its time changes, as it would.
fn spoil(target: &Path, which: usize, hard: bool) {
    let model = read_tree(target);
    let files: Vec<_> = model.entries.iter().filter(|(_, entry)| matches!(entry, Entry::File { .. })).collect();
    let Some((path, _)) = files.get(which % files.len().max(1)) else { return };
    let at = target.join(OsStr::from_bytes(path));
    if hard {
        fs::remove_file(&at).unwrap();
        fs::create_dir(&at).unwrap();
        fs::write(at.join("inside"), b"not in the snapshot").unwrap();
    } else {
        fs::set_permissions(&at, fs::Permissions::from_mode(0o600)).unwrap();
        let file = fs::File::options().write(true).open(&at).unwrap();
        file.write_all_at(b"spoiled", file.metadata().unwrap().len() / 2).unwrap();
    }
}

fn play(steps: &[Step], local: bool) -> Result<(), TestCaseError> {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = if local { Rig::local(&dir.path().join("repository"), &dir.path().join("cache")) } else { Rig::memory() };
    let root = dir.path().join("source");
    fs::create_dir(&root).unwrap();
    let mut world = World { root, model: Model::default(), clock: 1_000_000_000 };
    let (mut taken, mut forgotten) = (Vec::new(), Vec::new());
    let mut targets = 0;
    for step in steps.iter().chain([&Step::Snapshot, &LAST]) {
        match step {
            Step::Change(change) => world.apply(change),
            Step::Snapshot => {
                let id = rig.take(&world.root);
                taken.push((id, world.model.clone()));
            }
            Step::Reopen { forget_cache } => rig.reopen(*forget_cache),
            Step::Forget { which } if !taken.is_empty() => {
                let (id, model) = taken.remove(which % taken.len());
                forget(&rig, id);
                forgotten.push((id, model, false));
            }
            Step::Undelete { which } if !forgotten.is_empty() => {
                let place = which % forgotten.len();
                let (id, _, freed) = forgotten[place];
                match undelete(&rig, id) {
                    Some(back) => taken.push((back, forgotten.remove(place).1)),
                    None => prop_assert!(freed, "nothing was freed since it was forgotten"),
                }
            }
            Step::Forget { .. } | Step::Undelete { .. } => {}
            Step::Prune { repack } => {
                prune(&rig, *repack);
                forgotten.iter_mut().for_each(|(_, _, freed)| *freed = true);
            }
            Step::Restore { which, over, spoil: spoiled, overwrite, sparse } => {
                if taken.is_empty() {
                    continue;
                }
                let which = if *which == usize::MAX { taken.len() - 1 } else { which % taken.len() };
                let (id, model) = &taken[which];
                targets += usize::from(!over || targets == 0);
                // Under the source's name, a folder that holds nothing of the snapshot is still a place to delete from.
                let target = dir.path().join(format!("target{targets}")).join(SOURCE);
                if let Some((which, hard)) = spoiled
                    && target.exists()
                {
                    spoil(&target, *which, *hard);
                }
                let overwrite = if *overwrite { Overwrite::Always } else { Overwrite::IfChanged };
                let options = RestoreOptions {
                    target: target.clone(),
                    overwrite,
                    delete: true,
                    sparse: *sparse,
                    verify: true,
                    ..RestoreOptions::default()
                };
                let summary = rig.restore(*id, &options);
                prop_assert!(summary.is_whole(), "{:?}", summary.failures);
                let (found, expected) = (seen(&read_tree(&target)), seen(model));
                for (path, text) in &expected {
                    prop_assert_eq!(found.get(path), Some(text), "{:?}", OsStr::from_bytes(path));
                }
                prop_assert_eq!(found.len(), expected.len());
            }
        }
    }
    Ok(())
}

fn forget(rig: &Rig, id: SnapshotId) {
    let survey = survey::survey(&rig.repository).unwrap();
    let hash = survey.get(&id).unwrap().stored.hash;
    let plan = forget::by_name(&survey, &[(id, hash)]).unwrap();
    survey.record(&rig.repository).unwrap();
    forget::carry_out(&rig.repository, &plan, &Stop::new()).unwrap();
}

/// The id under which it is back; none: a part of it was freed.
fn undelete(rig: &Rig, id: SnapshotId) -> Option<SnapshotId> {
    let survey = survey::survey(&rig.repository).unwrap();
    let forgone = survey.forgotten.iter().find(|forgone| forgone.stored.id == id)?;
    let quiet: Arc<dyn Monitor> = Arc::new(Quiet);
    match undelete::run(&rig.repository, &survey, forgone, false, &quiet, &Stop::new()) {
        Ok(back) => back,
        Err(UndeleteError::Freed { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

fn prune(rig: &Rig, repack: bool) {
    let max_unused = if repack { MaxUnused::Bytes(0) } else { MaxUnused::Unlimited };
    let options = PruneOptions { max_unused, ..PruneOptions::default() };
    let quiet: Arc<dyn Monitor> = Arc::new(Quiet);
    let summary = prune::run(&rig.repository, &options, &quiet, &Stop::new()).unwrap();
    assert!(summary.waiting.is_empty(), "{summary:?}");
}

const LAST: Step = Step::Restore { which: usize::MAX, over: true, spoil: None, overwrite: true, sparse: false };

/// Both ways of putting one in the place of the other: the file that a folder replaced, and the folder that a file replaced.
#[test]
fn a_file_comes_back_where_a_folder_took_its_place_and_a_folder_where_a_file_did() {
    let restore = |which, spoil| Step::Restore { which, over: true, spoil, overwrite: true, sparse: true };
    let write = |at: &[usize]| Step::Change(Change::Write { at: at.to_vec(), size: 0, seed: 0 });
    let spoiled = [write(&[0]), Step::Snapshot, restore(0, None), restore(0, Some((0, true)))];
    let remove = Step::Change(Change::Remove { at: vec![0] });
    let turned = [write(&[0]), Step::Snapshot, remove, write(&[0, 1]), Step::Snapshot, restore(0, None), restore(1, None)];
    let back = [turned.as_slice(), &[restore(0, None)]].concat();
    for steps in [spoiled.as_slice(), &turned, &back] {
        play(steps, true).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(24),
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_snapshot_restores_to_what_was_there(steps in proptest::collection::vec(step(), 1..40), local in any::<bool>()) {
        play(&steps, local)?;
    }
}
