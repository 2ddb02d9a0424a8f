//! The scenario: clients under faults, then the judgement of what they wrote down.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use protocol::Prng;
use reqwest::Method;
use todc_utils::specifications::Specification;
use tokio::task::JoinSet;

use super::super::ask::ask;
use super::super::stage::Ctx;
use super::super::wait::{Watch, until};
use super::client::{BUCKET, Client, World};
use super::directory::{self, Directory};
use super::judge::is_linearizable;
use super::lock::{self, Lock};
use super::record::Event;
use super::storm::{Faults, round};
use crate::harness::UpOptions;
use crate::harness::cables::has_entered;

/// How long all operations between two rounds may take.
const QUIET_PATIENCE: Duration = Duration::from_secs(300);

/// Clients at a time: four for each peer, so that a killed one leaves few outcomes unknown.
const CLIENTS: u64 = 20;

/// Operations between two rounds of faults: few enough to meet many, many enough that at most one of a hundred is cut
/// off. A long run has about sixty rounds.
const BETWEEN_MIN: u64 = 700;
const ROUNDS: u64 = 60;

/// Histories that are falsified, to see that the judge would have found it.
const FALSIFIED_MAX: usize = 10;

/// See the module above.
pub(crate) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    let options = UpOptions { cables: has_entered(), ..UpOptions::default() };
    let mut stage = ctx.stage(&options).await?;
    let urls: Vec<String> =
        stage.names().iter().map(|name| stage.url(name)).collect::<Result<_, _>>()?;
    let bucket = format!("{}/api/v1/buckets/{BUCKET}", stage.url("a0")?);
    ask(ctx.http.request(Method::PUT, &bucket)).await.done().context("making the bucket")?;

    let watch = Watch::start();
    let world = Arc::new(World::new(&ctx.http, urls, ctx.operations()));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(Client::new(Arc::clone(&world), number).go_on());
    }
    let (mut prng, mut faults) = (Prng::new(1), Faults::default());
    let between = (ctx.operations() / ROUNDS).max(BETWEEN_MIN);
    while world.left() > 0 {
        round(&mut stage, &mut prng, &mut faults).await?;
        let target = world.left().saturating_sub(between);
        until(QUIET_PATIENCE, async || {
            ensure!(world.left() <= target, "operations do not go on");
            Ok(())
        })
        .await?;
    }
    while let Some(ended) = clients.join_next().await {
        ended.context("a client panicked")?;
    }
    Client::new(Arc::clone(&world), CLIENTS).look().await;

    let (done, unknown) = world.counts();
    ctx.note(format!(
        "{done} operations in {:.0} s, {unknown} with an unknown outcome; killed {}, paused {}, ended {}, cut off {}, \
         {} of which led",
        watch.elapsed().as_secs_f64(),
        faults.killed,
        faults.paused,
        faults.ended,
        faults.cut,
        faults.leaders
    ));
    if !has_entered() {
        ctx.note("nobody was cut off: this system lets us make no network namespaces");
    }
    let surprises = world.surprises();
    ensure!(surprises.is_empty(), "{} strange answers: {:?}", surprises.len(), surprises.first());
    ensure!(unknown * 100 <= done, "more than 1 % of the outcomes are unknown");
    judge(ctx, &world).await
}

async fn judge(ctx: &Ctx, world: &World) -> anyhow::Result<()> {
    let watch = Watch::start();
    let prefixes = world.prefixes.all().into_iter().map(|p| (p.number, p.record.events()));
    let prefixes = judge_all::<Directory>(prefixes.collect(), directory::falsified).await?;
    let locks = world.locks.all().into_iter().map(|lock| (lock.number, lock.record.events()));
    let locks = judge_all::<Lock>(locks.collect(), lock::falsified).await?;
    ctx.note(format!(
        "{} prefixes and {} locks judged in {:.1} s, the longest history in {:.2} s; {} and {} falsified ones found",
        prefixes.histories,
        locks.histories,
        watch.elapsed().as_secs_f64(),
        prefixes.longest_s.max(locks.longest_s),
        prefixes.falsified,
        locks.falsified
    ));
    ensure!(prefixes.falsified > 0, "no history could be falsified: too few operations");
    let wrong: Vec<String> = prefixes.wrong.into_iter().chain(locks.wrong).collect();
    ensure!(wrong.is_empty(), "{} histories are not linearizable: {wrong:#?}", wrong.len());
    Ok(())
}

/// What came of judging.
#[derive(Debug, Default)]
struct Verdict {
    histories: usize,
    falsified: usize,
    longest_s: f64,
    wrong: Vec<String>,
}

/// A history and its number.
type Numbered<T> = (u64, Vec<Event<T>>);

/// Makes a history wrong, if it can.
type Falsify<T> = fn(&[Event<T>]) -> Option<Vec<Event<T>>>;

/// Judges histories, and falsified ones of them; on all cores, because that is all that is left to do.
async fn judge_all<S>(
    histories: Vec<Numbered<S::Operation>>,
    falsified: Falsify<S::Operation>,
) -> anyhow::Result<Verdict>
where
    S: Specification<Operation: Send + 'static>,
{
    let mut verdict = Verdict { histories: histories.len(), ..Verdict::default() };
    let mut judging = JoinSet::new();
    for (at, (number, events)) in histories.into_iter().enumerate() {
        judging.spawn_blocking(move || {
            let watch = Watch::start();
            let is_right = is_linearizable::<S>(&events);
            let took_s = watch.elapsed().as_secs_f64();
            let lie = (at < FALSIFIED_MAX).then(|| falsified(&events)).flatten();
            let is_found = lie.map(|lie| !is_linearizable::<S>(&lie));
            (number, events, is_right, is_found, took_s)
        });
    }
    while let Some(judged) = judging.join_next().await {
        let (number, events, is_right, is_found, took_s) = judged.context("the judge failed")?;
        verdict.longest_s = verdict.longest_s.max(took_s);
        if !is_right {
            verdict.wrong.push(format!("{number}: {events:?}"));
        }
        ensure!(is_found != Some(false), "the judge did not find history {number} falsified");
        verdict.falsified += usize::from(is_found.is_some());
    }
    Ok(verdict)
}
