//! Each fault at each request of a repository's life. One that passes is mended by asking again and the run succeeds; one that lasts
//! ends the run, and the next goes on. Whatever happens: a snapshot that was acknowledged is there and restores, one that was not is
//! there whole or not at all.
//!
//! Over S3 and over WebDAV. A test run takes every so many-th of the cases; with `ESKER_SOAK` set, all of them. What was covered is
//! printed.

use std::time::Duration;

use super::workload::{GUARD_SECONDS, STEPS, Step, World};
use crate::servers::faulty::{Dialect, Fault, Verb};

/// A time longer than the client's patience with a silent server.
const LONG: Duration = Duration::from_millis(600);

/// What goes wrong once and is mended by asking again, whatever is spoken.
const PASSING: [(&str, Fault); 13] = [
    ("refused for a while", Fault::Gone(Duration::from_millis(30))),
    ("reset", Fault::Reset),
    ("reset halfway", Fault::ResetHalfway),
    ("stalled", Fault::Stall(LONG)),
    ("stalled halfway", Fault::StallHalfway(LONG)),
    ("truncated", Fault::Truncate),
    ("429", Fault::Status(429, "TooManyRequests")),
    ("500", Fault::Status(500, "InternalError")),
    ("502 of a proxy", Fault::Status(502, "BadGateway")),
    ("503", Fault::Status(503, "SlowDown")),
    ("done, reply lost", Fault::LoseReply),
    ("done late", Fault::Late(LONG)),
    ("done twice", Fault::Twice),
];

/// Also of S3.
const PASSING_ON_S3: [(&str, Fault); 2] = [
    ("409", Fault::Status(409, "ConditionalRequestConflict")),
    ("400 for a body that came too slowly", Fault::Status(400, "RequestTimeout")),
];

/// Also of WebDAV.
const PASSING_ON_WEBDAV: [(&str, Fault); 1] = [("423 for a name that is locked", Fault::Status(423, "Locked"))];

/// What lasts from a request on.
const LASTING: [(&str, Fault); 4] = [
    ("gone", Fault::Gone(Duration::from_secs(3_600))),
    ("reset", Fault::Reset),
    ("503", Fault::Status(503, "SlowDown")),
    ("403", Fault::Status(403, "AccessDenied")),
];

fn soaks() -> bool {
    std::env::var_os("ESKER_SOAK").is_some()
}

/// The cases of a test: every fault at every request of every step, or about `wanted` of them; and which of them failed.
struct Sweep<'a> {
    world: &'a World,
    of: u64,
    seen: u64,
    failed: Vec<String>,
}

impl<'a> Sweep<'a> {
    fn new(world: &'a World, faults: usize, wanted: u64) -> Self {
        let all = world.requests.iter().sum::<u64>() * faults as u64;
        let mut of = if soaks() { 1 } else { (all / wanted).max(1) };
        // No factor shared with the number of faults, so that each is met.
        while (2..=of).any(|factor| of.is_multiple_of(factor) && (faults as u64).is_multiple_of(factor)) {
            of += 1;
        }
        Self { world, of, seen: 0, failed: Vec::new() }
    }

    /// Tries `case` for each of `faults` at each request of the steps from `first` on, from the state before the step. It gets the step,
    /// the number of the request, the fault, and words for a message.
    fn run(&mut self, name: &str, first: Step, faults: &[(&str, Fault)], case: impl Fn(Step, u64, Fault, &str)) {
        let (mut tried, mut met) = (0, 0);
        let mut covered = Vec::new();
        for (at, step) in STEPS.into_iter().enumerate().skip_while(|(_, step)| *step != first) {
            let mut of_step = 0;
            for number in 1..=self.world.requests[at] {
                for &(what, fault) in faults {
                    self.seen += 1;
                    if !self.seen.is_multiple_of(self.of) {
                        continue;
                    }
                    of_step += 1;
                    self.world.server.set_objects(&self.world.states[at]);
                    let place = format!("{step:?}, {what} at request {number}");
                    let struck = self.world.server.struck();
                    let tried = std::panic::AssertUnwindSafe(|| case(step, number, fault, &place));
                    if std::panic::catch_unwind(tried).is_err() {
                        self.failed.push(format!("{place}:\n{}", told(self.world)));
                    }
                    met += u64::from(self.world.server.struck() > struck);
                }
            }
            tried += of_step;
            covered.push(format!("{step:?} {} requests, {of_step} cases", self.world.requests[at]));
        }
        let dialect = self.world.dialect;
        println!("{name}, {dialect:?}: {} faults x requests, {tried} cases, {met} met: {}", faults.len(), covered.join("; "));
        println!("faults: {}", faults.iter().map(|(what, _)| *what).collect::<Vec<_>>().join(", "));
        let failed = &self.failed;
        assert!(failed.is_empty(), "{} of {tried} cases failed:\n{}", failed.len(), failed.join("\n\n"));
    }
}

/// Snapshots of each day when a step is over.
fn after(step: Step) -> (usize, usize) {
    match step {
        Step::Init => (0, 0),
        Step::First => (1, 0),
        Step::Second | Step::Config => (1, 1),
        Step::Forget | Step::Prune | Step::Restore | Step::Verify => (0, 1),
    }
}

fn before(step: Step) -> (usize, usize) {
    let at = STEPS.iter().position(|known| *known == step).unwrap();
    if at == 0 { (0, 0) } else { after(STEPS[at - 1]) }
}

/// The last requests, for a message.
fn told(world: &World) -> String {
    let log = world.server.counts().log;
    log[log.len().saturating_sub(25)..].join("\n")
}

