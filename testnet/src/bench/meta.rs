//! Metadata: how many names three peers agree on in a second, and what a bucket of a million objects costs.
//!
//! A write is a copy of an object to a new name: one command that is agreed on, and no bytes. It is compared with what
//! the same file system does in the same run: appends of 4 KiB with a sync after each, by one writer; and with what the
//! same clients get answered when nothing is agreed on, which no rate of writes can exceed.
//! Never: counts a write that was not acknowledged.
#![expect(clippy::disallowed_methods, reason = "real processes live in real time")]

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use futures::future::try_join_all;
use protocol::Prng;
use protocol::api::{Listing, ObjectOp, Source};
use reqwest::Method;
use serde::Serialize;

use super::report::{Table, median};
use super::scratch::Scratch;
use crate::harness::{Testnet, UpOptions};
use crate::http::Http;
use crate::process;

/// Objects in the large bucket unless told otherwise.
pub(super) const OBJECTS_DEFAULT: u64 = 1_000_000;

/// Peers that agree, each with a copy of all metadata.
const PEERS: usize = 3;
/// How long one rate is measured.
const SPELL: Duration = Duration::from_secs(5);
/// Clients of the busy spell and of the filling.
const CLIENTS: u64 = 64;
/// Bytes of one raw append.
const APPEND_BYTES: usize = 4 << 10;
/// Objects when the first rate of creation is taken, and how many creations each of the two rates counts.
const FEW: u64 = 10_000;
/// See [`FEW`].
const COUNTED: u64 = 10_000;
/// Names of a page, and pages that are read.
const PAGE: u64 = 1_000;
/// See [`PAGE`].
const PAGES: usize = 300;

/// What was measured. Rates are per second.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Metadata {
    repetitions: u32,
    appends_per_s: f64,
    /// Of each of [`PEERS`] writers at once.
    shared_appends_per_s: f64,
    one_client_per_s: f64,
    one_client_ratio: f64,
    many_clients_per_s: f64,
    many_clients_ratio: f64,
    one_client_answers_per_s: f64,
    many_clients_answers_per_s: f64,
    /// Processor time of all daemons together for a write of one client, and of many, in microseconds.
    one_client_cpu_us: f64,
    many_clients_cpu_us: f64,
    large: Large,
}

/// What the large bucket costs.
#[derive(Clone, Debug, Serialize)]
struct Large {
    objects: u64,
    creates_per_s_few: f64,
    creates_per_s_all: f64,
    create_ratio: f64,
    page_p50_ms: f64,
    page_p99_ms: f64,
    /// From the start of a killed daemon until it is ready and knows all others.
    restart_s: f64,
    daemon_peak_bytes: Vec<u64>,
}

/// Measures the rates `repetitions` times, and fills a bucket with `objects` names once.
///
/// # Errors
/// A daemon failed, or did not do what it was asked for.
pub(super) async fn run(
    scratch: &Scratch,
    objects: u64,
    repetitions: u32,
) -> anyhow::Result<Metadata> {
    let options = UpOptions { nodes: vec![PEERS], ..UpOptions::default() };
    let mut net = Testnet::up(&scratch.path().join("net"), &options).await?;
    let measured = measure(scratch, &mut net, objects, repetitions).await;
    // Daemons do not outlive the benchmark, whatever happened.
    net.down()?;
    measured
}

async fn measure(
    scratch: &Scratch,
    net: &mut Testnet,
    objects: u64,
    repetitions: u32,
) -> anyhow::Result<Metadata> {
    let writer = Writer::new(net).await?;
    let (mut raw, mut shared) = (Vec::new(), Vec::new());
    let (mut one, mut many) = (Load::default(), Load::default());
    for repetition in 0..repetitions {
        raw.push(appends(scratch.path(), 1)?);
        shared.push(appends(scratch.path(), PEERS)?);
        for (clients, load) in [(1, &mut one), (CLIENTS, &mut many)] {
            let create = async |client: u64, count: u64| {
                writer.create(client, &format!("{clients}/{repetition}/{client}/{count}")).await
            };
            let (cpu_before, begin) = (cpu_s(net), Instant::now());
            let writes_per_s = spell(clients, create).await?;
            let writes = writes_per_s * begin.elapsed().as_secs_f64();
            load.cpu_us.push((cpu_s(net) - cpu_before) * 1e6 / writes);
            load.writes_per_s.push(writes_per_s);
            let answers = spell(clients, async |client, _| writer.ask(client).await).await?;
            load.answers_per_s.push(answers);
        }
    }
    let raw = median(raw);
    let [one_per_s, many_per_s] = [one.writes_per_s, many.writes_per_s].map(median);
    Ok(Metadata {
        repetitions,
        appends_per_s: raw,
        shared_appends_per_s: median(shared),
        one_client_per_s: one_per_s,
        one_client_ratio: one_per_s / raw,
        many_clients_per_s: many_per_s,
        many_clients_ratio: many_per_s / raw,
        one_client_answers_per_s: median(one.answers_per_s),
        many_clients_answers_per_s: median(many.answers_per_s),
        one_client_cpu_us: median(one.cpu_us),
        many_clients_cpu_us: median(many.cpu_us),
        large: large(net, &writer, objects).await?,
    })
}

