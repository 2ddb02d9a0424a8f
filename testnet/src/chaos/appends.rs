//! Writers that change one object at once, through all peers, some of which die: every change is there in the end, once.
//!
//! Half of the changes append a line, half write the writer's own place at the beginning. Each is asked for under one request
//! id, some of them twice at once, through two peers, and whoever gets no answer asks the next peer.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use futures::future::{try_join, try_join_all};
use protocol::Prng;
use protocol::api::Object;
use reqwest::Method;

use super::ask::{Answer, Reply, ask, send};
use super::requests::{get, object_url, put};
use super::stage::{Ctx, Stage};
use super::wait::{PATIENCE, Watch, pause, until};
use crate::content::Content;
use crate::harness::UpOptions;
use crate::http::Http;

const NAME: &str = "edits/shared";

const WRITERS: usize = 10;

/// Changes of each writer.
const CHANGES: usize = 24;

/// Bytes of a writer's own place at the beginning.
const PLACE_BYTES: usize = 16;

/// Rounds of what is tried without faults.
const ROUNDS: usize = 20;

/// How long a peer stays dead.
const DEAD: std::time::Duration = std::time::Duration::from_millis(700);

/// See the module.
pub(super) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    let mut stage = ctx.stage(&UpOptions::default()).await?;
    let urls = stage.urls();
    let head = vec![b'.'; WRITERS * PLACE_BYTES];
    let first = ctx.http.request(Method::PUT, &object_url(&urls[0], NAME)).body(head);
    send(first).await?.expect(201)?;
    let watch = Watch::start();
    let writers = (0..WRITERS).map(|writer| write(&ctx.http, &urls, writer));
    let (asked, ()) = try_join(try_join_all(writers), kill_some(&mut stage)).await?;
    let took = watch.elapsed();
    for url in &urls {
        until(PATIENCE, async || see(&ctx.http, url).await).await.context(url.clone())?;
    }
    repeated(&ctx.http, &urls).await.context("a change that is asked for again")?;
    at_once(&ctx.http, &urls).await.context("two changes under one request id")?;
    few_versions(&ctx.http, &urls).await.context("a bucket that keeps one version")?;
    ctx.note(format!(
        "{} changes in {:.1} s, asked for {} times: each there once",
        WRITERS * CHANGES,
        took.as_secs_f64(),
        asked.iter().sum::<usize>(),
    ));
    Ok(())
}

/// Kills each of some peers and starts it again, one after the other.
async fn kill_some(stage: &mut Stage) -> anyhow::Result<()> {
    for name in ["a0", "a3", "a1"] {
        pause(DEAD).await;
        stage.net().kill(name)?;
        pause(DEAD).await;
        stage.net().restart(name).await?;
    }
    Ok(())
}

/// One change of a writer.
struct Change {
    offset: Option<usize>,
    bytes: Vec<u8>,
    request: String,
}

impl Change {
    /// Returns the change of this number.
    fn of(writer: usize, number: usize) -> Self {
        let request = format!("{:016x}{number:016x}", writer + 1);
        match number % 2 {
            0 => Self { offset: None, bytes: line(writer, number), request },
            _ => Self { offset: Some(writer * PLACE_BYTES), bytes: place(writer, number), request },
        }
    }

    async fn ask(&self, http: &Http, url: &str) -> Reply {
        let at = self.offset.map_or_else(|| "append".to_owned(), |at| format!("offset={at}"));
        let url = format!("{}?{at}", object_url(url, NAME));
        let request = http.request(Method::PATCH, &url).header("x-shoal-request", &self.request);
        ask(request.body(self.bytes.clone())).await
    }
}

/// Returns a line that nobody else writes, of a length of its own: now and then longer than a chunk.
fn line(writer: usize, number: usize) -> Vec<u8> {
    let len = if number == 12 { (1 << 20) + writer } else { 20 + 37 * number };
    let mut line = format!("{writer:02} {number:04} ").into_bytes();
    line.resize(len, b'a' + u8::try_from(writer).unwrap_or(0));
    line.push(b'\n');
    line
}

