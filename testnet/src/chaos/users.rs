//! Users, their tokens and what is theirs: whoever has no valid token gets nothing, and nobody writes in a bucket of
//! somebody else.
//!
//! Every route of `openapi.json` is tried without a token, so that a new one cannot be forgotten here.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use protocol::api::{Listing, Object, Secret, Stored, Tokens, UploadBegun, User, Users, Versions};
use protocol::{Cid, Codec};
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use tokio::process::Child;

use super::ask::{Answer, send};
use super::client::{shoal, start};
use super::cut;
use super::edit::stored_bytes;
use super::requests::object_url;
use super::settings::free_port;
use super::stage::{Ctx, Stage};
use super::views::leader;
use super::wait::{PATIENCE, pause, until};
use crate::harness::UpOptions;

/// For whoever watches the daemon, without a token.
const WATCHED: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// How long a peer that goes on alone has requests, before those do that could tell it what it missed.
const UNDER_WAY: Duration = Duration::from_millis(500);

/// More pages than there are rows.
const PAGES_MAX: usize = 100;

/// How long it takes at most until what a failed upload stored is taken back, where nobody is slow.
const SETTLES: Duration = Duration::from_secs(1);

/// Bytes that a stranger sends in vain: some chunks.
const VAIN_BYTES: usize = 3 << 20;

/// See the module.
pub(super) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    let flags = vec!["--grace".to_owned(), "1s".to_owned()];
    let options = UpOptions { nodes: vec![3], flags, ..UpOptions::default() };
    let mut stage = ctx.stage(&options).await?;
    without_a_token(ctx, &stage).await.context("without a token")?;
    two_users(ctx, &mut stage).await.context("two users")?;
    revoked_while_away(ctx, &mut stage).await.context("a token that a peer still believes in")?;
    pages(ctx, &stage).await.context("users and tokens by pages")?;
    the_administrators_file(&stage).context("the file of the administrator's token")?;
    drop(stage);
    watched_by_nobody(ctx).await.context("with private metrics")
}

/// Who asks: a token, or nothing.
pub(super) struct Asker<'a> {
    ctx: &'a Ctx,
    token: Option<String>,
}

impl<'a> Asker<'a> {
    pub(super) fn request(&self, method: Method, url: &str) -> RequestBuilder {
        self.ctx.http.request_with(method, url, self.token.as_deref())
    }

    async fn patch(&self, url: &str, name: &str, body: Vec<u8>) -> anyhow::Result<Answer> {
        let url = format!("{}?append", object_url(url, name));
        Ok(send(self.request(Method::PATCH, &url).body(body)).await?)
    }

    async fn put(&self, url: &str, name: &str, body: Vec<u8>) -> anyhow::Result<Answer> {
        Ok(send(self.request(Method::PUT, &object_url(url, name)).body(body)).await?)
    }
}

