//! Writers that race for one name through different peers: one wins, the others are told, all peers agree.

use anyhow::{Context, ensure};
use futures::future::{try_join, try_join_all};
use protocol::api::{Deleted, Object};

use reqwest::Method;

use super::ask::{Answer, send};
use super::requests::{get, look, object_url, put};
use super::stage::{Ctx, Stage};
use crate::content::Content;
use crate::harness::UpOptions;

/// Races for a new name, each followed by one for its first version.
const ROUNDS: u32 = 50;

/// Writers of a race.
const WRITERS: u32 = 10;

/// Bytes of a small object, which is one block, and of a larger one, whose upload takes longer than a commit.
const SIZES: [u64; 2] = [700, (3 << 20) + 1];

/// What won a race.
struct Winner {
    object: Object,
    content: Content,
}

/// See the module.
pub(super) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    let stage = ctx.stage(&UpOptions::default()).await?;
    let urls = stage.urls();
    for round in 0..ROUNDS {
        play(ctx, &stage, &urls, round).await.with_context(|| format!("round {round}"))?;
    }
    repeated(ctx, &urls).await.context("requests whose answers were lost")?;
    versions(ctx, &urls).await.context("versions that are removed on a condition")?;
    ctx.note(format!("{} races of {WRITERS} writers, one winner each", 2 * ROUNDS));
    Ok(())
}

/// Whoever repeats a request, since its answer was lost, gets the answer: what it asked for holds no more, because of it.
async fn repeated(ctx: &Ctx, urls: &[String]) -> anyhow::Result<()> {
    let [first, second, third] = [0x11, 0x22, 0x33].map(|byte| format!("{byte:02x}").repeat(16));
    let content = Content { seed: 9_001, size: 700 };
    let create: [(&str, &str); 2] = [("if-none-match", "*"), ("x-shoal-request", &first)];
    let mut told = Vec::new();
    for url in &urls[..3] {
        let answer = put(&ctx.http, url, "races/repeated", content, &create).await?.expect(201)?;
        told.push(answer.document::<Object>()?.version);
    }
    ensure!(told.iter().all(|version| *version == told[0]), "versions {told:?} of one request");
    // With other bytes it is no repetition; of something else, the same id is another request.
    let changed = Content { seed: 9_002, size: 900 };
    put(&ctx.http, &urls[1], "races/repeated", changed, &create).await?.expect(409)?;
    let reused: [(&str, &str); 1] = [("x-shoal-request", &first)];
    put(&ctx.http, &urls[1], "races/repeated-too", content, &reused).await?.expect(201)?;
    put(&ctx.http, &urls[2], "races/repeated-too", changed, &reused).await?.expect(409)?;
    for url in &urls[..2] {
        let url = object_url(url, "races/repeated-too");
        let delete = ctx.http.request(Method::DELETE, &url).header("x-shoal-request", &first);
        let deleted: Deleted = send(delete).await?.expect(200)?.document()?;
        ensure!(deleted.existed, "the first answer");
    }

    let tag = format!("\"{}\"", told[0].clone().context("an object has a version")?);
    let replace: [(&str, &str); 2] = [("if-match", &tag), ("x-shoal-request", &second)];
    let append: [(&str, &str); 2] = [("if-match", &tag), ("x-shoal-request", &third)];
    let appended = async |url: &str| {
        let url = format!("{}?append", object_url(url, "races/repeated"));
        let request = ctx.http.request(Method::PATCH, &url).body("more");
        let request =
            append.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        anyhow::Ok(send(request).await?)
    };
    let mut told = Vec::new();
    for url in &urls[..2] {
        told.push(appended(url).await?.expect(200)?.document::<Object>()?.version);
    }
    ensure!(told[0] == told[1], "versions {told:?} of one append");
    for url in &urls[..2] {
        put(&ctx.http, url, "races/repeated", changed, &replace).await?.expect(412)?;
    }
    let weak = format!("W/\"{}\"", told[0].clone().context("an object has a version")?);
    let weak: [(&str, &str); 1] = [("if-match", &weak)];
    let refused = put(&ctx.http, &urls[0], "races/repeated", changed, &weak).await?;
    refused.expect(412).context("a weak tag").map(drop)
}

