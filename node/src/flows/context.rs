//! What every flow needs: the services of this peer, and what bounds all flows together.

use std::sync::Arc;

use protocol::Fault;
use tokio::sync::Semaphore;

use super::parts::Renewed;
use super::{FlowMetrics, LockWaits};
use crate::env::Env;
use crate::meta::Meta;
use crate::peers::Peers;
use crate::rpc::Rpc;
use crate::sessions::Sessions;
use crate::store::Store;

/// Bytes of blocks that all uploads and downloads of this peer may hold together. Chosen so that a daemon
/// stays below 300 MiB with what RocksDB and the connections take.
const TRANSFER_BYTES_MAX: usize = 96 << 20;

/// Uploads and downloads under way at once. Each holds a connection and a few KiB besides its blocks.
const TRANSFERS_MAX: usize = 256;

/// Defects that tests switch on, to see that the checks find them. All off in any real daemon.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planted {
    /// The store acknowledges a block before its sync.
    pub ack_before_sync: bool,
    /// A download passes on bytes without hashing them.
    pub skip_hash_check: bool,
    /// An upload counts one holder twice.
    pub count_twice: bool,
    /// Blocks of uploads that go on are freed.
    pub collect_uploads: bool,
}

/// The services of one peer, as flows use them. Clones are handles to the same ones.
#[derive(Clone, Debug)]
pub struct Context<E: Env> {
    /// The machine.
    pub env: E,
    /// Blocks of this peer.
    pub store: Store<E>,
    /// The other peers.
    pub peers: Peers,
    /// Asking them.
    pub rpc: Rpc<E>,
    /// What the cluster agrees on.
    pub meta: Meta<E>,
    /// Under whose name uploads store blocks.
    pub sessions: Sessions,
    /// Clients that wait for locks.
    pub locks: LockWaits,
    /// Counters.
    pub metrics: FlowMetrics,
    /// See [`Planted`].
    pub planted: Planted,
    pub(super) renewed: Renewed,
    pub(super) memory: Arc<Semaphore>,
    pub(super) transfers: Arc<Semaphore>,
}

impl<E: Env> Context<E> {
    /// Returns the context of these services.
    #[must_use]
    pub fn new(
        env: E,
        store: Store<E>,
        peers: Peers,
        rpc: Rpc<E>,
        meta: Meta<E>,
        sessions: Sessions,
        planted: Planted,
    ) -> Self {
        Self {
            env,
            store,
            peers,
            rpc,
            meta,
            sessions,
            locks: LockWaits::default(),
            metrics: FlowMetrics::default(),
            planted,
            renewed: Renewed::default(),
            memory: Arc::new(Semaphore::new(TRANSFER_BYTES_MAX)),
            transfers: Arc::new(Semaphore::new(TRANSFERS_MAX)),
        }
    }

    /// Returns a place among the transfers under way.
    pub(super) fn admit(&self) -> Result<tokio::sync::OwnedSemaphorePermit, Fault> {
        Arc::clone(&self.transfers).try_acquire_owned().map_err(|_| {
            Fault::busy(
                format!("{TRANSFERS_MAX} transfers are under way through this peer"),
                std::time::Duration::from_secs(1),
            )
        })
    }
}
