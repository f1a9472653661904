//! What a store does, found out by trying: above all whether create-if-absent has exactly one winner. That decides the class.
//!
//! Works on any store and needs no key. What it creates stands below `probe/` and means nothing to anybody; an owner deletes it again, a
//! writer key deletes nothing, ever, and leaves it to the next prune. A store that fails a trial is described, not an error; an error is
//! a store that does not answer.

mod clocks;
mod trial;

use std::time::Duration;

use crate::clock::{Clock, Rng};
use crate::format::config::StoreClass;
use crate::records::class::is_enough;
use crate::records::host_state::PlaceHash;
use crate::repository::{Repository, RepositoryError};
use crate::store::{ReadUnit, Store};

use trial::Trial;

/// How hard to try.
#[derive(Clone, Copy, Debug)]
pub struct ProbeOptions {
    /// Creates of one name at once.
    pub racers: usize,
    /// So many times: some stores let a second one through only now and then.
    pub rounds: usize,
    /// How long to wait for a listing to show what was created, or no longer to show what was deleted.
    pub patience: Duration,
    /// Try deleting, and clear away what was created.
    pub may_delete: bool,
}

impl Default for ProbeOptions {
    fn default() -> Self {
        Self { racers: 32, rounds: 8, patience: Duration::from_secs(10), may_delete: true }
    }
}

/// When a listing shows what was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shown {
    /// The first one after it.
    AtOnce,
    /// Only after so long.
    After(Duration),
    /// Not as long as was waited.
    Never(Duration),
}

/// What a delete does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deletes {
    /// The object is gone; when listings show that.
    Work(Shown),
    /// It is said to be done, and the object can still be read: a retention lock, or a store that keeps everything.
    Nothing,
    /// These credentials may not.
    NotAllowed,
    /// Not tried.
    NotTried,
}

/// Why no repository can live there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unfit {
    /// Create-if-absent of a free name is refused.
    FreeNameRefused,
    /// What is read is not what was written; what was seen.
    OtherBytes(&'static str),
    /// Listings do not show at once what was created.
    ListsLate(Shown),
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Reasons against any use; empty: it can hold a repository.
    pub unfit: Vec<Unfit>,
    /// Creates of one name at once, in each round.
    pub racers: usize,
    /// Rounds that were run; the first one with more than one winner is the last.
    pub rounds: usize,
    /// The most creates of one name that were told that they won.
    pub winners: usize,
    /// The one that was told that it won is not the one whose bytes stand there.
    pub wrong_winner: bool,
    /// Why several may win although none did, if that is known of this kind of store.
    pub known_race: Option<&'static str>,
    /// When listings show what was created: the worst seen.
    pub listed: Shown,
    /// What a delete does.
    pub deletes: Deletes,
    /// How many seconds the clock here is ahead of the server's, negative: behind; 0 when they agree within a second or what the request
    /// took. `None`: the store does not tell.
    pub clock_ahead_seconds: Option<i64>,
    /// Median time of a create of a small object, on its own.
    pub put: Duration,
    /// Median time to read a small object.
    pub get: Duration,
    /// Median time of a listing of a few names.
    pub list: Duration,
}

impl Probe {
    /// What it means for a repository; `None`: it cannot hold one.
    pub fn class(&self) -> Option<StoreClass> {
        if !self.unfit.is_empty() {
            None
        } else if self.winners == 1 && !self.wrong_winner && self.known_race.is_none() {
            Some(StoreClass::Shared)
        } else {
            Some(StoreClass::SingleMaintainer)
        }
    }

    /// Why it has its class.
    pub fn reasons(&self) -> Vec<String> {
        let Self { racers, rounds, winners, .. } = self;
        let mut reasons: Vec<String> = self.unfit.iter().map(Unfit::sentence).collect();
        if !reasons.is_empty() {
            return reasons;
        }
        reasons.push(match (self.class(), self.wrong_winner) {
            (_, true) => format!("of {racers} creates of one name at once one was told that it won, and another one's bytes stand there"),
            (Some(StoreClass::Shared), _) => {
                format!("of {racers} creates of one name at once exactly one won, in each of {rounds} rounds")
            }
            _ if *winners == 1 => format!(
                "of {racers} creates of one name at once one won, in each of {rounds} rounds, which proves nothing here: {}",
                self.known_race.unwrap_or_default()
            ),
            _ if winners == racers => format!("a create overwrites a name that is taken: all of {racers} at once were told that they won"),
            _ => format!("of {racers} creates of one name at once {winners} were told that they won, so a name that is taken can be overwritten"),
        });
        reasons
    }

