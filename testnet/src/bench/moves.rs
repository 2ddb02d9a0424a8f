//! Moves: what joining and draining cost, and that nobody notices.
//!
//! A sixth peer joins five, and one of the six is drained and killed as soon as that is done, while clients read and write.
//! Every copy that was made anywhere is counted by its maker, and those of what clients wrote meanwhile are taken off. Never: judges time.
#![expect(clippy::disallowed_methods, reason = "real processes live in real time")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use protocol::api::Peer;
use reqwest::Method;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::readers::{Latencies, Readers, tell};
use super::report::Table;
use super::scratch::Scratch;
use super::stock::{self, Kept, REPLICAS};
use crate::chaos::wait::{pause, until};
use crate::content::Content;
use crate::harness::{Testnet, UpOptions};
use crate::http::Http;

/// Bytes that are stored unless told otherwise, each copy counted once.
pub(super) const SIZE_DEFAULT: u64 = 1 << 30;

/// Bytes of an object: one block.
const BLOCK_BYTES: u64 = 256 << 10;
/// Peers before one joins.
const PEERS: usize = 5;
/// Who is drained.
const DRAINED: &str = "a1";

/// After how long differences are repaired, and what others hold dropped.
const SETTLE: &str = "2s";
/// What every peer offers, so that all have the same share.
const CAPACITY: &str = "200GB";
/// Readers, and their pause between two reads.
const READERS: (u64, Duration) = (4, Duration::from_millis(50));
/// Pause of the writer between two objects.
const WRITER_PAUSE: Duration = Duration::from_millis(100);
/// How long reads are measured before anything moves.
const BEFORE: Duration = Duration::from_secs(10);
/// How long one request waits for the end of a drain; it is asked again then.
const DRAIN_WAIT: Duration = Duration::from_secs(20);
/// How long moving may take altogether.
const PATIENCE: Duration = Duration::from_secs(1_200);

/// Wanted: most bytes moved over the least possible, and the fullest peer over its share.
const MOVED_WANTED: f64 = 1.10;
/// See [`MOVED_WANTED`].
const FULLEST_WANTED: f64 = 1.10;

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Moves {
    size_bytes: u64,
    blocks: u32,
    block_bytes: u64,
    join: Move,
    drain: Move,
    /// Objects written while things moved.
    written: u64,
    writes_failed: u64,
    reads_failed: u64,
    reads_before: Latencies,
    /// Objects that could not be read after the drained peer was killed.
    unreadable: usize,
}

/// One change of who is there.
#[derive(Clone, Debug, Serialize)]
struct Move {
    bytes_moved: u64,
    /// The share of who joined; what who was drained held.
    bytes_least: u64,
    ratio: f64,
    fullest_over_share: f64,
    /// Until it was done: no copy lacked and none was left over; the drain had returned.
    took_s: f64,
    reads: Latencies,
}

/// Lets one join and drains another.
///
/// # Errors
/// A daemon failed, or moving did not end.
pub(super) async fn run(scratch: &Scratch, size: u64) -> anyhow::Result<Moves> {
    let blocks = u32::try_from(size.div_ceil(BLOCK_BYTES))?;
    let flags = ["--away", SETTLE, "--capacity", CAPACITY].map(str::to_owned).to_vec();
    let options =
        UpOptions { nodes: vec![PEERS], replicas: REPLICAS, flags, ..UpOptions::default() };
    let mut net = Testnet::up(&scratch.path().join("net"), &options).await?;
    let measured = measure(&mut net, blocks, &options.flags).await;
    // Daemons do not outlive the benchmark, whatever happened.
    net.down()?;
    measured
}

async fn measure(net: &mut Testnet, blocks: u32, flags: &[String]) -> anyhow::Result<Moves> {
    let http = Http::new()?;
    let urls = stock::urls(net);
    let mut kept = stock::fill(&http, &urls, (1, blocks), BLOCK_BYTES).await?;
    stock::settled(&http, &urls, u64::from(blocks), PATIENCE).await.context("stored")?;

    let clients = Clients::start(&http, &urls, &kept, blocks + 1);
    let begun = Instant::now();
    pause(BEFORE).await;
    let joins = Instant::now();
    let join = join(net, &http, &clients, flags).await.context("a join")?;
    let joined = Instant::now();
    let drain = drain(net, &http, &clients).await.context("a drain")?;
    let drained = Instant::now();

    // It is safe to lose it now, or the drain was none.
    let lost = net.state().node(DRAINED)?.http.clone();
    clients.exclude(&lost).await;
    net.wipe(DRAINED)?;
    let (reads, written, writes_failed) = clients.end().await?;
    kept.extend(written.iter().cloned());
    let unreadable = stock::unreadable(&http, &stock::urls(net), &kept).await;
    let (reads_failed, failures) = reads.failed();
    tell(failures.iter().chain(unreadable.first()));
    Ok(Moves {
        size_bytes: u64::from(blocks) * BLOCK_BYTES,
        blocks,
        block_bytes: BLOCK_BYTES,
        join: Move { reads: reads.between(joins, joined), ..join },
        drain: Move { reads: reads.between(joined, drained), ..drain },
        written: written.len() as u64,
        writes_failed,
        reads_failed,
        reads_before: reads.between(begun, joins),
        unreadable: unreadable.len(),
    })
}

