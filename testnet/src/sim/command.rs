//! `testnet sim`: runs seeds and prints what became of them.

use std::collections::BTreeMap;
use std::io::{self, Write};

use protocol::Kind;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::agreement;
use super::oracle::Stats;
use super::scenario::{Options, Outcome, Plant, run};

/// What is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ScenarioName {
    /// Uploads and downloads under faults of network, disk and machines; a seed decides everything.
    Faults,
    /// Peers that only agree, under crashes, cuts and changes of members; a seed decides everything.
    Meta,
    /// How evenly and how stably blocks are spread over up to 10,000 peers. Takes no seed.
    Placement,
    /// How well work spreads over up to 1,000 idle peers, beside other ways to move it. Takes no seed.
    Steal,
    /// How many hops lookups among up to 100,000 peers take, a quarter of what tables name being gone. Takes no seed.
    Overlay,
}

/// A defect that some scenario can find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Defect {
    /// Blocks are acknowledged before they are synced (faults).
    AckBeforeSync,
    /// Blocks are delivered without being hashed (faults).
    SkipHashCheck,
    /// One holder counts twice towards the write quorum (faults).
    CountTwice,
    /// Blocks of uploads that go on are freed (faults).
    CollectUploads,
    /// What others should hold is dropped before they do (faults).
    DropEarly,
    /// Inventories pass over some partitions, so that what lacks there stays so (faults).
    SkipPartitions,
    /// Votes count before they are synced (meta).
    VoteNotSynced,
    /// A leader that starts again leads on in its old term (meta).
    LeaderRestoreOn,
    /// The latest state is read without asking a quorum (meta).
    StaleRead,
    /// A new leader ends leases at once that it knows nothing of, so that a lock has two holders (meta).
    LeaseCutShort,
    /// A directory that lost what was agreed on starts under its old id (meta).
    ReusedId,
}

impl Defect {
    /// Returns the defect as the scenario of blocks knows it.
    const fn of_blocks(self) -> Option<Plant> {
        match self {
            Self::AckBeforeSync => Some(Plant::AckBeforeSync),
            Self::SkipHashCheck => Some(Plant::SkipHashCheck),
            Self::CountTwice => Some(Plant::CountTwice),
            Self::CollectUploads => Some(Plant::CollectUploads),
            Self::DropEarly => Some(Plant::DropEarly),
            Self::SkipPartitions => Some(Plant::SkipPartitions),
            Self::VoteNotSynced
            | Self::LeaderRestoreOn
            | Self::StaleRead
            | Self::LeaseCutShort
            | Self::ReusedId => None,
        }
    }

    /// Returns the defect as the scenario of agreement knows it.
    const fn of_agreement(self) -> Option<agreement::Plant> {
        match self {
            Self::VoteNotSynced => Some(agreement::Plant::VoteNotSynced),
            Self::LeaderRestoreOn => Some(agreement::Plant::LeaderRestoreOn),
            Self::StaleRead => Some(agreement::Plant::StaleRead),
            Self::LeaseCutShort => Some(agreement::Plant::LeaseCutShort),
            Self::ReusedId => Some(agreement::Plant::ReusedId),
            Self::AckBeforeSync
            | Self::SkipHashCheck
            | Self::CountTwice
            | Self::CollectUploads
            | Self::DropEarly
            | Self::SkipPartitions => None,
        }
    }
}

/// Which seeds to run, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct SimArgs {
    /// What to simulate.
    #[arg(long, value_enum, default_value = "faults")]
    pub scenario: ScenarioName,
    /// First seed.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many seeds, counting up from the first.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub count: u64,
    /// Number of peers; the seed chooses when absent.
    #[arg(long, value_parser = peers)]
    pub peers: Option<usize>,
    /// A defect to plant, to see that it is found; the search ends with the first seed that finds it.
    #[arg(long)]
    pub plant: Option<Defect>,
    /// Print every event of the trace.
    #[arg(long)]
    pub trace: bool,
    /// Print on standard error what the simulated daemons log.
    #[arg(long)]
    pub log: bool,
}

/// Reads a number of peers that a scenario can have.
fn peers(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| (1..=100).contains(count))
        .ok_or("not within 1 to 100".to_owned())
}

/// Runs the seeds and prints a line for each, with every violation. Returns whether all went as it should:
/// no violation, or one that finds the planted defect.
///
/// # Errors
/// When `out` cannot be written, or the operating system refuses a runtime.
pub fn main(args: &SimArgs, out: &mut impl Write) -> io::Result<bool> {
    if args.log {
        show_logs();
    }
    let takes_none = matches!(
        args.scenario,
        ScenarioName::Placement | ScenarioName::Steal | ScenarioName::Overlay
    );
    if takes_none
        && (args.plant.is_some() || args.peers.is_some() || args.seed != 1 || args.count != 1)
    {
        let detail = "this scenario takes no seeds, peers and plants: it is always the same";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, detail));
    }
    match args.scenario {
        ScenarioName::Placement => super::placement::run(out).map_err(io::Error::other),
        ScenarioName::Steal => super::steal::run(out).map_err(io::Error::other),
        ScenarioName::Overlay => super::overlay::run(out).map_err(io::Error::other),
        ScenarioName::Faults => seeds(args, out),
        ScenarioName::Meta => agreement_seeds(args, out),
    }
}

