//! Bytes that change on a disk while nobody reads them: found by reading everything again, and written anew.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use futures::stream::{self, StreamExt, TryStreamExt};
use protocol::Cid;
use protocol::api::RepairStatus;

use super::client::shoal;
use super::scale::scaled;
use super::segments::{Damage, Record, records};
use super::stage::{Ctx, Stage};
use super::wait::{PATIENCE, until};
use crate::content::Content;
use crate::harness::UpOptions;

/// Objects of one block each, which all lie in segments: in a whole run so many that a peer has 1,000 copies damaged.
const OBJECTS: [u32; 2] = [300, 3_600];

/// Their sizes.
const SIZES: [u64; 3] = [66_000, 120_000, 250_000];

/// Copies that every block should have.
const REPLICAS: usize = 3;

/// In what time everything is read again, where the schedule does it.
const WITHIN: &str = "3s";

/// Every so many damaged blocks have checksums that fit.
const FORGED_EVERY: usize = 4;

/// Requests at a time.
const AT_A_TIME: usize = 8;

/// An object and its name.
type Kept = (String, Content);

/// A copy: the name of its node, and its block.
type Place = (String, Cid);

/// See the module.
pub(super) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    one_pass(ctx).await.context("many copies on one peer")?;
    all_but_one(ctx).await.context("all copies but one")
}

/// Half of the blocks of one peer are damaged; one pass that a client starts finds them all.
async fn one_pass(ctx: &Ctx) -> anyhow::Result<()> {
    let stage = ctx.stage(&UpOptions::default()).await?;
    let kept = store(ctx, &stage).await?;
    let (victim, url) = ("a1", stage.url("a1")?);
    let copies = copies(&stage, &kept).await?;
    let held = copies.iter().filter(|((name, _), _)| name == victim);
    let damaged: Vec<(&Place, &Record)> = held.step_by(2).collect();
    damage(&damaged)?;
    let damaged: Vec<Place> = damaged.into_iter().map(|(place, _)| place.clone()).collect();
    let before = progress(ctx, &url).await?.scrub;
    ensure!(before.blocks_corrupt == 0, "found before anybody looked: {before:?}");

    let folder = stage.files()?;
    shoal(&folder, &[&url], &["scrub", "start"]).await?.expect(0)?;
    let mut after = before.clone();
    until(PATIENCE, async || {
        after = progress(ctx, &url).await?.scrub;
        ensure!(after.passes > before.passes, "no pass ended: {after:?}");
        Ok(())
    })
    .await?;
    ensure!(after.passes - before.passes == 1, "more than one pass: {after:?}");
    // One that another peer asked for meanwhile was found by that.
    let counted = ctx.http.metric(&url, "shoal_store_corrupt_blocks_total").await?;
    ensure!(
        counted == damaged.len() as u64,
        "{} were damaged: {counted}, {after:?}",
        damaged.len()
    );
    let took = whole(ctx, &stage, &damaged).await?;
    let told = shoal(&folder, &[&url], &["repair", "status"]).await?.expect(0)?.out;
    let counted = format!("written anew {}", damaged.len());
    ensure!(told.contains(&counted), "no {counted:?} in {told}");
    read(ctx, &stage, &kept).await?;
    ctx.note(format!(
        "{} damaged copies found by one pass over {} blocks, and written anew {:.1} s later",
        damaged.len(),
        after.blocks - before.blocks,
        took.as_secs_f64()
    ));
    Ok(())
}

