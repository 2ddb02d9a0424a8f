//! Slow: what readers notice of one holder that is slow, and how many requests more that costs.
//!
//! Five peers, each with a cable of the same width; they read from a peer that has no copy of its own, what the slow one holds.
//! Beside it being quick, that one answers ten times slower (a cable of a tenth of the width), or a second later. No peer keeps
//! anything in memory that was read, so that each read asks a holder. Never: judges time; each spell has a healthy one before it.
#![expect(clippy::disallowed_methods, reason = "real processes live in real time")]

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::Serialize;

use super::readers::{Latencies, Readers, tell};
use super::report::Table;
use super::scratch::Scratch;
use super::stock::{self, Kept, REPLICAS};
use crate::chaos::wait::{pause, until};
use crate::harness::{Testnet, UpOptions, cables};
use crate::http::Http;

/// Bytes that are stored unless told otherwise, each copy counted once: half of them in short objects, half in long ones.
pub(super) const SIZE_DEFAULT: u64 = 256 << 20;

/// Bytes of a short object: one block.
const SHORT_BYTES: u64 = 256 << 10;
/// Bytes of a long one, and its blocks: one of each MiB, and the root.
const LONG_BYTES: u64 = 8 << 20;
/// See [`LONG_BYTES`].
const LONG_BLOCKS: u64 = (LONG_BYTES >> 20) + 1;

/// Peers.
const PEERS: usize = 5;
/// Who is asked, and the slow one.
const ASKED: &str = "a0";
/// See [`ASKED`].
const SLOW: &str = "a4";

/// Bytes that each peer may send to the others in a second.
const WIDTH: u64 = 40_000_000;
/// How much later answers of the slow one come.
const DELAY: Duration = Duration::from_secs(1);
/// Readers, and their pause between two reads.
const READERS: (u64, Duration) = (2, Duration::from_millis(20));
/// How long one condition is measured.
const SPELL: Duration = Duration::from_secs(15);
/// How long storing may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Wanted: most blocks that holders read beyond those that were asked for, as a part of these.
const EXTRA_WANTED: f64 = 0.05;

/// How the slow one is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Fault {
    TenTimesSlower,
    OneSecondLate,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Slow {
    /// Short objects that the slow peer holds and the asked one does not.
    short_objects: usize,
    long_objects: usize,
    bytes_per_s_each: u64,
    spells: Vec<Spell>,
}

/// One way of being slow, for one kind of objects.
#[derive(Clone, Debug, Serialize)]
struct Spell {
    fault: Fault,
    object_bytes: u64,
    healthy: Latencies,
    slow: Latencies,
    p99_ratio: f64,
    p99_wanted: f64,
    /// Blocks that holders read beyond those that were asked for, as a part of these.
    extra_healthy: f64,
    extra_slow: f64,
    /// Questions for each of these blocks: also those that are answered by no.
    questions_healthy: f64,
    questions_slow: f64,
    failed: u64,
}

/// Says whether cables can be laid here; without, nobody can be made slow.
pub(super) fn is_possible() -> bool {
    cables::has_entered()
}

/// Measures reads beside a slow holder.
///
/// # Errors
/// A daemon failed, or cables cannot be laid here.
pub(super) async fn run(scratch: &Scratch, size: u64) -> anyhow::Result<Slow> {
    ensure!(is_possible(), "peers are slowed by cables, which need a network namespace");
    let flags = ["--cache", "0"].map(str::to_owned).to_vec();
    let lined = Some(u8::try_from(PEERS - 1)?);
    let options = UpOptions {
        nodes: vec![PEERS],
        replicas: REPLICAS,
        flags,
        cables: true,
        lined,
        ..UpOptions::default()
    };
    let net = Testnet::up(&scratch.path().join("net"), &options).await?;
    let measured = measure(&net, size).await;
    // Daemons do not outlive the benchmark, whatever happened.
    net.down()?;
    measured
}

async fn measure(net: &Testnet, size: u64) -> anyhow::Result<Slow> {
    let http = Http::new()?;
    let urls = stock::urls(net);
    let count = |bytes: u64| u32::try_from((size / 2).div_ceil(bytes));
    let (short, long) = (count(SHORT_BYTES)?, count(LONG_BYTES)?);
    let short = stock::fill(&http, &urls, (1, short), SHORT_BYTES).await?;
    let long = stock::fill(&http, &urls, (1_000_001, long), LONG_BYTES).await?;
    let blocks = short.len() as u64 + long.len() as u64 * LONG_BLOCKS;
    let is_stored = async || stock::ensure_whole(&http, &urls, u64::from(REPLICAS) * blocks).await;
    until(PATIENCE, is_stored).await.context("stored")?;

    let asked = net.state().node(ASKED)?.clone();
    let slow = net.state().node(SLOW)?.clone();
    // Who leads has a part in what is agreed on; that is not what is measured here.
    let leader = net.cluster_at(&asked).await?.leader;
    ensure!(leader.as_ref() != Some(&slow.peer_id), "{SLOW} leads: run it again");
    let short = held_by_one(&http, &short, (&slow.http, &asked.http)).await?;
    ensure!(!short.is_empty(), "no short object is held by {SLOW} and not by {ASKED}");

    for node in &net.state().clusters.first().context("there is a cluster")?.nodes {
        net.limit(&node.name, Some(WIDTH))?;
    }
    let mut spells = Vec::new();
    for fault in [Fault::TenTimesSlower, Fault::OneSecondLate] {
        for (kept, bytes, blocks) in [(&short, SHORT_BYTES, 1), (&long, LONG_BYTES, LONG_BLOCKS)] {
            let healthy = spell(&http, (&asked.http, &urls), kept, blocks).await?;
            fault.begin(net)?;
            let slow = spell(&http, (&asked.http, &urls), kept, blocks).await?;
            fault.end(net)?;
            spells.push(Spell {
                fault,
                object_bytes: bytes,
                healthy: healthy.latencies,
                slow: slow.latencies,
                p99_ratio: slow.latencies.p99_ms / healthy.latencies.p99_ms,
                p99_wanted: fault.wanted(),
                extra_healthy: healthy.extra,
                extra_slow: slow.extra,
                questions_healthy: healthy.questions,
                questions_slow: slow.questions,
                failed: healthy.failed + slow.failed,
            });
        }
    }
    Ok(Slow {
        short_objects: short.len(),
        long_objects: long.len(),
        bytes_per_s_each: WIDTH,
        spells,
    })
}

