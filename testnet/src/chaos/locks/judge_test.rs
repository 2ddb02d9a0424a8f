//! The judge finds what it looks for.

use std::time::Duration;

use super::judge::{End, Grant, Turn, judge};

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Asked at `asked`, had a place 10 ms later, was granted at `granted` and gave it back at `released`.
fn turn(asked: u64, granted: u64, fence: u64, released: u64) -> Turn {
    let end = End::Released { released: at(released) };
    let grant = Some(Grant { at: at(granted), fence, end });
    Turn { lock: 0, asked: at(asked), queued: at(asked + 10), is_dead: false, grant }
}

/// The same, but it died after a renewal of 500 ms that was sent at `renewed` and answered 10 ms later.
fn dead(asked: u64, granted: u64, fence: u64, renewed: u64) -> Turn {
    let end = End::Died { renewed_from: at(renewed), renewed: at(renewed + 10), ttl: at(500) };
    let grant = Some(Grant { at: at(granted), fence, end });
    Turn { lock: 0, asked: at(asked), queued: at(asked + 10), is_dead: true, grant }
}

fn fault(turns: &[Turn]) -> String {
    judge(turns).unwrap_err().to_string()
}

#[test]
fn turns_in_order_are_in_order() {
    let turns =
        [turn(0, 10, 3, 100), turn(20, 105, 7, 200), dead(40, 300, 9, 310), turn(45, 900, 12, 950)];
    let figures = judge(&turns).unwrap();
    assert_eq!((figures.grants, figures.dead_holders, figures.takeovers), (4, 1, 1));
    assert_eq!(figures.worst_takeover, at(900 - 820));
    assert_eq!(figures.ordered, 2, "the last two asked at the same time");
}

#[test]
fn two_holders_at_a_time_are_found() {
    assert!(fault(&[turn(0, 10, 3, 100), turn(20, 99, 7, 200)]).contains("before 3 was over"));
    // Within the lease of one that died.
    let within = [dead(0, 10, 3, 20), turn(15, 519, 7, 600)];
    assert!(fault(&within).contains("before 3 was over"));
    // Another lock is another matter.
    let other = Turn { lock: 1, ..turn(20, 99, 7, 200) };
    assert!(judge(&[turn(0, 10, 3, 100), other]).is_ok());
}

#[test]
fn who_is_overtaken_is_found() {
    let turns = [turn(0, 10, 3, 100), turn(40, 110, 7, 200), turn(20, 210, 8, 300)];
    assert!(fault(&turns).contains("had its place before"));
    // Nobody knows who was first when both asked at the same time.
    let close = [turn(0, 10, 3, 100), turn(25, 110, 7, 200), turn(20, 210, 8, 300)];
    assert!(judge(&close).is_ok());
}

#[test]
fn tokens_that_do_not_rise_are_found() {
    assert!(fault(&[turn(0, 10, 3, 100), turn(20, 110, 3, 200)]).contains("given twice"));
    assert!(judge(&[turn(0, 10, 9, 11), turn(20, 110, 3, 200)]).is_err());
    // Over all locks.
    let other = Turn { lock: 1, ..turn(20, 30, 3, 40) };
    assert!(fault(&[turn(0, 10, 9, 11), other]).contains("before 3 was asked for"));
}

#[test]
fn a_lock_that_is_passed_on_late_is_found() {
    let turns = |late: u64| [dead(0, 10, 3, 20), turn(15, 530 + late, 7, 9000)];
    assert!(judge(&turns(1000)).is_ok());
    assert!(fault(&turns(1001)).contains("late"));
    // Nobody waited.
    assert!(judge(&[dead(0, 10, 3, 20), turn(5000, 5010, 7, 9000)]).is_ok());
    // Somebody never got it.
    let never = Turn { grant: None, ..turn(15, 0, 0, 0) };
    assert!(fault(&[turn(0, 10, 3, 100), never]).contains("never served"));
}
