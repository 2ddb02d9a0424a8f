//! Two clusters: what one publishes the other finds and fetches, whoever is killed; what is private nobody outside ever sees; and
//! what was withdrawn is gone.

use std::time::Duration;

use anyhow::{Context, ensure};
use protocol::Cid;
use protocol::api::{Clusters, Found, Hit, KnownCluster, Object, SearchState};
use reqwest::Method;

use super::ask::ask;
use super::client::shoal;
use super::stage::{Ctx, Stage};
use super::wait::{PATIENCE, Watch, until};
use crate::content::Content;
use crate::harness::UpOptions;

/// Bytes of the public file: leaves enough that several peers give some.
const SIZE: u64 = (24 << 20) + 7;

/// Objects that are published together.
const MANY: u32 = 200;

/// How soon what is published is found everywhere.
const SOON: Duration = Duration::from_secs(10);

/// See the module.
pub(super) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    let options = UpOptions { clusters: 2, nodes: vec![5, 3], ..UpOptions::default() };
    let mut stage = ctx.stage(&options).await?;
    let others = ["b0", "b1", "b2"]
        .map(|name| stage.url(name))
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    let a0 = stage.url("a0")?;
    let content = Content { seed: 81, size: SIZE };
    let secret = Content { seed: 82, size: SIZE };
    let public =
        put(ctx, &a0, "open/Lighthouse Kullen.tif", content, "?public=true&tag=sea=kattegat")
            .await?;
    let private = put(ctx, &a0, "closed/Lighthouse keys.txt", secret, "?tag=sea=secretsea").await?;
    let watch = Watch::start();
    for url in &others {
        let hit = found_one(ctx, url, "lighthuose", "Lighthouse Kullen.tif").await?;
        ensure!(
            hit.cid == public.to_string() && hit.cluster == "a" && hit.owner.is_empty(),
            "{hit:?}"
        );
    }
    let took = watch.elapsed();
    ensure!(took < SOON, "found in the other cluster after {took:?} only");
    ctx.note(format!(
        "found through every peer of the other cluster after {:.1} s",
        took.as_secs_f64()
    ));
    unseen(ctx, &stage, private).await.context("what is private")?;

    // Its gateway is killed: the others of its cluster give it.
    stage.net().kill("a0")?;
    ctx.http.check(&others[1], &public.to_string(), content).await?;
    let range = ctx.http.request(Method::GET, &content_url(&others[2], public));
    let part = ask(range.header("range", "bytes=1048570-1048590")).await.answered()?.expect(206)?;
    ensure!(part.body == content.slice(1_048_570, 1_048_591), "another range");
    by_command(ctx, &stage, &others[0], public, content).await.context("the command line")?;

    // Many come, and go again, while one of those that know of them is away.
    let a1 = stage.url("a1")?;
    stage.net().kill("b2")?;
    for number in 0..MANY {
        let small = Content { seed: 1_000 + number, size: 100 };
        put(ctx, &a1, &format!("many/buoy {number:03}"), small, "?public=true").await?;
    }
    counts(ctx, &others[0], "buoy", u64::from(MANY)).await?;
    let withdraw = ["unpublish", "--recursive", "many/buoy 1", "open"];
    shoal(&stage.files()?, &[&a1], &withdraw).await?.expect(0)?;
    stage.net().restart("b2").await?;
    for name in ["b0", "b1", "b2"] {
        let url = stage.url(name)?;
        counts(ctx, &url, "buoy", 100).await?;
        counts(ctx, &url, "lighthouse", 0).await?;
        let gone = ctx.http.request(Method::GET, &content_url(&url, public));
        ask(gone).await.answered()?.expect_problem(404, "not_found")?;
    }

    // The other cluster is gone for good: what is known of it stays, also across a start.
    for name in ["a1", "a2", "a3", "a4"] {
        stage.net().kill(name)?;
    }
    stage.net().kill("b1")?;
    stage.net().restart("b1").await?;
    let url = stage.url("b1")?;
    counts(ctx, &url, "buoy", 100).await?;
    let known = cluster(ctx, &url, "a").await?;
    ensure!(known.age_ms.is_some(), "{known:?}");
    Ok(())
}

