//! Healing: what lacks and what is copied while a peer joins, and while one is lost for good.
//!
//! Copies are counted at those who hold them, beside what peers say of what lacks. Never: has clients; what is copied is for healing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use protocol::api::RepairStatus;

use super::figure::{Colour, Figure, Mark, Panel, Point, Series, Shape, XAxis};
use super::series::{Looks, Sampler, Seen};
use crate::bench::scratch::Scratch;
use crate::bench::stock::{self, REPLICAS};
use crate::chaos::wait::{pause, until};
use crate::harness::{Testnet, UpOptions};
use crate::http::{Http, metric_in};

const PEERS: usize = 5;
/// Objects of one block each: so many, of so many bytes.
const OBJECTS: (u32, u64) = (2_400, 256 << 10);
/// How long a peer is away before others take its place; after how long differences are repaired, and what others hold dropped.
const AWAY_S: u64 = 2;
/// What every peer offers, so that all have the same share.
const CAPACITY: &str = "200GB";
/// Who is lost.
const LOST: &str = "a4";
/// How often peers are asked.
const EVERY: Duration = Duration::from_millis(250);
/// How long it goes on where nothing happens.
const REST: Duration = Duration::from_secs(3);
/// How long moving may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// Bytes of blocks made durable, of each peer.
const MADE: &str = "shoal_store_block_bytes_total";
/// Blocks that peers say lack copies, and copies that there are in all.
const SAID: &str = "said";
const HELD: &str = "held";

/// Who is asked; of those that have answered, an answer is waited for.
#[derive(Debug)]
struct Asked {
    http: Http,
    urls: Mutex<(Vec<String>, BTreeSet<String>)>,
}

/// Lets a peer join, and then loses another.
///
/// # Errors
/// A daemon failed, or healing did not end.
pub(super) async fn measure(scratch: &Scratch) -> anyhow::Result<Figure> {
    let away = format!("{AWAY_S}s");
    let flags = ["--away", &away, "--capacity", CAPACITY].map(str::to_owned).to_vec();
    let options =
        UpOptions { nodes: vec![PEERS], replicas: REPLICAS, flags, ..UpOptions::default() };
    let mut net = Testnet::up(&scratch.path().join("net"), &options).await?;
    let measured = run(&mut net, &options.flags).await;
    // Daemons do not outlive the picture, whatever happened.
    net.down()?;
    let (looks, marks) = measured.context("healing")?;
    Ok(figure(&looks, &marks))
}

async fn run(net: &mut Testnet, flags: &[String]) -> anyhow::Result<(Looks, Vec<Mark>)> {
    let http = Http::new()?;
    let urls = stock::urls(net);
    stock::fill(&http, &urls, (1, OBJECTS.0), OBJECTS.1).await?;
    let objects = u64::from(OBJECTS.0);
    stock::settled(&http, &urls, objects, PATIENCE).await.context("stored")?;

    let asked = Arc::new(Asked { http: http.clone(), urls: Mutex::new((urls, BTreeSet::new())) });
    let own = Arc::clone(&asked);
    let sampler = Sampler::start(EVERY, move || {
        let asked = Arc::clone(&own);
        async move { asked.look().await }
    });
    let mut marks = Vec::new();
    let mut mark = |label: String| marks.push(Mark { x: sampler.now_s(), label });
    pause(REST).await;

    mark("a sixth peer starts".to_owned());
    let name = net.begin_add(None, flags).await?;
    asked.change(|urls| urls.push(net_url(net, &name)));
    net.finish_add(&name).await?;
    mark("it is ready, all know it".to_owned());
    stock::joined(&http, &stock::urls(net), objects, PATIENCE).await.context("a join")?;
    mark("it holds its share".to_owned());
    pause(REST).await;

    let lost = net_url(net, LOST);
    asked.change(|urls| urls.retain(|url| *url != lost));
    mark("one is lost for good".to_owned());
    net.wipe(LOST)?;
    let wanted = u64::from(REPLICAS) * objects;
    until(PATIENCE, async || stock::ensure_whole(&http, &stock::urls(net), wanted).await)
        .await
        .context("a loss")?;
    mark("all copies are there again".to_owned());
    pause(REST).await;
    Ok((sampler.end().await?, marks))
}

