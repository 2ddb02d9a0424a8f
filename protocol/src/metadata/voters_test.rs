//! What holds for the voters of any cluster, however its members come and go.

use std::collections::{BTreeMap, BTreeSet};

use core::time::Duration;

use proptest::prelude::*;

use super::voters::{Change, VoterView, is_confirmed, may_leave, next_change, voter_count};
use crate::Prng;
use crate::limits::VOTER_AWAY;
use crate::topology::Zone;

fn view(raft_id: u64, zone: &str) -> VoterView {
    let zone = Zone::new(zone).unwrap();
    VoterView { raft_id, zone, draining: false, away: Duration::ZERO, lag: 0 }
}

fn away(view: VoterView) -> VoterView {
    VoterView { away: VOTER_AWAY, ..view }
}

fn draining(view: VoterView) -> VoterView {
    VoterView { draining: true, ..view }
}

/// Returns the voters when nothing is left to change, and what was changed on the way.
fn settled(members: &[VoterView], voters: &[u64], leader: u64) -> (BTreeSet<u64>, Vec<Change>) {
    let mut voters: BTreeSet<u64> = voters.iter().copied().collect();
    let mut changes = Vec::new();
    while let Some(change) = next_change(members, &voters, leader) {
        voters = change.applied(&voters);
        changes.push(change);
        assert!(changes.len() < 100, "it never ends: {changes:?}");
    }
    (voters, changes)
}

#[test]
fn nobody_leaves_a_cluster_without_a_majority() {
    let set = |ids: &[u64]| -> BTreeSet<u64> { ids.iter().copied().collect() };
    let may_leave = |id, live: &[u64], voters: &[u64]| may_leave(id, &set(live), &set(voters));
    assert!(may_leave(1, &[1, 2, 3], &[1, 2, 3]), "two of three are left");
    assert!(!may_leave(1, &[1, 2], &[1, 2, 3]), "one of three would be left");
    assert!(may_leave(3, &[1, 2], &[1, 2, 3]), "who is away already is not missed");
    assert!(may_leave(9, &[1, 2], &[1, 2, 3]), "who does not vote is not missed either");
    // Two were removed a moment ago and still have their votes.
    assert!(!may_leave(1, &[1, 2, 3], &[1, 2, 3, 4, 5]));
    assert!(!may_leave(1, &[1, 2], &[1]), "the only vote cannot leave before another one has it");
}

#[test]
fn a_cluster_grows_to_seven_voters_and_shrinks_again() {
    let members: Vec<VoterView> = (1..=9).map(|id| view(id, "z")).collect();
    let mut voters = vec![1];
    for (count, expected) in
        [(1, 1), (2, 1), (3, 3), (4, 3), (5, 5), (6, 5), (7, 7), (9, 7), (4, 3), (2, 1)]
    {
        let (after, _) = settled(&members[..count], &voters, 1);
        assert_eq!(after.len(), expected, "{count} members");
        assert!(after.contains(&1), "the leader stays");
        voters = after.into_iter().collect();
    }
}

#[test]
fn a_voter_that_stays_away_is_replaced_by_one_that_is_there() {
    let mut members: Vec<VoterView> = (1..=4).map(|id| view(id, "z")).collect();
    members[2].away = VOTER_AWAY - Duration::from_millis(1);
    assert_eq!(settled(&members, &[1, 2, 3], 1).1, []);
    members[2].away = VOTER_AWAY;
    assert_eq!(settled(&members, &[1, 2, 3], 1).1, [Change::Replace { promote: 4, demote: 3 }]);
    // Not by one that is away too, or far behind.
    members[3].lag = 1_000_000;
    assert_eq!(settled(&members, &[1, 2, 3], 1).1, []);
    members[3] = away(view(4, "z"));
    assert_eq!(settled(&members, &[1, 2, 3], 1).1, []);
}

#[test]
fn votes_are_spread_over_zones() {
    let members: Vec<VoterView> =
        [(1, "a"), (2, "a"), (3, "a"), (4, "b"), (5, "c")].map(|(id, zone)| view(id, zone)).into();
    let (voters, _) = settled(&members[..4], &[1], 1);
    assert_eq!(voters, BTreeSet::from([1, 2, 4]));
    // A zone that comes later gets a vote too.
    let later: Vec<VoterView> = members.iter().filter(|m| m.raft_id != 4).cloned().collect();
    let (voters, changes) = settled(&later, &[1, 2, 3], 1);
    assert_eq!((voters, changes.len()), (BTreeSet::from([1, 2, 5]), 1));
}

#[test]
fn who_drains_votes_only_if_there_is_nobody_else() {
    let mut members: Vec<VoterView> = (1..=4).map(|id| view(id, "z")).collect();
    members[1] = draining(view(2, "z"));
    assert_eq!(settled(&members, &[1, 2, 3], 1).0, BTreeSet::from([1, 3, 4]));
    // Two stay, who have one vote; those who leave have none.
    members[2] = draining(view(3, "z"));
    assert_eq!(settled(&members, &[1, 2, 3], 1).0, BTreeSet::from([1]));
    let all: Vec<VoterView> = (1..=3).map(|id| draining(view(id, "z"))).collect();
    assert_eq!(settled(&all, &[1, 2, 3], 1).1, []);
}

