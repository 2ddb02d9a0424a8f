//! Objects found by words of their names and tags, through every peer, also after one was killed while names changed.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, ensure};
use futures::stream::{self, TryStreamExt};
use protocol::api::{Found, Object, SearchState};
use reqwest::Method;

use super::ask::ask;
use super::client::shoal;
use super::stage::{Ctx, Stage};
use super::wait::{PATIENCE, until};
use crate::harness::UpOptions;

/// Objects that nobody looks for.
const OTHERS: u32 = 300;

/// Requests at a time.
const AT_A_TIME: usize = 8;

/// See the module.
pub(super) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    let mut stage = ctx.stage(&UpOptions { nodes: vec![3], ..UpOptions::default() }).await?;
    let urls = stage.urls();
    put(ctx, &urls[0], "photos/2024/Holiday-Oslo.jpg", "?tag=place=%C3%85lesund").await?;
    put(ctx, &urls[0], "photos/2023/report.txt", "").await?;
    let others = stream::iter((0..OTHERS).zip(urls.iter().cycle()).map(anyhow::Ok));
    let store = async |(number, url): (u32, &String)| {
        put(ctx, url, &format!("others/{number:04}/noise.bin"), "").await.map(drop)
    };
    others.try_for_each_concurrent(AT_A_TIME, store).await?;
    for url in &urls {
        finds(ctx, url, "oslo", &["2024/Holiday-Oslo.jpg"]).await?;
        finds(ctx, url, "holyday alesund", &["2024/Holiday-Oslo.jpg"]).await?;
        finds(ctx, url, "bucket:photos -oslo", &["2023/report.txt"]).await?;
        let all = search(ctx, url, "noise").await?;
        ensure!(all.total == u64::from(OTHERS), "{} of {OTHERS} objects found", all.total);
        ensure!(all.next.is_some() && all.clusters[0].state == SearchState::Searched, "{all:?}");
    }
    by_command(&stage.files()?, &urls[0]).await.context("the command line")?;

    // One is killed, and misses a name that comes and one that goes.
    stage.net().kill("a2")?;
    put(ctx, &urls[0], "photos/2025/winter.jpg", "").await?;
    let gone = format!("{}/api/v1/objects/photos/2023/report.txt", urls[0]);
    ask(ctx.http.request(Method::DELETE, &gone)).await.done()?;
    stage.net().restart("a2").await?;
    for url in stage.urls() {
        finds(ctx, &url, "winter", &["2025/winter.jpg"]).await?;
        finds(ctx, &url, "report", &[]).await?;
        finds(ctx, &url, "oslo", &["2024/Holiday-Oslo.jpg"]).await?;
    }

    // One is killed before its index has what it has applied of a name that goes, one that comes, and one that is again what it
    // was before.
    let url = stage.url("a2")?;
    put(ctx, &urls[0], "photos/changed.jpg", "?tag=state=former").await?;
    let latter = put(ctx, &urls[0], "photos/changed.jpg", "?tag=state=latter").await?;
    finds(ctx, &url, "tag:state=latter", &["changed.jpg"]).await?;
    put(ctx, &urls[0], "photos/late.jpg", "").await?;
    finds(ctx, &url, "late", &["late.jpg"]).await?;
    put(ctx, &urls[0], "photos/spring.jpg", "").await?;
    let changed = format!("{}/api/v1/objects/photos/changed.jpg?version={latter}", urls[0]);
    ask(ctx.http.request(Method::DELETE, &changed)).await.done()?;
    let gone = format!("{}/api/v1/objects/photos/late.jpg", urls[0]);
    ask(ctx.http.request(Method::DELETE, &gone)).await.done()?;
    until(PATIENCE, async || {
        let read = ctx.http.request(Method::GET, &format!("{url}/api/v1/objects/photos/late.jpg"));
        ask(read).await.answered()?.expect(404).map(drop)
    })
    .await?;
    stage.net().kill("a2")?;
    stage.net().restart("a2").await?;
    let url = stage.url("a2")?;
    finds(ctx, &url, "late", &[]).await?;
    finds(ctx, &url, "spring", &["spring.jpg"]).await?;
    finds(ctx, &url, "tag:state=former", &["changed.jpg"]).await?;
    finds(ctx, &url, "tag:state=latter", &[]).await?;

    // Its index is lost, or wrong: all of it is derived.
    damage_index(&mut stage, "a1").await?;
    let url = stage.url("a1")?;
    finds(ctx, &url, "winter", &["2025/winter.jpg"]).await?;
    finds(ctx, &url, "oslo", &["2024/Holiday-Oslo.jpg"]).await?;
    ctx.note(format!("found through every peer, among {} objects", OTHERS + 3));
    Ok(())
}

