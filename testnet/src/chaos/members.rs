//! Members that come, go and are lost, while clients write and read, and one that comes back from the past.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use protocol::api::Peer;
use protocol::limits::VOTER_AWAY;
use reqwest::Method;

use super::ask::{Reply, ask};
use super::restored;
use super::scale::scaled;
use super::stage::{Ctx, Stage};
use super::steady::Clients;
use super::views::{ensure_voters, leader, running_names};
use super::wait::{PATIENCE, until};
use crate::harness::UpOptions;

/// Clients that write and read meanwhile.
const CLIENTS: u64 = 4;

/// Members of the cluster at its largest, in everyday runs and in full ones, and in the end.
const MOST: (usize, usize) = (5, 7);
const LEFT: usize = 3;

/// How long a peer may take to give away what it holds.
const DRAIN_PATIENCE: Duration = Duration::from_secs(20);

/// See the module.
pub(super) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    lost_voter(ctx).await.context("a voter lost for good")?;
    too_many_leave(ctx).await.context("more removed than can be done without")?;
    drained_beside_lost(ctx).await.context("one drained right after two were lost")?;
    restored::run(ctx).await.context("a directory that was put back")?;
    grow_and_shrink(ctx).await.context("grown and shrunk")
}

/// Five vote, two are lost: nobody else may be removed before those are, and then anybody.
async fn too_many_leave(ctx: &Ctx) -> anyhow::Result<()> {
    let mut stage = ctx.stage(&UpOptions::default()).await?;
    until(PATIENCE, async || ensure_voters(stage.net(), 5).await).await?;
    let names = stage.names();
    let [asked, wanted, lost @ ..] = names.as_slice() else { bail!("five peers were started") };
    let lost: Vec<&str> = lost.iter().take(2).map(String::as_str).collect();
    stage.net().kill_all(&lost)?;
    let (asked, wanted) = (stage.node(asked)?.clone(), stage.node(wanted)?.peer_id.clone());
    let path = |id: &str| format!("{}/api/v1/cluster/peers/{id}?force=true", asked.http);
    // Those that were lost are known to be away before long; until then one looks as good as another.
    until(PATIENCE, async || {
        let seen = stage.net().cluster_at(&asked).await?;
        let alive = seen.peers.iter().filter(|peer| peer.state == "alive").count();
        ensure!(alive == names.len() - lost.len(), "{alive} seem to be alive");
        Ok(())
    })
    .await?;
    match ask(ctx.http.request(Method::DELETE, &path(&wanted))).await {
        Reply::Answered(answer) => ensure!(answer.status == 409, "{}", answer.problem()),
        other @ (Reply::NotSent | Reply::Unknown(_)) => {
            bail!("the removal of one too many: {other:?}")
        }
    }
    for name in lost {
        let id = stage.node(name)?.peer_id.clone();
        ask(ctx.http.request(Method::DELETE, &path(&id))).await.done()?;
    }
    ask(ctx.http.request(Method::DELETE, &path(&wanted))).await.done()?;
    ctx.note("one too many was not removed, and after those that were lost it was".to_owned());
    Ok(())
}

/// Five vote, two are lost, and at once another is drained: its vote is needed until those of the lost ones are taken, and then
/// it can be switched off.
async fn drained_beside_lost(ctx: &Ctx) -> anyhow::Result<()> {
    let mut stage = ctx.stage(&UpOptions::default()).await?;
    until(PATIENCE, async || ensure_voters(stage.net(), 5).await).await?;
    let names = stage.names();
    let leads = leader(stage.net()).await?;
    let mut others = names.iter().filter(|name| **name != leads);
    let drained = others.next().context("there are five")?.clone();
    let lost: Vec<&str> = others.take(2).map(String::as_str).collect();
    stage.net().kill_all(&lost)?;
    let asked = stage.url(&leads)?;
    let id = stage.node(&drained)?.peer_id.clone();
    let path = format!("{asked}/api/v1/cluster/peers/{id}/drain?wait_ms=0");
    ask(ctx.http.request(Method::POST, &path)).await.done()?;
    until(PATIENCE + VOTER_AWAY, async || {
        ensure_voters(stage.net(), 3).await?;
        let seen = ask(ctx.http.request(Method::POST, &path)).await.done()?;
        ensure!(seen.status == 200, "it is not drained yet");
        Ok(())
    })
    .await?;
    stage.net().kill(&drained)?;
    let bucket = format!("{asked}/api/v1/buckets/after");
    until(PATIENCE, async || {
        ask(ctx.http.request(Method::PUT, &bucket).json(&serde_json::json!({}))).await.done()?;
        Ok(())
    })
    .await?;
    ctx.note("one drained beside two that were lost could be switched off".to_owned());
    Ok(())
}

