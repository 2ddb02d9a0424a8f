//! Changes of a range of an object, or of its end: new versions that share every unchanged leaf.
//!
//! A change is built on the version that is current when it begins, and holds only while that one still is. Without a
//! condition of the client's, one that was overtaken is built again on the version that came between: its bytes are
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
    Written, check, query,
};
use protocol::{Cid, Fault, Kind};

use self::pieces::{Edit, pieces};
use super::objects::{Change, Description, commit, take_back};
use super::repeat::{Place, again, answered, request_of};
use super::upload::{UploadOptions, upload_pieces};
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

/// Bytes of a client.
type Body = BoxStream<'static, Result<Bytes, Fault>>;

/// Changes a range of an object, or its end: a new version that shares every unchanged leaf. Changes that race come one
/// after the other, unless their client named the version that they are for.
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
    let mut turn = context.turns.if_wanted(&context.env, &change.name).await;
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
    let last = if *precondition == Precondition::default() { ATTEMPTS_MAX } else { 1 };
    let ids = (0..last).map(|attempt| {
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
    let (name, ids) = (change.name.clone(), attempts.to_vec());
    let read = move |state: &dyn Source| {
        Ok((next_of(state, &ids)?, query::object(state, &name.bucket, &name.key)?))
    };
    let (next, found) = context.meta.read(Freshness::Latest, read).await?;
    let request = match next {
        Next::Attempt(request) => request,
        Next::Answered(written) => {
            let place = match at {
                EditAt::Offset(offset) => Place::From(offset),
                EditAt::End => Place::End,
            };
            return again(context, &change.name, written, place, body).await.map(Attempt::Done);
        }
        Next::Refused(fault) => return Err(fault),
        Next::None => {
            let detail =
                "others changed the object again and again meanwhile: send the bytes again";
            return Err(Fault::new(Kind::Conflict, detail));
        }
    };
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
    let uploaded = upload_pieces(context, upload.owner(), pieces, options).await?;
    let description = Description { content_type, tags: old.tags, public: old.public };
    let change = Change {
        request,
        precondition: Precondition::is(Tag::Version(old.version)),
        ..change.clone()
    };
    match commit(context, change, description, uploaded, upload.owner()).await {
        Ok(written) => Ok(Attempt::Done(written)),
        Err(fault) if fault.kind == Kind::Precondition && attempts.len() > 1 => {
            let end = offset + count.load(Ordering::Relaxed);
            Ok(Attempt::Overtaken(Overtaken {
                upload,
                root: uploaded.root.cid,
                start: offset,
                end,
            }))
        }
        Err(fault) => {
            if fault.kind != Kind::Unavailable {
                take_back(context, upload.owner()).await;
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
            Some(Err(fault)) if fault.kind == Kind::Precondition && attempts.len() > 1 => {}
            Some(Err(fault)) => return Ok(Next::Refused(fault)),
        }
    }
    Ok(Next::None)
}

fn no_object(ObjectName { bucket, key }: &ObjectName) -> Fault {
    Fault::new(Kind::NotFound, format!("there is no object {bucket}/{key}"))
}