    /// What else a person should know.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        match self.deletes {
            Deletes::Nothing => remarks.push(
                "a deleted object can still be read: until its retention ends a prune frees nothing, though it says what it would"
                    .to_owned(),
            ),
            Deletes::NotAllowed => remarks.push(
                "these credentials may not delete: right for a host that only takes snapshots, while prune needs others".to_owned(),
            ),
            Deletes::Work(Shown::After(time) | Shown::Never(time)) => {
                remarks.push(format!("a deleted object is still listed {time:.1?} later"));
            }
            Deletes::Work(Shown::AtOnce) | Deletes::NotTried => {}
        }
        remarks.extend(self.clock_ahead_seconds.and_then(clocks::remark));
        remarks
    }
}

impl Unfit {
    /// For a person.
    pub fn sentence(&self) -> String {
        match self {
            Self::FreeNameRefused => {
                "a create of a name that is free is refused, so nothing could ever be committed: the server gets the condition wrong"
                    .to_owned()
            }
            Self::OtherBytes(what) => format!("what is read back is not what was written ({what})"),
            Self::ListsLate(Shown::After(time)) => format!(
                "a listing showed a new object only {time:.1?} after it was created; a prune that cannot see a snapshot would delete what it needs"
            ),
            Self::ListsLate(_) => {
                "listings do not show what was created; a prune that cannot see a snapshot would delete what it needs".to_owned()
            }
        }
    }
}

impl Repository {
    /// Once for each host and place, before anything is written: does this host find what the config counts on? What it found is in the
    /// file of host states; without one, and on a local disk, nothing is tried.
    pub(crate) fn try_store_once(&self) -> Result<(), RepositoryError> {
        let (place, of_place) = (self.objects.store.location(), self.place_hash());
        let enough = |found: StoreClass| is_enough(found, self.config.class);
        let before = self.host_memory.state().tried.filter(|(_, place)| *place == of_place);
        if self.objects.store.read_unit() == ReadUnit::Exact
            || !self.host_memory.is_kept()
            || before.is_some_and(|(class, _)| enough(class))
        {
            return Ok(());
        }
        // A writer key deletes nothing, ever.
        let options = ProbeOptions { may_delete: self.objects.keys.is_owner(), ..ProbeOptions::default() };
        let found = run(&*self.objects.store, &*self.objects.clock, &*self.objects.rng, &options)?;
        match found.class() {
            None => Err(RepositoryError::StoreUnfit { place, why: found.reasons().join("; ") }),
            Some(class) if enough(class) => {
                self.store_was_tried(class);
                Ok(())
            }
            Some(_) => Err(RepositoryError::StoreLess { place, why: found.reasons().join("; ") }),
        }
    }

    /// What this host found.
    pub(super) fn store_was_tried(&self, class: StoreClass) {
        self.host_memory.remember(|seen| seen.tried = Some((class, self.place_hash())));
    }

    fn place_hash(&self) -> PlaceHash {
        let mut hash = [0; 16];
        hash.copy_from_slice(&blake3::hash(self.objects.store.location().as_bytes()).as_bytes()[..16]);
        hash
    }
}

