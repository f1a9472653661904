//! Many chunks at once: each frame opened once, and from afar few requests, none of which brings what another brought.

use std::sync::Arc;

use super::windows::{self, Fetched};
use super::{Location, Reader, literal_slice};
use crate::crypto::ChunkType;
use crate::format::pack::PackFacts;
use crate::id::ChunkId;
use crate::monitor::Stop;
use crate::parallel;
use crate::repository::RepositoryError;
use crate::store::{ReadUnit, StoreError};

/// Chunks wanted from one frame: where they stand, and which of the wanted ones they are.
type Group<'g> = &'g [(Option<Location>, usize)];

/// Frames that one request brings.
struct Run<'g> {
    groups: Vec<Group<'g>>,
    /// Where they stand; nothing when their copies are looked for one by one.
    place: Option<Place>,
}

/// A part of a pack.
struct Place {
    facts: Arc<PackFacts>,
    start: u64,
    end: u64,
}

impl Reader {
    /// Reads many chunks, each frame opened once, frames side by side on `threads`; `each` gets the bytes of every wanted chunk, or why
    /// they could not be had, in no order. The slice may be any length; memory holds one frame a thread, from afar what one request brings.
    pub fn read_many<T: Copy + Send + Sync, E: From<RepositoryError> + Send>(
        &self,
        wanted: &[(ChunkType, ChunkId, T)],
        threads: usize,
        stop: &Stop,
        each: impl Fn(T, Result<&[u8], RepositoryError>) -> Result<(), E> + Sync,
    ) -> Result<(), E> {
        let keys: Vec<(ChunkType, ChunkId)> = wanted.iter().map(|&(kind, id, _)| (kind, id)).collect();
        let located = self.locate(&keys)?;
        let mut order: Vec<(Option<Location>, usize)> = located.into_iter().zip(0..).collect();
        order.sort_unstable();
        let groups: Vec<Group<'_>> = order
            .chunk_by(|(a, _), (b, _)| match (a, b) {
                (Some(a), Some(b)) => a.pack == b.pack && a.frame == b.frame && !a.composed && !b.composed,
                _ => false,
            })
            .collect();
        parallel::for_each(threads, chains(self.runs(groups)?, threads).into_iter(), |chain| {
            let mut before = None;
            for run in chain {
                if stop.requested() {
                    return Err(RepositoryError::Stopped.into());
                }
                let fetched = match &run.place {
                    None => None,
                    Some(Place { facts, start, end }) => {
                        match Fetched::read(&*self.repository.store, facts, *start, *end, before.as_ref()) {
                            Ok(fetched) => Some(fetched),
                            // Moved by a prune, or damaged: chunk by chunk that is found out.
                            Err(StoreError::NotFound(_) | StoreError::Size { .. }) => None,
                            Err(error) => return Err(RepositoryError::from(error).into()),
                        }
                    }
                };
                for group in run.groups {
                    self.read_group(group, wanted, fetched.as_ref(), &each)?;
                }
                before = fetched.map(Fetched::into_last_window);
            }
            Ok(())
        })
    }

    /// Puts together what one request brings; from a disk, each frame by itself.
    fn runs<'g>(&self, groups: Vec<Group<'g>>) -> Result<Vec<Run<'g>>, RepositoryError> {
        let far = self.repository.store.read_unit() == ReadUnit::Window;
        let mut runs: Vec<Run<'g>> = Vec::new();
        for group in groups {
            let place = match group[0].0 {
                Some(at) if far && !at.composed && self.frames.peek(&(at.pack, at.frame)).is_none() => {
                    let facts = self.facts(at.pack)?;
                    let row = facts.directory.frames.get(at.frame as usize);
                    row.map(|row| (row.offset, row.offset.saturating_add(u64::from(row.sealed_length))))
                        .filter(|(_, end)| *end <= facts.size)
                        .map(|(start, end)| Place { facts, start, end })
                }
                _ => None,
            };
            match (runs.last_mut(), place) {
                (Some(Run { groups, place: Some(run) }), Some(next))
                    if run.facts.id == next.facts.id
                        && windows::belongs(next.facts.size, (run.start, run.end), (next.start, next.end)) =>
                {
                    groups.push(group);
                    run.end = next.end.max(run.end);
                }
                (_, place) => runs.push(Run { groups: vec![group], place }),
            }
        }
        Ok(runs)
    }

    fn read_group<T: Copy, E>(
        &self,
        group: Group<'_>,
        wanted: &[(ChunkType, ChunkId, T)],
        fetched: Option<&Fetched>,
        each: &(impl Fn(T, Result<&[u8], RepositoryError>) -> Result<(), E> + Sync),
    ) -> Result<(), E> {
        let opened = match group[0].0 {
            Some(at) if !at.composed => {
                self.facts(at.pack).and_then(|facts| Ok((self.open_frame_from(at.pack, &facts, at.frame, fetched)?, facts))).ok()
            }
            _ => None,
        };
        for &(location, nth) in group {
            let (kind, id, tag) = wanted[nth];
            let slice = match (&opened, location) {
                (Some((frame, facts)), Some(at)) => literal_slice(facts, at.row, frame, kind, &id)
                    .filter(|bytes| self.repository.chunk_id_in(facts, kind, bytes) == Some(id)),
                _ => None,
            };
            match slice {
                Some(bytes) => each(tag, Ok(bytes))?,
                // The slow way tries every copy, and gives the reason if none is good.
                None => match self.read_chunk(kind, &id) {
                    Ok(bytes) => each(tag, Ok(&bytes))?,
                    Err(error) => each(tag, Err(error))?,
                },
            }
        }
        Ok(())
    }
}

/// Runs that share a window are read by one thread in their order, so that the window is fetched once; where that would leave threads
/// without work, it is rather fetched twice.
fn chains(runs: Vec<Run<'_>>, threads: usize) -> Vec<Vec<Run<'_>>> {
    let follows = |a: &Run<'_>, b: &Run<'_>| match (&a.place, &b.place) {
        (Some(a), Some(b)) => a.facts.id == b.facts.id && windows::meet(a.end, b.start),
        _ => false,
    };
    let count = runs.len() - runs.windows(2).filter(|pair| follows(&pair[0], &pair[1])).count();
    let mut chains: Vec<Vec<Run<'_>>> = Vec::new();
    for run in runs {
        match chains.last_mut() {
            Some(chain) if count >= threads && chain.last().is_some_and(|last| follows(last, &run)) => chain.push(run),
            _ => chains.push(vec![run]),
        }
    }
    chains
}
