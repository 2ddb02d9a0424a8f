//! An upload over several requests: blocks and files that get their name together, at the end.
//!
//! It is a lease of its own, which every request that names it renews; whoever goes away leaves nothing behind
//! for long. Never: names anything.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use lru::LruCache;
use protocol::metadata::{Actor, Op, Outcome};
use protocol::{Cid, Fault, Instant, OwnerId};

use super::propose::COMMIT_PATIENCE;
use super::upload::{Piece, UploadOptions, Uploaded, upload_block, upload_pieces};
use super::{Context, objects};
use crate::env::Env;

/// How long an upload outlives its last request: longer than a client takes to read and hash what comes next.
const UPLOAD_TTL: Duration = Duration::from_secs(300);

/// How long a renewal is good for, before the next request of the upload renews it again.
const RENEW_AFTER: Duration = Duration::from_secs(30);

/// Uploads whose last renewal is remembered: more than clients work on at a time.
const RENEWED_MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("it is not zero");

/// When this peer renewed uploads. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Renewed(Arc<Mutex<LruCache<OwnerId, Instant>>>);

impl Default for Renewed {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(LruCache::new(RENEWED_MAX))))
    }
}

impl Renewed {
    fn when(&self, upload: OwnerId) -> Option<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&upload).copied()
    }

    fn note(&self, upload: OwnerId, at: Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).put(upload, at);
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
/// [`protocol::Kind::Conflict`] when the upload is over, and whatever keeps the bytes from being stored.
pub async fn upload_part<E: Env>(
    context: &Context<E>,
    upload: OwnerId,
    source: impl Stream<Item = Result<Bytes, Fault>> + Send + Unpin + 'static,
    options: UploadOptions,
) -> Result<Uploaded, Fault> {
    renew(context, upload).await?;
    let source = source.map(|piece| piece.map(Piece::Bytes));
    upload_pieces(context, upload, source, options).await
}

/// Stores one block that a client made, as part of an upload.
///
/// # Errors
/// [`protocol::Kind::Invalid`] when the bytes do not hash to `cid`, and as [`upload_part`].
pub async fn put_block<E: Env>(
    context: &Context<E>,
    upload: OwnerId,
    cid: Cid,
    bytes: Bytes,
    options: UploadOptions,
) -> Result<(), Fault> {
    renew(context, upload).await?;
    upload_block(context, cid, bytes, upload, options).await
}

/// Renews an upload, unless this peer did so a short time ago.
async fn renew<E: Env>(context: &Context<E>, upload: OwnerId) -> Result<(), Fault> {
    let now = context.env.now();
    if context.renewed.when(upload).is_some_and(|at| now.since(at) < RENEW_AFTER) {
        return Ok(());
    }
    let op = Op::RenewUpload { upload };
    let outcome = context.meta.propose(op, Actor::System, COMMIT_PATIENCE).await?;
    if !matches!(outcome, Outcome::Leased { .. }) {
        return Err(objects::other_answer());
    }
    context.renewed.note(upload, now);
    Ok(())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
