//! The steps of a pruner: condemn (A) and sweep (B).
//!
//! A5 and A6 may choose anything, so A7 names any packs that are there when it is put. A1 is one moment: a number that a slow listing
//! shows too low is a name that is taken.

use super::layout::{Layout, NUMBERS, Origin, PRUNERS, Packs, WRITERS, bits, subsets};
use super::rules::Rule;
use super::state::{Pruner, Record, Session, Slot, State};
use super::steps::Step;

impl State {
    pub fn pruner_steps(&self, layout: &Layout, p: usize, steps: &mut Vec<Step>) {
        let pruner = self.pruners[p];
        if pruner != Pruner::Idle {
            steps.push(Step::Stops(p));
        }
        match pruner {
            Pruner::Idle => {
                // Two that are idle are alike.
                if p + 1 < PRUNERS.min(layout.pruners) && self.pruners[p + 1] == Pruner::Idle {
                    return;
                }
                if layout.single {
                    self.condemn_steps(layout, p, steps);
                } else {
                    steps.push(Step::ReadsNumber(p));
                }
                steps.extend((1..=layout.numbers as u8).filter(|&n| self.may_be_swept(layout, n)).map(|n| Step::Sweeps(p, n)));
            }
            Pruner::Condemning { .. } => {
                let packs = self.present & layout.condemnable & !self.gone;
                steps.extend(subsets(packs).skip(1).map(|packs| Step::Condemns(p, packs)));
            }
            Pruner::Listing { records, .. } => {
                let of = |w: usize| Self::shown(layout, records[w], self.sessions[w].records);
                for first in of(0) {
                    steps.extend(of(1).into_iter().map(|second| Step::ListsSessions(p, [first, second])));
                }
            }
            Pruner::SeenFirst { .. } | Pruner::MarkedFirst { .. } => {
                steps.push(Step::ListsSessions(p, self.sessions.map(|session| session.records)));
            }
            Pruner::Listed { slots, .. } => {
                steps.extend(Self::shown(layout, slots, self.taken()).into_iter().map(|shown| Step::ListsSnapshots(p, shown)));
            }
            Pruner::Marked { gc, .. } => {
                steps.extend(Self::shown(layout, gc, self.gc_names()).into_iter().map(|shown| Step::SeesGc(p, shown)));
            }
            Pruner::Seen { number, pins, mark, outside } => {
                let condemned = self.numbers[number as usize - 1].condemn.packs().unwrap_or(0);
                let most = layout.may_go(condemned, pins, mark, self.present, outside);
                if layout.verdicts_vary {
                    steps.extend(subsets(most).map(|delete| Step::Judges(p, delete)));
                } else {
                    steps.push(Step::Judges(p, most));
                }
            }
            Pruner::Decided { number, .. } => {
                steps.push(Step::PutsVerdict(p));
                if layout.dies && self.numbers[number as usize - 1].late_verdict.is_none() {
                    steps.push(Step::DiesWithVerdict(p));
                }
            }
        }
    }

    /// Single maintainer: a record that lands at once, or whose sender dies and which lands whenever it likes.
    fn condemn_steps(&self, layout: &Layout, p: usize, steps: &mut Vec<Step>) {
        if self.free_record(layout).is_some() {
            let packs = self.present & layout.condemnable & !self.gone;
            steps.extend(subsets(packs).skip(1).map(|packs| Step::Condemns(p, packs)));
            if layout.dies {
                steps.extend(subsets(packs).skip(1).map(|packs| Step::CondemnsAndDies(p, packs)));
            }
        }
    }

    fn free_record(&self, layout: &Layout) -> Option<usize> {
        (0..layout.numbers).find(|&n| !self.numbers[n].condemn.is_there() && self.numbers[n].late.is_none())
    }

    /// The number that a record is called by: the next one after those that are listed without a gap.
    fn next_number(&self) -> u8 {
        let called = |number: u8| self.numbers.iter().any(|n| n.condemn.is_there() && n.called == number);
        (1..=NUMBERS as u8).find(|&number| !called(number)).unwrap_or(NUMBERS as u8)
    }

    /// A condemn record lands. Where names do not hold hashes it takes the place of what has its number.
    fn condemn_lands(&mut self, layout: &Layout, n: usize, packs: Packs) {
        let called = self.numbers[n].called;
        let same = (0..NUMBERS).find(|&m| m != n && self.numbers[m].condemn.is_there() && self.numbers[m].called == called);
        let place = same.filter(|_| layout.lacks(Rule::NamesHoldHashes)).unwrap_or(n);
        self.numbers[place].condemn = Record::Owner(packs);
    }

    fn may_be_swept(&self, layout: &Layout, n: u8) -> bool {
        let number = self.numbers[n as usize - 1];
        let free = match number.verdict {
            Record::Absent => true,
            Record::Owner(_) => false,
            Record::Forged(_) => layout.lacks(Rule::ForgedNameTaken),
        };
        matches!(number.condemn, Record::Owner(_)) && free
    }