async fn without_a_token(ctx: &Ctx, stage: &Stage) -> anyhow::Result<()> {
    let url = stage.url("a1")?;
    let text = ctx.http.get(&format!("{url}/openapi.json")).await?;
    let described: serde_json::Value = serde_json::from_str(&text)?;
    let paths = described["paths"].as_object().context("no paths are described")?;
    let mut tried = 0;
    for (path, methods) in paths.iter().filter(|(path, _)| !WATCHED.contains(&path.as_str())) {
        let path: String =
            path.replace("{bucket}", "b").replace("{*key}", "k").replace("{key}", "k");
        for method in methods.as_object().context("no methods are described")?.keys() {
            let Ok(method) = Method::from_bytes(method.to_uppercase().as_bytes()) else { continue };
            let is_of_object = path.starts_with("/api/v1/objects/") || method.is_safe();
            if !is_of_object {
                // Nothing that cannot be kept is passed over in silence.
                let asked = ctx.http.request(method.clone(), &format!("{url}{path}"));
                let answer = send(asked.header("if-match", "\"1\"")).await?;
                let refused = answer.expect_problem(400, "invalid");
                refused.with_context(|| format!("{method} {path} on a condition"))?;
            }
            for token in [None, Some("0".repeat(64)), Some(String::new())] {
                let asker = Asker { ctx, token };
                let answer = send(asker.request(method.clone(), &format!("{url}{path}"))).await?;
                ensure!(answer.status == 401, "{method} {path}: {}", answer.status);
                if method != Method::HEAD {
                    answer.expect_problem(401, "denied").with_context(|| path.clone())?;
                }
                tried += 1;
            }
        }
    }
    let nobody = Asker { ctx, token: None };
    for path in ["/openapi.json", "/api/v1/no-such-thing"] {
        let answer = send(nobody.request(Method::GET, &format!("{url}{path}"))).await?;
        ensure!(answer.status == 401 || answer.status == 404, "{path}: {}", answer.status);
        ensure!(path != "/openapi.json" || answer.status == 401, "{path} is told to anybody");
    }
    for path in WATCHED {
        send(nobody.request(Method::GET, &format!("{url}{path}"))).await?.expect(200)?;
    }
    ctx.note(format!("{tried} requests without a valid token refused"));
    Ok(())
}

/// Makes a user, and a token of theirs.
async fn user<'a>(ctx: &'a Ctx, url: &str, name: &str) -> anyhow::Result<(Asker<'a>, Secret)> {
    let users = ctx.http.request(Method::POST, &format!("{url}/api/v1/users"));
    send(users.json(&json!({ "name": name }))).await?.expect(201)?;
    let tokens = ctx.http.request(Method::POST, &format!("{url}/api/v1/tokens"));
    let made = send(tokens.json(&json!({ "user": name, "label": "test" }))).await?.expect(201)?;
    let secret: Secret = made.document()?;
    Ok((Asker { ctx, token: Some(secret.token.clone()) }, secret))
}

async fn two_users(ctx: &Ctx, stage: &mut Stage) -> anyhow::Result<()> {
    let urls = stage.urls();
    let (ann, secret) = user(ctx, &urls[0], "ann").await?;
    let (bob, _) = user(ctx, &urls[1], "bob").await?;
    // Valid through every peer, at once.
    for url in &urls {
        let found = send(ann.request(Method::GET, &format!("{url}/api/v1/whoami"))).await?;
        ensure!(found.expect(200)?.document::<User>()?.name == "ann", "who asks?");
    }
    ann.put(&urls[1], "anns/one", b"first".to_vec()).await?.expect(201)?;
    bob.put(&urls[2], "bobs/one", b"mine".to_vec()).await?.expect(201)?;
    others_write_nothing(ctx, stage, &bob).await?;
    uploads_have_owners(&urls, &ann, &bob).await.context("an upload in parts")?;
    a_name_that_is_given_again(ctx, &urls).await.context("a user of a name that was used")?;
    cut::run(&urls, &ann).await.context("content that is not what it says")?;
    parts_stay(ctx, &urls, &ann).await.context("parts of which one breaks off")?;
    what_is_named_is_kept(&urls, &ann).await.context("content that is named")?;

    // By owner, over all buckets, by HTTP and by the client.
    for (name, wanted) in [("ann", "anns"), ("bob", "bobs")] {
        let url = format!("{}/api/v1/objects?owner={name}", urls[0]);
        let found: Listing = send(bob.request(Method::GET, &url)).await?.expect(200)?.document()?;
        let buckets: Vec<_> = found.objects.iter().map(|object| object.bucket.as_deref()).collect();
        let are = !buckets.is_empty() && buckets.iter().all(|bucket| *bucket == Some(wanted));
        ensure!(are, "{name} owns objects of {buckets:?}");
        let told = shoal(&stage.files()?, &[&urls[2]], &["ls", "--owner", name]).await?;
        let told = told.expect(0)?.out;
        ensure!(
            told.lines().count() == buckets.len() && told.lines().all(|line| line.contains(wanted)),
            "ls --owner {name}: {told}"
        );
    }

    // What only administrators may.
    for (method, path, body) in [
        (Method::GET, "users", None),
        (Method::POST, "users", Some(json!({ "name": "eve" }))),
        (Method::POST, "tokens", Some(json!({ "user": "ann" }))),
        (Method::POST, "cluster/invites", Some(json!({}))),
        (Method::DELETE, "users/ann", None),
        (Method::PATCH, "buckets/anns", Some(json!({ "owner": "bob" }))),
        (Method::DELETE, "buckets/anns", None),
    ] {
        let mut request = bob.request(method.clone(), &format!("{}/api/v1/{path}", urls[0]));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = send(request).await?;
        answer.expect_problem(403, "denied").with_context(|| format!("{method} {path}"))?;
    }

    // A user sees and revokes tokens of their own only, and a revoked one opens nothing, through nobody.
    let url = format!("{}/api/v1/tokens", urls[1]);
    let found: Tokens = send(bob.request(Method::GET, &url)).await?.expect(200)?.document()?;
    ensure!(found.tokens.iter().all(|token| token.user == "bob"), "{found:?}");
    let url = format!("{}/api/v1/tokens/{}", urls[1], secret.id);
    let answer = send(bob.request(Method::DELETE, &url)).await?;
    ensure!([403, 404].contains(&answer.status), "a stranger's token: {}", answer.status);
    send(ann.request(Method::DELETE, &url)).await?.expect(204)?;
    for url in &urls {
        until(PATIENCE, async || {
            let asked = ann.request(Method::GET, &format!("{url}/api/v1/whoami"));
            send(asked).await?.expect_problem(401, "denied")
        })
        .await?;
    }
    Ok(())
}

