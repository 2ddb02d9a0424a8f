//! Changes of a range of an object, or of its end: new versions that share every unchanged leaf.
//!
//! A change is built on the version that is current when it begins, and holds only while that one still is. One that was
//! overtaken is built again on the version that came between, if the client's condition holds of that too: its bytes are
//! stored by then. Never: loses a change, or makes one twice; decides who was first; the metadata do.

mod pieces;
mod turns;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _, stream};
use protocol::dag::ByteRange;
use protocol::metadata::{
    Asked, Content, ObjectName, ObjectVersion, Precondition, RequestId, Source, SourceError, Tag,
    Written, check, may_write, query,
};
use protocol::{Cid, Fault, Kind};

use self::pieces::{Edit, pieces};
use super::objects::{Change, Description, commit, denied, take_back};
use super::repeat::{Place, answered, is_same, other_bytes, request_of};
use super::upload::{OnFailure, UploadOptions, upload_pieces};
use super::{Context, Root, download};
use crate::env::Env;
use crate::meta::Freshness;
use crate::sessions::Upload;

pub(super) use turns::Turns;

/// How often a change is built before its client is told to come again. Of as many peers that change one object without
/// a pause, one gets through at a time.
const ATTEMPTS_MAX: u32 = 64;

/// Where the bytes of an edit go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditAt {
    /// From this byte on, over what is there.
    Offset(u64),
    /// Behind the last byte.
    End,
}

impl EditAt {
    /// Returns where the bytes lie in what was written.
    const fn place(self) -> Place {
        match self {
            Self::Offset(offset) => Place::From(offset),
            Self::End => Place::End,
        }
    }
}

/// Bytes of a client.
type Body = BoxStream<'static, Result<Bytes, Fault>>;

/// Changes a range of an object, or its end: a new version that shares every unchanged leaf. Changes that race come one
/// after the other, as far as the conditions of their clients hold.
///
/// # Errors
/// As [`super::put_object`]; [`Kind::NotFound`] when there is no such object, [`Kind::Conflict`] when others were faster
/// each time.
pub async fn edit_object<E: Env>(
    context: &Context<E>,
    change: Change,
    at: EditAt,
    source: impl Stream<Item = Result<Bytes, Fault>> + Send + Unpin + 'static,
    options: UploadOptions,
) -> Result<Written, Fault> {
    let attempts = attempts_of(&change, at)?;
    // Not before its bytes are stored: a client that sends them slowly keeps nobody waiting.
    let mut turn = None;
    let mut body: Body = Box::pin(source);
    let mut kept: Option<Overtaken> = None;
    let result = loop {
        let overtaken = match attempt(context, &change, at, &attempts, body, options).await {
            Ok(Attempt::Done(written)) => break Ok(written),
            Ok(Attempt::Overtaken(overtaken)) => overtaken,
            Err(fault) => break Err(fault),
        };
        if turn.is_none() {
            turn = context.turns.take(&context.env, &change.name).await;
        }
        let stored = overtaken.bytes(context).await;
        if let Some(before) = kept.replace(overtaken) {
            take_back(context, before.upload.owner()).await;
        }
        body = match stored {
            Ok(stored) => stored,
            Err(fault) => break Err(fault),
        };
    };
    drop(turn);
    if let Some(kept) = kept {
        take_back(context, kept.upload.owner()).await;
    }
    result
}

/// Returns the ids of the attempts that a change may have, the same ones when it is repeated.
fn attempts_of(change: &Change, at: EditAt) -> Result<Vec<RequestId>, Fault> {
    let Change { actor, request, name, precondition } = change;
    let offset = match at {
        EditAt::Offset(offset) => Some(offset),
        EditAt::End => None,
    };
    let ids = (0..ATTEMPTS_MAX).map(|attempt| {
        request_of(*request, actor, &Asked::Edit { name, offset, precondition, attempt })
    });
    ids.collect()
}

/// How an attempt ended.
enum Attempt {
    Done(Written),
    Overtaken(Overtaken),
}

/// A change that somebody else was faster than. Its bytes lie in a file that got no name.
struct Overtaken {
    upload: Upload,
    root: Cid,
    start: u64,
    end: u64,
}

impl Overtaken {
    /// Returns the bytes that the client sent.
    async fn bytes<E: Env>(&self, context: &Context<E>) -> Result<Body, Fault> {
        if self.start == self.end {
            return Ok(Box::pin(stream::empty()));
        }
        let range = ByteRange { start: self.start, end: Some(self.end) };
        let stored = download(context, Root::Named(self.root), range).await?;
        Ok(Box::pin(stream::unfold(stored, |mut stored| async {
            stored.next().await.map(|bytes| (bytes, stored))
        })))
    }
}