/// A version goes only while it is what whoever removes it says; of many who remove it so, one does.
async fn versions(ctx: &Ctx, urls: &[String]) -> anyhow::Result<()> {
    let name = "races/versions";
    let mut stored: Vec<Object> = Vec::new();
    for seed in [9_003, 9_004] {
        let answer = put(&ctx.http, &urls[0], name, Content { seed, size: 700 }, &[]).await?;
        stored.push(answer.document()?);
    }
    let [old, new] = &stored[..] else { return Ok(()) };
    let version = old.version.as_ref().context("an object has a version")?;
    let tags = [old, new].map(|object| object.cid.clone().unwrap_or_default());
    let remove = async |url: &str, condition: (&str, &str)| {
        let url = format!("{}?version={version}", object_url(url, name));
        send(ctx.http.request(Method::DELETE, &url).header(condition.0, condition.1)).await
    };
    let [own, others] = tags.map(|cid| format!("\"{cid}\""));
    for condition in
        [("if-match", others.as_str()), ("if-none-match", "*"), ("if-none-match", &own)]
    {
        remove(&urls[1], condition).await?.expect_problem(412, "precondition_failed")?;
        let there = format!("{}?version={version}", object_url(&urls[2], name));
        send(ctx.http.request(Method::GET, &there)).await?.expect(200).context("it is gone")?;
    }
    let asked = urls.iter().map(|url| remove(url, ("if-match", &own)));
    let answers = try_join_all(asked).await?;
    let removed = answers.iter().filter(|answer| answer.status == 200).count();
    let refused = answers.iter().filter(|answer| answer.status == 412).count();
    ensure!(
        removed == 1 && refused == answers.len() - 1,
        "{removed} removed it, {refused} did not"
    );
    remove(&urls[0], ("if-match", "*")).await?.expect_problem(412, "precondition_failed").map(drop)
}

async fn play(ctx: &Ctx, stage: &Stage, urls: &[String], round: u32) -> anyhow::Result<()> {
    let name = format!("races/round-{round}");
    let created = race(ctx, urls, &name, 2 * round, ("if-none-match", "*")).await?;
    let created = created.won_with(201).context("to create")?;
    everybody_shows(ctx, urls, &name, &created).await.context("after the creation")?;

    // A version is named by its number or by its content.
    let seen = match round % 2 {
        0 => created.object.version.clone(),
        _ => created.object.cid.clone(),
    };
    let tag = format!("\"{}\"", seen.context("an object has a version and a root")?);
    let replaced = race(ctx, urls, &name, 2 * round + 1, ("if-match", &tag)).await?;
    let replaced = replaced.won_with(200).context("to replace")?;
    everybody_shows(ctx, urls, &name, &replaced).await.context("after the replacement")?;
    stage.names().iter().try_for_each(|name| stage.ensure_running(name))
}

/// How everybody in a race fared.
struct Race(Vec<(Content, Answer)>);

/// Has all writers put different bytes at once, on one condition.
async fn race(
    ctx: &Ctx,
    urls: &[String],
    name: &str,
    number: u32,
    condition: (&str, &str),
) -> anyhow::Result<Race> {
    let writers = (0..WRITERS).zip(urls.iter().cycle()).map(|(writer, url)| async move {
        let size = SIZES[number as usize / 2 % SIZES.len()];
        let content = Content { seed: 1 + number * WRITERS + writer, size };
        let answer = put(&ctx.http, url, name, content, &[condition]).await?;
        anyhow::Ok((content, answer))
    });
    Ok(Race(try_join_all(writers).await?))
}

impl Race {
    /// Returns the winner, which was answered `status`; there must be one, and all others must be told.
    fn won_with(self, status: u16) -> anyhow::Result<Winner> {
        let (mut won, lost): (Vec<_>, Vec<_>) =
            self.0.into_iter().partition(|(_, answer)| (200..300).contains(&answer.status));
        for (_, answer) in &lost {
            answer.expect_problem(412, "precondition_failed")?;
        }
        ensure!(won.len() == 1, "{} of {WRITERS} writers won", won.len());
        let (content, answer) = won.remove(0);
        Ok(Winner { object: answer.expect(status)?.document()?, content })
    }
}

/// Fails unless every peer shows what won, and gives its bytes.
async fn everybody_shows(
    ctx: &Ctx,
    urls: &[String],
    name: &str,
    winner: &Winner,
) -> anyhow::Result<()> {
    let looks = urls.iter().map(|url| async move {
        let (object, answer) =
            try_join(look(&ctx.http, url, name), get(&ctx.http, url, name)).await?;
        ensure!(object == winner.object, "{url} shows {object:?}, {:?} won", winner.object);
        let bytes = answer.expect(200)?.body;
        let expected = winner.content.slice(0, winner.content.size);
        ensure!(bytes == expected, "{url} gives other bytes than those that won");
        Ok(())
    });
    try_join_all(looks).await.map(drop)
}
