//! When to ask again and when to give up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::clock::{Rng, SystemRng};

/// The first pause unless an option says otherwise; each is twice the one before, with jitter.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
/// No pause is longer.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A store that never answered is probably misspelt: after so many requests it is given up, long before `lasting`.
const UNHEARD_MAX: u32 = 4;

/// What one store is granted: it may be away for `lasting` at a time, once it has answered.
pub(super) struct Retries {
    lasting: Duration,
    pause: Duration,
    heard: AtomicBool,
}

impl Retries {
    pub(super) fn new(lasting: Duration, pause: Option<Duration>) -> Self {
        Self { lasting, pause: pause.unwrap_or(PAUSE_FIRST), heard: AtomicBool::new(false) }
    }

    /// A request was answered.
    pub(super) fn succeeded(&self) {
        self.heard.store(true, Ordering::Relaxed);
    }

    /// The first of a series of requests for one thing.
    pub(super) fn begin(&self) -> Series<'_> {
        Series { retries: self, began: Instant::now(), failed: 0 }
    }
}

/// Requests for one thing, until one succeeds.
pub(super) struct Series<'a> {
    retries: &'a Retries,
    began: Instant,
    failed: u32,
}

impl Series<'_> {
    /// Did one fail already?
    pub(super) fn is_again(&self) -> bool {
        self.failed > 0
    }

    /// A request failed: how long to wait before the next, or `None` when it is enough.
    pub(super) fn pause(&mut self) -> Option<Duration> {
        self.failed += 1;
        let spent = self.began.elapsed();
        let unheard = !self.retries.heard.load(Ordering::Relaxed) && self.failed >= UNHEARD_MAX;
        if unheard || spent >= self.retries.lasting {
            return None;
        }
        let full = self.retries.pause.saturating_mul(1 << (self.failed - 1).min(16)).min(PAUSE_MAX);
        // Half of it at random: many clients that failed together do not come back together.
        let mut random = [0];
        let jitter = SystemRng.fill(&mut random).map_or(0.5, |()| f64::from(random[0]) / 255.0);
        Some(full.mul_f64(0.5 + jitter / 2.0).min((self.retries.lasting - spent).max(Duration::from_millis(1))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let retries = Retries::new(Duration::from_secs(300), None);
        let mut series = retries.begin();
        assert!(!series.is_again());
        let pauses: Vec<_> = std::iter::from_fn(|| series.pause()).collect();
        assert_eq!(pauses.len(), 3, "a store that never answered is given up soon");
        assert!(series.is_again());
        assert!(pauses[0] >= Duration::from_millis(250) && pauses[0] <= Duration::from_millis(500));
        assert!(pauses[2] >= Duration::from_secs(1) && pauses[2] <= Duration::from_secs(2));

        retries.succeeded();
        let mut series = retries.begin();
        let pauses: Vec<_> = (0..20).filter_map(|_| series.pause()).collect();
        assert_eq!(pauses.len(), 20, "one that answered before is waited for");
        assert!(pauses.iter().all(|pause| *pause <= PAUSE_MAX));
        assert_eq!(Retries::new(Duration::ZERO, None).begin().pause(), None);
    }
}
