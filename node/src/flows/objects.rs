//! Objects by name: content that is stored first, and then committed under its name.
//!
//! The order is what keeps promises: every block is durable on its write quorum before the name is proposed,
//! and a name that is refused takes its blocks with it. Never: decides who wins; the metadata does.

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use protocol::metadata::{
    Actor, Asked, Content, ContentType, ObjectName, Op, Outcome, Precondition, RequestId, Source,
    Tags, Written, check, may_write, query,
};
use protocol::{Fault, Kind, OwnerId};
use tracing::debug;

use super::propose::submit;
use super::repeat::{Place, answered, is_same, other_bytes, request_of};
use super::upload::{OnFailure, Piece, UploadOptions, Uploaded, upload_pieces};
use super::{Context, release};
use crate::env::Env;
use crate::meta::Freshness;

/// Who changes what, and on which condition.
#[derive(Clone, Debug)]
pub struct Change {
    /// The user.
    pub actor: Actor,
    /// Makes a repetition harmless.
    pub request: RequestId,
    /// The object.
    pub name: ObjectName,
    /// What must hold of the object now.
    pub precondition: Precondition,
}

/// What a new object is beside its bytes.
#[derive(Clone, Debug, Default)]
pub struct Description {
    /// Its media type.
    pub content_type: ContentType,
    /// Its tags.
    pub tags: Tags,
    /// Whether others than members may find and read it.
    pub public: bool,
}

/// Stores bytes and names them.
///
/// # Errors
/// Why the bytes could not be stored, or the name was refused: nothing of it stays then. With
/// [`Kind::Unavailable`] the name may have been committed all the same, and its blocks are kept.
pub async fn put_object<E: Env>(
    context: &Context<E>,
    change: Change,
    description: Description,
    mut source: impl Stream<Item = Result<Bytes, Fault>> + Send + Unpin + 'static,
    options: UploadOptions,
) -> Result<Written, Fault> {
    let asked = Asked::Put {
        name: &change.name,
        content_type: &description.content_type,
        tags: &description.tags,
        public: description.public,
        precondition: &change.precondition,
    };
    let request = request_of(change.request, &change.actor, &asked)?;
    let change = Change { request, ..change };
    let answer = refuse_early(context, &change).await?;
    if let Some(written) = answer {
        match is_same(context, &change.name, written, Place::Whole, &mut source).await? {
            Some(true) => return Ok(written),
            Some(false) => return Err(other_bytes()),
            // Its root is what is left to compare.
            None => {}
        }
    }
    let upload = context.sessions.begin().await?;
    let source = source.map(|piece| piece.map(Piece::Bytes));
    let uploaded =
        upload_pieces(context, upload.owner(), source, options, OnFailure::Release).await?;
    let committed = commit(context, change, description, uploaded, upload.owner()).await;
    // Another time that it was asked for was faster.
    let committed = committed.and_then(|written| match written.root == uploaded.root.cid {
        true => Ok(written),
        false => Err(other_bytes()),
    });
    let is_refused = committed.as_ref().is_err_and(|fault| fault.kind != Kind::Unavailable);
    if is_refused || answer.is_some() {
        take_back(context, upload.owner()).await;
    }
    committed
}

/// Refuses what would be refused in the end, before its bytes are sent: a hint only. Returns what was written, where the
/// same request wrote it before.
async fn refuse_early<E: Env>(
    context: &Context<E>,
    change: &Change,
) -> Result<Option<Written>, Fault> {
    let Some(user) = change.actor.user().cloned() else { return Ok(None) };
    for freshness in [Freshness::Local, Freshness::Latest] {
        let (name, asker, request) = (change.name.clone(), user.clone(), change.request);
        let read = move |state: &dyn Source| {
            let bucket = query::bucket(state, &name.bucket)?;
            let user = query::user(state, &asker)?;
            let object = query::object(state, &name.bucket, &name.key)?;
            let may =
                bucket.is_none_or(|bucket| user.is_some_and(|user| may_write(&bucket, &user)));
            Ok((may, object, answered(state, request)?))
        };
        let (may, object, answer) = context.meta.read(freshness, read).await?;
        if let Some(answer) = answer {
            return answer.map(Some);
        }
        let holds = check(&change.precondition, object.as_ref());
        if may && holds.is_ok() {
            return Ok(None);
        }
        // What this peer knows may be old.
        if freshness == Freshness::Latest {
            if !may {
                return Err(denied(&change.actor, &change.name));
            }
            holds?;
        }
    }
    Ok(None)
}

/// Names what was uploaded, under the cluster's id of the request. What fails is left to the caller to take back.
///
/// # Errors
/// As [`put_object`].
pub(super) async fn commit<E: Env>(
    context: &Context<E>,
    change: Change,
    description: Description,
    uploaded: Uploaded,
    upload: OwnerId,
) -> Result<Written, Fault> {
    let Change { actor, request, name: ObjectName { bucket, key }, precondition } = change;
    let Description { content_type, tags, public } = description;
    let (root, size) = (uploaded.root.cid, uploaded.root.size);
    let content = Content { root, size, content_type, upload };
    let op = Op::Put { bucket, key, content, tags, public, precondition, create_bucket: true };
    let Outcome::Written(written) = submit(&context.meta, request, op, actor).await? else {
        return Err(other_answer());
    };
    Ok(written)
}

/// Frees the blocks of an upload that was not committed, as far as peers can be reached; the rest is freed
/// when its session is over.
pub(super) async fn take_back<E: Env>(context: &Context<E>, upload: OwnerId) {
    let peers = context.peers.view().peers().keys().copied().collect();
    let freed = release::release(context, upload, &peers).await;
    debug!(%upload, blocks = freed.blocks, "blocks of an upload without a name taken back");
}

/// Stores bytes without a name, to be found by their CID until somebody unpins them.
///
/// # Errors
/// As [`put_object`].
pub async fn pin_content<E: Env>(
    context: &Context<E>,
    actor: Actor,
    request: RequestId,
    source: impl Stream<Item = Result<Bytes, Fault>> + Send + Unpin + 'static,
    options: UploadOptions,
) -> Result<Uploaded, Fault> {
    let upload = context.sessions.begin().await?;
    let source = source.map(|piece| piece.map(Piece::Bytes));
    let uploaded =
        upload_pieces(context, upload.owner(), source, options, OnFailure::Release).await?;
    let root = uploaded.root.cid;
    let request = request_of(request, &actor, &Asked::Pin { root })?;
    let op = Op::Pin { root, size: uploaded.root.size, upload: upload.owner() };
    match submit(&context.meta, request, op, actor).await {
        Ok(_) => Ok(uploaded),
        Err(fault) => {
            if fault.kind != Kind::Unavailable {
                take_back(context, upload.owner()).await;
            }
            Err(fault)
        }
    }
}

/// Returns the failure of an answer that belongs to another question.
pub(super) fn other_answer() -> Fault {
    Fault::new(Kind::Internal, "the cluster gave an answer of another kind")
}

/// Returns the failure of a change by somebody who may not make it.
pub(super) fn denied(actor: &Actor, name: &ObjectName) -> Fault {
    let who = actor.user().map_or("this peer".to_owned(), |user| format!("user {user}"));
    Fault::new(Kind::Denied, format!("{who} may not write in bucket {}", name.bucket))
}
