//! The store: names to sealed bytes, on a disk or far away.
//!
//! A store is a few verbs over names and bytes. Objects are immutable: each is written once, complete, under its final
//! name. Wrappers (retry, limit, faults) are stores that hold stores. One suite (`tests/store.rs`) tests them all. This
//! room imports no other and knows neither keys nor formats, because everything is sealed before it arrives.

use std::fmt;
use std::sync::Arc;

#[cfg(any(feature = "remote", feature = "sftp"))]
mod bounds;
mod error;
pub mod faults;
pub mod limit;
mod local;
pub mod location;
mod memory;
pub mod options;
#[cfg(feature = "remote")]
mod remote;
#[cfg(feature = "sftp")]
pub mod sftp;

pub use error::{StoreError, StoreErrorKind};
pub use local::{DiskStep, LocalStore};
pub use memory::MemoryStore;

/// Parts of a name. A folder that stands deeper holds no object, so no listing goes into it.
const NAME_PARTS_MAX: usize = 16;

/// Name of an object: relative, `/`-separated, lower-case ASCII (`a-z 0-9 - . _`), no empty part, no `.` or `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// Checks the rules above; at most 255 bytes and 16 parts.
    pub fn new(name: impl Into<String>) -> Option<Self> {
        let name = name.into();
        let part_is_good = |part: &str| {
            !part.is_empty()
                && part != "."
                && part != ".."
                && part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_'))
        };
        let is_short = name.len() <= 255 && name.split('/').count() <= NAME_PARTS_MAX;
        (is_short && name.split('/').all(part_is_good)).then_some(Self(name))
    }
    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// What is before the last `/`; empty at the top of the store.
    pub fn folder(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
    /// What follows the last `/`.
    pub fn last_part(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// One row of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Full name.
    pub name: Name,
    /// Size in bytes.
    pub size: u64,
}

/// How finely a store may be read without showing what is inside packs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadUnit {
    /// Exact ranges: a local disk.
    Exact,
    /// Whole windows of 256 KiB, and above half of an object the whole object. The server of a remote store sees the
    /// ranges.
    Window,
}

/// Most names that [`Store::top`] gives.
pub(crate) const TOP_MAX: usize = 1000;

/// Names to bytes. Every call may come from any thread.
pub trait Store: Send + Sync {
    /// Where this is, for messages; never holds a secret.
    fn location(&self) -> String;

    /// Creates `name` with the concatenation of `parts`, durably, or fails with [`StoreErrorKind::Exists`] when the
    /// name is taken. Of many concurrent calls for one name exactly one succeeds. After an error the name holds
    /// nothing, or the complete object.
    fn create(&self, name: &Name, parts: &[&[u8]]) -> Result<(), StoreError>;