/// Stores an object, and returns its version.
async fn put(ctx: &Ctx, url: &str, name: &str, query: &str) -> anyhow::Result<String> {
    let url = format!("{url}/api/v1/objects/{name}{query}");
    let request = ctx.http.request(Method::PUT, &url).body(name.to_owned());
    let stored: Object = ask(request).await.done().with_context(|| name.to_owned())?.document()?;
    stored.version.context("an object that is stored has a version")
}

async fn search(ctx: &Ctx, url: &str, query: &str) -> anyhow::Result<Found> {
    let request = ctx.http.request(Method::GET, &format!("{url}/api/v1/search"));
    ask(request.query(&[("q", query)])).await.done()?.document()
}

/// Waits until a query finds these keys and no other one.
async fn finds(ctx: &Ctx, url: &str, query: &str, keys: &[&str]) -> anyhow::Result<()> {
    let wanted: BTreeSet<&str> = keys.iter().copied().collect();
    until(PATIENCE, async || {
        let found = search(ctx, url, query).await?;
        let found: BTreeSet<&str> = found.hits.iter().map(|hit| hit.key.as_str()).collect();
        ensure!(found == wanted, "{query:?} finds {found:?} instead of {wanted:?}");
        Ok(())
    })
    .await?;
    Ok(())
}

/// What people type and read.
async fn by_command(folder: &Path, url: &str) -> anyhow::Result<()> {
    let found = shoal(folder, &[url], &["search", "osol", "type:application", "--local"]).await?;
    let found = found.expect(0)?.out;
    ensure!(found.contains("photos/2024/Holiday-Oslo.jpg"), "{found}");
    let found = shoal(folder, &[url], &["search", "--tag", "place=\u{c5}lesund", "--json"]).await?;
    let found: Found = serde_json::from_str(&found.expect(0)?.out)?;
    ensure!(found.hits.len() == 1 && found.total == 1, "{found:?}");
    let more = shoal(folder, &[url], &["search", "noise", "--limit", "120"]).await?.expect(0)?;
    ensure!(more.out.lines().count() == 120 && more.err.contains("120 of 300"), "{}", more.err);
    let wrong = shoal(folder, &[url], &["search", "a tagg:b"]).await?;
    wrong.expect_one_line(&["at character 3", "tagg"])?.expect(2)?;
    let unknown = shoal(folder, &[url], &["search", "a", "--cluster", "elsewhere"]).await?;
    unknown.expect_one_line(&["elsewhere"])?.expect(3)?;
    Ok(())
}

/// Stops a peer, writes nonsense over the head of its index, and starts it again.
async fn damage_index(stage: &mut Stage, name: &str) -> anyhow::Result<()> {
    let names = stage.node(name)?.data_dir.join("names");
    stage.net().stop(name)?;
    let layouts = std::fs::read_dir(&names).context("there is no index")?;
    for layout in layouts {
        let head = layout?.path().join("meta.json");
        std::fs::write(&head, b"{").with_context(|| head.display().to_string())?;
    }
    stage.net().restart(name).await
}
