//! Failure: what each peer answers while one of them is killed and comes back.
//!
//! The one that leads the agreement on names is killed, as nobody is missed more. Never: hides a request that nobody answered.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::figure::{Colour, Figure, Mark, Panel, Series, Shape, XAxis};
use super::load::{Ended, Habits, Load};
use super::series::{Looks, Sampler, Seen};
use crate::bench::scratch::Scratch;
use crate::bench::stock::{self, REPLICAS};
use crate::chaos::wait::{PATIENCE, pause, until};
use crate::harness::{Testnet, UpOptions};
use crate::http::Http;

const PEERS: usize = 5;
/// Objects that are read: so many, of so many bytes.
const OBJECTS: (u32, u64) = (200, 64 << 10);
const HABITS: Habits = Habits {
    clients: 40,
    stays: true,
    think: Duration::from_millis(100),
    write_each: 10,
    write_bytes: 64 << 10,
};
/// How often answers are counted.
const EVERY: Duration = Duration::from_millis(500);
/// How long it goes on before the kill, without the peer, and after its return.
const BEFORE: Duration = Duration::from_secs(8);
const WITHOUT: Duration = Duration::from_secs(8);
const AFTER: Duration = Duration::from_secs(8);

/// What was measured.
struct Failure {
    names: Vec<String>,
    killed: String,
    looks: Looks,
    ended: Ended,
    marks: Vec<Mark>,
}

/// Kills one of five peers and starts it again.
///
/// # Errors
/// A daemon failed, or a client got wrong bytes.
pub(super) async fn measure(scratch: &Scratch) -> anyhow::Result<Figure> {
    let options = UpOptions { nodes: vec![PEERS], replicas: REPLICAS, ..UpOptions::default() };
    let mut net = Testnet::up(&scratch.path().join("net"), &options).await?;
    let measured = run(&mut net).await;
    // Daemons do not outlive the picture, whatever happened.
    net.down()?;
    Ok(measured.context("failure")?.figure())
}

async fn run(net: &mut Testnet) -> anyhow::Result<Failure> {
    let http = Http::new()?;
    let urls = stock::urls(net);
    let kept = stock::fill(&http, &urls, (1_000_000, OBJECTS.0), OBJECTS.1).await?;
    let wanted = u64::from(REPLICAS) * u64::from(OBJECTS.0);
    until(PATIENCE, async || stock::ensure_whole(&http, &urls, wanted).await).await?;
    let leads = stock::each(&http, &urls, "shoal_meta_is_leader").await?;
    let nodes = net.state().clusters.iter().flat_map(|cluster| &cluster.nodes);
    let peers: Vec<_> = nodes.map(|node| (node.name.clone(), node.http.clone())).collect();
    let leader = peers.iter().zip(leads).find(|(_, leads)| *leads == 1);
    let ((killed, url), _) = leader.context("nobody leads")?;

    let load = Load::start(&http, peers.iter().cloned(), kept, HABITS);
    let endpoints = Arc::new(load.endpoints());
    let sampler = Sampler::start(EVERY, move || {
        let endpoints = Arc::clone(&endpoints);
        async move {
            let counters =
                endpoints.iter().map(|endpoint| (endpoint.name.clone(), endpoint.answered()));
            Some(Seen { counters: counters.collect(), ..Seen::default() })
        }
    });
    let mut marks = Vec::new();
    let mut mark = |what: String| {
        let x = sampler.now_s();
        marks.push(Mark { x, label: format!("{what} ({x:.1} s)") });
    };
    pause(BEFORE).await;
    mark(format!("{killed} killed"));
    net.kill(killed)?;
    pause(WITHOUT).await;
    mark(format!("{killed} started again"));
    let ready = async {
        let ready =
            until(PATIENCE, async || Ok(http.get(&format!("{url}/readyz")).await.map(drop)?));
        ready.await.map(|_| mark(format!("{killed} ready")))
    };
    tokio::try_join!(net.restart(killed), ready)?;
    pause(AFTER).await;
    let looks = sampler.end().await?;
    let ended = load.end().await?;
    ensure!(marks.len() == 3, "the peer is not back");
    let names = peers.iter().map(|(name, _)| name.clone()).collect();
    Ok(Failure { names, killed: killed.clone(), looks, ended, marks })
}

impl Failure {
    fn figure(self) -> Figure {
        let colours = [Colour::Blue, Colour::Orange, Colour::Green, Colour::Purple, Colour::Sky];
        // The killed one last, over the others.
        let survivors = self.names.iter().filter(|name| **name != self.killed);
        let mut series: Vec<Series> = survivors
            .zip(colours)
            .map(|(name, colour)| self.series(name, name.clone(), colour, Shape::Line))
            .collect();
        let told = format!("{} (killed)", self.killed);
        series.push(self.series(&self.killed, told, Colour::Vermillion, Shape::ThickLine));
        let panel = Panel {
            x: XAxis::numbers("time, s"),
            y_label: "answered requests per second".to_owned(),
            series,
            marks: self.marks,
            ..Panel::default()
        };
        let Ended { passed_on, unanswered } = self.ended;
        let caption = format!(
            "{PEERS} peers, {REPLICAS} copies of every block. {} clients, as many at each peer, wait for an answer however long it takes, and ask any other peer \
            when their own does not answer; each pauses {} ms on average before its next request. Nine of ten requests read one of {} objects of {} KiB, every \
            byte compared; one stores a new object of {} KiB under a name of its own. The killed peer (SIGKILL) led the agreement: until another one leads, \
            requests wait, as tokens and names are looked up in what is agreed. Whole answers counted by the clients every {} ms, not smoothed. \
            {passed_on} times a client went to another peer; {unanswered} requests were answered by nobody.",
            HABITS.clients,
            HABITS.think.as_millis(),
            OBJECTS.0,
            OBJECTS.1 >> 10,
            HABITS.write_bytes >> 10,
            EVERY.as_millis(),
        );
        Figure {
            name: "failure",
            title: "Requests that each peer answers while one is killed and comes back".to_owned(),
            columns: 1,
            panels: vec![panel],
            caption,
        }
    }

    fn series(&self, name: &str, told: String, colour: Colour, shape: Shape) -> Series {
        let points = self.looks.rates(|counter| counter == name);
        Series { name: told, colour, shape, points }
    }
}
