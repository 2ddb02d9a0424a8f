//! A peer without room: it says so, goes on reading, and takes bytes again when some were freed.

use anyhow::{Context, bail, ensure};

use super::client::shoal;
use super::stage::{Ctx, Stage};
use super::tmpfs::Tmpfs;
use super::vectors::write;
use super::wait::{PATIENCE, until};
use crate::content::Content;
use crate::harness::UpOptions;
use crate::http::{Http, HttpError};

/// Bytes that the peer offers to hold.
const CAPACITY_BYTES: u64 = 64 << 20;

/// What fits once, and not twice.
const HALF_BYTES: u64 = 40 << 20;

/// Times that space is freed and taken again: many times the capacity in all.
const ROUNDS: u32 = 6;

/// Bytes of the small device.
const DEVICE_BYTES: u64 = 320 << 20;

/// See the module.
pub(super) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    by_capacity(ctx).await.context("by its capacity")?;
    match Tmpfs::mount(ctx.folder()?, DEVICE_BYTES) {
        Some(device) => by_device(ctx, &device).await.context("by its device"),
        None => {
            ctx.note("the full device was skipped: needs root, to mount a small one");
            Ok(())
        }
    }
}

fn options(flags: &[&str]) -> UpOptions {
    // What is deleted goes at once: this is about its space.
    let flags = flags.iter().chain(&["--grace", "1s"]);
    let flags = flags.map(|flag| (*flag).to_owned()).collect();
    UpOptions { nodes: vec![1], replicas: 1, flags, ..UpOptions::default() }
}

/// Fails unless an upload was refused for want of room, with a reason.
async fn must_be_refused(http: &Http, url: &str, content: Content) -> anyhow::Result<()> {
    match http.upload(url, content).await {
        Err(HttpError::Problem(problem)) => {
            let is_clear = problem.status == 507 && problem.kind == "full";
            ensure!(is_clear && problem.detail.contains("full"), "refused by {problem:?}");
            Ok(())
        }
        Err(other) => Err(anyhow::Error::from(other).context("no problem document")),
        Ok(stored) => bail!("{} bytes were stored where none fit", stored.size),
    }
}

/// The same through the command line, with a file.
async fn client_must_be_told(stage: &Stage, url: &str, content: Content) -> anyhow::Result<()> {
    let folder = stage.files()?;
    write(&folder.join("large"), content)?;
    let ended = shoal(&folder, &[url], &["upload", "large"]).await?;
    ended.expect(5)?.expect_one_line(&["large", "full"])?;
    Ok(())
}

/// Waits until the peer holds exactly so many blocks.
async fn holds(http: &Http, url: &str, blocks: u64) -> anyhow::Result<()> {
    until(PATIENCE, async || {
        let found = http.metric(url, "shoal_store_blocks").await?;
        ensure!(found == blocks, "{found} blocks are held instead of {blocks}");
        Ok(())
    })
    .await?;
    Ok(())
}

async fn by_capacity(ctx: &Ctx) -> anyhow::Result<()> {
    let stage = ctx.stage(&options(&["--capacity", &CAPACITY_BYTES.to_string()])).await?;
    let (http, url) = (&ctx.http, stage.url("a0")?);
    let first = Content { seed: 1, size: HALF_BYTES };
    let mut kept = (http.upload(&url, first).await?.cid, first);
    let blocks = http.metric(&url, "shoal_store_blocks").await?;
    for round in 0..ROUNDS {
        let turn = async {
            let next = Content { seed: 10 + round, size: HALF_BYTES };
            must_be_refused(http, &url, next).await?;
            http.check(&url, &kept.0, kept.1).await.context("a read from the full peer")?;
            holds(http, &url, blocks).await.context("after a refused upload")?;
            http.delete(&url, &kept.0).await.context("a deletion")?;
            holds(http, &url, 0).await.context("after a deletion")?;
            kept = (http.upload(&url, next).await.context("into freed space")?.cid, next);
            http.check(&url, &kept.0, kept.1).await.context("a read of what took freed space")
        };
        turn.await.with_context(|| format!("round {round}"))?;
    }
    // Far larger than what the peer takes in before it answers.
    client_must_be_told(&stage, &url, Content { seed: 2, size: 5 * CAPACITY_BYTES }).await?;
    holds(http, &url, blocks).await?;
    let used = http.metric(&url, "shoal_store_used_bytes").await?;
    ensure!(used <= CAPACITY_BYTES, "{used} bytes are used of {CAPACITY_BYTES}");
    Ok(())
}

async fn by_device(ctx: &Ctx, device: &Tmpfs) -> anyhow::Result<()> {
    let stage = ctx.stage_in(device.path(), &options(&[])).await?;
    let (http, url) = (&ctx.http, stage.url("a0")?);
    let before = Content { seed: 1, size: HALF_BYTES };
    let kept = http.upload(&url, before).await?.cid;
    for (turn, bytes_left) in (0..).zip([20 << 20, 1 << 20, 0]) {
        let attempt = async {
            device.fill(bytes_left)?;
            let next = Content { seed: 20 + turn, size: HALF_BYTES };
            must_be_refused(http, &url, next).await?;
            client_must_be_told(&stage, &url, next).await?;
            http.check(&url, &kept, before).await.context("a read from the full device")?;
            stage.ensure_running("a0")?;
            device.relieve()?;
            let stored = until_taken(http, &url, next).await.context("into freed space")?;
            http.check(&url, &stored, next).await?;
            http.delete(&url, &stored).await?;
            anyhow::Ok(())
        };
        attempt.await.with_context(|| format!("{bytes_left} bytes left"))?;
    }
    Ok(())
}

/// Uploads once there is room again; a peer may look at its device from time to time only.
async fn until_taken(http: &Http, url: &str, content: Content) -> anyhow::Result<String> {
    let mut taken = None;
    until(PATIENCE, async || {
        taken = Some(http.upload(url, content).await?.cid);
        Ok(())
    })
    .await?;
    taken.context("an upload that succeeded has a root")
}
