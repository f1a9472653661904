//! A store that goes wrong by plan, for tests: it holds another store and fails, forgets, lies or fills up when told to.
//!
//! Nothing in the library uses it; it is public because the tests of every room above need the same few ways of going wrong. Plans may
//! be changed while other threads use the store.

use crate::locks::Unpoisoned;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use super::{Entry, Name, ReadUnit, Store, StoreError, StoreErrorKind};

/// One verb of [`Store`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[expect(missing_docs, reason = "each is the method of its name")]
pub enum Verb {
    Create,
    Replace,
    Get,
    GetRange,
    Size,
    List,
    Delete,
    CreatePlace,
}

impl Verb {
    /// Does it change what is stored?
    pub fn writes(self) -> bool {
        matches!(self, Self::Create | Self::Replace | Self::Delete)
    }
}

/// What happens to a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Not done; [`StoreErrorKind::Failed`].
    Fail,
    /// Not done; [`StoreErrorKind::Full`].
    Full,
    /// Not done; [`StoreErrorKind::Denied`].
    Denied,
    /// Done, but the answer is [`StoreErrorKind::Failed`]: a reply that was lost.
    LoseReply,
}

/// What create-if-absent does about a name that is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Condition {
    /// It is refused, as it must be.
    #[default]
    Kept,
    /// It is overwritten without a word.
    Ignored,
    /// A free name is said to be taken, a taken one is overwritten.
    Inverted,
}

/// A call that was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// What was asked.
    pub verb: Verb,
    /// Of which object or folder.
    pub name: String,
    /// Where a range begins; 0 for everything else.
    pub offset: u64,
    /// Bytes handed over or given back.
    pub bytes: u64,
    /// Whether the caller was told that it worked.
    pub ok: bool,
}

/// A store that goes wrong by plan.
pub struct FaultyStore<S> {
    inner: S,
    plan: Mutex<Plan>,
}

#[derive(Default)]
struct Plan {
    made: BTreeMap<Verb, u64>,
    faults: BTreeMap<(Verb, u64), Fault>,
    bytes_left: Option<u64>,
    writes_left: Option<u64>,
    condition: Condition,
    frozen: Option<Vec<Entry>>,
    read_unit: Option<ReadUnit>,
    calls: Vec<Call>,
}

impl<S: Store> FaultyStore<S> {
    /// Passes everything on until told otherwise.
    pub fn new(inner: S) -> Self {
        Self { inner, plan: Mutex::default() }
    }

    /// The store behind.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// The `nth` call (1 is the next one) of `verb` from now on meets `fault`.
    pub fn fault(&self, verb: Verb, nth: u64, fault: Fault) -> &Self {
        let mut plan = self.plan();
        let nth = plan.made.get(&verb).copied().unwrap_or(0) + nth;
        plan.faults.insert((verb, nth), fault);
        drop(plan);
        self
    }

    /// From now on at most `bytes` more are taken; what does not fit whole is [`StoreErrorKind::Full`]. `None`: no bound.
    pub fn full_after(&self, bytes: Option<u64>) -> &Self {
        self.plan().bytes_left = bytes;
        self
    }

    /// After `writes` more calls that write, every call of any kind fails: the process died, or the cable was pulled. `None`: never.
    pub fn stop_after(&self, writes: Option<u64>) -> &Self {
        self.plan().writes_left = writes;
        self
    }

    /// How create-if-absent behaves from now on.
    pub fn condition(&self, condition: Condition) -> &Self {
        self.plan().condition = condition;
        self
    }

    /// Listings show from now on what is there at this moment, whatever happens later.
    pub fn freeze_listings(&self) -> Result<&Self, StoreError> {
        let mut entries = Vec::new();
        self.inner.list("", &mut |entry| entries.push(entry))?;
        self.plan().frozen = Some(entries);
        Ok(self)
    }

    /// Pretends to be a store of this kind.
    pub fn pretend_read_unit(&self, unit: ReadUnit) -> &Self {
        self.plan().read_unit = Some(unit);
        self
    }

    /// Every call so far, in the order they ended, and forgets them.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.plan().calls)
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unpoisoned()
    }

    /// Counts the call, decides whether it fails, and records it. `handed` is the number of bytes a write brings; `given` tells how many a
    /// read gave.
    fn call<T>(
        &self,
        verb: Verb,
        name: &str,
        (offset, handed): (u64, u64),
        given: impl FnOnce(&T) -> u64,
        work: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let fault = self.plan().meet(verb, handed);
        let text = || format!("planned fault: {verb:?} {name}");
        let outcome = match fault {
            Some(Fault::Fail) => Err(StoreError::failed(text())),
            Some(Fault::Full) => Err(StoreError::full(text())),
            Some(Fault::Denied) => Err(StoreError::denied(text())),
            Some(Fault::LoseReply) => work().and_then(|_| Err(StoreError::failed(text()))),
            None => work(),
        };
        let bytes = outcome.as_ref().map_or(handed, |value| handed + given(value));
        self.plan().calls.push(Call { verb, name: name.to_owned(), offset, bytes, ok: outcome.is_ok() });
        outcome
    }
}

