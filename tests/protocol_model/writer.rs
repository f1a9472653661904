//! The steps of a writer, and what happens to what it sent.

use super::layout::{Layout, NUMBERS, Origin, Packs, Stored, bits, subsets};
use super::rules::Rule;
use super::state::{GcNames, Slot, State, Writer};
use super::steps::Step;

/// One way to take a chunk: which packs it makes used, which own packs are begun.
type Way = (Packs, Packs);

impl Layout {
    /// Every way to take a chunk, given the view: a known copy is used, or it is uploaded.
    fn ways(&self, writer: usize, chunk: u8, view: Packs) -> Vec<Way> {
        let mut ways = Vec::new();
        for (n, pack) in self.packs.iter().enumerate() {
            let here: Packs = 1 << n;
            let own = pack.origin == Origin::Writer(writer);
            if !own && view & here == 0 {
                continue;
            }
            for copy in pack.copies {
                match *copy {
                    Stored::Literal(c) if c == chunk => ways.push(if own { (0, here) } else { (here, 0) }),
                    Stored::Composed(c, bases) if c == chunk => {
                        let found = self.ways_of_bases(writer, bases, view);
                        ways.extend(
                            found.into_iter().map(|(used, begun)| if own { (used, begun | here) } else { (used | here, begun) }),
                        );
                    }
                    _ => {}
                }
            }
        }
        ways.sort_unstable();
        ways.dedup();
        ways
    }

    /// The packs that make the bases available.
    fn ways_of_bases(&self, writer: usize, bases: u8, view: Packs) -> Vec<Way> {
        use super::rules::Bases;
        let own = self.own(writer);
        let mut ways = vec![(0, 0)];
        for base in bits(bases) {
            let good = match self.asked_by_writer() {
                Bases::AnyCopy => self.copies(base as u8),
                Bases::Literal | Bases::Ignored => self.literals(base as u8),
            };
            let mut of_base: Vec<Way> = bits(good & (view | own))
                .map(|n| match (1 << n, self.lacks(Rule::BasesInPins)) {
                    (here, _) if own & here != 0 => (0, here),
                    (_, true) => (0, 0),
                    (here, false) => (here, 0),
                })
                .collect();
            if of_base.is_empty() && self.asked_by_writer() == Bases::Ignored {
                of_base.push((0, 0));
            }
            ways = product(&ways, &of_base);
        }
        ways
    }

    /// Every way to take all that this writer wants.
    fn plans(&self, writer: usize, view: Packs) -> Vec<Way> {
        bits(self.writers[writer]).fold(vec![(0, 0)], |ways, chunk| product(&ways, &self.ways(writer, chunk as u8, view)))
    }
}

fn product(left: &[Way], right: &[Way]) -> Vec<Way> {
    let mut all: Vec<Way> = left.iter().flat_map(|a| right.iter().map(move |b| (a.0 | b.0, a.1 | b.1))).collect();
    all.sort_unstable();
    all.dedup();
    all
}

impl State {
    /// What a listing that began when `then` was there may show of `now`.
    pub fn shown(layout: &Layout, then: u8, now: u8) -> Vec<u8> {
        if layout.lists_take_time { subsets(now & !then).map(|new| new | then & now).collect() } else { vec![now] }
    }

    pub fn writer_steps(&self, layout: &Layout, w: usize, steps: &mut Vec<Step>) {
        let gc = self.gc_names();
        let record_first = !layout.lacks(Rule::RecordBeforeListing);
        match self.writers[w] {
            Writer::Idle if record_first => steps.push(Step::Begins(w)),
            Writer::Idle => steps.extend(Self::shown(layout, gc, gc).into_iter().map(|shown| Step::ListsGc(w, shown))),
            Writer::Begun { gc: then } => {
                steps.extend(Self::shown(layout, then, gc).into_iter().map(|shown| Step::ListsGc(w, shown)))
            }
            Writer::Listed { .. } if self.sessions[w].records == 0 && self.slots[w] == Slot::Free => steps.push(Step::Begins(w)),
            Writer::Listed { bad } => {
                let view = if layout.lacks(Rule::BadOutOfView) { self.present } else { self.present & !bad };
                let plans = layout.plans(w, view & !layout.own(w));
                steps.extend(plans.into_iter().map(|(used, own)| Step::Decides(w, used, own)));
            }
            Writer::Running { used, own, gc: then } => {
                for shown in Self::shown(layout, then, gc) {
                    self.acknowledgements(layout, w, (used, own), shown, steps);
                }
                if own & self.flight == 0 || layout.lacks(Rule::CommitWaitsForPacks) {
                    steps.push(Step::SendsCommit(w));
                }
            }
            Writer::Sent => {
                steps.push(Step::CommitLands(w));
                if layout.lacks(Rule::ClosedNotBelieved) && !self.sessions[w].closed {
                    steps.push(Step::Closes(w));
                }
            }
            Writer::Landed => steps.push(Step::LooksForRevocation(w)),
            Writer::Over => {}
        }
        if layout.single {
            // By whoever thinks it dead, at any time: the PUT may be late too.
            if layout.revocable >> w & 1 == 1 && self.writers[w] != Writer::Idle && !self.sessions[w].marker {
                steps.push(Step::Revoked(w));
            }
            return;
        }
        let begun = self.sessions[w].records & 1 == 1;
        if layout.revocable >> w & 1 == 1 && begun && self.slots[w] == Slot::Free && !self.sessions[w].marker {
            steps.push(Step::Revoked(w));
        }
    }

