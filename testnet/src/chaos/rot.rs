//! Bytes that change on a disk: found, counted, never served.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use protocol::Cid;

use super::client::shoal;
use super::segments::{Damage, Record, records};
use super::stage::{Ctx, Stage};
use super::wait::{PATIENCE, until};
use crate::content::Content;
use crate::harness::UpOptions;
use crate::http::HttpError;

/// Three of four peers hold each of its blocks, so each holds more than [`DAMAGED`]. Damaged on two of them.
const OBJECT: Content = Content { seed: 9, size: 192 << 20 };

/// As large, and damaged on the third: a copy that nobody repaired is never the last one.
const OTHER: Content = Content { seed: 10, ..OBJECT };

/// Bytes of its chunks.
const CHUNK_BYTES: u64 = 1 << 20;

/// Blocks that are damaged on one peer, and how many of them with checksums that fit.
const DAMAGED: usize = 100;
const FORGED: usize = 25;

/// Objects of one block each, which lie in the index; every peer of three holds all of them.
const SMALL: u32 = 120;

/// Bytes of each.
const SMALL_BYTES: u64 = 20_000;

/// Times that a peer with damage in its index takes new blocks and is started again. Every start makes a table of what
/// came since the last one, and a few of these are merged.
const MERGES: u32 = 6;

/// See the module.
pub(super) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    several_holders(ctx).await.context("three holders")?;
    in_the_index(ctx).await.context("small blocks in tables")?;
    in_the_log(ctx).await.context("small blocks in the log")?;
    for damage in [Damage::Flip, Damage::Forge] {
        only_holder(ctx, damage).await.with_context(|| format!("one holder, {damage:?}"))?;
    }
    Ok(())
}

async fn several_holders(ctx: &Ctx) -> anyhow::Result<()> {
    let mut stage = ctx.stage(&UpOptions { nodes: vec![4], ..UpOptions::default() }).await?;
    let cid = ctx.http.upload(&stage.url("a0")?, OBJECT).await?.cid;

    // Under a running daemon, which has the file open.
    let damaged = damage_some(&stage, "a1", OBJECT).await?;
    let found = downloads_find_it(ctx, &stage, "a1", &cid, &damaged).await;
    found.context("damaged while it ran")?;

    // Under a daemon that stands: what it finds at its start is no reason to stay down.
    stage.net().stop("a2")?;
    let damaged = damage_some(&stage, "a2", OBJECT).await?;
    stage.net().restart("a2").await?;
    let found = downloads_find_it(ctx, &stage, "a2", &cid, &damaged).await;
    found.context("damaged while it stood")?;

    // Without an index segments are read again at the start, damage and all, and the rest is held.
    let other = ctx.http.upload(&stage.url("a0")?, OTHER).await?.cid;
    stage.net().kill("a3")?;
    let damaged = damage_some(&stage, "a3", OTHER).await?.len() as u64;
    let data_dir = stage.node("a3")?.data_dir.clone();
    let written = records(&data_dir)?.len() as u64;
    std::fs::remove_dir_all(data_dir.join("index")).context("no folder of the index")?;
    stage.net().restart("a3").await?;
    let held = ctx.http.metric(&stage.url("a3")?, "shoal_store_blocks").await?;
    ensure!(
        (written - damaged..written - damaged / 2).contains(&held),
        "a3 holds {held} of {written} blocks, of which {damaged} were damaged"
    );
    read_everywhere(ctx, &stage, &other, OTHER).await.context("its index lost")?;
    read_everywhere(ctx, &stage, &cid, OBJECT).await.context("its index lost")
}

