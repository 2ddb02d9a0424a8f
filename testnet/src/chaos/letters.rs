//! Work that a peer gives up: told with its reason, tried again when somebody says so, or forgotten.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use protocol::api::DeadLetter;
use protocol::{Cid, Codec};

use super::ask::queue;
use super::client::shoal;
use super::segments::{Damage, Record, records};
use super::stage::{Ctx, Stage};
use super::wait::{PATIENCE, until};
use crate::content::Content;
use crate::harness::UpOptions;

/// Objects of one block each, which lies in a segment, on a peer that is alone: what rots there nobody has.
const OBJECTS: [Content; 2] =
    [Content { seed: 1, size: 100_000 }, Content { seed: 2, size: 100_000 }];

/// See the module.
pub(super) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    let options = UpOptions { nodes: vec![1], replicas: 1, ..UpOptions::default() };
    let stage = ctx.stage(&options).await?;
    let (url, folder) = (stage.url("a0")?, stage.files()?);
    for content in OBJECTS {
        ctx.http.upload(&url, content).await?;
    }
    damage_all(&stage).await?;
    shoal(&folder, &[&url], &["scrub", "start"]).await?.expect(0)?;
    let given_up = letters(ctx, &url, OBJECTS.len()).await?;
    let told = shoal(&folder, &[&url], &["queue"]).await?.expect(0)?.out;
    for letter in &given_up {
        let line = format!("given up: job {}  scrub  {}", letter.number, letter.subject);
        ensure!(told.contains(&line) && told.contains("nobody"), "no {line:?} in {told}");
    }

    let told = shoal(&folder, &[&url], &["repair", "status"]).await?.expect(0)?.out;
    ensure!(told.contains("given up 2 copies"), "nothing is said of what was given up: {told}");

    // Whoever has the file stores it again: its block is whole, and nothing is left to be done.
    let [stored, lost] = OBJECTS.map(|content| cid(content).to_string());
    ctx.http.upload(&url, OBJECTS[0]).await?;
    shoal(&folder, &[&url], &["queue", "retry", "--all"]).await?.expect(0)?;
    let left = letters(ctx, &url, 1).await?;
    ensure!(left[0].subject == lost, "{stored} was stored again: {left:?}");

    let number = left[0].number.to_string();
    shoal(&folder, &[&url], &["queue", "forget", &number]).await?.expect(0)?;
    letters(ctx, &url, 0).await?;
    let again = shoal(&folder, &[&url], &["queue", "forget", &number]).await?;
    again.expect_one_line(&["no job", &number])?.expect(3)?;
    ctx.note(format!("{} jobs given up; one done when tried again, one forgotten", OBJECTS.len()));
    Ok(())
}

fn cid(content: Content) -> Cid {
    Cid::of(Codec::Raw, &content.slice(0, content.size))
}

/// Damages the blocks of all objects.
async fn damage_all(stage: &Stage) -> anyhow::Result<()> {
    let data_dir = stage.node("a0")?.data_dir.clone();
    let mut found: BTreeMap<Cid, Record> = BTreeMap::new();
    until(PATIENCE, async || {
        found = records(&data_dir)?;
        found.retain(|held, _| OBJECTS.into_iter().any(|content| cid(content) == *held));
        ensure!(found.len() == OBJECTS.len(), "{} blocks are in segments", found.len());
        Ok(())
    })
    .await?;
    found.values().try_for_each(|record| record.damage(Damage::Flip, 1))
}

/// Waits until a peer has given up so many jobs and none goes on, and returns them.
async fn letters(ctx: &Ctx, url: &str, count: usize) -> anyhow::Result<Vec<DeadLetter>> {
    let mut letters = Vec::new();
    until(PATIENCE, async || {
        let queue = queue(&ctx.http, url).await?;
        let waiting = queue.ready + queue.pausing + queue.running;
        ensure!(waiting == 0, "{waiting} jobs go on");
        letters = queue.dead_letters;
        ensure!(letters.len() == count, "given up: {letters:?}");
        Ok(())
    })
    .await
    .with_context(|| format!("{count} jobs to be given up"))?;
    Ok(letters)
}
