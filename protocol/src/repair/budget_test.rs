//! Repair gets its rate, yields to clients that wait longer than they do without it, and always ends.

use core::time::Duration;

use proptest::prelude::*;

use super::{Budget, BudgetSettings};
use crate::repair::{Foreground, Tally};
use crate::{Instant, Prng};

const SETTINGS: BudgetSettings = BudgetSettings {
    bytes_per_second_max: 1_000_000,
    bytes_per_second_min: 10_000,
    bytes_per_second_urgent: 200_000,
    requests_per_second_max: 100,
    burst: Duration::from_millis(250),
};

/// How often the foreground is told.
const LOOK: Duration = Duration::from_millis(100);

/// A peer that repairs blocks of one size whenever it may, and its clients.
struct Peer {
    budget: Budget,
    now: Instant,
    told: Instant,
    seen: Foreground,
    bytes: u64,
    is_urgent: bool,
    /// What was repaired in the last second, by tenths.
    lately: [u64; 10],
    tenth: usize,
}

impl Peer {
    fn new() -> Self {
        Self {
            budget: Budget::new(Instant::ZERO, SETTINGS),
            now: Instant::ZERO,
            told: Instant::ZERO,
            seen: Foreground::default(),
            bytes: 0,
            is_urgent: false,
            lately: [0; 10],
            tenth: 0,
        }
    }

    /// Goes on for so many seconds, with so many requests of clients a second, each of which takes so many microseconds at
    /// this rate of repair. Repairs blocks of so many bytes; none of 0. Returns how many it began.
    fn go_on(
        &mut self,
        seconds: u64,
        requests: u64,
        micros: impl Fn(u64) -> u64,
        bytes: u64,
    ) -> u64 {
        let end = self.now.after(Duration::from_secs(seconds));
        let mut count = 0;
        while self.now < end {
            if self.told <= self.now {
                self.tenth = (self.tenth + 1) % self.lately.len();
                let rate: u64 = self.lately.iter().sum();
                self.lately[self.tenth] = 0;
                let Tally { requests: all, micros: took } = &mut self.seen.fetched;
                *all += requests / 10;
                *took += requests / 10 * micros(rate);
                self.budget.foreground(self.now, &self.seen);
                self.told = self.now.after(LOOK);
            }
            if bytes == 0 {
                self.now = self.told;
                continue;
            }
            match self.budget.start(self.now, bytes, self.is_urgent) {
                Ok(()) => {
                    count += 1;
                    self.bytes += bytes;
                    self.lately[self.tenth] += bytes;
                }
                Err(at) => {
                    assert!(at > self.now, "a deadline that has passed makes a shell spin");
                    self.now = at.min(self.told);
                }
            }
        }
        count
    }
}

#[test]
fn an_idle_peer_repairs_at_the_highest_rate_before_long() {
    let mut peer = Peer::new();
    let begin = peer.go_on(1, 0, |_| 0, 50_000);
    assert!(begin <= 4, "{begin} within the first second");
    peer.go_on(4, 0, |_| 0, 50_000);
    let count = peer.go_on(10, 0, |_| 0, 50_000);
    assert!((195..=206).contains(&count), "{count}");
}

#[test]
fn small_blocks_are_bounded_by_their_number() {
    let mut peer = Peer::new();
    peer.go_on(5, 0, |_| 0, 1);
    let count = peer.go_on(10, 0, |_| 0, 1);
    assert!((990..=1_030).contains(&count), "{count}");
}

#[test]
fn clients_who_notice_nothing_slow_nobody_down() {
    for micros in [200, 20_000] {
        let mut peer = Peer::new();
        peer.go_on(10, 40, |_| micros, 0);
        peer.go_on(30, 40, |_| micros, 50_000);
        let count = peer.go_on(10, 40, |_| micros, 50_000);
        assert!((190..=206).contains(&count), "{count} at {micros} µs, however far clients are");
    }
}

/// Of what clients wait longer, at most about as much as they are thought to notice.
#[test]
fn the_rate_settles_where_clients_begin_to_notice() {
    // Twice the time at 200,000 bytes a second.
    let micros = |rate: u64| 10_000 + rate / 20;
    let mut peer = Peer::new();
    peer.go_on(10, 40, micros, 0);
    peer.go_on(30, 40, micros, 20_000);
    let before = peer.bytes;
    peer.go_on(60, 40, micros, 20_000);
    let rate = (peer.bytes - before) / 60;
    assert!((110_000..=240_000).contains(&rate), "{rate} bytes a second");
}

