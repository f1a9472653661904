//! A node's owner, mode, attributes and times, put on an entry that was created: in an order in which nothing is open wider than it
//! will be, nor ever set-uid for the wrong user.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, chownat, fchmod, fchown, futimens, utimensat};
use rustix::io::Errno;

use super::flags;
use super::folder::Folder;
use super::owners::Owners;
use super::xattr::{self, ACCESS_ACL, Attributes, ByFd, ByName, DEFAULT_ACL};
use crate::format::tree::{FileFlags, Node, NodeKind, XattrValue};

const SET_IDS: u32 = 0o6000;

/// What of a node's metadata is put back, and by whom. Shared by all threads of a restore.
#[derive(Debug)]
pub struct Rules {
    ownership: bool,
    by_name: bool,
    xattrs: bool,
    owners: Owners,
    euid: u32,
    egid: u32,
}

/// Something of a node that could not be put back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Shortfall {
    /// Owner or group: mostly because only root may give files away.
    Owner,
    /// The set-uid and set-gid bits, because the owner they would act for is not restored.
    SetIds,
    /// An extended attribute.
    Xattr {
        /// Its name.
        name: Vec<u8>,
        /// Why.
        detail: String,
    },
    /// Flags of `chattr`: mostly because only root may set them, or because this file system has none.
    Flags {
        /// Those that are not set.
        flags: FileFlags,
        /// Why.
        detail: String,
    },
    /// Only root may create devices.
    Device,
}

impl std::fmt::Display for Shortfall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Owner => f.write_str("owner not restored: only root may give files away"),
            Self::SetIds => f.write_str("set-uid and set-gid bits left off, as the owner is another"),
            Self::Xattr { name, detail } => write!(f, "attribute {} not restored: {detail}", super::shown(name)),
            Self::Flags { flags, detail } => write!(f, "flags {flags} (of chattr) not restored: {detail}"),
            Self::Device => f.write_str("device not created: only root may"),
        }
    }
}

impl Rules {
    /// `ownership`: restore owners at all; `by_name`: by the recorded names first, then by numbers; `xattrs`: extended attributes.
    pub fn new(ownership: bool, by_name: bool, xattrs: bool) -> Self {
        let (euid, egid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Self { ownership, by_name, xattrs, owners: Owners::new(), euid, egid }
    }

    /// The numbers of the node's owner and group on this machine.
    fn owner(&self, node: &Node) -> (u32, u32) {
        let number = |name: &Option<String>, id: u32, look_up: &dyn Fn(&str) -> Option<u32>| match name {
            Some(name) if self.by_name => look_up(name).unwrap_or(id),
            _ => id,
        };
        (number(&node.user, node.uid, &|name| self.owners.uid(name)), number(&node.group, node.gid, &|name| self.owners.gid(name)))
    }
}

/// How an entry is reached to change its metadata.
pub(super) enum Reach<'a, F> {
    /// By its descriptor.
    Open(F),
    /// By its folder and name, for what cannot be opened; links are not followed.
    Named(&'a Folder, &'a [u8]),
}

/// What the entry may have already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Just created, 0600 or 0700, with nothing but what its folder handed down.
    Fresh {
        /// The folder has a default ACL.
        inherited_acl: bool,
    },
    /// It was there before: attributes the node has not are removed.
    Old,
}

impl<F: AsFd> Reach<'_, F> {
    fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        match self {
            Self::Open(fd) => fchown(fd, uid, gid),
            Self::Named(folder, name) => chownat(folder, *name, uid, gid, AtFlags::SYMLINK_NOFOLLOW),
        }
    }

    fn set_mode(&self, mode: u32) -> Result<(), Errno> {
        let mode = Mode::from_raw_mode(mode);
        match self {
            Self::Open(fd) => fchmod(fd, mode),
            Self::Named(folder, name) => chmod_special(folder, name, mode),
        }
    }

    fn set_times(&self, times: &Timestamps) -> Result<(), Errno> {
        match self {
            Self::Open(fd) => futimens(fd, times),
            Self::Named(folder, name) => utimensat(folder, *name, times, AtFlags::SYMLINK_NOFOLLOW),
        }
    }
}

/// The mode of a pipe, socket or device without opening it, which could wait or act on the device: through a descriptor that is only
/// a place (O_PATH), which chmod reaches by its number in `/proc`.
pub(super) fn chmod_special(folder: &Folder, name: &[u8], mode: Mode) -> Result<(), Errno> {
    use rustix::fs::{CWD, FileType, OFlags, chmodat, fstat};
    use std::os::fd::AsRawFd;
    let fd = super::folder::open_beneath(folder, name, OFlags::PATH, Mode::empty())?;
    // A link's own mode means nothing, and changing it would fail; it can only have come here by being swapped in.
    if FileType::from_raw_mode(fstat(&fd)?.st_mode) == FileType::Symlink {
        return Err(Errno::LOOP);
    }
    chmodat(CWD, format!("/proc/self/fd/{}", fd.as_raw_fd()), mode, AtFlags::empty())
}

