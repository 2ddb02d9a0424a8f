//! Bad input of our own making: on the HTTP port, on the peer port, and in stored blocks.
//!
//! Each kind is tried by itself first, and its answer looked at; then the cheap ones are repeated while
//! memory and log are watched. What comes after a handshake, `node` tests itself beside its decoders.

mod blocks;
mod requests;
mod wire;

use std::path::Path;

use anyhow::{Context, bail, ensure};
use futures::StreamExt;
use futures::stream;
use tokio::net::TcpStream;

use self::requests::{Request, requests};
use self::wire::Wire;
use super::stage::{Ctx, Stage};
use super::wait::{PATIENCE, Watch, until};
use crate::content::Content;
use crate::harness::{UpOptions, tokens};
use crate::http::Http;
use crate::process::resident_bytes;

/// Times that cheap inputs are sent, on each kind of port. A quarter of them ends an HTTP connection in an
/// error, which is then more than the daemon serves at a time: none may keep its place.
const ROUNDS: usize = 5000;

/// Inputs sent at a time.
const AT_A_TIME: usize = 16;

/// Connections that are held open half-way through a head or a handshake.
const HELD: usize = 100;

/// Bytes that the daemon's resident memory may grow by over all rounds.
const GROWTH_BYTES_MAX: u64 = 32 << 20;

/// See the module.
pub(super) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    let options = UpOptions { nodes: vec![2], replicas: 2, ..UpOptions::default() };
    let mut stage = ctx.stage(&options).await?;
    let known = Content { seed: 1, size: (3 << 20) + 1 };
    let cid = ctx.http.upload(&stage.url("a1")?, known).await?.cid;
    let target = Target::of(&stage, "a0")?;
    let token = tokens::of(&stage.url("a0")?).context("the cluster has no token")?;
    let requests = requests(&cid, &token);
    let inputs = requests.len() + Wire::ALL.len() + blocks::COUNT;
    ensure!(inputs >= 30, "{inputs} inputs are too few");
    let watch = Watch::start();
    let lines_before = log_lines(&target.log)?;

    // One by one.
    let mut faults = Vec::new();
    for request in &requests {
        if let Err(fault) = try_request(&target, request).await {
            faults.push(format!("{}: {fault:#}", request.name));
        }
        stage.ensure_running("a0").with_context(|| request.name.clone())?;
    }
    ensure!(faults.is_empty(), "{} wrong answers:\n    {}", faults.len(), faults.join("\n    "));
    for wire in Wire::ALL {
        let tried = wire.send(target.peer_port).await;
        tried.and_then(|_| stage.ensure_running("a0")).with_context(|| format!("{wire:?}"))?;
    }
    blocks::run(ctx, &target.url).await.context("malformed blocks")?;
    works(&stage, known, &cid).await.context("after each input once")?;

    // Many: once to warm up, so that only growth counts.
    let cheap: Vec<&Request> = requests.iter().filter(|request| request.is_cheap).collect();
    flood(ctx, &target, &cheap, ROUNDS / 4).await.context("the first rounds")?;
    let resident_before = target.resident_bytes()?;
    flood(ctx, &target, &cheap, ROUNDS).await.context("the rounds")?;
    let held = hold(&target).await.context("held connections")?;
    works(&stage, known, &cid).await.context("while connections are held")?;
    drop(held);
    works(&stage, known, &cid).await.context("after the rounds")?;
    until(PATIENCE, async || {
        let grown = target.resident_bytes()?.saturating_sub(resident_before);
        ensure!(grown < GROWTH_BYTES_MAX, "resident memory grew by {grown} bytes");
        Ok(())
    })
    .await?;

    let lines = log_lines(&target.log)? - lines_before;
    // One sender, unnamed, on each of two ports.
    let allowed = 2 * (1 + watch.elapsed().as_secs() / 60);
    ensure!(lines <= allowed, "the log grew by {lines} lines, {allowed} were allowed");
    let grown = target.resident_bytes()?.saturating_sub(resident_before) >> 10;
    ctx.note(format!("{inputs} inputs; memory grew by {grown} KiB, the log by {lines} lines"));

    // Whoever comes anew is let in, also one that has to connect by itself because nobody knows it.
    stage.net().restart("a1").await.context("a peer that comes back after the rounds")?;
    stage.net().add(None, &[]).await.context("a peer that is new after the rounds")?;
    works(&stage, known, &cid).await
}

