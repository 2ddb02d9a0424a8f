//! Waiting for conditions, with a deadline.
#![expect(clippy::disallowed_methods, reason = "real processes live in real time")]

use std::time::{Duration, Instant};

use anyhow::Context;

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(20);

/// How long anything may take that has no time of its own: far longer than it takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Measures time from its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch(Instant);

impl Watch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Returns when `condition` holds, with how long that took.
///
/// # Errors
/// What `condition` said last, when it does not hold after `patience`.
pub(crate) async fn until(
    patience: Duration,
    mut condition: impl AsyncFnMut() -> anyhow::Result<()>,
) -> anyhow::Result<Duration> {
    let watch = Watch::start();
    loop {
        let Err(fault) = condition().await else { return Ok(watch.elapsed()) };
        if watch.elapsed() > patience {
            return Err(fault.context(format!("not so within {} s", patience.as_secs())));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Returns what `work` gives.
///
/// # Errors
/// It does not end within `patience`.
pub(crate) async fn within<T>(
    patience: Duration,
    what: &str,
    work: impl Future<Output = T>,
) -> anyhow::Result<T> {
    let ended = tokio::time::timeout(patience, work).await;
    ended.with_context(|| format!("{what} did not end within {} s", patience.as_secs()))
}

/// Returns after this time: how long a fault lasts, or a client thinks. Never: waits for a condition.
pub(crate) async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}