/// Builds a change on the version that is current now, and has it committed if that one still is.
async fn attempt<E: Env>(
    context: &Context<E>,
    change: &Change,
    at: EditAt,
    attempts: &[RequestId],
    body: Body,
    options: UploadOptions,
) -> Result<Attempt, Fault> {
    let (name, actor, ids) = (change.name.clone(), change.actor.clone(), attempts.to_vec());
    let read = move |state: &dyn Source| {
        let may = match (query::bucket(state, &name.bucket)?, actor.user()) {
            (Some(bucket), Some(user)) => {
                query::user(state, user)?.is_some_and(|user| may_write(&bucket, &user))
            }
            (None, _) | (_, None) => true,
        };
        Ok((next_of(state, &ids)?, may, query::object(state, &name.bucket, &name.key)?))
    };
    let (next, may, found) = context.meta.read(Freshness::Latest, read).await?;
    let request = match next {
        Next::Attempt(request) => request,
        Next::Answered(written) => {
            return match is_same(context, &change.name, written, at.place(), body).await? {
                Some(false) => Err(other_bytes()),
                Some(true) | None => Ok(Attempt::Done(written)),
            };
        }
        Next::Refused(fault) => return Err(fault),
        Next::None => {
            let detail = "others changed the object again and again meanwhile: send the bytes again, as another request";
            return Err(Fault::new(Kind::Conflict, detail));
        }
    };
    if !may {
        return Err(denied(&change.actor, &change.name));
    }
    let old = found.ok_or_else(|| no_object(&change.name))?;
    check(&change.precondition, Some(&old)).map_err(Fault::from)?;
    let ObjectVersion { content: Some(Content { root, size, content_type, .. }), .. } = old else {
        return Err(no_object(&change.name));
    };
    let offset = match at {
        EditAt::Offset(offset) => offset,
        EditAt::End => size,
    };
    let upload = context.sessions.begin().await?;
    let count = Arc::new(AtomicU64::new(0));
    let counted = {
        let count = Arc::clone(&count);
        body.inspect(move |bytes| {
            let more = bytes.as_ref().map_or(0, Bytes::len);
            count.fetch_add(more as u64, Ordering::Relaxed);
        })
    };
    let pieces = pieces(context, Edit { root, size, offset }, counted)?;
    let uploaded =
        upload_pieces(context, upload.owner(), pieces, options, OnFailure::Release).await?;
    let description = Description { content_type, tags: old.tags, public: old.public };
    let change = Change {
        request,
        precondition: Precondition::is(Tag::Version(old.version)),
        ..change.clone()
    };
    let name = change.name.clone();
    let committed = commit(context, change, description, uploaded, upload.owner()).await;
    let end = offset + count.load(Ordering::Relaxed);
    let ours = Overtaken { upload, root: uploaded.root.cid, start: offset, end };
    match committed {
        Ok(written) if written.root == ours.root => Ok(Attempt::Done(written)),
        // Another time that it was asked for was faster, on another version or with other bytes.
        Ok(written) => {
            let same = match ours.bytes(context).await {
                Ok(body) => is_same(context, &name, written, at.place(), body).await,
                Err(fault) => Err(fault),
            };
            take_back(context, ours.upload.owner()).await;
            match same? {
                Some(false) => Err(other_bytes()),
                Some(true) | None => Ok(Attempt::Done(written)),
            }
        }
        Err(fault) if fault.kind == Kind::Precondition => Ok(Attempt::Overtaken(ours)),
        Err(fault) => {
            if fault.kind != Kind::Unavailable {
                take_back(context, ours.upload.owner()).await;
            }
            Err(fault)
        }
    }
}

/// What is to be done about a change.
enum Next {
    /// This attempt was not made yet.
    Attempt(RequestId),
    /// One of them wrote this.
    Answered(Written),
    /// One of them was refused for good.
    Refused(Fault),
    /// All of them were overtaken.
    None,
}

/// Finds out how far a change has come, through whichever peers it was asked for.
fn next_of(state: &dyn Source, attempts: &[RequestId]) -> Result<Next, SourceError> {
    for request in attempts {
        match answered(state, *request)? {
            None => return Ok(Next::Attempt(*request)),
            Some(Ok(written)) => return Ok(Next::Answered(written)),
            Some(Err(fault)) if fault.kind == Kind::Precondition => {}
            Some(Err(fault)) => return Ok(Next::Refused(fault)),
        }
    }
    Ok(Next::None)
}

fn no_object(ObjectName { bucket, key }: &ObjectName) -> Fault {
    Fault::new(Kind::NotFound, format!("there is no object {bucket}/{key}"))
}
