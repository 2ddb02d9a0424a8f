//! Requests that come again, since their answers were lost: they get the answer, and change nothing.
//!
//! An answer is found under a request's id (see [`RequestId::to`]), which says nothing of the bytes that came with the
//! request: those are compared with what it wrote. Never: holds more of them than two pieces.

use bytes::{Buf as _, Bytes};
use futures::{Stream, StreamExt as _};
use protocol::dag::ByteRange;
use protocol::metadata::{
    Actor, Asked, ObjectName, Outcome, RequestId, Source, SourceError, Written, query, recall,
};
use protocol::{Cid, Fault, Kind};

use super::objects::other_answer;
use super::{Context, Root, download};
use crate::env::Env;
use crate::meta::Freshness;

/// Returns the id under which the cluster knows what is asked for.
///
/// # Errors
/// [`Kind::Invalid`] when it is more than a command can say.
pub(super) fn request_of(
    request: RequestId,
    actor: &Actor,
    asked: &Asked<'_>,
) -> Result<RequestId, Fault> {
    request.to(actor, asked).map_err(|error| Fault::new(Kind::Invalid, error.to_string()))
}

/// Returns what was answered to a request that writes a version; `None` before the first answer.
pub(super) fn answered(
    state: &dyn Source,
    request: RequestId,
) -> Result<Option<Result<Written, Fault>>, SourceError> {
    Ok(recall(state, request)?.map(|answer| match answer {
        Ok(Outcome::Written(written)) => Ok(written),
        Ok(_) => Err(other_answer()),
        Err(refusal) => Err(refusal.into()),
    }))
}

/// Where the bytes of a request lie in what it wrote.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// They are all of it.
    Whole,
    /// They begin here, and older ones may follow.
    From(u64),
    /// They follow those of the version before.
    End,
}

/// Says whether the bytes of a request that comes again are those that it wrote; `None` when that cannot be told any more, since
/// the version was removed, or the one before it, behind which they lie.
///
/// # Errors
/// Those of `bytes`, and whatever keeps the written ones away.
pub(super) async fn is_same<E: Env>(
    context: &Context<E>,
    name: &ObjectName,
    written: Written,
    place: Place,
    bytes: impl Stream<Item = Result<Bytes, Fault>> + Unpin,
) -> Result<Option<bool>, Fault> {
    let wanted = name.clone();
    let read = move |state: &dyn Source| {
        let version = |number| query::version(state, &wanted.bucket, &wanted.key, number);
        let start = match (place, written.replaced) {
            (Place::Whole, _) => Some(0),
            (Place::From(offset), _) => Some(offset),
            (Place::End, Some(replaced)) => version(replaced)?.map(|before| before.size()),
            (Place::End, None) => None,
        };
        Ok(start.filter(|_| matches!(version(written.version), Ok(Some(_)))))
    };
    let Some(start) = context.meta.read(Freshness::Since(written.version), read).await? else {
        return Ok(None);
    };
    let is_last = !matches!(place, Place::From(_));
    has_bytes(context, written.root, start..written.size, is_last, bytes).await.map(Some)
}

/// Returns the failure of a request that comes again with other bytes.
pub(super) fn other_bytes() -> Fault {
    let detail = "this X-Shoal-Request was answered before, with other bytes: take a new one for each change";
    Fault::new(Kind::Conflict, detail)
}

/// Says whether a file has these bytes at the beginning of a range; with `is_last`, whether it has no more.
async fn has_bytes<E: Env>(
    context: &Context<E>,
    root: Cid,
    range: core::ops::Range<u64>,
    is_last: bool,
    mut bytes: impl Stream<Item = Result<Bytes, Fault>> + Unpin,
) -> Result<bool, Fault> {
    let mut stored = match range.is_empty() {
        true => None,
        false => {
            let range = ByteRange { start: range.start, end: Some(range.end) };
            Some(download(context, Root::Named(root), range).await?)
        }
    };
    let mut have = Bytes::new();
    while let Some(piece) = bytes.next().await {
        let mut piece = piece?;
        while !piece.is_empty() {
            if have.is_empty() {
                let next = match &mut stored {
                    Some(stored) => stored.next().await,
                    None => None,
                };
                let Some(next) = next else { return Ok(false) };
                have = next?;
                continue;
            }
            let len = have.len().min(piece.len());
            if have[..len] != piece[..len] {
                return Ok(false);
            }
            have.advance(len);
            piece.advance(len);
        }
    }
    if !is_last {
        return Ok(true);
    }
    let rest = match &mut stored {
        Some(stored) => stored.next().await.transpose()?,
        None => None,
    };
    Ok(have.is_empty() && rest.is_none())
}
