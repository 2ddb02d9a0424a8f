//! What clients ask of a peer: one function for each request, which tells the oracle what became of it.
//!
//! A request runs inside the process it asks, as an HTTP handler would, and dies with it.
//! Never: chooses what to ask.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, stream};
use node::env::Env as _;
use node::flows::{Change, Description, EditAt};
use node::meta::Freshness;
use node::{Node, Root, UploadOptions};
use protocol::dag::ByteRange;
use protocol::metadata::{
    Actor, BucketName, ObjectKey, ObjectName, Op, Outcome, Precondition, RequestId, Tag, UserName,
    Written, query,
};
use protocol::{Cid, Fault, Kind, Prng};

use super::cluster::{Cluster, Host};
use crate::sim::SimEnv;
use crate::sim::history::{Condition, Seen, Told, What, is_final};
use crate::sim::oracle::{Object, Oracle};
use crate::sim::properties::{Property, genuine};

/// How long a client waits for a request.
const PATIENCE: Duration = Duration::from_secs(40);
/// How long a change without bytes may take.
const COMMIT_PATIENCE: Duration = Duration::from_secs(15);

/// A client and the peer it asks.
pub(super) struct Asker {
    pub(super) cluster: Arc<Cluster>,
    pub(super) host: Arc<Host>,
}

/// Returns the key of a number.
pub(super) fn key(number: u64) -> String {
    format!("name-{number}")
}

/// Returns the object of a key.
pub(super) fn object_name(key: &str) -> ObjectName {
    let bucket = BucketName::new("simulated").expect("it keeps the rules");
    ObjectName { bucket, key: ObjectKey::new(key).expect("it keeps the rules") }
}

/// Returns a request that nobody else makes.
pub(super) fn new_request(env: &SimEnv) -> RequestId {
    let mut bytes = [0; 16];
    env.fill_secret(&mut bytes);
    RequestId(bytes)
}

pub(super) fn actor() -> Actor {
    Actor::User(UserName::admin())
}

fn change(env: &SimEnv, key: &str, condition: Condition) -> Change {
    let precondition = match condition {
        Condition::Anyhow => Precondition::default(),
        Condition::Absent => Precondition::absent(),
        Condition::Version(version) => Precondition::is(Tag::Version(version)),
    };
    Change { actor: actor(), request: new_request(env), name: object_name(key), precondition }
}

/// Returns what a client makes of an answer.
fn told<T>(outcome: &Result<T, Fault>, done: impl FnOnce(&T) -> Told) -> Told {
    match outcome {
        Ok(value) => done(value),
        Err(fault) if is_final(fault.kind) => Told::Refused(fault.kind),
        Err(_) => Told::Nothing,
    }
}

fn written(written: &Written) -> Told {
    let now = Seen { version: written.version, root: written.root };
    Told::Written { now, replaced: written.replaced }
}

/// Takes a written version out of an answer.
fn expect_written(outcome: Outcome) -> Result<Written, Fault> {
    if let Outcome::Written(written) = outcome { Ok(written) } else { Err(another(&outcome)) }
}

fn another(outcome: &Outcome) -> Fault {
    Fault::new(Kind::Internal, format!("another answer: {outcome:?}"))
}

/// Asks for the current version of a name, and notes what was told.
pub(super) async fn find(
    node: &Node<SimEnv>,
    oracle: &Oracle,
    key: &str,
) -> Result<Option<Seen>, Fault> {
    let number = oracle.begin(key, What::Read);
    let ObjectName { bucket, key } = object_name(key);
    let read = move |state: &dyn protocol::metadata::Source| query::object(state, &bucket, &key);
    let found = node.meta().read(Freshness::Latest, read).await;
    let found = found.map(|found| {
        let found = found?;
        Some(Seen { version: found.version, root: found.content?.root })
    });
    oracle.end(number, told(&found, |found| Told::Found(*found)));
    found
}

impl Asker {
    /// Runs a request inside the peer and counts how it ended.
    async fn upload<F>(&self, request: impl FnOnce(Node<SimEnv>) -> F)
    where
        F: Future<Output = Result<(), Fault>> + Send + 'static,
    {
        count(&self.cluster.oracle, self.host.ask(PATIENCE, request).await);
    }

    async fn deliver<F>(&self, request: impl FnOnce(Node<SimEnv>) -> F)
    where
        F: Future<Output = Result<(), Fault>> + Send + 'static,
    {
        match self.host.ask(PATIENCE, request).await {
            Some(Ok(())) => self.cluster.oracle.delivered(),
            Some(Err(fault)) => self.cluster.oracle.failed(Some(fault.kind)),
            None => self.cluster.oracle.failed(None),
        }
    }

    /// Uploads bytes under a name; sometimes the client goes away in the middle.
    pub(super) async fn put(self, key: String, condition: Condition, bytes: Bytes, mut prng: Prng) {
        let cut = prng.chance(1, 12).then(|| prng.below(bytes.len() as u64 + 1));
        let oracle = self.cluster.oracle.clone();
        count(&oracle, self.try_put(key, condition, bytes, prng, cut).await);
    }