    fn acknowledgements(&self, layout: &Layout, w: usize, (used, own): Way, shown: GcNames, steps: &mut Vec<Step>) {
        if layout.single {
            return self.acknowledges_records(layout, w, (used, own), shown, steps);
        }
        let number = self.number(shown, layout);
        if number == 0 || self.sessions[w].records >> number != 0 {
            return;
        }
        let bad = self.bad_for_writers(shown, layout);
        if layout.lacks(Rule::Pins) {
            steps.push(Step::Acknowledges(w, number, 0));
        } else if layout.lacks(Rule::OwnWhileInDoubt) {
            // The reply of a pack that landed may still be on its way.
            steps.extend(subsets(own & bad).map(|known| Step::Acknowledges(w, number, used & bad | known)));
        } else {
            steps.push(Step::Acknowledges(w, number, (used | own) & bad));
        }
    }

    /// Bits of records (or of numbers, with the rule left out) that an acknowledgement of this listing adds, and what it pins.
    fn acknowledges_records(&self, layout: &Layout, w: usize, (used, own): Way, shown: GcNames, steps: &mut Vec<Step>) {
        let is_shown = |n: &usize| shown >> (2 * n) & 1 == 1;
        let seen = if layout.lacks(Rule::RecordsAcknowledged) || layout.lacks(Rule::NamesHoldHashes) {
            // The number without a gap, and everything below it.
            let called = |number: u8| (0..NUMBERS).filter(is_shown).any(|n| self.numbers[n].called == number);
            (1..=NUMBERS as u8).take_while(|&number| called(number)).fold(0u8, |all, number| all | 1 << number)
        } else {
            (0..NUMBERS).filter(is_shown).fold(0u8, |all, n| all | 1 << (n + 1))
        };
        let new = seen & !self.sessions[w].records;
        if new != 0 {
            let pins = if layout.lacks(Rule::Pins) { 0 } else { (used | own) & self.bad_for_writers(shown, layout) };
            steps.push(Step::Acknowledges(w, new, pins));
        }
    }

    pub fn writer_step(mut self, layout: &Layout, step: Step) -> Self {
        let gc = self.gc_names();
        match step {
            Step::Begins(w) => {
                self.sessions[w].records = 1;
                if self.writers[w] == Writer::Idle {
                    self.writers[w] = Writer::Begun { gc };
                }
            }
            Step::ListsGc(w, shown) => self.writers[w] = Writer::Listed { bad: self.bad_for_writers(shown, layout) },
            Step::Decides(w, used, own) => {
                self.flight |= own;
                self.writers[w] = Writer::Running { used, own, gc };
            }
            Step::Acknowledges(w, number, pins) => {
                let records = if layout.single { number } else { 1 << number };
                self.sessions[w].records |= records;
                for n in bits(records) {
                    self.sessions[w].pins[n - 1] = pins;
                }
                if let Writer::Running { gc: then, .. } = &mut self.writers[w] {
                    *then = gc;
                }
            }
            Step::SendsCommit(w) => self.writers[w] = Writer::Sent,
            Step::Closes(w) => self.sessions[w].closed = true,
            Step::CommitLands(w) if layout.single => {
                self.writers[w] = Writer::Landed;
                self.slots[w] = Slot::Committed;
            }
            Step::LooksForRevocation(w) => {
                self.writers[w] = Writer::Over;
                if !self.sessions[w].marker || layout.lacks(Rule::LooksForRevocation) {
                    self.told |= 1 << w;
                }
            }
            Step::Revoked(w) if layout.single => self.sessions[w].marker = true,
            Step::CommitLands(w) => {
                self.writers[w] = Writer::Over;
                // Create-if-absent: a revocation that stands there wins.
                if self.slots[w] == Slot::Free {
                    self.slots[w] = Slot::Committed;
                }
            }
            Step::Revoked(w) if layout.lacks(Rule::FencedRevocation) => self.sessions[w].marker = true,
            Step::Revoked(w) => self.slots[w] = Slot::Revoked,
            _ => {}
        }
        self
    }
}
