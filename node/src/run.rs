//! One life of the daemon, from a free data directory to a clean end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use node::api::http::{self, Api};
use node::config::Settings;
use node::disk::RealDisk;
use node::env::Disk;
use node::env::real::RealEnv;
use node::index::Index;
use node::net::{NetSettings, RealNet};
use node::peers::Placements;
use node::store::StoreSettings;
use node::{
    CatalogQuota, Entry, Federation, Founding, HealSettings, MetaProbe, Node, NodeSettings,
    Planted, WorkSettings, access, is_settled,
};
use prometheus_client::registry::Registry;
use protocol::metadata::DisplayName;
use protocol::repair::{BudgetSettings, ScrubSettings};
use protocol::transfer::SpreadRule;
use protocol::{Fault, Kind, byte_count};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::data_dir::{DataDir, new_cluster_name};

/// Connections to other peers, of any cluster.
const CONNECTIONS_MAX: u32 = 512;

/// Other clusters that are known at a time: some 2 KiB each.
const CLUSTERS_MAX: usize = 10_000;

/// Memory of the process, its cache aside, above which it makes and takes no new connection.
const MEMORY_BYTES_MAX: usize = 1 << 30;

/// How long a clean end may take before the process goes anyway. What is acknowledged is durable already.
const STOP_TIMEOUT: Duration = Duration::from_secs(40);

/// Serves until a signal, and stops cleanly.
///
/// # Errors
/// Whatever keeps the daemon from starting, and a failed disk or a defect that ends it.
pub(super) async fn run(settings: Settings) -> anyhow::Result<()> {
    let data_dir = DataDir::take(&settings.data_dir)?;
    let key = data_dir.key()?;
    data_dir.check_place(settings.moved)?;
    let listener = TcpListener::bind(settings.http).await.with_context(|| {
        format!("cannot listen for HTTP on {}: choose another with --http", settings.http)
    })?;
    // Where any port would do, the one that was taken.
    let http = listener.local_addr().context("the HTTP listener has no address")?;
    let disk = RealDisk::open(data_dir.path())
        .with_context(|| format!("cannot open what lies in {}", data_dir.path().display()))?;
    let capacity_bytes = match settings.capacity_bytes {
        Some(bytes) => bytes,
        None => disk.space().await.context("cannot measure the disk")?.total_bytes / 10 * 9,
    };
    let net = RealNet::start(&NetSettings {
        key,
        listen: settings.listen.clone(),
        bootstrap: settings.bootstrap.clone(),
        mdns: settings.mdns,
        connections_max: CONNECTIONS_MAX,
        memory_bytes_max: usize::try_from(settings.cache_bytes)
            .map_or(usize::MAX, |cache_bytes| MEMORY_BYTES_MAX.saturating_add(cache_bytes)),
        guest_rate: settings.guest_rate,
        agent_version: concat!("shoal/", env!("CARGO_PKG_VERSION")).to_owned(),
    })
    .context("cannot listen for peers")?;

    let failed = CancellationToken::new();
    let runtime = tokio::runtime::Handle::current();
    let env = RealEnv::new(runtime, net.clone(), disk.clone(), failed.clone());
    let entry = match &settings.join {
        Some(ticket) => Entry::Join(ticket.clone()),
        None if is_settled(&env).await? => Entry::Stay,
        None => Entry::Found(Founding {
            cluster_name: named(&settings.cluster.clone().unwrap_or_else(new_cluster_name))?,
            admin_token_hash: access::hash_of(&data_dir.admin_token()?),
            replicas: settings.replicas,
            grace_ms: u64::try_from(settings.grace.as_millis()).unwrap_or(u64::MAX),
        }),
    };
    let founds = matches!(entry, Entry::Found(_));
    let index = Index::open(&data_dir.path().join("names"))
        .map_err(|fault| anyhow::anyhow!("{}", fault.detail))?;
    let federation = match settings.federate {
        true => Some(Federation {
            index: Index::open(&data_dir.path().join("catalogs"))
                .map_err(|fault| anyhow::anyhow!("{}", fault.detail))?,
            quota: CatalogQuota {
                clusters: CLUSTERS_MAX,
                entries_of_one: settings.catalog_quota,
                entries: settings.catalogs_quota,
                allowed: settings.allow_clusters.clone(),
                blocked: settings.block_clusters.clone(),
            },
        }),
        false => None,
    };
    let node = Node::start(
        env,
        NodeSettings {
            entry,
            name: named(&settings.name)?,
            zone: settings.zone.clone(),
            store: StoreSettings::with_capacity(capacity_bytes),
            cache_bytes: settings.cache_bytes,
            heal: HealSettings::with_away(settings.away),
            spread: SpreadRule::default(),
            work: WorkSettings {
                budget: BudgetSettings::at_most(settings.repair_rate),
                steals: settings.steal,
            },
            scrub: ScrubSettings { pass: settings.scrub_within, ..ScrubSettings::default() },
            index: Some(index),
            federation,
            placements: Placements::default(),
            planted: Planted::default(),
            meta: MetaProbe::default(),
        },
    )
    .await?;

    let mut registry = Registry::with_prefix("shoal");
    node.register_metrics(&mut registry);
    net.metrics().register(&mut registry);
    disk.register_metrics(&mut registry);
    let api = Arc::new(Api {
        node: node.clone(),
        registry,
        stopping: AtomicBool::new(false),
        private_metrics: settings.private_metrics,
    });
    let stop = CancellationToken::new();
    let server = tokio::spawn(http::serve(listener, http::router(Arc::clone(&api)), stop.clone()));
    info!(
        cluster = %node.cluster(),
        peer = %node.peers().view().own(),
        %http,
        capacity = %byte_count::format(capacity_bytes),
        used = %byte_count::format(node.usage().used_bytes),
        "daemon started"
    );

    if founds {
        tell_founder(&data_dir.admin_token()?);
    }
    if !settings.http.ip().is_loopback() {
        warn!(%http, "the API is not encrypted: who listens in on the way to it can read tokens; put a TLS proxy in front");
    }

    let outcome = until_the_end(&node, &failed).await;
    api.stopping.store(true, Ordering::Relaxed);
    stop.cancel();
    let clean = async {
        if let Err(error) = server.await {
            warn!(err = %error, "HTTP server ended badly");
        }
        node.stop().await;
        net.stop().await;
        disk.close().await;
    };
    if tokio::time::timeout(STOP_TIMEOUT, clean).await.is_err() {
        warn!("the clean end took too long");
    }
    drop(data_dir);
    info!("daemon stopped");
    outcome
}

