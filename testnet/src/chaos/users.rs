//! Users, their tokens and what is theirs: whoever has no valid token gets nothing, and nobody writes in a bucket of
//! somebody else.
//!
//! Every route of `openapi.json` is tried without a token, so that a new one cannot be forgotten here.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context, ensure};
use protocol::api::{Listing, Secret, Tokens, User};
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use tokio::process::Child;

use super::ask::{Answer, send};
use super::client::{shoal, start};
use super::edit::stored_bytes;
use super::requests::object_url;
use super::settings::free_port;
use super::stage::{Ctx, Stage};
use super::wait::{PATIENCE, until};
use crate::harness::UpOptions;

/// For whoever watches the daemon, without a token.
const WATCHED: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Bytes that a stranger sends in vain: some chunks.
const VAIN_BYTES: usize = 3 << 20;

/// See the module.
pub(super) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    let options = UpOptions { nodes: vec![3], ..UpOptions::default() };
    let mut stage = ctx.stage(&options).await?;
    without_a_token(ctx, &stage).await.context("without a token")?;
    two_users(ctx, &mut stage).await.context("two users")?;
    the_administrators_file(&stage).context("the file of the administrator's token")?;
    drop(stage);
    watched_by_nobody(ctx).await.context("with private metrics")
}

/// Who asks: a token, or nothing.
struct Asker<'a> {
    ctx: &'a Ctx,
    token: Option<String>,
}

impl<'a> Asker<'a> {
    fn request(&self, method: Method, url: &str) -> RequestBuilder {
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

    // By owner, over all buckets, by HTTP and by the client.
    for (name, wanted) in [("ann", "anns"), ("bob", "bobs")] {
        let url = format!("{}/api/v1/objects?owner={name}", urls[0]);
        let found: Listing = send(bob.request(Method::GET, &url)).await?.expect(200)?.document()?;
        let buckets: Vec<_> = found.objects.iter().map(|object| object.bucket.as_deref()).collect();
        ensure!(buckets == [Some(wanted)], "{name} owns objects of {buckets:?}");
        let told = shoal(&stage.files()?, &[&urls[2]], &["ls", "--owner", name]).await?;
        let told = told.expect(0)?.out;
        ensure!(told.contains(wanted) && told.lines().count() == 1, "ls --owner {name}: {told}");
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
