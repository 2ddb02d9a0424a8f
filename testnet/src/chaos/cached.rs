//! What was read lately is read again from memory, within its bound, and one large download does not displace it.

use anyhow::{Context, ensure};

use super::stage::Ctx;
use super::wait::{PATIENCE, until};
use crate::content::Content;
use crate::harness::UpOptions;

/// Memory of each peer for what was read.
const CACHE: &str = "8MiB";
/// The same in bytes.
const CACHE_BYTES: u64 = 8 << 20;

/// An object that fits, of five blocks and a root.
const OBJECT: Content = Content { seed: 51, size: 5 << 20 };
/// Its blocks.
const OBJECT_BLOCKS: u64 = 6;

/// One that does not by far.
const LARGE: Content = Content { seed: 52, size: 64 << 20 };
/// Its blocks.
const LARGE_BLOCKS: u64 = 65;

/// What a peer tells of its reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    asked: u64,
    read_bytes: u64,
    hits: u64,
    misses: u64,
}

/// See the module.
pub(super) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    let flags = ["--cache", CACHE].map(str::to_owned).to_vec();
    let stage = ctx.stage(&UpOptions { nodes: vec![3], flags, ..UpOptions::default() }).await?;
    let (gateway, url) = (stage.url("a0")?, stage.url("a1")?);
    let cid = ctx.http.upload(&gateway, OBJECT).await?.cid;
    let large = ctx.http.upload(&gateway, LARGE).await?.cid;
    // Late copies come after the acknowledgement, and a root that is asked for by its CID has to be held.
    until(PATIENCE, async || {
        let held = ctx.http.metric(&url, "shoal_store_blocks").await?;
        ensure!(held == OBJECT_BLOCKS + LARGE_BLOCKS, "a1 holds {held} blocks");
        Ok(())
    })
    .await?;
    for url in [&gateway, &url] {
        let held = ctx.http.metric(url, "shoal_cache_held_bytes").await?;
        ensure!(held == 0, "{held} bytes were kept of uploads");
    }

    ctx.http.check(&url, &cid, OBJECT).await.context("the first time")?;
    let first = told(ctx, &url).await?;
    ensure!(first.asked >= OBJECT_BLOCKS, "{first:?}");
    ctx.http.check(&url, &cid, OBJECT).await.context("the second time")?;
    let second = told(ctx, &url).await?;
    let from_memory = Told { hits: first.hits + OBJECT_BLOCKS, ..first };
    ensure!(second == from_memory, "the second download took {second:?} after {first:?}");

    ctx.http.check(&url, &large, LARGE).await.context("a large object")?;
    let before = told(ctx, &url).await?;
    ctx.http.check(&url, &cid, OBJECT).await.context("after a large object")?;
    let after = told(ctx, &url).await?;
    let left = after.hits - before.hits;
    ensure!(left > OBJECT_BLOCKS / 2, "{left} of {OBJECT_BLOCKS} blocks were left");
    ctx.note(format!("{left} of {OBJECT_BLOCKS} blocks were left by a download of 64 MiB"));
    Ok(())
}

/// Returns what a peer tells, which holds no more than it may.
async fn told(ctx: &Ctx, url: &str) -> anyhow::Result<Told> {
    let metric = async |name: &str| ctx.http.metric(url, &format!("shoal_{name}")).await;
    let held = metric("cache_held_bytes").await?;
    ensure!((1..=CACHE_BYTES).contains(&held), "{held} bytes are held");
    ensure!(metric("cache_capacity_bytes").await? == CACHE_BYTES, "{CACHE} are not {CACHE_BYTES}");
    Ok(Told {
        asked: metric("download_block_requests_total").await?,
        read_bytes: metric("store_read_bytes_total").await?,
        hits: metric("cache_hits_total").await?,
        misses: metric("cache_misses_total").await?,
    })
}
