//! Answering peers of other clusters: what is public, and nothing else.
//!
//! What is public is read from what is agreed on, each time: what was withdrawn is not served once this peer has applied that. A
//! peer that has lost touch with its cluster or is far behind does not know, and says so. Never: says of a block that is not public whether it is there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::catalog::{Answer, Head, Question};
use protocol::dag::pb::Node as DagNode;
use protocol::format::Blob;
use protocol::limits::{OVERLAY_ENTRIES_BYTES_MAX, READ_LINKS_MAX};
use protocol::metadata::query;
use protocol::{Cid, ClusterId, Codec, Fault, Kind};
use tokio::sync::{Semaphore, mpsc};
use tracing::debug;

use super::super::download::block;
use super::super::{Context, Root};
use super::{Catalogs, own::Own};
use crate::env::{Env, GuestQuestion};
use crate::meta::Freshness;

/// Questions that are answered at a time.
const ANSWERING_MAX: usize = 16;

/// How long a peer may have heard nothing of its leader and still say what is public.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Entries of the log that a peer may not have applied yet and still say what is public.
const BEHIND_MAX: u64 = 1_000;

/// Comparisons of catalogs, and lookups of entries, at a time: each takes a processor, which uploads and downloads need to hash.
const COMPARING_MAX: usize = 2;

/// When to ask again after `busy`.
const BUSY_MS: u32 = 1_000;

/// Answers for as long as the peer runs.
pub(crate) async fn answer<E: Env>(
    context: Context<E>,
    catalogs: Catalogs,
    mut questions: mpsc::Receiver<GuestQuestion>,
) {
    let places = Arc::new(Semaphore::new(ANSWERING_MAX));
    let comparing = Arc::new(Semaphore::new(COMPARING_MAX));
    while let Some(GuestQuestion { from, question, answer }) = questions.recv().await {
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            let busy = Answer::Busy { retry_after_ms: BUSY_MS };
            // Whoever asked may have gone.
            drop(busy.encode().map(|busy| answer.send(busy)));
            continue;
        };
        let (context, catalogs) = (context.clone(), catalogs.clone());
        let comparing = Arc::clone(&comparing);
        context.env.clone().spawn("catalog.answer", async move {
            context.metrics.strangers_asked.inc();
            let told = match Question::decode(&question) {
                Ok(question) => respond(&context, &catalogs, &comparing, question).await,
                Err(err) => {
                    debug!(peer = %from, %err, "a question of another cluster that cannot be read");
                    return;
                }
            };
            let told = told.unwrap_or_else(|err| {
                debug!(peer = %from, %err, "a question of another cluster was not answered");
                Answer::Busy { retry_after_ms: BUSY_MS }
            });
            if let Ok(bytes) = told.encode() {
                context.metrics.strangers_bytes.inc_by(bytes.len() as u64);
                drop(answer.send(bytes));
            }
            drop(place);
        });
    }
}

async fn respond<E: Env>(
    context: &Context<E>,
    catalogs: &Catalogs,
    comparing: &Semaphore,
    question: Question,
) -> Result<Answer, Fault> {
    // What it does not know of yet may have been withdrawn.
    let status = context.meta.status();
    let is_behind = status.last.unwrap_or(0) > status.applied.unwrap_or(0) + BEHIND_MAX;
    let is_out_of_touch = !context.meta.is_in_touch() || context.meta.silent_for() > SILENCE_MAX;
    if is_behind || is_out_of_touch {
        return Ok(Answer::Busy { retry_after_ms: BUSY_MS });
    }
    let own = catalogs.own();
    match question {
        Question::Heads => {
            let mut heads: Vec<Bytes> = own.head(context).await?.into_iter().collect();
            heads.extend(catalogs.heads());
            Ok(Answer::Heads(heads.into_iter().map(Blob).collect()))
        }
        Question::Reconcile { cluster, message } => {
            let _turn = comparing.acquire().await;
            reconcile(context, own, cluster, message).await
        }
        Question::Entries { cluster, ids } if cluster == context.meta.cluster() => {
            let _turn = comparing.acquire().await;
            Ok(Answer::Entries(own.entries(context, ids, OVERLAY_ENTRIES_BYTES_MAX).await?))
        }
        Question::Entries { .. } => Ok(Answer::NotFound),
        Question::Block { root, path } => public_block(context, root, path).await,
    }
}

async fn reconcile<E: Env>(
    context: &Context<E>,
    own: &Own,
    cluster: ClusterId,
    message: Bytes,
) -> Result<Answer, Fault> {
    if cluster != context.meta.cluster() {
        return Ok(Answer::NotFound);
    }
    // In this order: the list is of this standing or a later one.
    let Some(head) = own.head(context).await? else { return Ok(Answer::NotFound) };
    let listed = own.listed(context).await?;
    let told =
        Head::checked(&head).map_err(|error| Fault::new(Kind::Internal, error.to_string()))?;
    if listed.standing() < told.standing {
        return Ok(Answer::Busy { retry_after_ms: BUSY_MS });
    }
    let compare = move || listed.items.answer(&message);
    let told = context.env.compute(compare).await;
    let message = told.map_err(|error| Fault::new(Kind::Invalid, error.to_string()))?;
    Ok(Answer::Reconcile { head, message })
}

/// Returns a block of a public object, if the way leads to it.
async fn public_block<E: Env>(
    context: &Context<E>,
    root: Cid,
    path: Vec<Cid>,
) -> Result<Answer, Fault> {
    let is_public =
        context.meta.read(Freshness::Local, move |state| query::is_public(state, &root));
    if !is_public.await? {
        return Ok(Answer::NotFound);
    }
    let mut at = root;
    for next in path {
        if at.codec() != Codec::DagPb {
            return Ok(Answer::NotFound);
        }
        let parent = block(context, Root::Named(at)).await?;
        let links = move || {
            let node = DagNode::decode(&parent, READ_LINKS_MAX);
            node.is_ok_and(|node| node.links.iter().any(|link| link.cid == next))
        };
        if !context.env.compute(links).await {
            return Ok(Answer::NotFound);
        }
        at = next;
    }
    Ok(Answer::Block(block(context, Root::Named(at)).await?))
}
