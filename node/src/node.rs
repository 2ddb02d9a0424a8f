//! One whole peer: its services started in order and wired to each other.
//!
//! The only place that knows every service. Generic over the machine below, so that the simulator runs
//! exactly this. Never: the API, the process, the command line.

use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use prometheus_client::registry::Registry;
use protocol::dag::ByteRange;
use protocol::limits::INBOX_FRAMES_MAX;
use protocol::topology::{ReplicaCount, Zone};
use protocol::wire::Class;
use protocol::{Cid, ClusterId, Fault, OwnerId};
use tokio::sync::mpsc;

use crate::env::{Env, Net};
use crate::flows::{self, Context, Download, Freed, Planted, UploadOptions, Uploaded};
use crate::peers::{Peers, PeersSettings, Placements};
use crate::rpc::{Rpc, RpcMetrics, dispatch};
use crate::serve::BlockHandler;
use crate::store::{self, Store, StoreSettings, Usage};

/// How often a peer tells how much it holds. Others use it for display only.
const USAGE_INTERVAL: Duration = Duration::from_secs(2);

/// What makes one peer differ from another.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// Its cluster.
    pub cluster: ClusterId,
    /// The cluster's name for people.
    pub cluster_name: String,
    /// The peer's name for people.
    pub name: String,
    /// Where it is.
    pub zone: Zone,
    /// Copies of every block.
    pub replicas: ReplicaCount,
    /// Whether it was told of no other peer, and so may be a cluster of its own.
    pub founder: bool,
    /// How it stores blocks, its capacity among that.
    pub store: StoreSettings,
    /// Placements computed before: empty, or shared with other peers of this process.
    pub placements: Placements,
    /// Test-only defects.
    #[doc(hidden)]
    pub planted: Planted,
}

/// A running peer. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Node<E: Env> {
    settings: NodeSettings,
    context: Context<E>,
}

impl<E: Env> Node<E> {
    /// Starts a peer and returns when its store has recovered and it answers others.
    ///
    /// # Errors
    /// Why the store cannot be opened.
    pub async fn start(env: E, settings: NodeSettings) -> Result<Self, Fault> {
        let mut store_settings = settings.store.clone();
        store_settings.planted.ack_before_sync = settings.planted.ack_before_sync;
        let store = store::start(env.clone(), store_settings).await?;
        let rpc = Rpc::new(env.clone(), RpcMetrics::default());
        let handler = BlockHandler::new(env.clone(), store.clone());
        let (notices, gossip) = mpsc::channel(INBOX_FRAMES_MAX);
        for class in Class::ALL {
            let inbox = env.net().take_inbox(class).ok_or_else(taken)?;
            let task =
                dispatch(env.clone(), class, inbox, rpc.clone(), handler.clone(), notices.clone());
            env.spawn("rpc.dispatch", task);
        }
        let events = env.net().take_events().ok_or_else(taken)?;
        let own = PeersSettings {
            cluster: settings.cluster,
            name: settings.name.clone(),
            zone: settings.zone.clone(),
            capacity_bytes: settings.store.capacity_bytes,
            replicas: settings.replicas,
            placements: settings.placements.clone(),
        };
        let peers = Peers::start(env.clone(), own, rpc.clone(), events, gossip).await?;
        env.spawn("node.usage", tell_usage(env.clone(), store.clone(), peers.clone()));
        let context = Context::new(
            env,
            store,
            peers,
            rpc,
            settings.replicas,
            settings.founder,
            settings.planted,
        );
        Ok(Self { settings, context })
    }

    /// Returns what this peer was started with.
    #[must_use]
    pub fn settings(&self) -> &NodeSettings {
        &self.settings
    }

    /// Returns the peer table.
    #[must_use]
    pub fn peers(&self) -> &Peers {
        &self.context.peers
    }

    /// Returns how much this peer holds.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.context.store.usage()
    }

    /// Adds the metrics of every service to a registry.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.context.store.metrics().register(registry);
        self.context.rpc.metrics().register(registry);
        self.context.metrics.register(registry);
    }

    /// See [`flows::upload`].
    ///
    /// # Errors
    /// As there.
    pub async fn upload(
        &self,
        source: impl Stream<Item = Result<Bytes, Fault>> + Send + Unpin + 'static,
        options: UploadOptions,
    ) -> Result<Uploaded, Fault> {
        flows::upload(&self.context, source, options).await
    }

    /// See [`flows::put_block`].
    ///
    /// # Errors
    /// As there.
    pub async fn put_block(
        &self,
        cid: Cid,
        bytes: Bytes,
        owner: Option<OwnerId>,
        root: bool,
        options: UploadOptions,
    ) -> Result<(), Fault> {
        flows::put_block(&self.context, cid, bytes, owner, root, options).await
    }

    /// See [`flows::download`].
    ///
    /// # Errors
    /// As there.
    pub async fn download(&self, root: Cid, range: ByteRange) -> Result<Download, Fault> {
        flows::download(&self.context, root, range).await
    }

    /// See [`flows::block`].
    ///
    /// # Errors
    /// As there.
    pub async fn block(&self, cid: Cid) -> Result<Bytes, Fault> {
        flows::block(&self.context, cid).await
    }

    /// See [`flows::delete`].
    ///
    /// # Errors
    /// As there.
    pub async fn delete(&self, root: Cid) -> Result<Freed, Fault> {
        flows::delete(&self.context, root).await
    }

    /// Returns the machine below.
    #[must_use]
    pub fn env(&self) -> &E {
        &self.context.env
    }

    /// Returns once the disk has failed, with the reason: the peer must stop then. Cancel-safe.
    pub async fn failed(&self) -> String {
        self.context.store.failed().await
    }

    /// Finishes what the store has begun, and returns when nothing is left to do. The peer stays a member
    /// of its cluster: it may come back.
    pub async fn stop(&self) {
        self.context.store.stop().await;
    }
}

fn taken() -> Fault {
    Fault::new(protocol::Kind::Internal, "another peer runs over this network already")
}

async fn tell_usage<E: Env>(env: E, store: Store<E>, peers: Peers) {
    loop {
        peers.set_used_bytes(store.usage().used_bytes);
        env.sleep_until(env.now().after(USAGE_INTERVAL)).await;
    }
}
