//! Repair: how soon every block has its copies again after peers were lost for good, and what readers notice of it.
//!
//! Three networks of five peers lose disks: one; a second one while the first is being made up for; two at once. Bytes are compared
//! with what loopback carries in the same run, reads with those before. Copies are counted by those who hold them, and in the end
//! everything is read back. Never: judges time; only what is lost fails.
#![expect(clippy::disallowed_methods, reason = "real processes live in real time")]

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::Serialize;

use super::raw;
use super::readers::{Latencies, Readers, tell};
use super::report::Table;
use super::scratch::Scratch;
use super::stock::{self, REPLICAS};
use crate::chaos::wait::{pause, until};
use crate::harness::{Testnet, UpOptions};
use crate::http::Http;

/// Bytes that are stored unless told otherwise, each copy counted once.
pub(super) const SIZE_DEFAULT: u64 = 2 << 30;

/// Bytes of an object: one block.
const BLOCK_BYTES: u64 = 1 << 20;
/// Bytes over which the raw speed of the machine is measured.
const RAW_BYTES: u64 = 1 << 30;
/// Peers of each network.
const PEERS: usize = 5;

/// How long a peer is away before others take its place, and as long again until they begin.
const AWAY: Duration = Duration::from_secs(2);
/// Readers, and their pause between two reads.
const READERS: (u64, Duration) = (4, Duration::from_millis(50));
/// How long reads are measured before anything is lost.
const BEFORE: Duration = Duration::from_secs(15);
/// How often it is looked how repair stands.
const LOOK: Duration = Duration::from_millis(100);
/// How long peers may take to say that nothing lacks, once nothing does.
const SAY_PATIENCE: Duration = Duration::from_secs(30);
/// How long repair may take altogether.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// Wanted: the time after the first copy over what loopback would take, and p99 of reads over that before.
const COPYING_WANTED: f64 = 2.0;
/// See [`COPYING_WANTED`].
const P99_WANTED: f64 = 2.0;

/// Who is lost when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Lost {
    One,
    /// The second one when half of the copies for the first are made.
    SecondMidway,
    TwoAtOnce,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Repair {
    size_bytes: u64,
    blocks: u32,
    block_bytes: u64,
    loopback_mb_per_s: f64,
    disk_mb_per_s: f64,
    /// How long a peer was away before others took its place, and as long again until they began.
    away_s: u64,
    losses: Vec<Loss>,
}

/// One network that lost peers. Times are from the last loss on.
#[derive(Clone, Debug, Serialize)]
struct Loss {
    lost: Lost,
    /// Copies that there were to make after the last loss.
    copies_lacking: u64,
    /// Until the first copy more was held.
    first_copy_s: f64,
    /// Until all copies were held.
    complete_s: f64,
    /// Until all peers said that none lacks and that there is nothing more to compare; absent when that took longer than
    /// [`SAY_PATIENCE`].
    said_s: Option<f64>,
    /// Until the first copy, which tells when the loss was known, and [`COPYING_WANTED`] times what loopback takes for the bytes;
    /// absent where copies were being made when the last one was lost.
    wanted_s: Option<f64>,
    /// From the first copy to the last one.
    copied_mb_per_s: f64,
    before: Latencies,
    /// From the first loss to the last copy.
    meanwhile: Latencies,
    /// From the first copy to the last one.
    while_copying: Latencies,
    p99_ratio: f64,
    reads_failed: u64,
    /// Blocks of which peers said at most that they had one copy left, and how many copies were made until another was begun
    /// for each of them.
    single_blocks: u64,
    copies_until_none_single: u64,
    unreadable: usize,
}

/// Loses peers of three networks.
///
/// # Errors
/// A daemon failed, or repair did not end.
pub(super) async fn run(scratch: &Scratch, size: u64) -> anyhow::Result<Repair> {
    let blocks = u32::try_from(size.div_ceil(BLOCK_BYTES))?;
    let raw = raw::measure(scratch.path(), RAW_BYTES).await?;
    let mut losses = Vec::new();
    for lost in [Lost::One, Lost::SecondMidway, Lost::TwoAtOnce] {
        let flags = ["--away".to_owned(), format!("{}s", AWAY.as_secs())].to_vec();
        let options =
            UpOptions { nodes: vec![PEERS], replicas: REPLICAS, flags, ..UpOptions::default() };
        let net = Testnet::up(&scratch.path().join("net"), &options).await?;
        let measured = lose(&net, lost, blocks, raw.loopback).await;
        // Daemons do not outlive the benchmark, whatever happened.
        net.down()?;
        losses.push(measured.with_context(|| format!("lost: {}", lost.words()))?);
    }
    Ok(Repair {
        size_bytes: u64::from(blocks) * BLOCK_BYTES,
        blocks,
        block_bytes: BLOCK_BYTES,
        loopback_mb_per_s: raw.loopback / 1e6,
        disk_mb_per_s: raw.disk / 1e6,
        away_s: AWAY.as_secs(),
        losses,
    })
}

