//! What the writer is asked to do.

use bytes::Bytes;
use protocol::index::Place;
use protocol::placement::Partition;
use protocol::repair::Bucket;
use protocol::wire::BlockOutcome;
use protocol::{Cid, OwnerId};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::depart::{Proviso, Step};
use super::error::StoreError;

/// Where the answer goes. Whoever asked may have gone; then nobody wants it.
pub(super) type ReplyTo<T> = oneshot::Sender<Result<T, StoreError>>;

/// One order to the writer. The permits return the room that it took in the queue.
#[derive(Debug)]
pub(super) enum Command {
    Put(Put),
    Claim(Claim),
    Release { owner: OwnerId, reply: ReplyTo<Released> },
    Depart { wanted: Vec<(Partition, Bucket)>, proviso: Proviso, reply: ReplyTo<Step> },
    MarkCorrupt { cid: Cid, seen: Option<Place>, reply: ReplyTo<()> },
    Stop { reply: oneshot::Sender<()> },
}

#[derive(Debug)]
pub(super) struct Put {
    pub(super) cid: Cid,
    pub(super) bytes: Bytes,
    pub(super) owner: OwnerId,
    pub(super) root: bool,
    pub(super) reply: ReplyTo<BlockOutcome>,
    pub(super) room: OwnedSemaphorePermit,
}

#[derive(Debug)]
pub(super) struct Claim {
    pub(super) cids: Vec<Cid>,
    pub(super) owner: OwnerId,
    pub(super) root: bool,
    pub(super) reply: ReplyTo<Vec<Option<u32>>>,
}

impl Put {
    /// Answers, and gives back the room taken in the queue.
    pub(super) fn answer(self, answer: Result<BlockOutcome, StoreError>) {
        drop(self.room);
        // Whoever asked may have gone: nobody wants to know then.
        self.reply.send(answer).ok();
    }
}

impl Claim {
    /// Answers.
    pub(super) fn answer(self, answer: Result<Vec<Option<u32>>, StoreError>) {
        self.reply.send(answer).ok();
    }
}

/// What one step of a release did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Released {
    pub(super) blocks: u64,
    pub(super) bytes: u64,
    /// Whether the owner has references left: ask again.
    pub(super) more: bool,
}
