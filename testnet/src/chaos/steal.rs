//! A long upload leaves its gateway about once: holders take the jobs of bringing the other copies, whoever is killed.

use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use protocol::api::Stored;

use super::ask::queue;
use super::stage::{Ctx, Stage};
use super::views::running_names;
use super::wait::{PATIENCE, until};
use crate::content::Content;
use crate::harness::UpOptions;
use crate::http::HttpError;

/// What is uploaded, each with its own bytes.
const SIZE: u64 = 160 << 20;
/// Its blocks: one of 1 MiB each, and the root.
const BLOCKS: u64 = (SIZE >> 20) + 1;
/// Copies of every block.
const REPLICAS: u64 = 3;

/// Bytes that the gateway sends for each of the object's, at most, in hundredths. A holder itself it sends every block once;
/// else too, but for the first 8 MiB, which it sends to all.
const SENT_MAX_PERCENT: u64 = 120;

/// Uploads that may end before anything is due.
const UPLOADS_MAX: u32 = 20;

/// How long jobs may take whose thief died: a lease, and some.
const QUEUE_PATIENCE: Duration = Duration::from_secs(60);

/// See the module.
pub(super) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    let mut stage = ctx.stage(&UpOptions::default()).await?;
    sent_once(ctx, &stage).await.context("an upload without faults")?;
    thief_killed(ctx, &mut stage).await.context("a thief is killed")?;
    gateway_killed(ctx, &mut stage).await.context("the gateway is killed")
}

async fn sent_once(ctx: &Ctx, stage: &Stage) -> anyhow::Result<()> {
    let url = stage.url("a0")?;
    let before = sent(ctx, &url).await?;
    let content = Content { seed: 71, size: SIZE };
    let cid = ctx.http.upload(&url, content).await?.cid;
    until(PATIENCE, async || {
        let mut held = 0;
        for url in stage.urls() {
            held += ctx.http.metric(&url, "shoal_store_blocks").await?;
        }
        ensure!(held == REPLICAS * BLOCKS, "{held} copies of {BLOCKS} blocks");
        Ok(())
    })
    .await?;
    let percent = (sent(ctx, &url).await? - before) * 100 / SIZE;
    ensure!(
        (40..=SENT_MAX_PERCENT).contains(&percent),
        "the gateway sent {percent} % of the object"
    );
    ctx.http.check(&stage.url("a3")?, &cid, content).await?;

    // Who took what from whom is told by both.
    let given = queue(&ctx.http, &url).await?.given;
    let took: u64 = given.iter().map(|moved| moved.jobs).sum();
    ensure!(took >= BLOCKS / 2, "{took} jobs were taken of {BLOCKS} blocks");
    let mut got = 0;
    for name in ["a1", "a2", "a3", "a4"] {
        let of_others = queue(&ctx.http, &stage.url(name)?).await?.got;
        got += of_others.iter().map(|moved| moved.jobs).sum::<u64>();
    }
    ensure!(got == took, "{took} jobs were given, and {got} taken");
    ctx.note(format!(
        "the gateway sent {percent} % of an object that has {REPLICAS} copies; {took} jobs were taken from it"
    ));
    Ok(())
}

/// Uploads one object after the other through the peer at `url`, until `is_due` holds while one is under way; then does
/// `act`, and returns what came of that upload. Where all holders are slow for a while, an upload has no jobs.
async fn act_during_upload(
    ctx: &Ctx,
    url: &str,
    first_seed: u32,
    is_due: impl AsyncFn() -> anyhow::Result<()>,
    act: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<(Content, Result<Stored, HttpError>)> {
    let mut ended_before = anyhow!("nothing was uploaded");
    for seed in first_seed..first_seed + UPLOADS_MAX {
        let content = Content { seed, size: SIZE };
        let mut upload = pin!(ctx.http.upload(url, content));
        let due = until(PATIENCE, async || is_due().await);
        tokio::select! {
            biased; // what is due beats an upload that has just ended
            due = due => {
                due?;
                act()?;
                return Ok((content, upload.await));
            }
            uploaded = &mut upload => {
                uploaded?;
                ended_before = match is_due().await {
                    Ok(()) => anyhow!("an upload ended too soon"),
                    Err(fault) => fault,
                };
            }
        }
    }
    Err(ended_before.context(format!("{UPLOADS_MAX} uploads ended before")))
}

async fn thief_killed(ctx: &Ctx, stage: &mut Stage) -> anyhow::Result<()> {
    let (url, victim) = (stage.url("a0")?, "a2");
    let of_victim = stage.url(victim)?;
    let stolen = ctx.http.metric(&of_victim, "shoal_work_stolen_total").await?;
    let is_due = async || {
        let now = ctx.http.metric(&of_victim, "shoal_work_stolen_total").await?;
        ensure!(now > stolen, "{victim} has taken nothing yet");
        Ok(())
    };
    let kill = || stage.net().kill(victim);
    let (content, uploaded) = act_during_upload(ctx, &url, 100, is_due, kill).await?;
    let cid = uploaded?.cid;
    for name in running_names(stage.net()) {
        let url = stage.url(&name)?;
        ctx.http.check(&url, &cid, content).await.with_context(|| format!("through {name}"))?;
    }
    empty(ctx, &url).await?;
    stage.net().restart(victim).await?;
    Ok(())
}

async fn gateway_killed(ctx: &Ctx, stage: &mut Stage) -> anyhow::Result<()> {
    let url = stage.url("a0")?;
    let begun = ctx.http.metric(&url, "shoal_work_enqueued_total").await?;
    let is_due = async || {
        let now = ctx.http.metric(&url, "shoal_work_enqueued_total").await?;
        ensure!(now > begun + 4, "no job of the upload yet");
        Ok(())
    };
    let kill = || stage.net().kill("a0");
    let (_, uploaded) = act_during_upload(ctx, &url, 200, is_due, kill).await?;
    ensure!(uploaded.is_err(), "an upload was acknowledged by a peer that was killed in it");
    stage.net().restart("a0").await?;
    let url = stage.url("a0")?;
    empty(ctx, &url).await?;
    let content = Content { seed: 74, size: SIZE };
    let cid = ctx.http.upload(&url, content).await.context("after it came back")?.cid;
    ctx.http.check(&stage.url("a4")?, &cid, content).await?;
    Ok(())
}

/// Waits until nothing is left in a queue, and nothing was given up.
async fn empty(ctx: &Ctx, url: &str) -> anyhow::Result<()> {
    until(QUEUE_PATIENCE, async || {
        let queue = queue(&ctx.http, url).await?;
        ensure!(queue.dead == 0, "given up: {:?}", queue.dead_letters);
        ensure!(queue.by_kind.values().all(|count| *count == 0), "{queue:?}");
        Ok(())
    })
    .await
    .map(drop)
}

/// Returns the bytes of blocks and their questions that a peer has sent to others.
async fn sent(ctx: &Ctx, url: &str) -> anyhow::Result<u64> {
    ctx.http.metric(url, "shoal_net_bytes_sent_total{class=\"bulk\"}").await
}