    /// Packs that a pruner may put at this moment: it must be able to read what is in them.
    pub fn repack_steps(&self, layout: &Layout, steps: &mut Vec<Step>) {
        let packs = self.present & !self.gone;
        let may = layout.of(|pack| pack.origin == Origin::Repack) & !self.present & !self.flight & !self.gone;
        let readable =
            |n: &usize| (0..8u8).filter(|&chunk| layout.copies(chunk) >> n & 1 == 1).all(|chunk| layout.readable(chunk, packs));
        steps.extend(bits(may).filter(readable).map(Step::Repacks));
    }

    pub fn pruner_step(mut self, layout: &Layout, step: Step) -> Self {
        match step {
            Step::Stops(p) => self.pruners[p] = Pruner::Idle,
            Step::ReadsNumber(p) => self.pruners[p] = Pruner::Condemning { base: self.base(layout) },
            Step::Condemns(_, packs) if layout.single => {
                if let Some(n) = self.free_record(layout) {
                    self.numbers[n].called = self.next_number();
                    self.condemn_lands(layout, n, packs);
                }
            }
            Step::CondemnsAndDies(_, packs) => {
                if let Some(n) = self.free_record(layout) {
                    self.numbers[n].called = self.next_number();
                    self.numbers[n].late = Some(packs);
                }
            }
            Step::CondemnLands(n) => {
                if let Some(packs) = self.numbers[n].late.take() {
                    self.condemn_lands(layout, n, packs);
                }
            }
            Step::DiesWithVerdict(p) => {
                if let Pruner::Decided { number, delete } = self.pruners[p] {
                    self.numbers[number as usize - 1].late_verdict = Some(delete);
                    self.pruners[p] = Pruner::Idle;
                }
            }
            Step::VerdictLands(n) => {
                if let Some(delete) = self.numbers[n].late_verdict.take() {
                    self.verdict(layout, n as u8 + 1, delete);
                }
            }
            Step::Condemns(p, packs) => self.condemn(layout, p, packs),
            Step::Sweeps(p, number) => self.pruners[p] = self.sweep_begins(layout, number),
            Step::ListsSessions(p, records) => self.pruners[p] = self.sessions_listed(layout, self.pruners[p], records),
            Step::ListsSnapshots(p, shown) => self.pruners[p] = self.snapshots_listed(layout, self.pruners[p], shown),
            Step::SeesGc(p, shown) => {
                if let Pruner::Marked { need, .. } = self.pruners[p]
                    && need & !self.markers() != 0
                {
                    self.pruners[p] = Pruner::Idle;
                } else if let Pruner::Marked { number, pins, mark, early, .. } = self.pruners[p] {
                    let outside = if layout.lacks(Rule::GcAfterSessions) { early } else { self.outside_for_owners(shown, layout) };
                    self.pruners[p] = Pruner::Seen { number, pins, mark, outside };
                }
            }
            Step::Judges(p, delete) => {
                if let Pruner::Seen { number, .. } = self.pruners[p] {
                    self.pruners[p] = Pruner::Decided { number, delete };
                }
            }
            Step::PutsVerdict(p) => {
                if let Pruner::Decided { number, delete } = self.pruners[p] {
                    self.verdict(layout, number, delete);
                    self.pruners[p] = Pruner::Idle;
                }
            }
            Step::DeletesGc(n) => {
                if let Record::Owner(delete) = self.numbers[n].verdict {
                    self.present &= !delete;
                    self.numbers[n] = Default::default();
                }
            }
            Step::Forges(n, verdict, packs) => {
                let number = &mut self.numbers[n];
                *(if verdict { &mut number.verdict } else { &mut number.condemn }) = Record::Forged(packs);
                self.forged = true;
            }
            _ => {}
        }
        self
    }

    /// The number of a listing, for an owner: a name is taken, whoever made it.
    fn base(&self, layout: &Layout) -> u8 {
        if layout.lacks(Rule::ForgedNameTaken) {
            let own = self.numbers.iter().take_while(|number| matches!(number.condemn, Record::Owner(_)));
            return own.count() as u8;
        }
        (0..NUMBERS).take_while(|n| self.gc_names() >> (2 * n) & 3 != 0).count() as u8
    }

    /// A7.
    fn condemn(&mut self, layout: &Layout, p: usize, packs: Packs) {
        let Pruner::Condemning { base } = self.pruners[p] else { return };
        self.pruners[p] = Pruner::Idle;
        if base as usize >= layout.numbers {
            return;
        }
        let marked = if layout.lacks(Rule::MarkAgain) { self.mark(self.taken(), layout) } else { 0 };
        let number = &mut self.numbers[base as usize];
        let free = match number.condemn {
            Record::Absent => true,
            Record::Owner(_) => layout.lacks(Rule::NumberOnce) && !number.verdict.is_there(),
            Record::Forged(_) => layout.lacks(Rule::ForgedNameTaken),
        };
        if free {
            (number.condemn, number.marked) = (Record::Owner(packs), marked);
        }
    }

