//! A long day: downloads, uploads, deletions and listings by many clients, while peers are killed and started again.
//!
//! Four of five requests are for a fifth of the objects. No request may fail for a client that knows three peers of the
//! five, nobody may be shown what was not there, and in the end everything that was acknowledged is there.

mod client;
mod figures;
mod memory;
mod objects;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};
use protocol::Prng;
use reqwest::Method;
use tokio::task::JoinSet;

use self::client::{Client, World};
use self::memory::Memory;
use self::objects::BUCKET;
use super::ask::send;
use super::scale::scaled;
use super::stage::{Ctx, Stage};
use super::wait::{Watch, pause};
use crate::harness::UpOptions;

/// Objects, and requests beside those that make them.
const OBJECTS: [u32; 2] = [500, 10_000];
/// See [`OBJECTS`].
const REQUESTS: [u64; 2] = [8_000, 1_000_000];

/// Clients at a time.
const CLIENTS: u64 = 32;

/// How long what was deleted or replaced can be had back: short, so that freeing space is part of the day.
const GRACE: &str = "30s";

/// How long a peer stays dead, and how long all live in between.
const DEAD: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];
/// See [`DEAD`].
const CALM: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(20)];

/// Requests of a day that come before the first peer is killed, one part of so many.
const WARM_PART: u64 = 5;

/// Parts of a day whose mean memory is told. In the first ones caches and write buffers fill, which all have a bound.
const PARTS: usize = 10;

/// Of these the one that the last is compared with.
const FULL_PART: usize = 4;

/// Memory may grow by one part of so many in between, in a whole run.
const DRIFT_PART: u64 = 20;

/// See the module.
pub(super) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    let flags = ["--grace", GRACE].map(str::to_owned).to_vec();
    let mut stage = ctx.stage(&UpOptions { flags, ..UpOptions::default() }).await?;
    let urls = stage.urls();
    let bucket = format!("{}/api/v1/buckets/{BUCKET}", urls[0]);
    let settings = serde_json::json!({ "keep_versions": 1 });
    send(ctx.http.request(Method::PUT, &bucket).json(&settings)).await?.expect(201)?;
    let world = Arc::new(World::new(&ctx.http, urls, scaled(OBJECTS[0], OBJECTS[1])));
    make_all(&world).await?;

    let requests = scaled(REQUESTS[0], REQUESTS[1]);
    let watch = Watch::start();
    // This one lives through all of it.
    let memory = Memory::of(stage.node("a0")?.pid);
    memory.watch(work(&world, requests / WARM_PART)).await?;
    let kills = {
        let work = work(&world, requests - requests / WARM_PART);
        let both = futures::future::try_join(kill_some(&mut stage, &world), work);
        memory.watch(both).await?.0
    };
    let took = watch.elapsed();
    see_all(&world).await?;

    let again = world.asked_again.load(Ordering::Relaxed);
    ctx.note(format!(
        "{requests} requests in {:.0} s, {kills} peers killed; asked again {again} times, none failed",
        took.as_secs_f64(),
    ));
    world.figures.lines().into_iter().for_each(|line| ctx.note(line));
    let means = memory.means(PARTS);
    let told: Vec<String> = means.iter().map(|bytes| (bytes >> 20).to_string()).collect();
    ctx.note(format!("mean memory of a0 in each tenth of that time: {} MiB", told.join(", ")));
    let (full, last) = (means[FULL_PART], means[PARTS - 1]);
    let is_flat = last <= full + full / DRIFT_PART;
    ensure!(!super::scale::is_full() || is_flat, "a0 grew from {full} to {last} bytes");
    Ok(())
}

/// Makes every object.
async fn make_all(world: &Arc<World>) -> anyhow::Result<()> {
    let makers = (0..CLIENTS).map(|number| {
        let mut client = Client::new(world, number);
        async move {
            let keys = (0..world.objects.count()).filter(|key| u64::from(*key) % CLIENTS == number);
            for key in keys {
                if let Some(change) = world.objects.begin(key) {
                    client.change_key(key, change).await.map_err(|fault| anyhow!(fault))?;
                }
            }
            anyhow::Ok(())
        }
    });
    try_join_all(makers).await.map(|_| ())
}

/// Has all clients together make so many requests.
async fn work(world: &Arc<World>, requests: u64) -> anyhow::Result<()> {
    world.allow(requests);
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(Client::new(world, number ^ requests).go_on());
    }
    while let Some(ended) = clients.join_next().await {
        ended.context("a client panicked")?.map_err(|fault| anyhow!(fault))?;
    }
    Ok(())
}

/// Kills a peer and starts it again, one after the other and never the first one, while requests are left. Returns how
/// often.
async fn kill_some(stage: &mut Stage, world: &World) -> anyhow::Result<usize> {
    let mut prng = Prng::new(4);
    let mut kills = 0;
    let outcome = async {
        loop {
            pause(scaled(CALM[0], CALM[1])).await;
            // The last tenth is for looking at what is left.
            if world.left() < scaled(REQUESTS[0], REQUESTS[1]) / 10 {
                return anyhow::Ok(());
            }
            let name = format!("a{}", 1 + prng.below(4));
            stage.net().kill(&name)?;
            kills += 1;
            pause(scaled(DEAD[0], DEAD[1])).await;
            stage.net().restart(&name).await?;
        }
    };
    let outcome = outcome.await;
    if outcome.is_err() {
        world.give_up();
    }
    outcome.map(|()| kills)
}

/// Reads every object once more, through all peers in turn.
async fn see_all(world: &Arc<World>) -> anyhow::Result<()> {
    let keys = stream::iter(0..world.objects.count()).map(|key| async move {
        let mut client = Client::new(world, key.into());
        client.read_key(key).await.map_err(|fault| anyhow!(fault))
    });
    keys.buffer_unordered(usize::try_from(CLIENTS)?).try_collect::<()>().await
}
