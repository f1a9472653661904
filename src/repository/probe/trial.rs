//! The trial itself: what is written, looked at, raced for and taken away.

use std::sync::{Barrier, Mutex};
use std::time::Duration;

use super::{Deletes, Probe, ProbeOptions, Shown, Unfit, clocks};
use crate::clock::{self, Clock, Rng};
use crate::format::names;
use crate::locks::Unpoisoned;
use crate::repository::RepositoryError;
use crate::store::{Name, Store, StoreError, StoreErrorKind};

/// Bytes of the one large object: no round number, several windows of a ranged read, no part of it like another.
pub(super) const LARGE_SIZE: usize = 100_003;
/// A racer's object has at least so many bytes; each a few more than the one before, so that no two have the same size.
const SMALL_SIZE: usize = 1_000;
/// Small objects that are created one by one, to take the time.
const SINGLE_CREATES: usize = 3;
/// Between two looks at a listing.
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[derive(Clone, Copy)]
enum Timed {
    Put,
    Get,
    List,
}

/// A store under trial.
pub(super) struct Trial<'a> {
    store: &'a dyn Store,
    clock: &'a dyn Clock,
    options: &'a ProbeOptions,
    id: String,
    made: Vec<Name>,
    times: [Vec<Duration>; 3],
    found: Probe,
}

/// What became of one create of a race.
enum Raced {
    Won,
    Refused,
    /// Nobody knows whether it was done.
    Failed(StoreError),
}

impl<'a> Trial<'a> {
    pub(super) fn new(
        store: &'a dyn Store,
        clock: &'a dyn Clock,
        rng: &dyn Rng,
        options: &'a ProbeOptions,
    ) -> Result<Self, RepositoryError> {
        Ok(Self {
            store,
            clock,
            options,
            id: crate::id::hex(&clock::random::<16>(rng)?),
            made: Vec::new(),
            times: [Vec::new(), Vec::new(), Vec::new()],
            found: Probe {
                unfit: Vec::new(),
                racers: options.racers,
                rounds: 0,
                winners: 0,
                wrong_winner: false,
                known_race: store.known_race(),
                listed: Shown::AtOnce,
                deletes: Deletes::NotTried,
                clock_ahead_seconds: None,
                put: Duration::ZERO,
                get: Duration::ZERO,
                list: Duration::ZERO,
            },
        })
    }

    /// What came of it.
    pub(super) fn found(self) -> Probe {
        let [put, get, list] = self.times.map(median);
        Probe { put, get, list, ..self.found }
    }

    pub(super) fn all(&mut self) -> Result<(), RepositoryError> {
        if !self.what_is_written_reads_back()? {
            return Ok(());
        }
        for nth in 0..SINGLE_CREATES {
            let name = self.name(&format!("small{nth}"));
            self.create(&name, &content(&name, 0, SMALL_SIZE))?;
        }
        for round in 0..self.options.rounds {
            self.race(round)?;
            if self.found.winners != 1 || self.found.wrong_winner || !self.found.unfit.is_empty() {
                break;
            }
        }
        self.deleting()
    }

    fn name(&self, what: &str) -> Name {
        Name::new(format!("{}/{}-{what}", names::PROBE, self.id))
            .expect("a folder, hex digits and a plain word obey the rules of names")
    }

    fn timed<T>(&mut self, what: Timed, work: impl FnOnce(&dyn Store) -> T) -> T {
        let begun = self.clock.monotonic();
        let done = work(self.store);
        self.times[what as usize].push(self.clock.monotonic().saturating_sub(begun));
        done
    }

    /// Creates a free name. False: the store says that it is taken.
    fn create(&mut self, name: &Name, bytes: &[u8]) -> Result<bool, RepositoryError> {
        self.made.push(name.clone());
        match self.timed(Timed::Put, |store| store.create(name, &[bytes])) {
            Ok(()) => Ok(true),
            // A reply that was lost, and a second try that met the first one's object.
            Err(StoreError { kind: StoreErrorKind::Exists, .. }) => Ok(self.reads(name, bytes)? == Some(true)),
            Err(error) => Err(error.into()),
        }
    }

