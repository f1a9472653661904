//! The commit and prune protocol as a model, checked exhaustively: no order of steps loses a snapshot, and each rule is needed.
//!
//! Writers, pruners, revocation, forgetting, repack, packs and commits that land after their sender died, listings that take time,
//! composed chunks and forged gc names, in bounded configurations. It is independent of the code: it says that the *rules* are right;
//! `tests/crash.rs` and `tests/simulation.rs` ask whether the code keeps them. `--ignored` (`make soak`) checks the large configurations too.

#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs, reason = "a test may fail, and tells what it counted")]

mod protocol_model {
    pub mod layout;
    pub mod pruner;
    pub mod rules;
    pub mod state;
    pub mod steps;
    pub mod writer;
}

use protocol_model::layout::Stored::{Composed, Literal};
use protocol_model::layout::{Layout, Origin, Pack, Stored};
use protocol_model::rules::Rule;
use protocol_model::steps::{COMMITTED, FREED, LOST, PINNED, UNDER};
use stateright::{Checker, HasDiscoveries, Model};

const fn pack(origin: Origin, copies: &'static [Stored]) -> Pack {
    Pack { origin, copies }
}

/// One chunk in two packs, one writer that may store it again, a snapshot that may be forgotten.
const TWO_COPIES: Layout = Layout {
    name: "two copies",
    packs: &[pack(Origin::Initial, &[Literal(0)]), pack(Origin::Initial, &[Literal(0)]), pack(Origin::Writer(0), &[Literal(0)])],
    writers: &[1],
    old: &[1],
    forgettable: 0b10,
    revocable: 0b1,
    numbers: 2,
    pruners: 2,
    ..Layout::NOTHING
};

/// Chunk 0 is composed over chunk 1; the writer composes too.
const COMPOSED: Layout = Layout {
    name: "composed",
    packs: &[
        pack(Origin::Initial, &[Literal(1)]),
        pack(Origin::Initial, &[Composed(0, 0b10)]),
        pack(Origin::Writer(0), &[Composed(0, 0b10)]),
        pack(Origin::Writer(0), &[Literal(0)]),
    ],
    writers: &[0b1],
    old: &[0b1],
    forgettable: 0b10,
    revocable: 0b1,
    numbers: 2,
    pruners: 1,
    ..Layout::NOTHING
};

/// Two chunks, each literal and each composed over the other.
const MUTUAL: Layout = Layout {
    name: "mutual",
    packs: &[
        pack(Origin::Initial, &[Literal(0)]),
        pack(Origin::Initial, &[Literal(1)]),
        pack(Origin::Initial, &[Composed(0, 0b10)]),
        pack(Origin::Initial, &[Composed(1, 0b01)]),
        pack(Origin::Writer(0), &[Literal(0), Literal(1)]),
    ],
    writers: &[0b11],
    old: &[0b1],
    forgettable: 0,
    numbers: 2,
    pruners: 2,
    condemnable: 0b1111,
    ..Layout::NOTHING
};

/// The same without a writer: small enough for every run.
const MUTUAL_SMALL: Layout = Layout { name: "mutual, small", pruners: 1, writers: &[0b1], ..MUTUAL };

/// A writer that composes, two pruners, listings that take time.
const COMPOSED_SLOW: Layout = Layout { name: "composed, slow lists", lists_take_time: true, pruners: 2, ..COMPOSED };

/// Two pruners, one of which repacks what is left of a pack.
const REPACK: Layout = Layout {
    name: "repack",
    packs: &[
        pack(Origin::Initial, &[Literal(0), Literal(1)]),
        pack(Origin::Initial, &[Composed(2, 0b10)]),
        pack(Origin::Repack, &[Literal(1)]),
        pack(Origin::Writer(0), &[Literal(2)]),
    ],
    writers: &[0b100],
    old: &[0b100],
    forgettable: 0b10,
    numbers: 2,
    pruners: 2,
    ..Layout::NOTHING
};

/// Two writers; what the first uploads the second may use.
const TWO_WRITERS: Layout = Layout {
    name: "two writers",
    packs: &[pack(Origin::Initial, &[Literal(0)]), pack(Origin::Writer(0), &[Literal(0)]), pack(Origin::Writer(1), &[Literal(0)])],
    writers: &[1, 1],
    revocable: 0b01,
    numbers: 2,
    pruners: 1,
    ..Layout::NOTHING
};

/// A thief makes a name under gc/.
const FORGED: Layout = Layout {
    name: "forged",
    packs: &[pack(Origin::Initial, &[Literal(0)]), pack(Origin::Initial, &[Literal(0)]), pack(Origin::Writer(0), &[Literal(0)])],
    writers: &[1],
    numbers: 2,
    pruners: 2,
    forged: true,
    ..Layout::NOTHING
};

