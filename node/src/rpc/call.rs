//! The asking side: one call, one answer or one failure, within its deadline.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protocol::limits::{CREDIT_BYTES, FRAME_BODY_BYTES_MAX, REQUESTS_IN_FLIGHT_MAX};
use protocol::wire::{Class, Message, Reply, Request};
use protocol::{Fault, Kind, PeerId};
use tokio::sync::{Semaphore, oneshot};

use super::RpcMetrics;
use crate::env::{Env, Net};

/// What every request counts at least, in bytes, so that credit also bounds the number of requests.
const CREDIT_BYTES_MIN: u32 = CREDIT_BYTES / 256;
const _: () = assert!(REQUESTS_IN_FLIGHT_MAX == 256);

/// A request under way: to whom, in which class, under which id.
type Key = (PeerId, Class, u64);

/// Whose credit a request takes: agreement never waits for what other questions have used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Purse {
    Agreement,
    Others,
}

/// Asks other peers. Clones share one table of requests under way.
#[derive(Clone, Debug)]
pub struct Rpc<E: Env> {
    env: E,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    next_id: AtomicU64,
    // Locked for a lookup or an insertion only. Bounded by the credit of each peer and class.
    pending: Mutex<BTreeMap<Key, oneshot::Sender<Result<Reply, Fault>>>>,
    // One entry per peer, class and purse ever used: bounded by the size of the cluster.
    credits: Mutex<BTreeMap<(PeerId, Class, Purse), Arc<Semaphore>>>,
    metrics: RpcMetrics,
}

/// Takes a request out of the table when its caller is done with it, however that comes.
struct Pending<'a> {
    shared: &'a Shared,
    key: Key,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.shared.pending().remove(&self.key);
    }
}

impl Shared {
    fn pending(
        &self,
    ) -> std::sync::MutexGuard<'_, BTreeMap<Key, oneshot::Sender<Result<Reply, Fault>>>> {
        // A panic while holding this lock leaves a valid map: nothing inside can be half done.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn credit(&self, peer: PeerId, class: Class, purse: Purse) -> Arc<Semaphore> {
        let mut credits = self.credits.lock().unwrap_or_else(PoisonError::into_inner);
        let full = || Arc::new(Semaphore::new(CREDIT_BYTES as usize));
        Arc::clone(credits.entry((peer, class, purse)).or_insert_with(full))
    }
}

impl<E: Env> Rpc<E> {
    /// Returns the asking side over a machine's network.
    #[must_use]
    pub fn new(env: E, metrics: RpcMetrics) -> Self {
        // Not from the beginning: an answer to who ran here before, which comes late, would be taken for one's own.
        let next_id = AtomicU64::new(env.prng().next_u64());
        Self { env, shared: Arc::new(Shared { next_id, metrics, ..Shared::default() }) }
    }

    /// Returns the counters.
    #[must_use]
    pub fn metrics(&self) -> &RpcMetrics {
        &self.shared.metrics
    }

    /// Asks a peer and returns its answer. Waits for credit first; `patience` covers everything.
    /// Cancel-safe: a cancelled call gives its credit back, and an answer that still comes is ignored.
    ///
    /// # Errors
    /// What the peer answered, or [`Kind::Unavailable`] when it cannot be reached or does not answer in time.
    pub async fn call(
        &self,
        to: PeerId,
        class: Class,
        request: Request,
        patience: Duration,
    ) -> Result<Reply, Fault> {
        let deadline = self.env.now().after(patience);
        tokio::select! {
            biased; // an answer beats a deadline that passed while it was waiting to be read
            outcome = self.call_without_deadline(to, class, request, patience) => outcome,
            () = self.env.sleep_until(deadline) => {
                self.shared.metrics.requests_timed_out.inc();
                Err(Fault::new(
                    Kind::Unavailable,
                    format!("peer {to} did not answer within {} ms", patience.as_millis()),
                ))
            }
        }
    }

    async fn call_without_deadline(
        &self,
        to: PeerId,
        class: Class,
        request: Request,
        patience: Duration,
    ) -> Result<Reply, Fault> {
        let purse = match &request {
            Request::Meta { .. } => Purse::Agreement,
            Request::PutBlock { .. }
            | Request::Claim { .. }
            | Request::GetBlock { .. }
            | Request::HasBlocks { .. }
            | Request::Release { .. }
            | Request::Owners { .. }
            | Request::Inventory { .. } => Purse::Others,
        };
        let credit = self.shared.credit(to, class, purse);
        let stopped = |_| Fault::new(Kind::Unavailable, "this peer is shutting down");
        let _permit = credit.acquire_many(cost_bytes(&request)).await.map_err(stopped)?;

        let key = (to, class, self.shared.next_id.fetch_add(1, Ordering::Relaxed));
        let (reply_to, reply) = oneshot::channel();
        self.shared.pending().insert(key, reply_to);
        let _pending = Pending { shared: &self.shared, key };

        let message = Message::Request { id: key.2, patience, request };
        let frame = message.encode().map_err(|error| {
            Fault::new(Kind::Internal, format!("cannot encode a request: {error}"))
        })?;
        self.env
            .net()
            .send(to, class, frame)
            .await
            .map_err(|error| Fault::new(Kind::Unavailable, error.to_string()))?;
        self.shared.metrics.requests_sent.inc();
        match reply.await {
            Ok(outcome) => outcome,
            Err(_) => {
                Err(Fault::new(Kind::Unavailable, format!("the connection to peer {to} was lost")))
            }
        }
    }

    /// Hands an answer to whoever asked; answers nobody waits for are ignored.
    pub(super) fn answered(
        &self,
        from: PeerId,
        class: Class,
        id: u64,
        outcome: Result<Reply, Fault>,
    ) {
        if let Some(reply_to) = self.shared.pending().remove(&(from, class, id)) {
            // The caller may just have given up: then nobody needs this.
            drop(reply_to.send(outcome));
        }
    }

    /// Fails every request under way to a peer: its connection is gone, and so are the answers.
    pub fn disconnected(&self, peer: PeerId) {
        self.fail((peer, Class::Control, 0)..=(peer, Class::Background, u64::MAX));
    }

    /// Fails every request of a class under way to a peer: the connection that bore it is gone. Whoever asked may
    /// ask again at once instead of when its patience ends.
    pub fn interrupted(&self, peer: PeerId, class: Class) {
        self.fail((peer, class, 0)..=(peer, class, u64::MAX));
    }

    fn fail(&self, requests: RangeInclusive<Key>) {
        let mut pending = self.shared.pending();
        let keys: Vec<Key> = pending.range(requests).map(|(key, _)| *key).collect();
        for key in keys {
            pending.remove(&key);
        }
    }
}

/// Returns what a request counts against the credit of its peer: its own bytes and those of the answer.
fn cost_bytes(request: &Request) -> u32 {
    let bytes = match request {
        Request::PutBlock { bytes, .. } => {
            u32::try_from(bytes.len()).unwrap_or(FRAME_BODY_BYTES_MAX)
        }
        Request::Meta { body } | Request::Inventory { body } => {
            u32::try_from(body.len()).unwrap_or(FRAME_BODY_BYTES_MAX)
        }
        // The size of the answer is not known; most blocks are leaves.
        Request::GetBlock { .. } => protocol::limits::CHUNK_BYTES,
        Request::Claim { .. }
        | Request::HasBlocks { .. }
        | Request::Release { .. }
        | Request::Owners { .. } => 0,
    };
    bytes.clamp(CREDIT_BYTES_MIN, CREDIT_BYTES)
}
