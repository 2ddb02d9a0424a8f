//! What is deleted gives its space back, on every peer, although nobody writes any more.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::Method;

use super::ask::send;
use super::requests::{get, object_url, put};
use super::scale::scaled;
use super::stage::{Ctx, Stage};
use super::wait::{PATIENCE, until};
use crate::content::Content;
use crate::harness::UpOptions;

/// How long deleted content can be had back.
const GRACE: &str = "1s";

/// Large objects of a round, and bytes of one: none of a length that fits segments.
const LARGE: [u32; 2] = [10, 40];
/// See [`LARGE`].
const LARGE_BYTES: u64 = (9 << 20) + 12_345;

/// Small objects of a round, which lie in the index, and bytes of one.
const SMALL: [u32; 2] = [600, 5_000];
/// See [`SMALL`].
const SMALL_BYTES: u64 = 60_000;

/// Uploads and deletions at a time.
const AT_A_TIME: usize = 16;

/// Of what was taken, one part of so many may stay.
const REST_PART: u64 = 20;

/// How long a peer may take to give space back: the grace period, a few rounds of looking for what is dead, and
/// a quiet moment.
const BACK_WITHIN: Duration = PATIENCE;

/// See the module.
pub(super) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    let flags = ["--grace", GRACE].map(str::to_owned).to_vec();
    let stage = ctx.stage(&UpOptions { flags, ..UpOptions::default() }).await?;
    let large = Lot {
        seed: 0x10000,
        objects: scaled(LARGE[0], LARGE[1]),
        bytes: LARGE_BYTES,
        name: "large",
    };
    let small = Lot {
        seed: 0x20000,
        objects: scaled(SMALL[0], SMALL[1]),
        bytes: SMALL_BYTES,
        name: "small",
    };
    give_and_take(ctx, &stage, large).await.context("large objects")?;
    give_and_take(ctx, &stage, small).await.context("small objects")?;
    // Beside some that stay: of each file less than a half is let go of.
    let kept = Lot { seed: 0x30000, objects: 3 * large.objects / 2, name: "kept", ..large };
    fill(ctx, &stage, kept).await?;
    give_and_take(ctx, &stage, large).await.context("large objects beside others")?;
    for number in 0..kept.objects {
        let read = get(&ctx.http, &stage.url("a1")?, &kept.name_of(number)).await?.expect(200)?;
        let content = kept.content_of(number);
        ensure!(read.body == content.slice(0, content.size), "{} changed", kept.name_of(number));
    }
    Ok(())
}

/// Some objects of one size.
#[derive(Clone, Copy)]
struct Lot {
    /// Chooses the bytes, so that no two lots share a block.
    seed: u32,
    objects: u32,
    bytes: u64,
    name: &'static str,
}

impl Lot {
    fn name_of(&self, number: u32) -> String {
        format!("space/{}/{number}", self.name)
    }

    fn content_of(&self, number: u32) -> Content {
        Content { seed: self.seed + number, size: self.bytes }
    }
}

/// What a peer takes.
#[derive(Clone, Copy, Debug)]
struct Taken {
    /// By what it says.
    used: u64,
    /// By its files, but for those of the names: their log is cut when it has grown, whatever it tells of.
    files: u64,
}

async fn taken(ctx: &Ctx, stage: &Stage) -> anyhow::Result<Vec<Taken>> {
    let mut all = Vec::new();
    for name in stage.names() {
        let node = stage.node(&name)?;
        let used = ctx.http.metric(&node.http, "shoal_store_used_bytes").await?;
        let names = files_bytes(&node.data_dir.join("metadata"))?;
        let files = files_bytes(&node.data_dir)?.saturating_sub(names);
        all.push(Taken { used, files });
    }
    Ok(all)
}

/// Returns the bytes of all files in a folder.
fn files_bytes(folder: &Path) -> anyhow::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // A file may go while it is looked at.
        let Ok(facts) = entry.metadata() else { continue };
        sum += if facts.is_dir() { files_bytes(&entry.path())? } else { facts.len() };
    }
    Ok(sum)
}

async fn fill(ctx: &Ctx, stage: &Stage, lot: Lot) -> anyhow::Result<()> {
    let urls = &stage.urls();
    let puts = (0..lot.objects).map(|number| async move {
        let url = &urls[number as usize % urls.len()];
        put(&ctx.http, url, &lot.name_of(number), lot.content_of(number), &[]).await?.expect(201)
    });
    stream::iter(puts).buffer_unordered(AT_A_TIME).try_collect::<Vec<_>>().await.map(drop)
}

async fn empty(ctx: &Ctx, stage: &Stage, lot: Lot) -> anyhow::Result<()> {
    let urls = &stage.urls();
    let deletions = (0..lot.objects).map(|number| async move {
        let url = object_url(&urls[number as usize % urls.len()], &lot.name_of(number));
        send(ctx.http.request(Method::DELETE, &url)).await?.expect(200)
    });
    stream::iter(deletions).buffer_unordered(AT_A_TIME).try_collect::<Vec<_>>().await.map(drop)
}

/// Stores objects and deletes them: every peer takes what it took before, but for a little.
async fn give_and_take(ctx: &Ctx, stage: &Stage, lot: Lot) -> anyhow::Result<()> {
    let before = taken(ctx, stage).await?;
    fill(ctx, stage, lot).await?;
    let expected = 2 * u64::from(lot.objects) * lot.bytes;
    until(PATIENCE, async || {
        let now = taken(ctx, stage).await?;
        let grown: u64 = now.iter().zip(&before).map(|(now, then)| now.used - then.used).sum();
        ensure!(grown >= expected, "all peers say that they took {grown} bytes only");
        Ok(())
    })
    .await?;
    let full = taken(ctx, stage).await?;
    empty(ctx, stage, lot).await?;
    let took = until(BACK_WITHIN, async || {
        let now = taken(ctx, stage).await?;
        for ((name, now), (full, before)) in
            stage.names().iter().zip(&now).zip(full.iter().zip(&before))
        {
            let rest = |now: u64, full: u64, before: u64| {
                (now.saturating_sub(before), full.saturating_sub(before))
            };
            for (what, (rest, was)) in [
                ("by what it says", rest(now.used, full.used, before.used)),
                ("by its files", rest(now.files, full.files, before.files)),
            ] {
                ensure!(rest <= was / REST_PART, "{name} keeps {rest} of {was} bytes {what}");
            }
        }
        Ok(())
    })
    .await?;
    let sum = |all: &[Taken]| {
        let (used, files) = all.iter().fold((0, 0), |(u, f), one| (u + one.used, f + one.files));
        format!("{} MiB used, {} MiB of files", used >> 20, files >> 20)
    };
    let after = taken(ctx, stage).await?;
    ctx.note(format!(
        "{} of {} bytes: {}; {}; {} {:.1} s after the last deletion",
        lot.objects,
        lot.bytes,
        sum(&before),
        sum(&full),
        sum(&after),
        took.as_secs_f64()
    ));
    Ok(())
}
