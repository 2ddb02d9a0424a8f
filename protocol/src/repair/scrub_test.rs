//! A scrub reads everything in its time, and goes on after a restart.

use core::time::Duration;
use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{Scrub, ScrubSettings};
use crate::repair::testing::{row, secs};
use crate::{Cid, Instant, Prng};

const SETTINGS: ScrubSettings =
    ScrubSettings { pass: Duration::from_secs(100_000), bytes_per_second_max: 10_000_000 };

const BYTES: u64 = 1_000_000;

fn blocks(count: usize) -> BTreeSet<Cid> {
    let mut prng = Prng::new(5);
    (0..count).map(|_| row(&mut prng, 1).cid).collect()
}

/// Scrubs until the pass ends; restarts from its bytes now and then. Returns the time and what was read.
fn pass(blocks: &BTreeSet<Cid>, prng: &mut Prng) -> (Duration, Vec<Cid>) {
    let held = BYTES * blocks.len() as u64;
    let (mut now, mut read) = (secs(7), Vec::new());
    let mut scrub = Scrub::new(now, SETTINGS);
    loop {
        now = now.max(scrub.next_deadline());
        let next = blocks.iter().find(|cid| scrub.after().is_none_or(|after| after < **cid));
        let Some(next) = next else {
            scrub.ended(now);
            assert_eq!(scrub.after(), None);
            return (now.since(secs(7)), read);
        };
        read.push(*next);
        scrub.read(now, *next, BYTES, true, held);
        if prng.chance(1, 50) {
            let due = scrub.next_deadline();
            scrub = Scrub::resume(due, SETTINGS, &scrub.encode());
            now = due;
        }
    }
}

#[test]
fn a_pass_reads_every_block_once_and_ends_in_its_time() {
    let blocks = blocks(2_000);
    let (took, read) = pass(&blocks, &mut Prng::new(1));
    assert!(read.iter().eq(&blocks));
    let most = SETTINGS.pass + SETTINGS.pass / 50;
    assert!(took > SETTINGS.pass / 2 && took < most, "{took:?}");
}

#[test]
fn the_next_pass_begins_soon_and_not_at_once_where_there_is_little() {
    let mut scrub = Scrub::new(secs(0), SETTINGS);
    scrub.read(secs(10), Cid::of(crate::Codec::Raw, b"x"), BYTES, false, BYTES);
    assert_eq!(scrub.status(BYTES).found, 1);
    scrub.ended(secs(20));
    assert_eq!(scrub.next_deadline(), Instant::ZERO.after(SETTINGS.pass / 100));
    assert_eq!((scrub.after(), scrub.status(BYTES).found), (None, 0));
}

#[test]
fn no_block_is_left_alone_for_longer_than_a_pass_and_a_little() {
    let blocks = blocks(500);
    let held = BYTES * blocks.len() as u64;
    let mut read: std::collections::BTreeMap<Cid, Instant> = std::collections::BTreeMap::new();
    let (mut now, mut longest, mut passes) = (secs(0), Duration::ZERO, 0);
    let mut scrub = Scrub::new(now, SETTINGS);
    // Somebody asks for the second one, which is over soon.
    while passes < 5 {
        now = now.max(scrub.next_deadline());
        let next = blocks.iter().find(|cid| scrub.after().is_none_or(|after| after < **cid));
        let Some(next) = next else {
            scrub.ended(now);
            passes += 1;
            if passes == 1 {
                scrub.hurry(now);
            }
            continue;
        };
        let before = read.insert(*next, now);
        longest = longest.max(before.map_or(Duration::ZERO, |before| now.since(before)));
        scrub.read(now, *next, BYTES, true, held);
    }
    assert!(longest <= SETTINGS.pass + SETTINGS.pass / 20, "{longest:?}");
}

#[test]
fn a_pass_that_was_asked_for_begins_at_once_and_is_read_at_the_highest_speed() {
    let mut scrub = Scrub::new(secs(0), SETTINGS);
    scrub.read(secs(10), Cid::of(crate::Codec::Raw, b"x"), BYTES, true, BYTES);
    scrub.ended(secs(20));
    scrub.hurry(secs(30));
    assert_eq!((scrub.next_deadline(), scrub.after()), (secs(30), None));
    assert_eq!(scrub.status(BYTES).bytes_per_second, SETTINGS.bytes_per_second_max);
    // The next one takes its time again.
    scrub.ended(secs(40));
    assert_eq!(scrub.next_deadline(), secs(30).after(SETTINGS.pass / 100));
    assert!(scrub.status(BYTES).bytes_per_second < SETTINGS.bytes_per_second_max);
}

#[test]
fn a_status_tells_place_rate_and_time() {
    let mut scrub = Scrub::new(secs(0), SETTINGS);
    let held = 4_000_000_000;
    let status = scrub.status(held);
    assert_eq!((status.done_millionths, status.bytes_per_second), (0, 40_000));
    assert!(status.left.abs_diff(SETTINGS.pass) < Duration::from_secs(2), "{status:?}");
    // Given that a quarter of the digests is done in no time: what is left has all of it.
    let mut digest = [0; 32];
    digest[0] = 0x40;
    let quarter = Cid::from_digest(crate::Codec::Raw, digest);
    scrub.read(secs(0), quarter, 1, true, held);
    let status = scrub.status(held);
    assert_eq!((status.done_millionths, status.bytes_per_second), (250_000, 30_000));
    assert_eq!((status.blocks, status.bytes), (1, 1));
}

#[test]
fn a_late_scrub_is_bounded_and_a_small_store_ends() {
    let mut scrub = Scrub::new(secs(0), SETTINGS);
    let cid = Cid::of(crate::Codec::Raw, b"x");
    scrub.read(Instant::ZERO.after(2 * SETTINGS.pass), cid, 1, true, u64::MAX);
    assert_eq!(scrub.status(u64::MAX).bytes_per_second, SETTINGS.bytes_per_second_max);
    let idle = Scrub::new(secs(0), SETTINGS);
    assert!(idle.status(1).bytes_per_second > 500);
}

proptest! {
    #[test]
    fn a_place_comes_back_and_nonsense_begins_anew(bytes: Vec<u8>, at in 0..67usize, bit in 0..8u8) {
        let mut scrub = Scrub::new(secs(0), SETTINGS);
        scrub.read(secs(9), Cid::of(crate::Codec::DagPb, &bytes), 5, false, 10);
        let encoded = scrub.encode();
        let back = Scrub::resume(secs(1), SETTINGS, &encoded);
        prop_assert_eq!(back.encode(), encoded.clone());
        prop_assert_eq!(back.after(), scrub.after());
        prop_assert_eq!(Scrub::resume(secs(1), SETTINGS, &bytes).after(), None);
        let mut flipped = encoded.to_vec();
        flipped[at] ^= 1 << bit;
        // Never worse than another place.
        let status = Scrub::resume(secs(1), SETTINGS, &flipped).status(10);
        prop_assert!(status.done_millionths <= 1_000_000);
    }
}