/// Damages [`DAMAGED`] blocks of an object on a peer, and returns which.
async fn damage_some(stage: &Stage, name: &str, object: Content) -> anyhow::Result<BTreeSet<Cid>> {
    let data_dir = stage.node(name)?.data_dir.clone();
    let starts = (0..object.size).step_by(usize::try_from(CHUNK_BYTES)?);
    let chunks: BTreeSet<Cid> = starts
        .map(|start| Cid::of(protocol::Codec::Raw, &object.slice(start, start + CHUNK_BYTES)))
        .collect();
    let mut blocks = BTreeMap::new();
    // Late copies may still be on their way.
    until(PATIENCE, async || {
        blocks = records(&data_dir)?;
        blocks.retain(|cid, _| chunks.contains(cid));
        ensure!(blocks.len() >= DAMAGED, "{name} holds {} blocks in segments", blocks.len());
        Ok(())
    })
    .await?;
    let damaged: BTreeMap<Cid, Record> = blocks.into_iter().take(DAMAGED).collect();
    for (number, record) in damaged.values().enumerate() {
        let damage = if number < FORGED { Damage::Forge } else { Damage::Flip };
        record.damage(damage, 7919 * number as u64)?;
    }
    Ok(damaged.into_keys().collect())
}

async fn read_everywhere(
    ctx: &Ctx,
    stage: &Stage,
    cid: &str,
    object: Content,
) -> anyhow::Result<()> {
    for name in stage.names() {
        let checked = ctx.http.check(&stage.url(&name)?, cid, object).await;
        checked.with_context(|| format!("through {name}"))?;
    }
    Ok(())
}

async fn downloads_find_it(
    ctx: &Ctx,
    stage: &Stage,
    victim: &str,
    cid: &str,
    damaged: &BTreeSet<Cid>,
) -> anyhow::Result<()> {
    read_everywhere(ctx, stage, cid, OBJECT).await?;
    let (url, data_dir) = (stage.url(victim)?, &stage.node(victim)?.data_dir);
    until(PATIENCE, async || {
        ctx.http.check(&url, cid, OBJECT).await?;
        let counted = ctx.http.metric(&url, "shoal_store_corrupt_blocks_total").await?;
        ensure!(counted >= damaged.len() as u64, "{victim} counts {counted} corrupt blocks");
        let now = records(data_dir)?;
        // How many depends on how many were met at a time.
        for cid in damaged {
            if let Some(record) = now.get(cid)
                && record.is_whole(cid)?
            {
                return Ok(());
            }
        }
        bail!("{victim} has no copy repaired")
    })
    .await?;
    Ok(())
}

/// Bytes change in small blocks, and the tables that they are in are merged: neither costs more than those blocks.
async fn in_the_index(ctx: &Ctx) -> anyhow::Result<()> {
    let mut stage = ctx.stage(&UpOptions { nodes: vec![3], ..UpOptions::default() }).await?;
    let (victim, gateway) = ("a1", stage.url("a0")?);
    let mut kept = store(ctx, &gateway, 0..SMALL).await?;
    // What is only in the log so far gets its table at the next start.
    stage.net().kill(victim)?;
    stage.net().restart(victim).await?;
    stage.net().stop(victim)?;
    let index = stage.node(victim)?.data_dir.join("index");
    let damaged = flip(&index, "sst", &kept)?;
    ensure!(damaged >= DAMAGED, "only {damaged} small blocks lie in tables");
    stage.net().restart(victim).await?;

    for round in 0..MERGES {
        let url = stage.url(victim)?;
        for (cid, content) in &kept {
            ctx.http.check(&url, cid, *content).await.with_context(|| format!("round {round}"))?;
        }
        if round == 0 {
            let counted = ctx.http.metric(&url, "shoal_store_corrupt_blocks_total").await?;
            ensure!(counted >= damaged as u64, "{counted} found of {damaged}");
        }
        let from = SMALL + 10 * round;
        kept.extend(store(ctx, &gateway, from..from + 10).await?);
        stage.net().kill(victim)?;
        stage.net().restart(victim).await.with_context(|| format!("start {round}"))?;
    }
    stage.ensure_running(victim)
}