/// A user who may not write is told so, whichever way it is tried, and leaves no byte behind.
async fn others_write_nothing(ctx: &Ctx, stage: &Stage, bob: &Asker<'_>) -> anyhow::Result<()> {
    let url = stage.url("a2")?;
    let vain = |byte: u8| vec![byte; VAIN_BYTES];
    let before = stored_bytes(ctx, stage).await?;
    bob.patch(&url, "anns/one", vain(1)).await?.expect_problem(403, "denied").context("PATCH")?;
    bob.put(&url, "anns/one", vain(2)).await?.expect_problem(403, "denied").context("PUT")?;
    bob.put(&url, "anns/two", vain(3))
        .await?
        .expect_problem(403, "denied")
        .context("a new name")?;
    let stored = stored_bytes(ctx, stage).await? - before;
    ensure!(stored == 0, "{stored} bytes were stored for somebody who may not write");
    let operations: BTreeMap<&str, serde_json::Value> = [
        ("anns/copy", json!({ "op": "copy", "from": { "bucket": "bobs", "key": "one" } })),
        ("bobs/taken", json!({ "op": "move", "from": { "bucket": "anns", "key": "one" } })),
        ("anns/one", json!({ "op": "set", "tags": { "by": "bob" } })),
    ]
    .into();
    for (name, operation) in operations {
        let request = bob.request(Method::POST, &object_url(&url, name)).json(&operation);
        send(request).await?.expect_problem(403, "denied").with_context(|| name.to_owned())?;
    }
    let request = bob.request(Method::DELETE, &object_url(&url, "anns/one"));
    send(request).await?.expect_problem(403, "denied").context("DELETE")?;
    let body = send(bob.request(Method::GET, &object_url(&url, "anns/one"))).await?;
    ensure!(body.expect(200)?.body == b"first"[..], "somebody else's object changed");
    Ok(())
}

/// Begins an upload in parts, and returns its id.
pub(super) async fn begin(asker: &Asker<'_>, url: &str) -> anyhow::Result<String> {
    let begun = send(asker.request(Method::POST, &format!("{url}/api/v1/uploads"))).await?;
    Ok(begun.expect(201)?.document::<UploadBegun>()?.upload)
}

