//! The view: which packs count.
//!
//! A pack is in the view when it is listed with the right size and no gc record calls it bad. What the cache says about chunks is only
//! ever believed through the view.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::cache::PackNumber;
use crate::id::PackId;

/// How far a copy must be trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trust {
    /// A snapshot may refer to it.
    Reliable,
    /// It may be read: its pack is listed with the right size, bad or not.
    Readable,
    /// Its pack has another size than it should: only parity may give it.
    CutOff,
    /// Somebody told of it once. Its pack may be gone.
    Any,
}

/// Packs in the view, by their number in the cache. About 80 bytes a pack: 5 MiB for a terabyte.
#[derive(Debug, Default, Clone)]
pub struct View {
    packs: HashMap<PackNumber, PackId>,
    /// Of packs in the view and of condemned ones.
    numbers: HashMap<PackId, PackNumber>,
    /// Listed with the right size, but bad: still good to read from, and not to be relied on.
    condemned: HashMap<PackNumber, PackId>,
    /// Listed with another size than the cache knows: cut off, or still arriving. A reader may find parity that mends them.
    pub(super) wrong_size: HashMap<PackNumber, PackId>,
    /// Listed, and their contents are unknown.
    pub(super) without_facts: Vec<(PackId, u64)>,
    /// What gc records call bad.
    pub(super) bad: Arc<HashSet<PackId>>,
}

impl View {
    /// An empty view in which these packs are bad.
    pub(crate) fn with_bad(bad: HashSet<PackId>) -> Self {
        Self { bad: Arc::new(bad), ..Self::default() }
    }
    /// May copies in this pack be relied on?
    pub fn contains(&self, number: PackNumber) -> bool {
        self.packs.contains_key(&number)
    }
    /// May copies in this pack be read? A bad pack that is still there may.
    pub(crate) fn can_read(&self, number: PackNumber) -> bool {
        self.packs.contains_key(&number) || self.condemned.contains_key(&number)
    }
    /// Are copies in this pack trusted so far?
    pub(crate) fn trusts(&self, number: PackNumber, trust: Trust) -> bool {
        match trust {
            Trust::Reliable => self.contains(number),
            Trust::Readable => self.can_read(number),
            Trust::CutOff => self.wrong_size.contains_key(&number),
            Trust::Any => true,
        }
    }
    /// Do gc records call this pack bad?
    pub fn is_bad(&self, id: &PackId) -> bool {
        self.bad.contains(id)
    }
    /// The pack behind a number that can be read.
    pub fn id(&self, number: PackNumber) -> Option<PackId> {
        self.packs.get(&number).or_else(|| self.condemned.get(&number)).copied()
    }
    /// The pack behind a number of a pack that was cut off.
    pub(crate) fn cut_off(&self, number: PackNumber) -> Option<PackId> {
        self.wrong_size.get(&number).copied()
    }
    /// Is any pack cut off?
    pub(crate) fn has_cut_off(&self) -> bool {
        !self.wrong_size.is_empty()
    }
    /// Lets a bad pack be read.
    pub(crate) fn insert_condemned(&mut self, number: PackNumber, id: PackId) {
        self.condemned.insert(number, id);
        self.numbers.insert(id, number);
    }
    /// The same without bad packs: only what may be relied on can be read.
    #[must_use]
    pub(crate) fn reliable(&self) -> Self {
        Self { condemned: HashMap::new(), ..self.clone() }
    }
    /// Bad packs that can be read, in no order.
    pub fn condemned(&self) -> impl Iterator<Item = (PackNumber, PackId)> + '_ {
        self.condemned.iter().map(|(&number, &id)| (number, id))
    }
    /// The number of a pack in the view.
    pub fn number(&self, id: &PackId) -> Option<PackNumber> {
        self.numbers.get(id).copied().filter(|&number| self.contains(number))
    }
    /// The number of a pack that can be read.
    pub(crate) fn readable_number(&self, id: &PackId) -> Option<PackNumber> {
        self.numbers.get(id).copied().filter(|&number| self.can_read(number))
    }
    /// Puts a pack in.
    pub fn insert(&mut self, number: PackNumber, id: PackId) {
        self.packs.insert(number, id);
        self.numbers.insert(id, number);
    }
    /// Takes a pack out.
    pub fn remove(&mut self, id: &PackId) {
        if let Some(number) = self.number(id) {
            self.numbers.remove(id);
            self.packs.remove(&number);
        }
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.packs.len()
    }
    /// None?
    pub fn is_empty(&self) -> bool {
        self.packs.is_empty()
    }
    /// Every pack in the view, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (PackNumber, PackId)> + '_ {
        self.packs.iter().map(|(&number, &id)| (number, id))
    }
}