    /// Do these bytes stand there? `None`: nothing does.
    fn reads(&mut self, name: &Name, bytes: &[u8]) -> Result<Option<bool>, RepositoryError> {
        // Room for more than was written: what is there is to be seen.
        match self.timed(Timed::Get, |store| store.get(name, 4 * LARGE_SIZE as u64)) {
            Ok(found) => Ok(Some(found == bytes)),
            Err(StoreError { kind: StoreErrorKind::Missing, .. }) => Ok(None),
            Err(StoreError { kind: StoreErrorKind::Size { .. }, .. }) => Ok(Some(false)),
            Err(error) => Err(error.into()),
        }
    }

    /// Size, content, a range, and the listing. False: there is no point in going on.
    fn what_is_written_reads_back(&mut self) -> Result<bool, RepositoryError> {
        let name = self.name("large");
        let bytes = content(&name, 0, LARGE_SIZE);
        let before = self.clock.now().seconds;
        if !self.create(&name, &bytes)? {
            self.found.unfit.push(Unfit::FreeNameRefused);
            return Ok(false);
        }
        // An object that is not there after all is told by what follows.
        let there = self.store.time_there(&name).ok().flatten();
        self.found.clock_ahead_seconds = there.map(|there| clocks::ahead(before, there, self.clock.now().seconds));
        let size = match self.store.size(&name) {
            Err(StoreError { kind: StoreErrorKind::Missing, .. }) => None,
            other => Some(other?),
        };
        let range = match self.store.get_range(&name, 70_001, 20_002) {
            Err(StoreError { kind: StoreErrorKind::Missing | StoreErrorKind::Size { .. }, .. }) => None,
            other => Some(other?),
        };
        let whole = self.reads(&name, &bytes)?;
        let wrong = match (size, whole) {
            (None, _) | (_, None) => Some("the object is not there"),
            (Some(size), _) if size != LARGE_SIZE as u64 => Some("its size is another"),
            (_, Some(false)) => Some("its bytes are others"),
            _ if range.as_deref() != bytes.get(70_001..90_003) => Some("a part of it reads other than the whole"),
            _ => None,
        };
        self.found.unfit.extend(wrong.map(Unfit::OtherBytes));
        self.look_for(&name, wrong.is_none().then_some(LARGE_SIZE as u64))?;
        Ok(self.found.unfit.is_empty())
    }

    /// Does a listing show it, and in its size?
    fn look_for(&mut self, name: &Name, size: Option<u64>) -> Result<(), RepositoryError> {
        let shown = self.wait_for(name, true)?;
        self.found.listed = worse(self.found.listed, shown);
        if shown != Shown::AtOnce {
            self.found.unfit.push(Unfit::ListsLate(shown));
        } else if let Some(size) = size
            && self.listed(name)?.is_some_and(|found| found != size)
        {
            self.found.unfit.push(Unfit::OtherBytes("a listing shows another size"));
        }
        Ok(())
    }

    fn wait_for(&mut self, name: &Name, wanted: bool) -> Result<Shown, RepositoryError> {
        let begun = self.clock.monotonic();
        if self.listed(name)?.is_some() == wanted {
            return Ok(Shown::AtOnce);
        }
        // Counted, so that it ends whatever the clock does.
        for _ in 0..self.options.patience.as_millis().div_ceil(LOOK_EVERY.as_millis()) {
            std::thread::sleep(LOOK_EVERY);
            if self.listed(name)?.is_some() == wanted {
                return Ok(Shown::After(self.clock.monotonic().saturating_sub(begun)));
            }
        }
        Ok(Shown::Never(self.options.patience))
    }

    /// Its size in a listing.
    fn listed(&mut self, name: &Name) -> Result<Option<u64>, RepositoryError> {
        let mut found = None;
        let list = |store: &dyn Store| {
            store.list(names::PROBE, &mut |entry| {
                if entry.name == *name {
                    found = Some(entry.size);
                }
            })
        };
        self.timed(Timed::List, list)?;
        Ok(found)
    }