/// Listings that take time.
const SLOW_LISTS: Layout = Layout {
    name: "slow lists",
    packs: &[pack(Origin::Initial, &[Literal(0)]), pack(Origin::Initial, &[Literal(0)]), pack(Origin::Writer(0), &[Literal(0)])],
    writers: &[1],
    numbers: 2,
    pruners: 2,
    lists_take_time: true,
    ..Layout::NOTHING
};

/// A third number, and verdicts that delete only a part.
const THREE_NUMBERS: Layout = Layout {
    name: "three numbers, slow lists, any verdict",
    packs: &[pack(Origin::Initial, &[Literal(0)]), pack(Origin::Writer(0), &[Literal(0)])],
    writers: &[1],
    old: &[1],
    forgettable: 0b10,
    numbers: 3,
    pruners: 2,
    lists_take_time: true,
    verdicts_vary: true,
    ..Layout::NOTHING
};

/// Class single maintainer: one maintainer at a time, as many as crashes make; whatever they sent lands whenever it likes.
const SINGLE: Layout = Layout {
    name: "single maintainer",
    packs: &[pack(Origin::Initial, &[Literal(0)]), pack(Origin::Initial, &[Literal(0)]), pack(Origin::Writer(0), &[Literal(0)])],
    writers: &[1],
    old: &[1],
    forgettable: 0b10,
    revocable: 0b1,
    numbers: 2,
    pruners: 1,
    verdicts_vary: true,
    single: true,
    dies: true,
    ..Layout::NOTHING
};

/// The same with fewer choices and listings that take time.
const SINGLE_SLOW: Layout = Layout {
    name: "single maintainer, slow lists",
    packs: &[pack(Origin::Initial, &[Literal(0)]), pack(Origin::Writer(0), &[Literal(0)])],
    lists_take_time: true,
    ..SINGLE
};

/// More than the class promises: a second maintainer that was started by mistake, or that takes over from one that only slept and goes on.
/// Each may sleep before any step, so nothing needs to be on its way from a dead one.
const SINGLE_TWO: Layout = Layout { name: "single maintainer, two at once", pruners: 2, dies: false, ..SINGLE_SLOW };

/// The same with a chunk in three packs.
const SINGLE_TWO_COPIES: Layout = Layout { name: "single maintainer, two at once, three packs", pruners: 2, dies: false, ..SINGLE };

/// Two at once, and what dead ones sent lands whenever it likes.
const SINGLE_TWO_LATE: Layout = Layout {
    name: "single maintainer, two at once, and dead ones",
    pruners: 2,
    lists_take_time: false,
    verdicts_vary: false,
    ..SINGLE_SLOW
};

/// Explores a configuration to its end, or with a rule left out to the first loss.
fn explore(layout: Layout) -> impl Checker<Layout> {
    let began = std::time::Instant::now();
    let checker = layout.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let left_out = layout.without.map_or_else(|| "every rule kept".to_owned(), |rule| format!("without {rule:?}"));
    let (states, seconds) = (checker.unique_state_count(), began.elapsed().as_secs_f64());
    eprintln!("{}, {left_out}: {states} states, {} deep, {seconds:.1} s", layout.name, checker.max_depth());
    checker
}

/// Nothing is lost in any order of steps; and what the rules guard against does happen, or that would prove nothing.
fn holds(layout: Layout) {
    let checker = explore(layout);
    for property in [LOST, UNDER] {
        if let Some(path) = checker.discovery(property) {
            panic!("{}: not so: {property}\n{:#?}", layout.name, path.into_actions());
        }
    }
    for sight in [FREED, PINNED, COMMITTED] {
        assert!(checker.discovery(sight).is_some(), "{}: never seen: {sight}", layout.name);
    }
}

/// The same configuration loses a snapshot when the rule is left out.
fn needs(layout: Layout, rules: &[Rule]) {
    for &rule in rules {
        let checker = explore(layout.without(rule));
        assert!(
            checker.discovery(LOST).is_some(),
            "{}: nothing is lost without {rule:?}: the model does not see why it is there",
            layout.name
        );
    }
}

#[test]
fn two_copies_two_pruners_and_a_writer_lose_nothing() {
    holds(TWO_COPIES);
}

#[test]
fn composed_chunks_lose_nothing() {
    holds(COMPOSED);
    holds(COMPOSED_SLOW);
}

#[test]
fn chunks_composed_over_each_other_lose_nothing() {
    holds(MUTUAL_SMALL);
}

#[test]
fn repack_loses_nothing() {
    holds(REPACK);
}

