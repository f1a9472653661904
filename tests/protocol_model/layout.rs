//! What a configuration of the model holds: which packs there may be and what is in them, who wants what, and how much may happen.
//!
//! Sets are bits of a `u8`. A pack's content is fixed from the beginning, as it is in the repository: a pack that was not put yet is
//! one that somebody *may* put.

use super::rules::Rule;

/// Bit `n`: pack `n`.
pub type Packs = u8;
/// Bit `n`: chunk `n`.
pub type Chunks = u8;

/// Writers of a configuration at most.
pub const WRITERS: usize = 2;
/// Writers and snapshots that are there from the beginning, together at most.
pub const SLOTS: usize = 4;
/// gc numbers at most.
pub const NUMBERS: usize = 3;
/// Pruners at most; each runs as often as it likes.
pub const PRUNERS: usize = 2;

/// How a pack holds a chunk.
#[derive(Clone, Copy, Debug)]
pub enum Stored {
    /// Its own bytes.
    Literal(u8),
    /// A recipe over other chunks.
    Composed(u8, Chunks),
}
use Stored::{Composed, Literal};

/// Who puts a pack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// It is there.
    Initial,
    /// A writer may put it.
    Writer(usize),
    /// A pruner may put it (repack).
    Repack,
}

/// A pack.
#[derive(Clone, Copy, Debug)]
pub struct Pack {
    /// Who puts it.
    pub origin: Origin,
    /// What is in it.
    pub copies: &'static [Stored],
}

/// A configuration.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// For messages.
    pub name: &'static str,
    /// Every pack there may ever be.
    pub packs: &'static [Pack],
    /// What the snapshot of each writer will hold. Slot `n` is writer `n`'s.
    pub writers: &'static [Chunks],
    /// Snapshots that are there from the beginning; their slots come after the writers'.
    pub old: &'static [Chunks],
    /// Slots that may be forgotten.
    pub forgettable: u8,
    /// Writers that may be revoked, at any time: no clock guards anything.
    pub revocable: u8,
    /// gc numbers that may be used.
    pub numbers: usize,
    /// Pruners that run at the same time.
    pub pruners: usize,
    /// What a condemn record may name (a smaller set makes a smaller model).
    pub condemnable: Packs,
    /// Each name created while a LIST runs may be shown or hidden; otherwise a LIST is one moment.
    pub lists_take_time: bool,
    /// A verdict may delete any part of what it may delete, not only all of it.
    pub verdicts_vary: bool,
    /// A thief with a writer key makes one name under gc/.
    pub forged: bool,
    /// Class single maintainer: a PUT under a taken name overwrites it, what a dead run sent lands whenever it likes, a revocation stands
    /// beside. A number is then a record: `numbers` records, whatever their names say.
    pub single: bool,
    /// Single maintainer: a pruner may die with a record on its way. Where two run at once a slow one is that already: it may take its
    /// next step whenever it likes.
    pub dies: bool,
    /// The rule that is left out, if any.
    pub without: Option<Rule>,
}

impl Layout {
    /// The smallest: nobody, nothing.
    pub const NOTHING: Self = Self {
        name: "nothing",
        packs: &[],
        writers: &[],
        old: &[],
        forgettable: 0,
        revocable: 0,
        numbers: 1,
        pruners: 1,
        condemnable: 0xff,
        lists_take_time: false,
        verdicts_vary: false,
        forged: false,
        single: false,
        dies: false,
        without: None,
    };

    /// The same with a rule left out.
    pub fn without(self, rule: Rule) -> Self {
        Self { without: Some(rule), ..self }
    }

    /// Is this rule left out?
    pub fn lacks(&self, rule: Rule) -> bool {
        self.without == Some(rule)
    }

    /// Packs that are there from the beginning.
    pub fn initial(&self) -> Packs {
        self.of(|pack| pack.origin == Origin::Initial)
    }

    /// Packs that this writer may put.
    pub fn own(&self, writer: usize) -> Packs {
        self.of(|pack| pack.origin == Origin::Writer(writer))
    }

    /// Packs for which the answer is yes.
    pub fn of(&self, is: impl Fn(&Pack) -> bool) -> Packs {
        self.packs.iter().enumerate().filter(|(_, pack)| is(pack)).fold(0, |packs, (n, _)| packs | 1 << n)
    }

    /// Slots in use.
    pub fn slots(&self) -> usize {
        self.writers.len() + self.old.len()
    }

    /// What the snapshot in a slot holds.
    pub fn wanted(&self, slot: usize) -> Chunks {
        self.writers.iter().chain(self.old).nth(slot).copied().unwrap_or(0)
    }

    /// Packs with a literal copy of the chunk.
    pub fn literals(&self, chunk: u8) -> Packs {
        self.of(|pack| pack.copies.iter().any(|copy| matches!(copy, Literal(c) if *c == chunk)))
    }

    /// Packs with any copy of the chunk.
    pub fn copies(&self, chunk: u8) -> Packs {
        self.of(|pack| pack.copies.iter().any(|copy| matches!(copy, Literal(c) | Composed(c, _) if *c == chunk)))
    }

    /// Composed copies of the chunk: pack and bases.
    pub fn composed(&self, chunk: u8) -> impl Iterator<Item = (usize, Chunks)> {
        self.packs.iter().enumerate().flat_map(move |(n, pack)| {
            pack.copies.iter().filter_map(move |copy| match copy {
                Composed(c, bases) if *c == chunk => Some((n, *bases)),
                _ => None,
            })
        })
    }
}

/// The numbers of the bits that are set.
pub fn bits(set: u8) -> impl Iterator<Item = usize> {
    (0..8).filter(move |n| set >> n & 1 == 1)
}

/// Every subset, the empty one first.
pub fn subsets(set: u8) -> impl Iterator<Item = u8> {
    let mut next = Some(0u8);
    std::iter::from_fn(move || {
        let this = next?;
        // The next subset: count up within the bits of the set.
        let following = this.wrapping_sub(set) & set;
        next = (following != 0).then_some(following);
        Some(this)
    })
}
