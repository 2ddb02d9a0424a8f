//! Comparisons of two peers find what differs, all of it and nothing else.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::testing::{desired, peer, placement, row, summary};
use super::{
    Answer, Answering, Comparison, Desired, Missing, Page, Question, Row, RowComparison, RowStep,
    Side, Step, Summary, View, answer, check,
};
use crate::limits::{INVENTORY_PARTITIONS_MAX, INVENTORY_ROWS_MAX};
use crate::placement::Partition;
use crate::topology::Epoch;
use crate::{Cid, Prng};

/// Returns what the other peer says, and the bytes that went both ways.
pub(super) fn told(view: &View<'_>, rows: &[Row], question: Question) -> (Answer, usize) {
    let asked = question.encode().len();
    let answer = match answer(view, peer(1), question) {
        Answering::Now(answer) => answer,
        Answering::Read { partitions, after } => {
            let is_in = |row: &&Row| {
                partitions.binary_search(&row.partition()).is_ok()
                    && after.is_none_or(|after| after < row.key())
            };
            Answer::Rows(Page::of(rows.iter().filter(is_in).copied()))
        }
    };
    let bytes = asked + answer.encode().len();
    (answer, bytes)
}

/// What a whole comparison found and cost.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) differing: Vec<Partition>,
    pub(super) missing: Vec<Missing>,
    pub(super) questions: usize,
    pub(super) bytes: usize,
}

/// Compares the rows of peer 1 with those of peer 2, all in order.
pub(super) fn compared(desired: &Desired, ours: &[Row], theirs: &[Row]) -> Outcome {
    let (our_summary, their_summary) = (summary(ours), summary(theirs));
    let here = View { own: peer(1), desired, summary: &our_summary };
    let there = View { own: peer(2), desired, summary: &their_summary };
    let mut outcome = Outcome::default();
    let (mut comparison, mut question) = Comparison::new(&here, peer(2));
    loop {
        let (answer, bytes) = told(&there, theirs, question);
        outcome.questions += 1;
        outcome.bytes += bytes;
        match comparison.answered(&here, &answer) {
            Step::Ask(next) => question = next,
            Step::Done(differing) => break outcome.differing = differing,
            Step::OtherEpoch(_) | Step::Nonsense => panic!("{answer:?}"),
        }
    }
    for part in outcome.differing.clone().chunks(INVENTORY_PARTITIONS_MAX) {
        let rows = RowComparison::new(desired.epoch(), part.to_vec());
        compare_rows((&here, ours), (&there, theirs), rows, &mut outcome);
    }
    outcome
}