/// Returns at the first signal, or with the reason why this daemon cannot go on. After a signal, the next
/// one ends the process at once.
async fn until_the_end(node: &Node<RealEnv>, failed: &CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
    tokio::select! {
        biased; // a failure matters more than the wish to stop
        reason = node.failed() => bail!(told(&reason)),
        () = failed.cancelled() => bail!("a task panicked; its message is in the log"),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!("stopping: requests under way may end; a second signal stops at once");
    tokio::spawn(async move {
        tokio::select! {
            biased; // either will do
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(1);
    });
    Ok(())
}

/// Returns what the owner is told of why the peer cannot go on.
fn told(reason: &Fault) -> String {
    let Fault { kind, detail, .. } = reason;
    if *kind == Kind::Conflict {
        return detail.clone();
    }
    format!(
        "the disk failed: {detail}; nothing acknowledged was lost, but check the device before starting again"
    )
}

/// Returns a name that people gave.
fn named(text: &str) -> anyhow::Result<DisplayName> {
    DisplayName::new(text).map_err(|error| anyhow::anyhow!("{error}"))
}

/// Tells who founded a cluster how to be its administrator. Printed this once; the file stays.
#[expect(
    clippy::print_stdout,
    reason = "a secret belongs on the terminal of who started this, not in the log"
)]
fn tell_founder(token: &str) {
    println!(
        "A new cluster was founded. Its administrator's token, which lies in the file admin-token too:"
    );
    println!("{token}");
}
