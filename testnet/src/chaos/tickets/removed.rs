//! Peers that are removed while they run: others give them nothing any more.

use std::time::Duration;

use anyhow::{Context, ensure};
use futures::future::join_all;
use protocol::Cid;
use protocol::api::Cluster;
use reqwest::Method;

use super::super::ask::send;
use super::super::requests::{look, object_url, put};
use super::super::segments::records;
use super::super::stage::{Ctx, Stage};
use super::super::wait::{PATIENCE, Watch, until};
use super::remove;
use crate::content::Content;

/// Objects of one block each: enough that every peer lacks some.
const OBJECTS: u32 = 40;

/// How soon a removed peer reads nothing any more.
const CUT_OFF_MAX: Duration = Duration::from_secs(5);

/// How long a removed peer has for one answer while it is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// An object that a peer has to get from others.
struct Foreign {
    name: String,
    cid: String,
}

/// See the module.
pub(super) async fn run(ctx: &Ctx, stage: &mut Stage) -> anyhow::Result<()> {
    let url = stage.url("a0")?;
    let mut all = Vec::new();
    for seed in 0..OBJECTS {
        let name = format!("kept/{seed}");
        let content = Content { seed: 100 + seed, size: 200_000 };
        let stored: protocol::api::Object =
            put(&ctx.http, &url, &name, content, &[]).await?.expect(201)?.document()?;
        all.push((Foreign { name, cid: stored.cid.context("it has a root")? }, content));
    }
    settled(ctx, stage).await?;
    let awake = foreign_to(stage, "a4", &all)?;
    let asleep = foreign_to(stage, "a3", &all)?;
    for (name, foreign) in [("a4", &awake), ("a3", &asleep)] {
        // Half of them: what was read once might be remembered.
        for one in &foreign[foreign.len() / 2..] {
            let at = stage.url(name)?;
            let content = all.iter().find(|(known, _)| known.cid == one.cid).context("known")?.1;
            ctx.http.check(&at, &one.cid, content).await.context("before it was removed")?;
            look(&ctx.http, &at, &one.name).await.context("before it was removed")?;
        }
    }

    // One that is told, and one that stands still meanwhile and believes to be a member.
    stage.net().pause("a3")?;
    for name in ["a4", "a3"] {
        let watch = Watch::start();
        remove(ctx, &url, name).await?;
        if name == "a3" {
            stage.net().resume("a3")?;
        }
        let foreign = if name == "a4" { &awake } else { &asleep };
        let unread = &foreign[..foreign.len() / 2];
        let at = stage.url(name)?;
        let took = until(CUT_OFF_MAX, async || {
            let read = readable(ctx, &at, unread, LOOK).await;
            ensure!(read.is_empty(), "{name} still reads {}", read.join(", "));
            Ok(())
        })
        .await?;
        let since = watch.elapsed();
        // Nor if it is given time.
        let read = readable(ctx, &at, unread, CUT_OFF_MAX).await;
        ensure!(read.is_empty(), "{name} reads {} again", read.join(", "));
        ctx.note(format!(
            "{name} read nothing from others {} ms after it was told so ({} ms after its removal was asked for)",
            took.as_millis(),
            since.as_millis()
        ));
    }
    // All others do.
    for name in ["a0", "a1", "a2"] {
        for (one, content) in &all {
            ctx.http.check(&stage.url(name)?, &one.cid, *content).await.context(name)?;
        }
    }
    Ok(())
}

/// Returns once nobody but the five is there, and all of them vote: so many that two are not missed.
async fn settled(ctx: &Ctx, stage: &Stage) -> anyhow::Result<()> {
    let url = format!("{}/api/v1/cluster", stage.url("a0")?);
    let took = until(PATIENCE, async || {
        let cluster: Cluster = serde_json::from_str(&ctx.http.get(&url).await?)?;
        let voters = cluster.peers.iter().filter(|peer| peer.raft == "voter").count();
        ensure!((voters, cluster.peers.len()) == (5, 5), "{voters} vote of {:?}", cluster.peers);
        Ok(())
    })
    .await?;
    ctx.note(format!("all five voted after {} ms", took.as_millis()));
    Ok(())
}

/// Returns the objects of which a peer holds no block.
fn foreign_to(
    stage: &Stage,
    name: &str,
    all: &[(Foreign, Content)],
) -> anyhow::Result<Vec<Foreign>> {
    let held = records(&stage.node(name)?.data_dir)?;
    let mut foreign = Vec::new();
    for (Foreign { name, cid }, _) in all {
        if !held.contains_key(&cid.parse::<Cid>()?) {
            foreign.push(Foreign { name: name.clone(), cid: cid.clone() });
        }
    }
    ensure!(foreign.len() >= 4, "{name} lacks {} objects only", foreign.len());
    Ok(foreign)
}

/// Returns which of these can be read at a peer, by their content or by their name.
async fn readable(ctx: &Ctx, url: &str, wanted: &[Foreign], patience: Duration) -> Vec<String> {
    let asked = wanted.iter().flat_map(|one| {
        [
            format!("{url}/api/v1/content/{}", one.cid),
            object_url(url, &format!("{}?meta", one.name)),
        ]
    });
    let reads = asked.map(|asked| async move {
        let request = ctx.http.request(Method::GET, &asked).timeout(patience);
        // Whatever it says, and whether it says anything: it reads if it gives the whole of it.
        let read = send(request).await.is_ok_and(|answer| answer.status == 200);
        read.then_some(asked)
    });
    join_all(reads).await.into_iter().flatten().collect()
}
