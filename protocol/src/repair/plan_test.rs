//! The order in which repairs are taken.

use core::time::Duration;

use proptest::prelude::*;

use super::{Plan, Repair, Updated};
use crate::limits::REPAIR_SETTLE;
use crate::repair::Row;
use crate::repair::testing::{owner, peer, row, secs};
use crate::{Instant, Prng};

fn repair(prng: &mut Prng, copies: u8) -> Repair {
    Repair { row: row(prng, 1), sources: vec![peer(1)], target: peer(2), copies }
}

fn plan() -> Plan {
    Plan::new(Duration::ZERO, 1_000)
}

proptest! {
    #[test]
    fn repairs_come_least_redundant_first_then_oldest_then_by_block(seed: u64, count in 1..60u64) {
        let mut prng = Prng::new(seed);
        let mut plan = plan();
        let mut expected = Vec::new();
        for number in 0..count {
            let copies = u8::try_from(prng.below(4)).unwrap();
            let repair = repair(&mut prng, copies);
            let since = secs(number / 7);
            expected.push((copies, since, repair.row.key()));
            plan.update(since, |_| false, vec![repair]);
        }
        expected.sort();
        let taken = core::iter::from_fn(|| plan.take(secs(100)));
        let taken: Vec<_> = taken.map(|(since, r)| (r.copies, since, r.row.key())).collect();
        prop_assert_eq!(taken, expected);
        prop_assert!(plan.waiting.is_empty() && plan.ranks.is_empty());
    }

    #[test]
    fn a_plan_keeps_its_bound_and_the_most_urgent(seed: u64, count in 1..60u64) {
        let mut prng = Prng::new(seed);
        let mut plan = Plan::new(Duration::ZERO, 10);
        let repairs: Vec<Repair> = (0..count)
            .map(|_| { let copies = u8::try_from(prng.below(8)).unwrap(); repair(&mut prng, copies) })
            .collect();
        let mut copies: Vec<u8> = repairs.iter().map(|repair| repair.copies).collect();
        copies.sort_unstable();
        copies.truncate(10);
        plan.update(secs(1), |_| true, repairs);
        prop_assert_eq!(plan.repairs().count(), plan.waiting.len());
        let taken: Vec<u8> =
            core::iter::from_fn(|| plan.take(secs(2))).map(|(_, repair)| repair.copies).collect();
        prop_assert_eq!(taken, copies);
    }
}

#[test]
fn a_difference_is_repaired_once_it_has_lasted() {
    let mut prng = Prng::new(1);
    let mut plan = Plan::default();
    let (young, old) = (repair(&mut prng, 1), repair(&mut prng, 2));
    plan.update(secs(10), |_| false, vec![old.clone()]);
    plan.update(secs(20), |_| false, vec![young.clone()]);
    let due = secs(10).after(REPAIR_SETTLE);
    assert_eq!(plan.next_deadline(), Some(due));
    assert_eq!(plan.take(Instant::from_nanos(due.as_nanos() - 1)), None);
    // What is more urgent and has not settled does not hold up what has.
    assert_eq!(plan.take(due), Some((secs(10), old)));
    let later = secs(20).after(REPAIR_SETTLE);
    assert_eq!(plan.take(later), Some((secs(20), young)));
    assert_eq!((plan.take(later), plan.next_deadline()), (None, None));
}

#[test]
fn what_is_found_again_keeps_its_age_and_what_is_not_is_forgotten() {
    let mut prng = Prng::new(1);
    let mut plan = plan();
    let (stays, goes, elsewhere) =
        (repair(&mut prng, 1), repair(&mut prng, 1), repair(&mut prng, 1));
    plan.update(secs(1), |_| true, vec![stays.clone(), goes, elsewhere.clone()]);
    let was_looked_at = |partition| partition != elsewhere.row.partition();
    let fewer = Repair { copies: 0, ..stays.clone() };
    plan.update(secs(5), was_looked_at, vec![fewer.clone()]);
    assert_eq!(plan.take(secs(5)), Some((secs(1), fewer.clone())));
    assert_eq!(plan.take(secs(5)), Some((secs(1), elsewhere.clone())));
    assert!(!plan.is_empty() && plan.take(secs(500)).is_none());
    plan.ended(fewer.id());
    plan.ended(elsewhere.id());
    assert!(plan.is_empty());
    plan.update(secs(6), |_| true, vec![stays]);
    plan.retain(|_| false);
    assert!(plan.is_empty() && plan.ranks.is_empty());
}

