//! Copies that others hold are dropped, and never the last ones.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures::stream::{self, StreamExt, TryStreamExt};

use super::stage::{Ctx, Stage};
use super::views::running_names;
use super::wait::until;
use crate::content::Content;
use crate::harness::UpOptions;

/// How long a peer has to be away before others take its place, and what is dropped at least after a join.
const AWAY: &str = "3s";

/// How long moving may take: it waits for what differs to last, and tries again later each time.
const MOVE_PATIENCE: Duration = Duration::from_secs(240);

/// Objects of one block each.
const OBJECTS: u32 = 400;

/// Their sizes: in the index and in segments.
const SIZES: [u64; 4] = [700, 20_000, 70_000, 200_000];

/// Copies that every block should have.
const REPLICAS: u64 = 3;

/// Requests at a time.
const AT_A_TIME: usize = 8;

/// An object and its name.
type Kept = (String, Content);

/// See the module.
pub(super) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    let flags = ["--away", AWAY].map(ToOwned::to_owned).to_vec();
    let options = UpOptions { nodes: vec![3], flags: flags.clone(), ..UpOptions::default() };
    let mut stage = ctx.stage(&options).await?;
    let kept = store(ctx, &stage).await?;
    let wanted = REPLICAS * kept.len() as u64;
    settled(ctx, &mut stage, (wanted, kept.len() as u64)).await.context("stored")?;

    // Five where three were: two fifths of what each held belongs to others.
    for _ in 0..2 {
        stage.net().add(None, &flags).await?;
    }
    let most = kept.len() as u64 - 1;
    let took = settled(ctx, &mut stage, (wanted, most)).await.context("after two joined")?;
    let dropped = each(ctx, &mut stage, "shoal_repair_dropped_blocks_total").await?;
    let dropped: u64 = dropped.values().sum();
    read(ctx, &mut stage, &kept).await.context("after two joined")?;
    ctx.note(format!(
        "{dropped} copies dropped within {:.1} s after two peers joined three: {wanted} are left of {} blocks",
        took.as_secs_f64(),
        kept.len()
    ));

    // One more, and an old holder dies while blocks move.
    let (name, held_before) = ("a1", total(ctx, &mut stage).await?);
    stage.net().add(None, &flags).await?;
    until(MOVE_PATIENCE, async || {
        let now = total(ctx, &mut stage).await?;
        ensure!(now != held_before, "nothing moves");
        Ok(())
    })
    .await?;
    stage.net().kill(name)?;
    read(ctx, &mut stage, &kept).await.context("while blocks moved and a holder was killed")?;
    stage.net().restart(name).await?;
    settled(ctx, &mut stage, (wanted, most)).await.context("after it came back")?;
    read(ctx, &mut stage, &kept).await.context("after it came back")?;
    ctx.note("a holder was killed while blocks moved: nothing was lost, and no copy is left over");
    Ok(())
}

/// Stores objects through all peers in turn.
async fn store(ctx: &Ctx, stage: &Stage) -> anyhow::Result<Vec<Kept>> {
    let urls = stage.urls();
    let uploads = (0..OBJECTS).zip(urls.iter().cycle()).zip(SIZES.iter().cycle());
    stream::iter(uploads)
        .map(async |((seed, url), size)| {
            let content = Content { seed, size: *size };
            anyhow::Ok((ctx.http.upload(url, content).await?.cid, content))
        })
        .buffer_unordered(AT_A_TIME)
        .try_collect()
        .await
}

/// Reads all objects through every peer that runs.
async fn read(ctx: &Ctx, stage: &mut Stage, kept: &[Kept]) -> anyhow::Result<()> {
    for name in running_names(stage.net()) {
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

/// Waits until there are exactly so many copies, every peer has some of them, and none more than so many.
async fn settled(
    ctx: &Ctx,
    stage: &mut Stage,
    (wanted, most): (u64, u64),
) -> anyhow::Result<Duration> {
    until(MOVE_PATIENCE, async || {
        let held = held(ctx, stage).await?;
        let total: u64 = held.values().sum();
        ensure!(total == wanted, "{total} copies instead of {wanted}: {held:?}");
        ensure!(held.values().all(|held| (1..=most).contains(held)), "not spread: {held:?}");
        Ok(())
    })
    .await
}

/// Returns the blocks that all peers hold together.
async fn total(ctx: &Ctx, stage: &mut Stage) -> anyhow::Result<u64> {
    Ok(held(ctx, stage).await?.values().sum())
}

/// Returns how many blocks each peer that runs holds.
async fn held(ctx: &Ctx, stage: &mut Stage) -> anyhow::Result<BTreeMap<String, u64>> {
    each(ctx, stage, "shoal_store_blocks").await
}

async fn each(ctx: &Ctx, stage: &mut Stage, metric: &str) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    for name in running_names(stage.net()) {
        let value = ctx.http.metric(&stage.url(&name)?, metric).await?;
        found.insert(name, value);
    }
    Ok(found)
}
