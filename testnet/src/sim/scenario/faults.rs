//! One run of the scenario: a cluster starts, a storm rages while clients work, calm comes, the verdict falls.

use std::time::Duration;

use node::Planted;
use node::peers::Placements;

use super::cluster::Cluster;
use super::plan::Plan;
use super::{clients, operator, storm, verdict};
use crate::sim::oracle::{Oracle, Stats};
use crate::sim::properties::{Property, Violation};
use crate::sim::world::{self, World};

/// A defect that the daemon's code is told to have, to see that the properties find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// Acknowledges blocks before they are synced.
    AckBeforeSync,
    /// Delivers blocks without hashing them.
    SkipHashCheck,
    /// Counts one holder twice towards the write quorum.
    CountTwice,
    /// Frees blocks of uploads that go on.
    CollectUploads,
    /// Drops what others should hold before they do.
    DropEarly,
    /// Starts a directory that lost what was agreed on under its old id.
    ReusedId,
}

/// A [`Plant`], as those who have it want it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Defects {
    pub(super) planted: Planted,
    pub(super) reused_id: bool,
}

impl Defects {
    fn of(plant: Option<Plant>) -> Self {
        let mut defects = Self::default();
        match plant {
            None => {}
            Some(Plant::AckBeforeSync) => defects.planted.ack_before_sync = true,
            Some(Plant::SkipHashCheck) => defects.planted.skip_hash_check = true,
            Some(Plant::CountTwice) => defects.planted.count_twice = true,
            Some(Plant::CollectUploads) => defects.planted.collect_uploads = true,
            Some(Plant::DropEarly) => defects.planted.drop_early = true,
            Some(Plant::ReusedId) => defects.reused_id = true,
        }
        defects
    }
}

/// Placements kept over all runs of one process. Each takes some 400 KiB.
const PLACEMENTS: usize = 128;

/// What is not left to the seed.
#[derive(Clone, Debug)]
pub struct Options {
    /// Number of peers.
    pub peers: Option<usize>,
    /// A defect.
    pub plant: Option<Plant>,
    /// Whether the trace keeps its lines.
    pub verbose: bool,
    /// Placements computed in earlier runs: they save time and change nothing.
    pub placements: Placements,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            peers: None,
            plant: None,
            verbose: false,
            placements: Placements::keeping(PLACEMENTS),
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// The digest of everything that happened: equal for equal seeds and options.
    pub digest: String,
    /// Broken promises.
    pub violations: Vec<Violation>,
    /// Counts.
    pub stats: Stats,
    /// Peers it began with.
    pub peers: usize,
    /// Events of the trace.
    pub events: u64,
    /// Virtual time it took.
    pub duration: Duration,
    /// Lines of the trace, if they were asked for.
    pub lines: Vec<String>,
}

/// Runs one seed, on this thread.
///
/// # Errors
/// When the operating system refuses a runtime.
pub fn run(seed: u64, options: &Options) -> std::io::Result<Outcome> {
    world::run(seed, options.verbose, async |world| play(world, seed, options).await)
}

async fn play(world: World, seed: u64, options: &Options) -> Outcome {
    let mut prng = world.prng();
    let plan = Plan::draw(&mut prng, options.peers);
    let oracle = Oracle::new(&world);
    let defects = Defects::of(options.plant);
    let cluster = Cluster::new(&world, &oracle, plan.clone(), defects, options.placements.clone());
    if !operator::form(&cluster).await {
        oracle.violated(Property::Heals, "the cluster did not form".to_owned());
    }
    world.spawn(operator::operate(cluster.clone(), prng.fork()));

    let storm = u64::try_from(plan.storm.as_nanos()).unwrap_or(u64::MAX);
    let until = world.clock().nanos() + storm;
    for _ in 0..plan.clients {
        world.spawn(clients::work(cluster.clone(), prng.fork(), until));
    }
    storm::rage(cluster.clone(), prng.fork(), until).await;
    verdict::judge(&cluster, prng).await;

    for failure in world.failures() {
        oracle.violated(Property::Sound, failure);
    }
    Outcome {
        seed,
        digest: world.digest(),
        violations: oracle.violations(),
        stats: oracle.stats(),
        peers: plan.zones.len(),
        events: world.events(),
        duration: Duration::from_nanos(world.clock().nanos()),
        lines: world.lines(),
    }
}
