//! Content that the cluster holds already, kept on behalf of one more upload: every block of it is referred to by that
//! upload on its write quorum.
//!
//! What a client says of content it sent before is not believed: the blocks are looked for, from the root down, and are kept or
//! it is not. Never: takes back what was referred to before; reads a leaf.

use std::collections::BTreeSet;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use protocol::dag::pb::Node;
use protocol::limits::{ADOPT_NODES_MAX, CHUNK_BYTES, READ_LINKS_MAX};
use protocol::transfer::UploadInput;
use protocol::{Cid, Codec, Fault, Kind, OwnerId};

use super::{BoxFuture, Flow, Held, OnFailure, UploadOptions};
use crate::env::Env;
use crate::flows::{Context, Root, download};

/// Nodes that are read at a time.
const READS_MAX: usize = 4;

/// What lies below a node that was read.
type Below = Result<Vec<Cid>, Fault>;

/// Keeps all blocks below `root`, itself included, on behalf of `owner`. Cost: a question to each holder for each block, and
/// the bytes of every node that is no leaf.
///
/// # Errors
/// [`Kind::Conflict`] when a block lies nowhere, [`Kind::Invalid`] when a node cannot be read or there are too many, and
/// whatever keeps blocks from being kept on their write quorum.
pub(in crate::flows) async fn adopt<E: Env>(
    context: &Context<E>,
    owner: OwnerId,
    root: Cid,
) -> Result<(), Fault> {
    let _permit = context.admit()?;
    context.catch_up(owner).await?;
    let options = UploadOptions::default();
    Flow::new(context.clone(), owner, options, OnFailure::Keep).adopt(root).await
}

impl<E: Env> Flow<E> {
    async fn adopt(mut self, root: Cid) -> Result<(), Fault> {
        let mut ahead = vec![root];
        // A node that stands in many places is read once, however often.
        let mut nodes: BTreeSet<Cid> = BTreeSet::new();
        let mut reads: FuturesUnordered<BoxFuture<Below>> = FuturesUnordered::new();
        let mut is_ended = false;
        loop {
            if let Some(fault) = self.failed.take() {
                return Err(fault);
            }
            if self.acknowledge_now {
                return Ok(());
            }
            let takes = self.machine.wants_more() && reads.len() < READS_MAX;
            if takes && let Some(cid) = ahead.pop() {
                let is_leaf = cid.codec() == Codec::Raw;
                if !is_leaf {
                    if !nodes.insert(cid) {
                        continue;
                    }
                    if nodes.len() > ADOPT_NODES_MAX {
                        let detail = format!("{root} has more than {ADOPT_NODES_MAX} nodes");
                        return Err(Fault::new(Kind::Invalid, detail));
                    }
                    let context = self.context.clone();
                    reads.push(Box::pin(async move { below(&context, cid).await }));
                }
                self.offer(cid, CHUNK_BYTES, Held { bytes: None, _permit: None });
                continue;
            }
            if ahead.is_empty() && reads.is_empty() && !is_ended {
                is_ended = true;
                self.step(UploadInput::End);
                continue;
            }
            let deadline = self.deadline();
            tokio::select! {
                biased; // copies that are there, then deadlines, then what lies further down
                Some(input) = self.puts.next(), if !self.puts.is_empty() => {
                    // Every holder was asked for its bytes before that is said.
                    if let Some(UploadInput::Failed { cid, kind: Kind::NotFound, .. }) = input {
                        return Err(nowhere(cid));
                    }
                    self.placed(input);
                }
                () = self.context.env.sleep_until(deadline.unwrap_or_default()), if deadline.is_some() => {
                    self.step(UploadInput::Tick);
                }
                Some(below) = reads.next(), if !reads.is_empty() => ahead.extend(below?),
                else => {
                    return Err(Fault::new(Kind::Internal, "an upload ended without a word"));
                }
            }
        }
    }
}

async fn below<E: Env>(context: &Context<E>, cid: Cid) -> Below {
    let read = download::block(context, Root::Bare(cid)).await;
    let lies_nowhere = matches!(&read, Err(fault) if fault.kind == Kind::NotFound);
    let bytes = if lies_nowhere { return Err(nowhere(cid)) } else { read? };
    let node = Node::decode(&bytes, READ_LINKS_MAX)
        .map_err(|error| Fault::new(Kind::Invalid, format!("block {cid}: {error}")))?;
    Ok(node.links.into_iter().map(|link| link.cid).collect())
}

fn nowhere(cid: Cid) -> Fault {
    let detail = format!("block {cid} lies nowhere in this cluster: upload it first");
    Fault::new(Kind::Conflict, detail)
}
