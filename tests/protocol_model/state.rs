//! One state of the world: what is stored, and how far everybody is.
//!
//! A crash needs no step of its own: a process that died is one that never takes its next step, and what it had sent lands by itself
//! (`Step::Lands`, `Step::CommitLands`), before or after.

use super::layout::{Chunks, Layout, NUMBERS, PRUNERS, Packs, SLOTS, WRITERS, bits};
use super::rules::Rule;

/// What stands under a name of gc/.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Record {
    #[default]
    Absent,
    /// With a good owner_mac.
    Owner(Packs),
    /// Made with a writer key: everybody can read it, an owner knows it for what it is.
    Forged(Packs),
}

impl Record {
    pub fn is_there(self) -> bool {
        self != Self::Absent
    }
    pub fn packs(self) -> Option<Packs> {
        match self {
            Self::Absent => None,
            Self::Owner(packs) | Self::Forged(packs) => Some(packs),
        }
    }
}

/// The two names of a gc number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Number {
    pub condemn: Record,
    pub verdict: Record,
    /// What the pruner had marked before it condemned; kept only where a verdict believes it (the rule `MarkAgain` left out).
    pub marked: Chunks,
    /// Single maintainer: a condemn record that its dead sender left on its way.
    pub late: Option<Packs>,
    /// A verdict that its dead sender left on its way.
    pub late_verdict: Option<Packs>,
    /// The number in the name of the condemn record.
    pub called: u8,
}

/// Names of gc/ in a listing: bit 2n for the condemn record of number n + 1, bit 2n + 1 for its verdict.
pub type GcNames = u8;

/// What stands under snapshots/<sid>.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Slot {
    #[default]
    Free,
    Committed,
    Forgotten,
    Revoked,
}

/// The records of a session.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Session {
    /// Bit 0: the start record; bit n: an acknowledgement of number n.
    pub records: u8,
    /// The pins of the acknowledgement of number n + 1.
    pub pins: [Packs; NUMBERS],
    /// `closed` was put.
    pub closed: bool,
    /// A revocation that takes no name: `revoked/<sid>` (in class shared only with the rule `FencedRevocation` left out).
    pub marker: bool,
}

/// How far a writer is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Writer {
    #[default]
    Idle,
    /// S0. `gc`: the names that were there then, so that the listing that begins now shows them.
    Begun {
        gc: GcNames,
    },
    /// S1.
    Listed {
        bad: Packs,
    },
    /// S2 and every decision: later decisions would see a smaller view, so they are among these; what they upload may land late.
    Running {
        used: Packs,
        own: Packs,
        gc: GcNames,
    },
    /// D3 is on its way.
    Sent,
    /// D3 is there; single maintainer: `revoked/` is still to be listed.
    Landed,
    Over,
}

/// How far a pruner is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Pruner {
    #[default]
    Idle,
    /// A1.
    Condemning { base: u8 },
    /// B1 has begun: the records that were there then.
    Listing { number: u8, records: [u8; WRITERS] },
    /// B1. `need`: live sessions that have not acknowledged; `slots`: names under snapshots/ then.
    Listed { number: u8, need: u8, pins: [Packs; WRITERS], slots: u8, early: Packs },
    /// B2.
    Marked { number: u8, pins: Packs, mark: Chunks, gc: GcNames, early: Packs, need: u8 },
    /// B3.
    Seen { number: u8, pins: Packs, mark: Chunks, outside: Packs },
    /// B4 and the decision of B5.
    Decided { number: u8, delete: Packs },
    /// gc listed first (the rule `GcAfterSessions` left out).
    SeenFirst { number: u8, outside: Packs },
    /// Snapshots listed first (the rule `SessionsBeforeSnapshots` left out).
    MarkedFirst { number: u8, over: u8, mark: Chunks },
}

impl Pruner {
    /// The number that is swept.
    pub fn sweeps(self) -> Option<u8> {
        match self {
            Self::Idle | Self::Condemning { .. } => None,
            Self::Listing { number, .. }
            | Self::Listed { number, .. }
            | Self::Marked { number, .. }
            | Self::Seen { number, .. }
            | Self::Decided { number, .. }
            | Self::SeenFirst { number, .. }
            | Self::MarkedFirst { number, .. } => Some(number),
        }
    }
}

