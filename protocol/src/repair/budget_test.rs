//! Repair gets its rate, yields, and always ends.

use core::time::Duration;

use proptest::prelude::*;

use super::{Budget, BudgetSettings, Foreground};
use crate::repair::testing::secs;
use crate::{Instant, Prng};

const SETTINGS: BudgetSettings = BudgetSettings {
    bytes_per_second_max: 1_000_000,
    bytes_per_second_min: 10_000,
    requests_per_second_max: 100,
    burst: Duration::from_millis(250),
    latency_busy: Duration::from_millis(50),
    in_flight_busy: 8,
};

const BUSY: Foreground = Foreground { in_flight: 0, latency: Duration::from_millis(60) };

/// Repairs blocks of so many bytes for so long, and returns how many; the foreground is told every 100 ms.
fn repaired(seconds: u64, bytes: u64, seen: Foreground) -> u64 {
    let mut budget = Budget::new(Instant::ZERO, SETTINGS);
    let (mut now, mut told, mut count) = (Instant::ZERO, Instant::ZERO, 0);
    while now < secs(seconds) {
        if told <= now {
            budget.foreground(now, seen);
            told = now.after(Duration::from_millis(100));
        }
        now = match budget.start(now, bytes) {
            Ok(()) => {
                count += 1;
                now
            }
            Err(at) => {
                assert!(at > now, "a deadline that has passed makes a shell spin");
                at.min(told)
            }
        };
    }
    count
}

#[test]
fn an_idle_peer_repairs_at_the_highest_rate() {
    let count = repaired(10, 50_000, Foreground::default());
    assert!((195..=206).contains(&count), "{count}");
}

#[test]
fn small_blocks_are_bounded_by_their_number() {
    let count = repaired(10, 1, Foreground::default());
    assert!((990..=1_030).contains(&count), "{count}");
}

#[test]
fn a_busy_peer_repairs_at_the_least_rate_and_so_ends() {
    for seen in [BUSY, Foreground { in_flight: 8, latency: Duration::ZERO }] {
        let count = repaired(1_000, 50_000, seen);
        assert!((195..=215).contains(&count), "{count}");
    }
}

#[test]
fn the_rate_comes_back_when_the_foreground_is_idle() {
    let mut budget = Budget::new(Instant::ZERO, SETTINGS);
    (0..20).for_each(|_| budget.foreground(secs(1), BUSY));
    assert_eq!(budget.bytes_per_second(), 10_000);
    (0..16).for_each(|_| budget.foreground(secs(2), Foreground::default()));
    assert_eq!(budget.bytes_per_second(), 1_000_000);
}

proptest! {
    #[test]
    fn no_history_starts_more_than_the_highest_rate_or_stops_for_good(seed: u64) {
        let mut prng = Prng::new(seed);
        let mut budget = Budget::new(Instant::ZERO, SETTINGS);
        let (mut now, mut bytes, mut last) = (Instant::ZERO, 0, 0);
        for _ in 0..500 {
            match prng.below(3) {
                0 => budget.foreground(now, if prng.chance(1, 2) { BUSY } else { Foreground::default() }),
                1 => now = now.after(Duration::from_millis(prng.below(500))),
                _ => {
                    let size = prng.below(200_000);
                    match budget.start(now, size) {
                        Ok(()) => {
                            bytes += size;
                            last = size;
                        }
                        // The longest wait: the largest block at the least rate.
                        Err(at) => prop_assert!(at.since(now) <= Duration::from_secs(21)),
                    }
                }
            }
            let most = now.as_nanos() / 1_000 + 250_000 + last;
            prop_assert!(bytes <= most, "{bytes} of {most}");
        }
    }
}
