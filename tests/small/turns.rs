//! A store whose users take turns: one call at a time, in an order that is drawn from a seed, so that what happens once can be had
//! again.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use esker::store::{Entry, Name, ReadUnit, Store, StoreError};

struct State {
    /// Those that have not ended.
    alive: usize,
    /// Who waits for a turn.
    waiting: BTreeSet<usize>,
    turn: Option<usize>,
    seed: u64,
}

impl State {
    /// Gives the turn to one of those who wait, when all do.
    fn draw(&mut self) {
        if self.turn.is_none() && !self.waiting.is_empty() && self.waiting.len() == self.alive {
            self.seed = u64::from_le_bytes(blake3::hash(&self.seed.to_le_bytes()).as_bytes()[..8].try_into().unwrap());
            let nth = (self.seed % self.waiting.len() as u64) as usize;
            self.turn = self.waiting.iter().nth(nth).copied();
        }
    }
}

/// The order of the calls.
pub struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

impl Turns {
    /// `users` views of one store; each must be used by a thread of its own, and dropped when it is done.
    pub fn of(store: &Arc<dyn Store>, users: usize, seed: u64) -> Vec<Arc<dyn Store>> {
        let state = State { alive: users, waiting: BTreeSet::new(), turn: None, seed };
        let turns = Arc::new(Self { state: Mutex::new(state), changed: Condvar::new() });
        let user = |me| Arc::new(User { inner: store.clone(), turns: turns.clone(), me }) as Arc<dyn Store>;
        (0..users).map(user).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// One of those who take turns.
struct User {
    inner: Arc<dyn Store>,
    turns: Arc<Turns>,
    me: usize,
}

impl User {
    fn call<T>(&self, call: impl FnOnce(&dyn Store) -> T) -> T {
        let mut state = self.turns.lock();
        state.waiting.insert(self.me);
        state.draw();
        self.turns.changed.notify_all();
        while state.turn != Some(self.me) {
            state = self.turns.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        state.waiting.remove(&self.me);
        let done = call(&*self.inner);
        // The next is drawn when this one waits again or has ended.
        state.turn = None;
        done
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let mut state = self.turns.lock();
        state.alive -= 1;
        state.draw();
        self.turns.changed.notify_all();
    }
}

impl Store for User {
    fn location(&self) -> String {
        self.inner.location()
    }
    fn create(&self, name: &Name, parts: &[&[u8]]) -> Result<(), StoreError> {
        self.call(|store| store.create(name, parts))
    }
    fn replace(&self, name: &Name, parts: &[&[u8]]) -> Result<(), StoreError> {
        self.call(|store| store.replace(name, parts))
    }
    fn get(&self, name: &Name, size_max: u64) -> Result<Vec<u8>, StoreError> {
        self.call(|store| store.get(name, size_max))
    }
    fn get_range(&self, name: &Name, offset: u64, length: usize) -> Result<Vec<u8>, StoreError> {
        self.call(|store| store.get_range(name, offset, length))
    }
    fn size(&self, name: &Name) -> Result<u64, StoreError> {
        self.call(|store| store.size(name))
    }
    fn list(&self, folder: &str, each: &mut dyn FnMut(Entry)) -> Result<(), StoreError> {
        self.call(|store| store.list(folder, each))
    }
    fn delete(&self, name: &Name) -> Result<(), StoreError> {
        self.call(|store| store.delete(name))
    }
    fn create_place(&self) -> Result<(), StoreError> {
        self.inner.create_place()
    }
    fn read_unit(&self) -> ReadUnit {
        self.inner.read_unit()
    }
}