/// A sixth peer joins; returns once it holds its share, and nobody holds what is not his.
async fn join(
    net: &mut Testnet,
    http: &Http,
    clients: &Clients,
    flags: &[String],
) -> anyhow::Result<Move> {
    let (before, written) = (made(http, net).await?, clients.written());
    let begun = Instant::now();
    let name = net.add(None, flags).await?;
    clients.include(net.state().node(&name)?.http.clone()).await;
    let urls = stock::urls(net);
    // What is written meanwhile has copies on their way: its last ones are waited for when writing rests.
    until(PATIENCE, async || {
        let (held, objects) = (stock::copies(http, &urls).await?, clients.objects());
        let newcomer = stock::copies(http, urls.get(PEERS..).unwrap_or_default()).await?;
        let wanted = objects * u64::from(REPLICAS);
        ensure!(newcomer * 10 > wanted / urls.len() as u64 * 8, "it holds {newcomer} of {wanted}");
        ensure!(held <= wanted + wanted / 100, "{held} copies instead of {wanted}");
        Ok(())
    })
    .await?;
    let resting = clients.rest().await;
    stock::settled(http, &urls, clients.objects(), PATIENCE).await?;
    let took_s = begun.elapsed().as_secs_f64();
    let held = stock::each(http, &urls, "shoal_store_blocks").await?;
    let moved = made(http, net).await? - before;
    let own = (clients.written() - written) * u64::from(REPLICAS) * BLOCK_BYTES;
    drop(resting);
    let least = held.iter().sum::<u64>() * BLOCK_BYTES / held.len() as u64;
    Ok(Move::of(moved.saturating_sub(own), least, &held, took_s))
}

/// One peer gives away what it holds; returns when it said so.
async fn drain(net: &Testnet, http: &Http, clients: &Clients) -> anyhow::Result<Move> {
    let urls = stock::urls(net);
    let own = net.state().node(DRAINED)?;
    let others: Vec<String> = urls.iter().filter(|url| **url != own.http).cloned().collect();
    let asked = others.first().context("others run")?;
    let wait_ms = DRAIN_WAIT.as_millis();
    let path = format!("{asked}/api/v1/cluster/peers/{}/drain?wait_ms={wait_ms}", own.peer_id);
    let (before, written) = (made(http, net).await?, clients.written());
    let least = http.metric(&own.http, "shoal_store_blocks").await? * BLOCK_BYTES;
    let begun = Instant::now();
    until(PATIENCE, async || {
        let answer = http.request(Method::POST, &path).send().await?.error_for_status()?;
        let seen: Peer = serde_json::from_str(&answer.text().await?)?;
        ensure!(seen.drained, "it is not drained yet");
        Ok(())
    })
    .await?;
    let took_s = begun.elapsed().as_secs_f64();
    let moved = made(http, net).await? - before;
    let own = (clients.written() - written) * u64::from(REPLICAS) * BLOCK_BYTES;
    let held = stock::each(http, &others, "shoal_store_blocks").await?;
    Ok(Move::of(moved.saturating_sub(own), least, &held, took_s))
}

/// Returns the bytes of all copies that were ever made at the peers that run.
async fn made(http: &Http, net: &Testnet) -> anyhow::Result<u64> {
    stock::sum(http, &stock::urls(net), "shoal_store_block_bytes_total").await
}

impl Move {
    fn of(bytes_moved: u64, bytes_least: u64, held: &[u64], took_s: f64) -> Self {
        let share = held.iter().sum::<u64>() as f64 / held.len() as f64;
        let fullest = held.iter().max().copied().unwrap_or(0) as f64;
        Self {
            bytes_moved,
            bytes_least,
            ratio: bytes_moved as f64 / bytes_least as f64,
            fullest_over_share: fullest / share,
            took_s,
            reads: Latencies::default(),
        }
    }
}

/// Readers, and one that writes.
struct Clients {
    readers: Readers,
    writer: Arc<Writer>,
    task: JoinHandle<()>,
    stored: u64,
}

