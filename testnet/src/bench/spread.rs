//! Spread: what an upload costs the uplink of its gateway, when holders bring copies to each other and when they do not.
//!
//! The same bytes go through one of five peers twice: as one file, whose copies spread from holder to holder, and as files so
//! short that the gateway sends every copy itself. What the gateway sent to other peers is its own count. Never: judges
//! the time, which on one machine is that of the processors.
#![expect(clippy::disallowed_methods, reason = "real processes live in real time")]

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::Serialize;

use super::report::Table;
use super::scratch::Scratch;
use crate::content::Content;
use crate::harness::{Testnet, UpOptions};
use crate::http::Http;

/// Bytes of the file unless told otherwise.
pub(super) const SIZE_DEFAULT: u64 = 1 << 30;

/// Copies of every block.
const REPLICAS: u8 = 3;
/// Bytes of a short file: all of it is sent by the gateway.
const SHORT_BYTES: u64 = 8 << 20;
/// Short files that are uploaded at a time.
const AT_A_TIME: usize = 2;
/// Most bytes that the gateway may send for each of a long file.
const SENT_MAX: f64 = 1.3;
/// How long late copies may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Spread {
    size_bytes: u64,
    /// As one file.
    long: Sent,
    /// As many short ones.
    short: Sent,
    holds: bool,
}

/// What one of the two ways cost.
#[derive(Clone, Copy, Debug, Serialize)]
struct Sent {
    /// Bytes that the gateway sent to other peers, for each byte of the file.
    ratio: f64,
    mb_per_s: f64,
    /// Jobs that other peers took from it.
    stolen_jobs: u64,
}

/// Uploads both ways.
///
/// # Errors
/// A daemon failed.
pub(super) async fn run(scratch: &Scratch, size: u64) -> anyhow::Result<Spread> {
    let options = UpOptions { nodes: vec![5], replicas: REPLICAS, ..UpOptions::default() };
    let net = Testnet::up(&scratch.path().join("net"), &options).await?;
    let measured = measure(&net, size).await;
    net.down()?;
    let (long, short) = measured?;
    Ok(Spread { size_bytes: size, long, short, holds: long.ratio <= SENT_MAX })
}

async fn measure(net: &Testnet, size: u64) -> anyhow::Result<(Sent, Sent)> {
    let nodes = &net.state().clusters.first().context("there is no cluster")?.nodes;
    let urls: Vec<String> = nodes.iter().map(|node| node.http.clone()).collect();
    let long = sent_for(&urls, 101, size, size).await.context("one file")?;
    let short = sent_for(&urls, 1_001, size, SHORT_BYTES.min(size)).await.context("short files")?;
    Ok((long, short))
}

/// Uploads `size` bytes in files of `piece` bytes each through the first peer.
async fn sent_for(urls: &[String], seed: u32, size: u64, piece: u64) -> anyhow::Result<Sent> {
    let (http, gateway) = (Http::new()?, &urls[0]);
    let (before, begin) = (told(&http, urls).await?, Instant::now());
    let pieces = u32::try_from(size.div_ceil(piece))?;
    let cids = (0..pieces).map(async |number| {
        let content = Content { seed: seed + number, size: piece };
        anyhow::Ok(http.upload(gateway, content).await?.cid)
    });
    let cids: Vec<String> = stream::iter(cids).buffer_unordered(AT_A_TIME).try_collect().await?;
    let took = begin.elapsed();
    ensure!(cids.len() == pieces as usize, "{} of {pieces} files were stored", cids.len());
    let after = settled(&http, urls).await?;
    let bytes = piece * u64::from(pieces);
    Ok(Sent {
        ratio: (after.sent - before.sent) as f64 / bytes as f64,
        mb_per_s: bytes as f64 / 1e6 / took.as_secs_f64(),
        stolen_jobs: after.stolen - before.stolen,
    })
}

/// What peers count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    /// Bytes of blocks, and of questions about them, that the first one sent.
    sent: u64,
    /// Jobs of others that all of them began.
    stolen: u64,
}

async fn told(http: &Http, urls: &[String]) -> anyhow::Result<Told> {
    let sent = http.metric(&urls[0], "shoal_net_bytes_sent_total{class=\"bulk\"}").await?;
    let mut stolen = 0;
    for url in urls {
        stolen += http.metric(url, "shoal_work_stolen_total").await?;
    }
    Ok(Told { sent, stolen })
}

/// Returns what peers count once the late copies are placed.
async fn settled(http: &Http, urls: &[String]) -> anyhow::Result<Told> {
    let (begin, mut before) = (Instant::now(), told(http, urls).await?);
    loop {
        tokio::time::sleep(PAUSE).await;
        let now = told(http, urls).await?;
        if now == before {
            return Ok(now);
        }
        ensure!(begin.elapsed() < PATIENCE, "copies are still on their way");
        before = now;
    }
}

impl Spread {
    /// Says whether the gateway sent as little as it should.
    pub(super) const fn holds(&self) -> bool {
        self.holds
    }

    /// Returns the results as tables.
    pub(super) fn tables(&self) -> Vec<Table> {
        let title = format!(
            "spread: {} MiB through one of five peers, {REPLICAS} copies (at most {SENT_MAX} sent for a long file: {})",
            self.size_bytes >> 20,
            if self.holds { "holds" } else { "DOES NOT HOLD" }
        );
        let mut table = Table::new(title, &["", "sent / size", "MB/s", "jobs taken by others"]);
        let short = format!("files of {} MiB, which the gateway sends to all", SHORT_BYTES >> 20);
        for (what, sent) in [("one file".to_owned(), self.long), (short, self.short)] {
            table.row([
                what,
                format!("{:.2}", sent.ratio),
                format!("{:.0}", sent.mb_per_s),
                sent.stolen_jobs.to_string(),
            ]);
        }
        vec![table]
    }
}
