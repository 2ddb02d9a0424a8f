//! Content that the cluster holds already, kept on behalf of one more upload: every block of it is referred to by that
//! upload on its write quorum.
//!
//! What a client says of content it sent before is not believed: the blocks are looked for, from the root down, and are kept and
//! what they say, or it is not. [`Audit`] says which are next and what they come to. Never: takes back what was referred to
//! before; reads a leaf that its holders know the length of.

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use protocol::dag::{Audit, AuditError, AuditStep, Audited};
use protocol::limits::CHUNK_BYTES;
use protocol::transfer::UploadInput;
use protocol::{Cid, Codec, Fault, Kind, OwnerId};

use super::{BoxFuture, Flow, Held, OnFailure, Put, UploadOptions};
use crate::env::Env;
use crate::flows::{Context, Root, download};

/// A block that was read.
type Read = Result<(Cid, Bytes), Fault>;

/// Keeps all blocks below `root`, itself included, on behalf of `owner`, and returns what they come to. Cost: a question to
/// each holder for each block, and the bytes of every node that is no leaf.
///
/// # Errors
/// [`Kind::Conflict`] when a block lies nowhere, [`Kind::Invalid`] when it is not what it says or has too many nodes, and
/// whatever keeps blocks from being kept on their write quorum.
pub(in crate::flows) async fn adopt<E: Env>(
    context: &Context<E>,
    owner: OwnerId,
    root: Cid,
) -> Result<Audited, Fault> {
    let _permit = context.admit()?;
    context.catch_up(owner).await?;
    let options = UploadOptions::default();
    Flow::new(context.clone(), owner, options, OnFailure::Keep).adopt(root).await
}

impl<E: Env> Flow<E> {
    async fn adopt(mut self, root: Cid) -> Result<Audited, Fault> {
        let mut audit = Audit::new(root);
        let mut reads: FuturesUnordered<BoxFuture<Read>> = FuturesUnordered::new();
        let mut is_ended = false;
        loop {
            if let Some(fault) = self.failed.take() {
                return Err(fault);
            }
            if let Some(audited) = audit.found() {
                if self.acknowledge_now {
                    return Ok(audited);
                }
                if !is_ended {
                    is_ended = true;
                    self.step(UploadInput::End);
                    continue;
                }
            }
            if self.machine.wants_more()
                && let Some(step) = audit.next_step().map_err(false_word)?
            {
                let (AuditStep::Read(cid) | AuditStep::Measure(cid)) = step;
                self.offer(cid, CHUNK_BYTES, Held { bytes: None, _permit: None });
                // A leaf that was placed a moment ago is not placed again, so that nobody says how long it is.
                if matches!(step, AuditStep::Read(_)) || !self.is_under_way(&cid) {
                    reads.push(read(&self.context, cid));
                }
                continue;
            }
            let deadline = self.deadline();
            tokio::select! {
                biased; // copies that are there, then deadlines, then what lies further down
                Some(put) = self.puts.next(), if !self.puts.is_empty() => {
                    // Every holder was asked for its bytes before that is said.
                    if let Some(Put { input: UploadInput::Failed { cid, kind: Kind::NotFound, .. }, .. }) = put {
                        return Err(nowhere(cid));
                    }
                    if let Some(Put { input: UploadInput::Stored { cid, .. }, bytes_len }) = &put
                        && audit.wants_leaf(cid)
                    {
                        match bytes_len {
                            Some(bytes) => audit.leaf(*cid, (*bytes).into()).map_err(false_word)?,
                            // A peer of an earlier build.
                            None => reads.push(read(&self.context, *cid)),
                        }
                    }
                    self.placed(put);
                }
                () = self.context.env.sleep_until(deadline.unwrap_or_default()), if deadline.is_some() => {
                    self.step(UploadInput::Tick);
                }
                Some(read) = reads.next(), if !reads.is_empty() => {
                    let (cid, bytes) = read?;
                    match cid.codec() {
                        Codec::Raw => audit.leaf(cid, bytes.len() as u64),
                        Codec::DagPb => audit.node(cid, &bytes),
                    }
                    .map_err(false_word)?;
                }
                else => {
                    return Err(Fault::new(Kind::Internal, "an upload ended without a word"));
                }
            }
        }
    }

    /// Says whether a copy of a block is on its way.
    fn is_under_way(&self, cid: &Cid) -> bool {
        self.aborts.keys().any(|(other, _)| other == cid)
    }
}

fn read<E: Env>(context: &Context<E>, cid: Cid) -> BoxFuture<Read> {
    let context = context.clone();
    Box::pin(async move {
        let read = download::block(&context, Root::Bare(cid)).await;
        let lies_nowhere = matches!(&read, Err(fault) if fault.kind == Kind::NotFound);
        if lies_nowhere { Err(nowhere(cid)) } else { Ok((cid, read?)) }
    })
}

#[expect(clippy::needless_pass_by_value, reason = "it is what an error is mapped by")]
fn false_word(error: AuditError) -> Fault {
    Fault::new(error.kind(), error.to_string())
}

fn nowhere(cid: Cid) -> Fault {
    let detail = format!("block {cid} lies nowhere in this cluster: upload it first");
    Fault::new(Kind::Conflict, detail)
}