/// Writes one object after the other, and remembers those that were acknowledged.
struct Writer {
    http: Http,
    /// Held for as long as a write lasts: whoever holds it has writing rest.
    urls: Mutex<Vec<String>>,
    written: std::sync::Mutex<Vec<Kept>>,
    failed: AtomicU64,
    is_over: AtomicBool,
}

impl Clients {
    fn start(http: &Http, urls: &[String], kept: &[Kept], seed: u32) -> Self {
        let writer = Arc::new(Writer {
            http: http.clone(),
            urls: Mutex::new(urls.to_vec()),
            written: std::sync::Mutex::default(),
            failed: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        });
        Self {
            readers: Readers::start(http, urls.to_vec(), kept.to_vec(), READERS),
            task: tokio::spawn(Arc::clone(&writer).go_on(seed)),
            writer,
            stored: kept.len() as u64,
        }
    }

    /// Returns how many objects were written.
    fn written(&self) -> u64 {
        self.writer.lock().len() as u64
    }

    /// Returns how many objects there are.
    fn objects(&self) -> u64 {
        self.stored + self.written()
    }

    async fn include(&self, url: String) {
        self.writer.urls.lock().await.push(url.clone());
        self.readers.include(url).await;
    }

    async fn exclude(&self, url: &str) {
        self.writer.urls.lock().await.retain(|other| other != url);
        self.readers.exclude(url).await;
    }

    /// Returns once no write is under way; none begins until what is returned is dropped.
    async fn rest(&self) -> tokio::sync::MutexGuard<'_, Vec<String>> {
        self.writer.urls.lock().await
    }

    async fn end(self) -> anyhow::Result<(super::readers::Reads, Vec<Kept>, u64)> {
        self.writer.is_over.store(true, Ordering::Relaxed);
        self.task.await.context("the writer panicked")?;
        let reads = self.readers.end().await?;
        let written = std::mem::take(&mut *self.writer.lock());
        Ok((reads, written, self.writer.failed.load(Ordering::Relaxed)))
    }
}

impl Writer {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Kept>> {
        // A panic elsewhere leaves a list as it is.
        self.written.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn go_on(self: Arc<Self>, mut seed: u32) {
        while !self.is_over.load(Ordering::Relaxed) {
            let urls = self.urls.lock().await;
            let content = Content { seed, size: BLOCK_BYTES };
            let at = seed as usize % urls.len().max(1);
            if let Some(url) = urls.get(at) {
                match self.http.upload(url, content).await {
                    Ok(stored) => self.lock().push((stored.cid, content)),
                    Err(fault) => {
                        self.failed.fetch_add(1, Ordering::Relaxed);
                        tell([format!("a write through {url}: {fault}")].iter());
                    }
                }
            }
            drop(urls);
            seed += 1;
            pause(WRITER_PAUSE).await;
        }
    }
}

impl Moves {
    /// Says whether nothing was lost and no request failed.
    pub(super) const fn holds(&self) -> bool {
        self.unreadable == 0 && self.reads_failed == 0 && self.writes_failed == 0
    }

    /// Returns the results as tables.
    pub(super) fn tables(&self) -> Vec<Table> {
        let title = format!(
            "moves: {} blocks of {} KiB in {REPLICAS} copies; a sixth peer joins, then {DRAINED} is drained and killed",
            self.blocks,
            self.block_bytes >> 10,
        );
        let headings = [
            "",
            "moved MiB",
            "least MiB",
            "ratio",
            "wanted",
            "fullest / share",
            "wanted",
            "took s",
            "reads: p50 ms",
            "p99 ms",
        ];
        let mut table = Table::new(title, &headings);
        for (what, one) in [("join", &self.join), ("drain", &self.drain)] {
            table.row([
                what.to_owned(),
                (one.bytes_moved >> 20).to_string(),
                (one.bytes_least >> 20).to_string(),
                format!("{:.3}", one.ratio),
                format!("{MOVED_WANTED:.2}"),
                format!("{:.3}", one.fullest_over_share),
                format!("{FULLEST_WANTED:.2}"),
                format!("{:.1}", one.took_s),
                format!("{:.1}", one.reads.p50_ms),
                format!("{:.1}", one.reads.p99_ms),
            ]);
        }
        let before = self.reads_before;
        table.remark(format!(
            "reads before: p50 {:.1} ms, p99 {:.1} ms",
            before.p50_ms, before.p99_ms
        ));
        table.remark(format!(
            "failed meanwhile: {} of {} reads, {} of {} writes (wanted 0); unreadable after the kill: {} of {}",
            self.reads_failed,
            before.reads + self.join.reads.reads + self.drain.reads.reads,
            self.writes_failed,
            self.written + self.writes_failed,
            self.unreadable,
            u64::from(self.blocks) + self.written,
        ));
        vec![table]
    }
}