/// Everything.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct State {
    /// Listed packs. What a verdict deletes stays listed: the later it is deleted, the more it can mislead.
    pub present: Packs,
    /// Sent, not landed.
    pub flight: Packs,
    /// Some verdict deletes it: it counts as lost from that moment.
    pub gone: Packs,
    pub numbers: [Number; NUMBERS],
    pub slots: [Slot; SLOTS],
    pub sessions: [Session; WRITERS],
    pub writers: [Writer; WRITERS],
    pub pruners: [Pruner; PRUNERS],
    pub forged: bool,
    /// Slots whose writer was told that it committed.
    pub told: u8,
}

impl State {
    pub fn first(layout: &Layout) -> Self {
        let mut state = Self { present: layout.initial(), ..Self::default() };
        for slot in layout.writers.len()..layout.slots() {
            state.slots[slot] = Slot::Committed;
            state.told |= 1 << slot;
        }
        state
    }

    /// The names under gc/.
    pub fn gc_names(&self) -> GcNames {
        let each = self.numbers.iter().enumerate();
        each.fold(0, |names, (n, number)| {
            names | u8::from(number.condemn.is_there()) << (2 * n) | u8::from(number.verdict.is_there()) << (2 * n + 1)
        })
    }

    /// The number of a listing.
    pub fn number(&self, shown: GcNames, layout: &Layout) -> u8 {
        let has_name = |n: &u8| shown >> (2 * (n - 1)) & 3 != 0;
        let numbers = 1..=NUMBERS as u8;
        if layout.lacks(Rule::NumberWithoutGap) {
            numbers.filter(has_name).max().unwrap_or(0)
        } else {
            numbers.take_while(has_name).last().unwrap_or(0)
        }
    }

    /// What a writer calls bad: it obeys every record it can read.
    pub fn bad_for_writers(&self, shown: GcNames, layout: &Layout) -> Packs {
        self.numbers.iter().enumerate().fold(0, |bad, (n, number)| {
            let condemned = if shown >> (2 * n) & 1 == 1 { number.condemn.packs() } else { None };
            let verdict = if shown >> (2 * n + 1) & 1 == 1 { number.verdict.packs() } else { None };
            if layout.single && !layout.lacks(Rule::SparedStaysBad) {
                return bad | condemned.unwrap_or(0) | verdict.unwrap_or(0);
            }
            bad | verdict.or(condemned).unwrap_or(0)
        })
    }

    /// What is not in an owner's view: deleted by a good verdict, or condemned without one.
    pub fn outside_for_owners(&self, shown: GcNames, layout: &Layout) -> Packs {
        self.numbers.iter().enumerate().fold(0, |outside, (n, number)| {
            let condemned = match number.condemn {
                Record::Owner(packs) if shown >> (2 * n) & 1 == 1 && !layout.lacks(Rule::OtherNumbersOutOfView) => packs,
                _ => 0,
            };
            if layout.single && !layout.lacks(Rule::SparedOutOfView) {
                return outside | condemned | number.verdict.packs().unwrap_or(0);
            }
            outside
                | match number.verdict {
                    Record::Owner(delete) if shown >> (2 * n + 1) & 1 == 1 => delete,
                    _ => condemned,
                }
        })
    }

    /// Is there something under snapshots/<sid>?
    pub fn taken(&self) -> u8 {
        self.slots.iter().enumerate().fold(0, |taken, (n, slot)| taken | u8::from(*slot != Slot::Free) << n)
    }

    /// Sessions that a listing with these names under snapshots/ shows to be over.
    pub fn over(&self, shown: u8, layout: &Layout) -> u8 {
        // Single maintainer: revocations beside were listed before snapshots were.
        self.taken() & shown | if layout.single { 0 } else { self.markers() }
    }

    /// Sessions with a revocation beside.
    pub fn markers(&self) -> u8 {
        self.sessions.iter().enumerate().fold(0, |all, (n, session)| all | u8::from(session.marker) << n)
    }

    /// The chunks of the snapshots in a listing that are not forgotten.
    pub fn mark(&self, shown: u8, layout: &Layout) -> Chunks {
        let doubtful = if layout.lacks(Rule::DoubtfulStaysLive) { self.markers() } else { 0 };
        bits(shown & !doubtful)
            .filter(|&slot| slot < SLOTS && self.slots[slot] == Slot::Committed)
            .fold(0, |all, slot| all | layout.wanted(slot))
    }

