//! The user's files: walked, read and put back.
//!
//! [`scan()`] walks a folder tree and delivers its folders depth first in the order of their names; [`read`] opens what it found and
//! notices when it changes meanwhile; [`create`] puts entries back without ever leaving the target, whatever the tree or somebody
//! on this machine does; [`exclude`] decides by patterns. A [`Folder`] is an open folder: everything that happens in it happens
//! relative to its descriptor, with single names, and never through a symbolic link.
//!
//! Leans on `format::tree` for the [`Node`](crate::format::tree::Node), `clock` for timestamps, `monitor` for problems and stop
//! requests. Never knows chunks, repositories or snapshots: a node's content stays empty here.

mod apply;
pub mod create;
mod error;
pub mod exclude;
mod flags;
mod folder;
mod leftover;
mod metadata;
mod owners;
mod place;
pub mod read;
mod remove;
pub mod scan;
mod xattr;

pub use apply::{Rules, Shortfall};
pub use create::Target;
pub(crate) use create::free_bytes;
pub use error::{FilesystemError, shown};
pub(crate) use exclude::place_within;
pub use exclude::{ExcludeError, Excludes, lines_of_file, names_matching};
pub use folder::{Folder, Named};
pub(crate) use metadata::FileSystems;
pub use metadata::{FileStat, Found};
pub use owners::Owners;
pub use place::{Created, NewFile};
pub use read::OpenFile;
pub(crate) use read::Segment;
pub use scan::{Entered, FolderState, LeftOutCounts, Mark, Only, ScanError, ScanOptions, ScanSummary, Step, Trouble, scan};

#[cfg(test)]
mod tests;
