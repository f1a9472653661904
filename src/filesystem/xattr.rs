//! Extended attributes, raw: ACLs, capabilities and labels are attributes too.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{
    OFlags, XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr, lgetxattr, llistxattr, lremovexattr, lsetxattr,
};
use rustix::io::Errno;

use super::folder::open_beneath;
use crate::format::tree::{NodeKind, Xattr, XattrValue};

/// The kernel's own limit for one value and for the list of names.
const SIZE_MAX: usize = 65_536;

/// The attribute that holds the ACL of an entry.
pub(super) const ACCESS_ACL: &[u8] = b"system.posix_acl_access";
/// The attribute of a folder that what is created in it inherits.
pub(super) const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

/// Something that has attributes.
pub(super) trait Attributes {
    fn list(&self, buffer: &mut [u8]) -> Result<usize, Errno>;
    fn get(&self, name: &[u8], buffer: &mut [u8]) -> Result<usize, Errno>;
    fn set(&self, name: &[u8], value: &[u8]) -> Result<(), Errno>;
    fn remove(&self, name: &[u8]) -> Result<(), Errno>;
}

/// Through a descriptor.
pub(super) struct ByFd<F>(pub F);

impl<F: AsFd> Attributes for ByFd<F> {
    fn list(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        flistxattr(&self.0, buffer)
    }
    fn get(&self, name: &[u8], buffer: &mut [u8]) -> Result<usize, Errno> {
        fgetxattr(&self.0, name, buffer)
    }
    fn set(&self, name: &[u8], value: &[u8]) -> Result<(), Errno> {
        fsetxattr(&self.0, name, value, XattrFlags::empty())
    }
    fn remove(&self, name: &[u8]) -> Result<(), Errno> {
        fremovexattr(&self.0, name)
    }
}

/// Through `/proc/self/fd/N/name`: the folder is the open one whatever its path is now, and the last step follows no link.
/// (The calls that take a folder's descriptor and a name came with Linux 6.13.)
pub(super) struct ByName(Vec<u8>);

impl ByName {
    pub(super) fn new(folder: impl AsFd, name: &[u8]) -> Self {
        let mut path = format!("/proc/self/fd/{}/", folder.as_fd().as_raw_fd()).into_bytes();
        path.extend_from_slice(name);
        Self(path)
    }
}

impl Attributes for ByName {
    fn list(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        llistxattr(self.0.as_slice(), buffer)
    }
    fn get(&self, name: &[u8], buffer: &mut [u8]) -> Result<usize, Errno> {
        lgetxattr(self.0.as_slice(), name, buffer)
    }
    fn set(&self, name: &[u8], value: &[u8]) -> Result<(), Errno> {
        lsetxattr(self.0.as_slice(), name, value, XattrFlags::empty())
    }
    fn remove(&self, name: &[u8]) -> Result<(), Errno> {
        lremovexattr(self.0.as_slice(), name)
    }
}

/// The attributes of an open file or folder.
pub(super) fn read(fd: impl AsFd) -> Result<Vec<Xattr>, Errno> {
    read_all(&ByFd(fd))
}

/// The attributes of an entry that is not open.
pub(super) fn read_at(folder: impl AsFd, name: &[u8], kind: NodeKind) -> Result<Vec<Xattr>, Errno> {
    match read_all(&ByName::new(folder.as_fd(), name)) {
        // Gone, or there is no /proc: an open file can be asked without it.
        Err(Errno::NOENT) if matches!(kind, NodeKind::File | NodeKind::Folder) => {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK;
            let fd: OwnedFd = open_beneath(folder, name, flags, rustix::fs::Mode::empty())?;
            read(fd)
        }
        result => result,
    }
}

fn read_all(of: &impl Attributes) -> Result<Vec<Xattr>, Errno> {
    let mut xattrs = Vec::new();
    for name in names(of)? {
        // One that was removed meanwhile, or that may be listed and not read, is not there for us.
        match value(of, &name) {
            Ok(value) => xattrs.push(Xattr { name, value: XattrValue::Inline(value) }),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno),
        }
    }
    xattrs.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(xattrs)
}

/// The names of the attributes, in no order.
pub(super) fn names(of: &impl Attributes) -> Result<Vec<Vec<u8>>, Errno> {
    let mut small = [0; 512];
    let mut large;
    let list: &[u8] = match of.list(&mut small) {
        Ok(length) => small.get(..length).unwrap_or(&small),
        Err(Errno::RANGE) => {
            large = vec![0; SIZE_MAX];
            let length = of.list(&mut large)?;
            large.get(..length).unwrap_or(&large)
        }
        // The file system has none.
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(errno) => return Err(errno),
    };
    Ok(list.split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect())
}

/// One value.
pub(super) fn value(of: &impl Attributes, name: &[u8]) -> Result<Vec<u8>, Errno> {
    let mut small = [0; 512];
    match of.get(name, &mut small) {
        Ok(length) => Ok(small.get(..length).unwrap_or(&small).to_vec()),
        Err(Errno::RANGE) => {
            let mut large = vec![0; SIZE_MAX];
            let length = of.get(name, &mut large)?;
            large.truncate(length);
            large.shrink_to_fit();
            Ok(large)
        }
        Err(errno) => Err(errno),
    }
}
