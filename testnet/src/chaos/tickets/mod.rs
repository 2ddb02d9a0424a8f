//! Who comes in, who does not, and who is put out: tickets, strangers, removed peers.

mod removed;
mod stranger;

use std::path::Path;

use anyhow::{Context, ensure};
use futures::future::try_join_all;
use protocol::api::{CreateInvite, Invited};
use protocol::invite::Ticket;
use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};

use super::ask::send;
use super::client::{Ended, end, shoald, start};
use super::settings::free_port;
use super::stage::{Ctx, Stage};
use super::wait::{PATIENCE, until};
use crate::harness::UpOptions;

/// See the module.
pub(super) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    let options = UpOptions { nodes: vec![3, 1], clusters: 2, ..UpOptions::default() };
    let mut stage = ctx.stage(&options).await?;
    tickets(ctx, &mut stage).await?;
    stranger::run(ctx, &stage).await.context("a stranger")?;
    drop(stage);
    // Anew: members that came and went may still have a vote for a moment, and are missed with those that go.
    let mut stage = ctx.stage(&UpOptions::default()).await?;
    removed::run(ctx, &mut stage).await.context("removed peers")
}

/// Has the peer at `url` make a ticket.
async fn invite(ctx: &Ctx, url: &str, valid_ms: Option<u64>) -> anyhow::Result<String> {
    let request = ctx.http.request(Method::POST, &format!("{url}/api/v1/cluster/invites"));
    let create = CreateInvite { valid_ms, ..CreateInvite::default() };
    let invited: Invited = send(request.json(&create)).await?.expect(201)?.document()?;
    Ok(invited.ticket)
}

/// A ticket that opens nothing, the data directory of who shows it, and what that one is told.
struct Bad {
    directory: &'static str,
    ticket: String,
    status: i32,
    says: &'static str,
}

/// Every ticket that opens nothing is refused with its reason, and does not stop who has a better one.
async fn tickets(ctx: &Ctx, stage: &mut Stage) -> anyhow::Result<()> {
    let folder = stage.files()?;
    let (home, away) = (stage.url("a0")?, stage.url("b0")?);
    let used = invite(ctx, &home, None).await?;
    let member = join(ctx, &folder, "used-first", &used).await.context("a good ticket")?;

    let other = invite(ctx, &away, None).await?;
    let mut led_here = Ticket::from_text(&other)?;
    led_here.addresses = Ticket::from_text(&invite(ctx, &home, None).await?)?.addresses;
    let mut forged = Ticket::from_text(&invite(ctx, &home, None).await?)?;
    forged.secret[0] ^= 1;
    stage.net().stop("b0")?;
    let bad = |directory, ticket: &str, status, says| Bad {
        directory,
        ticket: ticket.to_owned(),
        status,
        says,
    };
    let all = [
        bad("used", &used, 1, "the ticket was used by another peer"),
        bad("expired", &invite(ctx, &home, Some(1)).await?, 1, "the ticket expired"),
        bad("mistyped", &mistyped(&invite(ctx, &home, None).await?), 2, "the ticket is damaged"),
        bad("forged", &forged.to_text(), 1, "the ticket is unknown"),
        bad("led-here", &led_here.to_text(), 1, "the ticket is meant for cluster"),
        bad("gone", &other, 1, "no peer of the ticket answers"),
    ];
    let refusals = all.iter().map(|bad| async {
        refused(&folder, bad).await.with_context(|| bad.directory)?;
        anyhow::Ok(())
    });
    try_join_all(refusals).await?;
    let elsewhere = Bad { directory: "used-first", ..bad("", &other, 1, "belongs to cluster") };
    refused(&folder, &elsewhere).await.context("a member of another cluster")?;

    // Nothing of it stays: with a good ticket, each of them comes in.
    for bad in &all {
        let ticket = invite(ctx, &home, None).await?;
        let joined = join(ctx, &folder, bad.directory, &ticket).await;
        remove(ctx, &home, &joined.with_context(|| format!("{}, later", bad.directory))?).await?;
    }
    remove(ctx, &home, &member).await?;
    ctx.note(format!("{} kinds of tickets that open nothing", all.len() + 1));
    Ok(())
}

/// Returns a ticket with one character that is another one.
fn mistyped(ticket: &str) -> String {
    let (before, after) = ticket.split_at(ticket.len() / 2);
    let other = if after.starts_with('x') { 'y' } else { 'x' };
    format!("{before}{other}{}", &after[1..])
}

/// Fails unless a daemon with this ticket ends by itself, and says why in one line.
async fn refused(folder: &Path, bad: &Bad) -> anyhow::Result<()> {
    let http = format!("127.0.0.1:{}", free_port()?);
    let ended = shoald(folder, &arguments(bad.directory, &bad.ticket, &http)).await?;
    let Ended { err, .. } = ended.expect(bad.status)?;
    let mut told = err.lines().filter(|line| line.starts_with("shoald: "));
    let (line, more) = (told.next().unwrap_or_default(), told.next());
    ensure!(line.contains(bad.says) && more.is_none(), "it does not say {:?}: {err}", bad.says);
    Ok(())
}

fn arguments<'a>(directory: &'a str, ticket: &'a str, http: &'a str) -> [&'a str; 12] {
    let (listen, mdns) = ("/ip4/127.0.0.1/tcp/0", "false");
    let (what, name) = ("--data-dir", "--name");
    [
        what, directory, "--join", ticket, "--http", http, "--listen", listen, "--mdns", mdns,
        name, directory,
    ]
}

/// Joins with this ticket until the peer is ready, ends it cleanly, and returns its name.
async fn join(ctx: &Ctx, folder: &Path, directory: &str, ticket: &str) -> anyhow::Result<String> {
    let http = format!("127.0.0.1:{}", free_port()?);
    let mut daemon = start("shoald", folder, &arguments(directory, ticket, &http))?;
    let ready = until(PATIENCE, async || {
        ensure!(daemon.try_wait()?.is_none(), "the daemon ended");
        Ok(ctx.http.get(&format!("http://{http}/readyz")).await.map(drop)?)
    });
    let ready = ready.await;
    let pid = daemon.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        kill_process(pid, Signal::TERM)?;
    }
    let ended = end(daemon).await?;
    ready.with_context(|| ended.err.clone())?;
    ended.expect(0)?;
    Ok(directory.to_owned())
}

/// Removes a member by its name.
async fn remove(ctx: &Ctx, url: &str, name: &str) -> anyhow::Result<()> {
    let cluster: protocol::api::Cluster =
        serde_json::from_str(&ctx.http.get(&format!("{url}/api/v1/cluster")).await?)?;
    let found = cluster.peers.iter().find(|peer| peer.name == name);
    let peer = &found.with_context(|| format!("{name} is no member"))?.peer_id;
    let request = ctx.http.request(Method::DELETE, &format!("{url}/api/v1/cluster/peers/{peer}"));
    send(request).await?.expect(204)?;
    Ok(())
}
