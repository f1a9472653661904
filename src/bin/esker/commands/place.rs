//! What a person types to name a snapshot, or something in it: `latest`, `latest~1:media/logo.png`, `3fa2:database/app.dump`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use anyhow::Result;
use esker::format::snapshot::Snapshot;
use esker::format::tree::{Node, NodeKind};
use esker::prune::survey::{self, Survey, Surveyed};
use esker::repository::{Repository, RepositoryError, StoredSnapshot};
use serde_json::{Map, Value, json};

use crate::args::Filter;
use crate::error::Usage;
use crate::terminal::escape::escape;
use crate::terminal::words;

/// A snapshot as it was typed, and a path in it.
#[derive(Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// `latest`, `latest~N` or the beginning of an id.
    pub snapshot: &'a str,
    /// What follows the first colon; without one, everything.
    pub path: &'a [u8],
}

impl<'a> Place<'a> {
    /// Splits at the first colon.
    pub fn parse(text: &'a OsStr) -> Result<Self> {
        let bytes = text.as_bytes();
        let (snapshot, path) = match bytes.iter().position(|&byte| byte == b':') {
            Some(colon) => (&bytes[..colon], &bytes[colon + 1..]),
            None => (bytes, &b""[..]),
        };
        match std::str::from_utf8(snapshot) {
            Ok(snapshot) if !snapshot.is_empty() => Ok(Self { snapshot, path }),
            _ => Err(Usage::new(format!("{:?} names no snapshot", escape(bytes)))
                .hint("it is SNAPSHOT or SNAPSHOT:PATH, and SNAPSHOT is latest, latest~1 or the beginning of an id")
                .into()),
        }
    }

    /// The snapshot it names.
    pub fn find(&self, repository: &Repository) -> Result<StoredSnapshot> {
        Ok(snapshot(repository, self.snapshot, &Filter::default())?)
    }
}

/// Does a filter let this snapshot through? Every tag that was asked for must be there.
pub fn matches(filter: &Filter, snapshot: &Snapshot) -> bool {
    filter.host.as_ref().is_none_or(|host| *host == snapshot.host)
        && filter.tag.iter().all(|tag| snapshot.tags.contains(tag))
        && filter.source.as_ref().is_none_or(|name| snapshot.sources.iter().any(|source| source.name == *name))
}

/// The one that was typed. `latest` goes by the time at which a snapshot counts, and passes over those whose time is not believed: a
/// host that was once ten years ahead must not be the latest for ten years. Reading needs no notes: where they cannot be had, it goes
/// by what snapshots claim.
pub fn snapshot(repository: &Repository, wanted: &str, filter: &Filter) -> Result<StoredSnapshot, RepositoryError> {
    if wanted.starts_with("latest")
        && let Ok(survey) = survey::survey(repository)
    {
        return find(&survey, wanted, filter).map(|surveyed| surveyed.stored.clone());
    }
    repository.find_snapshot(wanted, &|snapshot| matches(filter, snapshot))
}

/// The snapshots that were named, or all that a filter lets through, oldest first. Damaged ones are told of.
pub fn chosen(repository: &Repository, named: &[String], filter: &Filter, warn: &dyn Fn(&str)) -> Result<Vec<StoredSnapshot>> {
    if !named.is_empty() {
        return Ok(named.iter().map(|name| snapshot(repository, name, filter)).collect::<Result<_, _>>()?);
    }
    let mut list = repository.snapshots()?;
    for (id, error) in &list.damaged {
        warn(&format!("snapshot {} cannot be read: {error}; `esker verify` says more", id.short()));
    }
    if !filter.tag.is_empty() {
        let notes = repository.notes()?;
        for stored in &mut list.snapshots {
            stored.snapshot.tags = notes.of(&stored.id).tags(&stored.snapshot.tags);
        }
    }
    list.snapshots.retain(|stored| matches(filter, &stored.snapshot));
    Ok(list.snapshots)
}

/// The same over what notes say of a snapshot too.
pub fn passes(filter: &Filter, surveyed: &Surveyed) -> bool {
    surveyed.matches(filter.host.as_deref(), filter.source.as_deref(), &filter.tag)
}

/// The one that was typed, among those that are there.
pub fn surveyed<'a>(survey: &'a Survey, wanted: &str) -> Result<&'a Surveyed, RepositoryError> {
    find(survey, wanted, &Filter::default())
}

