//! When the next repair may start: bytes and requests per second, fewer while clients wait longer than they do without.
//!
//! A bucket of tokens for each. Its rate halves whenever clients are found to wait longer than in calm times, grows by an
//! eighth while they are not, and doubles while nobody is there; down to a least rate at which repair always ends, and never
//! beyond what repair makes use of. Large blocks go into debt, so that a small bucket never stops one for good. Owns no
//! repair. Never: reads a clock; measures what clients see (whoever serves them tells).
//! Source: Chiu and Jain, "Analysis of the increase and decrease algorithms for congestion avoidance", 1989; RFC 6817 (see
//! [`super::foreground`]); RFC 7661 (no growth without use).

use core::time::Duration;

use super::foreground::{Foreground, Verdict, Watcher};
use crate::Instant;
use crate::limits::REPAIR_RATE;

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

/// The part of the highest rate to begin with, before anybody knows what clients notice: sources and targets of one copy each
/// have a budget, and begin together.
const FIRST: u64 = 16;
/// The part of the rate that it grows by at a time, while clients do not notice.
const GROWTH: u64 = 8;

/// How long repair rests at most, to learn how clients fare without it.
const REST: Duration = Duration::from_secs(3);
/// How often it rests for that at most.
const REST_EVERY: Duration = Duration::from_secs(60);

/// Bounds of the rate of repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetSettings {
    /// Bytes per second while nobody is served.
    pub bytes_per_second_max: u64,
    /// Bytes per second however busy the peer is; at least 1, so that repair ends.
    pub bytes_per_second_min: u64,
    /// The same for what is urgent: blocks that may be lost with one more peer.
    pub bytes_per_second_urgent: u64,
    /// Requests per second while nobody is served: small blocks cost what bytes do not show. Falls and rises
    /// with the bytes, to no less than one per second.
    pub requests_per_second_max: u64,
    /// How much may be saved up, in time at the present rate.
    pub burst: Duration,
}

impl Default for BudgetSettings {
    /// As [`Self::at_most`] the usual rate.
    fn default() -> Self {
        Self::at_most(REPAIR_RATE)
    }
}

impl BudgetSettings {
    /// Returns the bounds where nothing may be faster than `bytes_per_second_max`.
    ///
    /// Guess: a terabyte in a day and a half while always busy, in five hours where each block has one copy left.
    /// Measured beside readers: `testnet bench --only repair`.
    #[must_use]
    pub fn at_most(bytes_per_second_max: u64) -> Self {
        Self {
            bytes_per_second_max,
            bytes_per_second_min: bytes_per_second_max.min(8 << 20),
            bytes_per_second_urgent: bytes_per_second_max.min(64 << 20),
            requests_per_second_max: 16_000,
            burst: Duration::from_millis(250),
        }
    }
}

/// One bucket: tokens times 2^30 or so would do; nanoseconds of the rate are exact.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Tokens, in billionths. Negative: in debt.
    saved: i128,
}

impl Bucket {
    fn earn(&mut self, rate: u64, elapsed: Duration, burst: Duration) {
        let earned = |time: Duration| {
            i128::from(rate).saturating_mul(i128::try_from(time.as_nanos()).unwrap_or(i128::MAX))
        };
        // What is saved already stays, when a lower rate makes the burst smaller.
        let most = earned(burst).max(self.saved);
        self.saved = self.saved.saturating_add(earned(elapsed)).min(most);
    }

    fn pay(&mut self, tokens: u64) {
        self.saved = self.saved.saturating_sub(i128::from(tokens) * i128::from(SECOND));
    }