fn place(writer: usize, number: usize) -> Vec<u8> {
    let mut place = format!("{writer:02} {number:04}").into_bytes();
    place.resize(PLACE_BYTES, b'+');
    place
}

/// Makes all changes of one writer. Returns how often it asked.
async fn write(http: &Http, urls: &[String], writer: usize) -> anyhow::Result<usize> {
    let mut prng = Prng::new(writer as u64);
    let mut asked = 0;
    for number in 0..CHANGES {
        let change = Change::of(writer, number);
        let mut at = prng.index(urls.len()).unwrap_or(0);
        let told = || format!("change {number} of writer {writer}");
        let watch = Watch::start();
        let versions = loop {
            let twice = prng.chance(1, 3);
            let next = (at + 1) % urls.len();
            asked += 1 + usize::from(twice);
            let replies = match twice {
                true => {
                    let (one, other) = futures::future::join(
                        change.ask(http, &urls[at]),
                        change.ask(http, &urls[next]),
                    )
                    .await;
                    vec![one, other]
                }
                false => vec![change.ask(http, &urls[at]).await],
            };
            let versions: Vec<_> = replies
                .into_iter()
                .filter_map(|reply| match reply {
                    Reply::Answered(answer) => Some(version_of(answer)),
                    Reply::NotSent | Reply::Unknown(_) => None,
                })
                .collect::<Result<_, _>>()
                .with_context(told)?;
            if !versions.is_empty() {
                break versions;
            }
            ensure!(watch.elapsed() < PATIENCE, "{} has no answer", told());
            at = next;
        };
        let is_one = versions.iter().all(|version| *version == versions[0]);
        ensure!(is_one, "{} made versions {versions:?}", told());
    }
    Ok(asked)
}

fn version_of(answer: Answer) -> anyhow::Result<String> {
    answer.expect(200)?.document::<Object>()?.version.context("an object has a version")
}

/// Fails unless the object has every line once, in the order of its writer, and the last word of each in its place.
async fn see(http: &Http, url: &str) -> anyhow::Result<()> {
    let body = get(http, url, NAME).await?.expect(200)?.body;
    let (head, lines) = body.split_at(WRITERS * PLACE_BYTES);
    for (writer, at) in head.chunks(PLACE_BYTES).enumerate() {
        let last = (0..CHANGES).rev().find(|number| number % 2 == 1).unwrap_or(0);
        ensure!(
            at == place(writer, last),
            "writer {writer} left {:?}",
            String::from_utf8_lossy(at)
        );
    }
    let mut next: BTreeMap<usize, usize> = BTreeMap::new();
    for found in lines.split_inclusive(|byte| *byte == b'\n') {
        let start = String::from_utf8_lossy(&found[..found.len().min(7)]).into_owned();
        let (writer, number) = start.split_once(' ').context("a line without a number")?;
        let (writer, number) = (writer.parse::<usize>()?, number.parse::<usize>()?);
        let expected = next.entry(writer).or_default();
        ensure!(number == *expected, "line {number} of writer {writer} instead of {expected}");
        ensure!(found == line(writer, number), "line {number} of writer {writer} has other bytes");
        *expected += 2;
    }
    let is_whole = next.len() == WRITERS && next.values().all(|next| *next >= CHANGES);
    ensure!(is_whole, "lines are missing: {next:?}");
    Ok(())
}

/// An append that is asked for again gives the same version; with other bytes it is refused, and changes nothing.
async fn repeated(http: &Http, urls: &[String]) -> anyhow::Result<()> {
    let same = Change::of(0, 0);
    let other = Change { bytes: b"something else\n".to_vec(), ..Change::of(0, 0) };
    let longer = Change { bytes: [line(0, 0), b"and more".to_vec()].concat(), ..Change::of(0, 0) };
    let shorter = Change { bytes: line(0, 0)[..10].to_vec(), ..Change::of(0, 0) };
    for url in urls {
        let Reply::Answered(answer) = same.ask(http, url).await else {
            anyhow::bail!("no answer through {url}");
        };
        version_of(answer)?;
        for other in [&other, &longer, &shorter] {
            let Reply::Answered(answer) = other.ask(http, url).await else {
                anyhow::bail!("no answer through {url}");
            };
            answer.expect_problem(409, "conflict")?;
        }
        see(http, url).await?;
    }
    Ok(())
}