#[test]
fn two_writers_lose_nothing() {
    holds(TWO_WRITERS);
}

#[test]
fn a_thief_who_forges_gc_names_loses_nothing_for_us() {
    holds(FORGED);
}

#[test]
fn listings_that_take_time_lose_nothing() {
    holds(SLOW_LISTS);
    holds(THREE_NUMBERS);
}

#[test]
fn stores_that_overwrite_lose_nothing_with_one_maintainer_at_a_time() {
    holds(SINGLE);
    holds(SINGLE_SLOW);
}

#[test]
fn a_second_maintainer_at_the_same_time_loses_nothing_either() {
    holds(SINGLE_TWO);
    needs(SINGLE_TWO, &NEEDED_BY_TWO);
}

#[test]
fn every_rule_for_stores_that_overwrite_is_needed() {
    for (layout, rules) in &NEEDED_BY_SINGLE {
        needs(*layout, rules);
    }
}

#[test]
#[ignore = "minutes and gigabytes"]
fn the_large_configurations_lose_nothing() {
    holds(MUTUAL);
    holds(SINGLE_TWO_COPIES);
    holds(SINGLE_TWO_LATE);
    needs(SINGLE_TWO_LATE, &[Rule::NamesHoldHashes, Rule::RecordsAcknowledged]);
    holds(Layout { name: "forged, slow lists", lists_take_time: true, ..FORGED });
    holds(Layout { name: "repack, slow lists, any verdict", lists_take_time: true, verdicts_vary: true, ..REPACK });
    holds(Layout { name: "two writers, two pruners", pruners: 2, ..TWO_WRITERS });
    holds(Layout { name: "two copies, slow lists, any verdict", lists_take_time: true, verdicts_vary: true, ..TWO_COPIES });
}

/// What the tests below leave out; together they are every rule.
const NEEDED: [(Layout, &[Rule]); 6] = [
    (
        COMPOSED,
        &[
            Rule::BaseTestInS2,
            Rule::BasesInPins,
            Rule::BasesInB5,
            Rule::UsableInB5,
            Rule::ClosedNotBelieved,
            Rule::Pins,
            Rule::PinsObeyed,
            Rule::WaitForAcknowledgements,
            Rule::FencedRevocation,
            Rule::RevocationsStay,
            Rule::OwnWhileInDoubt,
            Rule::RecordBeforeListing,
            Rule::CommitWaitsForPacks,
            Rule::BadOutOfView,
            Rule::MarkAgain,
        ],
    ),
    (MUTUAL_SMALL, &[Rule::LiteralBases]),
    (TWO_COPIES, &[Rule::SessionsBeforeSnapshots, Rule::OneVerdict, Rule::OtherNumbersOutOfView, Rule::GcAfterSessions]),
    (TWO_COPIES, &[Rule::GcNamesStay, Rule::NumberOnce]),
    (FORGED, &[Rule::ForgedNameTaken, Rule::NumberWithoutGap]),
    (SLOW_LISTS, &[Rule::NumberWithoutGap]),
];

/// The same for class single maintainer.
const NEEDED_BY_SINGLE: [(Layout, &[Rule]); 1] = [(
    SINGLE,
    &[
        Rule::NamesHoldHashes,
        Rule::RecordsAcknowledged,
        Rule::SparedStaysBad,
        Rule::SparedOutOfView,
        Rule::RevokedBeforeSnapshots,
        Rule::LooksForRevocation,
        Rule::DoubtfulStaysLive,
        Rule::Pins,
        Rule::WaitForAcknowledgements,
        Rule::OtherNumbersOutOfView,
    ],
)];

/// What keeps two that run at once apart: what the other condemned, judged and spared, and when it is looked at.
const NEEDED_BY_TWO: [Rule; 4] = [Rule::OtherNumbersOutOfView, Rule::GcAfterSessions, Rule::SparedStaysBad, Rule::SparedOutOfView];

#[test]
fn every_rule_for_chunks_and_sessions_is_needed() {
    needs(NEEDED[0].0, NEEDED[0].1);
    needs(NEEDED[1].0, NEEDED[1].1);
}

#[test]
fn every_rule_for_listings_and_verdicts_is_needed() {
    needs(NEEDED[2].0, NEEDED[2].1);
}

#[test]
fn every_rule_for_gc_names_is_needed() {
    for (layout, rules) in &NEEDED[3..] {
        needs(*layout, rules);
    }
}

#[test]
fn no_rule_is_left_without_a_test() {
    for rule in Rule::ALL {
        assert!(NEEDED.iter().chain(&NEEDED_BY_SINGLE).any(|(_, rules)| rules.contains(&rule)), "{rule:?}");
    }
}
