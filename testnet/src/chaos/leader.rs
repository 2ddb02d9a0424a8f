//! The one that leads is killed again and again; then everybody is, at once.

use std::time::Duration;

use anyhow::{Context, ensure};
use futures::future::try_join_all;
use reqwest::Method;

use super::ask::{Answer, send};
use super::scale::scaled;
use super::stage::{Ctx, Stage};
use super::steady::Clients;
use super::views::leader;
use super::wait::{PATIENCE, Watch, until};
use crate::harness::UpOptions;

/// How often whoever leads is killed, in everyday runs and in full ones.
const KILLS: (usize, usize) = (6, 20);

/// Clients that write and read meanwhile.
const CLIENTS: u64 = 4;

/// Within which time writes go on after the leader was killed, at the 99th percentile: a promise to users.
const BOUND: Duration = Duration::from_secs(3);

/// How long a peer may take to say whether it is ready, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(2);

/// See the module.
pub(super) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    let mut stage = ctx.stage(&UpOptions::default()).await?;
    let names = stage.names();
    let urls: Vec<String> = names.iter().map(|name| stage.url(name)).collect::<Result<_, _>>()?;
    let clients = Clients::start(&ctx.http, urls.clone(), CLIENTS);

    let (mut soonest, mut all_times) = (Vec::new(), Vec::new());
    let kills = scaled(KILLS.0, KILLS.1);
    for kill in 0..kills {
        let killed = leader(stage.net()).await?;
        let watch = Watch::start();
        stage.net().kill(&killed)?;
        let survivors = names.iter().filter(|name| **name != killed);
        let acknowledged = survivors.map(async |name| {
            let url = stage.url(name)?;
            until(PATIENCE, async || clients.steady.write(&url).await).await?;
            anyhow::Ok(watch.elapsed())
        });
        let times = try_join_all(acknowledged).await.with_context(|| format!("kill {kill}"))?;
        // A client knows several peers, and asks another one when the first takes long.
        soonest.extend(times.iter().min());
        all_times.extend(times);
        stage.net().restart(&killed).await?;
    }
    ctx.note(format!("{kills} leaders killed; writes went on after {}", figures(&mut soonest)));
    ctx.note(format!("through each of the others after {}", figures(&mut all_times)));
    let steady = clients.end().await?;
    ctx.note(steady.summary());
    steady.ensure_none_wrong()?;
    steady.check_all(&urls).await.context("after the last kill")?;
    let high = percentile(&soonest, 99);
    // Told, and no failure: how busy the machine is decides, too.
    if high > BOUND {
        ctx.note(format!("that is later than the {} s that are promised", BOUND.as_secs()));
    }

    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    stage.net().kill_all(&all)?;
    stage.net().restart_all(&all).await?;
    steady.check_all(&urls).await.context("after all were killed at once")?;
    without_a_majority(ctx, &mut stage).await.context("peers without a majority")
}

/// Peers that cannot agree say so to whoever watches, at once, whether their leader is among them or not; and that they are back.
async fn without_a_majority(ctx: &Ctx, stage: &mut Stage) -> anyhow::Result<()> {
    let leads = leader(stage.net()).await?;
    let names = stage.names();
    let others: Vec<&str> =
        names.iter().map(String::as_str).filter(|name| **name != leads).collect();
    for gone in [&others[..3], &[leads.as_str(), others[0], others[1]]] {
        let left: Vec<String> =
            names.iter().filter(|name| !gone.contains(&name.as_str())).cloned().collect();
        let urls: Vec<String> =
            left.iter().map(|name| stage.url(name)).collect::<Result<_, _>>()?;
        for url in &urls {
            ready(ctx, url).await?.expect(200).context("before they are killed")?;
        }
        stage.net().kill_all(gone)?;
        for url in &urls {
            until(PATIENCE, async || ready(ctx, url).await?.expect_problem(503, "unavailable"))
                .await
                .with_context(|| format!("without {gone:?}"))?;
            send(ctx.http.request(Method::GET, &format!("{url}/healthz"))).await?.expect(200)?;
        }
        // One that starts where nobody leads was never in touch. It is waited for, and not until it is ready.
        let (first, rest) = gone.split_first().context("somebody was killed")?;
        stage.net().kill_all(&left.iter().map(String::as_str).collect::<Vec<_>>())?;
        stage.net().restart(first).await.context("the first of all that starts again")?;
        let url = stage.url(first)?;
        ready(ctx, &url).await?.expect_problem(503, "unavailable").context("alone")?;
        for name in left.iter().map(String::as_str).chain(rest.iter().copied()) {
            stage.net().restart(name).await.with_context(|| format!("{name} is back"))?;
        }
        for name in &names {
            let url = stage.url(name)?;
            until(PATIENCE, async || ready(ctx, &url).await?.expect(200).map(drop))
                .await
                .with_context(|| format!("{name} after all are back"))?;
        }
    }
    Ok(())
}

/// Asks a peer whether it is ready. It may not take long to say so.
async fn ready(ctx: &Ctx, url: &str) -> anyhow::Result<Answer> {
    let watch = Watch::start();
    let answer = send(ctx.http.request(Method::GET, &format!("{url}/readyz"))).await?;
    let elapsed = watch.elapsed();
    ensure!(elapsed < AT_ONCE, "it took {} ms to say whether it is ready", elapsed.as_millis());
    Ok(answer)
}

/// Returns times for people, and leaves them in order.
fn figures(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let [middle, high, most] =
        [50, 99, 100].map(|percent| percentile(times, percent).as_secs_f64());
    format!("{middle:.2} s (p50), {high:.2} s (p99), {most:.2} s (most)")
}

/// Returns the time that so many of a hundred do not exceed (nearest rank). `times` are in order.
fn percentile(times: &[Duration], percent: usize) -> Duration {
    let rank = (times.len() * percent).div_ceil(100).max(1);
    times.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::percentile;
    use core::time::Duration;

    #[test]
    fn a_percentile_is_one_of_the_times() {
        let times: Vec<Duration> = (1..=80).map(Duration::from_secs).collect();
        assert_eq!(percentile(&times, 50), Duration::from_secs(40));
        assert_eq!(percentile(&times, 99), Duration::from_secs(80));
        assert_eq!(percentile(&[Duration::from_secs(7)], 99), Duration::from_secs(7));
        assert_eq!(percentile(&[], 99), Duration::ZERO);
    }
}
