//! How long requests took. Never: judges.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::client::What;

/// How long requests took, each with all its attempts.
#[derive(Debug, Default)]
pub(super) struct Figures(Mutex<BTreeMap<What, Vec<u32>>>);

impl Figures {
    /// Notes a request that was answered.
    pub(super) fn took(&self, what: What, time: Duration) {
        let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        // A panic elsewhere leaves a list as it is.
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times.entry(what).or_default().push(micros);
    }

    /// Returns a line for each kind of request: how many there were, and percentiles in milliseconds.
    pub(super) fn lines(&self) -> Vec<String> {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let lines = times.into_iter().map(|(what, mut micros)| {
            micros.sort_unstable();
            let at = |permille: usize| {
                let rank = (micros.len() * permille).div_ceil(1_000).max(1) - 1;
                f64::from(micros[rank]) / 1e3
            };
            format!(
                "{what:?}: {} requests; p50 {:.1}, p90 {:.1}, p99 {:.1}, p99.9 {:.1}, most {:.1} ms",
                micros.len(),
                at(500),
                at(900),
                at(990),
                at(999),
                at(1_000),
            )
        });
        lines.collect()
    }
}
