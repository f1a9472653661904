//! What a person types to name a snapshot, or something in it: `latest`, `latest~1:media/logo.png`, `3fa2:database/app.dump`.

mod latest;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use anyhow::Result;
use esker::format::snapshot::Snapshot;
use esker::format::tree::{Node, NodeKind};
use esker::id::SnapshotId;
use esker::repository::latest::Candidate;
use esker::repository::survey::{self, Survey, Surveyed};
use esker::repository::{Repository, RepositoryError, StoredSnapshot};
use serde_json::{Map, Value, json};

use crate::args::Filter;
use crate::context::Context;
use crate::error::{Failure, Usage};
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
            _ => Err(Usage::new(format!("{:?} does not name a snapshot", escape(bytes)))
                .hint("write SNAPSHOT or SNAPSHOT:PATH, where SNAPSHOT is latest, latest~1 or the beginning of an id")
                .into()),
        }
    }

    /// The snapshot it names; the filter and the config file narrow what `latest` counts.
    pub fn find(&self, repository: &Repository, filter: &Filter, context: &Context) -> Result<StoredSnapshot> {
        snapshot(repository, self.snapshot, filter, context)
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
pub fn snapshot(repository: &Repository, wanted: &str, filter: &Filter, context: &Context) -> Result<StoredSnapshot> {
    let is_latest = wanted.starts_with("latest");
    if !is_latest && filter.is_empty() {
        return Ok(repository.find_snapshot(wanted, &|_| true)?);
    }
    if let Ok(survey) = survey::survey(repository)
        && (is_latest || survey.damaged.is_empty())
    {
        return find(&survey, wanted, filter, context).map(|surveyed| surveyed.stored.clone());
    }
    if !is_latest {
        let stored = repository.find_snapshot(wanted, &|_| true)?;
        return if matches(filter, &stored.snapshot) { Ok(stored) } else { Err(unmatched(wanted, filter)) };
    }
    let list = repository.snapshots()?;
    if list.snapshots.is_empty() && list.damaged.is_empty() {
        return Err(no_snapshots_yet(wanted));
    }
    let there = list.snapshots.iter().filter(|stored| matches(filter, &stored.snapshot)).map(latest::of_stored).collect();
    let id = choose(wanted, there, filter, context)?;
    let stored = list.snapshots.iter().find(|stored| stored.id == id);
    let stored = stored.ok_or_else(|| RepositoryError::SnapshotNotFound(wanted.to_owned()))?;
    context.progress.tell(&latest::describe(stored));
    Ok(stored.clone())
}

/// The snapshots that were named, or all that a filter lets through, oldest first. Damaged ones are told of.
pub fn chosen(repository: &Repository, named: &[String], filter: &Filter, context: &Context) -> Result<Vec<StoredSnapshot>> {
    if !named.is_empty() {
        return named.iter().map(|name| snapshot(repository, name, filter, context)).collect();
    }
    let list = repository.snapshots()?;
    for (id, error) in &list.damaged {
        context.progress.warn(&format!("snapshot {} cannot be read: {error}; `esker verify` says more", id.short()));
    }
    let mut snapshots = list.snapshots;
    if !filter.tag.is_empty() {
        let notes = repository.notes()?;
        for stored in &mut snapshots {
            stored.snapshot.tags = notes.of(&stored.id).tags(&stored.snapshot.tags);
        }
    }
    snapshots.retain(|stored| matches(filter, &stored.snapshot));
    Ok(snapshots)
}

/// The same among those that a survey has read already. One that was named and is damaged is refused with what is wrong with it.
pub fn chosen_of<'a>(
    survey: &'a Survey,
    repository: &Repository,
    named: &[String],
    filter: &Filter,
    context: &Context,
) -> Result<Vec<&'a StoredSnapshot>> {
    if named.is_empty() {
        let passing = survey.snapshots.iter().filter(|surveyed| passes(filter, surveyed));
        return Ok(passing.map(|surveyed| &surveyed.stored).collect());
    }
    let one = |name: &String| {
        let is_damaged = survey.damaged.iter().any(|(id, _)| id.to_hex().starts_with(name.as_str()));
        match find(survey, name, filter, context) {
            Ok(surveyed) => Ok(&surveyed.stored),
            Err(error) if is_damaged => Err(repository.find_snapshot(name, &|_| true).err().map_or(error, Into::into)),
            Err(error) => Err(error),
        }
    };
    named.iter().map(one).collect()
}

