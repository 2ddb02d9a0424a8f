//! How fast holders answer this peer: whom to prefer, when to hedge, how often.
//!
//! Shared by all downloads of a peer, so that one of a single block knows what the others learned. What was learned fades:
//! a holder that was slow is tried again before long. Never: asks anybody; reads a clock.
//! Source: Mitzenmacher, "The power of two choices in randomized load balancing", 2001 (choice);
//! Dean and Barroso, "The tail at scale", 2013 (hedges under a budget).

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use crate::limits::{
    CHUNK_BYTES, HEDGE_AFTER_MAX, HEDGE_AFTER_MIN, HEDGE_PRICE, HEDGES_SAVED_MAX, PACE_HALF_LIFE,
    PACE_HOLDERS_MAX,
};
use crate::{Instant, PeerId, Prng};

/// Latencies that the hedge threshold is drawn from.
const SAMPLES_MAX: usize = 64;
/// What a holder is thought to take before it answered once. Low, so that every holder gets its chance.
const LATENCY_MICROS_UNKNOWN: u64 = 1_000;

/// What is known of one holder.
#[derive(Clone, Copy, Debug, Default)]
struct Holder {
    /// Moving average of the time to answer, in microseconds; 0 before the first answer.
    latency_micros: u64,
    /// When that was last learned.
    learned: Instant,
    /// Bytes asked for and not answered.
    bytes_in_flight: u64,
    /// Until when it is left alone, because it is busy.
    aside_until: Instant,
}

impl Holder {
    /// Returns the time to answer as it is worth now, in microseconds.
    fn latency_at(&self, now: Instant) -> u64 {
        if self.latency_micros == 0 {
            return LATENCY_MICROS_UNKNOWN;
        }
        let lives = now.since(self.learned).as_nanos() / PACE_HALF_LIFE.as_nanos().max(1);
        let faded = self.latency_micros >> u32::try_from(lives).unwrap_or(63).min(63);
        // A fast one does not become slow by being left alone.
        faded.max(self.latency_micros.min(LATENCY_MICROS_UNKNOWN))
    }
}

/// The pace of all holders that a peer reads from.
#[derive(Clone, Debug)]
pub struct Pace {
    holders: BTreeMap<PeerId, Holder>,
    samples: VecDeque<u64>,
    hedge_after: Duration,
    /// In units of requests: a hedge costs [`HEDGE_PRICE`].
    hedge_credit: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            holders: BTreeMap::new(),
            samples: VecDeque::new(),
            hedge_after: HEDGE_AFTER_MAX,
            // One to begin with: the first objects that are read have a tail too.
            hedge_credit: HEDGE_PRICE,
        }
    }
}

impl Pace {
    /// Notes that `peer` was asked for a block of about `bytes`.
    pub(super) fn asked(&mut self, peer: PeerId, bytes: u64, is_hedge: bool) {
        if self.holders.len() >= PACE_HOLDERS_MAX && !self.holders.contains_key(&peer) {
            self.holders.retain(|_, holder| holder.bytes_in_flight > 0);
        }
        let holder = self.holders.entry(peer).or_default();
        holder.bytes_in_flight = holder.bytes_in_flight.saturating_add(bytes);
        self.hedge_credit = if is_hedge {
            self.hedge_credit.saturating_sub(HEDGE_PRICE)
        } else {
            self.hedge_credit.saturating_add(1).min(HEDGES_SAVED_MAX * HEDGE_PRICE)
        };
    }

    /// Notes that a request for a block of about `bytes` is no longer open.
    pub(super) fn closed(&mut self, peer: PeerId, bytes: u64) {
        let holder = self.holders.entry(peer).or_default();
        holder.bytes_in_flight = holder.bytes_in_flight.saturating_sub(bytes);
    }

    /// Takes back the price of a hedge: whoever was asked had nothing to read.
    pub(super) fn refund(&mut self) {
        let most = HEDGES_SAVED_MAX * HEDGE_PRICE;
        self.hedge_credit = self.hedge_credit.saturating_add(HEDGE_PRICE).min(most);
    }

    /// Notes that `peer` delivered a block after `latency`.
    pub(super) fn answered(&mut self, now: Instant, peer: PeerId, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1);
        self.learn(now, peer, micros);
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(micros);
        let mut sorted: Vec<u64> = self.samples.iter().copied().collect();
        sorted.sort_unstable();
        let p95 = sorted.get(sorted.len() * 95 / 100).copied().unwrap_or(u64::MAX);
        self.hedge_after = Duration::from_micros(p95).clamp(HEDGE_AFTER_MIN, HEDGE_AFTER_MAX);
    }

    /// Notes that `peer` has not answered for `elapsed`: it is at least as slow as that.
    pub(super) fn lagged(&mut self, now: Instant, peer: PeerId, elapsed: Duration) {
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        if self.holders.entry(peer).or_default().latency_at(now) < micros {
            self.learn(now, peer, micros);
        }
    }

    fn learn(&mut self, now: Instant, peer: PeerId, micros: u64) {
        let holder = self.holders.entry(peer).or_default();
        holder.latency_micros = match holder.latency_micros {
            0 => micros,
            // A quarter of what is new: follows a change within a few blocks, forgets one outlier.
            _ => {
                let known = holder.latency_at(now);
                (known / 4).saturating_mul(3).saturating_add(micros / 4).max(1)
            }
        };
        holder.learned = now;
    }

    /// Notes that `peer` is busy, and is left alone until `until`.
    pub(super) fn set_aside(&mut self, peer: PeerId, until: Instant) {
        let holder = self.holders.entry(peer).or_default();
        holder.aside_until = holder.aside_until.max(until);
    }

    /// Returns until when `peer` is set aside; a time gone by when it is not.
    pub(super) fn aside_until(&self, peer: PeerId) -> Instant {
        self.holders.get(&peer).map_or(Instant::ZERO, |holder| holder.aside_until)
    }

    /// Returns the better of two of `peers`, drawn by chance, or `None` when there are none.
    pub(super) fn better_of_two(
        &self,
        now: Instant,
        peers: &[PeerId],
        prng: &mut Prng,
    ) -> Option<PeerId> {
        let first = prng.index(peers.len())?;
        let Some(step) = prng.index(peers.len() - 1) else { return peers.get(first).copied() };
        let second = (first + 1 + step) % peers.len();
        let (first, second) = (*peers.get(first)?, *peers.get(second)?);
        Some(if self.expected_cost(now, second) < self.expected_cost(now, first) {
            second
        } else {
            first
        })
    }

    /// Returns how long `peer` is expected to take for one more block, for comparison only: microseconds
    /// times bytes under way.
    fn expected_cost(&self, now: Instant, peer: PeerId) -> u64 {
        let holder = self.holders.get(&peer).copied().unwrap_or_default();
        let queue = holder.bytes_in_flight.saturating_add(u64::from(CHUNK_BYTES));
        holder.latency_at(now).saturating_mul(queue)
    }

    /// Returns how long a request may be open before a second holder is asked.
    pub(super) const fn hedge_after(&self) -> Duration {
        self.hedge_after
    }

    /// Says whether the budget allows one more hedge.
    pub(super) const fn may_hedge(&self) -> bool {
        self.hedge_credit >= HEDGE_PRICE
    }
}
