//! When the next repair may start: bytes and requests per second, fewer while clients are served.
//!
//! A bucket of tokens for each. Its rate halves whenever the foreground is found busy, and grows by a sixteenth of the
//! most for each time that it is found idle, down to a least rate at which repair always ends. Large blocks
//! go into debt, so that a small bucket never stops one for good. Owns no repair. Never: reads a clock;
//! measures the foreground (whoever serves it tells).
//! Source: Chiu and Jain, "Analysis of the increase and decrease algorithms for congestion avoidance", 1989.

use core::time::Duration;

use crate::Instant;

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

/// Steps from nothing to the highest rate.
const STEPS: u64 = 16;

/// Bounds of the rate of repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetSettings {
    /// Bytes per second while nobody is served.
    pub bytes_per_second_max: u64,
    /// Bytes per second however busy the peer is; at least 1, so that repair ends.
    pub bytes_per_second_min: u64,
    /// Requests per second while nobody is served: small blocks cost what bytes do not show. Falls and rises
    /// with the bytes, to no less than one per second.
    pub requests_per_second_max: u64,
    /// How much may be saved up, in time at the present rate.
    pub burst: Duration,
    /// Latency of the foreground from which it counts as busy.
    pub latency_busy: Duration,
    /// Requests of the foreground under way from which it counts as busy.
    pub in_flight_busy: u32,
}

impl Default for BudgetSettings {
    /// Guess: half of a gigabit while idle; a terabyte in twelve days while always busy. Measure beside
    /// clients that read and write.
    fn default() -> Self {
        Self {
            bytes_per_second_max: 64 << 20,
            bytes_per_second_min: 1 << 20,
            requests_per_second_max: 2_000,
            burst: Duration::from_millis(250),
            latency_busy: Duration::from_millis(50),
            in_flight_busy: 8,
        }
    }
}

/// What clients of this peer see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Foreground {
    /// Requests under way.
    pub in_flight: u32,
    /// How long they took lately, as a high percentile or a mean; zero if there were none.
    pub latency: Duration,
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
}

impl Budget {
    /// Returns a budget that begins at the highest rate. Bounds that contradict each other are brought into order.
    #[must_use]
    pub fn new(now: Instant, mut settings: BudgetSettings) -> Self {
        settings.bytes_per_second_min = settings.bytes_per_second_min.max(1);
        settings.bytes_per_second_max =
            settings.bytes_per_second_max.max(settings.bytes_per_second_min);
        settings.requests_per_second_max = settings.requests_per_second_max.max(1);
        let empty = Bucket { saved: 0 };
        let rate = settings.bytes_per_second_max;
        Self { settings, rate, bytes: empty, requests: empty, at: now }
    }

    /// Takes what clients see at present. Tell it several times a second.
    pub fn foreground(&mut self, now: Instant, seen: Foreground) {
        self.pass(now);
        let BudgetSettings { bytes_per_second_max: max, bytes_per_second_min: min, .. } =
            self.settings;
        let is_busy = seen.in_flight >= self.settings.in_flight_busy.max(1)
            || seen.latency >= self.settings.latency_busy;
        self.rate = if is_busy {
            (self.rate / 2).max(min)
        } else {
            self.rate.saturating_add((max / STEPS).max(1)).min(max)
        };
    }

    /// Lets a repair of so many bytes start, and charges it, if it may start now.
    ///
    /// # Errors
    /// When to try again.
    pub fn start(&mut self, now: Instant, bytes: u64) -> Result<(), Instant> {
        self.pass(now);
        let at = self.next_deadline();
        if at > now {
            return Err(at);
        }
        self.bytes.pay(bytes);
        self.requests.pay(1);
        Ok(())
    }

    /// Returns when the next repair may start, at the present rate.
    #[must_use]
    pub fn next_deadline(&self) -> Instant {
        let wait = self.bytes.wait(self.rate).max(self.requests.wait(self.request_rate()));
        self.at.after(wait)
    }

    /// Returns the bytes per second that it allows at present.
    #[must_use]
    pub const fn bytes_per_second(&self) -> u64 {
        self.rate
    }

    fn request_rate(&self) -> u64 {
        let max = u128::from(self.settings.requests_per_second_max);
        let rate = max * u128::from(self.rate) / u128::from(self.settings.bytes_per_second_max);
        u64::try_from(rate).unwrap_or(u64::MAX).max(1)
    }

    fn pass(&mut self, now: Instant) {
        let elapsed = now.since(self.at);
        self.bytes.earn(self.rate, elapsed, self.settings.burst);
        self.requests.earn(self.request_rate(), elapsed, self.settings.burst);
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
#[path = "budget_test.rs"]
mod tests;
