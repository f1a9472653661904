//! A limit on bytes per second, shared by everything that moves bytes in one direction.

use crate::locks::Unpoisoned;
use std::num::NonZeroU64;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How far behind the stated rate a pause may be made up for: a short stall does not cost its whole length, and no long burst follows.
const CREDIT_MAX: Duration = Duration::from_millis(250);

/// Hands out waiting times so that what passes stays at `bytes_per_second` over any second or more.
#[derive(Debug)]
pub struct Limit {
    bytes_per_second: NonZeroU64,
    /// When everything that was let through so far will have passed at the stated rate.
    free_at: Mutex<Instant>,
}

impl Limit {
    /// A limit that begins with no debt.
    pub fn new(bytes_per_second: NonZeroU64) -> Self {
        Self { bytes_per_second, free_at: Mutex::new(Instant::now()) }
    }

    /// Books `bytes` and says how long to wait before moving them. Pieces should be small beside the rate: the wait comes first, the
    /// piece then moves at full speed.
    #[must_use]
    pub fn wait_for(&self, bytes: u64) -> Duration {
        self.wait_at(Instant::now(), bytes)
    }

    fn wait_at(&self, now: Instant, bytes: u64) -> Duration {
        let takes = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second.get() as f64);
        let mut free_at = self.free_at.lock().unpoisoned();
        let earliest = now.checked_sub(CREDIT_MAX).unwrap_or(now);
        *free_at = (*free_at).max(earliest) + takes;
        free_at.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_keeps_to_the_rate_whatever_the_pieces() {
        for piece in [100_u64, 1_000, 64_000] {
            let limit = Limit::new(NonZeroU64::new(100_000).unwrap());
            let mut now = Instant::now();
            let start = now;
            for _ in 0..1_000_000 / piece {
                now += limit.wait_at(now, piece);
            }
            let took = (now - start).as_secs_f64();
            assert!((9.0..10.5).contains(&took), "{took} s in pieces of {piece}");
        }
    }

    #[test]
    fn a_long_pause_earns_no_long_burst() {
        let limit = Limit::new(NonZeroU64::new(1_000).unwrap());
        let later = Instant::now() + Duration::from_secs(3600);
        assert_eq!(limit.wait_at(later, 250), Duration::ZERO);
        assert!(limit.wait_at(later, 1_000) >= Duration::from_millis(999));
    }
}
