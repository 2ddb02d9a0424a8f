//! An upload over several requests: blocks and files that get their name together, at the end.
//!
//! It is a lease of its own, which every request that names it renews; whoever goes away leaves nothing behind
//! for long. It is the user's who began it, and nobody else adds to it or names what it has. Never: believes what a client says of
//! what it uploaded.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use lru::LruCache;
use protocol::metadata::{
    Actor, Asked, Op, Outcome, Reference, RequestId, Source, UserName, query, recall,
};
use protocol::{Cid, Fault, Instant, Kind, OwnerId};

use super::propose::{COMMIT_PATIENCE, submit};
use super::repeat::request_of;
use super::upload::{
    OnFailure, Piece, UploadOptions, Uploaded, adopt, upload_block, upload_pieces,
};
use super::{Context, objects};
use crate::env::Env;
use crate::meta::Freshness;

/// How long an upload outlives its last request: longer than a client takes to read and hash what comes next.
const UPLOAD_TTL: Duration = Duration::from_secs(300);

/// How long a renewal is good for, before the next request of the upload renews it again.
const RENEW_AFTER: Duration = Duration::from_secs(30);

/// Uploads whose last renewal is remembered: more than clients work on at a time.
const RENEWED_MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("it is not zero");

/// When this peer renewed uploads, for whom. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Renewed(Arc<Mutex<LruCache<Renewal, Instant>>>);

/// Which upload, and for whom; none: a peer.
type Renewal = (OwnerId, Option<UserName>);

impl Default for Renewed {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(LruCache::new(RENEWED_MAX))))
    }
}

impl Renewed {
    fn when(&self, renewal: &Renewal) -> Option<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(renewal).copied()
    }

    fn note(&self, renewal: Renewal, at: Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).put(renewal, at);
    }
}

/// Begins an upload, and returns its id and how long it lasts without a request.
///
/// # Errors
/// [`protocol::Kind::Unavailable`] when the cluster cannot agree now.
pub async fn begin_upload<E: Env>(
    context: &Context<E>,
    actor: Actor,
) -> Result<(OwnerId, Duration), Fault> {
    let begun = context.sessions.begin().await?;
    let upload = begun.owner();
    let op = Op::BeginUpload { upload, ttl_ms: millis(UPLOAD_TTL) };
    context.meta.propose(op, actor, COMMIT_PATIENCE).await?;
    Ok((upload, UPLOAD_TTL))
}

/// Ends an upload: what of it got no name is freed.
///
/// # Errors
/// [`protocol::Kind::Unavailable`] when the cluster cannot agree now.
pub async fn end_upload<E: Env>(
    context: &Context<E>,
    actor: Actor,
    upload: OwnerId,
) -> Result<(), Fault> {
    context.meta.propose(Op::EndUpload { upload }, actor, COMMIT_PATIENCE).await.map(drop)
}

/// Stores bytes as part of an upload.
///
/// # Errors
/// [`Kind::Conflict`] when the upload is over, [`Kind::Denied`] when it is somebody else's, and whatever keeps the bytes from being stored.
pub async fn upload_part<E: Env>(
    context: &Context<E>,
    actor: &Actor,
    upload: OwnerId,
    source: impl Stream<Item = Result<Bytes, Fault>> + Send + Unpin + 'static,
    options: UploadOptions,
) -> Result<Uploaded, Fault> {
    renew(context, actor, upload).await?;
    let source = source.map(|piece| piece.map(Piece::Bytes));
    upload_pieces(context, upload, source, options, OnFailure::Keep).await
}

/// Stores one block that a client made, as part of an upload.
///
/// # Errors
/// [`protocol::Kind::Invalid`] when the bytes do not hash to `cid`, and as [`upload_part`].
pub async fn put_block<E: Env>(
    context: &Context<E>,
    actor: &Actor,
    upload: OwnerId,
    (cid, bytes): (Cid, Bytes),
    options: UploadOptions,
) -> Result<(), Fault> {
    renew(context, actor, upload).await?;
    upload_block(context, cid, bytes, upload, options).await
}

/// Names or pins content that was uploaded in parts: `op` says which upload has it, and is believed once every block of it is
/// kept on behalf of that upload.
///
/// # Errors
/// Those of naming; [`Kind::Conflict`] when a block lies nowhere, [`Kind::Invalid`] when the content is not what `op` says, and as
/// [`upload_part`].
pub async fn refer<E: Env>(
    context: &Context<E>,
    actor: Actor,
    request: RequestId,
    op: Op,
) -> Result<Outcome, Fault> {
    let request = request_of(request, &actor, &Asked::Change(&op))?;
    let was_answered = move |state: &dyn Source| Ok(recall(state, request)?.is_some());
    // One that comes again gets its answer, also after its upload has ended.
    if !context.meta.read(Freshness::Latest, was_answered).await? {
        let reference = Reference::of(&op)
            .ok_or_else(|| Fault::new(Kind::Internal, "this change refers to no upload"))?;
        renew(context, &actor, reference.upload).await?;
        let audited = adopt(context, reference.upload, reference.root).await?;
        reference
            .check(&audited)
            .map_err(|misfit| Fault::new(misfit.kind(), misfit.to_string()))?;
    }
    submit(&context.meta, request, op, actor).await
}

/// Renews an upload on behalf of whoever began it, unless this peer did so a short time ago.
async fn renew<E: Env>(context: &Context<E>, actor: &Actor, upload: OwnerId) -> Result<(), Fault> {
    let now = context.env.now();
    let renewal = (upload, actor.user().cloned());
    if context.renewed.when(&renewal).is_some_and(|at| now.since(at) < RENEW_AFTER) {
        // Its user may have ended it, or the token may be revoked: the command says which.
        let asker = actor.clone();
        let read = move |state: &dyn Source| {
            Ok(query::is_valid(state, &asker)? && query::is_upload_of(state, upload, &asker)?)
        };
        if context.meta.read(Freshness::Latest, read).await? {
            return Ok(());
        }
    }
    let op = Op::RenewUpload { upload };
    let outcome = context.meta.propose(op, actor.clone(), COMMIT_PATIENCE).await?;
    if !matches!(outcome, Outcome::Leased { .. }) {
        return Err(objects::other_answer());
    }
    context.renewed.note(renewal, now);
    Ok(())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
