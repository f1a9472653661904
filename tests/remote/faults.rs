//! Each fault at each request of a repository's life. One that passes is mended by asking again and the run succeeds; one that lasts
//! ends the run, and the next goes on. Whatever happens: a snapshot that was acknowledged is there and restores, one that was not is
//! there whole or not at all.
//!
//! A test run takes every so many-th of the cases; with `ESKER_SOAK` set, all of them.

use std::time::Duration;

use super::workload::{STEPS, Step, World};
use crate::servers::faulty::{Fault, Verb};

/// A time longer than the client's patience with a silent server.
const LONG: Duration = Duration::from_millis(600);

/// What goes wrong once and is mended by asking again.
const PASSING: [(&str, Fault); 15] = [
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
    ("409", Fault::Status(409, "ConditionalRequestConflict")),
    ("400 for a body that came too slowly", Fault::Status(400, "RequestTimeout")),
    ("done, reply lost", Fault::LoseReply),
    ("done late", Fault::Late(LONG)),
    ("done twice", Fault::Twice),
];

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

/// Which of the cases are taken: all, or one of `of`; a number that shares no factor with the number of faults, so that each is met.
struct Sample {
    of: u64,
    count: u64,
}

impl Sample {
    fn new(of: u64) -> Self {
        Self { of: if soaks() { 1 } else { of }, count: 0 }
    }

    fn takes(&mut self) -> bool {
        self.count += 1;
        self.count.is_multiple_of(self.of)
    }
}

/// Snapshots of each day when a step is over.
fn after(step: Step) -> (usize, usize) {
    match step {
        Step::Init => (0, 0),
        Step::First => (1, 0),
        Step::Second => (1, 1),
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

#[test]
fn what_goes_wrong_once_is_mended_by_asking_again() {
    let world = World::new();
    let mut sample = Sample::new(17);
    let mut tried = 0;
    for (at, step) in STEPS.into_iter().enumerate() {
        for number in 1..=world.requests[at] {
            for (what, fault) in PASSING {
                if !sample.takes() {
                    continue;
                }
                tried += 1;
                world.server.set_objects(&world.states[at]);
                world.server.plan(move |seen| (seen.number == number).then_some(fault));
                if let Err(error) = world.take(step, 20.0) {
                    panic!("{step:?}, {what} at request {number}: {error}\n{}", told(&world));
                }
                let counts = world.look(step);
                assert_eq!(counts, after(step), "{step:?}, {what} at request {number}:\n{}", told(&world));
            }
        }
    }
    println!("{tried} faults in {:?} requests of {STEPS:?}", world.requests);
    assert!(tried >= 80, "{tried} cases are none");
}

#[test]
fn what_lasts_ends_a_run_and_the_next_goes_on() {
    let world = World::new();
    let mut sample = Sample::new(7);
    let mut tried = 0;
    for (at, step) in STEPS.into_iter().enumerate() {
        for number in 1..=world.requests[at] {
            for (what, fault) in LASTING {
                if !sample.takes() {
                    continue;
                }
                tried += 1;
                world.server.set_objects(&world.states[at]);
                world.server.plan(move |seen| (seen.number >= number).then_some(fault));
                let outcome = world.take(step, 0.05);
                let place = format!("{step:?}, {what} from request {number} on:\n{}", told(&world));
                world.server.heal();
                if let Err(error) = &outcome {
                    let text = error.to_string();
                    assert!(text.contains("s3://esker/repo"), "the place is not in: {text}\n{place}");
                }
                if step == Step::Init {
                    // What was made unheard is there; what was cut off before is finished.
                    if !world.is_made() {
                        assert!(outcome.is_err(), "{place}");
                        world.take(step, 20.0).unwrap_or_else(|error| panic!("the next run fails: {error}\n{place}"));
                    }
                    assert_eq!(world.look(step), (0, 0), "{place}");
                    continue;
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
            }
        }
    }
    println!("{tried} lasting faults in {:?} requests of {STEPS:?}", world.requests);
    assert!(tried >= 40, "{tried} cases are none");
}

/// A 412 for a name that nobody has: a server that is wrong, or a gateway that answers for it.
#[test]
fn a_refusal_that_is_not_true_loses_nothing() {
    let world = World::new();
    for (at, step) in STEPS.into_iter().enumerate().skip(1) {
        for number in 1..=world.requests[at] {
            world.server.set_objects(&world.states[at]);
            world.server.plan(move |seen| {
                (seen.number == number && seen.verb == Verb::Put).then_some(Fault::Status(412, "PreconditionFailed"))
            });
            if !soaks() && number % 3 != 0 {
                continue;
            }
            let outcome = world.take(step, 5.0);
            let counts = world.look(step);
            match outcome {
                Ok(()) => assert_eq!(counts, after(step), "{step:?}, request {number}:\n{}", told(&world)),
                Err(error) => {
                    assert!(counts == before(step) || counts == after(step), "{step:?}, {number}: {error}\n{}", told(&world))
                }
            }
        }
    }
}

/// An answer that is shorter than what was asked for and says that it is whole.
#[test]
fn a_short_answer_is_never_taken_for_a_whole_one() {
    let world = World::new();
    for (at, step) in STEPS.into_iter().enumerate().skip(1) {
        for number in 1..=world.requests[at] {
            if !soaks() && number % 3 != 1 {
                continue;
            }
            world.server.set_objects(&world.states[at]);
            world.server.plan(move |seen| (seen.number == number).then_some(Fault::Short));
            let outcome = world.take(step, 1.0);
            let counts = world.look(step);
            match outcome {
                Ok(()) => assert_eq!(counts, after(step), "{step:?}, request {number}:\n{}", told(&world)),
                Err(error) => {
                    assert!(counts == before(step) || counts == after(step), "{step:?}, {number}: {error}\n{}", told(&world))
                }
            }
        }
    }
}
