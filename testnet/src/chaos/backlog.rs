//! One peer has all the work, and the others nothing: they take their part of it, and each job has its effect once.
//!
//! The work is to write corrupt copies anew, at a peer all of whose copies rotted. How fast each peer does such jobs is limited
//! alike, so that the processors of one machine do not say what five machines would do.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use futures::stream::{self, StreamExt, TryStreamExt};
use protocol::Cid;
use protocol::api::RepairStatus;

use super::ask::queue;
use super::client::shoal;
use super::scale::{is_full, scaled};
use super::segments::{Damage, Record, records};
use super::stage::{Ctx, Stage};
use super::wait::{PATIENCE, Watch, until};
use crate::content::Content;
use crate::harness::UpOptions;

/// Jobs: one for each object, which is one block in a segment.
const JOBS: [u32; 2] = [600, 10_000];

/// Bytes of each.
const BYTES: u64 = 66_000;

/// Peers, each of which holds every block: any of them can do any job.
const PEERS: usize = 5;

/// What a peer copies a second: all peers together less than one of them reads to find what rotted, 16 MiB.
const RATE: [u64; 2] = [1 << 20, 2 << 20];

/// How much slower one peer is in one of the runs.
const SLOWER: u64 = 10;

/// Who has all the work, and who is slow in one of the runs.
const VICTIM: &str = "a1";
const SLOW: &str = "a3";

/// Uploads at a time.
const AT_A_TIME: usize = 16;

/// How the work is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    /// Nobody takes work from others.
    Alone,
    /// As usual.
    Together,
    /// As usual, and a thief and the victim are killed on the way.
    Killed,
    /// As usual, with one peer slower than the rest.
    OneSlow,
}

/// See the module.
pub(super) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    let flags = ["--log", "info,node::store=debug"].map(ToOwned::to_owned).to_vec();
    let replicas = u8::try_from(PEERS)?;
    let options = UpOptions { nodes: vec![PEERS], replicas, flags, ..UpOptions::default() };
    let mut stage = ctx.stage(&options).await?;
    let jobs = scaled(JOBS[0], JOBS[1]);
    store(ctx, &stage, jobs).await?;
    if !is_full() {
        // How long it takes is of no interest here.
        work_off(ctx, &mut stage, Run::Killed).await?;
        return Ok(());
    }
    let bytes = f64::from(jobs) * BYTES as f64;
    let rate = scaled(RATE[0], RATE[1]) as f64;
    let mut alone = Duration::ZERO;
    for run in [Run::Alone, Run::Together, Run::Killed, Run::OneSlow] {
        let took = work_off(ctx, &mut stage, run).await.with_context(|| format!("{run:?}"))?;
        if run == Run::Alone {
            alone = took;
        }
        let fast = if run == Run::OneSlow { PEERS - 1 } else { PEERS } as f64;
        let slow = if run == Run::OneSlow { 1.0 / SLOWER as f64 } else { 0.0 };
        ctx.note(format!(
            "{jobs} jobs on one peer, {run:?}: {:.1} s, {:.2} of alone, {:.2} of the ideal of all",
            took.as_secs_f64(),
            took.as_secs_f64() / alone.as_secs_f64(),
            took.as_secs_f64() / (bytes / (rate * (fast + slow)))
        ));
    }
    Ok(())
}

