//! Bytes that change on a disk: found, counted, never served.

use anyhow::{Context, bail, ensure};
use protocol::Cid;

use super::client::shoal;
use super::segments::{Damage, records};
use super::stage::{Ctx, Stage};
use super::wait::{PATIENCE, until};
use crate::content::Content;
use crate::harness::UpOptions;
use crate::http::HttpError;

/// Three of four peers hold each of its blocks, so each holds more than [`DAMAGED`].
const OBJECT: Content = Content { seed: 9, size: 192 << 20 };

/// Blocks that are damaged on one peer, and how many of them with checksums that fit.
const DAMAGED: usize = 100;
const FORGED: usize = 25;

/// See the module.
pub(super) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    several_holders(ctx).await.context("three holders")?;
    for damage in [Damage::Flip, Damage::Forge] {
        only_holder(ctx, damage).await.with_context(|| format!("one holder, {damage:?}"))?;
    }
    Ok(())
}

async fn several_holders(ctx: &Ctx) -> anyhow::Result<()> {
    let mut stage = ctx.stage(&UpOptions { nodes: vec![4], ..UpOptions::default() }).await?;
    let cid = ctx.http.upload(&stage.url("a0")?, OBJECT).await?.cid;

    // Under a running daemon, which has the file open.
    damage_some(&stage, "a1").await?;
    downloads_find_it(ctx, &stage, "a1", &cid).await.context("damaged while it ran")?;

    // Under a daemon that stands: what it finds at its start is no reason to stay down.
    stage.net().stop("a2")?;
    damage_some(&stage, "a2").await?;
    stage.net().restart("a2").await?;
    downloads_find_it(ctx, &stage, "a2", &cid).await.context("damaged while it stood")?;

    // After a crash the end of a segment is read again at the start, damage and all.
    stage.net().kill("a3")?;
    damage_some(&stage, "a3").await?;
    stage.net().restart("a3").await?;
    downloads_find_it(ctx, &stage, "a3", &cid).await.context("damaged after a crash")
}

/// Damages [`DAMAGED`] blocks of a peer.
async fn damage_some(stage: &Stage, name: &str) -> anyhow::Result<()> {
    let data_dir = stage.node(name)?.data_dir.clone();
    // Late copies may still be on their way.
    until(PATIENCE, async || {
        let count = records(&data_dir)?.len();
        ensure!(count >= DAMAGED, "{name} holds {count} blocks in segments");
        Ok(())
    })
    .await?;
    for (number, record) in records(&data_dir)?.into_values().take(DAMAGED).enumerate() {
        let damage = if number < FORGED { Damage::Forge } else { Damage::Flip };
        record.damage(damage, 7919 * number as u64)?;
    }
    Ok(())
}

async fn downloads_find_it(
    ctx: &Ctx,
    stage: &Stage,
    victim: &str,
    cid: &str,
) -> anyhow::Result<()> {
    let url = stage.url(victim)?;
    for name in stage.names() {
        let checked = ctx.http.check(&stage.url(&name)?, cid, OBJECT).await;
        checked.with_context(|| format!("through {name}"))?;
    }
    until(PATIENCE, async || {
        ctx.http.check(&url, cid, OBJECT).await?;
        let counted = ctx.http.metric(&url, "shoal_store_corrupt_blocks_total").await?;
        ensure!(counted >= DAMAGED as u64, "{victim} counts {counted} corrupt blocks");
        Ok(())
    })
    .await?;
    Ok(())
}

async fn only_holder(ctx: &Ctx, damage: Damage) -> anyhow::Result<()> {
    let options = UpOptions { nodes: vec![1], replicas: 1, ..UpOptions::default() };
    let stage = ctx.stage(&options).await?;
    let content = Content { seed: 4, size: 8 << 20 };
    let (url, folder) = (stage.url("a0")?, stage.files()?);
    let cid = ctx.http.upload(&url, content).await?.cid;
    let third = Cid::of(protocol::Codec::Raw, &content.slice(2 << 20, 3 << 20));
    let record = records(&stage.node("a0")?.data_dir)?.remove(&third).context("no third chunk")?;
    record.damage(damage, 12_345)?;

    // Twice: what was found once stays found.
    for _ in 0..2 {
        must_fail(ctx.http.check(&url, &cid, content).await)?;
        must_fail(ctx.http.check_range(&url, &cid, content, Some((2 << 20, 2 << 20))).await)?;
        ctx.http.check_range(&url, &cid, content, Some((0, (2 << 20) - 1))).await?;
        ctx.http.check_range(&url, &cid, content, Some((3 << 20, (8 << 20) - 1))).await?;
        let block = ctx.http.get(&format!("{url}/api/v1/blocks/{third}")).await;
        match block {
            Err(HttpError::Problem(problem)) => {
                let known =
                    ["corrupt", "not_found", "unavailable"].contains(&problem.kind.as_str());
                ensure!(known, "the block is {}: {}", problem.kind, problem.detail);
            }
            other => bail!("the block alone: {other:?}"),
        }
        let ended = shoal(&folder, &[&url], &["download", &cid, "-o", "copy"]).await?;
        ensure!(ended.status != Some(0), "the client took a damaged block for good");
        ended.expect_one_line(&[&third.to_string()])?;
        ensure!(!folder.join("copy").exists(), "the client left a file with damaged bytes");
    }
    let counted = ctx.http.metric(&url, "shoal_store_corrupt_blocks_total").await?;
    ensure!(counted >= 1, "the damaged block was not counted");
    Ok(())
}

/// Fails unless a download failed, and without a wrong byte.
fn must_fail(outcome: Result<(), HttpError>) -> anyhow::Result<()> {
    match outcome {
        Err(HttpError::Problem(_) | HttpError::Broken(_)) => Ok(()),
        Err(wrong @ HttpError::Wrong { .. }) => Err(wrong.into()),
        Ok(()) => bail!("a download gave bytes that are nowhere any more"),
    }
}
