//! Virtual time: tokio's paused clock, stretched so that its steps are finer than a millisecond.
//!
//! The paused clock jumps to the next timer as soon as no task can run, and its timers fire on whole
//! milliseconds. One virtual second takes [`STRETCH`] seconds of that clock, so that events less than a
//! millisecond apart keep their order. Never: waits in real time.
#![expect(
    clippy::disallowed_methods,
    reason = "the simulated clock is a driver over tokio's paused time"
)]

use std::time::Duration;

use super::chance::nanos;

/// Seconds of tokio's clock in one virtual second: timers fire every 100 virtual microseconds.
const STRETCH: u64 = 10;

/// The clock of a run. Copies show the same time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: tokio::time::Instant,
}

impl Clock {
    /// Returns the clock that shows zero now. Call it inside the run's runtime.
    pub(crate) fn start() -> Self {
        Self { start: tokio::time::Instant::now() }
    }

    /// Returns the virtual nanoseconds since the run began.
    #[must_use]
    pub fn nanos(self) -> u64 {
        nanos(self.start.elapsed()) / STRETCH
    }

    /// Returns when the clock shows `at` nanoseconds or more; never, when that is beyond any run. Cancel-safe.
    pub async fn sleep_until_nanos(self, at: u64) {
        let stretched = Duration::from_nanos(at.saturating_mul(STRETCH));
        match self.start.checked_add(stretched) {
            Some(deadline) if at < u64::MAX / STRETCH => tokio::time::sleep_until(deadline).await,
            Some(_) | None => std::future::pending().await,
        }
    }

    /// Returns after `duration`. Cancel-safe.
    pub async fn sleep(self, duration: Duration) {
        self.sleep_until_nanos(self.nanos().saturating_add(nanos(duration))).await;
    }
}