    /// Uploads bytes under a name; with `cut` the client goes away after so many. Returns `None` when there was no answer.
    pub(super) async fn try_put(
        self,
        key: String,
        condition: Condition,
        bytes: Bytes,
        prng: Prng,
        cut: Option<u64>,
    ) -> Option<Result<(), Fault>> {
        let (cluster, host) = (self.cluster, Arc::clone(&self.host));
        let request = async move |node: Node<SimEnv>| {
            let (oracle, began) = (&cluster.oracle, cluster.world.clock().nanos());
            let root = oracle.learn(&bytes);
            let number = oracle.begin(&key, What::Write { root: Some(root), condition });
            let source = source(node.env().clone(), bytes, prng, cut);
            let change = change(node.env(), &key, condition);
            let options = UploadOptions::default();
            let outcome = node.put_object(change, Description::default(), source, options).await;
            oracle.end(number, told(&outcome, written));
            let outcome = outcome?;
            if cut.is_some() || outcome.root != root {
                let detail =
                    format!("upload {root} was acknowledged as {}, cut: {cut:?}", outcome.root);
                oracle.violated(Property::Genuine, detail);
            }
            acknowledged(&cluster, &host, oracle.uploaded(root, began), began);
            Ok(())
        };
        self.host.ask(PATIENCE, request).await
    }

    /// Adds bytes to the end of an object.
    pub(super) async fn append(self, key: String, more: Bytes, prng: Prng) {
        let (cluster, host) = (Arc::clone(&self.cluster), Arc::clone(&self.host));
        self.upload(async move |node| {
            let (oracle, began) = (&cluster.oracle, cluster.world.clock().nanos());
            let what = What::Write { root: None, condition: Condition::Anyhow };
            let number = oracle.begin(&key, what);
            let source = source(node.env().clone(), more.clone(), prng, None);
            let change = change(node.env(), &key, Condition::Anyhow);
            let options = UploadOptions::default();
            let outcome = node.edit_object(change, EditAt::End, source, options).await;
            oracle.end(number, told(&outcome, written));
            let outcome = outcome?;
            let before = outcome.replaced.and_then(|version| oracle.root_of(&key, version));
            if let Some(before) = before.and_then(|root| oracle.content(&root)) {
                let bytes = Bytes::from([before, more].concat());
                if oracle.learn(&bytes) != outcome.root {
                    let detail =
                        format!("version {} has other bytes than were added", outcome.version);
                    oracle.violated(Property::Genuine, detail);
                }
            }
            acknowledged(&cluster, &host, oracle.uploaded(outcome.root, began), began);
            Ok(())
        })
        .await;
    }

    /// Deletes an object. Blocks that others share must stay.
    pub(super) async fn delete(self, key: String) {
        let oracle = self.cluster.oracle.clone();
        self.upload(async move |node| {
            let number = oracle.begin(&key, What::Delete);
            let ObjectName { bucket, key } = object_name(&key);
            let op = Op::Delete { bucket, key, precondition: Precondition::default() };
            let outcome = node.meta().propose(op, actor(), COMMIT_PATIENCE).await;
            let outcome = outcome.and_then(|outcome| {
                if let Outcome::Deleted { version } = outcome {
                    Ok(version)
                } else {
                    Err(another(&outcome))
                }
            });
            oracle.end(number, told(&outcome, |version| Told::Deleted(*version)));
            outcome.map(drop)
        })
        .await;
    }

    /// Gives the content of an object another name.
    pub(super) async fn copy(self, from: String, to: String) {
        let oracle = self.cluster.oracle.clone();
        self.upload(async move |node| {
            let what = What::Write { root: None, condition: Condition::Anyhow };
            let number = oracle.begin(&to, what);
            let op = Op::Copy {
                from: object_name(&from),
                version: None,
                to: object_name(&to),
                from_precondition: Precondition::default(),
                to_precondition: Precondition::default(),
                tags: None,
                content_type: None,
            };
            let outcome = node.meta().propose(op, actor(), COMMIT_PATIENCE).await;
            let outcome = outcome.and_then(expect_written);
            oracle.end(number, told(&outcome, written));
            outcome.map(drop)
        })
        .await;
    }

    /// Moves an object to another name.
    pub(super) async fn rename(self, from: String, to: String) {
        let oracle = self.cluster.oracle.clone();
        self.upload(async move |node| {
            if from == to {
                return Ok(());
            }
            let what = What::Write { root: None, condition: Condition::Anyhow };
            let (gone, here) = (oracle.begin(&from, What::Delete), oracle.begin(&to, what));
            let op = Op::Move {
                from: object_name(&from),
                to: object_name(&to),
                from_precondition: Precondition::default(),
                to_precondition: Precondition::default(),
            };
            let outcome = node.meta().propose(op, actor(), COMMIT_PATIENCE).await;
            let outcome = outcome.and_then(expect_written);
            oracle.end(gone, told(&outcome, |written| Told::Deleted(Some(written.version))));
            oracle.end(here, told(&outcome, written));
            outcome.map(drop)
        })
        .await;
    }

