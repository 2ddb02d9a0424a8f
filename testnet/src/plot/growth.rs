//! Growth: what each peer has to do and to hold as peers are added, under the same clients.
//!
//! Never: begins to measure before what the newcomer should hold is there, and what others should not hold is gone.
#![expect(clippy::disallowed_methods, reason = "real processes live in real time")]

use std::time::{Duration, Instant};

use anyhow::Context;

use super::figure::{Colour, Figure, Panel, Point, Series, Shape, XAxis};
use super::load::{Habits, Load};
use crate::bench::scratch::Scratch;
use crate::bench::stock::{self, REPLICAS};
use crate::chaos::wait::pause;
use crate::harness::{Testnet, UpOptions};
use crate::http::Http;
use crate::process;

/// Peers at first, and in the end.
const PEERS: (usize, usize) = (3, 7);
/// Objects of one block each: so many, of so many bytes.
const OBJECTS: (u32, u64) = (600, 64 << 10);
const HABITS: Habits = Habits {
    clients: 40,
    stays: false,
    think: Duration::from_millis(100),
    write_each: 0,
    write_bytes: 0,
};
/// How long the load is measured at each number of peers.
const MEASURED: Duration = Duration::from_secs(4);
/// After how long differences are repaired, and what others hold dropped; what every peer offers, so that all have the same share.
const FLAGS: [&str; 4] = ["--away", "2s", "--capacity", "200GB"];
/// How long moving may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// What was measured at one number of peers; of each peer, in order.
struct Stage {
    peers: usize,
    requests_per_s: Vec<f64>,
    /// Processor time per time.
    processors: Vec<f64>,
    blocks: Vec<f64>,
    /// Blocks that were copied as the last one joined.
    moved: Option<f64>,
}

/// Adds peers one by one.
///
/// # Errors
/// A daemon failed, or moving did not end.
pub(super) async fn measure(scratch: &Scratch) -> anyhow::Result<Figure> {
    let flags = FLAGS.map(str::to_owned).to_vec();
    let options =
        UpOptions { nodes: vec![PEERS.0], replicas: REPLICAS, flags, ..UpOptions::default() };
    let mut net = Testnet::up(&scratch.path().join("net"), &options).await?;
    let measured = run(&mut net, &options.flags).await;
    // Daemons do not outlive the picture, whatever happened.
    net.down()?;
    Ok(figure(&measured.context("growth")?))
}

async fn run(net: &mut Testnet, flags: &[String]) -> anyhow::Result<Vec<Stage>> {
    let http = Http::new()?;
    let kept = stock::fill(&http, &stock::urls(net), (1, OBJECTS.0), OBJECTS.1).await?;
    let nodes = net.state().clusters.iter().flat_map(|cluster| &cluster.nodes);
    let peers: Vec<_> = nodes.map(|node| (node.name.clone(), node.http.clone())).collect();
    let load = Load::start(&http, peers, kept, HABITS);
    let objects = u64::from(OBJECTS.0);
    let mut stages = Vec::new();
    for peers in PEERS.0..=PEERS.1 {
        let mut moved = None;
        if peers > PEERS.0 {
            let before = made(&http, net).await?;
            let name = net.add(None, flags).await?;
            load.include(name.clone(), net.state().node(&name)?.http.clone());
            let joined = stock::joined(&http, &stock::urls(net), objects, PATIENCE).await;
            joined.with_context(|| format!("{peers} peers"))?;
            moved = Some((made(&http, net).await? - before) as f64 / OBJECTS.1 as f64);
        } else {
            let settled = stock::settled(&http, &stock::urls(net), objects, PATIENCE).await;
            settled.context("stored")?;
        }
        stages.push(stage(&http, net, &load, moved).await?);
    }
    load.end().await?;
    Ok(stages)
}

/// Returns the bytes of all copies that were ever made.
async fn made(http: &Http, net: &Testnet) -> anyhow::Result<u64> {
    stock::sum(http, &stock::urls(net), "shoal_store_block_bytes_total").await
}

