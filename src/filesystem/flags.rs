//! The flags of `chattr`: read with an entry, put back as the last thing that happens to it.

use std::os::fd::AsFd;

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use rustix::io::Errno;

use crate::format::tree::FileFlags;

/// No other entry may take the place of one with these, and it may get no other name.
const FIXED: FileFlags = FileFlags::IMMUTABLE.and(FileFlags::APPEND_ONLY);

/// Those of an open file or folder that are worth keeping. A file system that has no flags, or does not tell, has none.
pub(super) fn read(fd: impl AsFd) -> FileFlags {
    ioctl_getflags(fd).map_or(FileFlags::NONE, |flags| FileFlags::kept(flags.bits()))
}

/// Adds `flags` to those that an entry has; returns those it does not have afterwards, and why.
pub(super) fn add(fd: impl AsFd, flags: FileFlags) -> Result<(), (FileFlags, Errno)> {
    let there = ioctl_getflags(&fd).map_err(|errno| (flags, errno))?;
    let wanted = |flags: FileFlags| IFlags::from_bits_retain(there.bits() | flags.bits());
    if wanted(flags) == there {
        return Ok(());
    }
    let mut why = match ioctl_setflags(&fd, wanted(flags)) {
        Ok(()) => Errno::OPNOTSUPP,
        Err(errno) => errno,
    };
    // One that cannot be set keeps none of the others off.
    for flag in flags.each() {
        let now = ioctl_getflags(&fd).map_err(|errno| (flags, errno))?;
        if !FileFlags::kept(now.bits()).has(flag)
            && let Err(errno) = ioctl_setflags(&fd, IFlags::from_bits_retain(now.bits() | flag.bits()))
        {
            why = errno;
        }
    }
    // What a file system does not know it may also take without a word.
    let missing = flags.without(read(&fd));
    if missing.is_none() { Ok(()) } else { Err((missing, why)) }
}

/// Do they keep an entry from being written, linked, renamed and removed, by root too?
pub(super) fn is_fixed(flags: FileFlags) -> bool {
    !flags.only(FIXED).is_none()
}

/// Runs `work` while the entry is neither immutable nor append-only, and makes it again what it was.
pub(super) fn while_free<T>(fd: impl AsFd, work: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let there = ioctl_getflags(&fd)?;
    ioctl_setflags(&fd, IFlags::from_bits_retain(there.bits() & !FIXED.bits()))?;
    let done = work();
    ioctl_setflags(&fd, there)?;
    done
}
