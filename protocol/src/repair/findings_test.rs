//! What follows from what several holders said.

use super::{Findings, Repair};
use crate::placement::Partition;
use crate::repair::testing::{desired, peer, placement, row};
use crate::repair::{Absence, Desired, Missing, Row, Side, Summary, View};
use crate::{PeerId, Prng};

const OWN: u64 = 1;

/// Returns a row that `steward` sees to, and the others who should hold it, best first.
fn row_of(desired: &Desired, is_wanted: impl Fn(Partition) -> bool) -> Row {
    let mut prng = Prng::new(1);
    loop {
        let found = row(&mut prng, 1);
        if is_wanted(found.partition()) && desired.steward(found.partition()).is_some() {
            return found;
        }
    }
}

fn own_row(desired: &Desired) -> (Row, Vec<PeerId>) {
    let row = row_of(desired, |partition| desired.steward(partition) == Some(peer(OWN)));
    let others = desired.peers(row.partition()).filter(|found| *found != peer(OWN)).collect();
    (row, others)
}

fn repairs(desired: &Desired, findings: &Findings) -> Vec<(Vec<PeerId>, PeerId, u8)> {
    let summary = Summary::new();
    let view = View { own: peer(OWN), desired, summary: &summary };
    let brief = |repair: Repair| (repair.sources, repair.target, repair.copies);
    findings.repairs(&view).into_iter().map(brief).collect()
}

#[test]
fn each_peer_that_lacks_a_row_gets_it_from_the_steward_that_has_it() {
    let desired = desired(&placement(5, 3), &[]);
    let (row, others) = own_row(&desired);
    let mut findings = Findings::default();
    for other in &others {
        findings.missing(*other, Missing { row, side: Side::There });
        findings.compared(*other);
    }
    let own = vec![peer(OWN)];
    assert_eq!(repairs(&desired, &findings), [(own.clone(), others[0], 1), (own, others[1], 2)]);
}

#[test]
fn who_was_not_asked_to_the_end_counts_as_nobody() {
    let desired = desired(&placement(5, 3), &[]);
    let (row, others) = own_row(&desired);
    let mut findings = Findings::default();
    findings.missing(others[0], Missing { row, side: Side::There });
    let own = peer(OWN);
    assert_eq!(repairs(&desired, &findings), [(vec![own], others[0], 1)]);
    findings.compared(others[1]);
    assert_eq!(repairs(&desired, &findings), [(vec![own, others[1]], others[0], 2)]);
}

#[test]
fn what_the_steward_lacks_is_lacked_by_those_who_are_as_it_is() {
    let desired = desired(&placement(5, 3), &[]);
    let (row, others) = own_row(&desired);
    let mut findings = Findings::default();
    findings.missing(others[0], Missing { row, side: Side::Here });
    findings.compared(others[0]);
    // Of one that was not asked to the end nobody knows.
    let first = (vec![others[0]], peer(OWN), 1);
    assert_eq!(repairs(&desired, &findings), std::slice::from_ref(&first));
    findings.compared(others[1]);
    assert_eq!(repairs(&desired, &findings), [first, (vec![others[0]], others[1], 2)]);
}

#[test]
fn who_is_away_gets_and_gives_nothing() {
    let placement = placement(5, 3);
    let all = desired(&placement, &[]);
    let (row, others) = own_row(&all);
    let number = (1..=5).find(|number| peer(*number) == others[0]).unwrap();
    let desired = desired(&placement, &[(number, Absence::Brief)]);
    let mut findings = Findings::default();
    for other in &others {
        findings.missing(*other, Missing { row, side: Side::There });
    }
    assert_eq!(repairs(&desired, &findings), [(vec![peer(OWN)], others[1], 1)]);
}

#[test]
fn only_the_steward_repairs() {
    let desired = desired(&placement(5, 3), &[]);
    let row = row_of(&desired, |partition| {
        desired.steward(partition) != Some(peer(OWN)) && desired.should_hold(partition, peer(OWN))
    });
    let mut findings = Findings::default();
    for other in desired.peers(row.partition()) {
        findings.missing(other, Missing { row, side: Side::There });
        findings.compared(other);
    }
    assert_eq!(repairs(&desired, &findings), []);
}

#[test]
fn only_what_nobody_has_is_handed_over() {
    let desired = desired(&placement(5, 3), &[]);
    let row = row_of(&desired, |partition| !desired.should_hold(partition, peer(OWN)));
    let holders: Vec<PeerId> = desired.peers(row.partition()).collect();
    let mut findings = Findings::default();
    let summary = Summary::new();
    let view = View { own: peer(OWN), desired: &desired, summary: &summary };
    for holder in &holders {
        assert_eq!(findings.hand_overs(&view), []);
        findings.missing(*holder, Missing { row, side: Side::There });
        findings.compared(*holder);
    }
    let expected = Repair { row, sources: vec![peer(OWN)], target: holders[0], copies: 0 };
    assert_eq!(findings.hand_overs(&view), [expected]);
    assert_eq!(findings.repairs(&view), []);
}

#[test]
fn findings_are_bounded_to_the_first_rows_whatever_order_they_come_in() {
    let desired = desired(&placement(2, 2), &[]);
    let mut prng = Prng::new(3);
    let mut rows: Vec<Row> = (0..100).map(|n| row(&mut prng, n)).collect();
    rows.retain(|row| desired.steward(row.partition()) == Some(peer(OWN)));
    let mut findings = Findings::new(10);
    for row in &rows {
        findings.missing(peer(2), Missing { row: *row, side: Side::There });
    }
    assert!(findings.is_cut());
    rows.sort();
    let summary = Summary::new();
    let view = View { own: peer(OWN), desired: &desired, summary: &summary };
    let found: Vec<Row> = findings.repairs(&view).into_iter().map(|repair| repair.row).collect();
    assert_eq!(found, rows[..10]);
}