/// What some clients at once were measured to get, once in each repetition.
#[derive(Debug, Default)]
struct Load {
    writes_per_s: Vec<f64>,
    answers_per_s: Vec<f64>,
    cpu_us: Vec<f64>,
}

/// Returns the seconds of processor time that all daemons have taken.
fn cpu_s(net: &Testnet) -> f64 {
    let nodes = net.state().clusters.iter().flat_map(|cluster| &cluster.nodes);
    nodes.filter_map(|node| process::cpu_s(node.pid)).sum()
}

async fn large(net: &mut Testnet, writer: &Writer, objects: u64) -> anyhow::Result<Large> {
    let fills = [
        (0, FEW.min(objects)),
        (FEW, (FEW + COUNTED).min(objects)),
        (FEW + COUNTED, objects.saturating_sub(COUNTED)),
        (objects.saturating_sub(COUNTED), objects),
    ];
    let mut rates = Vec::new();
    for (from, until) in fills {
        rates.push(if from < until { writer.fill(objects, from, until).await? } else { 0.0 });
    }
    let (few, all) = (rates[1], rates[3]);
    let mut pages = writer.pages(objects).await?;
    pages.sort_by(f64::total_cmp);
    let at = |percent: usize| pages[(pages.len() * percent).div_ceil(100).max(1) - 1];
    let pids = net.state().clusters.iter().flat_map(|cluster| &cluster.nodes);
    let peaks = pids.map(|node| process::peak_bytes(node.pid).unwrap_or(0)).collect();
    let last = net.state().clusters[0].nodes[PEERS - 1].name.clone();
    net.kill(&last)?;
    let begin = Instant::now();
    net.restart(&last).await?;
    Ok(Large {
        objects,
        creates_per_s_few: few,
        creates_per_s_all: all,
        create_ratio: all / few,
        page_p50_ms: at(50),
        page_p99_ms: at(99),
        restart_s: begin.elapsed().as_secs_f64(),
        daemon_peak_bytes: peaks,
    })
}

/// Returns how many appends, each with a sync, a file takes in a second while `writers` append to one each in `dir`.
fn appends(dir: &Path, writers: usize) -> anyhow::Result<f64> {
    let rates = thread::scope(|scope| {
        let paths = (0..writers).map(|writer| dir.join(format!("appends-{writer}")));
        let started: Vec<_> = paths.map(|path| scope.spawn(move || append_to(&path))).collect();
        let ended = started.into_iter().map(|writer| {
            writer.join().unwrap_or_else(|_| Err(anyhow!("a writer of raw appends panicked")))
        });
        ended.collect::<anyhow::Result<Vec<f64>>>()
    })?;
    Ok(rates.iter().sum::<f64>() / rates.len() as f64)
}

fn append_to(path: &Path) -> anyhow::Result<f64> {
    let piece = [7; APPEND_BYTES];
    let mut file = File::create(path).context("cannot write a file to measure the disk")?;
    let (begin, mut count) = (Instant::now(), 0_u32);
    while begin.elapsed() < SPELL {
        file.write_all(&piece)?;
        file.sync_data()?;
        count += 1;
    }
    let rate = f64::from(count) / begin.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(rate)
}

/// Gives one object many names.
struct Writer {
    http: Http,
    urls: Vec<String>,
}

impl Writer {
    async fn new(net: &Testnet) -> anyhow::Result<Self> {
        let nodes = &net.state().clusters.first().context("there is no cluster")?.nodes;
        let urls: Vec<String> = nodes.iter().map(|node| node.http.clone()).collect();
        let writer = Self { http: Http::new()?, urls };
        let url = format!("{}/api/v1/objects/meta/source", writer.urls[0]);
        let answer = writer.http.request(Method::PUT, &url).body("content").send().await?;
        ensure!(answer.status().is_success(), "the source was not stored: {}", answer.status());
        Ok(writer)
    }

    async fn create(&self, client: u64, key: &str) -> anyhow::Result<()> {
        let at = usize::try_from(client)? % self.urls.len();
        let url = format!("{}/api/v1/objects/meta/{key}", self.urls[at]);
        let from = Source { bucket: "meta".into(), key: "source".into(), version: None };
        let op = ObjectOp::Copy { from, tags: None, content_type: None };
        let answer = self.http.request(Method::POST, &url).json(&op).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{key} was not created: {status} {text}");
        Ok(())
    }

    /// Asks whether a peer lives: the cheapest answer there is.
    async fn ask(&self, client: u64) -> anyhow::Result<()> {
        let at = usize::try_from(client)? % self.urls.len();
        let answer =
            self.http.request(Method::GET, &format!("{}/healthz", self.urls[at])).send().await?;
        ensure!(answer.status().is_success(), "{} is not well", self.urls[at]);
        Ok(())
    }

