//! `esker diff`: what changed between two snapshots. Folders whose listings have the same ids are not opened.

use std::collections::HashSet;

use anyhow::Result;
use esker::format::tree::{Content, LeftOut, Node, NodeKind};
use esker::path;
use esker::repository::{Reader, StoredSnapshot};
use esker::restore::coverage::Coverage;
use serde_json::{Map, Value, json};

use crate::args::Diff;
use crate::context::Context;
use crate::error::Usage;
use crate::exit_code::ExitCode;
use crate::shared::place::{Place, put_bytes, shown, trimmed};
use crate::terminal::words;

/// Compares two snapshots, or two folders of snapshots.
pub fn run(options: &Diff, context: &mut Context) -> Result<ExitCode> {
    let (a, b) = (Place::parse(&options.a)?, Place::parse(&options.b)?);
    let repository = context.open()?;
    let (older, newer) = (a.find(&repository, &options.filter, context)?, b.find(&repository, &options.filter, context)?);
    let reader = Reader::new(&repository, &*context.progress)?;
    context.progress.finish();
    let (left, _) = folder(&reader, &older, a.path)?;
    let (right, left_out) = folder(&reader, &newer, b.path)?;
    let mut comparison = Comparison {
        reader,
        context,
        metadata: options.metadata,
        coverage: Coverage::new(Some(&newer.snapshot), b.path)?,
        streams: same_streams((&older, a.path), (&newer, b.path)),
        tally: Tally::default(),
    };
    comparison.folders(&left, &right, left_out, &mut Vec::new())?;
    let tally = comparison.tally;
    if context.out.json {
        context.out.json(&tally.json(&older, &newer))?;
    } else {
        context.out.remark(&tally.text())?;
    }
    Ok(ExitCode::Done)
}

/// The content of a folder, and what its record lacks.
fn folder(reader: &Reader, stored: &StoredSnapshot, path: &[u8]) -> Result<(Content, LeftOut)> {
    match reader.resolve(&stored.snapshot.root, path, &stored.id.short())? {
        None => Ok((stored.snapshot.root.clone(), LeftOut::NOTHING)),
        Some(node) if node.kind == NodeKind::Folder => {
            let left_out = node.left_out();
            Ok((node.content, left_out))
        }
        Some(node) => Err(Usage::new(format!("{} is not a folder; diff compares folders", shown(path, node.kind))).into()),
    }
}

/// Paths of streams that are the same on both sides from the first byte to the last, however they are cut into chunks.
fn same_streams(older: (&StoredSnapshot, &[u8]), newer: (&StoredSnapshot, &[u8])) -> HashSet<Vec<u8>> {
    // The key of their MACs belongs to a generation.
    if older.0.generation != newer.0.generation {
        return HashSet::new();
    }
    let of = |(stored, base): (&StoredSnapshot, &[u8])| -> HashSet<(Vec<u8>, u64, [u8; 32])> {
        let base = trimmed(base);
        let streams = stored.snapshot.sources.iter().flat_map(|source| &source.streams);
        let below = streams.filter_map(|stream| {
            let rest = path::relative(&stream.path, &base)?;
            Some((rest.to_vec(), stream.bytes, stream.mac))
        });
        below.collect()
    };
    of(older).intersection(&of(newer)).map(|(path, ..)| path.clone()).collect()
}

#[derive(Default)]
struct Tally {
    added: u64,
    removed: u64,
    changed: u64,
    metadata: u64,
    not_taken: u64,
    bytes_added: u64,
    bytes_removed: u64,
}

impl Tally {
    fn text(&self) -> String {
        let not_taken = match self.not_taken {
            0 => String::new(),
            count => format!(", {} not taken the second time", words::count(count)),
        };
        format!(
            "{} added ({}), {} removed ({}), {} changed, {} with other metadata{not_taken}",
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
            "not_taken": self.not_taken,
            "bytes_added": self.bytes_added,
            "bytes_removed": self.bytes_removed,
        })
    }
}