/// Puts owner, attributes, mode and times of `node` on an entry, in this order: a change of owner clears set-uid bits and
/// capabilities; an ACL changes the mode's group bits, which the mode then sets to what they were; times come last.
pub(super) fn apply<F: AsFd>(reach: &Reach<'_, F>, node: &Node, rules: &Rules, state: State) -> Result<Vec<Shortfall>, Errno> {
    let mut shortfalls = Vec::new();
    let mut owned = false;
    if rules.ownership {
        let (uid, gid) = rules.owner(node);
        // -1 is nobody's number: to the system it means "leave it as it is", which would pass for done.
        let numbers = uid != u32::MAX && gid != u32::MAX;
        owned = match if numbers { reach.set_owner(Some(uid), Some(gid)) } else { Err(Errno::INVAL) } {
            Ok(()) => true,
            Err(Errno::PERM | Errno::INVAL) => {
                // Not root, or a number this user namespace does not have. The group alone may be one of ours.
                if gid != u32::MAX {
                    let _ = reach.set_owner(None, Some(gid));
                }
                false
            }
            Err(errno) => return Err(errno),
        };
        if !owned {
            shortfalls.push(Shortfall::Owner);
        }
    }
    match reach {
        Reach::Open(fd) => set_xattrs(&ByFd(fd), node, rules, state, &mut shortfalls)?,
        Reach::Named(folder, name) => {
            let has_some = state == State::Old || !node.xattrs.is_empty() || state == State::Fresh { inherited_acl: true };
            if has_some {
                set_xattrs(&ByName::new(folder, name), node, rules, state, &mut shortfalls)?;
            }
        }
    }
    if node.kind != NodeKind::Symlink {
        let mut mode = node.mode & 0o7777;
        // For a folder set-gid only says which group new files get.
        if mode & SET_IDS != 0 && !owned && node.kind != NodeKind::Folder && !rules.is_own(node) {
            mode &= !SET_IDS;
            shortfalls.push(Shortfall::SetIds);
        }
        let created = if node.kind == NodeKind::Folder { 0o700 } else { 0o600 };
        let fresh = matches!((state, reach), (State::Fresh { .. }, Reach::Open(_)));
        let acl = !node.xattrs.is_empty() || state == State::Fresh { inherited_acl: true };
        if !fresh || mode != created || acl {
            reach.set_mode(mode)?;
        }
    }
    reach.set_times(&times(node))?;
    Ok(shortfalls)
}

/// Puts the flags of `node` on an open entry, when nothing else will be done to it: an immutable one can be neither renamed nor linked.
pub(super) fn apply_flags(fd: impl AsFd, node: &Node, shortfalls: &mut Vec<Shortfall>) {
    if node.flags().is_none() {
        return;
    }
    if let Err((flags, errno)) = flags::add(fd, node.flags()) {
        shortfalls.push(Shortfall::Flags { flags, detail: errno.to_string() });
    }
}

impl Rules {
    /// Without restoring owners a file still has the recorded owner when that is who we are.
    fn is_own(&self, node: &Node) -> bool {
        (node.uid, node.gid) == (self.euid, self.egid)
    }
}

fn times(node: &Node) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: node.mtime.seconds, tv_nsec: node.mtime.nanoseconds.min(999_999_999).into() },
    }
}

fn set_xattrs(
    of: &impl Attributes,
    node: &Node,
    rules: &Rules,
    state: State,
    shortfalls: &mut Vec<Shortfall>,
) -> Result<(), Errno> {
    // Inherited ACLs go even when attributes are not wanted: they would let others in whom the node does not.
    if state == (State::Fresh { inherited_acl: true }) {
        for name in [ACCESS_ACL, DEFAULT_ACL] {
            match of.remove(name) {
                Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
    if !rules.xattrs {
        return Ok(());
    }
    if state == State::Old {
        for name in xattr::names(of)? {
            // Labels belong to the system's policy here, not to the file.
            let label = name.starts_with(b"security.") && name != b"security.capability";
            if !label && !node.xattrs.iter().any(|xattr| xattr.name == name) {
                // Left when it may not be removed: then it could not have been set either.
                let _ = of.remove(&name);
            }
        }
    }
    for xattr in &node.xattrs {
        let XattrValue::Inline(value) = &xattr.value else {
            shortfalls.push(Shortfall::Xattr { name: xattr.name.clone(), detail: "its value was not given".to_owned() });
            continue;
        };
        // A NUL would name another attribute; the kernel has no empty or longer names than 255 bytes.
        let result = if xattr.name.contains(&0) { Err(Errno::INVAL) } else { of.set(&xattr.name, value) };
        match result {
            Ok(()) => {}
            Err(errno @ (Errno::NOSPC | Errno::DQUOT)) if value.len() < 4096 => return Err(errno),
            Err(errno) => shortfalls.push(Shortfall::Xattr { name: xattr.name.clone(), detail: errno.to_string() }),
        }
    }
    Ok(())
}
