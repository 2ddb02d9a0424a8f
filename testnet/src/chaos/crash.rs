//! Killed peers: clients are told, and what was acknowledged is there.

use std::path::Path;

use anyhow::{Context, ensure};
use tokio::io::AsyncWriteExt;

use super::client::{Ended, end, shoal, start};
use super::stage::{Ctx, Stage};
use super::vectors::write;
use super::wait::{PATIENCE, until, within};
use crate::content::Content;
use crate::harness::UpOptions;

/// Bytes of an upload that is cut off: far more than pass before the kill.
const LARGE: Content = Content { seed: 1, size: 256 << 20 };

/// Bytes of each object that is acknowledged.
const OBJECT_BYTES: u64 = (6 << 20) + 1;

/// Bytes of blocks that a peer has stored when an upload through it is well under way.
const UNDER_WAY_BYTES: u64 = 4 << 20;

/// An object that was acknowledged.
struct Kept {
    cid: String,
    content: Content,
}

/// See the module.
pub(super) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    let mut stage = ctx.stage(&UpOptions::default()).await?;
    pipe_into_killed_peer(ctx, &mut stage).await.context("killed while it took a pipe")?;
    file_into_killed_peer(ctx, &mut stage).await.context("killed while it took a file")?;
    let mut kept = Vec::new();
    for victim in stage.names() {
        let outcome = kill_after_acknowledgement(ctx, &mut stage, &victim, &mut kept).await;
        outcome.with_context(|| format!("{victim} killed after an acknowledgement"))?;
    }
    kill_everybody(ctx, &mut stage, &mut kept).await.context("all killed at once")
}

/// Kills a peer once some bytes of an upload through it are on its disk.
async fn kill_under_way(
    ctx: &Ctx,
    stage: &mut Stage,
    name: &str,
    before: u64,
) -> anyhow::Result<()> {
    let url = stage.url(name)?;
    until(PATIENCE, async || {
        let stored = ctx.http.metric(&url, "shoal_store_block_bytes_total").await?;
        ensure!(stored >= before + UNDER_WAY_BYTES, "{stored} bytes were stored");
        Ok(())
    })
    .await?;
    stage.net().kill(name)
}

fn is_told(ended: Ended, url: &str) -> anyhow::Result<()> {
    ended.expect(6)?.expect_one_line(&["upload", url])?;
    Ok(())
}

fn ensure_only(folder: &Path, name: Option<&str>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let found = entry?.file_name();
        ensure!(name.is_some_and(|name| *name == *found), "{} was left behind", found.display());
    }
    Ok(())
}

/// A pipe gives its bytes once, so nothing but a clear error can come of it.
async fn pipe_into_killed_peer(ctx: &Ctx, stage: &mut Stage) -> anyhow::Result<()> {
    let (folder, url) = (stage.files()?, stage.url("a0")?);
    let mut child = start("shoal", &folder, &["--endpoint", &url, "upload", "-"])?;
    let mut pipe = child.stdin.take().context("the pipe is open")?;
    let bytes = LARGE.slice(0, 32 << 20);
    let written = within(PATIENCE, "the client", pipe.write_all(&bytes)).await?;
    written.context("the client stopped reading")?;
    // The pipe stays open, so the upload cannot have ended.
    kill_under_way(ctx, stage, "a0", 0).await?;
    drop(pipe);
    is_told(end(child).await?, &url)?;
    ensure_only(&folder, None)?;
    stage.net().restart("a0").await
}

async fn file_into_killed_peer(ctx: &Ctx, stage: &mut Stage) -> anyhow::Result<()> {
    let folder = stage.files()?;
    write(&folder.join("large"), LARGE)?;
    let (first, second) = (stage.url("a0")?, stage.url("a1")?);

    // The only endpoint dies: a clear error, and a second try through another one succeeds.
    let child = start("shoal", &folder, &["--endpoint", &first, "upload", "large"])?;
    kill_under_way(ctx, stage, "a0", 0).await?;
    is_told(end(child).await?, &first)?;
    ensure_only(&folder, Some("large"))?;
    let retried = shoal(&folder, &[&first, &second], &["upload", "large"]).await?.expect(0)?;
    ctx.http.check(&stage.url("a2")?, retried.cid()?, LARGE).await?;
    ctx.http.delete(&second, retried.cid()?).await?;
    stage.net().restart("a0").await?;

    // One of two endpoints dies: the client goes on with the other by itself.
    let before = ctx.http.metric(&first, "shoal_store_block_bytes_total").await?;
    let named = ["--endpoint", &first, "--endpoint", &second, "upload", "large"];
    let child = start("shoal", &folder, &named)?;
    kill_under_way(ctx, stage, "a0", before).await?;
    let uploaded = end(child).await?.expect(0)?;
    ctx.http.check(&stage.url("a3")?, uploaded.cid()?, LARGE).await?;
    std::fs::remove_file(folder.join("large"))?;
    stage.net().restart("a0").await
}

/// Stores an object; the answer is the acknowledgement.
async fn keep(ctx: &Ctx, stage: &Stage, through: &str, kept: &mut Vec<Kept>) -> anyhow::Result<()> {
    let seed = u32::try_from(100 + kept.len())?;
    let content = Content { seed, size: OBJECT_BYTES };
    let stored = ctx.http.upload(&stage.url(through)?, content).await;
    let cid = stored.with_context(|| format!("upload through {through}"))?.cid;
    kept.push(Kept { cid, content });
    Ok(())
}

async fn check(ctx: &Ctx, stage: &Stage, through: &str, kept: &[Kept]) -> anyhow::Result<()> {
    let url = stage.url(through)?;
    for object in kept {
        let checked = ctx.http.check(&url, &object.cid, object.content).await;
        checked.with_context(|| format!("{} through {through}", object.cid))?;
    }
    Ok(())
}

async fn kill_after_acknowledgement(
    ctx: &Ctx,
    stage: &mut Stage,
    victim: &str,
    kept: &mut Vec<Kept>,
) -> anyhow::Result<()> {
    let names = stage.names();
    let at = names.iter().position(|name| name == victim).context("the victim has a name")?;
    let next = names.get(at + 1).or(names.first()).context("there are several")?.clone();
    // Once as the peer that acknowledged, once as another one.
    for through in [victim, &next] {
        keep(ctx, stage, through, kept).await?;
        stage.net().kill(victim)?;
        check(ctx, stage, &next, kept).await?;
        stage.net().restart(victim).await?;
        check(ctx, stage, victim, kept).await?;
    }
    Ok(())
}

async fn kill_everybody(ctx: &Ctx, stage: &mut Stage, kept: &mut Vec<Kept>) -> anyhow::Result<()> {
    let names = stage.names();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    for through in &all {
        keep(ctx, stage, through, kept).await?;
    }
    stage.net().kill_all(&all)?;
    stage.net().restart_all(&all).await?;
    for name in &all {
        check(ctx, stage, name, kept).await?;
    }
    Ok(())
}
