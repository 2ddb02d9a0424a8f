//! Commands and flags of `testnet`. Never: does what a command says; the modules do.
#![expect(clippy::print_stdout, reason = "a command line prints what was asked for")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args as ClapArgs, Parser, Subcommand};
use shoal_testnet::bench::{self, BenchArgs};
use shoal_testnet::chaos;
use shoal_testnet::harness::{Testnet, UpOptions, cables};
use shoal_testnet::plot::{self, PlotArgs};
use shoal_testnet::sim::{self, SimArgs};
use tokio::runtime::Runtime;

/// Local networks of real daemons, simulation, and measurements of both.
#[derive(Debug, Parser)]
#[command(name = "testnet", version)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start real daemons in the background; returns when all are ready.
    Up(Up),
    /// Kill a node (SIGKILL).
    Kill(OneNode),
    /// Pause a node (SIGSTOP).
    Pause(OneNode),
    /// Let a paused node go on (SIGCONT).
    Resume(OneNode),
    /// Start a node again, after a clean end if it runs.
    Restart(OneNode),
    /// Kill a node and destroy its data.
    Wipe(OneNode),
    /// Add one node to a cluster.
    Add(Add),
    /// Show every node and how the cluster sees it.
    Status(Folder),
    /// End every daemon and remove everything that `up` made.
    Down(Folder),
    /// Simulate: the code of the daemon over a virtual clock, network and disk.
    Sim(SimArgs),
    /// Faults and bad input on real processes; exits with 1 when anything failed.
    Chaos(Chaos),
    /// Measure: throughput beside raw figures of this machine, survival, memory.
    Bench(BenchArgs),
    /// Draw pictures of failure, growth, healing and stealing, from runs that are measured for them.
    Plot(PlotArgs),
}

#[derive(Debug, ClapArgs)]
struct Chaos {
    /// Run this scenario only; repeat it to name others.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Operations of the clients whose histories are judged; more find more.
    #[arg(long, value_name = "N", env = "SHOAL_OPERATIONS", default_value_t = 3_000)]
    operations: u64,
    /// Run only every N-th scenario, from the K-th on: N runs at a time, each with another K, run all.
    #[arg(long, value_name = "K/N", default_value = "1/1")]
    share: chaos::Share,
    /// List the scenarios and run none.
    #[arg(long)]
    list: bool,
}

#[derive(Debug, ClapArgs)]
struct Folder {
    /// The network's folder.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

#[derive(Debug, ClapArgs)]
struct OneNode {
    #[command(flatten)]
    folder: Folder,
    /// The node, such as a0.
    node: String,
}

#[derive(Debug, ClapArgs)]
struct Up {
    #[command(flatten)]
    folder: Folder,
    /// Nodes of each cluster; several numbers, separated by commas, for several clusters.
    #[arg(long, default_value = "5", value_delimiter = ',')]
    nodes: Vec<usize>,
    /// Clusters.
    #[arg(long, default_value_t = 1)]
    clusters: usize,
    /// Zones that the nodes of a cluster are spread over.
    #[arg(long, default_value_t = 1)]
    zones: u16,
    /// Copies of every block.
    #[arg(long, default_value_t = 3)]
    replicas: u8,
    /// First port; free ones when absent.
    #[arg(long)]
    base_port: Option<u16>,
    /// Tell each node the address of the one before it, instead of the first one's.
    #[arg(long)]
    chain: bool,
    /// More flags for every daemon, after `--`.
    #[arg(last = true)]
    flags: Vec<String>,
}

#[derive(Debug, ClapArgs)]
struct Add {
    #[command(flatten)]
    folder: Folder,
    /// The cluster; the first when absent.
    #[arg(long)]
    cluster: Option<String>,
    /// More flags for the daemon, after `--`.
    #[arg(last = true)]
    flags: Vec<String>,
}

impl Args {
    /// Runs the command and returns the status to exit with.
    ///
    /// # Errors
    /// Whatever the command says.
    pub(super) fn run(self, runtime: &Runtime) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Up(up) => {
                let options = UpOptions {
                    nodes: up.nodes,
                    clusters: up.clusters,
                    zones: up.zones,
                    replicas: up.replicas,
                    base_port: up.base_port,
                    flags: up.flags,
                    chain: up.chain,
                    cables: false,
                    lined: None,
                };
                let net = runtime.block_on(Testnet::up(&up.folder.dir, &options))?;
                runtime.block_on(status(&net));
            }
            Command::Kill(one) => Testnet::load(&one.folder.dir)?.kill(&one.node)?,
            Command::Pause(one) => Testnet::load(&one.folder.dir)?.pause(&one.node)?,
            Command::Resume(one) => Testnet::load(&one.folder.dir)?.resume(&one.node)?,
            Command::Wipe(one) => Testnet::load(&one.folder.dir)?.wipe(&one.node)?,
            Command::Restart(one) => {
                let mut net = Testnet::load(&one.folder.dir)?;
                runtime.block_on(net.restart(&one.node))?;
            }
            Command::Add(add) => {
                let mut net = Testnet::load(&add.folder.dir)?;
                let name = runtime.block_on(net.add(add.cluster.as_deref(), &add.flags))?;
                println!("{name}");
            }
            Command::Status(folder) => runtime.block_on(status(&Testnet::load(&folder.dir)?)),
            Command::Sim(args) => {
                if !sim::main(&args, &mut std::io::stdout().lock())? {
                    return Ok(ExitCode::FAILURE);
                }
            }
            Command::Bench(args) => {
                if bench::needs_cables(&args) {
                    cables::enter()?;
                }
                if !runtime.block_on(bench::main(&args, &mut std::io::stdout()))? {
                    return Ok(ExitCode::FAILURE);
                }
            }
            Command::Plot(args) => runtime.block_on(plot::main(&args, &mut std::io::stdout()))?,
            Command::Down(folder) => Testnet::load(&folder.dir)?.down()?,
            Command::Chaos(asked) if asked.list => chaos::list(),
            Command::Chaos(asked) => {
                cables::enter()?;
                if !runtime.block_on(chaos::run(&asked.only, asked.share, asked.operations))? {
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn status(net: &Testnet) {
    for cluster in &net.state().clusters {
        println!("cluster {} ({})", cluster.name, cluster.id);
        for node in &cluster.nodes {
            let seen = match net.cluster_at(node).await {
                Ok(seen) => {
                    let alive = seen.peers.iter().filter(|peer| peer.state == "alive").count();
                    format!("sees {alive} of {} alive", seen.peers.len())
                }
                Err(_) if net.is_running(node) => "does not answer".to_owned(),
                Err(_) => "does not run".to_owned(),
            };
            println!("  {:<5} pid {:<8} {}  {seen}", node.name, node.pid, node.http);
        }
    }
}