    /// I1, and more: every snapshot that stands there, acknowledged or not, has a usable copy of each of its chunks. In class single
    /// maintainer only those that were acknowledged: a run that was revoked learns of it after its commit.
    pub fn nothing_is_lost(&self, layout: &Layout) -> bool {
        let packs = self.present & !self.gone;
        let counts = |slot: &usize| self.slots[*slot] == Slot::Committed && (!layout.single || self.told >> slot & 1 == 1);
        let wanted = (0..layout.slots()).filter(counts).fold(0, |all, slot| all | layout.wanted(slot));
        bits(wanted).all(|chunk| layout.readable(chunk as u8, packs))
    }

    /// I4: what a live session relies on is not deleted.
    pub fn nothing_is_deleted_under_a_writer(&self) -> bool {
        let sessions = self.writers.iter().zip(&self.sessions);
        sessions.zip(self.slots).all(|((writer, session), slot)| match writer {
            Writer::Running { used, own, .. } if slot == Slot::Free && !session.marker => (used | own) & self.gone == 0,
            _ => true,
        })
    }

    /// Brings states together that nobody can tell apart.
    pub fn normalised(mut self, layout: &Layout) -> Self {
        for n in 0..layout.writers.len() {
            if self.slots[n] == Slot::Revoked && !layout.lacks(Rule::RevocationsStay) {
                self.writers[n] = Writer::Over;
            }
            if self.slots[n] != Slot::Free && !layout.lacks(Rule::SessionsBeforeSnapshots) && !layout.lacks(Rule::RevocationsStay) {
                // Over for every sweep that looks from now on: nobody asks for its records again.
                let looked_at = [Rule::DoubtfulStaysLive, Rule::RevokedBeforeSnapshots].iter().any(|&rule| layout.lacks(rule));
                let matters = self.writers[n] != Writer::Over || looked_at;
                self.sessions[n] = Session { marker: self.sessions[n].marker && matters && layout.single, ..Session::default() };
            }
            if !layout.lacks(Rule::ClosedNotBelieved) {
                self.sessions[n].closed = false;
            }
            if let Writer::Running { used, .. } = &mut self.writers[n] {
                *used &= layout.condemnable;
            }
            if !layout.lists_take_time
                && let Writer::Begun { gc } | Writer::Running { gc, .. } = &mut self.writers[n]
            {
                *gc = 0;
            }
        }
        let numbers = self.numbers;
        for pruner in &mut self.pruners {
            let has_no_use = match *pruner {
                Pruner::Condemning { base } => match numbers.get(base as usize) {
                    None => true,
                    Some(next) => {
                        let taken = next.condemn.is_there();
                        taken
                            && ![Rule::GcNamesStay, Rule::NumberOnce, Rule::ForgedNameTaken].iter().any(|&rule| layout.lacks(rule))
                    }
                },
                _ => pruner.sweeps().is_some_and(|number| {
                    let number = numbers[number as usize - 1];
                    let verdict = number.verdict.is_there();
                    let is_final = !layout.single && !layout.lacks(Rule::OneVerdict) && !layout.lacks(Rule::ForgedNameTaken);
                    !number.condemn.is_there() || verdict && is_final
                }),
            };
            if has_no_use {
                *pruner = Pruner::Idle;
            }
            pruner.forget_what_does_not_matter(&numbers, layout);
        }
        self.pruners.sort_unstable();
        self
    }
}

impl Pruner {
    fn forget_what_does_not_matter(&mut self, numbers: &[Number; NUMBERS], layout: &Layout) {
        let Some(number) = self.sweeps() else { return };
        let condemned = numbers[number as usize - 1].condemn.packs().unwrap_or(0);
        let concerned = layout.concerned(condemned);
        match self {
            Self::Listed { pins, early, slots, .. } => {
                pins.iter_mut().for_each(|pins| *pins &= condemned);
                *early &= layout.relevant(concerned);
                if !layout.lists_take_time {
                    *slots = 0;
                }
            }
            Self::Marked { pins, mark, gc, early, .. } => {
                *pins &= condemned;
                *mark &= concerned;
                *early &= layout.relevant(*mark);
                if !layout.lists_take_time {
                    *gc = 0;
                }
            }
            Self::Seen { pins, mark, outside, .. } => {
                *pins &= condemned;
                *mark &= concerned;
                *outside &= layout.relevant(*mark);
            }
            Self::SeenFirst { outside, .. } => *outside &= layout.relevant(concerned),
            Self::MarkedFirst { mark, .. } => *mark &= concerned,
            Self::Idle | Self::Condemning { .. } | Self::Listing { .. } | Self::Decided { .. } => {}
        }
    }
}
