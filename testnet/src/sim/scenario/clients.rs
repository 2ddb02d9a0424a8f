//! The clients of a run: they upload and download through random peers, and tell the oracle.
//!
//! A client's request runs inside the process it asks, as an HTTP handler would, and dies with it.
//! Never: retries; the next request is another one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, stream};
use node::env::Env as _;
use node::{Node, UploadOptions};
use protocol::dag::ByteRange;
use protocol::{Cid, Fault, Kind, Prng};
use tokio::sync::oneshot;

use super::cluster::{Cluster, Host};
use crate::sim::SimEnv;
use crate::sim::oracle::{Object, Oracle};
use crate::sim::properties::{Property, genuine};

/// How long a client waits for a request.
const PATIENCE: Duration = Duration::from_secs(40);

/// Different contents that are uploaded again and again, so that uploads share blocks.
const SHARED_CONTENTS: u64 = 4;

/// Keeps one client busy until `until`, in virtual nanoseconds.
pub(super) async fn work(cluster: Arc<Cluster>, mut prng: Prng, until: u64) {
    let clock = cluster.world.clock();
    while clock.nanos() < until {
        let hosts = cluster.hosts();
        let host = prng.index(hosts.len()).and_then(|index| hosts.get(index)).cloned();
        if let Some(host) = host
            && let Some(node) = host.node()
        {
            let objects = cluster.oracle.objects();
            let object = prng.index(objects.len()).and_then(|index| objects.get(index)).cloned();
            let prng = prng.fork();
            match object {
                Some(object) if prng.clone().chance(1, 2) => {
                    download(&cluster, &node, object, prng).await;
                }
                Some(object) if prng.clone().chance(7, 12) => {
                    delete(&cluster, &node, object.cid).await;
                }
                Some(_) | None => {
                    upload(&cluster, &host, node, content(&mut prng.clone()), prng).await
                }
            }
        }
        clock.sleep(Duration::from_millis(prng.below(400))).await;
    }
}

/// Draws the bytes of an object: mostly small, some of several chunks, some that were uploaded before.
pub(super) fn content(prng: &mut Prng) -> Bytes {
    let shared = prng.chance(1, 4).then(|| prng.below(SHARED_CONTENTS));
    let mut drawn = shared.map_or_else(|| prng.fork(), Prng::new);
    let size = match drawn.below(20) {
        0 => 0,
        1..=9 => 1 + drawn.below(4 << 10),
        10..=14 => drawn.below(64 << 10),
        15..=17 => drawn.below(300 << 10),
        _ => drawn.below(5 << 19),
    };
    let size = usize::try_from(size).unwrap_or(0);
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        bytes.extend_from_slice(&drawn.next_u64().to_le_bytes());
    }
    bytes.truncate(size);
    bytes.into()
}

/// Yields `bytes` in pieces, sometimes slowly; with `cut` the client goes away after so many bytes.
fn source(
    env: SimEnv,
    bytes: Bytes,
    prng: Prng,
    cut: Option<u64>,
) -> impl Stream<Item = Result<Bytes, Fault>> + Send + Unpin + 'static {
    let cut = cut.and_then(|at| usize::try_from(at).ok());
    let state = (env, bytes.clone(), prng, 0);
    Box::pin(stream::unfold(state, move |(env, bytes, mut prng, sent)| async move {
        if prng.chance(1, 8) {
            env.sleep_until(env.now().after(Duration::from_millis(prng.below(50)))).await;
        }
        if cut.is_some_and(|cut| sent >= cut) {
            let gone = Fault::new(Kind::Invalid, "the client went away");
            return Some((Err(gone), (env, Bytes::new(), prng, usize::MAX)));
        }
        if sent >= bytes.len() {
            return None;
        }
        let len = 1 + usize::try_from(prng.below(400 << 10)).unwrap_or(0);
        let end = sent.saturating_add(len).min(bytes.len());
        let piece = bytes.slice(sent..end);
        Some((Ok(piece), (env, bytes, prng, end)))
    }))
}

