//! Every tree and list chunk below some roots, each looked into once. See the top of `walk`.

use std::sync::{Mutex, MutexGuard};

use crate::format::FormatError;
use crate::format::content::Leaves;
use crate::format::limits::DEPTH_MAX;
use crate::format::reference::{self, Opened, Reference, Role};
use crate::format::tree::{Content, TreeChunk};
use crate::locks::Unpoisoned;
use crate::monitor::{Monitor, Stop};
use crate::parallel;
use crate::repository::RepositoryError;

/// References waiting at once: beyond, chunks are taken in small batches, so that those below them are done before others add more.
const WAITING_MAX: usize = 1 << 18;
/// Chunks of such a small batch.
const BATCH_SMALL: usize = 8;
/// Different claims that one chunk's references to another are held against. At most one can be right, so the second shows that one is not.
const CLAIMS_MAX: usize = 2;

/// What a walk is for. Called from many threads.
pub trait Visitor: Sync {
    /// What ends the walk.
    type Error: From<RepositoryError> + Send;
    /// Where a chunk is read. Chunks are read in the order of places.
    type Place: Copy + Ord + Send + Sync;

    /// Where to read each of these; `None`: it needs no look. The visitor remembers what it has met, and writes down what cannot be had.
    fn meet(&self, batch: &[Reference]) -> Result<Vec<Option<Self::Place>>, Self::Error>;

    /// Are these best read by one thread?
    fn are_together(a: &Self::Place, b: &Self::Place) -> bool;

    /// A chunk that was to be looked into.
    fn read(&self, wanted: &Reference, place: &Self::Place) -> Result<Read, Self::Error>;

    /// A chunk was read, and is `truth`. Its references are followed only if one that led here claimed that.
    fn opened(&self, place: &Self::Place, truth: &Reference, is_followed: bool);

    /// A chunk breaks a rule of the format.
    fn broken(&self, wanted: &Reference, place: &Self::Place, error: FormatError) -> Result<(), Self::Error>;

    /// A chunk is not what a reference to it claims. Are its own references followed all the same?
    fn claimed_wrongly(&self, wanted: &Reference, error: FormatError) -> Result<bool, Self::Error>;

    /// The data chunks that a tree or list refers to, in order.
    fn data(&self, parent: &Reference, data: Vec<Reference>) -> Result<(), Self::Error>;

    /// This tree holds folders that stand deeper in each other than the format allows. They are gone into all the same: what is in them may
    /// stand elsewhere too, where it is not too deep.
    fn too_deep(&self, _tree: &Reference) {}

    /// A folder that a tree holds; is it to be gone into?
    fn folder(&self, _folder: &Content) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

/// What reading a chunk gave.
#[derive(Debug)]
pub enum Read {
    /// Its plaintext, the id recomputed.
    Bytes(Vec<u8>),
    /// It cannot be had, which the visitor has written down.
    Lost,
    /// This place did not give it. It is met again: another place may.
    Elsewhere,
}

/// How to walk.
pub struct Options<'a> {
    /// Threads that read and look.
    pub threads: usize,
    /// Chunks met at a time.
    pub batch: usize,
    /// Hears of every chunk that was read.
    pub monitor: &'a dyn Monitor,
    /// Ends the walk.
    pub stop: &'a Stop,
}

/// A reference, and how many folders stand above it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Wanted {
    reference: Reference,
    depth: usize,
}

struct Walk<'a, V> {
    visitor: &'a V,
    options: &'a Options<'a>,
    waiting: Mutex<Vec<Wanted>>,
}

/// Walks everything below these folders. Returns how many chunks were looked into.
pub fn walk<V: Visitor>(visitor: &V, roots: &[Content], options: &Options<'_>) -> Result<u64, V::Error> {
    let walk = Walk { visitor, options, waiting: Mutex::default() };
    for root in roots {
        if visitor.folder(root)? {
            walk.wait_for(reference::of_content(root, Leaves::Tree).collect(), 0);
        }
    }
    let mut looked = 0;
    loop {
        check_stop(options.stop)?;
        let batch = walk.take();
        if batch.is_empty() {
            return Ok(looked);
        }
        looked += walk.batch(batch)?;
    }
}

fn check_stop(stop: &Stop) -> Result<(), RepositoryError> {
    Ok(stop.check()?)
}