/// Returns the objects of one block each that the one peer holds and the other does not. Nobody else may read meanwhile: a
/// peer reads its own copy, if it has one.
async fn held_by_one(
    http: &Http,
    kept: &[Kept],
    (holder, other): (&str, &str),
) -> anyhow::Result<Vec<Kept>> {
    let mut found = Vec::new();
    let metric = "shoal_store_read_bytes_total";
    for (cid, content) in kept {
        let mut reads_own = [false; 2];
        for (url, reads_own) in [holder, other].iter().zip(&mut reads_own) {
            let before = http.metric(url, metric).await?;
            http.check(url, cid, *content).await?;
            *reads_own = http.metric(url, metric).await? > before;
        }
        if reads_own == [true, false] {
            found.push((cid.clone(), *content));
        }
    }
    Ok(found)
}

/// What readers saw for a while.
struct Seen {
    latencies: Latencies,
    extra: f64,
    questions: f64,
    failed: u64,
}

/// Reads through the peer at `url`. `urls`: all peers. `blocks`: those of an object.
async fn spell(
    http: &Http,
    (url, urls): (&str, &[String]),
    kept: &[Kept],
    blocks: u64,
) -> anyhow::Result<Seen> {
    let questions = "shoal_download_block_requests_total";
    let read_bytes = async || stock::sum(http, urls, "shoal_store_read_bytes_total").await;
    let before = (http.metric(url, questions).await?, read_bytes().await?);
    let begun = Instant::now();
    let readers = Readers::start(http, vec![url.to_owned()], kept.to_vec(), READERS);
    pause(SPELL).await;
    let reads = readers.end().await?;
    let asked = http.metric(url, questions).await? - before.0;
    let read_bytes = read_bytes().await? - before.1;
    let latencies = reads.between(begun, Instant::now());
    let objects = latencies.reads as f64;
    let object_bytes = kept.first().map_or(0, |(_, content)| content.size);
    // What links the chunks of a long object is some hundred bytes, and not told apart here.
    let extra = read_bytes as f64 / (objects * object_bytes as f64) - 1.0;
    let (failed, failures) = reads.failed();
    tell(failures);
    Ok(Seen { latencies, extra, questions: asked as f64 / (objects * blocks as f64), failed })
}

impl Fault {
    fn begin(self, net: &Testnet) -> anyhow::Result<()> {
        match self {
            Self::TenTimesSlower => net.limit(SLOW, Some(WIDTH / 10)),
            Self::OneSecondLate => net.delay(SLOW, DELAY),
        }
    }

    fn end(self, net: &Testnet) -> anyhow::Result<()> {
        match self {
            Self::TenTimesSlower => net.limit(SLOW, Some(WIDTH)),
            Self::OneSecondLate => net.delay(SLOW, Duration::ZERO),
        }
    }

    /// Returns the wanted p99 over that of healthy peers, at most.
    const fn wanted(self) -> f64 {
        match self {
            Self::TenTimesSlower => 1.5,
            Self::OneSecondLate => 3.0,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::TenTimesSlower => "ten times slower",
            Self::OneSecondLate => "one second late",
        }
    }
}

impl Slow {
    /// Returns the results as tables.
    pub(super) fn tables(&self) -> Vec<Table> {
        let title = format!(
            "slow: reads through {ASKED} beside a slow {SLOW}; {PEERS} peers that send {} MB/s each, {REPLICAS} copies",
            self.bytes_per_s_each / 1_000_000
        );
        let headings = [
            "slow one, objects of",
            "healthy: p50 ms",
            "p99 ms",
            "reads",
            "slow: p50 ms",
            "p95 ms",
            "p99 ms",
            "reads",
            "p99 ratio",
            "wanted",
            "extra reads",
            "healthy",
            "wanted",
            "questions per block",
            "healthy",
            "failed",
        ];
        let mut table = Table::new(title, &headings);
        for spell in &self.spells {
            let (healthy, slow) = (spell.healthy, spell.slow);
            table.row([
                format!("{}, {} KiB", spell.fault.words(), spell.object_bytes >> 10),
                format!("{:.1}", healthy.p50_ms),
                format!("{:.1}", healthy.p99_ms),
                healthy.reads.to_string(),
                format!("{:.1}", slow.p50_ms),
                format!("{:.1}", slow.p95_ms),
                format!("{:.1}", slow.p99_ms),
                slow.reads.to_string(),
                format!("{:.2}", spell.p99_ratio),
                format!("{:.2}", spell.p99_wanted),
                format!("{:.1} %", 100.0 * spell.extra_slow),
                format!("{:.1} %", 100.0 * spell.extra_healthy),
                format!("{:.0} %", 100.0 * EXTRA_WANTED),
                format!("{:.2}", spell.questions_slow),
                format!("{:.2}", spell.questions_healthy),
                spell.failed.to_string(),
            ]);
        }
        table.remark(format!(
            "{} short objects of which {SLOW} has a copy and {ASKED} has none; {} long ones, of whose blocks each may",
            self.short_objects, self.long_objects
        ));
        vec![table]
    }
}