struct Comparison<'a> {
    reader: Reader,
    context: &'a mut Context,
    metadata: bool,
    /// What the newer snapshot is known to hold.
    coverage: Coverage,
    streams: HashSet<Vec<u8>>,
    tally: Tally,
}

impl Comparison<'_> {
    fn folders(&mut self, left: &Content, right: &Content, left_out: LeftOut, path: &mut Vec<u8>) -> Result<()> {
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
                (Some(only), None) => self.absent(&only, path, left_out)?,
                (None, Some(only)) => self.one(&only, path, true)?,
                (None, None) => return Ok(()),
            }
        }
    }

    fn both(&mut self, a: &Node, b: &Node, path: &mut Vec<u8>) -> Result<()> {
        let length = push(path, &b.name);
        if a.kind != b.kind {
            self.tally.changed += 1;
            self.print('T', path, b.kind, None)?;
        } else if b.kind != NodeKind::Folder && self.is_changed(a, b, path) {
            self.tally.changed += 1;
            let sizes = (b.kind == NodeKind::File).then_some((a.size, b.size));
            self.print('M', path, b.kind, sizes)?;
        } else if !same_metadata(a, b) {
            self.tally.metadata += 1;
            if self.metadata {
                self.print('U', path, b.kind, None)?;
            }
        }
        match (a.kind, b.kind) {
            (NodeKind::Folder, NodeKind::Folder) => self.folders(&a.content, &b.content, b.left_out(), path)?,
            (NodeKind::Folder, _) => self.all_below(a, path, false)?,
            (_, NodeKind::Folder) => self.all_below(b, path, true)?,
            _ => {}
        }
        path.truncate(length);
        Ok(())
    }

    fn is_changed(&self, a: &Node, b: &Node, path: &[u8]) -> bool {
        let same_content = a.content == b.content || self.streams.contains(path);
        !same_content || a.link_target != b.link_target || a.device != b.device
    }

    /// An entry that the newer snapshot does not hold: removed, unless that snapshot did not take it.
    fn absent(&mut self, node: &Node, path: &mut Vec<u8>, left_out: LeftOut) -> Result<()> {
        let length = push(path, &node.name);
        let why = self.coverage.why_absent(path, node, left_out);
        if let Some(why) = why {
            self.tally.not_taken += 1;
            self.print_not_taken(path, node.kind, why)?;
        }
        path.truncate(length);
        if why.is_some() { Ok(()) } else { self.one(node, path, false) }
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
        self.print(if added { '+' } else { '-' }, path, node.kind, None)
    }

    /// `sizes`: of a file before and after.
    fn print(&mut self, modifier: char, path: &[u8], kind: NodeKind, sizes: Option<(u64, u64)>) -> Result<()> {
        if self.context.out.json {
            let mut object = change(modifier, path);
            if let Some((before, after)) = sizes {
                object.insert("size_before".to_owned(), before.into());
                object.insert("size_after".to_owned(), after.into());
            }
            return self.context.out.json(&object);
        }
        let sizes = match sizes {
            Some((before, after)) => format!("  ({} -> {})", words::size(before), words::size(after)),
            None => String::new(),
        };
        self.context.out.line(&format!("{modifier}  {}{sizes}", shown(path, kind)))
    }

    fn print_not_taken(&mut self, path: &[u8], kind: NodeKind, why: &str) -> Result<()> {
        if self.context.out.json {
            let mut object = change('?', path);
            object.insert("detail".to_owned(), why.into());
            return self.context.out.json(&object);
        }
        self.context.out.line(&format!("?  {}  (not removed: {why})", shown(path, kind)))
    }
}

fn change(modifier: char, path: &[u8]) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("message_type".to_owned(), "change".into());
    put_bytes(&mut object, "path", path);
    object.insert("modifier".to_owned(), modifier.to_string().into());
    object
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