/// The daemon that is sent bad input.
struct Target {
    url: String,
    http_port: u16,
    peer_port: u16,
    pid: u32,
    log: std::path::PathBuf,
}

impl Target {
    fn of(stage: &Stage, name: &str) -> anyhow::Result<Self> {
        let node = stage.node(name)?;
        let http_port = node.http.rsplit(':').next().and_then(|port| port.parse().ok());
        let parts = node.addrs.first().and_then(|address| address.split('/').nth(4));
        Ok(Self {
            url: node.http.clone(),
            http_port: http_port.context("the HTTP address has a port")?,
            peer_port: parts.and_then(|port| port.parse().ok()).context("an address has a port")?,
            pid: node.pid,
            log: node.log.clone(),
        })
    }

    fn resident_bytes(&self) -> anyhow::Result<u64> {
        resident_bytes(self.pid).context("the daemon has no resident memory")
    }
}

async fn try_request(target: &Target, request: &Request) -> anyhow::Result<()> {
    let answer = request.send(target.http_port).await?;
    let (status, body) = match &answer {
        Some(answer) => (answer.status, answer.body.as_str()),
        // The connection was closed without an answer.
        None => (0, ""),
    };
    if !request.statuses.contains(&status) {
        bail!("answered {status} instead of one of {:?}: {body:.200}", request.statuses);
    }
    if let (true, Some(answer)) = (request.reaches_a_route && status >= 400, &answer) {
        ensure!(answer.is_problem(), "{status} without a problem document: {body:.200}");
    }
    Ok(())
}

async fn flood(
    ctx: &Ctx,
    target: &Target,
    cheap: &[&Request],
    rounds: usize,
) -> anyhow::Result<()> {
    let refused = async || ctx.http.metric(&target.url, "shoal_net_handshake_failures_total").await;
    let refused_before = refused().await?;
    let mut on_http = stream::iter((0..rounds).zip(cheap.iter().cycle()))
        .map(|(_, request)| request.send(target.http_port))
        .buffer_unordered(AT_A_TIME);
    while let Some(answered) = on_http.next().await {
        answered?;
    }
    let mut on_peer = stream::iter((0..rounds).zip(Wire::ALL.iter().cycle()))
        .map(|(_, wire)| wire.send(target.peer_port))
        .buffer_unordered(AT_A_TIME);
    while let Some(sent) = on_peer.next().await {
        sent?;
    }
    // Nobody answers there: memory tells of them only once the daemon has seen them all.
    until(PATIENCE, async || {
        let seen = refused().await?.saturating_sub(refused_before);
        ensure!(seen >= rounds as u64, "{seen} of {rounds} connections were refused");
        Ok(())
    })
    .await?;
    Ok(())
}

/// Opens connections that stop half-way.
async fn hold(target: &Target) -> anyhow::Result<Vec<TcpStream>> {
    let mut held = Vec::new();
    for _ in 0..HELD {
        let head = b"POST /api/v1/content HTTP/1.1\r\nHost: x\r\nContent-Le";
        held.push(wire::open(target.http_port, head).await?);
        held.push(Wire::HalfHandshake.send(target.peer_port).await?);
    }
    Ok(held)
}

/// Fails unless the cluster takes and gives content as if nothing had been.
async fn works(stage: &Stage, known: Content, cid: &str) -> anyhow::Result<()> {
    let content = Content { seed: 77, size: (2 << 20) + 3 };
    // Over connections of its own: those that were there before say nothing of whoever comes now.
    let http = Http::new()?;
    let stored = http.upload(&stage.url("a0")?, content).await?;
    for name in ["a0", "a1"] {
        let url = stage.url(name)?;
        http.check(&url, &stored.cid, content).await.context("what was just stored")?;
        http.check(&url, cid, known).await.context("what was there before")?;
    }
    Ok(())
}

fn log_lines(path: &Path) -> anyhow::Result<u64> {
    Ok(std::fs::read_to_string(path)?.lines().count() as u64)
}
