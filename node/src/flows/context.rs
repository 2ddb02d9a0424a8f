//! What every flow needs: the services of this peer, and what bounds all flows together.

use std::sync::Arc;

use protocol::topology::ReplicaCount;
use protocol::{Fault, OwnerId};
use tokio::sync::Semaphore;

use super::FlowMetrics;
use crate::env::Env;
use crate::peers::Peers;
use crate::rpc::Rpc;
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
    /// Copies of a block unless an upload says otherwise.
    pub replicas: ReplicaCount,
    /// Whether this peer founds its cluster: it was told of no other peer. Only then a small cluster is
    /// taken for a whole one.
    pub founder: bool,
    /// Counters.
    pub metrics: FlowMetrics,
    /// See [`Planted`].
    pub planted: Planted,
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
        replicas: ReplicaCount,
        founder: bool,
        planted: Planted,
    ) -> Self {
        Self {
            env,
            store,
            peers,
            rpc,
            replicas,
            founder,
            metrics: FlowMetrics::default(),
            planted,
            memory: Arc::new(Semaphore::new(TRANSFER_BYTES_MAX)),
            transfers: Arc::new(Semaphore::new(TRANSFERS_MAX)),
        }
    }

    /// Returns how many copies an upload gets that does not say: as many as the cluster wants, or as it has
    /// members that hold blocks, while it is smaller than that. Members that are away count: a failure never
    /// lowers the bar.
    pub(super) fn wanted_replicas(&self) -> ReplicaCount {
        if !self.founder {
            return self.replicas;
        }
        let view = self.peers.view();
        let members = view.placement().topology().peers();
        let holders = members.iter().filter(|peer| peer.capacity_bytes > 0).count();
        let holders = u8::try_from(holders).ok().and_then(ReplicaCount::new);
        holders.map_or(self.replicas, |holders| holders.min(self.replicas))
    }

    /// Returns an owner that nobody ever had.
    pub(super) fn new_owner(&self) -> OwnerId {
        let mut bytes = [0; 16];
        self.env.fill_secret(&mut bytes);
        OwnerId::from_bytes(bytes)
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
