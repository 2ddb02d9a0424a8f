//! Copies that are lost for good come back by themselves; a short absence moves nothing.

use std::time::Duration;

use anyhow::{Context, ensure};
use futures::stream::{self, StreamExt, TryStreamExt};
use protocol::api::RepairStatus;

use super::scale::scaled;
use super::stage::{Ctx, Stage};
use super::views::running_names;
use super::wait::{PATIENCE, until};
use crate::content::Content;
use crate::harness::UpOptions;

/// How long a peer has to be away before others take its place. Differences then wait as long before they are repaired.
const AWAY: &str = "3s";

/// How long repair may take: it waits twice as long as [`AWAY`], and then copies some tens of megabytes.
const HEAL_PATIENCE: Duration = Duration::from_secs(120);

/// Objects, in everyday runs and in full ones.
const OBJECTS: (u32, u32) = (240, 1600);

/// Their sizes: in the index and in segments, one block and several.
const SIZES: [u64; 8] = [700, 5_000, 20_000, 70_000, 200_000, 900, 40_000, 1_300_000];

/// Bytes of a chunk.
const CHUNK_BYTES: u64 = 1 << 20;

/// Copies that every block should have.
const REPLICAS: u64 = 3;

/// Requests at a time.
const AT_A_TIME: usize = 8;

/// An object and its name.
type Kept = (String, Content);

/// See the module.
pub(super) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    lost_for_good(ctx).await.context("peers lost for good")?;
    back_soon(ctx).await.context("a peer that is back soon")
}

/// Of five peers two are lost, one after the other, and the second comes back with an empty disk.
async fn lost_for_good(ctx: &Ctx) -> anyhow::Result<()> {
    let flags = ["--away", AWAY].map(ToOwned::to_owned).to_vec();
    let mut stage = ctx.stage(&UpOptions { flags, ..UpOptions::default() }).await?;
    let kept = store(ctx, &stage, scaled(OBJECTS.0, OBJECTS.1)).await?;
    let wanted = REPLICAS * kept.iter().map(|(_, content)| blocks_of(content.size)).sum::<u64>();
    healed(ctx, &mut stage, wanted).await.context("stored")?;

    let lost = ctx.http.metric(&stage.url("a4")?, "shoal_store_blocks").await?;
    stage.net().kill("a4")?;
    let before = repaired(ctx, &mut stage).await?;
    let took = healed(ctx, &mut stage, wanted).await.context("without a4")?;
    let copied = repaired(ctx, &mut stage).await? - before;
    ensure!(copied <= lost + lost / 10, "{copied} blocks were copied for {lost} that were lost");
    ctx.note(format!(
        "{lost} copies were lost with one of five peers, and {copied} made in {:.1} s ({AWAY} away, {AWAY} to settle)",
        took.as_secs_f64()
    ));

    stage.net().kill("a3")?;
    for name in running_names(stage.net()) {
        read(ctx, &stage.url(&name)?, &kept).await.with_context(|| format!("through {name}"))?;
    }
    healed(ctx, &mut stage, wanted).await.context("without a4 and a3")?;
    ctx.note("everything is read through each of three after a second one was lost");

    stage.net().wipe("a3")?;
    stage.net().restart("a3").await?;
    let url = stage.url("a3")?;
    let mut held = 0;
    let took = until(HEAL_PATIENCE, async || {
        ensure_healed(ctx, &mut stage, wanted).await?;
        held = ctx.http.metric(&url, "shoal_store_blocks").await?;
        // Of four peers each should hold three quarters of all blocks.
        ensure!(held >= wanted / REPLICAS / 2, "it holds {held} blocks");
        Ok(())
    });
    let took = took.await.context("a3, emptied")?;
    read(ctx, &url, &kept).await.context("through a3, emptied")?;
    ctx.note(format!("an emptied peer holds {held} blocks after {:.1} s", took.as_secs_f64()));
    Ok(())
}