impl Plan {
    fn meet(&mut self, verb: Verb, handed: u64) -> Option<Fault> {
        let nth = self.made.entry(verb).or_default();
        *nth += 1;
        if let Some(fault) = self.faults.remove(&(verb, *nth)) {
            return Some(fault);
        }
        match &mut self.writes_left {
            Some(0) => return Some(Fault::Fail),
            Some(left) if verb.writes() => *left -= 1,
            _ => {}
        }
        match &mut self.bytes_left {
            Some(left) if handed > *left => return Some(Fault::Full),
            Some(left) => *left -= handed,
            None => {}
        }
        None
    }
}

fn total(parts: &[&[u8]]) -> u64 {
    parts.iter().map(|part| part.len() as u64).sum()
}

impl<S: Store> Store for FaultyStore<S> {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn create(&self, name: &Name, parts: &[&[u8]]) -> Result<(), StoreError> {
        self.call(
            Verb::Create,
            name.as_str(),
            (0, total(parts)),
            |()| 0,
            || {
                let condition = self.plan().condition;
                match condition {
                    Condition::Kept => self.inner.create(name, parts),
                    Condition::Ignored => self.inner.replace(name, parts),
                    Condition::Inverted => match self.inner.size(name) {
                        Err(error) if error.kind == StoreErrorKind::Missing => Err(StoreError::exists(name.clone())),
                        Ok(_) => self.inner.replace(name, parts),
                        Err(error) => Err(error),
                    },
                }
            },
        )
    }

    fn replace(&self, name: &Name, parts: &[&[u8]]) -> Result<(), StoreError> {
        self.call(Verb::Replace, name.as_str(), (0, total(parts)), |()| 0, || self.inner.replace(name, parts))
    }

    fn get(&self, name: &Name, size_max: u64) -> Result<Vec<u8>, StoreError> {
        let given = |bytes: &Vec<u8>| bytes.len() as u64;
        self.call(Verb::Get, name.as_str(), (0, 0), given, || self.inner.get(name, size_max))
    }

    fn get_range(&self, name: &Name, offset: u64, length: usize) -> Result<Vec<u8>, StoreError> {
        let given = |bytes: &Vec<u8>| bytes.len() as u64;
        self.call(Verb::GetRange, name.as_str(), (offset, 0), given, || self.inner.get_range(name, offset, length))
    }

    fn size(&self, name: &Name) -> Result<u64, StoreError> {
        self.call(Verb::Size, name.as_str(), (0, 0), |_| 0, || self.inner.size(name))
    }

    fn list(&self, folder: &str, each: &mut dyn FnMut(Entry)) -> Result<(), StoreError> {
        self.call(
            Verb::List,
            folder,
            (0, 0),
            |()| 0,
            || {
                let frozen = self.plan().frozen.clone();
                match frozen {
                    None => self.inner.list(folder, each),
                    Some(entries) => {
                        entries.into_iter().filter(|entry| super::in_folder(&entry.name, folder)).for_each(each);
                        Ok(())
                    }
                }
            },
        )
    }

    fn delete(&self, name: &Name) -> Result<(), StoreError> {
        self.call(Verb::Delete, name.as_str(), (0, 0), |()| 0, || self.inner.delete(name))
    }

    /// No call that a plan counts: it is asked once, before a repository is made.
    fn top(&self) -> Result<Vec<String>, StoreError> {
        self.inner.top()
    }

    fn create_place(&self) -> Result<(), StoreError> {
        self.call(Verb::CreatePlace, "", (0, 0), |()| 0, || self.inner.create_place())
    }

    fn read_unit(&self) -> ReadUnit {
        let pretended = self.plan().read_unit;
        pretended.unwrap_or_else(|| self.inner.read_unit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn the_planned_call_fails_and_no_other() {
        let store = FaultyStore::new(MemoryStore::new());
        store.create(&name("a"), &[b"1"]).unwrap();
        store.fault(Verb::Create, 2, Fault::Fail).fault(Verb::Create, 3, Fault::LoseReply);
        store.create(&name("b"), &[b"2"]).unwrap();
        assert!(matches!(store.create(&name("c"), &[b"3"]), Err(StoreError { kind: StoreErrorKind::Failed, .. })));
        assert!(matches!(store.create(&name("d"), &[b"4"]), Err(StoreError { kind: StoreErrorKind::Failed, .. })));
        store.create(&name("e"), &[b"5"]).unwrap();
        assert!(matches!(store.size(&name("c")), Err(StoreError { kind: StoreErrorKind::Missing, .. })));
        assert_eq!(store.get(&name("d"), 1).unwrap(), b"4");
        let calls = store.take_calls();
        assert_eq!(calls.iter().map(|call| call.ok).collect::<Vec<_>>(), [true, true, false, false, true, false, true]);
        assert_eq!((calls[6].verb, calls[6].bytes), (Verb::Get, 1));
    }

    #[test]
    fn a_full_store_takes_what_fits_and_a_stopped_one_nothing() {
        let store = FaultyStore::new(MemoryStore::new());
        store.full_after(Some(5));
        store.create(&name("a"), &[b"12", b"3"]).unwrap();
        assert!(matches!(store.create(&name("b"), &[b"123"]), Err(StoreError { kind: StoreErrorKind::Full, .. })));
        store.create(&name("c"), &[b"12"]).unwrap();
        store.full_after(None).stop_after(Some(1));
        assert_eq!(store.size(&name("c")).unwrap(), 2);
        store.delete(&name("c")).unwrap();
        assert!(store.size(&name("a")).is_err());
        assert!(store.create(&name("d"), &[]).is_err());
    }
}