/// Prints what daemons log from now on. Without the time: theirs is not that of this machine.
fn show_logs() {
    let debug = Targets::new().with_target("node", LevelFilter::DEBUG);
    let lines = tracing_subscriber::fmt::layer().without_time().with_writer(io::stderr);
    tracing_subscriber::registry().with(debug).with(lines).init();
}

fn elsewhere(defect: Defect) -> io::Error {
    io::Error::other(format!("this scenario cannot have the defect {defect:?}"))
}

fn agreement_seeds(args: &SimArgs, out: &mut impl Write) -> io::Result<bool> {
    let plant = args.plant.map(|defect| defect.of_agreement().ok_or_else(|| elsewhere(defect)));
    let options =
        agreement::Options { peers: args.peers, plant: plant.transpose()?, verbose: args.trace };
    let mut failed = Vec::new();
    for seed in args.seed..args.seed.saturating_add(args.count) {
        let outcome = agreement::run(seed, &options)?;
        for line in &outcome.lines {
            writeln!(out, "{line}")?;
        }
        writeln!(out, "{}", outcome.summary())?;
        for violation in &outcome.violations {
            writeln!(out, "  violation {violation}")?;
        }
        if !outcome.violations.is_empty() {
            failed.push(seed);
        }
        let breaks = |plant: agreement::Plant| {
            outcome.violations.iter().find(|violation| plant.breaks().contains(&violation.property))
        };
        if let Some(violation) = options.plant.and_then(breaks) {
            let name = violation.property.name();
            writeln!(out, "found at seed {seed}, the {}. one, by {name}", seed - args.seed + 1)?;
            return Ok(true);
        }
    }
    writeln!(out, "{} seeds, {} with violations {failed:?}", args.count, failed.len())?;
    Ok(failed.is_empty() && args.plant.is_none())
}

fn seeds(args: &SimArgs, out: &mut impl Write) -> io::Result<bool> {
    let plant = args.plant.map(|defect| defect.of_blocks().ok_or_else(|| elsewhere(defect)));
    let plant = plant.transpose()?;
    let options = Options { peers: args.peers, plant, verbose: args.trace, ..Options::default() };
    let mut failed = Vec::new();
    let mut total = Stats::default();
    for seed in args.seed..args.seed.saturating_add(args.count) {
        let outcome = run(seed, &options)?;
        print(&outcome, out)?;
        total.add(&outcome.stats);
        if !outcome.violations.is_empty() {
            failed.push(seed);
        }
        let breaks = |plant: Plant| {
            outcome.violations.iter().find(|violation| plant.breaks().contains(&violation.property))
        };
        if let Some(violation) = options.plant.and_then(breaks) {
            let name = violation.property.name();
            writeln!(out, "found at seed {seed}, the {}. one, by {name}", seed - args.seed + 1)?;
            return Ok(true);
        }
    }
    writeln!(
        out,
        "uploads: {} acknowledged, refused {}",
        total.acknowledged,
        list(&total.refused)
    )?;
    writeln!(out, "requests about names answered: {}", total.named)?;
    writeln!(out, "content without a name let go of: {}", total.deleted)?;
    writeln!(out, "downloads: {} delivered, failed {}", total.delivered, list(&total.failed))?;
    writeln!(out, "faults: {:?}", total.faults)?;
    writeln!(out, "{} seeds, {} with violations {failed:?}", args.count, failed.len())?;
    Ok(failed.is_empty() && args.plant.is_none())
}

/// Returns counts by kind as text; requests whose peer went away have none.
fn list(kinds: &BTreeMap<Option<Kind>, u64>) -> String {
    let name = |kind: &Option<Kind>| kind.map_or("gone", Kind::name);
    kinds.iter().map(|(kind, count)| format!("{} {count} ", name(kind))).collect()
}

fn print(outcome: &Outcome, out: &mut impl Write) -> io::Result<()> {
    for line in &outcome.lines {
        writeln!(out, "{line}")?;
    }
    let stats = &outcome.stats;
    let refused: u64 = stats.refused.values().sum();
    let failed: u64 = stats.failed.values().sum();
    let faults: u64 = stats.faults.values().sum();
    writeln!(
        out,
        "seed {} digest {} peers {} uploads {}+{refused} downloads {}+{failed} faults {faults} events {} virtual {} s",
        outcome.seed,
        outcome.digest,
        outcome.peers,
        stats.acknowledged,
        stats.delivered,
        outcome.events,
        outcome.duration.as_secs(),
    )?;
    for violation in &outcome.violations {
        writeln!(out, "  violation {violation}")?;
    }
    Ok(())
}
