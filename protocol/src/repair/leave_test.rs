//! A peer lets go only of what others surely hold.

use super::{Confirmations, Keep, may_drop};
use crate::limits::REPAIR_CONFIRMED_FOR;
use crate::placement::Partition;
use crate::repair::testing::{desired, peer, placement, row, secs, summary};
use crate::repair::{Absence, Row, Summary, View};
use crate::topology::Epoch;
use crate::{PeerId, Prng};

const OWN: u64 = 1;

/// A peer with a row that three others should hold, all of whom confirmed.
struct Case {
    row: Row,
    summary: Summary,
    confirmations: Confirmations,
    holders: Vec<PeerId>,
}

fn case() -> Case {
    let placement = placement(5, 3);
    let mut prng = Prng::new(1);
    let mut row_of = || row(&mut prng, 1);
    let mut found = row_of();
    while placement.is_replica(found.partition(), peer(OWN)) {
        found = row_of();
    }
    let summary = summary([&found]);
    let holders: Vec<PeerId> = placement.replica_set(found.partition()).collect();
    let mut confirmations = Confirmations::new();
    for (at, holder) in (10..).zip(&holders) {
        let partition = found.partition();
        let state = (partition, summary.stamp(partition));
        confirmations.confirm(secs(at), Epoch(1), state, *holder);
    }
    Case { row: found, summary, confirmations, holders }
}

impl Case {
    fn asked_with(&self, at: u64, absent: &[(PeerId, Absence)]) -> Result<Vec<PeerId>, Keep> {
        let numbers = |id: PeerId| (1..=5).find(|number| peer(*number) == id).unwrap();
        let absent: Vec<_> = absent.iter().map(|(id, absence)| (numbers(*id), *absence)).collect();
        let desired = desired(&placement(5, 3), &absent);
        let view = View { own: peer(OWN), desired: &desired, summary: &self.summary };
        let evidence = may_drop(&view, secs(at), self.partition(), &self.confirmations)?;
        assert_eq!(evidence.until, secs(10).after(REPAIR_CONFIRMED_FOR));
        assert_eq!(evidence.stamp, self.summary.stamp(self.partition()));
        Ok(evidence.holders)
    }

    fn partition(&self) -> Partition {
        self.row.partition()
    }
}

#[test]
fn all_members_confirmed_so_it_may_go() {
    let case = case();
    assert_eq!(case.asked_with(15, &[]), Ok(case.holders.clone()));
}

#[test]
fn a_word_that_is_old_is_no_word() {
    let case = case();
    let last = 10 + REPAIR_CONFIRMED_FOR.as_secs();
    assert!(case.asked_with(last, &[]).is_ok());
    assert_eq!(case.asked_with(last + 1, &[]), Err(Keep::Unconfirmed(case.holders[0])));
}

#[test]
fn what_came_later_is_not_confirmed() {
    let mut case = case();
    let later = Row { owner: crate::repair::testing::owner(9), ..case.row };
    case.summary.insert(&later);
    assert_eq!(case.asked_with(15, &[]), Err(Keep::Unconfirmed(case.holders[0])));
    // Nor when it went again: something may have been read in between.
    case.summary.remove(&later);
    assert_eq!(case.asked_with(15, &[]), Err(Keep::Unconfirmed(case.holders[0])));
}

#[test]
fn while_a_member_is_away_nobody_lets_go() {
    let case = case();
    let away = case.holders[1];
    assert_eq!(case.asked_with(15, &[(away, Absence::Brief)]), Err(Keep::TooFew));
    let kept = case.asked_with(15, &[(away, Absence::Replaced)]);
    assert!(matches!(kept, Err(Keep::TooFew | Keep::StandsIn)), "{kept:?}");
}

#[test]
fn a_confirmation_of_an_earlier_epoch_is_void() {
    let mut case = case();
    let state = (case.partition(), case.summary.stamp(case.partition()));
    case.confirmations.confirm(secs(14), Epoch(2), state, case.holders[0]);
    assert_eq!(case.asked_with(15, &[]), Err(Keep::Unconfirmed(case.holders[0])));
}

#[test]
fn a_member_never_lets_go() {
    let case = case();
    let desired = desired(&placement(5, 3), &[]);
    let view = View { own: case.holders[2], desired: &desired, summary: &case.summary };
    let kept = may_drop(&view, secs(15), case.partition(), &case.confirmations);
    assert_eq!(kept, Err(Keep::Member));
}