/// As [`surveyed`]; a filter narrows what `latest` counts.
pub fn find<'a>(survey: &'a Survey, wanted: &str, filter: &Filter) -> Result<&'a Surveyed, RepositoryError> {
    let missing = || RepositoryError::SnapshotNotFound(wanted.to_owned());
    let fits: Vec<&Surveyed> = match wanted.strip_prefix("latest") {
        Some(rest) => {
            let back = if rest.is_empty() { Some(0) } else { rest.strip_prefix('~').and_then(|back| back.parse::<usize>().ok()) };
            let mut there: Vec<&Surveyed> = survey.snapshots.iter().filter(|surveyed| passes(filter, surveyed)).collect();
            if there.iter().any(|surveyed| surveyed.quarantined.is_none()) {
                there.retain(|surveyed| surveyed.quarantined.is_none());
            }
            there.sort_by_key(|surveyed| (surveyed.time, surveyed.stored.id));
            back.and_then(|back| there.into_iter().rev().nth(back)).into_iter().collect()
        }
        None if wanted.is_empty() => Vec::new(),
        None => survey.snapshots.iter().filter(|surveyed| surveyed.stored.id.to_hex().starts_with(wanted)).collect(),
    };
    match fits[..] {
        [one] => Ok(one),
        [] => Err(missing()),
        _ => Err(RepositoryError::SnapshotAmbiguous { prefix: wanted.to_owned(), count: fits.len() }),
    }
}

/// Puts raw bytes into a JSON object: as text where they are text; otherwise the text has replacement characters, and `<key>_hex`
/// has the truth.
pub fn put_bytes(object: &mut Map<String, Value>, key: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => drop(object.insert(key.to_owned(), text.into())),
        Err(_) => {
            object.insert(key.to_owned(), String::from_utf8_lossy(bytes).into());
            object.insert(format!("{key}_hex"), esker::id::hex(bytes).into());
        }
    }
}

/// A node as one JSON object.
pub fn node_json(message_type: &str, path: &[u8], node: &Node) -> Value {
    let mut object = Map::new();
    object.insert("message_type".to_owned(), message_type.into());
    put_bytes(&mut object, "name", &node.name);
    put_bytes(&mut object, "path", path);
    object.insert("type".to_owned(), kind(node.kind).into());
    object.insert("mode".to_owned(), format!("{:04o}", node.mode).into());
    object.insert("uid".to_owned(), node.uid.into());
    object.insert("gid".to_owned(), node.gid.into());
    object.insert("user".to_owned(), json!(node.user));
    object.insert("group".to_owned(), json!(node.group));
    object.insert("mtime".to_owned(), words::rfc3339(node.mtime).into());
    if node.kind == NodeKind::File {
        object.insert("size".to_owned(), node.size.into());
    }
    if node.kind == NodeKind::Symlink {
        put_bytes(&mut object, "link_target", &node.link_target);
    }
    Value::Object(object)
}

/// The word of a kind, as restic has it.
pub fn kind(kind: NodeKind) -> &'static str {
    match kind {
        NodeKind::File => "file",
        NodeKind::Folder => "dir",
        NodeKind::Symlink => "symlink",
        NodeKind::Fifo => "fifo",
        NodeKind::Socket => "socket",
        NodeKind::Char => "chardev",
        NodeKind::Block => "dev",
    }
}

/// `drwxr-x---`, as `ls -l` has it.
pub fn mode_text(node: &Node) -> String {
    let kind = match node.kind {
        NodeKind::File => '-',
        NodeKind::Folder => 'd',
        NodeKind::Symlink => 'l',
        NodeKind::Fifo => 'p',
        NodeKind::Socket => 's',
        NodeKind::Char => 'c',
        NodeKind::Block => 'b',
    };
    let mut text = String::from(kind);
    for (shift, special, set) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = node.mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, node.mode & special != 0) {
            (true, true) => set,
            (false, true) => set.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// A path as it is shown: escaped, and a folder ends in `/`.
pub fn shown(path: &[u8], kind: NodeKind) -> String {
    let mut text = escape(path);
    if kind == NodeKind::Folder {
        text.push('/');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_snapshot_and_a_path_that_may_hold_colons() {
        assert_eq!(Place::parse(OsStr::new("latest")).unwrap(), Place { snapshot: "latest", path: b"" });
        assert_eq!(Place::parse(OsStr::new("3fa2:a/b:c")).unwrap(), Place { snapshot: "3fa2", path: b"a/b:c" });
        assert!(Place::parse(OsStr::new(":a")).is_err());
        assert!(Place::parse(OsStr::new("")).is_err());
        assert!(Place::parse(OsStr::from_bytes(b"\xff:a")).is_err());
    }

    #[test]
    fn bytes_that_are_not_text_keep_their_truth_in_json() {
        let mut object = Map::new();
        put_bytes(&mut object, "path", b"a\xff");
        put_bytes(&mut object, "name", "ä".as_bytes());
        assert_eq!(Value::Object(object), json!({ "path": "a\u{fffd}", "path_hex": "61ff", "name": "ä" }));
    }
}