/// Returns the change that names content of an upload.
pub(super) fn naming(cid: &str, upload: &str, size: usize) -> serde_json::Value {
    json!({ "op": "name", "cid": cid, "upload": upload, "size": size, "tags": {}, "public": false })
}

/// Nobody adds to an upload of somebody else, or says what it is, or takes an id that is not given out yet.
async fn uploads_have_owners(
    urls: &[String],
    ann: &Asker<'_>,
    bob: &Asker<'_>,
) -> anyhow::Result<()> {
    let upload = begin(ann, &urls[0]).await?;
    let cid = Cid::of(Codec::Raw, b"mine").to_string();
    for url in urls {
        let block = format!("{url}/api/v1/blocks/{cid}?upload={upload}");
        let part = format!("{url}/api/v1/content?upload={upload}");
        let pin = format!("{url}/api/v1/content/{cid}?upload={upload}&size=4");
        for (what, request) in [
            ("a block", bob.request(Method::PUT, &block).body("mine")),
            ("a part", bob.request(Method::POST, &part).body("mine")),
            ("a pin", bob.request(Method::PUT, &pin)),
            (
                "a name",
                bob.request(Method::POST, &object_url(url, "bobs/two"))
                    .json(&naming(&cid, &upload, 4)),
            ),
            ("its end", bob.request(Method::DELETE, &format!("{url}/api/v1/uploads/{upload}"))),
        ] {
            send(request).await?.expect_problem(403, "denied").context(what)?;
        }
        let number = u128::from_str_radix(&upload, 16)?;
        for ahead in 1..40 {
            let next = format!("{:032x}", number + ahead);
            let request = bob.request(Method::POST, &object_url(url, "bobs/two"));
            let answer = send(request.json(&naming(&cid, &next, 4))).await?;
            answer.expect_problem(409, "conflict").context("an upload that nobody began")?;
        }
        let after = ann.put(url, "anns/after", b"uploads go on".to_vec()).await?;
        ensure!([200, 201].contains(&after.status), "an upload after that: {}", after.status);
    }
    for url in urls {
        let part = format!("{url}/api/v1/content?upload={upload}");
        send(ann.request(Method::POST, &part).body("mine")).await?.expect(201)?;
    }
    let ended = ann.request(Method::DELETE, &format!("{}/api/v1/uploads/{upload}", urls[0]));
    send(ended).await?.expect(204)?;
    // Whichever peer heard of it last.
    for url in urls {
        let part = format!("{url}/api/v1/content?upload={upload}");
        let answer = send(ann.request(Method::POST, &part).body("mine")).await?;
        answer.expect_problem(409, "conflict").context("an upload that was ended")?;
    }
    Ok(())
}

/// Who gets the name of a user that was removed gets none of their uploads.
async fn a_name_that_is_given_again(ctx: &Ctx, urls: &[String]) -> anyhow::Result<()> {
    let (former, _) = user(ctx, &urls[0], "una").await?;
    let upload = begin(&former, &urls[0]).await?;
    let cid = Cid::of(Codec::Raw, b"former").to_string();
    for url in urls {
        let part = format!("{url}/api/v1/content?upload={upload}");
        send(former.request(Method::POST, &part).body("former")).await?.expect(201)?;
    }
    let una = format!("{}/api/v1/users/una", urls[1]);
    send(ctx.http.request(Method::DELETE, &una)).await?.expect(204)?;
    let (new, _) = user(ctx, &urls[2], "una").await?;
    for url in urls {
        let part = format!("{url}/api/v1/content?upload={upload}");
        let name = new.request(Method::POST, &object_url(url, "unas/one"));
        let pin = format!("{url}/api/v1/content/{cid}?upload={upload}&size=6");
        for (what, request) in [
            ("a part", new.request(Method::POST, &part).body("mine")),
            ("a name", name.json(&naming(&cid, &upload, 6))),
            ("a pin", new.request(Method::PUT, &pin)),
            ("an administrator's part", ctx.http.request(Method::POST, &part).body("mine")),
        ] {
            send(request).await?.expect_problem(409, "conflict").context(what)?;
        }
    }
    let own = begin(&new, &urls[0]).await?;
    let part = format!("{}/api/v1/content?upload={own}", urls[1]);
    send(new.request(Method::POST, &part).body("mine")).await?.expect(201)?;
    send(ctx.http.request(Method::DELETE, &una)).await?.expect(204).map(drop)
}

