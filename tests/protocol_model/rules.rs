//! The rules of the protocol that the model can leave out, one at a time, and what "usable" means with and without them.

use super::layout::{Chunks, Layout, Packs, bits};

/// A rule whose removal must be caught: the list at the end of the design's page about testing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// A writer takes a composed copy for known only when its bases are there.
    BaseTestInS2,
    /// The packs of the bases count as used, and are pinned.
    BasesInPins,
    /// B5 asks also for chunks that have a composed copy with a base in the pack.
    BasesInB5,
    /// B5 wants another *usable* copy, not any.
    UsableInB5,
    /// Only a literal copy makes a base available.
    LiteralBases,
    /// `closed` is believed by nobody.
    ClosedNotBelieved,
    /// Sessions are listed before snapshots.
    SessionsBeforeSnapshots,
    /// An acknowledgement names the bad packs that the session needs.
    Pins,
    /// A sweep stops while a live session has not acknowledged its number.
    WaitForAcknowledgements,
    /// A revocation takes the name of the commit.
    FencedRevocation,
    /// Revocations stay for ever.
    RevocationsStay,
    /// A pack is own from before its put begins.
    OwnWhileInDoubt,
    /// The session record is durable before anything is listed.
    RecordBeforeListing,
    /// One verdict for one number.
    OneVerdict,
    /// A pack that any number condemns is not another copy.
    OtherNumbersOutOfView,
    /// gc/ is listed after sessions and snapshots.
    GcAfterSessions,
    /// Nothing under gc/ is deleted.
    GcNamesStay,
    /// A number is used once.
    NumberOnce,
    /// A name under gc/ is taken, whoever made it.
    ForgedNameTaken,
    /// The number of a listing is the highest without a gap.
    NumberWithoutGap,
    /// D3 waits until every own pack is durable.
    CommitWaitsForPacks,
    /// What is used is what S2 listed less what S1 called bad.
    BadOutOfView,
    /// B2 marks again; the mark from before the condemn record is not enough.
    MarkAgain,
    /// A verdict spares what is pinned.
    PinsObeyed,
    /// Single maintainer: no two condemn records share a name.
    NamesHoldHashes,
    /// Single maintainer: an acknowledgement names records, not a number.
    RecordsAcknowledged,
    /// Single maintainer: what a verdict spares stays bad for writers.
    SparedStaysBad,
    /// Single maintainer: and out of the view of later verdicts.
    SparedOutOfView,
    /// Single maintainer: revocations are listed before snapshots.
    RevokedBeforeSnapshots,
    /// Single maintainer: a writer looks for its revocation after its commit.
    LooksForRevocation,
    /// Single maintainer: a snapshot with a revocation beside it is marked like any other.
    DoubtfulStaysLive,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 31] = [
        Self::BaseTestInS2,
        Self::BasesInPins,
        Self::BasesInB5,
        Self::UsableInB5,
        Self::LiteralBases,
        Self::ClosedNotBelieved,
        Self::SessionsBeforeSnapshots,
        Self::Pins,
        Self::WaitForAcknowledgements,
        Self::FencedRevocation,
        Self::RevocationsStay,
        Self::OwnWhileInDoubt,
        Self::RecordBeforeListing,
        Self::OneVerdict,
        Self::OtherNumbersOutOfView,
        Self::GcAfterSessions,
        Self::GcNamesStay,
        Self::NumberOnce,
        Self::ForgedNameTaken,
        Self::NumberWithoutGap,
        Self::CommitWaitsForPacks,
        Self::BadOutOfView,
        Self::MarkAgain,
        Self::PinsObeyed,
        Self::NamesHoldHashes,
        Self::RecordsAcknowledged,
        Self::SparedStaysBad,
        Self::SparedOutOfView,
        Self::RevokedBeforeSnapshots,
        Self::LooksForRevocation,
        Self::DoubtfulStaysLive,
    ];
}

/// What must be true of a base.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Bases {
    /// A literal copy of it is in the view: the rule.
    Literal,
    /// Any copy of it is: the rule `LiteralBases` left out.
    AnyCopy,
    /// Nobody asks.
    Ignored,
}

impl Layout {
    /// Has the chunk a usable copy in the view?
    pub fn usable(&self, chunk: u8, view: Packs, bases: Bases) -> bool {
        let available = |base: usize| match bases {
            Bases::Literal => self.literals(base as u8) & view != 0,
            Bases::AnyCopy => self.copies(base as u8) & view != 0,
            Bases::Ignored => true,
        };
        self.literals(chunk) & view != 0 || self.composed(chunk).any(|(pack, of)| view >> pack & 1 == 1 && bits(of).all(available))
    }

    /// What a reader can rebuild from these packs: always by the rules.
    pub fn readable(&self, chunk: u8, packs: Packs) -> bool {
        self.usable(chunk, packs, Bases::Literal)
    }

    /// What a writer asks of the bases of a copy that it wants to use.
    pub fn asked_by_writer(&self) -> Bases {
        match self.without {
            Some(Rule::BaseTestInS2) => Bases::Ignored,
            Some(Rule::LiteralBases) => Bases::AnyCopy,
            _ => Bases::Literal,
        }
    }

    /// What B5 asks of the bases of another copy.
    pub fn asked_by_verdict(&self) -> Bases {
        match self.without {
            Some(Rule::UsableInB5) => Bases::Ignored,
            Some(Rule::LiteralBases) => Bases::AnyCopy,
            _ => Bases::Literal,
        }
    }

    /// Would this chunk miss something if the pack went?
    pub fn touches(&self, pack: usize, chunk: u8, listed: Packs) -> bool {
        let holds = self.copies(chunk) >> pack & 1 == 1;
        let holds_a_base = || {
            self.composed(chunk)
                .any(|(n, bases)| listed >> n & 1 == 1 && bits(bases).any(|base| self.literals(base as u8) >> pack & 1 == 1))
        };
        holds || (!self.lacks(Rule::BasesInB5) && holds_a_base())
    }

    /// B5: which of the condemned packs may go.
    pub fn may_go(&self, condemned: Packs, pins: Packs, mark: Chunks, listed: Packs, outside: Packs) -> Packs {
        let view = listed & !outside & !condemned;
        let pins = if self.lacks(Rule::PinsObeyed) { 0 } else { pins };
        let may = |pack: usize| {
            bits(mark)
                .all(|chunk| !self.touches(pack, chunk as u8, listed) || self.usable(chunk as u8, view, self.asked_by_verdict()))
        };
        bits(condemned & !pins).filter(|&pack| may(pack)).fold(0, |packs, pack| packs | 1 << pack)
    }

    /// Chunks that a verdict over these packs can ask about.
    pub fn concerned(&self, condemned: Packs) -> Chunks {
        let holds = |chunk: u8| {
            self.copies(chunk) & condemned != 0
                || self.composed(chunk).any(|(_, bases)| bits(bases).any(|base| self.copies(base as u8) & condemned != 0))
        };
        (0..8).filter(|&chunk| holds(chunk)).fold(0, |chunks, chunk| chunks | 1 << chunk)
    }

    /// Packs that matter to the question whether these chunks have a copy.
    pub fn relevant(&self, chunks: Chunks) -> Packs {
        bits(chunks).fold(0, |packs, chunk| {
            let bases =
                self.composed(chunk as u8).flat_map(|(_, bases)| bits(bases)).fold(0, |all, base| all | self.copies(base as u8));
            packs | self.copies(chunk as u8) | bases
        })
    }
}
