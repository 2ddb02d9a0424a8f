//! Objects by name: content that is stored first, and then committed under its name.
//!
//! The order is what keeps promises: every block is durable on its write quorum before the name is proposed,
//! and a name that is refused takes its blocks with it. Never: decides who wins; the metadata does.

use bytes::Bytes;
use futures::Stream;
use protocol::metadata::{
    Actor, Content, ContentType, ObjectName, Op, Outcome, Precondition, RequestId, Source,
    SourceError, Tag, Tags, Written, check, may_write, query, recall,
};
use protocol::{Fault, Kind, OwnerId};
use tracing::debug;

use super::edit::{self, Edit};
use super::propose::propose;
use super::upload::{UploadOptions, Uploaded, upload_pieces};
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
    source: impl Stream<Item = Result<Bytes, Fault>> + Send + Unpin + 'static,
    options: UploadOptions,
) -> Result<Written, Fault> {
    if let Some(written) = refuse_early(context, &change).await? {
        return Ok(written);
    }
    let upload = context.sessions.begin().await?;
    let source = futures::StreamExt::map(source, |piece| piece.map(super::upload::Piece::Bytes));
    let uploaded = upload_pieces(context, upload.owner(), source, options).await?;
    commit(context, change, description, uploaded, upload.owner()).await
}

/// Where the bytes of an edit go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditAt {
    /// From this byte on, over what is there.
    Offset(u64),
    /// Behind the last byte.
    End,
}

/// Changes a range of an object, or its end: a new version that shares every unchanged leaf. The version that
/// was read is the one that is replaced.
///
/// # Errors
/// As [`put_object`]; [`Kind::NotFound`] when there is no such object, [`Kind::Conflict`] when others were
/// faster and no condition says that this is to be refused: the bytes, which came as a stream, cannot be had again.
pub async fn edit_object<E: Env>(
    context: &Context<E>,
    change: Change,
    at: EditAt,
    source: impl Stream<Item = Result<Bytes, Fault>> + Send + Unpin + 'static,
    options: UploadOptions,
) -> Result<Written, Fault> {
    let (name, request) = (change.name.clone(), change.request);
    let read = move |state: &dyn Source| {
        let answer = answered(state, &name, request)?;
        Ok((answer, query::object(state, &name.bucket, &name.key)?))
    };
    let (answer, found) = context.meta.read(Freshness::Latest, read).await?;
    if let Some(answer) = answer {
        return answer;
    }
    let old = found.ok_or_else(|| no_object(&change))?;
    check(&change.precondition, Some(&old)).map_err(Fault::from)?;
    let content = old.content.ok_or_else(|| no_object(&change))?;
    let offset = match at {
        EditAt::Offset(offset) => offset,
        EditAt::End => content.size,
    };
    let upload = context.sessions.begin().await?;
    let edit = Edit { root: content.root, size: content.size, offset };
    let pieces = edit::pieces(context, edit, source)?;
    let uploaded = upload_pieces(context, upload.owner(), pieces, options).await?;
    let description =
        Description { content_type: content.content_type, tags: old.tags, public: old.public };
    let has_condition = change.precondition != Precondition::default();
    let precondition = Precondition::is(Tag::Version(old.version));
    let change = Change { precondition, ..change };
    let written = commit(context, change, description, uploaded, upload.owner()).await;
    written.map_err(|fault| {
        if has_condition || fault.kind != Kind::Precondition {
            return fault;
        }
        let detail = "somebody else changed the object meanwhile: send the bytes again";
        Fault::new(Kind::Conflict, detail)
    })
}

/// Returns what was answered to a request before, if it wrote this object or was refused: its answer was lost then, and what has
/// changed since does not matter.
fn answered(
    state: &dyn Source,
    name: &ObjectName,
    request: RequestId,
) -> Result<Option<Result<Written, Fault>>, SourceError> {
    Ok(match recall(state, request)? {
        Some(Ok(Outcome::Written(written))) => {
            let version = query::version(state, &name.bucket, &name.key, written.version)?;
            version.is_some().then_some(Ok(written))
        }
        Some(Err(refusal)) => Some(Err(refusal.into())),
        Some(Ok(_)) | None => None,
    })
}

/// Refuses what would be refused in the end, before its bytes are sent: a hint only. Returns what was written, where the
/// same request wrote it before.
async fn refuse_early<E: Env>(
    context: &Context<E>,
    change: &Change,
) -> Result<Option<Written>, Fault> {
    let Actor::User(user) = change.actor.clone() else { return Ok(None) };
    for freshness in [Freshness::Local, Freshness::Latest] {
        let (name, asker, request) = (change.name.clone(), user.clone(), change.request);
        let read = move |state: &dyn Source| {
            let bucket = query::bucket(state, &name.bucket)?;
            let user = query::user(state, &asker)?;
            let object = query::object(state, &name.bucket, &name.key)?;
            let may =
                bucket.is_none_or(|bucket| user.is_some_and(|user| may_write(&bucket, &user)));
            Ok((may, object, answered(state, &name, request)?))
        };
        let (may, object, answer) = context.meta.read(freshness, read).await?;
        let holds = check(&change.precondition, object.as_ref());
        if may && holds.is_ok() {
            return Ok(None);
        }
        // What this peer knows may be old.
        if freshness == Freshness::Latest {
            if !may {
                let detail = format!("user {user} may not write in bucket {}", change.name.bucket);
                return Err(Fault::new(Kind::Denied, detail));
            }
            if let Some(answer) = answer {
                return answer.map(Some);
            }
            holds?;
        }
    }
    Ok(None)
}

async fn commit<E: Env>(
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
    match propose(&context.meta, request, op, actor).await {
        Ok(Outcome::Written(written)) => Ok(written),
        Ok(_) => Err(other_answer()),
        Err(fault) => {
            if fault.kind != Kind::Unavailable {
                take_back(context, upload).await;
            }
            Err(fault)
        }
    }
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
    let source = futures::StreamExt::map(source, |piece| piece.map(super::upload::Piece::Bytes));
    let uploaded = upload_pieces(context, upload.owner(), source, options).await?;
    let op = Op::Pin { root: uploaded.root.cid, size: uploaded.root.size, upload: upload.owner() };
    match propose(&context.meta, request, op, actor).await {
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

fn no_object(change: &Change) -> Fault {
    let ObjectName { bucket, key } = &change.name;
    Fault::new(Kind::NotFound, format!("there is no object {bucket}/{key}"))
}