async fn upload(
    cluster: &Arc<Cluster>,
    host: &Arc<Host>,
    node: Node<SimEnv>,
    bytes: Bytes,
    mut prng: Prng,
) {
    let cut = prng.chance(1, 12).then(|| prng.below(bytes.len() as u64 + 1));
    let env = node.env().clone();
    let (done, outcome) = oneshot::channel();
    let (task_cluster, host) = (Arc::clone(cluster), Arc::clone(host));
    let began = cluster.world.clock().nanos();
    env.clone().spawn("client.upload", async move {
        let source = source(env, bytes.clone(), prng, cut);
        let outcome = node.upload(source, UploadOptions::default()).await;
        let kind = outcome.as_ref().err().map(|fault| fault.kind);
        if let Ok(uploaded) = outcome {
            if cut.is_some() {
                let detail =
                    format!("upload {} was acknowledged without its end", uploaded.root.cid);
                task_cluster.oracle.violated(Property::Genuine, detail);
            }
            let object = Object { cid: uploaded.root.cid, bytes, gateway: host.number };
            let count = task_cluster.oracle.acknowledged(object, began);
            let elapsed = Duration::from_nanos(task_cluster.world.clock().nanos() - began);
            task_cluster.ambush(&host, count, elapsed);
        }
        // A client that lost its patience hears nothing.
        let _heard = done.send(kind);
    });
    match wait(cluster, outcome).await {
        Some(None) => {}
        Some(kind) => cluster.oracle.refused(kind),
        None => cluster.oracle.refused(None),
    }
}

async fn download(cluster: &Arc<Cluster>, node: &Node<SimEnv>, object: Object, mut prng: Prng) {
    let size = object.bytes.len() as u64;
    let range = if prng.chance(1, 2) {
        ByteRange::default()
    } else {
        let start = prng.below(size);
        ByteRange { start, end: Some(start + prng.below(size - start + 1)) }
    };
    let (done, outcome) = oneshot::channel();
    let (node, oracle) = (node.clone(), cluster.oracle.clone());
    node.env().clone().spawn("client.download", async move {
        let outcome = fetch(&node, &oracle, &object, range, &mut prng).await;
        // A client that lost its patience hears nothing.
        let _heard = done.send(outcome.err().map(|fault| fault.kind));
    });
    match wait(cluster, outcome).await {
        Some(None) => cluster.oracle.delivered(),
        Some(kind) => cluster.oracle.failed(kind),
        None => cluster.oracle.failed(None),
    }
}

/// Deletes an object. Blocks that others share must stay.
async fn delete(cluster: &Arc<Cluster>, node: &Node<SimEnv>, cid: Cid) {
    let oracle = cluster.oracle.clone();
    oracle.deleting(cid);
    let (done, outcome) = oneshot::channel();
    let node = node.clone();
    node.env().clone().spawn("client.delete", async move {
        // Refused or not, it has ended; what it could not reach it leaves behind.
        let _freed = node.delete(cid).await;
        oracle.deleted(cid);
        let _heard = done.send(());
    });
    let _ended = wait(cluster, outcome).await;
}

/// Waits for what a request ended with; `None` when the process or the patience ended first.
async fn wait<T>(cluster: &Cluster, outcome: oneshot::Receiver<T>) -> Option<T> {
    tokio::select! {
        biased; // an outcome beats the end of patience
        outcome = outcome => outcome.ok(),
        () = cluster.world.clock().sleep(PATIENCE) => None,
    }
}

/// Downloads a range and compares every byte; what is wrong goes to the oracle, what failed to the caller.
pub(super) async fn fetch(
    node: &Node<SimEnv>,
    oracle: &Oracle,
    object: &Object,
    range: ByteRange,
    prng: &mut Prng,
) -> Result<(), Fault> {
    let wrong = |detail: String| {
        oracle.violated(Property::Genuine, format!("object {}: {detail}", object.cid));
    };
    let mut download = node.download(object.cid, range).await?;
    if let Some(detail) = genuine::size(&object.bytes, download.size()) {
        wrong(detail);
    }
    let end = range.end.unwrap_or(u64::MAX).min(object.bytes.len() as u64);
    let mut at = range.start;
    while let Some(piece) = download.next().await {
        let piece = piece?;
        if let Some(detail) = genuine::piece(&object.bytes, at, &piece) {
            wrong(detail);
        }
        at += piece.len() as u64;
        if prng.chance(1, 20) {
            let env = node.env();
            env.sleep_until(env.now().after(Duration::from_millis(prng.below(200)))).await;
        }
    }
    if let Some(detail) = genuine::end(end, at) {
        wrong(detail);
    }
    Ok(())
}
