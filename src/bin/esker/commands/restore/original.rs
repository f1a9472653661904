//! `--to-original`: which part of a snapshot goes where.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use anyhow::Result;
use esker::format::snapshot::SourceEntry;
use esker::format::tree::NodeKind;
use esker::repository::{Reader, Repository, StoredSnapshot};

use crate::context::Context;
use crate::error::Usage;
use crate::shared::place::trimmed;
use crate::terminal::escape::escape;

/// A part of a snapshot, and the folder it goes to.
pub struct Put {
    /// In the snapshot.
    pub path: Vec<u8>,
    /// On this machine.
    pub target: PathBuf,
    /// The name in `target` of what is not a folder. None: the name that it has in the snapshot.
    pub name: Option<Vec<u8>>,
}

impl Put {
    /// Where the part ends up: a folder, or the path of a single file.
    pub fn place(&self) -> PathBuf {
        self.name.as_ref().map_or_else(|| self.target.clone(), |name| self.target.join(OsStr::from_bytes(name)))
    }
}

/// Every directory source at `path` or below. What does not come back this way is said.
pub fn puts(repository: &std::sync::Arc<Repository>, stored: &StoredSnapshot, path: &[u8], context: &Context) -> Result<Vec<Put>> {
    let reader = Reader::new(repository, &*context.progress)?;
    let path = trimmed(path);
    let name = path.split(|&byte| byte == b'/').next().unwrap_or_default();
    let mut puts = Vec::new();
    for source in &stored.snapshot.sources {
        if source.path.is_empty() || !(name.is_empty() || name == source.path) {
            continue;
        }
        let wanted = if name.is_empty() { source.path.clone() } else { path.clone() };
        match put(&reader, stored, source, wanted)? {
            Ok(put) => puts.push(put),
            Err(why) => context.progress.warn(&format!("{} is not restored: {why}", source.name)),
        }
    }
    if puts.is_empty() {
        return Err(Usage::new("nothing of this can be restored to its original place")
            .hint("restore it to a folder with --target, or dump a stream with `esker dump`")
            .into());
    }
    Ok(puts)
}

/// The place of one path of a source, or why it has none.
fn put(reader: &Reader, stored: &StoredSnapshot, source: &SourceEntry, path: Vec<u8>) -> Result<Result<Put, String>> {
    if let Some(stream) = source.streams.first() {
        let at = escape(&stream.path);
        return Ok(Err(format!(
            "it is a stream ({}), which only its own program can restore: `esker dump {}:{at}` prints it",
            source.kind,
            stored.id.short()
        )));
    }
    let Some(original) = source.original_path() else {
        return Ok(Err("the snapshot does not say where it was; name a --target".to_owned()));
    };
    let node = reader.resolve(&stored.snapshot.root, &path, &stored.id.short())?;
    let below = esker::path::relative(&path, &source.path).unwrap_or_default();
    let place = if below.is_empty() { original } else { original.join(OsStr::from_bytes(below)) };
    if node.is_none_or(|node| node.kind == NodeKind::Folder) {
        return Ok(Ok(Put { path, target: place, name: None }));
    }
    // A single file may have another name in the snapshot than it had on the disk.
    let (Some(folder), Some(name)) = (place.parent(), place.file_name()) else {
        return Ok(Err(format!("{} is not the path of a file; name a --target", escape(place.as_os_str().as_bytes()))));
    };
    Ok(Ok(Put { path, target: folder.to_owned(), name: Some(name.as_bytes().to_vec()) }))
}
