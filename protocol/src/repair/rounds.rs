//! When a peer compares itself with the others: at intervals, soon after something has changed, and again, less and
//! less often, for as long as a round does not come to its end.
//!
//! Owns the time of the next round. Never: compares; says what changes call for one.

use core::time::Duration;

use crate::Instant;

/// How long a round waits for others to learn what called for it.
const SOON: Duration = Duration::from_secs(1);

/// How long a peer rests between rounds at least, and how many times longer than its last scan took: scans of a large
/// store take a fifth of the time at most, whatever happens.
const REST_MIN: Duration = Duration::from_secs(1);
/// See [`REST_MIN`].
const REST_SCANS: u32 = 4;

/// After what time a round is tried again that did not reach everybody, or whose repairs failed: doubled each time.
const RETRY_MIN: Duration = Duration::from_secs(2);
/// See [`RETRY_MIN`].
const RETRY_MAX: Duration = Duration::from_secs(64);

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundEnd {
    /// How long the scan of the own store took.
    pub scan: Duration,
    /// Whether it found nothing to do, or did something: the next one has a reason to come soon.
    pub has_advanced: bool,
    /// Whether there is more to ask or to let go of.
    pub is_unfinished: bool,
}

/// When the next round begins.
#[derive(Clone, Debug)]
pub struct Rounds {
    interval: Duration,
    next: Instant,
    /// Until when there is none, whatever calls for it.
    resting: Instant,
    is_due: bool,
    retry: Duration,
}

impl Rounds {
    /// Returns that the first one is due soon, and others `interval` after each other.
    #[must_use]
    pub fn new(now: Instant, interval: Duration) -> Self {
        Self { interval, next: now.after(SOON), resting: now, is_due: true, retry: RETRY_MIN }
    }

    /// Begins a round, if it is time for one. Not while another one is under way.
    pub fn begin(&mut self, now: Instant) -> bool {
        let is_time = now >= self.next.max(self.resting);
        if is_time {
            self.next = now.after(self.interval);
            self.is_due = false;
        }
        is_time
    }

    /// Has one soon: something has changed. Whoever did not answer before may do so now, so pauses begin anew.
    pub fn call(&mut self, now: Instant) {
        self.retry = RETRY_MIN;
        self.hasten(now.after(SOON));
    }

    /// Has one at once, for it to show that what was repaired is there.
    pub fn confirm(&mut self, now: Instant) {
        self.hasten(now);
    }

    /// Takes how the last one ended.
    pub fn ended(&mut self, now: Instant, end: RoundEnd) {
        self.resting = now.after(REST_MIN.max(end.scan * REST_SCANS));
        if end.has_advanced {
            self.retry = RETRY_MIN;
        }
        if end.is_unfinished {
            self.try_again(now);
        }
    }

    /// Notes that a repair came to something.
    pub const fn repaired(&mut self) {
        self.retry = RETRY_MIN;
    }

    /// Notes that a repair failed: if it still lacks, the next round finds it. One is enough for all that fail until then.
    pub fn repair_failed(&mut self, now: Instant) {
        if !self.is_due {
            self.try_again(now);
        }
    }

    /// Says whether something calls for a round before its time.
    #[must_use]
    pub const fn is_due(&self) -> bool {
        self.is_due
    }

    fn try_again(&mut self, now: Instant) {
        self.hasten(now.after(self.retry));
        self.retry = (self.retry * 2).min(RETRY_MAX);
    }

    fn hasten(&mut self, at: Instant) {
        self.is_due = true;
        self.next = self.next.min(at);
    }
}

#[cfg(test)]
#[path = "rounds_test.rs"]
mod tests;