/// Returns the address of a node that there is.
fn net_url(net: &Testnet, name: &str) -> String {
    net.state().node(name).map_or(String::new(), |node| node.http.clone())
}

impl Asked {
    fn change(&self, change: impl FnOnce(&mut Vec<String>)) {
        // A panic elsewhere leaves a list as it is.
        change(&mut self.urls.lock().unwrap_or_else(PoisonError::into_inner).0);
    }

    /// Asks every peer how it stands; `None` when one does not answer that did before, as a sum without it would be wrong.
    async fn look(&self) -> Option<Seen> {
        let (urls, known) = self.urls.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (mut counters, mut held, mut said) = (BTreeMap::new(), 0, RepairStatus::default());
        for url in urls {
            let Ok((made, blocks, status)) = self.ask(&url).await else {
                if known.contains(&url) {
                    return None;
                }
                continue;
            };
            self.urls.lock().unwrap_or_else(PoisonError::into_inner).1.insert(url.clone());
            counters.insert(url, made);
            held += blocks;
            said = said.and(&status);
        }
        let gauges = [(HELD, held as f64), (SAID, said.blocks_missing_copies as f64)];
        Some(Seen { counters, gauges: gauges.into() })
    }

    async fn ask(&self, url: &str) -> anyhow::Result<(u64, u64, RepairStatus)> {
        let text = self.http.get(&format!("{url}/metrics")).await?;
        let (made, blocks) = (metric_in(&text, MADE)?, metric_in(&text, "shoal_store_blocks")?);
        let status = self.http.get(&format!("{url}/api/v1/repair")).await?;
        Ok((made, blocks, serde_json::from_str(&status)?))
    }
}

fn figure(looks: &Looks, marks: &[Mark]) -> Figure {
    let wanted = f64::from(REPLICAS) * f64::from(OBJECTS.0);
    let held = looks.gauge(HELD);
    let counted = |of: fn(f64) -> f64| {
        held.iter().map(|point| Point::new(point.x, of(wanted - point.y).max(0.0))).collect()
    };
    let line = |name: &str, colour, points| Series {
        name: name.to_owned(),
        colour,
        shape: Shape::Line,
        points,
    };
    let rates = looks.rates(|_| true);
    let rates = rates.into_iter().map(|point| Point { y: point.y / 1e6, ..point }).collect();
    // Rates end midway between the last two looks.
    let x = XAxis { end: looks.end_s(), ..XAxis::numbers("time, s") };
    let panels = vec![
        Panel {
            x: x.clone(),
            y_label: "blocks".to_owned(),
            series: vec![
                line("copies that lack, counted", Colour::Vermillion, counted(|lack| lack)),
                line("copies too many, counted", Colour::Sky, counted(|lack| -lack)),
                line("blocks that lack a copy, as peers say", Colour::Ink, looks.gauge(SAID)),
            ],
            marks: marks.to_vec(),
            ..Panel::default()
        },
        Panel {
            x,
            y_label: "MB per second".to_owned(),
            series: vec![line("copied, all peers together", Colour::Blue, rates)],
            marks: marks.iter().map(|mark| Mark { label: String::new(), ..*mark }).collect(),
            ..Panel::default()
        },
    ];
    let caption = format!(
        "{PEERS} peers with {} blocks of {} KiB in {REPLICAS} copies; a sixth one joins; then one of the six is killed (SIGKILL) and its disk destroyed. \
        --away {AWAY_S}s: who is away is replaced after {AWAY_S} s (10 minutes unless told), and differences are repaired as long after they were seen. No \
        clients. Every peer asked every {} ms, not smoothed; counted: copies held by the peers that run, against those wanted.",
        OBJECTS.0,
        OBJECTS.1 >> 10,
        EVERY.as_millis(),
    );
    Figure {
        name: "healing",
        title: "Rebalance when a peer joins, and repair when one is lost for good".to_owned(),
        columns: 1,
        panels,
        caption,
    }
}
