//! Peers that join while clients store through them, and one that comes back with an empty disk.

use std::time::Duration;

use anyhow::{Context, ensure};
use reqwest::Method;

use super::ask::ask;
use super::stage::{Ctx, Stage};
use super::wait::{PATIENCE, pause, until};
use crate::content::Content;
use crate::harness::UpOptions;

/// Peers that join, one after the other, beside those that founded the network.
const JOINS: usize = 3;

/// Uploads through each newcomer from the moment it answers.
const UPLOADS: usize = 20;

/// Bytes of one: a block of its own.
const OBJECT_BYTES: u64 = 3000;

/// Tries of one upload: a newcomer refuses until it knows enough, and tells so.
const TRIES_MAX: usize = 500;

/// Pause before another try.
const PAUSE: Duration = Duration::from_millis(10);

/// Copies that every block should have.
const REPLICAS: u64 = 3;

/// See the module.
pub(super) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    let mut stage = ctx.stage(&UpOptions { nodes: vec![3], ..UpOptions::default() }).await?;
    let before = blocks(ctx, &stage).await?;
    let mut stored: Vec<(String, Content)> = Vec::new();
    let mut refused = 0;
    for _ in 0..JOINS {
        let name = stage.net().begin_add(None, &[]).await?;
        let url = stage.url(&name)?;
        for _ in 0..UPLOADS {
            let seed = u32::try_from(stored.len())?;
            let content = Content { seed, size: OBJECT_BYTES };
            let mut tries = 0;
            let answer = loop {
                match ctx.http.upload(&url, content).await {
                    Ok(answer) => break answer,
                    Err(fault) if tries == TRIES_MAX => {
                        return Err(fault).context(format!("through {name}"));
                    }
                    Err(_) => refused += 1,
                }
                tries += 1;
                pause(PAUSE).await;
            };
            stored.push((answer.cid, content));
        }
        stage.net().finish_add(&name).await?;
    }
    let wanted = before + REPLICAS * stored.len() as u64;
    // Copies that are late come after the acknowledgement.
    until(PATIENCE, async || {
        let held = blocks(ctx, &stage).await?;
        // More, where earlier ones were copied to those who joined later.
        ensure!(held >= wanted, "{held} copies instead of {wanted}");
        Ok(())
    })
    .await
    .context("uploads through peers that joined")?;
    ctx.note(format!(
        "{} uploads through {JOINS} peers while they joined: {REPLICAS} copies each ({refused} tries refused)",
        stored.len()
    ));
    came_back_empty(ctx, &mut stage, &stored).await.context("a peer with an empty disk")
}

/// A peer loses its disk: it is another peer then, everything is still there, and the one it was can be removed.
async fn came_back_empty(
    ctx: &Ctx,
    stage: &mut Stage,
    stored: &[(String, Content)],
) -> anyhow::Result<()> {
    let (name, other) = ("a1", stage.url("a0")?);
    let former = stage.node(name)?.peer_id.clone();
    stage.net().wipe(name)?;
    stage.net().restart(name).await?;
    ensure!(stage.node(name)?.peer_id != former, "it is the same peer as before");
    let url = stage.url(name)?;
    for (cid, content) in stored {
        ctx.http.check(&url, cid, *content).await.context("through the one that was emptied")?;
    }
    let path = format!("{other}/api/v1/cluster/peers/{former}");
    ask(ctx.http.request(Method::DELETE, &path)).await.done().context("removing who it was")?;
    ctx.note("a peer came back with an empty disk as another one, and who it was could be removed");
    Ok(())
}

/// Returns how many blocks all peers hold together.
async fn blocks(ctx: &Ctx, stage: &Stage) -> anyhow::Result<u64> {
    let mut held = 0;
    for url in stage.urls() {
        held += ctx.http.metric(&url, "shoal_store_blocks").await?;
    }
    Ok(held)
}
