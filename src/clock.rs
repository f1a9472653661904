//! Time and randomness, injected: tests decide both. The only file that asks the operating system for either.

use std::time::{Duration, Instant, SystemTime};

/// A moment: seconds and nanoseconds since 1970-01-01T00:00:00Z, before it negative seconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp {
    /// Whole seconds since the epoch, rounded towards the past.
    pub seconds: i64,
    /// 0..=999_999_999.
    pub nanoseconds: u32,
}

/// How far the clock here is ahead of a server's, as a part of a sentence: `12 s ahead of the server's`.
pub fn ahead_in_words(ahead_seconds: i64) -> String {
    let time = match ahead_seconds.unsigned_abs() {
        0 => return "the same as the server's".to_owned(),
        seconds @ 1..=119 => format!("{seconds} s"),
        seconds @ 120..=7_199 => format!("{} minutes", (seconds + 30) / 60),
        seconds @ 7_200..=172_799 => format!("{} hours", (seconds + 1_800) / 3_600),
        seconds => format!("{} days", (seconds + 43_200) / 86_400),
    };
    format!("{time} {} the server's", if ahead_seconds < 0 { "behind" } else { "ahead of" })
}

/// Where time comes from. No guard of a delete or a commit ever depends on it.
pub trait Clock: Send + Sync {
    /// The wall clock.
    fn now(&self) -> Timestamp;
    /// Time since some fixed moment; never goes back.
    fn monotonic(&self) -> Duration;
}

/// Where randomness comes from.
pub trait Rng: Send + Sync {
    /// Fills `bytes`, or says why it cannot; half-filled bytes are never used.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RngError>;
}

/// The source of randomness failed.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no randomness: {0}")]
pub struct RngError(pub String);

/// `N` random bytes.
pub fn random<const N: usize>(rng: &dyn Rng) -> Result<[u8; N], RngError> {
    let mut bytes = [0; N];
    rng.fill(&mut bytes)?;
    Ok(bytes)
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the room the rule points to")]
    fn now(&self) -> Timestamp {
        match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => {
                Timestamp { seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), nanoseconds: since.subsec_nanos() }
            }
            // A clock before 1970 is wrong anyhow; seconds are enough to show that.
            Err(before) => {
                Timestamp { seconds: -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX) - 1, nanoseconds: 0 }
            }
        }
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Randomness of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRng;

impl Rng for SystemRng {
    #[expect(clippy::disallowed_methods, reason = "this is the room the rule points to")]
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RngError> {
        getrandom::fill(bytes).map_err(|error| RngError(error.to_string()))
    }
}

/// A clock that moves only when told to; for tests.
#[derive(Debug, Default)]
pub struct ManualClock {
    now_ns: std::sync::atomic::AtomicI64,
}

impl ManualClock {
    /// Starts at `seconds` since the epoch.
    pub fn at(seconds: i64) -> Self {
        Self { now_ns: (seconds * 1_000_000_000).into() }
    }
    /// Moves on by `by`.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
        self.now_ns.fetch_add(by, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        let ns = self.now_ns.load(std::sync::atomic::Ordering::SeqCst);
        Timestamp { seconds: ns.div_euclid(1_000_000_000), nanoseconds: u32::try_from(ns.rem_euclid(1_000_000_000)).unwrap_or(0) }
    }
    fn monotonic(&self) -> Duration {
        let now = self.now();
        Duration::new(u64::try_from(now.seconds).unwrap_or(0), now.nanoseconds)
    }
}

/// Randomness that repeats from its seed; for tests and simulations, never for a repository that holds anything.
#[derive(Debug)]
pub struct SeededRng {
    seed: [u8; 32],
    next: std::sync::atomic::AtomicU64,
}

impl SeededRng {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed: *blake3::hash(&seed.to_le_bytes()).as_bytes(), next: 0.into() }
    }
}

impl Rng for SeededRng {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RngError> {
        let turn = self.next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        blake3::Hasher::new_keyed(&self.seed).update(&turn.to_le_bytes()).finalize_xof().fill(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_said_in_words() {
        assert_eq!(ahead_in_words(0), "the same as the server's");
        assert_eq!(ahead_in_words(-2), "2 s behind the server's");
        assert_eq!(ahead_in_words(400_000), "5 days ahead of the server's");
    }
}
