//! Targets from which nothing may be deleted.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::restore::RestoreError;
use crate::restore::coverage::Coverage;
use crate::restore::deletions::{Deletions, Protected};

/// Refuses a target whose content is never only that of one snapshot.
pub(crate) fn check_target(target: &Path, protected: &Protected) -> Result<(), RestoreError> {
    let refuse = |why: &str| Err(RestoreError::NoPlaceToDelete { target: target.to_owned(), why: why.to_owned() });
    let Ok(metadata) = std::fs::metadata(target) else { return Ok(()) };
    let id = (metadata.dev(), metadata.ino());
    let is_root = std::fs::metadata("/").is_ok_and(|root| (root.dev(), root.ino()) == id);
    if is_root || std::fs::canonicalize(target).is_ok_and(|path| path == Path::new("/")) {
        return refuse("it is the root of the file system");
    }
    if protected.has_id(id) {
        return refuse("it is a home folder, or esker uses it");
    }
    Ok(())
}

/// Refuses a target that holds other things and nothing of what is restored: the content of a folder was most likely meant for a
/// folder of its own.
pub(crate) fn check_place(target: &Path, coverage: &Coverage, deletions: &Deletions) -> Result<(), RestoreError> {
    if deletions.has_common || deletions.of(b"").is_none() {
        return Ok(());
    }
    let Some((original, name)) = coverage.original() else { return Ok(()) };
    let Ok(place) = std::fs::canonicalize(target) else { return Ok(()) };
    let is_original = std::fs::canonicalize(original).is_ok_and(|original| original == place);
    if is_original || place.file_name().is_some_and(|last| last.as_bytes() == name) {
        return Ok(());
    }
    let name = String::from_utf8_lossy(&name).into_owned();
    let why =
        format!("it holds nothing of {name}, so all that is in it would go; the content of {name} goes into the target itself");
    Err(RestoreError::NoPlaceToDelete { target: target.to_owned(), why })
}