/// A part that breaks off takes nothing along that was acknowledged before.
async fn parts_stay(ctx: &Ctx, urls: &[String], ann: &Asker<'_>) -> anyhow::Result<()> {
    let upload = begin(ann, &urls[0]).await?;
    let part = format!("{}/api/v1/content?upload={upload}", urls[0]);
    let first = send(ann.request(Method::POST, &part).body("the first part")).await?.expect(201)?;
    let first: Stored = first.document()?;
    let broken = futures::stream::iter([
        Ok(bytes::Bytes::from(vec![9; VAIN_BYTES])),
        Err(std::io::Error::other("the client breaks off")),
    ]);
    let broken = ann.request(Method::POST, &part).body(reqwest::Body::wrap_stream(broken));
    ensure!(send(broken).await.is_err(), "a part that broke off was answered");
    let failures = async || ctx.http.metric(&urls[0], "shoal_upload_failures_total").await;
    until(PATIENCE, async || {
        ensure!(failures().await? >= 1, "no upload has failed");
        Ok(())
    })
    .await?;
    for _ in 0..20 {
        let block = format!("{}/api/v1/blocks/{}", urls[1], first.cid);
        send(ann.request(Method::GET, &block)).await?.expect(200).context("the first part")?;
        pause(SETTLES / 20).await;
    }
    let request = ann.request(Method::POST, &object_url(&urls[1], "anns/parts"));
    send(request.json(&naming(&first.cid, &upload, 14))).await?.expect(200)?;
    let found = send(ann.request(Method::GET, &object_url(&urls[2], "anns/parts"))).await?;
    ensure!(found.expect(200)?.body == b"the first part"[..], "the first part has other bytes");
    Ok(())
}

/// What was named after an upload in parts stays when everything else that had it goes, although the client sent none of it;
/// and what lies nowhere, or is something else than the client says, gets no name.
async fn what_is_named_is_kept(urls: &[String], ann: &Asker<'_>) -> anyhow::Result<()> {
    // Two chunks and their root.
    let body: Vec<u8> = (0..(3_u32 << 19)).map(|byte| (byte % 251) as u8).collect();
    let stored = ann.put(&urls[0], "anns/first", body.clone()).await?.expect(201)?;
    let root = stored.document::<Object>()?.cid.context("an object has a root")?;
    let other = ann.put(&urls[0], "anns/other", body[1..].to_vec()).await?.expect(201)?;
    let other = other.document::<Object>()?.cid.context("an object has a root")?;
    let upload = begin(ann, &urls[1]).await?;
    let url = object_url(&urls[1], "anns/named");
    let name = |body| ann.request(Method::POST, &url).json(&body);
    for size in [0, body.len() - 1, body.len() + 1] {
        let answer = send(name(naming(&root, &upload, size))).await?;
        answer.expect_problem(400, "invalid").context("a size that is not its")?;
    }
    let nowhere = Cid::of(Codec::Raw, b"nobody ever stored this").to_string();
    let answer = send(name(naming(&nowhere, &upload, 23))).await?;
    answer.expect_problem(409, "conflict").context("content that lies nowhere")?;
    send(ann.request(Method::GET, &url)).await?.expect_problem(404, "not_found")?;
    send(name(naming(&root, &upload, body.len()))).await?.expect(200)?;
    let ended = ann.request(Method::DELETE, &format!("{}/api/v1/uploads/{upload}", urls[2]));
    send(ended).await?.expect(204)?;

    for name in ["anns/first", "anns/other"] {
        let versions = format!("{}/api/v1/versions/{name}", urls[0]);
        send(ann.request(Method::DELETE, &object_url(&urls[0], name))).await?.expect(200)?;
        let found = send(ann.request(Method::GET, &versions)).await?.expect(200)?;
        for version in found.document::<Versions>()?.versions {
            let version = version.version.context("a version has a number")?;
            let url = format!("{}?version={version}", object_url(&urls[0], name));
            send(ann.request(Method::DELETE, &url)).await?.expect(200)?;
        }
    }
    for url in urls {
        // What had no other name is gone from everywhere, so the first one's blocks had their time too.
        let gone = format!("{url}/api/v1/blocks/{other}");
        until(PATIENCE, async || {
            send(ann.request(Method::GET, &gone)).await?.expect(404).map(|_| ())
        })
        .await
        .context("what has no name any more is freed")?;
    }
    for url in urls {
        let found = send(ann.request(Method::GET, &object_url(url, "anns/named"))).await?;
        ensure!(found.expect(200)?.body == body, "what was named has other bytes through {url}");
    }
    Ok(())
}