fn compare_rows(
    (here, ours): (&View<'_>, &[Row]),
    (there, theirs): (&View<'_>, &[Row]),
    mut rows: RowComparison,
    outcome: &mut Outcome,
) {
    loop {
        match rows.next(&mut outcome.missing) {
            RowStep::Done => return,
            RowStep::Ask(question) => {
                let (answer, bytes) = told(there, theirs, question);
                outcome.questions += 1;
                outcome.bytes += bytes;
                let Answer::Rows(page) = answer else { panic!("{answer:?}") };
                assert!(rows.page(Side::There, page));
            }
            RowStep::Read { partitions, after } => {
                let question = Question::Rows { epoch: here.desired.epoch(), partitions, after };
                let (Answer::Rows(page), _) = told(here, ours, question) else { panic!() };
                assert!(rows.page(Side::Here, page));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_comparison_finds_exactly_what_the_asker_is_steward_of_and_one_side_lacks(
        seed: u64, count in 0..400u64, common in 0..20u64,
    ) {
        let mut prng = Prng::new(seed);
        let placement = placement(4, 3);
        let desired = desired(&placement, &[]);
        let (mut ours, mut theirs): (Vec<Row>, Vec<Row>) = (Vec::new(), Vec::new());
        for number in 0..count {
            let found = row(&mut prng, number % 5);
            // Some blocks have two owners, of whom each side may know one.
            let other = Row { owner: super::testing::owner(77), ..found };
            for found in [found, other] {
                let side = prng.below(common + 2);
                if side != 0 { ours.push(found); }
                if side != 1 { theirs.push(found); }
            }
        }
        ours.sort();
        theirs.sort();
        let is_compared = |row: &Row| desired.is_compared(row.partition(), peer(1), peer(2));
        let only = |of: &[Row], not: &[Row]| -> BTreeSet<Row> {
            of.iter().filter(|row| is_compared(row) && !not.contains(row)).copied().collect()
        };
        let outcome = compared(&desired, &ours, &theirs);
        let found = |side| -> BTreeSet<Row> {
            outcome.missing.iter().filter(|m| m.side == side).map(|m| m.row).collect()
        };
        prop_assert_eq!(found(Side::There), only(&ours, &theirs));
        prop_assert_eq!(found(Side::Here), only(&theirs, &ours));
        let all = only(&ours, &theirs).union(&only(&theirs, &ours)).count();
        prop_assert_eq!(outcome.missing.len(), all);
        if all == 0 {
            prop_assert_eq!(outcome.questions, 1);
        }
    }
}

#[test]
fn a_block_with_more_owners_than_a_page_has_rows_is_compared_too() {
    let placement = placement(2, 2);
    let desired = desired(&placement, &[]);
    let mut prng = Prng::new(9);
    let mut first = row(&mut prng, 0);
    while desired.steward(first.partition()) != Some(peer(1)) {
        first = row(&mut prng, 0);
    }
    let owners = 2 * INVENTORY_ROWS_MAX as u64 + 10;
    let of_owner = |number| Row { owner: super::testing::owner(number), root: false, ..first };
    let theirs: Vec<Row> = (0..owners).map(of_owner).collect();
    let ours: Vec<Row> =
        theirs.iter().filter(|row| row.owner.as_bytes()[7] != 3).copied().collect();
    let outcome = compared(&desired, &ours, &theirs);
    assert_eq!(outcome.missing.len(), theirs.len() - ours.len());
    assert!(outcome.missing.iter().all(|missing| missing.side == Side::Here));
}

#[test]
fn a_root_that_one_side_takes_for_an_ordinary_block_is_a_difference() {
    let placement = placement(2, 2);
    let desired = desired(&placement, &[]);
    let mut prng = Prng::new(2);
    let rows: Vec<Row> = (0..50).map(|n| row(&mut prng, n)).collect();
    let rows: BTreeSet<Row> =
        rows.into_iter().filter(|row| desired.steward(row.partition()) == Some(peer(1))).collect();
    let ours: Vec<Row> = rows.into_iter().collect();
    let theirs: Vec<Row> = ours.iter().map(|row| Row { root: !row.root, ..*row }).collect();
    let outcome = compared(&desired, &ours, &theirs);
    assert_eq!(outcome.missing.len(), ours.len());
    assert!(outcome.missing.iter().all(|missing| missing.row.root));
}

#[test]
fn answers_that_do_not_belong_to_the_question_end_a_comparison() {
    let placement = placement(2, 2);
    let desired = desired(&placement, &[]);
    let rows = [row(&mut Prng::new(1), 1)];
    let (ours, nothing) = (summary(&rows), Summary::new());
    let view = View { own: peer(1), desired: &desired, summary: &ours };
    let begun = || Comparison::new(&view, peer(2)).0;
    let far = Partition::new(5).unwrap();
    for answer in [
        Answer::Partitions(vec![(far, 1)]),
        Answer::Differing(vec![far]),
        Answer::Rows(Page::default()),
        Answer::Epoch(desired.epoch()),
    ] {
        assert_eq!(begun().answered(&view, &answer), Step::Nonsense, "{answer:?}");
    }
    let mut asked = begun();
    assert!(matches!(asked.answered(&view, &Answer::Groups(vec![(1, 1)])), Step::Ask(_)));
    for answer in [Answer::Groups(vec![]), Answer::Equal, Answer::Partitions(vec![(far, 1)])] {
        assert_eq!(asked.clone().answered(&view, &answer), Step::Nonsense, "{answer:?}");
    }
    // A page of other partitions, of rows that were seen, or without end.
    let here = rows[0].partition();
    let mut merge = RowComparison::new(Epoch(1), vec![here]);
    let strange = Row { cid: Cid::of(crate::Codec::Raw, b"elsewhere"), ..rows[0] };
    let page = |rows: &[Row], is_last| Page { rows: rows.to_vec(), is_last };
    assert!(!merge.page(Side::There, page(&[strange], true)));
    assert!(!merge.page(Side::There, page(&[], false)));
    assert!(merge.page(Side::There, page(&rows, false)));
    assert!(!merge.page(Side::There, page(&rows, false)));
    // And whoever is at another epoch says so, whatever was asked.
    let there = View { own: peer(2), desired: &desired, summary: &nothing };
    let Question::Check { sums, .. } = check(&view, &[here]) else { panic!() };
    let question = Question::Check { epoch: Epoch(9), sums };
    let expected = Answering::Now(Answer::Epoch(desired.epoch()));
    assert_eq!(answer(&there, peer(1), question), expected);
}

#[test]
fn a_check_by_name_tells_which_partitions_differ() {
    let placement = placement(2, 2);
    let desired = desired(&placement, &[]);
    let mut prng = Prng::new(4);
    let mut rows: Vec<Row> = (0..20).map(|n| row(&mut prng, n)).collect();
    rows.sort();
    let (ours, theirs) = (summary(&rows), summary(&rows[1..]));
    let here = View { own: peer(1), desired: &desired, summary: &ours };
    let there = View { own: peer(2), desired: &desired, summary: &theirs };
    let partitions: Vec<Partition> = rows.iter().map(Row::partition).collect();
    let (answer, _) = told(&there, &rows[1..], check(&here, &partitions));
    assert_eq!(answer, Answer::Differing(vec![rows[0].partition()]));
}
