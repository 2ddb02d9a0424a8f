//! The scenario `meta`: peers that do nothing but agree, while everything below them fails.
//!
//! Every machine runs the daemon's `node::meta` and nothing else; clients write and read one register through random
//! peers, which is what a cluster's setting is. The order of the log, which every peer shows as it applies it, says
//! what each read may have returned. Never: looks into a peer, beyond what it applied.

mod clients;
mod group;
mod history;
mod locks;
mod plan;
#[cfg(test)]
mod restored_test;
#[cfg(test)]
mod scenario_test;
mod storm;
mod verdict;

use std::time::Duration;

use super::lock::lock;
use super::properties::{Property, Violation};
use super::world::{self, World};
use group::Group;
use history::History;
use plan::Plan;

/// A defect that the daemon's code is told to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// Votes count before they are synced.
    VoteNotSynced,
    /// A leader that starts again leads on in its old term.
    LeaderRestoreOn,
    /// The latest state is read without asking a quorum.
    StaleRead,
    /// A new leader ends leases at once that it knows nothing of.
    LeaseCutShort,
    /// A directory that lost what was agreed on starts under its old id.
    ReusedId,
}

impl Plant {
    /// Returns the properties of which it breaks one at least. Whatever else breaks does not count as finding it.
    #[must_use]
    pub const fn breaks(self) -> &'static [Property] {
        match self {
            Self::VoteNotSynced | Self::LeaderRestoreOn | Self::ReusedId => {
                &[Property::Agreed, Property::Named]
            }
            Self::StaleRead => &[Property::Named],
            Self::LeaseCutShort => &[Property::Locked],
        }
    }
}

/// What is not left to the seed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Number of peers at the start.
    pub peers: Option<usize>,
    /// A defect.
    pub plant: Option<Plant>,
    /// Whether the trace keeps its lines.
    pub verbose: bool,
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
    /// Peers it began with.
    pub peers: usize,
    /// Writes acknowledged, and those whose outcome nobody knows.
    pub writes: (u64, u64),
    /// Reads answered, and those that failed.
    pub reads: (u64, u64),
    /// Entries of the log that were applied somewhere.
    pub entries: u64,
    /// Snapshots that a peer took over.
    pub snapshots: u64,
    /// Faults injected.
    pub faults: u64,
    /// Virtual time it took.
    pub duration: Duration,
    /// Lines of the trace, if they were asked for.
    pub lines: Vec<String>,
}

impl Outcome {
    /// Returns one line about the run.
    #[must_use]
    pub fn summary(&self) -> String {
        format!(
            "seed {} digest {} peers {} writes {}+{} reads {}+{} entries {} snapshots {} faults {} virtual {} s",
            self.seed,
            self.digest,
            self.peers,
            self.writes.0,
            self.writes.1,
            self.reads.0,
            self.reads.1,
            self.entries,
            self.snapshots,
            self.faults,
            self.duration.as_secs(),
        )
    }
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
    let history = History::new(&world);
    let group = Group::new(&world, &history, plan.clone(), options.plant);
    group.found().await;

    let until = world.clock().nanos() + nanos(plan.storm);
    for number in 0..plan.clients {
        world.spawn(clients::work(group.clone(), number, prng.fork(), until));
    }
    let claims = locks::Claims::default();
    for number in 0..plan.lockers {
        world.spawn(locks::work(group.clone(), number, claims.clone(), prng.fork(), until));
    }
    *lock(&group.is_storm) = true;
    let faults = storm::rage(group.clone(), prng.fork(), until).await;
    *lock(&group.is_storm) = false;
    verdict::judge(&group, prng).await;

    for failure in world.failures() {
        history.violated(Property::Sound, failure);
    }
    let counts = history.counts();
    Outcome {
        seed,
        digest: world.digest(),
        violations: history.violations(),
        peers: plan.peers,
        writes: counts.writes,
        reads: counts.reads,
        entries: counts.entries,
        snapshots: counts.snapshots,
        faults,
        duration: Duration::from_nanos(world.clock().nanos()),
        lines: world.lines(),
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