    /// Asks for an object and downloads a part of it.
    pub(super) async fn read(self, key: String, mut prng: Prng) {
        let oracle = self.cluster.oracle.clone();
        self.deliver(async move |node| {
            let Some(Seen { root, .. }) = find(&node, &oracle, &key).await? else { return Ok(()) };
            // Of an upload that nobody heard the end of, the bytes may be unknown.
            let Some(bytes) = oracle.content(&root) else { return Ok(()) };
            let range = range(bytes.len() as u64, &mut prng);
            fetch(&node, &oracle, root, &bytes, range, &mut prng).await
        })
        .await;
    }

    /// Uploads bytes without a name.
    pub(super) async fn pin(self, bytes: Bytes, mut prng: Prng) {
        let (cluster, host) = (Arc::clone(&self.cluster), Arc::clone(&self.host));
        self.upload(async move |node| {
            let began = cluster.world.clock().nanos();
            let cut = prng.chance(1, 12).then(|| prng.below(bytes.len() as u64 + 1));
            let env = node.env().clone();
            let (request, source) = (new_request(&env), source(env, bytes.clone(), prng, cut));
            let options = UploadOptions::default();
            let cid = node.pin_content(actor(), request, source, options).await?.root.cid;
            if cut.is_some() {
                let detail = format!("upload {cid} was acknowledged without its end");
                cluster.oracle.violated(Property::Genuine, detail);
            }
            let object = Object { cid, bytes, gateway: host.number };
            let count = cluster.oracle.acknowledged(object, began);
            acknowledged(&cluster, &host, count, began);
            Ok(())
        })
        .await;
    }

    /// Downloads content by its root.
    pub(super) async fn download(self, object: Object, mut prng: Prng) {
        let oracle = self.cluster.oracle.clone();
        self.deliver(async move |node| {
            let range = range(object.bytes.len() as u64, &mut prng);
            fetch(&node, &oracle, object.cid, &object.bytes, range, &mut prng).await
        })
        .await;
    }

    /// Lets go of content without a name. Blocks that others share must stay.
    pub(super) async fn unpin(self, root: Cid) {
        let oracle = self.cluster.oracle.clone();
        oracle.deleting(root);
        self.upload(async move |node| {
            let op = Op::Unpin { root };
            match node.meta().propose(op, Actor::System, COMMIT_PATIENCE).await {
                Err(fault) if !is_final(fault.kind) => Err(fault),
                Ok(_) | Err(_) => {
                    oracle.deleted(root);
                    Ok(())
                }
            }
        })
        .await;
    }
}

/// Counts a change that was refused, or of which nothing was heard.
fn count(oracle: &Oracle, outcome: Option<Result<(), Fault>>) {
    match outcome {
        Some(Ok(())) => {}
        Some(Err(fault)) => oracle.refused(Some(fault.kind)),
        None => oracle.refused(None),
    }
}

/// Does what the plan has for the moment after an acknowledgement.
fn acknowledged(cluster: &Cluster, host: &Host, count: u64, began: u64) {
    let elapsed = Duration::from_nanos(cluster.world.clock().nanos() - began);
    cluster.ambush(host, count, elapsed);
}

/// Draws all of an object, or a part.
fn range(size: u64, prng: &mut Prng) -> ByteRange {
    if prng.chance(1, 2) {
        return ByteRange::default();
    }
    let start = prng.below(size);
    ByteRange { start, end: Some(start + prng.below(size - start + 1)) }
}

/// Yields `bytes` in pieces, sometimes slowly; with `cut` the client goes away after so many bytes.
fn source(
    env: SimEnv,
    bytes: Bytes,
    prng: Prng,
    cut: Option<u64>,
) -> impl Stream<Item = Result<Bytes, Fault>> + Send + Unpin + 'static {
    let cut = cut.and_then(|at| usize::try_from(at).ok());
    let state = (env, bytes, prng, 0);
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

/// Downloads a range and compares every byte; what is wrong goes to the oracle, what failed to the caller.
pub(super) async fn fetch(
    node: &Node<SimEnv>,
    oracle: &Oracle,
    root: Cid,
    bytes: &Bytes,
    range: ByteRange,
    prng: &mut Prng,
) -> Result<(), Fault> {
    let wrong = |detail: String| {
        oracle.violated(Property::Genuine, format!("object {root}: {detail}"));
    };
    let mut download = node.download(Root::Bare(root), range).await?;
    if let Some(detail) = genuine::size(bytes, download.size()) {
        wrong(detail);
    }
    let end = range.end.unwrap_or(u64::MAX).min(bytes.len() as u64);
    let mut at = range.start;
    while let Some(piece) = download.next().await {
        let piece = piece?;
        if let Some(detail) = genuine::piece(bytes, at, &piece) {
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