    /// Many creates of one name with different contents at the same moment.
    fn race(&mut self, round: usize) -> Result<(), RepositoryError> {
        let name = self.name(&format!("race{round}"));
        self.made.push(name.clone());
        let racers = self.options.racers;
        let contents: Vec<Vec<u8>> = (0..racers).map(|racer| content(&name, racer, SMALL_SIZE + racer)).collect();
        let (start, raced) = (Barrier::new(racers), Mutex::new(Vec::with_capacity(racers)));
        std::thread::scope(|scope| {
            for (racer, bytes) in contents.iter().enumerate() {
                let (start, raced, name, store) = (&start, &raced, &name, self.store);
                scope.spawn(move || {
                    start.wait();
                    let became = match store.create(name, &[bytes]) {
                        Ok(()) => Raced::Won,
                        Err(StoreError { kind: StoreErrorKind::Exists, .. }) => Raced::Refused,
                        Err(error) => Raced::Failed(error),
                    };
                    raced.lock().unpoisoned().push((racer, became));
                });
            }
        });
        let raced = raced.into_inner().unpoisoned();
        let mut winners: Vec<usize> = Vec::new();
        let (mut refused, mut failed) = (Vec::new(), Vec::new());
        for (racer, became) in raced {
            match became {
                Raced::Won => winners.push(racer),
                Raced::Refused => refused.push(racer),
                Raced::Failed(error) => failed.push((racer, error)),
            }
        }
        // The last of them may be the one that is there.
        let found = match self.timed(Timed::Get, |store| store.get(&name, 4 * LARGE_SIZE as u64)) {
            Ok(found) => Some(found),
            Err(StoreError { kind: StoreErrorKind::Missing, .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let Some(found) = found else {
            return match failed.into_iter().next() {
                // Nobody was served.
                Some((_, error)) if winners.is_empty() => Err(error.into()),
                _ if winners.is_empty() => {
                    self.found.unfit.push(Unfit::FreeNameRefused);
                    Ok(())
                }
                _ => {
                    self.found.unfit.push(Unfit::OtherBytes("the object is not there"));
                    Ok(())
                }
            };
        };
        let Some(owner) = contents.iter().position(|bytes| *bytes == found) else {
            self.found.unfit.push(Unfit::OtherBytes("its bytes are others"));
            return Ok(());
        };
        // One whose reply was lost may have been served: it counts as a winner when its bytes are there. The same for one that was
        // refused when nobody else won: a request that was made again met its own object.
        let was_lost = failed.iter().any(|(racer, _)| *racer == owner) || winners.is_empty() && refused.contains(&owner);
        if was_lost && !winners.contains(&owner) {
            winners.push(owner);
        }
        self.found.rounds += 1;
        self.found.winners = self.found.winners.max(winners.len());
        self.found.wrong_winner |= !winners.contains(&owner);
        self.look_for(&name, Some(found.len() as u64))
    }

    fn deleting(&mut self) -> Result<(), RepositoryError> {
        let Some(name) = self.made.first().cloned().filter(|_| self.options.may_delete && self.found.unfit.is_empty()) else {
            return Ok(());
        };
        self.found.deletes = match self.store.delete(&name) {
            Ok(()) => match self.store.size(&name) {
                Ok(_) => Deletes::Nothing,
                Err(StoreError { kind: StoreErrorKind::Missing, .. }) => Deletes::Work(self.wait_for(&name, false)?),
                Err(error) => return Err(error.into()),
            },
            Err(StoreError { kind: StoreErrorKind::Denied, .. }) => Deletes::NotAllowed,
            Err(error) => return Err(error.into()),
        };
        Ok(())
    }

    pub(super) fn clear_away(&mut self) {
        if self.options.may_delete && !matches!(self.found.deletes, Deletes::NotAllowed | Deletes::Nothing) {
            for name in &self.made {
                // What stays is nobody's, and the next prune takes it.
                if self.store.delete(name).is_err() {
                    break;
                }
            }
        }
    }
}

/// Bytes that belong to this name and racer only.
fn content(name: &Name, racer: usize, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(name.as_str().as_bytes()).update(&racer.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn worse(one: Shown, other: Shown) -> Shown {
    let rank = |shown: &Shown| match shown {
        Shown::AtOnce => (0, Duration::ZERO),
        Shown::After(time) => (1, *time),
        Shown::Never(time) => (2, *time),
    };
    if rank(&one) < rank(&other) { other } else { one }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