/// Damages all copies of the victim, has it find them, and returns how long it takes until all are whole.
async fn work_off(ctx: &Ctx, stage: &mut Stage, run: Run) -> anyhow::Result<Duration> {
    let names = stage.names();
    for name in &names {
        let rate = scaled(RATE[0], RATE[1]);
        let is_slow = run == Run::OneSlow && name == SLOW;
        let rate = if is_slow { rate / SLOWER } else { rate };
        stage.net().set_flag(name, "--repair-rate", &rate.to_string())?;
        stage.net().set_flag(name, "--steal", &(run != Run::Alone).to_string())?;
        stage.net().stop(name)?;
    }
    let log = stage.node(VICTIM)?.log.clone();
    let logged = std::fs::metadata(&log)?.len();
    stage.net().restart_all(&names.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    // What peers compare after a start would find what is damaged too, and have it copied by others than the victim.
    for url in stage.urls() {
        until(PATIENCE, async || {
            let status = ctx.http.get(&format!("{url}/api/v1/repair")).await?;
            let status: RepairStatus = serde_json::from_str(&status)?;
            let rounds = ctx.http.metric(&url, "shoal_repair_rounds_total").await?;
            let is_calm = rounds > 0 && status.blocks_missing_copies == 0 && !status.is_more;
            ensure!(is_calm, "after {rounds} comparisons {status:?}");
            Ok(())
        })
        .await?;
    }
    // Under a running daemon, which has the files open.
    let damaged = damage_all(stage)?;

    let url = stage.url(VICTIM)?;
    // As long as it would take alone, and some.
    let alone = Duration::from_secs(damaged.len() as u64 * BYTES / scaled(RATE[0], RATE[1]));
    let watch = Watch::start();
    shoal(&stage.files()?, &[&url], &["scrub", "start"]).await?.expect(0)?;
    until(alone + PATIENCE, async || {
        // By the scrub, or by the moving of what lies in segments with much that is dead.
        let found = ctx.http.metric(&url, "shoal_store_corrupt_blocks_total").await?;
        ensure!(found == damaged.len() as u64, "{found} of {} found", damaged.len());
        Ok(())
    })
    .await?;
    if run == Run::Killed {
        kill_both(ctx, stage).await?;
    }
    until(alone + PATIENCE, async || {
        let queue = queue(&ctx.http, &url).await?;
        ensure!(queue.dead == 0, "given up: {:?}", queue.dead_letters);
        ensure!(queue.by_kind.values().all(|count| *count == 0), "{:?} are left", queue.by_kind);
        Ok(())
    })
    .await?;
    let took = watch.elapsed();

    let now = records(&stage.node(VICTIM)?.data_dir)?;
    for cid in damaged.keys() {
        let record = now.get(cid).with_context(|| format!("{VICTIM} has no {cid}"))?;
        ensure!(record.is_whole(cid)?, "{cid} is damaged");
    }
    once_each(&std::fs::read(&log)?[usize::try_from(logged)?..])?;
    let given = queue(&ctx.http, &url).await?.given;
    let is_alone = given.iter().all(|moved| moved.jobs == 0);
    ensure!(is_alone == (run == Run::Alone), "{run:?}, and it gave {given:?}");
    Ok(took)
}

/// Kills a peer that took work, and then the one that it took it from, with work left to be done; starts both again.
async fn kill_both(ctx: &Ctx, stage: &mut Stage) -> anyhow::Result<()> {
    let victim = stage.url(VICTIM)?;
    let mut thief = String::new();
    until(PATIENCE, async || {
        for name in stage.names() {
            if queue(&ctx.http, &stage.url(&name)?).await?.taken > 0 {
                thief = name;
                return Ok(());
            }
        }
        bail!("nobody has anything of others")
    })
    .await?;
    stage.net().kill(&thief)?;
    let left = queue(&ctx.http, &victim).await?.by_kind.values().sum::<u64>();
    ensure!(left > 0, "the work was done before anybody was killed");
    stage.net().kill(VICTIM)?;
    stage.net().restart(VICTIM).await?;
    stage.net().restart(&thief).await?;
    let url = stage.url(VICTIM)?;
    let left = queue(&ctx.http, &url).await?.by_kind.values().sum::<u64>();
    ensure!(left > 0, "nothing was left when both were back");
    ctx.note(format!("{left} jobs were left when the thief and the victim were back"));
    Ok(())
}

/// Stores one object for each job, and returns when every peer holds all of them.
async fn store(ctx: &Ctx, stage: &Stage, jobs: u32) -> anyhow::Result<()> {
    let urls = stage.urls();
    stream::iter((0..jobs).zip(urls.iter().cycle()))
        .map(async |(seed, url)| {
            ctx.http.upload(url, Content { seed, size: BYTES }).await?;
            anyhow::Ok(())
        })
        .buffer_unordered(AT_A_TIME)
        .try_collect::<()>()
        .await?;
    // Late copies come after the acknowledgement.
    until(PATIENCE, async || {
        for url in &urls {
            let held = ctx.http.metric(url, "shoal_store_blocks").await?;
            ensure!(held == u64::from(jobs), "{held} of {jobs} blocks at {url}");
        }
        Ok(())
    })
    .await?;
    Ok(())
}

fn damage_all(stage: &Stage) -> anyhow::Result<BTreeMap<Cid, Record>> {
    let found = records(&stage.node(VICTIM)?.data_dir)?;
    for (number, record) in found.values().enumerate() {
        record.damage(Damage::Flip, 7919 * number as u64)?;
    }
    Ok(found)
}

/// Fails if a log tells that a copy was written anew more than once. Of some it tells nothing: healing may have come first, which finds
/// that a peer lacks them.
fn once_each(log: &[u8]) -> anyhow::Result<()> {
    let log = String::from_utf8_lossy(log);
    let mut written: BTreeMap<&str, usize> = BTreeMap::new();
    for line in log.lines().filter(|line| line.contains("corrupt copy written anew")) {
        let (_, cid) = line.rsplit_once("cid=").with_context(|| format!("no cid in {line:?}"))?;
        *written.entry(cid.trim()).or_default() += 1;
    }
    let twice = written.iter().find(|(_, times)| **times != 1);
    ensure!(twice.is_none(), "written anew more than once: {twice:?}");
    ensure!(!written.is_empty(), "the log tells of no copy");
    Ok(())
}