/// Of every block all copies but one are damaged, another one for each block; the schedule finds them all.
async fn all_but_one(ctx: &Ctx) -> anyhow::Result<()> {
    let flags = ["--scrub-within", WITHIN].map(ToOwned::to_owned).to_vec();
    let mut stage = ctx.stage(&UpOptions { flags, ..UpOptions::default() }).await?;
    let kept = store(ctx, &stage).await?;
    let copies = copies(&stage, &kept).await?;
    // All of it under daemons that stand: none is written anew before the next is damaged.
    let names = stage.names();
    for name in &names {
        stage.net().stop(name)?;
    }
    let mut seen: BTreeMap<Cid, usize> = BTreeMap::new();
    let mut damaged = Vec::new();
    for (place, record) in &copies {
        let (cid, number) = (place.1, seen.entry(place.1).or_default());
        let is_spared = *number == usize::from(cid.digest()[0]) % REPLICAS;
        *number += 1;
        if !is_spared {
            damaged.push((place, record));
        }
    }
    damage(&damaged)?;
    let damaged: Vec<Place> = damaged.into_iter().map(|(place, _)| place.clone()).collect();
    stage.net().restart_all(&names.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let took = whole(ctx, &stage, &damaged).await?;
    let mut found = 0;
    for url in stage.urls() {
        found += ctx.http.metric(&url, "shoal_store_corrupt_blocks_total").await?;
    }
    ensure!(found == damaged.len() as u64, "{found} found of {}", damaged.len());
    read(ctx, &stage, &kept).await?;
    ctx.note(format!(
        "{found} copies, all but one of every block, written anew within {:.1} s, read within {WITHIN}",
        took.as_secs_f64()
    ));
    Ok(())
}

/// Stores the objects through all peers in turn.
async fn store(ctx: &Ctx, stage: &Stage) -> anyhow::Result<Vec<Kept>> {
    let urls = stage.urls();
    let uploads =
        (0..scaled(OBJECTS[0], OBJECTS[1])).zip(urls.iter().cycle()).zip(SIZES.iter().cycle());
    stream::iter(uploads)
        .map(async |((seed, url), size)| {
            let content = Content { seed, size: *size };
            anyhow::Ok((ctx.http.upload(url, content).await?.cid, content))
        })
        .buffer_unordered(AT_A_TIME)
        .try_collect()
        .await
}

/// Returns the block of each object.
fn blocks(kept: &[Kept]) -> BTreeMap<Cid, Content> {
    let block = |(_, content): &Kept| {
        (Cid::of(protocol::Codec::Raw, &content.slice(0, content.size)), *content)
    };
    kept.iter().map(block).collect()
}

/// Returns the copies of all blocks that have as many as wanted, once none has fewer. What was stored while
/// the peers had just found each other may have more, one of which is dropped some day.
async fn copies(stage: &Stage, kept: &[Kept]) -> anyhow::Result<BTreeMap<Place, Record>> {
    let blocks = blocks(kept);
    let mut found = BTreeMap::new();
    // Late copies come after the acknowledgement.
    until(PATIENCE, async || {
        found.clear();
        for name in stage.names() {
            let held = records(&stage.node(&name)?.data_dir)?.into_iter();
            let held = held.filter(|(cid, _)| blocks.contains_key(cid));
            found.extend(held.map(|(cid, record)| ((name.clone(), cid), record)));
        }
        let lacking = blocks.keys().filter(|cid| holders(&found, cid) < REPLICAS).count();
        ensure!(lacking == 0, "{lacking} blocks lack copies");
        Ok(())
    })
    .await?;
    let all = found.clone();
    found.retain(|(_, cid), _| holders(&all, cid) == REPLICAS);
    ensure!(found.len() >= REPLICAS * blocks.len() / 2, "{} copies are left", found.len());
    Ok(found)
}

fn holders(copies: &BTreeMap<Place, Record>, cid: &Cid) -> usize {
    copies.keys().filter(|(_, held)| held == cid).count()
}

/// Damages these copies.
fn damage(copies: &[(&Place, &Record)]) -> anyhow::Result<()> {
    for (number, (_, record)) in copies.iter().enumerate() {
        let is_forged = number % FORGED_EVERY == 0;
        let damage = if is_forged { Damage::Forge } else { Damage::Flip };
        record.damage(damage, 7919 * number as u64)?;
    }
    Ok(())
}

/// Waits until these copies are whole, each at its peer, and all of them counted as written anew.
async fn whole(ctx: &Ctx, stage: &Stage, damaged: &[Place]) -> anyhow::Result<std::time::Duration> {
    let names: BTreeSet<&String> = damaged.iter().map(|(name, _)| name).collect();
    until(PATIENCE, async || {
        let (mut rewritten, mut repaired) = (0, 0);
        for name in &names {
            let url = stage.url(name)?;
            rewritten += ctx.http.metric(&url, "shoal_scrub_repaired_blocks_total").await?;
            repaired += ctx.http.metric(&url, "shoal_repair_blocks_total").await?;
        }
        let counted = rewritten + repaired;
        let wanted = damaged.len() as u64;
        ensure!(counted >= wanted, "{rewritten} written anew, {repaired} copied, of {wanted}");
        for name in &names {
            let now = records(&stage.node(name)?.data_dir)?;
            for (_, cid) in damaged.iter().filter(|(holder, _)| holder == *name) {
                let record = now.get(cid).with_context(|| format!("{name} has no {cid}"))?;
                ensure!(record.is_whole(cid)?, "{cid} is damaged at {name}");
            }
        }
        Ok(())
    })
    .await
}

/// Reads all objects through all peers.
async fn read(ctx: &Ctx, stage: &Stage, kept: &[Kept]) -> anyhow::Result<()> {
    for name in stage.names() {
        let url = stage.url(&name)?;
        let checked: anyhow::Result<()> = stream::iter(kept)
            .map(async |(cid, content)| Ok(ctx.http.check(&url, cid, *content).await?))
            .buffer_unordered(AT_A_TIME)
            .try_collect()
            .await;
        checked.with_context(|| format!("through {name}"))?;
    }
    Ok(())
}

async fn progress(ctx: &Ctx, url: &str) -> anyhow::Result<RepairStatus> {
    let status = ctx.http.get(&format!("{url}/api/v1/repair")).await?;
    Ok(serde_json::from_str(&status)?)
}
