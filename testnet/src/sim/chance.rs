//! A seeded generator that several owners share, drawing in the order in which the run reaches them.

use std::sync::Mutex;
use std::time::Duration;

use protocol::Prng;

use super::lock::lock;

/// A [`Prng`] behind a shared reference.
#[derive(Debug)]
pub(crate) struct Chance(Mutex<Prng>);

impl Chance {
    /// Returns the shared generator that draws from `prng`.
    pub(crate) fn new(prng: Prng) -> Self {
        Self(Mutex::new(prng))
    }

    /// Returns a number in `0..bound`.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        lock(&self.0).below(bound)
    }

    /// Returns true in `parts` of a million cases.
    pub(crate) fn happens(&self, parts: u64) -> bool {
        parts > 0 && lock(&self.0).chance(parts, 1_000_000)
    }

    /// Returns a time in `least..=most`.
    pub(crate) fn between(&self, least: Duration, most: Duration) -> Duration {
        let span = nanos(most).saturating_sub(nanos(least));
        least + Duration::from_nanos(self.below(span.saturating_add(1)))
    }

    /// Returns an independent generator.
    pub(crate) fn fork(&self) -> Prng {
        lock(&self.0).fork()
    }
}

/// Returns a duration in nanoseconds, saturating.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
