//! `testnet bench`: which benchmarks run, and in which form their results are told.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::cache::{self, Rates};
use super::meta::{self, Metadata};
use super::moves::{self, Moves};
use super::repair::{self, Repair};
use super::report::Table;
use super::scratch::Scratch;
use super::search::{self, Searches};
use super::slow::{self, Slow};
use super::spread::{self, Spread};
use super::survival::{self, Survival};
use super::throughput::{self, Throughput};

/// What there is to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Bench {
    /// Upload and download of one file, beside the raw speed of network, hash and disk.
    Throughput,
    /// A file outlives the loss of any two of five peers; peak memory of everybody.
    Survival,
    /// What an upload costs the uplink of its gateway, when holders bring copies and when they do not.
    Spread,
    /// How soon lost copies come back, and how long reads take meanwhile.
    Repair,
    /// What joining and draining move, beside the least possible; nobody notices, and nothing is lost.
    Moves,
    /// How long reads take beside one slow holder, and how many requests more they cost.
    Slow,
    /// Hit rates of the cache of peers, beside other policies and the best that could be.
    Cache,
    /// Searches over many names, beside SQLite.
    Search,
    /// Names agreed on in a second, beside synced appends; a bucket of a million objects.
    Meta,
}

/// Measure real daemons and the real client.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example: testnet bench --only throughput --size 268435456 --repeat 1")]
pub struct BenchArgs {
    /// Only this one.
    #[arg(value_name = "NAME", value_enum, conflicts_with = "only")]
    name: Option<Bench>,
    /// The same.
    #[arg(long, value_name = "NAME", value_enum)]
    only: Option<Bench>,
    /// Objects in the bucket of the metadata benchmark.
    #[arg(long, value_name = "N", default_value_t = meta::OBJECTS_DEFAULT, value_parser = clap::value_parser!(u64).range(30_000..))]
    objects: u64,
    /// Names of the benchmark of searches.
    #[arg(long, value_name = "N", default_value_t = search::OBJECTS_DEFAULT, value_parser = clap::value_parser!(u64).range(1_000..))]
    names: u64,
    /// Bytes of the file, or of all objects together; 1 GiB for throughput, spread and moves, 2 GiB for survival and repair, 256 MiB for slow when absent.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    size: Option<u64>,
    /// How often throughput is measured; the medians are told.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeat: u32,
    /// Where files and daemons live meanwhile, in a folder of their own; `$TMPDIR` when absent.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print one JSON document instead of tables.
    #[arg(long)]
    json: bool,
}

impl BenchArgs {
    fn wants(&self, bench: Bench) -> bool {
        self.name.or(self.only).is_none_or(|only| only == bench)
    }
}

/// Says whether what is asked for needs cables between peers: those are laid in a network namespace of one's own.
#[must_use]
pub fn needs_cables(args: &BenchArgs) -> bool {
    args.wants(Bench::Slow)
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
struct Results {
    cores: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    throughput: Option<Throughput>,
    #[serde(skip_serializing_if = "Option::is_none")]
    survival: Option<Survival>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spread: Option<Spread>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repair: Option<Repair>,
    #[serde(skip_serializing_if = "Option::is_none")]
    moves: Option<Moves>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slow: Option<Slow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<Rates>,
    #[serde(skip_serializing_if = "Option::is_none")]
    search: Option<Searches>,
}

/// Runs the benchmarks that are asked for; returns whether every bound held.
///
/// # Errors
/// A daemon or the client failed, or a wrong byte came back. What was started is taken down all the same.
pub async fn main(args: &BenchArgs, out: &mut (impl Write + Send)) -> anyhow::Result<bool> {
    let wants = |bench| args.wants(bench);
    let scratch = Scratch::make(args.dir.as_deref())?;
    let cores = std::thread::available_parallelism()?.get();
    let mut results = Results {
        cores,
        throughput: None,
        survival: None,
        spread: None,
        repair: None,
        moves: None,
        slow: None,
        metadata: None,
        cache: None,
        search: None,
    };
    if !args.json {
        writeln!(out, "{cores} cores; files and daemons in {}", scratch.path().display())?;
    }
    if wants(Bench::Throughput) {
        let size = args.size.unwrap_or(throughput::SIZE_DEFAULT);
        let measured = throughput::run(&scratch, size, args.repeat).await?;
        show(args, out, &measured.tables())?;
        results.throughput = Some(measured);
    }
    if wants(Bench::Survival) {
        let size = args.size.unwrap_or(survival::SIZE_DEFAULT);
        let measured = survival::run(&scratch, size).await?;
        show(args, out, &measured.tables())?;
        results.survival = Some(measured);
    }
    if wants(Bench::Spread) {
        let measured = spread::run(&scratch, args.size.unwrap_or(spread::SIZE_DEFAULT)).await?;
        show(args, out, &measured.tables())?;
        results.spread = Some(measured);
    }
    if wants(Bench::Repair) {
        let measured = repair::run(&scratch, args.size.unwrap_or(repair::SIZE_DEFAULT)).await?;
        show(args, out, &measured.tables())?;
        results.repair = Some(measured);
    }
    if wants(Bench::Moves) {
        let measured = moves::run(&scratch, args.size.unwrap_or(moves::SIZE_DEFAULT)).await?;
        show(args, out, &measured.tables())?;
        results.moves = Some(measured);
    }
    // Where no cables can be laid it is left out, unless it is asked for by name.
    let is_left_out = args.name.or(args.only).is_none() && !slow::is_possible();
    if wants(Bench::Slow) && !is_left_out {
        let measured = slow::run(&scratch, args.size.unwrap_or(slow::SIZE_DEFAULT)).await?;
        show(args, out, &measured.tables())?;
        results.slow = Some(measured);
    }
    if wants(Bench::Meta) {
        let measured = meta::run(&scratch, args.objects, args.repeat).await?;
        show(args, out, &measured.tables())?;
        results.metadata = Some(measured);
    }
    if wants(Bench::Cache) {
        let measured = cache::run();
        show(args, out, &measured.tables())?;
        results.cache = Some(measured);
    }
    if wants(Bench::Search) {
        let measured = search::run(&scratch, args.names)?;
        show(args, out, &measured.tables())?;
        results.search = Some(measured);
    }
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&results)?)?;
    }
    Ok(results.survival.is_none_or(|survival| survival.holds())
        && results.spread.is_none_or(|spread| spread.holds())
        && results.repair.is_none_or(|repair| repair.holds())
        && results.moves.is_none_or(|moves| moves.holds()))
}

fn show(args: &BenchArgs, out: &mut impl Write, tables: &[Table]) -> anyhow::Result<()> {
    if !args.json {
        for table in tables {
            write!(out, "\n{table}")?;
        }
    }
    Ok(())
}