impl Lost {
    const fn words(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::SecondMidway => "a second one midway",
            Self::TwoAtOnce => "two at once",
        }
    }

    /// Returns who is lost in the end, the first one first.
    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::One => &["a4"],
            Self::SecondMidway | Self::TwoAtOnce => &["a4", "a3"],
        }
    }
}

/// How repair stood at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// When there was the first copy more.
    first: Option<Instant>,
    /// When all copies were there.
    complete: Option<Instant>,
    /// When all peers said so.
    said: Option<Instant>,
    single_blocks: u64,
    copies_until_none_single: u64,
}

async fn lose(net: &Testnet, lost: Lost, blocks: u32, loopback: f64) -> anyhow::Result<Loss> {
    let http = Http::new()?;
    let all = stock::urls(net);
    let wanted = u64::from(REPLICAS) * u64::from(blocks);
    let kept = stock::fill(&http, &all, (1, blocks), BLOCK_BYTES).await?;
    until(PATIENCE, async || stock::ensure_whole(&http, &all, wanted).await).await?;
    let mut gone = Vec::new();
    for name in lost.names() {
        gone.push(net.state().node(name)?.http.clone());
    }
    let left: Vec<String> = all.iter().filter(|url| !gone.contains(url)).cloned().collect();

    let readers = Readers::start(&http, left.clone(), kept.clone(), READERS);
    let before = Instant::now();
    pause(BEFORE).await;
    let begun = Instant::now();
    let (last, held) = lose_all(&http, net, lost, (&all, &left, wanted)).await?;
    let progress = watch(&http, &left, held, wanted).await?;
    let reads = readers.end().await?;
    let unreadable = stock::unreadable(&http, &left, &kept).await;

    let complete = progress.complete.context("repair ended")?;
    let first = progress.first.unwrap_or(complete);
    let since = |at: Instant| at.duration_since(last).as_secs_f64();
    let copies_lacking = wanted - held;
    let bytes = (copies_lacking * BLOCK_BYTES) as f64;
    let before = reads.between(before, begun);
    let while_copying = reads.between(first, complete);
    let (reads_failed, failures) = reads.failed();
    tell(failures.iter().chain(unreadable.first()));
    Ok(Loss {
        lost,
        copies_lacking,
        first_copy_s: since(first),
        complete_s: since(complete),
        said_s: progress.said.map(since),
        wanted_s: (lost != Lost::SecondMidway)
            .then(|| since(first) + COPYING_WANTED * bytes / loopback),
        copied_mb_per_s: bytes / 1e6 / complete.duration_since(first).as_secs_f64(),
        before,
        meanwhile: reads.between(begun, complete),
        while_copying,
        p99_ratio: while_copying.p99_ms / before.p99_ms,
        reads_failed,
        single_blocks: progress.single_blocks,
        copies_until_none_single: progress.copies_until_none_single,
        unreadable: unreadable.len(),
    })
}

/// Loses who is to be lost, disks and all. Returns when the last one was, and the copies that survivors held then.
async fn lose_all(
    http: &Http,
    net: &Testnet,
    lost: Lost,
    (all, survivors, wanted): (&[String], &[String], u64),
) -> anyhow::Result<(Instant, u64)> {
    let (first, others) = lost.names().split_first().context("somebody is lost")?;
    let address = net.state().node(first)?.http.clone();
    let left: Vec<String> = all.iter().filter(|url| **url != address).cloned().collect();
    if lost == Lost::TwoAtOnce {
        net.kill_all(lost.names())?;
    } else {
        net.kill(first)?;
    }
    let mut last = Instant::now();
    net.wipe(first)?;
    if lost == Lost::SecondMidway {
        let held = stock::copies(http, &left).await?;
        let half = held + (wanted - held) / 2;
        let is_half = async || {
            let now = stock::copies(http, &left).await?;
            ensure!(now >= half, "{now} copies of {half} that are half of what there was");
            Ok(())
        };
        until(PATIENCE, is_half).await?;
        others.iter().try_for_each(|name| net.kill(name))?;
        last = Instant::now();
    }
    let held = stock::copies(http, survivors).await?;
    others.iter().try_for_each(|name| net.wipe(name))?;
    Ok((last, held))
}