    fn sweep_begins(&self, layout: &Layout, number: u8) -> Pruner {
        if layout.lacks(Rule::GcAfterSessions) {
            return Pruner::SeenFirst { number, outside: self.outside_for_owners(self.gc_names(), layout) };
        }
        if layout.lacks(Rule::SessionsBeforeSnapshots) {
            return Pruner::MarkedFirst { number, over: self.over(self.taken(), layout), mark: self.mark(self.taken(), layout) };
        }
        if layout.lists_take_time {
            return Pruner::Listing { number, records: self.sessions.map(|session| session.records) };
        }
        self.sessions_listed(
            layout,
            Pruner::Listing { number, records: [0; WRITERS] },
            self.sessions.map(|session| session.records),
        )
    }

    /// B1: who has not acknowledged, and what is pinned.
    fn sessions_listed(&self, layout: &Layout, pruner: Pruner, records: [u8; WRITERS]) -> Pruner {
        let Some(number) = pruner.sweeps() else { return pruner };
        let (mut need, mut pins) = (0, [0; WRITERS]);
        for w in 0..WRITERS {
            let session = self.sessions[w];
            // Believing `closed` would make this one over.
            if records[w] == 0 || session.closed && layout.lacks(Rule::ClosedNotBelieved) {
                continue;
            }
            let acknowledged = match layout.single {
                false => records[w] >> number != 0,
                true if layout.lacks(Rule::RecordsAcknowledged) || layout.lacks(Rule::NamesHoldHashes) => {
                    records[w] >> self.numbers[number as usize - 1].called != 0
                }
                true => records[w] >> number & 1 == 1,
            };
            if !acknowledged && !layout.lacks(Rule::WaitForAcknowledgements) {
                need |= 1 << w;
            }
            pins[w] = (1..=NUMBERS).filter(|n| records[w] >> n & 1 == 1).fold(0, |pins, n| pins | session.pins[n - 1]);
        }
        if layout.single && !layout.lacks(Rule::RevokedBeforeSnapshots) {
            // Listed after their records were read, before snapshots are: over, whatever comes.
            let revoked = self.markers();
            need &= !revoked;
            bits(revoked).for_each(|w| pins[w] = 0);
        }
        match pruner {
            Pruner::MarkedFirst { over, mark, .. } => self.live(layout, number, need, pins, over, mark, 0),
            Pruner::SeenFirst { outside, .. } => Pruner::Listed { number, need, pins, slots: self.taken(), early: outside },
            _ => Pruner::Listed { number, need, pins, slots: self.taken(), early: 0 },
        }
    }

    /// B2: who is over, and what is reachable.
    fn snapshots_listed(&self, layout: &Layout, pruner: Pruner, shown: u8) -> Pruner {
        let Pruner::Listed { number, need, pins, early, .. } = pruner else { return pruner };
        let mark = match layout.lacks(Rule::MarkAgain) {
            true => self.numbers[number as usize - 1].marked,
            false => self.mark(shown, layout),
        };
        self.live(layout, number, need, pins, self.over(shown, layout), mark, early)
    }

    #[expect(clippy::too_many_arguments, reason = "everything that B1 and B2 have shown")]
    fn live(&self, layout: &Layout, number: u8, need: u8, pins: [Packs; WRITERS], over: u8, mark: u8, early: Packs) -> Pruner {
        let need = need & !over;
        // With the rule left out revocations are listed only later.
        if need != 0 && !layout.lacks(Rule::RevokedBeforeSnapshots) {
            return Pruner::Idle;
        }
        let live = (0..WRITERS).filter(|w| over >> w & 1 == 0);
        let pins = live.fold(0, |all, w| all | pins[w]);
        Pruner::Marked { number, pins, mark, gc: self.gc_names(), early, need }
    }

    /// B5, and the housekeeping that may follow a verdict.
    fn verdict(&mut self, layout: &Layout, number: u8, delete: Packs) {
        let entry = &mut self.numbers[number as usize - 1];
        let free = match entry.verdict {
            Record::Absent => true,
            Record::Owner(_) => layout.lacks(Rule::OneVerdict),
            Record::Forged(_) => layout.lacks(Rule::ForgedNameTaken),
        };
        if !free && !layout.single {
            return;
        }
        // Several verdicts on one record stand side by side: each holds.
        entry.verdict = Record::Owner(delete | if layout.single { entry.verdict.packs().unwrap_or(0) } else { 0 });
        self.gone |= delete;
        for w in 0..layout.writers.len() {
            if self.slots[w] != Slot::Free {
                self.sessions[w] = Session { marker: self.sessions[w].marker && layout.single, ..Session::default() };
            }
            if self.slots[w] == Slot::Revoked && layout.lacks(Rule::RevocationsStay) {
                self.slots[w] = Slot::Free;
            }
        }
    }
}