/// A peer is killed and comes back within the time that is usual: nothing is copied for it.
async fn back_soon(ctx: &Ctx) -> anyhow::Result<()> {
    let mut stage = ctx.stage(&UpOptions::default()).await?;
    let kept = store(ctx, &stage, OBJECTS.0 / 4).await?;
    let wanted = REPLICAS * kept.iter().map(|(_, content)| blocks_of(content.size)).sum::<u64>();
    let name = "a2";
    healed(ctx, &mut stage, wanted).await.context("stored")?;
    let before = total(ctx, &mut stage).await?;
    let rounds = compared(ctx, &stage, name).await?;
    stage.net().kill(name)?;
    // What was written while the peers had just found each other may have been repaired before.
    let copied_before = repaired(ctx, &mut stage).await?;
    stage.net().restart(name).await?;
    until(PATIENCE, async || {
        // All others have compared themselves with it since.
        let now = compared(ctx, &stage, name).await?;
        let has_rest = now.iter().zip(&rounds).all(|(now, before)| now > before);
        ensure!(has_rest, "rounds: {now:?} after {rounds:?}");
        Ok(())
    })
    .await?;
    healed(ctx, &mut stage, wanted).await.context("after it came back")?;
    let after = total(ctx, &mut stage).await?;
    let copied = repaired(ctx, &mut stage).await? - copied_before;
    ensure!(copied == 0 && after == before, "{copied} copied, {after} copies after {before}");
    ctx.note("nothing was copied for a peer that was back soon");
    Ok(())
}

/// Stores objects through all peers in turn.
async fn store(ctx: &Ctx, stage: &Stage, count: u32) -> anyhow::Result<Vec<Kept>> {
    let urls = stage.urls();
    let uploads = (0..count).zip(urls.iter().cycle()).zip(SIZES.iter().cycle());
    stream::iter(uploads)
        .map(async |((seed, url), size)| {
            let content = Content { seed, size: *size };
            let stored = ctx.http.upload(url, content).await;
            anyhow::Ok((stored.with_context(|| format!("object {seed}"))?.cid, content))
        })
        .buffer_unordered(AT_A_TIME)
        .try_collect()
        .await
}

/// Reads all objects through one peer.
async fn read(ctx: &Ctx, url: &str, kept: &[Kept]) -> anyhow::Result<()> {
    stream::iter(kept)
        .map(async |(cid, content)| {
            ctx.http.check(url, cid, *content).await.with_context(|| format!("object {cid}"))
        })
        .buffer_unordered(AT_A_TIME)
        .try_collect()
        .await
}

/// Returns the blocks of a file: its chunks, and what links them if there are several.
fn blocks_of(size: u64) -> u64 {
    match size.div_ceil(CHUNK_BYTES) {
        0 | 1 => 1,
        chunks => chunks + 1,
    }
}

/// Waits until the peers that run have so many copies, and none of them knows of any that lacks.
async fn healed(ctx: &Ctx, stage: &mut Stage, wanted: u64) -> anyhow::Result<Duration> {
    until(HEAL_PATIENCE, async || ensure_healed(ctx, stage, wanted).await).await
}

async fn ensure_healed(ctx: &Ctx, stage: &mut Stage, wanted: u64) -> anyhow::Result<()> {
    let held = total(ctx, stage).await?;
    ensure!(held >= wanted, "{held} copies instead of {wanted}");
    for name in running_names(stage.net()) {
        let status = ctx.http.get(&format!("{}/api/v1/repair", stage.url(&name)?)).await?;
        let status: RepairStatus = serde_json::from_str(&status)?;
        let is_done = status.blocks_missing_copies == 0 && !status.is_more;
        ensure!(is_done, "{name} says {status:?}");
    }
    Ok(())
}

/// Returns the blocks that all peers that run hold together.
async fn total(ctx: &Ctx, stage: &mut Stage) -> anyhow::Result<u64> {
    sum(ctx, stage, "shoal_store_blocks").await
}

/// Returns the blocks that they copied to each other to repair something.
async fn repaired(ctx: &Ctx, stage: &mut Stage) -> anyhow::Result<u64> {
    sum(ctx, stage, "shoal_repair_blocks_total").await
}

async fn sum(ctx: &Ctx, stage: &mut Stage, metric: &str) -> anyhow::Result<u64> {
    let mut sum = 0;
    for name in running_names(stage.net()) {
        sum += ctx.http.metric(&stage.url(&name)?, metric).await?;
    }
    Ok(sum)
}

/// Returns how often each peer but one has compared itself with the others.
async fn compared(ctx: &Ctx, stage: &Stage, without: &str) -> anyhow::Result<Vec<u64>> {
    let mut rounds = Vec::new();
    for name in stage.names().iter().filter(|name| *name != without) {
        rounds.push(ctx.http.metric(&stage.url(name)?, "shoal_repair_rounds_total").await?);
    }
    Ok(rounds)
}