fn what_passes_is_mended(dialect: Dialect, wanted: u64) {
    let world = World::new(dialect);
    let of_dialect = match dialect {
        Dialect::S3 => PASSING_ON_S3.as_slice(),
        Dialect::WebDav => PASSING_ON_WEBDAV.as_slice(),
    };
    let faults = [&PASSING, of_dialect].concat();
    Sweep::new(&world, faults.len(), wanted).run("once", Step::Init, &faults, |step, number, fault, place| {
        world.server.plan(move |seen| (seen.number == number).then_some(fault));
        if let Err(error) = world.take(step, 20.0) {
            panic!("{place}: {error}");
        }
        assert_eq!(world.look(step), after(step), "{place}");
        if step == Step::Config {
            assert_eq!(world.guard_seconds(), GUARD_SECONDS, "{place}");
        }
    });
}

#[test]
fn what_goes_wrong_once_is_mended_by_asking_again() {
    what_passes_is_mended(Dialect::S3, 180);
}

#[test]
fn what_goes_wrong_once_over_webdav_is_mended_by_asking_again() {
    what_passes_is_mended(Dialect::WebDav, 60);
}

fn what_lasts_ends_a_run(dialect: Dialect, wanted: u64) {
    let world = World::new(dialect);
    Sweep::new(&world, LASTING.len(), wanted).run("from there on", Step::Init, &LASTING, |step, number, fault, place| {
        world.server.plan(move |seen| (seen.number >= number).then_some(fault));
        let outcome = world.take(step, 0.05);
        let place = format!("{place} and on:\n{}", told(&world));
        world.server.heal();
        if let Err(error) = &outcome {
            let text = error.to_string();
            assert!(text.contains(&world.place()), "the place is not in: {text}\n{place}");
        }
        if step == Step::Init {
            // What was made unheard is there; what was cut off before is finished.
            if !world.is_made() {
                assert!(outcome.is_err(), "{place}");
                world.take(step, 20.0).unwrap_or_else(|error| panic!("the next run fails: {error}\n{place}"));
            }
            assert_eq!(world.look(step), (0, 0), "{place}");
            return;
        }
        let counts = world.look(step);
        if outcome.is_ok() {
            // Only what nobody needs was in vain: the end of a session, a deletion.
            assert_eq!(counts, after(step), "it said that it succeeded: {place}");
        } else {
            assert!(counts == before(step) || counts == after(step), "{counts:?}: {place}");
        }
        world.take(step, 20.0).unwrap_or_else(|error| panic!("the next run fails: {error}\n{place}"));
        let counts = world.look(step);
        let again = match step {
            // What was committed unheard is there, and the next run committed the same again.
            Step::First => counts.0 >= 1 && counts.1 == 0,
            Step::Second => counts.0 == 1 && counts.1 >= 1,
            // The next run forgot the other one too.
            Step::Forget => counts == (0, 1) || counts == (0, 0),
            _ => counts == after(step),
        };
        assert!(again, "after the next run {counts:?}: {place}");
        if step == Step::Config {
            assert_eq!(world.guard_seconds(), GUARD_SECONDS, "{place}");
        }
    });
}

#[test]
fn what_lasts_ends_a_run_and_the_next_goes_on() {
    what_lasts_ends_a_run(Dialect::S3, 120);
}

#[test]
fn what_lasts_over_webdav_ends_a_run_and_the_next_goes_on() {
    what_lasts_ends_a_run(Dialect::WebDav, 40);
}

/// A step that met something that is not true: what it acknowledged is there, else nothing changed, or it was done unheard.
fn is_told_or_whole(world: &World, step: Step, outcome: &super::workload::Outcome, place: &str) {
    let counts = world.look(step);
    match outcome {
        Ok(()) => assert_eq!(counts, after(step), "{place}"),
        Err(error) => assert!(counts == before(step) || counts == after(step), "{place}: {counts:?}, {error}"),
    }
}

/// A 412 for a name that nobody has: a server that is wrong, or a gateway that answers for it.
fn an_untrue_refusal(dialect: Dialect, wanted: u64) {
    let world = World::new(dialect);
    let gives_names = if dialect == Dialect::S3 { Verb::Put } else { Verb::Move };
    let refused = [("a refusal", Fault::Status(412, "PreconditionFailed"))];
    Sweep::new(&world, refused.len(), wanted).run("untrue", Step::First, &refused, |step, number, fault, place| {
        world.server.plan(move |seen| (seen.number == number && seen.verb == gives_names).then_some(fault));
        let outcome = world.take(step, 5.0);
        is_told_or_whole(&world, step, &outcome, place);
    });
}

#[test]
fn a_refusal_that_is_not_true_loses_nothing() {
    an_untrue_refusal(Dialect::S3, 60);
}

#[test]
fn a_refusal_over_webdav_that_is_not_true_loses_nothing() {
    an_untrue_refusal(Dialect::WebDav, 20);
}

/// Answers that are shorter than what was asked for and say that they are whole.
fn a_short_answer(dialect: Dialect, wanted: u64) {
    let world = World::new(dialect);
    let short = [("half an answer", Fault::Short), ("an empty answer", Fault::Empty)];
    Sweep::new(&world, short.len(), wanted).run("short", Step::First, &short, |step, number, fault, place| {
        world.server.plan(move |seen| (seen.number == number).then_some(fault));
        let outcome = world.take(step, 1.0);
        is_told_or_whole(&world, step, &outcome, place);
    });
}

#[test]
fn a_short_answer_is_never_taken_for_a_whole_one() {
    a_short_answer(Dialect::S3, 120);
}

#[test]
fn a_short_answer_over_webdav_is_never_taken_for_a_whole_one() {
    a_short_answer(Dialect::WebDav, 30);
}
