//! Many chunks at once: each frame opened once, and from afar few requests, none of which brings what another brought.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use super::windows::{self, Fetched};
use super::{Location, Reader, literal_slice};
use crate::crypto::ChunkType;
use crate::format::pack::PackFacts;
use crate::id::ChunkId;
use crate::locks::Unpoisoned;
use crate::monitor::Stop;
use crate::parallel;
use crate::repository::RepositoryError;
use crate::store::{ReadUnit, StoreError, StoreErrorKind};

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
    pub(crate) fn read_many<T: Copy + Send + Sync, E: From<RepositoryError> + Send>(
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
        let runs = self.runs(groups)?;
        let threads = threads.clamp(1, runs.len().max(1));
        let work = Work::new(runs);
        parallel::for_each(threads, 0..threads, |_| {
            let (mut chain, mut before) = (None, None);
            while let Some((of, run)) = work.next(chain) {
                chain = Some(of);
                match self.read_run(run, before.as_ref(), wanted, stop, &each) {
                    Ok(fetched) => before = fetched.map(Fetched::into_last_window),
                    Err(error) => {
                        work.give_up();
                        return Err(error);
                    }
                }
            }
            Ok(())
        })
    }

    /// Returns what was fetched for it.
    fn read_run<T: Copy, E: From<RepositoryError>>(
        &self,
        run: Run<'_>,
        before: Option<&Fetched>,
        wanted: &[(ChunkType, ChunkId, T)],
        stop: &Stop,
        each: &(impl Fn(T, Result<&[u8], RepositoryError>) -> Result<(), E> + Sync),
    ) -> Result<Option<Fetched>, E> {
        stop.check().map_err(RepositoryError::from)?;
        let fetched = match &run.place {
            None => None,
            Some(Place { facts, start, end }) => {
                match Fetched::read(&*self.repository.objects.store, facts, *start, *end, before) {
                    Ok(fetched) => Some(fetched),
                    // Moved by a prune, or damaged: chunk by chunk that is found out.
                    Err(StoreError { kind: StoreErrorKind::Missing | StoreErrorKind::Size { .. }, .. }) => None,
                    Err(error) => return Err(RepositoryError::from(error).into()),
                }
            }
        };
        for group in run.groups {
            self.read_group(group, wanted, fetched.as_ref(), each)?;
        }
        Ok(fetched)
    }

    /// Puts together what one request brings; from a disk, each frame by itself.
    fn runs<'g>(&self, groups: Vec<Group<'g>>) -> Result<Vec<Run<'g>>, RepositoryError> {
        let far = self.repository.objects.store.read_unit() == ReadUnit::Window;
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

/// Runs in chains: those of a chain share windows, and are read by one thread in their order, so that each window is fetched once. A
/// thread without work takes over half of the longest chain, and rather fetches one window again.
struct Work<'g> {
    chains: Mutex<Chains<'g>>,
}

struct Chains<'g> {
    /// Those before `begun` have their thread.
    chains: Vec<VecDeque<Run<'g>>>,
    begun: usize,
}

impl<'g> Work<'g> {
    fn new(runs: Vec<Run<'g>>) -> Self {
        let follows = |a: &Run<'_>, b: &Run<'_>| match (&a.place, &b.place) {
            (Some(a), Some(b)) => a.facts.id == b.facts.id && windows::meet(a.end, b.start),
            _ => false,
        };
        let mut chains: Vec<VecDeque<Run<'_>>> = Vec::new();
        for run in runs {
            match chains.last_mut() {
                Some(chain) if chain.back().is_some_and(|last| follows(last, &run)) => chain.push_back(run),
                _ => chains.push(VecDeque::from([run])),
            }
        }
        Self { chains: Mutex::new(Chains { chains, begun: 0 }) }
    }

    /// The next run for a thread whose chain is `mine`, and the chain that it is of.
    fn next(&self, mine: Option<usize>) -> Option<(usize, Run<'g>)> {
        let work = &mut *self.lock();
        if let Some(mine) = mine
            && let Some(run) = work.chains[mine].pop_front()
        {
            return Some((mine, run));
        }
        if work.begun == work.chains.len() {
            let longest = (0..work.begun).max_by_key(|chain| work.chains[*chain].len())?;
            let left = work.chains[longest].len();
            let taken = work.chains[longest].split_off(left / 2);
            work.chains.push(taken);
        }
        let chain = work.begun;
        work.begun += 1;
        Some((chain, work.chains[chain].pop_front()?))
    }

    /// One thread failed: the others need not go on.
    fn give_up(&self) {
        self.lock().chains.iter_mut().for_each(VecDeque::clear);
    }

    fn lock(&self) -> MutexGuard<'_, Chains<'g>> {
        // A panic while holding it leaves whole runs behind.
        self.chains.lock().unpoisoned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::pack::{Class, Directory};
    use crate::id::PackId;

    fn run(pack: u8, start: u64, end: u64) -> Run<'static> {
        let facts = PackFacts {
            id: PackId([pack; 32]),
            size: 16 << 20,
            header: [0; crate::format::envelope::HEADER_SIZE],
            directory_sealed_length: 0,
            class: Class::Data,
            directory: Directory::default(),
        };
        Run { groups: Vec::new(), place: Some(Place { facts: Arc::new(facts), start, end }) }
    }

    fn starts(taken: Option<(usize, Run<'_>)>) -> Option<(usize, u64)> {
        taken.map(|(chain, run)| (chain, run.place.unwrap().start))
    }

    #[test]
    fn a_thread_stays_in_its_chain_and_one_without_work_takes_half_of_the_longest() {
        let runs = vec![
            run(1, 0, 100),
            run(1, 100, 200),
            run(1, 200, 300),
            run(1, 300, 400),
            run(1, 9_000_000, 9_000_100),
            run(2, 0, 100),
        ];
        let work = Work::new(runs);
        assert_eq!(starts(work.next(None)), Some((0, 0)));
        assert_eq!(starts(work.next(None)), Some((1, 9_000_000)), "what shares no window is nobody's next");
        assert_eq!(starts(work.next(Some(1))), Some((2, 0)));
        assert_eq!(starts(work.next(Some(2))), Some((3, 200)), "its half of three that were left is the greater one");
        assert_eq!(starts(work.next(Some(0))), Some((0, 100)));
        assert_eq!(starts(work.next(Some(3))), Some((3, 300)));
        assert_eq!(starts(work.next(Some(3))), None);
        assert_eq!(starts(work.next(Some(0))), None);
    }

    #[test]
    fn after_a_failure_nobody_gets_more_to_do() {
        let work = Work::new(vec![run(1, 0, 100), run(1, 100, 200), run(2, 0, 100)]);
        assert!(work.next(None).is_some());
        work.give_up();
        assert!(work.next(Some(0)).is_none() && work.next(None).is_none());
    }
}