/// Five vote of six; the one that leads is lost, and the sixth takes its seat.
async fn lost_voter(ctx: &Ctx) -> anyhow::Result<()> {
    let mut stage = ctx.stage(&UpOptions { nodes: vec![6], ..UpOptions::default() }).await?;
    until(PATIENCE, async || ensure_voters(stage.net(), 5).await).await?;
    let lost = leader(stage.net()).await?;
    let clients = Clients::start(&ctx.http, urls(&mut stage)?, CLIENTS);
    let url = stage.url(&lost)?;
    // Nobody is asked who is about to be lost: what clients see of that is another scenario's.
    clients.steady.exclude(&url).await;

    stage.net().kill(&lost)?;
    let patience = PATIENCE + VOTER_AWAY;
    let took = until(patience, async || ensure_voters(stage.net(), 5).await).await?;
    ctx.note(format!("five voters again {:.1} s after one was lost", took.as_secs_f64()));

    // Now another one may be lost at once, and one more.
    let mut away = Vec::new();
    for _ in 0..2 {
        let name = leader(stage.net()).await?;
        let url = stage.url(&name)?;
        clients.steady.exclude(&url).await;
        stage.net().kill(&name)?;
        leader(stage.net()).await.with_context(|| format!("without {name}"))?;
        away.push(name);
    }
    let steady = clients.end().await?;
    ctx.note(steady.summary());
    steady.ensure_none_wrong()?;
    // All three copies of a block may lie with three that are lost; with one that is, everything is there.
    let away: Vec<&str> = away.iter().map(String::as_str).collect();
    stage.net().restart_all(&away).await?;
    let urls = urls(&mut stage)?;
    steady.check_all(&urls).await.context("with one lost for good")
}

async fn grow_and_shrink(ctx: &Ctx) -> anyhow::Result<()> {
    let mut stage = ctx.stage(&UpOptions { nodes: vec![1], ..UpOptions::default() }).await?;
    let clients = Clients::start(&ctx.http, urls(&mut stage)?, CLIENTS);
    let steady = &clients.steady;
    let most = scaled(MOST.0, MOST.1);
    for _ in 1..most {
        let name = stage.net().add(None, &[]).await?;
        steady.include(stage.url(&name)?).await;
    }
    until(PATIENCE, async || ensure_voters(stage.net(), most).await).await?;

    // The founder and whoever leads go as well as anybody.
    while running_names(stage.net()).len() > LEFT {
        let names = running_names(stage.net());
        let name = match names.len() % 2 {
            0 => leader(stage.net()).await?,
            _ => names.first().context("somebody runs")?.clone(),
        };
        remove(ctx, &mut stage, &name, &clients)
            .await
            .with_context(|| format!("without {name}"))?;
    }
    until(PATIENCE, async || ensure_voters(stage.net(), LEFT).await).await?;

    let urls = urls(&mut stage)?;
    let steady = clients.end().await?;
    ctx.note(format!("1 to {most} to {LEFT} peers: {}", steady.summary()));
    steady.ensure_none_wrong()?;
    steady.ensure_all_answered()?;
    steady.check_all(&urls).await.context("in the end")
}

/// Returns the addresses of all nodes that run.
fn urls(stage: &mut Stage) -> anyhow::Result<Vec<String>> {
    let names = running_names(stage.net());
    names.iter().map(|name| stage.url(name)).collect()
}

/// Drains a peer, which is asked by clients until it is drained, removes it and ends its process.
async fn remove(ctx: &Ctx, stage: &mut Stage, name: &str, clients: &Clients) -> anyhow::Result<()> {
    let (own, peer) = (stage.url(name)?, stage.node(name)?.peer_id.clone());
    let names = running_names(stage.net());
    let other = names.iter().find(|other| *other != name).context("others run")?;
    let path = format!("{}/api/v1/cluster/peers/{peer}", stage.url(other)?);
    until(PATIENCE, async || {
        let wait_ms = DRAIN_PATIENCE.as_millis();
        let request = ctx.http.request(Method::POST, &format!("{path}/drain?wait_ms={wait_ms}"));
        let answer = ask(request).await.done()?;
        let seen: Peer = serde_json::from_slice(&answer.body)?;
        ensure!(answer.status == 200 && seen.drained, "it is not drained yet");
        Ok(())
    })
    .await?;
    clients.steady.exclude(&own).await;
    ask(ctx.http.request(Method::DELETE, &path)).await.done().context("removing it")?;
    stage.net().stop(name)
}
