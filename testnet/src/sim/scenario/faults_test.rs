//! The scenario itself: clean seeds are clean, planted defects are found, one seed is one run.

use super::{Options, Outcome, Plant, run};
use crate::sim::properties::Violation;
use crate::sim::regressions;

/// Seeds of the clean run here; `testnet/test` runs more.
const SEEDS: u64 = 40;
/// Seeds within which a planted defect must be found.
const SEARCH_SEEDS: u64 = 300;

fn outcome(seed: u64, options: &Options) -> Outcome {
    run(seed, options).unwrap()
}

#[test]
fn every_promise_holds_under_loss_partition_crash_and_a_rotten_disk() {
    let options = Options::default();
    let mut acknowledged = 0;
    for seed in 1..=SEEDS {
        let outcome = outcome(seed, &options);
        assert!(outcome.violations.is_empty(), "seed {seed}: {:#?}", outcome.violations);
        acknowledged += outcome.stats.acknowledged;
    }
    // A cluster that refuses everything keeps every promise.
    assert!(acknowledged > 10 * SEEDS, "only {acknowledged} objects were acknowledged");
}

#[test]
fn seeds_that_once_failed_stay_clean() {
    let options = Options::default();
    for (seed, reason) in regressions::SEEDS {
        let outcome = outcome(*seed, &options);
        assert!(outcome.violations.is_empty(), "seed {seed}, {reason}: {:#?}", outcome.violations);
    }
}

#[test]
fn one_seed_is_one_run_also_after_other_runs() {
    let (used, fresh) = (Options::default(), Options::default());
    let first: Vec<_> = (1..=4).map(|seed| (seed, outcome(seed, &used))).collect();
    for (seed, first) in first.into_iter().rev() {
        assert_eq!(outcome(seed, &used), first, "seed {seed} with remembered placements");
        assert_eq!(outcome(seed, &fresh), first, "seed {seed}");
    }
    assert_ne!(outcome(1, &used).digest, outcome(2, &used).digest);
}

fn finds(plant: Plant) {
    let options = Options { plant: Some(plant), ..Options::default() };
    let breaks = |violation: &Violation| plant.breaks().contains(&violation.property);
    let found =
        (1..=SEARCH_SEEDS).find(|seed| outcome(*seed, &options).violations.iter().any(breaks));
    assert!(found.is_some(), "{plant:?} is not found within {SEARCH_SEEDS} seeds");
}

#[test]
fn an_acknowledgement_before_the_sync_is_found() {
    finds(Plant::AckBeforeSync);
}

#[test]
fn a_download_that_does_not_hash_is_found() {
    finds(Plant::SkipHashCheck);
}

#[test]
fn a_copy_that_is_dropped_before_others_have_it_is_found() {
    finds(Plant::DropEarly);
}

#[test]
fn inventories_that_pass_over_partitions_are_found() {
    finds(Plant::SkipPartitions);
}

#[test]
fn a_holder_that_counts_twice_is_found() {
    finds(Plant::CountTwice);
}
