//! How much work waits at a peer, as peers tell it to each other.
//!
//! Small, so that it can travel with whatever is said anyway. Always a little old: a reason to ask, never a fact.

use core::time::Duration;

use serde::{Deserialize, Serialize};

/// What a peer is thought to do before it did anything, in bytes a second.
/// Guess: a slow disk or a link of 100 Mbit/s.
const BYTES_PER_S_UNKNOWN: u64 = 10_000_000;

/// How much of the measured rate is that of the last job, as a fraction: 1 in this many.
const MEMORY_JOBS: u64 = 8;

/// What waits at a peer, and how fast it works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Jobs that wait to be started and could be done elsewhere.
    pub jobs: u32,
    /// Their weight in bytes.
    pub bytes: u64,
    /// Bytes done a second; 0 when unknown.
    pub bytes_per_s: u64,
}

impl Load {
    /// Returns how long the last of the waiting jobs will wait, were nothing to come or go.
    #[must_use]
    pub fn wait(&self) -> Duration {
        let rate = if self.bytes_per_s == 0 { BYTES_PER_S_UNKNOWN } else { self.bytes_per_s };
        Duration::from_millis(self.bytes.saturating_mul(1_000) / rate.max(1))
    }
}

/// Measures the service rate of one peer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Meter {
    bytes_per_s: u64,
}

impl Meter {
    /// Notes that a job of `weight` was done in `took`.
    pub(super) fn note(&mut self, weight: u64, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let rate = (weight.saturating_mul(1_000_000) / micros).max(1);
        self.bytes_per_s = match self.bytes_per_s {
            0 => rate,
            before => (before / MEMORY_JOBS).saturating_mul(MEMORY_JOBS - 1) + rate / MEMORY_JOBS,
        }
        .max(1);
    }

    /// Returns the bytes done a second with `slots` jobs at a time; 0 when unknown.
    pub(super) const fn bytes_per_s(&self, slots: usize) -> u64 {
        self.bytes_per_s.saturating_mul(slots as u64)
    }
}
