//! Every tree of every snapshot, each once: does it keep to the rules, and is all it refers to there?
//!
//! The walk itself is `repository::walk::set`. Data chunks need no mark: they are asked for in batches, once for each tree or list chunk
//! that names them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};

use quick_cache::sync::Cache as Bounded;

use crate::crypto::ChunkType;
use crate::format::FormatError;
use crate::format::content::Leaves;
use crate::format::limits::DEPTH_MAX;
use crate::format::reference::{Opened, Reference};
use crate::format::tree::{Content, Item};
use crate::id::ChunkId;
use crate::locks::Unpoisoned;
use crate::monitor::{Monitor, Stop};
use crate::repository::walk::set::{self, Options, Read, Visitor};
use crate::repository::walk::{Met, Visited};
use crate::repository::{Location, RepositoryError};
use crate::verify::findings::FindingKind;
use crate::verify::lookup::{Found, Lookup};

/// Tree and list chunks looked up and read at a time.
const BATCH_CHUNKS: usize = 512;
/// Chunks of folders whose first and last names are remembered.
const EDGES_KEPT: usize = 100_000;

/// Where a chunk is read, and whether only through parity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    at: Location,
    mended: bool,
}

/// First and last name below a tree or list chunk of a folder; none if it cannot be read.
type Edges = Option<Arc<(Vec<u8>, Vec<u8>)>>;

struct Structure<'a> {
    lookup: &'a Lookup,
    stop: &'a Stop,
    /// A copy read through parity was marked when it was tried without, so these have marks of their own.
    visited: Mutex<[Visited; 2]>,
    /// Folders of several chunks whose names were held against each other; 8 bytes each.
    ordered: Mutex<HashSet<u64>>,
    edges: Bounded<ChunkId, Edges>,
}

/// Walks everything below these roots; returns how many tree and list chunks that were.
pub(super) fn walk(
    lookup: &Lookup,
    roots: &[Content],
    threads: usize,
    monitor: &dyn Monitor,
    stop: &Stop,
) -> Result<u64, RepositoryError> {
    let structure =
        Structure { lookup, stop, visited: Mutex::default(), ordered: Mutex::default(), edges: Bounded::new(EDGES_KEPT) };
    set::walk(&structure, roots, &Options { threads, batch: BATCH_CHUNKS, monitor, stop })
}

impl Visitor for Structure<'_> {
    type Error = RepositoryError;
    type Place = Place;

    fn meet(&self, batch: &[Reference]) -> Result<Vec<Option<Place>>, RepositoryError> {
        let keys: Vec<(ChunkType, ChunkId)> = batch.iter().map(|wanted| (wanted.chunk_type(), wanted.id)).collect();
        let found = self.lookup.resolve(&keys)?;
        let visited = self.visited();
        let place = |(wanted, found): (&Reference, Found)| {
            let (at, mended) = match found {
                Found::At(at) => (at, false),
                Found::Mended(at) => (at, true),
                Found::Lost(cause) => {
                    self.lookup.damage().lost(wanted.chunk_type(), wanted.id, cause);
                    return None;
                }
            };
            match visited[usize::from(mended)].meet(at.pack, at.row, wanted) {
                Met::Look => Some(Place { at, mended }),
                Met::Known => None,
                Met::Wrong => {
                    self.breaks_a_rule(wanted.chunk_type(), wanted.id, "it is not what its parent says of it");
                    None
                }
            }
        };
        Ok(batch.iter().zip(found).map(place).collect())
    }

    fn are_together(a: &Place, b: &Place) -> bool {
        (a.at.pack, a.at.frame) == (b.at.pack, b.at.frame)
    }

    fn read(&self, wanted: &Reference, place: &Place) -> Result<Read, RepositoryError> {
        match self.lookup.read(wanted.chunk_type(), &wanted.id, &place.at, place.mended) {
            Ok(bytes) => Ok(Read::Bytes(bytes)),
            Err(error) => self.lookup.copy_failed(&place.at, error).map(|()| Read::Elsewhere),
        }
    }

    fn opened(&self, place: &Place, truth: &Reference, is_followed: bool) {
        self.visited()[usize::from(place.mended)].opened(place.at.pack, place.at.row, truth, is_followed);
    }

    fn broken(&self, wanted: &Reference, place: &Place, error: FormatError) -> Result<(), RepositoryError> {
        self.visited()[usize::from(place.mended)].broken(place.at.pack, place.at.row);
        self.breaks_a_rule(wanted.chunk_type(), wanted.id, &error.to_string());
        Ok(())
    }

    fn claimed_wrongly(&self, wanted: &Reference, error: FormatError) -> Result<bool, RepositoryError> {
        self.breaks_a_rule(wanted.chunk_type(), wanted.id, &error.to_string());
        Ok(false)
    }

    fn too_deep(&self, tree: &Reference) {
        self.breaks_a_rule(tree.chunk_type(), tree.id, &format!("folders are nested deeper than {DEPTH_MAX}"));
    }

    /// Every data chunk has a usable copy, as long as the content says.
    fn data(&self, parent: &Reference, data: Vec<Reference>) -> Result<(), RepositoryError> {
        let keys: Vec<(ChunkType, ChunkId)> = data.iter().map(|data| (ChunkType::Data, data.id)).collect();
        for (Reference { id, length, .. }, found) in data.into_iter().zip(self.lookup.resolve(&keys)?) {
            match found {
                Found::Lost(cause) => self.lookup.damage().lost(ChunkType::Data, id, cause),
                Found::At(at) | Found::Mended(at) => {
                    if self.lookup.raw_length(&at)? != Some(length) {
                        self.breaks_a_rule(
                            parent.chunk_type(),
                            parent.id,
                            &format!("chunk {id} is not the {length} bytes it says"),
                        );
                    }
                }
            }
        }
        Ok(())
    }

    /// The names of a folder of several chunks rise across them too.
    fn folder(&self, folder: &Content) -> Result<bool, RepositoryError> {
        if folder.level == 0 && folder.items.len() <= 1 {
            return Ok(true);
        }
        let mut hash = blake3::Hasher::new();
        hash.update(&[folder.level]);
        for item in &folder.items {
            if let Item::Chunk { id, .. } = item {
                hash.update(id.as_bytes());
            }
        }
        let mut bytes = [0; 8];
        hash.finalize_xof().fill(&mut bytes);
        let is_new = self.ordered.lock().unpoisoned().insert(u64::from_le_bytes(bytes));
        if is_new {
            self.edges_of(&folder.items, folder.level)?;
        }
        Ok(true)
    }
}