#[test]
fn a_peer_that_always_disturbs_repairs_at_the_least_rate_and_so_ends() {
    let micros = |rate: u64| if rate > 0 { 50_000 } else { 1_000 };
    let mut peer = Peer::new();
    peer.go_on(10, 40, micros, 0);
    peer.go_on(60, 40, micros, 50_000);
    let count = peer.go_on(500, 40, micros, 50_000);
    assert!((95..=140).contains(&count), "{count}");
}

#[test]
fn what_is_urgent_is_repaired_whatever_clients_notice() {
    let micros = |rate: u64| if rate > 0 { 50_000 } else { 1_000 };
    let mut peer = Peer::new();
    peer.is_urgent = true;
    // Also while it is being learned how clients fare in calm times.
    let count = peer.go_on(5, 40, micros, 20_000);
    assert!(count >= 45, "{count} in the first seconds");
    peer.go_on(60, 40, micros, 20_000);
    let count = peer.go_on(100, 40, micros, 20_000);
    assert!((990..=1_020).contains(&count), "{count}");
    peer.is_urgent = false;
    peer.go_on(10, 40, micros, 20_000);
    let count = peer.go_on(100, 40, micros, 20_000);
    assert!(count <= 150, "{count} that are not");
}

#[test]
fn the_rate_comes_back_when_clients_are_calm_again() {
    let mut peer = Peer::new();
    peer.go_on(10, 40, |_| 1_000, 0);
    peer.go_on(20, 40, |_| 50_000, 20_000);
    assert_eq!(peer.budget.bytes_per_second(), 10_000);
    peer.go_on(40, 40, |_| 1_000, 20_000);
    assert_eq!(peer.budget.bytes_per_second(), 1_000_000);
}

#[test]
fn repair_rests_for_a_moment_where_nobody_knows_how_clients_fare_without() {
    let micros = |rate: u64| 10_000 + rate / 20;
    let mut peer = Peer::new();
    // From the first moment on there are clients and repairs.
    peer.go_on(90, 40, micros, 20_000);
    let before = peer.bytes;
    peer.go_on(120, 40, micros, 20_000);
    let rate = (peer.bytes - before) / 120;
    assert!((110_000..=240_000).contains(&rate), "{rate} bytes a second");
    // What is known fades: clients who became slower for good are not made up for by resting for ever.
    let slower = |rate: u64| 30_000 + rate / 20;
    peer.go_on(700, 40, slower, 20_000);
    let before = peer.bytes;
    peer.go_on(120, 40, slower, 20_000);
    let rate = (peer.bytes - before) / 120;
    assert!((300_000..=750_000).contains(&rate), "{rate} bytes a second");
}

#[test]
fn a_rate_that_nobody_uses_does_not_grow() {
    let mut peer = Peer::new();
    peer.go_on(60, 0, |_| 0, 0);
    assert_eq!(peer.budget.bytes_per_second(), 62_500);
}

proptest! {
    #[test]
    fn no_history_starts_more_than_the_highest_rate_or_stops_for_good(seed: u64) {
        let mut prng = Prng::new(seed);
        let mut budget = Budget::new(Instant::ZERO, SETTINGS);
        let mut seen = Foreground::default();
        let (mut now, mut bytes, mut last) = (Instant::ZERO, 0, 0);
        for _ in 0..500 {
            match prng.below(3) {
                0 => {
                        let requests = prng.below(40);
                        seen.read.requests += requests;
                        seen.read.micros += requests * prng.below(20_000);
                        budget.foreground(now, &seen);
                    }
                1 => now = now.after(Duration::from_millis(prng.below(500))),
                _ => {
                    let size = prng.below(200_000);
                    let is_urgent = prng.chance(1, 3);
                    match budget.start(now, size, is_urgent) {
                        Ok(()) => {
                            bytes += size;
                            last = size;
                        }
                        // The longest wait: the largest block at the least rate.
                        Err(at) => prop_assert!(at.since(now) <= Duration::from_secs(24)),
                    }
                }
            }
            let most = now.as_nanos() / 1_000 + 250_000 + last;
            prop_assert!(bytes <= most, "{bytes} of {most}");
        }
    }
}