/// Bytes change in small blocks that are in no table yet: their peer says so, and gets back from others what it lost.
async fn in_the_log(ctx: &Ctx) -> anyhow::Result<()> {
    let flags = ["--away", "3s"].map(ToOwned::to_owned).to_vec();
    let options = UpOptions { nodes: vec![3], flags, ..UpOptions::default() };
    let mut stage = ctx.stage(&options).await?;
    let victim = "a1";
    let kept = store(ctx, &stage.url("a0")?, 0..SMALL).await?;
    let held = async |stage: &Stage| {
        let held = ctx.http.metric(&stage.url(victim)?, "shoal_store_blocks").await?;
        ensure!(held >= u64::from(SMALL), "{victim} holds {held} blocks");
        Ok(())
    };
    until(PATIENCE, async || held(&stage).await).await?;
    stage.net().kill(victim)?;
    let index = stage.node(victim)?.data_dir.join("index");
    let damaged = flip(&index, "log", &kept)?;
    ensure!(damaged >= DAMAGED, "only {damaged} small blocks lie in the log");
    stage.net().restart(victim).await?;

    let url = stage.url(victim)?;
    let counted = ctx.http.metric(&url, "shoal_disk_cut_records_total").await?;
    ensure!(counted > 0, "{victim} says nothing of what it lost");
    for (cid, content) in &kept {
        ctx.http.check(&url, cid, *content).await?;
    }
    until(PATIENCE, async || held(&stage).await).await.context("after the damage")?;
    stage.ensure_running(victim)?;

    without_metadata(&mut stage, victim).await?;
    // Nor does one that holds nothing.
    let empty = stage.net().add(None, &["--capacity=0".to_owned()]).await?;
    without_metadata(&mut stage, &empty).await.context("a peer without blocks")
}

/// A peer that lost its metadata founds no cluster of its own under the name that it has in another.
async fn without_metadata(stage: &mut Stage, victim: &str) -> anyhow::Result<()> {
    stage.net().stop(victim)?;
    let metadata = stage.node(victim)?.data_dir.join("metadata");
    std::fs::remove_dir_all(metadata).context("no folder of the metadata")?;
    let Err(error) = stage.net().restart(victim).await else {
        bail!("{victim} started without its metadata");
    };
    let error = format!("{error:#}");
    ensure!(error.contains("and knows of no cluster"), "{error}");
    Ok(())
}

/// Stores objects of one small block each through one peer.
async fn store(ctx: &Ctx, url: &str, seeds: Range<u32>) -> anyhow::Result<Vec<(String, Content)>> {
    let mut kept = Vec::new();
    for seed in seeds {
        let content = Content { seed, size: SMALL_BYTES };
        kept.push((ctx.http.upload(url, content).await?.cid, content));
    }
    Ok(kept)
}

/// Flips a bit in each of these blocks that a file of the index with this ending has, and returns how many do.
fn flip(index: &Path, ending: &str, kept: &[(String, Content)]) -> anyhow::Result<usize> {
    /// Bytes that tell a block from others, and how many such parts are looked for: a log may break one of them in two.
    const TELLING: u64 = 64;
    const PARTS: u64 = 2;
    let mut flipped = BTreeSet::new();
    for entry in std::fs::read_dir(index)? {
        let path = entry?.path();
        if path.extension().is_none_or(|end| end != ending) {
            continue;
        }
        let mut bytes = std::fs::read(&path)?;
        for (cid, content) in kept {
            let parts = (0..PARTS).map(|part| content.slice(part * TELLING, (part + 1) * TELLING));
            let found = parts.map(|part| bytes.windows(part.len()).position(|bytes| bytes == part));
            if let Some(at) = found.flatten().next() {
                bytes[at] ^= 1;
                flipped.insert(cid);
            }
        }
        std::fs::write(&path, bytes)?;
    }
    Ok(flipped.len())
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
