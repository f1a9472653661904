//! How far away the server is and how wide the way to it.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Bytes that pass a narrow way at a time.
pub const PIECE: usize = 64 << 10;

/// A way to the server. Its width is shared by all connections, each direction by itself.
#[derive(Default)]
pub struct Link {
    /// Between a request and the first byte of its answer.
    pub latency: Duration,
    /// None: as wide as the machine.
    pub bytes_per_second: Option<u64>,
    up: Mutex<Option<Instant>>,
    down: Mutex<Option<Instant>>,
}

impl Link {
    pub fn new(latency: Duration, bytes_per_second: Option<u64>) -> Self {
        Self { latency, bytes_per_second, ..Self::default() }
    }

    /// Waits until so many bytes went to the server.
    pub fn up(&self, bytes: usize) {
        self.pass(&self.up, bytes);
    }

    /// Waits until so many bytes came from the server.
    pub fn down(&self, bytes: usize) {
        self.pass(&self.down, bytes);
    }

    fn pass(&self, direction: &Mutex<Option<Instant>>, bytes: usize) {
        let Some(width) = self.bytes_per_second else { return };
        let time = Duration::from_secs_f64(bytes as f64 / width as f64);
        let now = Instant::now();
        let through = {
            let mut free = super::lock(direction);
            let through = free.unwrap_or(now).max(now) + time;
            *free = Some(through);
            through
        };
        std::thread::sleep(through.saturating_duration_since(now));
    }
}