    /// Creates the names with these numbers, in no order of their keys. Returns how many a second.
    async fn fill(&self, objects: u64, from: u64, until: u64) -> anyhow::Result<f64> {
        let next = Arc::new(AtomicU64::new(from));
        let begin = Instant::now();
        let client = async |client: u64| loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= until {
                return anyhow::Ok(());
            }
            self.create(client, &format!("large/{:08}", scattered(number, objects))).await?;
        };
        try_join_all((0..CLIENTS).map(client)).await?;
        Ok((until - from) as f64 / begin.elapsed().as_secs_f64())
    }

    /// Reads pages at any place of the bucket, through any peer; returns how long each took, in milliseconds.
    async fn pages(&self, objects: u64) -> anyhow::Result<Vec<f64>> {
        let mut prng = Prng::new(1);
        let mut took = Vec::new();
        for _ in 0..PAGES {
            let url = &self.urls[prng.index(self.urls.len()).unwrap_or(0)];
            let after = prng.below(objects.saturating_sub(PAGE).max(1));
            let url = format!(
                "{url}/api/v1/objects/meta?prefix=large/&after=large/{after:08}&limit={PAGE}"
            );
            let begin = Instant::now();
            let text = self.http.get(&url).await?;
            took.push(begin.elapsed().as_secs_f64() * 1e3);
            let page: Listing = serde_json::from_str(&text)?;
            let expected = PAGE.min(objects - after - 1);
            ensure!(page.objects.len() as u64 == expected, "{} names", page.objects.len());
        }
        Ok(took)
    }
}

/// Returns how many requests some clients make in a second, each one after the other.
async fn spell(
    clients: u64,
    request: impl AsyncFn(u64, u64) -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    let begin = Instant::now();
    let client = async |client: u64| {
        let mut count = 0_u64;
        while begin.elapsed() < SPELL {
            request(client, count).await?;
            count += 1;
        }
        anyhow::Ok(count)
    };
    let counts = try_join_all((0..clients).map(client)).await?;
    Ok(counts.iter().sum::<u64>() as f64 / begin.elapsed().as_secs_f64())
}

/// Returns the key's number of the `number`-th creation: each once, far from the one before.
const fn scattered(number: u64, objects: u64) -> u64 {
    // A prime that divides no sensible count.
    number * 611_953 % objects
}

impl Metadata {
    /// Returns the results as tables.
    pub(super) fn tables(&self) -> Vec<Table> {
        let title = format!("metadata: {PEERS} peers, medians of {}", self.repetitions);
        let mut rates = Table::new(title, &["", "per s", "ratio"]);
        for (what, per_s) in [
            ("raw: appends of 4 KiB, synced".into(), self.appends_per_s),
            (format!("raw: each of {PEERS} writers at once"), self.shared_appends_per_s),
            ("writes, 1 client".into(), self.one_client_per_s),
            (format!("writes, {CLIENTS} clients"), self.many_clients_per_s),
            ("answers without a write, 1 client".into(), self.one_client_answers_per_s),
            (
                format!("answers without a write, {CLIENTS} clients"),
                self.many_clients_answers_per_s,
            ),
        ] {
            rates.row([what, whole(per_s), format!("{:.2}", per_s / self.appends_per_s)]);
        }
        for (what, cpu_us) in [
            ("processor time of a write, 1 client, us".into(), self.one_client_cpu_us),
            (format!("processor time of a write, {CLIENTS} clients, us"), self.many_clients_cpu_us),
        ] {
            rates.row([what, whole(cpu_us), String::new()]);
        }
        let large = &self.large;
        let title = format!("a bucket of {} objects", large.objects);
        let mut table = Table::new(title, &["", ""]);
        let peaks = large.daemon_peak_bytes.iter().map(|bytes| (bytes >> 20).to_string());
        for (what, figure) in [
            (format!("creates/s at {FEW} objects"), whole(large.creates_per_s_few)),
            (format!("creates/s at {} objects", large.objects), whole(large.creates_per_s_all)),
            ("ratio of the two".into(), format!("{:.2}", large.create_ratio)),
            (format!("a page of {PAGE} names, p50, ms"), format!("{:.1}", large.page_p50_ms)),
            (format!("a page of {PAGE} names, p99, ms"), format!("{:.1}", large.page_p99_ms)),
            ("killed daemon until ready, s".into(), format!("{:.2}", large.restart_s)),
            ("peak memory of daemons, MiB".into(), peaks.collect::<Vec<_>>().join(" + ")),
        ] {
            table.row([what, figure]);
        }
        vec![rates, table]
    }
}

fn whole(figure: f64) -> String {
    format!("{figure:.0}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::scattered;

    #[test]
    fn every_key_is_created_once() {
        for objects in [1, 10, 30_000, 1_000_000] {
            let keys: BTreeSet<u64> =
                (0..objects).map(|number| scattered(number, objects)).collect();
            assert_eq!(keys.len() as u64, objects);
        }
    }
}
