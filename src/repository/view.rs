//! The view: which packs may be relied on.
//!
//! A pack is in the view when it is listed with the right size and no gc record calls it bad. What the cache says about chunks is only
//! ever believed through the view, so a cache may be old, foreign or wrong and cost nothing but time.

use std::collections::HashMap;

use crate::cache::PackNumber;
use crate::id::PackId;

/// Packs in the view, by their number in the cache. 40 bytes a pack: 3 MiB for a terabyte.
#[derive(Debug, Default, Clone)]
pub struct View {
    packs: HashMap<PackNumber, PackId>,
    numbers: HashMap<PackId, PackNumber>,
    /// Listed with the right size, but bad: still good to read from, and not to be relied on.
    condemned: HashMap<PackNumber, PackId>,
    /// Listed, but nobody said yet what is in them.
    pub without_facts: Vec<(PackId, u64)>,
    /// Listed in the cache under another size than the store shows: cut off, or still arriving. Not in the view; a reader may find a
    /// parity object that mends them.
    pub wrong_size: HashMap<PackNumber, PackId>,
    /// What gc records call bad.
    pub bad: std::collections::HashSet<PackId>,
    /// The number of the gc listing behind `bad`.
    pub gc_number: u64,
    /// What an acknowledgement of that listing names beside the number.
    pub gc_seen: Vec<crate::id::ObjectHash>,
    /// The first number of that listing that could not be understood.
    pub gc_blocked_at: Option<u64>,
}

impl View {
    /// May copies in this pack be relied on?
    pub fn contains(&self, number: PackNumber) -> bool {
        self.packs.contains_key(&number)
    }
    /// May copies in this pack be read? A bad pack that is still there may.
    pub fn can_read(&self, number: PackNumber) -> bool {
        self.packs.contains_key(&number) || self.condemned.contains_key(&number)
    }
    /// The pack behind a number that can be read.
    pub fn id(&self, number: PackNumber) -> Option<PackId> {
        self.packs.get(&number).or_else(|| self.condemned.get(&number)).copied()
    }
    /// Lets a bad pack be read.
    pub fn insert_condemned(&mut self, number: PackNumber, id: PackId) {
        self.condemned.insert(number, id);
    }
    /// The same without bad packs: only what may be relied on can be read.
    pub fn reliable(&self) -> Self {
        Self { condemned: HashMap::new(), ..self.clone() }
    }
    /// Bad packs that can be read, in no order.
    pub fn condemned(&self) -> impl Iterator<Item = (PackNumber, PackId)> + '_ {
        self.condemned.iter().map(|(&number, &id)| (number, id))
    }
    /// The number of a pack in the view.
    pub fn number(&self, id: &PackId) -> Option<PackNumber> {
        self.numbers.get(id).copied()
    }
    /// Puts a pack in.
    pub fn insert(&mut self, number: PackNumber, id: PackId) {
        self.packs.insert(number, id);
        self.numbers.insert(id, number);
    }
    /// Takes a pack out.
    pub fn remove(&mut self, id: &PackId) {
        if let Some(number) = self.numbers.remove(id) {
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