/// Ids of those that were named or, with a filter, of all that it lets through; none: nothing was asked for, so all are meant.
pub fn only(repository: &Repository, named: &[String], filter: &Filter, context: &Context) -> Result<Vec<SnapshotId>> {
    if named.is_empty() && filter.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<SnapshotId> = chosen(repository, named, filter, context)?.iter().map(|stored| stored.id).collect();
    if ids.is_empty() { Err(unmatched("", filter)) } else { Ok(ids) }
}

/// The same over what notes say of a snapshot too.
pub fn passes(filter: &Filter, surveyed: &Surveyed) -> bool {
    surveyed.matches(filter.host.as_deref(), filter.source.as_deref(), &filter.tag)
}

/// The one that was typed, among those that are there. The filter and the config file narrow what `latest` counts, and an id that the
/// filter does not let through is refused.
pub fn find<'a>(survey: &'a Survey, wanted: &str, filter: &Filter, context: &Context) -> Result<&'a Surveyed> {
    let missing = || RepositoryError::SnapshotNotFound(wanted.to_owned());
    if survey.snapshots.is_empty() && survey.damaged.is_empty() {
        return Err(no_snapshots_yet(wanted));
    }
    if wanted.starts_with("latest") {
        let there = survey.snapshots.iter().filter(|surveyed| passes(filter, surveyed)).map(latest::of_surveyed).collect();
        let id = choose(wanted, there, filter, context)?;
        let surveyed = survey.get(&id).ok_or_else(missing)?;
        context.progress.tell(&latest::describe(&surveyed.stored));
        return Ok(surveyed);
    }
    let fits: Vec<&Surveyed> = match wanted.is_empty() {
        true => Vec::new(),
        false => survey.snapshots.iter().filter(|surveyed| surveyed.stored.id.to_hex().starts_with(wanted)).collect(),
    };
    match fits[..] {
        [one] if passes(filter, one) => Ok(one),
        [_] => Err(unmatched(wanted, filter)),
        [] => Err(missing().into()),
        _ => Err(RepositoryError::SnapshotAmbiguous { prefix: wanted.to_owned(), count: fits.len() }.into()),
    }
}

/// What `latest` means among those that the filter lets through. Remarks about it go to standard error.
fn choose(wanted: &str, there: Vec<Candidate<'_>>, filter: &Filter, context: &Context) -> Result<SnapshotId> {
    if there.is_empty() && !filter.is_empty() {
        return Err(unmatched(wanted, filter));
    }
    let choice = latest::wish(filter, context).choose(wanted, there)?;
    choice.remarks.iter().for_each(|remark| context.progress.warn(&remark.to_string()));
    Ok(choice.id)
}

fn no_snapshots_yet(wanted: &str) -> anyhow::Error {
    Failure::new(format!("no snapshot matches {wanted:?}: the repository has no snapshots yet"))
        .hint("`esker snapshot PATH` takes the first one")
        .into()
}

fn unmatched(wanted: &str, filter: &Filter) -> anyhow::Error {
    let host = filter.host.iter().map(|host| format!("--host {host}"));
    let what = match wanted {
        name if name.is_empty() || name.starts_with("latest") => "no snapshot".to_owned(),
        name => format!("snapshot {name} exists, but it is not one that"),
    };
    let asked: Vec<String> = host
        .chain(filter.tag.iter().map(|tag| format!("--tag {tag}")))
        .chain(filter.source.iter().map(|source| format!("--source {source}")))
        .collect();
    Failure::new(format!("{what} fits {}", asked.join(" ")))
        .hint("`esker snapshots` lists the snapshots with their hosts, tags and sources")
        .into()
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

/// A path in a snapshot without the slashes around it.
pub fn trimmed(path: &[u8]) -> Vec<u8> {
    let parts = path.split(|&byte| byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    parts.collect::<Vec<_>>().join(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_known_by_its_parts() {
        assert_eq!(trimmed(b"/a//b/./c/"), b"a/b/c");
        assert_eq!(trimmed(b""), b"");
        assert_eq!(trimmed(b"/"), b"");
    }

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
