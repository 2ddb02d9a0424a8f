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
    /// Passes over some partitions when inventories are compared.
    SkipPartitions,
}

impl Plant {
    /// Returns the properties of which it breaks one at least. Whatever else breaks does not count as finding it.
    #[must_use]
    pub const fn breaks(self) -> &'static [Property] {
        match self {
            Self::SkipHashCheck => &[Property::Genuine],
            Self::SkipPartitions => &[Property::Heals],
            Self::AckBeforeSync | Self::CountTwice | Self::CollectUploads | Self::DropEarly => {
                &[Property::Readable, Property::Synced, Property::Kept]
            }
        }
    }

    /// Returns the defects of a daemon that has it.
    fn planted(plant: Option<Self>) -> Planted {
        Planted {
            ack_before_sync: plant == Some(Self::AckBeforeSync),
            skip_hash_check: plant == Some(Self::SkipHashCheck),
            count_twice: plant == Some(Self::CountTwice),
            collect_uploads: plant == Some(Self::CollectUploads),
            drop_early: plant == Some(Self::DropEarly),
            skip_partitions: plant == Some(Self::SkipPartitions),
        }
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
    let planted = Plant::planted(options.plant);
    let cluster = Cluster::new(&world, &oracle, plan.clone(), planted, options.placements.clone());
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
