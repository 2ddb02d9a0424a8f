//! Pauses between rounds.

use core::time::Duration;

use super::{RoundEnd, Rounds};
use crate::Instant;
use crate::repair::testing::secs;

const INTERVAL: Duration = Duration::from_secs(600);

const FINISHED: RoundEnd =
    RoundEnd { scan: Duration::ZERO, has_advanced: true, is_unfinished: false };
const UNFINISHED: RoundEnd = RoundEnd { has_advanced: false, is_unfinished: true, ..FINISHED };

/// Runs rounds of no duration until a second, and returns when each began.
fn run(
    rounds: &mut Rounds,
    seconds: core::ops::RangeInclusive<u64>,
    end: impl Fn(Instant) -> RoundEnd,
) -> Vec<u64> {
    let begins = seconds.filter(|second| {
        let has_begun = rounds.begin(secs(*second));
        if has_begun {
            rounds.ended(secs(*second), end(secs(*second)));
        }
        has_begun
    });
    begins.collect()
}

#[test]
fn what_is_finished_is_done_again_after_the_interval_and_what_is_not_ever_more_rarely() {
    let mut rounds = Rounds::new(secs(0), INTERVAL);
    assert!(rounds.is_due());
    assert_eq!(run(&mut rounds, 0..=700, |_| FINISHED), [1, 601]);
    assert!(!rounds.is_due());
    let mut rounds = Rounds::new(secs(0), INTERVAL);
    let begins = run(&mut rounds, 0..=256, |_| UNFINISHED);
    assert_eq!(begins, [1, 3, 7, 15, 31, 63, 127, 191, 255]);
    assert!(rounds.is_due());
}

#[test]
fn however_long_a_round_was_tried_in_vain_it_is_tried_soon_and_often_after_a_change() {
    let mut rounds = Rounds::new(secs(0), INTERVAL);
    run(&mut rounds, 0..=1_000, |_| UNFINISHED);
    rounds.call(secs(1_000));
    // The others learn of the change later than this peer.
    let end = |at| if at < secs(1_002) { UNFINISHED } else { FINISHED };
    assert_eq!(run(&mut rounds, 1_001..=1_100, end), [1_001, 1_003]);
    assert!(!rounds.is_due());
}

#[test]
fn a_repair_that_came_to_something_gives_hope_and_one_that_failed_is_looked_for_once() {
    let mut rounds = Rounds::new(secs(0), INTERVAL);
    run(&mut rounds, 0..=255, |_| UNFINISHED);
    rounds.repaired();
    assert_eq!(run(&mut rounds, 256..=324, |_| UNFINISHED), [319, 321]);
    let mut rounds = Rounds::new(secs(0), INTERVAL);
    assert_eq!(run(&mut rounds, 0..=1, |_| FINISHED), [1]);
    for _ in 0..5 {
        rounds.repair_failed(secs(2));
    }
    assert_eq!(run(&mut rounds, 3..=100, |_| FINISHED), [4]);
}

#[test]
fn nothing_calls_a_peer_out_of_its_rest() {
    let mut rounds = Rounds::new(secs(0), INTERVAL);
    let long = RoundEnd { scan: Duration::from_secs(10), ..FINISHED };
    assert_eq!(run(&mut rounds, 0..=1, |_| long), [1]);
    rounds.call(secs(2));
    rounds.confirm(secs(2));
    assert_eq!(run(&mut rounds, 2..=100, |_| long), [41]);
}