/// Tries a store. Creates a handful of small objects and one of 100 KB.
pub fn run(store: &dyn Store, clock: &dyn Clock, rng: &dyn Rng, options: &ProbeOptions) -> Result<Probe, RepositoryError> {
    let mut trial = Trial::new(store, clock, rng, options)?;
    let tried = trial.all();
    // Also after a trial that failed.
    trial.clear_away();
    tried?;
    Ok(trial.found())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::trial::LARGE_SIZE;
    use super::*;
    use crate::clock::{SeededRng, SystemClock};
    use crate::store::faults::{Condition, FaultyStore};
    use crate::store::{Entry, MemoryStore, Name, StoreError, StoreErrorKind};

    const QUICK: ProbeOptions = ProbeOptions { racers: 8, rounds: 3, patience: Duration::from_millis(100), may_delete: true };

    fn probe(store: &dyn Store, options: &ProbeOptions) -> Probe {
        run(store, &SystemClock::new(), &SeededRng::new(5), options).unwrap()
    }

    /// Wraps a memory store and changes one thing of it.
    struct Odd {
        inner: MemoryStore,
        calls: AtomicUsize,
        what: What,
    }

    #[derive(Clone, Copy, PartialEq)]
    enum What {
        Truncates,
        ShortRanges,
        KeepsDeleted,
        ListsDeleted,
        MayNotDelete,
        LetsASecondThroughNowAndThen,
        ShowsAfterTwoLooks,
        RefusedOneOverwrites,
        Silent,
    }

    fn odd(what: What) -> Odd {
        Odd { inner: MemoryStore::new(), calls: AtomicUsize::new(0), what }
    }

    impl Store for Odd {
        fn location(&self) -> String {
            self.inner.location()
        }
        fn create(&self, name: &Name, parts: &[&[u8]]) -> Result<(), StoreError> {
            let bytes = parts.concat();
            let nth = self.calls.fetch_add(1, Ordering::SeqCst);
            match self.what {
                What::Silent => Err(StoreError::failed("no answer")),
                What::Truncates => self.inner.create(name, &[&bytes[..bytes.len().min(65_536)]]),
                // Not in the first round: 4 creates and 3 listings come before it, then 8 creates.
                What::LetsASecondThroughNowAndThen if nth > 16 => self.inner.create(name, parts).or_else(|error| match nth % 3 {
                    0 => self.inner.replace(name, parts),
                    _ => Err(error),
                }),
                What::RefusedOneOverwrites => {
                    let created = self.inner.create(name, parts);
                    if created.is_err() {
                        self.inner.replace(name, parts)?;
                    }
                    created
                }
                _ => self.inner.create(name, parts),
            }
        }
        fn replace(&self, name: &Name, parts: &[&[u8]]) -> Result<(), StoreError> {
            self.inner.replace(name, parts)
        }
        fn get(&self, name: &Name, size_max: u64) -> Result<Vec<u8>, StoreError> {
            self.inner.get(name, size_max)
        }
        fn get_range(&self, name: &Name, offset: u64, length: usize) -> Result<Vec<u8>, StoreError> {
            let offset = if self.what == What::ShortRanges { offset - 1 } else { offset };
            self.inner.get_range(name, offset, length)
        }
        fn size(&self, name: &Name) -> Result<u64, StoreError> {
            self.inner.size(name)
        }
        fn list(&self, folder: &str, each: &mut dyn FnMut(Entry)) -> Result<(), StoreError> {
            let nth = self.calls.fetch_add(1, Ordering::SeqCst);
            if self.what == What::ShowsAfterTwoLooks && nth < 3 {
                return Ok(());
            }
            if self.what == What::ListsDeleted {
                each(Entry { name: Name::new(format!("probe/{}-large", crate::id::hex(&id()))).unwrap(), size: LARGE_SIZE as u64 });
            }
            self.inner.list(folder, each)
        }
        fn delete(&self, name: &Name) -> Result<(), StoreError> {
            match self.what {
                What::KeepsDeleted => Ok(()),
                What::MayNotDelete => Err(StoreError::denied("no")),
                _ => self.inner.delete(name),
            }
        }
        fn create_place(&self) -> Result<(), StoreError> {
            Ok(())
        }
        fn read_unit(&self) -> ReadUnit {
            ReadUnit::Window
        }
    }

    fn id() -> [u8; 16] {
        crate::clock::random(&SeededRng::new(5)).unwrap()
    }

    fn left(store: &dyn Store) -> usize {
        let mut left = 0;
        store.list("", &mut |_| left += 1).unwrap();
        left
    }

    #[test]
    fn a_store_that_keeps_the_contract_is_shared_and_left_as_it_was() {
        let store = MemoryStore::new();
        let found = probe(&store, &ProbeOptions { patience: Duration::ZERO, ..ProbeOptions::default() });
        assert_eq!(found.class(), Some(StoreClass::Shared));
        assert_eq!((found.winners, found.rounds, found.listed), (1, 8, Shown::AtOnce));
        assert_eq!(found.deletes, Deletes::Work(Shown::AtOnce));
        assert_eq!(found.reasons(), ["of 32 creates of one name at once exactly one won, in each of 8 rounds"]);
        assert_eq!(left(&store), 0);
    }

    #[test]
    fn a_store_that_overwrites_is_for_a_single_maintainer() {
        let store = FaultyStore::new(MemoryStore::new());
        store.condition(Condition::Ignored);
        let found = probe(&store, &QUICK);
        assert_eq!(found.class(), Some(StoreClass::SingleMaintainer));
        assert_eq!((found.winners, found.rounds), (8, 1));
        assert_eq!(found.reasons(), ["a create overwrites a name that is taken: all of 8 at once were told that they won"]);
        assert_eq!(left(&store), 0);
    }

    #[test]
    fn a_store_that_lets_a_second_one_through_now_and_then_is_for_a_single_maintainer() {
        let found = probe(&odd(What::LetsASecondThroughNowAndThen), &QUICK);
        assert_eq!(found.class(), Some(StoreClass::SingleMaintainer));
        assert!(found.winners > 1 && found.winners < 8 && found.rounds > 1, "{found:?}");
        assert!(found.reasons()[0].contains("were told that they won, so a name that is taken can be overwritten"));
        let found = probe(&odd(What::RefusedOneOverwrites), &QUICK);
        assert_eq!((found.class(), found.wrong_winner), (Some(StoreClass::SingleMaintainer), true));
    }

    #[test]
    fn a_store_that_inverts_the_condition_holds_no_repository() {
        let store = FaultyStore::new(MemoryStore::new());
        store.condition(Condition::Inverted);
        let found = probe(&store, &QUICK);
        assert_eq!((found.class(), &found.unfit[..]), (None, &[Unfit::FreeNameRefused][..]));
        assert!(found.reasons()[0].starts_with("a create of a name that is free is refused"));
    }

    #[test]
    fn a_store_whose_listings_are_late_holds_no_repository() {
        let store = FaultyStore::new(MemoryStore::new());
        store.freeze_listings().unwrap();
        let found = probe(&store, &QUICK);
        assert_eq!(found.unfit, [Unfit::ListsLate(Shown::Never(QUICK.patience))]);
        assert!(found.reasons()[0].starts_with("listings do not show what was created"));
        let found = probe(&odd(What::ShowsAfterTwoLooks), &QUICK);
        assert!(matches!(found.unfit[..], [Unfit::ListsLate(Shown::After(_))]), "{found:?}");
        assert!(found.reasons()[0].contains("after it was created"), "{:?}", found.reasons());
    }

    #[test]
    fn a_store_that_gives_back_other_bytes_holds_no_repository() {
        let found = probe(&odd(What::Truncates), &QUICK);
        assert_eq!(found.unfit, [Unfit::OtherBytes("its size is another")]);
        let found = probe(&odd(What::ShortRanges), &QUICK);
        assert_eq!(found.unfit, [Unfit::OtherBytes("a part of it reads other than the whole")]);
        assert_eq!(found.reasons(), ["what is read back is not what was written (a part of it reads other than the whole)"]);
    }

    #[test]
    fn a_store_that_does_not_delete_says_so_and_keeps_its_class() {
        let found = probe(&odd(What::KeepsDeleted), &QUICK);
        assert_eq!((found.class(), found.deletes), (Some(StoreClass::Shared), Deletes::Nothing));
        assert!(found.remarks()[0].starts_with("a deleted object can still be read"));
        let found = probe(&odd(What::MayNotDelete), &QUICK);
        assert_eq!((found.class(), found.deletes), (Some(StoreClass::Shared), Deletes::NotAllowed));
        assert!(found.remarks()[0].starts_with("these credentials may not delete"));
        let found = probe(&odd(What::ListsDeleted), &QUICK);
        assert_eq!(found.deletes, Deletes::Work(Shown::Never(QUICK.patience)));
    }

    #[test]
    fn whoever_may_not_delete_does_not_try() {
        let store = FaultyStore::new(MemoryStore::new());
        let found = probe(&store, &ProbeOptions { may_delete: false, ..QUICK });
        assert_eq!((found.class(), found.deletes), (Some(StoreClass::Shared), Deletes::NotTried));
        assert!(store.take_calls().iter().all(|call| call.verb != crate::store::faults::Verb::Delete));
        assert!(left(&store) > 0);
    }

    #[test]
    fn a_reply_that_was_lost_is_no_second_winner() {
        use crate::store::faults::{Fault, Verb};
        for nth in 1..12 {
            let store = FaultyStore::new(MemoryStore::new());
            store.fault(Verb::Create, nth, Fault::LoseReply);
            match run(&store, &SystemClock::new(), &SeededRng::new(5), &QUICK) {
                Ok(found) => assert_eq!(found.class(), Some(StoreClass::Shared), "create {nth}: {found:?}"),
                Err(RepositoryError::Store(StoreError { kind: StoreErrorKind::Failed, .. })) => assert!(nth <= 4, "create {nth}"),
                Err(error) => panic!("create {nth}: {error}"),
            }
        }
    }

    #[test]
    fn a_store_that_does_not_answer_is_an_error_and_no_class() {
        let tried = run(&odd(What::Silent), &SystemClock::new(), &SeededRng::new(5), &QUICK);
        assert!(matches!(tried, Err(RepositoryError::Store(StoreError { kind: StoreErrorKind::Failed, .. }))));
    }
}