impl<V: Visitor> Walk<'_, V> {
    fn waiting(&self) -> MutexGuard<'_, Vec<Wanted>> {
        self.waiting.lock().unpoisoned()
    }

    /// Adds references of one chunk, each once.
    fn wait_for(&self, mut references: Vec<Reference>, depth: usize) {
        references.sort_unstable();
        references.dedup();
        let mut claims = 0;
        let mut last = None;
        references.retain(|reference| {
            let chunk = Some((reference.chunk_type(), reference.id));
            claims = if last == chunk { claims + 1 } else { 1 };
            last = chunk;
            claims <= CLAIMS_MAX
        });
        self.waiting().extend(references.into_iter().map(|reference| Wanted { reference, depth }));
    }

    fn take(&self) -> Vec<Wanted> {
        let mut waiting = self.waiting();
        let size = if waiting.len() > WAITING_MAX { BATCH_SMALL } else { self.options.batch };
        let rest = waiting.len().saturating_sub(size);
        let mut batch = waiting.split_off(rest);
        batch.sort_unstable();
        batch.dedup_by_key(|wanted| wanted.reference);
        batch
    }

    fn batch(&self, batch: Vec<Wanted>) -> Result<u64, V::Error> {
        let references: Vec<Reference> = batch.iter().map(|wanted| wanted.reference).collect();
        let places = self.visitor.meet(&references)?;
        let mut work: Vec<(V::Place, Wanted)> =
            places.into_iter().zip(batch).filter_map(|(place, wanted)| Some((place?, wanted))).collect();
        work.sort_unstable();
        let looked = work.chunk_by(|(a, _), (b, _)| a == b).count() as u64;
        let groups = work.chunk_by(|(a, _), (b, _)| V::are_together(a, b));
        parallel::for_each(self.options.threads, groups, |group| {
            group.chunk_by(|(a, _), (b, _)| a == b).try_for_each(|same| self.look_at(same))
        })?;
        Ok(looked)
    }

    /// One chunk, with everything that was claimed of it in this batch.
    fn look_at(&self, same: &[(V::Place, Wanted)]) -> Result<(), V::Error> {
        check_stop(self.options.stop)?;
        let Some((place, first)) = same.first() else { return Ok(()) };
        let bytes = match self.visitor.read(&first.reference, place)? {
            Read::Bytes(bytes) => bytes,
            Read::Lost => return Ok(()),
            Read::Elsewhere => {
                self.waiting().extend(same.iter().map(|(_, wanted)| *wanted));
                return Ok(());
            }
        };
        self.options.monitor.advance(1, bytes.len() as u64);
        let chunk = &first.reference;
        let opened = Opened::decode(chunk.chunk_type(), &bytes).and_then(|opened| Ok((opened.truth(chunk.id)?, opened)));
        let (truth, opened) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.visitor.broken(chunk, place, error),
        };
        let mut follow = None;
        for (_, wanted) in same {
            let is_followed = match opened.check(&wanted.reference) {
                Ok(()) => true,
                Err(error) => self.visitor.claimed_wrongly(&wanted.reference, error)?,
            };
            if is_followed {
                follow = Some(wanted.depth);
            }
        }
        self.visitor.opened(place, &truth, follow.is_some());
        match follow {
            Some(depth) => self.follow(&truth, &opened, depth),
            None => Ok(()),
        }
    }

    fn follow(&self, chunk: &Reference, opened: &Opened, depth: usize) -> Result<(), V::Error> {
        match opened {
            Opened::Tree(tree) => self.follow_tree(chunk, tree, depth),
            Opened::List(_) => {
                let references = opened.references();
                match chunk.role {
                    Role::List { level: 0, leaves: Leaves::Data } => self.visitor.data(chunk, references)?,
                    _ => self.wait_for(references, depth),
                }
                Ok(())
            }
        }
    }

    fn follow_tree(&self, chunk: &Reference, tree: &TreeChunk, depth: usize) -> Result<(), V::Error> {
        let (mut data, mut lists, mut folders) = (Vec::new(), Vec::new(), Vec::new());
        let mut is_too_deep = false;
        for node in &tree.nodes {
            for (content, leaves) in reference::contents(node) {
                let references = reference::of_content(content, leaves);
                match leaves {
                    Leaves::Data if content.level == 0 => data.extend(references),
                    Leaves::Data => lists.extend(references),
                    Leaves::Tree => {
                        is_too_deep |= depth >= DEPTH_MAX;
                        if self.visitor.folder(content)? {
                            folders.extend(references);
                        }
                    }
                }
            }
        }
        if is_too_deep {
            self.visitor.too_deep(chunk);
        }
        self.wait_for(folders, depth + 1);
        self.wait_for(lists, depth);
        if data.is_empty() { Ok(()) } else { self.visitor.data(chunk, data) }
    }
}

#[cfg(test)]
#[path = "set_tests.rs"]
mod tests;
