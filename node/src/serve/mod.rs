//! What other peers of the cluster may ask of this one: each request translated into a call of the store.
//!
//! Never: logic. A request that needs a decision is a machine's business.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use protocol::wire::{Reply, Request};
use protocol::{Cid, Fault, Kind, PeerId};
use tracing::warn;

use crate::env::Env;
use crate::flows::Heal;
use crate::log_limiter::LogLimiter;
use crate::meta::Meta;
use crate::rpc::Handler;
use crate::store::{Store, StoreError};
use crate::work::Work;

/// Answers from this peer's store, its inventory, its queue and its part in agreement. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct PeerHandler<E: Env> {
    env: E,
    store: Store<E>,
    meta: Meta<E>,
    heal: Heal,
    work: Work,
    limiter: Arc<Mutex<LogLimiter>>,
}

impl<E: Env> PeerHandler<E> {
    /// Returns the handler over these services.
    #[must_use]
    pub fn new(env: E, store: Store<E>, meta: Meta<E>, heal: Heal, work: Work) -> Self {
        let limiter = Arc::new(Mutex::new(LogLimiter::new()));
        Self { env, store, meta, heal, work, limiter }
    }
}

impl<E: Env> Handler for PeerHandler<E> {
    fn work(&self, from: PeerId, body: Bytes) {
        self.work.listen(from, body);
    }

    async fn handle(&self, from: PeerId, request: Request) -> Result<Reply, Fault> {
        let store = &self.store;
        match request {
            Request::PutBlock { cid, owner, root, bytes } => {
                // Checked before it is kept: later uploads of the same content rely on this copy.
                let checked = bytes.clone();
                if !self.env.compute(move || cid.matches(&checked)).await {
                    let limiter = self.limiter.lock();
                    let mut limiter = limiter.unwrap_or_else(PoisonError::into_inner);
                    if limiter.may_log(from, self.env.now()) {
                        warn!(peer = %from, %cid, "block refused: it does not hash to its name");
                    }
                    return Err(Fault::new(
                        Kind::Invalid,
                        format!("the bytes do not hash to {cid}"),
                    ));
                }
                Ok(Reply::Put(store.put(cid, bytes, owner, root).await?))
            }
            Request::Claim { cids, owner, root } => {
                let claimed = store.claim(cids, owner, root).await?;
                let held = claimed.iter().map(Option::is_some).collect();
                let bytes = claimed.into_iter().map(Option::unwrap_or_default).collect();
                Ok(Reply::Held { held, bytes })
            }
            Request::GetBlock { cid } => {
                let found = store.get(cid).await?;
                found.map(Reply::Block).ok_or_else(|| not_held(cid))
            }
            Request::HasBlocks { cids } => {
                Ok(Reply::Held { held: store.has(cids).await?, bytes: Vec::new() })
            }
            Request::Release { owner } => {
                let (blocks, bytes) = store.release(owner).await?;
                Ok(Reply::Released { blocks, bytes })
            }
            Request::Owners { cid } => Ok(Reply::Owners(store.owners(cid).await?)),
            Request::Inventory { body } => {
                Ok(Reply::Inventory { body: self.heal.answer(from, body).await? })
            }
            Request::Meta { body } => Ok(Reply::Meta { body: self.meta.serve(from, body).await? }),
        }
    }
}

fn not_held(cid: Cid) -> Fault {
    Fault::new(Kind::NotFound, format!("block {cid} is not held here"))
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        error.fault()
    }
}