async fn put(
    ctx: &Ctx,
    url: &str,
    name: &str,
    content: Content,
    query: &str,
) -> anyhow::Result<Cid> {
    let url = format!("{url}/api/v1/objects/{name}{query}");
    let bytes = content.slice(0, content.size);
    let stored = ask(ctx.http.request(Method::PUT, &url).body(bytes)).await.done()?;
    let stored: Object = stored.document()?;
    Ok(stored.cid.context("an object has a root")?.parse()?)
}

fn content_url(url: &str, cid: Cid) -> String {
    format!("{url}/api/v1/content/{cid}")
}

async fn search(ctx: &Ctx, url: &str, query: &str) -> anyhow::Result<Found> {
    let request = ctx.http.request(Method::GET, &format!("{url}/api/v1/search"));
    ask(request.query(&[("q", query)])).await.done()?.document()
}

/// Waits until a query finds one object, of this key.
async fn found_one(ctx: &Ctx, url: &str, query: &str, key: &str) -> anyhow::Result<Hit> {
    let mut one = None;
    until(PATIENCE, async || {
        let mut found = search(ctx, url, query).await?;
        ensure!(found.total == 1, "{query:?} finds {found:?}");
        one = found.hits.pop().filter(|hit| hit.key == key);
        ensure!(one.is_some(), "{query:?} finds something else");
        Ok(())
    })
    .await?;
    one.context("it was found")
}

/// Waits until a query finds so many objects.
async fn counts(ctx: &Ctx, url: &str, query: &str, wanted: u64) -> anyhow::Result<()> {
    until(PATIENCE, async || {
        let found = search(ctx, url, query).await?;
        ensure!(found.total == wanted, "{query:?} finds {} at {url}, not {wanted}", found.total);
        Ok(())
    })
    .await
    .map(drop)
}

async fn cluster(ctx: &Ctx, url: &str, name: &str) -> anyhow::Result<KnownCluster> {
    let request = ctx.http.request(Method::GET, &format!("{url}/api/v1/catalog/clusters"));
    let known: Clusters = ask(request).await.done()?.document()?;
    known.clusters.into_iter().find(|cluster| cluster.name == name).context("it is not known")
}

/// Checks that nobody of the other cluster sees anything of what is private.
async fn unseen(ctx: &Ctx, stage: &Stage, private: Cid) -> anyhow::Result<()> {
    for name in ["b0", "b1", "b2"] {
        let url = stage.url(name)?;
        for query in ["keys", "secretsea", "bucket:closed", "tag:sea=secretsea"] {
            let found = search(ctx, &url, query).await?;
            ensure!(found.total == 0, "{query:?} finds {found:?}");
        }
        let read = ctx.http.request(Method::GET, &content_url(&url, private));
        ask(read).await.answered()?.expect_problem(404, "not_found")?;
        let known = cluster(ctx, &url, "a").await?;
        ensure!(known.entries == 1 && known.held == 1, "a count of what is private: {known:?}");
        ensure!(known.state == SearchState::Searched && known.reachable, "{known:?}");
    }
    Ok(())
}

/// What people type and read.
async fn by_command(
    ctx: &Ctx,
    stage: &Stage,
    url: &str,
    public: Cid,
    content: Content,
) -> anyhow::Result<()> {
    let files = stage.files()?;
    let found = shoal(&files, &[url], &["search", "kullen", "--cluster", "a"]).await?.expect(0)?;
    ensure!(
        found.out.contains("open/Lighthouse Kullen.tif") && found.out.contains("sea=kattegat"),
        "{}",
        found.out
    );
    let none = shoal(&files, &[url], &["search", "kullen", "--local"]).await?.expect(0)?;
    ensure!(none.out.is_empty(), "{}", none.out);
    let listed = shoal(&files, &[url], &["catalog", "clusters"]).await?.expect(0)?;
    ensure!(listed.out.contains("known") && listed.out.lines().count() == 3, "{}", listed.out);
    let cid = public.to_string();
    shoal(&files, &[url], &["download", &cid, "-o", "copy"]).await?.expect(0)?;
    let copy = std::fs::read(files.join("copy"))?;
    ensure!(copy == content.slice(0, content.size), "another file");
    ctx.note("fetched by its CID with the peer dead that took it, identical");
    Ok(())
}