#[test]
fn what_is_under_way_does_not_begin_twice_and_ends_when_nobody_lacks_it() {
    let mut prng = Prng::new(1);
    let mut plan = plan();
    let [stays, goes, urgent, elsewhere] = [2, 2, 2, 2].map(|copies| repair(&mut prng, copies));
    let all = vec![stays.clone(), goes.clone(), urgent.clone(), elsewhere.clone()];
    assert_eq!(plan.update(secs(1), |_| true, all), Updated::default());
    assert_eq!(core::iter::from_fn(|| plan.take(secs(1))).count(), 4);
    assert_eq!(plan.repairs().count(), 4);

    // One lacks still, one does not, and of one there are fewer copies by now.
    let was_looked_at = |partition| partition != elsewhere.row.partition();
    let urgent = Repair { copies: 1, ..urgent };
    let updated = plan.update(secs(2), was_looked_at, vec![stays.clone(), urgent.clone()]);
    let Updated { mut stopped, bytes_brought: 0 } = updated else { panic!("{updated:?}") };
    let mut expected = [goes.id(), urgent.id()];
    stopped.sort_unstable();
    expected.sort_unstable();
    assert_eq!(stopped, expected);
    // It has waited long enough already.
    assert_eq!(plan.take(secs(2)), Some((secs(1), urgent.clone())));
    assert_eq!((plan.take(secs(2)), plan.repairs().count()), (None, 3));

    for repair in [stays, urgent, elsewhere] {
        plan.ended(repair.id());
    }
    assert!(plan.is_empty());
}

#[test]
fn what_ended_lacks_no_more_unless_another_owner_of_the_block_waits_for_it() {
    let mut prng = Prng::new(1);
    let mut plan = plan();
    let one = repair(&mut prng, 1);
    let shared = Repair { row: Row { owner: owner(9), ..one.row }, ..one.clone() };
    let elsewhere = Repair { target: peer(3), ..one.clone() };
    plan.update(secs(1), |_| true, vec![one.clone(), shared.clone(), elsewhere.clone()]);
    while plan.take(secs(1)).is_some() {}
    let bytes = u64::from(one.row.bytes);
    assert_eq!(plan.ended(one.id()), 0);
    assert_eq!(plan.ended(elsewhere.id()), bytes);
    assert_eq!(plan.ended(shared.id()), bytes);
    assert_eq!(plan.ended(shared.id()), 0, "it had ended");
}

#[test]
fn what_waited_and_lacks_no_more_was_brought_once_for_all_its_owners() {
    let mut prng = Prng::new(1);
    let mut plan = plan();
    let (one, stays) = (repair(&mut prng, 1), repair(&mut prng, 1));
    let shared = Repair { row: Row { owner: owner(9), ..one.row }, ..one.clone() };
    let other = Repair { target: peer(3), ..one.clone() };
    plan.update(secs(1), |_| true, vec![one.clone(), shared.clone(), other, stays.clone()]);
    let brought = |plan: &mut Plan, left| plan.update(secs(2), |_| true, left).bytes_brought;
    let bytes = u64::from(one.row.bytes);
    // For one owner of two it lacks still; at the other peer it does not.
    assert_eq!(brought(&mut plan, vec![shared, stays.clone()]), bytes);
    assert_eq!(brought(&mut plan, vec![stays.clone()]), bytes);
    assert_eq!(brought(&mut plan, vec![stays]), 0);
}
