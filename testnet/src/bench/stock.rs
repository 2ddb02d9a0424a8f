//! The stock of a measurement: objects of one block each, what peers hold of them, and what lacks.
//!
//! One size for all of them, so that bytes held follow from blocks held. Never: decides how long that may take.

use std::time::Duration;

use anyhow::{Context, ensure};
use futures::stream::{self, StreamExt, TryStreamExt};
use protocol::api::RepairStatus;

use crate::chaos::wait::until;
use crate::content::Content;
use crate::harness::Testnet;
use crate::http::Http;

/// Copies of every block.
pub(crate) const REPLICAS: u8 = 3;

/// Requests at a time, while nobody measures.
const AT_A_TIME: usize = 8;

/// An object and its name.
pub(crate) type Kept = (String, Content);

/// Stores `count` objects of `size` bytes through these peers in turn. `seed`: that of the first one.
///
/// # Errors
/// One was not stored.
pub(crate) async fn fill(
    http: &Http,
    urls: &[String],
    (seed, count): (u32, u32),
    size: u64,
) -> anyhow::Result<Vec<Kept>> {
    let uploads = (seed..seed + count).zip(urls.iter().cycle());
    stream::iter(uploads)
        .map(async |(seed, url)| {
            let content = Content { seed, size };
            let stored = http.upload(url, content).await;
            anyhow::Ok((stored.with_context(|| format!("object {seed}"))?.cid, content))
        })
        .buffer_unordered(AT_A_TIME)
        .try_collect()
        .await
}

/// Reads every object through one of these peers, in turn, and compares every byte. Returns what could not be read.
pub(super) async fn unreadable(http: &Http, urls: &[String], kept: &[Kept]) -> Vec<String> {
    stream::iter(kept.iter().zip(urls.iter().cycle()))
        .map(async |((cid, content), url)| {
            let checked = http.check(url, cid, *content).await;
            checked.err().map(|fault| format!("{cid} through {url}: {fault}"))
        })
        .buffer_unordered(AT_A_TIME)
        .filter_map(async |fault| fault)
        .collect()
        .await
}

/// Returns a metric of each of these peers, in order.
///
/// # Errors
/// One does not answer.
pub(crate) async fn each(http: &Http, urls: &[String], metric: &str) -> anyhow::Result<Vec<u64>> {
    let mut found = Vec::new();
    for url in urls {
        found.push(http.metric(url, metric).await?);
    }
    Ok(found)
}

/// Returns the sum of a metric over these peers.
///
/// # Errors
/// As [`each`].
pub(crate) async fn sum(http: &Http, urls: &[String], metric: &str) -> anyhow::Result<u64> {
    Ok(each(http, urls, metric).await?.iter().sum())
}

/// Returns the blocks that these peers hold, each counted as often as it is held.
///
/// # Errors
/// As [`each`].
pub(crate) async fn copies(http: &Http, urls: &[String]) -> anyhow::Result<u64> {
    sum(http, urls, "shoal_store_blocks").await
}

/// Returns what these peers say together of what lacks: `GET /api/v1/repair`.
///
/// # Errors
/// One does not answer.
pub(super) async fn status(http: &Http, urls: &[String]) -> anyhow::Result<RepairStatus> {
    let mut together = RepairStatus::default();
    for url in urls {
        let told = http.get(&format!("{url}/api/v1/repair")).await?;
        together = together.and(&serde_json::from_str(&told)?);
    }
    Ok(together)
}

/// Fails unless these peers hold `wanted` copies or more, and know of none that lacks.
pub(crate) async fn ensure_whole(http: &Http, urls: &[String], wanted: u64) -> anyhow::Result<()> {
    let held = copies(http, urls).await?;
    ensure!(held >= wanted, "{held} copies instead of {wanted}");
    let status = status(http, urls).await?;
    // One that has more to compare may say so for minutes, when a copy lies with a stand-in.
    ensure!(status.blocks_missing_copies == 0, "they say {status:?}");
    Ok(())
}

/// Waits until there are exactly as many copies of so many objects as there should be, and nobody knows of any that lacks.
///
/// # Errors
/// That takes longer than `patience`.
pub(crate) async fn settled(
    http: &Http,
    urls: &[String],
    objects: u64,
    patience: Duration,
) -> anyhow::Result<()> {
    let wanted = u64::from(REPLICAS) * objects;
    until(patience, async || {
        ensure_whole(http, urls, wanted).await?;
        let held = copies(http, urls).await?;
        ensure!(held == wanted, "{held} copies instead of {wanted}");
        Ok(())
    })
    .await
    .map(drop)
}

/// Waits until the last of these peers holds its share of so many objects, and nobody holds what is not his any more.
///
/// # Errors
/// As [`settled`].
pub(crate) async fn joined(
    http: &Http,
    urls: &[String],
    objects: u64,
    patience: Duration,
) -> anyhow::Result<()> {
    let newcomer = urls.last().context("nobody runs")?;
    let share = u64::from(REPLICAS) * objects / urls.len() as u64;
    // Before anybody has noticed that it joined, nothing lacks and nothing is left over.
    until(patience, async || {
        let held = http.metric(newcomer, "shoal_store_blocks").await?;
        ensure!(held * 10 > share * 8, "it holds {held}, and its share is {share}");
        Ok(())
    })
    .await?;
    settled(http, urls, objects, patience).await
}

/// Returns the addresses of all nodes of a network that run.
pub(crate) fn urls(net: &Testnet) -> Vec<String> {
    let nodes = net.state().clusters.iter().flat_map(|cluster| &cluster.nodes);
    nodes.filter(|node| net.is_running(node)).map(|node| node.http.clone()).collect()
}