impl Structure<'_> {
    fn visited(&self) -> MutexGuard<'_, [Visited; 2]> {
        self.visited.lock().unpoisoned()
    }

    fn breaks_a_rule(&self, kind: ChunkType, id: ChunkId, detail: &str) {
        let mut damage = self.lookup.damage();
        let cause = damage.cause(FindingKind::TreeDamaged, format!("chunk {id}"), detail);
        damage.lost(kind, id, cause);
    }

    /// First and last name below these items of a folder. Where names do not rise from one to the next, that is written down.
    fn edges_of(&self, items: &[Item], level: u8) -> Result<Edges, RepositoryError> {
        let mut all: Edges = None;
        for reference in items.iter().filter_map(|item| Reference::of_item(item, level, Leaves::Tree)) {
            let Some(edges) = self.edges(&reference)? else { continue };
            all = Some(match all {
                None => edges,
                Some(before) => {
                    if before.1 >= edges.0 {
                        let detail = "its names do not rise above those of the chunk before it";
                        self.breaks_a_rule(reference.chunk_type(), reference.id, detail);
                    }
                    Arc::new((before.0.clone(), edges.1.clone()))
                }
            });
        }
        Ok(all)
    }

    /// As deep as the level, which is at most 16. What cannot be read or decoded is written down where it is walked.
    fn edges(&self, reference: &Reference) -> Result<Edges, RepositoryError> {
        if let Some(known) = self.edges.get(&reference.id) {
            return Ok(known);
        }
        self.stop.check()?;
        let opened = self.read_quietly(reference)?.and_then(|bytes| reference.open(&bytes).ok());
        let edges = match opened {
            None => None,
            Some(Opened::List(list)) => self.edges_of(&list.items, list.level)?,
            Some(Opened::Tree(mut tree)) => match (tree.nodes.pop(), tree.nodes.into_iter().next()) {
                (None, _) => None,
                (Some(last), None) => Some(Arc::new((last.name.clone(), last.name))),
                (Some(last), Some(first)) => Some(Arc::new((first.name, last.name))),
            },
        };
        self.edges.insert(reference.id, edges.clone());
        Ok(edges)
    }

    fn read_quietly(&self, reference: &Reference) -> Result<Option<Vec<u8>>, RepositoryError> {
        let (kind, id) = (reference.chunk_type(), &reference.id);
        let found = self.lookup.resolve(&[(kind, *id)])?;
        match found[..] {
            [Found::At(at) | Found::Mended(at)] => match self.lookup.read(kind, id, &at, matches!(found[..], [Found::Mended(_)])) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) => self.lookup.damage_or_error(error).map(|_| None),
            },
            _ => Ok(None),
        }
    }
}