/// Of two changes that are asked for at once under one request id, with other bytes, one is made and one refused.
async fn at_once(http: &Http, urls: &[String]) -> anyhow::Result<()> {
    for number in 0..ROUNDS {
        let offset = (number % 2 == 1).then_some(0);
        let name = format!("edits/at-once-{number}");
        put(http, &urls[0], &name, Content { seed: 1, size: 3 }, &[]).await?.expect(201)?;
        let request = format!("{number:032x}");
        let change = async |url: &str, bytes: &'static str| {
            let at = offset.map_or_else(|| "append".to_owned(), |at: u64| format!("offset={at}"));
            let url = format!("{}?{at}", object_url(url, &name));
            let patch = http.request(Method::PATCH, &url).header("x-shoal-request", &request);
            anyhow::Ok(send(patch.body(bytes)).await?)
        };
        let (one, other) = try_join(change(&urls[0], "AAAA"), change(&urls[1], "BB")).await?;
        let told = [one.status, other.status];
        ensure!(told == [200, 409] || told == [409, 200], "round {number}: {told:?}");
        let made = if one.status == 200 { "AAAA" } else { "BB" };
        let body = get(http, &urls[2], &name).await?.expect(200)?.body;
        let there = match offset {
            Some(_) => body.starts_with(made.as_bytes()),
            None => body.ends_with(made.as_bytes()) && body.len() == 3 + made.len(),
        };
        ensure!(there, "round {number}: {made} was made, {body:?} is there");
    }
    Ok(())
}

/// Where the next writer removes a version at once, whoever wrote it is told that it did; also when asked again.
async fn few_versions(http: &Http, urls: &[String]) -> anyhow::Result<()> {
    let bucket = format!("{}/api/v1/buckets/brief", urls[0]);
    let settings = serde_json::json!({ "keep_versions": 1 });
    send(http.request(Method::PUT, &bucket).json(&settings)).await?.expect(201)?;
    let name = "brief/one";
    put(http, &urls[0], name, Content { seed: 1, size: 0 }, &[]).await?.expect(201)?;
    let writers = (0..WRITERS).zip(urls.iter().cycle()).map(|(writer, url)| async move {
        let url = object_url(url, name);
        for number in 0..ROUNDS {
            let request = match (writer + number) % 2 {
                0 => {
                    let url = format!("{url}?append");
                    // A condition that holds of whatever is there is no reason to refuse.
                    http.request(Method::PATCH, &url).header("if-match", "*").body("x")
                }
                _ => {
                    let tags =
                        serde_json::json!({ "op": "set", "tags": { "n": number.to_string() } });
                    http.request(Method::POST, &url).json(&tags)
                }
            };
            let told = || format!("change {number} of writer {writer}");
            let object: Object = send(request).await?.expect(200).with_context(told)?.document()?;
            ensure!(object.version.is_some() && object.cid.is_some(), "{object:?}");
        }
        anyhow::Ok(())
    });
    try_join_all(writers).await?;
    let appended = WRITERS * ROUNDS / 2;
    let body = get(http, &urls[1], name).await?.expect(200)?.body;
    ensure!(body.len() == appended, "{} appends of {appended} are there", body.len());

    let append = async |url: &str, id: &str, bytes: &'static str| {
        let url = format!("{}?append", object_url(url, name));
        let patch = http.request(Method::PATCH, &url).header("x-shoal-request", id.repeat(16));
        send(patch.body(bytes)).await?.expect(200)?.document::<Object>()
    };
    let first = append(&urls[0], "01", "first").await?;
    append(&urls[1], "02", "second").await?;
    let again = append(&urls[2], "01", "first").await?;
    ensure!(first.version == again.version, "{:?}, then {:?}", first.version, again.version);
    let body = get(http, &urls[1], name).await?.expect(200)?.body;
    ensure!(body.ends_with(b"xfirstsecond"), "{body:?}");
    Ok(())
}
