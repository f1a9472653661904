//! Which snapshots and which paths refer to chunks that are lost.
//!
//! The walk looks at each tree once, whatever shares it. This one goes through every snapshot, and only when something is lost. A tree or
//! list without loss below it is remembered and not entered again. One with loss below it is entered again for each of its paths, so that
//! the paths can be told and counted, as long as those are in proportion to what is stored: then once for each snapshot.
//!
//! It is a walk of its own, since it asks of each *chunk* whether something below it is lost, and holds only the folders on its way.

use std::collections::HashMap;

use crate::catalog::PackNumber;
use crate::crypto::ChunkType;
use crate::format::content::Leaves;
use crate::format::limits::DEPTH_MAX;
use crate::format::proportion::Budget;
use crate::format::reference::{self, Opened, Reference};
use crate::format::tree::{Content, Node, NodeKind, TreeChunk};
use crate::id::SnapshotId;
use crate::monitor::Stop;
use crate::path;
use crate::repository::{Location, RepositoryError};
use crate::verify::damage::CauseNumber;
use crate::verify::lookup::{Found, Lookup};

/// Nothing is lost below.
const WHOLE: u32 = u32::MAX;

struct Trace<'a> {
    lookup: &'a Lookup,
    stop: &'a Stop,
    snapshot: SnapshotId,
    /// Counts snapshots from 1.
    nth: u32,
    /// By pack and row: [`WHOLE`], or the last snapshot in which the chunk was entered. 0: it was not.
    entered: HashMap<PackNumber, Vec<u32>>,
    /// For chunks that are read for another path of this snapshot. Once it is spent, a finding counts fewer places than there are.
    again: Budget,
    is_spent: bool,
}

/// Where the trace is.
struct Place<'a> {
    path: &'a mut Vec<u8>,
    depth: usize,
    /// What the content at this path lost itself.
    causes: Vec<CauseNumber>,
}

/// Writes down the snapshots and paths of everything lost.
pub(super) fn trace(lookup: &Lookup, roots: &[(SnapshotId, Content)], stop: &Stop) -> Result<(), RepositoryError> {
    let (snapshot, again) = (SnapshotId([0; 16]), Budget::of_entries());
    let mut trace = Trace { lookup, stop, snapshot, nth: 0, entered: HashMap::new(), again, is_spent: false };
    for (snapshot, root) in roots {
        (trace.again, trace.is_spent) = (Budget::of_entries(), false);
        trace.snapshot = *snapshot;
        trace.nth = trace.nth.saturating_add(1).min(WHOLE - 1);
        trace.folder(root, &mut Vec::new(), 0)?;
    }
    Ok(())
}

impl Trace<'_> {
    /// Is something lost below this folder?
    fn folder(&mut self, content: &Content, path: &mut Vec<u8>, depth: usize) -> Result<bool, RepositoryError> {
        let mut place = Place { path, depth, causes: Vec::new() };
        let lost = self.references(reference::of_content(content, Leaves::Tree), &mut place)?;
        Ok(lost | self.write_down(place))
    }

    fn write_down(&self, mut place: Place<'_>) -> bool {
        place.causes.sort_unstable();
        place.causes.dedup();
        let path = if place.path.is_empty() { b"/" } else { place.path.as_slice() };
        let mut damage = self.lookup.damage();
        for &cause in &place.causes {
            damage.hit(cause, self.snapshot, path);
        }
        !place.causes.is_empty()
    }

    /// Goes through references. What the content itself lost is added to the causes of its place, what folders below it lost is written
    /// down.
    fn references(&mut self, references: impl Iterator<Item = Reference>, place: &mut Place<'_>) -> Result<bool, RepositoryError> {
        let mut lost = false;
        for reference in references {
            let cause = self.lookup.damage().lost_by(reference.chunk_type(), &reference.id);
            if let Some(cause) = cause {
                // One chunk many times is lost for one reason.
                if place.causes.last() != Some(&cause) {
                    place.causes.push(cause);
                }
                lost = true;
            } else if reference.chunk_type() != ChunkType::Data {
                lost |= self.chunk(&reference, place)?;
            }
        }
        Ok(lost)
    }

    fn chunk(&mut self, wanted: &Reference, place: &mut Place<'_>) -> Result<bool, RepositoryError> {
        self.stop.check()?;
        let (kind, id) = (wanted.chunk_type(), &wanted.id);
        let found = self.lookup.resolve(&[(kind, *id)])?;
        let [Found::At(at) | Found::Mended(at)] = found[..] else { return Ok(false) };
        let entered = self.entered(&at);
        let is_again = entered == self.nth;
        if entered == WHOLE {
            return Ok(false);
        }
        if is_again && self.is_spent {
            return Ok(true);
        }
        // The walk read it a moment ago; if it cannot be read now, the next run says so.
        let mended = matches!(found[..], [Found::Mended(_)]);
        let Ok(bytes) = self.lookup.read(kind, id, &at, mended) else { return Ok(false) };
        let opened = wanted.open(&bytes);
        drop(bytes);
        let rows = match &opened {
            Ok(Opened::Tree(tree)) => tree.nodes.len(),
            Ok(Opened::List(list)) => list.items.len(),
            Err(_) => 0,
        };
        if !is_again {
            self.again.add(rows as u64);
        } else if self.again.spend(rows as u64).is_err() {
            self.is_spent = true;
            return Ok(true);
        }
        self.enter(&at, self.nth);
        let lost = match opened {
            Ok(Opened::Tree(tree)) => self.tree(tree, place)?,
            Ok(list @ Opened::List(_)) => self.references(list.references().into_iter(), place)?,
            Err(_) => false,
        };
        if !lost {
            self.enter(&at, WHOLE);
        }
        Ok(lost)
    }

    /// Everything but the folders first, so that only those are held on the way down.
    fn tree(&mut self, tree: TreeChunk, place: &mut Place<'_>) -> Result<bool, RepositoryError> {
        let (mut lost, mut folders) = (false, Vec::new());
        for node in tree.nodes {
            lost |= self.node(&node, place)?;
            if node.kind == NodeKind::Folder && place.depth < DEPTH_MAX {
                folders.push((node.name, node.content));
            }
        }
        for (name, content) in folders {
            let length = path::push(place.path, &name);
            lost |= self.folder(&content, place.path, place.depth + 1)?;
            place.path.truncate(length);
        }
        Ok(lost)
    }

    /// The data of a file, and of the attributes of any entry.
    fn node(&mut self, node: &Node, within: &mut Place<'_>) -> Result<bool, RepositoryError> {
        let length = path::push(within.path, &node.name);
        let mut place = Place { path: within.path, depth: within.depth, causes: Vec::new() };
        let data = reference::contents(node).filter(|(_, leaves)| *leaves == Leaves::Data);
        let references = data.flat_map(|(content, leaves)| reference::of_content(content, leaves));
        let lost = self.references(references, &mut place)?;
        let lost = lost | self.write_down(place);
        within.path.truncate(length);
        Ok(lost)
    }

    fn entered(&self, at: &Location) -> u32 {
        self.entered.get(&at.pack).and_then(|rows| rows.get(at.row as usize)).copied().unwrap_or(0)
    }

    fn enter(&mut self, at: &Location, value: u32) {
        let rows = self.entered.entry(at.pack).or_default();
        let row = at.row as usize;
        if rows.len() <= row {
            rows.resize(row + 1, 0);
        }
        rows[row] = value;
    }
}