#[test]
fn whoever_was_removed_stops_voting() {
    let members: Vec<VoterView> = (1..=4).map(|id| view(id, "z")).collect();
    let (voters, changes) = settled(&members, &[1, 2, 9], 1);
    assert_eq!(voters.len(), 3);
    assert!(!voters.contains(&9));
    assert_eq!(changes, [Change::Replace { promote: 3, demote: 9 }]);
    // And where nobody can take the place.
    let (voters, _) = settled(&members[..2], &[1, 2, 9], 1);
    assert_eq!(voters, BTreeSet::from([1]));
}

#[test]
fn of_a_cluster_that_lost_its_majority_nothing_is_changed() {
    let mut members: Vec<VoterView> = (1..=5).map(|id| view(id, "z")).collect();
    members[1] = away(view(2, "z"));
    members[2] = away(view(3, "z"));
    assert_eq!(next_change(&members, &BTreeSet::from([1, 2, 3]), 1), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_change_is_safe_ends_and_leaves_the_voters_right(seed: u64) {
        let mut prng = Prng::new(seed);
        let count = 1 + prng.below(12);
        let mut members = Vec::new();
        for id in 1..=count {
            let mut member = view(id, ["a", "b", "c", "d"][prng.index(4).unwrap()]);
            member.draining = id > 1 && prng.chance(1, 5);
            member.lag = if prng.chance(1, 8) { 1_000_000 } else { prng.below(100) };
            if id > 1 && prng.chance(1, 6) {
                member.away = VOTER_AWAY;
            }
            members.push(member);
        }
        // Some that are no members any more, and the leader, who is there.
        let mut voters: BTreeSet<u64> = (1..=count + 2).filter(|_| prng.chance(1, 2)).collect();
        voters.insert(1);
        members[0].lag = 0;
        let live = |voters: &BTreeSet<u64>| {
            let is_live = |id: &&u64| members.iter().any(|m| m.raft_id == **id && m.away < VOTER_AWAY);
            voters.iter().filter(is_live).count()
        };
        let had_majority = live(&voters) > voters.len() / 2;
        let mut changes = 0;
        while let Some(change) = next_change(&members, &voters, 1) {
            let after = change.applied(&voters);
            // Never without a majority that is there, before or after.
            prop_assert!(live(&voters) > voters.len() / 2 && live(&after) > after.len() / 2);
            // One change at a time: each set has a majority in common with the next.
            prop_assert!(after.symmetric_difference(&voters).count() <= 2);
            voters = after;
            changes += 1;
            prop_assert!(changes < 40, "it never ends");
        }
        if !had_majority {
            prop_assert_eq!(changes, 0);
            return Ok(());
        }
        let find = |id: u64| members.iter().find(|m| m.raft_id == id);
        let ready: Vec<&VoterView> = members
            .iter()
            .filter(|m| !m.draining && m.away < VOTER_AWAY && m.lag <= 1000 && !voters.contains(&m.raft_id))
            .collect();
        let staying = members.iter().filter(|m| !m.draining).count();
        let wanted = voter_count(staying);
        // Then nobody votes who should not, where somebody could instead.
        if !ready.is_empty() {
            prop_assert!(voters.len() >= wanted, "{:?} of {wanted}", voters);
            for id in &voters {
                let member = find(*id);
                prop_assert!(member.is_some_and(|m| !m.draining && m.away < VOTER_AWAY), "{id}");
            }
            // And no zone has two votes more than one that could have another.
            let mut zones: BTreeMap<&str, usize> = BTreeMap::new();
            voters.iter().filter_map(|id| find(*id)).for_each(|m| *zones.entry(m.zone.name()).or_default() += 1);
            let most = zones.values().max().copied().unwrap_or(0);
            for learner in ready {
                prop_assert!(most <= zones.get(learner.zone.name()).copied().unwrap_or(0) + 1, "{zones:?}");
            }
        }
        prop_assert!(voters.contains(&1), "the leader votes to the end");
        prop_assert!(voters.len() <= wanted.max(1) || live(&voters) < voters.len());
    }
}

#[test]
fn no_vote_is_taken_before_enough_others_were_heard_of_since_it_was_called_for() {
    let second = Duration::from_secs(1);
    let mut members: Vec<VoterView> = (1..=5).map(|id| view(id, "z")).collect();
    members[2].draining = true;
    let voters: BTreeSet<u64> = (1..=5).collect();
    let change = next_change(&members, &voters, 1).expect("four need three votes");
    assert_eq!(change, Change::Demote(3));
    assert!(!is_confirmed(change, &members, &voters, Duration::ZERO), "nobody was heard of since");
    assert!(is_confirmed(change, &members, &voters, second));
    // Two died just before: without the third, the others are two of four.
    for id in [3, 4] {
        members[id].away = second * 2;
    }
    assert_eq!(next_change(&members, &voters, 1), Some(change), "they may be back soon");
    assert!(!is_confirmed(change, &members, &voters, second));
    // One of them is back.
    members[3].away = Duration::ZERO;
    assert!(is_confirmed(change, &members, &voters, second));
    let replace = Change::Replace { promote: 6, demote: 3 };
    assert!(!is_confirmed(replace, &members[..4], &voters, Duration::ZERO));
    assert!(is_confirmed(Change::Promote(6), &members, &voters, Duration::ZERO));
}
