//! Twenty peers, each told of one other, and then without the one that all began from.

use anyhow::{Context, ensure};
use futures::future::try_join_all;

use super::stage::{Ctx, Stage};
use super::wait::{PATIENCE, until};
use crate::harness::UpOptions;

const PEERS: usize = 20;

/// See the module.
pub(super) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    // Given: each is told the address of the one before it.
    let options = UpOptions { nodes: vec![PEERS], chain: true, ..UpOptions::default() };
    let mut stage = ctx.ready_stage(&options).await?;
    let names = stage.names();
    let took = until(PATIENCE, async || all_alive(&mut stage, &names).await).await?;
    ctx.note(format!("all knew all {:.1} s after the last was ready", took.as_secs_f64()));

    // When: the first one dies, and others come back that nobody tells an address, where nobody looks for
    // them: they have to remember.
    stage.net().kill("a0")?;
    let rest: Vec<String> = names.into_iter().filter(|name| name != "a0").collect();
    stage.net().stop("a7")?;
    stage.net().kill("a12")?;
    for name in ["a7", "a12"] {
        stage.net().forget_bootstrap(name)?;
        stage.net().move_peer_port(name)?;
        stage.net().restart(name).await.with_context(|| format!("{name} at another port"))?;
    }

    // Then: all but the dead one know all but the dead one.
    until(PATIENCE, async || all_alive(&mut stage, &rest).await).await?;
    Ok(())
}

/// Fails unless each of these nodes knows each of them as alive.
async fn all_alive(stage: &mut Stage, names: &[String]) -> anyhow::Result<()> {
    let net = stage.net();
    let mut nodes = Vec::new();
    for name in names {
        nodes.push(net.state().node(name)?);
    }
    let views = try_join_all(nodes.iter().map(|node| net.cluster_at(node))).await?;
    for (node, view) in nodes.iter().zip(views) {
        let is_alive =
            |id: &str| view.peers.iter().any(|peer| peer.peer_id == id && peer.state == "alive");
        let alive = nodes.iter().filter(|other| is_alive(&other.peer_id)).count();
        ensure!(alive == nodes.len(), "{} knows {alive} of {} as alive", node.name, nodes.len());
    }
    Ok(())
}
