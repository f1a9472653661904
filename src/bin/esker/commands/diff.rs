//! `esker diff`: what changed between two snapshots. Folders whose listings have the same ids are not opened.

use anyhow::Result;
use esker::format::tree::{Content, Node, NodeKind};
use esker::repository::{Reader, StoredSnapshot};
use serde_json::{Map, Value, json};

use super::Context;
use super::place::{Place, put_bytes, shown};
use crate::args::Diff;
use crate::error::Usage;
use crate::exit_code::ExitCode;
use crate::terminal::words;

/// Compares two snapshots, or two folders of snapshots.
pub fn run(options: &Diff, context: &mut Context) -> Result<ExitCode> {
    let (a, b) = (Place::parse(&options.a)?, Place::parse(&options.b)?);
    let repository = context.open()?;
    let (older, newer) = (a.find(&repository)?, b.find(&repository)?);
    let reader = Reader::new(&repository, &*context.progress)?;
    context.progress.finish();
    let (left, right) = (folder(&reader, &older, a.path)?, folder(&reader, &newer, b.path)?);
    let mut comparison = Comparison { reader, context, metadata: options.metadata, tally: Tally::default() };
    comparison.folders(&left, &right, &mut Vec::new())?;
    let tally = comparison.tally;
    if context.out.json {
        context.out.json(&tally.json(&older, &newer))?;
    } else {
        context.out.remark(&tally.text())?;
    }
    Ok(ExitCode::Done)
}

fn folder(reader: &Reader, stored: &StoredSnapshot, path: &[u8]) -> Result<Content> {
    match reader.resolve(&stored.snapshot.root, path, &stored.id.short())? {
        None => Ok(stored.snapshot.root.clone()),
        Some(node) if node.kind == NodeKind::Folder => Ok(node.content),
        Some(node) => Err(Usage::new(format!("{} is not a folder; diff compares folders", shown(path, node.kind))).into()),
    }
}

#[derive(Default)]
struct Tally {
    added: u64,
    removed: u64,
    changed: u64,
    metadata: u64,
    bytes_added: u64,
    bytes_removed: u64,
}

impl Tally {
    fn text(&self) -> String {
        format!(
            "{} added ({}), {} removed ({}), {} changed, {} with other metadata",
            words::count(self.added),
            words::size(self.bytes_added),
            words::count(self.removed),
            words::size(self.bytes_removed),
            words::count(self.changed),
            words::count(self.metadata),
        )
    }

    fn json(&self, older: &StoredSnapshot, newer: &StoredSnapshot) -> Value {
        json!({
            "message_type": "statistics",
            "source_snapshot": older.id.to_hex(),
            "target_snapshot": newer.id.to_hex(),
            "added": self.added,
            "removed": self.removed,
            "changed": self.changed,
            "metadata_changed": self.metadata,
            "bytes_added": self.bytes_added,
            "bytes_removed": self.bytes_removed,
        })
    }
}

struct Comparison<'a> {
    reader: Reader,
    context: &'a mut Context,
    metadata: bool,
    tally: Tally,
}

impl Comparison<'_> {
    fn folders(&mut self, left: &Content, right: &Content, path: &mut Vec<u8>) -> Result<()> {
        if left == right {
            return Ok(());
        }
        let mut old = self.reader.nodes(left)?.into_iter().peekable();
        let mut new = self.reader.nodes(right)?.into_iter().peekable();
        loop {
            self.context.check_stop()?;
            let order = match (old.peek(), new.peek()) {
                (None, None) => return Ok(()),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(a), Some(b)) => a.name.cmp(&b.name),
            };
            let (a, b) = match order {
                std::cmp::Ordering::Less => (old.next(), None),
                std::cmp::Ordering::Greater => (None, new.next()),
                std::cmp::Ordering::Equal => (old.next(), new.next()),
            };
            match (a, b) {
                (Some(a), Some(b)) => self.both(&a, &b, path)?,
                (Some(only), None) => self.one(&only, path, false)?,
                (None, Some(only)) => self.one(&only, path, true)?,
                (None, None) => return Ok(()),
            }
        }
    }

    fn both(&mut self, a: &Node, b: &Node, path: &mut Vec<u8>) -> Result<()> {
        let length = push(path, &b.name);
        if a.kind != b.kind {
            self.tally.changed += 1;
            self.print('T', path, b.kind)?;
        } else if b.kind != NodeKind::Folder && (a.content != b.content || a.link_target != b.link_target || a.device != b.device) {
            self.tally.changed += 1;
            self.print('M', path, b.kind)?;
        } else if !same_metadata(a, b) {
            self.tally.metadata += 1;
            if self.metadata {
                self.print('U', path, b.kind)?;
            }
        }
        match (a.kind, b.kind) {
            (NodeKind::Folder, NodeKind::Folder) => self.folders(&a.content, &b.content, path)?,
            (NodeKind::Folder, _) => self.all_below(a, path, false)?,
            (_, NodeKind::Folder) => self.all_below(b, path, true)?,
            _ => {}
        }
        path.truncate(length);
        Ok(())
    }

    fn one(&mut self, node: &Node, path: &mut Vec<u8>, added: bool) -> Result<()> {
        let length = push(path, &node.name);
        self.count(node, path, added)?;
        if node.kind == NodeKind::Folder {
            self.all_below(node, path, added)?;
        }
        path.truncate(length);
        Ok(())
    }

    fn all_below(&mut self, folder: &Node, path: &mut Vec<u8>, added: bool) -> Result<()> {
        for node in self.reader.nodes(&folder.content)? {
            self.one(&node, path, added)?;
        }
        Ok(())
    }

    fn count(&mut self, node: &Node, path: &[u8], added: bool) -> Result<()> {
        self.context.check_stop()?;
        if added {
            self.tally.added += 1;
            self.tally.bytes_added += node.size;
        } else {
            self.tally.removed += 1;
            self.tally.bytes_removed += node.size;
        }
        self.print(if added { '+' } else { '-' }, path, node.kind)
    }

    fn print(&mut self, modifier: char, path: &[u8], kind: NodeKind) -> Result<()> {
        if self.context.out.json {
            let mut object = Map::new();
            object.insert("message_type".to_owned(), "change".into());
            put_bytes(&mut object, "path", path);
            object.insert("modifier".to_owned(), modifier.to_string().into());
            return self.context.out.json(&object);
        }
        self.context.out.line(&format!("{modifier}  {}", shown(path, kind)))
    }
}

/// Everything but the content, and but ctime, which no restore can set.
fn same_metadata(a: &Node, b: &Node) -> bool {
    (a.mode, a.uid, a.gid, &a.user, &a.group, a.mtime, &a.xattrs, a.flags())
        == (b.mode, b.uid, b.gid, &b.user, &b.group, b.mtime, &b.xattrs, b.flags())
}

fn push(path: &mut Vec<u8>, name: &[u8]) -> usize {
    let length = path.len();
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    length
}