/// A peer that stood still when a token was revoked neither answers to it nor makes a change by it: not even where it is asked
/// before anybody can tell it.
async fn revoked_while_away(ctx: &Ctx, stage: &mut Stage) -> anyhow::Result<()> {
    let (eve, secret) = user(ctx, &stage.url("a0")?, "eve").await?;
    let leads = leader(stage.net()).await?;
    let names = stage.names();
    let away = names.iter().find(|name| **name != leads).context("somebody follows")?.clone();
    let (url, there) = (stage.url(&away)?, stage.url(&leads)?);
    // Known there before.
    send(eve.request(Method::GET, &format!("{url}/api/v1/whoami"))).await?.expect(200)?;
    let upload = begin(&eve, &url).await?;
    let part = format!("{url}/api/v1/content?upload={upload}");
    send(eve.request(Method::POST, &part).body("a part before")).await?.expect(201)?;
    stage.net().pause(&away)?;
    let revoke = format!("{there}/api/v1/tokens/{}", secret.id);
    send(ctx.http.request(Method::DELETE, &revoke)).await?.expect(204)?;
    let asked = async {
        let (read, written, locked, added) = futures::future::join4(
            send(eve.request(Method::GET, &format!("{url}/api/v1/whoami"))),
            eve.put(&url, "eves/one", b"after".to_vec()),
            send(
                eve.request(Method::POST, &format!("{url}/api/v1/locks/eves"))
                    .json(&json!({ "op": "acquire", "owner": "eve", "ttl_ms": 1000 })),
            ),
            send(eve.request(Method::POST, &part).body("a part after")),
        )
        .await;
        let answers =
            [("a read", read?), ("a write", written?), ("a lock", locked?), ("a part", added?)];
        for (what, answer) in answers {
            let is_refused = [401, 403].contains(&answer.status);
            ensure!(is_refused, "{what} was answered with {}", answer.status);
        }
        anyhow::Ok(())
    };
    // It goes on alone, and has passed the requests on to nobody before the others do.
    let net = stage.net();
    let others: Vec<&String> = names.iter().filter(|name| **name != away).collect();
    others.iter().try_for_each(|name| net.pause(name))?;
    net.resume(&away)?;
    let resumed = async {
        pause(UNDER_WAY).await;
        others.iter().try_for_each(|name| net.resume(name))
    };
    futures::future::try_join(asked, resumed).await?;
    let found = send(ctx.http.request(Method::GET, &object_url(&there, "eves/one"))).await?;
    ensure!(found.status == 404, "a change by a revoked token was made: {}", found.status);
    Ok(())
}

