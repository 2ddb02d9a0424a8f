//! The scenario finds nothing in sound code, everything in unsound code, and the same in the same seed.

use super::{Options, Plant, run};
use crate::sim::properties::Violation;

#[test]
fn one_seed_is_one_run_and_another_seed_is_another() {
    let options = Options::default();
    for seed in [1, 2] {
        assert_eq!(run(seed, &options).unwrap(), run(seed, &options).unwrap(), "seed {seed}");
    }
    assert_ne!(run(1, &options).unwrap().digest, run(2, &options).unwrap().digest);
}

#[test]
fn nothing_is_lost_or_old_under_faults() {
    let (mut writes, mut reads) = (0, 0);
    for seed in 1..=12 {
        let outcome = run(seed, &Options::default()).unwrap();
        assert_eq!(outcome.violations, [], "{}", outcome.summary());
        assert!(outcome.writes.0 > 10 && outcome.reads.0 > 10, "{}", outcome.summary());
        writes += outcome.writes.0;
        reads += outcome.reads.0;
    }
    assert!(writes > 2_000 && reads > 2_000, "{writes} writes, {reads} reads");
}

/// A leader fell while one that had voted, and had no entries yet, was to become a voter: nobody was elected without it.
#[test]
fn a_voter_that_has_no_entries_yet_votes() {
    let outcome = run(328, &Options::default()).unwrap();
    assert_eq!(outcome.violations, [], "{}", outcome.summary());
}

fn finds(plant: Plant, first: u64, count: u64) {
    let options = Options { plant: Some(plant), ..Options::default() };
    let breaks = |violation: &Violation| plant.breaks().contains(&violation.property);
    let found = (first..first + count)
        .find(|seed| run(*seed, &options).unwrap().violations.iter().any(breaks));
    assert!(found.is_some(), "{plant:?} is not found in {count} seeds from {first} on");
}

#[test]
fn a_leader_that_leads_on_after_a_crash_is_found() {
    finds(Plant::LeaderRestoreOn, 1, 20);
}

#[test]
fn a_stale_read_is_found() {
    finds(Plant::StaleRead, 1, 20);
}

#[test]
fn a_vote_that_is_forgotten_is_found() {
    finds(Plant::VoteNotSynced, 1, 100);
}

#[test]
fn a_peer_that_votes_under_an_id_whose_past_it_lost_is_found() {
    finds(Plant::ReusedId, 1, 20);
}

#[test]
fn a_lock_that_two_hold_is_found() {
    finds(Plant::LeaseCutShort, 1, 100);
}
