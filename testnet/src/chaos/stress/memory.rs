//! The memory of a daemon over a day: a few looks in a second, and what they come to. Never: judges.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;

use super::pause;
use crate::process;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(200);

/// What was seen of a process, in bytes that are resident.
#[derive(Debug)]
pub(super) struct Memory {
    pid: u32,
    seen: Mutex<Vec<u64>>,
}

impl Memory {
    /// Returns the memory of a process, not looked at yet.
    pub(super) const fn of(pid: u32) -> Self {
        Self { pid, seen: Mutex::new(Vec::new()) }
    }

    /// Looks for as long as something goes on.
    ///
    /// # Errors
    /// The process is gone; or what went on failed.
    pub(super) async fn watch<T>(
        &self,
        what: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let look = async {
            loop {
                let bytes = process::resident_bytes(self.pid).context("it does not run")?;
                // A panic elsewhere leaves a list as it is.
                self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
                pause(EVERY).await;
            }
        };
        tokio::select! {
            biased; // however soon it is over, there was one look
            outcome = look => outcome,
            outcome = what => outcome,
        }
    }

    /// Returns the mean of each of so many parts of the time, or none if it was not looked at.
    pub(super) fn means(&self, parts: usize) -> Vec<u64> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_empty() {
            return Vec::new();
        }
        let mean = |number: usize| {
            let first = number * seen.len() / parts;
            // A short time may have fewer looks than parts.
            let part = &seen[first..((number + 1) * seen.len() / parts).max(first + 1)];
            part.iter().sum::<u64>() / part.len() as u64
        };
        (0..parts).map(mean).collect()
    }
}