    /// Returns how long it takes until the debt is paid.
    fn wait(&self, rate: u64) -> Duration {
        let debt = u128::try_from(-self.saved.min(0)).unwrap_or(0);
        let nanos = debt.div_ceil(u128::from(rate.max(1)));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// The budget of one peer's repairs.
#[derive(Clone, Debug)]
pub struct Budget {
    settings: BudgetSettings,
    /// Bytes per second at present.
    rate: u64,
    bytes: Bucket,
    requests: Bucket,
    at: Instant,
    watcher: Watcher,
    /// Whether what was to start last is urgent.
    is_urgent: bool,
    /// Whether a repair had to wait since the rate was last changed.
    was_short: bool,
    /// Until when repair rests.
    rest_until: Instant,
    /// When it may rest again.
    next_rest: Instant,
}

impl Budget {
    /// Returns a budget that begins at a part of the highest rate. Bounds that contradict each other are brought into order.
    #[must_use]
    pub fn new(now: Instant, mut settings: BudgetSettings) -> Self {
        settings.bytes_per_second_min = settings.bytes_per_second_min.max(1);
        settings.bytes_per_second_max =
            settings.bytes_per_second_max.max(settings.bytes_per_second_min);
        settings.requests_per_second_max = settings.requests_per_second_max.max(1);
        let empty = Bucket { saved: 0 };
        let first = settings.bytes_per_second_max / FIRST;
        Self {
            settings,
            rate: first.max(settings.bytes_per_second_min),
            bytes: empty,
            requests: empty,
            at: now,
            watcher: Watcher::default(),
            is_urgent: false,
            was_short: false,
            rest_until: now,
            next_rest: now,
        }
    }

    /// Takes what clients have seen. Tell it several times a second.
    pub fn foreground(&mut self, now: Instant, seen: &Foreground) {
        let Some(verdict) = self.watcher.look(now, seen) else { return };
        self.pass(now);
        let BudgetSettings { bytes_per_second_max: max, bytes_per_second_min: min, .. } =
            self.settings;
        // What it had no use for says nothing of what clients would notice.
        let is_used = core::mem::take(&mut self.was_short);
        let grown =
            |more: u64| if is_used { self.rate.saturating_add(more).min(max) } else { self.rate };
        self.rate = match verdict {
            Verdict::Disturbed => (self.rate / 2).max(min),
            Verdict::Calm => grown((self.rate / GROWTH).max(1)),
            Verdict::Nobody => grown(self.rate),
            Verdict::Rested | Verdict::Unknown => self.rate,
        };
        if verdict != Verdict::Unknown {
            self.rest_until = self.rest_until.min(now);
        } else if self.next_rest <= now {
            self.rest_until = now.after(REST);
            self.next_rest = now.after(REST_EVERY);
        }
    }

    /// Lets a repair of so many bytes start, and charges it, if it may start now. What is urgent is not stopped by clients
    /// who wait longer.
    ///
    /// # Errors
    /// When to try again.
    pub fn start(&mut self, now: Instant, bytes: u64, is_urgent: bool) -> Result<(), Instant> {
        self.pass(now);
        self.is_urgent = is_urgent;
        let at = self.next_deadline();
        if at > now {
            self.was_short = true;
            return Err(at);
        }
        self.watcher.disturb();
        self.bytes.pay(bytes);
        self.requests.pay(1);
        Ok(())
    }

    /// Charges what a repair moved beyond what it was expected to: the next one waits for it.
    pub fn charge(&mut self, now: Instant, bytes: u64) {
        self.pass(now);
        self.bytes.pay(bytes);
    }

    /// Returns when the next repair may start, at the present rate.
    #[must_use]
    pub fn next_deadline(&self) -> Instant {
        let rate = self.bytes_per_second();
        let wait = self.bytes.wait(rate).max(self.requests.wait(self.request_rate()));
        let at = self.at.after(wait);
        if self.is_urgent { at } else { at.max(self.rest_until) }
    }

    /// Returns the bytes per second that it allows at present.
    #[must_use]
    pub fn bytes_per_second(&self) -> u64 {
        if self.is_urgent {
            let most = self.settings.bytes_per_second_max;
            self.rate.max(self.settings.bytes_per_second_urgent.min(most))
        } else {
            self.rate
        }
    }

    fn request_rate(&self) -> u64 {
        let max = u128::from(self.settings.requests_per_second_max);
        let rate = max * u128::from(self.bytes_per_second())
            / u128::from(self.settings.bytes_per_second_max);
        u64::try_from(rate).unwrap_or(u64::MAX).max(1)
    }

    fn pass(&mut self, now: Instant) {
        let elapsed = now.since(self.at);
        self.bytes.earn(self.bytes_per_second(), elapsed, self.settings.burst);
        self.requests.earn(self.request_rate(), elapsed, self.settings.burst);
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
#[path = "budget_test.rs"]
mod tests;