/// Looks how repair stands until nothing lacks. `held`: the copies that were left after the last loss.
async fn watch(http: &Http, left: &[String], held: u64, wanted: u64) -> anyhow::Result<Progress> {
    let (begin, mut progress) = (Instant::now(), Progress::default());
    let mut is_single = false;
    loop {
        let status = stock::status(http, left).await?;
        let now = stock::copies(http, left).await?;
        let at = Instant::now();
        if now > held {
            progress.first.get_or_insert(at);
        }
        if now >= wanted {
            progress.complete.get_or_insert(at);
        }
        let single = status.blocks_by_missing_copies.get(1).copied().unwrap_or(0);
        if is_single {
            progress.copies_until_none_single = now.saturating_sub(held);
        }
        is_single = single > 0;
        progress.single_blocks = progress.single_blocks.max(single);
        if now >= wanted && status.blocks_missing_copies == 0 && !status.is_more {
            progress.said = Some(at);
        }
        let is_told = progress.complete.is_some_and(|complete| at > complete + SAY_PATIENCE);
        if progress.said.is_some() || is_told {
            return Ok(progress);
        }
        ensure!(begin.elapsed() < PATIENCE, "{now} copies instead of {wanted}: {status:?}");
        pause(LOOK).await;
    }
}

fn or_dash(seconds: Option<f64>) -> String {
    seconds.map_or("-".to_owned(), |seconds| format!("{seconds:.1}"))
}

impl Repair {
    /// Says whether nothing was lost.
    pub(super) fn holds(&self) -> bool {
        self.losses.iter().all(|loss| loss.unreadable == 0)
    }

    /// Returns the results as tables.
    pub(super) fn tables(&self) -> Vec<Table> {
        let title = format!(
            "repair: {} blocks of {} KiB in {REPLICAS} copies at {PEERS} peers; loopback {:.0} MB/s, disk {:.0} MB/s",
            self.blocks,
            self.block_bytes >> 10,
            self.loopback_mb_per_s,
            self.disk_mb_per_s
        );
        let headings = [
            "lost",
            "copies to make",
            "first after s",
            "all after s",
            "wanted s",
            "said after s",
            "MB/s",
            "unreadable",
        ];
        let mut times = Table::new(title, &headings);
        let mut order = Table::new(
            "fewest copies first",
            &[
                "lost",
                "blocks with one copy left",
                "copies made until the last of them got its second one",
            ],
        );
        let headings = [
            "lost",
            "p50 ms",
            "p99 ms",
            "reads",
            "copying: p50 ms",
            "p99 ms",
            "reads",
            "p99 ratio",
            "wanted",
            "failed",
        ];
        let title = "reads before, and while copies were made";
        let mut reads = Table::new(title, &headings);
        for loss in &self.losses {
            times.row([
                loss.lost.words().to_owned(),
                loss.copies_lacking.to_string(),
                format!("{:.1}", loss.first_copy_s),
                format!("{:.1}", loss.complete_s),
                or_dash(loss.wanted_s),
                or_dash(loss.said_s),
                format!("{:.0}", loss.copied_mb_per_s),
                loss.unreadable.to_string(),
            ]);
            let (before, copying) = (loss.before, loss.while_copying);
            reads.row([
                loss.lost.words().to_owned(),
                format!("{:.1}", before.p50_ms),
                format!("{:.1}", before.p99_ms),
                before.reads.to_string(),
                format!("{:.1}", copying.p50_ms),
                format!("{:.1}", copying.p99_ms),
                copying.reads.to_string(),
                format!("{:.2}", loss.p99_ratio),
                format!("{P99_WANTED:.2}"),
                loss.reads_failed.to_string(),
            ]);
            if loss.single_blocks > 0 {
                order.row([
                    loss.lost.words().to_owned(),
                    loss.single_blocks.to_string(),
                    loss.copies_until_none_single.to_string(),
                ]);
            }
        }
        times.remark(format!(
            "wanted: {COPYING_WANTED:.0} times what loopback takes for the bytes, after the first copy; who is away is replaced after {} s, and copies begin as long after that",
            self.away_s
        ));
        vec![times, reads, order]
    }
}