    /// The same with parts that the store may keep: a store that sends them later, or twice, needs no copy of them.
    fn create_shared(&self, name: &Name, parts: &[Arc<Vec<u8>>]) -> Result<(), StoreError> {
        let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_slice()).collect();
        self.create(name, &parts)
    }

    /// Replaces or creates `name`, atomically and durably. Only `repair` does that.
    fn replace(&self, name: &Name, parts: &[&[u8]]) -> Result<(), StoreError>;

    /// The whole object. An object above `size_max` bytes is [`StoreErrorKind::Size`], before anything is allocated for
    /// it.
    fn get(&self, name: &Name, size_max: u64) -> Result<Vec<u8>, StoreError>;

    /// Exactly `length` bytes from `offset`. A range beyond the end is [`StoreErrorKind::Size`].
    fn get_range(&self, name: &Name, offset: u64, length: usize) -> Result<Vec<u8>, StoreError>;

    /// Size in bytes.
    fn size(&self, name: &Name) -> Result<u64, StoreError>;

    /// Every object whose name begins with `folder/`, at any depth, in no order. An empty `folder` means every object.
    /// A folder that does not exist is empty, but a store that does not exist is [`StoreErrorKind::NoStore`]. A short
    /// answer is an error, never a short list. Files whose names are not valid [`Name`]s and unfinished temporary files
    /// are not shown.
    fn list(&self, folder: &str, each: &mut dyn FnMut(Entry)) -> Result<(), StoreError>;

    /// Deletes `name`. It is no error when there is no such object.
    fn delete(&self, name: &Name) -> Result<(), StoreError>;

    /// All names directly in the place, at most [`TOP_MAX`]; a folder ends in `/`. An absent place has none. They show
    /// what a place is used for before anything is put there.
    fn top(&self) -> Result<Vec<String>, StoreError> {
        let mut names = std::collections::BTreeSet::new();
        let top = |name: &Name| name.as_str().split_once('/').map_or(name.to_string(), |(folder, _)| format!("{folder}/"));
        let each = &mut |entry: Entry| {
            names.insert(top(&entry.name));
        };
        match self.list("", each) {
            Ok(()) => Ok(names.into_iter().take(TOP_MAX).collect()),
            Err(StoreError { kind: StoreErrorKind::NoStore { .. }, .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Makes the place itself (a folder, its parents) when it is absent.
    fn create_place(&self) -> Result<(), StoreError>;

    /// How finely it may be read.
    fn read_unit(&self) -> ReadUnit;

    /// Why two creates of one name at the same time may both succeed here although no trial shows it. `None`: nothing
    /// is known against this kind of store.
    fn known_race(&self) -> Option<&'static str> {
        None
    }

    /// What the clock of the server shows, in seconds since 1970-01-01T00:00:00Z, just after `made` was created there.
    /// `None`: the server does not tell.
    fn time_there(&self, _made: &Name) -> Result<Option<i64>, StoreError> {
        Ok(None)
    }

    /// What this process and a remote store have exchanged so far. `None` for a local store.
    fn traffic(&self) -> Option<options::Traffic> {
        None
    }
}

/// Size of the windows of [`ReadUnit::Window`], in bytes.
pub const WINDOW_BYTES: u64 = 256 << 10;

/// `length` bytes from `offset` of an object of `size` bytes, read in the units of the store: see [`ReadUnit`].
pub(crate) fn get_widened(store: &dyn Store, name: &Name, size: u64, offset: u64, length: usize) -> Result<Vec<u8>, StoreError> {
    // The store itself answers a range beyond the end.
    if store.read_unit() == ReadUnit::Exact || offset.saturating_add(length as u64) > size {
        return store.get_range(name, offset, length);
    }
    let (start, end) = widened(size, offset, offset + length as u64);
    let mut window = store.get_range(name, start, (end - start) as usize)?;
    window.drain(..(offset - start) as usize);
    window.truncate(length);
    Ok(window)
}

/// The windows around `start..end` of an object of `size` bytes: the whole object where they are more than half of it.
pub(crate) fn widened(size: u64, start: u64, end: u64) -> (u64, u64) {
    let (start, end) = (start / WINDOW_BYTES * WINDOW_BYTES, end.div_ceil(WINDOW_BYTES) * WINDOW_BYTES);
    if (end - start) * 2 > size { (0, size) } else { (start, end.min(size)) }
}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn location(&self) -> String {
        (**self).location()
    }
    fn create(&self, name: &Name, parts: &[&[u8]]) -> Result<(), StoreError> {
        (**self).create(name, parts)
    }
    fn create_shared(&self, name: &Name, parts: &[Arc<Vec<u8>>]) -> Result<(), StoreError> {
        (**self).create_shared(name, parts)
    }
    fn replace(&self, name: &Name, parts: &[&[u8]]) -> Result<(), StoreError> {
        (**self).replace(name, parts)
    }
    fn get(&self, name: &Name, size_max: u64) -> Result<Vec<u8>, StoreError> {
        (**self).get(name, size_max)
    }
    fn get_range(&self, name: &Name, offset: u64, length: usize) -> Result<Vec<u8>, StoreError> {
        (**self).get_range(name, offset, length)
    }
    fn size(&self, name: &Name) -> Result<u64, StoreError> {
        (**self).size(name)
    }
    fn list(&self, folder: &str, each: &mut dyn FnMut(Entry)) -> Result<(), StoreError> {
        (**self).list(folder, each)
    }
    fn delete(&self, name: &Name) -> Result<(), StoreError> {
        (**self).delete(name)
    }
    fn top(&self) -> Result<Vec<String>, StoreError> {
        (**self).top()
    }
    fn create_place(&self) -> Result<(), StoreError> {
        (**self).create_place()
    }
    fn read_unit(&self) -> ReadUnit {
        (**self).read_unit()
    }
    fn known_race(&self) -> Option<&'static str> {
        (**self).known_race()
    }
    fn time_there(&self, made: &Name) -> Result<Option<i64>, StoreError> {
        (**self).time_there(made)
    }
    fn traffic(&self) -> Option<options::Traffic> {
        (**self).traffic()
    }
}

// -- what every implementation needs ---------------------------------------------------------------

/// Is `name` below `folder`? The folder without a name is the whole store; what is below `tmp` belongs to the store and
/// is never shown.
fn in_folder(name: &Name, folder: &str) -> bool {
    let is_below = |folder: &str| name.as_str().strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    (folder.is_empty() || is_below(folder)) && !is_below("tmp")
}

fn concat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn too_large(name: &Name, size: u64, size_max: u64) -> StoreError {
    StoreError::size(name.clone(), size, format!("at most {size_max} bytes"))
}

fn beyond(name: &Name, size: u64, offset: u64, length: usize) -> StoreError {
    StoreError::size(name.clone(), size, format!("{length} bytes from {offset}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_no_way_out_of_its_store() {
        for good in ["a", "packs/0f/0123abcd", "gc/0000000000000001-condemn", "a.b_c-d"] {
            assert_eq!(Name::new(good).map(|name| name.to_string()), Some(good.to_owned()));
        }
        let (long, deep) = ("a".repeat(256), ["a"; NAME_PARTS_MAX + 1].join("/"));
        for bad in ["", "/a", "a/", "a//b", ".", "..", "a/../b", "a/.", "A", "a b", "a\0b", "a\\b", "\u{e9}", &long, &deep] {
            assert_eq!(Name::new(bad), None, "{bad:?}");
        }
        assert_eq!(Name::new("packs/0f/ab").unwrap().last_part(), "ab");
    }

    #[test]
    fn a_folder_holds_what_is_below_it_and_not_what_begins_alike() {
        let below = |name, folder| in_folder(&Name::new(name).unwrap(), folder);
        assert!(below("packs/0f/ab", "packs") && below("packs/0f/ab", "packs/0f") && below("packs/0f/ab", ""));
        assert!(!below("packs2/ab", "packs") && !below("packs", "packs") && !below("tmp/x", "") && !below("tmp/x", "tmp"));
    }
}
