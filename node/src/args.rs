//! The command line of `shoald`: every flag is a setting, and overrides file and environment.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};
use etcetera::BaseStrategy;
use node::config::{self, Layer, Settings, Source};
use toml::Value;

/// A peer of a Shoal cluster: stores blocks, finds the other peers, serves HTTP.
///
/// Without any argument it founds a cluster of one peer in the user's data directory and serves it, with HTTP on
/// 127.0.0.1:4780 and peers on port 4779.
#[derive(Debug, Parser)]
#[command(
    name = "shoald",
    version,
    after_help = "Example, a second peer on another machine:\n  shoald --join TICKET --zone attic --capacity 500GB\n(shoal cluster invite, run on the first, prints a ticket)"
)]
pub(super) struct Args {
    /// A file of settings (TOML). `shoald config` prints one to begin with.
    #[arg(long, value_name = "FILE", env = "SHOAL_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// The data directory was moved or restored: this is the only copy, and the latest.
    #[arg(long)]
    moved: bool,
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// What else `shoald` can do than serve.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print the effective settings, with comments, as a file that gives the same.
    Config,
}

#[derive(Debug, ClapArgs)]
struct Flags {
    /// Where everything of this peer lies.
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<String>,
    /// Name of the cluster that this peer founds.
    #[arg(long, value_name = "NAME", global = true)]
    cluster: Option<String>,
    /// Ticket to join a cluster with, as `shoal cluster invite` prints it.
    #[arg(long, value_name = "TICKET", global = true)]
    join: Option<String>,
    /// Name of this peer for people.
    #[arg(long, value_name = "NAME", global = true)]
    name: Option<String>,
    /// What fails together with this peer; copies go to distinct zones.
    #[arg(long, value_name = "NAME", global = true)]
    zone: Option<String>,
    /// Bytes of blocks to hold, such as 500GB; 0 for a gateway.
    #[arg(long, value_name = "BYTES", global = true)]
    capacity: Option<String>,
    /// Bytes of memory for blocks that clients read, such as 512MiB; 0 for none.
    #[arg(long, value_name = "BYTES", global = true)]
    cache: Option<String>,
    /// Copies of every block in the cluster that this peer founds.
    #[arg(long, value_name = "N", global = true)]
    replicas: Option<String>,
    /// How long what was deleted can be restored in the cluster that this peer founds, such as 1h.
    #[arg(long, value_name = "TIME", global = true)]
    grace: Option<String>,
    /// How long a peer may be away before others take its place, such as 10m.
    #[arg(long, value_name = "TIME", global = true)]
    away: Option<String>,
    /// In what time to read everything again, to find what rotted, such as 30d.
    #[arg(long, value_name = "TIME", global = true)]
    scrub_within: Option<String>,
    /// Bytes per second at most that this peer copies to restore and move blocks, beside what others do, such as 50MiB.
    #[arg(long, value_name = "BYTES", global = true)]
    repair_rate: Option<String>,
    /// Whether to take work from busy peers.
    #[arg(long, value_name = "BOOL", global = true)]
    steal: Option<String>,
    /// Whether to take part among other clusters: to tell them what is public, and to know what they publish.
    #[arg(long, value_name = "BOOL", global = true)]
    federate: Option<String>,
    /// Entries of one other cluster's catalog to keep at most.
    #[arg(long, value_name = "N", global = true)]
    catalog_quota: Option<String>,
    /// Entries of all other clusters' catalogs to keep at most.
    #[arg(long, value_name = "N", global = true)]
    catalogs_quota: Option<String>,
    /// Id of another cluster to know of; all when none is given.
    #[arg(long, value_name = "ID", global = true)]
    allow_clusters: Vec<String>,
    /// Id of another cluster to want nothing of.
    #[arg(long, value_name = "ID", global = true)]
    block_clusters: Vec<String>,
    /// Bytes per second at most that other clusters may take of what is public, such as 32MiB.
    #[arg(long, value_name = "BYTES", global = true)]
    guest_rate: Option<String>,
    /// Address to listen on for peers.
    #[arg(long, value_name = "MULTIADDR", global = true)]
    listen: Vec<String>,
    /// Address of a peer to find the others by.
    #[arg(long, value_name = "MULTIADDR", global = true)]
    bootstrap: Vec<String>,
    /// Whether to find peers on the local network.
    #[arg(long, value_name = "BOOL", global = true)]
    mdns: Option<String>,
    /// Address of the HTTP API.
    #[arg(long, value_name = "ADDR", global = true)]
    http: Option<String>,
    /// Whether /metrics, /healthz and /readyz too want a token.
    #[arg(long, value_name = "BOOL", global = true)]
    private_metrics: Option<String>,
    /// What to log, such as info or info,node::net=debug.
    #[arg(long, value_name = "FILTER", global = true)]
    log: Option<String>,
    /// How to log: text or json.
    #[arg(long, value_name = "FORMAT", global = true)]
    log_format: Option<String>,
}

impl Flags {
    fn layer(&self) -> Layer {
        let one = [
            ("data-dir", &self.data_dir),
            ("cluster", &self.cluster),
            ("join", &self.join),
            ("name", &self.name),
            ("zone", &self.zone),
            ("capacity", &self.capacity),
            ("cache", &self.cache),
            ("replicas", &self.replicas),
            ("grace", &self.grace),
            ("away", &self.away),
            ("scrub-within", &self.scrub_within),
            ("repair-rate", &self.repair_rate),
            ("steal", &self.steal),
            ("federate", &self.federate),
            ("catalog-quota", &self.catalog_quota),
            ("catalogs-quota", &self.catalogs_quota),
            ("guest-rate", &self.guest_rate),
            ("mdns", &self.mdns),
            ("http", &self.http),
            ("private-metrics", &self.private_metrics),
            ("log", &self.log),
            ("log-format", &self.log_format),
        ];
        let many = [
            ("allow-clusters", &self.allow_clusters),
            ("block-clusters", &self.block_clusters),
            ("listen", &self.listen),
            ("bootstrap", &self.bootstrap),
        ];
        let list =
            |texts: &[String]| Value::Array(texts.iter().cloned().map(Value::String).collect());
        let one = one.into_iter().filter_map(|(key, text)| {
            Some((key.to_owned(), (Value::String(text.clone()?), Source::Flag)))
        });
        let many = many
            .into_iter()
            .filter(|(_, texts)| !texts.is_empty())
            .map(|(key, texts)| (key.to_owned(), (list(texts), Source::Flag)));
        one.chain(many).collect()
    }
}

impl Args {
    /// Returns the settings of file, environment and flags together.
    ///
    /// # Errors
    /// Every fault, one line each.
    pub(super) fn settings(&self) -> Result<Settings, Vec<String>> {
        let mut layers = Vec::new();
        if let Some(path) = &self.config {
            layers.push(config::file(path).map_err(|fault| vec![fault])?);
        }
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name != "SHOAL_CONFIG");
        layers.push(config::environment(variables));
        layers.push(self.flags.layer());
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let data_home =
            etcetera::choose_base_strategy().map(|dirs| dirs.data_dir().join("shoal")).map_err(
                |error| vec![format!("data-dir: there is no home directory ({error}); set it")],
            )?;
        let settings = Settings::read(layers, &host, data_home)?;
        Ok(Settings { moved: self.moved, ..settings })
    }
}