/// Measures the load of those who are there.
async fn stage(
    http: &Http,
    net: &Testnet,
    load: &Load,
    moved: Option<f64>,
) -> anyhow::Result<Stage> {
    let answered = || load.endpoints().iter().map(|peer| peer.answered() as f64).collect();
    let pids = net.state().clusters.iter().flat_map(|cluster| &cluster.nodes).map(|node| node.pid);
    let pids: Vec<u32> = pids.collect();
    let cpu = || pids.iter().map(|pid| process::cpu_s(*pid).unwrap_or(0.0)).collect();
    let begun = Instant::now();
    let before: [Vec<f64>; 2] = [answered(), cpu()];
    pause(MEASURED).await;
    let (elapsed_s, after) = (begun.elapsed().as_secs_f64(), [answered(), cpu()]);
    let [requests_per_s, processors] = [0, 1].map(|what| {
        let pairs =
            after.get(what).into_iter().flatten().zip(before.get(what).into_iter().flatten());
        pairs.map(|(after, before)| (after - before) / elapsed_s).collect()
    });
    let held = stock::each(http, &stock::urls(net), "shoal_store_blocks").await?;
    let blocks = held.into_iter().map(|blocks| blocks as f64).collect();
    Ok(Stage { peers: pids.len(), requests_per_s, processors, blocks, moved })
}

fn figure(stages: &[Stage]) -> Figure {
    let each = |title: &str, y_label: &str, of: fn(&Stage) -> &[f64]| {
        let points = stages.iter().zip(0u32..);
        let points = points.filter_map(|(stage, at)| Point::mean_of(at.into(), of(stage)));
        let name = "mean of the peers; whiskers: least and most loaded peer".to_owned();
        let points = points.collect();
        panel(
            stages,
            title,
            y_label,
            vec![Series { name, colour: Colour::Blue, shape: Shape::Whiskers, points }],
        )
    };
    let of_joins = |name: &str, colour, shape, of: &dyn Fn(&Stage) -> Option<f64>| {
        let points = stages.iter().zip(0u32..);
        let points = points.filter_map(|(stage, at)| Some(Point::new(at.into(), of(stage)?)));
        Series { name: name.to_owned(), colour, shape, points: points.collect() }
    };
    let copies = f64::from(REPLICAS) * f64::from(OBJECTS.0);
    let moved =
        of_joins("copied when the last of them joined", Colour::Orange, Shape::Bars, &|stage| {
            stage.moved
        });
    let least = of_joins("an equal share of all copies", Colour::Ink, Shape::Level, &|stage| {
        stage.moved.map(|_| copies / stage.peers as f64)
    });
    let panels = vec![
        each("Requests", "requests/s per peer", |stage| &stage.requests_per_s),
        each("Processor time", "processors per peer", |stage| &stage.processors),
        each("Stored", "blocks per peer", |stage| &stage.blocks),
        panel(stages, "Moved by a join", "blocks", vec![moved, least]),
    ];
    let caption = format!(
        "{} blocks of {} KiB in {REPLICAS} copies. {} clients ask the peers in turn, each {} ms on average after its last answer, for one of the blocks, and \
        compare every byte. Measured for {} s at each number of peers, once all copies are where they belong and no others are left; clients go on while a \
        peer joins. Requests counted by the clients, processor time by the system, blocks by the peers.",
        OBJECTS.0,
        OBJECTS.1 >> 10,
        HABITS.clients,
        HABITS.think.as_millis(),
        MEASURED.as_secs(),
    );
    Figure {
        name: "growth",
        title: "Load of each peer as peers are added, under the same clients".to_owned(),
        columns: 2,
        panels,
        caption,
    }
}

fn panel(stages: &[Stage], title: &str, y_label: &str, series: Vec<Series>) -> Panel {
    let names = stages.iter().map(|stage| stage.peers.to_string()).collect();
    let x = XAxis::names("peers", names);
    Panel { title: title.to_owned(), x, y_label: y_label.to_owned(), series, ..Panel::default() }
}
