//! A large object that is changed in small places while others read it all the time.
//!
//! What each change stores is what `shoal stat` says, and what the peers count; what readers get is one version or
//! the next, whole.

mod model;
mod readers;

use anyhow::{Context, ensure};
use futures::future::try_join;

use self::model::{CHUNK, Model};
use self::readers::{Known, Readers};
use super::client::shoal;
use super::requests::{look, put};
use super::scale::scaled;
use super::stage::{Ctx, Stage};
use super::wait::Watch;
use crate::content::Content;
use crate::harness::UpOptions;

/// Bytes of the object: 1 GiB in a whole run.
const SIZES: [u64; 2] = [64 << 20, 1 << 30];

/// Its name.
const NAME: &str = "edits/large";

/// Copies of every block.
const REPLICAS: u8 = 3;

/// Interior nodes that a change may make new, and the bytes of one: 1,024 links, and the sizes behind them.
const NODES_MAX: u64 = 3;
/// See [`NODES_MAX`].
const NODE_BYTES_MAX: u64 = 64 << 10;

/// One change.
struct Change {
    /// Where it goes; `None` to append.
    offset: Option<u64>,
    content: Content,
}

/// See the module.
pub(super) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    let options = UpOptions { replicas: REPLICAS, ..UpOptions::default() };
    let stage = ctx.stage(&options).await?;
    let first = Content { seed: 1, size: scaled(SIZES[0], SIZES[1]) };
    let urls = stage.urls();
    put(&ctx.http, &urls[0], NAME, first, &[]).await?.expect(201)?;
    let readers = Readers::new(&ctx.http, NAME);
    let watch = Watch::start();
    let changes = async {
        let done = change_all(ctx, &stage, &readers, first).await;
        readers.stop();
        done
    };
    // Not through the peer that is written to, and through one that has to learn of it.
    let ((), readings) = try_join(changes, readers.read(&urls[1..3])).await?;
    let seen = readers.judge(&readings)?;
    ctx.note(format!(
        "{} readings in {:.0} s, {} of them while the object changed: each whole, none of the past",
        readings.len(),
        watch.elapsed().as_secs_f64(),
        seen
    ));
    Ok(())
}

async fn change_all(
    ctx: &Ctx,
    stage: &Stage,
    readers: &Readers<'_>,
    first: Content,
) -> anyhow::Result<()> {
    let mut model = Model::new(first);
    readers.know(known(ctx, stage, &model).await?);
    readers.until_all_read().await?;
    let middle = first.size / 2;
    let changes = [
        ("1 MiB appended", None, CHUNK),
        ("4 KiB written in the middle", Some(middle + 1000), 4 << 10),
        ("a few bytes appended", None, 1000),
        ("1 MiB appended to a short end", None, CHUNK),
        ("4 KiB written across two chunks", Some(middle - 2000), 4 << 10),
    ];
    for ((what, offset, size), seed) in changes.into_iter().zip(10..) {
        let change = Change { offset, content: Content { seed, size } };
        let stored = apply(ctx, stage, readers, &mut model, change).await.context(what)?;
        ctx.note(format!("{what}: {stored}"));
        readers.until_all_read().await.context(what)?;
    }
    Ok(())
}

/// Returns what the object is now, by its name, and what its bytes must be.
async fn known(ctx: &Ctx, stage: &Stage, model: &Model) -> anyhow::Result<Known> {
    let object = look(&ctx.http, &stage.url("a3")?, NAME).await?;
    ensure!(object.size == model.size(), "it has {} bytes", object.size);
    let version = object.version.context("it has no version")?;
    let cid = object.cid.context("it has no root")?;
    Ok(Known { version: version.parse()?, cid, digest: model.digest().await })
}

/// Changes the object by the command line, and returns what that stored.
async fn apply(
    ctx: &Ctx,
    stage: &Stage,
    readers: &Readers<'_>,
    model: &mut Model,
    change: Change,
) -> anyhow::Result<String> {
    let (folder, url) = (stage.files()?, stage.url("a0")?);
    let content = change.content;
    std::fs::write(folder.join("piece"), content.slice(0, content.size))?;
    let before = stored_bytes(ctx, stage).await?;
    let offset = change.offset.map(|offset| offset.to_string());
    let arguments = match &offset {
        Some(offset) => vec!["write", NAME, "--offset", offset, "piece"],
        None => vec!["append", NAME, "piece"],
    };
    readers.changes();
    shoal(&folder, &[&url], &arguments).await?.expect(0)?;
    let leaves = model.change(change.offset, content);
    readers.know(known(ctx, stage, model).await?);

    let told = shoal(&folder, &[&url], &["stat", NAME, "--json"]).await?.expect(0)?.out;
    let told: serde_json::Value = serde_json::from_str(&told)?;
    let figure = |name: &str| {
        let found = told.get(name).and_then(serde_json::Value::as_u64);
        found.with_context(|| format!("stat does not say {name}: {told}"))
    };
    let (blocks, bytes) = (figure("new_blocks")?, figure("new_block_bytes")?);
    let fits = (leaves + 1..=leaves + NODES_MAX).contains(&blocks)
        && bytes <= leaves * CHUNK + NODES_MAX * NODE_BYTES_MAX;
    ensure!(fits, "{blocks} blocks of {bytes} bytes are new where {leaves} chunks changed");
    let text = shoal(&folder, &[&url], &["stat", NAME]).await?.expect(0)?.out;
    let line = text.lines().find(|line| line.starts_with("new blocks"));
    let says = line.is_some_and(|line| line.contains(&format!("{blocks}, ")));
    ensure!(says, "stat does not tell people of {blocks} new blocks: {text}");

    let written = stored_bytes(ctx, stage).await? - before;
    let most = u64::from(REPLICAS) * bytes;
    ensure!(written <= most, "{written} bytes were stored where {most} are new with all copies");
    Ok(format!("{blocks} new blocks, {bytes} bytes; peers stored {written}"))
}

/// Returns the bytes of blocks that all peers have stored since they began.
pub(super) async fn stored_bytes(ctx: &Ctx, stage: &Stage) -> anyhow::Result<u64> {
    let mut sum = 0;
    for url in stage.urls() {
        sum += ctx.http.metric(&url, "shoal_store_block_bytes_total").await?;
    }
    Ok(sum)
}