/// All users and tokens can be listed, page by page.
async fn pages(ctx: &Ctx, stage: &Stage) -> anyhow::Result<()> {
    let url = stage.url("a1")?;
    let (mut users, mut tokens, mut after) = (Vec::new(), 0, None);
    for page in 0.. {
        ensure!(page < PAGES_MAX, "the pages of users do not end: {users:?}");
        let from = after.take().map(|after: String| format!("&after={after}"));
        let query = format!("limit=2{}", from.unwrap_or_default());
        let asked = ctx.http.request(Method::GET, &format!("{url}/api/v1/users?{query}"));
        let page: Users = send(asked).await?.expect(200)?.document()?;
        users.extend(page.users.into_iter().map(|user| user.name));
        let Some(next) = page.next else { break };
        after = Some(next);
    }
    ensure!(users == ["admin", "ann", "bob", "eve"], "users are {users:?}");
    let mut after = String::new();
    for page in 0.. {
        ensure!(page < PAGES_MAX, "the pages of tokens do not end");
        let query = format!("limit=1{after}");
        let asked = ctx.http.request(Method::GET, &format!("{url}/api/v1/tokens?{query}"));
        let page: Tokens = send(asked).await?.expect(200)?.document()?;
        tokens += page.tokens.len();
        let Some(next) = page.next else { break };
        after = format!("&after={next}");
    }
    // Those of the administrator and of bob; the others were revoked.
    ensure!(tokens == 2, "{tokens} tokens are listed");
    let asked = ctx.http.request(Method::GET, &format!("{url}/api/v1/users?page=2"));
    send(asked).await?.expect_problem(400, "invalid")
}

/// The token that founding made lies where the daemon's user alone reads it, and nowhere in what is logged.
fn the_administrators_file(stage: &Stage) -> anyhow::Result<()> {
    let mut found = 0;
    for name in stage.names() {
        let node = stage.node(&name)?;
        let path = node.data_dir.join("admin-token");
        let Ok(token) = std::fs::read_to_string(&path) else { continue };
        found += 1;
        let mode = std::fs::metadata(&path)?.permissions().mode() & 0o777;
        ensure!(mode == 0o600, "the file's mode is {mode:o}");
        let log = std::fs::read_to_string(&node.log)?;
        let told = log.matches(token.trim()).count();
        ensure!(told <= 1, "the token is in the log {told} times");
    }
    ensure!(found == 1, "{found} peers have an administrator's token instead of the founder alone");
    Ok(())
}

/// Where it is asked for, also those who only watch need a token.
async fn watched_by_nobody(ctx: &Ctx) -> anyhow::Result<()> {
    let folder = ctx.folder()?;
    let http = format!("127.0.0.1:{}", free_port()?);
    let listen = "/ip4/127.0.0.1/tcp/0";
    let flags = ["--data-dir", "d", "--http", &http, "--listen", listen, "--private-metrics=true"];
    let mut daemon = start("shoald", folder.path(), &flags)?;
    let url = format!("http://{http}");
    let file = folder.path().join("d/admin-token");
    let admin = Asker { ctx, token: Some(await_token(&mut daemon, &file).await?) };
    let nobody = Asker { ctx, token: None };
    for path in WATCHED {
        let ask = |asker: &Asker<'_>| send(asker.request(Method::GET, &format!("{url}{path}")));
        until(PATIENCE, async || ask(&admin).await?.expect(200).map(|_| ())).await?;
        let answer = ask(&nobody).await?;
        answer.expect_problem(401, "denied").with_context(|| path.to_owned())?;
    }
    daemon.kill().await.context("the daemon does not end")
}

/// Returns the token of the administrator, once the daemon has written it.
async fn await_token(daemon: &mut Child, file: &Path) -> anyhow::Result<String> {
    let mut token = String::new();
    until(PATIENCE, async || {
        ensure!(daemon.try_wait()?.is_none(), "the daemon ended");
        token = std::fs::read_to_string(file)?.trim().to_owned();
        ensure!(!token.is_empty(), "the file is empty");
        Ok(())
    })
    .await?;
    Ok(token)
}
