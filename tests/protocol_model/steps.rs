//! The model as stateright checks it: every step anybody may take, and what must always hold.

use stateright::{Model, Property};

use super::layout::{Layout, Packs, SLOTS, WRITERS, bits};
use super::rules::Rule;
use super::state::{GcNames, Record, Session, Slot, State, Writer};

/// One step. A listing carries what it showed, a choice what was chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    // a writer
    Begins(usize),
    ListsGc(usize, GcNames),
    Decides(usize, Packs, Packs),
    Acknowledges(usize, u8, Packs),
    SendsCommit(usize),
    CommitLands(usize),
    LooksForRevocation(usize),
    Closes(usize),
    // a pruner
    ReadsNumber(usize),
    Condemns(usize, Packs),
    Sweeps(usize, u8),
    ListsSessions(usize, [u8; WRITERS]),
    ListsSnapshots(usize, u8),
    SeesGc(usize, GcNames),
    Judges(usize, Packs),
    PutsVerdict(usize),
    Stops(usize),
    Repacks(usize),
    DeletesGc(usize),
    // a pruner of class single maintainer
    CondemnsAndDies(usize, Packs),
    DiesWithVerdict(usize),
    CondemnLands(usize),
    VerdictLands(usize),
    // the world
    Revoked(usize),
    Forgets(usize),
    Lands(usize),
    Forges(usize, bool, Packs),
}

/// The name of I1 among the properties.
pub const LOST: &str = "I1: every snapshot that stands there has a usable copy of each chunk";
/// The name of I4.
pub const UNDER: &str = "I4: nothing that a live session relies on is deleted";
/// Things that must happen somewhere, or the model proves nothing.
pub const FREED: &str = "a pack is deleted while an acknowledged session runs";
/// A pin that was needed.
pub const PINNED: &str = "a verdict spares what is pinned";
/// A snapshot committed after something was deleted.
pub const COMMITTED: &str = "a snapshot is committed after a verdict deleted something";

impl Model for Layout {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        assert!(self.writers.len() <= WRITERS && self.slots() <= SLOTS, "{} does not fit", self.name);
        vec![State::first(self)]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        for w in 0..self.writers.len() {
            state.writer_steps(self, w, steps);
        }
        // Those that do not run stand first when they are sorted, and stay idle.
        for p in state.pruners.len() - self.pruners..state.pruners.len() {
            state.pruner_steps(self, p, steps);
        }
        state.repack_steps(self, steps);
        steps.extend(bits(state.flight).map(Step::Lands));
        steps.extend(bits(self.forgettable).filter(|&slot| state.slots[slot] == Slot::Committed).map(Step::Forgets));
        for (n, number) in state.numbers.iter().enumerate() {
            steps.extend(number.late.map(|_| Step::CondemnLands(n)));
            steps.extend(number.late_verdict.map(|_| Step::VerdictLands(n)));
        }
        if self.lacks(Rule::GcNamesStay) {
            steps.extend((0..self.numbers).filter(|&n| matches!(state.numbers[n].verdict, Record::Owner(_))).map(Step::DeletesGc));
        }
        if self.forged && !state.forged {
            for n in 0..self.numbers {
                if !state.numbers[n].condemn.is_there() {
                    steps.push(Step::Forges(n, false, 0));
                    steps.push(Step::Forges(n, false, self.condemnable & self.initial()));
                }
                if !state.numbers[n].verdict.is_there() {
                    steps.push(Step::Forges(n, true, 0));
                }
            }
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = match step {
            Step::Begins(_)
            | Step::ListsGc(..)
            | Step::Decides(..)
            | Step::Acknowledges(..)
            | Step::SendsCommit(_)
            | Step::CommitLands(_)
            | Step::LooksForRevocation(_)
            | Step::Closes(_)
            | Step::Revoked(_) => state.writer_step(self, step),
            _ => state.pruner_step(self, step),
        };
        match step {
            Step::Lands(pack) => {
                next.flight &= !(1 << pack);
                next.present |= 1 << pack;
            }
            Step::Repacks(pack) => next.flight |= 1 << pack,
            Step::Forgets(slot) => {
                next.slots[slot] = Slot::Forgotten;
                if let Some(session) = next.sessions.get_mut(slot).filter(|_| slot < self.writers.len()) {
                    *session = Session { marker: session.marker, ..*session };
                }
            }
            _ => {}
        }
        let next = next.normalised(self);
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(LOST, |layout, state: &State| state.nothing_is_lost(layout)),
            Property::always(UNDER, |layout, state: &State| {
                // With a rule left out only a loss counts.
                layout.without.is_some() || state.nothing_is_deleted_under_a_writer()
            }),
            Property::sometimes(FREED, |_, state: &State| {
                let runs = |w: usize| matches!(state.writers[w], Writer::Running { .. }) && state.sessions[w].records > 1;
                state.gone != 0 && (0..WRITERS).any(runs)
            }),
            Property::sometimes(PINNED, |_, state: &State| {
                state.sessions.iter().any(|session| {
                    let verdicts = state.numbers.iter().zip(session.pins);
                    verdicts.into_iter().any(|(number, pins)| {
                        matches!((number.condemn, number.verdict), (Record::Owner(packs), Record::Owner(delete)) if packs & !delete & pins != 0)
                    })
                })
            }),
            Property::sometimes(COMMITTED, |layout, state: &State| {
                state.gone != 0 && (0..layout.writers.len()).any(|w| state.slots[w] == Slot::Committed)
            }),
        ]
    }
}
