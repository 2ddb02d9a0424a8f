//! What is counted.

use core::time::Duration;

use super::{Meter, RepairStatus, ScrubProgress, status};
use crate::Prng;
use crate::repair::testing::{owner, peer, row, secs};
use crate::repair::{Plan, Repair, Row};

fn plan_of(lacking: &[(Row, u64)]) -> Plan {
    let repair = |(row, target): &(Row, u64)| Repair {
        row: *row,
        sources: vec![peer(1)],
        target: peer(*target),
        copies: 1,
    };
    let mut plan = Plan::new(Duration::ZERO, 100);
    plan.update(secs(1), |_| true, lacking.iter().map(repair).collect());
    plan
}

#[test]
fn blocks_are_counted_by_the_copies_they_lack_whoever_refers_to_them() {
    let mut prng = Prng::new(1);
    let mut rows: Vec<Row> = (0..3).map(|n| Row { bytes: 100, ..row(&mut prng, n) }).collect();
    rows.sort();
    let shared = Row { owner: owner(50), ..rows[0] };
    let plan = plan_of(&[(rows[0], 2), (shared, 2), (rows[1], 2), (rows[1], 3), (rows[2], 3)]);
    let found = status(&plan, 100, false);
    assert_eq!((found.blocks_missing_copies, found.bytes_missing), (3, 400));
    assert_eq!(
        (found.blocks_by_missing_copies.as_slice(), found.left_ms),
        ([2, 1].as_slice(), Some(4_000))
    );
    // Of two peers the slower one ends it.
    let other = RepairStatus { left_ms: Some(9_000), ..status(&plan_of(&[(rows[0], 2)]), 1, true) };
    let both = found.and(&other);
    assert_eq!(
        (both.blocks_missing_copies, both.bytes_missing, both.left_ms),
        (4, 500, Some(9_000))
    );
    assert_eq!((both.blocks_by_missing_copies, both.is_more), (vec![3, 1], true));
}

#[test]
fn several_scrubs_are_as_far_as_the_last_one() {
    let one = ScrubProgress { passes: 2, done_millionths: 5, left_ms: 9, bytes: 1, ..empty() };
    let other = ScrubProgress { passes: 1, done_millionths: 7, left_ms: 3, bytes: 2, ..empty() };
    let both = RepairStatus { scrub: one, ..RepairStatus::default() }
        .and(&RepairStatus { scrub: other, ..RepairStatus::default() });
    let wanted = ScrubProgress { passes: 1, done_millionths: 5, left_ms: 9, bytes: 3, ..empty() };
    assert_eq!(both.scrub, wanted);
}

fn empty() -> ScrubProgress {
    ScrubProgress::default()
}

#[test]
fn nothing_to_do_takes_no_time_and_without_a_rate_nobody_can_tell() {
    assert_eq!(status(&plan_of(&[]), 0, false).left_ms, Some(0));
    let plan = plan_of(&[(row(&mut Prng::new(1), 1), 2)]);
    assert_eq!(status(&plan, 0, false).left_ms, None);
}

#[test]
fn a_meter_tells_the_mean_of_the_last_minute() {
    let mut meter = Meter::new();
    for second in 100..160 {
        meter.copied(secs(second), 600);
    }
    let rate = meter.bytes_per_second(secs(159));
    assert_eq!(rate, 600);
    assert_eq!(meter.bytes_per_second(secs(400)), 0);
    assert!(meter.parts.len() <= 12);
}

#[test]
fn a_meter_tells_the_rate_of_what_has_just_begun() {
    let mut meter = Meter::new();
    assert_eq!(meter.bytes_per_second(secs(100)), 0);
    meter.copied(secs(100), 5_000);
    assert_eq!(meter.bytes_per_second(secs(104)), 1_000);
    assert_eq!(meter.bytes_per_second(secs(109)), 500);
    // Looks that find nothing tell nothing.
    (110..120).for_each(|second| meter.copied(secs(second), 0));
    meter.copied(secs(120), 20_000);
    assert_eq!(meter.bytes_per_second(secs(124)), 1_000);
}

#[test]
fn the_json_is_what_clients_read() {
    let json = serde_json::to_value(status(&plan_of(&[]), 5, false)).unwrap();
    for field in ["blocks_missing_copies", "bytes_missing", "rate_bytes_per_s", "left_ms", "scrub"]
    {
        assert!(json.get(field).is_some(), "{field}");
    }
}
